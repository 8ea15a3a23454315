//! A run from its first to its last request: warm-up, measurement, and that it ends.

use crate::cli::Amount;
use crate::clock::{Clock, nanos};
use crate::error::BenchError;
use crate::process::{Memory, Usage, Used};
use crate::progress::Progress;
use crate::tally::{Count, Tally};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};

const TICK: Duration = Duration::from_millis(200);
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// What all connections of a run share.
#[derive(Debug)]
pub struct Run {
    /// The time of this run.
    pub clock: Clock,
    /// When the warm-up is over, ns.
    pub from: u64,
    /// When no more requests are made, ns; never where messages are counted.
    pub end: u64,
    /// Messages that may still be sent after the warm-up.
    left: AtomicU64,
    /// What is sent, or asked.
    pub sent: Mutex<Tally>,
    /// What is received.
    pub received: Mutex<Tally>,
}

impl Run {
    /// Begins now.
    #[must_use]
    pub fn begin(amount: &Amount) -> Arc<Run> {
        let clock = Clock::start();
        let from = clock.now() + nanos(amount.warmup);
        let end = match amount.messages {
            Some(_) => u64::MAX,
            None => from + nanos(amount.duration.unwrap_or(DEFAULT_DURATION)),
        };
        Arc::new(Run {
            clock,
            from,
            end,
            left: AtomicU64::new(amount.messages.unwrap_or(u64::MAX)),
            sent: Mutex::new(Tally::new(from)),
            received: Mutex::new(Tally::new(from)),
        })
    }

    /// Whether `messages` more may be sent at `now`. What is sent during the warm-up is not counted off.
    pub fn claim(&self, now: u64, messages: u64) -> bool {
        if self.is_over(now) {
            return false;
        }
        if now < self.from || self.end != u64::MAX {
            return true;
        }
        self.count_off(messages)
    }

    /// Takes `messages` from those that are to be measured; false when none were left.
    fn count_off(&self, messages: u64) -> bool {
        let claim = |left: u64| (left > 0).then(|| left.saturating_sub(messages));
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim).is_ok()
    }

    /// `messages` were received at `now`.
    pub fn arrived(&self, now: u64, messages: u64) {
        if now >= self.from && self.end == u64::MAX {
            self.count_off(messages);
        }
    }

    /// Whether no more requests are to be made.
    #[must_use]
    pub fn is_over(&self, now: u64) -> bool {
        now >= self.end || self.left.load(Ordering::Relaxed) == 0
    }

    /// How many messages are sent at `rate` a second altogether, with the warm-up.
    #[must_use]
    pub fn total(&self, rate: u64, begin: u64) -> u64 {
        // Those that are due before a time: the first is due at once.
        let at_rate =
            |ns: u64| u64::try_from((u128::from(ns) * u128::from(rate)).div_ceil(1_000_000_000)).unwrap_or(u64::MAX);
        match self.end {
            u64::MAX => at_rate(self.from.saturating_sub(begin)).saturating_add(self.left.load(Ordering::Relaxed)),
            end => at_rate(end.saturating_sub(begin)),
        }
    }

    fn snapshot(&self, pid: Option<u32>) -> Snapshot {
        Snapshot {
            at: self.clock.now(),
            sent: self.sent.lock().measured,
            received: self.received.lock().measured,
            server: pid.and_then(Usage::of),
            own: Usage::of(std::process::id()),
        }
    }
}

#[derive(Debug)]
struct Snapshot {
    at: u64,
    sent: Count,
    received: Count,
    server: Option<Usage>,
    own: Option<Usage>,
}

/// What was measured between warm-up and end.
#[derive(Debug, Clone)]
pub struct Measured {
    /// How long it took.
    pub seconds: f64,
    /// Sent, or asked.
    pub sent: Count,
    /// Received.
    pub received: Count,
    /// The server's process, where it could be looked at.
    pub server: Option<(u32, Used, Memory)>,
    /// This process.
    pub own: Used,
}

/// The connections of a run.
#[derive(Debug, Default)]
pub struct Crew {
    /// Those whose end is the end of the run.
    pub tasks: JoinSet<Result<(), BenchError>>,
    /// Those that go on as long as the run does.
    pub companions: JoinSet<Result<(), BenchError>>,
}

impl Crew {
    /// Runs to the end: all tasks are through and `done` says so. `quiet` is how long no answer may come.
    ///
    /// # Errors
    /// The first that a connection gives, and [`BenchError::Server`] when answers stay away.
    pub async fn conduct(
        mut self,
        run: &Run,
        pid: Option<u32>,
        quiet: Duration,
        done: impl Fn(u64) -> Result<bool, BenchError>,
    ) -> Result<Measured, BenchError> {
        let mut progress = Progress::new();
        let (mut begin, mut finish) = (None, None);
        let mut heard = (Count::default(), Count::default(), run.clock.now());
        loop {
            let now = run.clock.now();
            if begin.is_none() && now >= run.from {
                begin = Some(run.snapshot(pid));
            }
            if finish.is_none() && now >= run.end {
                finish = Some(run.snapshot(pid));
            }
            if self.tasks.is_empty() && done(now)? {
                break;
            }
            let (sent, received) = (run.sent.lock().all, run.received.lock().all);
            if (sent, received) != (heard.0, heard.1) {
                heard = (sent, received, now);
            } else if now - heard.2 > nanos(quiet) {
                let text = format!(
                    "no answer for {} s, after {} requests; the time is --timeout",
                    quiet.as_secs_f64(),
                    sent.requests + received.requests
                );
                return Err(BenchError::Server(text));
            }
            progress.show(now, run.from, sent, received);
            let next = [run.from, run.end].into_iter().filter(|at| *at > now).min().unwrap_or(u64::MAX);
            let wait = TICK.min(Duration::from_nanos(next - now));
            tokio::select! {
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => outcome(ended)?,
                Some(ended) = self.companions.join_next(), if !self.companions.is_empty() => outcome(ended)?,
                () = tokio::time::sleep(wait) => {}
            }
        }
        let finish = finish.unwrap_or_else(|| run.snapshot(pid));
        let Some(begin) = begin else {
            return Err(BenchError::Refused("the run was over before its warm-up was; see --warmup".to_owned()));
        };
        let server = match (pid, &begin.server, &finish.server) {
            (Some(pid), Some(earlier), Some(later)) => Some((pid, later.since(earlier), later.memory)),
            _ => None,
        };
        let own = match (&begin.own, &finish.own) {
            (Some(earlier), Some(later)) => later.since(earlier),
            _ => Used::default(),
        };
        Ok(Measured {
            seconds: finish.at.saturating_sub(begin.at) as f64 / 1e9,
            sent: finish.sent,
            received: finish.received,
            server,
            own,
        })
    }
}

fn outcome(ended: Result<Result<(), BenchError>, JoinError>) -> Result<(), BenchError> {
    match ended {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(BenchError::Server(format!("a connection's task ended: {error}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(messages: Option<u64>, duration_ms: u64, warmup_ms: u64) -> Amount {
        let duration = messages.is_none().then(|| Duration::from_millis(duration_ms));
        Amount { duration, messages, warmup: Duration::from_millis(warmup_ms) }
    }

    #[test]
    fn messages_are_counted_off_after_the_warm_up() {
        let run = Run::begin(&amount(Some(5), 0, 1000));
        assert!((0..100).all(|_| run.claim(run.from - 1, 1)));
        assert_eq!((0..10).filter(|_| run.claim(run.from, 2)).count(), 3);
        assert!(!run.claim(run.from + 1, 2));
    }

    #[test]
    fn time_ends_a_run() {
        let run = Run::begin(&amount(None, 500, 100));
        assert!(run.claim(run.end - 1, 1) && !run.claim(run.end, 1));
        assert_eq!(run.end - run.from, 500_000_000);
        assert_eq!(run.total(1000, run.from - 100_000_000), 600);
    }

    #[tokio::test]
    async fn silence_is_an_error() {
        let run = Run::begin(&amount(None, 60_000, 0));
        let mut crew = Crew::default();
        crew.tasks.spawn(std::future::pending());
        let error = crew.conduct(&run, None, Duration::from_millis(300), |_| Ok(true)).await.unwrap_err();
        assert_eq!((error.exit_code(), error.to_string().starts_with("no answer for 0.3 s")), (2, true), "{error}");
    }

    #[tokio::test]
    async fn the_first_error_ends_a_run() {
        let run = Run::begin(&amount(None, 60_000, 0));
        let mut crew = Crew::default();
        crew.tasks.spawn(std::future::pending());
        crew.companions.spawn(async { Err(BenchError::Wrong("x".to_owned())) });
        let error = crew.conduct(&run, None, Duration::from_secs(60), |_| Ok(true)).await.unwrap_err();
        assert_eq!(error.exit_code(), 1);
    }
}
