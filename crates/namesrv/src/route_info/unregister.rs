//! Brokers and topics go.

use std::collections::{BTreeMap, BTreeSet};

use protocol::sys_flag::perm;

use super::{BrokerAddr, LiveInfo, MinBrokerIdChange, RouteInfo, Rules};

/// That a broker goes: it said so (request 104), its connection closed, or it was silent too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unregistration {
    /// Which process.
    pub broker: BrokerAddr,
    /// Name of its replica group.
    pub name: String,
    /// Its id there.
    pub id: i64,
    /// The generation that goes. When the process has registered anew meanwhile, nothing happens.
    pub generation: Option<u64>,
}

/// A broker that was silent too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Which process.
    pub broker: BrokerAddr,
    /// The connection it registered with.
    pub channel: u64,
    /// The silence it was granted.
    pub timeout_ms: u64,
    /// What to do about it; none when it held no address any more and was dropped already.
    pub unregistration: Option<Unregistration>,
}

impl RouteInfo {
    /// What an unregister request that came by connection `channel` asks for. None when it comes late: the broker has
    /// registered by a newer connection since.
    #[must_use]
    pub fn unregistration(
        &self,
        cluster: &str,
        addr: &str,
        name: &str,
        id: i64,
        channel: u64,
    ) -> Option<Unregistration> {
        let broker = BrokerAddr::new(cluster, addr);
        let live = self.broker_live_table.get(&broker);
        if live.is_some_and(|live| live.channel > channel) {
            return None;
        }
        Some(Unregistration { generation: live.map(|live| live.generation), broker, name: name.to_owned(), id })
    }

    /// The brokers whose newest registration came by `channel`, which closed.
    #[must_use]
    pub fn brokers_of_channel(&self, channel: u64) -> Vec<Unregistration> {
        let of_channel = self.broker_live_table.iter().filter(|(_, live)| live.channel == channel);
        of_channel.filter_map(|(broker, live)| self.unregistration_of(broker, live)).collect()
    }

    /// The brokers that were silent longer than they may be.
    pub fn expired(&mut self, now_ms: u64) -> Vec<Expired> {
        let silent: Vec<Expired> = self
            .broker_live_table
            .iter()
            .filter(|(_, live)| live.last_update_ms.saturating_add(live.timeout_ms) < now_ms)
            .map(|(broker, live)| Expired {
                unregistration: self.unregistration_of(broker, live),
                broker: broker.clone(),
                channel: live.channel,
                timeout_ms: live.timeout_ms,
            })
            .collect();
        for expired in silent.iter().filter(|expired| expired.unregistration.is_none()) {
            self.broker_live_table.remove(&expired.broker);
        }
        silent
    }

    /// Removes brokers; with the last address of a name go the name, its topics, and an empty cluster. Returns whom to tell
    /// that the smallest id of their group changed.
    pub fn unregister(&mut self, batch: &[Unregistration], rules: Rules) -> Vec<MinBrokerIdChange> {
        let mut removed = BTreeSet::new();
        let mut reduced = BTreeSet::new();
        let mut offline = BTreeMap::new();
        for gone in batch {
            let live = self.broker_live_table.get(&gone.broker);
            if live.map(|live| live.generation) != gone.generation {
                tracing::info!(broker = gone.name, addr = gone.broker.addr, "late unregistration ignored");
                continue;
            }
            self.broker_live_table.remove(&gone.broker);
            self.filter_server_table.remove(&gone.broker);
            let data = self.broker_addr_table.get_mut(&gone.name);
            // A request in the name of a broker that never registered may not touch another cluster's.
            let Some(data) = data.filter(|data| gone.generation.is_some() || data.cluster == gone.broker.cluster)
            else {
                continue;
            };
            let was_min = Self::smallest(&data.broker_addrs).is_some_and(|(id, _)| id == gone.id);
            let before = data.broker_addrs.len();
            data.broker_addrs.retain(|_, addr| *addr != gone.broker.addr);
            if data.broker_addrs.is_empty() {
                self.remove_name(&gone.name);
                removed.insert(gone.name.clone());
            } else if data.broker_addrs.len() < before {
                reduced.insert(gone.name.clone());
                if was_min && data.enable_acting_master {
                    offline.insert(gone.name.clone(), gone.broker.addr.clone());
                }
            }
            self.touch();
        }
        self.clean_topics(&removed, &reduced);
        if !rules.notify_min_broker_id_changed {
            return Vec::new();
        }
        offline.into_iter().filter_map(|(name, addr)| self.min_broker_id_change(&name, Some(addr), None)).collect()
    }

    /// Forgets a topic (request 216), everywhere or on the brokers of one cluster only.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        match cluster.filter(|cluster| !cluster.is_empty()) {
            None => {
                if self.topic_queue_table.remove(topic).is_some() {
                    self.clean_mappings();
                    self.touch();
                }
            }
            Some(cluster) => {
                let names: Vec<String> = self.cluster_addr_table.get(cluster).into_iter().flatten().cloned().collect();
                for name in names {
                    self.remove_queues(topic, &name);
                }
            }
        }
    }

    /// Forbids (request 205) or allows (327) writing to all topics of a broker. Returns how many topics it has. Allowing sets
    /// read and write, whatever was set before.
    pub fn set_write_perm(&mut self, broker_name: &str, writeable: bool) -> i32 {
        let mut count = 0;
        for queues in self.topic_queue_table.values_mut() {
            if let Some(queue) = queues.get_mut(broker_name) {
                queue.perm = if writeable { perm::READ | perm::WRITE } else { queue.perm & !perm::WRITE };
                count += 1;
            }
        }
        self.touch();
        count
    }

    /// None when its id has moved to another address since.
    fn unregistration_of(&self, broker: &BrokerAddr, live: &LiveInfo) -> Option<Unregistration> {
        let addrs = &self.broker_addr_table.get(&live.name)?.broker_addrs;
        (addrs.get(&live.id) == Some(&broker.addr)).then(|| Unregistration {
            broker: broker.clone(),
            name: live.name.clone(),
            id: live.id,
            generation: Some(live.generation),
        })
    }

    fn remove_name(&mut self, name: &str) {
        if let Some(data) = self.broker_addr_table.remove(name) {
            self.remove_from_cluster(name, &data.cluster);
        }
    }

    /// Takes a name out of a cluster, and away the cluster with its last name.
    pub(super) fn remove_from_cluster(&mut self, name: &str, cluster: &str) {
        if let Some(names) = self.cluster_addr_table.get_mut(cluster) {
            names.remove(name);
            if names.is_empty() {
                self.cluster_addr_table.remove(cluster);
            }
        }
    }

    /// Removes the queues of brokers that are gone; where only slaves are left and may act for the master, forbids writing.
    fn clean_topics(&mut self, removed: &BTreeSet<String>, reduced: &BTreeSet<String>) {
        let without_master: Vec<&String> = reduced
            .iter()
            .filter(|name| {
                self.broker_addr_table.get(*name).is_some_and(|data| {
                    data.enable_acting_master && Self::smallest(&data.broker_addrs).is_some_and(|(id, _)| id > 0)
                })
            })
            .collect();
        if removed.is_empty() && without_master.is_empty() {
            return;
        }
        self.topic_queue_table.retain(|_, queues| {
            for name in removed {
                queues.remove(name);
            }
            for name in &without_master {
                if let Some(queue) = queues.get_mut(*name) {
                    queue.perm &= !perm::WRITE;
                }
            }
            !queues.is_empty()
        });
        self.clean_mappings();
    }
}
