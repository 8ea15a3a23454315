//! The pure table under random histories of two brokers' processes, connections and requests.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use namesrv::route_info::{Registration, RouteInfo, Rules, Unregistration};
use proptest::prelude::*;
use protocol::body::topic::{DataVersion, TopicConfig, TopicConfigSerializeWrapper};

const RULES: Rules = Rules { delete_topic_with_broker_registration: false, notify_min_broker_id_changed: true };

#[derive(Debug, Clone)]
enum Step {
    /// A broker registers by a new connection.
    Connect { broker: usize, topics: u8 },
    /// It registers again by the connection it has.
    Again { broker: usize, topics: u8 },
    /// It asks to go, by its connection of `age` connections ago.
    Request { broker: usize, age: usize },
    /// Its connection of `age` connections ago closes.
    Close { broker: usize, age: usize },
    /// What was asked for is worked off.
    Drain,
    /// Time passes, and the scan runs.
    Scan { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let broker = 0..BROKERS.len();
    prop_oneof![
        3 => (broker.clone(), 0..8u8).prop_map(|(broker, topics)| Step::Connect { broker, topics }),
        3 => (broker.clone(), 0..8u8).prop_map(|(broker, topics)| Step::Again { broker, topics }),
        2 => (broker.clone(), 0..3usize).prop_map(|(broker, age)| Step::Request { broker, age }),
        2 => (broker, 0..3usize).prop_map(|(broker, age)| Step::Close { broker, age }),
        2 => Just(Step::Drain),
        1 => (0..200_000u64).prop_map(|ms| Step::Scan { ms }),
    ]
}

/// Name, id, address.
const BROKERS: [(&str, i64, &str); 4] = [("a", 0, "a0:1"), ("a", 1, "a1:1"), ("b", 0, "b0:1"), ("b", 2, "b2:1")];

/// What a broker's process did last, as its operator would see it.
#[derive(Debug, Default, Clone)]
struct Model {
    connections: Vec<u64>,
    /// The registration that must be visible: when, and by which connection.
    registered: Option<(u64, u64)>,
}

fn registration(index: usize, topics: u8, channel: u64) -> Registration {
    let (name, id, addr) = BROKERS[index];
    let names = ["TBW102", "S"].into_iter().map(str::to_owned);
    let names = names.chain((0..3).filter(|bit| topics & (1 << bit) != 0).map(|bit| format!("T{bit}")));
    Registration {
        cluster: "c".into(),
        addr: addr.into(),
        name: name.into(),
        id,
        enable_acting_master: Some(true),
        topics: TopicConfigSerializeWrapper {
            data_version: DataVersion { counter: i64::from(topics), ..DataVersion::default() },
            topic_config_table: names
                .map(|name| (name.clone(), TopicConfig { topic_name: name, ..TopicConfig::default() }))
                .collect(),
            ..TopicConfigSerializeWrapper::default()
        },
        channel,
        ..Registration::default()
    }
}

/// All that holds between the tables at any time.
fn check_tables(table: &RouteInfo) {
    let info = table.cluster_info();
    for (cluster, names) in &info.cluster_addr_table {
        assert!(!names.is_empty(), "empty cluster {cluster}");
        for name in names {
            assert_eq!(&info.broker_addr_table[name].cluster, cluster);
        }
    }
    for (name, data) in &info.broker_addr_table {
        assert!(!data.broker_addrs.is_empty(), "{name} without address");
        assert!(info.cluster_addr_table[&data.cluster].contains(name));
        let mut seen = std::collections::BTreeSet::new();
        assert!(data.broker_addrs.values().all(|addr| seen.insert(addr)), "one address under two ids: {data:?}");
    }
    for topic in table.topics().topic_list {
        let route = table.route(&topic, false).expect("a listed topic has a route");
        assert!(!route.queue_datas.is_empty());
        for queue in &route.queue_datas {
            assert!(info.broker_addr_table.contains_key(&queue.broker_name), "{topic} on a broker that is gone");
        }
        for data in table.route(&topic, true).unwrap().broker_datas {
            assert!(!data.broker_addrs.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_the_tables_or_loses_a_live_broker(steps in prop::collection::vec(step(), 1..60)) {
        let mut table = RouteInfo::new();
        let mut brokers: BTreeMap<usize, Model> = BTreeMap::new();
        let mut queue: Vec<Unregistration> = Vec::new();
        let (mut now, mut next_channel, mut version) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Connect { broker, topics } => {
                    next_channel += 1;
                    let model = brokers.entry(broker).or_default();
                    model.connections.push(next_channel);
                    model.registered = Some((now, next_channel));
                    table.register(registration(broker, topics, next_channel), RULES, now).unwrap();
                }
                Step::Again { broker, topics } => {
                    let model = brokers.entry(broker).or_default();
                    if let Some(&channel) = model.connections.last() {
                        model.registered = Some((now, channel));
                        table.register(registration(broker, topics, channel), RULES, now).unwrap();
                    }
                }
                Step::Request { broker, age } => {
                    let (name, id, addr) = BROKERS[broker];
                    let model = brokers.entry(broker).or_default();
                    if let Some(&channel) = model.connections.iter().rev().nth(age) {
                        queue.extend(table.unregistration("c", addr, name, id, channel));
                        // Only the newest connection's request may take the broker away.
                        if age == 0 {
                            model.registered = None;
                        }
                    }
                }
                Step::Close { broker, age } => {
                    let model = brokers.entry(broker).or_default();
                    let at = model.connections.len().checked_sub(age + 1);
                    if let Some(channel) = at.map(|at| model.connections.remove(at)) {
                        queue.extend(table.brokers_of_channel(channel));
                        if model.registered.is_some_and(|(_, by)| by == channel) {
                            model.registered = None;
                        }
                    }
                }
                Step::Drain => {
                    table.unregister(&queue, RULES);
                    queue.clear();
                }
                Step::Scan { ms } => {
                    now += ms;
                    for expired in table.expired(now) {
                        queue.extend(expired.unregistration);
                    }
                    for model in brokers.values_mut() {
                        if model.registered.is_some_and(|(at, _)| at + 120_000 < now) {
                            model.registered = None;
                        }
                    }
                }
            }
            check_tables(&table);
            prop_assert!(table.version() >= version);
            version = table.version();
            for (&broker, model) in &brokers {
                let (name, id, addr) = BROKERS[broker];
                let visible = table.broker_member_group("c", name).broker_addrs;
                if model.registered.is_some() {
                    prop_assert_eq!(visible.get(&id).map(String::as_str), Some(addr), "{} {} was wiped", name, id);
                }
            }
        }
        // Once everything is worked off, who left is gone.
        table.unregister(&queue, RULES);
        for (&broker, model) in &brokers {
            let (name, id, _) = BROKERS[broker];
            let visible = table.broker_member_group("c", name).broker_addrs.contains_key(&id);
            prop_assert_eq!(visible, model.registered.is_some(), "{} {}", name, id);
        }
        check_tables(&table);
    }
}
