//! Tells in the log how far something long has come, and how long it will still take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::info;

use crate::clock::instant;

/// From when on, and how often, it is told.
const INTERVAL: Duration = Duration::from_secs(1);

/// Work over a known number of bytes. Says nothing when it is done within a second.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    done: AtomicU64,
    began: Instant,
    told: Mutex<Instant>,
}

impl Progress {
    /// Begins now.
    pub(crate) fn new(what: &'static str, total: u64) -> Progress {
        let now = instant();
        Progress { what, total, done: AtomicU64::new(0), began: now, told: Mutex::new(now) }
    }

    /// The first `done` bytes are done.
    pub(crate) fn reached(&self, done: u64) {
        self.done.store(done.min(self.total), Ordering::Relaxed);
        let mut told = self.told.lock();
        let now = instant();
        if now.duration_since(*told) >= INTERVAL {
            *told = now;
            info!("{}", self.line(now.duration_since(self.began)));
        }
    }

    fn line(&self, elapsed: Duration) -> String {
        let done = self.done.load(Ordering::Relaxed);
        let percent = done.saturating_mul(100).checked_div(self.total).unwrap_or(100);
        let mib = |bytes: u64| bytes >> 20;
        let mut line = format!("{}: {percent}% ({} of {} MiB)", self.what, mib(done), mib(self.total));
        if let Some(left) = elapsed.as_secs().saturating_mul(self.total - done).checked_div(done) {
            line.push_str(&format!(", about {left} s left"));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_an_estimate() {
        let progress = Progress::new("reading", 4 << 30);
        assert_eq!(progress.line(Duration::from_secs(1)), "reading: 0% (0 of 4096 MiB)");
        progress.reached(1 << 30);
        assert_eq!(progress.line(Duration::from_secs(10)), "reading: 25% (1024 of 4096 MiB), about 30 s left");
        progress.reached(u64::MAX);
        assert_eq!(progress.line(Duration::from_secs(10)), "reading: 100% (4096 of 4096 MiB), about 0 s left");
        assert_eq!(Progress::new("nothing", 0).line(Duration::ZERO), "nothing: 100% (0 of 0 MiB)");
    }
}
