//! How far a group is: in memory, and saved at the brokers (cluster) or in a file (broadcast).

use crate::error::ClientError;
use crate::instance::ClientInstance;
use parking_lot::Mutex;
use protocol::body::client::ResetOffsetBody;
use protocol::body::{MessageQueue, MessageQueueKey};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Where offsets are saved.
pub(crate) enum Saved {
    /// At the master of each queue.
    AtBrokers,
    /// In this file, of Java's form: `{"offsetTable":{{"brokerName":…}:offset}}`.
    InFile(PathBuf),
}

/// The offsets of one group of this client.
pub(crate) struct OffsetStore {
    group: String,
    saved: Saved,
    table: Mutex<HashMap<MessageQueue, i64>>,
}

impl OffsetStore {
    pub(crate) fn new(group: &str, saved: Saved) -> OffsetStore {
        OffsetStore { group: group.to_owned(), saved, table: Mutex::default() }
    }

    /// Sets the offset of the next message to consume; `forward_only` keeps a higher one.
    pub(crate) fn update(&self, queue: &MessageQueue, offset: i64, forward_only: bool) {
        let mut table = self.table.lock();
        match table.get_mut(queue) {
            Some(known) if forward_only => *known = offset.max(*known),
            Some(known) => *known = offset,
            None => {
                table.insert(queue.clone(), offset);
            }
        }
    }

    /// The offset in memory.
    pub(crate) fn get(&self, queue: &MessageQueue) -> Option<i64> {
        self.table.lock().get(queue).copied()
    }

    /// All offsets in memory of a topic, or of all topics when it is empty.
    pub(crate) fn all_of(&self, topic: &str) -> BTreeMap<MessageQueue, i64> {
        let table = self.table.lock();
        let of_topic = table.iter().filter(|(queue, _)| topic.is_empty() || queue.topic == topic);
        of_topic.map(|(queue, offset)| (queue.clone(), *offset)).collect()
    }

    /// Forgets a queue; what is saved stays.
    pub(crate) fn forget(&self, queue: &MessageQueue) {
        self.table.lock().remove(queue);
    }

    /// The saved offset; `None` when there never was one.
    pub(crate) async fn load(
        &self,
        instance: &ClientInstance,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, ClientError> {
        let offset = match &self.saved {
            Saved::AtBrokers => instance.query_offset(&self.group, queue).await?,
            Saved::InFile(path) => read(path)?.get(queue).copied(),
        };
        if let Some(offset) = offset {
            self.update(queue, offset, false);
        }
        Ok(offset)
    }

    /// Saves the offsets of these queues; failures are logged, since the next round tries again.
    pub(crate) async fn save(&self, instance: &ClientInstance, queues: &[MessageQueue]) {
        let offsets: Vec<_> = queues.iter().filter_map(|queue| Some((queue.clone(), self.get(queue)?))).collect();
        if offsets.is_empty() {
            return;
        }
        match &self.saved {
            Saved::AtBrokers => {
                for (queue, offset) in offsets {
                    if let Err(error) = self.save_at_broker(instance, &queue, offset).await {
                        tracing::warn!(group = self.group, ?queue, offset, %error, "offset not saved");
                    }
                }
            }
            Saved::InFile(path) => {
                let saved = read(path).and_then(|mut all| {
                    all.extend(offsets);
                    write(path, all)
                });
                if let Err(error) = saved {
                    tracing::error!(group = self.group, %error, "offsets not saved");
                }
            }
        }
    }

    async fn save_at_broker(
        &self,
        instance: &ClientInstance,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), ClientError> {
        let addr = instance.queue_master(queue).await?;
        instance.brokers().update_offset(&addr, &self.group, queue, offset, true).await
    }
}

fn read(path: &Path) -> Result<BTreeMap<MessageQueue, i64>, ClientError> {
    let bad = |reason: String| {
        ClientError::Invalid(format!(
            "offsets of a broadcast consumer in {}: {reason}; mend or remove the file",
            path.display()
        ))
    };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(bad(error.to_string())),
    };
    let body: ResetOffsetBody = codec::json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    Ok(body.offset_table.into_iter().map(|(queue, offset)| (queue.0, offset)).collect())
}

/// Replaces the file as a whole, so that a crash leaves the old or the new one.
fn write(path: &Path, offsets: BTreeMap<MessageQueue, i64>) -> Result<(), ClientError> {
    let body = ResetOffsetBody {
        offset_table: offsets.into_iter().map(|(queue, offset)| (MessageQueueKey(queue), offset)).collect(),
    };
    let new = path.with_extension("json.tmp");
    let replace = || {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::write(&new, protocol::body::encode(&body))?;
        std::fs::rename(&new, path)
    };
    replace().map_err(|error| ClientError::Invalid(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(queue_id: i32) -> MessageQueue {
        MessageQueue { broker_name: "a".into(), queue_id, topic: "T".into() }
    }

    #[test]
    fn only_forward_unless_told() {
        let store = OffsetStore::new("g", Saved::AtBrokers);
        store.update(&queue(0), 5, true);
        store.update(&queue(0), 3, true);
        assert_eq!(store.get(&queue(0)), Some(5));
        store.update(&queue(0), 3, false);
        assert_eq!(store.get(&queue(0)), Some(3));
        assert_eq!(store.all_of("T").len(), 1);
        assert_eq!(store.all_of("U").len(), 0);
    }

    #[test]
    fn files_keep_all_queues_and_bad_ones_are_named() {
        let dir = std::env::temp_dir().join(format!("ferrocket-offsets-{}", std::process::id()));
        let path = dir.join("g").join("offsets.json");
        assert!(read(&path).unwrap().is_empty());
        let offsets = BTreeMap::from([(queue(0), 7), (queue(1), 8)]);
        write(&path, offsets.clone()).unwrap();
        assert_eq!(read(&path).unwrap(), offsets);
        std::fs::write(&path, "{").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("offsets.json"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
