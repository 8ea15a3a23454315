//! How the timer comes up. The timer log is what holds; the wheel is made from it unless it is known to fit, and what the log
//! lacks comes from the timer topic again.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use codec::timer::{LogUnit, NO_POSITION, Slot};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::TimerConfig;
use super::checkpoint::{CheckpointFile, Found, Progress};
use super::deliver::{TIMER_TOPIC, Waiting};
use super::engine::{Engine, Known, Taken};
use super::log::TimerLog;
use super::shared::{Shared, TimerWake};
use super::wheel::{SLOTS, Wheel, WheelFile};
use crate::error::OpenError;
use crate::log_files::io_error;
use crate::store::MessageStore;

/// Slots that Java keeps free between the past and the future. Source: TimerMessageStore, TIMER_BLANK_SLOTS.
const BLANK_SLOTS: i64 = 60;

/// Opens the files and finds out how far work has come.
/// # Errors
/// What the system said; files that cannot be what they should be; settings that cannot work.
pub(super) fn open(store: &Arc<MessageStore>, config: &TimerConfig, wake: Arc<TimerWake>) -> Result<Engine, OpenError> {
    check(config)?;
    let core = Arc::clone(&store.core);
    let root = &core.config.store_path_root_dir;
    let wheel_path = root.join("timerwheel");
    let wheel_file = Arc::new(WheelFile::open(Arc::clone(&core.fs), &wheel_path)?);
    let log_dir = root.join("timerlog");
    let log = TimerLog::open(Arc::clone(&core.fs), log_dir.clone(), config.mapped_file_size_timer_log)?;
    let checkpoint_path = root.join("config/timercheck");
    let (checkpoint, found) = CheckpointFile::open(&core, &checkpoint_path, config.precision_ms)?;
    let shared = Shared::new(wake, Arc::clone(&core.clock), Arc::clone(&wheel_file), config.precision_ms);
    *shared.java.lock() = found.java;
    let mut recovery = Recovery::new(store, config.precision_ms, log, wheel_file);
    let (progress, known) =
        recovery.run(&found, core.clock.now_ms()).map_err(|error| io_error("recover", &log_dir, error))?;
    shared.waiting.store(recovery.waiting, Relaxed);
    shared.read_ms.store(progress.read_ms, Relaxed);
    shared.queue_offset.store(progress.queue_offset, Relaxed);
    info!(read_ms = progress.read_ms, queue_offset = progress.queue_offset, waiting = recovery.waiting, "timer opened");
    let Recovery { log, wheel, .. } = recovery;
    Ok(Engine {
        store: Arc::clone(store),
        shared: Arc::new(shared),
        log,
        wheel,
        checkpoint: Arc::new(Mutex::new(checkpoint)),
        precision_ms: config.precision_ms,
        roll_window_ms: config.roll_window_slots() * config.precision_ms,
        taken: Taken { queue_offset: progress.queue_offset, ..Taken::default() },
        progress,
        known,
        passed_by: None,
        full_batches: 0,
        dirty: true,
        cleaned_to: 0,
        core,
    })
}

impl Engine {
    /// What is in memory, and the wheel, do not fit the log: begins anew with the log, at the point that was reached.
    pub(super) fn recover_again(&mut self) -> Result<(), OpenError> {
        let root = &self.core.config.store_path_root_dir;
        let dir = root.join("timerlog");
        let log = TimerLog::open(Arc::clone(&self.core.fs), dir.clone(), self.log.file_bytes())?;
        let mut recovery = Recovery::new(&self.store, self.precision_ms, log, Arc::clone(&self.wheel.file));
        let own = Progress { slots: -1, ..self.progress };
        let found = Found { java: self.checkpoint.lock().java(), own: Some(own) };
        let recovered = recovery.run(&found, self.core.clock.now_ms());
        (self.progress, self.known) = recovered.map_err(|error| io_error("recover", &dir, error))?;
        self.shared.waiting.store(recovery.waiting, Relaxed);
        self.taken = Taken { queue_offset: self.progress.queue_offset, ..Taken::default() };
        (self.log, self.wheel, self.dirty) = (recovery.log, recovery.wheel, true);
        Ok(())
    }
}

fn check(config: &TimerConfig) -> Result<(), OpenError> {
    let refused =
        |key, value: i64, reason: &str| OpenError::Config { key, value: value.to_string(), reason: reason.into() };
    if !(1..=3_600_000).contains(&config.precision_ms) {
        return Err(refused("timerPrecisionMs", config.precision_ms, "1 to 3600000 ms are possible; 1000 is usual"));
    }
    let bytes = config.mapped_file_size_timer_log;
    if !(1024..=i32::MAX as u64).contains(&bytes) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        return Err(refused("mappedFileSizeTimerLog", bytes, "1024 to 2147483647 bytes are possible"));
    }
    Ok(())
}

struct Recovery<'a> {
    store: &'a MessageStore,
    precision_ms: i64,
    log: TimerLog,
    wheel: Wheel,
    /// Physical offsets of messages in the log that the checkpoint does not know to be there.
    in_log: Vec<u64>,
    waiting: i64,
    last: Option<LogUnit>,
}

impl<'a> Recovery<'a> {
    fn new(store: &'a MessageStore, precision_ms: i64, log: TimerLog, wheel: Arc<WheelFile>) -> Recovery<'a> {
        Recovery { store, precision_ms, log, wheel: Wheel::new(wheel), in_log: Vec::new(), waiting: 0, last: None }
    }

    fn run(&mut self, found: &Found, now_ms: i64) -> io::Result<(Progress, Known)> {
        let mut progress = found.own.unwrap_or(Progress {
            read_ms: found.java.last_read_time_ms,
            queue_offset: found.java.last_timer_queue_offset,
            ..Progress::default()
        });
        let flushed = u64::try_from(found.java.last_timer_log_flush_pos).unwrap_or(0);
        let is_new = found.own.is_none() && found.java.last_read_time_ms <= 0;
        if is_new {
            // As in Java: what was due longer ago is taken as delivered.
            progress.read_ms = now_ms - (i64::from(SLOTS) - BLANK_SLOTS) * self.precision_ms;
        }
        let read_ms = progress.read_ms;
        progress.read_ms = read_ms.div_euclid(self.precision_ms) * self.precision_ms;
        let expected_end = found.own.map_or(flushed, |own| own.log_end.max(flushed));
        let end = match found.own {
            Some(own) if self.wheel_fits(&own)? => self.take_tail(&own)?,
            _ => {
                let next = self.store.queue_units(TIMER_TOPIC, 0, progress.queue_offset, 1);
                let from = next.first().map_or(u64::MAX, |unit| unit.physical_offset);
                self.make_wheel(read_ms, if is_new { 0 } else { from })?
            }
        };
        progress.log_end = end;
        if is_new && let Some(offset) = self.last.and_then(|unit| self.queue_offset_of(&unit)) {
            progress.queue_offset = offset + 1;
        }
        let (min, max) = (self.store.min_offset(TIMER_TOPIC, 0), self.store.max_offset(TIMER_TOPIC, 0));
        let mut known = Known { until: max, ..Known::default() };
        if end < expected_end {
            warn!(
                end,
                expected_end, "the timer log has lost its end: messages that it lacks are taken from the topic again"
            );
            known.lost_before = progress.queue_offset;
            known.rolled = self.rolled(min, progress.queue_offset);
            progress.queue_offset = min;
            self.in_log.clear();
            let in_log = &mut self.in_log;
            self.log.scan(0, |_, unit, _| {
                in_log.extend(u64::try_from(unit.physical_offset).ok());
                Ok(true)
            })?;
        }
        progress.queue_offset = progress.queue_offset.clamp(min, max.max(min));
        self.in_log.sort_unstable();
        known.in_log = std::mem::take(&mut self.in_log);
        Ok((progress, known))
    }

    /// Whether the wheel can be what was left, up to the noted end of the log.
    fn wheel_fits(&mut self, own: &Progress) -> io::Result<bool> {
        if !self.log.reaches(own.log_end) {
            return Ok(false);
        }
        match self.wheel.load(own.read_ms.div_euclid(self.precision_ms), own.log_end)? {
            Some(waiting) if self.wheel.len() == own.slots => self.waiting = waiting,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes over what was written into the log and not noted. Returns where the log ends.
    fn take_tail(&mut self, own: &Progress) -> io::Result<u64> {
        let store_end = self.store.log.wrote();
        let mut tail = Vec::new();
        let end = self.log.scan(own.log_end, |position, unit, _| {
            let there = is_stored(unit, store_end);
            tail.extend(there.then_some((position, *unit)));
            Ok(there)
        })?;
        self.log.set_end(end)?;
        for (position, unit) in tail {
            self.in_log.extend(u64::try_from(unit.physical_offset).ok());
            let tick = unit.deliver_ms().div_euclid(self.precision_ms);
            if unit.deliver_ms() >= own.read_ms {
                let before = self.wheel.slot(tick)?;
                let slot = link(&self.log, before, tick, position, &unit)?;
                self.waiting += i64::from(slot.num - before.map_or(0, |slot| slot.num));
                self.wheel.set(slot);
            }
        }
        self.wheel.commit()?;
        Ok(end)
    }

    /// Makes the wheel from the log. Notes the messages in it whose records begin at `from` or later.
    fn make_wheel(&mut self, read_ms: i64, from: u64) -> io::Result<u64> {
        let store_end = self.store.log.wrote();
        let (precision_ms, first_tick) = (self.precision_ms, read_ms.div_euclid(self.precision_ms));
        let turn = 2 * i64::from(SLOTS);
        let mut slots = BTreeMap::<i64, Slot>::new();
        let (in_log, last) = (&mut self.in_log, &mut self.last);
        let end = self.log.scan(0, |position, unit, log| {
            let tick = unit.deliver_ms().div_euclid(precision_ms);
            if !is_stored(unit, store_end) || tick - first_tick >= turn {
                return Ok(false);
            }
            *last = Some(*unit);
            in_log.extend(u64::try_from(unit.physical_offset).ok().filter(|offset| *offset >= from));
            if unit.deliver_ms() >= read_ms {
                let slot = link(log, slots.get(&tick).copied(), tick, position, unit)?;
                slots.insert(tick, slot);
            }
            Ok(true)
        })?;
        self.log.set_end(end)?;
        self.waiting = slots.values().map(|slot| i64::from(slot.num)).sum();
        self.wheel.replace(first_tick, slots)?;
        Ok(end)
    }

    /// Marks of all messages in this part of the timer topic that went round: the one they come from is done.
    fn rolled(&self, from: i64, to: i64) -> HashSet<u64> {
        let mut rolled = HashSet::new();
        let mut next = from;
        while next < to {
            let units = self.store.queue_units(TIMER_TOPIC, 0, next, 1024);
            let Some(last) = units.last() else { break };
            next = last.queue_offset + last.message_count;
            let records = units.iter().filter_map(|unit| self.store.record_at(unit.physical_offset));
            for bytes in records {
                if let Some(waiting) = Waiting::parse(&bytes).filter(|waiting| waiting.rounds() > 0) {
                    rolled.insert(waiting.mark(waiting.rounds()));
                }
            }
        }
        rolled
    }

    fn queue_offset_of(&self, unit: &LogUnit) -> Option<i64> {
        let bytes = self.store.record_at(u64::try_from(unit.physical_offset).ok()?)?;
        Some(Waiting::parse(&bytes)?.record.queue_offset)
    }
}

/// Whether the commit log, which ends at `store_end`, can have the message.
fn is_stored(unit: &LogUnit, store_end: u64) -> bool {
    let end = unit.physical_offset.saturating_add(unit.size.into());
    u64::try_from(end).is_ok_and(|end| end <= store_end)
}

/// The slot with one more unit; the unit's link is mended when it leads elsewhere.
fn link(log: &TimerLog, before: Option<Slot>, tick: i64, position: u64, unit: &LogUnit) -> io::Result<Slot> {
    let previous = before.map_or(NO_POSITION, |slot| slot.last);
    if unit.previous != previous {
        log.relink(position, previous)?;
    }
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    let change = if unit.is_delete() { -1 } else { 1 };
    Ok(match before {
        Some(slot) => Slot { last: position, num: slot.num.saturating_add(change), ..slot },
        None => Slot { tick, first: position, last: position, num: change, magic: 0 },
    })
}
