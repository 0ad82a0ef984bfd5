//! `bursar evaluate`: how good were the decisions? From files alone.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::simulation::evaluation::{Decisions, Flaw, Report, RunScore, TruthFile};
use crate::source::file::{FileSettings, FileSource};
use crate::source::{Chunk, Read, Source as _};

use super::{Failure, output};

/// The largest truth: 64 attacks that list 100,000 addresses each, one a line, with room to spare.
const TRUTH_BYTES_MAX: u64 = 512 << 20;
/// The longest line: an alarm that names 64 sources has some ten thousand bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Score decisions against the truth about the attacks, from files alone.
///
/// An alarm belongs to an attack on its function if it was raised at or after the attack's first
/// record and its onset is at most 60 s after the last one. Every other alarm is false. Attacks are
/// pooled per kind, never over kinds. Spending before a page needs the ledger.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  bursar generate --trace calls.csv --attack flood --out records.jsonl --truth truth.json
  bursar replay --decisions d.jsonl --ledger l.jsonl records.jsonl
  bursar evaluate --truth truth.json --decisions d.jsonl --ledger l.jsonl

Several runs are pooled; the first truth belongs to the first decisions, and so on:
  bursar evaluate --truth a.json --decisions a.jsonl --truth b.json --decisions b.jsonl")]
pub struct EvaluateArgs {
    /// Truth, as bursar generate or bursar simulate wrote it; may be given several times
    #[arg(long, required = true, value_name = "TRUTH.json")]
    truth: Vec<PathBuf>,
    /// Decisions, as bursar replay or bursar simulate wrote them; plain, gzip or zstd; - is
    /// standard input; as many as truths
    #[arg(long, required = true, value_name = "FILE")]
    decisions: Vec<PathBuf>,
    /// Ledger, as bursar replay or bursar simulate wrote it; none, or as many as truths
    #[arg(long, value_name = "FILE")]
    ledger: Vec<PathBuf>,
    /// The same as one JSON object; with - instead of the tables
    #[arg(long, value_name = "OUT.json")]
    json: Option<PathBuf>,
}

/// Evaluates.
///
/// # Errors
/// Files that do not pair up, cannot be read, or are not what they are given as.
pub fn run(args: &EvaluateArgs) -> Result<(), Failure> {
    let (truths, decisions, ledgers) = (args.truth.len(), args.decisions.len(), args.ledger.len());
    if truths != decisions || (ledgers != 0 && ledgers != truths) {
        return Err(Failure::Usage(format!(
            "{truths} of --truth, {decisions} of --decisions and {ledgers} of --ledger do not \
             pair up: give as many decisions as truths, and as many ledgers or none"
        )));
    }
    report(args)?;
    Ok(())
}

fn report(args: &EvaluateArgs) -> anyhow::Result<()> {
    let inputs = [args.truth.as_slice(), &args.decisions, &args.ledger].concat();
    output::check(&inputs, &args.json.as_deref().into_iter().collect::<Vec<_>>())?;
    let ledgers = args.ledger.iter().map(|path| Some(path.as_path()));
    let ledgers = ledgers.chain(std::iter::repeat(None));
    let pairs = args.truth.iter().zip(&args.decisions).zip(ledgers);
    let scores = pairs.map(|((truth, decisions), ledger)| score(truth, decisions, ledger));
    let report = Report::new(scores.collect::<anyhow::Result<_>>()?);
    if let Some(path) = &args.json {
        output::write_json(path, &serde_json::to_value(&report)?)?;
        if output::is_stdout(path) {
            return Ok(());
        }
    }
    write!(io::stdout(), "{report}")?;
    Ok(())
}

fn score(truth: &Path, decisions: &Path, ledger: Option<&Path>) -> anyhow::Result<RunScore> {
    let name = decisions.display().to_string();
    let whole = |path: &Path| path.display().to_string();
    let mut judging = Decisions::new(name, read_truth(truth)?).with_context(|| whole(truth))?;
    each_line(decisions, |line| judging.line(line))?;
    let judged = judging.finish().with_context(|| whole(decisions))?;
    let Some(path) = ledger else {
        return Ok(judged.score());
    };
    let mut ledger = judged.with_ledger();
    each_line(path, |line| ledger.line(line))?;
    ledger.finish().with_context(|| whole(path))
}

fn read_truth(path: &Path) -> anyhow::Result<TruthFile> {
    let show = || path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {}", show()))?;
    // What is larger is cut off here, and then no JSON.
    let reader = BufReader::new(file.take(TRUTH_BYTES_MAX));
    let truth = serde_json::from_reader(reader).map_err(|error| {
        anyhow::anyhow!("{error}; give the whole file that bursar generate --truth wrote")
    });
    truth.with_context(show)
}

/// Hands out the lines of a file; what is wrong with one is told with its number.
fn each_line(path: &Path, mut take: impl FnMut(&[u8]) -> Result<(), Flaw>) -> anyhow::Result<()> {
    let settings = FileSettings { line_bytes_max: LINE_BYTES_MAX, ..FileSettings::default() };
    let mut source = FileSource::open(&[path.to_path_buf()], |_| None, settings)?;
    let mut chunk = Chunk::new();
    let place = |number: u64| format!("{} line {number}", path.display());
    loop {
        match source.read(&mut chunk, Duration::from_secs(1))? {
            Read::Messages => {}
            Read::Idle => continue,
            Read::End => return Ok(()),
        }
        for message in chunk.messages() {
            take(message.payload).with_context(|| place(message.position.offset))?;
        }
        if let Some(problem) = chunk.problems().next() {
            let why = problem.detail;
            anyhow::bail!("{}: {why}, write the file again", place(problem.position.offset));
        }
    }
}
