//! Who gives a test its database.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Contender {
    /// `freshdb run`, and a lease for each test
    Freshdb,
    /// One database for each worker, with `create_all` and `drop_all` around each test
    CreateAll,
}

impl Contender {
    pub(super) const ALL: [Self; 2] = [Self::Freshdb, Self::CreateAll];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Freshdb => "freshdb",
            Self::CreateAll => "create-all",
        }
    }

    /// The example's directory of tests that does it so.
    pub(super) fn tests(self) -> &'static str {
        match self {
            Self::Freshdb => "tests",
            Self::CreateAll => "tests_create_all",
        }
    }
}
