//! What the thread of the timer and everyone else share: switches, figures, counts of topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

use codec::timer::TimerCheckpoint;
use parking_lot::Mutex;

use super::wheel::WheelFile;
use crate::clock::Clock;
use crate::core::Signal;

/// Wakes the timer: to be told of each message that arrives in its topic.
#[derive(Debug, Default)]
pub struct TimerWake {
    pub(super) signal: Signal,
    /// Set while the thread sleeps without looking at the queue before it is woken.
    pub(super) asleep: AtomicBool,
}

impl TimerWake {
    /// A message has arrived in the timer topic.
    pub fn arrived(&self) {
        if self.asleep.swap(false, std::sync::atomic::Ordering::AcqRel) {
            self.signal.notify();
        }
    }

    /// Something else has changed.
    pub(super) fn wake(&self) {
        self.asleep.store(false, std::sync::atomic::Ordering::Release);
        self.signal.notify();
    }
}

/// How many messages of a topic wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimingCount {
    /// Messages.
    pub count: i64,
    /// When it was changed, ms.
    pub timestamp: i64,
}

/// How the timer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TimerStatus {
    /// Slots before it are delivered, ms.
    pub read_ms: i64,
    /// How far that is behind, ms.
    pub read_behind_ms: i64,
    /// Next message of the timer topic to be taken in.
    pub queue_offset: i64,
    /// How many messages wait.
    pub waiting: i64,
    /// Messages taken in per second.
    pub enqueue_tps: f64,
    /// Messages delivered per second.
    pub dequeue_tps: f64,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) wake: Arc<TimerWake>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) wheel: Arc<WheelFile>,
    pub(super) precision_ms: i64,
    pub(super) stop: AtomicBool,
    pub(super) stop_enqueue: AtomicBool,
    pub(super) stop_dequeue: AtomicBool,
    pub(super) key_with_topic: AtomicBool,
    pub(super) read_ms: AtomicI64,
    pub(super) queue_offset: AtomicI64,
    pub(super) waiting: AtomicI64,
    /// Everything due is delivered.
    pub(super) idle: AtomicBool,
    pub(super) enqueued: Mutex<Rate>,
    pub(super) dequeued: Mutex<Rate>,
    pub(super) java: Mutex<TimerCheckpoint>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_topic: BTreeMap<String, TimingCount>,
    changes: u64,
}

impl Shared {
    pub(super) fn new(wake: Arc<TimerWake>, clock: Arc<dyn Clock>, wheel: Arc<WheelFile>, precision_ms: i64) -> Shared {
        Shared {
            wake,
            clock,
            wheel,
            precision_ms,
            stop: AtomicBool::new(false),
            stop_enqueue: AtomicBool::new(false),
            stop_dequeue: AtomicBool::new(false),
            key_with_topic: AtomicBool::new(false),
            read_ms: AtomicI64::new(0),
            queue_offset: AtomicI64::new(0),
            waiting: AtomicI64::new(0),
            idle: AtomicBool::new(false),
            enqueued: Mutex::default(),
            dequeued: Mutex::default(),
            java: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    pub(super) fn floor(&self, time_ms: i64) -> i64 {
        time_ms.div_euclid(self.precision_ms) * self.precision_ms
    }

    pub(super) fn status(&self) -> TimerStatus {
        let now = self.clock.now_ms();
        let read_ms = match self.idle.load(Relaxed) {
            true => self.floor(now).max(self.read_ms.load(Relaxed)),
            false => self.read_ms.load(Relaxed),
        };
        TimerStatus {
            read_ms,
            read_behind_ms: (now - read_ms).max(0),
            queue_offset: self.queue_offset.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            enqueue_tps: self.enqueued.lock().per_second(now),
            dequeue_tps: self.dequeued.lock().per_second(now),
        }
    }

    /// A message of this topic waits, or waits no longer.
    pub(super) fn count(&self, topic: &str, change: i64, now_ms: i64) {
        let mut counts = self.counts.lock();
        counts.changes += 1;
        match counts.by_topic.get_mut(topic) {
            Some(count) => {
                count.count += change;
                count.timestamp = now_ms;
            }
            None => drop(counts.by_topic.insert(topic.to_owned(), TimingCount { count: change, timestamp: now_ms })),
        }
    }

    pub(super) fn counts(&self) -> (u64, BTreeMap<String, TimingCount>) {
        let counts = self.counts.lock();
        (counts.changes, counts.by_topic.clone())
    }

    /// Adds what was counted before the store was opened.
    pub(super) fn restore_counts(&self, before: BTreeMap<String, TimingCount>) {
        let mut counts = self.counts.lock();
        for (topic, count) in before {
            let now = counts.by_topic.entry(topic).or_default();
            now.count += count.count;
            now.timestamp = now.timestamp.max(count.timestamp);
        }
    }

    pub(super) fn remove_count(&self, topic: &str) {
        let mut counts = self.counts.lock();
        if counts.by_topic.remove(topic).is_some() {
            counts.changes += 1;
        }
    }
}

/// Events per second over windows of ten seconds.
#[derive(Debug, Default)]
pub(super) struct Rate {
    since_ms: i64,
    events: u32,
    before: f64,
}

const WINDOW_MS: i64 = 10_000;

impl Rate {
    pub(super) fn add(&mut self, now_ms: i64) {
        self.roll(now_ms);
        self.events = self.events.saturating_add(1);
    }

    fn per_second(&mut self, now_ms: i64) -> f64 {
        self.roll(now_ms);
        self.before
    }

    fn roll(&mut self, now_ms: i64) {
        let past = now_ms - self.since_ms;
        if !(0..WINDOW_MS).contains(&past) {
            // A window that ended long ago was followed by quiet ones.
            let ended_now = (0..2 * WINDOW_MS).contains(&past);
            self.before = if ended_now { f64::from(self.events) / (WINDOW_MS / 1000) as f64 } else { 0.0 };
            (self.since_ms, self.events) = (now_ms, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_window_before() {
        let mut rate = Rate::default();
        (0..50).for_each(|_| rate.add(1_000_000));
        assert_eq!(rate.per_second(1_005_000), 0.0);
        assert_eq!(rate.per_second(1_010_000), 5.0);
        assert_eq!(rate.per_second(1_030_000), 0.0);
    }
}
