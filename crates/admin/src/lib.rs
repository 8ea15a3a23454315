//! `mqadmin` and the quick start programs.
//!
//! [`run`] is the whole program. [`command::table`] lists the commands; each file of [`command`] holds one family.
#![forbid(unsafe_code)]

pub mod class;
pub mod command;
pub mod context;
pub mod error;
pub mod mapping_plan;
pub mod options;
pub mod output;
pub mod quickstart;

use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Runs the program with the arguments after its name; returns what it ends with.
#[must_use]
pub fn run(args: &[String]) -> ExitCode {
    log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start threads: {error}; raise `ulimit -u`");
            return ExitCode::from(1);
        }
    };
    let code = match args.split_first() {
        Some((first, rest)) if first == "--class" => runtime.block_on(class::run(rest)),
        _ => runtime.block_on(command::run(args, output::Output::new(std::io::stdout()))),
    };
    // What still runs in the background has nothing to say any more.
    runtime.shutdown_background();
    code
}

/// Warnings go to standard error only when asked for, since standard output and error of these programs are read by
/// people and scripts. `RUST_LOG=info` shows what the client does.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).finish();
    // A second program in one process, as in tests, keeps the first one's.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
