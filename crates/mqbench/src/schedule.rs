//! When requests are meant to be sent.
//!
//! Closed loop: as soon as the window has room. Open loop: at times that are fixed beforehand and do not depend on any
//! answer. Latency counts from the fixed time, not from when the request could leave: a server that stands still for
//! 100 ms delays everything that was due in between, and each of those requests has to show it (otherwise the generator
//! waits along with the server and leaves out what it should have measured: coordinated omission).

use crate::clock::Clock;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

const SECOND_NS: u128 = 1_000_000_000;
/// tokio's timers tick in milliseconds and may be one late.
const SPIN_NS: u64 = 3_000_000;

/// Requests at a steady rate.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    start_ns: u64,
    /// Requests a second, as a fraction: `messages` a second, `batch` of them in a request.
    messages: u64,
    batch: u64,
}

impl Schedule {
    /// `messages` a second (not 0) in requests of `batch`, the first at `start_ns`.
    #[must_use]
    pub fn new(start_ns: u64, messages: u64, batch: u64) -> Schedule {
        Schedule { start_ns, messages: messages.max(1), batch: batch.max(1) }
    }

    /// When request `number`, counted from 0, is meant to be sent.
    #[must_use]
    pub fn intended(&self, number: u64) -> u64 {
        let after = u128::from(number) * u128::from(self.batch) * SECOND_NS / u128::from(self.messages);
        self.start_ns.saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
    }

    /// How many requests are due at `now`: those meant to be sent by then.
    #[must_use]
    pub fn due(&self, now: u64) -> u64 {
        let Some(passed) = now.checked_sub(self.start_ns) else { return 0 };
        // intended(n) <= now: the division in `intended` rounds down, hence the + 1 before and after.
        let scaled = (u128::from(passed) + 1) * u128::from(self.messages);
        let per_request = u128::from(self.batch) * SECOND_NS;
        u64::try_from(scaled.div_ceil(per_request)).unwrap_or(u64::MAX)
    }
}

/// Deals the requests of a schedule out to connections by turns and wakes those that have one due.
#[derive(Debug)]
pub struct Pacer {
    schedule: Schedule,
    lanes: Vec<Lane>,
    /// So many requests are made altogether.
    total: u64,
}

#[derive(Debug, Default)]
struct Lane {
    due: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Pacer {
    /// For `connections` connections and `total` requests.
    #[must_use]
    pub fn new(schedule: Schedule, connections: usize, total: u64) -> Arc<Pacer> {
        let lanes = (0..connections).map(|_| Lane::default()).collect();
        Arc::new(Pacer { schedule, lanes, total })
    }

    /// Lets go what is due at `now`; `dealt` requests were before, returned is how many are now.
    fn deal(&self, now: u64, dealt: u64) -> u64 {
        let due = self.schedule.due(now).min(self.total);
        let lanes = self.lanes.len() as u64;
        // At most one round: a lane that is behind gets all of its own at once.
        for number in (dealt..due).take(self.lanes.len()) {
            let at = usize::try_from(number % lanes).unwrap_or(0);
            let Some(lane) = self.lanes.get(at) else { continue };
            lane.due.store(self.of_lane(at, due), Ordering::Release);
            if let Some(waker) = lane.waker.lock().take() {
                waker.wake();
            }
        }
        due
    }

    /// How many of the first `due` requests are a lane's.
    fn of_lane(&self, lane: usize, due: u64) -> u64 {
        let lanes = self.lanes.len() as u64;
        due.saturating_sub(lane as u64).div_ceil(lanes)
    }

    /// Deals until all is dealt, or `stop` says so.
    ///
    /// Between requests that are less than some milliseconds apart it does not sleep but gives way to the connections
    /// and looks at the clock again: a timer would come up to a millisecond late, and what is measured lies below that. The
    /// price is a core that is busy all the time.
    pub async fn run(&self, clock: Clock, stop: impl Fn() -> bool) {
        let mut dealt = 0;
        while dealt < self.total && !stop() {
            let now = clock.now();
            dealt = self.deal(now, dealt);
            let wait = self.schedule.intended(dealt).saturating_sub(now);
            match wait.checked_sub(SPIN_NS) {
                Some(sleep) if sleep > 0 => tokio::time::sleep(Duration::from_nanos(sleep.min(200_000_000))).await,
                _ => tokio::task::yield_now().await,
            }
        }
        for lane in &self.lanes {
            if let Some(waker) = lane.waker.lock().take() {
                waker.wake();
            }
        }
    }
}

/// One connection's share of a [`Pacer`].
#[derive(Debug)]
pub struct Turn {
    pacer: Arc<Pacer>,
    lane: usize,
    taken: u64,
}

impl Turn {
    /// The share of connection `lane`.
    #[must_use]
    pub fn new(pacer: Arc<Pacer>, lane: usize) -> Turn {
        Turn { pacer, lane, taken: 0 }
    }

    /// The time at which the next request was meant to be sent, when that is past; otherwise the task is woken then.
    pub fn take(&mut self, cx: &mut Context<'_>) -> Option<u64> {
        let lane = self.pacer.lanes.get(self.lane)?;
        if lane.due.load(Ordering::Acquire) <= self.taken {
            *lane.waker.lock() = Some(cx.waker().clone());
            // Once more: it may have become due before the waker was there.
            if lane.due.load(Ordering::Acquire) <= self.taken {
                return None;
            }
        }
        let number = self.taken * self.pacer.lanes.len() as u64 + self.lane as u64;
        self.taken += 1;
        Some(self.pacer.schedule.intended(number))
    }

    /// True when all of this connection's requests were taken.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.taken >= self.pacer.of_lane(self.lane, self.pacer.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn times_are_fixed_beforehand() {
        let schedule = Schedule::new(5 * MS, 1000, 1);
        assert_eq!([0, 1, 1000].map(|n| schedule.intended(n)), [5 * MS, 6 * MS, 1005 * MS]);
        // An odd rate does not drift: after 7 s it is 7 s.
        let thirds = Schedule::new(0, 3, 1);
        assert_eq!([1, 2, 3, 21].map(|n| thirds.intended(n)), [333_333_333, 666_666_666, 1_000_000_000, 7_000_000_000]);
        // Batches of ten, a tenth of the requests.
        assert_eq!(Schedule::new(0, 1000, 10).intended(100), 1_000_000_000);
    }

    #[test]
    fn due_is_what_was_intended_by_now() {
        for (rate, batch) in [(1000, 1), (3, 1), (7, 2), (999_983, 1), (1, 5)] {
            let schedule = Schedule::new(9, rate, batch);
            assert_eq!(schedule.due(8), 0);
            for number in [0, 1, 2, 3, 10, 999, 123_456] {
                let at = schedule.intended(number);
                assert_eq!(schedule.due(at), number + 1, "{rate}/{batch}: request {number} is due at {at}");
                assert!(schedule.due(at - 1) <= number, "{rate}/{batch}: request {number} is not due before {at}");
            }
        }
    }

    fn takes(turn: &mut Turn) -> Vec<u64> {
        let mut cx = Context::from_waker(Waker::noop());
        std::iter::from_fn(|| turn.take(&mut cx)).collect()
    }

    #[test]
    fn a_stall_is_counted_against_every_request_that_was_due() {
        let pacer = Pacer::new(Schedule::new(0, 1000, 1), 2, 8);
        let mut turns = [Turn::new(pacer.clone(), 0), Turn::new(pacer.clone(), 1)];
        let mut dealt = pacer.deal(0, 0);
        assert_eq!((dealt, takes(&mut turns[0]), takes(&mut turns[1])), (1, vec![0], vec![]));
        // Nothing happens for 5 ms; what is sent then still counts from when it was due.
        dealt = pacer.deal(5 * MS, dealt);
        assert_eq!(dealt, 6);
        assert_eq!(takes(&mut turns[1]), [MS, 3 * MS, 5 * MS]);
        assert_eq!(takes(&mut turns[0]), [2 * MS, 4 * MS]);
        assert!(!turns[0].is_over());
        dealt = pacer.deal(500 * MS, dealt);
        assert_eq!((dealt, takes(&mut turns[0]), takes(&mut turns[1])), (8, vec![6 * MS], vec![7 * MS]));
        assert!(turns.iter().all(Turn::is_over));
    }

    #[test]
    fn more_lanes_than_requests() {
        let pacer = Pacer::new(Schedule::new(0, 10, 1), 5, 3);
        assert_eq!(pacer.deal(10_000 * MS, 0), 3);
        let counts: Vec<_> = (0..5).map(|lane| takes(&mut Turn::new(pacer.clone(), lane)).len()).collect();
        assert_eq!(counts, [1, 1, 1, 0, 0]);
        assert!(Turn::new(pacer, 4).is_over());
    }
}
