//! `mqstore`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    mqstore::run(std::env::args_os())
}
