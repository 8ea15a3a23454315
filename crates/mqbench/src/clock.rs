//! Where this crate takes the time from.
#![allow(clippy::disallowed_methods, reason = "this is the crate's clock module")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds that never run backwards, and the wall clock that goes with them. The wall clock is looked at once, so that
/// a correction of it during a run bends no latency.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: Instant,
    wall_ns: u64,
}

impl Clock {
    /// A clock that begins at 0 now.
    #[must_use]
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Clock { anchor: Instant::now(), wall_ns: nanos(wall) }
    }

    /// Nanoseconds since its start.
    #[must_use]
    pub fn now(&self) -> u64 {
        nanos(self.anchor.elapsed())
    }

    /// Nanoseconds since 1970 at a time of this clock.
    #[must_use]
    pub fn wall_ns(&self, at: u64) -> u64 {
        self.wall_ns.saturating_add(at)
    }
}

/// A duration in nanoseconds.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
