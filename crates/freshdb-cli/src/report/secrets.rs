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

    /// A text without their passwords, and without those of whichever URLs, and parameters called passwords, stand in it.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        let text = without_parameters(&without_passwords(text));
        self.0.iter().fold(text, |text, url| url.hidden_in(&text))
    }
}

fn without_passwords(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let length = length_of_authority(&after[..after.find(ends_url).unwrap_or(after.len())]);
        let (authority, others) = after.split_at(length);
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

/// How much of a URL, from behind its scheme on, says where the server is, and as whom.
fn length_of_authority(url: &str) -> usize {
    let before_path = |text: &str| text.find(['/', '?', '#']).unwrap_or(text.len());
    let length = before_path(url);
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // Clients take passwords with a sign in them at which a path would begin. Before it there is no port then, and the host comes later.
    match (url[..length].rsplit_once(':'), url.rfind('@')) {
        (Some((_, password)), Some(at)) if at > length && !is_port(password) && !url[..length].contains('@') => {
            at + 1 + before_path(&url[at + 1..])
        }
        _ => length,
    }
}

fn ends_url(letter: char) -> bool {
    letter.is_whitespace() || "\"'<>`".contains(letter)
}

/// As in `?user=me&password=secret`, which is how JDBC has them.
fn without_parameters(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        shown.push_str(before);
        shown.push('=');
        let of_name = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        let name = before.rsplit(|letter| !of_name(letter)).next().unwrap_or_default().to_ascii_lowercase();
        let ends = |letter: char| ends_url(letter) || "&;".contains(letter);
        let length = if name.contains("password") { after.find(ends).unwrap_or(after.len()) } else { 0 };
        if length > 0 {
            shown.push_str("***");
        }
        rest = &after[length..];
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::{without_parameters, without_passwords};

    #[test]
    fn a_password_among_parameters_is_not_shown() {
        for (text, shown) in [
            (
                "jdbc:postgresql://db/x?user=app&password=s3cr3t&ssl=true",
                "jdbc:postgresql://db/x?user=app&password=***&ssl=true",
            ),
            ("a ü?sslPassword=x' --password=y PGPASSWORD=z;w", "a ü?sslPassword=***' --password=*** PGPASSWORD=***;w"),
            ("password= a=b ü=c password", "password= a=b ü=c password"),
        ] {
            assert_eq!(without_parameters(text), shown);
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        for (text, shown) in [
            ("a mysql://me:secret@host:1/x b", "a mysql://me:***@host:1/x b"),
            ("--url=pg://:secret@h,http://h:80/@b", "--url=pg://:***@h,http://h:80/@b"),
            ("pg://app:pa/ss@db/prod?a mysql://app:se#c?r@h/x@y", "pg://app:***@db/prod?a mysql://app:***@y"),
            ("http://h:80/x#y@z http://[::1]:80/a@b", "http://h:80/x#y@z http://[::1]:80/a@b"),
            ("'a://b:c@d@e' a://b@c a://b:c ://", "'a://b:***@e' a://b@c a://b:c ://"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }
}
