//! Who may ask: whoever knows the token.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use axum::http::header::AUTHORIZATION;
use axum::http::uri::PathAndQuery;
use axum::http::{Request, Uri};

use crate::failure::Failure;

/// What every request must carry.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn random() -> Result<Self, Failure> {
        let mut bytes = [0_u8; 16];
        File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut bytes))
            .map_err(|error| Failure::new("the system has nothing random for a token").because(error))?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    pub(crate) fn from_file(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::new(format!("cannot read the token in `{}`", path.display())).because(error))?;
        let token = text.lines().next().unwrap_or_default().trim();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if token.len() < 16 || !token.bytes().all(fits) {
            return Err(Failure::new(format!("`{}` has no token on its first line", path.display()))
                .hint("write 16 letters and digits or more, such as `openssl rand -hex 16` gives"));
        }
        Ok(Self(token.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// In a time that does not tell how much of it was right.
    fn is(&self, other: &str) -> bool {
        let differences =
            self.0.bytes().zip(other.bytes()).fold(0, |differences, (one, other)| differences | (one ^ other));
        differences == 0 && self.0.len() == other.len()
    }

    /// The request without the token in front of its path, if it carries it there or in a header.
    pub(super) fn admit<B>(&self, mut request: Request<B>) -> Option<Request<B>> {
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        // The name of a scheme may be written in any case.
        match header.and_then(|header| header.split_once(' ')) {
            Some((scheme, credentials)) if scheme.eq_ignore_ascii_case("bearer") => {
                return self.is(credentials.trim()).then_some(request);
            }
            _ => {}
        }
        let path = request.uri().path_and_query()?.as_str();
        let (first, rest) = path.strip_prefix('/')?.split_once('/')?;
        if !self.is(first) {
            return None;
        }
        let rest = PathAndQuery::try_from(format!("/{rest}")).ok()?;
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(rest);
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        Some(request)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(path: &str, authorization: Option<&str>) -> Request<Body> {
        let mut request = Request::builder().uri(path);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Body::empty()).expect("a request")
    }

    #[test]
    fn only_the_whole_token_admits() {
        let token = Token("0123456789abcdef".to_owned());
        let admitted = |path: &str, header: Option<&str>| {
            token.admit(request(path, header)).map(|request| request.uri().to_string())
        };
        assert_eq!(admitted("/v1/status?a=b", Some("Bearer 0123456789abcdef")).as_deref(), Some("/v1/status?a=b"));
        assert_eq!(admitted("/v1/status", Some("bearer 0123456789abcdef")).as_deref(), Some("/v1/status"));
        assert_eq!(admitted("/0123456789abcdef/v1/status?a=b", None).as_deref(), Some("/v1/status?a=b"));
        for (path, header) in [
            ("/v1/status", None),
            ("/v1/status", Some("Bearer 0123456789abcde")),
            ("/v1/status", Some("Bearer 0123456789abcdeF")),
            ("/v1/status", Some("Bearer ")),
            ("/v1/status", Some("Basic 0123456789abcdef")),
            ("/0123456789abcde/v1/status", None),
            ("/0123456789abcdef", None),
            // Who offers a wrong one is not asked for another.
            ("/0123456789abcdef/v1/status", Some("Bearer x")),
        ] {
            assert_eq!(admitted(path, header), None, "{path} {header:?}");
        }
        assert!(!format!("{token:?}").contains("0123"));
    }
}
