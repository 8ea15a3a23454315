//! Messages for arbitrary times: which messages wait, and what of the timer is kept as metadata or shown.
//! Source: broker/util/HookUtils.java, store/timer/TimerMetrics.java.

use crate::config::BrokerOptions;
use crate::metadata::MetadataFile;
use codec::properties::{Properties, names as property};
use daemon::persist::LoadError;
use parking_lot::Mutex;
use protocol::body::topic::DataVersion;
use protocol::names::TIMER_TOPIC;
use remoting::clock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use store::timer::{TimerConfig, TimerStatus, TimerStore, TimerWake, TimingCount};
use store::{MessageStore, OpenError};

/// `config/timermetrics`, and the answer to GET_TIMER_METRICS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimerMetrics {
    /// Version of the table.
    pub data_version: DataVersion,
    /// How many messages wait, by topic.
    pub timing_count: BTreeMap<String, Metric>,
}

/// How many messages of a topic wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metric {
    /// Messages.
    pub count: i64,
    /// When that was changed, ms.
    pub time_stamp: i64,
}

/// Why a message for a time is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerRefusal {
    /// `timerWheelEnable` is false.
    NotEnabled,
    /// The time cannot be read, is too far off, or is over for a message that takes another back.
    Illegal {
        /// Longest delay, ms.
        max_ms: i64,
    },
    /// Too many are due at the same time.
    FlowControl {
        /// `timerCongestNumEachSlot`.
        limit: i64,
    },
}

/// The timer of the broker.
pub struct Timer {
    /// `None`: timerWheelEnable is false.
    store: Option<TimerStore>,
    file: MetadataFile,
    /// Runs through all numbers below 1000.
    dice: AtomicU32,
    /// Version and number of changes of the counts when they were looked at last, and when they were written.
    version: Mutex<(DataVersion, u64, Option<u64>)>,
}

impl Timer {
    /// Opens the timer, if it is on.
    ///
    /// # Errors
    /// When its files, or the counts and their backup, are unusable.
    pub fn open<E: From<OpenError> + From<LoadError>>(
        root: &Path,
        store: &Arc<MessageStore>,
        options: &BrokerOptions,
        wake: Arc<TimerWake>,
    ) -> Result<Timer, E> {
        let file = MetadataFile::new(root, "timermetrics");
        let mut version = DataVersion { timestamp: clock::now_ms(), ..DataVersion::default() };
        let settings = &options.store;
        if !settings.timer_wheel_enable {
            return Ok(Timer {
                store: None,
                file,
                dice: AtomicU32::new(0),
                version: Mutex::new((version, 0, Some(0))),
            });
        }
        let before = file.load::<TimerMetrics>()?;
        let config = TimerConfig {
            precision_ms: settings.timer_precision_ms.into(),
            timer_roll_window_slot: settings.timer_roll_window_slot.into(),
            mapped_file_size_timer_log: u64::try_from(settings.mapped_file_size_timer_log).unwrap_or(0),
            flush_interval_ms: u64::try_from(settings.timer_flush_interval_ms).unwrap_or(1000),
        };
        let timer = TimerStore::open(store, &config, wake)?;
        if let Some(before) = before {
            version = before.data_version;
            let counts = before.timing_count.into_iter();
            let counts = counts
                .map(|(topic, Metric { count, time_stamp: timestamp })| (topic, TimingCount { count, timestamp }));
            timer.restore_timing_counts(counts.collect());
        }
        let timer =
            Timer { store: Some(timer), file, dice: AtomicU32::new(0), version: Mutex::new((version, 0, None)) };
        timer.apply(options);
        Ok(timer)
    }

    /// Takes over settings that may change.
    pub fn apply(&self, options: &BrokerOptions) {
        if let Some(store) = &self.store {
            store.set_stopped(options.store.timer_stop_enqueue, options.store.timer_stop_dequeue);
            store.set_key_with_topic(options.store.append_topic_for_timer_delete_key);
        }
    }

    /// Sends a message for a later time to the timer topic: keeps its destination and its time in the properties. `None`: it
    /// goes where it was meant to.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub fn park(
        &self,
        options: &BrokerOptions,
        topic: &str,
        queue_id: i32,
        properties: &mut Properties,
    ) -> Result<Option<(&'static str, i32)>, TimerRefusal> {
        let given = [property::TIMER_DELAY_SEC, property::TIMER_DELAY_MS, property::TIMER_DELIVER_MS];
        let given = given.into_iter().find_map(|name| properties.get(name).map(|value| (name, value)));
        let Some((name, value)) = given else { return Ok(None) };
        // A time that was set already: the message has waited, and came back.
        if topic == TIMER_TOPIC || properties.get(property::TIMER_OUT_MS).is_some() {
            return Ok(None);
        }
        let Some(store) = &self.store else { return Err(TimerRefusal::NotEnabled) };
        let settings = &options.store;
        let (now_ms, max_ms) = (clock::now_ms(), i64::from(settings.timer_max_delay_sec) * 1000);
        let illegal = TimerRefusal::Illegal { max_ms };
        let value: i64 = value.parse().map_err(|_| illegal)?;
        let deliver_ms = match name {
            property::TIMER_DELAY_SEC => value.checked_mul(1000).and_then(|delay| now_ms.checked_add(delay)),
            property::TIMER_DELAY_MS => now_ms.checked_add(value),
            _ => Some(value),
        };
        let deliver_ms = deliver_ms.ok_or(illegal)?;
        if deliver_ms <= now_ms {
            return if properties.get(property::TIMER_DEL_UNIQKEY).is_some() { Err(illegal) } else { Ok(None) };
        }
        if deliver_ms - now_ms > max_ms {
            return Err(illegal);
        }
        // A slot is delivered when it is over.
        let precision_ms = i64::from(settings.timer_precision_ms.max(1));
        let out_ms = (deliver_ms - 1).div_euclid(precision_ms) * precision_ms;
        self.admit(store, settings.timer_congest_num_each_slot, out_ms)?;
        properties.set(property::TIMER_OUT_MS, out_ms.to_string());
        properties.set(property::REAL_TOPIC, topic);
        properties.set(property::REAL_QID, queue_id.to_string());
        Ok(Some((TIMER_TOPIC, 0)))
    }

    /// Up to the limit of a slot all are admitted, from twice that on none. In between it is left to chance: as in Java, the
    /// fewer the less the limit is passed. Source: TimerMessageStore.isReject.
    fn admit(&self, store: &TimerStore, limit: i32, out_ms: i64) -> Result<(), TimerRefusal> {
        let limit = i64::from(limit);
        if limit == i64::from(i32::MAX) {
            return Ok(());
        }
        let over = store.waiting_at(out_ms) - limit;
        let chance = self.dice.fetch_add(617, Ordering::Relaxed) % 1000;
        if over > 0 && (over >= limit || i64::from(chance) * limit > 1000 * over) {
            return Err(TimerRefusal::FlowControl { limit });
        }
        Ok(())
    }

    /// How it is doing; zeroes when it is off.
    pub fn status(&self) -> TimerStatus {
        self.store.as_ref().map(TimerStore::status).unwrap_or_default()
    }

    /// The answer to GET_TIMER_CHECK_POINT.
    pub fn checkpoint(&self) -> Option<Vec<u8>> {
        self.store.as_ref().map(|store| store.checkpoint().encode().to_vec())
    }

    /// The answer to GET_TIMER_METRICS.
    pub fn metrics(&self) -> Option<TimerMetrics> {
        let store = self.store.as_ref()?;
        let (changes, counts) = store.timing_counts();
        let mut version = self.version.lock();
        if changes != version.1 {
            let more = i64::try_from(changes - version.1).unwrap_or(0);
            version.0.counter = version.0.counter.wrapping_add(more);
            version.0.timestamp = counts.values().map(|count| count.timestamp).fold(version.0.timestamp, i64::max);
            version.1 = changes;
        }
        let counts = counts.into_iter();
        let counts =
            counts.map(|(topic, TimingCount { count, timestamp: time_stamp })| (topic, Metric { count, time_stamp }));
        Some(TimerMetrics { data_version: version.0, timing_count: counts.collect() })
    }

    /// Writes the counts if they have changed.
    pub fn persist(&self) {
        let Some(metrics) = self.metrics() else { return };
        let changes = self.version.lock().1;
        if self.version.lock().2.replace(changes) != Some(changes) {
            self.file.save_or_log(&metrics);
        }
    }

    /// The topic was deleted.
    pub fn forget(&self, topic: &str) {
        if let Some(store) = &self.store {
            store.remove_timing_count(topic);
        }
    }

    /// Stops it; before the store.
    pub fn shutdown(&self) {
        if let Some(store) = &self.store {
            store.shutdown();
        }
        self.persist();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{NoListener, StoreConfig};

    fn open(dir: &Path, options: &BrokerOptions) -> (Arc<MessageStore>, Timer) {
        let config = StoreConfig { mapped_file_size_commit_log: 1 << 20, ..StoreConfig::at(dir) };
        let store = Arc::new(MessageStore::open(config, Arc::new(NoListener)).unwrap());
        let timer = Timer::open::<crate::parts::PartsError>(dir, &store, options, Arc::default()).unwrap();
        (store, timer)
    }

    fn park(
        timer: &Timer,
        options: &BrokerOptions,
        given: &[(&str, String)],
    ) -> (Result<bool, TimerRefusal>, Properties) {
        let mut properties = Properties::new();
        given.iter().for_each(|(name, value)| properties.set(name, value.as_str()));
        let parked = timer.park(options, "T", 3, &mut properties);
        (parked.map(|parked| parked == Some((TIMER_TOPIC, 0))), properties)
    }

    #[test]
    fn what_waits_and_what_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let options = BrokerOptions::default();
        let (_store, timer) = open(dir.path(), &options);
        let illegal = Err(TimerRefusal::Illegal { max_ms: 259_200_000 });
        let now = clock::now_ms();
        let [sec, ms, at] = [property::TIMER_DELAY_SEC, property::TIMER_DELAY_MS, property::TIMER_DELIVER_MS];
        for (given, expect) in [
            (vec![], Ok(false)),
            (vec![(sec, "2".to_owned())], Ok(true)),
            (vec![(ms, "2000".to_owned())], Ok(true)),
            (vec![(at, (now + 5000).to_string())], Ok(true)),
            (vec![(sec, "0".to_owned())], Ok(false)),
            (vec![(sec, "-5".to_owned())], Ok(false)),
            (vec![(at, "17".to_owned())], Ok(false)),
            (vec![(sec, "2".to_owned()), (property::TIMER_OUT_MS, "1".to_owned())], Ok(false)),
            (vec![(sec, "259200".to_owned())], Ok(true)),
            (vec![(sec, "259201".to_owned())], illegal),
            (vec![(sec, i64::MAX.to_string())], illegal),
            (vec![(ms, "soon".to_owned())], illegal),
            (vec![(at, "17".to_owned()), (property::TIMER_DEL_UNIQKEY, "k".to_owned())], illegal),
        ] {
            assert_eq!(park(&timer, &options, &given).0, expect, "{given:?}");
        }
        // Seconds win over milliseconds, those over a time.
        let given = [(at, (now + 50_000).to_string()), (ms, "40000".to_owned()), (sec, "20".to_owned())];
        let (_, properties) = park(&timer, &options, &given);
        let out: i64 = properties.get(property::TIMER_OUT_MS).unwrap().parse().unwrap();
        assert!((now + 18_000..now + 30_000).contains(&out));
        assert_eq!((properties.get(property::REAL_TOPIC), properties.get(property::REAL_QID)), (Some("T"), Some("3")));
        for (deliver, out) in [(0, -1000), (1, 0), (999, 0), (1000, 0), (1001, 1000)] {
            let second = (now / 1000 + 100) * 1000;
            let (_, properties) = park(&timer, &options, &[(at, (second + deliver).to_string())]);
            assert_eq!(properties.get(property::TIMER_OUT_MS), Some((second + out).to_string().as_str()), "{deliver}");
        }
    }

    #[test]
    fn off_it_refuses_and_leaves_the_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = BrokerOptions::default();
        options.store.timer_wheel_enable = false;
        let (_store, timer) = open(dir.path(), &options);
        let given = [(property::TIMER_DELAY_SEC, "2".to_owned())];
        assert_eq!(park(&timer, &options, &given).0, Err(TimerRefusal::NotEnabled));
        timer.shutdown();
        assert!(!dir.path().join("timerwheel").exists() && !dir.path().join("config/timermetrics").exists());
    }

    #[test]
    fn counts_are_kept_in_java_s_form() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/5.5.0-formats/config/timermetrics");
        let golden = std::fs::read(golden).unwrap();
        let metrics: TimerMetrics = codec::json::from_slice(&golden).unwrap();
        assert_eq!(protocol::body::encode(&metrics), golden);
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("config")).unwrap();
        let text = r#"{"dataVersion":{"counter":7,"stateVersion":0,"timestamp":5},"timingCount":{"T":{"count":3,"timeStamp":4}}}"#;
        std::fs::write(dir.path().join("config/timermetrics"), text).unwrap();
        let (_store, timer) = open(dir.path(), &BrokerOptions::default());
        timer.shutdown();
        assert_eq!(std::fs::read_to_string(dir.path().join("config/timermetrics")).unwrap(), text);
        timer.forget("T");
        let metrics = timer.metrics().unwrap();
        assert_eq!((metrics.data_version.counter, metrics.timing_count.len()), (8, 0));
    }
}
