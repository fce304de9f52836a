//! MariaDB, in so far as it is not like MySQL.

use std::io;
use std::path::{Path, PathBuf};

use super::mysql::{ask, password_file, serve, socket, version_in};
use super::{Door, Engine, Invocation};
use crate::schema::BoxFuture;
use crate::server::programs::Program;
use crate::{DatabaseUrl, Kind};

pub(super) struct Mariadb;

impl Engine for Mariadb {
    fn kind(&self) -> Kind {
        Kind::Mariadb
    }

    fn programs(&self) -> &'static [&'static str] {
        &["mariadbd", "mysqld"]
    }

    fn directories(&self) -> &'static [&'static str] {
        &["/usr/sbin", "/usr/libexec", "/opt/homebrew/opt/mariadb*/bin", "/usr/local/opt/mariadb*/bin"]
    }

    fn directories_in_cache(&self) -> &'static [&'static str] {
        &["mariadb-*/usr/sbin"]
    }

    fn source(&self) -> &'static str {
        "on Debian and Ubuntu the package `mariadb-server-core`"
    }

    fn version<'a>(&self, banner: &'a str) -> Option<&'a str> {
        version_in(banner).filter(|_| banner.contains("MariaDB"))
    }

    fn initialisers(&self) -> &'static [&'static str] {
        &["mariadb-install-db", "mysql_install_db"]
    }

    fn initialise(&self, program: &Program, data: &Path) -> Invocation {
        // It is a shell script that breaks a base directory with a blank in its name apart.
        Invocation {
            working_directory: Some(program.base().to_owned()),
            ..Invocation::new(&program.initialiser)
                .arguments(["--no-defaults", "--basedir=."])
                .option("--datadir", data)
                .arguments([
                    "--auth-root-authentication-method=socket",
                    "--auth-root-socket-user=root",
                    "--skip-test-db",
                    "--skip-name-resolve",
                    "--innodb-use-native-aio=OFF",
                ])
        }
    }

    fn complete(&self, _data: &Path) -> io::Result<()> {
        Ok(())
    }

    fn files(&self, door: &Door) -> Vec<(PathBuf, String)> {
        vec![password_file(door)]
    }

    fn serve(&self, program: &Program, door: &Door) -> Invocation {
        serve(program, door).arguments([
            // No file is read or written. MariaDB knows no NULL, as MySQL does: no file is in what is no directory.
            "--secure-file-priv=/dev/null",
            // Room for several copies of a schema of a thousand tables, which take memory when they are used. MySQL counts slower, and
            // alters slower, the more tables are open.
            "--table-definition-cache=16384",
            "--table-open-cache=16384",
        ])
    }

    fn url(&self, door: &Door) -> String {
        format!("mariadb://root:{}@127.0.0.1:{}", door.password, door.port)
    }

    fn socket(&self, door: &Door) -> PathBuf {
        socket(door)
    }

    fn ask<'a>(&'a self, _door: &'a Door, url: &'a DatabaseUrl) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(ask(url))
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use sqlx::mysql::MySqlConnectOptions;
    use sqlx::{ConnectOptions, Connection, Executor};

    use crate::{Config, Kind, Server};

    /// What is written by a relative name is in the directory of the current database, which can be dropped no more.
    #[tokio::test]
    async fn nothing_is_written_beside_tables() {
        let config = Config::from_env().expect("the variables can be read").without_urls().without_run();
        let server = Server::of(Kind::Mariadb, &config).await.expect("a private server");
        let options = MySqlConnectOptions::from_str(&server.url().reveal()).expect("a URL");
        let mut connection = options.connect().await.expect("a connection");
        connection.execute("CREATE DATABASE slot").await.expect("a database");
        connection.execute("USE slot").await.expect("it is there");
        for file in ["x.csv", "/tmp/x.csv", "../x.csv"] {
            let sql = format!("SELECT 1 INTO OUTFILE '{file}'");
            let error = connection.execute(sqlx::AssertSqlSafe(sql)).await.expect_err("it is refused").to_string();
            assert!(error.contains("--secure-file-priv"), "{file}: {error}");
        }
        connection.execute("DROP DATABASE slot").await.expect("nothing is in its way");
        connection.close().await.expect("it closes");
        server.stop().await.expect("it ends");
    }
}
