//! Locks, sessions, limits, errors, dropping.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use test_support::{DEADLINE, Proxy, Weather};
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::super::super::{Fault, explain, say_goodbye};
use super::super::marks::Features;
use super::super::sessions::{Connected, connected, still_there};
use super::*;
use crate::ErrorKind;

on_both!(
    settings_that_a_server_does_not_know_keep_none_from_it,
    a_lock_is_held_by_one_and_ends_with_its_connection,
    sessions_are_listed_with_what_they_do,
    a_session_that_compares_is_not_listed,
    dropping_waits_for_nobody,
    a_goodbye_over_a_dead_network_has_an_end,
    a_server_that_is_disturbed_while_it_greets_is_asked_again
);
on_both!(faults_are_told_apart);
on_one!(mysql:
    those_who_are_leaving_are_waited_for,
    what_stays_on_this_machine_is_encrypted_only_where_somebody_insists
);
on_one!(mariadb: a_directory_with_a_file_of_somebody_elses_is_named);

/// They are out of the list by then, and for a moment the server counts twice what they have executed: one time in some thousands.
async fn those_who_are_leaving_are_waited_for() {
    let mut admin = admin(Kind::Mysql).await;
    let features = Features::probe(&mut admin).await.expect("an answer");
    // Nobody else asks for help.
    let helped = async |admin: &mut MySqlConnection| {
        let rows = rows(admin, "SHOW GLOBAL STATUS LIKE 'Com_help'").await.expect("an answer");
        rows[0][1].as_ref().expect("a number").parse::<u64>().expect("a number")
    };
    let (before, mut closed, mut seen) = (helped(&mut admin).await, 0, 0);
    let since = Instant::now();
    while seen < 10 {
        assert!(since.elapsed() < DEADLINE, "of {closed} sessions none was seen to leave");
        let mut user = connect(&server(Kind::Mysql), "").await.expect("a connection");
        let id = rows(&mut user, "SELECT CONNECTION_ID()").await.expect("an answer").remove(0).remove(0);
        execute(&mut user, "HELP 'nothing'").await.expect("an answer");
        say_goodbye(user).await.expect("it closes");
        closed += 1;
        let is_listed = |now: &Connected| now.sessions.iter().any(|session| Some(session.id.to_string()) == id);
        let mut now = connected(&mut admin, features).await.expect("a list");
        while is_listed(&now) {
            now = connected(&mut admin, features).await.expect("a list");
        }
        seen += usize::from(!now.leaving.is_empty());
        // On a busy machine that can take longer than a reset waits; and whoever rolls back in another test leaves, too.
        while !now.have_left(&mut admin, features).await.expect("a list") {
            assert!(since.elapsed() < DEADLINE, "somebody does not leave");
            now = connected(&mut admin, features).await.expect("a list");
        }
        assert_eq!(helped(&mut admin).await, before + closed);
    }
}

async fn settings_that_a_server_does_not_know_keep_none_from_it(kind: Kind) {
    // None has its default, and what the server does not know stands before them and among them.
    let known: &[_] = match kind {
        Kind::Mysql => &[("innodb_strict_mode", "0"), ("restrict_fk_on_non_standard_key", "0")],
        _ => {
            &[("system_versioning_insert_history", "1"), ("innodb_strict_mode", "0"), ("check_constraint_checks", "0")]
        }
    };
    let mut connection = admin(kind).await;
    for (variable, set) in known {
        // From MySQL 8.4 and MariaDB 10.11 on it knows all of these.
        let is_known = rows(&mut connection, &format!("SHOW VARIABLES LIKE '{variable}'")).await.expect("an answer");
        if is_known.is_empty() {
            test_support::say(&format!("this {kind} has no variable {variable}"));
            continue;
        }
        let answer = rows(&mut connection, &format!("SELECT @@SESSION.{variable}")).await.expect("the server knows it");
        assert_eq!(answer, [[Some((*set).to_owned())]], "{variable}");
    }
}

async fn a_lock_is_held_by_one_and_ends_with_its_connection(kind: Kind) {
    let (mut first, mut second) = (admin(kind).await, admin(kind).await);
    let name = free_name("lock");
    assert!(Mysql::try_lock(&mut first, &name).await.expect("an answer"));
    assert!(!Mysql::try_lock(&mut second, &name).await.expect("an answer"));
    Mysql::unlock(&mut first, &name).await.expect("it is given back");
    assert!(Mysql::try_lock(&mut second, &name).await.expect("an answer"));
    // Not `close_hard`: over TLS that waits for something to read, and the server has nothing to say.
    drop(second);
    let deadline = Instant::now() + Duration::from_secs(5);
    while !Mysql::try_lock(&mut first, &name).await.expect("an answer") {
        assert!(Instant::now() < deadline, "the lock of a connection that is gone is still held");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(Mysql::connection_limit(&mut first).await.expect("a limit") > 10);
    let identity = Mysql::identity(&mut first).await.expect("an identity");
    assert!(identity.starts_with("user=root@") && identity.contains("\nsql_mode="), "{identity}");
    // Of MariaDB this is which character set `utf8` is, for one.
    assert_eq!(identity.contains("\nold_mode="), kind == Kind::Mariadb, "{identity}");
}

/// Over TLS, which MySQL has, the driver waits until the server has hung up as well.
async fn a_goodbye_over_a_dead_network_has_an_end(kind: Kind) {
    let mut url = url::Url::parse(&server(kind).reveal()).expect("a URL");
    let address = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(3306));
    let proxy = Proxy::before(address).await;
    url.set_host(Some("127.0.0.1")).expect("it has a host");
    url.set_port(Some(proxy.port)).expect("it has a host");
    if kind == Kind::Mysql {
        url.set_query(Some("ssl-mode=required"));
    }
    let connection = connect(&DatabaseUrl::parse(url.as_str()).expect("a URL"), "").await.expect("a connection");
    proxy.set(Weather::Stall);
    tokio::time::timeout(DEADLINE, say_goodbye(connection)).await.expect("it ends").expect("which is no failure");
}

/// As MySQL does now and then while another session is killed.
async fn a_server_that_is_disturbed_while_it_greets_is_asked_again(kind: Kind) {
    const DISTURBANCES: [&[u8]; 3] =
        [b"", b"\x17\x03\x03\0\x02ab", b"\x33\0\0\0\xff\x86\x04#08S01Got an error reading communication packets"];

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let mut url = url::Url::parse(&server(kind).reveal()).expect("a URL");
    let address = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(3306));
    url.set_host(Some("127.0.0.1")).expect("it has a host");
    url.set_port(Some(listener.local_addr().expect("an address").port())).expect("it has a host");
    // Otherwise the attempt without TLS is followed by one with it.
    url.set_query(Some("ssl-mode=disabled"));
    let network = tokio::spawn(async move {
        for disturbance in DISTURBANCES {
            let (mut client, _) = listener.accept().await.expect("a connection");
            client.write_all(disturbance).await.expect("it listens");
            drop(client);
            let (mut client, _) = listener.accept().await.expect("another connection");
            let mut server = TcpStream::connect(&address).await.expect("a server");
            tokio::spawn(async move { drop(copy_bidirectional(&mut client, &mut server).await) });
        }
    });
    let url = DatabaseUrl::parse(url.as_str()).expect("a URL");
    for disturbance in DISTURBANCES {
        let connection = connect(&url, "").await.unwrap_or_else(|error| panic!("after {disturbance:?}: {error}"));
        say_goodbye(connection).await.expect("it closes");
    }
    network.await.expect("it ends");
}

/// MariaDB offers no TLS without a certificate.
async fn what_stays_on_this_machine_is_encrypted_only_where_somebody_insists() {
    let mut admin = admin(Kind::Mysql).await;
    let user = format!("fdbtest_{:08x}", fastrand::u32(..));
    execute(&mut admin, &format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{user}' REQUIRE SSL")).await.expect("a user");

    let usual = url::Url::parse(&server(Kind::Mysql).reveal()).expect("a URL");
    let mut required = usual.clone();
    required.set_query(Some("ssl-mode=required"));
    let mut restricted = usual.clone();
    restricted.set_username(&user).expect("it has a host");
    restricted.set_password(Some(&user)).expect("it has a host");
    for (url, is_encrypted) in [(usual, false), (required, true), (restricted, true)] {
        let url = DatabaseUrl::parse(url.as_str()).expect("a URL");
        let mut connection = connect(&url, "").await.expect("a connection");
        let cipher = rows(&mut connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'").await.expect("an answer");
        assert_ne!(cipher[0][1].as_deref() == Some(""), is_encrypted, "{url}: {cipher:?}");
    }
    execute(&mut admin, &format!("DROP USER '{user}'@'%'")).await.expect("it is dropped");
}

async fn sessions_are_listed_with_what_they_do(kind: Kind) {
    let mut fixture = Fixture::new(kind, "sessions", &["CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT)"]).await;
    let user = fixture.run("BEGIN; INSERT INTO t VALUES ()").await;
    let name = fixture.slot.name.clone();
    let since = Instant::now();
    loop {
        let sessions = Mysql::sessions(&mut fixture.admin, &name, &[]).await.expect("a list");
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        let others = Mysql::sessions(&mut fixture.admin, &name, &[sessions[0].id]).await.expect("a list");
        assert_eq!(others, []);
        // One that has answered is at work still, as the server says, for a moment.
        if sessions[0].state.as_deref() == Some("idle in transaction") {
            break;
        }
        assert!(since.elapsed() < Duration::from_mins(1), "{sessions:?}");
        // And it says what it said of transactions before, until nobody has asked for a tenth of a second.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }

    let reset = fixture.reset().await;
    assert_eq!(reset.ended.len(), 1, "{:?}", reset.ended);
    assert_eq!(outcome(&reset), 1, "the row was rolled back, the counter was not");
    fixture.assert_pristine("an open transaction");
    drop(user);
    fixture.drop().await;
}

/// Wherever it is at the moment.
async fn a_session_that_compares_is_not_listed(kind: Kind) {
    let mut fixture = Fixture::new(kind, "unlisted", &["CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT)"]).await;
    let name = fixture.slot.name.clone();
    let mut own = Mysql::connect_to_compare(&server(kind), &name).await.expect("a connection");
    let user = fixture.run("SELECT 1").await;
    for elsewhere in [true, false] {
        execute(&mut own, &format!("USE {}", if elsewhere { REGISTRY } else { &name })).await.expect("it is there");
        let sessions = Mysql::sessions(&mut fixture.admin, &name, &[]).await.expect("a list");
        assert_eq!(sessions.len(), 1, "{sessions:?}");
    }
    let reset = fixture.reset().await;
    assert_eq!(reset.ended.len(), 1, "{:?}", reset.ended);
    execute(&mut own, "SELECT 1").await.expect_err("it is ended all the same");
    drop(user);
    fixture.drop().await;
}

async fn dropping_waits_for_nobody(kind: Kind) {
    let fixture = Fixture::new(kind, "drop", &["CREATE TABLE `a``b'c\" d` (id INT PRIMARY KEY)"]).await;
    let writer = fixture.run("BEGIN; INSERT INTO `a``b'c\" d` VALUES (1)").await;
    let locker = fixture.run("SELECT GET_LOCK(DATABASE(), 0)").await;
    let since = Instant::now();
    fixture.drop().await;
    // A wait for the row would be 50 s.
    assert!(since.elapsed() < Duration::from_secs(20), "it took {:?}", since.elapsed());
    drop((writer, locker));
}

/// What stands between two marks.
fn between<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split(mark).nth(1)
}

async fn faults_are_told_apart(kind: Kind) {
    let mut admin = admin(kind).await;
    let user = format!("fdbtest_{:08x}", fastrand::u32(..));
    execute(&mut admin, &format!("CREATE USER '{user}'@'%' WITH MAX_USER_CONNECTIONS 1")).await.expect("a user");
    let mut url = url::Url::parse(&server(kind).reveal()).expect("a URL");
    url.set_username(&user).expect("it has a host");
    url.set_password(None).expect("it has a host");
    let restricted = DatabaseUrl::parse(url.as_str()).expect("a URL");
    let mut connection = connect(&restricted, "").await.expect("a connection");

    let refused = connect(&restricted, "").await.expect_err("there may be one only");
    let Fault::TooManyConnections { limit } = Mysql::fault(&refused) else { panic!("{refused}") };
    let more =
        between(limit, "`").unwrap_or_default().replace("<user>", &format!("'{user}'@'%'")).replace("<number>", "2");
    execute(&mut admin, &more).await.unwrap_or_else(|error| panic!("{limit}: {error}"));
    connect(&restricted, "").await.expect("there may be two").close().await.expect("it closes");
    let denied = Mysql::create(&mut connection, &free_name("denied")).await.expect_err("it is forbidden");
    let Fault::Denied { grant, .. } = Mysql::fault(&denied) else { panic!("{denied}") };
    assert!(grant.starts_with("GRANT ALL PRIVILEGES ON `fdbtest_denied_"), "{grant}");
    assert!(grant.ends_with(&format!(".* TO '{user}'@'%'")), "{grant}");
    let denied = execute(&mut connection, "SELECT * FROM mysql.user").await.expect_err("it is forbidden");
    let Fault::Denied { grant, .. } = Mysql::fault(&denied) else { panic!("{denied}") };
    // MySQL does not say of which database the table is.
    let on = if kind == Kind::Mysql { "*.*" } else { "`mysql`.*" };
    assert!(grant.starts_with(&format!("GRANT SELECT ON {on} TO '{user}'@'")), "{grant}");

    let name = free_name("locked");
    Mysql::create(&mut admin, &name).await.expect("a database");
    execute(&mut admin, &format!("CREATE TABLE {name}.t (id INT); LOCK TABLES {name}.t READ")).await.expect("a lock");
    let mut other = self::admin(kind).await;
    let locked = execute(&mut other, &format!("SET SESSION lock_wait_timeout = 1; DROP DATABASE {name}")).await;
    let error = explain::<Mysql>("no", locked.expect_err("it waits in vain"));
    let hint = error.advice().expect("a hint");
    assert!(hint.contains("`SHOW PROCESSLIST`") && hint.contains("`XA RECOVER`"), "{hint}");
    execute(&mut admin, &format!("UNLOCK TABLES; DROP DATABASE {name}")).await.expect("it can be dropped");

    let id = rows(&mut connection, "SELECT CONNECTION_ID()").await.expect("an id")[0][0].clone().expect("a number");
    execute(&mut admin, &format!("KILL {id}")).await.expect("it is killed");
    let lost = loop {
        if let Err(error) = execute(&mut connection, "SELECT 1").await {
            break error;
        }
    };
    assert_eq!(Mysql::fault(&lost), Fault::Lost, "{lost}");
    execute(&mut admin, &format!("DROP USER '{user}'@'%'")).await.expect("it is dropped");
}

/// Of a server that has not gone.
#[test]
fn a_session_that_takes_long_to_end_is_no_server_that_is_lost() {
    let error = explain::<Mysql>("failed to drop it", still_there());
    assert_eq!(error.kind(), ErrorKind::Database);
    assert_eq!(
        format!("{error:?}"),
        "failed to drop it\n  caused by: sessions that were killed are still there after 10 s\n\
         hint: a session that is killed rolls back first, which takes about as long as its writes did; `SHOW PROCESSLIST` shows it until then"
    );
}

/// `SELECT … INTO OUTFILE 'x.csv'` writes there, where the server lets it. MySQL drops the database all the same.
async fn a_directory_with_a_file_of_somebody_elses_is_named() {
    let mut admin = admin(Kind::Mariadb).await;
    let name = free_name("outfile");
    Mysql::create(&mut admin, &name).await.expect("a database");
    let data = rows(&mut admin, "SELECT @@GLOBAL.datadir").await.expect("a directory").remove(0).remove(0);
    let file = std::path::Path::new(&data.expect("a path")).join(&name).join("x.csv");
    std::fs::write(&file, "x").expect("the server's files are in reach");
    let error = Mysql::drop(&mut admin, &name).await.expect_err("it is not empty");
    let error = explain::<Mysql>("failed to drop it", error);
    assert_eq!(error.kind(), ErrorKind::Database);
    let text = format!("{error:?}");
    let hint = format!(
        "\nhint: in the server's data directory, remove from `{name}` what is no table's: `SELECT … INTO OUTFILE` writes a file without a path there"
    );
    assert!(text.contains("Error dropping database") && text.ends_with(&hint), "{text}");
    std::fs::remove_file(&file).expect("it is there");
    Mysql::drop(&mut admin, &name).await.expect("it can be dropped");
}
