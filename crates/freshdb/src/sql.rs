//! What the text of a statement is made of: enough of it to know a statement by its first words, and to leave out its values.

/// How a server reads what not all of them read alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// `"…"` is a name. PostgreSQL has more than the standard: `$tag$…$tag$`, `E'…\'…'`, and comments in comments.
    Standard,
    /// `[…]` is a name too: <https://www.sqlite.org/lang_keywords.html>. Where there is no such name, `"…"` is a text, which the statement
    /// alone does not tell: <https://www.sqlite.org/quirks.html#dblquote>.
    Sqlite,
    /// `"…"` is a text and `\` escapes in it, `#` begins a comment, and `/*! … */` is none:
    /// <https://dev.mysql.com/doc/refman/9.7/en/comments.html>.
    MySql,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Spaces, and the marks around what MySQL executes though it looks like a comment.
    Space,
    Comment,
    /// A text or a number.
    Value,
    /// A name in quotes.
    Name,
    Word,
    /// `;`.
    End,
    Other,
}

/// The statements of a text, each from its first word on.
pub(crate) fn statements(sql: &str, syntax: Syntax) -> impl Iterator<Item = &str> {
    let mut left = Some(sql);
    std::iter::from_fn(move || {
        let text = left?;
        let end = if text.contains(';') { end_of_statement(text, syntax) } else { None };
        left = end.map(|end| &text[end + 1..]);
        Some(without_remarks(&text[..end.unwrap_or(text.len())], syntax))
    })
}

fn end_of_statement(sql: &str, syntax: Syntax) -> Option<usize> {
    let mut at = 0;
    for (kind, part) in parts(sql, syntax) {
        if kind == Kind::End {
            return Some(at);
        }
        at += part.len();
    }
    None
}

/// A statement without the spaces and comments before its first word.
fn without_remarks(sql: &str, syntax: Syntax) -> &str {
    let before = parts(sql, syntax).take_while(|(kind, _)| matches!(kind, Kind::Space | Kind::Comment));
    &sql[before.map(|(_, part)| part.len()).sum()..]
}

/// The word with which a statement begins, and the one behind it.
pub(crate) fn first_words(statement: &str, syntax: Syntax) -> (&str, &str) {
    let statement = without_remarks(statement, syntax);
    let first = first_word(statement);
    (first, first_word(without_remarks(&statement[first.len()..], syntax)))
}

fn first_word(sql: &str) -> &str {
    sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default()
}

/// A statement with `?` in the place of each text and number, and without comments, in which there may be anything. Where a setting of the
/// server's decides what is a text, the rest is left out.
pub(crate) fn without_values(sql: &str, syntax: Syntax) -> String {
    let mut shown = String::with_capacity(sql.len());
    for (kind, part) in parts(sql, syntax) {
        // `standard_conforming_strings` and `NO_BACKSLASH_ESCAPES` say whether that quote is the last.
        if part.contains(r"\'") || part.contains(r#"\""#) {
            shown.push('…');
            break;
        }
        match kind {
            Kind::Value => shown.push('?'),
            Kind::Comment => shown.push(' '),
            Kind::Space | Kind::Name | Kind::Word | Kind::End | Kind::Other => shown.push_str(part),
        }
    }
    shown
}

/// The text, cut into its parts.
fn parts(sql: &str, syntax: Syntax) -> impl Iterator<Item = (Kind, &str)> {
    let mut left = sql;
    std::iter::from_fn(move || {
        let (kind, length) = first_part(left.as_bytes(), syntax)?;
        let (part, rest) = left.split_at(length);
        left = rest;
        Some((kind, part))
    })
}

/// Every part ends before an ASCII character, or at the end.
fn first_part(sql: &[u8], syntax: Syntax) -> Option<(Kind, usize)> {
    let (is_mysql, is_postgres) = (syntax == Syntax::MySql, syntax == Syntax::Standard);
    let while_any = |is: fn(u8) -> bool| sql.iter().position(|byte| !is(*byte)).unwrap_or(sql.len());
    let part = match sql {
        [] => return None,
        // Two hyphens alone are a double negation to MySQL: <https://dev.mysql.com/doc/refman/9.7/en/ansi-diff-comments.html>.
        [b'-', b'-', rest @ ..] if !is_mysql || rest.first().is_none_or(|next| *next <= b' ') => {
            (Kind::Comment, while_any(|byte| byte != b'\n'))
        }
        [b'#', ..] if is_mysql => (Kind::Comment, while_any(|byte| byte != b'\n')),
        [b'/', b'*', b'!', rest @ ..] if is_mysql => (Kind::Space, 3 + digits(rest)),
        [b'/', b'*', b'M', b'!', rest @ ..] if is_mysql => (Kind::Space, 4 + digits(rest)),
        [b'*', b'/', ..] if is_mysql => (Kind::Space, 2),
        [b'/', b'*', rest @ ..] => (Kind::Comment, 2 + rest_of_comment(rest, is_postgres)),
        [b'e' | b'E', b'\'', rest @ ..] if is_postgres => (Kind::Value, 2 + rest_of_quoted(rest, b'\'', true)),
        [b'\'', rest @ ..] => (Kind::Value, 1 + rest_of_quoted(rest, b'\'', is_mysql)),
        [b'"', rest @ ..] if is_mysql => (Kind::Value, 1 + rest_of_quoted(rest, b'"', true)),
        [quote @ (b'"' | b'`'), rest @ ..] => (Kind::Name, 1 + rest_of_quoted(rest, *quote, false)),
        // No bracket in it stands for itself.
        [b'[', rest @ ..] if syntax == Syntax::Sqlite => {
            (Kind::Name, 1 + rest.iter().position(|byte| *byte == b']').map_or(rest.len(), |end| end + 1))
        }
        [b'$', rest @ ..] if is_postgres && let Some(length) = rest_of_dollar_quoted(rest) => (Kind::Value, 1 + length),
        [b';', ..] => (Kind::End, 1),
        [b'0'..=b'9', ..] => (Kind::Value, while_any(|byte| is_in_word(byte) || byte == b'.')),
        // With the number of a parameter, which is no value.
        [b'$' | b'?' | b':' | b'@', rest @ ..] => {
            (Kind::Word, 1 + rest.iter().position(|byte| !is_in_word(*byte)).unwrap_or(rest.len()))
        }
        [first, ..] if is_in_word(*first) => (Kind::Word, while_any(is_in_word)),
        [first, ..] if first.is_ascii_whitespace() => (Kind::Space, while_any(|byte| byte.is_ascii_whitespace())),
        _ => (Kind::Other, 1),
    };
    Some(part)
}

fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

fn digits(sql: &[u8]) -> usize {
    sql.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Up to its end, behind the quote that begins it. Doubled, a quote stands for itself.
fn rest_of_quoted(sql: &[u8], quote: u8, escapes: bool) -> usize {
    let mut at = 0;
    while let Some(byte) = sql.get(at) {
        let is_doubled = *byte == quote && sql.get(at + 1) == Some(&quote);
        match byte {
            b'\\' if escapes => at += 2,
            _ if is_doubled => at += 2,
            byte if *byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    sql.len()
}

fn rest_of_comment(sql: &[u8], nests: bool) -> usize {
    let (mut at, mut depth) = (0, 1);
    while let Some(byte) = sql.get(at) {
        match (byte, sql.get(at + 1)) {
            (b'*', Some(b'/')) if depth == 1 => return at + 2,
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
            }
            (b'/', Some(b'*')) if nests => {
                depth += 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
    sql.len()
}

/// Of `$tag$…$tag$`, behind the first `$`; nothing if it is none, but a parameter.
fn rest_of_dollar_quoted(sql: &[u8]) -> Option<usize> {
    let tag = sql.iter().position(|byte| *byte == b'$' || !is_in_word(*byte))?;
    if sql[tag] != b'$' || sql[0].is_ascii_digit() {
        return None;
    }
    let (mark, text) = sql.split_at(tag + 1);
    let end = text.windows(tag + 2).position(|window| window[0] == b'$' && &window[1..] == mark);
    Some(end.map_or(sql.len(), |end| mark.len() + end + tag + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(syntax: Syntax, cases: &[(&str, &str)]) {
        for (sql, expected) in cases {
            assert_eq!(without_values(sql, syntax), *expected, "{sql}");
        }
    }

    #[test]
    fn values_are_left_out() {
        for syntax in [Syntax::Standard, Syntax::Sqlite, Syntax::MySql] {
            check(
                syntax,
                &[
                    (
                        "INSERT INTO t1 VALUES (-1, 2.5e3, 0xAB, 'a''b', N'c', x'41')",
                        "INSERT INTO t1 VALUES (-?, ?, ?, ?, N?, x?)",
                    ),
                    (
                        "SELECT a.b2 FROM `it's` WHERE c IN (NULL, TRUE)",
                        "SELECT a.b2 FROM `it's` WHERE c IN (NULL, TRUE)",
                    ),
                    ("SELECT 1/* it's */ -- it's\n+ 2; SELECT 'é🦀', é", "SELECT ?   \n+ ?; SELECT ?, é"),
                    ("SELECT 'it does not end", "SELECT ?"),
                    ("SELECT 1 /* it does not end", "SELECT ?  "),
                    (r"SELECT 'C:\', 'secret'", "SELECT …"),
                    (r"SELECT 'C:\\', 'secret'", "SELECT …"),
                    (r"SELECT 'a\nb', 1", "SELECT ?, ?"),
                    ("SELECT $1, ?, ?2, :name, @v", "SELECT $1, ?, ?2, :name, @v"),
                    ("", ""),
                ],
            );
        }
    }

    #[test]
    fn what_is_a_value_depends_on_the_server() {
        check(
            Syntax::Standard,
            &[
                (r#"SELECT "it's" FROM t"#, r#"SELECT "it's" FROM t"#),
                ("SELECT $$it's$$, $a$ $b$ $a$, a$b$c", "SELECT ?, ?, a$b$c"),
                ("DO $it does not end", "DO $it does not end"),
                ("DO $it$ does not end", "DO ?"),
                (r"SELECT E'a\\b', e'b', 1", "SELECT ?, ?, ?"),
                ("SELECT 1 /* a /* b */ it's */, 2", "SELECT ?  , ?"),
                ("SELECT a #> 'b', 1--1", "SELECT a #> ?, ? "),
            ],
        );
        check(
            Syntax::Sqlite,
            &[
                (r#"SELECT "it's" FROM t"#, r#"SELECT "it's" FROM t"#),
                ("SELECT [it's] FROM t WHERE a = 'secret'", "SELECT [it's] FROM t WHERE a = ?"),
                ("SELECT [it does not end", "SELECT [it does not end"),
                ("SELECT $a, '$a', 1 /* a /* b */ + 2, 'it''s'", "SELECT $a, ?, ?   + ?, ?"),
            ],
        );
        check(
            Syntax::MySql,
            &[
                (r#"SELECT "it's", 'a"b'"#, "SELECT ?, ?"),
                (r"SELECT 'a\\b', 'b'", "SELECT ?, ?"),
                ("SELECT 1--1, 2 # it's\n, 3", "SELECT ?--?, ?  \n, ?"),
                ("SELECT /*!50000 'a', */ 1 /*M! + 2 */", "SELECT /*!50000 ?, */ ? /*M! + ? */"),
                ("SELECT 1 /* a /* b */ + 2", "SELECT ?   + ?"),
            ],
        );
    }

    #[test]
    fn statements_begin_behind_their_remarks() {
        let all = |sql, syntax| statements(sql, syntax).collect::<Vec<_>>();
        assert_eq!(all("BEGIN", Syntax::Standard), ["BEGIN"]);
        assert_eq!(all(" a b; /* ; */c ';';\n-- ;\n d", Syntax::Standard), ["a b", "c ';'", "d"]);
        assert_eq!(all("a;", Syntax::Standard), ["a", ""]);
        assert_eq!(all("/* /* */ a */ b", Syntax::Standard), ["b"]);
        assert_eq!(all("/* /* */ a", Syntax::MySql), ["a"]);
        assert_eq!(all("/*!50000 a; */ /*M!b */; # ;\nc", Syntax::MySql), ["a", "b */", "c"]);
        assert_eq!(first_words("/* x */ lock -- why\n(instance", Syntax::Standard), ("lock", ""));
        assert_eq!(first_words("lock -- why\n instance", Syntax::Standard), ("lock", "instance"));
        assert_eq!(first_words("/* it does not end", Syntax::Standard), ("", ""));
    }
}
