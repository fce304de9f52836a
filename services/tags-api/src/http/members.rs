//! Members of a JSON object, as they were written.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The values of the members `names` of the object `text`. Others are passed over; of a repeated one the last counts, as
/// in every JSON parser of the original's language.
///
/// # Errors
///
/// If `text` is no JSON object.
pub(super) fn members<'a, const N: usize>(
    text: &'a str,
    names: &[&str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = deserializer.deserialize_map(Members { names, found: [None; N] })?;
    deserializer.end()?;
    Ok(found)
}

struct Members<'n, 'a, const N: usize> {
    names: &'n [&'n str; N],
    found: [Option<&'a RawValue>; N],
}

impl<'a, const N: usize> Visitor<'a> for Members<'_, 'a, N> {
    type Value = [Option<&'a RawValue>; N];

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(mut self, mut map: M) -> Result<Self::Value, M::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let value = map.next_value()?;
            if let Some(index) = self.names.iter().position(|wanted| *wanted == name) {
                self.found[index] = Some(value);
            }
        }
        Ok(self.found)
    }
}

/// A member's name, copied only where it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Cow<'de, str>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(name))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(name.to_owned()))
            }
        }

        deserializer.deserialize_str(NameVisitor).map(Name)
    }
}

#[cfg(test)]
mod tests {
    use super::members;

    #[track_caller]
    fn check(text: &str, expected: [Option<&str>; 2]) {
        let found = members(text, &["a", "b"]).expect("an object");
        assert_eq!(found.map(|value| value.map(serde_json::value::RawValue::get)), expected);
    }

    #[test]
    fn members_are_found_as_they_were_written() {
        check("{}", [None, None]);
        check(r#"{"b": [1, 2.50 ], "c": {"a": 0}}"#, [None, Some("[1, 2.50 ]")]);
        check(r#"{"a": 1, "b": null, "a": "x"}"#, [Some("\"x\""), Some("null")]);
        check(r#"{"\u0061": 1e999}"#, [Some("1e999"), None]);
    }

    #[test]
    fn only_an_object_has_members() {
        for text in ["[]", "1", "null", "\"a\"", "{} x", ""] {
            assert!(members(text, &["a"]).is_err(), "{text}");
        }
    }
}
