//! A page is made to be passed on: no password is in it.

use freshdb_databases::{Config, DatabaseUrl, Kind};

/// The servers whose passwords are known.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Vec<DatabaseUrl>);

impl Secrets {
    /// Those of the environment. Private servers are gone when the page is written.
    pub(crate) fn of(config: &Config) -> Self {
        Self(Kind::ALL.into_iter().filter_map(|kind| config.url(kind).cloned()).collect())
    }

    /// A text without their passwords, and without those of whichever URLs stand in it.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        self.0.iter().fold(without_passwords(text), |text, url| url.hidden_in(&text))
    }
}

fn without_passwords(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let ends = |letter: char| letter.is_whitespace() || "/?#\"'<>`".contains(letter);
        let (authority, others) = after.split_at(after.find(ends).unwrap_or(after.len()));
        let credentials = authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host)));
        shown.push_str(before);
        shown.push_str("://");
        match credentials {
            Some((user, host)) => shown.extend([user, ":***@", host]),
            None => shown.push_str(authority),
        }
        rest = others;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::without_passwords;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        for (text, shown) in [
            ("a mysql://me:secret@host:1/x b", "a mysql://me:***@host:1/x b"),
            ("--url=pg://:secret@h,http://h:80/@b", "--url=pg://:***@h,http://h:80/@b"),
            ("'a://b:c@d@e' a://b@c a://b:c ://", "'a://b:***@e' a://b@c a://b:c ://"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }
}
