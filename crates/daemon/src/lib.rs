//! What every daemon does around serving: command line, configuration, logs, signals, systemd.
//!
//! A daemon's `main` reads the [`environment::Environment`], makes its defaults from it, understands its command line
//! ([`cli::parse`]), applies file and overrides ([`cli::CommandLine::configure`]), starts logging, and serves.
#![forbid(unsafe_code)]

pub mod address;
pub mod cli;
pub mod clock;
pub mod environment;
pub mod error;
pub mod exit;
pub mod jvm_flags;
pub mod logging;
pub mod memory;
pub mod options;
pub mod panic;
pub mod persist;
pub mod properties;
pub mod sd_notify;
pub mod server_config;
pub mod signals;
