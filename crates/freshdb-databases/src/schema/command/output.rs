//! What the program wrote last.

use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::DatabaseUrl;

/// So many bytes are kept.
const KEPT: usize = 16 * 1024;

/// So many lines are shown.
const SHOWN: usize = 20;

/// The end of what comes from both of its outputs, in the order in which it came.
#[derive(Default)]
pub(super) struct Output(Mutex<Tail>);

#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    /// Whether the beginning is gone, and with it that of the first line.
    cut: bool,
}

impl Output {
    /// Reads both to their ends.
    pub(super) async fn read(&self, stdout: Option<impl AsyncRead + Unpin>, stderr: Option<impl AsyncRead + Unpin>) {
        tokio::join!(self.read_one(stdout), self.read_one(stderr));
    }

    async fn read_one(&self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut buffer = vec![0; 4096];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) => return,
                Ok(length) => self.0.lock().unwrap_or_else(PoisonError::into_inner).add(&buffer[..length]),
                Err(error) => {
                    tracing::warn!(%error, "what the program writes cannot be read");
                    return;
                }
            }
        }
    }

    /// The last lines, without the password.
    pub(super) fn last_lines(&self, url: &DatabaseUrl) -> String {
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&tail.bytes);
        // Of a line whose beginning is gone, a password might be cut in two, and not be found.
        let text = if tail.cut { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
        let text = url.hidden_in(text);
        let lines: Vec<_> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if let Some(surplus) = self.bytes.len().checked_sub(KEPT)
            && surplus > 0
        {
            self.bytes.drain(..surplus);
            self.cut = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Output, SHOWN};
    use crate::DatabaseUrl;

    fn last_lines(url: &str, chunks: &[&str]) -> String {
        let output = Output::default();
        for chunk in chunks {
            output.0.lock().expect("the lock").add(chunk.as_bytes());
        }
        output.last_lines(&DatabaseUrl::parse(url).expect("a URL"))
    }

    #[test]
    fn the_password_is_not_shown() {
        let url = "postgres://me:s%40cret@localhost/x?sslpassword=other";
        let said = ["cannot connect to postgres://me:s%40cr", "et@localhost/x\npassword s@cret or s%40cret or other"];
        let expected = "cannot connect to postgres://me:***@localhost/x\npassword *** or *** or ***";
        assert_eq!(last_lines(url, &said), expected);
        let url = "postgres:///x?host=/run/pg&user=me&password=s%40c+ret";
        let said = ["to postgres:///x?user=me&password=s%40c+ret: s@c ret"];
        assert_eq!(last_lines(url, &said), "to postgres:///x?user=me&password=***: ***");
        assert_eq!(last_lines("postgres://me:@localhost/x", &["a"]), "a");
        assert_eq!(last_lines("sqlite:///x.db", &["a\n"]), "a");
    }

    #[test]
    fn the_last_lines_are_shown() {
        let lines: Vec<_> = (0..100).map(|number| format!("line {number}\n")).collect();
        let shown = last_lines("sqlite:///x.db", &[&lines.concat()]);
        assert_eq!(shown.lines().count(), SHOWN);
        assert!(shown.starts_with("line 80\n") && shown.ends_with("\nline 99"), "{shown}");
    }

    #[test]
    fn of_a_line_that_is_cut_nothing_is_shown() {
        let url = "postgres://me:secret@localhost/x";
        let long = format!("secret{}\nlast", "x".repeat(KEPT - 8));
        assert_eq!(last_lines(url, &[&long]), "last");
        assert_eq!(last_lines(url, &[&"x".repeat(KEPT + 1)]), "");
    }
}
