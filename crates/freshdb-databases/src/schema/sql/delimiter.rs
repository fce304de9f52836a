//! Scripts for MySQL's and MariaDB's client, which knows a command of its own, `DELIMITER`, so that a semicolon inside of a stored
//! routine does not end the statement: <https://dev.mysql.com/doc/refman/9.7/en/stored-programs-defining.html>.

use std::borrow::Cow;
use std::ops::Range;

/// One statement, without what ends it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement<'a> {
    pub(super) text: &'a str,
    /// Where it begins, behind the comments before it.
    pub(super) line: usize,
    /// From there on.
    bare: &'a str,
}

impl Statement<'_> {
    /// The database that the session is in from then on, if it is `USE`.
    fn used(&self) -> Option<String> {
        let (word, rest) = self.bare.split_at_checked("use".len())?;
        if !word.eq_ignore_ascii_case("use") || !rest.starts_with(|next: char| next.is_whitespace() || next == '`') {
            return None;
        }
        let name = rest.trim();
        let quoted = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
        Some(quoted.map_or_else(|| name.to_owned(), |name| name.replace("``", "`")))
    }
}

/// The first line on which a script goes on to another database than its own, and which.
pub(super) fn leaves(text: &str, own: &str) -> Option<(usize, String)> {
    // Most do not, and may be long.
    if !text.as_bytes().windows(3).any(|word| word.eq_ignore_ascii_case(b"use")) {
        return None;
    }
    let statements = split(text).ok()?;
    let others = statements.iter().filter_map(|statement| Some((statement.line, statement.used()?)));
    others.into_iter().find(|(_, name)| name != own)
}

/// Whether the script holds that command.
pub(super) fn is_set_in(text: &str) -> bool {
    // Most have no such line, and may be long.
    if !text.lines().any(|line| argument(line).is_some()) {
        return false;
    }
    let mut scan = Scan::of(text);
    while scan.at < text.len() && !scan.is_set {
        if scan.step().is_err() {
            return true;
        }
    }
    scan.is_set
}

/// What the line sets the delimiter to, if it is that command.
fn argument(line: &str) -> Option<&str> {
    let (command, rest) = line.trim_start().split_at_checked("delimiter".len())?;
    let is_it = command.eq_ignore_ascii_case("delimiter") && (rest.is_empty() || rest.starts_with(char::is_whitespace));
    let rest = rest.trim_start();
    let quoted = rest.strip_prefix(['\'', '"', '`']).map(|inner| (inner, &rest[..1]));
    is_it.then(|| match quoted {
        Some((inner, quote)) => inner.trim_end().split(quote).next().unwrap_or(""),
        None => rest.split_whitespace().next().unwrap_or(""),
    })
}

/// What the server is to be sent of a script that the client takes:
///
/// - not the `\` at the end of a line, which the client takes for the beginning of one of its commands and drops, in 9.7 as in MariaDB's 10.11. In a
///   string that comes to the same, and in comments nobody reads it;
/// - not the end of a statement that has nothing in it, of which the client sends nothing, and which the server refuses between others;
/// - two hyphens where a statement would begin with the space that makes a comment of them. MariaDB's client passes over such a line without it, as
///   MySQL's did until it sent comments, and no statement begins so.
pub(super) fn as_sent(text: &str) -> Cow<'_, str> {
    if is_sent_as_it_is(text) {
        return text.into();
    }
    let mut scan = Scan::of(text);
    while scan.at < text.len() {
        if scan.step().is_err() {
            return text.into();
        }
    }
    let mut sent = String::with_capacity(text.len());
    let mut from = 0;
    for (place, instead) in scan.edits {
        sent.push_str(&text[from..place.start]);
        sent.push_str(instead);
        from = place.end;
    }
    sent.push_str(&text[from..]);
    sent.into()
}

/// Whether nothing in it looks as if the client dropped it. Most have no such thing, and may be long.
fn is_sent_as_it_is(text: &str) -> bool {
    let holds_commands = text.contains("\\\n") || text.ends_with('\\');
    let holds_nothing = text.lines().any(|line| line.trim_start().starts_with(';'))
        || text.match_indices(';').any(|(at, _)| text[..at].trim_end().ends_with([';', '/']));
    let holds_hyphens = text.match_indices("--").any(|(at, _)| text[at + 2..].starts_with(|next| next > ' '));
    !(holds_commands || holds_nothing || holds_hyphens)
}

/// The statements of a script; or the line of a `DELIMITER` that names none.
pub(super) fn split(text: &str) -> Result<Vec<Statement<'_>>, usize> {
    let mut scan = Scan::of(text);
    while scan.at < text.len() {
        scan.step()?;
    }
    scan.end_statement(0);
    Ok(scan.statements)
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    delimiter: &'a str,
    /// Whether the script has said what it is.
    is_set: bool,
    /// Where what was not ended yet begins.
    from: usize,
    /// Where, and on which line, there was the first of it that is neither space nor comment.
    begun: Option<(usize, usize)>,
    statements: Vec<Statement<'a>>,
    /// What the server is sent in the place of what the script has: see [`as_sent`].
    edits: Vec<(Range<usize>, &'static str)>,
}

impl<'a> Scan<'a> {
    fn of(text: &'a str) -> Self {
        let (statements, edits) = (Vec::new(), Vec::new());
        Self { text, at: 0, line: 1, delimiter: ";", is_set: false, from: 0, begun: None, statements, edits }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Passes one sign, or what belongs together.
    fn step(&mut self) -> Result<(), usize> {
        let rest = self.rest();
        // Within a statement the clients read no commands of their own: it may be the name of a column.
        if self.begun.is_none() && (self.at == 0 || self.text.as_bytes()[self.at - 1] == b'\n') {
            let line = rest.split_inclusive('\n').next().unwrap_or("");
            if let Some(delimiter) = argument(line) {
                if delimiter.is_empty() {
                    return Err(self.line);
                }
                self.end_statement(line.len());
                (self.delimiter, self.is_set) = (delimiter, true);
                return Ok(());
            }
        }
        if rest.starts_with(self.delimiter) {
            if self.begun.is_none() && self.delimiter == ";" {
                self.edits.push((self.at..self.at + 1, ""));
            }
            self.end_statement(self.delimiter.len());
            return Ok(());
        }
        let first = rest.chars().next().unwrap_or('\n');
        match first {
            '#' => self.pass(line_length(rest)),
            // Two hyphens alone are a double negation: <https://dev.mysql.com/doc/refman/9.7/en/ansi-diff-comments.html>.
            '-' if rest.starts_with("--") && rest[2..].chars().next().is_none_or(|c| c <= ' ') => {
                self.pass(line_length(rest));
            }
            '-' if rest.starts_with("--") && self.begun.is_none() => {
                self.edits.push((self.at + 2..self.at + 2, " "));
                self.pass(line_length(rest));
            }
            // What the server executes looks like a comment to others only.
            '/' if rest.starts_with("/*") && !["/*!", "/*M!", "/*+"].iter().any(|code| rest.starts_with(code)) => {
                self.pass(rest.find("*/").map_or(rest.len(), |end| end + 2));
            }
            '\'' | '"' | '`' => {
                self.begin();
                self.pass(quoted_length(rest, first));
            }
            '\\' if matches!(rest.as_bytes(), [_] | [_, b'\n', ..]) => {
                self.edits.push((self.at..self.at + 1, ""));
                self.pass(1);
            }
            space if space.is_whitespace() => self.pass(space.len_utf8()),
            other => {
                self.begin();
                self.pass(other.len_utf8());
            }
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.begun.get_or_insert((self.at, self.line));
    }

    fn pass(&mut self, length: usize) {
        let passed = &self.rest()[..length];
        self.line += passed.bytes().filter(|byte| *byte == b'\n').count();
        self.at += length;
    }

    /// Ends the statement here, and passes what said so.
    fn end_statement(&mut self, length: usize) {
        if let Some((begun, line)) = self.begun.take() {
            let [text, bare] = [self.from, begun].map(|from| self.text[from..self.at].trim());
            self.statements.push(Statement { text, line, bare });
        }
        self.pass(length);
        self.from = self.at;
    }
}

fn line_length(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// A quote that is doubled ends one string and begins the next, which comes to the same.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{as_sent, is_set_in, leaves, split};

    fn check(script: &str, expected: &[(usize, &str)]) {
        let statements = split(script).expect("a script");
        let found: Vec<_> = statements.iter().map(|statement| (statement.line, statement.text)).collect();
        assert_eq!(found, expected, "{script}");
    }

    #[test]
    fn statements_end_where_the_client_ends_them() {
        check("", &[]);
        check("a; b;\nc", &[(1, "a"), (1, "b"), (2, "c")]);
        check("a;;\n;b", &[(1, "a"), (2, "b")]);
        check("DELIMITER //\nx; y//\ndelimiter ;\nz;", &[(2, "x; y"), (4, "z")]);
        check("  Delimiter $$ \r\nx;\r\ny$$\r\nDELIMITER ;\r\nz;", &[(2, "x;\r\ny"), (5, "z")]);
        check("a\nDELIMITER ;;\nb;;", &[(1, "a\nDELIMITER"), (3, "b")]);
        check("# a\n-- b\nDELIMITER //\nc//", &[(4, "c")]);
        check("DELIMITER '//'\nx; y//\ndelimiter \"$$\"\nz;$$", &[(2, "x; y"), (4, "z;")]);
        check("delimiters; delimiter_x;", &[(1, "delimiters"), (1, "delimiter_x")]);
    }

    #[test]
    fn strings_names_and_comments_hold_no_end() {
        check("'a;''b;\\';c'; \"a;\\\";b\"; `a;\\`;", &[(1, "'a;''b;\\';c'"), (1, "\"a;\\\";b\""), (1, "`a;\\`")]);
        check("-- a;\nb; # c;\n/* d;\n; */ e;", &[(2, "-- a;\nb"), (4, "# c;\n/* d;\n; */ e")]);
        check("1--1;2", &[(1, "1--1"), (1, "2")]);
        check("'\nDELIMITER //\n'; x;", &[(1, "'\nDELIMITER //\n'"), (3, "x")]);
        check("/*\nDELIMITER //\n*/; x;", &[(3, "x")]);
        check("'never ended; \nx", &[(1, "'never ended; \nx")]);
        check("'ü;' ü; 'é", &[(1, "'ü;' ü"), (1, "'é")]);
    }

    #[test]
    fn what_only_servers_read_is_no_comment() {
        check("/*!50003 a; b */;", &[(1, "/*!50003 a"), (1, "b */")]);
        check("DELIMITER ;;\n/*!50003 a; b */;;\n/* c */;;", &[(2, "/*!50003 a; b */")]);
    }

    #[test]
    fn a_backslash_at_the_end_of_a_line_is_dropped() {
        for (script, sent) in [
            ("SELECT 1 \\\n, 2;\\\n\\", "SELECT 1 \n, 2;\n"),
            ("DELIMITER //\na \\\n; b//", "DELIMITER //\na \n; b//"),
            ("'a\\\nb' \\\n\"\\\n\"", "'a\\\nb' \n\"\\\n\""),
            ("-- a \\\n# b \\\n/* c \\\n*/ `d\\\n`", "-- a \\\n# b \\\n/* c \\\n*/ `d\\\n`"),
            ("a \\ b\\\r\n", "a \\ b\\\r\n"),
        ] {
            assert_eq!(as_sent(script), sent, "{script}");
        }
    }

    #[test]
    fn a_statement_of_nothing_is_not_sent() {
        for (script, sent) in [
            ("a;;\n;b;", "a;\nb;"),
            (";a; ;", "a; "),
            ("a;\n-- b\n;\nc;/* d */;", "a;\n-- b\n\nc;/* d */"),
            ("';;';/*!40000 a */; b;", "';;';/*!40000 a */; b;"),
            ("DELIMITER //\na;; b//\n//\nDELIMITER ;\n;c;", "DELIMITER //\na;; b//\n//\nDELIMITER ;\nc;"),
        ] {
            assert_eq!(as_sent(script), sent, "{script}");
        }
    }

    #[test]
    fn hyphens_where_a_statement_would_begin_are_a_comment() {
        for (script, sent) in [
            ("-----\n\n--\n-- a\n--é;'\nb;--c\n  ---", "-- ---\n\n--\n-- a\n-- é;'\nb;-- c\n  -- -"),
            ("a\n--1; '\n--b;'; /*!1 --2 */", "a\n--1; '\n--b;'; /*!1 --2 */"),
            ("DELIMITER --\na;--b--", "DELIMITER --\na;--b--"),
        ] {
            assert_eq!(as_sent(script), sent, "{script}");
        }
        check("--a;\nb;--c;\n--", &[(2, "--a;\nb")]);
    }

    #[test]
    fn a_script_that_goes_to_another_database_is_told() {
        let told = |script| leaves(script, "own");
        assert_eq!(told("CREATE TABLE a (b INT);\n-- dump\nUSE `dev``x`;"), Some((3, "dev`x".to_owned())));
        assert_eq!(told("use own; select 1; Use\tdev"), Some((1, "dev".to_owned())));
        assert_eq!(told("DELIMITER //\nUSE dev//"), Some((2, "dev".to_owned())));
        for script in [
            "USE own;",
            "use `own`",
            "INSERT INTO a VALUES ('\nUSE dev;\n')",
            "-- USE dev;\nSELECT 1",
            "SELECT * FROM a\nUSE INDEX (b)",
            "used",
        ] {
            assert_eq!(told(script), None, "{script}");
        }
    }

    #[test]
    fn a_delimiter_must_be_named() {
        assert_eq!(split("a;\n\nDELIMITER \nb"), Err(3));
        assert_eq!(split("DELIMITER"), Err(1));
        assert!(is_set_in("a;\n\tdelimiter //"));
        assert!(is_set_in("-- a\ndelimiter //"));
        assert!(is_set_in("a;\nDELIMITER"));
        for script in
            ["a delimiter //\ndelimiter// b", "/*\ndelimiter //\n*/ a", "a (\ndelimiter b\n)", "'\ndelimiter //'"]
        {
            assert!(!is_set_in(script), "{script}");
        }
    }
}
