//! What is said when there is no server.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use freshdb_databases::{Config, ErrorKind, Kind, Server};

use crate::harness::Place;

/// The message, without what differs from run to run.
async fn message(kind: Kind, config: &Config, place: &Place) -> String {
    let error = Server::of(kind, config).await.expect_err("no server");
    assert_eq!(error.kind(), ErrorKind::NoServer, "{error:?}");
    assert!(place.is_empty());
    let mut text = format!("{error:?}").replace(place.path().to_str().unwrap(), "/place");
    for (mark, end) in [("freshdb-run.", '/'), ("--port=", ' ')] {
        let parts: Vec<_> = text.split(mark).map(str::to_owned).collect();
        let rest = parts[1..].iter().map(|part| part.split_once(end).map_or("", |(_, rest)| rest));
        let rest: Vec<_> = rest.map(|rest| format!("{mark}…{end}{rest}")).collect();
        text = format!("{}{}", parts[0], rest.concat());
    }
    text
}

#[tokio::test]
async fn a_server_that_is_not_installed() {
    let place = Place::new();
    let config = place.config().with_program_dirs(["/nowhere/sbin", "/nowhere/bin"]);
    insta::assert_snapshot!(message(Kind::Mysql, &config, &place).await, @r"
    there is no MySQL server: none that can be run is installed, and FRESHDB_MYSQL_URL is not set
      looked for `mysqld` in
        /nowhere/sbin
        /nowhere/bin
    hint: install MySQL (on Ubuntu the package `mysql-server`; on Debian, freshdb's `scripts/install-servers --engine mysql` gets it), or set FRESHDB_MYSQL_URL to the URL of a server
    ");
    insta::assert_snapshot!(message(Kind::Mariadb, &config, &place).await, @r"
    there is no MariaDB server: none that can be run is installed, and FRESHDB_MARIADB_URL is not set
      looked for `mariadbd` and `mysqld` in
        /nowhere/sbin
        /nowhere/bin
    hint: install MariaDB (on Debian and Ubuntu the package `mariadb-server-core`), or set FRESHDB_MARIADB_URL to the URL of a server
    ");
    insta::assert_snapshot!(message(Kind::Postgres, &config, &place).await, @r"
    there is no PostgreSQL server: none that can be run is installed, and FRESHDB_POSTGRES_URL is not set
      looked for `postgres` in
        /nowhere/sbin
        /nowhere/bin
    hint: install PostgreSQL (on Debian and Ubuntu the package `postgresql`), or set FRESHDB_POSTGRES_URL to the URL of a server
    ");
}

/// MariaDB still installs itself under MySQL's names.
#[tokio::test]
async fn another_server_under_its_name() {
    let place = Place::new();
    let bin = place.program("mysqld", "echo 'mysqld  Ver 10.11.19-MariaDB for debian-linux-gnu on x86_64 (Debian 12)'");
    insta::assert_snapshot!(message(Kind::Mysql, &place.config().with_program_dirs([bin]), &place).await, @r"
    there is no MySQL server: none that can be run is installed, and FRESHDB_MYSQL_URL is not set
      `/place/bin/mysqld` is another server: mysqld  Ver 10.11.19-MariaDB for debian-linux-gnu on x86_64 (Debian 12)
      looked for `mysqld` in
        /place/bin
    hint: install MySQL (on Ubuntu the package `mysql-server`; on Debian, freshdb's `scripts/install-servers --engine mysql` gets it), or set FRESHDB_MYSQL_URL to the URL of a server
    ");
}

#[tokio::test]
async fn a_program_that_cannot_be_run() {
    let place = Place::new();
    let bin = place.program("mysqld", "echo 'mysqld: error while loading shared libraries: libaio.so.1' >&2; exit 127");
    insta::assert_snapshot!(message(Kind::Mysql, &place.config().with_program_dirs([bin]), &place).await, @r"
    there is no MySQL server: none that can be run is installed, and FRESHDB_MYSQL_URL is not set
      `/place/bin/mysqld` does not say its version (exit status: 127): mysqld: error while loading shared libraries: libaio.so.1
      looked for `mysqld` in
        /place/bin
    hint: install MySQL (on Ubuntu the package `mysql-server`; on Debian, freshdb's `scripts/install-servers --engine mysql` gets it), or set FRESHDB_MYSQL_URL to the URL of a server
    ");
}

#[tokio::test]
async fn a_user_without_an_account() {
    let place = Place::new();
    place.program("postgres", "echo 'postgres (PostgreSQL) 15.18'");
    let bin = place.program(
        "initdb",
        "echo 'initdb: error: could not look up effective user ID 12345: user does not exist' >&2; exit 1",
    );
    let config = place.cold_config().with_program_dirs([bin]);
    insta::assert_snapshot!(message(Kind::Postgres, &config, &place).await, @r"
    PostgreSQL 15.18 failed to create a data directory: it ended with exit code 1; the user 12345, as whom it runs, has no account
      command: /place/bin/initdb --pgdata=/place/run/freshdb-run.…/data --username=postgres --encoding=UTF8 --locale=C.UTF-8 --auth=reject --no-sync
      the last lines of its log:
        initdb: error: could not look up effective user ID 12345: user does not exist
    hint: as root, run `useradd --uid 12345 freshdb`, or set FRESHDB_POSTGRES_URL to the URL of a server that runs already
    ");
}

const VERSION: &str = r#"case "$1" in --version) echo "mysqld  Ver 9.7.4 for Linux on x86_64"; exit;; esac"#;

#[tokio::test]
async fn a_server_that_cannot_make_its_data() {
    let place = Place::new();
    let bin = place.program("mysqld", &format!("{VERSION}\necho 'no room for a table'\nexit 1"));
    let config = place.cold_config().with_program_dirs([bin]);
    insta::assert_snapshot!(message(Kind::Mysql, &config, &place).await, @r"
    MySQL 9.7.4 failed to create a data directory: it ended with exit code 1
      command: /place/bin/mysqld --no-defaults --initialize-insecure --basedir=/place --datadir=/place/run/freshdb-run.…/data --innodb-flush-method=nosync --innodb-use-native-aio=OFF
      the last lines of its log:
        no room for a table
    hint: mend what its log names, or set FRESHDB_MYSQL_URL to the URL of a server that runs already
    ");
}

#[tokio::test]
async fn a_server_that_ends_at_once() {
    let place = Place::new();
    let script = r#"case "$2" in --initialize-insecure) exit;; esac
for line in $(seq 1 25); do echo "line $line"; done
echo 'unknown variable' >&2
exit 7"#;
    let bin = place.program("mysqld", &format!("{VERSION}\n{script}"));
    let config = place.cold_config().with_program_dirs([bin]);
    insta::assert_snapshot!(message(Kind::Mysql, &config, &place).await, @r"
    MySQL 9.7.4 did not start: it ended with exit code 7
      command: /place/bin/mysqld --no-defaults --basedir=/place --datadir=/place/run/freshdb-run.…/data --init-file=/place/run/freshdb-run.…/init.sql --pid-file=/place/run/freshdb-run.…/data/server.pid --socket=/place/run/freshdb-run.…/mysqld.sock --port=… --bind-address=127.0.0.1 --max-connections=300 --innodb-buffer-pool-size=128M --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=OFF --loose-innodb-flush-method=nosync --innodb-use-native-aio=OFF --innodb-stats-persistent=OFF --innodb-stats-auto-recalc=OFF --mysqlx=0 --secure-file-priv=NULL --sync-binlog=0 --server-id=0
      the last lines of its log:
        line 7
        line 8
        line 9
        line 10
        line 11
        line 12
        line 13
        line 14
        line 15
        line 16
        line 17
        line 18
        line 19
        line 20
        line 21
        line 22
        line 23
        line 24
        line 25
        unknown variable
    hint: mend what its log names, or set FRESHDB_MYSQL_URL to the URL of a server that runs already
    ");
}

#[tokio::test]
async fn a_server_that_never_answers() {
    let place = Place::new();
    let script = r#"case "$2" in --initialize-insecure) exit;; esac
echo 'waiting for the clock'
exec sleep 600"#;
    let bin = place.program("mysqld", &format!("{VERSION}\n{script}"));
    let config = place.cold_config().with_program_dirs([bin]).with_start_timeout(Duration::from_secs(2));
    let message = message(Kind::Mysql, &config, &place).await;
    let (start, rest) = message.split_once("--no-defaults").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    insta::assert_snapshot!(format!("{start}…\n{rest}"), @r"
    MySQL 9.7.4 did not start: it was not ready after 2 s, which FRESHDB_START_TIMEOUT can raise; its last answer: error communicating with database: No such file or directory (os error 2)
      command: /place/bin/mysqld …
      the last lines of its log:
        waiting for the clock
    hint: mend what its log names, or set FRESHDB_MYSQL_URL to the URL of a server that runs already
    ");
}

#[tokio::test]
async fn a_path_that_is_too_long_for_a_socket() {
    let place = Place::new();
    let config = place.config().with_run_dir(place.run().join("x".repeat(100)));
    let error = Server::of(Kind::Sqlite, &config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().ends_with("too many for a socket in it"), "{error}");
}

/// SQLite's driver does not take it, nor does PostgreSQL's find a socket there.
#[tokio::test]
async fn a_path_that_is_no_text() {
    let place = Place::new();
    let config = place.config().with_run_dir(place.run().join(OsStr::from_bytes(b"r\xffn")));
    for kind in Kind::ALL {
        let error = Server::of(kind, &config).await.expect_err("no server");
        assert_eq!(error.kind(), ErrorKind::Config);
        let said = format!("{error:?}").replace(place.run().to_str().unwrap(), "/run");
        insta::allow_duplicates! {
            insta::assert_snapshot!(said, @r"
            the path `/run/r�n` is not valid UTF-8, as a driver wants it
            hint: set FRESHDB_RUN_DIR to another directory
            ");
        }
    }
}

/// The programs of a server: what it is called, what it calls itself, and what makes its data if it does not.
const PROGRAMS: [(Kind, &str, &str, Option<&str>); 3] = [
    (Kind::Mysql, "mysqld", "mysqld  Ver 9.7.4 for Linux on x86_64", None),
    (
        Kind::Mariadb,
        "mariadbd",
        "mariadbd  Ver 10.11.19-MariaDB for debian-linux-gnu on x86_64",
        Some("mariadb-install-db"),
    ),
    (Kind::Postgres, "postgres", "postgres (PostgreSQL) 15.18", Some("initdb")),
];

/// Of each server, in whichever of its two steps it fails, and by a signal too: the program, its arguments, what it said last,
/// and what to do.
#[tokio::test]
async fn whatever_fails_at_the_start_of_any_server_is_told_in_full() {
    for (kind, server, banner, initialiser) in PROGRAMS {
        let version = format!("case \"$1\" in --version | -V) echo '{banner}'; exit;; esac");
        let failing = "for line in $(seq 1 30); do echo \"line $line\"; done; echo 'no room' >&2";
        for (ending, told) in [("exit 7", "it ended with exit code 7"), ("kill -KILL $$", "signal 9")] {
            let fails_to = |what: &str| match what {
                "start" => {
                    format!("{version}\ncase \"$*\" in *--initialize-insecure*) exit;; esac\n{failing}; {ending}")
                }
                _ => format!("{version}\n{failing}; {ending}"),
            };
            for step in ["initialise", "start"] {
                let place = Place::new();
                let bin = place.program(server, &fails_to(step));
                let mut program = server;
                if let Some(initialiser) = initialiser {
                    let script = if step == "start" { "exit 0".to_owned() } else { fails_to(step) };
                    place.program(initialiser, &script);
                    program = if step == "start" { server } else { initialiser };
                }
                let error =
                    Server::of(kind, &place.cold_config().with_program_dirs([bin])).await.expect_err("no server");
                assert_eq!(error.kind(), ErrorKind::NoServer, "{error:?}");
                assert!(place.is_empty());
                let text = format!("{error:?}").replace(place.path().to_str().unwrap(), "/place");
                let parts = [
                    told,
                    &format!("command: /place/bin/{program} "),
                    "/place/run/freshdb-run.",
                    "/data",
                    "the last lines of its log:\n",
                    "    line 30\n",
                    "    no room\n",
                    "hint: mend what its log names, or set FRESHDB_",
                ];
                for part in parts {
                    assert!(text.contains(part), "{kind}, {step}: `{part}` is not in\n{text}");
                }
                assert!(!text.contains("    line 1\n"), "only the last ones: {text}");
            }
        }
    }
}
