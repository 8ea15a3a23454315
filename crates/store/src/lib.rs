//! The message store in Java RocketMQ's file formats, as a library.
//!
//! [`MessageStore`] opens a directory, appends, reads, recovers and closes, with plain threads and without broker,
//! socket or runtime. What it must know of a topic comes in as plain values.
#![deny(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests may panic"))]

mod config;
mod error;
mod message;
mod mmap;
mod read;
mod status;
mod store;
mod watermark;

pub use config::{FlushDiskType, StoreConfig};
pub use error::{FlushError, OpenError, PutError};
pub use message::{Arrival, Message, MessageArrivingListener, NoListener, PutResult};
pub use mmap::MappedSlice;
pub use read::{AllMessages, Boundary, GetMessageStatus, GetQuery, GetResult, MessageFilter, QueryResult, QueueUnit};
pub use status::StoreStatus;
pub use store::MessageStore;
pub use watermark::FlushWait;
