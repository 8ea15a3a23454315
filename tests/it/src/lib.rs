//! Whole-system tests: real daemons (ours and Apache's), driven by real Java and Go clients.
//!
//! A test file in `tests/` holds cases; a case is a function of a [`Cluster`] or of a [`Kind`], and [`on_both!`] makes
//! two tests of it: the same on Apache RocketMQ's own servers and on ours. What is behind a case: [`cluster`] starts the
//! daemons, [`driver`] speaks to the client processes of `tests/java` and `tests/go`, [`history`] judges what they saw.
#![forbid(unsafe_code)]

pub mod cases;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod driver;
pub mod history;
pub mod jvm;
pub mod ledger;
pub mod link;
pub mod load;
pub mod lone;
pub mod model;
pub mod pair;
pub mod pop;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod record;

pub mod scratch;
pub mod sql;
pub mod transaction;
pub mod wire;

pub use cases::{run_own, run_shared, unique};
pub use client::{Producer, Pull, Push, Received, Sent};
pub use cluster::{Broker, Cluster, ClusterOptions, Kind, Launch, Nameserver};
pub use driver::{Driver, Serialize, Version, clients, each, go, java, mix};
