//! What comes out of a message besides records: the parts that were refused, with a closed set of
//! reasons, and the parts that are valid and not about money.

use core::fmt::Display;

use crate::record::Record;
use crate::units::OutOfRange;

/// The longest explanation of a problem, in bytes; longer ones are cut.
const DETAIL_BYTES_MAX: usize = 256;

/// Receives what a message holds, in its order.
pub trait Sink {
    /// One record. It borrows from the message.
    fn record(&mut self, record: &Record<'_>);
    /// A part of the message that was refused.
    fn problem(&mut self, problem: Problem<'_>);
    /// A part of the message that is valid and not about money.
    fn ignored(&mut self, kind: Ignored);
    /// What follows was written to this log group.
    fn log_group(&mut self, _name: &str) {}
    /// What follows was a line of so many bytes in a log group.
    fn log_text(&mut self, _bytes: usize) {}
}

/// A message, or a part of one, that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem<'a> {
    /// Why.
    pub reason: Reason,
    /// The same for people: which field, which value, what would be accepted. At most 256 bytes.
    pub detail: String,
    /// The part that was refused.
    pub bytes: &'a [u8],
}

/// Why a part of a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The message is longer than the limit.
    MessageTooLong,
    /// The compressed data stop before their end.
    TruncatedGzip,
    /// The compressed data are damaged, or something follows them.
    InvalidGzip,
    /// The message is longer than the limit once it is decompressed.
    GzipTooLarge,
    /// The text is not UTF-8.
    InvalidUtf8,
    /// The JSON is broken, or something follows it.
    InvalidJson,
    /// Arrays and objects inside one another, deeper than any format here.
    NestedTooDeep,
    /// The protocol buffers are broken or stop before their end.
    InvalidProtobuf,
    /// Nothing in the message says what it is.
    UnknownFormat,
    /// A field that is needed is not there.
    MissingField,
    /// A field is there and does not have its form.
    MalformedField,
    /// A number or a name is outside what its type accepts.
    OutOfRange,
    /// A time outside 2014 to 2099.
    TimeOutOfRange,
    /// Nothing says which function the record is about.
    FunctionUnknown,
    /// A batch goes on behind the most records that one message may have.
    TooManyRecords,
}

impl Reason {
    /// Every reason, in the order in which a message meets them.
    pub const ALL: [Reason; 15] = [
        Reason::MessageTooLong,
        Reason::TruncatedGzip,
        Reason::InvalidGzip,
        Reason::GzipTooLarge,
        Reason::InvalidUtf8,
        Reason::InvalidJson,
        Reason::NestedTooDeep,
        Reason::InvalidProtobuf,
        Reason::UnknownFormat,
        Reason::MissingField,
        Reason::MalformedField,
        Reason::OutOfRange,
        Reason::TimeOutOfRange,
        Reason::FunctionUnknown,
        Reason::TooManyRecords,
    ];

    /// The name used in metrics, logs and dead letters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::MessageTooLong => "message_too_long",
            Reason::TruncatedGzip => "truncated_gzip",
            Reason::InvalidGzip => "invalid_gzip",
            Reason::GzipTooLarge => "gzip_too_large",
            Reason::InvalidUtf8 => "invalid_utf8",
            Reason::InvalidJson => "invalid_json",
            Reason::NestedTooDeep => "nested_too_deep",
            Reason::InvalidProtobuf => "invalid_protobuf",
            Reason::UnknownFormat => "unknown_format",
            Reason::MissingField => "missing_field",
            Reason::MalformedField => "malformed_field",
            Reason::OutOfRange => "out_of_range",
            Reason::TimeOutOfRange => "time_out_of_range",
            Reason::FunctionUnknown => "function_unknown",
            Reason::TooManyRecords => "too_many_records",
        }
    }
}

/// What is valid and not about money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ignored {
    /// CloudWatch Logs asks whether anybody listens.
    ControlMessage,
    /// A line that the application wrote.
    ApplicationLog,
    /// Something that the platform says about an environment and does not bill.
    PlatformEvent,
    /// A sum over the calls of a minute, which says nothing of any single one.
    Usage,
    /// An envelope or an array with nothing in it.
    EmptyBatch,
    /// A record of a function or from a log group that the settings exclude.
    Excluded,
}

impl Ignored {
    /// Every kind.
    pub const ALL: [Ignored; 6] = [
        Ignored::ControlMessage,
        Ignored::ApplicationLog,
        Ignored::PlatformEvent,
        Ignored::Usage,
        Ignored::EmptyBatch,
        Ignored::Excluded,
    ];

    /// The name used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ignored::ControlMessage => "control_message",
            Ignored::ApplicationLog => "application_log",
            Ignored::PlatformEvent => "platform_event",
            Ignored::Usage => "usage",
            Ignored::EmptyBatch => "empty_batch",
            Ignored::Excluded => "excluded",
        }
    }
}

/// A reason on its way to becoming a [`Problem`].
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    detail: String,
}

impl Refused {
    #[cold]
    pub(super) fn new(reason: Reason, detail: impl Display) -> Self {
        Self { reason, detail: detail.to_string() }
    }

    #[cold]
    pub(super) fn missing(field: &str) -> Self {
        Self::new(Reason::MissingField, field)
    }

    #[cold]
    pub(super) fn malformed(field: &str, value: impl Display, accepted: &str) -> Self {
        let detail = format!("{field} {value:.80}, accepted: {accepted}");
        Self::new(Reason::MalformedField, detail)
    }

    #[cold]
    pub(super) fn tell(mut self, bytes: &[u8], sink: &mut dyn Sink) {
        let kept = self.detail.floor_char_boundary(DETAIL_BYTES_MAX);
        self.detail.truncate(kept);
        sink.problem(Problem { reason: self.reason, detail: self.detail, bytes });
    }
}

impl From<OutOfRange> for Refused {
    #[cold]
    fn from(error: OutOfRange) -> Self {
        Self::new(Reason::OutOfRange, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_snake_case_and_no_two_are_equal() {
        let reasons = Reason::ALL.map(Reason::as_str);
        let ignored = Ignored::ALL.map(Ignored::as_str);
        let mut names = [&reasons[..], &ignored[..]].concat();
        for name in &names {
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte == b'_' || byte == b'8';
            assert!(name.bytes().all(allowed), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len() + Ignored::ALL.len());
    }
}
