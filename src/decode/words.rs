//! The fields of a log line that are separated by blanks.

use super::outcome::Refused;

/// The fields of a line, without their quotes. A quote inside is escaped by a backslash, which
/// stays.
pub(super) struct Words<'a>(pub(super) &'a str);

impl<'a> Words<'a> {
    pub(super) fn needed(&mut self, name: &str) -> Result<&'a str, Refused> {
        self.next().ok_or_else(|| Refused::missing(name))
    }

    /// What is before the closing quote, and after it; `inside` begins behind the opening one.
    pub(super) fn quoted(inside: &'a str) -> Option<(&'a str, &'a str)> {
        let mut escaped = false;
        let end = inside.bytes().position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        })?;
        Some((inside.get(..end)?, inside.get(end + 1..).unwrap_or_default()))
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_ascii_start();
        if text.is_empty() {
            return None;
        }
        let Some(inside) = text.strip_prefix('"') else {
            let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
            self.0 = rest;
            return Some(word);
        };
        let (word, rest) = Self::quoted(inside)?;
        self.0 = rest;
        Some(word)
    }
}
