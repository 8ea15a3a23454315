//! One store directory, Java's broker and ours by turns: what one has acknowledged the other shows, and goes on from there.
//!
//! Each case runs four brokers on the same directory, one after the other: Java, ours, Java again, ours again. Each first
//! shows everything that the ones before were told to keep, then does a day's work, then leaves: stopped cleanly or killed
//! with signal 9 under load.

use it::clock::wait_for;
use it::cluster::is_error;
use it::driver::{Driver, Serialize, Version};
use it::history::judge;
use it::ledger::{Ledger, await_persisted};
use it::process::Process;
use it::{Broker, Kind, Launch, Nameserver, args, java, wire};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const UPDATE_CONSUMER_OFFSET: i32 = 15;
const CREATE_TOPIC: i32 = 17;
const CREATE_GROUP: i32 = 200;
const DELETE_GROUP: i32 = 207;
const DELETE_TOPIC: i32 = 215;

/// Files so small that each broker begins several of every kind.
const SETTINGS: &[(&str, &str)] = &[
    ("mappedFileSizeCommitLog", "1048576"),
    ("mappedFileSizeConsumeQueue", "2000"),
    ("maxHashSlotNum", "100"),
    ("maxIndexNum", "400"),
    ("messageDelayLevel", "1s 6s"),
    ("flushConsumerOffsetInterval", "1000"),
    ("flushDelayOffsetInterval", "1000"),
];
/// What a message waits for that is to be delivered by the next broker.
const LONG_DELAY: (u32, i64) = (2, 6_000);
/// Messages of this many bytes, so many that the commit log rolls.
const BULK: (usize, usize) = (2000, 800);

#[derive(Clone, Copy, PartialEq)]
enum Leaving {
    Stopped,
    Killed,
}

struct Exchange {
    version: Version,
    leaving: Leaving,
    nameserver: Nameserver,
    broker: Broker,
    driver: &'static Driver,
    ledger: Ledger,
}

fn exchange(version: Version, leaving: Leaving) {
    it::jvm::prepare();
    let java_launch = Launch { version: version.name(), ..Launch::of(Kind::Java) };
    let nameserver = Nameserver::start(Launch::of(Kind::Ferrocket));
    let broker = Broker::start(java_launch, "broker-a", &nameserver.addr(), SETTINGS);
    let driver = java(version, Serialize::Json);
    let mut exchange = Exchange { version, leaving, nameserver, broker, driver, ledger: Ledger::new(100) };
    exchange.found("Plain", &json!({ "readQueueNums": "4", "writeQueueNums": "4" }));
    exchange.found("Ordered", &json!({ "readQueueNums": "3", "writeQueueNums": "3", "order": "true" }));
    exchange.found("Refused", &json!({ "readQueueNums": "1", "writeQueueNums": "1" }));
    exchange.found("Delayed", &json!({ "readQueueNums": "2", "writeQueueNums": "2" }));
    exchange.found("Bulk", &json!({ "readQueueNums": "2", "writeQueueNums": "2" }));
    for group in ["CGRetry", "CGDead"] {
        // Java's clients look for topics that came after them only every 30 s.
        exchange.found(&format!("%RETRY%{group}"), &json!({ "readQueueNums": "1", "writeQueueNums": "1" }));
    }
    exchange.call(CREATE_GROUP, &json!({}), json!({ "groupName": "CGPull" }).to_string().as_bytes());
    exchange.day(1, Kind::Java);
    exchange.change(Launch::of(Kind::Ferrocket));
    exchange.day(2, Kind::Ferrocket);
    exchange.change(java_launch);
    exchange.leaving = Leaving::Stopped;
    exchange.day(3, Kind::Java);
    exchange.change(Launch::of(Kind::Ferrocket));
    exchange.check();
    exchange.broker.stop();
    let output = exchange.broker.output();
    let bad: Vec<_> = output.lines().filter(|line| is_error(line)).collect();
    assert!(bad.is_empty(), "the broker logged what it should not:\n{}", bad.join("\n"));
}

impl Exchange {
    /// The store has been left; these servers open it.
    fn change(&mut self, launch: Launch<'static>) {
        self.broker.hand_to(launch);
        self.broker.boot();
    }

    fn check(&mut self) {
        self.broker.wait_registered(&self.nameserver);
        self.ledger.check(&self.broker, self.driver, &self.nameserver.addr());
    }

    /// One broker's time on the store, from the check of what it finds to its end.
    fn day(&mut self, day: u32, kind: Kind) {
        eprintln!("day {day}, {kind:?}");
        self.check();
        if self.leaving == Leaving::Stopped {
            self.a_rival_is_refused(kind);
        }
        self.settings(day);
        self.sends(day);
        self.consumers(day);
        self.leave(day);
    }

    fn call(&self, code: i32, fields: &Value, body: &[u8]) {
        let answer = wire::call(&self.broker.addr(), code, fields, body);
        let answer = answer.unwrap_or_else(|error| panic!("the broker does not answer {code} {fields}: {error}"));
        assert_eq!(answer.header["code"], 0, "{code} {fields}: {}", answer.header);
    }

    fn found(&self, topic: &str, settings: &Value) {
        let mut fields = json!({ "topic": topic, "defaultTopic": "TBW102", "perm": "6", "topicFilterType": "SINGLE_TAG",
            "topicSysFlag": "0", "order": "false" });
        for (key, value) in settings.as_object().into_iter().flatten() {
            fields[key] = value.clone();
        }
        self.call(CREATE_TOPIC, &fields, &[]);
        wait_for("the nameserver knows the topic", 60, || {
            wire::has_route(&self.nameserver.addr(), topic).then_some(())
        });
    }

    /// Topics and groups come, change and go; some of those that go are the broker's before.
    fn settings(&mut self, day: u32) {
        let newer = self.version == Version::V5_5_0;
        let fifo = if newer { "+message.type=FIFO" } else { "" };
        self.found(
            &format!("New{day}"),
            &json!({ "readQueueNums": "5", "writeQueueNums": "2", "perm": "6",
            "topicSysFlag": "1", "topicFilterType": "MULTI_TAG", "attributes": fifo }),
        );
        self.found(&format!("Doomed{day}"), &json!({ "readQueueNums": "1", "writeQueueNums": "1" }));
        self.found(&format!("Brief{day}"), &json!({ "readQueueNums": "1", "writeQueueNums": "1" }));
        let mut group = json!({ "groupName": format!("Made{day}"), "consumeEnable": day != 2,
            "consumeFromMinEnable": false, "consumeBroadcastEnable": false, "retryQueueNums": 3, "retryMaxTimes": 5,
            "brokerId": 0, "whichBrokerWhenConsumeSlowly": 7, "notifyConsumerIdsChangedEnable": false });
        if newer {
            group["consumeMessageOrderly"] = true.into();
            group["consumeTimeoutMinute"] = 3.into();
            group["groupSysFlag"] = 1.into();
        }
        self.call(CREATE_GROUP, &json!({}), group.to_string().as_bytes());
        group["groupName"] = format!("Parted{day}").into();
        self.call(CREATE_GROUP, &json!({}), group.to_string().as_bytes());
        let producer = self.driver.producer(&self.nameserver.addr(), args! {});
        for name in ["Doomed", "Brief", "New"] {
            let topic = format!("{name}{day}");
            let sent = producer.send_ok(&topic, 6, args! { keys: "k-{}", body: format!("{topic}-") });
            self.ledger.sent(&topic, &sent);
        }
        let doomed = (day > 1).then(|| format!("Doomed{}", day - 1));
        for topic in doomed.into_iter().chain([format!("Brief{day}")]) {
            self.call(DELETE_TOPIC, &json!({ "topic": topic }), &[]);
            self.ledger.deleted(&topic);
        }
        // Java 5.5.0 makes a group that is deleted again at once, with default settings.
        if day > 1 && !self.broker.is_java("5.") {
            let group = format!("Parted{}", day - 1);
            self.call(DELETE_GROUP, &json!({ "groupName": group, "cleanOffset": "true" }), &[]);
            self.ledger.deleted(&group);
        }
    }

    /// Messages of every kind.
    fn sends(&mut self, day: u32) {
        let producer = self.driver.producer(&self.nameserver.addr(), args! { compress: 5000 });
        let body = |kind: &str| format!("{kind}-{day}-");
        let said = args! { body: body("said"), tags: "Größe", keys: format!("k-{{}} shared-{day}"), flag: 7, "p.größe": "straße" };
        let batch = args! { body: body("batch"), mode: "batch", tags: "B", keys: "b-{}" };
        let rounds = [
            producer.send_ok("Plain", 24, said),
            producer.send_ok("Plain", 1, args! { body: body("bare") }),
            producer.send_ok("Plain", 2, args! { body: body("long"), size: 30000, keys: "l-{}" }),
            producer.send_ok("Plain", 16, args! { body: body("async"), mode: "async", tags: "A", keys: "a-{}" }),
            producer.send_ok("Plain", 10, batch.clone()),
            producer.send_ok("Plain", 5, [batch, args! { from: 10 }].concat()),
        ];
        for sent in rounds {
            self.ledger.sent("Plain", &sent);
        }
        let ordered = args! { body: body("ordered"), mode: "orderly", shards: 3, keys: "o-{}" };
        self.ledger.sent("Ordered", &producer.send_ok("Ordered", 15, ordered));
        let topic = format!("Auto{day}");
        self.ledger.sent(&topic, &producer.send_ok(&topic, 8, args! { body: body("auto"), tags: "A" }));
        self.ledger.sent("Refused", &producer.send_ok("Refused", 3, args! { body: body("refused"), keys: "r-{}" }));
    }

    /// Groups go on where the broker before had them, and leave something for the next.
    fn consumers(&mut self, day: u32) {
        self.consume("CGPlain", "Plain", args! {});
        self.consume("CGOrdered", "Ordered", args! { orderly: true });
        self.consume("CGRetry", "Refused", args! { refuse: 1, level: 1 });
        self.consume("CGDead", "Refused", args! { refuse: 9, level: 1, maxReconsume: 1 });
        // Dead-letter topics of old brokers may not be read.
        self.found("%DLQ%CGDead", &json!({ "readQueueNums": "1", "writeQueueNums": "1" }));
        for queue in 0..4 {
            self.commit("CGPull", "Plain", queue, i64::from(day) * 2);
        }
        let producer = self.driver.producer(&self.nameserver.addr(), args! {});
        let left = args! { body: format!("left-{day}-"), keys: "k-{}", tags: "L" };
        self.ledger.sent("Plain", &producer.send_ok("Plain", 9, left.clone()));
        let ordered = [left, args! { mode: "orderly", shards: 3 }].concat();
        self.ledger.sent("Ordered", &producer.send_ok("Ordered", 9, ordered));
    }

    /// Has the group consume what is left for it: once each, in order; then notes its offsets.
    fn consume(&mut self, group: &str, topic: &str, more: it::driver::Args) {
        let namesrv = self.nameserver.addr();
        let left = self.ledger.left_for(group, topic);
        let asked = |key: &str| more.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str());
        let push = self.driver.push(&namesrv, group, topic, [args! { threads: 1 }, more.clone()].concat());
        if asked("maxReconsume").is_some() {
            // Refused twice each, then among the dead letters.
            push.deliveries(left.len() * 2);
        } else if asked("refuse").is_some() {
            push.expect(left.len());
        } else {
            judge(&left, &[], &push.expect_exactly(left.len(), 300)).assert_exactly_once();
        }
        push.stop();
        // A client that stops sends its offsets without waiting for an answer, and some never arrive.
        let ends: BTreeMap<i64, i64> = left.iter().map(|sent| (sent.queue, sent.offset + 1)).collect();
        for (queue, end) in ends {
            self.commit(group, topic, queue, end);
        }
    }

    fn commit(&mut self, group: &str, topic: &str, queue: i64, offset: i64) {
        let fields = json!({ "consumerGroup": group, "topic": topic, "queueId": queue.to_string(),
            "commitOffset": offset.to_string() });
        self.call(UPDATE_CONSUMER_OFFSET, &fields, &[]);
        self.ledger.committed(group, topic, queue, offset);
    }

    fn leave(&mut self, day: u32) {
        let namesrv = self.nameserver.addr();
        let producer = self.driver.producer(&namesrv, args! { retries: 0 });
        let (size, count) = BULK;
        let bulk = args! { body: format!("bulk-{day}-"), size: size, keys: "u-{}", tags: "U" };
        self.ledger.note_settings(&self.broker);
        if self.leaving == Leaving::Stopped {
            let sent = producer.send_ok("Bulk", count, [bulk, args! { mode: "async" }].concat());
            self.ledger.sent("Bulk", &sent);
            self.send_delayed(&producer, day);
            self.broker.stop();
            return;
        }
        await_persisted(&self.broker);
        producer.start_load("Bulk", [bulk, args! { pause: 0 }].concat());
        let acknowledged = |more: usize| {
            let enough = i64::try_from(more).expect("few") + producer.load_counts().0;
            wait_for("the load goes on", 120, || (producer.load_counts().0 >= enough).then_some(()));
        };
        acknowledged(count);
        self.send_delayed(&producer, day);
        acknowledged(count / 8);
        self.broker.kill9();
        wait_for("the death is felt", 60, || (producer.load_counts().1 > 0).then_some(()));
        let (sent, failed) = producer.stop_load();
        self.ledger.sent("Bulk", &sent);
        self.ledger.unsure(&failed);
    }

    fn send_delayed(&mut self, producer: &it::Producer<'_>, day: u32) {
        let (level, delay_ms) = LONG_DELAY;
        let sent =
            producer.send_ok("Delayed", 2, args! { body: format!("delayed-{day}-"), delay: level, keys: "d-{}" });
        self.ledger.delayed("Delayed", &sent, delay_ms);
    }

    /// Whoever comes second to a store says so and ends. That the first goes on unharmed is for the rest of the day.
    fn a_rival_is_refused(&self, kind: Kind) {
        let said = |rival: &Process| {
            rival.wait_end(60);
            rival.output()
        };
        if kind == Kind::Ferrocket {
            let rival = self.broker.rival(Launch { version: self.version.name(), ..Launch::of(Kind::Java) });
            let output = said(&rival);
            assert!(output.contains("Lock failed"), "{output}");
        } else {
            let output = said(&self.broker.rival(Launch::of(Kind::Ferrocket)));
            let last = output.lines().last().unwrap_or_default();
            for part in ["in use by process", &self.broker.id().to_string(), "storePathRootDir"] {
                assert!(last.contains(part), "{part:?} is missing in: {last}");
            }
        }
    }
}

mod stopped {
    use super::{Leaving, Version, exchange};

    #[test]
    fn java_4_5_2() {
        exchange(Version::V4_5_2, Leaving::Stopped);
    }

    #[test]
    fn java_4_9_7() {
        exchange(Version::V4_9_7, Leaving::Stopped);
    }

    #[test]
    fn java_5_5_0() {
        exchange(Version::V5_5_0, Leaving::Stopped);
    }
}

mod killed {
    use super::{Leaving, Version, exchange};

    #[test]
    fn java_4_5_2() {
        exchange(Version::V4_5_2, Leaving::Killed);
    }

    #[test]
    fn java_4_9_7() {
        exchange(Version::V4_9_7, Leaving::Killed);
    }

    #[test]
    fn java_5_5_0() {
        exchange(Version::V5_5_0, Leaving::Killed);
    }
}
