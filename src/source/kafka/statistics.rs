//! The few of the client's statistics that are used; `STATISTICS.md` of librdkafka has them all.

use std::collections::HashMap;

use serde::Deserialize;

use crate::source::Brokers;

#[derive(Deserialize)]
pub(super) struct Statistics {
    #[serde(default)]
    brokers: HashMap<String, Broker>,
    #[serde(default)]
    topics: HashMap<String, Topic>,
    cgrp: Option<ConsumerGroup>,
}

#[derive(Deserialize)]
struct Broker {
    state: String,
    #[serde(default)]
    source: String,
}

#[derive(Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: HashMap<String, Partition>,
}

/// All are negative while unknown.
#[derive(Deserialize)]
pub(super) struct Partition {
    pub(super) hi_offset: i64,
    pub(super) committed_offset: i64,
    #[serde(default)]
    pub(super) consumer_lag: i64,
}

#[derive(Deserialize)]
struct ConsumerGroup {
    rebalance_cnt: u64,
}

impl Statistics {
    pub(super) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(&partition.to_string())
    }

    /// How often partitions were given to this client or taken from it.
    pub(super) fn rebalances(&self) -> u64 {
        self.cgrp.as_ref().map_or(0, |group| group.rebalance_cnt)
    }

    /// The connections, without those that only stand for a role, such as that of a group's
    /// coordinator: its broker is in the list once more.
    pub(super) fn brokers(&self) -> Brokers {
        let mut brokers = Brokers::default();
        for broker in self.brokers.values() {
            if matches!(broker.source.as_str(), "internal" | "logical") {
                continue;
            }
            match broker.state.as_str() {
                "UP" | "REAUTH" => brokers.up += 1,
                "INIT" | "DOWN" | "TRY_CONNECT" => brokers.down += 1,
                _ => brokers.connecting += 1,
            }
        }
        brokers
    }

    /// Whether any connection is up.
    pub(super) fn is_connected(&self) -> bool {
        self.brokers.values().any(|broker| broker.state == "UP")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_counted_once_and_by_state() {
        let text = r#"{"brokers":{
            "a:9092/1":{"state":"UP","source":"learned"},
            "b:9092/2":{"state":"AUTH_REQ","source":"learned"},
            "c:9092/3":{"state":"TRY_CONNECT","source":"learned"},
            "c:9092/bootstrap":{"state":"DOWN","source":"configured"},
            "GroupCoordinator":{"state":"UP","source":"logical"}},
            "topics":{"t":{"partitions":{"3":
                {"hi_offset":9,"committed_offset":-1001,"consumer_lag":-1}}}},
            "cgrp":{"rebalance_cnt":4}}"#;
        let statistics: Statistics = serde_json::from_str(text).unwrap();
        let expected = Brokers { up: 1, connecting: 1, down: 2 };
        assert_eq!(statistics.brokers(), expected);
        assert!(statistics.is_connected());
        assert_eq!(statistics.rebalances(), 4);
        assert_eq!(statistics.partition("t", 3).unwrap().hi_offset, 9);
        assert!(statistics.partition("t", 4).is_none());
        let nothing: Statistics = serde_json::from_str("{}").unwrap();
        assert_eq!((nothing.rebalances(), nothing.brokers()), (0, Brokers::default()));
        assert!(!nothing.is_connected());
    }
}
