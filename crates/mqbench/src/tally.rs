//! What is counted while a run goes on.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies above an hour count as an hour.
const MAX_NS: u64 = 3_600_000_000_000;

/// Counters and latencies of one direction: what is sent, or what is consumed.
#[derive(Debug)]
pub struct Tally {
    /// Requests that were meant to be sent before this time are part of the warm-up: their latency does not count.
    from: u64,
    /// What is through, with the warm-up.
    pub all: Count,
    /// What was meant to be sent after the warm-up and is through.
    pub measured: Count,
    /// Requests refused because the server was busy, where that is allowed.
    pub busy: u64,
    /// From the intended time to the answer, ns.
    pub latency: Spread,
    /// From the intended time to when the request was given to the connection, ns; open loop only.
    pub lag: Spread,
    /// From the intended time of a message to when it was received, ns.
    pub end_to_end: Spread,
}

impl Tally {
    /// Nothing counted; latencies count from `from` on.
    #[must_use]
    pub fn new(from: u64) -> Tally {
        Tally {
            from,
            all: Count::default(),
            measured: Count::default(),
            busy: 0,
            latency: Spread::default(),
            lag: Spread::default(),
            end_to_end: Spread::default(),
        }
    }

    /// A request that was meant to be sent at `intended` is answered at `now`.
    pub fn answered(&mut self, intended: u64, now: u64, messages: u64, bytes: u64) {
        self.through(intended, messages, bytes);
        if intended >= self.from {
            self.latency.record(now.saturating_sub(intended));
        }
    }

    /// A request of that time is through whose latency says nothing: one-way, or held by the server.
    pub fn through(&mut self, intended: u64, messages: u64, bytes: u64) {
        self.all.add(messages, bytes);
        if intended >= self.from {
            self.measured.add(messages, bytes);
        }
    }

    /// A request that was meant to be sent at `intended` leaves at `now`.
    pub fn left(&mut self, intended: u64, now: u64) {
        if intended >= self.from {
            self.lag.record(now.saturating_sub(intended));
        }
    }
}

/// How much was done at some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests.
    pub requests: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, messages: u64, bytes: u64) {
        self.requests += 1;
        self.messages += messages;
        self.bytes += bytes;
    }

    /// What came on top of `earlier`.
    #[must_use]
    pub fn since(self, earlier: Count) -> Count {
        Count {
            requests: self.requests.saturating_sub(earlier.requests),
            messages: self.messages.saturating_sub(earlier.messages),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }
}

/// A distribution of times with three significant digits.
#[derive(Debug, Default)]
pub struct Spread {
    /// Made with the first value: a quarter of a megabyte.
    histogram: Option<Histogram<u64>>,
}

impl Spread {
    /// Counts a time in ns.
    pub fn record(&mut self, ns: u64) {
        let new = || Histogram::new_with_bounds(1, MAX_NS, 3).expect("these bounds are valid");
        self.histogram.get_or_insert_with(new).saturating_record(ns);
    }

    /// What is reported; `None` when there was no value.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        let histogram = self.histogram.as_ref()?;
        let us = |ns: u64| ns as f64 / 1000.0;
        let at = |quantile: f64| us(histogram.value_at_quantile(quantile));
        Some(Percentiles {
            count: histogram.len(),
            mean: (histogram.mean() / 10.0).round() / 100.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: us(histogram.max()),
        })
    }
}

/// A distribution in microseconds. With fewer than 10,000 values `p9999` is the largest one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half of them are not above this.
    pub p50: f64,
    /// 90 % are not.
    pub p90: f64,
    /// 99 % are not.
    pub p99: f64,
    /// 99.9 % are not.
    pub p999: f64,
    /// 99.99 % are not.
    pub p9999: f64,
    /// The largest.
    pub max: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_distribution() {
        let mut spread = Spread::default();
        assert!(spread.percentiles().is_none());
        (1..=10_000).for_each(|us| spread.record(us * 1000));
        let found = spread.percentiles().unwrap();
        assert_eq!(found.count, 10_000);
        let near = |got: f64, expect: f64| assert!((got - expect).abs() <= expect / 500.0, "{got} is not {expect}");
        near(found.mean, 5000.5);
        near(found.p50, 5000.0);
        near(found.p90, 9000.0);
        near(found.p99, 9900.0);
        near(found.p999, 9990.0);
        near(found.p9999, 9999.0);
        near(found.max, 10_000.0);
    }

    #[test]
    fn the_warm_up_is_not_measured() {
        let mut tally = Tally::new(100);
        tally.answered(99, 5000, 2, 20);
        tally.answered(100, 1100, 1, 10);
        tally.through(99, 1, 5);
        assert_eq!(tally.all, Count { requests: 3, messages: 4, bytes: 35 });
        assert_eq!(tally.measured, Count { requests: 1, messages: 1, bytes: 10 });
        assert_eq!(tally.latency.percentiles().map(|found| (found.count, found.max)), Some((1, 1.0)));
    }
}
