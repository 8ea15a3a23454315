//! Thread `store-clean`: looks at the disk from time to time, deletes commit-log files that have expired or must go for
//! want of space, and with them what consume queues and index say about them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{info, warn};

use crate::checkpoint::StoreCheckpoint;
use crate::commit_log::CommitLog;
use crate::core::{Core, Finding};
use crate::disk_level::DiskLevel;
use crate::error::PutError;
use crate::index::Index;
use crate::log_files::remove_for_good;
use crate::mmap::MappedFile;
use crate::queue_table::QueueTable;
use crate::release::{Deleted, Nameless};
use crate::retention::{Retention, RetentionClock};
use crate::status::DiskStatus;

/// Rounds for which a deletion by hand deletes at any hour. Source: CleanCommitLogService.
const MANUAL_ROUNDS: u32 = 20;
/// So often it is looked whether a deleted file has lost its last reader.
const HELD_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Cleaner {
    pub(crate) core: Arc<Core>,
    pub(crate) log: Arc<CommitLog>,
    pub(crate) queues: Arc<QueueTable>,
    pub(crate) index: Option<Arc<Index>>,
    pub(crate) gate: Arc<Mutex<()>>,
    pub(crate) checkpoint: Arc<StoreCheckpoint>,
    pub(crate) manual_rounds: AtomicU32,
    /// Held during a round: files go one after the other.
    pub(crate) round: Mutex<()>,
    /// What files are old by.
    pub(crate) clock: RetentionClock,
    /// Files whose blocks are still to be given back.
    pub(crate) deleted: Deleted,
    /// What the disks asked for when they were last looked at.
    pub(crate) level: Mutex<DiskLevel>,
    /// It was told that nothing could be deleted.
    pub(crate) stuck: AtomicBool,
    /// The log's min offset that queues and index were last brought in step with.
    pub(crate) cleaned_to: AtomicU64,
}

impl Cleaner {
    /// The thread.
    pub(crate) fn run(&self) {
        self.core.clean.attach();
        while !self.core.stopping() {
            if let Err(error) = self.clean() {
                warn!(%error, "cleaning failed, it will be tried again");
            }
            let interval = self.core.retention().interval;
            if self.manual_rounds.load(Ordering::Acquire) > 0 {
                self.core.clean.pause(interval, || self.core.stopping());
            } else if self.deleted.is_empty() {
                self.core.clean.wait(Some(interval));
            } else {
                self.core.clean.wait(Some(interval.min(HELD_PAUSE)));
            }
        }
    }

    /// Whether expired files are deleted in this hour.
    pub(crate) fn is_hour_to_delete(&self) -> bool {
        self.core.retention().is_hour_to_delete(self.clock.now_ms(&*self.core.clock))
    }

    /// Deletes expired files in the next rounds, whatever the hour.
    pub(crate) fn delete_by_hand(&self) {
        self.manual_rounds.store(MANUAL_ROUNDS, Ordering::Release);
        self.core.clean.notify();
    }

    /// One round.
    /// # Errors
    /// What the system said.
    pub(crate) fn clean(&self) -> io::Result<()> {
        let _round = self.round.lock();
        let deleted = self.delete_what_must_go();
        let cleaned = self.clean_behind_log();
        self.deleted.release(&self.core);
        deleted.and(cleaned)
    }

    fn delete_what_must_go(&self) -> io::Result<()> {
        let retention = self.core.retention();
        let level = self.look_at_disks(&retention)?;
        let manual = self
            .manual_rounds
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |rounds| rounds.checked_sub(1))
            .is_ok();
        let now = self.clock.now_ms(&*self.core.clock);
        if level == DiskLevel::Plenty && !manual && !retention.is_hour_to_delete(now) {
            return Ok(());
        }
        let forcibly = level >= DiskLevel::Short && retention.clean_forcibly;
        let deleted = self.delete_commit_log_files(&retention, forcibly)?;
        let stuck = deleted == 0 && level != DiskLevel::Plenty;
        if stuck && !self.stuck.swap(stuck, Ordering::AcqRel) {
            warn!(%level, "disk space runs out and no commit-log file could be deleted: none has expired \
                (fileReservedTime), or only the newest is left");
        }
        self.stuck.store(stuck, Ordering::Release);
        Ok(())
    }

    /// The disk of each commit-log directory, and last that of the root directory.
    pub(crate) fn disks(&self) -> io::Result<Vec<DiskStatus>> {
        let config = &self.core.config;
        let thresholds = self.core.retention().thresholds;
        let paths = config.commit_log_paths().into_iter().chain([config.store_path_root_dir.clone()]);
        paths
            .map(|path| {
                let usage = self.core.fs.usage(&path)?;
                Ok(DiskStatus { level: thresholds.level(&usage), path, usage })
            })
            .collect()
    }

    /// Refuses puts or accepts them again. Returns what the disks ask for when the blocks of all deleted files are given
    /// back.
    fn look_at_disks(&self, retention: &Retention) -> io::Result<DiskLevel> {
        let mut disks = self.disks()?;
        let decisive = decisive(&disks);
        let (level, limit) = decisive.map_or_else(Default::default, |disk| retention.thresholds.reached(&disk.usage));
        let path = decisive.map(|disk| disk.path.display().to_string()).unwrap_or_default();
        let told = std::mem::replace(&mut *self.level.lock(), level);
        if let Some(limit) = limit.filter(|_| level > told) {
            match level {
                DiskLevel::Scarce => warn!(path, "the disk is {limit}: expired files are deleted at any hour"),
                DiskLevel::Short => warn!(path, "the disk is {limit}: files are deleted before they expire"),
                DiskLevel::Plenty | DiskLevel::Full => {}
            }
        }
        match limit {
            Some(limit) if level == DiskLevel::Full => {
                self.core.set_disk_full(Finding::Level, Some(PutError::DiskFull { limit, path }));
            }
            // Between the two levels it stays as it is.
            _ if level < DiskLevel::Short => self.core.set_disk_full(Finding::Level, None),
            _ => {}
        }
        for disk in &mut disks {
            let coming = self.deleted.bytes_below(&disk.path);
            disk.usage.used = disk.usage.used.saturating_sub(coming);
            disk.usage.available = disk.usage.available.saturating_add(coming);
            disk.level = retention.thresholds.level(&disk.usage);
        }
        Ok(level_of(&disks))
    }

    /// Deletes from the oldest on, stops at the first that must stay; never the newest. Readers that hold slices of a
    /// deleted file keep reading: it lives on without a name.
    fn delete_commit_log_files(&self, retention: &Retention, forcibly: bool) -> io::Result<usize> {
        let mut deleted = 0;
        while deleted < retention.batch_max && !self.core.stopping() {
            let files = self.log.files().files();
            let Some(oldest) = files.first().filter(|_| files.len() > 1) else { break };
            if !forcibly && self.age_ms(oldest)? < retention.reserved_ms {
                break;
            }
            // Gone for good before the next one goes, whatever fails or stops in between: of what is left, nothing may be
            // missing in the middle. Who still finds it in the list reads it from the map.
            remove_for_good(&self.core, oldest.path())?;
            self.log.files().remove_first(oldest);
            self.deleted.add(Nameless::Log(Arc::clone(oldest)));
            info!(path = %oldest.path().display(), forcibly, "commit-log file deleted");
            deleted += 1;
            self.core.clean.pause(retention.pause, || self.core.stopping());
        }
        Ok(deleted)
    }

    fn age_ms(&self, file: &MappedFile) -> io::Result<i64> {
        let modified_ms = self.core.fs.modified_ms(file.file())?;
        Ok(self.clock.age_ms(&*self.core.clock, modified_ms, file.end_offset() <= self.log.opened_at()))
    }

    /// Brings queues and index in step with the start of the log, when that has moved.
    pub(crate) fn clean_behind_log(&self) -> io::Result<()> {
        let log_min = self.log.min_offset();
        if log_min <= self.cleaned_to.load(Ordering::Acquire) {
            return Ok(());
        }
        self.queues.set_log_min(log_min);
        let mut expired = Vec::new();
        for queue in self.queues.all() {
            if self.core.stopping() {
                break;
            }
            queue.load(self.queues.files())?;
            let _gate = self.gate.lock();
            if !queue.is_deleted() {
                if queue.strike_off_expired(self.queues.files(), log_min)? {
                    expired.push(Arc::clone(&queue));
                }
                if queue.batch().is_none() {
                    self.queues.ext().delete_expired_files(&queue, self.queues.files())?;
                }
            }
        }
        if !expired.is_empty() {
            self.checkpoint.flush(&*self.core.fs)?;
        }
        for queue in expired {
            let _gate = self.gate.lock();
            // A deleted one has no files, but one of the same name may.
            if !queue.is_deleted() {
                queue.remove_struck_off(self.queues.files())?;
            }
        }
        if self.core.stopping() {
            return Ok(());
        }
        if let Some(index) = &self.index {
            index.delete_expired(&self.core, log_min, &self.deleted)?;
        }
        self.cleaned_to.store(log_min, Ordering::Release);
        Ok(())
    }

    /// Deletes queues none of whose records is left (CLEAN_EXPIRED_CONSUMEQUEUE), those of some topics aside. Returns how many
    /// went.
    pub(crate) fn delete_expired_queues(&self, stays: impl Fn(&str) -> bool) -> io::Result<usize> {
        let log_min = self.log.min_offset();
        let mut deleted = 0;
        for queue in self.queues.all() {
            if is_system_topic(&queue.topic) || stays(&queue.topic) {
                continue;
            }
            queue.load(self.queues.files())?;
            if queue.last_physical_end(self.queues.files())?.is_some_and(|end| end <= log_min) {
                self.delete_queues(&[queue])?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// Takes queues out of the table and deletes their files.
    pub(crate) fn delete_queues(&self, queues: &[Arc<crate::consume_queue::Queue>]) -> io::Result<()> {
        let _gate = self.gate.lock();
        self.log.while_held(|| {
            queues.iter().for_each(|queue| self.queues.remove(queue));
            if self.queues.len() == 0 {
                self.checkpoint.set_emptied(self.log.wrote());
            }
        });
        // On the disk before the queues go, or a loss of power between the two would bring them back.
        queues.iter().for_each(|queue| self.queues.files().strike_off_all(queue));
        self.checkpoint.flush(&*self.core.fs)?;
        for queue in queues {
            queue.close();
            let files = queue.files(self.queues.files());
            self.core.fs.remove_dir_all(&files.queue_dir(queue))?;
            self.queues.ext().delete(queue)?;
            if self.queues.of_topic(&queue.topic).is_empty() {
                self.core.fs.remove_dir_all(&files.topic_dir(&queue.topic))?;
            }
        }
        Ok(())
    }
}

/// The disk that decides: of the commit log's the one with most room, as in Java, unless that of the root has less.
fn decisive(disks: &[DiskStatus]) -> Option<&DiskStatus> {
    let (root, logs) = disks.split_last()?;
    let log = logs.iter().min_by_key(|disk| (disk.level, disk.usage.percent()));
    Some(log.filter(|log| log.level >= root.level).unwrap_or(root))
}

/// What these disks ask for.
pub(crate) fn level_of(disks: &[DiskStatus]) -> DiskLevel {
    decisive(disks).map(|disk| disk.level).unwrap_or_default()
}

/// Topics that are not deleted for being unused. Source: TopicValidator.
pub(crate) fn is_system_topic(topic: &str) -> bool {
    const TOPICS: [&str; 12] = [
        "TBW102",
        "SCHEDULE_TOPIC_XXXX",
        "BenchmarkTest",
        "RMQ_SYS_TRANS_HALF_TOPIC",
        "RMQ_SYS_TRACE_TOPIC",
        "RMQ_SYS_TRANS_OP_HALF_TOPIC",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "SELF_TEST_TOPIC",
        "OFFSET_MOVED_EVENT",
        "CHECKPOINT_TOPIC",
        "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC",
        "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
    ];
    TOPICS.contains(&topic) || topic.starts_with("rmq_sys_")
}
