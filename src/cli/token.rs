//! `bursar token`: a key for the HTTP API.

use std::io::{self, Write as _};

use anyhow::Context as _;

use super::Failure;
use crate::observe::access::{self, Right};

/// Make a token for the HTTP API, and the line of server.access_file by which it is known.
///
/// The token is printed once and kept nowhere; the line holds its digest alone. To rotate, add the
/// new line, hand the token out, and remove the old line: the file is read anew at every use.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// Whose it is, as decisions will say; 1 to 64 letters, digits and . _ @ -
    #[arg(value_name = "NAME")]
    name: String,
    /// For reading alone
    #[arg(long)]
    read: bool,
}

/// Prints both.
///
/// # Errors
/// A name that is none, or a system without randomness.
pub fn run(args: &TokenArgs) -> Result<(), Failure> {
    if !access::is_name(&args.name) {
        let words = "a name is 1 to 64 letters, digits and . _ @ -, for example alice-2026";
        return Err(Failure::Usage(words.to_owned()));
    }
    let token = access::new_token().context("no randomness").map_err(Failure::Other)?;
    let right = if args.read { Right::Read } else { Right::Change };
    let line = access::line(&args.name, right, &token);
    let text = format!("token, shown this once:\n{token}\nline of server.access_file:\n{line}\n");
    let written = io::stdout().write_all(text.as_bytes());
    written.context("standard output").map_err(Failure::Other)
}
