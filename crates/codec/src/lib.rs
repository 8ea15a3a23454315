//! Bytes to values and back: frames, records, store files, fastjson, Java text formats.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests may panic"))]

pub mod error;
pub mod java_hash;
pub mod message;
pub mod properties;

mod cursor;

pub use error::CodecError;
