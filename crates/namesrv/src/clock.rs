//! The only place of this crate that asks for the time.

use std::sync::OnceLock;
use std::time::Instant;

/// Milliseconds since the first call in this process. They never run backwards: a wall clock set anew must not expire
/// brokers.
pub fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let now = remoting::clock::instant();
    let since = now.saturating_duration_since(*START.get_or_init(|| now));
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
