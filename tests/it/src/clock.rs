//! Time for tests: deadlines and waiting for a condition, never sleeping for luck.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time by which something must have happened.
#[derive(Clone, Copy)]
pub struct Deadline(std::time::Instant);

impl Deadline {
    /// The deadline `seconds` from now.
    #[allow(clippy::disallowed_methods, reason = "this is the clock module of the tests")]
    pub fn in_seconds(seconds: u64) -> Self {
        Self(std::time::Instant::now() + Duration::from_secs(seconds))
    }

    /// What is left, zero when it has passed.
    #[allow(clippy::disallowed_methods, reason = "this is the clock module of the tests")]
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(std::time::Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }
}

/// Milliseconds since the epoch.
#[allow(clippy::disallowed_methods, reason = "this is the clock module of the tests")]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_millis()).expect("milliseconds fit in 64 bits for longer than anything lasts")
}

/// Asks `condition` every 20 ms until it gives a value.
/// # Panics
/// Names `what` when `seconds` pass without one.
pub fn wait_for<T>(what: &str, seconds: u64, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::in_seconds(seconds);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(!deadline.passed(), "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
