//! The engines, and where their servers are.

use std::fmt;

use clap::ValueEnum;
use url::Url;

use crate::failure::Failure;

/// A database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    Sqlite,
    Mysql,
    Mariadb,
    Postgres,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::Postgres => "postgres",
        }
    }

    /// The variable by which freshdb finds its server. `SQLite` has none.
    pub(crate) fn variable(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Mysql => Some("FRESHDB_MYSQL_URL"),
            Self::Mariadb => Some("FRESHDB_MARIADB_URL"),
            Self::Postgres => Some("FRESHDB_POSTGRES_URL"),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Which engines to measure, and the servers to do it on.
#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// Only this engine; may be repeated [default: all]
    #[arg(long = "engine", value_name = "NAME")]
    engines: Vec<Engine>,
    /// Server for `mysql`; its user may create databases
    #[arg(long, env = "FRESHDB_MYSQL_URL", hide_env_values = true, value_name = "URL")]
    mysql_url: Option<Url>,
    /// Server for `mariadb`; its user may create databases
    #[arg(long, env = "FRESHDB_MARIADB_URL", hide_env_values = true, value_name = "URL")]
    mariadb_url: Option<Url>,
    /// Server for `postgres`, with a database to connect to; its user may create databases
    #[arg(long, env = "FRESHDB_POSTGRES_URL", hide_env_values = true, value_name = "URL")]
    postgres_url: Option<Url>,
}

/// Where databases of an engine can be made.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a directory of files.
    Files,
    /// On a `MySQL` or `MariaDB` server.
    MySql(Url),
    /// On a `PostgreSQL` server.
    Postgres(Url),
}

impl Place {
    /// On this server of an engine. Of SQLite, which has none, in files.
    pub(crate) fn on(engine: Engine, server: Url) -> Self {
        match engine {
            Engine::Sqlite => Self::Files,
            Engine::Mysql | Engine::Mariadb => Self::MySql(server),
            Engine::Postgres => Self::Postgres(server),
        }
    }

    /// The server, if it is on one.
    pub(crate) fn server(&self) -> Option<&Url> {
        match self {
            Self::Files => None,
            Self::MySql(url) | Self::Postgres(url) => Some(url),
        }
    }
}

impl EngineArgs {
    /// The engines that were asked for.
    pub(crate) fn chosen(&self) -> Vec<Engine> {
        let asked = if self.engines.is_empty() { Engine::value_variants() } else { &self.engines };
        let mut chosen: Vec<Engine> = Vec::new();
        for &engine in asked {
            if !chosen.contains(&engine) {
                chosen.push(engine);
            }
        }
        chosen
    }

    /// The server of an engine, where one is named.
    pub(crate) fn url(&self, engine: Engine) -> Option<&Url> {
        match engine {
            Engine::Sqlite => None,
            Engine::Mysql => self.mysql_url.as_ref(),
            Engine::Mariadb => self.mariadb_url.as_ref(),
            Engine::Postgres => self.postgres_url.as_ref(),
        }
    }

    /// The engines that were asked for, each with its place.
    pub(crate) fn places(&self) -> Result<Vec<(Engine, Place)>, Failure> {
        self.chosen().into_iter().map(|engine| Ok((engine, self.place(engine)?))).collect()
    }

    fn place(&self, engine: Engine) -> Result<Place, Failure> {
        let url = || {
            self.url(engine).cloned().ok_or_else(|| {
                let variable = engine.variable().unwrap_or_default();
                Failure::new(format!("no server for `{engine}`: {variable} is not set"))
                    .hint("put `scripts/with-servers --` before the command, or choose other engines with `--engine`")
            })
        };
        Ok(if engine == Engine::Sqlite { Place::Files } else { Place::on(engine, url()?) })
    }
}
