//! The message broker and the daemon mqbroker.
#![forbid(unsafe_code)]

pub mod config;
