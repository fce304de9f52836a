//! What is measured: who gives a test its database, and how the tests are run.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Serialize, Serializer};

use crate::engine::Engine;

/// Who gives a test its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
pub(super) enum Contender {
    #[value(name = "freshdb")]
    #[serde(rename = "freshdb")]
    Freshdb,
    /// The same tests under the command, which has the databases ready before a test's process begins.
    #[value(name = "freshdb run")]
    #[serde(rename = "freshdb run")]
    FreshdbRun,
    #[value(name = "sqlx::test")]
    #[serde(rename = "sqlx::test")]
    SqlxTest,
    #[value(name = "db-pool")]
    #[serde(rename = "db-pool")]
    DbPool,
    #[value(name = "create-and-drop")]
    #[serde(rename = "create-and-drop")]
    CreateAndDrop,
    #[value(name = "rollback")]
    #[serde(rename = "rollback")]
    Rollback,
}

impl Contender {
    pub(super) const ALL: [Self; 6] =
        [Self::Freshdb, Self::FreshdbRun, Self::SqlxTest, Self::DbPool, Self::CreateAndDrop, Self::Rollback];
    /// What people use today, and what freshdb is to be ten times faster than.
    pub(super) const PEERS: [Self; 2] = [Self::SqlxTest, Self::DbPool];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Freshdb => "freshdb",
            Self::FreshdbRun => "freshdb run",
            Self::SqlxTest => "sqlx::test",
            Self::DbPool => "db-pool",
            Self::CreateAndDrop => "create-and-drop",
            Self::Rollback => "rollback",
        }
    }

    /// Its target in the suite.
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::Freshdb | Self::FreshdbRun => "freshdb",
            Self::SqlxTest => "sqlx_test",
            Self::DbPool => "db_pool",
            Self::CreateAndDrop => "create_and_drop",
            Self::Rollback => "rollback",
        }
    }

    /// Why it has nothing to run on this engine.
    pub(super) fn lacks(self, engine: Engine) -> Option<&'static str> {
        (self == Self::DbPool && engine == Engine::Sqlite).then_some("db-pool has no SQLite")
    }
}

/// How the tests are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    /// By libtest, in one process with so many threads.
    Libtest(usize),
    /// By cargo-nextest, in a process each.
    Nextest,
}

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "nextest" => Ok(Self::Nextest),
            Ok(threads) if threads > 0 => Ok(Self::Libtest(threads)),
            _ => Err("it must be a number of threads, or `nextest`".into()),
        }
    }
}

impl fmt::Display for Threads {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Libtest(threads) => threads.fmt(formatter),
            Self::Nextest => formatter.write_str("nextest"),
        }
    }
}

impl Serialize for Threads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Libtest(threads) => threads.serialize(serializer),
            Self::Nextest => "nextest".serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_a_number_or_nextest() {
        assert_eq!("8".parse(), Ok(Threads::Libtest(8)));
        assert_eq!("nextest".parse(), Ok(Threads::Nextest));
        assert!("0".parse::<Threads>().is_err());
        assert!("all".parse::<Threads>().is_err());
    }

    #[test]
    fn a_contender_is_chosen_by_the_name_that_is_printed() {
        for contender in Contender::ALL {
            assert_eq!(Contender::from_str(contender.name(), false), Ok(contender));
            assert_eq!(serde_json::to_value(contender).expect("JSON"), contender.name());
        }
    }
}
