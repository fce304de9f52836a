//! The body of `POST /api/tags`: from bytes to tags, or to everything that is wrong with it.

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use serde_json::json;
use serde_json::value::RawValue;

use super::json_error;
use super::limits::Limits;
use super::members::members;
use super::observe::ClientGone;
use super::problem::{Input, Place, Violation, detail, unprocessable};
use crate::tags::{DescriptionError, MAX_DESCRIPTION_CHARS, MAX_TAG_ID_CHARS, NewTag, TagId, TagIdError};

/// The tags of a request, each valid.
#[derive(Debug)]
pub(super) struct NewTags(pub(super) Vec<NewTag>);

impl<S> FromRequest<S> for NewTags
where
    S: Send + Sync,
    Limits: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let limits = Limits::from_ref(state);
        let is_json = is_json(request.headers());
        let bytes = read(request.into_body(), limits.body).await?;
        parse(&bytes, is_json).map_err(|refusal| refusal.into_response(bytes))
    }
}

/// Reads a body up to a limit. One that is larger is refused as soon as that is known; what is left of it, the connection
/// reads and throws away.
async fn read(mut body: Body, limit: usize) -> Result<Bytes, Response> {
    let too_large = || detail(StatusCode::PAYLOAD_TOO_LARGE, format!("The body is larger than {limit} bytes"));

    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut collected: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unreadable(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - collected.len() {
            return Err(too_large());
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.into())
}

/// The answer to a body that did not come to its end; whose sender is gone does not see it.
fn unreadable(error: &(dyn Error + 'static)) -> Response {
    let mut response = detail(StatusCode::BAD_REQUEST, "The body could not be read");
    let causes = std::iter::successors(Some(error), |&error| error.source());
    // What is malformed is `InvalidData` or `InvalidInput` (hyper 1.12).
    let is_gone = |error: &io::Error| !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
    if causes.filter_map(|error| error.downcast_ref()).any(is_gone) {
        response.extensions_mut().insert(ClientGone);
    }
    response
}

/// Whether the body says that it is JSON: `application/json` or `application/…+json`. Without a type it does not.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.strip_prefix("application/").is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// Why a body is not taken.
#[derive(Debug)]
enum Refusal {
    /// Nothing was sent.
    Empty,
    /// The bytes are no text.
    NotText,
    /// The text does not claim to be JSON.
    NotJson,
    /// The text is not JSON, from here on.
    Invalid(json_error::JsonError),
    /// It is JSON, with these faults.
    Faulty(Vec<Fault>),
}

/// A fault of the document: 20 bytes, so that a body of two million bytes may have a million of them.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    kind: FaultKind,
    place: FaultPlace,
    /// The part of the body that is at fault.
    input: Range<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FaultKind {
    Missing,
    NotAnObject,
    NotAList,
    NotAString,
    TooLong,
    Nul,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FaultPlace {
    Document,
    Tags,
    Tag(u32),
    TagId(u32),
    Description(u32),
}

fn parse(bytes: &[u8], is_json: bool) -> Result<NewTags, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::Empty);
    }
    if !is_json {
        return Err(Refusal::NotJson);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::NotText)?;
    // The one judge of what is JSON. Afterwards serde_json takes the document apart, and has nothing left to refuse.
    if let Some(error) = json_error::locate(json_error::without_mark(text)) {
        return Err(Refusal::Invalid(error));
    }
    let mut document = Document { text, faults: Vec::new() };
    let tags = document.tags();
    if document.faults.is_empty() { Ok(NewTags(tags)) } else { Err(Refusal::Faulty(document.faults)) }
}

/// A document that is JSON, and the faults found in it so far.
struct Document<'a> {
    text: &'a str,
    faults: Vec<Fault>,
}

impl<'a> Document<'a> {
    fn tags(&mut self) -> Vec<NewTag> {
        let document = json_error::without_mark(self.text).trim_ascii();
        let Ok([list]) = members(document, &["tags"]) else {
            self.fault(FaultKind::NotAnObject, FaultPlace::Document, document);
            return Vec::new();
        };
        let Some(list) = list else {
            self.fault(FaultKind::Missing, FaultPlace::Tags, document);
            return Vec::new();
        };
        let Ok(items) = serde_json::from_str::<Vec<&'a RawValue>>(list.get()) else {
            self.fault(FaultKind::NotAList, FaultPlace::Tags, list.get());
            return Vec::new();
        };
        let tags = items.into_iter().zip(0_u32..).filter_map(|(item, index)| self.tag(item.get(), index));
        tags.collect()
    }

    fn tag(&mut self, item: &'a str, index: u32) -> Option<NewTag> {
        let Ok([tag_id, description]) = members(item, &["tag_id", "description"]) else {
            self.fault(FaultKind::NotAnObject, FaultPlace::Tag(index), item);
            return None;
        };
        let tag_id = self.tag_id(tag_id, item, FaultPlace::TagId(index));
        let Some(description) = description else { return tag_id.map(NewTag::new) };
        let place = FaultPlace::Description(index);
        if description.get() == "null" {
            return tag_id.map(|tag_id| NewTag::new(tag_id).undescribed());
        }
        let text = self.string(description.get(), place)?;
        // A faulty identity does not hide a faulty description.
        let tag = NewTag::new(tag_id.clone().unwrap_or_default());
        match tag.described(text) {
            Ok(tag) => tag_id.map(|_| tag),
            Err(error) => {
                let kind = match error {
                    DescriptionError::TooLong => FaultKind::TooLong,
                    DescriptionError::Nul => FaultKind::Nul,
                };
                self.fault(kind, place, description.get());
                None
            }
        }
    }

    fn tag_id(&mut self, value: Option<&'a RawValue>, item: &'a str, place: FaultPlace) -> Option<TagId> {
        let Some(value) = value else {
            self.fault(FaultKind::Missing, place, item);
            return None;
        };
        let text = self.string(value.get(), place)?;
        match TagId::parse(text) {
            Ok(tag_id) => Some(tag_id),
            Err(error) => {
                let kind = match error {
                    TagIdError::TooLong => FaultKind::TooLong,
                    TagIdError::Nul => FaultKind::Nul,
                };
                self.fault(kind, place, value.get());
                None
            }
        }
    }

    fn string(&mut self, value: &'a str, place: FaultPlace) -> Option<String> {
        let text = serde_json::from_str(value).ok();
        if text.is_none() {
            self.fault(FaultKind::NotAString, place, value);
        }
        text
    }

    /// Records a fault; `input` is a part of the document.
    fn fault(&mut self, kind: FaultKind, place: FaultPlace, input: &'a str) {
        let start = input.as_ptr().addr() - self.text.as_ptr().addr();
        let position = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        self.faults.push(Fault { kind, place, input: position(start)..position(start + input.len()) });
    }
}

impl Refusal {
    fn into_response(self, body: Bytes) -> Response {
        let violation = |kind, loc, msg, input| Violation { kind, loc, msg: Cow::Borrowed(msg), input, ctx: None };
        match self {
            Self::Empty => {
                unprocessable(&[violation("missing", vec![Place::Name("body")], FIELD_REQUIRED, Input::Null)])
            }
            Self::NotText => detail(StatusCode::BAD_REQUEST, "There was an error parsing the body"),
            Self::NotJson => {
                let input = Input::Text(String::from_utf8_lossy(&body));
                unprocessable(&[violation("model_attributes_type", vec![Place::Name("body")], NOT_AN_OBJECT, input)])
            }
            Self::Invalid(error) => {
                let loc = vec![Place::Name("body"), Place::Index(error.offset)];
                let ctx = Some(json!({ "error": error.message }));
                let violation = violation("json_invalid", loc, "JSON decode error", Input::NotJson);
                unprocessable(&[Violation { ctx, ..violation }])
            }
            Self::Faulty(faults) => {
                let content_type = HeaderValue::from_static("application/json");
                let body = FaultList::of(body, faults).into_body();
                (StatusCode::UNPROCESSABLE_ENTITY, [(header::CONTENT_TYPE, content_type)], body).into_response()
            }
        }
    }
}

const FIELD_REQUIRED: &str = "Field required";
const NOT_AN_OBJECT: &str = "Input should be a valid dictionary or object to extract fields from";

impl Fault {
    fn violation<'a>(&self, body: &'a [u8]) -> Violation<'a> {
        let (kind, msg, ctx) = match self.kind {
            FaultKind::Missing => ("missing", FIELD_REQUIRED.into(), None),
            FaultKind::NotAnObject => ("model_attributes_type", NOT_AN_OBJECT.into(), None),
            FaultKind::NotAList => ("list_type", "Input should be a valid list".into(), None),
            FaultKind::NotAString => ("string_type", "Input should be a valid string".into(), None),
            FaultKind::TooLong => {
                let limit = self.place.longest();
                let msg = format!("String should have at most {limit} characters").into();
                ("string_too_long", msg, Some(json!({ "max_length": limit })))
            }
            FaultKind::Nul => {
                let error = "the NUL character (U+0000) cannot be stored";
                ("value_error", format!("Value error, {error}").into(), Some(json!({ "error": error })))
            }
        };
        let range = self.input.start as usize..self.input.end as usize;
        let written = body.get(range).and_then(|part| serde_json::from_slice::<&RawValue>(part).ok());
        Violation { kind, loc: self.place.loc(), msg, input: written.map_or(Input::Null, Input::Json), ctx }
    }
}

impl FaultPlace {
    fn loc(self) -> Vec<Place> {
        let (body, tags) = (Place::Name("body"), Place::Name("tags"));
        let index = |index: u32| Place::Index(index as usize);
        match self {
            Self::Document => vec![body],
            Self::Tags => vec![body, tags],
            Self::Tag(at) => vec![body, tags, index(at)],
            Self::TagId(at) => vec![body, tags, index(at), Place::Name("tag_id")],
            Self::Description(at) => vec![body, tags, index(at), Place::Name("description")],
        }
    }

    fn longest(self) -> u32 {
        if matches!(self, Self::Description(_)) { MAX_DESCRIPTION_CHARS } else { MAX_TAG_ID_CHARS }
    }
}

/// Every fault of a body as `{"detail":[…]}`, written as the client reads it: a million faults make an answer of a hundred
/// megabytes, of which only a piece is ever in memory.
struct FaultList {
    body: Bytes,
    faults: std::vec::IntoIter<Fault>,
    written: Written,
    /// Written already, and not read yet.
    ready: Option<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Nothing,
    Some,
    All,
}

impl FaultList {
    fn of(body: Bytes, faults: Vec<Fault>) -> Self {
        Self { body, faults: faults.into_iter(), written: Written::Nothing, ready: None }
    }

    /// A list that fits into one piece is an ordinary body, whose length is known.
    fn into_body(mut self) -> Body {
        let first = self.next_piece();
        if self.written == Written::All {
            return Body::from(first);
        }
        self.ready = Some(first);
        Body::new(self)
    }

    fn next_piece(&mut self) -> Bytes {
        const PIECE: usize = 32 << 10;

        let mut piece = Vec::with_capacity(1024);
        let mut separator: &[u8] = match self.written {
            Written::Nothing => b"{\"detail\":[",
            _ => b",",
        };
        self.written = Written::Some;
        while piece.len() < PIECE {
            let Some(fault) = self.faults.next() else {
                piece.extend_from_slice(b"]}");
                self.written = Written::All;
                break;
            };
            piece.extend_from_slice(separator);
            separator = b",";
            // Text and numbers into memory: neither can fail.
            serde_json::to_writer(&mut piece, &fault.violation(&self.body)).expect("a fault has a JSON form");
        }
        piece.into()
    }
}

impl HttpBody for FaultList {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.ready.take() {
            Some(piece) => piece,
            None if self.written == Written::All => return Poll::Ready(None),
            None => self.next_piece(),
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::Value;

    use super::*;
    use crate::tags::Patch;

    /// What is wrong with a document, found the plain way: the whole of it in memory, member by member.
    fn faults_of(document: &Value) -> Vec<(FaultKind, FaultPlace)> {
        let Some(document) = document.as_object() else { return vec![(FaultKind::NotAnObject, FaultPlace::Document)] };
        let Some(tags) = document.get("tags") else { return vec![(FaultKind::Missing, FaultPlace::Tags)] };
        let Some(tags) = tags.as_array() else { return vec![(FaultKind::NotAList, FaultPlace::Tags)] };
        let text = |value: &Value, limit: u32| match value.as_str() {
            None => Some(FaultKind::NotAString),
            Some(text) if text.chars().count() > limit as usize => Some(FaultKind::TooLong),
            Some(text) if text.contains('\0') => Some(FaultKind::Nul),
            Some(_) => None,
        };
        let mut faults = Vec::new();
        for (tag, index) in tags.iter().zip(0..) {
            let Some(tag) = tag.as_object() else {
                faults.push((FaultKind::NotAnObject, FaultPlace::Tag(index)));
                continue;
            };
            let tag_id = tag.get("tag_id").map_or(Some(FaultKind::Missing), |value| text(value, MAX_TAG_ID_CHARS));
            let description = tag.get("description").filter(|value| !value.is_null());
            let description = description.and_then(|value| text(value, MAX_DESCRIPTION_CHARS));
            faults.extend(tag_id.map(|kind| (kind, FaultPlace::TagId(index))));
            faults.extend(description.map(|kind| (kind, FaultPlace::Description(index))));
        }
        faults
    }

    fn value() -> impl Strategy<Value = Value> {
        let long = ["x".repeat(255), "é".repeat(256), "🦀".repeat(1000), "y".repeat(1001)];
        prop_oneof![
            4 => select(vec!["Python", "", "a\0b", "\u{2028}", "\"\\/"]).prop_map(Value::from),
            1 => select(long.to_vec()).prop_map(Value::from),
            1 => select(vec![json!(null), json!(true), json!(1), json!(-0.5), json!([]), json!({}), json!([null]), json!({"tag_id": 1})]),
        ]
    }

    fn document() -> impl Strategy<Value = Value> {
        let name = select(vec!["tag_id", "description", "tags", "x", ""]);
        let tag = proptest::collection::btree_map(name.clone(), value(), 0..4).prop_map(|members| json!(members));
        let tags = proptest::collection::vec(prop_oneof![6 => tag, 1 => value()], 0..5).prop_map(Value::from);
        let tags = prop_oneof![6 => tags, 1 => value()];
        let body = (tags, name, value()).prop_map(|(tags, name, other)| json!({ "tags": tags, name: other }));
        prop_oneof![6 => body, 1 => value()]
    }

    proptest! {
        #[test]
        fn every_fault_is_found_and_no_other(document in document(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
            let text = format!(" {}\n", text.expect("JSON"));
            let expected = faults_of(&document);
            match parse(text.as_bytes(), true) {
                Ok(NewTags(tags)) => {
                    prop_assert_eq!(expected, vec![]);
                    let sent = document["tags"].as_array().expect("a list");
                    prop_assert_eq!(tags.len(), sent.len());
                    for (tag, sent) in tags.iter().zip(sent) {
                        prop_assert_eq!(Some(tag.tag_id.as_str()), sent["tag_id"].as_str());
                        let description = match &tag.description {
                            Patch::Keep => None,
                            Patch::Clear => Some(Value::Null),
                            Patch::Set(text) => Some(Value::from(text.as_str())),
                        };
                        prop_assert_eq!(description.as_ref(), sent.get("description"));
                    }
                }
                Err(Refusal::Faulty(faults)) => {
                    let found: Vec<_> = faults.iter().map(|fault| (fault.kind, fault.place)).collect();
                    prop_assert_eq!(found, expected);
                    for fault in faults {
                        let range = fault.input.start as usize..fault.input.end as usize;
                        prop_assert!(serde_json::from_str::<Value>(&text[range]).is_ok(), "what is repeated is JSON");
                    }
                }
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn no_bytes_get_past_as_something_else(bytes in proptest::collection::vec(any::<u8>(), 1..64)) {
            // Hardly any random bytes are JSON; what matters is that each has an answer.
            let text = std::str::from_utf8(&bytes).map(json_error::without_mark);
            let valid = text.is_ok_and(|text| serde_json::from_str::<Value>(text).is_ok());
            let refused = matches!(parse(&bytes, true), Err(Refusal::NotText | Refusal::Invalid(_)));
            prop_assert!(valid || refused);
        }
    }
}
