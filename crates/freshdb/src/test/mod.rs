#![doc = include_str!("../docs/test.md")]

mod arguments;
mod body;
mod case;
pub(crate) mod census;
mod context;
pub(crate) mod guard;
mod guarded;
mod leased;
mod leftovers;
mod pools;
mod report;
pub(crate) mod reuse;
mod runner;
mod runtime;
mod supervisor;
pub(crate) mod trace;

pub use arguments::Lease;
pub use body::{Body, Outcome};
pub use case::{Case, Leaking, Runtime};
pub use context::{ArgumentError, BuildError, Context, FromContext};
/// What tests are made of beside that: see [`freshdb_databases`].
pub use freshdb_databases::{DatabaseUrl, Kind, Schema, schema};
pub use guarded::{Guarded, Leftovers};
pub use runner::run;

/// What the attribute's expansion names. Not for anybody else.
#[doc(hidden)]
pub mod expanded {
    /// A schema as such: an error about what is none points at it, and is said once.
    pub fn schema(schema: impl super::Schema + 'static) -> Box<dyn super::Schema> {
        Box::new(schema)
    }

    /// The name of a test out of the path of the module that it was expanded in, which begins with the crate's.
    pub fn name(module: &str, kind: super::Kind) -> String {
        let path = module.split_once("::").map_or(module, |(_, path)| path);
        format!("{path}::{}", kind.name())
    }

    /// Without a schema, a database is empty.
    pub fn empty() -> impl super::Schema {
        super::schema::sql("")
    }
}
