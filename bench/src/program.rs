//! The program `freshdb`.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrFail};

/// The one that was chosen, or else the one beside this program.
pub(crate) fn freshdb(chosen: Option<&Path>) -> Result<PathBuf, Failure> {
    let program = match chosen {
        Some(program) => {
            std::path::absolute(program).or_fail(|| format!("cannot tell where `{}` is", program.display()))?
        }
        None => std::env::current_exe().or_fail(|| "cannot find this program".into())?.with_file_name("freshdb"),
    };
    if program.exists() {
        Ok(program)
    } else {
        Err(Failure::new(format!("there is no `{}`", program.display()))
            .hint("build it first: `cargo build --release -p freshdb-cli`"))
    }
}
