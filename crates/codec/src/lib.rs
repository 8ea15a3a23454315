//! Bytes to values and back: frames, command headers, records, store files, fastjson, Java text formats.
//!
//! Functions take slices and return values; there is no I/O, clock, thread or `unsafe` here. Decoding knows three
//! results: more bytes are needed, a value, or an error. Every length from outside is checked before it is used.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests may panic"))]

pub mod batch_consume_queue;
pub mod checkpoint;
pub mod command;
pub mod compaction;
pub mod consume_queue;
pub mod consume_queue_ext;
pub mod error;
pub mod fields;
pub mod frame;
pub mod index;
pub mod java_hash;
pub mod json;
pub mod message;
pub mod properties;
pub mod timer;

mod cursor;
mod json_scanner;
mod plain_object;
mod short_text;

pub use error::CodecError;
