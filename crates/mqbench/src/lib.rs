//! `mqbench`: puts load on a RocketMQ broker or nameserver, Apache's or Ferrocket's, and checks every answer.
//!
//! Order of reading: [`link`] is one connection, which asks a script what to send and hands it what came; [`wire`] and
//! [`frames`] make requests for the cost of a copy; [`produce`], [`consume`], [`pop`], [`route`] and [`idle`] are the scripts;
//! [`schedule`] says when (open loop), [`check`] judges, [`conduct`] begins and ends a run, [`report`] tells.
#![forbid(unsafe_code)]

pub mod body;
pub mod check;
mod cli;
pub mod clock;
mod conduct;
mod consume;
pub mod error;
mod frames;
mod idle;
pub mod link;
mod mixed;
mod null_server;
mod pop;
pub mod process;
mod produce;
mod progress;
mod report;
mod route;
pub mod schedule;
mod tables;
pub mod tally;
mod target;
pub mod wire;

use clap::Parser as _;
use cli::{Cli, Command, Server};
use error::{BenchError, IoContext as _};
use report::Report;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program with its arguments, the first of which is its name; returns what it ends with.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mqbench: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(command: Command) -> Result<(), BenchError> {
    let mut say = |line: String| eprintln!("mqbench: {line}");
    match command {
        Command::Produce(options) => publish(&options.server, produce::run(&options, &mut say)),
        Command::Consume(options) => publish(&options.server, consume::run(&options, &mut say)),
        Command::Mixed(options) => publish(&options.server, mixed::run(&options, &mut say)),
        Command::Route(options) => publish(&options.server, route::run(&options, &mut say)),
        Command::Idle(options) => publish(&options.server, idle::run(&options)),
        Command::Tables(options) => tables::run(&options),
        Command::NullServer(options) => runtime(options.threads)?.block_on(null_server::run(&options)),
    }
}

fn publish(server: &Server, run: impl Future<Output = Result<Report, BenchError>>) -> Result<(), BenchError> {
    let runtime = runtime(server.threads)?;
    let report = runtime.block_on(run)?;
    report.publish(server.json.as_deref())
}

/// One thread does everything itself; more share the connections.
fn runtime(threads: u16) -> Result<tokio::runtime::Runtime, BenchError> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads.into());
    }
    builder.enable_all().build().on("start", "the runtime")
}
