//! One world: estate, conditions, troubles and settings, all drawn from a seed.

use super::dice::Dice;
use super::{estate, tuning};
use crate::config::settings::Settings;
use crate::record::FunctionKey;
use crate::simulation::platform::{PipelineFaults, PlatformSettings};
use crate::simulation::scenario::{Expect, Money, Scenario};
use crate::units::{EventTime, NanoUsd};

/// Worlds begin within these days of 2026, so that some of them see a month end: March and April.
const FIRST_DAY_MS: i64 = 1_772_323_200_000;
const DAYS: u32 = 60;
const DAY_MINUTES: u32 = 1_440;
const MINUTE_MS: u64 = 60_000;
/// What a budget is that nothing here can exhaust, in dollars a month.
const AMPLE_USD: f64 = 100_000.0;

/// One world.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) scenario: Scenario,
    pub(super) settings: Settings,
    pub(super) troubles: Vec<Trouble>,
    pub(super) cut: Cut,
}

/// Something goes wrong for a while, in milliseconds after the window's begin.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trouble {
    pub(super) kind: TroubleKind,
    pub(super) from_ms: i64,
    pub(super) until_ms: i64,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TroubleKind {
    /// The control plane answers 429.
    TooMany,
    /// It does not permit what is asked for.
    Refusing,
    /// It fails, and nothing has changed.
    Failing,
    /// It carries out what is asked for and its answer is lost.
    Unanswered,
    /// Somebody else sets a function's reserved concurrency at the beginning.
    Foreign { function: FunctionKey, value: Option<u32> },
    /// Records do not come; at the end they come all at once, or never.
    Silent { which: Which, kept: bool },
}

/// Which records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All of them, and the source says that it is not well.
    All,
    /// Those of the invocations of one function.
    Invocations(usize),
    /// Access logs and events: who calls.
    Callers,
}

/// The records that a twin does not get any more from a time on, in milliseconds after the window's
/// begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) which: Which,
    pub(super) from_ms: i64,
}

impl Plan {
    /// The world of a seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 0);
        let platform = conditions(&mut dice);
        let length_ms = u64::from(dice.between(8, 14)) * MINUTE_MS;
        let functions = estate::functions(&mut Dice::new(seed, 1));
        let loads = estate::loads(&mut Dice::new(seed, 2), &functions);
        let minutes = i64::from(dice.between(0, DAYS * DAY_MINUTES));
        let minute_ms = MINUTE_MS.cast_signed();
        let scenario = Scenario {
            name: format!("seed {seed}"),
            question: "Does everything hold that must?".to_owned(),
            start: EventTime::saturating_from_ms(FIRST_DAY_MS + minutes * minute_ms),
            past_ms: u64::from(dice.between(15, 30)) * MINUTE_MS,
            length_ms,
            platform,
            money: money(&mut dice),
            surges: estate::surges(&mut Dice::new(seed, 3), &functions, length_ms),
            deploys: estate::deploys(&mut Dice::new(seed, 4), &functions, length_ms),
            attacks: estate::attacks(&mut Dice::new(seed, 5), &functions, length_ms),
            functions,
            loads,
            expect: Expect::default(),
            files: Vec::new(),
            recordings: Vec::new(),
        };
        let settings = tuning::settings(&mut Dice::new(seed, 6), &scenario);
        let troubles = troubles(&mut Dice::new(seed, 7), &scenario);
        let cut = cut(&mut Dice::new(seed, 8), &scenario);
        Self { seed, scenario, settings, troubles, cut }
    }

    /// Whether nothing is wrong but what calls by chance: nobody attacks, and no budget is in
    /// danger.
    pub(super) fn is_benign(&self) -> bool {
        let ample = NanoUsd::from_usd(AMPLE_USD);
        let budget = self.scenario.money.monthly.is_none_or(|monthly| monthly >= ample);
        self.scenario.attacks.is_empty() && budget
    }

    /// Whether everything is as it was at first when all attacks and troubles are over.
    pub(super) fn returns(&self) -> bool {
        let lasts = |trouble: &Trouble| matches!(trouble.kind, TroubleKind::Foreign { .. });
        self.scenario.deploys.is_empty() && !self.troubles.iter().any(lasts)
    }

    /// When the last of the troubles is over.
    pub(super) fn calm_from(&self) -> EventTime {
        let last = self.troubles.iter().map(|trouble| trouble.until_ms).max().unwrap_or(0);
        self.scenario.end().max(self.scenario.start.plus_ms(last))
    }
}

fn conditions(dice: &mut Dice) -> PlatformSettings {
    let delay_ms_min = dice.between(0, 2_000);
    let faults = PipelineFaults {
        late: dice.range(0.0, 0.05),
        late_ms_max: dice.between(1_000, 120_000),
        duplicate: dice.range(0.0, 0.05),
        lost: if dice.chance(0.5) { dice.range(0.0, 0.05) } else { 0.0 },
        reordered: dice.range(0.0, 0.1),
    };
    PlatformSettings {
        concurrency: dice.between(150, 1_000),
        unreserved_minimum: dice.between(0, 100),
        keep_alive_ms: dice.between(10_000, 600_000),
        propagation_ms: dice.pick(&[0, 500, 2_000, 10_000, 45_000]),
        delay_ms_min,
        delay_ms_max: delay_ms_min + dice.between(0, 10_000),
        batch_ms: dice.between(100, 10_000),
        blocked_addresses_max: dice.pick(&[5, 100, 10_000]),
        faults: if dice.chance(0.4) { PipelineFaults::default() } else { faults },
        control_rps: dice.between(1, 15),
        ..PlatformSettings::default()
    }
}

fn money(dice: &mut Dice) -> Money {
    let monthly = match dice.between(0, 2) {
        0 => None,
        1 => Some(NanoUsd::from_usd(AMPLE_USD)),
        _ => Some(NanoUsd::from_usd(dice.scale(0.01, 50.0))),
    };
    Money { monthly, spent: NanoUsd::ZERO }
}

fn troubles(dice: &mut Dice, scenario: &Scenario) -> Vec<Trouble> {
    let last = u32::try_from(scenario.length_ms).unwrap_or(u32::MAX);
    let count = dice.pick(&[0, 0, 1, 1, 2, 3]);
    let trouble = |_| {
        let from_ms = dice.between(0, last);
        let until_ms = (from_ms + dice.between(1_000, 180_000)).min(last);
        let which = which(dice, scenario);
        let function = dice.between(0, u32::MAX) as usize % scenario.functions.len();
        let kind = match dice.between(0, 5) {
            0 => TroubleKind::TooMany,
            1 => TroubleKind::Refusing,
            2 => TroubleKind::Failing,
            3 => TroubleKind::Unanswered,
            4 => TroubleKind::Foreign {
                function: scenario.functions[function].key.clone(),
                value: dice.chance(0.7).then(|| dice.between(1, 40)),
            },
            _ => TroubleKind::Silent { which, kept: dice.chance(0.5) },
        };
        Trouble { kind, from_ms: i64::from(from_ms), until_ms: i64::from(until_ms) }
    };
    (0..count).map(trouble).collect()
}

fn cut(dice: &mut Dice, scenario: &Scenario) -> Cut {
    let last = u32::try_from(scenario.length_ms).unwrap_or(u32::MAX);
    Cut { which: which(dice, scenario), from_ms: i64::from(dice.between(0, last / 1_000)) * 1_000 }
}

fn which(dice: &mut Dice, scenario: &Scenario) -> Which {
    let function = dice.between(0, u32::MAX) as usize % scenario.functions.len();
    dice.pick(&[Which::All, Which::Invocations(function), Which::Callers])
}
