//! One pop at a time per topic, group and queue.

use parking_lot::{Mutex, MutexGuard};
use std::hash::BuildHasher;

const STRIPES: usize = 4096;

/// Locks by topic, group and queue. Several share one: who finds it taken passes the queue over, as Java does.
pub struct QueueLocks {
    stripes: Vec<Mutex<()>>,
    hasher: foldhash::fast::FixedState,
}

/// A queue that is locked until this is dropped.
pub struct QueueLock<'a> {
    _held: MutexGuard<'a, ()>,
}

impl Default for QueueLocks {
    fn default() -> QueueLocks {
        QueueLocks {
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            hasher: foldhash::fast::FixedState::default(),
        }
    }
}

impl QueueLocks {
    /// The queue, unless somebody has it.
    pub fn try_lock(&self, topic: &str, group: &str, queue_id: i32) -> Option<QueueLock<'_>> {
        self.stripe(topic, group, queue_id).try_lock().map(|held| QueueLock { _held: held })
    }

    /// The queue, once nobody else has it: within the time of one look into a queue.
    pub fn lock(&self, topic: &str, group: &str, queue_id: i32) -> QueueLock<'_> {
        QueueLock { _held: self.stripe(topic, group, queue_id).lock() }
    }

    fn stripe(&self, topic: &str, group: &str, queue_id: i32) -> &Mutex<()> {
        let hash = self.hasher.hash_one((topic, group, queue_id));
        let index = usize::try_from(hash % STRIPES as u64).unwrap_or(0);
        &self.stripes[index]
    }
}
