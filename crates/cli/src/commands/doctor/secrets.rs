//! Removal of secrets from a report.

use std::collections::HashSet;

/// Length of the shortest part of a secret that is hidden, in bytes. Shorter parts may be ordinary words.
const PART: usize = 8;

/// Parts of secrets that a report must not contain.
#[derive(Debug, Default)]
pub struct Secrets(HashSet<Vec<u8>>);

impl Secrets {
    /// Adds a secret. One of less than [`PART`] bytes is ignored, because AWS has no such ones.
    pub fn add(&mut self, secret: &str) {
        self.0.extend(secret.as_bytes().windows(PART).map(<[u8]>::to_vec));
    }

    /// Returns the text with `***` in place of each part of a secret, and of user and password in URLs.
    ///
    /// An error message of AWS may quote the request with a part of the session token.
    pub fn hide(&self, text: &str) -> String {
        let mut is_secret = vec![false; text.len()];
        for (start, window) in text.as_bytes().windows(PART).enumerate() {
            if self.0.contains(window) {
                is_secret[start..start + PART].fill(true);
            }
        }
        for (start, _) in text.match_indices("://") {
            let rest = &text[start + 3..];
            let authority =
                rest.split(|c: char| "/?#\"`,;".contains(c) || c.is_whitespace()).next().unwrap_or_default();
            if let Some(at) = authority.rfind('@') {
                is_secret[start + 3..start + 3 + at].fill(true);
            }
        }
        let mut hidden = String::with_capacity(text.len());
        for (start, c) in text.char_indices() {
            if !is_secret[start] {
                hidden.push(c);
            } else if start == 0 || !is_secret[start - 1] {
                hidden.push_str("***");
            }
        }
        hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_secrets_and_passwords_are_hidden() {
        let mut secrets = Secrets::default();
        secrets.add("wJalrXUtnFEMI/K7MDENG");
        secrets.add("test");
        assert_eq!(secrets.hide("key wJalrXUtnFEMI/K7MDENG!"), "key ***!");
        assert_eq!(secrets.hide("a part: alrXUtnFEM, a test"), "a part: ***, a test");
        assert_eq!(secrets.hide("alrXUtn is shorter"), "alrXUtn is shorter");
        assert_eq!(secrets.hide("at https://me:word@host/x@y, ü"), "at https://***@host/x@y, ü");
        assert_eq!(secrets.hide("mail a@b, http://host"), "mail a@b, http://host");
    }
}
