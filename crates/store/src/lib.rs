//! The message store in Java RocketMQ's file formats, as a library.
//!
//! [`MessageStore`] opens a directory, appends, reads, recovers and closes, with plain threads and without broker,
//! socket or runtime. What it must know of a topic comes in as plain values.
#![deny(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests may panic"))]

mod allocate;
mod batch_consume_queue;
mod checkpoint;
mod clean;
mod clock;
mod commit_log;
mod config;
mod consume_queue;
mod consume_queue_ext;
mod core;
mod dispatch;
mod error;
mod flush;
mod fs;
mod get;
mod index;
mod inventory;
mod log_files;
mod lookup;
mod mapped_file_queue;
mod message;
mod mmap;
pub mod offline;
mod open;
mod progress;
mod put;
mod queue_files;
mod queue_table;
mod read;
mod rebuild;
mod record;
mod recovery;
mod scan;
mod status;
mod store;
mod sys;
pub mod timer;
mod watermark;

pub use batch_consume_queue::QueueType;
pub use clock::{Clock, FakeClock, SystemClock};
pub use config::{FlushDiskType, StoreConfig};
pub use error::{FlushError, OpenError, PutError};
pub use fs::{DirItem, DiskUsage, FileSystem, RealFileSystem};
pub use message::{Arrival, Message, MessageArrivingListener, NoListener, PutResult};
pub use mmap::MappedSlice;
pub use read::{
    AllMessages, Boundary, GetMessageStatus, GetQuery, GetResult, MAX_PULL_BYTES, MessageFilter, QueryResult, QueueUnit,
};
pub use status::StoreStatus;
pub use store::MessageStore;
pub use watermark::FlushWait;
