//! RocketMQ's exit codes, and the one line on standard error that goes with them.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

/// Why a daemon does not start or ends early: Java's exit code and the line an operator reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Exit {
    /// As Java passes it to `System.exit`; the shell sees the low eight bits (−1 is 255, −3 is 253).
    pub code: i32,
    /// What happened and what to do.
    pub message: String,
    /// Where Java prints this one: standard output for what scripts may read, else standard error.
    pub on_stdout: bool,
}

/// Clean.
pub const CLEAN: i32 = 0;
/// A wrong command line, as Java's command line parser ends.
pub const USAGE: i32 = 1;
/// Any exception: the configuration, the network, the unexpected.
pub const FAILURE: i32 = -1;
/// ROCKETMQ_HOME is not set.
pub const NO_HOME: i32 = -2;
/// Illegal nameserver address, a slave with brokerId ≤ 0, or the initialization failed (store, lock, ports).
pub const INITIALIZATION: i32 = -3;
/// Controller mode together with the DLedger commit log.
pub const CONFLICT: i32 = -4;

impl Exit {
    /// An ending that is told on standard error.
    pub fn new(code: i32, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), on_stdout: false }
    }

    /// An ending whose text Java prints on standard output.
    pub fn on_stdout(code: i32, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), on_stdout: true }
    }

    /// ROCKETMQ_HOME is missing: exit −2.
    #[must_use]
    pub fn no_home() -> Self {
        Self::on_stdout(
            NO_HOME,
            "Please set the ROCKETMQ_HOME variable in your environment to match the location of the RocketMQ installation",
        )
    }

    /// Prints the message and returns what `main` returns.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if self.on_stdout {
            print_line(&self.message);
        } else if !self.message.is_empty() {
            let _ = writeln!(std::io::stderr(), "{}", self.message);
        }
        self.exit_code()
    }

    /// The low eight bits, as `System.exit` gives them to the shell.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code.to_le_bytes()[0])
    }
}

/// Prints a line on standard output. That nobody reads it (a closed pipe, as of `mqbroker -p | head`) is no error.
pub fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

impl From<crate::error::ConfigError> for Exit {
    fn from(error: crate::error::ConfigError) -> Self {
        Self::new(FAILURE, error)
    }
}
