//! What can go wrong, by what the caller does about it. Each text names the limit, the value and the key or command
//! that mends it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::disk_level::DiskLimit;

/// Why a store could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the store open.
    #[error(
        "the store {} is in use by {}; stop it, or set storePathRootDir to another directory",
        path.display(),
        holder(*pid)
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds the lock, when the kernel says.
        pid: Option<u32>,
    },
    /// A directory or file may not be written.
    #[error(
        "no permission to write {}: it belongs to uid {owner_uid} and this process runs as uid {my_uid}; mend with: \
         chown -R {my_uid}:{my_gid} {}",
        path.display(),
        path.display()
    )]
    NotWritable {
        /// What could not be written (or, when it does not exist, its nearest parent that does).
        path: PathBuf,
        /// Its owner.
        owner_uid: u32,
        /// Effective user of this process.
        my_uid: u32,
        /// Effective group of this process.
        my_gid: u32,
    },
    /// No room for the files that must exist.
    #[error(
        "the disk with {} is full: {needed_bytes} bytes needed; free some space, or make mappedFileSizeCommitLog smaller \
         (only for a new store)",
        path.display()
    )]
    DiskFull {
        /// File that could not be allocated.
        path: PathBuf,
        /// Its size.
        needed_bytes: u64,
    },
    /// A file is not what it must be, and going on would lose or invent messages.
    #[error("{} is corrupted at offset {file_position}: {reason}", path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// Where in it.
        file_position: u64,
        /// What is wrong and what can be done.
        reason: String,
    },
    /// A setting cannot work.
    #[error("{key}={value}: {reason}")]
    Config {
        /// Java's key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else the system said.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Why a message was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PutError {
    /// An I/O error or a fault made the store read-only; only a restart lifts that.
    #[error("the store is read-only since a failure: {reason}")]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The disk is fuller than it may be.
    #[error("the disk is {limit}; free some space on {path}")]
    DiskFull {
        /// The limit that was passed.
        limit: DiskLimit,
        /// Which directory.
        path: String,
    },
    /// The body or the whole record is too long.
    #[error("message size {len} exceeds {limit} bytes (maxMessageSize)")]
    MessageTooLarge {
        /// Bytes.
        len: usize,
        /// Most allowed.
        limit: usize,
    },
    /// The properties string is too long.
    #[error("properties of {len} bytes exceed {limit} bytes (limit of the record format)")]
    PropertiesTooLarge {
        /// Bytes.
        len: usize,
        /// Most allowed.
        limit: usize,
    },
    /// The topic is too long.
    #[error("topic of {len} bytes exceeds {limit} bytes (maxTopicLength)")]
    TopicTooLong {
        /// Bytes.
        len: usize,
        /// Most allowed.
        limit: usize,
    },
    /// A name, id or batch that no queue can have.
    #[error("illegal message: {reason}")]
    Illegal {
        /// What is wrong.
        reason: &'static str,
    },
    /// The message names a light queue that is not there, and there are as many as may be.
    #[error("there are {limit} light queues already (maxLmqConsumeQueueNum, enableLmqQuota)")]
    LmqQuota {
        /// Most allowed.
        limit: usize,
    },
    /// The next commit-log file is not there yet, for lack of space or because the disk is slow.
    #[error("no commit-log file to write to: {reason}")]
    NoFile {
        /// Why.
        reason: Arc<str>,
    },
    /// The store is being closed.
    #[error("the store is shut down")]
    Shutdown,
}

/// Why a flush is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The flush failed; the store is read-only.
    #[error("the store is read-only since a failure: {reason}")]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// Not flushed in time; it may still be.
    #[error("not flushed within {timeout_ms} ms (syncFlushTimeout)")]
    Timeout {
        /// The time given.
        timeout_ms: u64,
    },
    /// The store was closed meanwhile.
    #[error("the store is shut down")]
    Shutdown,
}
