//! MySQL, and what MariaDB has in common with it.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fs, io};

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions, Connection};

use super::{Door, Engine, Invocation, first_login};
use crate::schema::BoxFuture;
use crate::server::programs::Program;
use crate::{DatabaseUrl, Kind};

pub(super) struct Mysql;

impl Engine for Mysql {
    fn kind(&self) -> Kind {
        Kind::Mysql
    }

    fn programs(&self) -> &'static [&'static str] {
        &["mysqld"]
    }

    fn directories(&self) -> &'static [&'static str] {
        &[
            "/usr/sbin",
            "/usr/libexec",
            "/usr/local/mysql/bin",
            "/opt/homebrew/opt/mysql*/bin",
            "/usr/local/opt/mysql*/bin",
        ]
    }

    fn directories_in_cache(&self) -> &'static [&'static str] {
        &["mysql-*/usr/sbin"]
    }

    /// No stable release of Debian's has it.
    fn source(&self) -> &'static str {
        "on Ubuntu the package `mysql-server`; on Debian, freshdb's `scripts/install-servers --engine mysql` gets it"
    }

    /// MariaDB still installs itself under MySQL's names, and its banner is what tells the two apart.
    fn version<'a>(&self, banner: &'a str) -> Option<&'a str> {
        version_in(banner).filter(|_| !banner.contains("MariaDB"))
    }

    fn initialisers(&self) -> &'static [&'static str] {
        &[]
    }

    fn initialise(&self, program: &Program, data: &Path) -> Invocation {
        Invocation::new(&program.initialiser)
            .arguments(["--no-defaults", "--initialize-insecure"])
            .option("--basedir", program.base())
            .option("--datadir", data)
            .arguments(["--innodb-flush-method=nosync", "--innodb-use-native-aio=OFF"])
    }

    /// Copies of one data directory are different servers: the identity is written anew at the first start. Spare redo logs are as
    /// well, and pages are not written twice where nothing is durable: more than half of it need not be copied.
    fn complete(&self, data: &Path) -> io::Result<()> {
        let remove_if = |directory: &Path, superfluous: fn(&str) -> bool| {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                if entry.file_name().to_str().is_some_and(superfluous) {
                    fs::remove_file(entry.path())?;
                }
            }
            io::Result::Ok(())
        };
        // The server writes these names, and always so.
        #[expect(clippy::case_sensitive_file_extension_comparisons)]
        remove_if(data, |name| name == "auto.cnf" || name.starts_with("#ib_16384_") && name.ends_with(".dblwr"))?;
        match remove_if(&data.join("#innodb_redo"), |name| name.starts_with("#ib_redo") && name.ends_with("_tmp")) {
            // Other versions keep it elsewhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn files(&self, door: &Door) -> Vec<(PathBuf, String)> {
        vec![password_file(door)]
    }

    fn serve(&self, program: &Program, door: &Door) -> Invocation {
        serve(program, door).arguments([
            "--mysqlx=0",
            "--secure-file-priv=NULL",
            "--sync-binlog=0",
            // No replica can follow it, so that resets need not be logged.
            "--server-id=0",
        ])
    }

    fn url(&self, door: &Door) -> String {
        format!("mysql://root:{}@127.0.0.1:{}", door.password, door.port)
    }

    fn socket(&self, door: &Door) -> PathBuf {
        socket(door)
    }

    fn ask<'a>(&'a self, door: &'a Door, url: &'a DatabaseUrl) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            first_login::by_socket(&self.socket(door), "root", &door.password).await?;
            ask(url).await
        })
    }
}

/// Both read it before they listen, so that there is no moment without a password. It is on no command line, where every
/// user of the machine could read it.
pub(super) fn password_file(door: &Door) -> (PathBuf, String) {
    (init_file(door), format!("ALTER USER 'root'@'localhost' IDENTIFIED BY '{}';\n", door.password))
}

fn init_file(door: &Door) -> PathBuf {
    door.directory.join("init.sql")
}

pub(super) fn socket(door: &Door) -> PathBuf {
    door.directory.join("mysqld.sock")
}

/// Durability is off and the size is modest. Nothing that changes what a statement means: SQL modes, character sets and
/// collations stay as the server has them, and so does the binary log, with which some functions need more privileges.
pub(super) fn serve(program: &Program, door: &Door) -> Invocation {
    let data = door.data();
    Invocation::new(&program.server)
        .argument("--no-defaults")
        .option("--basedir", program.base())
        .option("--datadir", &data)
        .option("--init-file", init_file(door))
        .option("--pid-file", data.join("server.pid"))
        .option("--socket", socket(door))
        .option("--port", door.port.to_string())
        .arguments([
            "--bind-address=127.0.0.1",
            "--max-connections=300",
            "--innodb-buffer-pool-size=128M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=OFF",
            "--loose-innodb-flush-method=nosync",
            // Neither of the kernel's two interfaces is certain to be there in a container, and memory gains nothing.
            "--innodb-use-native-aio=OFF",
            // Each ALTER and TRUNCATE would write them anew, which is half of what MariaDB's cost. And what is gathered in the background
            // makes one test's plans depend on another's rows.
            "--innodb-stats-persistent=OFF",
            "--innodb-stats-auto-recalc=OFF",
        ])
}

pub(super) fn version_in(banner: &str) -> Option<&str> {
    banner.split_once(" Ver ")?.1.split_whitespace().next()
}

pub(super) async fn ask(url: &DatabaseUrl) -> Result<(), sqlx::Error> {
    let options = MySqlConnectOptions::from_str(&url.for_sqlx())?.ssl_mode(MySqlSslMode::Disabled);
    options.disable_statement_logging().connect().await?.close().await
}
