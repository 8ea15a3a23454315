//! Thread `store-flush`: brings the log to the disk. Under ASYNC_FLUSH every flushIntervalCommitLog while something is
//! written; under SYNC_FLUSH at once, in groups: whoever appends during a flush shares the next one. And thread
//! `store-checkpoint`: brings consume queues and index to the disk from time to time and notes from where a restart
//! has to read the log. Both sleep without a timer while nothing is written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::StoreCheckpoint;
use crate::commit_log::CommitLog;
use crate::compaction::Compaction;
use crate::config::FlushDiskType;
use crate::core::Core;
use crate::dispatch::Dispatched;
use crate::index::Index;
use crate::queue_table::QueueTable;

/// So many changed queue files are flushed every flushIntervalConsumeQueue, more only thoroughly: each costs a sync.
const FEW_FILES: usize = 16;
/// But no later than after so many bytes of log: a start after a loss of power reads no more than about these.
const MAX_BEHIND: u64 = 512 << 20;

/// What flushing needs.
#[derive(Debug, Clone)]
pub(crate) struct Flusher {
    pub(crate) core: Arc<Core>,
    pub(crate) log: Arc<CommitLog>,
    pub(crate) checkpoint: Arc<StoreCheckpoint>,
}

impl Flusher {
    /// The thread `store-flush`. Ends when the store stops; with a last flush, unless it is abandoned.
    pub(crate) fn run(&self) {
        let core = &self.core;
        core.flush.attach();
        let sync = core.config.flush_disk_type == FlushDiskType::SyncFlush;
        let interval = Duration::from_millis(core.config.flush_interval_commit_log_ms);
        loop {
            let stopping = core.stopping();
            if core.abandoned() || core.poisoned().is_some() {
                return;
            }
            if core.flush_due() {
                if !sync {
                    core.flush.pause(interval, || core.stopping());
                }
                core.begin_flush();
                self.flush_and_tell();
            } else if stopping {
                self.flush_and_tell();
                return;
            } else {
                core.flush.wait(None);
            }
        }
    }

    fn flush_and_tell(&self) {
        // An error has poisoned the store.
        let _ = self.flush();
        // Under SYNC_FLUSH, what is flushed may be dispatched.
        self.core.dispatch.notify();
    }

    /// Flushes everything appended before the call.
    /// # Errors
    /// What the system said; the store is poisoned then. What was to be flushed must be taken as lost: a later fdatasync
    /// may succeed without having written it.
    pub(crate) fn flush(&self) -> io::Result<()> {
        // One at a time: the system tells of a failed write once only, and whoever flushes next must know of it.
        let _one = self.core.flush_lock.lock();
        if let Some(reason) = self.core.poisoned() {
            return Err(io::Error::other(reason.to_string()));
        }
        let flushed = self.sync();
        if let Err(error) = &flushed {
            self.core.poison(format!("cannot flush the commit log: {error}"));
        }
        flushed
    }

    fn sync(&self) -> io::Result<()> {
        let from = self.core.watermark.flushed();
        let store_timestamp = self.log.last_store_timestamp();
        let to = self.log.wrote();
        if to <= from {
            return Ok(());
        }
        for file in self.log.files().files().iter() {
            if file.end_offset() > from && file.first_offset() < to {
                self.core.fs.sync_data(file.file())?;
            }
        }
        if store_timestamp > 0 {
            self.checkpoint.set_physic_msg_timestamp(store_timestamp);
        }
        self.core.watermark.advance(to);
        Ok(())
    }
}

/// Makes checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    pub(crate) flusher: Flusher,
    pub(crate) dispatched: Arc<Dispatched>,
    pub(crate) queues: Arc<QueueTable>,
    pub(crate) index: Option<Arc<Index>>,
    pub(crate) compaction: Option<Arc<Compaction>>,
}

impl Checkpointer {
    /// The thread `store-checkpoint`. Ends when the store stops.
    pub(crate) fn run(&self) {
        let core = &self.flusher.core;
        core.checkpoint.attach();
        let often = Duration::from_millis(core.config.flush_interval_consume_queue_ms.max(10));
        let seldom = Duration::from_millis(core.config.flush_consume_queue_thorough_interval_ms);
        let mut checkpointed = self.dispatched.offset();
        while !core.stopping() && core.poisoned().is_none() {
            if !core.checkpoint_due() {
                core.checkpoint.wait(None);
                continue;
            }
            let began = crate::clock::instant();
            loop {
                core.checkpoint.pause(often.min(seldom), || core.stopping());
                let behind = self.dispatched.offset().saturating_sub(checkpointed);
                let may_wait = self.queues.dirty_files() > FEW_FILES && behind < MAX_BEHIND;
                if core.stopping() || !may_wait || began.elapsed() + often > seldom {
                    break;
                }
            }
            if core.stopping() {
                return;
            }
            core.begin_checkpoint();
            checkpointed = self.dispatched.offset();
            if let Err(error) = self.checkpoint() {
                core.poison(format!("cannot flush consume queues, index or checkpoint: {error}"));
            }
        }
    }

    /// Flushes everything dispatched before the call and notes it.
    /// # Errors
    /// What the system said.
    pub(crate) fn checkpoint(&self) -> io::Result<()> {
        let core = &self.flusher.core;
        let last_record = self.dispatched.last_record();
        let durable = self.dispatched.offset();
        self.flusher.flush()?;
        self.queues.flush()?;
        if let Some(index) = &self.index {
            index.flush(core)?;
        }
        if let Some(compaction) = &self.compaction {
            compaction.flush()?;
        }
        let store_timestamp = last_record.and_then(|offset| self.flusher.log.store_timestamp_at(offset)).unwrap_or(0);
        self.flusher.checkpoint.set_durable(durable, store_timestamp, last_record);
        self.flusher.checkpoint.flush(&*core.fs)
    }
}
