//! Delay levels: messages wait in SCHEDULE_TOPIC_XXXX, one queue per level, until their time comes.
//! Source: broker/schedule/ScheduleMessageService.java.

use crate::metadata::MetadataFile;
use codec::properties::{Properties, names as property};
use daemon::persist::LoadError;
use parking_lot::Mutex;
use protocol::body::topic::DataVersion;
use protocol::names::SCHEDULE_TOPIC;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// The file, and the answer to GET_ALL_DELAY_OFFSET.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelayOffsets {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Next message to deliver, by level.
    pub offset_table: BTreeMap<i32, i64>,
}

/// The delays in milliseconds behind levels 1, 2, …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayLevels(Vec<i64>);

impl DelayLevels {
    /// Reads `messageDelayLevel`, such as `1s 5s 10s 1m 2h`.
    ///
    /// # Errors
    /// The item that is no number with one of the units s, m, h, d.
    pub fn parse(text: &str) -> Result<DelayLevels, String> {
        let levels: Result<Vec<i64>, String> = text.split_whitespace().map(parse_delay).collect();
        match levels {
            Ok(levels) if levels.is_empty() => Err("messageDelayLevel is empty; give it one delay at least".to_owned()),
            other => other.map(DelayLevels),
        }
    }

    /// The highest level.
    pub fn max_level(&self) -> i32 {
        i32::try_from(self.0.len()).unwrap_or(i32::MAX)
    }

    /// Delay of a level, ms.
    pub fn delay_ms(&self, level: i32) -> Option<i64> {
        self.0.get(usize::try_from(level).ok()?.checked_sub(1)?).copied()
    }

    /// Sends a message to its level's queue instead: keeps its destination in the properties. A level above the highest
    /// is the highest.
    pub fn park(&self, level: i32, topic: &str, queue_id: i32, properties: &mut Properties) -> (&'static str, i32) {
        let level = level.min(self.max_level());
        // A level wins over a time. Source: HookUtils.checkIfTimerMessage.
        for name in [property::TIMER_DELIVER_MS, property::TIMER_DELAY_SEC, property::TIMER_DELAY_MS] {
            properties.remove(name);
        }
        properties.set(property::DELAY, level.to_string());
        properties.set(property::REAL_TOPIC, topic);
        properties.set(property::REAL_QID, queue_id.to_string());
        (SCHEDULE_TOPIC, level - 1)
    }
}

fn parse_delay(item: &str) -> Result<i64, String> {
    let unit_ms = match item.chars().last() {
        Some('s') => 1000,
        Some('m') => 60_000,
        Some('h') => 3_600_000,
        Some('d') => 86_400_000,
        _ => return Err(format!("messageDelayLevel: \"{item}\" has none of the units s, m, h, d")),
    };
    let number = item[..item.len() - 1].parse::<i64>().ok().filter(|number| *number >= 0);
    let number = number.and_then(|number| number.checked_mul(unit_ms));
    number.ok_or_else(|| format!("messageDelayLevel: \"{item}\" is no number with a unit, such as 10s"))
}

/// How far delivery is, per level; and who waits for the next message of a level.
#[derive(Debug)]
pub struct ScheduleOffsets {
    file: MetadataFile,
    state: Mutex<DelayOffsets>,
    changes: AtomicU64,
    arrivals: Vec<Notify>,
}

impl ScheduleOffsets {
    /// Reads the file.
    ///
    /// # Errors
    /// When the file and its backup are unusable.
    pub fn open(store_root: &Path, levels: &DelayLevels) -> Result<ScheduleOffsets, LoadError> {
        let file = MetadataFile::new(store_root, "delayOffset.json");
        let state = Mutex::new(file.load::<DelayOffsets>()?.unwrap_or_default());
        let arrivals = (0..levels.max_level()).map(|_| Notify::new()).collect();
        Ok(ScheduleOffsets { file, state, changes: AtomicU64::new(0), arrivals })
    }

    /// Next message of a level to deliver.
    pub fn get(&self, level: i32) -> Option<i64> {
        self.state.lock().offset_table.get(&level).copied()
    }

    /// Moves a level on.
    pub fn set(&self, level: i32, offset: i64, now_ms: i64) {
        let mut state = self.state.lock();
        if state.offset_table.insert(level, offset) != Some(offset) {
            state.data_version = state.data_version.next(now_ms);
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A message arrived in the queue of a level.
    pub fn arrived(&self, queue_id: i32) {
        if let Some(level) = usize::try_from(queue_id).ok().and_then(|queue| self.arrivals.get(queue)) {
            level.notify_one();
        }
    }

    /// Waits for the next message of a level.
    pub async fn arrival(&self, level: i32) {
        match usize::try_from(level - 1).ok().and_then(|queue| self.arrivals.get(queue)) {
            Some(notify) => notify.notified().await,
            None => std::future::pending().await,
        }
    }

    /// The whole table as it is persisted.
    pub fn snapshot(&self) -> DelayOffsets {
        self.state.lock().clone()
    }

    /// How many changes there were.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Writes the table.
    pub fn persist(&self) {
        self.file.save_or_log(&self.snapshot());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_and_bad_ones_named() {
        let levels = DelayLevels::parse("1s 5s 2m 1h 1d").unwrap();
        assert_eq!(levels.max_level(), 5);
        assert_eq!((levels.delay_ms(1), levels.delay_ms(4)), (Some(1000), Some(3_600_000)));
        assert_eq!((levels.delay_ms(0), levels.delay_ms(6), levels.delay_ms(-1)), (None, None, None));
        for bad in ["", "1", "xs", "-1s", "1s 99999999999999999h"] {
            assert!(DelayLevels::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_parked_message_keeps_its_destination() {
        let levels = DelayLevels::parse("1s 2s").unwrap();
        let mut properties = Properties::new();
        assert_eq!(levels.park(7, "T", 3, &mut properties), (SCHEDULE_TOPIC, 1));
        assert_eq!(properties.get(property::DELAY), Some("2"));
        assert_eq!(properties.get(property::REAL_TOPIC), Some("T"));
        assert_eq!(properties.get(property::REAL_QID), Some("3"));
    }
}
