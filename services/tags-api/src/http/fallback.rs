//! Requests that no route takes.

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::problem;
use super::router::ROUTES;

/// 404, or where the path is known but for the slash at its end, a redirection to it.
pub(super) async fn not_found(uri: Uri, headers: HeaderMap) -> Response {
    match uri.path().strip_suffix('/') {
        // Not what is a pattern, nor what has a slash at its end already.
        Some(path) if ROUTES.contains(&path) && !path.ends_with(['/', '}']) => redirect(path, &uri, &headers),
        _ => problem::not_found(),
    }
}

/// The redirection of a path that has a route of its own for another method.
pub(super) async fn redirect_slash(uri: Uri, headers: HeaderMap) -> Response {
    redirect(uri.path().trim_end_matches('/'), &uri, &headers)
}

/// Methods of the routes that are not the original's.
pub(super) async fn method_not_allowed() -> Response {
    problem::method_not_allowed("GET, HEAD")
}

/// 307, so that the method and the body stay. The place is absolute where the client said which host it asked, as the
/// original gives it, and relative otherwise.
fn redirect(path: &str, uri: &Uri, headers: &HeaderMap) -> Response {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(|host| is_authority(host));
    let place = match host {
        Some(host) => format!("http://{host}{path}{query}"),
        None => format!("{path}{query}"),
    };
    match HeaderValue::from_str(&place) {
        Ok(place) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response(),
        Err(_) => problem::not_found(),
    }
}

fn is_authority(host: &str) -> bool {
    host.parse::<axum::http::uri::Authority>().is_ok_and(|authority| !authority.as_str().contains('@'))
}
