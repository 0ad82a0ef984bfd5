//! What must hold of whatever arrives: the decoder neither panics nor stays silent, hands on no
//! more than a message can hold, and takes nothing for JSON that another library would not.

use bursar::decode::first_time;
use bursar::decode::{Context, Decoder, EventHeaders, Ignored, Limits, Problem, Reason, Sink};
use bursar::record::Record;
use serde::de::IgnoredAny;

const INFLATED_BYTES_MAX: usize = 256 << 10;

/// Any message, as it comes from a source.
pub fn decode(message: &[u8]) {
    for function in [None, Some("standin")] {
        let told = told(|decoder, told| decoder.decode(message, &context(function), told));
        assert!(told.parts > 0 && told.parts <= INFLATED_BYTES_MAX);
        // White space around a message is not part of it, form feeds included, which JSON lacks.
        let text = message.trim_ascii();
        if told.problems == 0 && text.starts_with(b"{") {
            assert!(is_json(text), "taken for JSON");
        }
    }
    first_time(message);
}

/// The same, and the same bytes as headers and value of an event in binary mode: the headers are
/// the first lines.
pub fn event(message: &[u8]) {
    decode(message);
    let mut lines = message.splitn(4, |byte| *byte == b'\n');
    let [kind, time, id, value] = [(); 4].map(|()| lines.next().unwrap_or_default());
    let headers =
        [("ce_type", kind), ("ce_time", time), ("ce_id", id), ("ce_specversion", &b"1.0"[..])];
    if let Some(event) = EventHeaders::of(headers) {
        let context = context(None);
        let told = told(|decoder, told| decoder.decode_event(value, &event, &context, told));
        assert!(told.parts > 0);
    }
}

/// A message behind the first bytes of a compressed one.
pub fn gzip(message: &[u8]) {
    decode(message);
    decode(&[&[0x1f, 0x8b, 8], message].concat());
}

#[derive(Default)]
struct Told {
    parts: usize,
    problems: usize,
}

impl Sink for Told {
    fn record(&mut self, record: &Record<'_>) {
        self.parts += 1;
        assert!(!format!("{record:?}").is_empty());
    }

    fn problem(&mut self, problem: Problem<'_>) {
        self.parts += 1;
        self.problems += 1;
        assert!(Reason::ALL.contains(&problem.reason) && problem.detail.len() <= 256);
    }

    fn ignored(&mut self, kind: Ignored) {
        self.parts += 1;
        assert!(Ignored::ALL.contains(&kind));
    }
}

fn told(read: impl FnOnce(&mut Decoder, &mut Told)) -> Told {
    let mut told = Told::default();
    // Smaller than by default, so that the limits are met.
    let limits = Limits { message_bytes_max: 64 << 10, inflated_bytes_max: INFLATED_BYTES_MAX };
    read(&mut Decoder::new(limits), &mut told);
    told
}

fn context(function: Option<&str>) -> Context<'_> {
    let account = "111122223333".parse().expect("an account");
    Context { account, region: "eu-west-1", function }
}

/// As a whole, or line by line.
fn is_json(message: &[u8]) -> bool {
    let reads = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    let mut lines =
        message.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    reads(message) || lines.all(reads)
}
