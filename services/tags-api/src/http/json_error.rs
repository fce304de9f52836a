//! Says where a JSON text is wrong as `CPython` 3.11's decoder says it.
//!
//! Clients know the messages and the offsets of that decoder, and `serde_json` has others. So this
//! module goes over a body in the steps of `CPython`'s `json.loads` before `serde_json` takes it
//! apart, and leaves it nothing to refuse. It is also where nesting and numbers are held to limits.

/// How many containers may lie inside one another: as many as `serde_json` reads into a `Value`.
const MAX_DEPTH: usize = 127;

/// What is wrong with a JSON text, in the words and at the place `CPython`'s decoder gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JsonError {
    /// In Unicode scalar values from the start of the text.
    pub(super) offset: usize,
    /// Without the place, which `CPython` adds when it prints the error.
    pub(super) message: &'static str,
}

/// `text` without the byte order mark that `json.loads` passes over in bytes, and counts no offset
/// from. A second one is none.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The first error in `text`, or `None` if there is none.
///
/// An error of `CPython`'s decoder, wherever it is, goes before what that decoder takes and no JSON
/// is or no engine stores: `NaN` and the infinities, lone surrogates, numbers that no `f64` holds. A
/// container that lies too deep ends the search.
///
/// There is an error exactly when `serde_json` cannot read a `Value`; of numbers near the largest
/// `f64`, which its features round differently, the correctly rounded value decides here.
pub(super) fn locate(text: &str) -> Option<JsonError> {
    let mut scanner = Scanner { text, position: 0, containers: Vec::new(), deviation: None };
    let fault = scanner.document().err().or(scanner.deviation)?;
    Some(JsonError {
        offset: text.char_indices().take_while(|(index, _)| *index < fault.position).count(),
        message: fault.message,
    })
}

struct Scanner<'text> {
    text: &'text str,
    /// In bytes, as every position here.
    position: usize,
    /// Those that are open, the innermost last.
    containers: Vec<Container>,
    /// The first place that `CPython` accepts and RFC 8259 does not.
    deviation: Option<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

#[derive(Clone, Copy)]
struct Fault {
    position: usize,
    message: &'static str,
}

type Scan<T = ()> = Result<T, Fault>;

const EXPECTING_VALUE: &str = "Expecting value";
const UNTERMINATED_STRING: &str = "Unterminated string starting at";
const LONE_SURROGATE: &str = "lone surrogate in a \\u escape";
const NESTED_TOO_DEEPLY: &str = "nested too deeply";

/// Every value that is a word, and what to say of those that are not JSON's.
const LITERALS: [(&str, Option<&str>); 6] = [
    ("null", None),
    ("true", None),
    ("false", None),
    ("NaN", Some("NaN is not a JSON value")),
    ("Infinity", Some("Infinity is not a JSON value")),
    ("-Infinity", Some("-Infinity is not a JSON value")),
];

impl Scanner<'_> {
    fn document(&mut self) -> Scan {
        self.skip_whitespace();
        self.start_of_value()?;
        while self.rest_of_container()? {
            self.start_of_value()?;
        }
        self.skip_whitespace();
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fail("Extra data"),
        }
    }

    /// Passes a whole value, or a container's head up to its first value or its end.
    fn start_of_value(&mut self) -> Scan {
        loop {
            match self.peek() {
                Some(b'"') => return self.string(),
                Some(b'[') => {
                    self.open(Container::Array)?;
                    if self.peek() == Some(b']') {
                        return Ok(());
                    }
                }
                Some(b'{') => {
                    self.open(Container::Object)?;
                    if self.peek() == Some(b'}') {
                        return Ok(());
                    }
                    self.name()?;
                }
                _ => return self.literal_or_number(),
            }
        }
    }

    fn open(&mut self, container: Container) -> Scan {
        if self.containers.len() == MAX_DEPTH {
            return Err(self.deviation.unwrap_or(Fault { position: self.position, message: NESTED_TOO_DEEPLY }));
        }
        self.containers.push(container);
        self.position += 1;
        self.skip_whitespace();
        Ok(())
    }

    /// Passes what follows a value, and says whether that leads to another value.
    fn rest_of_container(&mut self) -> Scan<bool> {
        while let Some(&container) = self.containers.last() {
            self.skip_whitespace();
            match (self.peek(), container) {
                (Some(b']'), Container::Array) | (Some(b'}'), Container::Object) => {
                    self.position += 1;
                    self.containers.pop();
                }
                (Some(b','), _) => {
                    self.position += 1;
                    self.skip_whitespace();
                    if container == Container::Object {
                        self.name()?;
                    }
                    return Ok(true);
                }
                _ => return self.fail("Expecting ',' delimiter"),
            }
        }
        Ok(false)
    }

    /// Passes the name of an object's member, up to the value.
    fn name(&mut self) -> Scan {
        if self.peek() != Some(b'"') {
            return self.fail("Expecting property name enclosed in double quotes");
        }
        self.string()?;
        self.skip_whitespace();
        if self.peek() != Some(b':') {
            return self.fail("Expecting ':' delimiter");
        }
        self.position += 1;
        self.skip_whitespace();
        Ok(())
    }

    fn string(&mut self) -> Scan {
        let start = self.position;
        self.position += 1;
        loop {
            match self.peek() {
                None => return fail_at(start, UNTERMINATED_STRING),
                Some(b'"') => {
                    self.position += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(start)?,
                Some(0..=0x1f) => return self.fail("Invalid control character at"),
                Some(_) => self.position += 1,
            }
        }
    }

    fn escape(&mut self, start_of_string: usize) -> Scan {
        match self.byte_at(self.position + 1) {
            None => fail_at(start_of_string, UNTERMINATED_STRING),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.position += 2;
                Ok(())
            }
            Some(b'u') => self.unicode_escape(),
            Some(_) => self.fail("Invalid \\escape"),
        }
    }

    fn unicode_escape(&mut self) -> Scan {
        let start = self.position;
        let Some(unit) = self.code_unit_at(start) else {
            return fail_at(start + 1, "Invalid \\uXXXX escape");
        };
        self.position += 6;
        match unit {
            0xd800..=0xdbff if matches!(self.code_unit_at(self.position), Some(0xdc00..=0xdfff)) => {
                self.position += 6;
            }
            0xd800..=0xdfff => self.deviate(start, LONE_SURROGATE),
            _ => {}
        }
        Ok(())
    }

    /// The UTF-16 code unit that a `\uXXXX` at `position` stands for. At the very end of the text
    /// it stands for none: `CPython` refuses digits that nothing follows.
    fn code_unit_at(&self, position: usize) -> Option<u32> {
        let escape = self.text.as_bytes().get(position..position + 7)?;
        let [b'\\', b'u', digits @ .., _] = escape else {
            return None;
        };
        digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
    }

    fn literal_or_number(&mut self) -> Scan {
        let rest = &self.text.as_bytes()[self.position..];
        for (literal, deviation) in LITERALS {
            if rest.starts_with(literal.as_bytes()) {
                if let Some(message) = deviation {
                    self.deviate(self.position, message);
                }
                self.position += literal.len();
                return Ok(());
            }
        }
        self.number()
    }

    /// Passes the longest beginning that is a number. What follows it in `01`, `1.` and `1e+` is no
    /// part of it, and what may follow a value decides about that.
    fn number(&mut self) -> Scan {
        let start = self.position;
        if self.peek() == Some(b'-') {
            self.position += 1;
        }
        match self.peek() {
            Some(b'0') => self.position += 1,
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return fail_at(start, EXPECTING_VALUE),
        }
        if self.peek() == Some(b'.') {
            self.skip_part(1);
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            let sign = matches!(self.byte_at(self.position + 1), Some(b'-' | b'+'));
            self.skip_part(1 + usize::from(sign));
        }
        if self.text[start..self.position].parse::<f64>().is_ok_and(f64::is_infinite) {
            self.deviate(start, "number out of range");
        }
        Ok(())
    }

    /// Passes a head of this length with the digits behind it, or nothing where there are none.
    fn skip_part(&mut self, head: usize) {
        let start = self.position;
        self.position += head;
        self.skip_digits();
        if self.position == start + head {
            self.position = start;
        }
    }

    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.position += 1;
        }
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.position += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.byte_at(self.position)
    }

    fn byte_at(&self, position: usize) -> Option<u8> {
        self.text.as_bytes().get(position).copied()
    }

    fn fail<T>(&self, message: &'static str) -> Scan<T> {
        fail_at(self.position, message)
    }

    fn deviate(&mut self, position: usize, message: &'static str) {
        self.deviation.get_or_insert(Fault { position, message });
    }
}

fn fail_at<T>(position: usize, message: &'static str) -> Scan<T> {
    Err(Fault { position, message })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::Value;

    use super::*;

    fn error(offset: usize, message: &'static str) -> JsonError {
        JsonError { offset, message }
    }

    fn agrees_with_serde_json(text: &str) -> bool {
        const OUT_OF_RANGE: &str = "number out of range";
        match (locate(text), serde_json::from_str::<Value>(text)) {
            (None, Ok(_)) | (Some(_), Err(_)) => true,
            (Some(error), Ok(_)) => error.message == OUT_OF_RANGE,
            (None, Err(error)) => error.to_string().starts_with(OUT_OF_RANGE),
        }
    }

    #[test]
    fn errors_are_those_of_cpython() {
        let rows = include_str!("../../tests/data/json_errors.json");
        let rows: Vec<Value> = serde_json::from_str(rows).expect("the rows are JSON");
        assert!(rows.len() > 400);
        for row in rows {
            let text = without_mark(row["text"].as_str().expect("every row has a text"));
            let located = match locate(text) {
                Some(error) => (Value::from(error.offset), Value::from(error.message)),
                None => (Value::Null, Value::Null),
            };
            assert_eq!(located, (row["offset"].clone(), row["message"].clone()), "{text:?}");
            assert!(agrees_with_serde_json(text), "{text:?}");
        }
    }

    #[test]
    fn what_only_cpython_accepts_is_an_error() {
        for (text, offset, message) in [
            ("NaN", 0, "NaN is not a JSON value"),
            ("[\"é\",Infinity]", 5, "Infinity is not a JSON value"),
            ("{\"a\": -Infinity}", 6, "-Infinity is not a JSON value"),
            (r#""é\ud800""#, 2, LONE_SURROGATE),
            (r#""\udc00\ud800""#, 1, LONE_SURROGATE),
            (r#""\ud83d\ud83d\ude00""#, 1, LONE_SURROGATE),
            (r#"{"\ud83d\ude00\ude00":0}"#, 14, LONE_SURROGATE),
            (r#""\ud83d\n""#, 1, LONE_SURROGATE),
            ("1e999", 0, "number out of range"),
            ("[0, -1e309]", 4, "number out of range"),
            ("[1e400, NaN]", 1, "number out of range"),
            ("[NaN, 1e400]", 1, "NaN is not a JSON value"),
        ] {
            assert_eq!(locate(text), Some(error(offset, message)), "{text}");
            assert!(agrees_with_serde_json(text), "{text}");
        }
    }

    #[test]
    fn an_error_of_cpython_comes_first() {
        assert_eq!(locate("[NaN, 1e999,]"), Some(error(12, EXPECTING_VALUE)));
        assert_eq!(locate(r#"["\ud800 "#), Some(error(1, UNTERMINATED_STRING)));
    }

    #[test]
    fn nesting_has_a_limit() {
        for (head, tail) in [("[", "]"), (r#"{"é":"#, "}")] {
            let nested = |depth| format!("{}0{}", head.repeat(depth), tail.repeat(depth));
            let deepest = nested(MAX_DEPTH);
            assert_eq!(locate(&deepest), None);
            assert!(agrees_with_serde_json(&deepest));
            let too_deep = nested(MAX_DEPTH + 1);
            let offset = MAX_DEPTH * head.chars().count();
            assert_eq!(locate(&too_deep), Some(error(offset, NESTED_TOO_DEEPLY)));
            assert!(agrees_with_serde_json(&too_deep));
        }
        let hostile = "[".repeat(2 << 20);
        assert_eq!(locate(&hostile), Some(error(MAX_DEPTH, NESTED_TOO_DEEPLY)));
        let after_nan = format!("[NaN,{}", "[".repeat(MAX_DEPTH));
        assert_eq!(locate(&after_nan), Some(error(1, "NaN is not a JSON value")));
    }

    #[test]
    fn a_limit_of_depth_is_none_of_length() {
        let text = format!("[{}[]]", "[[]],".repeat(10 * MAX_DEPTH));
        assert_eq!(locate(&text), None);
    }

    #[test]
    fn a_number_is_out_of_range_where_no_f64_holds_it() {
        let one_and_zeros = |zeros| format!("1{}", "0".repeat(zeros));
        for (text, in_range) in [
            ("1.7976931348623158e308".to_owned(), true),
            ("-1.79769313486231580793e308".to_owned(), true),
            ("1.797693134862316e308".to_owned(), false),
            ("1e99999999999999999999".to_owned(), false),
            ("0e99999999999999999999".to_owned(), true),
            ("1e-99999999999999999999".to_owned(), true),
            (one_and_zeros(308), true),
            (one_and_zeros(309), false),
            (format!("{}e-300", one_and_zeros(400)), true),
            (format!("0.{}1e408", "0".repeat(100)), true),
            (format!("0.{}1e410", "0".repeat(100)), false),
        ] {
            assert_eq!(locate(&text).is_none(), in_range, "{text}");
        }
    }

    #[rustfmt::skip]
    const TOKENS: [&str; 44] = [
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\"a\"", "\"é🐍\"", "\"\":", "é", " ", "\t",
        "\n", "\r", "\u{a0}", "\u{feff}", "\0", "\\u", "\\ud83d", "\\ude00", "\\n", "\\x", "00",
        "1", "9", "-", "+", ".", "e", "E", "e30", "e308", "null", "true", "false", "NaN",
        "Infinity", "nul", "\"\\ud800\"", "\"\\ud83d\\ude00\"", "[]", "{}",
    ];

    fn valid_text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            select(vec!["null", "true", "false", "\"\"", "\"é\\n🐍\"", "\"\\uD83D\\uDE00\""]).prop_map(str::to_owned),
            any::<i64>().prop_map(|number| number.to_string()),
            (any::<u64>(), any::<u64>(), -330..280_i32)
                .prop_map(|(whole, part, exponent)| format!("{whole}.{part}e{exponent}")),
        ];
        leaf.prop_recursive(5, 30, 5, |inner| {
            let comma = select(vec![",", " , ", ",\n"]);
            let values = (prop::collection::vec(inner, 0..5), comma);
            prop_oneof![
                values.clone().prop_map(|(values, comma)| format!("[{}]", values.join(comma))),
                values.prop_map(|(values, comma)| {
                    let members: Vec<_> = values.iter().map(|value| format!("\"é\": {value}")).collect();
                    format!("{{{}}}", members.join(comma))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn random_tokens_fare_as_with_serde_json(
            tokens in prop::collection::vec(select(TOKENS.to_vec()), 0..16),
        ) {
            let text = tokens.concat();
            prop_assert!(agrees_with_serde_json(&text), "{text}");
        }

        #[test]
        fn valid_texts_fare_as_with_serde_json(
            text in valid_text(),
            place in any::<prop::sample::Index>(),
            token in select(TOKENS.to_vec()),
        ) {
            prop_assert_eq!(locate(&text), None, "{}", text);
            let place = place.index(text.chars().count() + 1);
            let before: String = text.chars().take(place).collect();
            let after: String = text.chars().skip(place).collect();
            let without_next: String = after.chars().skip(1).collect();
            for mutated in [
                format!("{before}{token}{after}"),
                format!("{before}{without_next}"),
                before,
            ] {
                prop_assert!(agrees_with_serde_json(&mutated), "{mutated}");
            }
        }
    }
}
