//! How the command ends before it serves: where it cannot use its database, with one sentence, a way out, and never the
//! password; and asked to stop, in order.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStderr, Command, Stdio};

use axum::http::StatusCode;
use freshdb::test::{Kind, Lease};
use tags_api::database::{Database, DatabaseUrl, Options};
use tags_api::http::Limits;
use test_support::{DEADLINE, Engine, TestDatabase, eventually};
use url::Url;

use crate::harness::{Access, Client, TestApp, elsewhere, hold_history, hold_migrations, own_server, schema};

/// What `tags-api ARGUMENTS --database-url URL` writes to standard error as it fails.
fn failure(arguments: &[&str], url: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tags-api"));
    command.args(arguments).arg("--database-url").arg(url).env_clear().stdin(Stdio::null());
    let output = command.output().expect("the command runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("text");
    let password = Url::parse(url).expect("a URL").password().expect("a password").to_owned();
    assert!(!said.contains(&password), "the password is shown: {said}");
    said
}

#[freshdb::test(on = [mysql, mariadb, postgres])]
async fn a_wrong_password_is_said(lease: Lease) {
    let mut url = Url::parse(&lease.url().reveal()).expect("a URL");
    url.set_password(Some("wrong-password")).expect("a password");
    let said = failure(&[], url.as_str());
    let shown = url.as_str().replace("wrong-password", "***");
    assert!(said.starts_with(&format!("error: cannot open {shown}: ")), "{said}");
    let reason = if lease.kind() == Kind::Postgres { "password authentication failed" } else { "Access denied" };
    assert!(said.contains(reason), "{said}");
    assert!(said.ends_with("\nhint: see that the user and the password in the URL are right\n"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[freshdb::test(on = [mysql, mariadb, postgres])]
async fn a_missing_database_is_said(lease: Lease) {
    let mut url = Url::parse(&lease.url().reveal()).expect("a URL");
    url.set_path("not_there");
    let said = failure(&["migrate"], url.as_str());
    let (fact, hint) = match lease.kind() {
        Kind::Postgres => (r#"database "not_there" does not exist"#, r#"create it: CREATE DATABASE "not_there""#),
        _ => ("Unknown database 'not_there'", "create it: CREATE DATABASE `not_there`"),
    };
    assert!(said.starts_with("error: cannot open ") && said.contains(fact), "{said}");
    assert!(said.ends_with(&format!("\nhint: {hint}\n")), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

/// Of a server that takes nobody without TLS, and of a URL that leaves that out.
async fn check_tls_is_asked_for(kind: Kind) {
    let (server, _place) = own_server(kind).await;
    let mut administrator = test_support::Client::connect(&server.url().reveal()).await;
    let (plain, sql, hint) = if kind == Kind::Postgres {
        let sql = "COPY (SELECT 'hostssl all all all md5') TO PROGRAM 'cat > pg_hba.conf'; SELECT pg_reload_conf()";
        ("sslmode=disable", sql, "the server may want TLS: write `?sslmode=require` in the URL")
    } else {
        let sql = "SET GLOBAL require_secure_transport = ON";
        ("ssl-mode=disabled", sql, "the server wants TLS: write `?ssl-mode=required` in the URL")
    };
    administrator.execute(sql).await;
    let mut url = Url::parse(&server.url().reveal()).expect("a URL");
    url.set_path("tags");
    url.set_query(Some(plain));
    // PostgreSQL reads its settings when it gets to it, and until then says that there is no such database.
    let mut said = String::new();
    eventually("it wants TLS", async || {
        said = failure(&["migrate"], url.as_str());
        said.contains("insecure transport") || said.contains("pg_hba.conf")
    })
    .await;
    assert!(said.ends_with(&format!("\nhint: {hint}\n")), "{said}");
    drop(administrator);
    server.stop().await.expect("it stops");
}

mod a_server_that_wants_tls_is_said {
    use super::*;

    #[tokio::test]
    async fn mysql() {
        check_tls_is_asked_for(Kind::Mysql).await;
    }

    #[tokio::test]
    async fn postgres() {
        check_tls_is_asked_for(Kind::Postgres).await;
    }
}

/// A pooler that takes a client, or does not, and answers every statement with this error.
fn pooler(takes: bool, code: &'static str, message: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let error = format!("SERROR\0VERROR\0C{code}\0M{message}\0L412\0\0");
        let error = [b"E", &length_of(&error)[..], error.as_bytes(), b"Z\0\0\0\x05I"].concat();
        let (mut client, _) = listener.accept().expect("a client");
        let mut heard = [0; 1 << 12];
        while matches!(client.read(&mut heard), Ok(1..)) {
            // Authentication is over, and it is ready; or the first of all answers is an error.
            let greeting: &[u8] = if takes && heard[0] == 0 { b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I" } else { &error };
            client.write_all(greeting).ok();
        }
    });
    port
}

fn length_of(fields: &str) -> [u8; 4] {
    u32::try_from(fields.len() + 4).expect("a short message").to_be_bytes()
}

/// What PgBouncer answers that nobody has set up for this driver, and where it shares its sessions between clients.
#[test]
fn a_pooler_that_does_not_do_is_said() {
    let said = |port: u16| failure(&["migrate"], &format!("postgres://u:pooled@127.0.0.1:{port}/tags?sslmode=disable"));
    let refused = said(pooler(false, "08P01", "unsupported startup parameter: extra_float_digits"));
    assert!(
        refused.ends_with(
            "\nhint: let PgBouncer pass over what the driver asks for: ignore_startup_parameters = extra_float_digits\n"
        ),
        "{refused}"
    );
    let port = pooler(true, "42P05", r#"prepared statement "sqlx_s_1" already exists"#);
    // A port can have the number of the line in it that is looked for.
    let shared = said(port).replace(&format!(":{port}/"), ":PORT/");
    assert!(shared.contains(r#": prepared statement "sqlx_s_1" already exists"#), "{shared}");
    assert!(shared.contains("\nhint: a pooler gives each transaction another session: "), "{shared}");
    assert!(!shared.contains("412"), "{shared}");
}

/// One that nobody has bought, as MySQL makes it for itself.
#[freshdb::test(on = [mysql])]
async fn an_authority_that_is_not_known_is_said(lease: Lease) {
    let mut url = Url::parse(&lease.url().reveal()).expect("a URL");
    url.set_query(Some("ssl-mode=verify_ca"));
    let said = failure(&["migrate"], url.as_str());
    assert!(said.contains("invalid peer certificate: UnknownIssuer\n"), "{said}");
    assert!(said.ends_with("\nhint: name the file of the authority that signed it: `?ssl-ca=FILE`\n"), "{said}");
}

#[freshdb::test(on = [mysql, mariadb, postgres])]
async fn a_schema_that_is_behind_is_said(lease: Lease) {
    let said = failure(&["--listen", "127.0.0.1:0"], &lease.url().reveal());
    assert!(said.contains("is behind: it lacks m20261122_000001_create_tags\n"), "{said}");
    assert!(said.ends_with("hint: run `tags-api migrate`, or start with `--migrate`\n"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

/// A user who may do with the tags what the service does, and may not see which migrations were applied: the lists of tables do not
/// show their table either.
async fn check_right_to_read_is_asked_for(kind: Kind) {
    let (server, _place) = own_server(kind).await;
    let mut administrator = test_support::Client::connect(&server.url().reveal()).await;
    administrator.execute("CREATE DATABASE tags").await;
    let mut url = Url::parse(&server.url().reveal()).expect("a URL");
    url.set_path("tags");
    let migrating = Database::open(DatabaseUrl::parse(url.as_str()).expect("a URL"), &Options::default()).await;
    migrating.expect("the database opens").migrate().await.expect("the schema is made");
    let mut administrator = test_support::Client::connect(url.as_str()).await;
    let (user, fact) = match kind {
        Kind::Postgres => {
            ("CREATE ROLE app LOGIN PASSWORD 'only-for-tags'", "permission denied for table seaql_migrations")
        }
        _ => ("CREATE USER app IDENTIFIED BY 'only-for-tags'", "SELECT command denied to user 'app'@"),
    };
    administrator.execute(user).await;
    administrator.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON tags TO app").await;

    url.set_username("app").expect("a user");
    url.set_password(Some("only-for-tags")).expect("a password");
    for arguments in [&["--listen", "127.0.0.1:0"][..], &["--listen", "127.0.0.1:0", "--migrate"], &["migrate"]] {
        let said = failure(arguments, url.as_str());
        assert!(said.starts_with("error: cannot read the schema of ") && said.contains(fact), "{said}");
        let grant = "\nhint: let the user see which migrations were applied: GRANT SELECT ON seaql_migrations TO …";
        assert!(said.contains(grant), "{said}");
        assert_eq!(said.lines().count(), 2, "{said}");
    }
    administrator.execute("GRANT SELECT ON seaql_migrations TO app").await;
    let database = Database::open(DatabaseUrl::parse(url.as_str()).expect("a URL"), &Options::default()).await;
    let database = database.expect("the database opens");
    database.require_schema().await.expect("it is seen");
    let app =
        TestApp::of(database.clone(), TestDatabase::at(Engine::named(kind.name()), url.as_str()), Limits::default());
    app.store(&["tag"]).await;
    app.store(&["tag"]).await;
    assert_eq!(app.tag_ids("").await, ["tag"]);
    assert_eq!(app.delete("tag").await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.get("/readyz").await.status, StatusCode::OK);
    database.close(DEADLINE).await.expect("nothing leaks");
    server.stop().await.expect("it stops");
}

mod a_history_that_may_not_be_read_is_said {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn mysql() {
        check_right_to_read_is_asked_for(Kind::Mysql).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn mariadb() {
        check_right_to_read_is_asked_for(Kind::Mariadb).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn postgres() {
        check_right_to_read_is_asked_for(Kind::Postgres).await;
    }
}

#[freshdb::test(on = [postgres])]
async fn an_encoding_that_cannot_hold_tags_is_said(lease: Lease) {
    let name = format!("{}_latin1", lease.name());
    elsewhere(&lease).execute(&format!("CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")).await;
    let mut url = Url::parse(&lease.url().reveal()).expect("a URL");
    url.set_path(&name);
    let said = failure(&["migrate"], url.as_str());
    elsewhere(&lease).execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
    assert!(said.contains("its encoding is LATIN1, in which most tags cannot be stored"), "{said}");
}

/// The command, while it waits for another process.
struct Waiting {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Waiting {
    async fn start(lease: &Lease, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tags-api"));
        command.args(["--listen", "127.0.0.1:0", "--database-url", &lease.url().reveal()]).args(arguments).env_clear();
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        eventually("it waits", async || elsewhere(lease).waiting_transactions().await == 1).await;
        Self { child, stderr }
    }

    fn interrupt(&self) {
        let killed = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(killed.success());
    }

    /// Waits until it says that it has heard of a signal.
    fn hear(&mut self) {
        let mut said = String::new();
        while !said.contains("asked to stop") {
            assert!(self.stderr.read_line(&mut said).expect("a line") > 0, "it ended: {said}");
        }
    }

    fn end(mut self) -> Option<i32> {
        std::io::copy(&mut self.stderr, &mut std::io::sink()).expect("it ends");
        self.child.wait().expect("it ends").code()
    }
}

#[freshdb::test(on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn asked_to_stop_it_does_not_wait_for_others_that_migrate(lease: Lease) {
    let other = hold_migrations(&lease).await;
    let command = Waiting::start(&lease, &["--migrate"]).await;
    command.interrupt();
    assert_eq!(command.end(), Some(0));
    other.close().await;
    let error = open(&lease).await.require_schema().await.expect_err("nothing is migrated");
    assert!(error.to_string().contains("is behind"), "{error}");
}

#[freshdb::test(schema = schema(), on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn asked_to_stop_it_does_not_wait_to_read_the_schema(lease: Lease) {
    let other = hold_history(&lease, Access::Read).await;
    let command = Waiting::start(&lease, &[]).await;
    command.interrupt();
    assert_eq!(command.end(), Some(0));
    other.close().await;
}

/// A history of migrations without any, which the first one waits to be written down in.
async fn hold_first_migration(lease: &Lease) -> test_support::Client {
    let history = "CREATE TABLE seaql_migrations (version VARCHAR(255) PRIMARY KEY, applied_at BIGINT NOT NULL)";
    elsewhere(lease).execute(history).await;
    hold_history(lease, Access::Write).await
}

/// A schema that is changed half-way would be worse than a moment more.
#[freshdb::test(on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn asked_to_stop_it_ends_the_migration_that_has_begun(lease: Lease) {
    let other = hold_first_migration(&lease).await;
    let mut command = Waiting::start(&lease, &["--migrate"]).await;
    command.interrupt();
    command.hear();
    other.close().await;
    assert_eq!(command.end(), Some(0));
    open(&lease).await.require_schema().await.expect("the schema is made");
}

#[freshdb::test(on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn asked_twice_it_waits_for_nothing(lease: Lease) {
    let other = hold_first_migration(&lease).await;
    let mut command = Waiting::start(&lease, &["--migrate"]).await;
    command.interrupt();
    command.hear();
    command.interrupt();
    assert_eq!(command.end(), Some(130));
    other.close().await;
}

async fn open(lease: &Lease) -> Database {
    let url = DatabaseUrl::parse(&lease.url().reveal()).expect("a URL");
    Database::open(url, &Options::default()).await.expect("the database opens")
}
