//! What went wrong on connections, counted; log lines about it are limited in rate.

use crate::clock;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counters of one server or client, since its start.
#[derive(Debug, Default)]
pub struct RemotingStats {
    /// Connections closed for frames that are none.
    pub bad_frames: AtomicU64,
    /// Handlers that panicked; each closed its connection.
    pub panics: AtomicU64,
    /// Requests whose handler forgot to answer: a bug.
    pub unanswered: AtomicU64,
    /// Requests refused because a lane was full.
    pub busy: AtomicU64,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections closed for being idle.
    pub idle_closed: AtomicU64,
    /// Requests handled.
    pub requests: AtomicU64,
    pub(crate) bad_frame_log: LogLimit,
}

impl RemotingStats {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets one log line a second through and counts the others.
#[derive(Debug, Default)]
pub struct LogLimit {
    state: Mutex<(Option<Instant>, u64)>,
}

impl LogLimit {
    /// `Some(lines suppressed since the last one)` when a line may be written now.
    pub fn allow(&self) -> Option<u64> {
        let now = clock::instant();
        let mut state = self.state.lock();
        match state.0 {
            Some(last) if now.duration_since(last) < Duration::from_secs(1) => {
                state.1 += 1;
                None
            }
            _ => {
                state.0 = Some(now);
                Some(std::mem::take(&mut state.1))
            }
        }
    }
}
