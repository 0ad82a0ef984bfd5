//! The same world once more with one thing changed, and what that must not change.

use super::defect::Defect;
use super::forge;
use super::hands::{Deed, Hands, SharedDeeds, deeds_of};
use super::invariant::{Findings, Invariant};
use super::lab::{Lab, Sums};
use super::plan::{Cut, Plan, Which};
use super::run::Run;
use super::subject::{First, Said, Subject};
use crate::act::dry_run::DryRun;
use crate::control::action::Verb;
use crate::control::settings::Mode;
use crate::simulation::platform::Delivery;
use crate::units::EventTime;

/// What was seen before a cut may be acted on for so long after it, in milliseconds, besides the
/// time that records take, settings leave them, and the last change takes to settle.
const WAKE_MS: i64 = 60_000;
/// An alarm that opens so shortly before the end may come later in the other run, in milliseconds.
const SHIFT_MS: i64 = 60_000;
/// Nor need evidence open one there that exceeds the threshold by less than this, in decades.
const SHIFT_LOG10: f64 = 0.3;
/// More than this share beyond the twin's bill is more: throttled events come again and find
/// another bill than those that were not.
const DEARER: f64 = 1.02;

/// M1: records stop coming.
///
/// - All of them, and the source says so: from then on nothing is done but that restrictions lapse.
/// - Those of one function's invocations: once what was seen before has been dealt with, nothing is
///   begun or tightened there.
/// - Those that say who calls: in a world without attacks nothing is begun that was not begun with
///   them.
pub(super) fn cut(
    plan: &Plan,
    main: &Run,
    findings: &mut Findings,
    defect: Option<Defect>,
) -> anyhow::Result<i64> {
    let mut lab = Lab::new(plan)?;
    let deeds = SharedDeeds::default();
    let hands = Hands::new(plan, &lab.plant, &deeds, defect);
    let mut subject = Subject::new(plan, Box::new(hands), false, defect)?;
    let Cut { which, from_ms } = plan.cut;
    let from = plan.scenario.start.plus_ms(from_ms);
    let expiry = i64::from(plan.settings.control.expiry_seconds) * 1_000;
    let end = match which {
        Which::All => plan.calm_from().max(from.plus_ms(expiry)).plus_ms(WAKE_MS),
        _ => plan.scenario.end(),
    };
    while lab.now < end {
        let mut step = lab.step();
        if lab.now > from {
            match (which, &mut step) {
                (Which::All, step) => *step = None,
                (_, Some(came)) => came.retain(|delivery: &Delivery| !which.has(delivery)),
                (_, None) => {}
            }
        }
        subject.read(&lab.catalog, step.as_deref(), lab.now)?;
    }
    if defect == Some(Defect::ActsOnSilence) {
        forge::cap(plan, &lab, &deeds, &plan.scenario.functions[0].key);
    }
    let deeds = deeds_of(&deeds);
    let begin = plan.scenario.begin();
    if let Some((deed, words)) = acted(plan, main, &deeds.all, from) {
        let second = deed.at.since_ms(begin) / 1_000;
        let (verb, name) = (deed.intent.verb.as_str(), &deed.intent.function.name);
        let cut = from_ms / 1_000;
        let words = format!("{verb} of {name} although {words} from second {cut} of the window on");
        findings.note(Invariant::M1, second, words);
    }
    if which == Which::All {
        let held = subject.pipeline.control().restrictions().count();
        findings.check(Invariant::A2, held == 0, lab.second(), || {
            format!("{held} restrictions have not lapsed, and no record comes any more")
        });
    }
    Ok(lab.now.since_ms(begin))
}

/// The first deed that nothing seen can have led to.
fn acted<'d>(
    plan: &Plan,
    main: &Run,
    deeds: &'d [Deed],
    from: EventTime,
) -> Option<(&'d Deed, &'static str)> {
    let platform = &plan.scenario.platform;
    let control = &plan.settings.control;
    let way = platform.delay_ms_max + platform.batch_ms + platform.faults.late_ms_max;
    let seconds = control.settle_seconds + plan.settings.engine.lateness_seconds;
    let dealt_with = from.plus_ms(WAKE_MS + i64::from(way) + i64::from(seconds) * 1_000);
    let is_more = |deed: &&Deed| matches!(deed.intent.verb, Verb::Restrict | Verb::Tighten);
    match plan.cut.which {
        Which::All => {
            let acts = |deed: &&Deed| deed.at > from && deed.intent.verb != Verb::Expire;
            deeds.iter().find(acts).map(|deed| (deed, "no record came"))
        }
        Which::Invocations(function) => {
            let key = &plan.scenario.functions[function].key;
            let here = |deed: &&Deed| deed.intent.function == *key && deed.at > dealt_with;
            let mut found = deeds.iter().filter(is_more).filter(here);
            found.next().map(|deed| (deed, "no record of its invocations came"))
        }
        Which::Callers => {
            let known = |deed: &&Deed| {
                main.deeds.iter().any(|other| other.intent.function == deed.intent.function)
            };
            let mut found = deeds.iter().filter(is_more).filter(|deed| !known(deed));
            let is_quiet = plan.scenario.attacks.is_empty();
            found.next().filter(|_| is_quiet).map(|deed| (deed, "no record of its callers came"))
        }
    }
}

/// M2: the records of the main run are read twice more in mode observe, once without those of
/// refusals. The same functions have an alarm. When each opens, and whether evidence that hardly
/// suffices does, may differ by little, because event time follows every record; and when it
/// closes by much, because refusals may keep it open.
pub(super) fn refusals(
    plan: &Plan,
    main: &Run,
    findings: &mut Findings,
    defect: Option<Defect>,
) -> anyhow::Result<i64> {
    let mut plan = plan.clone();
    plan.settings.control.mode = Mode::Observe;
    let lab = Lab::new(&plan)?;
    let read = |without_refusals| -> anyhow::Result<Said> {
        let mut subject = Subject::new(&plan, Box::new(DryRun), without_refusals, defect)?;
        for (now, came) in &main.came {
            subject.read(&lab.catalog, came.as_deref(), *now)?;
        }
        Ok(subject.said)
    };
    let (with, without) = (read(false)?, read(true)?);
    let end = plan.scenario.end();
    let opened = |said: &Said, other: &Said| -> Vec<Box<str>> {
        let is_clear = |of: &First| end.since_ms(of.at) > SHIFT_MS && of.margin_log10 > SHIFT_LOG10;
        let first = said.first.iter().filter(|(_, of)| is_clear(of));
        first.map(|(name, _)| name.clone()).filter(|name| !other.first.contains_key(name)).collect()
    };
    let more = [opened(&with, &without), opened(&without, &with)];
    let second = lab.second() + end.since_ms(lab.now) / 1_000;
    findings.check(Invariant::M2, more.iter().all(Vec::is_empty), second, || {
        let [with, without] = more.map(|names| names.join(", "));
        format!("alarms only with the records of refusals: {with:?}, only without: {without:?}")
    });
    Ok(2 * plan.scenario.end().since_ms(plan.scenario.begin()))
}

/// M3: nobody guards the same world.
pub(super) fn unguarded(
    plan: &Plan,
    main: &Run,
    findings: &mut Findings,
) -> anyhow::Result<(i64, u64)> {
    let mut lab = Lab::new(plan)?;
    while lab.now < main.end {
        lab.step();
    }
    let second = lab.second();
    let length_ms = lab.now.since_ms(plan.scenario.begin());
    let Sums { cost, denied } = lab.sums;
    let guarded = &main.sums;
    let words = || {
        format!(
            "with bursar {} and {} users turned away, without {cost} and {denied}",
            guarded.cost, guarded.denied
        )
    };
    if plan.is_benign() {
        let holds = guarded.cost <= cost && guarded.denied <= denied;
        findings.check(Invariant::M3, holds, second, words);
    } else {
        let is_dearer = guarded.cost.usd() > cost.usd() * DEARER;
        findings.check(Invariant::M3, !(is_dearer && guarded.denied > denied), second, words);
    }
    Ok((length_ms, super::run::invocations(&lab)))
}
