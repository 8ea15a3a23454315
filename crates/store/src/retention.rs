//! How long commit-log files are kept, and by what clock.
//!
//! Java deletes a file whose mtime lies fileReservedTime before the machine's clock; a clock that is set years ahead
//! deletes everything. Here the age of a file is the time that a broker was seen to run since its last change:
//!
//! - Time goes on no faster than a clock that never jumps, from the time of day at the start on.
//! - The time from the last use of the store (the mtime of `checkpoint`) to the start does not count for files of before:
//!   nobody could get their messages meanwhile, and a clock that was set wrong while the machine was off looks the same.
//! - A file changed later than that time, by an hour or more, goes by the machine's clock, which is the one it was changed
//!   under.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::StoreConfig;
use crate::disk_level::Thresholds;
use crate::sys::LocalTime;

const HOUR_MS: i64 = 3_600_000;

/// The settings of retention. They may change while the store is open.
#[derive(Debug, Clone)]
pub(crate) struct Retention {
    pub(crate) thresholds: Thresholds,
    pub(crate) clean_forcibly: bool,
    /// Pause between two deletions.
    pub(crate) pause: Duration,
    /// Between two looks at what can be deleted.
    pub(crate) interval: Duration,
    pub(crate) batch_max: usize,
    pub(crate) reserved_ms: i64,
    delete_when: String,
}

impl Retention {
    pub(crate) fn of(config: &StoreConfig) -> Retention {
        let reserved_hours = i64::try_from(config.file_reserved_time_hours).unwrap_or(i64::MAX);
        Retention {
            thresholds: Thresholds::of(config),
            clean_forcibly: config.clean_file_forcibly_enable,
            pause: Duration::from_millis(config.delete_commit_log_files_interval_ms),
            interval: Duration::from_millis(config.clean_resource_interval_ms.max(1)),
            batch_max: config.delete_file_batch_max,
            reserved_ms: reserved_hours.saturating_mul(HOUR_MS),
            delete_when: config.delete_when.clone(),
        }
    }

    /// Whether expired files are deleted in this hour.
    pub(crate) fn is_hour_to_delete(&self, now_ms: i64) -> bool {
        let hour = LocalTime::at(now_ms).hour;
        self.delete_when.split(';').any(|when| when.trim().parse() == Ok(hour))
    }
}

/// The clock of one run of a store.
#[derive(Debug)]
pub(crate) struct RetentionClock {
    started_ms: i64,
    started_steady_ms: i64,
    /// From the last use of the store to the start.
    away_ms: i64,
    ahead: AtomicBool,
}

impl RetentionClock {
    /// Starts now. `last_use_ms`: when the store was last seen in use, if it has ever been.
    pub(crate) fn start(clock: &dyn Clock, last_use_ms: Option<i64>) -> RetentionClock {
        let started_ms = clock.now_ms();
        let away_ms = last_use_ms.map_or(0, |last| started_ms.saturating_sub(last).max(0));
        if away_ms >= HOUR_MS {
            info!(
                hours = away_ms / HOUR_MS,
                "by the machine's clock the store was not in use for so long; files of before \
                are kept for so much longer"
            );
        }
        RetentionClock { started_ms, started_steady_ms: clock.steady_ms(), away_ms, ahead: AtomicBool::new(false) }
    }

    /// The time of day, unless the machine's clock has jumped ahead of it since the start.
    pub(crate) fn now_ms(&self, clock: &dyn Clock) -> i64 {
        let wall = clock.now_ms();
        let passed = clock.steady_ms().saturating_sub(self.started_steady_ms);
        let steady = self.started_ms.saturating_add(passed);
        let ahead = wall.saturating_sub(steady) >= HOUR_MS;
        if self.ahead.swap(ahead, Ordering::Relaxed) != ahead {
            let hours = wall.saturating_sub(steady) / HOUR_MS;
            if ahead {
                warn!(
                    hours,
                    "the machine's clock has jumped ahead; until the next start the age of files goes by the time \
                    that has passed since this one"
                );
            } else {
                info!("the machine's clock is back; the age of files goes by it");
            }
        }
        wall.min(steady)
    }

    /// How old a file is that was last changed at `modified_ms`. `of_before`: all of it was written by former runs.
    pub(crate) fn age_ms(&self, clock: &dyn Clock, modified_ms: i64, of_before: bool) -> i64 {
        let now = self.now_ms(clock);
        let now = if modified_ms.saturating_sub(now) >= HOUR_MS { clock.now_ms() } else { now };
        let away = if of_before { self.away_ms } else { 0 };
        now.saturating_sub(modified_ms).saturating_sub(away)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FakeClock;

    #[test]
    fn a_clock_that_jumps_makes_nothing_old() {
        let clock = FakeClock::new(100 * HOUR_MS);
        let ages = RetentionClock::start(&clock, Some(100 * HOUR_MS));
        clock.advance(HOUR_MS);
        assert_eq!(ages.age_ms(&clock, 50 * HOUR_MS, true), 51 * HOUR_MS);
        clock.set(90_000 * HOUR_MS);
        assert_eq!(ages.age_ms(&clock, 50 * HOUR_MS, true), 51 * HOUR_MS);
        // Changed just before, when the machine's clock was a little ahead.
        assert_eq!(ages.age_ms(&clock, 101 * HOUR_MS + 1000, true), -1000);
        // Changed under the new time.
        clock.advance(2 * HOUR_MS);
        assert_eq!(ages.age_ms(&clock, 90_000 * HOUR_MS, false), 2 * HOUR_MS);
        assert_eq!(ages.age_ms(&clock, 50 * HOUR_MS, true), 53 * HOUR_MS);
        // Set right again, what was changed meanwhile lies in the future.
        clock.set(103 * HOUR_MS);
        assert!(ages.age_ms(&clock, 90_000 * HOUR_MS, false) < 0);
        clock.set(60 * HOUR_MS);
        assert_eq!(ages.age_ms(&clock, 50 * HOUR_MS, true), 10 * HOUR_MS);
    }

    #[test]
    fn the_time_before_the_start_counts_for_nothing() {
        let clock = FakeClock::new(90_000 * HOUR_MS);
        let ages = RetentionClock::start(&clock, Some(100 * HOUR_MS));
        clock.advance(3 * HOUR_MS);
        assert_eq!(ages.age_ms(&clock, 60 * HOUR_MS, true), 43 * HOUR_MS);
        assert_eq!(ages.age_ms(&clock, 90_001 * HOUR_MS, false), 2 * HOUR_MS);
        // A clock that was behind and is set right: the machine's clock is the one that the files were made under.
        let clock = FakeClock::new(0);
        let ages = RetentionClock::start(&clock, Some(100 * HOUR_MS));
        assert!(ages.age_ms(&clock, 60 * HOUR_MS, true) < 0);
        clock.set(120 * HOUR_MS);
        assert_eq!(ages.age_ms(&clock, 60 * HOUR_MS, true), 60 * HOUR_MS);
    }
}
