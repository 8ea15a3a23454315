//! What is compared, and the budgets.

/// One line of the table.
pub(super) struct Figure {
    /// First part of the names of its reports.
    pub row: &'static str,
    /// The work, for people.
    pub work: &'static str,
    /// The figure, for people, with its unit.
    pub what: &'static str,
    /// Where it stands in a report.
    pub pointer: &'static str,
    /// What it is multiplied by before it is shown.
    pub scale: f64,
    /// Digits behind the point.
    pub decimals: usize,
    /// What it should be for Ferrocket.
    pub budget: Option<Budget>,
}

/// What a figure of Ferrocket's should be.
pub(super) enum Budget {
    /// At most so many times the null server's.
    TimesNull(f64),
    /// At most so many times the null server's and so much of Java's.
    TimesNullAndOfJava(f64, f64),
    /// At most so much of Java's.
    OfJava(f64),
    /// At least so many times Java's.
    TimesJava(f64),
    /// At least.
    AtLeast(f64),
    /// At most.
    AtMost(f64),
}

impl Budget {
    pub(super) fn text(&self, figure: &Figure) -> String {
        let number = |value: f64| super::number(value * figure.scale, 0);
        match self {
            Budget::TimesNull(times) => format!("≤ {times} × null server"),
            Budget::TimesNullAndOfJava(times, part) => {
                format!("≤ {times} × null server, ≤ 1/{:.0} of Java", 1.0 / part)
            }
            Budget::OfJava(part) => format!("≤ 1/{:.0} of Java", 1.0 / part),
            Budget::TimesJava(times) => format!("≥ {times} × Java"),
            Budget::AtLeast(value) => format!("≥ {}", number(*value)),
            Budget::AtMost(value) => format!("≤ {}", number(*value)),
        }
    }

    /// Whether it is kept; `None` when a figure is missing.
    pub(super) fn kept(&self, null: Option<f64>, ours: Option<f64>, java: Option<f64>) -> Option<bool> {
        let ours = ours?;
        Some(match self {
            Budget::TimesNull(times) => ours <= times * null?,
            Budget::TimesNullAndOfJava(times, part) => ours <= times * null? && ours <= part * java?,
            Budget::OfJava(part) => ours <= part * java?,
            Budget::TimesJava(times) => ours >= times * java?,
            Budget::AtLeast(value) => ours >= *value,
            Budget::AtMost(value) => ours <= *value,
        })
    }
}

const CPU: &str = "/server/cpu_us_per_message";
const SWITCHES: &str = "/server/switches_per_message";
const SENT: &str = "/produce/messages_per_second";
const SENT_MB: &str = "/produce/mb_per_second";

const fn figure(row: &'static str, work: &'static str, what: &'static str, pointer: &'static str) -> Figure {
    Figure { row, work, what, pointer, scale: 1.0, decimals: 0, budget: None }
}

const fn cpu(row: &'static str, work: &'static str, budget: Option<Budget>) -> Figure {
    Figure { decimals: 2, budget, ..figure(row, work, "CPU, µs/message", CPU) }
}

const fn latency(row: &'static str, work: &'static str, what: &'static str, pointer: &'static str) -> Figure {
    Figure { budget: Some(Budget::TimesNullAndOfJava(2.0, 0.1)), ..figure(row, work, what, pointer) }
}

const fn late(what: &'static str, pointer: &'static str) -> Figure {
    Figure { scale: 1e-3, decimals: 1, ..figure("timer", TIMER, what, pointer) }
}

const SMALL: &str = "produce 1 KiB, 64 × 1";
const WIDE: &str = "produce 1 KiB, 16 × 16";
const LARGE: &str = "produce 64 KiB, 16 × 4";
const OPEN_5K: &str = "open loop 5,000/s";
const OPEN_20K: &str = "open loop 20,000/s";
const SYNC: &str = "SYNC_FLUSH, 64 × 1";
const PULL: &str = "pull catch-up, 32 × 1 KiB";
const TAIL: &str = "long poll, 1,000/s";
const POP: &str = "long-polling pop, 1,000/s";
const TIMER: &str = "TIMER_DELIVER_MS, 1,000/s";
const LOOK_UP: &str = "route look-up";
const LOOK_UP_MANY: &str = "route look-up, 10,000 topics";
const MANY: &str = "100,000 queues, 10,000 connections";

/// The lines, in their order.
pub(super) const FIGURES: &[Figure] = &[
    cpu("produce-64x1", SMALL, Some(Budget::TimesNull(1.3))),
    figure("produce-64x1", SMALL, "messages/s", SENT),
    Figure { decimals: 2, ..figure("produce-64x1", SMALL, "context switches/message", SWITCHES) },
    cpu("produce-16x16", WIDE, Some(Budget::TimesNull(2.0))),
    Figure { budget: Some(Budget::AtLeast(400_000.0)), ..figure("produce-16x16", WIDE, "messages/s", SENT) },
    cpu("produce-64k", LARGE, Some(Budget::TimesNull(1.5))),
    Figure { budget: Some(Budget::AtLeast(1500.0)), ..figure("produce-64k", LARGE, "MB/s", SENT_MB) },
    figure("open-5k", OPEN_5K, "p50, µs", "/produce/latency_us/p50"),
    latency("open-5k", OPEN_5K, "p99, µs", "/produce/latency_us/p99"),
    latency("open-5k", OPEN_5K, "p99.9, µs", "/produce/latency_us/p999"),
    figure("open-20k", OPEN_20K, "p50, µs", "/produce/latency_us/p50"),
    latency("open-20k", OPEN_20K, "p99, µs", "/produce/latency_us/p99"),
    latency("open-20k", OPEN_20K, "p99.9, µs", "/produce/latency_us/p999"),
    Figure { budget: Some(Budget::TimesJava(3.0)), ..figure("sync", SYNC, "messages/s", SENT) },
    Figure { decimals: 2, budget: Some(Budget::OfJava(1.0 / 3.0)), ..figure("pull", PULL, "CPU, µs/message", CPU) },
    Figure { budget: Some(Budget::AtLeast(1_073.741_824)), ..figure("pull", PULL, "MB/s", "/consume/mb_per_second") },
    figure("tail", TAIL, "end to end p50, µs", "/consume/end_to_end_us/p50"),
    Figure {
        budget: Some(Budget::AtMost(1000.0)),
        ..figure("tail", TAIL, "end to end p99, µs", "/consume/end_to_end_us/p99")
    },
    figure("tail", TAIL, "end to end p99.9, µs", "/consume/end_to_end_us/p999"),
    figure("pop", POP, "end to end p50, µs", "/consume/end_to_end_us/p50"),
    figure("pop", POP, "end to end p99, µs", "/consume/end_to_end_us/p99"),
    figure("pop", POP, "end to end p99.9, µs", "/consume/end_to_end_us/p999"),
    late("behind its time p50, ms", "/consume/end_to_end_us/p50"),
    late("behind its time p99, ms", "/consume/end_to_end_us/p99"),
    late("behind its time p99.9, ms", "/consume/end_to_end_us/p999"),
    cpu("route", LOOK_UP, Some(Budget::TimesNull(1.5))),
    cpu("route-10k", LOOK_UP_MANY, Some(Budget::TimesNull(1.5))),
    cpu("many", MANY, None),
    Figure {
        scale: 1.0 / 1024.0,
        budget: Some(Budget::AtMost(512_000.0)),
        ..figure("many", MANY, "anonymous memory, MiB", "/server/anon_kib")
    },
    Figure {
        scale: 1.0 / 1024.0,
        decimals: 1,
        budget: Some(Budget::AtMost(65_536.0)),
        ..figure("produce-16x16", "after the run 16 × 16", "anonymous memory, MiB", "/server/anon_kib")
    },
    Figure {
        scale: 1.0 / 1024.0,
        decimals: 1,
        budget: Some(Budget::AtMost(15_360.0)),
        ..figure("start", "idle after the start", "resident, MiB", "/rss_kib")
    },
    Figure {
        budget: Some(Budget::AtMost(50.0)),
        ..figure("start", "start, empty store", "to the boot line, ms", "/boot_ms")
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets() {
        let check = |budget: Budget, null, ours, java, expect| {
            assert_eq!(budget.kept(null, ours, java), expect);
        };
        check(Budget::TimesNull(1.5), Some(2.0), Some(3.0), None, Some(true));
        check(Budget::TimesNull(1.5), Some(2.0), Some(3.1), None, Some(false));
        check(Budget::TimesNull(1.5), None, Some(3.1), None, None);
        check(Budget::TimesNullAndOfJava(2.0, 0.1), Some(2.0), Some(3.0), Some(29.0), Some(false));
        check(Budget::OfJava(0.5), None, Some(1.0), Some(2.0), Some(true));
        check(Budget::TimesJava(3.0), None, Some(2.0), Some(1.0), Some(false));
        check(Budget::AtLeast(4.0), None, Some(4.0), None, Some(true));
        check(Budget::AtMost(4.0), None, None, None, None);
    }
}
