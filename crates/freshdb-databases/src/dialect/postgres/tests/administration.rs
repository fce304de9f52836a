//! Locks, sessions, making and dropping databases.

use super::super::super::{Fault, explain};
use super::super::connection::rows;
use super::super::databases;
use super::super::template::{schema_lets_count, server_counts};
use super::*;

#[tokio::test]
async fn the_registry_is_made_once_by_many_at_the_same_time() {
    let server = server();
    let made = futures_util::future::join_all((0..6).map(|_| Postgres::create_registry(&server))).await;
    for made in made {
        made.expect("everybody finds it afterwards");
    }
    let mut admin = admin().await;
    assert!(Postgres::exists(&mut admin, REGISTRY).await.expect("the server answers"));
}

#[tokio::test]
async fn a_lock_is_held_until_it_is_given_back_or_its_connection_ends() {
    let (mut one, mut other) = (admin().await, admin().await);
    let name = free_name("lock");
    assert!(Postgres::try_lock(&mut one, &name).await.expect("the server answers"));
    assert!(!Postgres::try_lock(&mut other, &name).await.expect("the server answers"));
    assert!(Postgres::try_lock(&mut other, &format!("{name}_")).await.expect("the server answers"));
    Postgres::unlock(&mut one, &name).await.expect("the server answers");
    assert!(Postgres::try_lock(&mut other, &name).await.expect("the server answers"));
    other.close().await.expect("it closes");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !Postgres::try_lock(&mut one, &name).await.expect("the server answers") {
        assert!(std::time::Instant::now() < deadline, "the lock outlives its connection");
    }
}

/// The server goes on with it when its client has ended, and until it is done there is nothing to drop.
#[tokio::test]
async fn what_a_dead_process_has_begun_to_make_is_dropped() {
    let mut fixture = Fixture::new("orphan", "CREATE TABLE t (x text)").await;
    let (server, template) = (fixture.server.clone(), fixture.template.name.clone());
    let name = format!("{template}_orphan");
    // Whoever is in a template is waited for.
    databases::alter(&mut fixture.admin, &template, "ALLOW_CONNECTIONS true").await.expect("the server answers");
    let inside = user(&server, &template).await;
    let (source, copy) = (template.clone(), name.clone());
    let mut maker = admin().await;
    let making = tokio::spawn(async move { databases::copy(&mut maker, &source, "", &copy).await });
    let mut watcher = admin().await;
    let begun =
        format!("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'CREATE DATABASE%{name}%'");
    eventually(&mut watcher, &begun, true).await;
    making.abort();
    making.await.expect_err("its client is gone");
    eventually(&mut watcher, &begun, true).await;

    let dropped = async { Postgres::drop(&mut fixture.admin, &name).await.expect("it is dropped") };
    let waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    let released = async {
        eventually(&mut watcher, waits, true).await;
        inside.close().await.expect("it closes");
    };
    tokio::join!(dropped, released);
    eventually(&mut watcher, &begun, false).await;
    assert!(!Postgres::exists(&mut watcher, &name).await.expect("the server answers"));
    fixture.drop().await;
}

async fn eventually(connection: &mut Connection, sql: &str, is_there: bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(3);
    while value(connection, sql).await.expect("the server answers").is_some() != is_there {
        assert!(std::time::Instant::now() < deadline, "{sql}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn sessions_are_told_apart() {
    let mut admin = admin().await;
    let name = free_name("sessions");
    Postgres::create(&mut admin, &name).await.expect("an empty database");
    let mut inside = user(&server(), &name).await;
    let pid = value(&mut inside, "SELECT pg_backend_pid()").await.expect("the server answers").expect("a number");
    execute(&mut inside, "BEGIN").await.expect("the server answers");
    execute(&mut inside, "SELECT 'it''s me'").await.expect("the server answers");
    let sessions = Postgres::sessions(&mut admin, &name, &[]).await.expect("the server answers");
    let [found] = &sessions[..] else { panic!("one session is on it: {sessions:?}") };
    assert_eq!(found.id.to_string(), pid);
    let others = Postgres::sessions(&mut admin, &name, &[found.id]).await.expect("the server answers");
    assert_eq!(others, []);
    assert_eq!(found.database.as_deref(), Some(name.as_str()));
    assert_eq!(found.client.as_deref(), Some("a test"));
    assert_eq!(found.state.as_deref(), Some("idle in transaction"));
    assert_eq!(found.statement.as_deref(), Some("SELECT 'it''s me'"));
    // It is dropped although somebody is in it.
    Postgres::drop(&mut admin, &name).await.expect("it can be dropped");
    let error = execute(&mut inside, "SELECT 1").await.expect_err("the session is gone");
    assert_eq!(Postgres::fault(&error), Fault::Lost);
    Postgres::drop(&mut admin, &name).await.expect("what is not there is dropped already");
}

#[tokio::test]
async fn the_limit_leaves_out_what_the_server_reserves() {
    let mut admin = admin().await;
    let all = value(&mut admin, "SHOW max_connections").await.expect("the server answers").expect("a number");
    let kept =
        value(&mut admin, "SHOW superuser_reserved_connections").await.expect("the server answers").expect("a number");
    let limit = Postgres::connection_limit(&mut admin).await.expect("the server answers");
    assert_eq!(limit, all.parse::<u32>().expect("a number") - kept.parse::<u32>().expect("a number"));
    let identity = Postgres::identity(&mut admin).await.expect("the server answers");
    assert!(identity.starts_with("PostgreSQL ") && identity.contains("TimeZone="), "{identity}");
}

#[tokio::test]
async fn the_limit_is_the_roles_where_that_is_less() {
    let mut admin = admin().await;
    let role = free_name("few");
    execute(&mut admin, &format!("CREATE ROLE {role} LOGIN PASSWORD 'secret' CONNECTION LIMIT 20"))
        .await
        .expect("a role");
    let mut limited = connect(&server_of(&role), REGISTRY).await.expect("a connection");
    assert_eq!(Postgres::connection_limit(&mut limited).await.expect("the server answers"), 20);
    limited.close().await.expect("it closes");
    // It does not limit a superuser.
    execute(&mut admin, &format!("ALTER ROLE {role} SUPERUSER")).await.expect("it is one");
    let mut unlimited = connect(&server_of(&role), REGISTRY).await.expect("a connection");
    let all = Postgres::connection_limit(&mut admin).await.expect("the server answers");
    assert_eq!(Postgres::connection_limit(&mut unlimited).await.expect("the server answers"), all);
    unlimited.close().await.expect("it closes");
    execute(&mut admin, &format!("DROP ROLE {role}")).await.expect("the role can be dropped");
}

/// Or the locks of leases would end whenever nothing is said for that long.
#[tokio::test]
async fn no_time_limit_of_a_role_ends_sessions_of_freshdbs_own() {
    let mut admin = admin().await;
    let role = free_name("brief");
    execute(&mut admin, &format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")).await.expect("a role");
    let limits =
        "SELECT name FROM pg_settings WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout',
        'idle_session_timeout', 'transaction_timeout')";
    let limits = rows(&mut admin, limits).await.expect("the server answers").into_iter().flatten().flatten();
    let limits = limits.collect::<Vec<_>>();
    assert!(limits.len() >= 2, "{limits:?}");
    for limit in &limits {
        execute(&mut admin, &format!("ALTER ROLE {role} SET {limit} = '1min'")).await.expect("it is set");
    }
    let mut brief = connect(&server_of(&role), REGISTRY).await.expect("a connection");
    for limit in &limits {
        let now = value(&mut brief, &format!("SELECT current_setting('{limit}')")).await.expect("the server answers");
        assert_eq!(now.as_deref(), Some("0"), "{limit}");
    }
    brief.close().await.expect("it closes");
    execute(&mut admin, &format!("DROP ROLE {role}")).await.expect("the role can be dropped");
}

/// It is that of a schema's own session, which has it from the server, its role, PGOPTIONS or the URL.
#[tokio::test]
async fn the_search_path_is_part_of_what_the_server_is() {
    let mut identities = Vec::new();
    for options in ["-c search_path=elsewhere,public", "-c IntervalStyle=iso_8601", "-c bytea_output=escape"] {
        let mut url = url::Url::parse(&server().reveal()).expect("a URL");
        url.query_pairs_mut().append_pair("options", options);
        let server = crate::DatabaseUrl::parse(url.as_str()).expect("a URL");
        let mut connection = connect(&server, REGISTRY).await.expect("a connection");
        let identity = Postgres::identity(&mut connection).await.expect("the server answers");
        let (_, setting) = options.split_once(' ').expect("a setting");
        assert!(identity.replace(", public", ",public").contains(setting), "{identity}");
        // What freshdb itself says to the server means what it means everywhere.
        let now = value(&mut connection, "SELECT current_setting('search_path')").await.expect("the server answers");
        assert_eq!(now.as_deref(), Some("pg_catalog, pg_temp"));
        connection.close().await.expect("it closes");
        identities.push(identity);
    }
    assert!(identities[0] != identities[1] && identities[1] != identities[2]);
}

/// It is not what the server says of the database that all others are made of.
#[tokio::test]
async fn the_library_that_compares_texts_is_part_of_what_the_server_is() {
    let mut admin = admin().await;
    // It was called otherwise before 17, and before 15 the server told none of it.
    let sql = "SELECT attname FROM pg_attribute WHERE attrelid = 'pg_database'::regclass AND attname IN ('datlocale', 'daticulocale')";
    let Some(locale) = value(&mut admin, sql).await.expect("the server answers") else {
        test_support::say(
            "postgres: the version of the library that compares texts is NOT tested: this server does not tell it",
        );
        return;
    };
    let sql =
        format!("BEGIN; UPDATE pg_database SET datlocprovider = 'i', {locale} = 'und' WHERE datname = 'template0'");
    execute(&mut admin, &sql).await.expect("as if it were so");
    let identity = Postgres::identity(&mut admin).await.expect("the server answers");
    let sql = "SELECT pg_collation_actual_version(oid) FROM pg_collation WHERE collname = 'und-x-icu'";
    let version = value(&mut admin, sql).await.expect("the server answers").expect("a version");
    assert!(identity.contains(&version), "{version} is not in {identity}");
}

#[tokio::test]
async fn a_role_that_has_too_many_connections_is_told_by_what_it_may_have_more() {
    let mut admin = admin().await;
    let role = free_name("limited");
    execute(&mut admin, &format!("CREATE ROLE {role} LOGIN PASSWORD 'secret' CONNECTION LIMIT 0"))
        .await
        .expect("a role");
    let refused = connect(&server_of(&role), REGISTRY).await.map(|_| ()).expect_err("it may have none");
    let hint = "raise the role's limit, by `ALTER ROLE <user> CONNECTION LIMIT <number>`, or let fewer leases be out at once \
                (`PoolBuilder::limit`)";
    let error = explain::<Postgres>("x", refused);
    assert_eq!((error.kind(), error.advice()), (crate::ErrorKind::ConnectionsExhausted, Some(hint)));
    execute(&mut admin, &format!("DROP ROLE {role}")).await.expect("the role can be dropped");
}

#[tokio::test]
async fn a_missing_privilege_is_named_by_what_grants_it() {
    let mut admin = admin().await;
    let role = free_name("role");
    execute(&mut admin, &format!("CREATE ROLE {role}")).await.expect("a role");
    let mut weak = self::admin().await;
    execute(&mut weak, &format!("SET ROLE {role}")).await.expect("the role can be taken");
    let error = Postgres::create(&mut weak, &free_name("never")).await.expect_err("it is not permitted");
    assert_eq!(Postgres::fault(&error), Fault::Denied { grant: "ALTER ROLE <user> CREATEDB".to_owned(), within: None });
    let error = execute(&mut weak, "SET session_replication_role = replica").await.expect_err("it is not permitted");
    let grant = if grants_parameters(&mut admin).await {
        "GRANT SET ON PARAMETER session_replication_role TO <user>"
    } else {
        "ALTER ROLE <user> SUPERUSER"
    };
    assert_eq!(Postgres::fault(&error), Fault::Denied { grant: grant.to_owned(), within: None });
    execute(&mut admin, &format!("ALTER ROLE {role} CREATEDB")).await.expect("it is granted");
    let sql = format!("CREATE DATABASE {} OWNER pg_monitor", free_name("never"));
    let error = execute(&mut weak, &sql).await.expect_err("it is not permitted");
    assert_eq!(Postgres::fault(&error), Fault::Denied { grant: "GRANT pg_monitor TO <user>".to_owned(), within: None });
    // The administrator's session is a superuser's.
    let pid = value(&mut admin, "SELECT pg_backend_pid()").await.expect("the server answers").expect("a number");
    let sql = format!("SELECT pg_terminate_backend({pid})");
    let error = execute(&mut weak, &sql).await.expect_err("it is not permitted");
    assert_eq!(
        Postgres::fault(&error),
        Fault::Denied { grant: "ALTER ROLE <user> SUPERUSER".to_owned(), within: None }
    );
    weak.close().await.expect("it closes");
    execute(&mut admin, &format!("DROP ROLE {role}")).await.expect("the role can be dropped");
}

#[tokio::test]
async fn a_copy_equals_its_template_which_can_be_read_again_and_dropped() {
    let fixture =
        Fixture::new("copy", "CREATE TABLE \"a \"\"b\" (id serial, x text); INSERT INTO \"a \"\"b\" (x) VALUES ('');")
            .await;
    assert_eq!(fixture.dump(), fixture.pristine);
    let name = fixture.template.name.clone();
    let (one, other) =
        tokio::join!(Postgres::read_template(&fixture.server, &name), Postgres::read_template(&fixture.server, &name));
    let again = one.expect("a sealed template can be read");
    other.expect("by two at the same time");
    let second = Postgres::copy(&fixture.server, &again, &format!("{name}_2")).await.expect("and copied");
    assert_eq!(dump(&fixture.server, &second.name), fixture.pristine);
    let error = connect(&fixture.server, &name).await.map(|_| ()).expect_err("nobody else can be on it");
    assert!(error.to_string().contains("not currently accepting connections"), "{error}");
    let mut fixture = fixture;
    Postgres::close(second).await;
    Postgres::drop(&mut fixture.admin, &format!("{name}_2")).await.expect("it can be dropped");
    fixture.drop().await;
}

#[tokio::test]
async fn a_template_is_read_by_many_at_once() {
    let fixture = Fixture::new("many", "CREATE TABLE t (id serial)").await;
    for _ in 0..5 {
        let reads = (0..8).map(|_| Postgres::read_template(&fixture.server, &fixture.template.name));
        for read in futures_util::future::join_all(reads).await {
            read.expect("the template can be read");
        }
    }
    fixture.drop().await;
}

#[tokio::test]
async fn one_who_may_only_make_databases_is_told_what_a_reset_lacks() {
    test_support::begin_log();
    let mut admin = admin().await;
    let role = new_maker(&mut admin, "owner").await;
    let server = server_of(&role);
    let schema = "CREATE TABLE seeded (id serial, x text); CREATE TABLE empty (id serial);
        INSERT INTO seeded (x) VALUES ('a'), ('b');";
    let mut fixture = Fixture::on(server, "owner", schema).await;
    assert!(!test_support::warned(&["sqlx::postgres::notice", "vacuum"]), "the server's own tables are named");
    assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 0 });
    fixture.run("INSERT INTO empty DEFAULT VALUES").await.close().await.expect("it closes");
    let Outcome::Changed(reason) = fixture.reset().await.outcome else { panic!("it cannot be put back") };
    assert!(reason.starts_with("public.empty was touched"), "{reason}");
    let grants = grants_parameters(&mut admin).await;
    let grant =
        if grants { "GRANT SET ON PARAMETER session_replication_role TO" } else { "ALTER ROLE <user> SUPERUSER" };
    assert!(reason.contains(&format!("without `{grant}")), "{reason}");
    fixture.anew().await;
    fixture.run("UPDATE seeded SET x = 'c' WHERE x = 'a'").await.close().await.expect("it closes");
    let Outcome::Changed(reason) = fixture.reset().await.outcome else { panic!("it cannot be put back") };
    assert!(reason.starts_with("public.seeded was touched"), "{reason}");
    if !grants {
        fixture.drop().await;
        execute(&mut admin, &format!("DROP ROLE {role}")).await.expect("the role can be dropped");
        return;
    }
    // With just that grant it can, although what it does itself is counted.
    execute(&mut admin, &format!("GRANT SET ON PARAMETER session_replication_role TO {role}"))
        .await
        .expect("it is granted");
    fixture.anew().await;
    for _ in 0..3 {
        let sql = "INSERT INTO empty DEFAULT VALUES; UPDATE seeded SET x = 'c' WHERE x = 'a'";
        fixture.run(sql).await.close().await.expect("it closes");
        assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 2 });
        assert_eq!(fixture.dump(), fixture.pristine);
        assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 0 });
    }
    fixture.run("SELECT lo_from_bytea(0, 'large')").await.close().await.expect("it closes");
    assert!(matches!(fixture.reset().await.outcome, Outcome::Changed(_)));
    fixture.drop().await;
    let sql = format!("REVOKE SET ON PARAMETER session_replication_role FROM {role}; DROP ROLE {role}");
    execute(&mut admin, &sql).await.expect("the role can be dropped");
}

/// A superuser would see them, and a test of such policies nothing of these.
#[tokio::test]
async fn one_whose_own_rows_are_hidden_is_told_what_shows_them() {
    let mut admin = admin().await;
    let role = new_maker(&mut admin, "owner").await;
    let server = server_of(&role);
    let name = free_name("hidden");
    let mut maker = connect(&server, REGISTRY).await.expect("a connection");
    Postgres::create(&mut maker, &name).await.expect("an empty database");
    let mut inside = user(&server, &name).await;
    let schema = "CREATE TABLE tenants (id int); ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
        ALTER TABLE tenants FORCE ROW LEVEL SECURITY";
    execute(&mut inside, schema).await.expect("the schema");
    inside.close().await.expect("it closes");
    let error = Postgres::read_template(&server, &name).await.map(|_| ()).expect_err("its rows are hidden");
    assert!(format!("{error:?}").contains("run `ALTER ROLE <user> BYPASSRLS`"), "{error:?}");
    execute(&mut admin, &format!("ALTER ROLE {role} BYPASSRLS")).await.expect("it is granted");
    Postgres::read_template(&server, &name).await.expect("it can be read");
    maker.close().await.expect("it closes");
    Postgres::drop(&mut admin, &name).await.expect("it can be dropped");
    execute(&mut admin, &format!("DROP ROLE {role}")).await.expect("the role can be dropped");
}

/// The rows of a large object are a superuser's to read.
#[tokio::test]
async fn what_cannot_be_read_is_not_taken_to_be_the_same() {
    let mut admin = admin().await;
    let role = new_maker(&mut admin, "owner").await;
    // As many writes in the template as there will be in the copy.
    let mut fixture = Fixture::on(server_of(&role), "large", "SELECT lo_from_bytea(4711, 'large')").await;
    let tells_of_writes = counts_at_once(&mut admin).await;
    for unknown in [false, true] {
        fixture.run("SELECT lo_put(4711, 0, 'other')").await.close().await.expect("it closes");
        if unknown {
            fixture.unknown().await;
        }
        let outcome = fixture.reset().await.outcome;
        assert!(
            matches!(&outcome, Outcome::Changed(what) if what.contains("pg_largeobject is not this user's")),
            "{unknown}: {outcome:?}"
        );
        fixture.anew().await;
        let outcome = fixture.reset().await.outcome;
        // Where nothing tells that nobody has written to it, it may be another.
        assert_eq!(outcome == Outcome::Pristine { touched: 0 }, tells_of_writes, "{outcome:?}");
    }
    fixture.drop().await;
    execute(&mut admin, &format!("DROP ROLE {role}")).await.expect("the role can be dropped");
}

/// A role that may make databases, and no more, with the password `secret`.
async fn new_maker(admin: &mut Connection, what: &str) -> String {
    let role = free_name(what);
    execute(admin, &format!("CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'secret'")).await.expect("a role");
    role
}

/// The same server for a role with the password `secret`.
fn server_of(role: &str) -> DatabaseUrl {
    let url = server().reveal();
    let (protocol, rest) = url.split_once("://").expect("a URL");
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    DatabaseUrl::parse(&format!("{protocol}://{role}:secret@{host}")).expect("a URL")
}

/// `CREATE DATABASE … TEMPLATE` copies none of them.
#[tokio::test]
async fn owner_privileges_and_limit_of_the_database_are_copied() {
    let mut admin = admin().await;
    let (maker, owner, other) = (free_name("maker"), free_name("owner"), free_name("other"));
    let roles =
        format!("CREATE ROLE {owner}; CREATE ROLE {other}; CREATE ROLE {maker} LOGIN CREATEDB PASSWORD 'secret'");
    execute(&mut admin, &format!("{roles}; GRANT {owner} TO {maker}")).await.expect("roles");
    let says = [
        "ALTER DATABASE %I OWNER TO OWNER",
        "REVOKE ALL ON DATABASE %I FROM PUBLIC",
        "GRANT CREATE ON DATABASE %I TO OTHER WITH GRANT OPTION",
        "GRANT CONNECT, TEMPORARY ON DATABASE %I TO OTHER",
        "ALTER DATABASE %I CONNECTION LIMIT 7",
    ];
    let says = says.map(|sql| format!("EXECUTE format('{sql}', current_database());")).concat();
    let schema = format!("DO $$ BEGIN {says} END $$");
    let schema = schema.replace("TO OWNER", &format!("TO {owner}")).replace("TO OTHER", &format!("TO {other}"));
    for server in [server(), server_of(&maker)] {
        let mut fixture = Fixture::on(server, "owned", &schema).await;
        let mut inside = fixture.user().await;
        let sql = format!("SELECT {}", crate::dialect::postgres::probe::DATABASE);
        let copied = value(&mut inside, &sql).await.expect("the server answers").expect("a value");
        assert_eq!(copied, fixture.template.database);
        assert!(copied.contains(&format!("{other}=C*Tc/{owner}")) && !copied.contains("\"=Tc/"), "{copied}");
        inside.close().await.expect("it closes");
        // So a process that finds it can tell that nobody changed them.
        fixture.unknown().await;
        assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 0 });
        fixture.drop().await;
    }
    execute(&mut admin, &format!("DROP ROLE {maker}, {owner}, {other}")).await.expect("the roles can be dropped");
}

#[tokio::test]
async fn privileges_that_cannot_be_copied_are_named() {
    let mut admin = admin().await;
    let (role, other) = (free_name("role"), free_name("other"));
    execute(&mut admin, &format!("CREATE ROLE {role}; CREATE ROLE {other}")).await.expect("roles");
    let name = free_name("granted");
    Postgres::create(&mut admin, &name).await.expect("an empty database");
    // What the other role has, it has from this one, who is not the owner.
    let sql = format!(
        "GRANT CREATE ON DATABASE {name} TO {role} WITH GRANT OPTION; SET ROLE {role};
        GRANT CREATE ON DATABASE {name} TO {other}; RESET ROLE"
    );
    execute(&mut admin, &sql).await.expect("the privileges are granted");
    let template = Postgres::read_template(&server(), &name).await.expect("the template can be read");
    let copy = format!("{name}_1");
    let error = Postgres::copy(&server(), &template, &copy).await.map(|_| ()).expect_err("it has other privileges");
    let text = format!("{error:?}");
    assert!(text.contains(&format!("{other}=C/{role}")) && text.contains("hint: let the owner"), "{text}");
    for name in [&copy, &name] {
        Postgres::drop(&mut admin, name).await.expect("it can be dropped");
    }
    execute(&mut admin, &format!("DROP ROLE {role}, {other}")).await.expect("the roles can be dropped");
}

/// Whoever does not count what he does may have been told so by a superuser once and for all.
#[tokio::test]
async fn counters_are_not_believed_where_a_role_does_not_count() {
    let mut admin = admin().await;
    if !counts_at_once(&mut admin).await {
        assert!(!server_counts(&mut admin).await.expect("the server answers"), "nobody knows when");
        return;
    }
    assert!(server_counts(&mut admin).await.expect("the server answers"), "this server counts");
    let role = free_name("role");
    let sql = format!("BEGIN; CREATE ROLE {role}; ALTER ROLE {role} SET track_counts = off");
    execute(&mut admin, &sql).await.expect("a role that does not");
    assert!(!server_counts(&mut admin).await.expect("the server answers"));
    execute(&mut admin, "ROLLBACK").await.expect("nobody else has seen it");
}

/// Nor where a function of the schema has it not counted what it does.
#[tokio::test]
async fn counters_are_not_believed_where_a_function_does_not_count() {
    let mut admin = admin().await;
    assert!(schema_lets_count(&mut admin).await.expect("the server answers"), "nothing stands in the way");
    let function = free_name("function");
    let sql =
        format!("BEGIN; CREATE FUNCTION {function}() RETURNS int LANGUAGE sql SET track_counts = off AS 'SELECT 1'");
    execute(&mut admin, &sql).await.expect("a function that does not");
    assert!(!schema_lets_count(&mut admin).await.expect("the server answers"));
    execute(&mut admin, "ROLLBACK").await.expect("nobody else has seen it");
}
