//! One line of the dead-letter file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};

use super::{DETAIL_BYTES_MAX, SAMPLE_BYTES_MAX};
use crate::source::Headers;

/// The header that names a message's parts. No live source hands it on.
pub(super) const PARTS: &str = "bursar_parts";

/// What came, and from where.
#[derive(Debug)]
pub struct Sent<'a> {
    pub(super) lane: &'a str,
    pub(super) offset: u64,
    pub(super) headers: Headers<'a>,
    pub(super) payload: &'a [u8],
    /// Whether the payload is all of the message.
    pub(super) whole: bool,
}

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Letter<'a> {
    /// Of the first part that is named.
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    lane: Cow<'a, str>,
    offset: u64,
    #[serde(borrow)]
    detail: Cow<'a, str>,
    /// Which of the message's parts were refused, counted from zero.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_base64: Option<String>,
    /// Whether this is not all of the message.
    truncated: bool,
}

impl<'a> Letter<'a> {
    pub(super) fn new(detail: &'a str, parts: &[(&'static str, u32)], sent: &Sent<'a>) -> Self {
        let kept = sent.payload.get(..SAMPLE_BYTES_MAX).unwrap_or(sent.payload);
        let truncated = !sent.whole || kept.len() < sent.payload.len();
        let text = match std::str::from_utf8(kept) {
            Ok(text) => Some(text),
            // A character that only the cut has split.
            Err(error) if truncated && error.error_len().is_none() => {
                let whole = kept.get(..error.valid_up_to()).unwrap_or_default();
                std::str::from_utf8(whole).ok()
            }
            Err(_) => None,
        };
        let detail_end = detail.floor_char_boundary(DETAIL_BYTES_MAX);
        let indices = parts.iter().map(|(_, index)| *index);
        let header = |(name, value): (&str, &[u8])| {
            (name.to_owned(), String::from_utf8_lossy(value).into_owned())
        };
        Self {
            reason: Cow::Borrowed(parts.first().map_or("", |(reason, _)| reason)),
            lane: Cow::Borrowed(sent.lane),
            offset: sent.offset,
            detail: Cow::Borrowed(detail.get(..detail_end).unwrap_or(detail)),
            parts: if sent.whole { indices.collect() } else { Vec::new() },
            headers: sent.headers.iter().map(header).collect(),
            bytes_base64: text.is_none().then(|| BASE64_STANDARD.encode(kept)),
            text: text.map(Cow::Borrowed),
            truncated,
        }
    }

    /// What is not the message itself, as headers.
    pub fn told(&self) -> [(&'static str, String); 5] {
        let parts: Vec<String> = self.parts.iter().map(u32::to_string).collect();
        [
            ("bursar_reason", self.reason.to_string()),
            ("bursar_position", format!("{}@{}", self.lane, self.offset)),
            ("bursar_detail", self.detail.to_string()),
            (PARTS, parts.join(",")),
            ("bursar_truncated", self.truncated.to_string()),
        ]
    }

    /// The message as it came, where all of it is there.
    pub(super) fn payload(&self) -> Option<Cow<'_, [u8]>> {
        if self.truncated {
            return None;
        }
        match (&self.text, &self.bytes_base64) {
            (Some(text), _) => Some(Cow::Borrowed(text.as_bytes())),
            (None, Some(text)) => BASE64_STANDARD.decode(text).ok().map(Cow::Owned),
            (None, None) => None,
        }
    }
}
