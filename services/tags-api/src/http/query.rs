//! The query of `GET /api/tag`.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::json;

use super::problem::{Input, Place, Violation, unprocessable};
use crate::tags::store::Listing;

impl<S: Sync> FromRequestParts<S> for Listing {
    type Rejection = Response;

    /// Unknown parameters are passed over, and of a repeated one the last counts, as in the original.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let mut listing = Listing::default();
        let mut violations = Vec::new();
        let (mut prefix, mut after, mut limit) = (None, None, None);
        for (name, value) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "prefix" => prefix = Some(value.into_owned()),
                "after" => after = Some(value.into_owned()),
                "limit" => limit = Some(value.into_owned()),
                _ => {}
            }
        }
        if let Some(prefix) = prefix {
            violations.extend(nul("prefix", &prefix));
            listing.prefix = prefix;
        }
        if let Some(after) = after {
            violations.extend(nul("after", &after));
            listing.after = Some(after);
        }
        if let Some(limit) = limit {
            match parse_limit(limit) {
                Ok(limit) => listing.limit = limit,
                Err(violation) => violations.push(violation),
            }
        }
        if violations.is_empty() { Ok(listing) } else { Err(unprocessable(&violations)) }
    }
}

/// 0 is no limit: the original's clients may send any, and get every tag.
fn parse_limit(limit: String) -> Result<Option<u64>, Violation<'static>> {
    let violation = |kind, msg: &'static str, ctx, input: String| Violation {
        kind,
        loc: vec![Place::Name("query"), Place::Name("limit")],
        msg: msg.into(),
        input: Input::Text(input.into()),
        ctx,
    };
    match limit.trim().parse::<i128>() {
        Ok(0) => Ok(None),
        Ok(number @ 1..) => Ok(Some(i64::try_from(number).unwrap_or(i64::MAX).unsigned_abs())),
        Ok(_) => {
            let msg = "Input should be greater than or equal to 0";
            Err(violation("greater_than_equal", msg, Some(json!({ "ge": 0 })), limit))
        }
        Err(_) => {
            let msg = "Input should be a valid integer, unable to parse string as an integer";
            Err(violation("int_parsing", msg, None, limit))
        }
    }
}

fn nul(name: &'static str, value: &str) -> Option<Violation<'static>> {
    value.contains('\0').then(|| Violation {
        kind: "value_error",
        loc: vec![Place::Name("query"), Place::Name(name)],
        msg: "Value error, no tag contains the NUL character (U+0000)".into(),
        input: Input::Text(value.to_owned().into()),
        ctx: Some(json!({ "error": "no tag contains the NUL character (U+0000)" })),
    })
}
