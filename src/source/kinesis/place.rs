//! Where in a shard reading stands.

use serde::{Deserialize, Serialize};

use crate::units::EventTime;

/// Where in a shard reading stands, in the form in which checkpoints keep it.
///
/// There is no "latest": asked for again, after an expired iterator or a restart, it would skip
/// what has come meanwhile. The time of the first start stands for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Place {
    /// Before the oldest record that is kept.
    Horizon,
    /// Before the first record that arrived at or after this time.
    Time(EventTime),
    /// Behind the record with this sequence number, a decimal of up to 129 digits.
    After(Box<str>),
    /// Behind the last record; a shard that was split or merged gets no more.
    End,
}
