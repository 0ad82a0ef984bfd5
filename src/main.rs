//! The `bursar` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(bursar::cli::main())
}
