//! Is the promise kept? Mean time between false alarms, beside the threshold that it follows from.

use anyhow::Result;
use bursar::engine::detect::Thresholds;
use bursar::engine::detect::rate::{RateEvidence, RateModel};
use bursar::engine::settings::DetectionSettings;
use bursar::simulation::draw::derive;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::Plan;
use crate::driver::{Case, Driver, MONDAY, Prices, lone_function};
use crate::functions::Call;
use crate::laws::negative_binomial;
use crate::numbers::{COMPARED, SHOWN, Tail, poisson_interval, shown};
use crate::parallel;
use crate::results::{Better, Measure, Section, Table};

/// Thresholds, in looks: seconds.
const THRESHOLDS: [f64; 5] = [1e2, 1e3, 1e4, 1e5, 1e6];
/// Calls a second, and how many functions are watched at full size.
const RATES: [(f64, usize); 3] = [(0.1, 150), (1.0, 40), (10.0, 30)];
/// Seconds that only teach: more than a day, as the day is part of what is normal.
const LEARNING_SECONDS: i64 = 26 * 3_600;
/// Seconds that count.
const COUNTED_SECONDS: i64 = 36 * 3_600;
/// What a call needs.
const BILLED_MS: u32 = 100;
const MEMORY_MB: u32 = 512;
/// The page floor in parts of the true rate. Low, so that it hides nothing; and not zero, or the
/// first calls of every function would be an alarm that stays.
const FLOOR_PART: f64 = 0.2;
/// Cron jobs grow to their size within so many seconds of the learning.
const GROWING_SECONDS: f64 = 20.0 * 3_600.0;

/// Traffic in which nothing is wrong.
#[derive(Clone, Copy)]
enum Traffic {
    Poisson,
    /// Negative-binomial, with this dispersion a second.
    Uneven(f64),
    /// Poisson, its rate up and down by half within an hour.
    Wobble,
    /// Poisson, four times as much at noon as at midnight.
    Day,
    /// Half of the calls at random, a quarter every five minutes and a quarter every hour.
    Clock,
    /// Poisson, with bursts far outside of the envelope.
    Bursts,
}

const TRAFFIC: [(&str, Traffic); 8] = [
    ("Poisson", Traffic::Poisson),
    ("negative binomial, phi 0.1", Traffic::Uneven(0.1)),
    ("negative binomial, phi 0.5", Traffic::Uneven(0.5)),
    ("negative binomial, phi 1", Traffic::Uneven(1.0)),
    ("sine, x1.5 in an hour", Traffic::Wobble),
    ("day, x4", Traffic::Day),
    ("cron, every 5 min and hour", Traffic::Clock),
    (CONTROL, Traffic::Bursts),
];
/// Outside of what is promised: were that kept, the measurement would be blind.
const CONTROL: &str = "control: x20 for 30 s every 1,000 s";

impl Traffic {
    /// Whether its mean, given the past, stays within the envelope second by second. Where it does
    /// not, nothing is promised, and alarms come in runs, for which the intervals are too narrow.
    fn is_promised(self) -> bool {
        !matches!(self, Traffic::Clock | Traffic::Bursts)
    }

    fn count(self, rate: f64, second: i64, rng: &mut ChaCha8Rng) -> u64 {
        let turn = |period: f64| (second as f64 / period * std::f64::consts::TAU).sin();
        match self {
            Traffic::Poisson => negative_binomial(rate, 0.0, rng),
            Traffic::Uneven(phi) => negative_binomial(rate, phi, rng),
            Traffic::Wobble => negative_binomial(rate * 1.5_f64.powf(turn(3_600.0)), 0.0, rng),
            Traffic::Day => negative_binomial(rate * 2.0_f64.powf(turn(86_400.0)), 0.0, rng),
            Traffic::Bursts => {
                let burst = second >= LEARNING_SECONDS && second % 1_000 < 30;
                negative_binomial(if burst { 20.0 * rate } else { rate }, 0.0, rng)
            }
            Traffic::Clock => {
                let five = if second % 300 < 10 { 7.5 * rate } else { 0.0 };
                let hour = if second % 3_600 < 90 { 10.0 * rate } else { 0.0 };
                let grown = (second as f64 / GROWING_SECONDS).min(1.0);
                negative_binomial(rate / 2.0 + grown * (five + hour), 0.0, rng)
            }
        }
    }
}

pub(crate) fn section(plan: &Plan) -> Result<Section> {
    let mut section = Section::new("promise");
    section.note(format!(
        "Synthetic traffic through the whole engine with what it has learned: {} h that only \
         teach, {} h that count, on many functions. The page floor is lowered to the price \
         of {FLOOR_PART} times the true rate, far below the envelope, so that it hides \
         nothing; the promise is set so that a channel's threshold is A.",
        LEARNING_SECONDS / 3_600,
        COUNTED_SECONDS / 3_600
    ));
    section.note(
        "Seconds between two alarms, time under an alarm left out, divided by A: 1 or more is \
         kept. In brackets the 95 % interval and the number of alarms; without an alarm the lower \
         end of the interval.",
    );
    let cells: Vec<_> = (0..TRAFFIC.len())
        .flat_map(|traffic| RATES.map(|(rate, functions)| (traffic, rate, functions)))
        .collect();
    let results = parallel::map(cells.len(), |cell| {
        let (traffic, rate, functions) = cells[cell];
        eprintln!("  {}, {rate}/s", TRAFFIC[traffic].0);
        let seed = derive(plan.seed, cell as u64);
        watch(TRAFFIC[traffic].1, rate, plan.scaled(functions, 2), seed)
    });
    let columns: Vec<_> = THRESHOLDS.iter().map(|a| format!("A = {a:.0e}")).collect();
    let mut names = vec!["traffic", "calls/s", "seconds watched"];
    names.extend(columns.iter().map(String::as_str));
    let mut table = Table::new("Mean time between false alarms, divided by A", &names);
    let mut broken = Vec::new();
    for (&(traffic, rate, _), runs) in cells.iter().zip(&results) {
        let name = TRAFFIC[traffic].0;
        let mut row = vec![name.to_owned(), rate.to_string()];
        row.push(shown(runs.iter().map(|run| run.seconds).fold(f64::INFINITY, f64::min)));
        for (run, threshold) in runs.iter().zip(THRESHOLDS) {
            let ratio = run.ratio(threshold, SHOWN);
            row.push(run.shown(ratio));
            let cell = format!("{name}, {rate}/s, A = {threshold:.0e}");
            if ratio.high < 1.0 {
                broken.push(cell.clone());
            }
            if TRAFFIC[traffic].1.is_promised() {
                let measure = run.ratio(threshold, COMPARED);
                section.measure(format!("{cell}: mean time / A"), measure);
            }
        }
        table.row(row);
    }
    let (control, broken): (Vec<_>, Vec<_>) =
        broken.into_iter().partition(|cell| cell.starts_with(CONTROL));
    section.note(format!(
        "The control does what nobody promises; {} of its {} cells are below 1 for certain.",
        control.len(),
        RATES.len() * THRESHOLDS.len()
    ));
    section.note(if broken.is_empty() {
        "Apart from the control the whole interval is below 1 nowhere.".to_owned()
    } else {
        format!("**Below 1 for certain: {}**", broken.join("; "))
    });
    section.note(
        "Clumps of cron jobs are denser within their minute than the minute's mean that is \
         learned, so for them the promise's condition does not hold: measured, not compared.",
    );
    section.tables.push(table);
    means(&mut section);
    Ok(section)
}

/// Time without an alarm, and how often one came.
struct Run {
    seconds: f64,
    alarms: usize,
}

impl Run {
    fn ratio(&self, threshold: f64, tail: Tail) -> Measure {
        let (low, high) = poisson_interval(self.alarms, tail);
        let of = |alarms: f64| self.seconds / alarms / threshold;
        let value = if self.alarms == 0 { of(high) } else { of(self.alarms as f64) };
        Measure::new(value, (of(high), of(low)), Better::Higher)
    }

    fn shown(&self, ratio: Measure) -> String {
        if self.alarms == 0 {
            return format!("≥ {} (0)", shown(ratio.low));
        }
        let (value, low, high) = (shown(ratio.value), shown(ratio.low), shown(ratio.high));
        format!("{value} ({low} to {high}; {})", self.alarms)
    }
}

/// Functions of one kind, seen by one engine a threshold.
fn watch(traffic: Traffic, rate: f64, functions: usize, seed: u64) -> Vec<Run> {
    let names = (0..functions).map(|index| (lone_function(index), false));
    let usd_per_hour = Prices::new().per_call(false, BILLED_MS, MEMORY_MB) * rate * 3_600.0;
    let settings = THRESHOLDS.map(|threshold| promising(threshold, FLOOR_PART * usd_per_hour));
    let mut driver = Driver::with_engines(names, MONDAY, settings.to_vec());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut calls = Vec::new();
    for second in 0..LEARNING_SECONDS + COUNTED_SECONDS {
        calls.clear();
        for function in 0..functions as u32 {
            // So that they do not all have their noon and their cron jobs at the same time.
            let own = second + i64::from(function) * 977;
            let count = traffic.count(rate, own, &mut rng);
            let call =
                Call { function, billed_ms: BILLED_MS, memory_mb: MEMORY_MB, ..Call::default() };
            calls.extend((0..count).map(|_| call));
        }
        driver.second(&calls);
    }
    let from = MONDAY + LEARNING_SECONDS;
    let all = functions as f64 * COUNTED_SECONDS as f64;
    let runs = (0..THRESHOLDS.len()).map(|engine| {
        let cases = driver.cases(engine);
        // Time under an alarm can bring no other; one may be open since the learning.
        let under =
            |case: &Case| (case.last_at.second() - case.decided_at.second().max(from)).max(0);
        let seconds = all - cases.iter().map(under).sum::<i64>() as f64;
        let alarms = cases.iter().filter(|case| case.decided_at.second() >= from).count();
        Run { seconds, alarms }
    });
    runs.collect()
}

/// Settings with this threshold and this page floor.
fn promising(threshold: f64, page_floor_usd_per_hour: f64) -> DetectionSettings {
    let one = DetectionSettings {
        pages_per_day: 1.0,
        estate_functions: 1,
        page_floor_usd_per_hour,
        ..DetectionSettings::default()
    };
    let pages_per_day = Thresholds::new(&one).fast / threshold;
    DetectionSettings { pages_per_day, ..one }
}

/// Tolerated means and dispersions at which the mean of the evidence is summed.
const TOLERATED: [f64; 6] = [0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0];
const DISPERSIONS: [f64; 5] = [0.05, 0.1, 0.5, 1.0, 10.0];
/// True mean and dispersion, as parts of the tolerated.
const TRUE_PARTS: [(f64, f64); 5] = [(1.0, 1.0), (1.0, 0.5), (0.7, 1.0), (0.3, 0.2), (0.01, 1.0)];

/// The mean of a second's evidence, by summing over all counts.
fn means(section: &mut Section) {
    let threshold = Thresholds::new(&DetectionSettings::default()).fast;
    let title = format!("Mean of a second's evidence at A = {threshold:.3e}, at most");
    let phis: Vec<_> = DISPERSIONS.iter().map(|phi| format!("phi {phi}")).collect();
    let mut names = vec!["tolerated calls/s"];
    names.extend(phis.iter().map(String::as_str));
    let mut table = Table::new(title, &names);
    let mut most = 0.0_f64;
    for tolerated in TOLERATED {
        let mut row = vec![tolerated.to_string()];
        for phi in DISPERSIONS {
            let model = RateModel::new(tolerated, phi);
            let means = TRUE_PARTS
                .map(|(mean, calm)| mean_evidence(&model, threshold, mean * tolerated, calm * phi));
            let highest = means.into_iter().fold(0.0, f64::max);
            most = most.max(highest);
            row.push(format!("{highest:.9}"));
        }
        table.row(row);
    }
    section.note(format!(
        "The second table is exact: the mean of one second's evidence under negative-binomial laws \
         of the tolerated mean and dispersion and below, of which the highest is shown. It must \
         not exceed 1; it is at most 1 + {:.1e}.",
        (most - 1.0).max(0.0)
    ));
    let rounded = Measure::new(most, (most, most + 1e-9), Better::Lower);
    section.measure("highest mean of a second's evidence".to_owned(), rounded);
    section.tables.push(table);
}

/// Sum over counts of probability times evidence. Evidence is clamped at a few times the threshold,
/// so the sum ends where the probability of what is left is too small to matter.
fn mean_evidence(model: &RateModel, threshold: f64, mean: f64, phi: f64) -> f64 {
    let size = 1.0 / phi;
    let step = phi * mean / (1.0 + phi * mean);
    let mut ln_p = size * (-step).ln_1p();
    let mut sum = 0.0;
    for count in 0_u64.. {
        let mut evidence = RateEvidence::default();
        evidence.second(model, count, threshold);
        sum += ln_p.exp() * evidence.value();
        let ratio = step * (size + count as f64) / (count as f64 + 1.0);
        ln_p += ratio.ln();
        // What is left is less than a geometric series, times the clamp.
        if ratio < 1.0 && ln_p.exp() / (1.0 - ratio) * 10.0 * threshold < 1e-12 {
            break;
        }
    }
    sum
}
