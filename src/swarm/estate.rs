//! Functions, their callers, benign surprises and attacks of a world. All of it is small: what is
//! looked for shows in few functions, and small worlds can be many.

use super::dice::Dice;
use crate::record::{Architecture, FunctionKey, TriggerKind};
use crate::simulation::attack::AttackSpec;
use crate::simulation::duration::DurationModel;
use crate::simulation::platform::{
    ApiSpec, AsyncSpec, FunctionSpec, Origin, QueueSpec, StreamSpec,
};
use crate::simulation::scenario::{Deploy, Load, Pace, Season, Surge};
use crate::simulation::wire::ApiKind;
use crate::units::{AccountId, MemoryMb};

const REGION: &str = "eu-west-1";
const ACCOUNT: &str = "111122223333";
/// Settled well within the time that a world is watched to come to rest.
const EVENT_AGE_MS: u32 = 120_000;

/// Up to five functions of one account.
pub(super) fn functions(dice: &mut Dice) -> Vec<FunctionSpec> {
    let count = dice.between(1, 5);
    (0..count).filter_map(|number| function(dice, number)).collect()
}

fn function(dice: &mut Dice, number: u32) -> Option<FunctionSpec> {
    let account: AccountId = ACCOUNT.parse().unwrap_or_default();
    let name = format!("f{number}");
    let key = FunctionKey { account, region: REGION.into(), name: name.as_str().into() };
    let memory = MemoryMb::try_new(u64::from(dice.pick(&[256_u32, 1_024, 3_008, 10_240]))).ok()?;
    let median = dice.scale(5.0, 600.0);
    let duration = DurationModel::log_normal(median, median * dice.range(1.5, 6.0)).ok()?;
    let mut spec = FunctionSpec::new(key, memory, duration);
    spec.timeout_ms = dice.between(5_000, 30_000);
    spec.init_ms = dice.between(50, 800);
    spec.error_share = if dice.chance(0.2) { dice.range(0.0, 0.2) } else { 0.0 };
    spec.reserved = dice.chance(0.15).then(|| dice.between(2, 25));
    if dice.chance(0.2) {
        spec.architecture = Architecture::Arm64;
    }
    spec.asynchronous = AsyncSpec { age_ms_max: EVENT_AGE_MS, retries: dice.pick(&[0, 1, 2]) };
    spec.queue = QueueSpec {
        batch: dice.pick(&[1, 10]),
        visibility_ms: dice.between(5_000, 30_000),
        receives_max: Some(3),
        ..QueueSpec::default()
    };
    spec.stream = StreamSpec { retention_ms: EVENT_AGE_MS, ..StreamSpec::default() };
    let api = |kind| {
        Some(ApiSpec {
            api_id: "sw4rm00api".to_owned(),
            stage: "prod".to_owned(),
            method: "GET".to_owned(),
            route: format!("/{name}"),
            kind,
        })
    };
    let origin = |kind| Some(Origin { kind, name: format!("arn:aws:{name}-in") });
    match dice.between(0, 8) {
        0..=3 => spec.api = api(ApiKind::Rest),
        4 => spec.api = api(ApiKind::Http),
        5 => spec.origin = origin(TriggerKind::S3),
        6 => spec.origin = origin(TriggerKind::Sqs),
        7 => spec.origin = origin(TriggerKind::Kinesis),
        _ => {}
    }
    Some(spec)
}

/// Who calls them.
pub(super) fn loads(dice: &mut Dice, functions: &[FunctionSpec]) -> Vec<Load> {
    let load = |function: usize| {
        let rps = dice.scale(0.1, 6.0);
        let pace = match dice.between(0, 9) {
            0 => Pace::Sessions {
                per_second: rps / 4.0,
                requests: 4.0,
                think_ms: f64::from(dice.between(500, 3_000)),
                retries: dice.between(0, 4),
                back_off_ms: u64::from(dice.between(100, 1_000)),
            },
            // Longer beats than a minute take longer to learn than a world lasts.
            1 | 2 => Pace::Beat {
                every_ms: u64::from(dice.pick(&[5_000_u32, 20_000, 60_000])),
                calls: dice.between(1, 30),
            },
            _ => Pace::Random { rps, dispersion: dice.range(0.0, 0.3) },
        };
        let season = Season {
            daily: dice.range(0.0, 0.4),
            peak_hour: dice.range(0.0, 24.0),
            ..Season::default()
        };
        Load { function, pace, season, users: dice.between(5, 500), app: 1 }
    };
    (0..functions.len()).map(load).collect()
}

/// More callers for a while.
pub(super) fn surges(dice: &mut Dice, functions: &[FunctionSpec], length_ms: u64) -> Vec<Surge> {
    let count = u32::from(dice.chance(0.3));
    let surge = |_| {
        let (start_ms, duration_ms) = span(dice, length_ms, 300_000);
        Surge {
            functions: vec![one(dice, functions)],
            start_ms,
            duration_ms,
            rise_ms: u64::from(dice.between(0, 60_000)),
            factor: dice.scale(1.5, 10.0),
            users: dice.between(50, 5_000),
        }
    };
    (0..count).map(surge).collect()
}

/// New code.
pub(super) fn deploys(dice: &mut Dice, functions: &[FunctionSpec], length_ms: u64) -> Vec<Deploy> {
    let count = u32::from(dice.chance(0.15));
    let deploy = |_| Deploy {
        functions: vec![one(dice, functions)],
        start_ms: span(dice, length_ms, 1_000).0,
        slow: dice.scale(0.4, 3.0),
    };
    (0..count).map(deploy).collect()
}

/// None to two attacks, in the words of `bursar generate --attack`.
pub(super) fn attacks(
    dice: &mut Dice,
    functions: &[FunctionSpec],
    length_ms: u64,
) -> Vec<AttackSpec> {
    let count = dice.pick(&[0, 0, 0, 1, 1, 1, 1, 2]);
    (0..count).filter_map(|_| attack(dice, functions, length_ms)).collect()
}

fn attack(dice: &mut Dice, functions: &[FunctionSpec], length_ms: u64) -> Option<AttackSpec> {
    let kind =
        dice.pick(&["flood", "flood", "flood", "flood", "yoyo", "spread", "recursion", "adaptive"]);
    let (start_ms, duration_ms) = span(dice, length_ms, 240_000);
    let mut rps = dice.scale(10.0, 200.0);
    let mut pairs = vec![
        ("start", format!("{start_ms}ms")),
        ("duration", format!("{duration_ms}ms")),
        ("sources", dice.pick(&[1_u32, 5, 20, 200, 5_000]).to_string()),
    ];
    if dice.chance(0.2) {
        pairs.push(("rotate", format!("{}s", dice.between(5, 120))));
    }
    if dice.chance(0.2) {
        pairs.push(("overlap", format!("{:.2}", dice.range(0.01, 1.0))));
    }
    if dice.chance(0.2) {
        pairs.push(("slow", format!("{:.2}", dice.scale(0.5, 8.0))));
    }
    if dice.chance(0.2) {
        pairs.push(("fail", format!("{:.2}", dice.range(0.05, 1.0))));
    }
    match kind {
        "spread" => {
            // It goes for functions with an API, where there are any.
            let open = functions.iter().filter(|spec| spec.api.is_some()).count();
            let count = if open == 0 { functions.len() } else { open };
            pairs.push(("functions", count.to_string()));
        }
        "yoyo" => {
            pairs.push(("on", format!("{}s", dice.between(5, 40))));
            pairs.push(("off", format!("{}s", dice.between(5, 90))));
        }
        "recursion" => {
            // It asks for more as fast as it runs: what begins small does not stay so.
            rps = rps.min(5.0);
            pairs.push(("fanout", format!("{:.2}", dice.range(1.01, 1.1))));
        }
        _ => {}
    }
    if kind != "spread" {
        pairs.push(("function", functions[one(dice, functions)].key.name.to_string()));
    }
    if kind == "flood" {
        let shape = dice.pick(&["constant", "geometric", "random", "ramp"]);
        pairs.push(("shape", shape.to_owned()));
    }
    pairs.push(("rps", format!("{rps:.1}")));
    AttackSpec::from_pairs(kind, pairs.iter().map(|(key, value)| Ok((*key, value.as_str())))).ok()
}

fn one(dice: &mut Dice, functions: &[FunctionSpec]) -> usize {
    dice.between(0, u32::MAX) as usize % functions.len().max(1)
}

/// Begin and length, whole seconds, over within the window.
fn span(dice: &mut Dice, length_ms: u64, most_ms: u32) -> (u64, u64) {
    let duration = u64::from(dice.between(1, most_ms / 1_000));
    let last = (length_ms / 1_000).saturating_sub(duration);
    let start = u64::from(dice.between(0, u32::try_from(last).unwrap_or(0)));
    (start * 1_000, duration * 1_000)
}
