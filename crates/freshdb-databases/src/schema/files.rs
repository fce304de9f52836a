//! Files that schemas are made of.

use std::path::Path;

use crate::{Error, ErrorKind};

/// The names of what a directory holds, sorted by their bytes, without those that begin with a dot.
pub(super) fn names_in(directory: &Path) -> Result<Vec<String>, Error> {
    let failure = |error| unreadable(directory, "the directory").because(error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failure)? {
        let name = entry.map_err(failure)?.file_name();
        let name = name.into_string().map_err(|name| {
            let fact = format!("the name of {} in `{}` is not valid UTF-8", name.display(), directory.display());
            Error::new(ErrorKind::Files, fact)
        })?;
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A file that must be text.
pub(super) fn text_of(file: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(file).map_err(|error| unreadable(file, "the file").because(error))?;
    String::from_utf8(bytes).map_err(|error| {
        Error::new(ErrorKind::Files, format!("the file `{}` is not valid UTF-8", file.display()))
            .because(error)
            .hint("write it as UTF-8; of what `BINARY` and `BLOB` hold, `mysqldump` writes text with `--hex-blob`")
    })
}

pub(super) fn unreadable(path: &Path, what: &str) -> Error {
    let error = Error::new(ErrorKind::Files, format!("{what} `{}` cannot be read", path.display()));
    match std::env::current_dir() {
        Ok(directory) if path.is_relative() => error.hint(format!(
            "a relative path starts at the working directory, which is `{}`; \
             in Rust, `concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/…\")` starts at the package",
            directory.display(),
        )),
        _ => error,
    }
}
