//! Where a server or a database is, parsed once.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ::url::Url;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
#[cfg(feature = "mysql")]
use sqlx::mysql::MySqlConnectOptions;
#[cfg(feature = "postgres")]
use sqlx::postgres::PgConnectOptions;

use crate::{Error, Kind};

/// Where a server, or one database on it, is reached. Shown, its password is `***`; [`reveal`](Self::reveal) gives it in
/// full, for a driver.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Location);

/// What is percent-encoded in a database's name: all but the unreserved letters of a URL.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Clone, PartialEq, Eq)]
enum Location {
    /// A file; as a server, a directory.
    Path(PathBuf),
    Server(Kind, Url),
}

impl DatabaseUrl {
    /// Parses `mysql://`, `mariadb://`, `postgres://`, `postgresql://`, or `sqlite://` and a path, percent-encoded as drivers expect it.
    ///
    /// PostgreSQL's `dbname` among the parameters is the same as the database in the path, before which it counts.
    ///
    /// # Errors
    ///
    /// If it is none of these. The text itself is not in the message: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path == ":memory:" {
                return Err(Error::url("names no file"));
            }
            if path.contains('?') {
                return Err(Error::url(
                    "has parameters, of which none means anything here (in a path, `?` is written `%3F`)",
                ));
            }
            let path = percent_encoding::percent_decode_str(path).decode_utf8();
            let path = path.map_err(|_| Error::url("names a file by bytes that are no UTF-8"))?;
            return Ok(Self(Location::Path(path.as_ref().into())));
        }
        let url = Url::parse(text).map_err(|error| match error {
            // Where a password has one of these, what is before it looks like a port.
            ::url::ParseError::InvalidPort if text.contains('@') => Error::url(&format!(
                "is not valid ({error}; in a password, `/` is written `%2F`, `?` `%3F` and `#` `%23`)"
            )),
            _ => Error::url(&format!("is not valid ({error})")),
        })?;
        let kind = match url.scheme() {
            "mysql" => Kind::Mysql,
            "mariadb" => Kind::Mariadb,
            "postgres" | "postgresql" => Kind::Postgres,
            scheme => return Err(Error::url(&format!("has the scheme `{scheme}`, which is no engine's"))),
        };
        // What should have been a password is a path then, and would be shown.
        if url.path().contains('@') {
            return Err(Error::url("has an `@` behind its host (in a password, `/` is written `%2F`)"));
        }
        if url.fragment().is_some() {
            return Err(Error::url("has a `#` (in a password, it is written `%23`)"));
        }
        if url.has_host() && url.username().is_empty() && raw_parameters(&url).any(may_be_of_a_password) {
            return Err(Error::url(
                "has an `@` among its parameters, and no user (in a password, `?` is written `%3F`)",
            ));
        }
        Ok(Self(Location::Server(kind, if kind == Kind::Postgres { with_database_in_path(url) } else { url })))
    }

    /// The URL of an SQLite file, or of the directory that stands for a server.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Location::Path(path.into()))
    }

    /// The engine.
    pub fn kind(&self) -> Kind {
        match &self.0 {
            Location::Path(_) => Kind::Sqlite,
            Location::Server(kind, _) => *kind,
        }
    }

    /// The name of the database, if one is named: what follows the host, not percent-encoded any more; of SQLite, nothing.
    pub fn database(&self) -> Option<String> {
        let Location::Server(_, url) = &self.0 else { return None };
        let name = url.path().trim_start_matches('/');
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        (!name.is_empty()).then(|| name.into_owned())
    }

    /// The path of an SQLite file.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Location::Path(path) => Some(path),
            Location::Server(..) => None,
        }
    }

    /// The same server, another database: of SQLite, the file of this name in the directory.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        match &self.0 {
            Location::Path(directory) => Self(Location::Path(directory.join(format!("{name}.db")))),
            Location::Server(kind, url) => {
                let mut url = url.clone();
                url.set_path(&percent_encoding::utf8_percent_encode(name, IN_PATH).to_string());
                Self(Location::Server(*kind, url))
            }
        }
    }

    /// The same server, by its socket on this machine: of PostgreSQL the directory that it is in.
    pub(crate) fn by_socket(&self, socket: &Path) -> Self {
        match (&self.0, socket.to_str()) {
            (Location::Server(kind, url), Some(socket)) => {
                let mut url = url.clone();
                let parameter = if *kind == Kind::Postgres { "host" } else { "socket" };
                url.query_pairs_mut().append_pair(parameter, socket);
                Self(Location::Server(*kind, url))
            }
            // Whoever cannot be told where the socket is knocks at the other door.
            _ => self.clone(),
        }
    }

    /// Whether it is a server that is reached without leaving this machine: as `localhost`, or by an address of the loopback interface.
    ///
    /// # Examples
    ///
    /// ```
    /// use freshdb_databases::DatabaseUrl;
    ///
    /// # fn main() -> Result<(), freshdb_databases::Error> {
    /// assert!(DatabaseUrl::parse("mysql://root@127.0.0.1:3306")?.is_on_loopback());
    /// assert!(!DatabaseUrl::parse("mysql://root@db.example:3306")?.is_on_loopback());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_on_loopback(&self) -> bool {
        let Location::Server(_, url) = &self.0 else { return false };
        match url.host_str() {
            Some("localhost") => true,
            Some(host) => {
                let address = host.trim_start_matches('[').trim_end_matches(']');
                address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            None => false,
        }
    }

    /// Whether it says that TLS is not wanted, in the words of MySQL's driver.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(crate) fn does_without_tls(&self) -> bool {
        let Location::Server(_, url) = &self.0 else { return false };
        let mut parameters = url.query_pairs();
        parameters.any(|(name, mode)| matches!(&*name, "ssl-mode" | "sslmode") && mode.eq_ignore_ascii_case("disabled"))
    }

    /// The URL in full, password and all, as sqlx's drivers take it: MariaDB's says `mysql://`.
    pub fn reveal(&self) -> String {
        match &self.0 {
            Location::Path(path) => {
                let path = path.to_string_lossy();
                format!("sqlite://{}", path.replace('%', "%25").replace('?', "%3F").replace('#', "%23"))
            }
            Location::Server(_, url) => match url.as_str().strip_prefix("mariadb:") {
                Some(rest) => format!("mysql:{rest}"),
                None => url.as_str().to_owned(),
            },
        }
    }

    /// As [`reveal`](Self::reveal), for sqlx. Its driver for PostgreSQL passes over what it does not know, and logs it with its value: of
    /// `sslpassword`, which libpq knows, a secret. MySQL's says nothing.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sea-orm"))]
    pub(crate) fn for_sqlx(&self) -> String {
        /// The parameters that sqlx's driver for PostgreSQL knows, but for `dbname`, which is in the path:
        /// <https://docs.rs/sqlx/0.9.0/sqlx/postgres/struct.PgConnectOptions.html#parameters>.
        const PARAMETERS: [&str; 17] = [
            "application_name",
            "host",
            "hostaddr",
            "options",
            "password",
            "port",
            "ssl-ca",
            "ssl-cert",
            "ssl-key",
            "ssl-mode",
            "ssl-root-cert",
            "sslcert",
            "sslkey",
            "sslmode",
            "sslrootcert",
            "statement-cache-capacity",
            "user",
        ];

        let Location::Server(Kind::Postgres, url) = &self.0 else { return self.reveal() };
        if url.query().is_none() {
            return self.reveal();
        }
        let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
        let mut known = Vec::new();
        for pair in raw_parameters(url) {
            match parameter(pair) {
                // Without a value it may be the rest of one in which `&` should have been `%26`.
                Some((name, _)) if !is_known(&name) && pair.contains('=') => {
                    tracing::warn!(%name, "sqlx does not know a parameter of the database URL, and it is passed over");
                }
                Some((name, _)) if !is_known(&name) => {}
                _ => known.push(pair),
            }
        }
        with_parameters(url.clone(), &known).into()
    }
}

/// The parameters as they stand there, percent-encoded.
pub(crate) fn raw_parameters(url: &Url) -> impl Iterator<Item = &str> {
    url.query().into_iter().flat_map(|parameters| parameters.split('&'))
}

/// Name and value of a parameter as it stands there.
pub(crate) fn parameter(raw: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    ::url::form_urlencoded::parse(raw.as_bytes()).next()
}

fn with_parameters(mut url: Url, raw: &[&str]) -> Url {
    url.set_query(Some(raw.join("&")).filter(|raw| !raw.is_empty()).as_deref());
    url
}

/// Where a password has a `?`, what is behind it looks like parameters: `mysql://root:?secret@host`.
fn may_be_of_a_password(raw: &str) -> bool {
    raw.contains('@')
        && parameter(raw).is_none_or(|(name, _)| !is_password(&name) && !matches!(&*name, "user" | "options" | "host"))
}

/// Whoever sees `dbname` heeds no path, and would go to that database, whichever one is asked for.
fn with_database_in_path(url: Url) -> Url {
    let is_database = |raw: &str| parameter(raw).is_some_and(|(name, _)| name == "dbname");
    if !raw_parameters(&url).any(is_database) {
        return url;
    }
    let last = raw_parameters(&url).filter(|raw| is_database(raw)).filter_map(parameter).last();
    let name = last.map(|(_, name)| name.into_owned()).filter(|name| !name.is_empty());
    let others: Vec<&str> = raw_parameters(&url).filter(|raw| !is_database(raw)).collect();
    let mut url = with_parameters(url.clone(), &others);
    if let Some(name) = name {
        url.set_path(&percent_encoding::utf8_percent_encode(&name, IN_PATH).to_string());
    }
    url
}

/// sqlx 0.9 leaves an IPv6 address the brackets that it has in a URL, and looks for a host of that name.
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn within_brackets(host: &str) -> Option<String> {
    Some(host.strip_prefix('[')?.strip_suffix(']')?.to_owned())
}

/// With a host that can be reached.
#[cfg(feature = "mysql")]
pub(crate) fn mysql(options: MySqlConnectOptions) -> MySqlConnectOptions {
    match within_brackets(options.get_host()) {
        Some(address) => options.host(&address),
        None => options,
    }
}

/// With a host that can be reached.
#[cfg(feature = "postgres")]
pub(crate) fn postgres(options: PgConnectOptions) -> PgConnectOptions {
    match within_brackets(options.get_host()) {
        Some(address) => options.host(&address),
        None => options,
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Location::Path(path) => write!(formatter, "sqlite://{}", path.display()),
            Location::Server(_, url) => formatter.write_str(redacted(url).as_str()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DatabaseUrl({self})")
    }
}

/// A parameter of a URL that has a password among them, if it is shown. Of a password in which `&` should have been `%26`, the rest looks like a
/// parameter, too; so what is shown is what says where the server is.
fn shown_beside_password(pair: &str) -> Option<String> {
    const SHOWN: [&str; 5] = ["host", "hostaddr", "port", "socket", "user"];
    let (name, _) = parameter(pair)?;
    if is_password(&name) { Some(format!("{name}=***")) } else { SHOWN.contains(&&*name).then(|| pair.to_owned()) }
}

/// Whether a URL's parameter is a password by its name.
pub(crate) fn is_password(name: &str) -> bool {
    name.to_ascii_lowercase().contains("password")
}

fn redacted(url: &Url) -> Url {
    let mut shown = url.clone();
    // Refused only for a URL without a host, which then has no password either.
    if shown.password().is_some() && shown.set_password(Some("***")).is_err() {
        shown.set_path("***");
    }
    if url.query_pairs().any(|(name, _)| is_password(&name)) {
        let parameters: Vec<String> = raw_parameters(url).filter_map(shown_beside_password).collect();
        shown.set_query(Some(&parameters.join("&")));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_this_machine_is_told_from_what_stays() {
        for (url, stays) in [
            ("mysql://root@localhost", true),
            ("mysql://root@127.0.0.1:3306/x", true),
            ("mariadb://root@127.3.2.1", true),
            ("postgres://postgres@[::1]:5432/postgres", true),
            ("mysql://root@[::2]", false),
            ("mysql://root@10.0.0.7", false),
            ("mysql://root@localhost.example", false),
            ("sqlite:///tmp/x.db", false),
        ] {
            assert_eq!(DatabaseUrl::parse(url).expect("a URL").is_on_loopback(), stays, "{url}");
        }
    }

    #[test]
    fn what_would_show_a_password_is_refused() {
        for url in [
            "mysql:root:sekret@h",
            "mysql:/root:sekret@h",
            "mariadb:///root:sekret@h",
            "postgres:///root:sekret@h/x",
            "mysql://root:/sekret@h/x",
            "mysql://root:?sekret@h/x",
            "mysql://root:?se=kret@h/x",
            "mysql://root:12?sekret@h/x?a=b",
            "mysql://root:#sekret@h/x",
            "mysql://root:12#sekret@h/x",
        ] {
            let error = DatabaseUrl::parse(url).expect_err(url);
            assert!(!format!("{error:?}").contains("sekret"), "{error:?}");
        }
        let at = DatabaseUrl::parse("mysql://root@h/%40x").expect("a name may have one");
        assert_eq!(at.database().as_deref(), Some("@x"));
        let among = "postgres://h/x?user=me@here&password=p@ss";
        assert_eq!(DatabaseUrl::parse(among).expect("a URL").reveal(), among);
        for url in ["postgres:///x?host=/run/postgresql", "mysql:///x?socket=/run/mysqld.sock", "postgres:///x"] {
            assert_eq!(DatabaseUrl::parse(url).expect("a URL").database().as_deref(), Some("x"), "{url}");
        }
    }

    /// Drivers and libpq heed the parameter, and not the path.
    #[test]
    fn a_database_among_the_parameters_is_the_one_of_the_path() {
        for (url, seen) in [
            ("postgres://u@h/?dbname=dev", "postgres://u@h/dev"),
            (
                "postgres:///x?host=/run/pg&dbname=one&dbname=a%26b%2Fc&user=me",
                "postgres:///a%26b%2Fc?host=/run/pg&user=me",
            ),
            ("postgresql://u@h/x?%64bname=dev", "postgresql://u@h/dev"),
            ("postgres://u@h/x?dbname=", "postgres://u@h/x"),
        ] {
            let url = DatabaseUrl::parse(url).expect("a URL");
            assert_eq!(url.reveal(), seen);
            let other = url.with_database("other").reveal();
            assert!(!other.contains("dbname") && other.contains("/other"), "{other}");
        }
    }

    #[test]
    fn a_path_is_read_as_it_is_revealed() {
        for path in ["/tmp/job_feature%2Fx/a?b#1.db", "/tmp/plain.db", "relative/ü 🦀.db"] {
            let url = DatabaseUrl::file(path);
            let parsed = DatabaseUrl::parse(&url.reveal()).expect("a URL");
            assert_eq!(parsed.path(), Some(Path::new(path)));
        }
        let parsed = DatabaseUrl::parse("sqlite:///a%20b/100%.db").expect("a URL");
        assert_eq!(parsed.path(), Some(Path::new("/a b/100%.db")));
        let error = DatabaseUrl::parse("sqlite:///tmp/x?mode=rwc").expect_err("parameters");
        assert!(error.to_string().contains("has parameters"), "{error:?}");
    }

    #[test]
    fn a_password_among_the_parameters_is_not_shown() {
        for (url, shown) in [
            ("postgres:///x?host=/run/pg&user=me&password=se", "postgres:///x?host=/run/pg&user=me&password=***"),
            ("postgres:///x?password=se&kret&kret=se&user=me", "postgres:///x?password=***&user=me"),
            ("postgres://u:se@h/x?ssl%50assword=se&sslmode=require", "postgres://u:***@h/x?sslPassword=***"),
            ("postgres://u@h/x?sslmode=require&options[a]=b", "postgres://u@h/x?sslmode=require&options[a]=b"),
        ] {
            assert_eq!(DatabaseUrl::parse(url).expect("a URL").to_string(), shown);
        }
    }

    #[test]
    fn sqlx_sees_what_it_knows() {
        for (url, seen) in [
            ("postgres://u:p@h/x", "postgres://u:p@h/x"),
            (
                "postgres://u@h/x?sslmode=require&sslpassword=s&s&options[a.b]=c%26d&",
                "postgres://u@h/x?sslmode=require&options[a.b]=c%26d&",
            ),
            ("postgresql://u@h/x?ssl%70assword=s&connect_timeout=5", "postgresql://u@h/x"),
            ("mariadb://u@h/x?sslpassword=s", "mysql://u@h/x?sslpassword=s"),
        ] {
            assert_eq!(DatabaseUrl::parse(url).expect("a URL").for_sqlx(), seen);
        }
    }

    #[test]
    fn a_socket_stands_among_the_parameters() {
        let by_socket = |url: &str| DatabaseUrl::parse(url).expect("a URL").by_socket(Path::new("/run/a b&c")).reveal();
        let mysql = by_socket("mysql://root:secret@127.0.0.1:1/x");
        assert_eq!(mysql, "mysql://root:secret@127.0.0.1:1/x?socket=%2Frun%2Fa+b%26c");
        let postgres = by_socket("postgres://postgres@127.0.0.1:1/x");
        assert_eq!(postgres, "postgres://postgres@127.0.0.1:1/x?host=%2Frun%2Fa+b%26c");
    }
}
