//! Whether an attack is told from a crowd, and how soon.

use bursar::engine::attribution::crowd::Verdict;
use bursar::engine::attribution::pane::Pane;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::traffic::{Call, MEAN_MS, Population, USERS, batch_of, call, reference_of, rng};
use crate::{Arguments, percent};

/// Clients that a flash crowd is drawn from.
const STRANGERS: u32 = 20_000;
/// Requests of a surge.
const SURGE_REQUESTS: usize = 2_000;

/// Who calls usually.
#[derive(Clone, Copy)]
pub(crate) enum Callers {
    Alike,
    Zipf(f64),
    Servers(u32),
}

impl Callers {
    fn name(self) -> String {
        match self {
            Callers::Alike => "2,000 users alike".into(),
            Callers::Zipf(exponent) => format!("2,000 users, Zipf {exponent:.1}, NAT, batch"),
            Callers::Servers(count) => format!("{count} server-side clients"),
        }
    }

    fn population(self, rng: &mut ChaCha8Rng) -> Population {
        match self {
            Callers::Alike => Population::new(USERS, None, 10, rng),
            Callers::Zipf(exponent) => Population::new(USERS, Some(exponent), 10, rng),
            Callers::Servers(count) => Population::servers(count),
        }
    }
}

/// What comes on top.
#[derive(Clone, Copy)]
pub(crate) enum Surge {
    /// So many attackers.
    Attackers(u32),
    /// The same callers, proportionally more.
    Busy,
    /// New callers, alike or with the Zipf popularity of the usual ones.
    Flash(Option<f64>),
    /// The same with one of them sending three in ten requests.
    FlashAndBatch(Option<f64>),
    /// Every request from a new address; failing or not.
    EverNew(bool),
}

impl Surge {
    fn name(self) -> String {
        match self {
            Surge::Attackers(count) => format!("{count} attackers"),
            Surge::Busy => "busy day".into(),
            Surge::Flash(None) => "flash crowd, alike".into(),
            Surge::Flash(Some(exponent)) => format!("flash crowd, Zipf {exponent:.1}"),
            Surge::FlashAndBatch(None) => "flash crowd, alike, and a new batch job".into(),
            Surge::FlashAndBatch(Some(exponent)) => {
                format!("flash crowd, Zipf {exponent:.1}, and a new batch job")
            }
            Surge::EverNew(false) => "ever new addresses".into(),
            Surge::EverNew(true) => "ever new addresses, failing".into(),
        }
    }

    /// Requests in order, one in `usual_in` of them ordinary.
    fn calls(self, usual: &mut Population, usual_in: u32, rng: &mut ChaCha8Rng) -> Vec<Call> {
        let exponent = match self {
            Surge::Flash(exponent) | Surge::FlashAndBatch(exponent) => exponent,
            _ => None,
        };
        let mut strangers = Population::new(STRANGERS, exponent, 20, rng);
        (0..SURGE_REQUESTS as u32)
            .map(|index| {
                if rng.random_range(0..usual_in) == 0 {
                    return call(usual.draw(rng), rng);
                }
                let address = match self {
                    Surge::Attackers(count) => (203 << 24) + rng.random_range(0..count) * 256 + 1,
                    Surge::Busy => usual.draw(rng),
                    Surge::Flash(_) => strangers.draw(rng),
                    Surge::FlashAndBatch(_) if rng.random_bool(0.3) => 99 << 24,
                    Surge::FlashAndBatch(_) => strangers.draw(rng),
                    Surge::EverNew(_) => (203 << 24) + index * 256 + 1,
                };
                let failed = matches!(self, Surge::EverNew(true)) && rng.random_bool(0.5);
                Call { failed, ..call(address, rng) }
            })
            .collect()
    }
}

/// One row of the tables of verdicts; shares of runs.
#[derive(Serialize)]
pub(crate) struct VerdictRow {
    usual: String,
    surge: String,
    /// Share of the surge's requests that are ordinary.
    ordinary: f64,
    attack: f64,
    crowd: f64,
    unknown: f64,
    /// Requests until an attack was called one: median and 95th percentile, where there are.
    requests_p50: Option<usize>,
    requests_p95: Option<usize>,
    within_50: f64,
    within_100: f64,
}

pub(crate) fn verdicts(
    arguments: &Arguments,
    rows: &[(Callers, Surge, u32)],
    first: u64,
) -> Vec<VerdictRow> {
    let row = |(index, &(callers, surge, usual_in)): (usize, &(Callers, Surge, u32))| {
        let mut counts = [0.0; 3];
        let mut called: Vec<usize> = Vec::new();
        for run in 0..arguments.runs {
            let rng = &mut rng(arguments.seed, first + index as u64, run);
            let mut population = callers.population(rng);
            let reference = reference_of(&mut population, rng);
            let calls = surge.calls(&mut population, usual_in, rng);
            let batch = batch_of(&calls, 10.0, false);
            let mut pane = Pane::new(MEAN_MS, &reference);
            let mut when = None;
            for (place, event) in batch.events().iter().enumerate() {
                pane.add(&batch, event, &reference);
                let early = matches!(surge, Surge::Attackers(_)) && place < 400;
                if early && pane.crowd(&reference).verdict == Verdict::Attack && when.is_none() {
                    when = Some(place + 1);
                }
            }
            let verdict = pane.crowd(&reference).verdict;
            counts[verdict as usize] += 1.0 / f64::from(arguments.runs);
            called.extend(when);
        }
        called.sort_unstable();
        let place = |part: f64| called.get((part * f64::from(arguments.runs)) as usize).copied();
        let within = |most: usize| {
            called.iter().filter(|&&requests| requests <= most).count() as f64
                / f64::from(arguments.runs)
        };
        VerdictRow {
            usual: callers.name(),
            surge: surge.name(),
            ordinary: 1.0 / f64::from(usual_in),
            attack: counts[Verdict::Attack as usize],
            crowd: counts[Verdict::Crowd as usize],
            unknown: counts[Verdict::Unknown as usize],
            requests_p50: place(0.5),
            requests_p95: place(0.95),
            within_50: within(50),
            within_100: within(100),
        }
    };
    rows.iter().enumerate().map(row).collect()
}

pub(crate) fn attack_rows() -> Vec<(Callers, Surge, u32)> {
    let usual = [
        Callers::Alike,
        Callers::Zipf(1.0),
        Callers::Zipf(1.3),
        Callers::Servers(1),
        Callers::Servers(5),
    ];
    let mut rows: Vec<_> =
        usual.iter().map(|&callers| (callers, Surge::Attackers(20), 11)).collect();
    rows.push((Callers::Alike, Surge::Attackers(20), 2));
    for count in [5, 100, 500] {
        rows.push((Callers::Alike, Surge::Attackers(count), 11));
        rows.push((Callers::Zipf(1.0), Surge::Attackers(count), 11));
        rows.push((Callers::Servers(5), Surge::Attackers(count), 11));
    }
    rows
}

pub(crate) fn benign_rows() -> Vec<(Callers, Surge, u32)> {
    let mut rows = Vec::new();
    for exponent in [1.0, 1.1, 1.2, 1.3] {
        let usual = Callers::Zipf(exponent);
        rows.push((usual, Surge::Busy, 11));
        rows.push((usual, Surge::Flash(Some(exponent)), 11));
        rows.push((usual, Surge::Flash(Some(exponent)), 3));
        rows.push((usual, Surge::FlashAndBatch(Some(exponent)), 11));
        rows.push((Callers::Servers(5), Surge::Flash(Some(exponent)), 11));
    }
    rows.push((Callers::Alike, Surge::Busy, 11));
    rows.push((Callers::Alike, Surge::Flash(None), 11));
    rows.push((Callers::Alike, Surge::FlashAndBatch(None), 11));
    rows.push((Callers::Servers(5), Surge::Busy, 11));
    rows.push((Callers::Servers(5), Surge::Flash(None), 11));
    rows.push((Callers::Servers(1), Surge::Flash(None), 11));
    rows
}

pub(crate) fn botnet_rows() -> Vec<(Callers, Surge, u32)> {
    [Callers::Alike, Callers::Zipf(1.0), Callers::Servers(5)]
        .into_iter()
        .flat_map(|usual| [false, true].map(|failing| (usual, Surge::EverNew(failing), 11)))
        .collect()
}

pub(crate) fn print_verdicts(rows: &[VerdictRow]) {
    println!(
        "| usual callers | surge | ordinary | attack | crowd | unknown | requests to `attack`, \
         p50 | p95 | within 50 | within 100 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let shown = |value: Option<usize>| value.map_or("-".into(), |value| value.to_string());
    for row in rows {
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.usual,
            row.surge,
            percent(row.ordinary),
            percent(row.attack),
            percent(row.crowd),
            percent(row.unknown),
            shown(row.requests_p50),
            shown(row.requests_p95),
            percent(row.within_50),
            percent(row.within_100),
        );
    }
}
