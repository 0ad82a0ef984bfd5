//! Going on where the state of this process ends, instead of where the group has committed: that is
//! a little further at most times, and further back after a fall-back.

use std::collections::HashMap;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::POSITION_TIMEOUT;
use super::group::GroupContext;

/// The next message of each partition that was not given to this process yet.
#[derive(Debug, Default)]
pub(super) struct Resume {
    next: HashMap<(String, i32), i64>,
    missed: u64,
}

/// Where to go on.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    next: i64,
    /// Messages that the topic does not keep any more.
    missed: u64,
    /// The partition ends before: it is another one of the same name.
    is_new: bool,
}

impl Resume {
    /// Behind the last positions of lanes.
    pub(super) fn new(from: &[(String, Option<u64>)]) -> Self {
        let partition = |(name, last): &(String, Option<u64>)| {
            let (topic, partition) = name.rsplit_once('/')?;
            let next = i64::try_from((*last)?.saturating_add(1)).ok()?;
            Some(((topic.to_owned(), partition.parse().ok()?), next))
        };
        Self { next: from.iter().filter_map(partition).collect(), missed: 0 }
    }

    /// Messages that were not there any more.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// Moves to where to go on in those of the partitions that come for the first time.
    pub(super) fn seek(
        &mut self,
        consumer: &BaseConsumer<GroupContext>,
        partitions: &[(String, i32)],
    ) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        let mut places = Vec::new();
        for partition in partitions {
            let Some(&next) = self.next.get(partition) else {
                continue;
            };
            let (topic, number) = partition;
            let (low, high) = consumer.fetch_watermarks(topic, *number, POSITION_TIMEOUT)?;
            let place = place(next, low, high);
            list.add_partition_offset(topic, *number, Offset::Offset(place.next))?;
            places.push((partition, next, place));
        }
        if places.is_empty() {
            return Ok(());
        }
        let moved = consumer.seek_partitions(list, POSITION_TIMEOUT)?;
        moved.elements().iter().try_for_each(|element| element.error())?;
        for (partition, wanted, Place { next, missed, is_new }) in places {
            self.next.remove(partition);
            self.missed = self.missed.saturating_add(missed);
            let (topic, partition) = partition;
            if missed > 0 {
                tracing::warn!(
                    topic,
                    partition,
                    missed,
                    from = wanted,
                    to = next,
                    "kafka: the topic does not keep these messages any more, they are missed"
                );
            }
            if is_new {
                tracing::warn!(
                    topic,
                    partition,
                    known = wanted,
                    from = next,
                    "kafka: the partition ends before what is known of it, as one that was made \
                     anew does; it is read from its beginning"
                );
            }
        }
        Ok(())
    }
}

/// Where to go on at `next` in a partition that holds what lies from `low` to before `high`.
fn place(next: i64, low: i64, high: i64) -> Place {
    if next > high {
        return Place { next: low, missed: 0, is_new: true };
    }
    let missed = u64::try_from(low.saturating_sub(next)).unwrap_or(0);
    Place { next: next.max(low), missed, is_new: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_behind_what_is_known_says_what_is_missing_and_knows_a_new_partition() {
        for (next, low, high, expected) in [
            (5, 0, 9, (5, 0, false)),
            (9, 0, 9, (9, 0, false)),
            (5, 8, 20, (8, 3, false)),
            (5, 20, 20, (20, 15, false)),
            (10, 0, 9, (0, 0, true)),
        ] {
            let Place { next, missed, is_new } = place(next, low, high);
            assert_eq!((next, missed, is_new), expected);
        }
    }

    #[test]
    fn lanes_without_a_position_or_of_another_input_are_left_to_the_group() {
        let lane = |name: &str, last| (name.to_owned(), last);
        let resume = Resume::new(&[
            lane("a/b/3", Some(7)),
            lane("a/0", None),
            lane("records.jsonl", Some(9)),
            lane("a/x", Some(1)),
        ]);
        assert_eq!(resume.next, HashMap::from([(("a/b".to_owned(), 3), 8)]));
    }
}
