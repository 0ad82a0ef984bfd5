//! Engines that go on from what others have learned.

use super::*;
use crate::engine::learned::{Dormant, Learned};
use crate::engine::partitions::PARTITIONS;

const HOUR: i64 = 3_600;

impl World {
    /// The end of the history: what was learned, sorted.
    fn learned(&mut self) -> Vec<Learned> {
        if let Some(now) = self.intake.begin() {
            self.advance(now);
            self.intake.release();
            self.intake.admit_rest();
        }
        self.dispatch();
        let mut learned: Vec<_> = self.engines.iter_mut().flat_map(Engine::learned).collect();
        learned.sort_by(|a, b| a.function.cmp(&b.function));
        learned
    }

    fn start_from(&mut self, learned: &[Learned]) {
        for learned in learned {
            self.engines.iter_mut().for_each(|engine| engine.start_from(learned.clone()));
        }
    }

    fn dormant(&self) -> usize {
        self.engines.iter().map(Engine::dormant).sum()
    }
}

fn of<'a>(learned: &'a [Learned], name: &str) -> &'a Learned {
    learned.iter().find(|learned| &*learned.function.name == name).unwrap()
}

fn written(learned: &Learned) -> String {
    serde_json::to_string(learned).unwrap()
}

/// Reads what was written, and holds that nothing was lost or changed on the way.
#[track_caller]
fn returned(learned: &Learned) -> Learned {
    let text = written(learned);
    let read: Learned = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
    assert_eq!(&read, learned);
    assert_eq!(written(&read), text);
    read
}

/// Two hours of a busy function and of one that works at the full hour.
fn history(shards: usize, batch_records: usize) -> Vec<Learned> {
    let mut world = World::new(shards, batch_records, EngineSettings::default());
    for second in 0..2 * HOUR {
        world.traffic("api", second, second + 1, 7 + second % 3);
        if (START + second) % HOUR < 20 {
            world.traffic("hourly", second, second + 1, 3);
        }
    }
    world.learned()
}

#[test]
fn what_was_learned_comes_back_to_the_bit() {
    let learned = history(1, 64);
    let names: Vec<&str> = learned.iter().map(|learned| &*learned.function.name).collect();
    assert_eq!(names, ["api", "beat", "hourly"]);
    learned.iter().map(returned).for_each(drop);
    let api = &of(&learned, "api").past;
    assert!((api.baseline.expected() - 8.0).abs() < 0.5);
    assert!((api.size.expected_ms() - 300.0).abs() < 1.0 && api.memory_mb == 512);
    assert!(api.ledger.is_some(), "it costs money");
    assert!(of(&learned, "hourly").past.ledger.is_none(), "it costs next to nothing");
}

#[test]
fn neither_shards_nor_batches_change_what_is_learned() {
    let expected: Vec<String> = history(1, 64).iter().map(written).collect();
    for (shards, batch_records) in [(1, 1), (3, 1_000), (7, 17)] {
        let found: Vec<String> = history(shards, batch_records).iter().map(written).collect();
        assert_eq!(found, expected, "{shards} shards, batches of {batch_records}");
    }
}

/// The second in which a flood of `api` was first said, if it was; it begins with the first one.
fn flooded(past: &[Learned]) -> Option<i64> {
    let mut world = world();
    world.start_from(past);
    let start = 2 * HOUR + 60;
    world.traffic("api", start, start + 30, 8);
    world.traffic("api", start + 30, start + 150, 36);
    world.finish();
    let said = world.alarms().first().map(|alarm| alarm.evidence_at.second());
    said.map(|second| second - START - start - 30)
}

#[test]
fn a_flood_in_the_first_minute_is_seen_by_who_knows_what_is_normal_and_by_nobody_else() {
    assert_eq!(flooded(&[]), None, "a function without a baseline is given a lot of room");
    let delay = flooded(&history(1, 64)).expect("an alarm");
    assert!((0..=5).contains(&delay), "{delay} s");
}

#[test]
fn time_that_nobody_watched_changes_nothing_and_silence_does() {
    let learned = history(1, 64);
    let before = of(&learned, "api").past.baseline;
    let after = |start: i64, silent: i64| {
        let mut world = world();
        world.start_from(&learned);
        world.traffic("other", start, start + silent, 1);
        world.traffic("api", start + silent, start + silent + 70, 8);
        of(&world.learned(), "api").past.baseline
    };
    let minute = |start: i64| u32::try_from((START + start) / 60).unwrap();
    for gap in [1, 90, 40 * 24] {
        let start = 2 * HOUR + gap * HOUR;
        let baseline = after(start, 0);
        assert!((baseline.expected() / before.expected() - 1.0).abs() < 0.1, "{gap} h");
        let (now, then) = (baseline.allowed(minute(start)), before.allowed(minute(2 * HOUR)));
        assert!((now / then - 1.0).abs() < 0.05, "{gap} h: {now} instead of {then}");
        assert!(baseline.minutes() <= before.minutes() + 2, "{gap} h");
    }
    let silent = after(2 * HOUR, HOUR);
    assert!(silent.expected() < before.expected() / 5.0);
    assert!(silent.minutes() >= before.minutes() + 58);
}

#[test]
fn a_function_leaves_its_place_when_it_is_called_and_the_idlest_when_there_is_no_room() {
    let learned = history(1, 64);
    let mut world = world();
    world.start_from(&learned);
    assert_eq!(world.dormant(), 3);
    world.traffic("api", 3 * HOUR, 3 * HOUR + 60, 1);
    world.finish();
    assert_eq!(world.dormant(), 1, "hourly has not come yet");
    let mut dormant = Dormant::default();
    for (key, newest) in [(1, 50), (2, 10), (3, 70), (4, 60), (3, 80)] {
        let past = crate::engine::learned::Past { newest, ..learned[0].past.clone() };
        dormant.add(key, past, 3);
    }
    let kept: Vec<bool> = (1..=4).map(|key| dormant.take(key).is_some()).collect();
    assert_eq!(kept, [true, false, true, true]);
    assert!(dormant.is_empty());
}

#[test]
fn the_limit_on_functions_holds_for_those_with_a_past() {
    let settings = EngineSettings { functions_max: PARTITIONS, ..EngineSettings::default() };
    let base = history(1, 64).swap_remove(0);
    let many: Vec<Learned> = (0..2_000)
        .map(|index| Learned { function: function(&format!("f{index}")).to_key(), ..base.clone() })
        .collect();
    let kept = [1, 5].map(|shards| {
        let mut world = World::new(shards, 64, settings.clone());
        world.start_from(&many);
        world.dormant()
    });
    assert!(kept[0] <= PARTITIONS && kept[0] == kept[1], "{kept:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_happens_what_was_learned_can_be_read_again(
        spells in proptest::collection::vec((0..20_000_i64, 1..90_i64, 1..120_i64), 1..20),
    ) {
        let mut world = world();
        let mut second = 0;
        for (pause, length, per_second) in spells {
            second += pause;
            world.traffic("f", second, second + length, per_second);
            second += length;
        }
        world.learned().iter().map(returned).for_each(drop);
    }
}
