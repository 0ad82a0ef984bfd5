//! What every JSON format here needs: the keys of an object without parsing it, and a bound on
//! nesting.

use memchr::memchr;
use serde::Deserialize;
use sonic_rs::{ArrayJsonIter, LazyValue};

use super::outcome::{Reason, Refused};

/// Arrays and objects inside one another; the formats here need 5. The parser limits what it reads
/// into a type (to 255), but not what it skips or takes unparsed: there it goes in by recursion, so
/// that a few megabytes of `[` would end the process by exhausting its stack. A text is therefore
/// checked before it is read into a type that ignores unknown fields or has a lazy value.
const NESTING_MAX: usize = 64;

/// Parses a whole text.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refused> {
    sonic_rs::from_str(text).map_err(Refused::from)
}

/// The elements of an array that was taken unparsed.
pub(super) fn elements<'a>(
    name: &str,
    array: &'a LazyValue<'_>,
) -> Result<ArrayJsonIter<'a>, Refused> {
    let raw = array.as_raw_str();
    if !raw.starts_with('[') {
        return Err(Refused::malformed(name, raw, "an array"));
    }
    Ok(sonic_rs::to_array_iter(raw))
}

impl From<sonic_rs::Error> for Refused {
    #[cold]
    fn from(error: sonic_rs::Error) -> Self {
        let text = error.to_string();
        let first_line = text.lines().next().unwrap_or_default();
        // `1e999` is valid JSON; the parser has no value for it.
        let reason = if first_line.starts_with("Float number must be finite") {
            Reason::OutOfRange
        } else if first_line.starts_with("Encountered nesting") {
            Reason::NestedTooDeep
        } else if error.is_unmatched_type() {
            Reason::MalformedField
        } else {
            Reason::InvalidJson
        };
        Refused::new(reason, first_line)
    }
}

/// Refuses a text that nests deeper than [`NESTING_MAX`].
pub(super) fn check_nesting(text: &str) -> Result<(), Refused> {
    let bytes = text.as_bytes();
    // Nesting cannot exceed the number of openings, and counting those is the fastest loop there
    // is; most messages are decided by it.
    if openings(bytes) <= NESTING_MAX || nesting_within(bytes, NESTING_MAX) {
        return Ok(());
    }
    let detail = format!("more than {NESTING_MAX} arrays and objects inside one another");
    Err(Refused::new(Reason::NestedTooDeep, detail))
}

fn openings(bytes: &[u8]) -> usize {
    // One byte per lane: 128 at most per chunk, so a lane cannot overflow.
    bytes
        .chunks(128)
        .map(|chunk| {
            // `[` and `{` differ in this bit alone.
            let in_chunk: u8 = chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum();
            usize::from(in_chunk)
        })
        .sum()
}

fn nesting_within(bytes: &[u8], max: usize) -> bool {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => match string_end(bytes, at) {
                Some(end) => at = end + 1,
                None => return true,
            },
            b'[' | b'{' => {
                depth += 1;
                if depth > max {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// Index of the quote that closes the string whose first byte is at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut from = start;
    loop {
        let quote = from + memchr(b'"', bytes.get(from..)?)?;
        let inside = bytes.get(from..quote)?;
        let backslashes = inside.iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 0 {
            return Some(quote);
        }
        from = quote + 1;
    }
}

/// The keys of a JSON object at its outermost level, each with the text that starts at its value.
///
/// Nothing is checked and nothing unescaped: this tells formats apart, the parser does the rest. It
/// ends at the first thing that is not JSON, and works on a text that was cut off.
pub(super) struct Keys<'a> {
    /// Behind the last key: its value and what follows.
    rest: &'a [u8],
    inside: bool,
}

impl<'a> Keys<'a> {
    /// The keys of the object that starts at the first byte.
    pub(super) fn of(object: &'a [u8]) -> Self {
        Self { rest: object, inside: false }
    }

    fn step(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let opening: u8 = if self.inside {
            let value = value_end(self.rest)?;
            self.rest = self.rest.get(value..)?.trim_ascii_start();
            b','
        } else {
            self.inside = true;
            b'{'
        };
        let member = self.rest.strip_prefix(&[opening])?.trim_ascii_start();
        let (key, value) = Self::of_member(member)?;
        self.rest = value;
        Some((key, value))
    }

    /// The key at the start of a text, and the text that starts at its value.
    pub(super) fn of_member(member: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let inside = member.strip_prefix(b"\"")?;
        let (key, after) = inside.split_at_checked(string_end(inside, 0)?)?;
        let after = after.strip_prefix(b"\"")?.trim_ascii_start();
        Some((key, after.strip_prefix(b":")?.trim_ascii_start()))
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.step();
        if found.is_none() {
            // An empty rest has no further keys.
            self.rest = &[];
        }
        found
    }
}

/// Index behind the value at the start of `bytes`.
fn value_end(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => at = string_end(bytes, at + 1)?,
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 0 => depth -= 1,
            b',' | b'}' | b']' if depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
        let value_closed = matches!(bytes.get(at - 1)?, b'"' | b']' | b'}');
        if depth == 0 && value_closed {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<&str> {
        Keys::of(text.as_bytes()).map(|(key, _)| std::str::from_utf8(key).unwrap()).collect()
    }

    #[test]
    fn only_keys_of_the_outermost_level_are_seen() {
        for (text, expected) in [
            ("{}", vec![]),
            (r#"{"a":1}"#, vec!["a"]),
            (r#" {"a":1}"#, vec![]),
            (
                r#"{ "a" : 1 , "b" : [1,{"x":2}] , "c":{"y":"}"}, "d":null }"#,
                vec!["a", "b", "c", "d"],
            ),
            (r#"{"a":"\"kind\":","b\"":"\\","c":""}"#, vec!["a", "b\\\"", "c"]),
            (r#"{"a":"x","b"#, vec!["a"]),
            (r#"{"a":"x","b":{"c""#, vec!["a", "b"]),
            (r#"{"a":1 2}"#, vec!["a"]),
            (r#"{"a":1]"#, vec!["a"]),
            (r#"{"a":"x" "b":1}"#, vec!["a"]),
            (r#"[{"a":1}]"#, vec![]),
        ] {
            assert_eq!(keys(text), expected, "{text}");
        }
    }

    #[test]
    fn keys_come_with_the_text_of_their_value() {
        let mut values = Keys::of(br#"{"a": 1, "b": "x"}"#).map(|(_, value)| value);
        assert_eq!(values.next().unwrap(), br#"1, "b": "x"}"#);
        assert_eq!(values.next().unwrap(), br#""x"}"#);
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check_nesting(&nested(NESTING_MAX)).is_ok());
        let refused = check_nesting(&nested(NESTING_MAX + 1)).unwrap_err();
        assert_eq!(refused.reason, Reason::NestedTooDeep);
        assert!(check_nesting(&format!("[\"{}\"]", "[{".repeat(500))).is_ok());
        assert!(check_nesting(&format!("[{}0]", "[],".repeat(500))).is_ok());
        // Closing brackets in a string must not hide the opening ones around it.
        let hidden = format!("{}\"{}\"", "[\"]]]\",".repeat(NESTING_MAX + 1), "]");
        assert!(check_nesting(&hidden).is_err());
    }

    #[test]
    fn openings_are_counted_exactly() {
        let text = "[{]}a;".repeat(1_000);
        assert_eq!(openings(text.as_bytes()), 2_000);
        assert_eq!(openings(&[b'['; 1_000]), 1_000);
    }
}
