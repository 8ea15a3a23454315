//! Thread `store-clean`: looks at the disk from time to time, deletes commit-log files that have expired or must go for
//! want of space, and with them what consume queues and index say about them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{info, warn};

use crate::checkpoint::StoreCheckpoint;
use crate::commit_log::CommitLog;
use crate::core::Core;
use crate::error::PutError;
use crate::fs::DiskUsage;
use crate::index::Index;
use crate::log_files::remove_for_good;
use crate::mmap::MappedFile;
use crate::queue_table::QueueTable;
use crate::sys::LocalTime;

/// Rounds for which a deletion by hand deletes at any hour. Source: CleanCommitLogService.
const MANUAL_ROUNDS: u32 = 20;

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
    /// The log's min offset that queues and index were last brought in step with.
    pub(crate) cleaned_to: AtomicU64,
}

/// What the disk asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    Plenty,
    /// Above diskMaxUsedSpaceRatio: expired files go at any hour.
    Scarce,
    /// Above diskSpaceCleanForciblyRatio: files go before they expire.
    Short,
}

impl Cleaner {
    /// The thread.
    pub(crate) fn run(&self) {
        self.core.clean.attach();
        let interval = Duration::from_millis(self.core.config.clean_resource_interval_ms.max(1));
        while !self.core.stopping() {
            if let Err(error) = self.clean() {
                warn!(%error, "cleaning failed, it will be tried again");
            }
            if self.manual_rounds.load(Ordering::Acquire) == 0 {
                self.core.clean.wait(Some(interval));
            } else {
                self.core.clean.pause(interval, || self.core.stopping());
            }
        }
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
        let space = self.look_at_disk()?;
        let manual = self
            .manual_rounds
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |rounds| rounds.checked_sub(1))
            .is_ok();
        if space != Space::Plenty || manual || self.is_time_to_delete() {
            let forcibly = space == Space::Short && self.core.config.clean_file_forcibly_enable;
            let deleted = self.delete_commit_log_files(forcibly)?;
            if deleted == 0 && space != Space::Plenty {
                warn!("disk space is scarce and no commit-log file could be deleted");
            }
        }
        self.clean_behind_log()
    }

    /// Usage of the disks with the commit log (of several the least used, as in Java) and with the consume queues.
    pub(crate) fn usages(&self) -> io::Result<(DiskUsage, DiskUsage)> {
        let config = &self.core.config;
        let root = &config.store_path_root_dir;
        let log = self.log_usages()?.into_iter().map(|(_, usage)| usage).min_by_key(DiskUsage::percent);
        Ok((log.unwrap_or_default(), self.core.fs.usage(root)?))
    }

    /// Usage of the disk of each commit-log directory.
    pub(crate) fn log_usages(&self) -> io::Result<Vec<(PathBuf, DiskUsage)>> {
        let paths = self.core.config.commit_log_paths().into_iter();
        paths.map(|path| self.core.fs.usage(&path).map(|usage| (path, usage))).collect()
    }

    fn look_at_disk(&self) -> io::Result<Space> {
        let config = &self.core.config;
        // Bounds as in DefaultMessageStore.CleanCommitLogService.
        let warning = config.disk_space_warning_level_ratio.clamp(35, 90);
        let forcibly = config.disk_space_clean_forcibly_ratio.clamp(30, 85);
        let (log, queues) = self.usages()?;
        let used = log.percent().max(queues.percent());
        if used > warning {
            self.core.set_disk_full(Some(PutError::DiskFull {
                used_percent: used,
                limit_percent: warning,
                path: config.store_path_root_dir.display().to_string(),
            }));
        } else if used <= forcibly {
            self.core.set_disk_full(None);
        }
        Ok(if used > forcibly {
            Space::Short
        } else if used > config.disk_max_used_space_ratio {
            Space::Scarce
        } else {
            Space::Plenty
        })
    }

    fn is_time_to_delete(&self) -> bool {
        let hour = LocalTime::at(self.core.clock.now_ms()).hour;
        self.core.config.delete_when.split(';').any(|when| when.trim().parse() == Ok(hour))
    }

    /// Deletes from the oldest on, stops at the first that must stay; never the newest. Readers that hold slices of a
    /// deleted file keep reading: it lives on without a name.
    fn delete_commit_log_files(&self, forcibly: bool) -> io::Result<usize> {
        let config = &self.core.config;
        let pause = Duration::from_millis(config.delete_commit_log_files_interval_ms);
        let reserved_ms = i64::try_from(config.file_reserved_time_hours).unwrap_or(i64::MAX).saturating_mul(3_600_000);
        let mut deleted = 0;
        while deleted < config.delete_file_batch_max && !self.core.stopping() {
            let files = self.log.files().files();
            let Some(oldest) = files.first().filter(|_| files.len() > 1) else { break };
            if !forcibly && !self.is_expired(oldest, reserved_ms)? {
                break;
            }
            // Gone for good before the next one goes, whatever fails or stops in between: of what is left, nothing may be
            // missing in the middle. Who still finds it in the list reads it from the map.
            remove_for_good(&self.core, oldest.path())?;
            self.log.files().remove_first(oldest);
            info!(path = %oldest.path().display(), forcibly, "commit-log file deleted");
            deleted += 1;
            self.core.clean.pause(pause, || self.core.stopping());
        }
        Ok(deleted)
    }

    fn is_expired(&self, file: &MappedFile, reserved_ms: i64) -> io::Result<bool> {
        let modified_ms = self.core.fs.modified_ms(file.file())?;
        Ok(self.core.clock.now_ms() >= modified_ms.saturating_add(reserved_ms))
    }

    /// Brings queues and index in step with the start of the log, when that has moved.
    pub(crate) fn clean_behind_log(&self) -> io::Result<()> {
        let log_min = self.log.min_offset();
        if log_min <= self.cleaned_to.load(Ordering::Acquire) {
            return Ok(());
        }
        self.queues.set_log_min(log_min);
        for queue in self.queues.all() {
            if self.core.stopping() {
                return Ok(());
            }
            queue.load(self.queues.files())?;
            let _gate = self.gate.lock();
            if !queue.is_deleted() {
                queue.delete_expired_files(self.queues.files(), log_min)?;
                if queue.batch().is_none() {
                    self.queues.ext().delete_expired_files(&queue, self.queues.files())?;
                }
            }
        }
        if let Some(index) = &self.index {
            index.delete_expired(&self.core, log_min)?;
        }
        self.cleaned_to.store(log_min, Ordering::Release);
        Ok(())
    }

    /// Deletes queues none of whose records is left (CLEAN_EXPIRED_CONSUMEQUEUE). Returns how many went.
    pub(crate) fn delete_expired_queues(&self) -> io::Result<usize> {
        let log_min = self.log.min_offset();
        let mut deleted = 0;
        for queue in self.queues.all() {
            if is_system_topic(&queue.topic) {
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
        self.queues.files().strike_off(queues);
        self.checkpoint.flush(&self.core)?;
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
