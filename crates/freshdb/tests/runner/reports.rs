//! What is said of each culprit, literally.

use std::time::Duration;

use insta::assert_snapshot;

use crate::child::{self, Printed};

/// Well above what any of them may take, on a machine with other things to do.
const LIMIT: Duration = Duration::from_mins(1);

/// One test of each culprit and engine, out of the culprit's name, or of its module and of its tests' in there.
macro_rules! reports {
    (@test $name:ident, $engine:ident, $path:expr) => {
        #[test]
        fn $engine() {
            let printed = child::run($path, &[]);
            assert!(!printed.passed, "{}", printed.text);
            // The culprits that block a thread do so for longer.
            assert!(printed.took < LIMIT, "it took {:?}", printed.took);
            insta::with_settings!({ snapshot_suffix => stringify!($engine), prepend_module_to_snapshot => false, omit_expression => true }, {
                assert_snapshot!(stringify!($name), printed.text);
            });
        }
    };
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use super::*;

            reports!(@test $name, sqlite, concat!("culprits::", stringify!($name), "::sqlite"));
            reports!(@test $name, mysql, concat!("culprits::", stringify!($name), "::mysql"));
            reports!(@test $name, mariadb, concat!("culprits::", stringify!($name), "::mariadb"));
            reports!(@test $name, postgres, concat!("culprits::", stringify!($name), "::postgres"));
        }
    )+};
    (of files: $($name:ident),+ $(,)?) => {$(
        mod $name {
            use super::*;

            reports!(@test $name, sqlite, concat!("culprits::", stringify!($name), "::sqlite"));
        }
    )+};
    (of pools: $($name:ident),+ $(,)?) => {$(
        mod $name {
            use super::*;

            reports!(@test $name, sqlite, concat!("culprits::", stringify!($name), "::on_file::sqlite"));
            reports!(@on_servers $name);
        }
    )+};
    (of servers: $($name:ident),+ $(,)?) => {$(
        mod $name {
            use super::*;

            reports!(@on_servers $name);
        }
    )+};
    (@on_servers $name:ident) => {
            reports!(@test $name, mysql, concat!("culprits::", stringify!($name), "::on_mysql::mysql"));
            reports!(@test $name, mariadb, concat!("culprits::", stringify!($name), "::on_mysql::mariadb"));
            reports!(@test $name, postgres, concat!("culprits::", stringify!($name), "::on_postgres::postgres"));
    };
}

reports!(
    session_held,
    transaction_open,
    raw_begin_left_open,
    sea_orm_transaction_held,
    sea_orm_transaction_of_an_engine_held,
    task_running,
    blocking_thread_running,
    engine_in_a_static,
    connection_forgotten,
    failed_and_leaked,
    panicked_in_a_transaction,
    panicked_and_leaked,
    blocked_thread,
    paused_clock,
    endless_loop,
);

reports!(of pools:
    pool_connection_held,
    pool_connection_forgotten,
    pool_transaction_held,
    pool_raw_begin_left_open,
    pool_in_a_static,
    pool_connection_detached,
    pool_connection_forgotten_beside_one_that_was_closed,
);

// Whoever refuses a COMMIT on a server has rolled back.
reports!(of files: commit_refused);

// Only a server tells who is connected to it.
reports!(of servers: connected_by_itself);

/// Who ends it waits for as long as the test's own grace, and has time to say then for what.
#[test]
fn what_is_left_on_a_second_database_is_named() {
    let printed = child::run("culprits::second_database::session_held::sqlite", &[]);
    assert!(!printed.passed, "{}", printed.text);
    assert!(printed.text.contains("opened at crates/freshdb/tests/runner/culprits.rs"), "{}", printed.text);
    assert!(!printed.text.contains("took longer"), "{}", printed.text);
}

/// What a pool's connection comes back in is known without any right but those that the page asks for.
mod a_pool_of_a_user_with_few_rights {
    use freshdb::test::Kind;
    use freshdb_databases::{Config, Server};
    use test_support::Client;

    use super::child;

    fn case(kind: Kind) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let [user, password] = ["user", "secret"].map(|what| format!("{what}_{:016x}", fastrand::u64(..)));
        let server = runtime.block_on(async {
            let server = Server::of(kind, &Config::from_env().expect("a configuration")).await.expect("a server");
            let url = server.url().reveal();
            let mut client = Client::connect(&url).await;
            let rights = match kind {
                Kind::Mysql => "CONNECTION_ADMIN, PROCESS, XA_RECOVER_ADMIN",
                _ => "CONNECTION ADMIN, PROCESS",
            };
            // MySQL's passwords travel by TLS or RSA only, and this program may be built without both.
            let password = if kind == Kind::Mysql { "" } else { &password };
            client.execute(&format!("CREATE USER {user} IDENTIFIED BY '{password}'")).await;
            client.execute(&format!("GRANT ALL ON `freshdb\\_%`.* TO {user}")).await;
            client.execute(&format!("GRANT {rights} ON *.* TO {user}")).await;
            client.close().await;
            url
        });
        let (_, address) = server.rsplit_once('@').expect("a user");
        let password = if kind == Kind::Mysql { String::new() } else { format!(":{password}") };
        let url = format!("{}://{user}{password}@{address}", kind.name());
        let variable = format!("FRESHDB_{}_URL", kind.name().to_uppercase());
        let test = format!("culprits::pool_raw_begin_left_open::on_mysql::{}", kind.name());
        let printed = child::run(&test, &[(&variable, &url)]);
        // Before it is judged: nothing of it is left on the server.
        runtime.block_on(async {
            let mut client = Client::connect(&server).await;
            client.execute(&format!("DROP USER {user}")).await;
            client.close().await;
        });
        assert!(!printed.passed, "{}", printed.text);
        assert!(printed.text.contains("back inside a transaction"), "{}", printed.text);
    }

    on!(case: mysql Mysql, mariadb Mariadb);
}

/// One that is forgiven passes, and is warned of past the harness.
#[test]
fn forgiven() {
    let Printed { passed, text, errors, .. } = child::run("culprits::forgiven::sqlite", &[]);
    assert!(passed, "{text}");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        assert_snapshot!("forgiven", errors);
    });
}
