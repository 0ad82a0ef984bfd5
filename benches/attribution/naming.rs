//! Whether the right sources are named, with bounds that hold.

use std::collections::{BTreeMap, BTreeSet};

use bursar::engine::attribution::reference::Reference;
use bursar::engine::attribution::{Attribution, Usual};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::Distribution;
use serde::Serialize;

use crate::traffic::{
    Call, MEAN_MS, Population, REFERENCE_REQUESTS, USERS, batch_of, call, pane_of, rng,
};
use crate::{Arguments, percent};

/// Who attacks, and how the figures are counted.
#[derive(Clone, Copy)]
struct Attack {
    name: &'static str,
    attackers: u32,
    /// All in one network.
    neighbours: bool,
    /// Attack requests over ordinary requests.
    strength: f64,
    /// The first so many attackers' requests take ten times as long.
    dear: u32,
    /// The first attacker shares the address of so many in a hundred ordinary requests.
    shared: u32,
    /// Callers and costs stand in two records.
    joined: bool,
    exponent: Option<f64>,
}

const TWENTY: Attack = Attack {
    name: "20 attackers among 2,000 users, excess as large as usual",
    attackers: 20,
    neighbours: false,
    strength: 1.0,
    dear: 0,
    shared: 0,
    joined: false,
    exponent: None,
};

const ATTACKS: [Attack; 14] = [
    TWENTY,
    Attack { name: "the same, excess half as large as usual", strength: 0.5, ..TWENTY },
    Attack { name: "the same, ten times as large", strength: 10.0, ..TWENTY },
    Attack { name: "the same, thrice as large", strength: 3.0, ..TWENTY },
    Attack { name: "the same, thrice, Zipf 1.1", strength: 3.0, exponent: Some(1.1), ..TWENTY },
    Attack { name: "the same, users with Zipf 1.1", exponent: Some(1.1), ..TWENTY },
    Attack { name: "the same, ten times, Zipf 1.3", strength: 10.0, exponent: Some(1.3), ..TWENTY },
    Attack { name: "callers and costs joined by request id", joined: true, ..TWENTY },
    Attack { name: "five of the twenty cost ten times as much", dear: 5, ..TWENTY },
    Attack { name: "the same, joined", dear: 5, joined: true, ..TWENTY },
    Attack {
        name: "5 attackers, one at an address with 30 % of the users, thrice as large",
        attackers: 5,
        strength: 3.0,
        shared: 30,
        ..TWENTY
    },
    Attack { name: "only that one attacks", attackers: 1, shared: 30, ..TWENTY },
    Attack { name: "200 addresses of one /24", attackers: 200, neighbours: true, ..TWENTY },
    Attack { name: "20,000 attackers", attackers: 20_000, strength: 5.0, ..TWENTY },
];

impl Attack {
    fn address(&self, attacker: u32) -> u32 {
        match (self.neighbours, self.shared > 0 && attacker == 0) {
            (_, true) => (10 << 24) + 2,
            (true, _) => (203 << 24) + attacker + 1,
            (false, _) => (203 << 24) + attacker * 256 + 1,
        }
    }

    fn run(&self, rng: &mut ChaCha8Rng) -> NamedRun {
        let mut users = Population::new(USERS, self.exponent, 10, rng);
        let mut ordinary = |rng: &mut ChaCha8Rng| {
            let shared = self.shared > 0 && rng.random_range(0..100) < self.shared;
            if shared { (10 << 24) + 2 } else { users.draw(rng) }
        };
        let mut quiet = Population { sessions: false, ..Population::servers(1) };
        quiet.addresses = (0..REFERENCE_REQUESTS).map(|_| ordinary(rng)).collect();
        let mut reference = Reference::default();
        let calls: Vec<Call> = quiet.addresses.iter().map(|&one| call(one, rng)).collect();
        let batch = batch_of(&calls, 1.0, false);
        batch.events().iter().for_each(|event| reference.add(event.sources[0], false));

        let seconds = 20.0;
        let count = poisson(2_000.0, rng);
        let mut calls: Vec<Call> = (0..count).map(|_| call(ordinary(rng), rng)).collect();
        for _ in 0..poisson(2_000.0 * self.strength, rng) {
            let attacker = rng.random_range(0..self.attackers);
            let one = call(self.address(attacker), rng);
            let factor = if attacker < self.dear { 10 } else { 1 };
            calls.push(Call { attack: true, ms: one.ms * factor, ..one });
        }
        calls.shuffle(rng);
        let batch = batch_of(&calls, seconds, self.joined);
        let pane = pane_of(&batch, &reference);
        let usual = Usual { per_second: 2_000.0 / seconds, mb_ms: MEAN_MS, dispersion: 1.0 };
        self.judge(&pane.attribution(&reference, &usual), &calls)
    }

    fn judge(&self, attribution: &Attribution, calls: &[Call]) -> NamedRun {
        let mut costs: BTreeMap<String, u64> = BTreeMap::new();
        let attack = calls.iter().filter(|call| call.attack);
        let mut total = 0;
        for call in attack {
            let octets = call.address.to_be_bytes();
            let host = if self.neighbours { 0 } else { octets[3] };
            let name = format!("{}.{}.{}.{host}", octets[0], octets[1], octets[2]);
            let name = if self.neighbours { name + "/24" } else { name };
            *costs.entry(name).or_default() += call.ms;
            total += call.ms;
        }
        let named: Vec<_> = attribution.networks().collect();
        let right = named.iter().filter(|source| costs.contains_key(&*source.source));
        let (mut covered, mut width) = (true, 0.0);
        for source in right.clone() {
            let truth = costs[&*source.source] as f64 / total as f64;
            covered &= source.low <= truth && truth <= source.high;
            width += source.high - source.low;
        }
        let dear: BTreeSet<_> = (0..self.dear).map(|index| format!("203.0.{index}.1")).collect();
        let first: BTreeSet<_> =
            named.iter().take(self.dear as usize).map(|source| source.source.to_string()).collect();
        NamedRun {
            named: right.clone().count() as f64 / costs.len() as f64,
            all: right.clone().count() == costs.len(),
            wrong: named.len() - right.clone().count(),
            covered: covered && right.clone().count() > 0,
            width: width / right.count().max(1) as f64,
            diffuse: attribution.diffuse,
            dearest_first: dear == first,
        }
    }
}

fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> usize {
    let law = rand_distr::Poisson::new(mean).expect("a positive mean");
    law.sample(rng) as usize
}

struct NamedRun {
    named: f64,
    all: bool,
    wrong: usize,
    covered: bool,
    width: f64,
    diffuse: bool,
    dearest_first: bool,
}

/// One row of the first table; shares of runs.
#[derive(Serialize)]
pub(crate) struct NamedRow {
    name: &'static str,
    named: f64,
    all_named: f64,
    wrongly_named: f64,
    both_bounds_hold: f64,
    width: f64,
    diffuse: f64,
    dearest_first: f64,
}

pub(crate) fn naming(arguments: &Arguments) -> Vec<NamedRow> {
    let rows = ATTACKS.iter().enumerate().map(|(index, attack)| {
        let runs: Vec<NamedRun> = (0..arguments.runs)
            .map(|run| attack.run(&mut rng(arguments.seed, 1_000 + index as u64, run)))
            .collect();
        let share = |of: fn(&NamedRun) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        NamedRow {
            name: attack.name,
            named: share(|run| run.named),
            all_named: share(|run| f64::from(u8::from(run.all))),
            wrongly_named: share(|run| run.wrong as f64),
            both_bounds_hold: share(|run| f64::from(u8::from(run.covered))),
            width: share(|run| run.width),
            diffuse: share(|run| f64::from(u8::from(run.diffuse))),
            dearest_first: share(|run| f64::from(u8::from(run.dearest_first))),
        }
    });
    rows.collect()
}

pub(crate) fn print_naming(rows: &[NamedRow]) {
    println!(
        "| attack | of them named | all named | wrongly named, mean | both bounds hold \
         | mean width | diffuse | dearest first |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for row in rows {
        println!(
            "| {} | {} | {} | {:.2} | {} | {:.3} | {} | {} |",
            row.name,
            percent(row.named),
            percent(row.all_named),
            row.wrongly_named,
            percent(row.both_bounds_hold),
            row.width,
            percent(row.diffuse),
            percent(row.dearest_first),
        );
    }
}
