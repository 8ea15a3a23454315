//! Brokers and topics come.

use std::collections::BTreeMap;

use protocol::body::route::{BrokerData, QueueData};
use protocol::body::topic::{DataVersion, TopicConfig, TopicConfigSerializeWrapper};
use protocol::sys_flag::perm;
use serde_json::Value;

use super::{BrokerAddr, DEFAULT_HEARTBEAT_TIMEOUT_MS, LiveInfo, MASTER_ID, MinBrokerIdChange, RouteInfo, Rules};

/// What a broker says of itself (request 103).
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// Cluster.
    pub cluster: String,
    /// `host:port` for clients.
    pub addr: String,
    /// Name of the replica group.
    pub name: String,
    /// 0 for the master.
    pub id: i64,
    /// `host:port` for replicas.
    pub ha_server_addr: Option<String>,
    /// Zone.
    pub zone_name: Option<String>,
    /// Silence after which it is to be forgotten.
    pub timeout_ms: Option<u64>,
    /// A slave may act for the master; brokers before 5.0 do not say.
    pub enable_acting_master: Option<bool>,
    /// Its topics.
    pub topics: TopicConfigSerializeWrapper,
    /// Class filter servers; none when the body has no such list.
    pub filter_servers: Option<Vec<String>>,
    /// Id of the connection.
    pub channel: u64,
}

/// The answer to a registration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registered {
    /// HA address of the group's master, told to slaves.
    pub ha_server_addr: Option<String>,
    /// Address of the group's master, told to slaves.
    pub master_addr: Option<String>,
    /// Whom to tell that the smallest id changed.
    pub notify: Option<MinBrokerIdChange>,
    /// The generation of this registration; none when an older one with a higher state version stands, which Java answers
    /// with success as well.
    pub generation: Option<u64>,
    /// Nothing was known of this broker before.
    pub is_new: bool,
}

/// A single topic was registered for a broker that has not registered as a whole yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRegistered;

impl RouteInfo {
    /// Registers a broker, or refreshes it.
    ///
    /// # Errors
    /// [`NotRegistered`]; nothing has changed then.
    pub fn register(&mut self, broker: Registration, rules: Rules, now_ms: u64) -> Result<Registered, NotRegistered> {
        let known = self.broker_addr_table.get(&broker.name);
        let addrs = known.map(|data| &data.broker_addrs);
        let old_addr = addrs.and_then(|addrs| addrs.get(&broker.id)).cloned();
        let key = BrokerAddr::new(&broker.cluster, &broker.addr);
        if let Some(old_addr) = old_addr.as_ref().filter(|old| **old != broker.addr)
            && self.state_version_of(&broker.cluster, old_addr) > Some(broker.topics.data_version.state_version)
        {
            self.broker_live_table.remove(&key);
            return Ok(Registered::default());
        }
        if old_addr.is_none() && broker.topics.topic_config_table.len() == 1 {
            return Err(NotRegistered);
        }
        let previous_min = addrs.and_then(Self::smallest).map_or(0, |(id, _)| id);
        let min_changed = broker.id < previous_min;

        let changed_identity = self.put_identity(&broker);
        let register_first = old_addr.as_deref().is_none_or(str::is_empty);
        if changed_identity || register_first {
            self.touch();
        }
        self.put_topics(&broker, register_first, rules);

        self.generation += 1;
        let live = LiveInfo {
            name: broker.name.clone(),
            id: broker.id,
            last_update_ms: now_ms,
            timeout_ms: broker.timeout_ms.unwrap_or(DEFAULT_HEARTBEAT_TIMEOUT_MS),
            data_version: broker.topics.data_version,
            channel: broker.channel,
            ha_server_addr: broker.ha_server_addr.clone(),
            generation: self.generation,
        };
        let is_new = self.broker_live_table.insert(key.clone(), live).is_none();
        self.put_filter_servers(key, broker.filter_servers);
        let (ha_server_addr, master_addr) = self.master_for(&broker.cluster, &broker.name, broker.id);
        let notify = (min_changed && rules.notify_min_broker_id_changed)
            .then(|| self.min_broker_id_change(&broker.name, None, broker.ha_server_addr))
            .flatten();
        Ok(Registered { ha_server_addr, master_addr, notify, generation: Some(self.generation), is_new })
    }

    /// Registers the queues of one topic (request 217). Nothing happens when one of the brokers is unknown; returns whether
    /// the topic was taken.
    pub fn register_topic(&mut self, topic: &str, queues: Vec<QueueData>) -> bool {
        if queues.is_empty() || queues.iter().any(|q| !self.broker_addr_table.contains_key(&q.broker_name)) {
            return false;
        }
        let table = self.topic_queue_table.entry(topic.to_owned()).or_default();
        for queue in queues {
            table.insert(queue.broker_name.clone(), queue);
        }
        self.touch();
        true
    }

    /// A sign of life (requests 904 and 322). Unknown brokers are ignored.
    pub fn refresh(&mut self, cluster: &str, addr: &str, now_ms: u64) {
        if let Some(live) = self.broker_live_table.get_mut(&BrokerAddr::new(cluster, addr)) {
            live.last_update_ms = now_ms;
        }
    }

    /// Enters cluster, name, id, address, zone. Returns whether an existing entry changed. A name belongs to one cluster, that
    /// of its newest registration; Java would list it in both and never forget it.
    fn put_identity(&mut self, broker: &Registration) -> bool {
        let former = self.broker_addr_table.get(&broker.name).map(|data| data.cluster.clone());
        if let Some(former) = former.filter(|former| *former != broker.cluster) {
            self.remove_from_cluster(&broker.name, &former);
        }
        self.cluster_addr_table.entry(broker.cluster.clone()).or_default().insert(broker.name.clone());
        let data = self.broker_addr_table.entry(broker.name.clone()).or_insert_with(|| BrokerData {
            cluster: broker.cluster.clone(),
            broker_name: broker.name.clone(),
            ..BrokerData::default()
        });
        let before = (data.cluster.clone(), data.enable_acting_master, data.zone_name.clone());
        data.cluster.clone_from(&broker.cluster);
        data.enable_acting_master = broker.enable_acting_master.unwrap_or(false);
        data.zone_name.clone_from(&broker.zone_name);
        // A slave that became master keeps its address: one address stands under one id only.
        data.broker_addrs.retain(|id, addr| *addr != broker.addr || *id == broker.id);
        let old = data.broker_addrs.insert(broker.id, broker.addr.clone());
        before != (data.cluster.clone(), data.enable_acting_master, data.zone_name.clone())
            || old.as_ref() != Some(&broker.addr)
    }

    /// Enters the topics of a master, or of the slave that stands first while there is none.
    fn put_topics(&mut self, broker: &Registration, register_first: bool, rules: Rules) {
        let is_first = self
            .broker_addr_table
            .get(&broker.name)
            .is_some_and(|data| Self::smallest(&data.broker_addrs).is_some_and(|(id, _)| id == broker.id));
        let is_prime_slave = broker.enable_acting_master.is_some() && broker.id != MASTER_ID && is_first;
        if broker.id != MASTER_ID && !is_prime_slave {
            return;
        }
        let mappings = broker.topics.topic_queue_mapping_info_map.as_ref();
        if rules.delete_topic_with_broker_registration && mappings.is_none_or(BTreeMap::is_empty) {
            self.remove_unlisted(&broker.name, &broker.topics.topic_config_table);
        }
        let version_changed = self.is_topic_config_changed(&broker.cluster, &broker.addr, &broker.topics.data_version);
        let wipe_write = is_prime_slave && broker.enable_acting_master == Some(true);
        for config in broker.topics.topic_config_table.values() {
            let known = self.topic_queue_table.get(&config.topic_name);
            if register_first || version_changed || known.is_none_or(|queues| !queues.contains_key(&broker.name)) {
                self.put_queues(&broker.name, config, wipe_write);
            }
        }
        if register_first || version_changed {
            self.put_mappings(mappings);
        }
    }

    fn put_queues(&mut self, broker_name: &str, config: &TopicConfig, wipe_write: bool) {
        let queues = QueueData {
            broker_name: broker_name.to_owned(),
            perm: if wipe_write { config.perm & !perm::WRITE } else { config.perm },
            read_queue_nums: config.read_queue_nums,
            topic_sys_flag: config.topic_sys_flag,
            write_queue_nums: config.write_queue_nums,
        };
        let table = self.topic_queue_table.entry(config.topic_name.clone()).or_default();
        if table.get(broker_name) != Some(&queues) {
            table.insert(broker_name.to_owned(), queues);
            self.touch();
        }
    }

    fn put_mappings(&mut self, mappings: Option<&BTreeMap<String, Value>>) {
        for (topic, mapping) in mappings.into_iter().flatten() {
            let Some(broker_name) = mapping.get("bname").and_then(Value::as_str) else {
                continue;
            };
            let table = self.topic_queue_mapping_table.entry(topic.clone()).or_default();
            if table.get(broker_name) != Some(mapping) {
                table.insert(broker_name.to_owned(), mapping.clone());
                self.touch();
            }
        }
    }

    fn remove_unlisted(&mut self, broker_name: &str, listed: &BTreeMap<String, TopicConfig>) {
        let gone: Vec<String> = self
            .topic_queue_table
            .iter()
            .filter(|(topic, queues)| queues.contains_key(broker_name) && !listed.contains_key(*topic))
            .map(|(topic, _)| topic.clone())
            .collect();
        for topic in gone {
            self.remove_queues(&topic, broker_name);
        }
    }

    fn put_filter_servers(&mut self, key: BrokerAddr, servers: Option<Vec<String>>) {
        let changed = match servers {
            None => false,
            Some(servers) if servers.is_empty() => self.filter_server_table.remove(&key).is_some(),
            Some(servers) => self.filter_server_table.insert(key, servers).is_none(),
        };
        if changed {
            self.touch();
        }
    }

    /// HA address and address of the master, for a slave.
    fn master_for(&self, cluster: &str, name: &str, id: i64) -> (Option<String>, Option<String>) {
        let master = self.broker_addr_table.get(name).and_then(|data| data.broker_addrs.get(&MASTER_ID));
        let Some(master) = master.filter(|_| id != MASTER_ID) else {
            return (None, None);
        };
        match self.broker_live_table.get(&BrokerAddr::new(cluster, master)) {
            Some(live) => (live.ha_server_addr.clone(), Some(master.clone())),
            None => (None, None),
        }
    }

    /// Whom to tell, and what, after the smallest id of a group changed: all of them when one went or only one is there,
    /// else all but the new one.
    pub(super) fn min_broker_id_change(
        &self,
        name: &str,
        offline: Option<String>,
        ha_broker_addr: Option<String>,
    ) -> Option<MinBrokerIdChange> {
        let addrs = &self.broker_addr_table.get(name)?.broker_addrs;
        let (min_broker_id, min_broker_addr) = Self::smallest(addrs)?;
        let all = offline.is_some() || addrs.len() == 1;
        let notify =
            addrs.iter().filter(|(id, _)| all || **id != min_broker_id).map(|(_, addr)| addr.clone()).collect();
        Some(MinBrokerIdChange {
            notify,
            min_broker_id,
            min_broker_addr: min_broker_addr.clone(),
            offline_broker_addr: offline,
            ha_broker_addr,
        })
    }

    fn state_version_of(&self, cluster: &str, addr: &str) -> Option<i64> {
        self.data_version_of(cluster, addr).map(|version| version.state_version)
    }

    /// The version of its topics that a broker registered with (request 322); none when it is unknown.
    #[must_use]
    pub fn data_version_of(&self, cluster: &str, addr: &str) -> Option<DataVersion> {
        self.broker_live_table.get(&BrokerAddr::new(cluster, addr)).map(|live| live.data_version)
    }

    /// Whether a broker's topics have another version than the one it registered with.
    #[must_use]
    pub fn is_topic_config_changed(&self, cluster: &str, addr: &str, version: &DataVersion) -> bool {
        self.data_version_of(cluster, addr).as_ref() != Some(version)
    }
}
