//! A randomised test of the whole broker against a model of what must be delivered. [`plan`] makes from a seed what is sent and
//! what befalls the servers, [`run`] lets it happen with the threads of [`drive`], [`history`] keeps what clients saw, and
//! [`check`] judges it. `scripts/model` runs it for long.

pub mod check;
pub mod connection;
pub mod drive;
pub mod history;
pub mod plan;
pub mod random;
pub mod run;
