//! `bursar check`: are the settings right?

use std::io::{self, Write};
use std::path::PathBuf;

use crate::act::webhook;
use crate::config::settings::Settings;
use crate::observe::access;
use crate::runtime::wiring;

use super::{Failure, settings};

/// Check the settings and say all that is wrong with them at once.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Settings file; without it the defaults and the environment are checked
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also look at the cloud: which permissions are missing, and whether every restriction stands
    /// as the journal says; changes nothing that exists
    #[cfg(feature = "aws")]
    #[arg(long, conflicts_with = "print_default")]
    live: bool,
    /// Print the documented default file instead
    #[arg(long)]
    print_default: bool,
}

/// Checks.
///
/// # Errors
/// The problems found.
pub fn run(args: &CheckArgs) -> Result<(), Failure> {
    let mut out = io::stdout();
    if args.print_default {
        let text = crate::config::file::default_file();
        out.write_all(text.as_bytes()).map_err(anyhow::Error::from)?;
        return Ok(());
    }
    let settings = settings(args.config.as_ref())?;
    let prices = wiring::prices(&settings).map_err(anyhow::Error::from)?.version;
    writeln!(out, "settings are good: fingerprint {}, prices {prices}", settings.sha256())
        .map_err(anyhow::Error::from)?;
    server(&settings, &mut out)?;
    #[cfg(feature = "aws")]
    if args.live {
        let problems = super::live::check(&settings)?;
        if problems > 0 {
            let words = format!("{problems} problems in the account, marked BAD above");
            return Err(Failure::Other(anyhow::anyhow!(words)));
        }
    }
    Ok(())
}

/// The files of the server, and what is allowed there but had better be otherwise.
fn server(settings: &Settings, out: &mut impl Write) -> Result<(), Failure> {
    let server = &settings.server;
    wiring::tls(server).map_err(anyhow::Error::from)?;
    if let Some(path) = &server.access_file {
        let keys = access::check(path).map_err(anyhow::Error::from)?;
        writeln!(out, "server.access_file: {keys} keys").map_err(anyhow::Error::from)?;
    }
    for target in &settings.webhooks {
        webhook::check(target).map_err(anyhow::Error::from)?;
    }
    let is_open = !server.listen.ip().is_loopback() && !server.read_needs_key;
    if server.enabled && is_open && server.tls_client_ca.is_none() {
        let words = "warning: whoever reaches server.listen may read names of functions, spend and \
                     the addresses of callers; set server.read_needs_key, or keep strangers off \
                     by a network policy";
        writeln!(out, "{words}").map_err(anyhow::Error::from)?;
    }
    Ok(())
}
