//! What the servers send as text and what need not be one: a definition has the bytes of its literals in it as they are.
//!
//! Each byte that is no UTF-8 is a character from the end of Unicode, where none is assigned, so that what is read can be said again. Such characters
//! themselves are taken for bytes.

/// The character of a byte 0 would be this one. Only those from 0x80 on are no UTF-8.
const FIRST: u32 = 0x10_ff00;

/// The text that stands for some bytes, which is theirs if they have one.
pub(super) fn text(bytes: &[u8]) -> String {
    if let Some(text) = str::from_utf8(bytes).ok().filter(|text| is_text(text)) {
        return text.to_owned();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if byte(letter).is_some() {
                text.extend(letter.encode_utf8(&mut [0; 4]).bytes().map(letter_of));
            } else {
                text.push(letter);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(letter_of));
    }
    text
}

/// Whether a text stands for nothing but itself.
pub(super) fn is_text(text: &str) -> bool {
    text.chars().all(|letter| byte(letter).is_none())
}

/// The bytes that a text stands for.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for letter in text.chars() {
        match byte(letter) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

fn letter_of(byte: u8) -> char {
    char::from_u32(FIRST + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn byte(letter: char) -> Option<u8> {
    u8::try_from(u32::from(letter).checked_sub(FIRST)?).ok().filter(|byte| !byte.is_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_a_text_is_that_text() {
        assert_eq!(text("é 表 😀".as_bytes()), "é 表 😀");
        assert_eq!(text(b"a\xffb"), "a\u{10ffff}b");
        assert_eq!(bytes("a\u{10ffff}b"), b"a\xffb");
    }

    proptest! {
        #[test]
        fn what_was_read_can_be_said_again(given in prop::collection::vec(any::<u8>(), 0..20), letter in any::<char>(), end in prop::char::range('\u{10ff00}', char::MAX)) {
            let given = [&given, letter.to_string().as_bytes(), end.to_string().as_bytes()].concat();
            prop_assert_eq!(bytes(&text(&given)), given);
        }
    }
}
