//! One line on a terminal that says how a run goes; nothing where nobody watches.

use crate::tally::Count;
use std::io::{IsTerminal as _, Write as _};

const EVERY_NS: u64 = 1_000_000_000;

/// The line.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    last: (u64, Count, Count),
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { shown: std::io::stderr().is_terminal(), last: (0, Count::default(), Count::default()) }
    }

    /// At `now` so much is sent and received altogether; the warm-up lasts until `from`.
    pub(crate) fn show(&mut self, now: u64, from: u64, sent: Count, received: Count) {
        let (before, sent_before, received_before) = self.last;
        let passed = now.saturating_sub(before);
        if !self.shown || passed < EVERY_NS {
            return;
        }
        self.last = (now, sent, received);
        let rate =
            |count: Count| (count.messages as f64 * 1e9 / passed as f64, count.bytes as f64 * 1e3 / passed as f64);
        let mut line = format!("\r\x1b[K{:4} s", now / 1_000_000_000);
        for (what, count) in [("sent", sent.since(sent_before)), ("received", received.since(received_before))] {
            if count.requests > 0 {
                let (messages, megabytes) = rate(count);
                line.push_str(&format!("  {what} {messages:.0}/s, {megabytes:.1} MB/s"));
            }
        }
        if now < from {
            line.push_str("  (warming up)");
        }
        let _ = write!(std::io::stderr(), "{line}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
