//! `mqbench`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    mqbench::run(std::env::args_os())
}
