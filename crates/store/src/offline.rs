//! What tools need that look at a store's files without opening it: its lock, its checkpoint, and what the store makes of
//! a record.

use std::fs::File;
use std::io;
use std::path::Path;

use codec::message::MessageRecord;

use crate::checkpoint::read_own;
use crate::error::OpenError;
use crate::log_files::io_error;
use crate::record::{self, DelayLevels};
use crate::sys::{LockError, RangeLock, lock_holder};

pub use crate::fs::next_data;
pub use crate::lmq::places_of as lmq_places_of;
pub use crate::record::{enters_queue, is_torn};

/// The lock of a store: as long as this lives, no broker, Java's or ours, opens it. [`crate::MessageStore::open`] takes
/// the same lock, so let go of this one first.
#[derive(Debug)]
pub struct StoreLock {
    _lock: RangeLock,
}

impl StoreLock {
    /// Locks the store in `root`; makes the file `lock` when there is none.
    /// # Errors
    /// [`OpenError::Locked`] when a process has it, else what the system said.
    pub fn take(root: &Path) -> Result<StoreLock, OpenError> {
        let path = root.join("lock");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| io_error("open", &path, error))?;
        match RangeLock::take(file) {
            Ok(lock) => Ok(StoreLock { _lock: lock }),
            Err(LockError::Held(pid)) => Err(OpenError::Locked { path: root.to_owned(), pid }),
            Err(LockError::Io(error)) => Err(io_error("lock", &path, error)),
        }
    }
}

/// Whether a process has a store open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockHolder {
    /// Nobody.
    Free,
    /// A process; which, when the kernel says (it does not across namespaces).
    Held(Option<u32>),
}

/// Who has the store in `root` open, found out without writing.
/// # Errors
/// What the system said.
pub fn holder(root: &Path) -> io::Result<LockHolder> {
    lock_holder(&root.join("lock"))
}

/// Our part of the file `checkpoint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnCheckpoint {
    /// Log, queues and index before this offset are on the disk.
    pub durable: u64,
    /// Everything before it is dispatched, as long as the machine has not been restarted.
    pub dispatched: u64,
    /// End of the log at a clean stop.
    pub clean_end: Option<u64>,
    /// All consume queues of messages before it were deleted by hand.
    pub emptied: u64,
}

impl OwnCheckpoint {
    /// Reads it from the whole file; `None` when it is not there, or another broker has used the store since.
    #[must_use]
    pub fn parse(file: &[u8]) -> Option<OwnCheckpoint> {
        read_own(file)
    }

    /// Position in the file of the mark that says it is there: zeroes there make it count no more.
    pub const MARK_POSITION: u64 = crate::checkpoint::MAGIC_POSITION;
}

/// Computes tagsCodes as the store does.
#[derive(Debug, Clone)]
pub struct TagsCodes(DelayLevels);

impl TagsCodes {
    /// With the delays of `messageDelayLevel`.
    /// # Errors
    /// The part that is no delay.
    pub fn new(message_delay_level: &str) -> Result<TagsCodes, String> {
        DelayLevels::parse(message_delay_level).map(TagsCodes)
    }

    /// tagsCode of the unit of a record: the hash of its tags, or the delivery time in the schedule topic.
    #[must_use]
    pub fn of(&self, record: &MessageRecord<'_>) -> i64 {
        self.0.tags_code_of(record)
    }
}

/// Topic in which messages wait for their delay.
pub const SCHEDULE_TOPIC: &str = record::SCHEDULE_TOPIC;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_seen_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()).unwrap(), LockHolder::Free);
        let lock = StoreLock::take(dir.path()).unwrap();
        let me = Some(std::process::id());
        assert_eq!(holder(dir.path()).unwrap(), LockHolder::Held(me));
        assert!(matches!(StoreLock::take(dir.path()), Err(OpenError::Locked { pid, .. }) if pid == me));
        drop(lock);
        assert_eq!(holder(dir.path()).unwrap(), LockHolder::Free);
    }

    #[test]
    fn no_mark_no_checkpoint() {
        assert_eq!(OwnCheckpoint::parse(&[0; 4096]), None);
        assert_eq!(OwnCheckpoint::parse(&[]), None);
    }
}
