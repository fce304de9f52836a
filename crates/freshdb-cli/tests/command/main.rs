//! The command `freshdb`, as a shell meets it.

mod ends;
mod messages;
mod run;
