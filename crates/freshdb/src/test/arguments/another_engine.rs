//! An argument that is of one engine, in a test that runs on another.

use std::error::Error as StdError;
use std::fmt;

use freshdb_databases::Kind;

use crate::dialect::Backend;
use crate::test::context::Context;

/// The argument is of some engines, and the test runs on none of them.
#[derive(Debug)]
pub(crate) struct OfAnotherEngine {
    title: &'static str,
    names: Vec<&'static str>,
    runs_on: Kind,
}

/// Before its driver speaks to a server of another protocol, which may never answer.
pub(super) fn check<DB: Backend>(context: &Context) -> Result<(), OfAnotherEngine> {
    let is_of = |kind: &Kind| DB::SCHEMES.contains(&kind.name());
    let runs_on = context.kind();
    if is_of(&runs_on) {
        return Ok(());
    }
    let names = Kind::ALL.into_iter().filter(is_of).map(Kind::name).collect();
    Err(OfAnotherEngine { title: DB::TITLE, names, runs_on })
}

impl OfAnotherEngine {
    pub(crate) fn hint(&self) -> String {
        format!(
            "say `on = [{}]` in `#[freshdb::test(…)]`, or take what is there on every engine: `freshdb::OrmEngine`, \
             `sea_orm::DatabaseConnection`, or the bare `freshdb::test::Lease`",
            self.names.join(", ")
        )
    }
}

impl fmt::Display for OfAnotherEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "it is {}, and the test runs on {}", self.title, self.runs_on)
    }
}

impl StdError for OfAnotherEngine {}
