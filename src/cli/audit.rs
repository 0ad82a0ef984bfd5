//! `bursar audit verify`: has anybody touched the record of decisions?

use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use flate2::read::MultiGzDecoder;

use super::Failure;
use crate::store::chain::Verification;

/// Look after the record of what was decided and ordered.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Verify the hash chain of the daemon's decisions and name the first line that was touched.
    ///
    /// A chain cannot tell that its end was cut off, nor that it was written anew as a whole: note
    /// the head that is printed somewhere else, and give it with --head next time.
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// The files of output.decisions, the oldest first; .gz is unpacked
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The hash of the last line, as noted elsewhere
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
}

/// Verifies.
///
/// # Errors
/// A file that cannot be read, or a broken chain.
pub fn run(args: &AuditArgs) -> Result<(), Failure> {
    let What::Verify(args) = &args.what;
    verify(args).map_err(Failure::Other)
}

fn verify(args: &VerifyArgs) -> anyhow::Result<()> {
    let mut chain = Verification::default();
    for path in &args.files {
        let named = || path.display().to_string();
        let file = File::open(path).with_context(named)?;
        let packed = path.extension().is_some_and(|ending| ending == "gz");
        let reader: Box<dyn Read> =
            if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        if let Err((line, broken)) = chain.file(BufReader::new(reader)).with_context(named)? {
            return Err(anyhow!("{}:{line}: {broken}", path.display()));
        }
    }
    let head = chain.head().ok_or_else(|| anyhow!("there is no line with a hash"))?;
    if let Some(noted) = args.head.as_deref().filter(|noted| *noted != head) {
        return Err(anyhow!("the end is not the one that was noted: it is {head}, not {noted}"));
    }
    let mut told = format!("{} lines are whole and in their order\nhead {head}\n", chain.lines);
    if let Some(before) = chain.begins_behind() {
        told +=
            &format!("it begins behind {before}: give the files before it, too, if there are\n");
    }
    if chain.torn > 0 {
        told += &format!("{} torn lines, as a crash leaves them, say nothing\n", chain.torn);
    }
    if args.head.is_none() {
        told += "whether its end was cut off, only a head that was noted elsewhere can tell\n";
    }
    io::stdout().write_all(told.as_bytes()).context("standard output")
}
