//! Bringing the timer's files to the disk, on a thread of its own: a disk that takes its time must not delay a delivery.

use std::fs::File;
use std::io;
use std::sync::Arc;

use codec::timer::TimerCheckpoint;
use parking_lot::Mutex;

use super::checkpoint::{CheckpointFile, Progress};
use super::shared::Shared;
use super::wheel::WheelFile;
use crate::flush::Flusher;

/// What the timer had done at one moment, to be brought to the disk.
#[derive(Debug)]
pub(super) struct FlushJob {
    pub(super) progress: Progress,
    pub(super) log: Vec<Arc<File>>,
    pub(super) wheel: Option<Arc<WheelFile>>,
    /// The store is closed behind it.
    pub(super) clean: bool,
}

/// Does these jobs.
#[derive(Debug)]
pub(super) struct TimerFlusher {
    pub(super) flusher: Flusher,
    pub(super) checkpoint: Arc<Mutex<CheckpointFile>>,
    pub(super) shared: Arc<Shared>,
}

impl TimerFlusher {
    /// Delivered messages first, then the log, then the wheel over it, then what says so.
    /// # Errors
    /// What the system said.
    pub(super) fn run(&self, job: &FlushJob) -> io::Result<()> {
        let core = &self.flusher.core;
        self.flusher.flush()?;
        for file in &job.log {
            core.fs.sync_data(file)?;
        }
        if let Some(wheel) = &job.wheel {
            wheel.sync()?;
        }
        let file = {
            let mut checkpoint = self.checkpoint.lock();
            let before = checkpoint.java();
            let mut java = TimerCheckpoint {
                last_read_time_ms: job.progress.read_ms,
                last_timer_log_flush_pos: i64::try_from(job.progress.log_end).unwrap_or(i64::MAX),
                last_timer_queue_offset: job.progress.queue_offset,
                master_timer_queue_offset: job.progress.queue_offset,
                ..before
            };
            let place =
                |checkpoint: &TimerCheckpoint| (checkpoint.last_read_time_ms, checkpoint.last_timer_queue_offset);
            if place(&java) != place(&before) {
                // Source: DataVersion.nextVersion.
                (java.timestamp, java.counter) = (core.clock.now_ms(), before.counter.wrapping_add(1));
            }
            let file = checkpoint.write(core, java, job.clean)?;
            *self.shared.java.lock() = java;
            file
        };
        core.fs.sync_data(&file)
    }
}
