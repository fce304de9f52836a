//! Where a database is, for a client in whichever language.

use freshdb_databases::{DatabaseUrl, Kind};
use serde::Serialize;
use utoipa::ToSchema;

/// Where a database is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Location {
    pub(super) engine: &'static str,
    pub(super) url: String,
    /// Of SQLite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database: Option<String>,
}

impl Location {
    pub(super) fn of(url: &DatabaseUrl) -> Self {
        let revealed = url.reveal();
        let mut location = Self {
            engine: url.kind().name(),
            path: url.path().map(|path| path.to_string_lossy().into_owned()),
            host: None,
            port: None,
            user: None,
            password: None,
            database: url.database(),
            url: revealed.clone(),
        };
        if url.path().is_none()
            && let Ok(parsed) = url::Url::parse(&revealed)
        {
            let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            let usual = if url.kind() == Kind::Postgres { 5432 } else { 3306 };
            location.host = parsed.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
            location.port = Some(parsed.port().unwrap_or(usual));
            location.user = Some(plain(parsed.username()));
            location.password = Some(parsed.password().map(plain).unwrap_or_default());
        }
        location
    }
}
