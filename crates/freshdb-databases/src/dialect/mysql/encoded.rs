//! Values that InnoDB stores in a way of their own, and by whose bytes they are sorted.
//!
//! Dates and times: <https://dev.mysql.com/doc/internals/en/date-and-time-data-type-representation.html>.

use serde::{Deserialize, Serialize};

/// How a column's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum Encoding {
    /// A year, four bits of a month and five of a day.
    Date,
    /// With so many bytes of fractions of a second, each of two digits.
    DateTime { fraction: usize },
    /// With so many digits before and behind the point.
    Decimal { before: usize, behind: usize },
    /// MariaDB's.
    Uuid,
}

/// What stands in brackets in a column's type, such as `decimal(10,2)`.
fn numbers(column_type: &str) -> Vec<usize> {
    let inner = column_type.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inner, _)| inner);
    inner.split(',').filter_map(|number| number.trim().parse().ok()).collect()
}

/// Nine digits are four bytes; fewer are fewer.
const BYTES_OF_DIGITS: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

impl Encoding {
    /// Of `datetime`, and `datetime(6)`.
    pub(super) fn of(data_type: &str, column_type: &str) -> Option<Self> {
        let numbers = numbers(column_type);
        match (data_type, &numbers[..]) {
            ("date", []) => Some(Self::Date),
            ("datetime", []) => Some(Self::DateTime { fraction: 0 }),
            ("datetime", [digits @ 0..=6]) => Some(Self::DateTime { fraction: digits.div_ceil(2) }),
            ("decimal", [all @ 1..=65, behind]) if behind <= all => {
                Some(Self::Decimal { before: all - behind, behind: *behind })
            }
            ("uuid", []) => Some(Self::Uuid),
            _ => None,
        }
    }

    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Date => 3,
            Self::DateTime { fraction } => 5 + fraction,
            Self::Decimal { before, behind } => {
                let of = |digits: usize| digits / 9 * 4 + BYTES_OF_DIGITS[digits % 9];
                of(before) + of(behind)
            }
            Self::Uuid => 16,
        }
    }

    /// A value as SQL has it, unless these are no such value's bytes.
    pub(super) fn literal(self, bytes: &[u8]) -> Option<String> {
        if bytes.len() != self.bytes() {
            return None;
        }
        match self {
            Self::Date => date(bytes),
            Self::DateTime { .. } => date_time(bytes),
            Self::Decimal { before, behind } => decimal(bytes, [before, behind]),
            Self::Uuid => Some(uuid(bytes)),
        }
    }
}

/// The highest byte is first.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Dates of which a part is 0 cannot be written down everywhere.
fn is_whole([year, month, day]: [u64; 3]) -> bool {
    (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)
}

fn date(bytes: &[u8]) -> Option<String> {
    // The highest bit is a sign's, and there is none.
    let number = number(bytes) & 0x7f_ffff;
    let [year, month, day] = [number >> 9, number >> 5 & 15, number & 31];
    is_whole([year, month, day]).then(|| format!("DATE'{year:04}-{month:02}-{day:02}'"))
}

fn date_time(bytes: &[u8]) -> Option<String> {
    let (whole, fraction) = bytes.split_at(5);
    let number_of_whole = number(whole);
    if number_of_whole >> 39 != 1 {
        return None;
    }
    let (days, seconds) = (number_of_whole >> 17 & 0x3f_ffff, number_of_whole & 0x1_ffff);
    let [year, month, day] = [(days >> 5) / 13, (days >> 5) % 13, days & 31];
    let [hour, minute, second] = [seconds >> 12, seconds >> 6 & 63, seconds & 63];
    if !is_whole([year, month, day]) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let digits = 2 * fraction.len();
    let fraction = if digits > 0 { format!(".{:0digits$}", number(fraction)) } else { String::new() };
    // Of a fraction with more digits than there are bytes for, there is no value.
    (fraction.len() <= digits + 1)
        .then(|| format!("TIMESTAMP'{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction}'"))
}

/// <https://dev.mysql.com/doc/dev/mysql-server/latest/decimal_8cc.html>: groups of nine digits, as many as there can be, from the point in
/// both directions. The highest bit is set, and of a negative number all bits are the other way round.
fn decimal(bytes: &[u8], [before, behind]: [usize; 2]) -> Option<String> {
    let is_negative = bytes.first()? & 0x80 == 0;
    let mut bytes: Vec<u8> = bytes.iter().map(|byte| if is_negative { !byte } else { *byte }).collect();
    bytes[0] ^= 0x80;
    let mut rest = &bytes[..];
    let mut digits = |count: usize| {
        if count == 0 {
            return Some(String::new());
        }
        let (group, others) = rest.split_at(BYTES_OF_DIGITS[count]);
        rest = others;
        let digits = format!("{:0count$}", number(group));
        (digits.len() == count).then_some(digits)
    };
    let mut whole = digits(before % 9)?;
    for _ in 0..before / 9 {
        whole += &digits(9)?;
    }
    let mut text = format!("{}0{}", if is_negative { "-" } else { "" }, whole.trim_start_matches('0'));
    if behind > 0 {
        text.push('.');
    }
    for _ in 0..behind / 9 {
        text += &digits(9)?;
    }
    text += &digits(behind % 9)?;
    Some(text)
}

/// The last group is first, by which those of one machine lie together. Of versions that begin with the time no group is moved. The server tells
/// the two apart by the variant's bit, which is where those have their version: <https://jira.mariadb.org/browse/MDEV-29959>.
fn uuid(bytes: &[u8]) -> String {
    let is_moved = bytes[6] & 0x80 != 0;
    let groups = if is_moved { [12..16, 10..12, 8..10, 6..8, 0..6] } else { [0..4, 4..6, 6..8, 8..10, 10..16] };
    let groups = groups.map(|range| format!("{:0width$x}", number(&bytes[range.clone()]), width = 2 * range.len()));
    format!("'{}'", groups.join("-"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn literal(data_type: &str, column_type: &str, bytes: &[u8]) -> Option<String> {
        Encoding::of(data_type, column_type).expect("it is read").literal(bytes)
    }

    #[test]
    fn values_are_written_as_sql_has_them() {
        let is = |column_type: &str, bytes: &[u8], expected: &str| {
            let data_type = column_type.split('(').next().unwrap_or_default();
            assert_eq!(literal(data_type, column_type, bytes).as_deref(), Some(expected), "{column_type}");
        };
        is("date", &[0x8f, 0xd5, 0x7c], "DATE'2026-11-28'");
        is("date", &[0x0f, 0xd5, 0x7c], "DATE'2026-11-28'");
        is("datetime", &[0x99, 0xbb, 0x78, 0x7a, 0x9e], "TIMESTAMP'2026-11-28 07:42:30'");
        is("datetime(3)", &[0x99, 0xbb, 0x78, 0x7a, 0x9e, 0x04, 0xce], "TIMESTAMP'2026-11-28 07:42:30.1230'");
        is("decimal(10,0)", &[0x80, 0, 0, 0x04, 0xd2], "01234");
        is("decimal(10,0)", &[0x7f, 0xff, 0xff, 0xfb, 0x2d], "-01234");
        is("decimal(5,2)", &[0x80, 0x7b, 0x2d], "0123.45");
        is("decimal(2,2)", &[0x85], "0.05");
        is(
            "uuid",
            b"\x0a\x0b\x0c\x0d\x0e\x0f\x88\x99\x46\x77\x44\x55\x00\x11\x22\x33",
            "'00112233-4455-4677-8899-0a0b0c0d0e0f'",
        );
        is(
            "uuid",
            b"\x00\x11\x22\x33\x44\x55\x76\x77\x88\x99\x0a\x0b\x0c\x0d\x0e\x0f",
            "'00112233-4455-7677-8899-0a0b0c0d0e0f'",
        );
    }

    #[test]
    fn what_is_no_value_is_not_written() {
        for (data_type, bytes) in [
            ("date", &[0x80, 0, 0][..]),
            ("date", &[0x8f, 0xd5]),
            ("date", &[0x8f, 0xd5, 0x60]),
            ("datetime", &[0x80, 0, 0, 0, 0]),
            ("datetime", &[0x19, 0xbb, 0x78, 0x7a, 0x9e]),
            ("datetime", &[0x99, 0xbb, 0x79, 0x8a, 0x9e]),
        ] {
            assert_eq!(literal(data_type, data_type, bytes), None, "{data_type} {bytes:x?}");
        }
        // More than two digits in a byte of two.
        assert_eq!(literal("decimal", "decimal(2,0)", &[0xe4]), None);
        assert_eq!(literal("datetime", "datetime(2)", &[0x99, 0xbb, 0x78, 0x7a, 0x9e, 100]), None);
        for (data_type, column_type) in
            [("date", "date(3)"), ("datetime", "datetime(7)"), ("decimal", "decimal"), ("time", "time")]
        {
            assert_eq!(Encoding::of(data_type, column_type), None, "{column_type}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..40), all in 1..=65_usize, behind in 0..=30_usize) {
            let decimal = format!("decimal({all},{behind}) unsigned");
            for (data_type, column_type) in [("date", "date"), ("datetime", "datetime(6)"), ("uuid", "uuid"), ("decimal", &*decimal)] {
                if let Some(encoding) = Encoding::of(data_type, column_type) {
                    let whole = bytes.get(..encoding.bytes()).unwrap_or(&bytes);
                    // It is one, or it is not.
                    let _: Option<String> = encoding.literal(whole);
                }
            }
        }
    }
}
