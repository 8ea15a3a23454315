//! Makes Java clients do everything once, through recording proxies.

use crate::clock::wait_for;
use crate::cluster::{Broker, Kind, Launch, Nameserver};
use crate::driver::{Driver, Serialize, Version};
use crate::proxy::{Rules, Tape, start};
use crate::{args, unique, wire};

/// Where an exercise takes place.
pub struct Place {
    /// A client of the version and serialisation under record.
    pub driver: Driver,
    /// The nameserver's proxy.
    pub namesrv: String,
    /// The broker's proxy.
    pub broker: String,
    /// The broker's own port.
    pub broker_port: u16,
    client: Version,
    serialize: Serialize,
}

/// Starts servers of `server` and a client of `client`, has it do `what`, and returns all frames.
pub fn run(client: Version, server: Version, serialize: Serialize, what: fn(&Place)) -> Tape {
    let tape = Tape::default();
    let launch = Launch { kind: Kind::Java, version: server.name(), serialize, record: false };
    let nameserver = Nameserver::start(launch);
    let namesrv_port = port(&nameserver.addr());
    let rules = Rules { target: namesrv_port, from: "broker", to: "namesrv", exchange: Vec::new() };
    let for_broker = start(0, rules, &tape);
    let broker = Broker::start(launch, "broker-a", &format!("127.0.0.1:{for_broker}"), &[]);
    broker.wait_registered(&nameserver);
    // All ports here have five digits, so that addresses can be exchanged in place.
    let rules = Rules { target: broker.port(), from: "client", to: "broker", exchange: Vec::new() };
    let broker_proxy = start(0, rules, &tape);
    let addresses = (format!("127.0.0.1:{}", broker.port()), format!("127.0.0.1:{broker_proxy}"));
    let rules = Rules { target: namesrv_port, from: "client", to: "namesrv", exchange: vec![addresses] };
    let for_client = start(0, rules, &tape);
    let place = Place {
        driver: Driver::java(client, serialize, false),
        namesrv: format!("127.0.0.1:{for_client}"),
        broker: format!("127.0.0.1:{broker_proxy}"),
        broker_port: broker.port(),
        client,
        serialize,
    };
    what(&place);
    place.driver.end();
    broker.stop();
    tape
}

fn port(addr: &str) -> u16 {
    addr.rsplit(':').next().and_then(|port| port.parse().ok()).expect("an address ends in a port")
}

/// Routes, cluster info, heartbeats.
pub fn routes(place: &Place) {
    let driver = &place.driver;
    let producer = driver.producer(&place.namesrv, args! {});
    producer.send_ok("RouteTopic", 1, args! {});
    let consumer = driver.push(&place.namesrv, "RouteGroup", "RouteTopic", args! {});
    consumer.expect(1);
    driver.mqadmin(&["clusterList", "-n", &place.namesrv]);
    driver.mqadmin(&["topicList", "-n", &place.namesrv]);
    driver.mqadmin(&["topicRoute", "-n", &place.namesrv, "-t", "RouteTopic"]);
}

/// Everything that the client version can do.
pub fn everything(place: &Place) {
    sends(place);
    pulls(place);
    pushes(place);
    commands(place);
    calls(place);
}

fn sends(place: &Place) {
    let producer = place.driver.producer(&place.namesrv, args! { compress: 4096 });
    producer.send_ok("TopicTest", 3, args! { tags: "TagA", keys: "k1 k2", "p.colour": "red", "p.größe": "straße" });
    producer.send_ok("TopicTest", 1, args! { body: "plain" });
    producer.send_ok("TopicTest", 1, args! { body: "long", size: 8000 });
    producer.send_ok("TopicTest", 1, args! { body: "delayed", delay: 1 });
    producer.send_ok("TopicTest", 2, args! { body: "async", mode: "async", tags: "TagB" });
    producer.send("TopicTest", 2, args! { body: "oneway", mode: "oneway" });
    producer.send_ok("TopicTest", 8, args! { body: "ordered", mode: "orderly" });
    producer.send_ok("TopicTest", 4, args! { body: "batch", mode: "batch", tags: "TagC", keys: "b-{}" });
    producer.send("%INVALID%", 1, args! {});
    // SEND_MESSAGE (10) comes only from clients that are told not to use the short form.
    let smart = [("org.apache.rocketmq.client.sendSmartMsg", "false".to_owned())];
    let plain = Driver::java_with(place.client, place.serialize, false, &smart);
    let producer = plain.producer(&place.namesrv, args! {});
    producer.send_ok("TopicTest", 2, args! { body: "code10-", tags: "TagA", keys: "k10" });
    drop(producer);
    plain.end();
}

fn pulls(place: &Place) {
    let pull = place.driver.pull(&place.namesrv, "PullGroup");
    let (topic, broker) = ("TopicTest", "broker-a");
    assert_eq!(pull.queues(topic).len(), 4);
    for queue in 0..4 {
        pull.fetch(topic, broker, queue, 0, args! { max: 2 });
        pull.fetch(topic, broker, queue, 0, args! { sub: "TagA || TagB" });
        pull.fetch(topic, broker, queue, 0, args! { sub: "Nothing" });
        let max = pull.offset(topic, broker, queue, "max", 0);
        pull.fetch(topic, broker, queue, max, args! {});
        pull.fetch(topic, broker, queue, max + 100, args! {});
        pull.offset(topic, broker, queue, "min", 0);
        pull.offset(topic, broker, queue, "earliest", 0);
        pull.offset(topic, broker, queue, "time", 1_000);
        pull.offset(topic, broker, queue, "committed", 0);
        wait_for("the commit is taken", 30, || pull.try_commit(topic, broker, queue, 1));
        pull.offset(topic, broker, queue, "committed", 0);
    }
    place.driver.call("pull.sendback", args! { name: pull.name(), topic: topic, broker: broker, queue: 0, offset: 0 });
    if place.client != Version::V4_5_2 {
        let lite = unique("lite");
        place.driver.call("lite.start", args! { name: lite, group: "LiteGroup", namesrv: place.namesrv, topic: topic });
        place.driver.call("lite.poll", args! { name: lite, count: 5, timeout: 15000 });
        place.driver.call("lite.commit", args! { name: lite });
        place.driver.call("lite.stop", args! { name: lite });
    }
}

fn pushes(place: &Place) {
    let (driver, namesrv) = (&place.driver, &place.namesrv);
    let ordered = driver.push(namesrv, "OrderGroup", "TopicTest", args! { orderly: true });
    ordered.expect(10);
    let retry = driver.push(namesrv, "RetryGroup", "TopicTest", args! { refuse: 1, sub: "TagA", level: 1 });
    retry.deliveries(8);
    let dlq =
        driver.push(namesrv, "DlqGroup", "TopicTest", args! { refuse: 9, sub: "TagB", level: 1, maxReconsume: 1 });
    dlq.deliveries(4);
    let first = driver.push(namesrv, "TwoGroup", "TopicTest", args! {});
    first.expect(10);
    let second = driver.push(namesrv, "TwoGroup", "TopicTest", args! {});
    wait_for("two members share the queues", 40, || (second.queues().len() == 2).then_some(()));
    let broadcast = driver.push(namesrv, "BroadGroup", "TopicTest", args! { model: "broadcast" });
    broadcast.expect(10);
    let live = driver.push(namesrv, "LiveGroup", "TopicTest", args! {});
    live.expect(10);
    // A held pull that new data ends.
    driver.producer(namesrv, args! {}).send_ok("TopicTest", 4, args! { body: "late", tags: "TagA" });
    live.expect(14);
    admin_on_live_group(place);
    for push in [ordered, retry, dlq, first, second, broadcast, live] {
        push.stop();
    }
}

/// What admin tools ask of groups whose members are there, some of which the broker asks the members.
fn admin_on_live_group(place: &Place) {
    let admin = |line: &[&str]| {
        let line: Vec<&str> = line.iter().copied().chain(["-n", &place.namesrv]).collect();
        place.driver.mqadmin(&line)
    };
    admin(&["consumerConnection", "-g", "LiveGroup"]);
    admin(&["consumerProgress", "-g", "LiveGroup"]);
    admin(&["consumerProgress"]);
    admin(&["consumerStatus", "-g", "LiveGroup"]);
    admin(&["resetOffsetByTime", "-g", "LiveGroup", "-t", "TopicTest", "-s", "1000", "-f", "true"]);
    let producer = place.driver.producer(&place.namesrv, args! {});
    let sent = producer.send_ok("TopicTest", 1, args! { keys: "seek-me", tags: "TagA" });
    wait_for("the producer's heartbeat has come", 20, || {
        let answer = admin(&["producerConnection", "-g", &producer.group, "-t", "TopicTest"]);
        answer.contains("127.0.0.1").then_some(())
    });
    admin(&["producerConnection", "-g", &producer.group, "-t", "TopicTest"]);
    let Some(one) = sent.first() else { return };
    // Offset ids carry the broker's own address; asked through the proxy they carry the proxy's.
    let own = format!("{:08X}", place.broker_port);
    let proxied = one.offset_msg_id.replacen(&own, &format!("{:08X}", port(&place.broker)), 1);
    admin(&["queryMsgById", "-i", &proxied, "-t", "TopicTest"]);
    admin(&["queryMsgById", "-i", &proxied, "-t", "TopicTest", "-g", "LiveGroup", "-d", "nobody"]);
    admin(&["queryMsgByKey", "-t", "TopicTest", "-k", "seek-me"]);
    admin(&["queryMsgByKey", "-t", "TopicTest", "-k", "no-such-key"]);
    admin(&["queryMsgByUniqueKey", "-t", "TopicTest", "-i", &one.msg_id]);
    admin(&["queryMsgByOffset", "-t", "TopicTest", "-b", "broker-a", "-i", "0", "-o", "0"]);
    let call = |method: &str, mut arguments: crate::driver::Args, count: usize| {
        let mut args = args! { name: "admin", method: method, n: count };
        args.append(&mut arguments);
        // Some methods are not in every version, and some are refused: the frame is what counts.
        if let Err(failure) = place.driver.try_call("admin.call", args) {
            eprintln!("{method}: {}", failure.error);
        }
    };
    place.driver.call("admin.start", args! { name: "admin", namesrv: place.namesrv });
    call("queryTopicConsumeByWho", args! { s0: "TopicTest" }, 1);
    call("queryConsumeTimeSpan", args! { s0: "TopicTest", s1: "LiveGroup" }, 2);
    call("queryTopicsByConsumer", args! { s0: "LiveGroup" }, 1);
    call("querySubscription", args! { s0: "LiveGroup", s1: "TopicTest" }, 2);
    call("getConsumeStatus", args! { s0: "TopicTest", s1: "LiveGroup", s2: "" }, 3);
    call("examineProducerConnectionInfo", args! { s0: producer.group, s1: "TopicTest" }, 2);
    call("getAllProducerInfo", args! { s0: place.broker }, 1);
    call("fetchConsumeStatsInBroker", args! { s0: place.broker, b1: false, l2: 5000 }, 3);
    call("cloneGroupOffset", args! { s0: "LiveGroup", s1: "CloneGroup", s2: "TopicTest", b3: true }, 4);
    call("queryConsumeQueue", args! { s0: place.broker, s1: "TopicTest", i2: 0, l3: 0, i4: 3, s5: "LiveGroup" }, 6);
}

/// mqadmin on topics, groups, brokers and nameservers.
fn commands(place: &Place) {
    let (ns, broker) = (place.namesrv.as_str(), place.broker.as_str());
    let lines: &[&[&str]] = &[
        &["updateTopic", "-b", broker, "-t", "AdminTopic", "-r", "4", "-w", "4"],
        &["updateTopic", "-c", "DefaultCluster", "-t", "AdminTopic2", "-o", "true"],
        &["updateTopicPerm", "-b", broker, "-t", "AdminTopic", "-p", "4"],
        &["topicRoute", "-t", "AdminTopic"],
        &["topicRoute", "-t", "NoSuchTopic"],
        &["topicStatus", "-t", "TopicTest"],
        &["topicClusterList", "-t", "TopicTest"],
        &["topicList"],
        &["topicList", "-c"],
        &["clusterList"],
        &["clusterList", "-m"],
        &["statsAll", "-t", "TopicTest"],
        &["brokerStatus", "-b", broker],
        &["getBrokerConfig", "-b", broker],
        &["updateBrokerConfig", "-b", broker, "-k", "flushDelayOffsetInterval", "-v", "9000"],
        &["updateBrokerConfig", "-b", broker, "-k", "brokerConfigPath", "-v", "/nowhere"],
        &["brokerConsumeStats", "-b", broker],
        &["cleanExpiredCQ", "-b", broker],
        &["cleanUnusedTopic", "-b", broker],
        &["deleteExpiredCommitLog", "-b", broker],
        &["updateSubGroup", "-b", broker, "-g", "AdminGroup", "-r", "5"],
        &["getConsumerConfig", "-g", "AdminGroup"],
        &["setConsumeMode", "-b", broker, "-t", "TopicTest", "-g", "AdminGroup", "-m", "PULL"],
        &["deleteSubGroup", "-b", broker, "-g", "AdminGroup"],
        &["updateKvConfig", "-s", "space", "-k", "key", "-v", "value"],
        &["deleteKvConfig", "-s", "space", "-k", "key"],
        &["updateOrderConf", "-t", "AdminTopic2", "-v", "broker-a:4", "-m", "put"],
        &["updateOrderConf", "-t", "AdminTopic2", "-m", "get"],
        &["updateOrderConf", "-t", "AdminTopic2", "-m", "delete"],
        &["wipeWritePerm", "-b", "broker-a"],
        &["addWritePerm", "-b", "broker-a"],
        &["getNamesrvConfig"],
        &["updateNamesrvConfig", "-k", "orderMessageEnable", "-v", "true"],
        &["consumerConnection", "-g", "NoSuchGroup"],
        &["deleteTopic", "-t", "AdminTopic", "-c", "DefaultCluster"],
        &["exportMetadata", "-b", broker, "-f", "export"],
        &["haStatus", "-b", broker],
    ];
    for line in lines {
        let mut words = line.to_vec();
        if !words.contains(&"-n") {
            words.extend(["-n", ns]);
        }
        place.driver.mqadmin(&words);
    }
}

/// What no command of mqadmin asks.
fn calls(place: &Place) {
    let call = |method: &str, count: usize, mut arguments: crate::driver::Args| {
        let mut args = args! { name: "admin", method: method, n: count };
        args.append(&mut arguments);
        if let Err(failure) = place.driver.try_call("admin.call", args) {
            eprintln!("{method}: {}", failure.error);
        }
    };
    let broker = &place.broker;
    call("getTopicClusterList", 1, args! { s0: "TopicTest" });
    call("fetchTopicsByCLuster", 1, args! { s0: "DefaultCluster" });
    call("getKVListByNamespace", 1, args! { s0: "ORDER_TOPIC_CONFIG" });
    call("getKVConfig", 2, args! { s0: "space", s1: "none" });
    call("getAllTopicGroup", 2, args! { s0: broker, l1: 5000 });
    call("getAllTopicConfig", 2, args! { s0: broker, l1: 5000 });
    call("getUserTopicConfig", 3, args! { s0: broker, b1: true, l2: 5000 });
    call("getAllSubscriptionGroup", 2, args! { s0: broker, l1: 5000 });
    call("getUserSubscriptionGroup", 2, args! { s0: broker, l1: 5000 });
    call("viewBrokerStatsData", 3, args! { s0: broker, s1: "TOPIC_PUT_NUMS", s2: "TopicTest" });
    call("examineTopicConfig", 2, args! { s0: broker, s1: "TopicTest" });
    call("examineSubscriptionGroupConfig", 2, args! { s0: broker, s1: "LiveGroup" });
    call("getControllerConfig", 1, args! { L0: "127.0.0.1:1" });
    call("getBrokerHAStatus", 1, args! { s0: broker });
    // The requests of a slave for the master's tables, and an unknown code, in JSON; Java 4.5.2 had them all.
    if place.serialize == Serialize::Json {
        for code in [21, 43, 45, 201, 305, 999] {
            wire::call(broker, code, &serde_json::json!({}), &[]).ok();
        }
        for code in [304, 311, 312, 313, 206, 999] {
            wire::call(&place.namesrv, code, &serde_json::json!({}), &[]).ok();
        }
    }
}
