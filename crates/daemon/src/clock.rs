//! Where this crate takes the time from.
#![allow(clippy::disallowed_methods, reason = "this is the crate's clock module")]

use std::time::Instant;

/// A monotonic point in time.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}
