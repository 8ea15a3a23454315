//! What is asked of the tables.

use std::collections::{BTreeMap, BTreeSet};

use protocol::body::route::{BrokerMemberGroup, ClusterInfo, QueueData, TopicRouteData};
use protocol::body::topic::TopicList;
use protocol::sys_flag::{perm, topic as topic_flag};

use super::{BrokerAddr, MASTER_ID, RouteInfo};

/// Topics with this prefix show real slaves even where one acts for the master: members of a group find each other by them.
const SYNC_BROKER_MEMBER_GROUP_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";

/// Why there is no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// No broker is registered at all.
    NoBroker,
    /// Brokers are registered, none with this topic.
    NoSuchTopic,
}

impl RouteInfo {
    /// The route of a topic (request 105): its queues and the brokers that hold them.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub fn route(&self, topic: &str, support_acting_master: bool) -> Result<TopicRouteData, NoRoute> {
        let none = if self.broker_addr_table.is_empty() { NoRoute::NoBroker } else { NoRoute::NoSuchTopic };
        let queues = self.topic_queue_table.get(topic).ok_or(none)?;
        let mut route = TopicRouteData {
            queue_datas: queues.values().cloned().collect(),
            broker_datas: queues.keys().filter_map(|name| self.broker_addr_table.get(name)).cloned().collect(),
            topic_queue_mapping_by_broker: self.topic_queue_mapping_table.get(topic).cloned(),
            ..TopicRouteData::default()
        };
        if route.broker_datas.is_empty() {
            return Err(none);
        }
        route.filter_server_table = self.filter_servers_of(&route);
        if support_acting_master && !topic.starts_with(SYNC_BROKER_MEMBER_GROUP_PREFIX) {
            show_acting_masters(&mut route);
        }
        Ok(route)
    }

    /// All brokers (request 106).
    #[must_use]
    pub fn cluster_info(&self) -> ClusterInfo {
        ClusterInfo {
            broker_addr_table: self.broker_addr_table.clone(),
            cluster_addr_table: self
                .cluster_addr_table
                .iter()
                .map(|(cluster, names)| (cluster.clone(), names.iter().cloned().collect()))
                .collect(),
        }
    }

    /// The replicas of one name (request 901); without addresses when it is unknown.
    #[must_use]
    pub fn broker_member_group(&self, cluster: &str, name: &str) -> BrokerMemberGroup {
        BrokerMemberGroup {
            broker_addrs: self.broker_addr_table.get(name).map(|data| data.broker_addrs.clone()).unwrap_or_default(),
            broker_name: name.to_owned(),
            cluster: cluster.to_owned(),
        }
    }

    /// All topics (request 206).
    #[must_use]
    pub fn topics(&self) -> TopicList {
        TopicList { topic_list: self.topic_queue_table.keys().cloned().collect(), broker_addr: None }
    }

    /// The topics of a cluster (request 224), each once for every broker that has it, as in Java; none of an unknown cluster.
    #[must_use]
    pub fn topics_by_cluster(&self, cluster: &str) -> TopicList {
        let names = self.cluster_addr_table.get(cluster).into_iter().flatten();
        let topic_list = names.flat_map(|name| {
            self.topic_queue_table.iter().filter(move |(_, q)| q.contains_key(name)).map(|(topic, _)| topic.clone())
        });
        TopicList { topic_list: topic_list.collect(), broker_addr: None }
    }

    /// The topics every cluster has: its own name and those of its brokers, and the address of one broker (request 304).
    #[must_use]
    pub fn system_topics(&self) -> TopicList {
        let topic_list = self
            .cluster_addr_table
            .iter()
            .flat_map(|(cluster, names)| std::iter::once(cluster).chain(names).cloned())
            .collect();
        let broker_addr = self.broker_addr_table.values().find_map(|data| data.broker_addrs.values().next().cloned());
        TopicList { topic_list, broker_addr }
    }

    /// The topics whose flag satisfies `wanted` (requests 311, 312, 313); the first broker's flag counts.
    #[must_use]
    pub fn topics_by_flag(&self, wanted: impl Fn(UnitFlags) -> bool) -> TopicList {
        let flags = |queue: &QueueData| UnitFlags {
            unit: queue.topic_sys_flag & topic_flag::UNIT != 0,
            has_unit_sub: queue.topic_sys_flag & topic_flag::UNIT_SUB != 0,
        };
        let matching = self
            .topic_queue_table
            .iter()
            .filter(|(_, queues)| queues.values().next().is_some_and(|queue| wanted(flags(queue))));
        TopicList { topic_list: matching.map(|(topic, _)| topic.clone()).collect(), broker_addr: None }
    }

    fn filter_servers_of(&self, route: &TopicRouteData) -> BTreeMap<String, Vec<String>> {
        if self.filter_server_table.is_empty() {
            return BTreeMap::new();
        }
        let addrs = route
            .broker_datas
            .iter()
            .flat_map(|data| data.broker_addrs.values().map(|addr| BrokerAddr::new(&data.cluster, addr)));
        addrs
            .filter_map(|key| self.filter_server_table.get(&key).map(|list| (key.addr.clone(), list.clone())))
            .collect()
    }
}

/// The unit flags of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitFlags {
    /// It belongs to a unit.
    pub unit: bool,
    /// It has unit subscribers.
    pub has_unit_sub: bool,
}

/// Where a group without master lets slaves act for it and the topic is not writeable there, the slave with the smallest id
/// is shown as master.
fn show_acting_masters(route: &mut TopicRouteData) {
    for data in &mut route.broker_datas {
        if !data.enable_acting_master || data.broker_addrs.contains_key(&MASTER_ID) {
            continue;
        }
        let queue = route.queue_datas.iter().find(|queue| queue.broker_name == data.broker_name);
        if queue.is_some_and(|queue| !perm::is_writeable(queue.perm))
            && let Some((_, addr)) = data.broker_addrs.pop_first()
        {
            data.broker_addrs.insert(MASTER_ID, addr);
        }
    }
}

/// Leaves the brokers of one zone in a route, and those without master: who lost its master reads where it can.
/// Source: namesrv/route/ZoneRouteRPCHook.java.
pub fn filter_by_zone(route: &mut TopicRouteData, zone: &str) {
    let mut removed = BTreeSet::new();
    route.broker_datas.retain(|data| {
        let here = data.zone_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(zone));
        let keep = here || !data.broker_addrs.contains_key(&MASTER_ID);
        if !keep {
            removed.insert(data.broker_name.clone());
            for addr in data.broker_addrs.values() {
                route.filter_server_table.remove(addr);
            }
        }
        keep
    });
    route.queue_datas.retain(|queue| !removed.contains(&queue.broker_name));
}
