//! The route tables: which broker holds which queues of a topic, where it is, and when it was heard of last.
//!
//! Pure: no lock, clock or I/O. Semantics of namesrv/routeinfo/RouteInfoManager.java in 5.5.0, except that a
//! registration carries a generation, so that an unregistration which comes late never removes a newer registration.

use std::collections::{BTreeMap, BTreeSet};

use protocol::body::route::{BrokerData, QueueData};
use protocol::body::topic::DataVersion;
use serde_json::Value;

mod query;
mod register;
#[cfg(test)]
mod tests;
mod unregister;

pub use query::{NoRoute, UnitFlags, filter_by_zone};
pub use register::{NotRegistered, Registered, Registration};
pub use unregister::{Expired, Unregistration};

/// The id of a master.
pub const MASTER_ID: i64 = 0;
/// Silence after which a broker that names no timeout is forgotten. Source: DEFAULT_BROKER_CHANNEL_EXPIRED_TIME.
pub const DEFAULT_HEARTBEAT_TIMEOUT_MS: u64 = 120_000;

/// Switches of the configuration that the tables obey.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// `deleteTopicWithBrokerRegistration`: topics that a broker no longer lists are removed.
    pub delete_topic_with_broker_registration: bool,
    /// `notifyMinBrokerIdChanged`: brokers of a group are told when its smallest id changed.
    pub notify_min_broker_id_changed: bool,
}

/// A broker process: its address within its cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerAddr {
    /// Cluster.
    pub cluster: String,
    /// `host:port` as the broker gave it.
    pub addr: String,
}

impl BrokerAddr {
    /// From borrowed parts.
    pub fn new(cluster: &str, addr: &str) -> Self {
        Self { cluster: cluster.to_owned(), addr: addr.to_owned() }
    }
}

/// What is known of a live broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveInfo {
    /// The name it registered under.
    pub(crate) name: String,
    /// The id it registered under.
    pub(crate) id: i64,
    pub(crate) last_update_ms: u64,
    pub(crate) timeout_ms: u64,
    pub(crate) data_version: DataVersion,
    /// Id of the connection that registered; ids grow with time.
    pub(crate) channel: u64,
    pub(crate) ha_server_addr: Option<String>,
    /// Counts registrations of this nameserver: the larger, the newer.
    pub(crate) generation: u64,
}

/// News for the brokers of a group whose smallest id changed (request 905).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinBrokerIdChange {
    /// Who is told.
    pub notify: Vec<String>,
    /// The smallest id now.
    pub min_broker_id: i64,
    /// Its address.
    pub min_broker_addr: String,
    /// The broker that went, if one did.
    pub offline_broker_addr: Option<String>,
    /// The HA address of the broker that came, if one did.
    pub ha_broker_addr: Option<String>,
}

/// The tables.
#[derive(Debug, Default)]
pub struct RouteInfo {
    /// topic → broker name → queues
    topic_queue_table: BTreeMap<String, BTreeMap<String, QueueData>>,
    /// broker name → addresses
    broker_addr_table: BTreeMap<String, BrokerData>,
    /// cluster → broker names
    cluster_addr_table: BTreeMap<String, BTreeSet<String>>,
    broker_live_table: BTreeMap<BrokerAddr, LiveInfo>,
    filter_server_table: BTreeMap<BrokerAddr, Vec<String>>,
    /// topic → broker name → mapping of a static topic, passed through as registered
    topic_queue_mapping_table: BTreeMap<String, BTreeMap<String, Value>>,
    /// The generation given last.
    generation: u64,
    /// Grows whenever a route may have changed.
    version: u64,
}

impl RouteInfo {
    /// Empty tables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A number that grows whenever the answer to any route request may have changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    fn touch(&mut self) {
        self.version += 1;
    }

    /// Removes the mappings of brokers that have no queues of the topic any more. Java keeps them, and would show them again with
    /// an ordinary topic of that name.
    fn clean_mappings(&mut self) {
        let queues = &self.topic_queue_table;
        self.topic_queue_mapping_table.retain(|topic, mappings| {
            let brokers = queues.get(topic);
            mappings.retain(|broker_name, _| brokers.is_some_and(|brokers| brokers.contains_key(broker_name)));
            !mappings.is_empty()
        });
    }

    /// The smallest id among `addrs` and its address.
    fn smallest(addrs: &BTreeMap<i64, String>) -> Option<(i64, &String)> {
        addrs.first_key_value().map(|(&id, addr)| (id, addr))
    }

    /// Removes a broker's queues of `topic`, and the topic with its last broker. Returns whether there were any.
    fn remove_queues(&mut self, topic: &str, broker_name: &str) -> bool {
        let Some(queues) = self.topic_queue_table.get_mut(topic) else {
            return false;
        };
        let removed = queues.remove(broker_name).is_some();
        if queues.is_empty() {
            self.topic_queue_table.remove(topic);
        }
        self.clean_mappings();
        if removed {
            self.touch();
        }
        removed
    }
}
