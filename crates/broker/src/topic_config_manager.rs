//! The topics of this broker: `topics.json`.

use crate::config::BrokerOptions;
use crate::metadata::MetadataFile;
use daemon::persist::LoadError;
use foldhash::{HashMap, HashMapExt};
use parking_lot::RwLock;
use protocol::body::topic::{DataVersion, TopicConfig, TopicConfigSerializeWrapper};
use protocol::names;
use protocol::sys_flag::perm;
use remoting::clock;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

const SCHEDULE_QUEUES: i32 = 18;

/// Why a topic was not made by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotCreated {
    /// The topic to copy from does not exist.
    NoDefaultTopic,
    /// The topic to copy from may not be copied (autoCreateTopicEnable=false).
    NotInherited,
}

/// Topics by name; persisted, and announced to whoever registers them with nameservers.
#[derive(Debug)]
pub struct TopicConfigManager {
    file: MetadataFile,
    found_ms: i64,
    /// Light queues have settings without being in the table.
    lmq: bool,
    state: RwLock<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    table: HashMap<String, Arc<TopicConfig>>,
    version: DataVersion,
    system: Vec<String>,
}

impl TopicConfigManager {
    /// Reads the file and adds the system topics that Java makes at boot.
    ///
    /// # Errors
    /// When the file and its backup are unusable.
    pub fn open(store_root: &Path, options: &BrokerOptions) -> Result<TopicConfigManager, LoadError> {
        let file = MetadataFile::new(store_root, "topics.json");
        let loaded = file.load::<TopicConfigSerializeWrapper>()?.unwrap_or_default();
        let mut table = HashMap::new();
        let system = system_topics(options);
        let names = system.iter().map(|topic| topic.topic_name.clone()).collect();
        for topic in system.into_iter().chain(loaded.topic_config_table.into_values()) {
            table.insert(topic.topic_name.clone(), Arc::new(topic));
        }
        if !options.broker.auto_create_topic_enable
            && let Some(default) = table.get_mut(names::AUTO_CREATE_TOPIC_KEY_TOPIC)
        {
            let perm = perm::READ | perm::WRITE;
            *default = Arc::new(TopicConfig { perm, ..TopicConfig::clone(default) });
        }
        let found_ms = loaded.data_version.timestamp;
        let version = match loaded.data_version {
            version if version.timestamp == 0 => DataVersion { timestamp: clock::now_ms(), ..version },
            version => version,
        };
        let state = RwLock::new(State { table, version, system: names });
        Ok(TopicConfigManager { file, found_ms, lmq: options.store.enable_lmq, state, changed: watch::Sender::new(0) })
    }

    /// The settings of a topic.
    pub fn get(&self, topic: &str) -> Option<Arc<TopicConfig>> {
        if self.is_lmq(topic) {
            let config = TopicConfig { read_queue_nums: 1, write_queue_nums: 1, ..TopicConfig::default() };
            return Some(Arc::new(TopicConfig { topic_name: topic.to_owned(), ..config }));
        }
        self.state.read().table.get(topic).cloned()
    }

    /// Whether the topic is a light queue, which needs not be made. Source: LmqTopicConfigManager.
    fn is_lmq(&self, topic: &str) -> bool {
        self.lmq && store::is_lmq(topic)
    }

    /// True for an order topic.
    pub fn is_order(&self, topic: &str) -> bool {
        self.get(topic).is_some_and(|config| config.order)
    }

    /// Number of topics.
    pub fn len(&self) -> usize {
        self.state.read().table.len()
    }

    /// True without topics, which does not happen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of all topics.
    pub fn names(&self) -> Vec<String> {
        self.state.read().table.keys().cloned().collect()
    }

    /// Names of the topics whose queues hold batches.
    pub fn batch_topics(&self) -> Vec<String> {
        let state = self.state.read();
        let batch = state.table.values().filter(|config| config.is_batch_cq());
        batch.map(|config| config.topic_name.clone()).collect()
    }

    /// Names of the topics of which the newest message of each key is kept.
    pub fn compacted_topics(&self) -> Vec<String> {
        let state = self.state.read();
        let compacted = state.table.values().filter(|config| config.is_compacted());
        compacted.map(|config| config.topic_name.clone()).collect()
    }

    /// True for topics that the broker made for itself, and those that RocketMQ reserves.
    pub fn is_system(&self, topic: &str) -> bool {
        names::is_system_topic(topic) || self.state.read().system.iter().any(|name| name == topic)
    }

    /// Names of the topics that belong to RocketMQ itself, whether this broker has them or not.
    pub fn system_names(&self) -> Vec<String> {
        let own = self.state.read().system.clone();
        let known = names::SYSTEM_TOPICS.iter().map(|name| (*name).to_owned());
        own.into_iter().chain(known).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The whole table as it is persisted and registered.
    pub fn snapshot(&self) -> TopicConfigSerializeWrapper {
        let state = self.state.read();
        let topics = state.table.iter().map(|(name, config)| (name.clone(), TopicConfig::clone(config)));
        TopicConfigSerializeWrapper {
            data_version: state.version,
            topic_config_table: topics.collect::<BTreeMap<_, _>>(),
            ..TopicConfigSerializeWrapper::default()
        }
    }

    /// Version of the table.
    pub fn data_version(&self) -> DataVersion {
        self.state.read().version
    }

    /// When the table as it was found on the disk had last been changed, ms; 0 when there was none. Topics made or deleted
    /// until then are, or are not, in it.
    pub fn found_ms(&self) -> i64 {
        self.found_ms
    }

    /// Tells of changes: a number that rises.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The number of the last change, as [`TopicConfigManager::watch`] tells it.
    pub fn last_change(&self) -> u64 {
        *self.changed.borrow()
    }

    /// Has the table announced anew, because what is said of it changed.
    pub fn announce_again(&self) {
        self.touch(&mut self.state.write());
    }

    /// Makes a topic after `default_topic`, or finds that it exists.
    ///
    /// # Errors
    /// [`NotCreated`].
    pub fn create_in_send(
        &self,
        topic: &str,
        default_topic: &str,
        client_queue_nums: i32,
        sys_flag: i32,
        auto_create: bool,
    ) -> Result<Arc<TopicConfig>, NotCreated> {
        let mut state = self.state.write();
        if let Some(found) = state.table.get(topic) {
            return Ok(found.clone());
        }
        let default = state.table.get(default_topic).ok_or(NotCreated::NoDefaultTopic)?;
        let refused = default_topic == names::AUTO_CREATE_TOPIC_KEY_TOPIC && !auto_create;
        if refused || !perm::is_inherited(default.perm) {
            return Err(NotCreated::NotInherited);
        }
        let queues = client_queue_nums.min(default.write_queue_nums).max(0);
        let config = TopicConfig {
            topic_name: topic.to_owned(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: default.perm & !perm::INHERIT,
            topic_sys_flag: sys_flag,
            topic_filter_type: default.topic_filter_type,
            ..TopicConfig::default()
        };
        Ok(self.insert(&mut state, config))
    }

    /// Makes a retry or dead letter topic, or finds that it exists.
    pub fn create_for_retry(&self, topic: &str, queues: i32, order: bool, sys_flag: i32) -> Arc<TopicConfig> {
        if let Some(found) = self.get(topic)
            && (found.order || !order)
        {
            return found;
        }
        let mut state = self.state.write();
        let config = match state.table.get(topic) {
            Some(found) => TopicConfig { order, ..TopicConfig::clone(found) },
            None => TopicConfig {
                topic_name: topic.to_owned(),
                read_queue_nums: queues,
                write_queue_nums: queues,
                order,
                topic_sys_flag: sys_flag,
                ..TopicConfig::default()
            },
        };
        self.insert(&mut state, config)
    }

    /// Makes or changes topics and waits until the table is on disk.
    ///
    /// # Errors
    /// What the file system says; the change stands in memory.
    pub fn put(&self, configs: impl IntoIterator<Item = TopicConfig>) -> std::io::Result<()> {
        {
            let mut state = self.state.write();
            for config in configs.into_iter().filter(|config| !self.is_lmq(&config.topic_name)) {
                self.insert(&mut state, config);
            }
        }
        self.file.save(&self.snapshot())
    }

    /// Forgets a topic; false when it was not there.
    ///
    /// # Errors
    /// What the file system says; the topic is forgotten in memory.
    pub fn delete(&self, topic: &str) -> std::io::Result<bool> {
        {
            let mut state = self.state.write();
            if state.table.remove(topic).is_none() {
                return Ok(false);
            }
            self.touch(&mut state);
        }
        self.file.save(&self.snapshot()).map(|()| true)
    }

    /// Marks exactly the topics named in the nameserver's order configuration as ordered.
    pub fn set_order_topics(&self, order_conf: &BTreeMap<String, String>) {
        let mut state = self.state.write();
        let differs = |config: &TopicConfig| !config.order && order_conf.contains_key(&config.topic_name);
        let changed: Vec<TopicConfig> =
            state.table.values().filter(|config| differs(config)).map(|config| TopicConfig::clone(config)).collect();
        for config in changed {
            self.insert(&mut state, TopicConfig { order: true, ..config });
        }
    }

    /// Writes the table.
    pub fn persist(&self) {
        self.file.save_or_log(&self.snapshot());
    }

    fn insert(&self, state: &mut State, config: TopicConfig) -> Arc<TopicConfig> {
        let config = Arc::new(config);
        state.table.insert(config.topic_name.clone(), config.clone());
        self.touch(state);
        config
    }

    fn touch(&self, state: &mut State) {
        state.version = state.version.next(clock::now_ms());
        self.changed.send_modify(|count| *count += 1);
    }
}

/// Source: broker/topic/TopicConfigManager.init.
fn system_topics(options: &BrokerOptions) -> Vec<TopicConfig> {
    let broker = &options.broker;
    let topic = |name: &str, queues: i32, perm: i32| TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm,
        ..TopicConfig::default()
    };
    let both = perm::READ | perm::WRITE;
    let open = |enabled: bool| if enabled { perm::INHERIT | both } else { perm::INHERIT };
    let cluster = &broker.broker_cluster_name;
    let mut topics = vec![
        topic(names::SELF_TEST_TOPIC, 1, both),
        topic(names::BENCHMARK_TOPIC, 1024, both),
        topic(cluster, 16, open(broker.cluster_topic_enable)),
        topic(&broker.broker_name, 1, open(broker.broker_topic_enable)),
        topic(names::OFFSET_MOVED_EVENT, 1, both),
        topic(names::SCHEDULE_TOPIC, SCHEDULE_QUEUES, both),
        topic(&format!("{cluster}_REPLY_TOPIC"), 1, both),
        topic(&format!("rmq_sys_REVIVE_LOG_{cluster}"), broker.revive_queue_num, both),
        topic(&format!("rmq_sys_SYNC_BROKER_MEMBER_{}", broker.broker_name), 1, perm::INHERIT),
        topic(names::TRANS_HALF_TOPIC, 1, both),
        topic(names::TRANS_OP_HALF_TOPIC, 1, both),
        topic("RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC", 1, both),
        topic("RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC", 1, both),
    ];
    if broker.auto_create_topic_enable {
        topics.push(topic(names::AUTO_CREATE_TOPIC_KEY_TOPIC, broker.default_topic_queue_nums, open(true)));
    }
    if broker.trace_topic_enable {
        topics.push(topic(&broker.msg_trace_topic_name, 1, both));
    }
    if options.store.timer_wheel_enable {
        topics.push(topic(names::TIMER_TOPIC, 1, both));
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, auto_create: bool) -> TopicConfigManager {
        let mut options = BrokerOptions::default();
        options.broker.auto_create_topic_enable = auto_create;
        TopicConfigManager::open(dir, &options).unwrap()
    }

    #[test]
    fn topics_are_made_after_the_default_topic_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let topics = open(dir.path(), true);
        let before = topics.data_version();
        let made = topics.create_in_send("T", "TBW102", 4, 0, true).unwrap();
        assert_eq!((made.read_queue_nums, made.write_queue_nums, made.perm), (4, 4, 6));
        assert_eq!(topics.data_version().counter, before.counter + 1);
        assert_eq!(topics.create_in_send("U", "nothing", 4, 0, true), Err(NotCreated::NoDefaultTopic));
        topics.persist();
        let again = open(dir.path(), true);
        assert_eq!(again.get("T"), Some(made));
        assert_eq!(again.data_version(), topics.data_version());
        assert!(again.delete("T").unwrap());
        assert!(!again.delete("T").unwrap());
        assert_eq!(open(dir.path(), true).get("T"), None);
    }

    #[test]
    fn without_auto_create_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), true).persist();
        let topics = open(dir.path(), false);
        assert_eq!(topics.create_in_send("T", "TBW102", 4, 0, false), Err(NotCreated::NotInherited));
        assert_eq!(topics.get("TBW102").unwrap().perm, 6);
    }

    #[test]
    fn a_retry_topic_becomes_ordered_when_its_group_does() {
        let dir = tempfile::tempdir().unwrap();
        let topics = open(dir.path(), true);
        assert!(!topics.create_for_retry("%RETRY%g", 1, false, 0).order);
        assert!(topics.create_for_retry("%RETRY%g", 1, true, 0).order);
        assert!(topics.create_for_retry("%RETRY%g", 1, false, 0).order);
    }
}
