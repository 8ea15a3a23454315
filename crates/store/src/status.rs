//! How the store is doing.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk_level::DiskLevel;
use crate::error::PutError;
use crate::fs::DiskUsage;

/// The disk of one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskStatus {
    /// The directory.
    pub path: PathBuf,
    /// The room on its disk.
    pub usage: DiskUsage,
    /// What that asks for.
    pub level: DiskLevel,
}

/// A snapshot; figures may be of slightly different moments.
#[derive(Debug, Clone, Default)]
pub struct StoreStatus {
    /// First physical offset that is left.
    pub min_offset: u64,
    /// One behind the last byte written.
    pub max_offset: u64,
    /// Everything before it is on the disk.
    pub flushed_offset: u64,
    /// Everything before it is in consume queues and index.
    pub dispatched_offset: u64,
    /// Everything before it may be read by consumers.
    pub confirmed_offset: u64,
    /// Bytes written and not yet dispatched.
    pub dispatch_behind_bytes: u64,
    /// Use of the disk with the commit log, 0.0..=1.0; of several paths the least used.
    pub commit_log_disk_ratio: f64,
    /// Use of the disk of each commit-log directory.
    pub commit_log_disk_ratios: Vec<(PathBuf, f64)>,
    /// Use of the disk with the consume queues.
    pub consume_queue_disk_ratio: f64,
    /// The disks: of each commit-log directory, and last of the root directory.
    pub disks: Vec<DiskStatus>,
    /// What the room on the disks asks for: the best of the commit-log directories, or the root directory if that is worse.
    pub disk_level: DiskLevel,
    /// Why puts are refused, if they are because a disk is too full.
    pub disk_full: Option<PutError>,
    /// Bytes of deleted files that readers still hold.
    pub deleted_bytes_held: u64,
    /// Why the store is read-only, if it is.
    pub poisoned: Option<Arc<str>>,
    /// Store time of the oldest message that is left, ms; -1 when there is none.
    pub earliest_message_time: i64,
    /// Messages put since the open.
    pub puts: u64,
    /// Bytes put.
    pub put_bytes: u64,
    /// Messages refused or failed.
    pub put_failures: u64,
    /// Gets that found messages.
    pub gets_found: u64,
    /// Gets that found none.
    pub gets_missed: u64,
    /// Messages got.
    pub got_messages: u64,
    /// Bytes got.
    pub got_bytes: u64,
    /// Damaged messages that were asked for and not served since the open, 1024 at most.
    pub damaged_records: usize,
    /// Number of consume queues.
    pub queues: usize,
    /// Number of commit-log files.
    pub commit_log_files: usize,
}
