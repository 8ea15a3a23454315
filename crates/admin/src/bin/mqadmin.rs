//! `mqadmin`, and with `--class CLASS` the programs that `tools.sh` starts.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    admin::run(&args)
}
