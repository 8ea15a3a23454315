//! [`MessageStore`]: the whole of it.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tracing::{error, info};

use crate::batch_consume_queue::QueueType;
use crate::checkpoint::StoreCheckpoint;
use crate::clean::{Cleaner, is_system_topic, level_of};
use crate::clock::{Clock, SystemClock};
use crate::commit_log::CommitLog;
use crate::compaction::{Compaction, Source};
use crate::config::{FlushDiskType, StoreConfig};
use crate::core::Core;
use crate::dispatch::{Dispatched, Dispatcher, confirmed};
use crate::error::{FlushError, OpenError, PutError};
use crate::flush::Checkpointer;
use crate::fs::{FileSystem, RealFileSystem};
use crate::lmq::{Lmqs, is_lmq};
use crate::lookup::DamagedRecords;
use crate::message::{Message, MessageArrivingListener, PutResult};
use crate::queue_table::QueueTable;
use crate::record::DelayLevels;
use crate::retention::Retention;
use crate::status::StoreStatus;
use crate::sys::RangeLock;
use crate::watermark::FlushWait;

/// A message store over one directory. Share it behind an [`Arc`]; all methods take `&self` and may be called from any
/// thread. Dropping it shuts it down.
pub struct MessageStore {
    pub(crate) core: Arc<Core>,
    pub(crate) log: Arc<CommitLog>,
    pub(crate) queues: Arc<QueueTable>,
    pub(crate) compaction: Option<Arc<Compaction>>,
    pub(crate) delays: Arc<DelayLevels>,
    pub(crate) checkpoint: Arc<StoreCheckpoint>,
    pub(crate) checkpointer: Arc<Checkpointer>,
    pub(crate) cleaner: Arc<Cleaner>,
    pub(crate) dispatched: Arc<Dispatched>,
    pub(crate) damaged: DamagedRecords,
    pub(crate) lmqs: Lmqs,
    pub(crate) total_memory: u64,
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) lock: Mutex<Option<RangeLock>>,
}

impl MessageStore {
    /// Locks the directory, loads it, recovers it and starts the threads. `arriving` is told of each new message by the
    /// thread `store-dispatch`, not of those that recovery dispatches again.
    /// # Errors
    /// See [`OpenError`]; nothing is left running or locked.
    pub fn open(config: StoreConfig, arriving: Arc<dyn MessageArrivingListener>) -> Result<MessageStore, OpenError> {
        MessageStore::open_with(config, arriving, Arc::new(RealFileSystem), Arc::new(SystemClock))
    }

    /// [`MessageStore::open`] with a file system and a clock of the caller's; for tests.
    /// # Errors
    /// As [`MessageStore::open`].
    pub fn open_with(
        config: StoreConfig,
        arriving: Arc<dyn MessageArrivingListener>,
        fs: Arc<dyn FileSystem>,
        clock: Arc<dyn Clock>,
    ) -> Result<MessageStore, OpenError> {
        crate::open::open(Core::new(config, fs, clock), arriving)
    }

    /// Appends one message; returns when it is in the page cache and would survive the death of the process. To know
    /// it on the disk, wait for [`MessageStore::flushed`]`(result.end())`.
    ///
    /// The queue offset counts per topic and queue. A prepared or rolled-back transaction message gets queue offset 0
    /// and enters no queue.
    /// # Errors
    /// See [`PutError`]; nothing was stored.
    pub fn put(&self, message: &Message<'_>) -> Result<PutResult, PutError> {
        let mut place = None;
        self.put_all(std::slice::from_ref(message), |result| place = Some(result))?;
        place.ok_or(PutError::Illegal { reason: "the record got no place" })
    }

    /// Appends several messages one behind the other, all or none, under one acquisition of the append lock and never
    /// split across files. They may be of different queues.
    /// # Errors
    /// See [`PutError`]; nothing was stored.
    pub fn put_batch(&self, messages: &[Message<'_>]) -> Result<Vec<PutResult>, PutError> {
        let mut places = Vec::with_capacity(messages.len());
        self.put_all(messages, |result| places.push(result))?;
        Ok(places)
    }

    /// Resolves when everything before `end` is confirmed: on the disk under SYNC_FLUSH, at once under ASYNC_FLUSH.
    pub fn flushed(&self, end: u64) -> FlushWait {
        match self.core.config.flush_disk_type {
            FlushDiskType::SyncFlush => self.core.watermark.wait(end),
            FlushDiskType::AsyncFlush => FlushWait::done(),
        }
    }

    /// All topics that have queues, with their queue ids, sorted.
    pub fn topics(&self) -> Vec<(String, Vec<i32>)> {
        let mut topics = std::collections::BTreeMap::<String, Vec<i32>>::new();
        for queue in self.queues.all() {
            if !queue.is_loaded() || queue.max_offset() > 0 {
                topics.entry(queue.topic.to_string()).or_default().push(queue.queue_id);
            }
        }
        topics.values_mut().for_each(|ids| ids.sort_unstable());
        topics.into_iter().collect()
    }

    /// Deletes the consume queues of a topic; its records stay in the log until they expire. Returns how many queues
    /// went.
    pub fn delete_topic(&self, topic: &str) -> usize {
        let queues = self.queues.of_topic(topic);
        if let Err(error) = self.cleaner.delete_queues(&queues) {
            error!(topic, %error, "files of a deleted topic are left behind");
        }
        self.queues.set_type(topic, QueueType::Simple);
        if let Some(compaction) = &self.compaction
            && let Err(error) = compaction.delete_topic(topic)
        {
            error!(topic, %error, "compaction logs of a deleted topic are left behind");
        }
        queues.len()
    }

    /// Whether the messages of a topic are compacted: its attribute `cleanup.policy`. Consumers read what is left of them then.
    /// # Errors
    /// What the system said about files of that topic; nothing has changed.
    pub fn set_compacted(&self, topic: &str, compacted: bool) -> io::Result<()> {
        let Some(compaction) = &self.compaction else { return Ok(()) };
        if !compacted {
            compaction.remove_topic(topic);
            return Ok(());
        }
        let _gate = self.cleaner.gate.lock();
        compaction.add_topic(topic, Source { log: &self.log, queues: &self.queues, delays: &self.delays })
    }

    /// Whether there are files of compaction logs of a topic, whatever its attributes.
    pub fn has_compaction_logs(&self, topic: &str) -> bool {
        self.compaction.as_ref().is_some_and(|compaction| compaction.has_files(topic))
    }

    /// Compacts now what can be, as the thread `store-compaction` does from time to time.
    /// # Errors
    /// What the system said; every queue was tried.
    pub fn compact_now(&self) -> io::Result<()> {
        self.compaction.as_ref().map_or(Ok(()), |compaction| compaction.compact_all(&self.checkpointer.flusher))
    }

    /// How the queues of a topic are made: its attribute `queue.type`. A topic that has queues keeps what they are.
    pub fn set_queue_type(&self, topic: &str, queue_type: QueueType) {
        self.queues.set_type(topic, queue_type);
    }

    /// How the queues of a topic are, or would be made.
    pub fn queue_type(&self, topic: &str) -> QueueType {
        self.queues.queue_type(topic)
    }

    /// Deletes the consume queues of all topics that are not in `keep`, nor a system topic or an LMQ. Returns how many
    /// topics went.
    pub fn clean_unused_topics(&self, keep: &HashSet<String>) -> usize {
        let topics = self.topics().into_iter().map(|(topic, _)| topic);
        let unused = topics.filter(|topic| !keep.contains(topic) && !is_system_topic(topic) && !is_lmq(topic));
        unused.map(|topic| self.delete_topic(&topic)).filter(|deleted| *deleted > 0).count()
    }

    /// Deletes expired commit-log files now and in the next rounds, whatever the hour (DELETE_EXPIRED_COMMITLOG).
    pub fn delete_expired_files(&self) {
        self.cleaner.delete_by_hand();
    }

    /// Whether this is an hour of `deleteWhen`.
    pub fn is_hour_to_delete(&self) -> bool {
        self.cleaner.is_hour_to_delete()
    }

    /// Deletes queues none of whose records is left in the log (CLEAN_EXPIRED_CONSUMEQUEUE). Returns how many went.
    pub fn clean_expired_consume_queues(&self) -> usize {
        // The numbers of what is compacted go on behind its queue's.
        let is_compacted = |topic: &str| self.compaction.as_ref().is_some_and(|compaction| compaction.has_topic(topic));
        self.cleaner.delete_expired_queues(is_compacted).unwrap_or_else(|error| {
            error!(%error, "cannot delete expired consume queues");
            0
        })
    }

    /// One round of what the thread `store-clean` does from time to time: look at the disk, delete what has expired.
    /// # Errors
    /// What the system said.
    pub fn clean_now(&self) -> io::Result<()> {
        self.cleaner.clean()
    }

    /// Takes over the settings of retention from `config`: fileReservedTime, deleteWhen, what is deleted how fast, and from
    /// where on a disk is too full. All others stay what they were at the open.
    pub fn set_retention(&self, config: &StoreConfig) {
        self.core.set_retention(Retention::of(config));
        self.core.clean.notify();
    }

    /// Puts make no more light queues than this from now on; `None`: as many as they name.
    pub fn set_lmq_quota(&self, quota: Option<usize>) {
        self.lmqs.set_quota(quota);
    }

    /// How the store is doing.
    pub fn status(&self) -> StoreStatus {
        use std::sync::atomic::Ordering::Relaxed;
        let disks = self.cleaner.disks().unwrap_or_default();
        let (root, logs) = disks.split_last().map_or((0.0, &[][..]), |(root, logs)| (root.usage.ratio(), logs));
        let dispatched_offset = self.dispatched.offset();
        let max_offset = self.log.wrote();
        let counters = &self.core.counters;
        StoreStatus {
            min_offset: self.log.min_offset(),
            max_offset,
            flushed_offset: self.core.watermark.flushed(),
            dispatched_offset,
            confirmed_offset: confirmed(&self.core, &self.log),
            dispatch_behind_bytes: max_offset.saturating_sub(dispatched_offset),
            commit_log_disk_ratio: logs.iter().map(|disk| disk.usage.ratio()).min_by(f64::total_cmp).unwrap_or(0.0),
            commit_log_disk_ratios: logs.iter().map(|disk| (disk.path.clone(), disk.usage.ratio())).collect(),
            consume_queue_disk_ratio: root,
            disk_level: level_of(&disks),
            disk_full: self.core.disk_full(),
            deleted_bytes_held: self.cleaner.deleted.bytes_below("".as_ref()),
            disks,
            poisoned: self.core.poisoned().cloned(),
            earliest_message_time: self.earliest_store_time(),
            puts: counters.puts.load(Relaxed),
            put_bytes: counters.put_bytes.load(Relaxed),
            put_failures: counters.put_failures.load(Relaxed),
            gets_found: counters.gets_found.load(Relaxed),
            gets_missed: counters.gets_missed.load(Relaxed),
            got_messages: counters.got_messages.load(Relaxed),
            got_bytes: counters.got_bytes.load(Relaxed),
            damaged_records: self.damaged.count(),
            queues: self.queues.len(),
            commit_log_files: self.log.files().files().len(),
        }
    }

    /// Stops cleanly: no more puts, everything dispatched and flushed, checkpoint written, `abort` removed, unlocked.
    /// After a failure the files stay as after a kill, for the next start to recover. Calling it again does nothing.
    pub fn shutdown(&self) {
        self.stop(false);
    }

    /// Stops as a kill would: nothing more is flushed or dispatched, `abort` stays. For tests of recovery.
    #[doc(hidden)]
    pub fn abandon(&self) {
        self.stop(true);
    }

    fn stop(&self, abandon: bool) {
        self.log.close();
        if !self.core.stop(abandon) {
            return;
        }
        let core = &self.core;
        for signal in [&*core.flush, &core.dispatch, &core.allocate, &core.checkpoint, &core.clean] {
            signal.notify();
        }
        if let Some(compaction) = &self.compaction {
            compaction.signal.notify();
        }
        for thread in self.threads.lock().drain(..) {
            // A panic has poisoned the store already.
            let _ = thread.join();
            core.dispatch.notify();
        }
        if !abandon && core.poisoned().is_none() {
            match self.finish() {
                Ok(()) => info!("store closed"),
                Err(error) => core.poison(format!("cannot close the store cleanly: {error}")),
            }
        }
        core.watermark.fail(FlushError::Shutdown);
        self.lock.lock().take();
    }

    /// The last steps of a clean stop.
    fn finish(&self) -> io::Result<()> {
        let root = &self.core.config.store_path_root_dir;
        self.checkpointer.checkpoint()?;
        self.checkpoint.set_clean_end(self.log.wrote());
        self.checkpoint.flush(&*self.core.fs)?;
        self.log.allocator().discard_next();
        self.core.fs.remove_file(&root.join("abort"))?;
        self.core.fs.sync_dir(root)
    }

    pub(crate) fn start(&mut self, dispatcher: Dispatcher) -> io::Result<()> {
        let (flusher, checkpointer) = (self.checkpointer.flusher.clone(), Arc::clone(&self.checkpointer));
        let (log, cleaner) = (Arc::clone(&self.log), Arc::clone(&self.cleaner));
        let threads = self.threads.get_mut();
        threads.push(self.core.spawn("store-flush", move || flusher.run())?);
        threads.push(self.core.spawn("store-dispatch", move || dispatcher.run())?);
        threads.push(self.core.spawn("store-checkpoint", move || checkpointer.run())?);
        threads.push(self.core.spawn("store-allocate", move || log.allocator().run())?);
        threads.push(self.core.spawn("store-clean", move || cleaner.run())?);
        if let Some(compaction) = self.compaction.clone() {
            let flusher = self.checkpointer.flusher.clone();
            threads.push(self.core.spawn("store-compaction", move || compaction.run(&flusher))?);
        }
        Ok(())
    }
}

impl fmt::Debug for MessageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = &self.core.config.store_path_root_dir;
        f.debug_struct("MessageStore")
            .field("root", root)
            .field("max_offset", &self.log.wrote())
            .finish_non_exhaustive()
    }
}

impl Drop for MessageStore {
    fn drop(&mut self) {
        self.shutdown();
    }
}
