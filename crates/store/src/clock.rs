//! Time: the only place that reads clocks, so that tests can turn them.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The time of day, as messages carry it.
pub trait Clock: Debug + Send + Sync {
    /// Milliseconds since 1970. May jump either way.
    fn now_ms(&self) -> i64;

    /// Milliseconds since a moment that stays the same. Never jumps, and goes on while the machine is suspended.
    fn steady_ms(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock module")]
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn steady_ms(&self) -> i64 {
        let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        since.tv_sec.saturating_mul(1000).saturating_add(since.tv_nsec / 1_000_000)
    }
}

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
pub struct FakeClock {
    now: AtomicI64,
    steady: AtomicI64,
}

impl FakeClock {
    /// Stands at `now_ms`.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        FakeClock { now: AtomicI64::new(now_ms), steady: AtomicI64::new(0) }
    }

    /// Sets the time of day; no time has passed.
    pub fn set(&self, now_ms: i64) {
        self.now.store(now_ms, Ordering::SeqCst);
    }

    /// So much time passes.
    pub fn advance(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
        self.steady.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now_ms(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    fn steady_ms(&self) -> i64 {
        self.steady.load(Ordering::SeqCst)
    }
}

/// A moment that never jumps, for durations.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
