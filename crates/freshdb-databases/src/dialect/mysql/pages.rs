//! Which rows of a table can have been written since a moment, told by the file that InnoDB keeps it in.
//!
//! Rows lie in the leaves of a tree, in the order of their keys, and each leaf is a page that says when it was last changed: by the log
//! sequence number (LSN) of the change, which is higher for each change of the server's. A leaf that has not been changed has the rows
//! that it had. So whatever was inserted, updated or deleted, its key lies between the leaves that have not been changed.
//!
//! Only leaves that are reached from the first one count. A page that was let go of stays in the file as it was, or as it was long before: so
//! no page may be of a kind that is not read here, and the root of the tree must be where it is. A file that is anything but what is
//! expected says nothing, and then all rows are compared.
//!
//! The format: <https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_INNODB_PAGE.html>.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::connection::binary;
use super::encoded::{Encoding, number};

/// What is read of each page: its headers, and the first of its records, which is no row.
const HEAD: usize = 128;
/// The number of no page.
const NONE: u32 = u32::MAX;
/// The type of a page of an index.
const INDEX: u64 = 17855;
/// Those of pages that are compressed, encrypted or both.
const UNREADABLE: RangeInclusive<u64> = 14..=17;
/// From here on they are MariaDB's, for the same.
const UNREADABLE_FROM: u64 = 0x8000;
/// That of the root of a table of MariaDB's whose rows have several shapes. In MySQL's files, of a part of a long definition.
const SHAPES: u64 = 18;
/// Where the lowest record is, which is none of the table's, and what it says.
const INFIMUM: usize = 99;
const INFIMUM_TEXT: &[u8] = b"infimum\0";
/// Where the first record of a table's can be.
const FIRST_RECORD: usize = 120;
/// What ends a page.
const TRAILER: usize = 8;
/// How many bytes each record has before its first column. Before them is which columns are NULL, a bit for each that can be, and before that
/// the lengths of those whose length varies, the first one's last.
const RECORD_HEAD: usize = 5;
/// Bits of a record's: it is the lowest of its tree, and its key no key; and its columns are not those that the table was made with.
const IS_LOWEST: u8 = 0x10;
const IS_OF_ANOTHER_SHAPE: u8 = 0xc0;
/// With more ranges than this all rows are compared.
const MOST_RANGES: usize = 256;

/// A key's first column, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum KeyColumn {
    Number(WholeNumber),
    Encoded(Encoding),
    Bytes {
        length: Length,
        /// Of which they are a text, if they are.
        text: Option<Text>,
    },
}

/// How many bytes a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum Length {
    Fixed(usize),
    Varying {
        longest: usize,
        /// How many columns of the table can be NULL: a bit of each is between the length and the bytes.
        nullable: usize,
    },
}

/// What a text is in the order of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Text {
    charset: String,
    collation: String,
    /// Whether spaces are stored behind it that are none of its own.
    padded: bool,
}

/// What a server says of a column.
#[derive(Debug)]
pub(super) struct Described<'a> {
    /// `varchar`, and `varchar(50)`.
    pub(super) data_type: &'a str,
    pub(super) column_type: &'a str,
    pub(super) charset: Option<&'a str>,
    pub(super) collation: Option<&'a str>,
    /// The most bytes of a text or of bytes.
    pub(super) longest: Option<usize>,
}

impl KeyColumn {
    /// Of the first column of a key that holds all of it, in a table of which so many columns can be NULL.
    pub(super) fn of(column: &Described, nullable: usize) -> Option<Self> {
        if let Some(number) = WholeNumber::of(column.column_type) {
            return Some(Self::Number(number));
        }
        if let Some(encoding) = Encoding::of(column.data_type, &column.column_type.to_lowercase()) {
            return Some(Self::Encoded(encoding));
        }
        let longest = column.longest.filter(|longest| *longest > 0)?;
        let varying = Length::Varying { longest, nullable };
        let padded = column.data_type == "char";
        let length = match (column.data_type, column.charset) {
            ("binary", _) => return Some(Self::Bytes { length: Length::Fixed(longest), text: None }),
            ("varbinary", _) => return Some(Self::Bytes { length: varying, text: None }),
            ("char", Some("ascii" | "latin1")) => Length::Fixed(longest),
            // As many characters are not as many bytes.
            ("char" | "varchar", Some("utf8mb3" | "utf8mb4")) | ("varchar", Some("ascii" | "latin1")) => varying,
            _ => return None,
        };
        let (charset, collation) = (column.charset?.to_owned(), column.collation?.to_owned());
        Some(Self::Bytes { length, text: Some(Text { charset, collation, padded }) })
    }

    fn size(&self) -> Length {
        match self {
            Self::Number(number) => Length::Fixed(number.bytes),
            Self::Encoded(encoding) => Length::Fixed(encoding.bytes()),
            Self::Bytes { length, .. } => *length,
        }
    }

    /// Whether values are sorted as their bytes are.
    fn is_sorted_by_bytes(&self) -> bool {
        !matches!(self, Self::Bytes { text: Some(_), .. })
    }

    /// Whether the server has to be asked for the values that were read: there is more than one way to store them, and a server's settings,
    /// or the version that made a table, decide which.
    pub(super) fn may_be_read_wrongly(&self) -> bool {
        matches!(self, Self::Encoded(_))
    }

    /// A value, as SQL has it, unless these are no value's bytes.
    fn literal(&self, bytes: &[u8]) -> Option<String> {
        let literal = match self {
            Self::Number(number) => number.read(bytes).to_string(),
            Self::Encoded(encoding) => return encoding.literal(bytes),
            Self::Bytes { text: None, .. } => binary(bytes),
            Self::Bytes { text: Some(Text { charset, collation, padded }), .. } => {
                let end = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
                let bytes = if *padded { &bytes[..end] } else { bytes };
                format!("_{charset} {} COLLATE {collation}", binary(bytes))
            }
        };
        Some(literal)
    }
}

impl Length {
    /// How many bytes before a record's first column may say where that ends.
    fn head(self) -> usize {
        match self {
            Self::Fixed(_) => RECORD_HEAD,
            Self::Varying { nullable, .. } => RECORD_HEAD + nullable.div_ceil(8) + 2,
        }
    }

    /// Out of those bytes.
    fn of(self, head: &[u8]) -> Option<usize> {
        let longest = match self {
            Self::Fixed(length) => return Some(length),
            Self::Varying { longest, .. } => longest,
        };
        // In the order of the lengths, which is not that of bytes.
        let [first, second] = [head[1], head[0]].map(usize::from);
        let length = match first {
            0x80..0xc0 if longest > 255 => (first & 0x3f) << 8 | second,
            // It is elsewhere, where no key is.
            0xc0.. if longest > 255 => return None,
            _ => first,
        };
        (length <= longest).then_some(length)
    }
}

/// A whole number, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct WholeNumber {
    bytes: usize,
    signed: bool,
}

impl WholeNumber {
    /// Out of a column's type, such as `bigint unsigned`.
    pub(super) fn of(column_type: &str) -> Option<Self> {
        let column_type = column_type.to_lowercase();
        let name: String = column_type.chars().take_while(char::is_ascii_alphabetic).collect();
        let bytes = match name.as_str() {
            "tinyint" => 1,
            "smallint" => 2,
            "mediumint" => 3,
            "int" => 4,
            "bigint" => 8,
            _ => return None,
        };
        Some(Self { bytes, signed: !column_type.contains("unsigned") })
    }

    /// The highest byte is first, and the highest bit of a signed number is the other way round: so numbers are sorted as bytes are.
    fn read(self, bytes: &[u8]) -> i128 {
        let number = i128::from(number(bytes));
        if self.signed { number - (1 << (8 * self.bytes - 1)) } else { number }
    }
}

/// Rows by the first column of their key, both ends included, as SQL has them. Without an end it is open there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
}

impl Range {
    const ALL: Self = Self { from: None, to: None };
}

/// What a file tells of rows that were written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Written(Vec<Range>),
    /// It is another table's, or that of the same one made anew.
    Another,
    /// It is not as expected.
    Nothing,
}

/// The file of a table.
#[derive(Clone, Debug)]
pub(super) struct TableFile {
    pub(super) path: PathBuf,
    /// The number of its tablespace, which another table, or the same one made anew, does not have.
    pub(super) space: u64,
    /// The number of its primary key, and of the page that this begins with.
    pub(super) index: u64,
    pub(super) root: u32,
    pub(super) page_size: usize,
    /// What its primary key begins with, in ascending order.
    pub(super) key: KeyColumn,
}

/// A page with rows.
#[derive(Clone, Copy, Debug)]
struct Leaf {
    changed: u64,
    previous: u32,
    next: u32,
    first_record: usize,
}

impl TableFile {
    /// The rows that may have been written when the server's LSN was `since`, or later.
    ///
    /// All that the server knows of the table has to be in the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(super) fn written(&self, since: u64) -> io::Result<Told> {
        let file = File::open(&self.path)?;
        let pages = u32::try_from(file.metadata()?.len() / self.page_size as u64).unwrap_or(0);
        let mut head = [0; HEAD];
        let mut leaves = HashMap::new();
        let mut has_root = false;
        let mut format = None;
        for page in 0..pages {
            file.read_exact_at(&mut head, self.offset(page))?;
            if page == 0 {
                if number(&head[34..38]) != self.space {
                    return Ok(Told::Another);
                }
                format = Format::of(&head);
            }
            if format.is_none_or(|format: Format| format.hides(&head, page)) {
                return Ok(Told::Nothing);
            }
            if self.is_of_index(&head, page) {
                has_root |= page == self.root;
                leaves.extend(self.leaf(&head).map(|leaf| (page, leaf)));
            }
        }
        let Some(chain) = chain(&leaves).filter(|_| has_root) else { return Ok(Told::Nothing) };
        // A root that is a leaf is the only one.
        if leaves.contains_key(&self.root) && chain.len() > 1 {
            return Ok(Told::Nothing);
        }
        let changed = chain.iter().filter(|(_, leaf)| leaf.is_changed(since)).count();
        if changed * 2 > chain.len() {
            return Ok(Told::Written(vec![Range::ALL]));
        }
        Ok(self.between(&file, &chain, since)?.map_or(Told::Nothing, Told::Written))
    }

    fn offset(&self, page: u32) -> u64 {
        u64::from(page) * self.page_size as u64
    }

    fn is_of_index(&self, head: &[u8; HEAD], page: u32) -> bool {
        number(&head[24..26]) == INDEX
            && number(&head[4..8]) == u64::from(page)
            && number(&head[34..38]) == self.space
            && number(&head[66..74]) == self.index
    }

    /// A page of the index, if it has rows.
    fn leaf(&self, head: &[u8; HEAD]) -> Option<Leaf> {
        let is_leaf = number(&head[64..66]) == 0;
        let is_compact = number(&head[42..44]) & 0x8000 != 0;
        (is_leaf && is_compact && head[INFIMUM..].starts_with(INFIMUM_TEXT)).then(|| Leaf {
            changed: number(&head[16..24]),
            previous: page_number(&head[8..12]),
            next: page_number(&head[12..16]),
            // Behind or before, round the end of the page.
            first_record: (INFIMUM + usize::from(u16::from_be_bytes([head[97], head[98]]))) % self.page_size,
        })
    }

    /// What lies between leaves that have not been changed: from the first row of the one before, which is one row too many, or rather a
    /// page, to the first row of the one behind.
    fn between(&self, file: &File, chain: &[(u32, Leaf)], since: u64) -> io::Result<Option<Vec<Range>>> {
        let ends = ends_of_changed(chain, since);
        if ends.len() > MOST_RANGES {
            return Ok(Some(vec![Range::ALL]));
        }
        let mut ranges = Vec::with_capacity(ends.len());
        for [from, to] in ends {
            let mut keys = [None, None];
            for (key, end) in keys.iter_mut().zip([from, to]) {
                let Some(leaf) = end else { continue };
                *key = self.first_key(file, chain[leaf])?;
                if key.is_none() {
                    return Ok(None);
                }
            }
            if self.key.is_sorted_by_bytes() && keys[1].is_some() && keys[0] > keys[1] {
                return Ok(None);
            }
            let mut literals = [None, None];
            for (literal, key) in literals.iter_mut().zip(keys) {
                let Some(bytes) = key else { continue };
                *literal = self.key.literal(&bytes);
                if literal.is_none() {
                    return Ok(None);
                }
            }
            let [from, to] = literals;
            ranges.push(Range { from, to });
        }
        Ok(Some(ranges))
    }

    /// The first column of the first row's key.
    fn first_key(&self, file: &File, (page, leaf): (u32, Leaf)) -> io::Result<Option<Vec<u8>>> {
        let (at, length) = (leaf.first_record, self.key.size());
        let head = length.head();
        let Some(begin) = at.checked_sub(head).filter(|_| at >= FIRST_RECORD && at + TRAILER <= self.page_size) else {
            return Ok(None);
        };
        let mut before = vec![0; head];
        file.read_exact_at(&mut before, self.offset(page) + begin as u64)?;
        let bits = before[head - RECORD_HEAD];
        let refused = match length {
            Length::Fixed(_) => IS_LOWEST,
            Length::Varying { .. } => IS_LOWEST | IS_OF_ANOTHER_SHAPE,
        };
        let Some(length) =
            length.of(&before).filter(|length| bits & refused == 0 && at + length + TRAILER <= self.page_size)
        else {
            return Ok(None);
        };
        let mut key = vec![0; length];
        file.read_exact_at(&mut key, self.offset(page) + at as u64)?;
        Ok(Some(key))
    }
}

/// Between which leaves those lie that have been changed, by their places in the chain: whatever lies beyond the first and the last leaf has no end
/// there. Below the first one there is nothing either.
fn ends_of_changed(chain: &[(u32, Leaf)], since: u64) -> Vec<[Option<usize>; 2]> {
    let mut ends: Vec<[Option<usize>; 2]> = Vec::new();
    let mut is_within = false;
    for (place, (_, leaf)) in chain.iter().enumerate() {
        match (leaf.is_changed(since), is_within) {
            (true, false) => {
                let before = place.checked_sub(1).filter(|before| *before > 0);
                match ends.last_mut() {
                    // One leaf between two that are changed is in both of them.
                    Some([_, to]) if *to == before && before.is_some() => *to = None,
                    _ => ends.push([before, None]),
                }
            }
            (false, true) => {
                if let Some([_, to]) = ends.last_mut() {
                    *to = Some(place);
                }
            }
            _ => {}
        }
        is_within = leaf.is_changed(since);
    }
    ends
}

impl Leaf {
    fn is_changed(self, since: u64) -> bool {
        self.changed >= since
    }
}

/// All leaves from the first to the last, if there is one way through them.
fn chain(leaves: &HashMap<u32, Leaf>) -> Option<Vec<(u32, Leaf)>> {
    let mut firsts = leaves.iter().filter(|(_, leaf)| leaf.previous == NONE).map(|(page, _)| *page);
    let (mut page, None) = (firsts.next()?, firsts.next()) else { return None };
    let mut chain = Vec::with_capacity(leaves.len());
    let mut previous = NONE;
    while page != NONE {
        let leaf = leaves.get(&page).filter(|leaf| leaf.previous == previous)?;
        // There are no more than those, so that a ring is none.
        if chain.len() == leaves.len() {
            return None;
        }
        chain.push((page, *leaf));
        (previous, page) = (page, leaf.next);
    }
    Some(chain)
}

/// How the pages of a file are written.
#[derive(Clone, Copy, Debug)]
enum Format {
    /// With a checksum in front.
    Checksum,
    /// MySQL's since 8.0, with the table's definition in some of them.
    WithDefinition,
    /// MariaDB's since 10.4, with the version of an encryption's key in front, and the checksum at the end.
    FullCrc32,
}

impl Format {
    /// Out of the first page; nothing if its pages, or its rows in each page, are compressed.
    fn of(head: &[u8; HEAD]) -> Option<Self> {
        let flags = number(&head[54..58]);
        if flags & 0x10 != 0 {
            return (flags & 0xe0 == 0).then_some(Self::FullCrc32);
        }
        if flags & 0x1_001e != 0 {
            return None;
        }
        Some(if flags & 0x4000 == 0 { Self::Checksum } else { Self::WithDefinition })
    }

    /// Whether the page can be one of the table's and not look like it.
    fn hides(self, head: &[u8; HEAD], page: u32) -> bool {
        let kind = number(&head[24..26]);
        let key_version = match self {
            Self::FullCrc32 => &head[0..4],
            // The first page has something else there.
            _ if page == 0 => &[],
            Self::Checksum | Self::WithDefinition => &head[26..30],
        };
        let has_shapes = kind == SHAPES && !matches!(self, Self::WithDefinition);
        UNREADABLE.contains(&kind) || kind >= UNREADABLE_FROM || has_shapes || number(key_version) != 0
    }
}

fn page_number(bytes: &[u8]) -> u32 {
    u32::try_from(number(bytes)).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use tempfile::NamedTempFile;

    use super::*;

    const SPACE: u64 = 7;
    const PRIMARY: u64 = 23;
    const ROOT: u32 = 1;
    const SIZE: usize = 4096;
    const SINCE: u64 = 1000;
    const SIGNED: KeyColumn = KeyColumn::Number(WholeNumber { bytes: 4, signed: true });

    /// Pages of a file, the first of which says what they are.
    struct Pages(Vec<Vec<u8>>);

    impl Pages {
        /// A root, and leaves in the order of their keys, in pages in another order: what they begin with, and when they were changed.
        fn of(leaves: &[(i32, u64)]) -> Self {
            let page = |index: usize| u32::try_from(leaves.len() + 1 - index).expect("few");
            let mut root = leaf(ROOT, NONE, NONE, NEW, 0);
            put(&mut root, 64, &[0, 1]);
            let mut pages = vec![first_page(), root];
            for (index, (key, changed)) in leaves.iter().enumerate().rev() {
                let previous = index.checked_sub(1).map_or(NONE, page);
                let next = if index + 1 < leaves.len() { page(index + 1) } else { NONE };
                pages.push(leaf(page(index), previous, next, *changed, *key));
            }
            Self(pages)
        }

        fn told(&self, key: KeyColumn) -> Told {
            let mut file = NamedTempFile::new().expect("a file");
            file.write_all(&self.0.concat()).expect("it can be written");
            let path = file.path().into();
            let table = TableFile { path, space: SPACE, index: PRIMARY, root: ROOT, page_size: SIZE, key };
            table.written(SINCE).expect("it can be read")
        }

        fn written(&self) -> Option<Vec<(Option<i128>, Option<i128>)>> {
            let number = |end: Option<String>| end.map(|end| end.parse().expect("a number"));
            match self.told(SIGNED) {
                Told::Written(ranges) => {
                    Some(ranges.into_iter().map(|range| (number(range.from), number(range.to))).collect())
                }
                Told::Another | Told::Nothing => None,
            }
        }
    }

    fn put(page: &mut [u8], at: usize, bytes: &[u8]) {
        page[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn first_page() -> Vec<u8> {
        let mut page = vec![0; SIZE];
        put(&mut page, 34, &SPACE.to_be_bytes()[4..]);
        put(&mut page, 54, &0x15_u32.to_be_bytes());
        page
    }

    fn leaf(number: u32, previous: u32, next: u32, changed: u64, key: i32) -> Vec<u8> {
        let mut page = vec![0; SIZE];
        put(&mut page, 4, &number.to_be_bytes());
        put(&mut page, 8, &previous.to_be_bytes());
        put(&mut page, 12, &next.to_be_bytes());
        put(&mut page, 16, &changed.to_be_bytes());
        put(&mut page, 24, &17855_u16.to_be_bytes());
        put(&mut page, 34, &SPACE.to_be_bytes()[4..]);
        put(&mut page, 42, &0x8005_u16.to_be_bytes());
        put(&mut page, 66, &PRIMARY.to_be_bytes());
        put(&mut page, 97, &(300_u16 - 99).to_be_bytes());
        put(&mut page, INFIMUM, INFIMUM_TEXT);
        put(&mut page, 300, &(key.cast_unsigned() ^ 0x8000_0000).to_be_bytes());
        page
    }

    const OLD: u64 = SINCE - 1;
    const NEW: u64 = SINCE;

    #[test]
    fn what_was_written_lies_between_what_was_not() {
        let written = |leaves: &[(i32, u64)]| Pages::of(leaves).written();
        assert_eq!(written(&[(-20, OLD), (-5, OLD), (10, OLD)]), Some(vec![]));
        // From the first row of the page before to the first of the one behind.
        assert_eq!(
            written(&[(-20, OLD), (-5, OLD), (10, NEW), (20, OLD), (30, OLD)]),
            Some(vec![(Some(-5), Some(20))])
        );
        // At the ends there is no page before, or behind. Below the first one that is left nothing was either.
        assert_eq!(written(&[(1, NEW), (10, OLD), (20, OLD)]), Some(vec![(None, Some(10))]));
        assert_eq!(written(&[(1, OLD), (10, NEW), (20, OLD), (30, OLD)]), Some(vec![(None, Some(20))]));
        assert_eq!(written(&[(1, OLD), (10, OLD), (20, NEW)]), Some(vec![(Some(10), None)]));
        // Two that share a page are one.
        let five = [(1, OLD), (10, OLD), (20, NEW), (30, OLD), (40, NEW), (50, OLD), (60, OLD)];
        assert_eq!(written(&five), Some(vec![(Some(10), Some(50))]));
        let apart = [(1, OLD), (10, OLD), (20, NEW), (30, OLD), (40, OLD), (50, NEW), (60, OLD)];
        assert_eq!(written(&apart), Some(vec![(Some(10), Some(30)), (Some(40), Some(60))]));
        // With most of it, all of it.
        assert_eq!(written(&[(1, NEW), (10, NEW), (20, OLD)]), Some(vec![(None, None)]));
    }

    #[test]
    fn what_is_not_as_expected_says_nothing() {
        let leaves = [(1, OLD), (10, OLD), (20, NEW), (30, OLD), (40, OLD)];
        let changed = |page: usize, at: usize, bytes: &[u8]| {
            let mut pages = Pages::of(&leaves);
            put(&mut pages.0[page], at, bytes);
            pages.written()
        };
        assert!(changed(0, 0, &[]).is_some());
        assert_eq!(changed(0, 34, &[0, 0, 0, 8]), None, "another tablespace");
        assert_eq!(changed(0, 54, &[0, 0, 0, 2]), None, "compressed rows");
        assert_eq!(changed(0, 54, &[0, 1, 0, 0]), None, "compressed pages");
        assert_eq!(changed(0, 54, &[0, 0, 0, 0x55]), None, "compressed pages of the newer format");
        assert_eq!(changed(1, 66, &24_u64.to_be_bytes()), None, "no root");
        assert_eq!(changed(1, 64, &[0, 0]), None, "a root that is a leaf");
        assert_eq!(changed(1, 24, &[0, 18]), None, "rows of several shapes");
        assert_eq!(changed(4, 4, &[0, 0, 0, 9]), None, "another page");
        assert_eq!(changed(4, 0, &[0, 0, 0, 1]), None, "encrypted");
        assert_eq!(changed(4, 24, &[0, 15]), None, "a page of another type");
        assert_eq!(changed(4, 24, &[0x86, 0x32]), None, "a compressed page");
        assert_eq!(changed(4, 42, &[0, 5]), None, "an old format of rows");
        assert_eq!(changed(4, 64, &[0, 1]), None, "not a leaf");
        assert_eq!(changed(4, 66, &24_u64.to_be_bytes()), None, "of another index");
        assert_eq!(changed(4, 99, b"INFIMUM\0"), None, "no records");
        assert_eq!(changed(5, 97, &[0, 13]), None, "no rows");
        assert_eq!(changed(5, 97, &[0x0f, 0xf0]), None, "a record outside of the page");
        assert_eq!(changed(5, 295, &[0x10]), None, "a record that is no row");
        assert_eq!(changed(5, 300, &[0xff]), None, "keys in another order");
        assert_eq!(changed(5, 8, &[0xff; 4]), None, "two that are the first");
        assert_eq!(changed(5, 8, &[0, 0, 0, 2]), None, "two ways");
        assert_eq!(changed(2, 12, &[0, 0, 0, 4]), None, "a ring");
        assert_eq!(changed(3, 12, &[0, 0, 0, 9]), None, "a page that is not there");
        assert_eq!(Pages(Vec::new()).written(), None);
        assert_eq!(Pages(vec![first_page()]).written(), None);
    }

    #[test]
    fn pages_that_were_let_go_of_do_not_count() {
        let mut pages = Pages::of(&[(1, OLD), (10, NEW), (20, OLD), (30, OLD)]);
        // It once lay behind the third, and still says so.
        pages.0.push(leaf(6, 3, 2, OLD, 25));
        assert_eq!(pages.written(), Some(vec![(None, Some(20))]));
    }

    #[test]
    fn a_definition_can_be_among_the_pages() {
        let mut pages = Pages::of(&[(1, OLD), (10, OLD)]);
        pages.0.push(leaf(4, NONE, NONE, NEW, 0));
        put(&mut pages.0[4], 24, &[0, 18]);
        assert_eq!(pages.written(), None, "not in MariaDB's");
        put(&mut pages.0[0], 54, &0x4021_u32.to_be_bytes());
        assert_eq!(pages.written(), Some(vec![]));
    }

    #[test]
    fn a_root_can_be_the_only_leaf() {
        let one = |changed| Pages(vec![first_page(), leaf(ROOT, NONE, NONE, changed, 1)]).written();
        assert_eq!(one(OLD), Some(vec![]));
        assert_eq!(one(NEW), Some(vec![(None, None)]));
        // What was below it before it was.
        let rest = [leaf(2, NONE, 3, OLD, 1), leaf(3, 2, NONE, OLD, 10)];
        let pages = [first_page(), leaf(ROOT, NONE, NONE, NEW, 1)].into_iter().chain(rest).collect();
        assert_eq!(Pages(pages).written(), None);
    }

    #[test]
    fn numbers_are_read_as_they_are_stored() {
        let read = |column_type: &str, bytes: &[u8]| WholeNumber::of(column_type).map(|number| number.read(bytes));
        assert_eq!(read("tinyint(4)", &[0x7f]), Some(-1));
        assert_eq!(read("tinyint(3) unsigned", &[0xff]), Some(255));
        assert_eq!(read("smallint", &[0x80, 1]), Some(1));
        assert_eq!(read("mediumint(8) unsigned zerofill", &[1, 0, 0]), Some(65536));
        assert_eq!(read("int", &[0, 0, 0, 0]), Some(i128::from(i32::MIN)));
        assert_eq!(read("bigint(20)", &[0xff; 8]), Some(i128::from(i64::MAX)));
        assert_eq!(read("BIGINT UNSIGNED", &[0xff; 8]), Some(i128::from(u64::MAX)));
        for other in ["decimal(10,0)", "varchar(20)", "year(4)", "bit(8)", "point", ""] {
            assert_eq!(WholeNumber::of(other), None, "{other}");
        }
    }

    fn key(data_type: &str, charset: Option<&str>, longest: usize, nullable: usize) -> Option<KeyColumn> {
        let collation = charset.map(|charset| format!("{charset}_bin"));
        let column_type = format!("{data_type}({longest})");
        KeyColumn::of(
            &Described {
                data_type,
                column_type: &column_type,
                charset,
                collation: collation.as_deref(),
                longest: Some(longest),
            },
            nullable,
        )
    }

    #[test]
    fn keys_are_written_as_sql_has_them() {
        let literal = |key: Option<KeyColumn>, bytes: &[u8]| key.and_then(|key| key.literal(bytes));
        assert_eq!(literal(key("int", None, 4, 0), &[0x80, 0, 1, 0]).as_deref(), Some("256"));
        assert_eq!(literal(key("binary", None, 2, 0), &[0, 0x20]).as_deref(), Some("X'0020'"));
        assert_eq!(literal(key("varbinary", None, 20, 0), b"' ").as_deref(), Some("X'2720'"));
        let text = |data_type| literal(key(data_type, Some("utf8mb4"), 80, 0), "ä ".as_bytes());
        assert_eq!(text("varchar").as_deref(), Some("_utf8mb4 X'C3A420' COLLATE utf8mb4_bin"));
        assert_eq!(
            text("char").as_deref(),
            Some("_utf8mb4 X'C3A4' COLLATE utf8mb4_bin"),
            "the space is none of its own"
        );
        for (data_type, charset) in [("varchar", Some("utf16")), ("char", Some("sjis")), ("blob", None), ("time", None)]
        {
            assert_eq!(key(data_type, charset, 80, 0), None, "{data_type}");
        }
    }

    #[test]
    fn a_length_is_behind_what_is_null() {
        let length = |longest: usize, head: &[u8]| {
            let length = key("varchar", Some("utf8mb4"), longest, 9).expect("it is read").size();
            assert_eq!(length.head(), head.len(), "two bytes of NULLs, and the two of the length");
            length.of(head)
        };
        assert_eq!(length(200, &[7, 150, 0xff, 0xff, 0, 0, 0, 0, 0]), Some(150));
        assert_eq!(length(200, &[7, 201, 0, 0, 0, 0, 0, 0, 0]), None, "longer than it can be");
        assert_eq!(length(800, &[7, 127, 0, 0, 0, 0, 0, 0, 0]), Some(127));
        assert_eq!(length(800, &[7, 0x81, 0, 0, 0, 0, 0, 0, 0]), Some(263));
        assert_eq!(length(800, &[7, 0xc1, 0, 0, 0, 0, 0, 0, 0]), None, "it is elsewhere");
        assert_eq!(key("char", Some("ascii"), 36, 9).map(|key| key.size()), Some(Length::Fixed(36)));
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(
            leaves in prop::collection::vec((any::<i32>(), 0..2 * SINCE), 0..12),
            damage in prop::collection::vec((any::<prop::sample::Index>(), 0..HEAD, any::<u8>()), 0..20),
        ) {
            let mut pages = Pages::of(&leaves);
            for (page, at, byte) in damage {
                let page = page.index(pages.0.len());
                pages.0[page][at] = byte;
            }
            // It is told, or it is not.
            for key in [Some(SIGNED), key("binary", None, 255, 0), key("varchar", Some("utf8mb4"), 3072, 70)] {
                let _: Told = pages.told(key.expect("it is read"));
            }
        }
    }
}
