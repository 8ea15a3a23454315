//! Topics whose old messages give way to the newest of their key (attribute `cleanup.policy=COMPACTION`), in Java's
//! formats. Source: store/kv/CompactionStore.java, CompactionLog.java.
//!
//! The dispatcher copies each message of such a topic into the compaction log of its queue, which is what consumers read
//! from then on; a message without KEYS is passed over. From time to time the thread `store-compaction` writes the closed
//! segments of each queue anew. It sleeps without a timer while there is no such queue, and nothing is on the disk then.
//!
//! What is missing from a compaction log at a start, for whatever reason, is copied from the commit log, as far as its
//! consume queue has it; what it has more than the consume queue, because a loss of power took the end of the commit log,
//! is cut off.

mod compact;
mod log;
mod newest;
mod positions;
mod read;
mod recover;
mod segment;
mod swap;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use codec::message::MessageRecord;
use parking_lot::RwLock;
use tracing::error;

use crate::commit_log::DispatchRecord;
use crate::core::{Core, Signal};
use crate::error::OpenError;
use crate::flush::Flusher;
use compact::{compact, key_of};
use log::CompactionLog;
use positions::PositionFile;
use segment::{Dirs, Place, Sizes};

pub(crate) use recover::Source;

/// Settings, under Java's names.
#[derive(Debug, Clone)]
pub struct CompactionConfig {
    /// `compactionMappedFileSize`, bytes of a file of a compaction log, about; fixed for the life of a directory.
    pub compaction_mapped_file_size: u64,
    /// `compactionCqMappedFileSize`, bytes of a file of its sparse queue; fixed for the life of a directory.
    pub compaction_cq_mapped_file_size: u64,
    /// `compactionScheduleInternal`, ms between two compactions.
    pub compaction_schedule_internal_ms: u64,
    /// `maxOffsetMapSize`, bytes of memory that compaction may use.
    pub max_offset_map_size: usize,
    /// `compactionThreadNum`, queues that are compacted at a time; no more than there are processors.
    pub compaction_thread_num: usize,
    /// Topics with the attribute `cleanup.policy=COMPACTION`.
    pub topics: Vec<String>,
}

impl Default for CompactionConfig {
    fn default() -> Self {
        CompactionConfig {
            compaction_mapped_file_size: 100 << 20,
            compaction_cq_mapped_file_size: 10 << 20,
            compaction_schedule_internal_ms: 15 * 60 * 1000,
            max_offset_map_size: 100 << 20,
            compaction_thread_num: 6,
            topics: Vec::new(),
        }
    }
}

impl CompactionConfig {
    /// # Errors
    /// Settings that leave no room for a message.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let wrong = |key, value: u64, reason: &str| {
            Err(OpenError::Config { key, value: value.to_string(), reason: reason.to_owned() })
        };
        let sizes = self.sizes();
        match () {
            () if sizes.cq < 92 => wrong(
                "compactionCqMappedFileSize",
                self.compaction_cq_mapped_file_size,
                "allowed are 92 bytes and more",
            ),
            () if sizes.log > i32::MAX as u64 => {
                let reason = "with compactionCqMappedFileSize it makes files of more than 2147483647 bytes";
                wrong("compactionMappedFileSize", self.compaction_mapped_file_size, reason)
            }
            () => Ok(()),
        }
    }

    fn sizes(&self) -> Sizes {
        let sizes =
            codec::compaction::file_sizes(self.compaction_cq_mapped_file_size, self.compaction_mapped_file_size);
        Sizes { cq: sizes.0, log: sizes.1 }
    }

    fn threads(&self) -> usize {
        self.compaction_thread_num.clamp(1, std::thread::available_parallelism().map_or(1, usize::from))
    }
}

/// By topic, then queue id.
type Logs = HashMap<Arc<str>, HashMap<i32, Arc<CompactionLog>>>;

/// The compaction logs of a store.
#[derive(Debug)]
pub(crate) struct Compaction {
    core: Arc<Core>,
    config: CompactionConfig,
    sizes: Sizes,
    root: PathBuf,
    topics: ArcSwap<BTreeSet<String>>,
    logs: RwLock<Logs>,
    positions: PositionFile,
    pub(crate) signal: Signal,
}

impl Compaction {
    fn log_root(&self) -> PathBuf {
        self.root.join("compactionLog")
    }

    fn dirs(&self, topic: &str, queue_id: i32) -> Dirs {
        let queue = PathBuf::from(topic).join(queue_id.to_string());
        Dirs { log: self.log_root().join(&queue), cq: self.root.join("compactionCq").join(queue) }
    }

    /// Whether a topic has logs on the disk.
    pub(crate) fn has_files(&self, topic: &str) -> bool {
        self.core.fs.list(&self.log_root().join(topic)).is_ok_and(|found| !found.is_empty())
    }

    /// Whether messages of a topic are compacted.
    pub(crate) fn has_topic(&self, topic: &str) -> bool {
        let topics = self.topics.load();
        !topics.is_empty() && topics.contains(topic)
    }

    fn set_topic(&self, topic: &str, compacted: bool) {
        if self.has_topic(topic) != compacted {
            self.topics.rcu(|topics| {
                let mut topics = BTreeSet::clone(topics);
                if compacted {
                    topics.insert(topic.to_owned())
                } else {
                    topics.remove(topic)
                };
                topics
            });
        }
    }

    /// The log of a queue, if its topic is compacted and it has had a message.
    fn find(&self, topic: &str, queue_id: i32) -> Option<Arc<CompactionLog>> {
        self.logs.read().get(topic)?.get(&queue_id).cloned()
    }

    fn all(&self) -> Vec<Arc<CompactionLog>> {
        self.logs.read().values().flat_map(HashMap::values).cloned().collect()
    }

    /// Copies records of topics that are compacted. For the dispatcher; may be done again after an error.
    /// # Errors
    /// What the system said.
    pub(crate) fn dispatch(&self, source: Source<'_>, records: &[DispatchRecord]) -> io::Result<()> {
        let topics = self.topics.load();
        if topics.is_empty() {
            return Ok(());
        }
        for record in records.iter().filter(|record| topics.contains(&*record.queue.topic)) {
            let Some(queue_offset) = record.queue_offset.filter(|_| !record.queue.is_deleted()) else { continue };
            let log = match self.find(&record.queue.topic, record.queue.queue_id) {
                Some(log) => log,
                None => self.open_log(&record.queue.topic, record.queue.queue_id, source, queue_offset)?,
            };
            let Some(bytes) = source.log.files().slice(record.physical_offset, record.len) else { continue };
            let place = Place { queue_offset, tags_code: record.tags_code, store_timestamp: record.store_timestamp };
            log.append(&*self.core.fs, key_of(&bytes).map(|_| &*bytes), place)?;
        }
        Ok(())
    }

    /// Brings what was copied to the disk.
    /// # Errors
    /// What the system said.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.all().iter().try_for_each(|log| log.flush(&*self.core.fs))
    }

    /// Messages of the topic are not compacted any more; its logs stay as they are.
    pub(crate) fn remove_topic(&self, topic: &str) {
        self.take_out(topic);
    }

    fn take_out(&self, topic: &str) -> HashMap<i32, Arc<CompactionLog>> {
        self.set_topic(topic, false);
        let logs = self.logs.write().remove(topic).unwrap_or_default();
        logs.values().for_each(|log| log.close());
        logs
    }

    /// Deletes the logs of a topic, which is not compacted any more.
    /// # Errors
    /// What the system said.
    pub(crate) fn delete_topic(&self, topic: &str) -> io::Result<()> {
        let logs = self.take_out(topic);
        if logs.is_empty() {
            return Ok(());
        }
        for log in logs.values() {
            log.delete(&*self.core.fs)?;
            self.positions.forget(&*self.core.fs, topic, log.queue_id)?;
        }
        for dir in self.dirs(topic, 0).both().into_iter().filter_map(|dir| dir.parent()) {
            self.core.fs.remove_dir_all(dir)?;
        }
        Ok(())
    }

    /// The thread `store-compaction`. Ends when the store stops.
    pub(crate) fn run(&self, flusher: &Flusher) {
        self.signal.attach();
        let interval = Duration::from_millis(self.config.compaction_schedule_internal_ms.max(10));
        while !self.core.stopping() && self.core.poisoned().is_none() {
            if self.logs.read().is_empty() {
                self.signal.wait(None);
                continue;
            }
            self.signal.pause(interval, || self.core.stopping());
            if let Err(error) = self.compact_all(flusher) {
                error!(%error, "compaction failed, it is tried again later");
            }
        }
    }

    /// Compacts all queues that have something to compact.
    /// # Errors
    /// One of those that were met; every queue was tried.
    pub(crate) fn compact_all(&self, flusher: &Flusher) -> io::Result<()> {
        let logs = self.all();
        if logs.is_empty() || self.core.stopping() {
            return Ok(());
        }
        let threads = self.config.threads();
        let max_bytes = self.config.max_offset_map_size / threads;
        let next = AtomicUsize::new(0);
        let work = || {
            let mut result = Ok(());
            while let Some(log) = logs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.compact_one(flusher, log, max_bytes) {
                    error!(topic = %log.topic, queue_id = log.queue_id, %error, "cannot compact a queue");
                    result = Err(error);
                }
            }
            result
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(logs.len())).map(|_| scope.spawn(work)).collect();
            let mut result = work();
            for other in others {
                let panicked = |_| Err(io::Error::other("a thread panicked while it compacted"));
                result = result.and(other.join().unwrap_or_else(panicked));
            }
            result
        })
    }

    fn compact_one(&self, flusher: &Flusher, log: &CompactionLog, max_bytes: usize) -> io::Result<()> {
        if let Some(done) = compact(flusher, log, max_bytes)?
            && !log.is_closed()
        {
            self.positions.set(&*self.core.fs, &log.topic, log.queue_id, done.position)?;
        }
        Ok(())
    }
}

/// What a record is filed under.
fn place_of(record: &MessageRecord<'_>, tags_code: i64) -> Place {
    Place { queue_offset: record.queue_offset, tags_code, store_timestamp: record.store_timestamp }
}
