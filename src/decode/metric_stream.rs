//! CloudWatch metric streams in their JSON format: one object a line, one or more lines a message
//! (Amazon CloudWatch User Guide, "CloudWatch metric stream output in JSON format").
//!
//! `{"metric_stream_name","account_id","region","namespace","metric_name","dimensions",
//! "timestamp","value":{"count","sum","max","min"},"unit"}`. Each line is the sum, the extremes and
//! the number of a metric's values over one minute, and arrives a few minutes later. That is no
//! invocation: the minute of 600 calls does not say how much any of them was billed, of what memory
//! and by whom, and made into 600 equal records it would double the calls that come from the log
//! as well. So a line is recognised, checked and counted, and goes no further; a stream that has
//! nothing else shows as records ignored, not as rejected ones.

use super::field::{Field, Fields, fill};
use super::outcome::{Ignored, Refused, Sink};
use super::{Format, time};

pub(super) const FORMAT: Format = Format {
    keys: &["metric_stream_name", "metric_name"],
    array: false,
    text: |_| false,
    decode: |text, _, _, sink| {
        decode(text, sink);
        Ok(())
    },
};

#[derive(Default)]
struct Line<'a> {
    namespace: Field<'a>,
    metric_name: Field<'a>,
    timestamp: Field<'a>,
    value: Field<'a>,
}

impl<'a> Fields<'a> for Line<'a> {
    fn slot(&mut self, name: &str) -> Option<&mut Field<'a>> {
        Some(match name {
            "namespace" => &mut self.namespace,
            "metric_name" => &mut self.metric_name,
            "timestamp" => &mut self.timestamp,
            "value" => &mut self.value,
            _ => return None,
        })
    }
}

/// A line that cannot be read ends the message: what is behind it is nothing that bursar could use,
/// and a message of broken lines must not become as many dead letters.
fn decode(text: &str, sink: &mut dyn Sink) {
    for line in text.lines().filter(|line| !line.trim_ascii().is_empty()) {
        if let Err(refused) = check(line) {
            return refused.tell(line.as_bytes(), sink);
        }
        sink.ignored(Ignored::Usage);
    }
}

fn check(text: &str) -> Result<(), Refused> {
    let mut line = Line::default();
    fill(text, &mut line)?;
    let needed = [(&line.namespace, "namespace"), (&line.metric_name, "metric_name")];
    for (field, name) in needed {
        field.text(name)?.ok_or_else(|| Refused::missing(name))?;
    }
    match line.timestamp.integer("timestamp")? {
        Some(ms) => time::epoch_ms(ms)?,
        None => return Err(Refused::missing("timestamp")),
    };
    match line.value {
        Field::Other => Ok(()),
        Field::Absent => Err(Refused::missing("value")),
        _ => Err(Refused::malformed("value", "not an object", "count, sum, max and min")),
    }
}
