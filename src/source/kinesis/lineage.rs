//! Which shards there are, and whose turn it is: a split or a merge closes shards and opens others,
//! and a child is read only when everything of its parents was handed out. So records of one key
//! come in their order through any number of reshards.

use std::collections::{BTreeMap, BTreeSet};

use super::place::Place;

/// A shard as the stream lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) parents: Vec<String>,
    /// It gets no more records.
    pub(super) closed: bool,
}

/// All shards that are not forgotten.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    shards: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    parents: Vec<String>,
    from: Place,
    closed: bool,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not begun.
    Waiting,
    /// Being read.
    Reading,
    /// Handed out to the end.
    Finished,
}

impl Lineage {
    pub(super) fn knows(&self, id: &str) -> bool {
        self.shards.contains_key(id)
    }

    /// Adds a shard, to be read from this place on.
    pub(super) fn add(&mut self, shard: &Listed, from: Place) {
        let stage = if from == Place::End { Stage::Finished } else { Stage::Waiting };
        let (parents, closed) = (shard.parents.clone(), shard.closed);
        let entry = Entry { parents, from, closed, stage };
        self.shards.insert(shard.id.clone(), entry);
    }

    /// Notes that a shard gets no more records.
    pub(super) fn close(&mut self, shard: &Listed) {
        if let Some(entry) = self.shards.get_mut(&shard.id) {
            entry.closed |= shard.closed;
        }
    }

    /// Whether a shard is known to get no more records. Its tip is not that of the stream.
    pub(super) fn is_closed(&self, id: &str) -> bool {
        self.shards.get(id).is_some_and(|entry| entry.closed)
    }

    /// Drops what a complete list no longer has, unless it is being read.
    pub(super) fn forget_unlisted(&mut self, listed: &[Listed]) {
        let listed: BTreeSet<&str> = listed.iter().map(|shard| shard.id.as_str()).collect();
        self.shards.retain(|id, entry| entry.stage == Stage::Reading || listed.contains(&**id));
    }

    /// Shards to begin with now, and where: every parent that is known is finished.
    pub(super) fn begin_due(&mut self) -> Vec<(String, Place)> {
        let unfinished =
            |id: &String| self.shards.get(id).is_some_and(|parent| parent.stage != Stage::Finished);
        let due =
            |entry: &Entry| entry.stage == Stage::Waiting && !entry.parents.iter().any(unfinished);
        let due: Vec<(String, Place)> = self
            .shards
            .iter()
            .filter(|(_, entry)| due(entry))
            .map(|(id, entry)| (id.clone(), entry.from.clone()))
            .collect();
        for (id, _) in &due {
            self.set(id, Stage::Reading);
        }
        due
    }

    /// A shard was handed out to its end.
    pub(super) fn finish(&mut self, id: &str) {
        self.set(id, Stage::Finished);
    }

    /// A finished shard whose children are not known yet; it always has some, unless the stream is
    /// being deleted.
    pub(super) fn misses_children(&self) -> bool {
        let parents: BTreeSet<&String> =
            self.shards.values().flat_map(|entry| &entry.parents).collect();
        let mut shards = self.shards.iter();
        shards.any(|(id, entry)| entry.stage == Stage::Finished && !parents.contains(id))
    }

    /// Whether a shard that follows this one is known.
    pub(super) fn has_child(&self, id: &String) -> bool {
        self.shards.values().any(|entry| entry.parents.contains(id))
    }

    fn set(&mut self, id: &str, stage: Stage) {
        if let Some(entry) = self.shards.get_mut(id) {
            entry.stage = stage;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> Listed {
        let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
        Listed { id: id.to_owned(), parents, closed: false }
    }

    fn due(lineage: &mut Lineage) -> Vec<String> {
        lineage.begin_due().into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn a_child_waits_for_all_its_parents_and_not_for_forgotten_ones() {
        let mut lineage = Lineage::default();
        let all = [
            shard("a", &[]),
            shard("b", &["long ago"]),
            shard("c", &["a", "b"]),
            shard("d", &["c"]),
        ];
        for shard in &all {
            lineage.add(shard, Place::Horizon);
        }
        assert_eq!(due(&mut lineage), ["a", "b"]);
        lineage.finish("a");
        assert!(due(&mut lineage).is_empty());
        lineage.finish("b");
        assert_eq!(due(&mut lineage), ["c"]);
        // Beyond retention: finished ones are forgotten, one that is being read is not.
        assert!(!lineage.misses_children());
        lineage.forget_unlisted(&all[3..]);
        assert!(!lineage.knows("a") && lineage.knows("c"));
        lineage.finish("c");
        assert_eq!(due(&mut lineage), ["d"]);
        lineage.finish("d");
        assert!(lineage.misses_children());
    }

    #[test]
    fn a_shard_that_was_read_to_its_end_before_is_not_read_again() {
        let mut lineage = Lineage::default();
        lineage.add(&shard("a", &[]), Place::End);
        lineage.add(&shard("b", &["a"]), Place::After("7".into()));
        assert_eq!(lineage.begin_due(), [("b".to_owned(), Place::After("7".into()))]);
    }
}
