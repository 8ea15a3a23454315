//! How far consumer groups are: `consumerOffset.json`.

use crate::metadata::MetadataFile;
use daemon::persist::LoadError;
use foldhash::HashMap;
use parking_lot::RwLock;
use protocol::body::topic::DataVersion;
use remoting::clock;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Between topic and group in a key of the file.
const SEPARATOR: char = '@';
/// The version of the table rises with every so many commits. Source: consumerOffsetUpdateVersionStep.
const VERSION_STEP: u64 = 500;
/// Of a light queue.
const LMQ_QUEUE_ID: i32 = 0;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerOffsets {
    /// Version of the table.
    pub data_version: DataVersion,
    /// The same for groups that consume light queues, by `topic@group`: each of these has one queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lmq_offset_table: Option<BTreeMap<String, i64>>,
    /// Next message to consume, by `topic@group` and queue.
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// The answer to GET_ALL_CONSUMER_OFFSET: the file, and what Java adds to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllConsumerOffsets {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Topics in which a group has offsets.
    pub group_topic_map: BTreeMap<String, BTreeSet<String>>,
    /// Next message to consume, by `topic@group` and queue.
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Where the last pull ended, by `topic@group` and queue.
    pub pull_offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

type Queues = HashMap<i32, i64>;
/// By group, then topic.
type Table = HashMap<String, HashMap<String, Queues>>;

/// Offsets by group, topic and queue.
#[derive(Debug)]
pub struct ConsumerOffsetManager {
    file: MetadataFile,
    /// Whether groups can be ones of light queues.
    lmq: bool,
    state: RwLock<State>,
    commits: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    offsets: Table,
    /// Set by administrators, handed out by the next pull.
    resets: Table,
    /// Where the last pull of a queue ended.
    pulled: Table,
    version: DataVersion,
}

impl ConsumerOffsetManager {
    /// Reads the file: with `lmq` another one, as in Java, which has offsets of light queues besides. Unlike Java's, ours
    /// begins with what the first has.
    ///
    /// # Errors
    /// When the file and its backup are unusable.
    pub fn open(store_root: &Path, lmq: bool) -> Result<ConsumerOffsetManager, LoadError> {
        let plain = MetadataFile::new(store_root, "consumerOffset.json");
        let file = if lmq { MetadataFile::new(store_root, "lmqConsumerOffset.json") } else { plain };
        let loaded = match file.load::<ConsumerOffsets>()? {
            None if lmq => MetadataFile::new(store_root, "consumerOffset.json").load()?,
            loaded => loaded,
        };
        let loaded = loaded.unwrap_or_default();
        let mut state = State { version: loaded.data_version, ..State::default() };
        let light = loaded.lmq_offset_table.unwrap_or_default().into_iter();
        let light = light.map(|(key, offset)| (key, BTreeMap::from([(LMQ_QUEUE_ID, offset)])));
        for (key, queues) in loaded.offset_table.into_iter().chain(light) {
            // Names of topics cannot hold the separator; groups that stand for broadcast offsets do.
            if let Some((topic, group)) = key.split_once(SEPARATOR) {
                let topics = state.offsets.entry(group.to_owned()).or_default();
                topics.insert(topic.to_owned(), queues.into_iter().collect());
            }
        }
        Ok(ConsumerOffsetManager { file, lmq, state: RwLock::new(state), commits: AtomicU64::new(0) })
    }

    /// A group of light queues has one offset for a topic, whatever the queue is said to be. Source:
    /// LmqConsumerOffsetManager.
    fn queue(&self, group: &str, queue_id: i32) -> i32 {
        if self.lmq && store::is_lmq(group) { LMQ_QUEUE_ID } else { queue_id }
    }

    /// The committed offset.
    pub fn query(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        let queue_id = self.queue(group, queue_id);
        lookup(&self.state.read().offsets, group, topic, queue_id)
    }

    /// All committed offsets of a group in a topic, by queue.
    pub fn query_all(&self, group: &str, topic: &str) -> Option<BTreeMap<i32, i64>> {
        let state = self.state.read();
        state.offsets.get(group)?.get(topic).map(|queues| queues.iter().map(|(queue, at)| (*queue, *at)).collect())
    }

    /// Commits an offset, as a consumer does.
    pub fn commit(&self, group: &str, topic: &str, queue_id: i32, offset: i64) {
        let queue_id = self.queue(group, queue_id);
        let mut state = self.state.write();
        insert(&mut state.offsets, group, topic, queue_id, offset);
        if self.commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(VERSION_STEP) {
            state.version = state.version.next(clock::now_ms());
        }
    }

    /// Remembers where a pull ended.
    pub fn commit_pull(&self, group: &str, topic: &str, queue_id: i32, offset: i64) {
        insert(&mut self.state.write().pulled, group, topic, queue_id, offset);
    }

    /// Where the last pull ended.
    pub fn query_pull(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        lookup(&self.state.read().pulled, group, topic, queue_id)
    }

    /// Sets an offset for the next pull to hand out; commits are ignored until then.
    pub fn assign_reset(&self, group: &str, topic: &str, queue_id: i32, offset: i64) {
        let mut state = self.state.write();
        insert(&mut state.resets, group, topic, queue_id, offset);
        insert(&mut state.offsets, group, topic, queue_id, offset);
        self.commits.fetch_add(1, Ordering::Relaxed);
        state.version = state.version.next(clock::now_ms());
    }

    /// True while a reset was not handed out.
    pub fn has_reset(&self, group: &str, topic: &str, queue_id: i32) -> bool {
        let state = self.state.read();
        !state.resets.is_empty() && lookup(&state.resets, group, topic, queue_id).is_some()
    }

    /// Hands a reset out, once.
    pub fn take_reset(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        if !self.has_reset(group, topic, queue_id) {
            return None;
        }
        let mut state = self.state.write();
        let topics = state.resets.get_mut(group)?;
        let queues = topics.get_mut(topic)?;
        let offset = queues.remove(&queue_id);
        if queues.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            state.resets.remove(group);
        }
        offset
    }

    /// Topics in which a group has offsets.
    pub fn topics_of(&self, group: &str) -> BTreeSet<String> {
        let state = self.state.read();
        state.offsets.get(group).into_iter().flat_map(|topics| topics.keys().cloned()).collect()
    }

    /// Groups that have offsets in a topic, without those that stand for broadcast offsets.
    pub fn groups_of(&self, topic: &str) -> BTreeSet<String> {
        let state = self.state.read();
        let of_topic = state.offsets.iter().filter(|(_, topics)| topics.contains_key(topic));
        of_topic.filter(|(group, _)| !group.contains(SEPARATOR)).map(|(group, _)| group.clone()).collect()
    }

    /// Copies the offsets of one group in a topic to another group.
    pub fn clone_offsets(&self, from: &str, to: &str, topic: &str) {
        let mut state = self.state.write();
        let Some(queues) = state.offsets.get(from).and_then(|topics| topics.get(topic)).cloned() else { return };
        state.offsets.entry(to.to_owned()).or_default().insert(topic.to_owned(), queues);
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets all offsets of a group.
    pub fn remove_group(&self, group: &str) {
        let mut state = self.state.write();
        for table in state.tables() {
            table.remove(group);
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets all offsets in a topic.
    pub fn remove_topic(&self, topic: &str) {
        let mut state = self.state.write();
        for table in state.tables() {
            table.retain(|_, topics| {
                topics.remove(topic);
                !topics.is_empty()
            });
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// The whole table as it is persisted.
    pub fn snapshot(&self) -> ConsumerOffsets {
        let state = self.state.read();
        let (mut table, mut light) = (BTreeMap::new(), BTreeMap::new());
        for (group, topics) in &state.offsets {
            for (topic, queues) in topics {
                let key = format!("{topic}{SEPARATOR}{group}");
                let offset = queues.get(&LMQ_QUEUE_ID).filter(|_| self.lmq && store::is_lmq(group));
                if let Some(offset) = offset {
                    light.insert(key, *offset);
                } else {
                    table.insert(key, queues.iter().map(|(queue, offset)| (*queue, *offset)).collect());
                }
            }
        }
        let lmq_offset_table = self.lmq.then_some(light);
        ConsumerOffsets { data_version: state.version, lmq_offset_table, offset_table: table }
    }

    /// The whole table as administrators see it.
    pub fn shown(&self) -> AllConsumerOffsets {
        let state = self.state.read();
        let groups = state.offsets.iter().filter(|(group, _)| !group.contains(SEPARATOR));
        AllConsumerOffsets {
            data_version: state.version,
            group_topic_map: groups.map(|(group, topics)| (group.clone(), topics.keys().cloned().collect())).collect(),
            offset_table: written(&state.offsets),
            pull_offset_table: written(&state.pulled),
        }
    }

    /// How many changes there were: tells a persisting service whether there is anything to write.
    pub fn changes(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Writes the table.
    pub fn persist(&self) {
        self.file.save_or_log(&self.snapshot());
    }
}

impl State {
    fn tables(&mut self) -> [&mut Table; 3] {
        [&mut self.offsets, &mut self.resets, &mut self.pulled]
    }
}

/// A table with the keys that it has in files.
fn written(table: &Table) -> BTreeMap<String, BTreeMap<i32, i64>> {
    let mut all = BTreeMap::new();
    for (group, topics) in table {
        for (topic, queues) in topics {
            let queues = queues.iter().map(|(queue, offset)| (*queue, *offset)).collect();
            all.insert(format!("{topic}{SEPARATOR}{group}"), queues);
        }
    }
    all
}

fn lookup(table: &Table, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
    table.get(group)?.get(topic)?.get(&queue_id).copied()
}

fn insert(table: &mut Table, group: &str, topic: &str, queue_id: i32, offset: i64) {
    // Names are copied only the first time: the usual commit finds its place without allocation.
    if let Some(queues) = table.get_mut(group).and_then(|topics| topics.get_mut(topic)) {
        queues.insert(queue_id, offset);
        return;
    }
    let topics = table.entry(group.to_owned()).or_default();
    topics.entry(topic.to_owned()).or_default().insert(queue_id, offset);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_survive_in_javas_shape() {
        let dir = tempfile::tempdir().unwrap();
        let offsets = ConsumerOffsetManager::open(dir.path(), false).unwrap();
        offsets.commit("g", "%RETRY%g", 0, 7);
        offsets.commit("g", "T", 1, 5);
        offsets.commit("g", "T", 0, 123);
        offsets.persist();
        let text = std::fs::read_to_string(dir.path().join("config/consumerOffset.json")).unwrap();
        assert!(text.contains(r#""offsetTable":{"%RETRY%g@g":{0:7},"T@g":{0:123,1:5}}"#), "{text}");
        let again = ConsumerOffsetManager::open(dir.path(), false).unwrap();
        assert_eq!(again.query("g", "T", 0), Some(123));
        assert_eq!(again.query("g", "%RETRY%g", 0), Some(7));
        assert_eq!(again.query("g", "T", 2), None);
        assert_eq!(again.topics_of("g").len(), 2);
        again.remove_topic("T");
        assert_eq!(again.groups_of("T").len(), 0);
    }

    #[test]
    fn offsets_of_light_queues_are_in_javas_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let before = ConsumerOffsetManager::open(dir.path(), false).unwrap();
        before.commit("g", "T", 1, 5);
        before.persist();
        let offsets = ConsumerOffsetManager::open(dir.path(), true).unwrap();
        assert_eq!(offsets.query("g", "T", 1), Some(5));
        offsets.commit("%LMQ%g", "%LMQ%q", 3, 7);
        offsets.commit("g", "%LMQ%q", 0, 2);
        assert_eq!(offsets.query("%LMQ%g", "%LMQ%q", 9), Some(7));
        offsets.persist();
        let text = std::fs::read_to_string(dir.path().join("config/lmqConsumerOffset.json")).unwrap();
        let tables = r#""lmqOffsetTable":{"%LMQ%q@%LMQ%g":7},"offsetTable":{"%LMQ%q@g":{0:2},"T@g":{1:5}}"#;
        assert!(text.contains(tables), "{text}");
        let again = ConsumerOffsetManager::open(dir.path(), true).unwrap();
        assert_eq!((again.query("%LMQ%g", "%LMQ%q", 0), again.query("g", "T", 1)), (Some(7), Some(5)));
        again.remove_group("%LMQ%g");
        assert_eq!(again.query("%LMQ%g", "%LMQ%q", 0), None);
    }

    #[test]
    fn a_reset_is_handed_out_once() {
        let dir = tempfile::tempdir().unwrap();
        let offsets = ConsumerOffsetManager::open(dir.path(), false).unwrap();
        offsets.assign_reset("g", "T", 0, 9);
        assert!(offsets.has_reset("g", "T", 0));
        assert_eq!(offsets.take_reset("g", "T", 0), Some(9));
        assert_eq!(offsets.take_reset("g", "T", 0), None);
        assert_eq!(offsets.query("g", "T", 0), Some(9));
    }

    #[test]
    fn a_broken_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("config")).unwrap();
        std::fs::write(dir.path().join("config/consumerOffset.json"), "{\"offsetTable\":").unwrap();
        assert!(ConsumerOffsetManager::open(dir.path(), false).is_err());
    }
}
