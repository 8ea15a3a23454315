//! The work of the timer: takes messages of the timer topic into log and wheel, delivers what is due.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use codec::java_hash::string_hash;
use codec::timer::{LogUnit, NO_POSITION, Slot, magic};
use parking_lot::Mutex;
use tracing::{error, warn};

use super::checkpoint::{CheckpointFile, Progress};
use super::deliver::{TIMER_TOPIC, Waiting};
use super::flush::FlushJob;
use super::log::TimerLog;
use super::shared::Shared;
use super::wheel::Wheel;
use crate::core::{Core, is_no_space};
use crate::error::PutError;
use crate::read::QueueUnit;
use crate::store::MessageStore;

/// Messages taken in together.
const BATCH: usize = 1024;
/// So often they are taken in before a slot is delivered that is due.
const MAX_FULL_BATCHES: u32 = 8;

/// Why work stops for now.
#[derive(Debug)]
pub(super) enum Stall {
    /// It may go on in a moment: the store takes no messages, or the disk has no room.
    Later(String),
    /// The store is being stopped.
    Stopping,
    /// The log lacks units that the wheel leads to.
    Damaged,
    /// The timer's files cannot be read or written.
    Broken(io::Error),
}

impl From<io::Error> for Stall {
    fn from(error: io::Error) -> Stall {
        if is_no_space(&error) { Stall::Later(error.to_string()) } else { Stall::Broken(error) }
    }
}

impl From<PutError> for Stall {
    fn from(error: PutError) -> Stall {
        match error {
            PutError::Shutdown | PutError::Poisoned { .. } => Stall::Stopping,
            error => Stall::Later(error.to_string()),
        }
    }
}

/// What recovery found out about messages that were taken in before.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Physical offsets of those that are in the log, sorted.
    pub(super) in_log: Vec<u64>,
    /// The log was lost: of the messages before this queue offset only those that are not due yet are taken in again.
    pub(super) lost_before: i64,
    /// [`Waiting::mark`]s of messages before it that went round.
    pub(super) rolled: HashSet<u64>,
    /// Nothing is known of messages from this queue offset on.
    pub(super) until: i64,
}

/// What was taken in and not committed.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The queue is taken in before this offset.
    pub(super) queue_offset: i64,
    /// How many more messages of a topic wait.
    pub(super) counts: BTreeMap<String, i64>,
}

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) store: Arc<MessageStore>,
    pub(super) core: Arc<Core>,
    pub(super) shared: Arc<Shared>,
    pub(super) log: TimerLog,
    pub(super) wheel: Wheel,
    pub(super) checkpoint: Arc<Mutex<CheckpointFile>>,
    pub(super) precision_ms: i64,
    pub(super) roll_window_ms: i64,
    pub(super) progress: Progress,
    pub(super) known: Known,
    pub(super) taken: Taken,
    /// The last message that was delivered without coming into the wheel, when none has come into it since.
    pub(super) passed_by: Option<QueueUnit>,
    pub(super) full_batches: u32,
    /// Something is to be brought to the disk.
    pub(super) dirty: bool,
    /// The commit log's min offset that the timer log was last cleaned for.
    pub(super) cleaned_to: u64,
}

impl Engine {
    /// Takes in some messages and delivers what is due at one moment. Returns whether there may be more to do now.
    pub(super) fn step(&mut self) -> Result<bool, Stall> {
        let now_ms = self.core.clock.now_ms();
        let taken = if self.shared.stop_enqueue.load(Relaxed) { 0 } else { self.enqueue(now_ms)? };
        // Messages that take back others should be in the wheel before the slot is delivered; but that must not wait for ever.
        if taken == BATCH && self.full_batches < MAX_FULL_BATCHES {
            self.full_batches += 1;
            return Ok(true);
        }
        self.full_batches = 0;
        if self.shared.stop_dequeue.load(Relaxed) {
            return Ok(taken > 0);
        }
        let delivered = match self.dequeue(now_ms) {
            Err(Stall::Damaged) => {
                self.recover_again().map_err(|error| Stall::Broken(io::Error::other(error)))?;
                self.note()?;
                true
            }
            delivered => delivered?,
        };
        Ok(delivered || taken > 0)
    }

    /// When the next message is due, ms; `None`: nothing waits, or nothing may be delivered.
    pub(super) fn next_due_ms(&self) -> Option<i64> {
        if self.shared.stop_dequeue.load(Relaxed) {
            return None;
        }
        let tick = self.wheel.next(self.progress.read_ms / self.precision_ms)?;
        Some((tick + 1) * self.precision_ms)
    }

    /// The time that is written with what comes into the wheel. Slots before it may be delivered.
    fn write_ms(&self, now_ms: i64) -> i64 {
        self.shared.floor(now_ms)
    }

    fn enqueue(&mut self, now_ms: i64) -> Result<usize, Stall> {
        let min = self.store.min_offset(TIMER_TOPIC, 0);
        if self.progress.queue_offset < min {
            warn!(next = self.progress.queue_offset, min, "the timer topic has lost its beginning to retention");
            self.progress.queue_offset = min;
        }
        if self.log.end() != self.progress.log_end {
            // What a full disk has interrupted.
            self.commit(now_ms)?;
        }
        let units = self.store.queue_units(TIMER_TOPIC, 0, self.progress.queue_offset, BATCH);
        if units.is_empty() {
            return Ok(0);
        }
        self.taken.queue_offset = self.progress.queue_offset;
        let taken = units.iter().try_for_each(|unit| self.take_in(unit, now_ms));
        let taken = taken.and_then(|()| self.commit(now_ms));
        if taken.is_err() && self.log.has_uncommitted() {
            // It comes again.
            self.wheel.forget_changes();
            self.taken.counts.clear();
            self.log.set_end(self.progress.log_end)?;
        }
        taken?;
        if self.progress.queue_offset >= self.known.until {
            self.known = Known::default();
        }
        Ok(units.len())
    }

    /// Takes in one message: into log and wheel with the next commit, or where it was meant to go when it is due already.
    fn take_in(&mut self, unit: &QueueUnit, now_ms: i64) -> Result<(), Stall> {
        let next = unit.queue_offset + unit.message_count;
        let known =
            unit.queue_offset < self.known.until && self.known.in_log.binary_search(&unit.physical_offset).is_ok();
        let bytes = self.store.record_at(unit.physical_offset).filter(|_| !known);
        let Some(waiting) = bytes.as_ref().and_then(|bytes| Waiting::parse(bytes)) else {
            if !known {
                warn!(queue_offset = unit.queue_offset, "a timer message is gone, or damaged, and is passed over");
            }
            self.taken.queue_offset = next;
            return Ok(());
        };
        let Some(deliver_ms) = waiting.deliver_ms() else {
            error!(queue_offset = unit.queue_offset, "a timer message without a time is passed over");
            self.taken.queue_offset = next;
            return Ok(());
        };
        if unit.queue_offset < self.known.lost_before && self.is_done(&waiting, deliver_ms) {
            self.taken.queue_offset = next;
            return Ok(());
        }
        self.shared.enqueued.lock().add(now_ms);
        let write_ms = self.write_ms(now_ms);
        // What was lost goes into the wheel in any case: what takes it back comes later in the queue.
        let again = unit.queue_offset < self.known.lost_before;
        if deliver_ms < write_ms && !again && !self.shared.stop_dequeue.load(Relaxed) {
            // In the order of the queue: what came before is safe first.
            self.commit(now_ms)?;
            waiting.put(&self.store, None, false, now_ms)?;
            self.shared.dequeued.lock().add(now_ms);
            (self.progress.queue_offset, self.taken.queue_offset) = (next, next);
            self.passed_by = Some(unit.clone());
            self.dirty = true;
            return Ok(self.note()?);
        }
        self.place(unit, &waiting, deliver_ms, write_ms)?;
        self.taken.queue_offset = next;
        Ok(())
    }

    /// Whether a message that was taken in before has left the wheel: delivered, or gone back into the topic.
    fn is_done(&self, waiting: &Waiting<'_>, deliver_ms: i64) -> bool {
        deliver_ms < self.progress.read_ms
            || self.known.rolled.contains(&waiting.mark(waiting.rounds().saturating_add(1)))
    }

    /// The time of the slot for a message, and whether it goes back into the topic then. Source: TimerMessageStore.doEnqueue.
    fn slot_of(&self, deliver_ms: i64, write_ms: i64) -> (i64, bool) {
        let beyond = deliver_ms.saturating_sub(write_ms).saturating_sub(self.roll_window_ms);
        if beyond < 0 {
            return (deliver_ms, false);
        }
        let window = self.roll_window_ms / self.precision_ms;
        // Enough time is left for the next round.
        let ticks = if beyond < window / 3 * self.precision_ms { window / 2 } else { window };
        (write_ms + ticks * self.precision_ms, true)
    }

    fn place(&mut self, unit: &QueueUnit, waiting: &Waiting<'_>, deliver_ms: i64, write_ms: i64) -> Result<(), Stall> {
        let (slot_ms, roll) = self.slot_of(deliver_ms, write_ms);
        // A clock that was set back: slots before are delivered, and not looked at again.
        let slot_ms = slot_ms.max(self.progress.read_ms);
        let is_delete = waiting.deletes().is_some();
        let tick = slot_ms / self.precision_ms;
        if self.wheel.is_taken(tick)? {
            let text = "deliveries are a week behind (timerStopDequeue?): the wheel has no room for more";
            return Err(Stall::Later(text.to_owned()));
        }
        let slot = self.wheel.slot(tick)?;
        let position = self.log.push(&LogUnit {
            previous: slot.map_or(NO_POSITION, |slot| slot.last),
            magic: magic::DEFAULT | if roll { magic::ROLL } else { 0 } | if is_delete { magic::DELETE } else { 0 },
            write_ms,
            delay_ms: i32::try_from(slot_ms - write_ms).unwrap_or(i32::MAX),
            physical_offset: i64::try_from(unit.physical_offset).unwrap_or(i64::MAX),
            size: i32::try_from(unit.size).unwrap_or(i32::MAX),
            topic_hash: string_hash(waiting.real_topic()),
        })?;
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        // Each message that takes back another makes one less of them.
        let change = if is_delete { -1 } else { 1 };
        self.wheel.set(match slot {
            Some(slot) => Slot { last: position, num: slot.num.saturating_add(change), ..slot },
            None => Slot { tick, first: position, last: position, num: change, magic: 0 },
        });
        *self.taken.counts.entry(waiting.real_topic().to_owned()).or_default() += i64::from(change);
        self.passed_by = None;
        self.dirty = true;
        Ok(())
    }

    /// Writes what was placed, log first, and notes how far the queue is taken in.
    fn commit(&mut self, now_ms: i64) -> Result<(), Stall> {
        self.log.commit()?;
        self.wheel.commit()?;
        self.progress.log_end = self.log.end();
        self.progress.queue_offset = self.taken.queue_offset.max(self.progress.queue_offset);
        for (topic, change) in std::mem::take(&mut self.taken.counts) {
            self.shared.waiting.fetch_add(change, Relaxed);
            self.shared.count(&topic, change, now_ms);
        }
        Ok(self.note()?)
    }

    fn note(&mut self) -> io::Result<()> {
        self.shared.queue_offset.store(self.progress.queue_offset, Relaxed);
        self.shared.read_ms.store(self.progress.read_ms, Relaxed);
        self.progress.slots = self.wheel.len();
        self.checkpoint.lock().note(&self.core, &self.progress)
    }

    /// Delivers the first slot that is due.
    fn dequeue(&mut self, now_ms: i64) -> Result<bool, Stall> {
        let write_ms = self.write_ms(now_ms);
        let tick = self.wheel.next(self.progress.read_ms / self.precision_ms);
        let Some(tick) = tick.filter(|tick| tick * self.precision_ms < write_ms) else {
            if write_ms > self.progress.read_ms {
                self.progress.read_ms = write_ms;
                self.shared.read_ms.store(write_ms, Relaxed);
            }
            return Ok(false);
        };
        let slot_ms = tick * self.precision_ms;
        let units = self.units_of(tick)?;
        let done = if self.progress.slot_ms == slot_ms { self.progress.slot_done } else { 0 };
        (self.progress.slot_ms, self.progress.slot_done) = (slot_ms, done);
        self.progress.read_ms = slot_ms;
        self.dirty = true;
        self.note()?;
        let keys = self.delete_keys(&units, done > 0);
        let mut at = 0;
        for unit in units.iter().filter(|unit| !unit.is_delete() || unit.is_roll()) {
            at += 1;
            if at <= done {
                continue;
            }
            if self.shared.stop.load(Relaxed) || self.core.stopping() {
                return Err(Stall::Stopping);
            }
            self.deliver(unit, &keys)?;
            self.progress.slot_done = at;
            self.checkpoint.lock().note(&self.core, &self.progress)?;
        }
        let num = self.wheel.slot(tick)?.map_or(0, |slot| slot.num);
        self.shared.waiting.fetch_sub(num.into(), Relaxed);
        self.wheel.done(tick);
        self.progress.read_ms = slot_ms + self.precision_ms;
        self.note()?;
        Ok(true)
    }

    /// The keys of messages that this slot takes back. `counted`: the figures know of them already.
    fn delete_keys(&self, units: &[LogUnit], counted: bool) -> HashSet<String> {
        let mut keys = HashSet::new();
        for unit in units.iter().filter(|unit| unit.is_delete() && !unit.is_roll()) {
            let bytes = self.record_of(unit);
            let Some(waiting) = bytes.as_ref().and_then(|bytes| Waiting::parse(bytes)) else { continue };
            if let Some(key) = waiting.deletes() {
                keys.insert(key.to_owned());
                if !counted {
                    // It was counted as if it would find what it takes back; whether it does shows below.
                    self.shared.count(waiting.real_topic(), 1, self.core.clock.now_ms());
                }
            }
        }
        keys
    }

    fn deliver(&self, unit: &LogUnit, keys: &HashSet<String>) -> Result<(), Stall> {
        let now_ms = self.core.clock.now_ms();
        let bytes = self.record_of(unit);
        let Some(waiting) = bytes.as_ref().and_then(|bytes| Waiting::parse(bytes)) else {
            warn!(physical_offset = unit.physical_offset, "a timer message is gone, or damaged, and is passed over");
            return Ok(());
        };
        let topic = waiting.real_topic().to_owned();
        let with_topic = self.shared.key_with_topic.load(Relaxed);
        let taken_back = !keys.is_empty() && waiting.key(with_topic).is_some_and(|key| keys.contains(&key));
        if !taken_back {
            waiting.put(&self.store, Some(unit.write_ms), unit.is_roll(), now_ms)?;
            self.shared.dequeued.lock().add(now_ms);
        }
        self.shared.count(&topic, -1, now_ms);
        Ok(())
    }

    /// The record of a unit, if it is there as the unit says.
    fn record_of(&self, unit: &LogUnit) -> Option<crate::mmap::MappedSlice> {
        let offset = u64::try_from(unit.physical_offset).ok()?;
        self.store.record_at(offset).filter(|bytes| usize::try_from(unit.size).is_ok_and(|size| size == bytes.len()))
    }

    /// The units of a slot in the order in which they came.
    fn units_of(&mut self, tick: i64) -> Result<Vec<LogUnit>, Stall> {
        let mut units = Vec::new();
        let slot = self.wheel.slot(tick)?;
        let mut position = slot.map_or(NO_POSITION, |slot| slot.last);
        let mut sound = slot.is_some();
        while sound && position != NO_POSITION {
            match self.log.unit(position)? {
                Some(unit) if unit.deliver_ms() / self.precision_ms == tick && unit.previous < position => {
                    units.push(unit);
                    position = unit.previous;
                }
                // The messages before are gone with the part of the log that had them.
                None if u64::try_from(position).is_ok_and(|position| position < self.log.start()) => break,
                _ => sound = false,
            }
        }
        units.reverse();
        if !sound {
            warn!(tick, position, "a slot of the timer wheel is damaged, its messages are looked for in the timer log");
            units.clear();
            let precision_ms = self.precision_ms;
            let found = self.log.scan(0, |_, unit, _| {
                if unit.deliver_ms() / precision_ms == tick {
                    units.push(*unit);
                }
                Ok(true)
            })?;
            if found < self.log.end() {
                return Err(Stall::Damaged);
            }
        }
        Ok(units)
    }

    /// Everything, after recovery.
    pub(super) fn first_job(&mut self) -> io::Result<Option<FlushJob>> {
        self.note()?;
        self.flush_job(false)
    }

    /// What is to be brought to the disk now; `None` when nothing has changed.
    pub(super) fn flush_job(&mut self, clean: bool) -> io::Result<Option<FlushJob>> {
        let log_min = self.store.log.min_offset();
        if log_min != self.cleaned_to {
            self.log.delete_before(log_min)?;
            self.cleaned_to = log_min;
        }
        if clean {
            self.mark_passed_by()?;
            self.note()?;
        }
        if !std::mem::take(&mut self.dirty) && !clean {
            return Ok(None);
        }
        Ok(Some(FlushJob {
            progress: self.progress,
            log: self.log.take_unsynced(),
            wheel: self.wheel.take_unsynced(),
            clean,
        }))
    }

    /// Java goes on behind the last message that the log knows: those behind it that were due when they came would be delivered
    /// again. A unit whose time is over tells it otherwise.
    fn mark_passed_by(&mut self) -> io::Result<()> {
        let Some(last) = self.passed_by.take() else { return Ok(()) };
        self.log.push(&LogUnit {
            previous: NO_POSITION,
            magic: magic::DEFAULT,
            write_ms: self.progress.read_ms - self.precision_ms,
            delay_ms: 0,
            physical_offset: i64::try_from(last.physical_offset).unwrap_or(i64::MAX),
            size: i32::try_from(last.size).unwrap_or(i32::MAX),
            topic_hash: 0,
        })?;
        self.log.commit()?;
        self.progress.log_end = self.log.end();
        Ok(())
    }
}
