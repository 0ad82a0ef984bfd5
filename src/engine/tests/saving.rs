//! Engines that are written down in the middle of it and go on elsewhere.

use core::net::Ipv4Addr;

use rand_chacha::rand_core::Rng as _;

use super::*;
use crate::engine::saved::{Kind, Part};
use crate::keep::{Bytes, Keep as _, read, written};
use crate::record::Architecture;

/// A world as it was written down.
struct Cut {
    whole: Vec<u8>,
    parts: Vec<Part>,
    second: Option<i64>,
    members: Members,
    directives: Vec<Directive>,
}

impl World {
    fn cut(&mut self) -> Cut {
        self.dispatch();
        let mut whole = Vec::new();
        self.intake.keep(&mut whole);
        self.accounts.keep(&mut whole);
        self.engines.iter_mut().for_each(Engine::save);
        Cut {
            whole,
            parts: Vec::new(),
            second: self.second,
            members: self.members.clone(),
            directives: self.directives.clone(),
        }
    }

    /// Goes on with the cut; true when it is whole.
    fn cut_on(&mut self, cut: &mut Cut, functions: usize) -> bool {
        let mut done = true;
        self.engines.iter_mut().for_each(|engine| done &= engine.save_on(functions));
        cut.parts.extend(self.engines.iter_mut().flat_map(Engine::saved));
        done
    }

    fn from_cut(cut: &Cut, shards: usize, batch_records: usize) -> Self {
        let mut world = World::new(shards, batch_records, EngineSettings::default());
        let mut from = Bytes::new(&cut.whole);
        world.intake.regain(&mut from).unwrap();
        world.accounts.regain(&mut from).unwrap();
        assert!(from.is_empty());
        for part in &cut.parts {
            for (index, engine) in world.engines.iter_mut().enumerate() {
                let dropped = engine.regain(part, index == 0).unwrap();
                assert_eq!(dropped.functions, 0);
            }
        }
        (world.second, world.members) = (cut.second, cut.members.clone());
        world.directives.clone_from(&cut.directives);
        world
    }
}

/// Something that happens.
#[derive(Debug, Clone)]
struct Step {
    name: String,
    at: EventTime,
    kind: u32,
    number: u32,
}

/// Half an hour of an estate: steady, bursty and rare functions, floods, failures, refusals, late
/// and forged times, repeated deliveries.
fn steps(seed: u64) -> Vec<Step> {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut steps = Vec::new();
    for second in 0..1_800_i64 {
        let mut one = |name: String, kind: u32, draw: &mut ChaCha8Rng| {
            let ms = second * 1_000 + i64::from(draw.next_u32() % 1_000);
            let at = match draw.next_u32() % 200 {
                0 => at_ms(ms - 30_000),
                1 => at_ms(ms + 40_000),
                2 => EventTime::MAX,
                _ => at_ms(ms),
            };
            steps.push(Step { name, at, kind, number: draw.next_u32() });
        };
        for _ in 0..3 + draw.next_u32() % 3 {
            one("steady".into(), 0, &mut draw);
        }
        for _ in 0..2 {
            one(format!("rare-{}", draw.next_u32() % 300), 0, &mut draw);
        }
        if (900..1_200).contains(&second) {
            (0..40).for_each(|_| one("steady".into(), 1, &mut draw));
        }
        if (1_000..1_400).contains(&second) {
            (0..20).for_each(|_| one("refused".into(), 3 + draw.next_u32() % 2, &mut draw));
        }
        if second % 7 == 0 {
            (0..9).for_each(|_| one("failing".into(), 2, &mut draw));
        }
        one("refused".into(), 0, &mut draw);
    }
    steps
}

impl Step {
    fn feed(&self, world: &mut World) {
        let address = Ipv4Addr::from(if self.kind == 1 {
            0xcb00_7100 + self.number % 40
        } else {
            0x0a00_0000 + self.number % 3_000
        });
        let source = Source { address: Some(address.into()), ..Source::default() };
        let request = format!("r{}", self.number % 5_000);
        if self.kind >= 3 {
            let trigger = Trigger {
                target: Target::Function(function(&self.name)),
                at: self.at,
                kind: TriggerKind::ApiGateway,
                source,
                request_id: Some(&request),
                response_bytes: 500,
                delivery: None,
            };
            let refusal = Refusal { trigger, reason: RefusalReason::Forbidden };
            let record =
                if self.kind == 3 { Record::Refusal(refusal) } else { Record::Trigger(trigger) };
            world.feed(&record);
            return;
        }
        let failed = self.kind == 2 && !self.number.is_multiple_of(3);
        let record = Record::Invocation(Invocation {
            function: function(&self.name),
            at: self.at,
            billed: BilledMs::try_new(200 + u64::from(self.number % 200)).unwrap(),
            memory: MemoryMb::try_new(1_024).unwrap(),
            init_ms: None,
            status: if failed { Status::Error } else { Status::Success },
            version: self.number.is_multiple_of(50).then_some("2"),
            architecture: self.name.len().is_multiple_of(2).then_some(Architecture::Arm64),
            request_id: Some(&request),
            delivery: self.number.is_multiple_of(4).then_some(u64::from(self.number % 997)),
            source: Some(source),
        });
        world.feed(&record);
    }
}

/// What it said, and what it came to.
fn told(world: &World) -> (String, Counters, Usage, usize) {
    let functions = world.engines.iter().map(Engine::functions).sum();
    (format!("{:?}", world.outputs), world.counters(), world.usage(), functions)
}

fn run(steps: &[Step], world: &mut World) {
    for step in steps {
        if step.at.second() % 600 == 0 && step.number % 5 == 0 {
            let directive = |restricted| Directive {
                function: function("refused").to_key(),
                restricted,
                cap: restricted.then_some(5),
            };
            world.directives.push(directive(step.number % 2 == 0));
        }
        step.feed(world);
    }
}

#[test]
fn cut_anywhere_it_goes_on_as_if_nothing_had_happened_with_any_number_of_shards() {
    for seed in 0..3 {
        let steps = steps(seed);
        let mut straight = World::new(2, 50, EngineSettings::default());
        run(&steps, &mut straight);
        straight.finish();
        let (expected, counters, usage, functions) = told(&straight);
        assert!(straight.alarms().iter().any(|alarm| alarm.severity == Severity::Page));
        let mut draw = ChaCha8Rng::seed_from_u64(900 + seed);
        for (shards, then) in [(1, 1), (1, 4), (2, 3), (4, 1), (3, 2), (2, 2)] {
            let place = draw.next_u32() as usize % steps.len();
            let mut world = World::new(shards, 17, EngineSettings::default());
            run(&steps[..place], &mut world);
            let mut cut = world.cut();
            let said = std::mem::take(&mut world.outputs);
            // While it is written, the one that is written goes on.
            for step in &steps[place..] {
                step.feed(&mut world);
                if world.cut_on(&mut cut, 1) {
                    break;
                }
            }
            while !world.cut_on(&mut cut, 10) {}
            let count = |kind| cut.parts.iter().filter(|part| part.kind == kind).count();
            assert_eq!((count(Kind::Sums), count(Kind::Partition)), (shards, 256));
            let mut world = World::from_cut(&cut, then, 64);
            world.outputs = said;
            run(&steps[place..], &mut world);
            world.finish();
            let told = told(&world);
            assert_eq!((told.1, told.2, told.3), (counters, usage, functions), "{seed} {place}");
            assert!(
                told.0 == expected,
                "seed {seed}, cut at {place}, {shards} shards, then {then}"
            );
        }
    }
}

#[test]
fn parts_that_were_changed_are_refused_or_read_and_never_panic() {
    let steps = steps(7);
    let mut world = World::new(1, 17, EngineSettings::default());
    run(&steps[..steps.len() * 5 / 8], &mut world);
    let mut cut = world.cut();
    while !world.cut_on(&mut cut, 1_000) {}
    let mut draw = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..3_000 {
        let mut part = cut.parts[draw.next_u32() as usize % cut.parts.len()].clone();
        if draw.next_u32() % 3 == 0 {
            part = cut.parts.iter().find(|part| part.kind == Kind::Functions).unwrap().clone();
        }
        let place = draw.next_u32() as usize % part.bytes.len();
        match draw.next_u32() % 3 {
            0 => part.bytes.truncate(place),
            1 => part.bytes[place] ^= 1 << (draw.next_u32() % 8),
            _ => part.bytes[place] = 0xff,
        }
        let mut world = World::new(1, 17, EngineSettings::default());
        world.engines[0].regain(&part, true).ok();
        let mut whole = cut.whole.clone();
        let place = draw.next_u32() as usize % whole.len();
        whole[place] ^= 1 << (draw.next_u32() % 8);
        world.intake.regain(&mut Bytes::new(&whole)).ok();
    }
}

#[test]
fn names_times_and_accounts_are_held_to_their_bounds() {
    let key = function("f").to_key();
    assert_eq!(read(&written(&key)), Ok(key));
    let wrong = |name: &str| {
        let mut bytes = Vec::new();
        ("1".parse::<crate::units::AccountId>().unwrap()).keep(&mut bytes);
        (String::from("eu-west-1"), String::from(name)).keep(&mut bytes);
        read::<crate::record::FunctionKey>(&bytes).is_err()
    };
    assert!(!wrong("f") && wrong("") && wrong("a b") && wrong(&"x".repeat(257)));
    assert!(read::<EventTime>(&written(&5_i64)).is_err());
    assert!(read::<crate::units::AccountId>(&written(&u64::MAX)).is_err());
}
