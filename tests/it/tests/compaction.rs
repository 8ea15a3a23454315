//! Topics of which the newest message of each key is kept: each case on both brokers, and one store by turns.

use it::clock::wait_for;
use it::cluster::{ClusterOptions, our_bin};
use it::driver::{Driver, Serialize, Version};
use it::process::run;
use it::{Cluster, Kind, Launch, args, java, on_both, unique, wire};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

const SEND_MESSAGE: i32 = 10;
const CREATE_TOPIC: i32 = 17;
const MESSAGE_ILLEGAL: i32 = 13;

/// Segments of less than twenty messages, compacted about every second.
const SETTINGS: &[(&str, &str)] = &[
    ("compactionCqMappedFileSize", "920"),
    ("compactionMappedFileSize", "4600"),
    ("compactionScheduleInternal", "300"),
];
/// Most messages of a segment.
const PER_SEGMENT: usize = 19;
const KEYS: usize = 7;

on_both! {
    own: the_newest_of_each_key_are_read;
}

fn driver() -> &'static Driver {
    java(Version::V5_5_0, Serialize::Json)
}

/// A topic with one queue, and what its consumers must see.
struct Prices {
    cluster: Cluster,
    topic: String,
    newest: BTreeMap<String, String>,
    rounds: usize,
}

impl Prices {
    fn start(kind: Kind) -> Prices {
        let cluster =
            Cluster::start(Launch::of(kind), &ClusterOptions { extra: SETTINGS, ..ClusterOptions::default() });
        let topic = unique("Prices");
        let prices = Prices { cluster, topic, newest: BTreeMap::new(), rounds: 0 };
        prices.make(&json!({ "attributes": "+cleanup.policy=COMPACTION" }), 0);
        prices.cluster.wait_route(&prices.topic);
        prices
    }

    fn make(&self, more: &Value, code: i32) {
        let mut fields = json!({ "topic": self.topic, "defaultTopic": "TBW102", "readQueueNums": "1", "perm": "6",
            "writeQueueNums": "1", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false" });
        fields.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        let answer = wire::call(&self.cluster.broker().addr(), CREATE_TOPIC, &fields, &[]).expect("an answer");
        assert_eq!(answer.header["code"] != 0, code != 0, "{}", answer.header);
    }

    /// Sends one message by hand, with these properties.
    fn send_raw(&self, properties: &str, body: &str) -> Value {
        let fields = json!({ "producerGroup": "raw", "topic": self.topic, "defaultTopic": "TBW102",
            "defaultTopicQueueNums": "1", "queueId": "0", "sysFlag": "0", "bornTimestamp": "1700000000000", "flag": "0",
            "properties": properties, "reconsumeTimes": "0", "unitMode": "false", "batch": "false" });
        wire::call(&self.cluster.broker().addr(), SEND_MESSAGE, &fields, body.as_bytes()).expect("an answer").header
    }

    /// Several times a message of each key.
    fn send_rounds(&mut self, rounds: usize) {
        let producer = driver().producer(&self.cluster.namesrv(), args! {});
        for _ in 0..rounds {
            self.rounds += 1;
            for key in 0..KEYS {
                let (key, body) = (format!("k{key}"), format!("r{}-{key}-", self.rounds));
                producer.send_ok(&self.topic, 1, args! { body: body, keys: key, tags: "T" });
                self.newest.insert(key, format!("{body}0"));
            }
        }
    }

    /// Everything a consumer sees that begins at the beginning: offset, key, body.
    fn read(&self) -> Vec<(i64, String, String)> {
        let pull = driver().pull(&self.cluster.namesrv(), &unique("Reader"));
        let (mut all, mut at) = (Vec::new(), 0);
        loop {
            let got = pull.fetch(&self.topic, "broker-a", 0, at, args! { max: 32 });
            if got.status != "FOUND" {
                return all;
            }
            for message in &got.messages {
                let key = message.property("KEYS").expect("a key").to_owned();
                all.push((message.offset, key, message.body.clone()));
            }
            assert!(got.next > at, "{got:?}");
            at = got.next;
        }
    }

    /// Each key has its newest message, and of older ones there are no more than one segment holds.
    fn wait_compacted(&self) -> Vec<(i64, String, String)> {
        wait_for("compaction", 60, || {
            let all = self.read();
            assert!(all.is_sorted_by(|a, b| a.0 < b.0), "{all:?}");
            let newest: BTreeMap<_, _> = all.iter().map(|(_, key, body)| (key.clone(), body.clone())).collect();
            assert_eq!(newest, self.newest);
            (all.len() < KEYS + PER_SEGMENT).then_some(all)
        })
    }
}

/// Compacted, killed, handed to the other broker and back.
fn the_newest_of_each_key_are_read(kind: Kind) {
    let mut prices = Prices::start(kind);
    prices.make(&json!({ "attributes": "-cleanup.policy" }), 1);
    for properties in ["", "KEYS\u{1} \u{2}"] {
        let refused = prices.send_raw(properties, "no key");
        assert_eq!(refused["code"], MESSAGE_ILLEGAL, "{refused}");
        assert_eq!(refused["remark"], "Required message key is missing");
    }
    // A batch is not asked for keys; a message without one is stored, and not seen.
    let producer = driver().producer(&prices.cluster.namesrv(), args! {});
    producer.send_ok(&prices.topic, 2, args! { mode: "batch", body: "unseen" });
    producer.send_ok(&prices.topic, 2, args! { mode: "batch", body: "batch", keys: "b{}" });
    drop(producer);
    for key in 0..2 {
        prices.newest.insert(format!("bbatch{key}"), format!("batch{key}"));
    }
    prices.send_rounds(6);
    let seen = prices.wait_compacted();
    // A push consumer sees the same.
    let push = driver().push(&prices.cluster.namesrv(), &unique("CG"), &prices.topic, args! { threads: 1 });
    let mut got: Vec<_> = push.expect_exactly(seen.len(), 200).iter().map(|m| (m.offset, m.body.clone())).collect();
    got.sort_unstable();
    assert_eq!(got, seen.iter().map(|(at, _, body)| (*at, body.clone())).collect::<Vec<_>>());
    push.stop();
    let other = if kind == Kind::Java { Kind::Ferrocket } else { Kind::Java };
    prices.send_rounds(5);
    prices.cluster.brokers[0].kill9();
    prices.cluster.brokers[0].boot();
    for kind in [other, kind] {
        prices.settle();
        prices.wait_compacted();
        prices.send_rounds(4);
        prices.cluster.brokers[0].stop();
        prices.cluster.brokers[0].hand_to(Launch::of(kind));
        prices.cluster.brokers[0].boot();
    }
    prices.settle();
    prices.wait_compacted();
    prices.cluster.brokers[0].stop();
    prices.both_tools_print_the_same();
}

impl Prices {
    /// Every file of the compaction log, by Apache's mqadmin and by ours.
    fn both_tools_print_the_same(&self) {
        let dir = self.cluster.brokers[0].store_dir().join("compaction/compactionLog").join(&self.topic).join("0");
        let files: Vec<_> =
            std::fs::read_dir(&dir).expect("a log").map(|entry| entry.expect("an entry").path()).collect();
        let mut messages = 0;
        for file in files.iter().filter(|file| file.is_file()) {
            let line = ["dumpCompactionLog", "-f", file.to_str().expect("UTF-8")];
            let ours = run({
                let mut command = Command::new(our_bin("mqadmin"));
                command.args(line);
                command
            });
            // But for the order of properties, which is that of a HashMap.
            let words = |text: &str| -> Vec<Vec<String>> {
                let lines = text.trim_end().lines().map(|line| {
                    let mut words: Vec<_> = line.split([',', '{', '}', ' ']).map(str::to_owned).collect();
                    words.sort();
                    words
                });
                lines.collect()
            };
            assert_eq!(words(&ours), words(&driver().mqadmin(&line)));
            messages += ours.lines().filter(|line| line.starts_with("MessageExt [")).count();
        }
        assert!(messages >= KEYS, "{files:?}");
    }

    fn settle(&self) {
        self.cluster.brokers[0].wait_registered(&self.cluster.nameservers[0]);
        self.cluster.wait_route(&self.topic);
    }
}
