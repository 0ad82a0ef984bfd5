//! `bursar generate`: real-format records from a trace, with attacks injected by rule.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::civil::Date;

use crate::simulation::attack::{AttackSpec, GRAMMAR};
use crate::simulation::generate::{GenerateSettings, MINUTES_MAX, generate};
use crate::simulation::trace::{TracePaths, Window};

use super::output::{self, Packed};

/// Write real-format records from a trace, with attacks injected by rule.
#[derive(Debug, Clone, clap::Args)]
pub struct GenerateArgs {
    /// Calls per minute: HashOwner,HashApp,HashFunction,Trigger,1,2,... or series,m1,m2,...; plain
    /// or gzip
    #[arg(long, value_name = "FILE")]
    pub trace: PathBuf,
    /// Durations of the functions [default: durations.csv or durations.csv.gz beside the trace]
    #[arg(long, value_name = "FILE")]
    pub durations: Option<PathBuf>,
    /// Memory of the functions [default: memory.csv or memory.csv.gz beside the trace]
    #[arg(long, value_name = "FILE")]
    pub memory: Option<PathBuf>,
    /// An attack to inject, for example flood:factor=20,start=20m; see --help for all keys
    #[arg(long, value_name = "SPEC", long_help = GRAMMAR)]
    pub attack: Vec<AttackSpec>,
    /// Seed of every draw; the same seed gives the same bytes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Records, one JSON message per line in order of delivery; .gz and .zst are compressed, - is
    /// standard output
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Truth about the attacks, for scoring
    #[arg(long, value_name = "FILE")]
    pub truth: PathBuf,
    /// First minute column of the trace [default: the first it has]
    #[arg(long, value_name = "M")]
    pub start_minute: Option<u32>,
    /// How many minutes
    #[arg(long, value_name = "N", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MINUTES_MAX)))]
    pub minutes: u32,
    /// Day of the trace's minute zero
    #[arg(long, value_name = "DATE", default_value = "2026-01-05")]
    pub date: Date,
    /// Only the N busiest functions [default: all]
    #[arg(long, value_name = "N")]
    pub functions: Option<usize>,
}

/// Generates; what was done is told on `notes`, progress on standard error if it is a terminal.
///
/// # Errors
/// What could not be read, placed or written, with the file.
pub fn run(args: &GenerateArgs, notes: &mut dyn Write) -> anyhow::Result<()> {
    let settings = settings(args);
    let show = |path: &Path| path.display().to_string();
    let inputs: Vec<PathBuf> = settings.paths.files().cloned().collect();
    output::check(&inputs, &[&args.out, &args.truth])?;
    let mut output = Packed::create(&args.out).with_context(|| show(&args.out))?;
    let bar = progress_bar(args.minutes);
    let truth = generate(&settings, output.writer(), &mut |progress| {
        bar.set_position(u64::from(progress.minutes));
        bar.set_message(format!("{} records", progress.records));
    })?;
    bar.finish_and_clear();
    output.finish().with_context(|| show(&args.out))?;
    let mut text = serde_json::to_string_pretty(&truth)?;
    text.push('\n');
    std::fs::write(&args.truth, text).with_context(|| show(&args.truth))?;
    writeln!(
        notes,
        "{} records of {} functions, {} to {}, seed {}",
        truth.records, truth.functions, truth.start, truth.end, truth.seed,
    )?;
    for attack in &truth.attacks {
        let names: Vec<_> = attack.functions.iter().take(3).map(ToString::to_string).collect();
        let more = if attack.functions.len() > 3 { ", ..." } else { "" };
        writeln!(
            notes,
            "{} requests at {:.1}/s from {} to {} on {}{more}",
            attack.requests,
            attack.rps,
            attack.onset,
            attack.end,
            names.join(", "),
        )?;
    }
    Ok(())
}

fn settings(args: &GenerateArgs) -> GenerateSettings {
    let paths = TracePaths {
        calls: args.trace.clone(),
        durations: args.durations.clone(),
        memory: args.memory.clone(),
    };
    GenerateSettings {
        paths: paths.with_siblings(),
        attacks: args.attack.clone(),
        seed: args.seed,
        window: Window { first: args.start_minute, minutes: args.minutes },
        date: args.date,
        functions: args.functions,
    }
}

fn progress_bar(minutes: u32) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(
        Some(u64::from(minutes)),
        ProgressDrawTarget::stderr_with_hz(10),
    );
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} min {msg} {eta}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: GenerateArgs,
    }

    fn parse(folder: &Path, out: &str, more: &[&str]) -> Result<GenerateArgs, clap::Error> {
        let place = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let [trace, out, truth] = [place("calls.csv"), place(out), place("truth.json")];
        let fixed = ["generate", "--trace", &trace, "--out", &out, "--truth", &truth];
        Cli::try_parse_from(fixed.iter().chain(more)).map(|cli| cli.args)
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let text = "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,http,9,8,7\n";
        std::fs::write(folder.path().join("calls.csv"), text).unwrap();
        folder
    }

    #[test]
    fn plain_gzip_and_zstd_outputs_hold_the_same_lines() {
        let folder = folder();
        let mut contents = Vec::new();
        let more = ["--minutes", "3", "--attack", "flood:rps=9,start=1m,duration=30s"];
        for out in ["records.jsonl", "records.jsonl.gz", "records.jsonl.zst"] {
            let args = parse(folder.path(), out, &more).unwrap();
            let mut notes = Vec::new();
            run(&args, &mut notes).unwrap();
            let notes = String::from_utf8(notes).unwrap();
            assert!(notes.contains("588 records of 1 functions"), "{notes}");
            assert!(notes.contains("seed 1") && notes.contains("270 requests at 9.0/s"), "{notes}");
            let file = File::open(folder.path().join(out)).unwrap();
            let mut reader: Box<dyn io::Read> = match out.rsplit('.').next() {
                Some("gz") => Box::new(flate2::read::GzDecoder::new(file)),
                Some("zst") => Box::new(zstd::Decoder::new(file).unwrap()),
                _ => Box::new(file),
            };
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            contents.push(text);
        }
        assert!(contents[0].lines().count() > 294);
        assert!(contents.iter().all(|text| *text == contents[0]));
        let truth = std::fs::read_to_string(folder.path().join("truth.json")).unwrap();
        assert!(truth.contains(r#""requests": 270"#), "{truth}");
    }

    #[test]
    fn bad_arguments_name_the_argument_and_what_is_accepted() {
        let folder = folder();
        for (more, parts) in [
            (["--attack", "flood:rps=0"], ["--attack", "up to 100000"]),
            (["--minutes", "0"], ["--minutes", "1..=44640"]),
            (["--date", "soon"], ["--date", "soon"]),
            (["--seed", "-1"], ["--seed", "-1"]),
        ] {
            let more = [format!("{}={}", more[0], more[1])];
            let more: Vec<_> = more.iter().map(String::as_str).collect();
            let error = parse(folder.path(), "-", &more).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = folder();
        let args = parse(folder.path(), "absent/records.jsonl", &["--minutes=3"]).unwrap();
        let error = format!("{:#}", run(&args, &mut io::sink()).unwrap_err());
        assert!(error.contains("absent/records.jsonl"), "{error}");
    }
}
