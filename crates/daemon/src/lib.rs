//! What every daemon does around serving: command line, configuration, logs, signals, systemd.
#![forbid(unsafe_code)]
