//! The message store in Java RocketMQ's file formats, as a library.
//!
//! [`MessageStore`] opens a directory, appends, reads, recovers and closes, with plain threads and without broker,
//! socket or runtime. What it must know of a topic comes in as plain values.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::mpsc;
//!
//! use codec::message::MessageRecord;
//! use store::{AllMessages, Arrival, GetQuery, Message, MessageArrivingListener, MessageStore, NoListener, StoreConfig};
//!
//! /// Told of each message as soon as it can be got.
//! struct Arrivals(mpsc::Sender<i64>);
//!
//! impl MessageArrivingListener for Arrivals {
//!     fn arriving(&self, arrival: &Arrival<'_>) {
//!         let _ = self.0.send(arrival.queue_offset);
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let root = dir.path();
//! let config = StoreConfig { mapped_file_size_commit_log: 16 << 20, ..StoreConfig::at(root) };
//! let (told, arrivals) = mpsc::channel();
//! let store = MessageStore::open(config.clone(), Arc::new(Arrivals(told)))?;
//!
//! // Appended: in the page cache, and the death of this process cannot lose it. `flushed` is a future for the disk.
//! let place = store.put(&Message { properties: "KEYS\u{1}order-7\u{2}", ..Message::new("Orders", 0, b"hello") })?;
//! assert_eq!(arrivals.recv()?, place.queue_offset);
//!
//! // By its place in the queue: a slice of the mapped file, nothing is copied.
//! let result = store.get(&GetQuery::new("Orders", 0, place.queue_offset, 32), &AllMessages);
//! assert_eq!(MessageRecord::parse(&result.messages[0])?.body, b"hello");
//!
//! // By key; keys of the same hash are found too, so it is compared.
//! let found = store.query_by_key("Orders", "order-7", 32, 0, i64::MAX);
//! assert_eq!(MessageRecord::parse(&found.messages[0])?.property("KEYS"), Some("order-7"));
//!
//! // Stopped cleanly, opened again. A store that was killed instead is recovered by the same call.
//! store.shutdown();
//! drop(store);
//! let store = MessageStore::open(config, Arc::new(NoListener))?;
//! assert_eq!((store.min_offset("Orders", 0), store.max_offset("Orders", 0)), (0, 1));
//! let next = store.put(&Message::new("Orders", 0, b"again"))?;
//! assert_eq!(next.queue_offset, 1);
//! store.shutdown();
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests may panic"))]

mod allocate;
mod batch_consume_queue;
mod checkpoint;
mod clean;
mod clock;
mod commit_log;
mod compaction;
mod config;
mod consume_queue;
mod consume_queue_ext;
mod core;
mod disk_level;
mod dispatch;
mod error;
mod flush;
mod fs;
mod get;
mod index;
mod inventory;
mod list;
mod lmq;
mod log_files;
mod lookup;
mod mapped_file_queue;
mod message;
mod mmap;
pub mod offline;
mod open;
mod parallel;
mod progress;
mod put;
mod queue_files;
mod queue_table;
mod read;
mod rebuild;
mod record;
mod recovery;
mod release;
mod retention;
mod scan;
mod status;
mod store;
mod sys;
pub mod timer;
mod watermark;

pub use batch_consume_queue::QueueType;
pub use clock::{Clock, FakeClock, SystemClock};
pub use compaction::CompactionConfig;
pub use config::{FlushDiskType, StoreConfig};
pub use disk_level::{DiskLevel, DiskLimit};
pub use error::{FlushError, OpenError, PutError};
pub use fs::{DirItem, DiskUsage, FileSystem, RealFileSystem};
pub use lmq::{LMQ_PREFIX, is_lmq};
pub use message::{Arrival, ArrivedProperties, Message, MessageArrivingListener, NoListener, PutResult};
pub use mmap::MappedSlice;
pub use read::{
    AllMessages, Boundary, ColdArea, Extension, GetMessageStatus, GetQuery, GetResult, MAX_PULL_BYTES, MessageFilter,
    QueryResult, QueueUnit,
};
pub use status::{DiskStatus, StoreStatus};
pub use store::MessageStore;
pub use watermark::FlushWait;
