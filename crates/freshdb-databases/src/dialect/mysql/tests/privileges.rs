//! Users with the privileges that the documentation asks for, and no others.

use super::super::super::explain;
use super::super::sessions::{end_sessions, on_database};
use super::*;
use crate::ErrorKind;

on_both!(
    a_routine_of_somebody_else_is_found,
    a_schema_with_a_routine_that_cannot_be_read_is_refused,
    who_may_not_end_a_session_is_told_what_to_ask_for
);

/// A user who may do so much with the databases of these tests, and on the server.
struct User {
    name: String,
    url: DatabaseUrl,
}

impl User {
    async fn new(kind: Kind, admin: &mut MySqlConnection, on_server: &str) -> Self {
        let name = format!("fdbtest_{:08x}", fastrand::u32(..));
        let mut sql = vec![
            format!("CREATE USER '{name}'@'%'"),
            format!("GRANT ALL ON `fdbtest\\_%`.* TO '{name}'@'%'"),
            format!("GRANT ALL ON `freshdb\\_%`.* TO '{name}'@'%'"),
        ];
        if !on_server.is_empty() {
            sql.push(format!("GRANT {on_server} ON *.* TO '{name}'@'%'"));
        }
        execute(admin, &sql.join(";")).await.expect("a user");
        let mut url = url::Url::parse(&server(kind).reveal()).expect("a URL");
        url.set_username(&name).expect("it has a host");
        url.set_password(None).expect("it has a host");
        Self { name, url: DatabaseUrl::parse(url.as_str()).expect("a URL") }
    }

    async fn as_documented(kind: Kind, admin: &mut MySqlConnection) -> Self {
        let on_server = match kind {
            Kind::Mysql => "CONNECTION_ADMIN, PROCESS, XA_RECOVER_ADMIN",
            _ => "CONNECTION ADMIN, PROCESS",
        };
        Self::new(kind, admin, on_server).await
    }

    async fn drop(self, admin: &mut MySqlConnection) {
        execute(admin, &format!("DROP USER '{}'@'%'", self.name)).await.expect("it is dropped");
    }
}

async fn a_routine_of_somebody_else_is_found(kind: Kind) {
    let mut admin = admin(kind).await;
    let user = User::as_documented(kind, &mut admin).await;
    let name = free_name("routine");
    Mysql::create(&mut admin, &name).await.expect("an empty database");
    let mut inside = connect(&user.url, &name).await.expect("a connection");
    for sql in ["CREATE TABLE t (id INT PRIMARY KEY)", "CREATE PROCEDURE own() SELECT 1"] {
        execute(&mut inside, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    inside.close().await.expect("it closes");
    let template = Mysql::read_template(&user.url, &name).await.expect("the template can be read");
    let copy = format!("{name}_1");
    for (sql, found) in [
        ("CREATE PROCEDURE other() SELECT 1", "procedure `other` was created"),
        ("CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1", "function `f` was created"),
        ("DROP PROCEDURE own; CREATE PROCEDURE own() SELECT 1", "procedure `own` was altered"),
    ] {
        let mut slot = Mysql::copy(&user.url, &template, &copy).await.expect("it can be copied");
        let mut root = self::user(kind, &copy).await;
        execute(&mut root, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        root.close().await.expect("it closes");
        let reset = Mysql::reset(&mut slot, &template, &[]).await.expect("the server answers");
        assert!(matches!(&reset.outcome, Outcome::Changed(why) if why == found), "{kind}: {sql}: {:?}", reset.outcome);
        Mysql::close(slot).await;
        Mysql::drop(&mut admin, &copy).await.expect("it can be dropped");
    }
    Mysql::drop(&mut admin, &name).await.expect("it can be dropped");
    user.drop(&mut admin).await;
}

/// A copy would lack it.
async fn a_schema_with_a_routine_that_cannot_be_read_is_refused(kind: Kind) {
    let mut admin = admin(kind).await;
    let user = User::as_documented(kind, &mut admin).await;
    let name = free_name("unread");
    Mysql::create(&mut admin, &name).await.expect("an empty database");
    let mut root = self::user(kind, &name).await;
    execute(&mut root, "CREATE TABLE t (id INT PRIMARY KEY); CREATE PROCEDURE theirs() SELECT 1")
        .await
        .expect("it is made");
    root.close().await.expect("it closes");
    // From MariaDB 11.3 on it may: <https://mariadb.com/kb/en/show-create-procedure>.
    let known = rows(&mut admin, "SHOW PRIVILEGES").await.expect("an answer");
    if known.iter().any(|row| row[0].as_deref() == Some("Show Create Routine")) {
        let revoke = format!("REVOKE SHOW CREATE ROUTINE ON `fdbtest\\_%`.* FROM '{}'@'%'", user.name);
        execute(&mut admin, &revoke).await.expect("it had it");
    }
    let error = Mysql::read_template(&user.url, &name).await.err().expect("it is refused");
    assert_eq!(error.kind(), ErrorKind::Privileges, "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("procedure `theirs` of the template `{name}` cannot be read: it is another user's")
    );
    let grant = if kind == Kind::Mysql { "SHOW_ROUTINE ON *.*" } else { "SELECT ON mysql.proc" };
    let hint = format!(
        "as an administrator of the server, run `GRANT {grant} TO <user>`, or have the schema made by this user"
    );
    assert_eq!(error.advice(), Some(hint.as_str()));
    execute(&mut admin, &format!("GRANT {grant} TO '{}'@'%'", user.name)).await.expect("it is granted");
    Mysql::read_template(&user.url, &name).await.expect("it can be read");
    Mysql::drop(&mut admin, &name).await.expect("it can be dropped");
    user.drop(&mut admin).await;
}

async fn who_may_not_end_a_session_is_told_what_to_ask_for(kind: Kind) {
    let mut admin = admin(kind).await;
    let name = free_name("kill");
    Mysql::create(&mut admin, &name).await.expect("an empty database");
    let root = self::user(kind, &name).await;
    // MySQL's root has SYSTEM_USER.
    let cases: &[(&str, &str)] = match kind {
        Kind::Mysql => &[("PROCESS", "CONNECTION_ADMIN"), ("PROCESS, CONNECTION_ADMIN", "SYSTEM_USER")],
        _ => &[("PROCESS", "CONNECTION ADMIN")],
    };
    for (given, missing) in cases {
        let user = User::new(kind, &mut admin, given).await;
        let mut connection = connect(&user.url, REGISTRY).await.expect("a connection");
        let error = end_sessions(&mut connection, &on_database(&name), None).await.expect_err("it is forbidden");
        let error = explain::<Mysql>("failed to reset it", error);
        assert_eq!(error.kind(), ErrorKind::Privileges, "{error:?}");
        let text = format!("{error:?}");
        let hint = format!("\nhint: as an administrator of the server, run `GRANT {missing} ON *.* TO <user>`");
        assert!(text.ends_with(&hint), "{text}");
        assert!(text.contains("You are not owner of thread"), "{text}");
        // It is no syntax error.
        execute(&mut admin, &format!("GRANT {missing} ON *.* TO '{}'@'%'", user.name)).await.expect("it is granted");
        user.drop(&mut admin).await;
    }
    drop(root);
    Mysql::drop(&mut admin, &name).await.expect("it can be dropped");
}
