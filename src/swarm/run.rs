//! One closed loop through a world: first everything happens that may, and what must hold at any
//! time is looked at every second; then nothing more goes wrong, and everything must come to rest.

use super::defect::Defect;
use super::forge;
use super::hands::{Deed, Hands, SharedDeeds, deeds_of};
use super::invariant::{Findings, Invariant};
use super::lab::{Came, Lab, Sums};
use super::plan::{Plan, TroubleKind};
use super::subject::{Given, Said, Subject};
use super::watch::Watch;
use crate::cost::{CostSettings, Drag, Gateway, PriceBook, Usage};
use crate::record::Architecture;
use crate::simulation::plant::lock;
use crate::simulation::platform::{Counts, FunctionSpec, Tariff};
use crate::units::{EventTime, MbMillis, NanoUsd};

/// Everything has come to rest by then, in milliseconds after the last trouble: a notice stays open
/// for ten minutes, events are tried again for four, and what was learned meanwhile may open
/// another alarm.
const REST_MS: i64 = 45 * 60_000;

/// What a run leaves.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) findings: Findings,
    pub(super) end: EventTime,
    pub(super) sums: Sums,
    pub(super) deeds: Vec<Deed>,
    pub(super) said: Said,
    /// What came, step by step, as far as the window goes.
    pub(super) came: Vec<(EventTime, Came)>,
    pub(super) invocations: u64,
    pub(super) records: u64,
    pub(super) faults: u64,
}

/// Runs bursar through a world.
pub(super) fn run(plan: &Plan, defect: Option<Defect>) -> anyhow::Result<Run> {
    let mut lab = Lab::new(plan)?;
    let deeds = SharedDeeds::default();
    let hands = Hands::new(plan, &lab.plant, &deeds, defect);
    let mut subject = Subject::new(plan, Box::new(hands), false, defect)?;
    let mut watch = Watch::new(plan);
    let (mut came, mut is_forged) = (Vec::new(), false);
    loop {
        let step = lab.step();
        subject.read(&lab.catalog, step.as_deref(), lab.now)?;
        if !is_forged && lab.now >= plan.scenario.start {
            is_forged = true;
            forge::at_start(plan, &lab, &deeds, defect);
        }
        if lab.now <= plan.scenario.end() {
            came.push((lab.now, step));
        }
        if lab.now.ms() % 1_000 != 0 {
            continue;
        }
        watch.look(&lab, &deeds_of(&deeds).all, &subject);
        if lab.now < plan.calm_from() {
            continue;
        }
        if !subject.said.lasts() && !watch.is_holding(&lab).0 && !lab.is_holding_back() {
            break;
        }
        if lab.now.since_ms(plan.calm_from()) >= REST_MS {
            restless(plan, &lab, &subject, &mut watch);
            break;
        }
    }
    let end = lab.now;
    let rest = lab.drain();
    subject.read(&lab.catalog, Some(&rest), lab.now)?;
    subject.finish(lab.now)?;
    let mut findings = watch.findings;
    let backlog = lab.backlog();
    findings.check(Invariant::L2, backlog == 0, lab.second(), || {
        format!("{backlog} events still wait when nobody has called for an hour")
    });
    bill(plan, &lab, &subject, &mut findings);
    let deeds = std::mem::take(&mut *deeds_of(&deeds));
    let faulty = lock(&lab.plant).platform().map_or(0, |platform| platform.faulty());
    let invocations = invocations(&lab);
    Ok(Run {
        findings,
        end,
        sums: lab.sums,
        faults: deeds.spoilt + faulty + lab.withheld + lab.foreign.len() as u64,
        deeds: deeds.all,
        said: subject.said,
        came,
        invocations,
        records: subject.given.records,
    })
}

fn restless(plan: &Plan, lab: &Lab<'_>, subject: &Subject, watch: &mut Watch<'_>) {
    // Where code or limits have changed for good, nothing is again as it was.
    if !plan.returns() {
        return;
    }
    let (second, minutes) = (lab.second(), REST_MS / 60_000);
    let (_, is_holding) = watch.is_holding(lab);
    let said = &subject.said;
    // What adds up dollars over hours is over in hours, and may hold something until then.
    let is_slow = said.open.values().any(|open| open.is_slow);
    watch.findings.check(Invariant::A2, is_slow || !is_holding, second, || {
        format!("something is still in force {minutes} minutes after the last trouble")
    });
    watch.findings.check(Invariant::L1, !said.lasts(), second, || {
        let of = said.open.values().map(|open| open.function.as_deref().unwrap_or("the account"));
        let functions = of.collect::<Vec<_>>().join(", ");
        format!("alarms about {functions} are open {minutes} minutes after the last trouble")
    });
}

/// What the platform has billed: invocations and what they used.
fn billed(lab: &Lab<'_>) -> (u64, MbMillis) {
    let mut plant = lock(&lab.plant);
    let Some(platform) = plant.platform() else {
        return (0, MbMillis(0));
    };
    let attacks = u16::try_from(lab.attacks()).unwrap_or(0);
    let all = [None].into_iter().chain((0..attacks).map(Some));
    let sum = all
        .map(|attack| platform.tally(attack).counts)
        .fold(Counts::default(), |sum, counts| sum.plus(&counts));
    (sum.invocations, sum.usage)
}

/// Invocations that the platform has billed.
pub(super) fn invocations(lab: &Lab<'_>) -> u64 {
    billed(lab).0
}

/// C4: what was delivered is what the engine counts, prices, and the platform bills.
fn bill(plan: &Plan, lab: &Lab<'_>, subject: &Subject, findings: &mut Findings) {
    let (second, given) = (lab.second(), &subject.given);
    let totals = subject.pipeline.totals();
    let counted: Usage = totals.usage.iter().fold(Usage::ZERO, |mut sum, (_, _, _, used)| {
        sum += *used;
        sum
    });
    // What comes again when more has come since than is remembered is taken for new.
    let remembers = plan.settings.engine.deliveries_max as u64 >= given.came;
    let is_counted = if remembers {
        (counted.requests, counted.mb_ms) == (given.requests, given.usage)
    } else {
        (given.requests..=given.came).contains(&counted.requests)
    };
    findings.check(Invariant::C4, is_counted, second, || {
        let (has, was) = (counted.requests, given.requests);
        let (has_ms, was_ms) = (counted.mb_ms.0, given.usage.0);
        format!("{has} invocations, {has_ms} MB ms are counted; delivered {was}, {was_ms} MB ms")
    });
    if remembers
        && plan.settings.cost.gateway == Gateway::None
        && plan.settings.cost.response_bytes > 0
    {
        let due = priced(plan, given);
        // Each price row is rounded once, and so is each function.
        let rounding = (totals.usage.len() + plan.scenario.functions.len()) as u64;
        let off = totals.spend.0.abs_diff(due.0);
        findings.check(Invariant::C4, off <= rounding, second, || {
            format!("what was delivered costs {due}, the engine says {}", totals.spend)
        });
    }
    let loses = |kind: &TroubleKind| matches!(kind, TroubleKind::Silent { kept: false, .. });
    let is_whole = plan.scenario.platform.faults.lost <= 0.0
        && !plan.troubles.iter().any(|trouble| loses(&trouble.kind));
    if is_whole {
        let due = billed(lab);
        findings.check(Invariant::C4, due == (given.requests, given.usage), second, || {
            let (was, is) = (given.requests, due.0);
            format!("{was} invocations were delivered, the platform has billed {is}")
        });
    }
}

/// By the provider's own tariff, for records that do not name an architecture.
fn priced(plan: &Plan, given: &Given) -> NanoUsd {
    let cost = &plan.settings.cost;
    let small = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    let drag = Drag {
        gateway: cost.gateway,
        log_bytes: small(cost.log_bytes_per_invocation),
        response_bytes: Some(small(cost.response_bytes)),
        downstream_nano_usd: NanoUsd::from_usd(cost.extra_usd_per_million_requests / 1e6)
            .0
            .unsigned_abs(),
        ..Drag::default()
    };
    let settings = CostSettings { drag, ..CostSettings::default() };
    let plain =
        |spec: &FunctionSpec| FunctionSpec { architecture: Architecture::X86_64, ..spec.clone() };
    let specs: Vec<FunctionSpec> = plan.scenario.functions.iter().map(plain).collect();
    let tariff = Tariff::new(specs.iter(), &settings, &PriceBook::builtin(), plan.scenario.start);
    let each = specs.iter().enumerate().filter_map(|(index, spec)| {
        let (invocations, usage) = *given.functions.get(&spec.key.name)?;
        Some(tariff.cost(index, &Counts { invocations, usage, ..Counts::default() }))
    });
    each.sum()
}
