//! The only place of this crate that asks for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use remoting::clock::{instant, now_ms};

/// Nanoseconds since 1970, for names that must not repeat.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
#[must_use]
pub fn now_nanos() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos()
}
