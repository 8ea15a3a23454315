//! How many half messages of each topic wait: `config/transactionMetrics`. Source: TransactionMetrics.java.

use crate::metadata::MetadataFile;
use parking_lot::Mutex;
use protocol::body::topic::DataVersion;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TransactionCounts {
    /// Version of the table.
    pub data_version: DataVersion,
    /// By the topic that the messages are meant for.
    pub transaction_count: BTreeMap<String, TransactionCount>,
}

/// Of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TransactionCount {
    /// Half messages that nobody has decided over. A decision that comes twice counts twice, as in Java.
    pub count: i64,
    /// When it changed last, ms.
    pub time_stamp: i64,
}

/// The counts and their file.
#[derive(Debug)]
pub struct TransactionMetrics {
    file: MetadataFile,
    counts: Mutex<TransactionCounts>,
}

impl TransactionMetrics {
    /// Reads the file. Nothing depends on the counts: when the file and its backup are unusable they begin anew.
    pub fn open(store_root: &Path) -> TransactionMetrics {
        let file = MetadataFile::new(store_root, "transactionMetrics");
        let loaded = file.load().unwrap_or_else(|error| {
            tracing::warn!(%error, "half messages are counted anew");
            None
        });
        TransactionMetrics { file, counts: Mutex::new(loaded.unwrap_or_default()) }
    }

    /// So many more wait for a decision.
    pub fn add(&self, topic: &str, more: i64, now_ms: i64) {
        let mut counts = self.counts.lock();
        counts.data_version = counts.data_version.next(now_ms);
        let table = &mut counts.transaction_count;
        let count = match table.get_mut(topic) {
            Some(count) => count,
            None => table.entry(topic.to_owned()).or_default(),
        };
        *count = TransactionCount { count: count.count.saturating_add(more), time_stamp: now_ms };
    }

    /// Everything as it is persisted.
    pub fn snapshot(&self) -> TransactionCounts {
        self.counts.lock().clone()
    }

    /// How many changes there were.
    pub fn changes(&self) -> i64 {
        self.counts.lock().data_version.counter
    }

    /// Writes the file.
    pub fn persist(&self) {
        self.file.save_or_log(&self.snapshot());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_in_javas_shape() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = TransactionMetrics::open(dir.path());
        metrics.add("T", 1, 5);
        metrics.add("T", 1, 6);
        metrics.add("T", -1, 7);
        assert_eq!(metrics.changes(), 3);
        metrics.persist();
        let text = std::fs::read_to_string(dir.path().join("config/transactionMetrics")).unwrap();
        assert!(text.contains(r#""transactionCount":{"T":{"count":1,"timeStamp":7}}"#), "{text}");
        assert_eq!(TransactionMetrics::open(dir.path()).snapshot(), metrics.snapshot());
    }
}
