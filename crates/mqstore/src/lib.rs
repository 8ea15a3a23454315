//! `mqstore`: looks at, checks and mends a RocketMQ store directory, Java's (4.5.2, 4.9.7, 5.5.0) or ours.
//!
//! Reading never writes: files are read by position, the store is not opened. What changes anything takes the store's
//! lock first, does nothing without `--apply`, and keeps what it replaces.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::indexing_slicing, reason = "tests may panic"))]

mod backup;
pub mod bridge;
mod cli;
mod clock;
pub mod cut;
pub mod dump;
pub mod error;
pub mod files;
pub mod index;
pub mod inspect;
pub mod log;
mod metadata;
mod progress;
mod queue_units;
pub mod rebuild;
mod remedy;
mod time;
pub mod verify;

use std::ffi::OsString;
use std::io::{BufWriter, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, What};
use dump::Form;
use error::ToolError;
use files::StoreDir;
use rebuild::Settings;
use verify::Report;

/// Something was found.
const FOUND: u8 = 1;
/// The command could not do its work.
const FAILED: u8 = 2;

/// Runs the program with its arguments, the first of which is its name; returns what it ends with.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(FAILED));
        }
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let done = execute(cli.command, &mut out).and_then(|code| out.flush().map_err(ToolError::Output).map(|()| code));
    match done {
        Ok(code) => ExitCode::from(code),
        // Whoever read us has seen enough, as `head` does.
        Err(ToolError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = out.flush();
            let _ = writeln!(std::io::stderr(), "mqstore: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn execute(command: Command, out: &mut dyn std::io::Write) -> Result<u8, ToolError> {
    let directory = |store: &cli::Store| StoreDir::new(&store.store, &store.commitlog);
    let lines = match command {
        Command::Inspect { store, json } => {
            let inventory = inspect::inspect(&directory(&store)?)?;
            let text = if json { pretty(&inventory) } else { inventory.text() };
            return say(out, text.trim_end()).map(|()| 0);
        }
        Command::Verify { store, json } => {
            let report = verify::verify(&directory(&store)?)?;
            let text = if json { pretty(&report) } else { report.text() };
            return say(out, text.trim_end()).map(|()| if report.sound { 0 } else { FOUND });
        }
        Command::Dump { store, wanted, json } => {
            let form = if json { Form::JsonLines } else { Form::Text };
            return dump::dump(&directory(&store)?, &wanted.selection(), form, out).map(|_| 0);
        }
        Command::Rebuild { what: What::Metadata, store, apply, .. } | Command::RebuildMetadata { store, apply } => {
            rebuild::metadata(&directory(&store)?, apply)?
        }
        Command::Rebuild { what, store, apply, delay_levels, queue_file_bytes, index_slots, index_entries } => {
            let what = if matches!(what, What::Queues) { rebuild::What::Queues } else { rebuild::What::Index };
            let settings = Settings { delay_levels, queue_file_bytes, index_slots, index_entries };
            rebuild::rebuild(&directory(&store)?, what, &settings, apply)?
        }
        Command::Bridge { store, records, apply } => bridge::bridge(&directory(&store)?, records, apply)?,
        Command::Cut { store, at, apply } => cut::cut(&directory(&store)?, at, apply)?,
    };
    lines.iter().try_for_each(|line| say(out, line)).map(|()| 0)
}

fn say(out: &mut dyn std::io::Write, line: &str) -> Result<(), ToolError> {
    writeln!(out, "{line}").map_err(ToolError::Output)
}

fn pretty<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

impl Report {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![format!(
            "log {} to {}: {} sound records, {} damaged, {} bytes lost; {} queues with {} units{}; {} index entries{}{}",
            self.log_min,
            self.log_end,
            self.records,
            self.bad_records,
            self.lost_bytes,
            self.queues,
            self.units,
            if self.extensions > 0 { format!(" and {} extensions", self.extensions) } else { String::new() },
            self.index_entries,
            if self.compacted > 0 {
                format!("; {} messages in compaction logs", self.compacted)
            } else {
                String::new()
            },
            if self.timer_units > 0 { format!("; {} units of the timer", self.timer_units) } else { String::new() }
        )];
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        for finding in &self.findings {
            let position = finding.position.map_or_else(String::new, |position| format!(" at byte {position}"));
            lines.push(format!("{}{position}: {}", finding.file.display(), finding.what));
            lines.push(format!("    {}", finding.remedy));
        }
        let hidden = self.found().saturating_sub(self.findings.len() as u64);
        if hidden > 0 {
            lines.push(format!("and {hidden} more"));
        }
        lines.push(if self.sound { "sound".to_owned() } else { format!("{} findings", self.found()) });
        lines.join("\n")
    }
}
