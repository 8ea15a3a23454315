//! Where this crate takes the time from.
#![allow(clippy::disallowed_methods, reason = "this is the crate's clock module")]

use std::time::Instant;
use store::{Clock as _, SystemClock};

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemClock.now_ms()
}

/// A monotonic point in time.
pub(crate) fn now() -> Instant {
    Instant::now()
}
