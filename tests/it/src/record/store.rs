//! Records the files of a small store: what a broker of that version left behind after a clean stop.

use crate::client::Received;
use crate::cluster::{Broker, Cluster, ClusterOptions, Kind, Launch};
use crate::driver::{Driver, Serialize, Version};
use crate::{args, wire};
use serde_json::{Value, json};
use std::path::Path;

/// Few index slots, so that the whole file is small.
const SMALL: &[(&str, &str)] = &[("maxHashSlotNum", "100"), ("maxIndexNum", "400")];
const SMALL_V6: &[(&str, &str)] = &[("maxHashSlotNum", "100"), ("maxIndexNum", "400"), ("brokerIP1", "::1")];

/// What only some brokers are set up to write, and files so small that the log rolls from one directory to the other.
const FORMATS: &[(&str, &str)] = &[
    ("maxHashSlotNum", "100"),
    ("maxIndexNum", "400"),
    ("storePathCommitLog", "store/log-b,store/log-a"),
    ("mappedFileSizeCommitLog", "16384"),
    ("mappedFileSizeConsumeQueueExt", "1024"),
    ("mapperFileSizeBatchConsumeQueue", "460"),
    ("mappedFileSizeConsumeQueue", "20000"),
    ("enableConsumeQueueExt", "true"),
    ("enabledAppendPropCRC", "true"),
];

/// Keeps the files of a 5.5.0 broker with [`FORMATS`] in `dir`: two log directories, queues with extensions, queues of
/// batches, and a CRC in every record.
pub fn record_formats(dir: &Path) {
    leave_store(Version::V5_5_0, dir, FORMATS, formats);
}

fn formats(_version: Version, driver: &Driver, cluster: &Cluster) {
    let attributes = json!({ "topic": "TopicBatch", "defaultTopic": "TBW102", "readQueueNums": "1",
        "writeQueueNums": "1", "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
        "attributes": "+queue.type=BatchCQ" });
    let made = wire::call(&cluster.broker().addr(), 17, &attributes, &[]).expect("the broker answers");
    assert_eq!(made.header["code"], 0, "{}", made.header);
    cluster.wait_route("TopicBatch");
    let producer = driver.producer(&cluster.namesrv(), args! {});
    producer.send_ok("TopicTest", 4, args! { tags: "TagA", keys: "k-{}", body: "first" });
    for from in [0, 3, 6] {
        producer.send_ok(
            "TopicBatch",
            3,
            args! { mode: "batch", tags: "TagB", keys: "b-{}", body: "batch", from: from },
        );
    }
    producer.send_ok("TopicBatch", 1, args! { tags: "TagC", body: "single" });
    producer.send_ok("TopicBatch", 20, args! { mode: "batch", body: "more" });
    producer.send_ok("TopicTest", 40, args! { tags: "TagA", body: "filling", size: 1000, mode: "orderly", shards: 2 });
    producer.send_ok("TopicTest", 120, args! { tags: "straße", body: "short", mode: "orderly", shards: 1 });
    producer.send_ok("TopicTest", 4, args! { body: "last", mode: "batch" });
    producer.send_ok("TopicDelay", 1, args! { body: "delayed", delay: 1 });
    let delayed = driver.push(&cluster.namesrv(), "DelayGroup", "TopicDelay", args! {});
    delayed.expect(1);
    delayed.stop();
}

/// Runs a broker of that version, has a few messages of every kind stored, stops it, and keeps its files in `dir`, with
/// `messages.json`: what a consumer saw of each queue. Brokers that know IPv6 leave a second store, `dir`-ipv6.
pub fn record(version: Version, dir: &Path) {
    leave_store(version, dir, SMALL, everything);
    if version != Version::V4_5_2 {
        let dir = dir.with_file_name("store-ipv6");
        leave_store(version, &dir, SMALL_V6, few);
    }
}

fn leave_store(version: Version, dir: &Path, extra: &[(&str, &str)], what: fn(Version, &Driver, &Cluster)) {
    let launch = Launch { version: version.name(), ..Launch::of(Kind::Java) };
    let cluster = Cluster::start(launch, &ClusterOptions { extra, ..ClusterOptions::default() });
    let driver = Driver::java(version, Serialize::Json, false);
    what(version, &driver, &cluster);
    let messages = seen(&driver, &cluster);
    driver.end();
    cluster.stop();
    keep(&cluster.broker().store_dir(), dir);
    let text = serde_json::to_string_pretty(&messages).expect("JSON can be written");
    std::fs::write(dir.join("messages.json"), text + "\n").expect("tests/golden is writable");
}

fn few(_version: Version, driver: &Driver, cluster: &Cluster) {
    let producer = driver.producer(&cluster.namesrv(), args! {});
    producer.send_ok("TopicTest", 4, args! { tags: "TagA", keys: "k-{}" });
    producer.send_ok("TopicTest", 2, args! { body: "batch", mode: "batch" });
}

fn everything(version: Version, driver: &Driver, cluster: &Cluster) {
    let namesrv = cluster.namesrv();
    let producer = driver.producer(&namesrv, args! { compress: 1000 });
    producer.send_ok("TopicTest", 2, args! { body: "plain" });
    producer.send_ok(
        "TopicTest",
        6,
        args! { tags: "TagA", keys: "k-{} shared", flag: 7, "p.colour": "red", "p.größe": "straße" },
    );
    producer.send_ok("TopicTest", 2, args! { tags: "straße", body: "zeichen-ü-" });
    producer.send_ok("TopicTest", 1, args! { body: "long", size: 2000 });
    producer.send_ok("TopicTest", 4, args! { body: "batch", mode: "batch", tags: "TagC", keys: "b-{}" });
    producer.send_ok("TopicTest", 4, args! { body: "ordered", mode: "orderly", tags: "TagA" });
    producer.send_ok("TopicDelay", 1, args! { body: "delayed", delay: 1 });
    let retry = driver.push(&namesrv, "RetryGroup", "TopicTest", args! { refuse: 1, sub: "TagA", level: 1 });
    retry.expect(10);
    let dlq =
        driver.push(&namesrv, "DlqGroup", "TopicTest", args! { refuse: 9, sub: "TagC", level: 1, maxReconsume: 1 });
    dlq.deliveries(8);
    let delayed = driver.push(&namesrv, "DelayGroup", "TopicDelay", args! {});
    delayed.expect(1);
    for push in [retry, dlq, delayed] {
        push.stop();
    }
    if version == Version::V5_5_0 {
        long_topic(cluster.broker());
    }
}

/// A topic of more than 127 bytes, which 5.x stores in records of the second magic code. Only retry topics may be that
/// long; no admin request makes a group so long, and no client sends there, so both are done by hand.
fn long_topic(broker: &Broker) {
    let group = "g".repeat(150);
    broker.stop();
    let path = broker.store_dir().join("config/subscriptionGroup.json");
    let text = std::fs::read_to_string(&path).expect("the broker leaves its groups");
    let mut groups: Value = serde_json::from_str(&text).expect("groups are JSON");
    groups["subscriptionGroupTable"][&group] = json!({ "groupName": group, "retryQueueNums": 1, "retryMaxTimes": 16,
        "consumeEnable": true, "consumeBroadcastEnable": true, "consumeFromMinEnable": true });
    std::fs::write(&path, groups.to_string()).expect("the store is writable");
    broker.boot();
    let fields = json!({ "producerGroup": "long", "topic": format!("%RETRY%{group}"), "defaultTopic": "TBW102",
        "defaultTopicQueueNums": "4", "queueId": "0", "sysFlag": "0", "bornTimestamp": "1700000000000", "flag": "0",
        "properties": "TAGS\u{1}TagV2\u{2}", "reconsumeTimes": "0", "unitMode": "false", "batch": "false" });
    let answer = wire::call(&broker.addr(), 10, &fields, b"second magic code").expect("the broker answers");
    assert_eq!(answer.header["code"], 0, "{}", answer.header);
}

/// Every message that can be pulled, as the client saw it.
fn seen(driver: &Driver, cluster: &Cluster) -> Vec<Value> {
    let mut all = Vec::new();
    let pull = driver.pull(&cluster.namesrv(), "ReadGroup");
    for topic in ["TopicTest", "TopicDelay", "TopicBatch", "%RETRY%RetryGroup", "%DLQ%DlqGroup"] {
        if !wire::has_route(&cluster.namesrv(), topic) {
            continue;
        }
        // Old brokers make dead-letter topics that nobody may read.
        for place in pull.readable_queues(topic) {
            let (broker, queue) = place.rsplit_once(':').expect("broker:queue");
            let queue = queue.parse().expect("a queue id is a number");
            let mut pulled = pull.fetch(topic, broker, queue, 0, args! { max: 32 });
            while pulled.status == "FOUND" {
                all.extend(pulled.messages.iter().map(|message: &Received| message.all.clone()));
                pulled = pull.fetch(topic, broker, queue, pulled.next, args! { max: 32 });
            }
        }
    }
    all
}

/// Copies a store directory, files cut after what is used, without what belongs to RocksDB or to a running process.
fn keep(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("tests/golden is writable");
    for entry in std::fs::read_dir(from).expect("the broker left a store").flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let name = entry.file_name().to_string_lossy().into_owned();
        if source.is_dir() {
            if !name.contains("rocksdb") && name != "rdb" && name != "timerlog" {
                keep(&source, &target);
            }
            continue;
        }
        // 37 MiB of zeros, for timers are of no use here.
        if name == "timerwheel" {
            continue;
        }
        let bytes = std::fs::read(&source).expect("the broker's files can be read");
        let parent = from.to_string_lossy();
        let used = if ["/commitlog", "/log-a", "/log-b"].iter().any(|end| parent.ends_with(end)) {
            commit_log_end(&bytes)
        } else if parent.contains("/consumequeue/") {
            used_units(&bytes, 20)
        } else if parent.contains("/batchconsumequeue/") {
            used_units(&bytes, 46)
        } else if parent.contains("/consumequeue_ext/") {
            used_units(&bytes, 1)
        } else {
            bytes.len()
        };
        std::fs::write(target, &bytes[..used]).expect("tests/golden is writable");
    }
    if std::fs::read_dir(to).is_ok_and(|mut left| left.next().is_none()) {
        std::fs::remove_dir(to).ok();
    }
}

/// The end of the last record: each starts with its size and a magic code.
fn commit_log_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 8) {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let magic = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        if magic == 0xCBD4_3194 {
            // The filler; what lies behind it is of no use.
            return at + 8;
        }
        if size == 0 || !matches!(magic, 0xDAA3_20A7 | 0xDAA3_20AB) {
            break;
        }
        at += size;
    }
    at
}

fn used_units(bytes: &[u8], unit: usize) -> usize {
    let used = bytes.chunks(unit).rposition(|unit| unit.iter().any(|byte| *byte != 0));
    used.map_or(0, |last| (last + 1) * unit)
}
