//! The engine as a whole: records in at the door, alarms and sums out of the shards.

mod channels;
mod closing;
mod learned;
mod saving;

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::accounts::{Accounts, Members};
use super::alarm::{AccountAlarm, Alarm, AlarmState, Channel, MinuteRow, Output, Severity};
use super::intake::{Entry, Intake};
use super::partitions::shard_of;
use super::rate_card::RateCard;
use super::routes::Routes;
use super::settings::{DetectionSettings, EngineSettings};
use super::shard::{Counters, Directive, Engine};
use crate::cost::{CostSettings, PriceBook, Usage};
use crate::record::{
    FunctionRef, Invocation, Position, Record, Refusal, RefusalReason, Source, Status, Target,
    Trigger, TriggerKind,
};
use crate::units::{BilledMs, EventTime, MemoryMb};

const START: i64 = 1_780_000_020;

fn at_ms(ms: i64) -> EventTime {
    EventTime::saturating_from_ms(START * 1_000 + ms)
}

fn function(name: &str) -> FunctionRef<'_> {
    FunctionRef::try_new("111122223333".parse().unwrap(), "eu-west-1", name).unwrap()
}

fn invocation(name: &str, at: EventTime) -> Record<'_> {
    Record::Invocation(Invocation {
        function: function(name),
        at,
        billed: BilledMs::try_new(300).unwrap(),
        memory: MemoryMb::try_new(512).unwrap(),
        init_ms: None,
        status: Status::Success,
        version: None,
        architecture: None,
        request_id: None,
        delivery: None,
        source: None,
    })
}

fn refusal(name: &str, at: EventTime) -> Record<'_> {
    let trigger = Trigger {
        target: Target::Function(function(name)),
        at,
        kind: TriggerKind::ApiGateway,
        source: Source { address: "203.0.113.1".parse().ok(), ..Source::default() },
        request_id: None,
        response_bytes: 0,
        delivery: None,
    };
    Record::Refusal(Refusal { trigger, reason: RefusalReason::Throttled })
}

/// Door and shards without threads.
struct World {
    intake: Intake,
    engines: Vec<Engine>,
    accounts: Accounts,
    members: Members,
    account_alarms: Vec<AccountAlarm>,
    second: Option<i64>,
    batch_records: usize,
    directives: Vec<Directive>,
    outputs: Vec<Output>,
}

impl World {
    fn new(shards: usize, batch_records: usize, settings: EngineSettings) -> Self {
        let lateness = settings.lateness_seconds;
        let engine = |index: usize| {
            let rates = RateCard::new(PriceBook::builtin(), CostSettings::default());
            let detection = DetectionSettings::default();
            Engine::new(settings.clone(), detection, rates, |partition| {
                shard_of(partition, shards) == index
            })
        };
        Self {
            intake: Intake::new(Routes::new(Vec::new()), lateness, shards),
            engines: (0..shards).map(engine).collect(),
            accounts: Accounts::new(DetectionSettings::default()),
            members: Members::new(),
            account_alarms: Vec::new(),
            second: None,
            batch_records,
            directives: Vec::new(),
            outputs: Vec::new(),
        }
    }

    fn feed(&mut self, record: &Record<'_>) -> Entry {
        let entry = self.intake.record(record, Position::default(), None);
        if let Some(now) = self.intake.message() {
            self.advance(now);
        }
        self.intake.release();
        if self.intake.batched() >= self.batch_records {
            self.dispatch();
        }
        entry
    }

    fn advance(&mut self, now: EventTime) {
        let from = self.second.unwrap_or(now.second() - 1);
        for second in from + 1..=now.second() {
            self.dispatch();
            let sequence = self.intake.sequence();
            for engine in &mut self.engines {
                engine.tick(EventTime::from_second(second), sequence, &self.directives);
            }
            self.directives.clear();
            self.collect();
            if second.rem_euclid(60) == 0 {
                self.members.clear();
                for (account, functions) in self.engines.iter().flat_map(Engine::members) {
                    *self.members.entry(account).or_default() += functions;
                }
            }
            let now = EventTime::from_second(second);
            self.account_alarms.extend(self.accounts.tick(now, &self.members));
            self.second = Some(second);
        }
    }

    fn dispatch(&mut self) {
        for (engine, batch) in self.engines.iter_mut().zip(self.intake.batches()) {
            engine.batch(batch);
            batch.clear();
        }
        self.collect();
    }

    fn collect(&mut self) {
        let mut new: Vec<_> = self.engines.iter_mut().flat_map(Engine::drain).collect();
        new.sort_by_key(|&(sequence, key, _)| (sequence, key));
        for (_, _, output) in new {
            if let Output::Minute(row) = &output {
                self.accounts.row(row);
            }
            self.outputs.push(output);
        }
    }

    fn finish(&mut self) {
        if let Some(now) = self.intake.begin() {
            self.advance(now);
            self.intake.release();
            self.intake.admit_rest();
        }
        self.dispatch();
        let sequence = self.intake.sequence();
        self.engines.iter_mut().for_each(|engine| engine.finish(sequence));
        self.collect();
    }

    fn alarms(&self) -> Vec<&Alarm> {
        let alarms = self.outputs.iter().filter_map(|output| match output {
            Output::Alarm(alarm) => Some(&**alarm),
            _ => None,
        });
        alarms.collect()
    }

    fn minutes(&self) -> Vec<&MinuteRow> {
        let rows = self.outputs.iter().filter_map(|output| match output {
            Output::Minute(row) => Some(&**row),
            _ => None,
        });
        rows.collect()
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.engines.iter().for_each(|engine| sum += engine.counters());
        sum
    }

    fn usage(&self) -> Usage {
        self.engines.iter().flat_map(Engine::usage).map(|row| row.3).sum()
    }

    fn refusals(&mut self, name: &str, second: i64, count: usize) {
        for _ in 0..count {
            self.feed(&refusal(name, at_ms(second * 1_000 + 500)));
        }
    }

    /// `per_second` calls of `name` a second from `from` to `to`, beside another function's beat.
    fn traffic(&mut self, name: &str, from: i64, to: i64, per_second: i64) {
        for second in from..to {
            self.feed(&invocation("beat", at_ms(second * 1_000)));
            for call in 0..per_second {
                self.feed(&invocation(name, at_ms(second * 1_000 + call * 1_000 / per_second)));
            }
        }
    }
}

fn world() -> World {
    World::new(1, 64, EngineSettings::default())
}

#[test]
fn a_flood_is_paged_within_its_first_second_and_closed_after_its_end() {
    let mut world = world();
    world.traffic("api", 0, 1_800, 10);
    assert!(world.alarms().is_empty());
    world.traffic("api", 1_800, 1_830, 200);
    world.traffic("api", 1_830, 2_000, 10);
    world.finish();
    let alarms = world.alarms();
    let opened = alarms[0];
    assert_eq!((opened.state, opened.severity), (AlarmState::Opened, Severity::Page));
    assert_eq!(&*opened.function.name, "api");
    assert!(opened.evidence_at.since_ms(at_ms(1_800_000)) < 1_000, "{}", opened.evidence_at);
    assert!(opened.onset.since_ms(at_ms(1_800_000)).abs() <= 1_000, "{}", opened.onset);
    let reading = opened.channels[&Channel::RateFast];
    assert!((reading.expected - 10.0).abs() < 0.5 && reading.observed > 50.0, "{reading:?}");
    let closed = alarms.last().unwrap();
    assert_eq!((closed.state, &closed.id), (AlarmState::Closed, &opened.id));
    // 30 s of 190 calls more than usual, at 0.15 GB-s and a request each.
    assert!(closed.excess.requests.abs_diff(30 * 190) < 100, "{:?}", closed.excess);
    assert_eq!(alarms.iter().filter(|alarm| alarm.state == AlarmState::Opened).count(), 1);
}

#[test]
fn what_is_not_far_beyond_anything_before_is_a_notice_until_it_has_cost_enough() {
    let mut world = world();
    world.traffic("api", 0, 1_800, 12);
    world.traffic("api", 1_800, 2_100, 100);
    world.finish();
    let alarms = world.alarms();
    let opened: Vec<_> = alarms.iter().filter(|alarm| alarm.state == AlarmState::Opened).collect();
    let severities: Vec<_> = opened.iter().map(|alarm| alarm.severity).collect();
    assert_eq!(severities, [Severity::Notice, Severity::Page]);
    assert_eq!(opened[0].id, opened[1].id);
    // 88 calls a second more than usual, at 2.7 micro-dollars each: five cents in 210 s.
    let said = opened[1].decided_at.second() - START;
    assert!((2_000..2_040).contains(&said), "{said}");
}

#[test]
fn what_is_turned_away_keeps_an_alarm_open_and_never_opens_one() {
    let mut world = world();
    world.traffic("api", 0, 1_800, 10);
    for second in 1_800..1_900 {
        world.traffic("api", second, second + 1, 10);
        world.refusals("api", second, 190);
    }
    assert!(world.alarms().is_empty(), "refusals opened an alarm");
    world.traffic("api", 1_900, 1_910, 200);
    for second in 1_910..2_000 {
        world.traffic("api", second, second + 1, 10);
        world.refusals("api", second, 190);
    }
    assert!(world.alarms().iter().all(|alarm| alarm.state != AlarmState::Closed));
    world.traffic("api", 2_000, 2_100, 10);
    assert_eq!(world.alarms().last().unwrap().state, AlarmState::Closed);
}

#[test]
fn nothing_is_learned_while_a_restriction_hides_the_demand() {
    let expected_after = |restricted: bool| {
        let mut world = world();
        world.traffic("api", 0, 1_200, 10);
        let function = function("api").to_key();
        world.directives.push(Directive { function, restricted, cap: restricted.then_some(1) });
        world.traffic("api", 1_200, 3_000, 1);
        world.finish();
        world.minutes().iter().rfind(|row| &*row.function.name == "api").unwrap().expected
    };
    assert!(expected_after(false) < 3.0);
    assert!(expected_after(true) > 9.0);
}

#[test]
fn records_too_late_for_the_detector_still_cost_money() {
    let mut world = world();
    world.traffic("api", 0, 120, 2);
    for _ in 0..500 {
        world.feed(&invocation("api", at_ms(10_000)));
    }
    world.finish();
    assert_eq!(world.counters().late, 500);
    assert_eq!(world.usage().requests, 3 * 120 + 500);
    assert!(world.alarms().is_empty());
}

#[test]
fn forged_times_move_nothing_and_wait_in_vain() {
    let mut world = world();
    let year = 365 * 86_400_000;
    for second in 0..300 {
        world.traffic("api", second, second + 1, 2);
        assert_eq!(world.feed(&invocation("api", at_ms(second * 1_000 + 5 * year))), Entry::Waits);
        world.feed(&invocation("api", at_ms(second * 1_000 - 5 * year)));
    }
    let now = world.intake.now().unwrap();
    assert!((at_ms(290_000)..=at_ms(300_000)).contains(&now), "{now}");
    world.finish();
    assert_eq!(world.intake.counters().future, 300);
    assert_eq!(world.counters().late, 300);
    assert_eq!(world.counters().counted, 900 + 300);
}

#[test]
fn invented_functions_make_room_or_are_shed_and_their_money_counts_either_way() {
    let settings = EngineSettings { functions_max: 2_560, ..EngineSettings::default() };
    let mut world = World::new(2, 64, settings);
    let names: Vec<String> = (0..20_000).map(|number| format!("invented-{number}")).collect();
    for (number, name) in (0_i64..).zip(&names) {
        world.feed(&invocation(name, at_ms(number)));
    }
    let tracked: usize = world.engines.iter().map(Engine::functions).sum();
    assert!(tracked <= 2_560, "{tracked}");
    assert!(world.counters().shed > 10_000);
    // Two hours later the idle ones give way.
    world.traffic("api", 7_200, 7_210, 1);
    for name in names.iter().rev().take(1_000) {
        world.feed(&invocation(name, at_ms(7_211_000)));
    }
    world.traffic("api", 7_212, 7_230, 1);
    world.finish();
    assert!(world.counters().evicted > 0);
    assert_eq!(world.usage().requests, world.counters().counted);
    assert_eq!(world.counters().counted, 20_000 + 1_000 + 2 * 28);
}

#[test]
fn a_delivery_that_comes_twice_counts_once() {
    let mut world = world();
    let Record::Invocation(mut invocation) = invocation("api", at_ms(0)) else {
        unreachable!("made as an invocation");
    };
    for second in 0..100 {
        invocation.at = at_ms(second * 1_000);
        invocation.delivery = Some(1 + second.unsigned_abs() / 2);
        world.feed(&Record::Invocation(invocation));
    }
    world.finish();
    assert_eq!((world.counters().counted, world.counters().duplicate), (50, 50));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Sums are those of a naive count, and everything that is said is the same however the
    /// records are cut into batches and spread over shards.
    #[test]
    fn neither_batches_nor_shards_change_what_is_said(
        calls in proptest::collection::vec((0_usize..12, 0_i64..400, 1_u64..900), 200..2_000),
        shards in 2_usize..8, batch in 1_usize..500
    ) {
        let names: Vec<String> = (0..12).map(|number| format!("f{number}")).collect();
        let run = |shards: usize, batch: usize| {
            let mut world = World::new(shards, batch, EngineSettings::default());
            let mut naive: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
            let mut now = 0;
            for &(which, step, billed) in &calls {
                now += step;
                let mut record = invocation(&names[which], at_ms(now - (step % 7) * 300));
                if let Record::Invocation(invocation) = &mut record {
                    invocation.billed = BilledMs::try_new(billed).unwrap();
                }
                world.feed(&record);
                let sums = naive.entry(&names[which]).or_default();
                *sums = (sums.0 + 1, sums.1 + billed * 512);
            }
            world.finish();
            let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
            let mut rows = Vec::new();
            for row in world.minutes() {
                let name = names.iter().find(|name| ***name == *row.function.name).unwrap();
                let sum = sums.entry(name).or_default();
                *sum = (sum.0 + row.usage.requests, sum.1 + row.usage.mb_ms.0);
                rows.push((row.minute, row.function.clone(), row.usage.requests, row.usage.mb_ms));
            }
            assert_eq!(sums, naive);
            rows.sort();
            let alarms: Vec<Alarm> = world.alarms().into_iter().cloned().collect();
            (rows, alarms, world.usage())
        };
        prop_assert_eq!(run(1, 4_096), run(shards, batch));
    }
}

#[test]
fn one_forged_record_at_the_end_counts_and_moves_no_time() {
    let mut world = world();
    world.traffic("api", 0, 600, 2);
    world.feed(&invocation("api", at_ms(300 * 86_400_000)));
    world.feed(&invocation("api", EventTime::MIN));
    world.finish();
    assert!(world.intake.now().unwrap() <= at_ms(600_000));
    assert!(world.intake.first().unwrap() >= at_ms(0));
    assert_eq!(world.counters().counted, 3 * 600 + 2);
}

/// Minutes of 2,000 functions that are called about `rate` times a minute each, at random; from
/// minute `attack.0` on the first `attack.1` of them so many times as often.
fn estate(minutes: u64, rate: u64, attack: (u64, u64, u64)) -> World {
    let mut world = World::new(3, 4_096, EngineSettings::default());
    let names: Vec<String> = (0..2_000).map(|number| format!("f{number:04}")).collect();
    let mut draw = ChaCha8Rng::seed_from_u64(1);
    for minute in 0..minutes {
        let (start, attacked, factor) = attack;
        let extra = if minute < start { 0 } else { rate * attacked * (factor - 1) };
        let mut calls: Vec<(i64, usize)> = (0..2_000 * rate + extra)
            .map(|call| {
                let of = if call < 2_000 * rate { 2_000 } else { attacked };
                let which = draw.next_u64() % of;
                (i64::from(draw.next_u32() % 60_000), usize::try_from(which).unwrap())
            })
            .collect();
        calls.sort_unstable();
        for (ms, which) in calls {
            let at = at_ms(minute.cast_signed() * 60_000 + ms);
            world.feed(&invocation(&names[which], at));
        }
    }
    world.finish();
    world
}

#[test]
fn a_thin_attack_over_many_functions_is_one_alarm_over_their_account_within_four_minutes() {
    let world = estate(49, 4, (45, 200, 10));
    let opened: Vec<_> =
        world.account_alarms.iter().filter(|alarm| alarm.state == AlarmState::Opened).collect();
    let [opened] = opened[..] else { panic!("{:?}", world.account_alarms) };
    let delay = opened.decided_at.since_ms(at_ms(45 * 60_000)) / 1_000;
    assert!((0..=240).contains(&delay), "{delay} s");
    assert!(opened.onset.since_ms(at_ms(45 * 60_000)).abs() <= 60_000, "{opened:?}");
    assert!((150..=210).contains(&opened.functions.lifted), "{:?}", opened.functions);
    assert_eq!(opened.functions.of, 2_000);
    for named in &opened.functions.largest {
        assert!(&*named.function.name < "f0200", "{named:?}");
    }
}

#[test]
fn neither_a_quiet_account_nor_one_flooded_function_is_an_alarm_over_the_account() {
    for attack in [(90, 0, 1), (40, 1, 1_800)] {
        let world = estate(50, 1, attack);
        assert_eq!(world.account_alarms, [], "{attack:?}");
    }
}
