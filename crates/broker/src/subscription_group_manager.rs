//! The consumer groups of this broker: `subscriptionGroup.json`.

use crate::metadata::MetadataFile;
use daemon::persist::LoadError;
use foldhash::{HashMap, HashMapExt};
use parking_lot::RwLock;
use protocol::body::group::{SubscriptionGroupConfig, SubscriptionGroupWrapper};
use protocol::body::topic::DataVersion;
use protocol::names;
use remoting::clock;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// Bit of a forbidden entry: no reading.
const FORBIDDEN_READ: i32 = 1 << 2;

/// Groups by name, persisted.
#[derive(Debug)]
pub struct SubscriptionGroupManager {
    file: MetadataFile,
    /// Groups of light queues have settings without being in the table.
    lmq: bool,
    state: RwLock<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    table: HashMap<String, Arc<SubscriptionGroupConfig>>,
    forbidden: BTreeMap<String, BTreeMap<String, i32>>,
    version: DataVersion,
}

impl SubscriptionGroupManager {
    /// Reads the file and adds the groups that Java makes at boot.
    ///
    /// # Errors
    /// When the file and its backup are unusable.
    pub fn open(store_root: &Path) -> Result<SubscriptionGroupManager, LoadError> {
        let file = MetadataFile::new(store_root, "subscriptionGroup.json");
        let loaded = file.load::<SubscriptionGroupWrapper>()?.unwrap_or_default();
        let mut table = HashMap::new();
        for group in system_groups().into_iter().chain(loaded.subscription_group_table.into_values()) {
            table.insert(group.group_name.clone(), Arc::new(group));
        }
        let state = RwLock::new(State { table, forbidden: loaded.forbidden_table, version: loaded.data_version });
        Ok(SubscriptionGroupManager { file, lmq: false, state, changed: watch::Sender::new(0) })
    }

    /// With `lmq`, groups `%LMQ%…` need not be made, and are as all groups are by default.
    #[must_use]
    pub fn with_lmq(self, lmq: bool) -> SubscriptionGroupManager {
        SubscriptionGroupManager { lmq, ..self }
    }

    /// Source: LmqSubscriptionGroupManager.
    fn light(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        (self.lmq && store::is_lmq(group)).then(|| {
            Arc::new(SubscriptionGroupConfig { group_name: group.to_owned(), ..SubscriptionGroupConfig::default() })
        })
    }

    /// The settings of a group; an unknown one is made when `auto_create` says so, or when it is a system group.
    pub fn find(&self, group: &str, auto_create: bool) -> Option<Arc<SubscriptionGroupConfig>> {
        if let Some(light) = self.light(group) {
            return Some(light);
        }
        if let Some(found) = self.state.read().table.get(group) {
            return Some(found.clone());
        }
        if !(auto_create || names::is_system_group(group)) || names::validate_group(group).is_err() {
            return None;
        }
        let mut state = self.state.write();
        let config = SubscriptionGroupConfig { group_name: group.to_owned(), ..SubscriptionGroupConfig::default() };
        Some(self.insert(&mut state, config))
    }

    /// True when the group exists or may be made.
    pub fn contains(&self, group: &str, auto_create: bool) -> bool {
        self.find(group, auto_create).is_some()
    }

    /// The settings of a group that exists.
    pub fn get(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        self.light(group).or_else(|| self.state.read().table.get(group).cloned())
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.state.read().table.len()
    }

    /// True without groups, which does not happen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells of changes: a number that rises.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The whole table as it is persisted.
    pub fn snapshot(&self) -> SubscriptionGroupWrapper {
        let state = self.state.read();
        let groups = state.table.iter().map(|(name, config)| (name.clone(), SubscriptionGroupConfig::clone(config)));
        SubscriptionGroupWrapper {
            data_version: state.version,
            forbidden_table: state.forbidden.clone(),
            subscription_group_table: groups.collect(),
        }
    }

    /// Makes or changes groups and waits until the table is on disk.
    ///
    /// # Errors
    /// What the file system says; the change stands in memory.
    pub fn put(&self, configs: impl IntoIterator<Item = SubscriptionGroupConfig>) -> std::io::Result<()> {
        {
            let mut state = self.state.write();
            for config in configs.into_iter().filter(|config| self.light(&config.group_name).is_none()) {
                self.insert(&mut state, config);
            }
        }
        self.file.save(&self.snapshot())
    }

    /// Forgets a group; false when it was not there.
    ///
    /// # Errors
    /// What the file system says; the group is forgotten in memory.
    pub fn delete(&self, group: &str) -> std::io::Result<bool> {
        {
            let mut state = self.state.write();
            let known = state.table.remove(group).is_some();
            let forbidden = state.forbidden.remove(group).is_some();
            if !known && !forbidden {
                return Ok(false);
            }
            self.touch(&mut state);
        }
        self.file.save(&self.snapshot()).map(|()| true)
    }

    /// True when the group may not read the topic.
    pub fn is_read_forbidden(&self, group: &str, topic: &str) -> bool {
        let state = self.state.read();
        let bits = state.forbidden.get(group).and_then(|topics| topics.get(topic)).copied().unwrap_or(0);
        bits & FORBIDDEN_READ != 0
    }

    /// Forbids or allows reading and waits until the table is on disk.
    ///
    /// # Errors
    /// What the file system says; the change stands in memory.
    pub fn set_readable(&self, group: &str, topic: &str, readable: bool) -> std::io::Result<()> {
        {
            let mut state = self.state.write();
            let topics = state.forbidden.entry(group.to_owned()).or_default();
            let bits = topics.get(topic).copied().unwrap_or(0);
            match if readable { bits & !FORBIDDEN_READ } else { bits | FORBIDDEN_READ } {
                0 => drop(topics.remove(topic)),
                bits => drop(topics.insert(topic.to_owned(), bits)),
            }
            state.forbidden.retain(|_, topics| !topics.is_empty());
            self.touch(&mut state);
        }
        self.file.save(&self.snapshot())
    }

    /// Writes the table.
    pub fn persist(&self) {
        self.file.save_or_log(&self.snapshot());
    }

    fn insert(&self, state: &mut State, config: SubscriptionGroupConfig) -> Arc<SubscriptionGroupConfig> {
        let config = Arc::new(config);
        state.table.insert(config.group_name.clone(), config.clone());
        self.touch(state);
        config
    }

    fn touch(&self, state: &mut State) {
        state.version = state.version.next(clock::now_ms());
        self.changed.send_modify(|count| *count += 1);
    }
}

/// Source: broker/subscription/SubscriptionGroupManager.init.
fn system_groups() -> Vec<SubscriptionGroupConfig> {
    let group =
        |name: &str| SubscriptionGroupConfig { group_name: name.to_owned(), ..SubscriptionGroupConfig::default() };
    let broadcasting = |name| SubscriptionGroupConfig { consume_broadcast_enable: true, ..group(name) };
    vec![
        group("TOOLS_CONSUMER"),
        group("FILTERSRV_CONSUMER"),
        group("SELF_TEST_C_GROUP"),
        broadcasting("CID_ONS-HTTP-PROXY"),
        broadcasting("CID_ONSAPI_PULL"),
        broadcasting("CID_ONSAPI_PERMISSION"),
        broadcasting("CID_ONSAPI_OWNER"),
        broadcasting("CID_RMQ_SYS_TRANS"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_made_on_first_use_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let groups = SubscriptionGroupManager::open(dir.path()).unwrap();
        assert!(groups.find("g", false).is_none());
        assert!(groups.find("not a name", true).is_none());
        assert!(groups.find("CID_RMQ_SYS_x", false).is_some());
        assert_eq!(groups.find("g", true).unwrap().retry_max_times, 16);
        groups.set_readable("g", "T", false).unwrap();
        let again = SubscriptionGroupManager::open(dir.path()).unwrap();
        assert!(again.get("g").is_some() && again.is_read_forbidden("g", "T"));
        again.set_readable("g", "T", true).unwrap();
        assert!(!again.is_read_forbidden("g", "T"));
        assert!(again.delete("g").unwrap());
        assert!(!again.delete("g").unwrap());
    }
}
