//! What a database for every test costs in Python, beside `create_all` and `drop_all` around each test: the same two hundred tests of
//! a FastAPI service, the example of pytest-freshdb.

mod command;
mod contender;
mod report;
mod suite;

pub(crate) use command::{Args, run};
