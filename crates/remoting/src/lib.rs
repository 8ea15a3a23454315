//! Sockets: listen, split frames, dispatch requests to handlers, answer, and call other servers.
//!
//! Order of reading: [`server`] accepts, [`connection`] reads and writes, [`routes`] finds and runs the handler,
//! [`reply`] is what handlers give back, [`channel`] is what the rest of the process knows of a connection,
//! [`client`] makes connections of our own; they run through the same [`connection`].
#![deny(unsafe_code)]

pub mod budget;
pub mod channel;
pub mod client;
pub mod clock;
mod connection;
mod outbound;
pub mod reply;
pub mod routes;
pub mod server;
pub mod stats;
