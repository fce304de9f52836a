//! Users who may not do what freshdb has to: they are told what to ask for.

use freshdb_databases::{DatabaseUrl, ErrorKind, Lease, Pool, Server, schema};
use futures_util::FutureExt;
use futures_util::future::join_all;
use test_support::{Client, Engine, TestDatabase, on_every_engine};

use crate::clean;

const PASSWORD: &str = "Sup3r-secret";

/// A user who may connect, and what more the test gives; dropped at its end.
struct User {
    name: String,
    url: DatabaseUrl,
}

impl User {
    async fn make(database: &TestDatabase) -> Self {
        Self::called(database, "u").await
    }

    /// With a name that begins so.
    async fn called(database: &TestDatabase, beginning: &str) -> Self {
        let name = format!("{beginning}{}", database.url().rsplit('_').next().unwrap_or_default());
        let name = format!("{name}_{}", std::process::id());
        match database.engine {
            Engine::Postgres => database.execute(&format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")).await,
            // Its passwords travel by TLS or RSA only, and the driver is built without both here.
            Engine::Mysql => database.execute(&format!("CREATE USER {name}")).await,
            _ => database.execute(&format!("CREATE USER {name} IDENTIFIED BY '{PASSWORD}'")).await,
        }
        let mut url = url::Url::parse(database.url()).unwrap();
        url.set_username(&name).unwrap();
        let password = (database.engine != Engine::Mysql).then_some(PASSWORD);
        url.set_password(password).unwrap();
        Self { name, url: DatabaseUrl::parse(url.as_str()).unwrap() }
    }

    async fn may(&self, database: &TestDatabase, grant: &str) {
        database.execute(&grant.replace("USER", &self.name)).await;
    }

    /// Of MySQL and MariaDB.
    async fn may_what_the_docs_ask_for(&self, database: &TestDatabase) {
        self.may(database, "GRANT ALL ON `freshdb\\_%`.* TO USER").await;
        let more = match database.engine {
            Engine::Mysql => "CONNECTION_ADMIN, PROCESS, XA_RECOVER_ADMIN",
            _ => "CONNECTION ADMIN, PROCESS",
        };
        self.may(database, &format!("GRANT {more} ON *.* TO USER")).await;
    }

    /// Of PostgreSQL: to create databases, and to put their rows back, which before 15 is a superuser's. Says whether it may.
    async fn may_put_rows_back(&self, database: &TestDatabase) -> bool {
        self.may(database, "ALTER ROLE USER CREATEDB").await;
        let mut observer = database.observer().await;
        let grants = observer.number("SELECT count(*) FROM pg_class WHERE relname = 'pg_parameter_acl'").await > 0;
        if grants {
            self.may(database, "GRANT SET ON PARAMETER session_replication_role TO USER").await;
        }
        grants
    }

    async fn open(&self, database: &TestDatabase) -> Result<Pool, freshdb_databases::Error> {
        let tables = schema::sql(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id));
             CREATE TABLE words (word VARCHAR(50) PRIMARY KEY);
             INSERT INTO words VALUES ('fresh')",
        );
        Pool::builder(Server::existing(self.url.clone()), tables).checkout(database.url()).open().await
    }

    async fn drop(self, database: &TestDatabase) {
        match database.engine {
            Engine::Postgres => {
                // What they own goes with them, and the registry that they may have made stays for others.
                database.execute(&format!("REASSIGN OWNED BY {0} TO CURRENT_USER; DROP OWNED BY {0}", self.name)).await;
                database.execute(&format!("DROP ROLE {}", self.name)).await;
            }
            _ => database.execute(&format!("DROP USER {}", self.name)).await,
        }
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn whoever_may_only_connect_is_told_what_to_ask_for(database: &TestDatabase) {
        clean(database).await;
        let user = User::make(database).await;
        let error = user.open(database).await.unwrap_err();
        let text = format!("{error:?}");
        assert_eq!(error.kind(), ErrorKind::Privileges, "{text}");
        let grant = match database.engine {
            // The table is there, and it is the table that is missing to this user.
            Engine::Postgres => {
                "GRANT SELECT, INSERT, UPDATE, DELETE ON freshdb_databases TO <user>` in the database `freshdb_registry`"
            }
            _ => "GRANT ALL PRIVILEGES ON `freshdb_registry`.* TO '",
        };
        assert!(text.contains(&format!("hint: as an administrator of the server, run `{grant}")), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
        user.drop(database).await;
    }
}

on_every_engine! {
    [mysql, mariadb]
    async fn what_the_docs_ask_for_is_enough(database: &TestDatabase) {
        let user = User::make(database).await;
        user.may_what_the_docs_ask_for(database).await;
        live(&user, database, true).await;
        user.drop(database).await;
    }
}

on_every_engine! {
    [mysql, mariadb]
    async fn whoever_may_not_see_all_sessions_is_told_what_to_ask_for(database: &TestDatabase) {
        let user = User::make(database).await;
        user.may(database, "GRANT ALL ON `freshdb\\_%`.* TO USER").await;
        match database.engine {
            Engine::Mysql => user.may(database, "GRANT CONNECTION_ADMIN, XA_RECOVER_ADMIN ON *.* TO USER").await,
            _ => user.may(database, "GRANT CONNECTION ADMIN ON *.* TO USER").await,
        }
        let outcome = match user.open(database).await {
            Ok(pool) => pool.lease().await.map(drop),
            Err(error) => Err(error),
        };
        let error = outcome.expect_err("other users' sessions are hidden from it");
        let text = format!("{error:?}");
        assert_eq!(error.kind(), ErrorKind::Privileges, "{text}");
        assert!(text.contains("hint: as an administrator of the server, run `GRANT PROCESS ON *.* TO "), "{text}");
        clean(database).await;
        user.drop(database).await;
    }
}

/// Where somebody else made the registry, which is so on the servers that tests share.
const BOOKS: &str = "GRANT SELECT, INSERT, UPDATE, DELETE ON public.freshdb_databases TO USER";

/// A role of PostgreSQL that may just create databases and write into the books.
async fn live_by_the_books(database: &TestDatabase) {
    let user = User::make(database).await;
    let puts_back = user.may_put_rows_back(database).await;
    let registry = DatabaseUrl::parse(database.url()).unwrap().with_database("freshdb_registry").reveal();
    let mut books = Client::connect(&registry).await;
    books.execute(&BOOKS.replace("USER", &user.name)).await;
    let lived = std::panic::AssertUnwindSafe(live(&user, database, puts_back)).catch_unwind().await;
    clean(database).await;
    books.execute(&format!("DROP OWNED BY {}", user.name)).await;
    books.close().await;
    user.drop(database).await;
    if let Err(panic) = lived {
        std::panic::resume_unwind(panic);
    }
}

on_every_engine! {
    [postgres]
    async fn a_role_that_may_create_databases_and_write_the_books(database: &TestDatabase) {
        clean(database).await;
        live_by_the_books(database).await;
    }
}

on_every_engine! {
    // Whoever makes a template owns what is in it, and nobody else may copy it.
    [postgres]
    async fn a_role_has_templates_of_its_own(database: &TestDatabase) {
        clean(database).await;
        let administrator = User { name: String::new(), url: DatabaseUrl::parse(database.url()).unwrap() };
        administrator.open(database).await.unwrap().close().await.unwrap();
        live_by_the_books(database).await;
    }
}

on_every_engine! {
    // They say where a schema makes its tables.
    [postgres]
    async fn a_role_with_other_settings_has_another_template(database: &TestDatabase) {
        let user = User::make(database).await;
        database.execute(&format!("ALTER ROLE {} SUPERUSER", user.name)).await;
        for path in ["public", "app"] {
            user.may(database, &format!("ALTER ROLE USER SET search_path = {path}")).await;
            let schema = schema::sql("CREATE SCHEMA app; CREATE TABLE words (word VARCHAR(50))");
            let server = Server::existing(user.url.clone());
            let pool = Pool::builder(server, schema).checkout(database.url()).open().await.unwrap();
            let lease = pool.lease().await.unwrap();
            let mut client = Client::connect(&lease.url().reveal()).await;
            assert_eq!(client.number(&format!("SELECT count(*) FROM {path}.words")).await, 0);
            client.close().await;
            lease.give_back().await.unwrap();
            pool.close().await.unwrap();
        }
        clean(database).await;
        user.drop(database).await;
    }
}

on_every_engine! {
    // A view runs as whoever made it, which nobody else may say of a copy.
    [mysql, mariadb]
    async fn a_user_has_templates_of_its_own(database: &TestDatabase) {
        let user = User::make(database).await;
        user.may_what_the_docs_ask_for(database).await;
        let administrator = DatabaseUrl::parse(database.url()).unwrap();
        // Some may be there since before, and the others are new copies.
        for (url, count) in [(&administrator, 1), (&user.url, 8)] {
            let schema = schema::sql("CREATE TABLE words (word VARCHAR(50)); CREATE VIEW shown AS SELECT * FROM words");
            let server = Server::existing(url.clone());
            let pool = Pool::builder(server, schema).checkout(database.url()).open().await.unwrap();
            for lease in join_all((0..count).map(|_| pool.lease())).await {
                let lease = lease.unwrap();
                let mut client = Client::connect(&lease.url().reveal()).await;
                assert_eq!(client.number("SELECT count(*) FROM shown").await, 0);
                client.close().await;
                lease.give_back().await.unwrap();
            }
            pool.close().await.unwrap();
        }
        clean(database).await;
        user.drop(database).await;
    }
}

on_every_engine! {
    [postgres]
    async fn sessions_of_a_role_that_it_is_no_member_of(database: &TestDatabase) {
        clean(database).await;
        let user = User::make(database).await;
        let other = User::called(database, "other").await;
        let puts_back = user.may_put_rows_back(database).await;
        let registry = DatabaseUrl::parse(database.url()).unwrap().with_database("freshdb_registry").reveal();
        let mut books = Client::connect(&registry).await;
        books.execute(&BOOKS.replace("USER", &user.name)).await;
        let ended = std::panic::AssertUnwindSafe(write_as_another(&user, &other, database, puts_back)).catch_unwind().await;
        clean(database).await;
        books.execute(&format!("DROP OWNED BY {}", user.name)).await;
        books.close().await;
        user.drop(database).await;
        other.drop(database).await;
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A session of another role writes, and stays: nobody takes its database for pristine.
async fn write_as_another(user: &User, other: &User, database: &TestDatabase, puts_back: bool) {
    let seeded = schema::sql(format!(
        "CREATE TABLE words (word VARCHAR(50) PRIMARY KEY); INSERT INTO words VALUES ('fresh'); GRANT ALL ON words TO {}",
        other.name
    ));
    let pool = Pool::builder(Server::existing(user.url.clone()), seeded).checkout(database.url()).limit(1);
    let pool = pool.open().await.unwrap();

    let lease = pool.lease().await.unwrap();
    let client = write_and_stay(&lease, other).await;
    let error = lease.give_back().await.unwrap_err();
    let text = format!("{error:?}");
    assert_eq!(error.kind(), ErrorKind::Privileges, "{text}");
    let hint = "hint: as an administrator of the server, run `GRANT pg_signal_backend TO <user>`";
    assert!(text.contains(hint), "{text}");
    client.close().await;

    user.may(database, "GRANT pg_signal_backend TO USER").await;
    for _ in 0..3 {
        let lease = pool.lease().await.unwrap();
        let client = write_and_stay(&lease, other).await;
        let report = lease.give_back().await.unwrap();
        assert_eq!((report.changed().is_none(), report.sessions().len()), (puts_back, 1), "{report:?}");
        drop(client);
    }
    pool.close().await.unwrap();
}

/// A session whose last write the server may not have counted yet.
async fn write_and_stay(lease: &Lease, other: &User) -> Client {
    let name = lease.url().database().unwrap();
    let mut client = Client::connect(&other.url.with_database(&name).reveal()).await;
    assert_eq!(client.number("SELECT COUNT(*) FROM words WHERE word = 'fresh'").await, 1);
    client.execute("UPDATE words SET word = 'stale'").await;
    let sessions = lease.sessions().await.unwrap();
    assert!(sessions.iter().any(|session| session.user == other.name), "{sessions:?}");
    client
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn whoever_may_not_create_databases_is_told_so(database: &TestDatabase) {
        clean(database).await;
        let user = User::make(database).await;
        let registry = DatabaseUrl::parse(database.url()).unwrap().with_database("freshdb_registry").reveal();
        let mut books = Client::connect(&registry).await;
        if database.engine == Engine::Postgres {
            books.execute(&BOOKS.replace("USER", &user.name)).await;
        } else {
            user.may(database, "GRANT SELECT, INSERT, UPDATE, DELETE ON `freshdb\\_%`.* TO USER").await;
        }
        let opened = user.open(database).await;
        if database.engine == Engine::Postgres {
            books.execute(&format!("DROP OWNED BY {}", user.name)).await;
        }
        books.close().await;
        user.drop(database).await;
        let error = opened.unwrap_err();
        let text = format!("{error:?}");
        assert_eq!(error.kind(), ErrorKind::Privileges, "{text}");
        let grant = match database.engine {
            Engine::Postgres => "run `ALTER ROLE <user> CREATEDB`",
            _ => "run `GRANT ALL PRIVILEGES ON `freshdb_t_",
        };
        assert!(text.contains(grant), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
        clean(database).await;
    }
}

/// Takes, dirties, gives back, looks. Where rows cannot be put back, the next one has another database, and this one's owner is told why.
async fn live(user: &User, database: &TestDatabase, puts_back: bool) {
    let pool = user.open(database).await.unwrap();
    for _ in 0..3 {
        let lease = pool.lease().await.unwrap();
        let mut client = Client::connect(&lease.url().reveal()).await;
        assert_eq!(client.number("SELECT COUNT(*) FROM parent").await, 0);
        assert_eq!(client.number("SELECT COUNT(*) FROM words").await, 1);
        client.execute("INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1); DELETE FROM words").await;
        // It is ended by whoever puts the database back.
        client.execute("BEGIN").await;
        let report = lease.give_back().await.unwrap();
        let lacking = (!puts_back).then_some("without `ALTER ROLE <user> SUPERUSER` its rows cannot be put back");
        assert_eq!(report.changed().is_some(), lacking.is_some(), "{report:?}");
        assert!(report.changed().is_none_or(|why| lacking.is_some_and(|lacking| why.contains(lacking))), "{report:?}");
        drop(client);
    }
    pool.close().await.unwrap();
    clean(database).await;
}
