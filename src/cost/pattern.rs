//! Names functions in the configuration: a literal or a `*` pattern, matched against
//! `account:region:name` and against the bare name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::FunctionRef;

/// A function name, or several with `*` standing for any run of characters, empty included. Every
/// other character stands for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Every function.
    pub fn any() -> Self {
        Pattern("*".into())
    }

    /// Any text is a pattern.
    pub fn new(text: &str) -> Self {
        Pattern(text.into())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern names `function`.
    pub fn matches(&self, function: &FunctionRef<'_>) -> bool {
        self.matches_text(function.name) || self.matches_text(&function.to_string())
    }

    /// Whether the whole of `text` fits. Time is at most the product of the two lengths: after a
    /// mismatch only the last `*` is retried, because an earlier one cannot fit more.
    pub fn matches_text(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while t < text.len() {
            if pattern.get(p) == Some(&b'*') {
                retry = Some((p + 1, t));
                p += 1;
            } else if pattern.get(p) == text.get(t) {
                p += 1;
                t += 1;
            } else if let Some((after_star, from)) = retry {
                p = after_star;
                t = from + 1;
                retry = Some((after_star, t));
            } else {
                return false;
            }
        }
        pattern.iter().skip(p).all(|byte| *byte == b'*')
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, text, expected) in [
            ("api", "api", true),
            ("api", "api2", false),
            ("api", "ap", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("api-*", "api-", true),
            ("api-*", "api-v2", true),
            ("*-api", "my-api-api", true),
            ("*a*b*c", "xxaxxbxxbc", true),
            ("*a*b*c", "xxaxxbxxb", false),
            ("a**b", "ab", true),
            ("*ab", "aab", true),
            ("ü*", "über", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches_text(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_sees_the_full_name_and_the_bare_name() {
        let function =
            FunctionRef::try_new("111122223333".parse().unwrap(), "eu-west-1", "pay").unwrap();
        for pattern in ["pay", "111122223333:*", "*:eu-west-1:*", "p*", "*"] {
            assert!(Pattern::new(pattern).matches(&function), "{pattern}");
        }
        for pattern in ["eu-west-1", "111122223333", "*:us-east-1:*", "PAY"] {
            assert!(!Pattern::new(pattern).matches(&function), "{pattern}");
        }
    }
}
