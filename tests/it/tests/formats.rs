//! What only some brokers are set up to store: topics of batches, records with a CRC of all their bytes, names that need the
//! second form of a record, IPv6 hosts, extensions of queues, several log directories. Each case on both brokers, and the
//! stores by turns.

use it::clock::wait_for;
use it::cluster::{ClusterOptions, is_error};
use it::driver::{Driver, Serialize, Version};
use it::{Broker, Cluster, Kind, Launch, Nameserver, args, java, on_both, unique, wire};
use serde_json::{Value, json};

const SEND_MESSAGE: i32 = 10;
const PULL_MESSAGE: i32 = 11;
const CREATE_TOPIC: i32 = 17;
const SEND_BATCH_MESSAGE: i32 = 320;
const INVALID_PARAMETER: i32 = 29;

/// Everything that a broker can be set up to write, in files so small that each of them begins several.
const EVERYTHING: &[(&str, &str)] = &[
    ("storePathCommitLog", "store/log-b,store/log-a"),
    ("mappedFileSizeCommitLog", "65536"),
    ("maxMessageSize", "32768"),
    ("mappedFileSizeConsumeQueue", "2000"),
    ("mappedFileSizeConsumeQueueExt", "1024"),
    ("mapperFileSizeBatchConsumeQueue", "460"),
    ("maxHashSlotNum", "100"),
    ("maxIndexNum", "400"),
    ("enableConsumeQueueExt", "true"),
    ("enabledAppendPropCRC", "true"),
    ("forceVerifyPropCRC", "true"),
];

on_both! {
    shared: batches_are_records, single_messages_of_a_batch_topic;
    own: long_retry_topics_are_stored, crcs_are_stored_and_come_along, ipv6_hosts;
}

/// The client of 5.5.0, which takes batches apart.
fn new_client() -> &'static Driver {
    java(Version::V5_5_0, Serialize::Json)
}

/// Makes a topic with one queue of batches.
fn make_batch_topic(addr: &str, topic: &str) {
    let fields = json!({ "topic": topic, "defaultTopic": "TBW102", "readQueueNums": "1", "writeQueueNums": "1",
        "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
        "attributes": "+queue.type=BatchCQ" });
    let answer = wire::call(addr, CREATE_TOPIC, &fields, &[]).expect("the broker answers");
    assert_eq!(answer.header["code"], 0, "{}", answer.header);
}

fn batch_topic(cluster: &Cluster) -> String {
    let topic = unique("BatchTopic");
    make_batch_topic(&cluster.broker().addr(), &topic);
    cluster.wait_route(&topic);
    topic
}

/// Bodies and offsets of everything with these tags in queue 0 of a topic.
fn pull_all(driver: &Driver, namesrv: &str, topic: &str, tags: &str) -> Vec<(String, i64)> {
    let pull = driver.pull(namesrv, &unique("ReadGroup"));
    let mut all = Vec::new();
    let mut at = pull.offset(topic, "broker-a", 0, "min", 0).max(0);
    loop {
        let got = pull.fetch(topic, "broker-a", 0, at, args! { max: 32, sub: tags });
        if got.status != "FOUND" && got.status != "NO_MATCHED_MSG" {
            return all;
        }
        all.extend(got.messages.iter().map(|message| (message.body.clone(), message.offset)));
        assert!(got.next > at, "{got:?}");
        at = got.next;
    }
}

fn batches_are_records(cluster: &Cluster) {
    let topic = batch_topic(cluster);
    let driver = new_client();
    let producer = driver.producer(&cluster.namesrv(), args! {});
    for (from, count) in [(0, 5), (5, 1), (6, 30)] {
        let sent = producer.send_ok(&topic, count, args! { mode: "batch", from: from, tags: "TagA", keys: "k{}" });
        assert_eq!((sent[0].offset, sent[0].queue), (from, 0), "{sent:?}");
        assert!(!sent[0].offset_msg_id.contains(','), "one record: {sent:?}");
    }
    let expect: Vec<_> = (0..36).map(|at| (format!("m{at}"), at)).collect();
    assert_eq!(pull_all(driver, &cluster.namesrv(), &topic, "*"), expect);
    let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { threads: 1 });
    let mut got: Vec<_> = push.expect_exactly(36, 300).iter().map(|m| (m.body.clone(), m.offset)).collect();
    got.sort_by_key(|(_, offset)| *offset);
    assert_eq!(got, expect);
    let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
    assert_eq!(pull.offset(&topic, "broker-a", 0, "max", 0), 36);
    assert_eq!(pull.offset(&topic, "broker-a", 0, "min", 0), 0);
    assert_eq!(pull.offset(&topic, "broker-a", 0, "time", 0), 0);
    // From the middle of a batch the whole of it comes.
    let middle = pull.fetch(&topic, "broker-a", 0, 3, args! { max: 1 });
    assert_eq!((middle.status.as_str(), middle.next), ("FOUND", 5), "{middle:?}");
    // What the answer says besides.
    let record = |body: &str| {
        let mut bytes = Vec::new();
        bytes.extend((22 + body.len() as u32).to_be_bytes());
        bytes.extend([0; 12]);
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend(body.as_bytes());
        bytes.extend([0, 0]);
        bytes
    };
    let fields = json!({ "a": "batchers", "b": topic, "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": "1700000000000",
        "h": "0", "i": "UNIQ_KEY\u{1}AC1100020000000000000000000000\u{2}", "j": "0", "k": "false", "m": "true" });
    let body = [record("by hand 1"), record("by hand 2")].concat();
    let answer = wire::call(&cluster.broker().addr(), SEND_BATCH_MESSAGE, &fields, &body).expect("an answer");
    let said = &answer.header["extFields"];
    assert_eq!((&answer.header["code"], &said["queueOffset"]), (&json!(0), &json!("36")), "{}", answer.header);
    assert_eq!(said["batchUniqId"], "AC1100020000000000000000000000", "{}", answer.header);
    assert_eq!(said["msgId"].as_str().map(str::len), Some(32), "{}", answer.header);
}

fn single_messages_of_a_batch_topic(cluster: &Cluster) {
    let topic = batch_topic(cluster);
    let driver = new_client();
    let producer = driver.producer(&cluster.namesrv(), args! {});
    producer.send_ok(&topic, 2, args! { mode: "batch", body: "batch" });
    producer.send_ok(&topic, 1, args! { body: "single" });
    producer.send_ok(&topic, 2, args! { mode: "batch", body: "later" });
    let got: Vec<_> = pull_all(driver, &cluster.namesrv(), &topic, "*");
    let expect = [("batch0", 0), ("batch1", 1), ("single0", 2), ("later0", 3), ("later1", 4)];
    let got: Vec<_> = got.iter().map(|(body, offset)| (body.as_str(), *offset)).collect();
    assert_eq!(got, expect);
}

/// Retry topics may be longer than what the first form of a record can say. Clients end groups at 120 bytes and no admin
/// request makes a longer one, so the group comes to be by hand, and the messages are sent by hand.
fn long_retry_topics_are_stored(kind: Kind) {
    let cluster = Cluster::start(Launch::of(kind), &ClusterOptions::default());
    let broker = cluster.broker();
    let group = "g".repeat(150);
    // So that the broker leaves a file with groups.
    let pull = new_client().pull(&cluster.namesrv(), &unique("CG"));
    pull.fetch(&cluster.topic("Any", 1), "broker-a", 0, 0, args! {});
    broker.stop();
    let path = broker.store_dir().join("config/subscriptionGroup.json");
    let mut groups: Value =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("the broker leaves its groups")).expect("JSON");
    groups["subscriptionGroupTable"][&group] = json!({ "groupName": group, "retryQueueNums": 1, "retryMaxTimes": 16,
        "consumeEnable": true, "consumeBroadcastEnable": true, "consumeFromMinEnable": true });
    std::fs::write(&path, groups.to_string()).expect("the store is writable");
    broker.boot();
    let topic = format!("%RETRY%{group}");
    let send = |topic: &str| {
        let fields = json!({ "producerGroup": "long", "topic": topic, "defaultTopic": "TBW102",
            "defaultTopicQueueNums": "4", "queueId": "0", "sysFlag": "0", "bornTimestamp": "1700000000000", "flag": "0",
            "properties": "TAGS\u{1}TagV2\u{2}", "reconsumeTimes": "0", "unitMode": "false", "batch": "false" });
        wire::call(&broker.addr(), SEND_MESSAGE, &fields, b"second form").expect("the broker answers").header
    };
    assert_eq!(send(&topic)["code"], 0);
    for too_long in ["t".repeat(128), format!("%RETRY%{}", "g".repeat(249))] {
        let refused = send(&too_long);
        assert_eq!(refused["code"], INVALID_PARAMETER, "{refused}");
        assert!(refused["remark"].as_str().unwrap_or_default().contains("longer than topic max length"), "{refused}");
    }
    let pull = || {
        let fields = json!({ "consumerGroup": group, "topic": topic, "queueId": "0", "queueOffset": "0",
            "maxMsgNums": "32", "sysFlag": "4", "commitOffset": "0", "suspendTimeoutMillis": "1000", "subscription": "*",
            "subVersion": "0", "expressionType": "TAG" });
        wire::call(&broker.addr(), PULL_MESSAGE, &fields, &[]).expect("the broker answers")
    };
    for _ in 0..2 {
        let got = wait_for("the message", 10, || Some(pull()).filter(|got| got.header["code"] == 0));
        assert_eq!(got.body[4..8], [0xDA, 0xA3, 0x20, 0xAB], "the second magic code");
        let name =
            got.body.windows(topic.len() + 2).any(|part| part[..2] == [0, 157] && part[2..] == *topic.as_bytes());
        assert!(name, "the topic with two bytes of length");
        broker.kill9();
        broker.boot();
    }
    cluster.assert_quiet();
}

fn crcs_are_stored_and_come_along(kind: Kind) {
    let extra = [("enabledAppendPropCRC", "true"), ("forceVerifyPropCRC", "true")];
    let cluster = Cluster::start(Launch::of(kind), &ClusterOptions { extra: &extra, ..ClusterOptions::default() });
    let topic = cluster.topic("Crc", 1);
    let driver = new_client();
    let producer = driver.producer(&cluster.namesrv(), args! {});
    producer.send_ok(&topic, 3, args! { tags: "TagA" });
    producer.send_ok(&topic, 3, args! { mode: "batch", body: "batch" });
    let check = || {
        let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
        let got = pull.fetch(&topic, "broker-a", 0, 0, args! { max: 32 });
        assert_eq!(got.messages.len(), 6, "{got:?}");
        for message in &got.messages {
            let crc = message.property("__CRC32#").unwrap_or_else(|| panic!("no CRC in {}", message.all));
            assert!(crc.len() == 10 && crc.bytes().all(|digit| digit.is_ascii_digit()), "{crc}");
        }
    };
    check();
    cluster.broker().kill9();
    cluster.broker().boot();
    cluster.broker().wait_registered(&cluster.nameservers[0]);
    check();
    cluster.assert_quiet();
}

fn ipv6_hosts(kind: Kind) {
    let extra = [("brokerIP1", "::1")];
    let cluster = Cluster::start(Launch::of(kind), &ClusterOptions { extra: &extra, ..ClusterOptions::default() });
    let driver = new_client();
    let topic = cluster.topic("Six", 1);
    let producer = driver.producer(&cluster.namesrv(), args! {});
    let sent = producer.send_ok(&topic, 3, args! { keys: "k{}" });
    for one in &sent {
        assert_eq!(one.offset_msg_id.len(), 56, "16 bytes of address, 4 of port, 8 of offset: {one:?}");
    }
    cluster.broker().kill9();
    cluster.broker().boot();
    cluster.broker().wait_registered(&cluster.nameservers[0]);
    let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! {});
    for message in push.expect_exactly(3, 200) {
        assert_eq!(message.number("sysFlag") & 0x20, 0x20, "{}", message.all);
        assert!(message.text("storeHost").contains("0:0:0:0:0:0:0:1"), "{}", message.all);
    }
    cluster.assert_quiet();
}

#[test]
fn stores_by_turns_after_a_stop() {
    by_turns(Broker::stop);
}

#[test]
fn stores_by_turns_after_a_kill() {
    by_turns(Broker::kill9);
}

/// Java's broker and ours on one store with [`EVERYTHING`], twice each: what the ones before have acknowledged is shown, by
/// offset and by tag, and what follows goes on from there.
fn by_turns(leave: fn(&Broker)) {
    it::jvm::prepare();
    let nameserver = Nameserver::start(Launch::of(Kind::Ferrocket));
    let namesrv = nameserver.addr();
    let mut broker = Broker::start(Launch::of(Kind::Java), "broker-a", &namesrv, EVERYTHING);
    broker.wait_registered(&nameserver);
    let driver = new_client();
    make_batch_topic(&broker.addr(), "Batches");
    let fields = json!({ "topic": "Tagged", "defaultTopic": "TBW102", "readQueueNums": "1", "writeQueueNums": "1",
        "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false" });
    assert_eq!(wire::call(&broker.addr(), CREATE_TOPIC, &fields, &[]).expect("the broker answers").header["code"], 0);
    for topic in ["Batches", "Tagged"] {
        wait_for("a route", 30, || wire::has_route(&namesrv, topic).then_some(()));
    }
    let (mut batches, mut tagged, mut of_tag_b) = (Vec::new(), Vec::new(), Vec::new());
    for (turn, kind) in [Kind::Java, Kind::Ferrocket, Kind::Java, Kind::Ferrocket].into_iter().enumerate() {
        if turn > 0 {
            leave(&broker);
            broker.hand_to(Launch::of(kind));
            broker.boot();
            broker.wait_registered(&nameserver);
        }
        let show = |what: &str, batches: &[(String, i64)], tagged: &[(String, i64)], of_tag_b: &[(String, i64)]| {
            eprintln!("turn {turn}, {kind:?}, {what}");
            assert_eq!(pull_all(driver, &namesrv, "Batches", "*"), batches);
            assert_eq!(pull_all(driver, &namesrv, "Tagged", "*"), tagged);
            assert_eq!(pull_all(driver, &namesrv, "Tagged", "b"), of_tag_b);
        };
        show("found", &batches, &tagged, &of_tag_b);
        let producer = driver.producer(&namesrv, args! {});
        let note = |list: &mut Vec<(String, i64)>, prefix: &str, count: i64| {
            let next = list.len() as i64;
            list.extend((0..count).map(|at| (format!("{prefix}{at}"), next + at)));
        };
        for round in 0..6 {
            let prefix = format!("t{turn}r{round}m");
            let count = round * 3 + 1;
            producer.send_ok("Batches", count, args! { mode: "batch", body: prefix });
            note(&mut batches, &prefix, count as i64);
            producer.send_ok("Batches", 1, args! { body: format!("single-{prefix}") });
            note(&mut batches, &format!("single-{prefix}"), 1);
        }
        for (tag, count) in [("a", 40), ("b", 7), ("c", 20)] {
            let prefix = format!("t{turn}{tag}");
            producer.send_ok("Tagged", count, args! { tags: tag, body: prefix, size: 900 });
            if tag == "b" {
                let next = tagged.len() as i64;
                of_tag_b.extend((0..count as i64).map(|at| (format!("{prefix}{at}"), next + at)));
            }
            note(&mut tagged, &prefix, count as i64);
        }
        show("stored", &batches, &tagged, &of_tag_b);
    }
    leave(&broker);
    let logs: Vec<_> = ["log-a", "log-b"]
        .map(|name| std::fs::read_dir(broker.store_dir().join(name)).expect("a log directory").count())
        .into_iter()
        .collect();
    assert!(logs.iter().all(|count| *count > 1), "files in both directories: {logs:?}");
    let output = broker.output();
    let bad: Vec<_> = output.lines().filter(|line| is_error(line)).collect();
    assert!(bad.is_empty(), "the broker logged what it should not:\n{}", bad.join("\n"));
}
