//! What is turned, how far, and settings that are drawn from it.

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::config::problems::ConfigProblems;
use crate::config::settings::Settings;

/// A knob keeps its value with this probability: settings that differ in everything teach little,
/// and the fewer keys a result changes the better it is understood.
const KEPT: f64 = 0.5;
/// So often a candidate is drawn anew when its settings contradict each other.
const DRAWS_MAX: u32 = 100;

/// One key that is turned, from `low` to `high`. All of them are drawn log-uniformly: what matters
/// of a price floor or of a wait is how many times as large it is.
#[derive(Debug, Clone, Copy)]
pub struct Knob {
    /// The key.
    pub path: &'static str,
    low: f64,
    high: f64,
    form: Form,
}

/// How a value is written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Real,
    Whole,
    Seconds,
}

/// Ranges around what makes sense, well within what is accepted. The promise of false alarms is not
/// among them: it is what its owner wants, and scenarios of an hour cannot measure it.
pub const KNOBS: [Knob; 10] = [
    real("detection.envelope", 1.2, 5.0),
    real("detection.notice_floor_usd_per_hour", 0.005, 1.0),
    real("detection.page_floor_usd_per_hour", 0.05, 10.0),
    real("detection.page_after_usd", 0.005, 1.0),
    real("control.action_floor_usd_per_hour", 0.05, 20.0),
    Knob { path: "control.cap_floor", low: 1.0, high: 20.0, form: Form::Whole },
    seconds("control.settle", 5.0, 60.0),
    seconds("control.quiet", 15.0, 600.0),
    seconds("control.canary", 10.0, 300.0),
    seconds("control.hold_down", 60.0, 3_600.0),
];

const fn real(path: &'static str, low: f64, high: f64) -> Knob {
    Knob { path, low, high, form: Form::Real }
}

const fn seconds(path: &'static str, low: f64, high: f64) -> Knob {
    Knob { path, low, high, form: Form::Seconds }
}

impl Knob {
    /// A value with two significant digits, as it is written in the environment.
    fn draw(&self, random: &mut ChaCha8Rng) -> String {
        let (low, high) = (libm::log(self.low), libm::log(self.high));
        let value = libm::exp(low + (high - low) * random.random::<f64>());
        let unit = libm::pow(10.0, libm::floor(libm::log10(value)) - 1.0);
        let value = match self.form {
            Form::Real => (value / unit).round() * unit,
            Form::Whole | Form::Seconds => (value / unit.max(1.0)).round() * unit.max(1.0),
        };
        match self.form {
            // Two digits again, because a product of floats has more.
            Form::Real => format!("{:.*}", decimals(value), value),
            Form::Whole => format!("{value:.0}"),
            Form::Seconds => format!("{value:.0}s"),
        }
    }
}

fn decimals(value: f64) -> usize {
    let place = 1.0 - libm::floor(libm::log10(value) + 1e-9);
    usize::try_from(crate::units::whole(place)).unwrap_or(0)
}

/// Settings to be tried.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Complete.
    pub settings: Settings,
    /// Their fingerprint.
    pub sha256: String,
    /// What was turned to get them, as pairs of variable and value.
    pub turned: Vec<Turned>,
}

/// A variable and its value.
pub type Turned = (String, String);

/// Makes settings of pairs of variable and value that lie over everything else: so a candidate is
/// checked as any other settings are.
pub type Load<'a> = dyn Fn(Vec<Turned>) -> Result<Settings, ConfigProblems> + 'a;

impl Candidate {
    /// Settings with these knobs turned.
    ///
    /// # Errors
    /// They contradict each other.
    pub fn new(turned: Vec<Turned>, load: &Load<'_>) -> Result<Self, ConfigProblems> {
        let settings = load(turned.clone())?;
        Ok(Self { sha256: settings.sha256(), settings, turned })
    }

    /// The same with one knob as it was, for each that was turned; `None` where that is refused.
    pub fn turned_back(&self, load: &Load<'_>) -> Vec<Option<Self>> {
        let without = |skipped: usize| {
            let others = self.turned.iter().enumerate().filter(|(place, _)| *place != skipped);
            Self::new(others.map(|(_, turned)| turned.clone()).collect(), load).ok()
        };
        (0..self.turned.len()).map(without).collect()
    }
}

/// The settings to start from, and others drawn around them; no two are alike, so there may be
/// fewer than asked for.
///
/// # Errors
/// The settings to start from are refused.
pub fn candidates(
    count: usize,
    seed: u64,
    load: &Load<'_>,
) -> Result<Vec<Candidate>, ConfigProblems> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let first = Candidate::new(Vec::new(), load)?;
    let mut seen = BTreeMap::from([(first.sha256.clone(), ())]);
    let mut candidates = vec![first];
    for _ in 1..count {
        for _ in 0..DRAWS_MAX {
            let turned = KNOBS.iter().filter_map(|knob| {
                // Always drawn, so that what one knob does changes no other.
                let value = knob.draw(&mut random);
                let kept = random.random::<f64>() < KEPT;
                (!kept).then(|| (variable(knob.path), value))
            });
            let Ok(candidate) = Candidate::new(turned.collect(), load) else {
                continue;
            };
            if seen.insert(candidate.sha256.clone(), ()).is_none() {
                candidates.push(candidate);
                break;
            }
        }
    }
    Ok(candidates)
}

/// The variable that sets a key.
fn variable(path: &str) -> String {
    format!("BURSAR__{}", path.replace('.', "__").to_uppercase())
}
