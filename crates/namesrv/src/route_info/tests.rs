use std::collections::BTreeMap;

use codec::json::{Dialect, to_vec};
use protocol::body::topic::{DataVersion, TopicConfig, TopicConfigSerializeWrapper};

use super::*;

const RULES: Rules = Rules { delete_topic_with_broker_registration: false, notify_min_broker_id_changed: true };

fn topics(counter: i64, names: &[&str]) -> TopicConfigSerializeWrapper {
    let config = |name: &&str| {
        let config = TopicConfig {
            topic_name: (*name).to_owned(),
            read_queue_nums: 4,
            write_queue_nums: 4,
            ..TopicConfig::default()
        };
        ((*name).to_owned(), config)
    };
    TopicConfigSerializeWrapper {
        data_version: DataVersion { counter, state_version: 0, timestamp: 1 },
        topic_config_table: names.iter().map(config).collect(),
        ..TopicConfigSerializeWrapper::default()
    }
}

fn broker(name: &str, id: i64, channel: u64) -> Registration {
    Registration {
        cluster: "c".to_owned(),
        addr: format!("{name}-{id}:10911"),
        name: name.to_owned(),
        id,
        ha_server_addr: Some(format!("{name}-{id}:10912")),
        enable_acting_master: Some(false),
        topics: topics(1, &["TBW102", "T"]),
        channel,
        ..Registration::default()
    }
}

fn acting(name: &str, id: i64, channel: u64) -> Registration {
    Registration { enable_acting_master: Some(true), ..broker(name, id, channel) }
}

fn addrs(table: &RouteInfo, name: &str) -> BTreeMap<i64, String> {
    table.broker_member_group("c", name).broker_addrs
}

fn leave(table: &mut RouteInfo, of: &Registration) -> Vec<MinBrokerIdChange> {
    let gone = table.unregistration(&of.cluster, &of.addr, &of.name, of.id, u64::MAX).unwrap();
    table.unregister(&[gone], RULES)
}

#[test]
fn a_route_appears_and_goes_with_its_broker() {
    let mut table = RouteInfo::new();
    assert_eq!(table.route("T", false), Err(NoRoute::NoBroker));
    let a = broker("a", 0, 1);
    let registered = table.register(a.clone(), RULES, 0).unwrap();
    assert!(registered.is_new && registered.master_addr.is_none());
    let route = table.route("T", false).unwrap();
    assert_eq!((route.queue_datas.len(), route.broker_datas.len()), (1, 1));
    assert_eq!(table.route("U", false), Err(NoRoute::NoSuchTopic));
    leave(&mut table, &a);
    assert_eq!(table.route("T", false), Err(NoRoute::NoBroker));
    assert!(table.topics().topic_list.is_empty());
    assert!(table.cluster_info().cluster_addr_table.is_empty());
}

#[test]
fn bodies_are_javas() {
    let mut table = RouteInfo::new();
    for (id, addr) in [(0, "10.0.0.1:10911"), (1, "10.0.0.2:10911"), (10, "10.0.0.3:10911")] {
        let one = Registration { addr: addr.to_owned(), cluster: "DefaultCluster".into(), ..broker("broker-a", id, 1) };
        table.register(one, RULES, 0).unwrap();
    }
    let check = |json: Vec<u8>, expect: &str| assert_eq!(String::from_utf8(json).unwrap(), expect);
    let route = table.route("T", false).unwrap();
    // Recorded from Java 5.5.0: TopicRouteData.encode(), and the form for clients from V4_9_4 on.
    check(
        to_vec(&route, Dialect::Fastjson).unwrap(),
        r#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911",10:"10.0.0.3:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#,
    );
    check(
        to_vec(&route, Dialect::Standard).unwrap(),
        r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911","1":"10.0.0.2:10911","10":"10.0.0.3:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#,
    );
    check(
        to_vec(&table.cluster_info(), Dialect::Fastjson).unwrap(),
        r#"{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911",10:"10.0.0.3:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}},"clusterAddrTable":{"DefaultCluster":["broker-a"]}}"#,
    );
}

#[test]
fn a_late_unregistration_never_wipes_a_newer_registration() {
    let mut table = RouteInfo::new();
    let old = broker("a", 0, 1);
    table.register(old.clone(), RULES, 0).unwrap();
    let queued = table.brokers_of_channel(1);
    let requested = table.unregistration("c", &old.addr, "a", 0, 1).unwrap();
    table.register(broker("a", 0, 2), RULES, 10).unwrap();
    // The close of the old connection and the request were observed before the broker came back.
    table.unregister(&queued, RULES);
    table.unregister(&[requested], RULES);
    assert!(table.route("T", false).is_ok());
    // A request that arrives by the old connection after the broker came back by another one.
    assert_eq!(table.unregistration("c", &old.addr, "a", 0, 1), None);
    assert!(table.brokers_of_channel(1).is_empty());
    // The new connection's own request counts.
    let own = table.unregistration("c", &old.addr, "a", 0, 2).unwrap();
    table.unregister(&[own], RULES);
    assert_eq!(table.route("T", false), Err(NoRoute::NoBroker));
}

#[test]
fn silence_expires_and_a_sign_of_life_does_not() {
    let mut table = RouteInfo::new();
    table.register(Registration { timeout_ms: Some(1000), ..broker("a", 0, 1) }, RULES, 0).unwrap();
    table.register(broker("b", 0, 2), RULES, 0).unwrap();
    assert!(table.expired(1000).is_empty());
    table.refresh("c", "a-0:10911", 900);
    table.refresh("c", "unknown:1", 900);
    assert!(table.expired(1900).is_empty());
    let expired = table.expired(1901);
    assert_eq!(expired.len(), 1);
    assert_eq!((expired[0].channel, expired[0].timeout_ms), (1, 1000));
    let gone = expired[0].unregistration.clone().unwrap();
    // It comes back before the scan's finding is worked off.
    table.register(Registration { timeout_ms: Some(1000), ..broker("a", 0, 3) }, RULES, 1902).unwrap();
    table.unregister(std::slice::from_ref(&gone), RULES);
    assert_eq!(addrs(&table, "a").len(), 1);
    assert_eq!(table.expired(DEFAULT_HEARTBEAT_TIMEOUT_MS).len(), 1);
    assert_eq!(table.expired(DEFAULT_HEARTBEAT_TIMEOUT_MS + 1).len(), 2);
}

#[test]
fn a_broker_that_moved_leaves_nothing_behind() {
    let mut table = RouteInfo::new();
    table.register(broker("a", 0, 1), RULES, 0).unwrap();
    table.register(Registration { addr: "new:10911".into(), ..broker("a", 0, 2) }, RULES, 10).unwrap();
    assert_eq!(addrs(&table, "a"), BTreeMap::from([(0, "new:10911".to_owned())]));
    assert!(table.brokers_of_channel(1).is_empty());
    let expired = table.expired(DEFAULT_HEARTBEAT_TIMEOUT_MS + 5);
    assert_eq!((expired.len(), expired[0].unregistration.is_none()), (1, true));
    assert!(table.expired(DEFAULT_HEARTBEAT_TIMEOUT_MS + 6).is_empty());
}

#[test]
fn slaves_learn_their_master_and_a_slave_may_become_one() {
    let mut table = RouteInfo::new();
    table.register(broker("a", 0, 1), RULES, 0).unwrap();
    let slave = table.register(broker("a", 1, 2), RULES, 0).unwrap();
    assert_eq!(slave.master_addr.as_deref(), Some("a-0:10911"));
    assert_eq!(slave.ha_server_addr.as_deref(), Some("a-0:10912"));
    let promoted = Registration { addr: "a-1:10911".into(), topics: topics(2, &["T", "U"]), ..broker("a", 0, 2) };
    table.register(promoted, RULES, 1).unwrap();
    assert_eq!(addrs(&table, "a"), BTreeMap::from([(0, "a-1:10911".to_owned())]));
    assert!(table.route("U", false).is_ok());
}

#[test]
fn a_higher_state_version_stands() {
    let mut table = RouteInfo::new();
    let mut first = broker("a", 0, 1);
    first.topics.data_version.state_version = 5;
    table.register(first, RULES, 0).unwrap();
    let second = Registration { addr: "other:1".into(), ..broker("a", 0, 2) };
    let ignored = table.register(second, RULES, 0).unwrap();
    assert_eq!(ignored, Registered::default());
    assert_eq!(addrs(&table, "a")[&0], "a-0:10911");
}

#[test]
fn a_single_topic_needs_a_registered_broker() {
    let mut table = RouteInfo::new();
    let single = Registration { topics: topics(2, &["N"]), ..broker("a", 0, 1) };
    assert_eq!(table.register(single.clone(), RULES, 0), Err(NotRegistered));
    assert!(table.cluster_info().broker_addr_table.is_empty());
    table.register(broker("a", 0, 1), RULES, 0).unwrap();
    table.register(single, RULES, 0).unwrap();
    assert_eq!(table.topics().topic_list, ["N", "T", "TBW102"]);
}

#[test]
fn unlisted_topics_go_when_asked_for() {
    let mut table = RouteInfo::new();
    table.register(broker("a", 0, 1), RULES, 0).unwrap();
    table.register(broker("b", 0, 2), RULES, 0).unwrap();
    let fewer = Registration { topics: topics(2, &["TBW102", "U"]), ..broker("a", 0, 1) };
    table.register(fewer.clone(), RULES, 0).unwrap();
    assert_eq!(table.route("T", false).unwrap().queue_datas.len(), 2);
    table.register(fewer, Rules { delete_topic_with_broker_registration: true, ..RULES }, 0).unwrap();
    assert_eq!(table.route("T", false).unwrap().queue_datas[0].broker_name, "b");
}

#[test]
fn write_permission() {
    let mut table = RouteInfo::new();
    table.register(broker("a", 0, 1), RULES, 0).unwrap();
    let perm = |table: &RouteInfo| table.route("T", false).unwrap().queue_datas[0].perm;
    let before = table.version();
    assert_eq!(table.set_write_perm("a", false), 2);
    assert!(table.version() > before);
    assert_eq!(perm(&table), 4);
    // The same topics again do not give the permission back …
    table.register(broker("a", 0, 1), RULES, 0).unwrap();
    assert_eq!(perm(&table), 4);
    assert_eq!(table.set_write_perm("a", true), 2);
    assert_eq!(perm(&table), 6);
    assert_eq!(table.set_write_perm("unknown", false), 0);
}

#[test]
fn a_slave_acts_for_its_master() {
    let mut table = RouteInfo::new();
    let master = acting("a", 0, 1);
    table.register(master.clone(), RULES, 0).unwrap();
    table.register(acting("a", 1, 2), RULES, 0).unwrap();
    table.register(acting("a", 2, 3), RULES, 0).unwrap();
    let changes = leave(&mut table, &master);
    assert_eq!(
        changes,
        [MinBrokerIdChange {
            notify: vec!["a-1:10911".into(), "a-2:10911".into()],
            min_broker_id: 1,
            min_broker_addr: "a-1:10911".into(),
            offline_broker_addr: Some("a-0:10911".into()),
            ha_broker_addr: None,
        }]
    );
    let plain = table.route("T", false).unwrap();
    assert_eq!(plain.queue_datas[0].perm, 4);
    assert_eq!(plain.broker_datas[0].broker_addrs.keys().copied().collect::<Vec<_>>(), [1, 2]);
    let shown = table.route("T", true).unwrap();
    assert_eq!(shown.broker_datas[0].broker_addrs[&0], "a-1:10911");
    assert!(!shown.broker_datas[0].broker_addrs.contains_key(&1));
    // The master comes back: all but it are told.
    let back = table.register(acting("a", 0, 9), RULES, 0).unwrap().notify.unwrap();
    assert_eq!((back.notify, back.min_broker_id), (vec!["a-1:10911".to_owned(), "a-2:10911".into()], 0));
    assert_eq!(back.ha_broker_addr.as_deref(), Some("a-0:10912"));
    assert_eq!(table.route("T", true).unwrap().queue_datas[0].perm, 6);
}

#[test]
fn the_first_slave_registers_topics_read_only() {
    let mut table = RouteInfo::new();
    table.register(acting("a", 1, 1), RULES, 0).unwrap();
    assert_eq!(table.route("T", false).unwrap().queue_datas[0].perm, 4);
    // Brokers before 5.0 do not say whether slaves may act: theirs register no topics.
    table.register(Registration { enable_acting_master: None, ..broker("old", 1, 2) }, RULES, 0).unwrap();
    assert_eq!(table.route("T", false).unwrap().queue_datas.len(), 1);
}

#[test]
fn topics_are_listed_deleted_and_registered() {
    let mut table = RouteInfo::new();
    let mut unit = broker("a", 0, 1);
    for (topic, flag) in [("T", 1), ("TBW102", 2)] {
        unit.topics.topic_config_table.get_mut(topic).unwrap().topic_sys_flag = flag;
    }
    table.register(unit, RULES, 0).unwrap();
    table.register(Registration { cluster: "d".into(), ..broker("b", 0, 2) }, RULES, 0).unwrap();
    assert_eq!(table.topics_by_flag(|f| f.unit).topic_list, ["T"]);
    assert_eq!(table.topics_by_flag(|f| f.has_unit_sub).topic_list, ["TBW102"]);
    assert_eq!(table.topics_by_flag(|f| f.has_unit_sub && f.unit).topic_list, Vec::<String>::new());
    assert_eq!(table.topics_by_cluster("c").topic_list, ["T", "TBW102"]);
    assert!(table.topics_by_cluster("unknown").topic_list.is_empty());
    let system = table.system_topics();
    assert_eq!(
        (system.topic_list, system.broker_addr.as_deref()),
        (["c", "a", "d", "b"].map(str::to_owned).to_vec(), Some("a-0:10911"))
    );

    table.delete_topic("T", Some("c"));
    assert_eq!(table.route("T", false).unwrap().queue_datas[0].broker_name, "b");
    table.delete_topic("T", None);
    assert_eq!(table.route("T", false), Err(NoRoute::NoSuchTopic));

    let queue = |name: &str| QueueData { broker_name: name.into(), perm: 6, ..QueueData::default() };
    assert!(!table.register_topic("N", vec![queue("a"), queue("unknown")]));
    assert!(table.register_topic("N", vec![queue("a"), queue("b")]));
    assert_eq!(table.route("N", false).unwrap().broker_datas.len(), 2);
}

#[test]
fn zones() {
    let mut table = RouteInfo::new();
    for (name, zone) in [("a", Some("z1")), ("b", Some("z2")), ("n", None)] {
        let one = Registration { zone_name: zone.map(str::to_owned), ..broker(name, 0, 1) };
        table.register(one, RULES, 0).unwrap();
    }
    table.register(Registration { zone_name: Some("z2".into()), ..acting("s", 1, 2) }, RULES, 0).unwrap();
    let mut route = table.route("T", false).unwrap();
    filter_by_zone(&mut route, "Z1");
    let names: Vec<_> = route.broker_datas.iter().map(|data| data.broker_name.as_str()).collect();
    assert_eq!(names, ["a", "s"]);
    let names: Vec<_> = route.queue_datas.iter().map(|queue| queue.broker_name.as_str()).collect();
    assert_eq!(names, ["a", "s"]);
}

#[test]
fn filter_servers_and_mappings_pass_through() {
    let mut table = RouteInfo::new();
    let mut one = Registration { filter_servers: Some(vec!["f:1".into()]), ..broker("a", 0, 1) };
    let mapping = serde_json::json!({"bname": "a", "topic": "T", "totalQueues": 3});
    one.topics.topic_queue_mapping_info_map = Some(BTreeMap::from([("T".to_owned(), mapping.clone())]));
    table.register(one, RULES, 0).unwrap();
    let route = table.route("T", false).unwrap();
    assert_eq!(route.filter_server_table["a-0:10911"], ["f:1"]);
    assert_eq!(route.topic_queue_mapping_by_broker.unwrap()["a"], mapping);
}

#[test]
fn mappings_go_with_the_topic_and_with_the_broker() {
    let mut table = RouteInfo::new();
    let mapped = |name: &str, channel| {
        let mut one = broker(name, 0, channel);
        let mapping = serde_json::json!({"bname": name, "topic": "T", "totalQueues": 3});
        one.topics.topic_queue_mapping_info_map = Some(BTreeMap::from([("T".to_owned(), mapping)]));
        one
    };
    let mapped_by = |table: &RouteInfo| {
        let mappings = table.route("T", false).unwrap().topic_queue_mapping_by_broker.unwrap_or_default();
        mappings.into_keys().collect::<Vec<_>>()
    };
    let (a, b) = (mapped("a", 1), mapped("b", 2));
    table.register(a.clone(), RULES, 0).unwrap();
    table.register(b.clone(), RULES, 0).unwrap();
    assert_eq!(mapped_by(&table), ["a", "b"]);
    leave(&mut table, &a);
    assert_eq!(mapped_by(&table), ["b"]);
    table.register(a, RULES, 0).unwrap();
    assert_eq!(mapped_by(&table), ["a", "b"]);
    table.delete_topic("T", None);
    // The same name again, as an ordinary topic.
    table.register(Registration { topics: broker("b", 0, 2).topics, ..b }, RULES, 0).unwrap();
    assert!(mapped_by(&table).is_empty());
}

#[test]
fn data_versions() {
    let mut table = RouteInfo::new();
    let one = broker("a", 0, 1);
    let version = one.topics.data_version;
    assert!(table.is_topic_config_changed("c", &one.addr, &version));
    table.register(one.clone(), RULES, 0).unwrap();
    assert!(!table.is_topic_config_changed("c", &one.addr, &version));
    assert!(table.is_topic_config_changed("c", &one.addr, &version.next(7)));
    assert_eq!(table.data_version_of("c", &one.addr), Some(version));
    let before = table.version();
    table.register(one, RULES, 1).unwrap();
    assert_eq!(table.version(), before, "a registration that brings nothing new leaves routes as they are");
}

#[test]
fn a_broker_that_changed_its_cluster_is_in_the_new_one_only() {
    let mut table = RouteInfo::new();
    let old = broker("a", 0, 1);
    table.register(old.clone(), RULES, 0).unwrap();
    let other = Registration { cluster: "d".into(), addr: "a-1:10911".into(), ..broker("a", 1, 2) };
    table.register(other, RULES, 0).unwrap();
    assert!(table.topics_by_cluster("c").topic_list.is_empty());
    assert_eq!(table.topics_by_cluster("d").topic_list, ["T", "TBW102"]);
    // Both still go by themselves.
    let gone = table.brokers_of_channel(1);
    table.unregister(&gone, RULES);
    assert_eq!(addrs(&table, "a").len(), 1);
    let gone = table.brokers_of_channel(2);
    table.unregister(&gone, RULES);
    assert!(table.cluster_info().cluster_addr_table.is_empty());
    assert!(table.cluster_info().broker_addr_table.is_empty());
}

#[test]
fn a_request_for_a_broker_unknown_in_its_cluster_touches_nothing() {
    let mut table = RouteInfo::new();
    table.register(broker("a", 0, 1), RULES, 0).unwrap();
    let foreign = table.unregistration("d", "a-0:10911", "a", 0, 9).unwrap();
    table.unregister(&[foreign], RULES);
    assert!(table.route("T", false).is_ok());
}
