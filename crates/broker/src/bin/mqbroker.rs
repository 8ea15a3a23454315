//! The daemon `mqbroker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match broker::boot::run(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}
