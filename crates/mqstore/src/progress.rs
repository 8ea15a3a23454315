//! One line on a terminal that says how far a long work is; nothing where nobody watches.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::clock;

const EVERY: Duration = Duration::from_millis(200);

/// The line.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    total: u64,
    begun: Instant,
    next: Instant,
    calls: u32,
}

impl Progress {
    /// Of `total` bytes.
    pub(crate) fn new(total: u64) -> Progress {
        let now = clock::now();
        Progress { shown: std::io::stderr().is_terminal(), total, begun: now, next: now + EVERY, calls: 0 }
    }

    /// So many are done.
    pub(crate) fn at(&mut self, done: u64) {
        self.calls = self.calls.wrapping_add(1);
        if !self.shown || !self.calls.is_multiple_of(256) {
            return;
        }
        let now = clock::now();
        if now < self.next {
            return;
        }
        self.next = now + EVERY;
        let rate = u128::from(done) * 1000 / (now - self.begun).as_millis().max(1);
        let percent = u128::from(done) * 100 / u128::from(self.total.max(1));
        let mib = |bytes: u128| bytes >> 20;
        let _ = write!(
            std::io::stderr(),
            "\r{percent:3} %  {} of {} MiB, {} MiB/s ",
            mib(done.into()),
            mib(self.total.into()),
            mib(rate)
        );
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
