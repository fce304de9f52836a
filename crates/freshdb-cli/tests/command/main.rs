//! The command `freshdb`, as a shell meets it.

mod ends;
mod examined;
mod messages;
mod run;
