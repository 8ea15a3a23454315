//! Messages for arbitrary times: they wait in the topic [`TIMER_TOPIC`], are taken into a log and a wheel of slots in Java's
//! formats, and put where they were meant to go when their time has come. Source: store/timer/TimerMessageStore.java.
//!
//! A layer over [`MessageStore`] with two threads. `store-timer` does the work and sleeps until the next slot is due or
//! a message arrives; there is nothing per message in memory, and no ticking. `store-timer-flush` brings the files to the disk.
//!
//! Never early, and no later than the precision behind its time: a slot is the time rounded down, and is delivered when
//! it is over. Nothing is lost: a message counts as taken in when it is in the log, and as delivered when it was put; what was
//! not noted when the process died is done again.

mod checkpoint;
mod deliver;
mod engine;
mod flush;
mod log;
mod recover;
mod shared;
mod wheel;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use codec::timer::TimerCheckpoint;
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::core::Core;
use crate::error::OpenError;
use crate::log_files::io_error;
use crate::store::MessageStore;
use engine::{Engine, Stall};
use flush::{FlushJob, TimerFlusher};
use shared::Shared;

pub use deliver::TIMER_TOPIC;
pub use shared::{TimerStatus, TimerWake, TimingCount};

/// Pause before another attempt when the store takes no messages.
const RETRY: Duration = Duration::from_secs(1);
/// The clock may be set while the thread sleeps: it looks again after so long.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Settings, under Java's names.
#[derive(Debug, Clone)]
pub struct TimerConfig {
    /// `timerPrecisionMs`: length of a slot, ms.
    pub precision_ms: i64,
    /// `timerRollWindowSlot`: messages that have longer to wait, in slots, go back into the topic on the way.
    pub timer_roll_window_slot: i64,
    /// `mappedFileSizeTimerLog`, bytes of a file of the log; fixed for the life of a directory.
    pub mapped_file_size_timer_log: u64,
    /// `timerFlushIntervalMs`, ms between two flushes while something changes.
    pub flush_interval_ms: u64,
}

impl Default for TimerConfig {
    fn default() -> Self {
        TimerConfig {
            precision_ms: 1000,
            timer_roll_window_slot: 2 * 24 * 3600,
            mapped_file_size_timer_log: 100 * 1024 * 1024,
            flush_interval_ms: 1000,
        }
    }
}

impl TimerConfig {
    /// Source: the constructor of TimerMessageStore.
    fn roll_window_slots(&self) -> i64 {
        let most = i64::from(wheel::SLOTS) - 60;
        if (2..=most).contains(&self.timer_roll_window_slot) { self.timer_roll_window_slot } else { most }
    }
}

/// The timer of a store. Dropping it stops it. It has to be stopped before the store.
pub struct TimerStore {
    core: Arc<Core>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl TimerStore {
    /// Opens or makes the timer's files, recovers them and starts the threads. `wake` is to be told of each message that
    /// arrives in [`TIMER_TOPIC`].
    /// # Errors
    /// See [`OpenError`]; nothing is left running.
    pub fn open(
        store: &Arc<MessageStore>,
        config: &TimerConfig,
        wake: Arc<TimerWake>,
    ) -> Result<TimerStore, OpenError> {
        let mut engine = recover::open(store, config, wake)?;
        let (core, shared) = (Arc::clone(&store.core), Arc::clone(&engine.shared));
        let root = core.config.store_path_root_dir.clone();
        let failed = |error| io_error("write the timer's files of", &root, error);
        let flusher = TimerFlusher {
            flusher: store.checkpointer.flusher.clone(),
            checkpoint: Arc::clone(&engine.checkpoint),
            shared: Arc::clone(&shared),
        };
        if let Some(job) = engine.first_job().map_err(failed)? {
            flusher.run(&job).map_err(failed)?;
        }
        let (jobs, waiting_jobs) = sync_channel(1);
        let busy = Arc::new(AtomicBool::new(false));
        let interval = Duration::from_millis(config.flush_interval_ms.max(10));
        let thread = TimerThread { engine, jobs, busy: Arc::clone(&busy), interval };
        let flush = FlushThread { flusher, jobs: waiting_jobs, busy };
        let mut threads = vec![core.spawn("store-timer-flush", move || flush.run()).map_err(failed)?];
        // When this fails the channel goes with the thread's body, and the other thread ends.
        threads.push(core.spawn("store-timer", move || thread.run()).map_err(failed)?);
        Ok(TimerStore { core, shared, threads: Mutex::new(threads) })
    }

    /// `timerStopEnqueue` and `timerStopDequeue`: no messages are taken in, or delivered, while these are set.
    pub fn set_stopped(&self, enqueue: bool, dequeue: bool) {
        let before = self.shared.stop_enqueue.swap(enqueue, Ordering::AcqRel);
        if self.shared.stop_dequeue.swap(dequeue, Ordering::AcqRel) != dequeue || before != enqueue {
            info!(enqueue, dequeue, "timer stopped, as far as these are true");
            self.shared.wake.wake();
        }
    }

    /// `appendTopicForTimerDeleteKey`: the key that takes a message back is its topic, `+` and its UNIQ_KEY.
    pub fn set_key_with_topic(&self, with_topic: bool) {
        self.shared.key_with_topic.store(with_topic, Ordering::Release);
    }

    /// How it is doing.
    pub fn status(&self) -> TimerStatus {
        self.shared.status()
    }

    /// How many messages wait for the slot of a time.
    pub fn waiting_at(&self, deliver_ms: i64) -> i64 {
        let slot = self.shared.wheel.slot(deliver_ms.div_euclid(self.shared.precision_ms));
        slot.ok().flatten().map_or(0, |slot| slot.num.into())
    }

    /// What GET_TIMER_CHECK_POINT answers: how far work is, as a slave goes on from it.
    pub fn checkpoint(&self) -> TimerCheckpoint {
        let status = self.shared.status();
        TimerCheckpoint {
            last_read_time_ms: status.read_ms,
            last_timer_queue_offset: status.queue_offset,
            master_timer_queue_offset: status.queue_offset,
            ..*self.shared.java.lock()
        }
    }

    /// How many messages of each topic wait, and how often that has changed.
    pub fn timing_counts(&self) -> (u64, BTreeMap<String, TimingCount>) {
        self.shared.counts()
    }

    /// Adds what was counted before the store was opened, and kept elsewhere.
    pub fn restore_timing_counts(&self, counts: BTreeMap<String, TimingCount>) {
        self.shared.restore_counts(counts);
    }

    /// The topic was deleted.
    pub fn remove_timing_count(&self, topic: &str) {
        self.shared.remove_count(topic);
    }

    /// Stops cleanly: what is in progress is noted and brought to the disk. Calling it again does nothing.
    pub fn shutdown(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.wake();
        // In this order: the flush thread ends with the other.
        for thread in self.threads.lock().drain(..).rev() {
            // A panic has poisoned the store already.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for TimerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = &self.core.config.store_path_root_dir;
        f.debug_struct("TimerStore").field("root", root).field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Drop for TimerStore {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// The thread `store-timer`.
struct TimerThread {
    engine: Engine,
    jobs: SyncSender<FlushJob>,
    /// A job is being done.
    busy: Arc<AtomicBool>,
    interval: Duration,
}

impl TimerThread {
    fn run(mut self) {
        let (core, shared) = (Arc::clone(&self.engine.core), Arc::clone(&self.engine.shared));
        shared.wake.signal.attach();
        let mut flushed = crate::clock::instant();
        while !shared.stop.load(Ordering::Acquire) && !core.stopping() && core.poisoned().is_none() {
            // Before it looks: who comes later wakes it.
            shared.wake.asleep.store(true, Ordering::Release);
            let mut sleep = match self.engine.step() {
                Ok(true) => Some(Duration::ZERO),
                Ok(false) => self.until_due(),
                Err(Stall::Later(reason)) => {
                    warn!(reason, "the timer cannot go on for now, trying again");
                    Some(RETRY)
                }
                Err(Stall::Stopping) => continue,
                Err(Stall::Damaged) => Some(Duration::ZERO),
                Err(Stall::Broken(error)) => {
                    core.poison(format!("cannot read or write the timer's files: {error}"));
                    break;
                }
            };
            shared.idle.store(sleep != Some(Duration::ZERO), Ordering::Release);
            if self.engine.dirty {
                let left = self.interval.saturating_sub(flushed.elapsed());
                if left.is_zero() && self.flush() {
                    flushed = crate::clock::instant();
                } else {
                    sleep = Some(sleep.unwrap_or(Duration::MAX).min(left.max(Duration::from_millis(10))));
                }
            }
            if sleep != Some(Duration::ZERO) {
                shared.wake.signal.wait(sleep);
            }
        }
        self.end();
    }

    fn until_due(&self) -> Option<Duration> {
        let due = self.engine.next_due_ms()? - self.engine.core.clock.now_ms();
        Some(Duration::from_millis(u64::try_from(due).unwrap_or(0)).clamp(Duration::from_millis(1), LONGEST_SLEEP))
    }

    /// Whether a flush was begun, or is not needed.
    fn flush(&mut self) -> bool {
        if self.busy.load(Ordering::Acquire) {
            return false;
        }
        match self.engine.flush_job(false) {
            Ok(Some(job)) => {
                self.busy.store(true, Ordering::Release);
                self.jobs.try_send(job).is_ok()
            }
            Ok(None) => true,
            Err(error) => {
                self.engine.core.poison(format!("cannot read or write the timer's files: {error}"));
                false
            }
        }
    }

    fn end(mut self) {
        let core = Arc::clone(&self.engine.core);
        if core.abandoned() || core.poisoned().is_some() {
            return;
        }
        match self.engine.flush_job(true) {
            // The channel is bounded: it waits until the job before is done.
            Ok(Some(job)) => drop(self.jobs.send(job)),
            Ok(None) => {}
            Err(error) => warn!(%error, "the timer's files could not be brought to the disk at the end"),
        }
    }
}

/// The thread `store-timer-flush`: ends when the other one has.
struct FlushThread {
    flusher: TimerFlusher,
    jobs: Receiver<FlushJob>,
    busy: Arc<AtomicBool>,
}

impl FlushThread {
    fn run(self) {
        while let Ok(job) = self.jobs.recv() {
            if let Err(error) = self.flusher.run(&job) {
                self.flusher.flusher.core.poison(format!("cannot flush the timer's files: {error}"));
            }
            self.busy.store(false, Ordering::Release);
        }
    }
}
