//! Who gets in, and how long it takes until they do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Instant;

use freshdb_databases::{Config, DatabaseUrl, Kind, Server};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};

use crate::harness::{Place, lives, on_every_server};

on_every_server! {
    /// One story, for a server is not started for each sentence of it.
    async fn only_who_should_gets_in(kind: Kind) {
        test_support::begin_log();
        let place = Place::new();
        let config = place.config();
        // It fills the cache, if that is empty.
        Server::of(kind, &config).await.unwrap().stop().await.unwrap();

        let start = Instant::now();
        let server = Server::of(kind, &config).await.unwrap();
        eprintln!("{kind}: ready from the cache in {:?}", start.elapsed());
        assert!(server.is_throwaway());
        assert_eq!((server.kind(), server.url().kind()), (kind, kind));

        assert!(!test_support::warned(&["sqlx::postgres::notice"]), "what the server thinks of its password is nobody's");

        // By both doors, as the administrator.
        assert_eq!(limit_of_connections(server.url(), None).await.unwrap(), 300);
        assert_eq!(limit_of_connections(server.url(), server.socket()).await.unwrap(), 300);

        let other_password = server.url().reveal().replacen("root:", "root:x", 1).replacen("postgres:", "postgres:x", 2);
        let other_password = other_password.replacen("postgres:x//", "postgres://", 1);
        let refusal = limit_of_connections(&DatabaseUrl::parse(&other_password).unwrap(), None).await.unwrap_err();
        // MySQL's answer to a wrong hash is to ask for the password itself, which this driver does not send in clear.
        let is_refusal = match refusal {
            sqlx::Error::Configuration(_) => kind == Kind::Mysql,
            sqlx::Error::Database(_) => true,
            _ => false,
        };
        assert!(is_refusal, "{refusal:?}");

        assert_eq!(addresses_that_listen(port(server.url())), ["0100007F"], "127.0.0.1 and no other");

        let socket = socket_file(&server);
        let directory = socket.parent().unwrap();
        assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700);
        UnixStream::connect(&socket).expect("we may");
        somebody_else_is_kept_out(&place, &socket);

        // The password is not where every user could read it.
        let arguments = fs::read(format!("/proc/{}/cmdline", server.process().unwrap())).unwrap();
        let revealed = server.url().reveal();
        let password = revealed.split_once('@').unwrap().0.rsplit_once(':').unwrap().1;
        assert_eq!(password.len(), 32);
        assert!(!String::from_utf8_lossy(&arguments).contains(password));
        assert!(!format!("{server:?} {}", server.url()).contains(password));

        // Whoever asks again gets the same one.
        let same = Server::of(kind, &config).await.unwrap();
        assert_eq!(same.process(), server.process());

        let process = server.process().unwrap();
        let start = Instant::now();
        server.stop().await.unwrap();
        eprintln!("{kind}: stopped in {:?}", start.elapsed());
        assert!(!lives(process));
        assert!(place.is_empty());
        same.stop().await.expect("once is enough, and twice is no error");

        // Nobody is given one that was stopped.
        let next = Server::of(kind, &config).await.unwrap();
        assert_ne!(next.process(), server.process());
        next.stop().await.unwrap();
    }
}

on_every_server! {
    /// PostgreSQL takes several directories for its sockets, with a comma between them.
    async fn a_directory_may_have_any_name(kind: Kind) {
        let place = Place::new();
        let directory = place.run().join(r#" a,b "c",'d' %41;#?&ü"#);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        let server = Server::of(kind, &place.config().with_run_dir(&directory)).await.unwrap();
        assert!(socket_file(&server).starts_with(&directory));
        assert_eq!(limit_of_connections(server.url(), server.socket()).await.unwrap(), 300);
        server.stop().await.unwrap();
        fs::remove_dir(&directory).expect("it is empty");
    }
}

/// SQLite's server is a directory. It is there without any runtime.
#[test]
fn a_directory_stands_for_sqlite() {
    let place = Place::new();
    let server = futures_executor::block_on(Server::of(Kind::Sqlite, &place.config())).unwrap();
    let directory = server.url().path().unwrap().to_owned();
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    fs::write(directory.join("a.db"), "").unwrap();
    futures_executor::block_on(server.stop()).unwrap();
    assert!(place.is_empty());
}

#[tokio::test]
async fn a_url_is_used_as_it_is() {
    let url = DatabaseUrl::parse("mysql://me:secret@nowhere.invalid:1").unwrap();
    let server = Server::of(Kind::Mysql, &Config::new("/nowhere").with_url(url.clone())).await.unwrap();
    assert!(!server.is_throwaway());
    assert_eq!((server.url(), server.process(), server.socket()), (&url, None, None));
    server.stop().await.unwrap();
}

async fn limit_of_connections(url: &DatabaseUrl, socket: Option<&Path>) -> Result<i64, sqlx::Error> {
    if url.kind() == Kind::Postgres {
        let mut options = PgConnectOptions::from_str(&url.reveal())?;
        if let Some(socket) = socket {
            options = options.socket(socket);
        }
        let mut connection = options.connect().await?;
        let text: String = sqlx::query_scalar("SHOW max_connections").fetch_one(&mut connection).await?;
        connection.close().await?;
        return Ok(text.parse().unwrap());
    }
    let mut options = MySqlConnectOptions::from_str(&url.reveal())?;
    if let Some(socket) = socket {
        options = options.socket(socket);
    }
    let mut connection = options.connect().await?;
    let query = sqlx::query("SELECT CAST(@@max_connections AS SIGNED)");
    // No goodbye: over TLS it has two parts, and the server hangs up after the first, which is an error on a Unix socket.
    Ok(query.fetch_one(&mut connection).await?.get(0))
}

fn port(url: &DatabaseUrl) -> u16 {
    let text = url.reveal();
    let address = text.rsplit_once('@').unwrap().1;
    address.split('/').next().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

/// As the kernel writes them, of both versions of IP.
fn addresses_that_listen(port: u16) -> Vec<String> {
    const LISTENING: &str = "0A";

    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| fs::read_to_string(file).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1));
    rows.filter_map(|row| {
        let fields: Vec<_> = row.split_whitespace().collect();
        let (address, number) = fields[1].rsplit_once(':').unwrap();
        let listens = fields[3] == LISTENING && u16::from_str_radix(number, 16) == Ok(port);
        listens.then(|| address.to_owned())
    })
    .collect()
}

fn socket_file(server: &Server) -> PathBuf {
    let socket = server.socket().unwrap();
    if server.kind() == Kind::Postgres {
        socket.join(format!(".s.PGSQL.{}", port(server.url())))
    } else {
        socket.into()
    }
}

const SOCKET: &str = "FRESHDB_TEST_SOCKET";

/// Only root can be somebody else.
fn somebody_else_is_kept_out(place: &Place, socket: &Path) {
    const NOBODY: u32 = 65_534;

    if fs::metadata(place.path()).unwrap().uid() != 0 {
        return;
    }
    // Where everybody may run it.
    let program = place.path().join("somebody");
    test_support::copy_program(std::env::current_exe().unwrap(), &program);
    let mut command = Command::new(&program);
    command.args(["--ignored", "--exact", "--nocapture", "doors::somebody_else"]).env(SOCKET, socket).current_dir("/");
    let output = command.uid(NOBODY).gid(NOBODY).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("connecting: PermissionDenied"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    fs::remove_file(program).unwrap();
}

#[test]
#[ignore = "started by the tests that need somebody else"]
fn somebody_else() {
    match UnixStream::connect(std::env::var_os(SOCKET).expect("it is set")) {
        Ok(_) => println!("connecting: it is open"),
        Err(error) => println!("connecting: {:?}", error.kind()),
    }
}
