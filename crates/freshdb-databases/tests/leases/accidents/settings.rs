//! Servers that are set as few are.

use freshdb_databases::{DatabaseUrl, ErrorKind, Kind, Pool, Server, schema};

use super::harness::{CHECKOUT, OwnServer, execute, tables};
use super::restarts::place;

/// All tables are in one file then. MySQL shows that of a table from its first ALTER or TRUNCATE on.
async fn tables_may_have_no_files_of_their_own(kind: Kind) {
    let place = place();
    let own = OwnServer::start(kind, place.path()).await;
    execute(own.server.url(), "SET GLOBAL innodb_file_per_table = OFF").await;
    let schema = schema::sql(
        "CREATE TABLE seeded (id INT PRIMARY KEY AUTO_INCREMENT, word VARCHAR(50) UNIQUE) AUTO_INCREMENT = 7;
         INSERT INTO seeded (word) VALUES ('fresh'), ('not stale');
         CREATE TABLE counted (id INT PRIMARY KEY AUTO_INCREMENT, seeded INT, FOREIGN KEY (seeded) REFERENCES seeded (id))
          AUTO_INCREMENT = 100;
         CREATE TABLE blank (id INT PRIMARY KEY AUTO_INCREMENT, word VARCHAR(50) UNIQUE);
         CREATE TABLE parts (id INT PRIMARY KEY AUTO_INCREMENT)
          PARTITION BY RANGE (id) (PARTITION few VALUES LESS THAN (10), PARTITION many VALUES LESS THAN MAXVALUE);
         INSERT INTO parts VALUES (5), (50);
         CREATE TABLE altered (id INT PRIMARY KEY); ALTER TABLE altered ADD COLUMN word TEXT",
    );
    let pool = Pool::builder(own.server.clone(), schema).checkout(CHECKOUT).limit(1).open().await.unwrap();
    for _ in 0..3 {
        let lease = pool.lease().await.unwrap();
        let sql =
            "DELETE FROM seeded; INSERT INTO seeded (word) VALUES ('new'); INSERT INTO counted VALUES (NULL, NULL);
             INSERT INTO blank (word) VALUES ('new'); INSERT INTO parts VALUES (NULL); TRUNCATE TABLE altered";
        execute(lease.url(), sql).await;
        let report = lease.give_back().await.unwrap();
        assert_eq!((report.changed(), report.touched()), (None, Some(4)), "{report:?}");
    }
    let lease = pool.lease().await.unwrap();
    execute(lease.url(), "ALTER TABLE seeded ADD COLUMN more INT").await;
    let report = lease.give_back().await.unwrap();
    assert_eq!(report.changed(), Some("table `seeded` was altered"));
    pool.close().await.unwrap();
    own.stop().await;
}

mod tables_may_have_no_files_of_their_own {
    use super::Kind;

    #[tokio::test]
    async fn mysql() {
        super::tables_may_have_no_files_of_their_own(Kind::Mysql).await;
    }

    #[tokio::test]
    async fn mariadb() {
        super::tables_may_have_no_files_of_their_own(Kind::Mariadb).await;
    }
}

/// It makes its certificate itself, for which nobody vouches.
#[tokio::test]
async fn mysql_may_take_tls_alone() {
    let place = place();
    let own = OwnServer::start(Kind::Mysql, place.path()).await;
    execute(own.server.url(), "SET GLOBAL require_secure_transport = ON").await;
    let asking = |parameter: &str| {
        let url = format!("{}?{parameter}", own.server.url().reveal());
        Server::existing(DatabaseUrl::parse(&url).unwrap())
    };
    for parameter in ["", "ssl-mode=preferred", "ssl-mode=required"] {
        let server = asking(parameter);
        server.check().await.unwrap();
        let pool = Pool::builder(server, tables()).checkout(CHECKOUT).limit(1).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        execute(lease.url(), "INSERT INTO notes VALUES (1, 'here')").await;
        assert_eq!(lease.give_back().await.unwrap().touched(), Some(1));
        pool.close().await.unwrap();
    }
    for (parameter, way_out) in [
        ("ssl-mode=disabled", "by `ssl-mode=required`"),
        ("ssl-mode=verify_ca", "by `ssl-ca=/path/to/ca.pem`"),
        ("ssl-mode=verify_identity", "by `ssl-ca=/path/to/ca.pem`"),
    ] {
        let error = asking(parameter).check().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.advice().is_some_and(|advice| advice.contains(way_out)), "{error:?}");
    }
    own.stop().await;
}
