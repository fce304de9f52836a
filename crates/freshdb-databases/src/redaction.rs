//! Texts of others without a password that freshdb knows.

use crate::DatabaseUrl;
use crate::url::{is_password, parameter, raw_parameters};

impl DatabaseUrl {
    /// A text without this URL's password, as it stands in the URL, and as it is: what a program writes when it cannot connect.
    pub fn hidden_in(&self, text: &str) -> String {
        let revealed = self.reveal();
        let mut secrets = Vec::new();
        if let Ok(parsed) = url::Url::parse(&revealed) {
            for raw in raw_parameters(&parsed) {
                if let (Some((name, value)), Some((_, raw_value))) = (parameter(raw), raw.split_once('='))
                    && is_password(&name)
                {
                    secrets.extend([raw_value.to_owned(), value.into_owned()]);
                }
            }
            if let Some(password) = parsed.password() {
                secrets.push(password.to_owned());
                secrets.push(percent_encoding::percent_decode_str(password).decode_utf8_lossy().into_owned());
            }
        }
        secrets.retain(|secret| !secret.is_empty());
        // The longest first, of which another may be a part.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let text = text.replace(&revealed, &self.to_string());
        secrets.iter().fold(text, |text, secret| text.replace(secret, "***"))
    }
}
