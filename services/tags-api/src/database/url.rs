//! Which database, parsed once.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use ::url::Url;

/// A database's URL. Shown, its password is `***`; only the driver gets to see it.
#[derive(Clone)]
pub struct DatabaseUrl(Location);

#[derive(Clone)]
enum Location {
    /// A path with parameters, percent-encoded, or `:memory:`. Not a [`Url`], which would resolve and escape it.
    Sqlite(String),
    Server(Url, Kind),
}

/// The engines, as far as a URL tells them apart: `mysql://` and `mariadb://` speak one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    MySql,
    Postgres,
}

/// Why a text is not a database's URL. The text itself is not in the message: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the database URL {fact}")]
pub struct DatabaseUrlError {
    fact: String,
}

const EXAMPLES: &str = "`sqlite://tags.db`, `mysql://user:password@host:3306/tags`, `mariadb://…` or `postgres://…`";

impl DatabaseUrl {
    /// Parses a URL: `sqlite:`, `mysql://`, `mariadb://`, `postgres://` or `postgresql://`.
    ///
    /// # Errors
    ///
    /// If it is no URL, names another scheme, or no database.
    pub fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        let fact = |fact: String| DatabaseUrlError { fact };
        let text = text.trim();
        if text.is_empty() {
            return Err(fact(format!("is empty: write {EXAMPLES}, or leave DATABASE_URL unset")));
        }
        // `sqlite:` takes a path, relative ones and `:memory:` too, where a URL would have a host and a port.
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(fact("names no SQLite file: write `sqlite://tags.db`".into()));
            }
            return Ok(Self(Location::Sqlite(path.to_owned())));
        }
        let url = Url::parse(text).map_err(|error| match error {
            // Where a password has one of these, what is before it looks like a port.
            ::url::ParseError::InvalidPort if text.contains('@') => fact(format!(
                "is not valid ({error}): in a password, write `%2F` for `/`, `%3F` for `?` and `%23` for `#`"
            )),
            _ => fact(format!("is not valid ({error}): write {EXAMPLES}")),
        })?;
        let kind = match url.scheme() {
            "mysql" | "mariadb" => Kind::MySql,
            "postgres" | "postgresql" => Kind::Postgres,
            scheme => return Err(fact(unknown_scheme(scheme))),
        };
        // What should have been a password is a path then, and would be shown.
        if url.path().contains('@') {
            return Err(fact("has an `@` behind its host: in a password, write `%2F` for `/`".into()));
        }
        if url.fragment().is_some() {
            return Err(fact("has a `#`: in a password, write `%23` for it".into()));
        }
        if url.has_host() && url.username().is_empty() && raw_parameters(&url).any(may_be_of_a_password) {
            let said = "has an `@` among its parameters, and no user: in a password, write `%3F` for `?`";
            return Err(fact(said.into()));
        }
        if url.path().trim_matches('/').is_empty() {
            return Err(fact(format!("names no database: end it with one, as in `{}://host/tags`", url.scheme())));
        }
        Ok(Self(Location::Server(url, kind)))
    }

    /// The URL of an SQLite file.
    ///
    /// # Errors
    ///
    /// If the path is not Unicode.
    pub fn sqlite_file(path: &Path) -> Result<Self, DatabaseUrlError> {
        let text =
            path.to_str().ok_or(DatabaseUrlError { fact: format!("cannot hold `{}`: not Unicode", path.display()) })?;
        let escaped = text.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
        Self::parse(&format!("sqlite://{escaped}"))
    }

    pub(crate) fn kind(&self) -> Kind {
        match &self.0 {
            Location::Sqlite(_) => Kind::Sqlite,
            Location::Server(_, kind) => *kind,
        }
    }

    /// The URL in full, for the driver alone. MySQL's driver takes `mysql:` for MariaDB too.
    pub(crate) fn reveal(&self) -> String {
        match &self.0 {
            Location::Sqlite(path) => format!("sqlite://{path}"),
            Location::Server(url, _) => match url.as_str().strip_prefix("mariadb:") {
                Some(rest) => format!("mysql:{rest}"),
                None => url.as_str().to_owned(),
            },
        }
    }

    /// What it says of this parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let parameters = match &self.0 {
            Location::Sqlite(path) => path.split_once('?').map(|(_, parameters)| parameters),
            Location::Server(url, _) => url.query(),
        };
        let mut pairs = ::url::form_urlencoded::parse(parameters.unwrap_or_default().as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The path of an SQLite file, or the name of a server's database, both percent-encoded.
    pub(crate) fn database(&self) -> &str {
        match &self.0 {
            Location::Sqlite(path) => path.split_once('?').map_or(path, |(path, _)| path),
            Location::Server(url, _) => url.path().trim_matches('/'),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Location::Sqlite(path) => write!(formatter, "sqlite://{path}"),
            Location::Server(url, _) => formatter.write_str(redacted(url).as_str()),
        }
    }
}

fn redacted(url: &Url) -> Url {
    let mut shown = url.clone();
    // Refused only for a URL without a host, which then has no password either.
    if shown.password().is_some() && shown.set_password(Some("***")).is_err() {
        shown.set_path("***");
    }
    // PostgreSQL takes the password as a parameter too.
    if raw_parameters(url).filter_map(parameter_name).any(|name| is_password(&name)) {
        let parameters: Vec<String> = raw_parameters(url).filter_map(shown_beside_password).collect();
        shown.set_query(Some(&parameters.join("&")));
    }
    shown
}

/// A parameter of a URL that has a password among them, if it is shown. Of a password in which `&` should have been `%26`, the
/// rest looks like a parameter, too; so what is shown is what says where the server is.
fn shown_beside_password(pair: &str) -> Option<String> {
    const SHOWN: [&str; 5] = ["host", "hostaddr", "port", "socket", "user"];
    let name = parameter_name(pair)?;
    if is_password(&name) { Some(format!("{name}=***")) } else { SHOWN.contains(&&*name).then(|| pair.to_owned()) }
}

fn is_password(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["passw", "passphrase", "pwd", "secret", "token"].into_iter().any(|word| name.contains(word))
}

/// Where a password has a `?`, what is behind it looks like parameters: `mysql://root:?secret@host`.
fn may_be_of_a_password(pair: &str) -> bool {
    let may_have_one = |name: &str| is_password(name) || matches!(name, "user" | "options" | "host");
    pair.contains('@') && parameter_name(pair).is_none_or(|name| !may_have_one(&name))
}

/// The parameters as they stand there, percent-encoded.
fn raw_parameters(url: &Url) -> impl Iterator<Item = &str> {
    url.query().into_iter().flat_map(|parameters| parameters.split('&'))
}

/// What stands before the `=` of a parameter.
fn parameter_name(pair: &str) -> Option<Cow<'_, str>> {
    let (name, _) = ::url::form_urlencoded::parse(pair.as_bytes()).next()?;
    pair.contains('=').then_some(name)
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DatabaseUrl({self})")
    }
}

/// SQLAlchemy names the driver behind a `+`, which no Rust driver knows.
fn unknown_scheme(scheme: &str) -> String {
    match scheme.split_once('+') {
        Some((engine @ ("sqlite" | "mysql" | "mariadb" | "postgresql" | "postgres"), driver)) => {
            format!("has the scheme `{scheme}`: leave out the driver `+{driver}` and write `{engine}://…`")
        }
        _ => format!("has the scheme `{scheme}`, which is none of the known: write {EXAMPLES}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match DatabaseUrl::parse(text) {
            Ok(url) => url.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        insta::assert_snapshot!(shown("mysql://tags:se%40cret@db:3306/tags"), @"mysql://tags:***@db:3306/tags");
        insta::assert_snapshot!(shown("mariadb://tags:secret@db/tags"), @"mariadb://tags:***@db/tags");
        insta::assert_snapshot!(shown("postgres://db/tags?user=u&password=secret"), @"postgres://db/tags?user=u&password=***");
        insta::assert_snapshot!(shown("sqlite://data/tags.db"), @"sqlite://data/tags.db");
        insta::assert_snapshot!(shown(" sqlite://data/tags.db\n"), @"sqlite://data/tags.db");
        insta::assert_snapshot!(shown("sqlite:///var/lib/tags.db?mode=ro"), @"sqlite:///var/lib/tags.db?mode=ro");
        insta::assert_snapshot!(shown("sqlite::memory:"), @"sqlite://:memory:");
    }

    #[test]
    fn what_is_no_url_is_said_without_repeating_it() {
        insta::assert_snapshot!(shown("tags:secret@db"), @"error: the database URL has the scheme `tags`, which is none of the known: write `sqlite://tags.db`, `mysql://user:password@host:3306/tags`, `mariadb://…` or `postgres://…`");
        insta::assert_snapshot!(shown(""), @"error: the database URL is empty: write `sqlite://tags.db`, `mysql://user:password@host:3306/tags`, `mariadb://…` or `postgres://…`, or leave DATABASE_URL unset");
        insta::assert_snapshot!(shown("secret"), @"error: the database URL is not valid (relative URL without a base): write `sqlite://tags.db`, `mysql://user:password@host:3306/tags`, `mariadb://…` or `postgres://…`");
        insta::assert_snapshot!(shown("mysql+aiomysql://u:secret@db/tags"), @"error: the database URL has the scheme `mysql+aiomysql`: leave out the driver `+aiomysql` and write `mysql://…`");
        insta::assert_snapshot!(shown("mysql://u:secret@db"), @"error: the database URL names no database: end it with one, as in `mysql://host/tags`");
        insta::assert_snapshot!(shown("postgres://db:port/x"), @"error: the database URL is not valid (invalid port number): write `sqlite://tags.db`, `mysql://user:password@host:3306/tags`, `mariadb://…` or `postgres://…`");
        insta::assert_snapshot!(shown("postgres://u:sec/ret@db/x"), @"error: the database URL is not valid (invalid port number): in a password, write `%2F` for `/`, `%3F` for `?` and `%23` for `#`");
        insta::assert_snapshot!(shown("mysql://u:/secret@db/tags"), @"error: the database URL has an `@` behind its host: in a password, write `%2F` for `/`");
        insta::assert_snapshot!(shown("mysql:u:secret@db/tags"), @"error: the database URL has an `@` behind its host: in a password, write `%2F` for `/`");
        insta::assert_snapshot!(shown("mysql://u:12?secret@db/x"), @"error: the database URL has an `@` among its parameters, and no user: in a password, write `%3F` for `?`");
        insta::assert_snapshot!(shown("mysql://u:12#secret@db/x"), @"error: the database URL has a `#`: in a password, write `%23` for it");
        insta::assert_snapshot!(shown("sqlite:"), @"error: the database URL names no SQLite file: write `sqlite://tags.db`");
    }

    #[test]
    fn what_would_show_a_part_of_a_password_is_refused_or_left_out() {
        for url in [
            "mysql:root:sekret@h/x",
            "mariadb:///root:sekret@h/x",
            "mysql://root:/sekret@h/x",
            "mysql://root:?sekret@h/x",
            "mysql://root:?se=kret@h/x",
            "mysql://root:12?sekret@h/x?a=b",
            "mysql://root:#sekret@h/x",
            "mysql://root:12#sekret@h/x",
            "postgres://h/tags?user=u&password=ab#cdsekret",
        ] {
            let said = shown(url);
            assert!(said.starts_with("error: ") && !said.contains("kret"), "{url}: {said}");
        }
        for (url, expected) in [
            ("postgres://h/x?user=u&password=ab&cdsekret", "postgres://h/x?user=u&password=***"),
            ("postgres://h/x?user=u&password=ab&secret-sekret", "postgres://h/x?user=u&password=***"),
            ("postgres://h/x?password=ab&cd=sekret&sslmode=require", "postgres://h/x?password=***"),
            ("postgres://u:se@h/x?ssl%50assword=se&port=1", "postgres://u:***@h/x?sslPassword=***&port=1"),
            ("postgres://h/x?passphrase=se&user=a%40b", "postgres://h/x?passphrase=***&user=a%40b"),
            ("postgres://u@h/x?sslmode=require&options[a]=b", "postgres://u@h/x?sslmode=require&options[a]=b"),
            (
                "postgres:///x?host=/run/pg&user=me@here&password=p@ss",
                "postgres:///x?host=/run/pg&user=me@here&password=***",
            ),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn a_file_name_of_any_kind_becomes_a_url() {
        let url = DatabaseUrl::sqlite_file(Path::new("/tmp/50% off?#1.db")).expect("a URL");
        insta::assert_snapshot!(url.to_string(), @"sqlite:///tmp/50%25 off%3F%231.db");
    }
}
