//! What every daemon does around serving: command line, configuration, logs, signals, systemd.
#![forbid(unsafe_code)]

pub mod error;
pub mod options;
pub mod persist;
pub mod properties;
