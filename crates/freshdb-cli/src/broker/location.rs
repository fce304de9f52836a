//! Where a database is, for a client in whichever language.

use std::path::Path;

use freshdb_databases::{DatabaseUrl, Kind};
use serde::Serialize;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use url::Url;
use utoipa::ToSchema;

/// Where a database is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Location {
    pub(super) engine: &'static str,
    pub(super) url: String,
    /// Of SQLite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    /// The socket by which the server is reached, of MySQL and MariaDB. There is no `host` and no `port` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) socket: Option<String>,
    /// Of PostgreSQL, a directory, which begins with `/`, where the server is reached by a socket in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    /// Of PostgreSQL, a part of the socket's name, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database: Option<String>,
}

/// How this process's own driver reaches a server: what stands among a URL's parameters decides, and what is missing is the driver's to know.
struct Reached {
    socket: Option<String>,
    host: String,
    port: u16,
}

impl Location {
    pub(super) fn of(url: &DatabaseUrl) -> Self {
        let revealed = url.reveal();
        let mut location = Self {
            engine: url.kind().name(),
            path: url.path().map(|path| path.to_string_lossy().into_owned()),
            socket: None,
            host: None,
            port: None,
            user: None,
            password: None,
            database: url.database(),
            url: revealed.clone(),
        };
        if let (Some(reached), Ok(parsed)) = (Reached::by(url.kind(), &revealed), Url::parse(&revealed)) {
            match (url.kind(), reached.socket) {
                (Kind::Postgres, Some(directory)) => {
                    // So its clients take it.
                    (location.host, location.port) = (Some(directory), Some(reached.port));
                }
                (_, Some(socket)) => location.socket = Some(socket),
                (_, None) => (location.host, location.port) = (Some(reached.host), Some(reached.port)),
            }
            let (user, password) = credentials(url.kind(), &parsed);
            (location.user, location.password) = (Some(user), Some(password));
        }
        location
    }

    /// Host and port for a client that cannot be told of a socket. A URL with the socket of a MySQL has them beside it.
    pub(super) fn address(&self) -> (String, u16) {
        let reached = || Reached::by(Kind::Mysql, &self.url);
        match (&self.host, self.port) {
            (Some(host), Some(port)) => (host.clone(), port),
            _ => reached().map(|reached| (reached.host, reached.port)).unwrap_or_default(),
        }
    }
}

impl Reached {
    /// Nothing of SQLite.
    fn by(kind: Kind, url: &str) -> Option<Self> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        match kind {
            Kind::Sqlite => None,
            Kind::Mysql | Kind::Mariadb => {
                let options: MySqlConnectOptions = url.parse().ok()?;
                let socket = options.get_socket().map(|socket| text(socket));
                Some(Self { socket, host: plain(options.get_host()), port: options.get_port() })
            }
            Kind::Postgres => {
                let options: PgConnectOptions = url.parse().ok()?;
                let host = plain(options.get_host());
                let found = options.get_socket().map(|directory| text(directory));
                let socket = found.or_else(|| host.starts_with('/').then(|| host.clone()));
                Some(Self { socket, host, port: options.get_port() })
            }
        }
    }
}

/// An address of IPv6 without its brackets.
fn plain(host: &str) -> String {
    host.trim_matches(['[', ']']).to_owned()
}

/// As the URL has them. PostgreSQL takes them among the parameters, too, which decide.
fn credentials(kind: Kind, url: &Url) -> (String, String) {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let parameter = |name: &str| {
        let parameters = url.query_pairs().filter(|(key, _)| kind == Kind::Postgres && key == name);
        parameters.last().map(|(_, value)| value.into_owned())
    };
    let user = parameter("user").unwrap_or_else(|| decoded(url.username()));
    let password = parameter("password").unwrap_or_else(|| url.password().map(decoded).unwrap_or_default());
    (user, password)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Socket, host, port, user and password.
    fn told(url: &str) -> [String; 5] {
        let location = Location::of(&DatabaseUrl::parse(url).expect("a URL"));
        let port = location.port.map(|port| port.to_string());
        [location.socket, location.host, port, location.user, location.password]
            .map(|field| field.unwrap_or_else(|| "-".to_owned()))
    }

    #[test]
    fn what_decides_is_told() {
        for (url, expected) in [
            ("mysql://root:s%40@h:1/x", ["-", "h", "1", "root", "s@"]),
            ("mariadb://root@[::1]/x", ["-", "::1", "3306", "root", ""]),
            ("mysql://root:s@h:1/x?socket=/run/a%20b.sock", ["/run/a b.sock", "-", "-", "root", "s"]),
            ("mariadb://root@localhost/x?socket=/run/m.sock", ["/run/m.sock", "-", "-", "root", ""]),
            ("postgres://u:s%40@h/x", ["-", "h", "5432", "u", "s@"]),
            ("postgres://u:s@[::1]:1/x", ["-", "::1", "1", "u", "s"]),
            ("postgres://u@%2Frun%2Fp%20g:1/x", ["-", "/run/p g", "1", "u", ""]),
            ("postgres:///x?host=/run/pg&port=2&user=v&password=t%40", ["-", "/run/pg", "2", "v", "t@"]),
            ("postgres://u:s@h:1/x?host=other&port=2&user=v&password=t", ["-", "other", "2", "v", "t"]),
            ("postgres://u:s@h:1/x?hostaddr=10.0.0.7", ["-", "10.0.0.7", "1", "u", "s"]),
        ] {
            assert_eq!(told(url), expected, "{url}");
        }
    }

    #[test]
    fn who_knows_of_no_socket_is_told_what_stands_beside_it() {
        let address = |url: &str| Location::of(&DatabaseUrl::parse(url).expect("a URL")).address();
        assert_eq!(address("mysql://root@h:1/x?socket=/run/m.sock"), ("h".to_owned(), 1));
        assert_eq!(address("postgres://root@h:1/x?host=/run/pg"), ("/run/pg".to_owned(), 1));
    }
}
