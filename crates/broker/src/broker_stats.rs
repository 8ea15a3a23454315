//! Counters behind VIEW_BROKER_STATS_DATA and the rates in GET_BROKER_RUNTIME_INFO and GET_CONSUME_STATS.

use foldhash::HashMap;
use parking_lot::{Mutex, RwLock};
use protocol::body::admin::{BrokerStatsData, BrokerStatsItem};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Snapshots are taken every ten seconds; the last day of them is thinned out.
pub const SAMPLE_SECONDS: i64 = 10;
const MINUTE_SAMPLES: usize = 7;
const HOUR_SAMPLES: usize = 7;
const DAY_SAMPLES: usize = 25;

/// Names of counters. Source: common/stats/Stats.java.
pub mod names {
    /// Messages put, by topic.
    pub const TOPIC_PUT_NUMS: &str = "TOPIC_PUT_NUMS";
    /// Bytes put, by topic.
    pub const TOPIC_PUT_SIZE: &str = "TOPIC_PUT_SIZE";
    /// Messages got, by topic@group.
    pub const GROUP_GET_NUMS: &str = "GROUP_GET_NUMS";
    /// Bytes got, by topic@group.
    pub const GROUP_GET_SIZE: &str = "GROUP_GET_SIZE";
    /// Messages sent back, by topic@group.
    pub const SNDBCK_PUT_NUMS: &str = "SNDBCK_PUT_NUMS";
    /// Check points, by topic@group.
    pub const GROUP_CK_NUMS: &str = "GROUP_CK_NUMS";
    /// Messages acknowledged, by topic@group.
    pub const GROUP_ACK_NUMS: &str = "GROUP_ACK_NUMS";
    /// Messages put, by cluster.
    pub const BROKER_PUT_NUMS: &str = "BROKER_PUT_NUMS";
    /// Messages got, by cluster.
    pub const BROKER_GET_NUMS: &str = "BROKER_GET_NUMS";
}

/// One counter and its past.
#[derive(Debug, Default)]
pub struct StatsItem {
    value: AtomicI64,
    times: AtomicI64,
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    minute: VecDeque<Sample>,
    hour: VecDeque<Sample>,
    day: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at_ms: i64,
    value: i64,
    times: i64,
}

impl StatsItem {
    /// Counts `value` in `times` events.
    pub fn add(&self, value: i64, times: i64) {
        self.value.fetch_add(value, Ordering::Relaxed);
        self.times.fetch_add(times, Ordering::Relaxed);
    }

    /// Sum since the start.
    pub fn total(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }

    fn sample(&self, now_ms: i64) {
        let sample = Sample {
            at_ms: now_ms,
            value: self.value.load(Ordering::Relaxed),
            times: self.times.load(Ordering::Relaxed),
        };
        let mut past = self.past.lock();
        push(&mut past.minute, sample, SAMPLE_SECONDS, MINUTE_SAMPLES);
        push(&mut past.hour, sample, 600, HOUR_SAMPLES);
        push(&mut past.day, sample, 3600, DAY_SAMPLES);
    }

    /// Sum, rate and average of the last minute, hour and day.
    pub fn data(&self) -> BrokerStatsData {
        let past = self.past.lock();
        BrokerStatsData { stats_minute: span(&past.minute), stats_hour: span(&past.hour), stats_day: span(&past.day) }
    }
}

fn push(samples: &mut VecDeque<Sample>, sample: Sample, every_seconds: i64, most: usize) {
    if samples.back().is_some_and(|last| sample.at_ms - last.at_ms < every_seconds * 1000 - 500) {
        return;
    }
    if samples.len() == most {
        samples.pop_front();
    }
    samples.push_back(sample);
}

#[expect(clippy::cast_precision_loss, reason = "rates are rounded for people")]
fn span(samples: &VecDeque<Sample>) -> BrokerStatsItem {
    let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return BrokerStatsItem::default() };
    let (sum, times, ms) = (last.value - first.value, last.times - first.times, last.at_ms - first.at_ms);
    BrokerStatsItem {
        sum,
        tps: if ms > 0 { sum as f64 * 1000.0 / ms as f64 } else { 0.0 },
        avgpt: if times > 0 { sum as f64 / times as f64 } else { 0.0 },
    }
}

type Items = HashMap<String, Arc<StatsItem>>;

/// Counters by name and key.
#[derive(Debug, Default)]
pub struct BrokerStats {
    items: RwLock<HashMap<&'static str, Items>>,
    /// What groups get from light queues is counted together.
    joins_lmq: bool,
}

impl BrokerStats {
    /// No counters. With `joins_lmq`, those by topic and group have one key for all light queues, and for the groups that
    /// consume them.
    pub fn new(joins_lmq: bool) -> BrokerStats {
        BrokerStats { joins_lmq, ..BrokerStats::default() }
    }

    /// Counts.
    pub fn add(&self, name: &'static str, key: &str, value: i64, times: i64) {
        let joined = self.joined(key);
        let key = joined.as_deref().unwrap_or(key);
        if let Some(item) = self.items.read().get(name).and_then(|items| items.get(key)) {
            return item.add(value, times);
        }
        let item = self.items.write().entry(name).or_default().entry(key.to_owned()).or_default().clone();
        item.add(value, times);
    }

    /// A counter; `None` when it never counted.
    pub fn get(&self, name: &str, key: &str) -> Option<Arc<StatsItem>> {
        let joined = self.joined(key);
        self.items.read().get(name)?.get(joined.as_deref().unwrap_or(key)).cloned()
    }

    /// The key that stands for a `topic@group` with light queues. Source: LmqBrokerStatsManager.
    fn joined(&self, key: &str) -> Option<String> {
        if !self.joins_lmq || !key.contains(store::LMQ_PREFIX) {
            return None;
        }
        let (topic, group) = key.split_once('@')?;
        let join = |name| if store::is_lmq(name) { store::LMQ_PREFIX } else { name };
        Some(format!("{}@{}", join(topic), join(group)))
    }

    /// Messages a second over the last minute.
    pub fn tps(&self, name: &str, key: &str) -> f64 {
        self.get(name, key).map_or(0.0, |item| item.data().stats_minute.tps)
    }

    /// Takes a snapshot of all counters.
    pub fn sample(&self, now_ms: i64) {
        for items in self.items.read().values() {
            items.values().for_each(|item| item.sample(now_ms));
        }
    }

    /// Forgets the counters of a topic or group: keys that are `name`, `name@…` or `…@name`.
    pub fn forget(&self, name: &str) {
        for items in self.items.write().values_mut() {
            items.retain(|key, _| !key.split('@').any(|part| part == name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_the_last_minute() {
        let stats = BrokerStats::new(false);
        for tick in 0..10 {
            stats.add(names::TOPIC_PUT_NUMS, "T", 20, 10);
            stats.sample(tick * 10_000);
        }
        let minute = stats.get(names::TOPIC_PUT_NUMS, "T").unwrap().data().stats_minute;
        assert_eq!((minute.sum, minute.tps, minute.avgpt), (120, 2.0, 2.0));
        assert_eq!(stats.tps(names::TOPIC_PUT_NUMS, "U"), 0.0);
        stats.forget("T");
        assert!(stats.get(names::TOPIC_PUT_NUMS, "T").is_none());
    }
}
