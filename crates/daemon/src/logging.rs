//! Logs: standard error, one line an event.
//!
//! With `JOURNAL_STREAM` set (systemd) lines carry a priority for the journal and no time, which the journal has itself.
//! `FERROCKET_LOG` filters as `RUST_LOG` does elsewhere: `warn`, `info,store=debug`.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::clock;

/// The variable that filters.
pub const FILTER_VARIABLE: &str = "FERROCKET_LOG";

/// Starts logging for this process; a second call changes nothing.
///
/// # Errors
/// A text for the operator when `FERROCKET_LOG` is not a filter; logging runs at `info` then.
pub fn init() -> Result<(), String> {
    let (filter, problem) = filter(std::env::var(FILTER_VARIABLE).ok().as_deref());
    let to_journal = std::env::var_os("JOURNAL_STREAM").is_some_and(|value| !value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let started = if to_journal {
        builder.without_time().with_ansi(false).with_level(false).with_writer(JournalStderr).try_init()
    } else {
        let colour = io::IsTerminal::is_terminal(&io::stderr());
        builder.with_ansi(colour).with_writer(io::stderr).try_init()
    };
    // Already started is what a second daemon in the same process finds.
    drop(started);
    problem.map_or(Ok(()), Err)
}

fn filter(text: Option<&str>) -> (EnvFilter, Option<String>) {
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        None => (EnvFilter::new("info"), None),
        Some(text) => match EnvFilter::try_new(text) {
            Ok(filter) => (filter, None),
            Err(e) => {
                let problem = format!(
                    "{FILTER_VARIABLE}={text} is not a filter ({e}): use a level, such as warn, or info,store=debug"
                );
                (EnvFilter::new("info"), Some(problem))
            }
        },
    }
}

/// Standard error with the priority prefix of sd-daemon(3).
struct JournalStderr;

impl<'a> MakeWriter<'a> for JournalStderr {
    type Writer = PrefixedStderr;

    fn make_writer(&'a self) -> Self::Writer {
        PrefixedStderr { prefix: "<6>" }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        PrefixedStderr { prefix: priority(*metadata.level()) }
    }
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

/// Writes whole events: the subscriber hands over one event a call.
struct PrefixedStderr {
    prefix: &'static str,
}

impl Write for PrefixedStderr {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut line = Vec::with_capacity(self.prefix.len() + event.len());
        line.extend_from_slice(self.prefix.as_bytes());
        line.extend_from_slice(event);
        io::stderr().lock().write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets one event through per period and counts the others: for log lines that outsiders can cause at will.
///
/// ```
/// use std::time::Duration;
/// static BAD_FRAMES: daemon::logging::Every = daemon::logging::Every::new(Duration::from_secs(10));
/// if let Some(suppressed) = BAD_FRAMES.ready() {
///     tracing::warn!(suppressed, "bad frame");
/// }
/// ```
#[derive(Debug)]
pub struct Every {
    period: Duration,
    next_allowed_ms: AtomicU64,
    suppressed: AtomicU64,
}

impl Every {
    /// One event per `period`.
    #[must_use]
    pub const fn new(period: Duration) -> Self {
        Self { period, next_allowed_ms: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// The number of events suppressed since the last one that was let through, or none when this one is suppressed too.
    pub fn ready(&self) -> Option<u64> {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let start = *START.get_or_init(clock::now);
        self.ready_at(clock::now().saturating_duration_since(start))
    }

    fn ready_at(&self, since_start: Duration) -> Option<u64> {
        let now = millis(since_start);
        let allowed = self.next_allowed_ms.load(Ordering::Relaxed);
        let next = now.saturating_add(millis(self.period));
        let won = now >= allowed
            && self.next_allowed_ms.compare_exchange(allowed, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if won {
            Some(self.suppressed.swap(0, Ordering::Relaxed))
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_per_period() {
        let every = Every::new(Duration::from_millis(100));
        let at = |ms| every.ready_at(Duration::from_millis(ms));
        assert_eq!([at(5), at(6), at(104), at(105), at(106), at(300)], [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn filters() {
        assert!(filter(None).1.is_none());
        assert!(filter(Some("warn,store=debug")).1.is_none());
        assert!(filter(Some("store=nonsense")).1.unwrap().contains("FERROCKET_LOG=store=nonsense"));
    }

    #[test]
    fn priorities_follow_syslog() {
        let all = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE].map(priority);
        assert_eq!(all, ["<3>", "<4>", "<6>", "<7>", "<7>"]);
    }
}
