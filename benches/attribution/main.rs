//! How well sources are named and an attack is told from a crowd, by seeded simulation.
//!
//! `cargo bench --no-default-features --bench attribution -- [--seed N] [--runs N] [--json OUT]`
//! writes tables as Markdown, and the same numbers as JSON where asked. Nothing is measured by the
//! clock; the same seed gives the same figures on every machine.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    reason = "the numbers are the simulation's own, and printing them is its purpose"
)]

mod naming;
mod traffic;
mod verdicts;

use clap::Parser;
use serde::Serialize;

use self::naming::{NamedRow, naming, print_naming};
use self::verdicts::{VerdictRow, attack_rows, benign_rows, botnet_rows, print_verdicts, verdicts};

#[derive(Parser)]
pub(crate) struct Arguments {
    /// Seed of everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs of each row.
    #[arg(long, default_value_t = 200)]
    runs: u32,
    /// File for the figures as JSON.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    /// Passed by cargo; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

/// All figures.
#[derive(Serialize)]
struct Figures {
    seed: u64,
    runs: u32,
    naming: Vec<NamedRow>,
    attacks: Vec<VerdictRow>,
    benign: Vec<VerdictRow>,
    botnets: Vec<VerdictRow>,
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let figures = Figures {
        seed: arguments.seed,
        runs: arguments.runs,
        naming: naming(&arguments),
        attacks: verdicts(&arguments, &attack_rows(), 2_000),
        benign: verdicts(&arguments, &benign_rows(), 3_000),
        botnets: verdicts(&arguments, &botnet_rows(), 4_000),
    };
    println!("Seed {}, {} runs a row.\n\n## Naming\n", figures.seed, figures.runs);
    print_naming(&figures.naming);
    for (title, rows) in [
        ("Attacks", &figures.attacks),
        ("Benign surges", &figures.benign),
        ("Botnets with ever new addresses", &figures.botnets),
    ] {
        println!("\n## {title}\n");
        print_verdicts(rows);
    }
    match &arguments.json {
        Some(path) => std::fs::write(path, serde_json::to_string_pretty(&figures)? + "\n"),
        None => Ok(()),
    }
}
