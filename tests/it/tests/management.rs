//! What operators and clients ask of groups, offsets, topics and consumers: the same request to Java's broker and to ours,
//! answer by answer. Clients that the brokers ask back are connections of the test, or Java consumers.

use it::clock::{now_ms, wait_for};
use it::driver::{Driver, Serialize, Version};
use it::link::Link;
use it::pair::{Answer, Both, Pair};
use it::{args, each, java, unique};
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SUSPEND: i32 = 2;
const SUBSCRIPTION: i32 = 4;
const CLIENT: &str = "10.0.0.1@me";
/// An ordinal of a release that can do everything, and of one that can do nothing.
const NEW: i32 = 495;
const OLD: i32 = 20;

/// The two clusters, for one case at a time: many answers are about everything that a broker has.
fn alone() -> (&'static Pair, MutexGuard<'static, ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Everything counts as cold, and everybody may read much of it unless a case says otherwise.
    let extra =
        [("coldDataFlowControlEnable", "true"), ("accessMessageInMemoryHotRatio", "0"), ("traceTopicEnable", "true")];
    (Pair::shared(&extra), guard)
}

/// A topic of two queues with four messages each, and a third queue with none.
fn topic_with_messages(pair: &Pair, both: &mut Both) -> String {
    let topic = unique("managed");
    for cluster in pair.clusters() {
        let mut link = Link::new(&cluster.broker().addr()).expect("the broker listens");
        link.create_topic(&topic, 3).expect("an answer").expect("a topic");
        for (queue, number) in (0..2).flat_map(|queue| (0..4).map(move |number| (queue, number))) {
            link.send(&topic, queue, &format!("k{queue}{number}"), b"hello").expect("an answer").expect("stored");
        }
        cluster.wait_route(&topic);
    }
    for queue in 0..2 {
        both.ask_until(30, &json!({ "topic": topic, "queueId": queue.to_string() }), b"", |answer| {
            answer.fields["offset"] == "4"
        });
    }
    topic
}

fn group(both: &mut Both, name: &str) -> String {
    let group = unique(name);
    both.ask(200, &json!({}), json!({ "groupName": group }).to_string().as_bytes());
    group
}

fn commit(both: &mut Both, group: &str, topic: &str, offsets: &[(i32, i64)]) {
    for (queue, offset) in offsets {
        let fields = json!({ "consumerGroup": group, "topic": topic, "queueId": queue.to_string(),
            "commitOffset": offset.to_string() });
        assert_eq!(both.ask(15, &fields, b"").code, 0);
    }
}

/// What both brokers say the group has consumed; `None` for nothing.
fn committed(both: &mut Both, group: &str, topic: &str, queue: i32) -> Option<String> {
    let fields = json!({ "consumerGroup": group, "topic": topic, "queueId": queue.to_string(),
        "setZeroIfNotFound": "false" });
    both.ask(14, &fields, b"").fields["offset"].as_str().map(str::to_owned)
}

/// A heartbeat of a consumer that wants all of a topic.
fn beat(both: &mut Both, group: &str, topic: &str, consume_type: &str, model: &str) {
    let body = json!({ "clientID": CLIENT, "heartbeatFingerprint": 0, "withoutSub": false,
        "producerDataSet": [{ "groupName": format!("P{group}") }],
        "consumerDataSet": [{ "groupName": group, "consumeType": consume_type, "messageModel": model,
            "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "unitMode": false, "subscriptionDataSet": [
                { "topic": topic, "subString": "*", "subVersion": 7, "expressionType": "TAG", "codeSet": [], "tagsSet": [] }]
        }] });
    assert_eq!(both.ask(34, &json!({}), body.to_string().as_bytes()).code, 0);
}

fn pull(group: &str, topic: &str, queue_offset: i64, sys_flag: i32) -> Value {
    json!({ "consumerGroup": group, "topic": topic, "queueId": "0", "queueOffset": queue_offset.to_string(),
        "maxMsgNums": "3", "sysFlag": sys_flag.to_string(), "commitOffset": "0", "suspendTimeoutMillis": "0",
        "subscription": "*", "subVersion": "0", "expressionType": "TAG" })
}

fn set_config(both: &mut Both, line: &str) {
    let (java, ours) = both.apart(25, &json!({}), line.as_bytes());
    assert_eq!((java.code, ours.code), (0, 0), "{line}: {} {}", java.remark, ours.remark);
}

/// All offsets in a topic: other cases and what the brokers keep for themselves are their own affair.
fn all_offsets(both: &mut Both, topic: &str) -> [Value; 2] {
    let is_of = |text: &str| text == topic || text.strip_prefix(topic).is_some_and(|rest| rest.starts_with('@'));
    let (java, ours) = both.apart(43, &json!({}), b"");
    let own = |mut answer: Answer| {
        for table in ["offsetTable", "pullOffsetTable", "groupTopicMap"] {
            let entries = answer.body[table].as_object_mut().expect("a table");
            let lists = |value: &Value| value.as_array().is_some_and(|list| list.iter().any(|name| name == topic));
            entries.retain(|key, value| is_of(key) || lists(value));
        }
        answer.body
    };
    [own(java), own(ours)]
}

/// Only which members there are.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        _ => Value::Null,
    }
}

fn same_offsets(both: &mut Both, topic: &str) {
    let [java, ours] = all_offsets(both, topic);
    assert_eq!(ours, java, "ours is left, Java's right");
}

/// Progress of all groups, without how far pulls are: Java's broker always says 0 there.
fn same_progress(both: &mut Both, is_order: &str) -> Value {
    let (java, ours) = both.apart(317, &json!({ "isOrder": is_order }), b"");
    let [java, ours] = [java, ours].map(|mut answer| {
        assert_eq!(answer.code, 0);
        answer.body["totalInflightDiff"].take();
        for groups in answer.body["consumeStatsList"].as_array_mut().expect("a list of groups") {
            for topics in groups.as_object_mut().expect("a group").values_mut() {
                for topic in topics.as_array_mut().expect("a list of topics") {
                    for queue in topic["offsetTable"].as_object_mut().expect("queues").values_mut() {
                        queue["pullOffset"].take();
                    }
                }
            }
        }
        answer.body
    });
    assert_eq!(ours, java, "ours is left, Java's right");
    java
}

fn same(both: &mut Both, code: i32, fields: Value) -> Answer {
    both.ask(code, &fields, b"")
}

#[test]
fn groups_in_lists() {
    let (pair, _alone) = alone();
    let both = &mut pair.connect();
    let names: Vec<_> = ["a", "b", "c"].iter().map(|_| unique("MG")).collect();
    let config = |name: &str, more: bool| json!({ "groupName": name, "retryMaxTimes": 5, "consumeEnable": more });
    let list = |configs: &[Value]| json!({ "groupConfigList": configs }).to_string();
    let made = list(&[config(&names[0], true), config(&names[1], false)]);
    assert_eq!(both.ask(225, &json!({}), made.as_bytes()).code, 0);
    // One that cannot be made keeps the others from being made.
    let refused = both.ask(225, &json!({}), list(&[config(&names[2], true), config("bad name", true)]).as_bytes());
    assert_eq!(refused.code, 29);
    for body in ["", "{", "{}", "[]"] {
        assert_eq!(both.ask(225, &json!({}), body.as_bytes()).code, 1, "{body:?}");
    }
    let all = same(both, 201, json!({})).body;
    assert_eq!(all["subscriptionGroupTable"][&names[1]]["consumeEnable"], false, "{all}");
    assert!(all["subscriptionGroupTable"][&names[2]].is_null(), "{all}");
    // Reading one topic is forbidden to one group.
    let forbidden = json!({ "group": names[0], "topic": "T", "readable": "false" });
    assert_eq!(same(both, 353, forbidden).body["readable"], false);
    assert_eq!(same(both, 353, json!({ "group": names[0], "topic": "T" })).body["readable"], false);
    assert_eq!(same(both, 201, json!({})).body["forbiddenTable"][&names[0]]["T"], 4);
    assert_eq!(same(both, 353, json!({ "group": names[0], "topic": "T", "readable": "true" })).body["readable"], true);
    assert_eq!(same(both, 353, json!({ "group": "NoGroup", "topic": "NoTopic" })).body["readable"], true);
    assert_eq!(same(both, 353, json!({})).code, 1);
}

#[test]
fn topics_in_lists() {
    let (pair, _alone) = alone();
    let both = &mut pair.connect();
    let names: Vec<_> = (0..8).map(|_| unique("listed")).collect();
    let config = |name: &str, attributes: Value| json!({ "topicName": name, "readQueueNums": 2, "writeQueueNums": 3, "perm": 6, "attributes": attributes });
    let mut put = |configs: &[Value]| {
        let body = json!({ "topicConfigList": configs }).to_string();
        both.ask(18, &json!({}), body.as_bytes()).code
    };
    let plain = |name: &str| config(name, json!({}));
    assert_eq!(put(&[plain(&names[0]), config(&names[1], json!({ "+message.type": "FIFO" }))]), 0);
    assert_eq!(put(&[plain(&names[2]), plain("bad name")]), 29);
    assert_eq!(put(&[plain(&names[2]), plain("SCHEDULE_TOPIC_XXXX")]), 29);
    assert_eq!(put(&[config(&names[3], json!({ "+message.type": "MIXED" }))]), 29);
    assert_eq!(put(&[config(&names[4], json!({ "+nonsense": "1" }))]), 1);
    assert_eq!(put(&[config(&names[5], json!({ "message.type": "FIFO" }))]), 1);
    assert_eq!(put(&[config(&names[1], json!({ "+queue.type": "BatchCQ" }))]), 1);
    assert_eq!(put(&[config(&names[1], json!({ "+message.type": "DELAY", "+reserve.time": "3" }))]), 0);
    assert_eq!(put(&[]), 0);
    assert_eq!(both.ask(18, &json!({}), b"").code, 1);
    for (index, name) in names.iter().enumerate() {
        let answer = same(both, 351, json!({ "topic": name }));
        assert_eq!(answer.code, if index < 2 { 0 } else { 17 }, "{name}");
    }
    assert_eq!(same(both, 351, json!({ "topic": names[1] })).body["attributes"]["message.type"], "DELAY");
    assert_eq!(same(both, 351, json!({})).code, 1);
    // All topics that both have in common: which pages they come in is the broker's affair.
    let all = same(both, 21, json!({})).body;
    assert_eq!(all["topicConfigTable"][&names[0]]["writeQueueNums"], 3, "{all}");
    let (java, ours) = both.apart(21, &json!({ "topicSeq": "0", "maxTopicNum": "3" }), b"");
    for page in [&java, &ours] {
        assert_eq!(page.body["topicConfigTable"].as_object().map(serde_json::Map::len), Some(3));
    }
    assert_eq!(java.fields, ours.fields);
    same(both, 305, json!({}));
    for code in [306, 316, 329] {
        assert_eq!(same(both, code, json!({})).code, 0, "{code}");
    }
    assert_eq!(same(both, 402, json!({})).code, 0);
}

#[test]
fn offsets_of_groups() {
    let (pair, _alone) = alone();
    let both = &mut pair.connect();
    let topic = &topic_with_messages(pair, both);
    let [one, two, clone] = ["MG", "MG", "MG"].map(|name| group(both, name));
    commit(both, &one, topic, &[(0, 1), (1, 2)]);
    // What a consumer commits stands, wherever it lies; below 0 it counts for none.
    commit(both, &two, topic, &[(0, -5), (1, 1000), (99, 1), (-1, 1)]);
    assert_eq!(committed(both, &two, topic, 0), None);
    assert_eq!(committed(both, &two, topic, 1).as_deref(), Some("1000"));
    commit(both, &two, topic, &[(1, 3)]);
    assert_eq!(committed(both, &two, topic, 1).as_deref(), Some("3"));
    let to = |group: &str, topic: &str, queue: &str, offset: &str| json!({ "consumerGroup": group, "topic": topic, "queueId": queue, "commitOffset": offset });
    assert_eq!(same(both, 15, to(&one, "NoTopic", "0", "1")).code, 17);
    assert_eq!(same(both, 15, to("NoGroup", topic, "0", "1")).code, 26);
    let without = |missing: &str| {
        let mut fields = to(&one, topic, "0", "9");
        fields.as_object_mut().expect("an object").remove(missing);
        fields
    };
    for missing in ["queueId", "commitOffset"] {
        assert_eq!(same(both, 15, without(missing)).code, 29, "{missing}");
    }
    // Names that are missing are names that nobody knows to Java, and what is no number is missing; ours says what it is.
    let odd = [("zero", "9"), ("0", "99999999999999999999")].map(|(queue, offset)| to(&one, topic, queue, offset));
    for fields in odd.into_iter().chain([without("topic"), without("consumerGroup")]) {
        let (java, ours) = both.apart(15, &fields, b"");
        assert!(java.code != 0 && ours.code != 0, "{fields}: {} {}", java.code, ours.code);
    }
    assert_eq!(committed(both, &one, topic, 0).as_deref(), Some("1"));
    // Nothing committed: a young queue begins at 0, unless the client wants to know.
    assert_eq!(same(both, 14, json!({ "consumerGroup": "New", "topic": topic, "queueId": "1" })).fields["offset"], "0");
    assert_eq!(same(both, 14, json!({ "consumerGroup": "New", "topic": topic, "queueId": "2" })).code, 22);
    assert_eq!(committed(both, "New", topic, 1), None);
    // All of it, and by topic and group.
    same_offsets(both, topic);
    same(both, 45, json!({}));
    for group in [one.as_str(), "NoGroup"] {
        same(both, 303, json!({ "topic": topic, "group": group }));
        same(both, 343, json!({ "group": group }));
        same(both, 208, json!({ "consumerGroup": group }));
        same(both, 208, json!({ "consumerGroup": group, "topic": topic }));
        same(both, 208, json!({ "consumerGroup": group, "topicList": format!("{topic};NoTopic") }));
    }
    assert_eq!(same(both, 303, json!({ "topic": "NoTopic", "group": one })).code, 17);
    assert_eq!(same(both, 343, json!({})).code, 1);
    same(both, 300, json!({ "topic": topic }));
    assert!(same_progress(both, "false")["totalDiff"].is_i64());
    same_progress(both, "true");
    for (group, name) in [(one.as_str(), "own"), (two.as_str(), "other"), ("NoGroup", "none")] {
        assert_eq!(same(both, 308, json!({ "topic": topic, "compareGroup": group })).code, 0, "{name}");
    }
    same(both, 308, json!({ "topic": "NoTopic", "compareGroup": one }));
    // A group begins where another one is.
    let to = |source: &str, topic: &str| json!({ "srcGroup": source, "destGroup": clone, "topic": topic, "offline": "true" });
    assert_eq!(same(both, 314, to("NoGroup", topic)).code, 0);
    assert_eq!(same(both, 314, to(&one, "NoTopic")).code, 0);
    assert_eq!(committed(both, &clone, topic, 1), None);
    assert_eq!(same(both, 314, to(&one, topic)).code, 0);
    assert_eq!(committed(both, &clone, topic, 1).as_deref(), Some("2"));
    for (name, key) in
        [("TOPIC_PUT_NUMS", topic.as_str()), ("TOPIC_PUT_SIZE", topic), ("BROKER_PUT_NUMS", "DefaultCluster")]
    {
        // Counts are taken every ten seconds, of each broker's own.
        let (java, ours) = both.apart(315, &json!({ "statsName": name, "statsKey": key }), b"");
        assert_eq!((ours.code, shape(&ours.body)), (java.code, shape(&java.body)), "{name}");
    }
    assert_eq!(same(both, 315, json!({ "statsName": "NO_SUCH", "statsKey": topic })).code, 1);
    assert_eq!(same(both, 315, json!({})).code, 1);
}

#[test]
fn connected_clients() {
    let (pair, _alone) = alone();
    let both = &mut pair.connect();
    let topic = &topic_with_messages(pair, both);
    let online = &group(both, "MG");
    for (code, fields) in [
        (203, json!({ "consumerGroup": online })),
        (204, json!({ "producerGroup": format!("P{online}") })),
        (38, json!({ "consumerGroup": online })),
    ] {
        assert_ne!(same(both, code, fields).code, 0, "{code}");
    }
    assert_eq!(same(both, 203, json!({})).code, 1);
    beat(both, online, topic, "CONSUME_PASSIVELY", "CLUSTERING");
    same(both, 203, json!({ "consumerGroup": online }));
    same(both, 204, json!({ "producerGroup": format!("P{online}") }));
    same(both, 38, json!({ "consumerGroup": online }));
    same(both, 328, json!({}));
    assert_eq!(same(both, 345, json!({ "group": online, "topic": topic })).body["subscriptionData"]["subString"], "*");
    assert!(same(both, 345, json!({ "group": online, "topic": "Other" })).body["subscriptionData"].is_null());
    same(both, 345, json!({ "group": "NoGroup", "topic": topic }));
    assert_eq!(same(both, 300, json!({ "topic": topic })).body["groupList"], json!([online]));
    // A group that is there clones the offsets of what it subscribes only.
    let (other, clone) = (topic_with_messages(pair, both), group(both, "MG"));
    for name in [topic, &other] {
        commit(both, online, name, &[(0, 2)]);
        let fields = json!({ "srcGroup": online, "destGroup": clone, "topic": name, "offline": "false" });
        assert_eq!(same(both, 314, fields).code, 0);
    }
    assert_eq!(committed(both, &clone, topic, 0).as_deref(), Some("2"));
    assert_eq!(committed(both, &clone, &other, 0), None);
}

#[test]
fn offsets_are_reset_by_the_broker() {
    let (pair, _alone) = alone();
    let both = &mut pair.connect();
    let topic = &topic_with_messages(pair, both);
    let group = &group(both, "MG");
    commit(both, group, topic, &[(0, 3), (1, 3), (2, 0)]);
    let reset = |more: Value| {
        let mut fields = json!({ "topic": topic, "group": group, "timestamp": "0", "isForce": "true" });
        fields.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        fields
    };
    for refused in [
        json!({ "topic": "NoTopic" }),
        json!({ "group": "NoGroup" }),
        json!({ "queueId": "1", "offset": "6" }),
        json!({ "queueId": "1", "offset": "-2" }),
    ] {
        assert_ne!(same(both, 222, reset(refused.clone())).code, 0, "{refused}");
    }
    assert_eq!(committed(both, group, topic, 1).as_deref(), Some("3"));
    assert_eq!(same(both, 222, reset(json!({}))).code, 0);
    // Until the next pull of the queue, what the consumer still commits counts for nothing.
    commit(both, group, topic, &[(0, 4)]);
    assert_eq!(committed(both, group, topic, 0).as_deref(), Some("0"));
    let moved = same(both, 11, pull(group, topic, 3, SUBSCRIPTION));
    assert_eq!((moved.code, moved.fields["nextBeginOffset"].as_str()), (21, Some("0")));
    commit(both, group, topic, &[(0, 2)]);
    assert_eq!(committed(both, group, topic, 0).as_deref(), Some("2"));
    // To the end, to a time, to an offset, of one queue.
    assert_eq!(same(both, 222, reset(json!({ "timestamp": "-1" }))).code, 0);
    assert_eq!(committed(both, group, topic, 1).as_deref(), Some("4"));
    same(both, 222, reset(json!({ "timestamp": (now_ms() + 60_000).to_string() })));
    same(both, 222, reset(json!({ "queueId": "1", "offset": "2" })));
    same(both, 222, reset(json!({ "queueId": "1", "offset": "5" })));
    same(both, 222, reset(json!({ "queueId": "1", "offset": "-1", "timestamp": "0" })));
    assert_eq!(committed(both, group, topic, 1).as_deref(), Some("0"));
    same_offsets(both, topic);
}

#[test]
fn consumers_are_told_to_reset_their_offsets() {
    let (pair, _alone) = alone();
    let both = &mut pair.connect();
    set_config(both, "useServerSideResetOffset=false");
    let topic = &topic_with_messages(pair, both);
    let group = &group(both, "MG");
    let reset = |timestamp: &str, force: &str| json!({ "topic": topic, "group": group, "timestamp": timestamp, "isForce": force });
    assert_eq!(same(both, 222, json!({ "topic": "NoTopic", "group": group, "timestamp": "0" })).code, 17);
    assert_eq!(same(both, 222, reset("0", "true")).code, 1);
    commit(both, group, topic, &[(0, 3), (1, 2), (2, 0)]);
    assert_eq!(same(both, 222, reset("0", "true")).code, 206);
    let consumer = &mut pair.connect();
    beat(consumer, group, topic, "CONSUME_PASSIVELY", "CLUSTERING");
    for (timestamp, force) in [("0", "true"), ("-1", "false"), ("-1", "true"), ("0", "false")] {
        let answer = same(both, 222, reset(timestamp, force));
        let told = consumer.pushed(220, None);
        assert_eq!((answer.code, &answer.body), (0, &told.body), "{timestamp} {force}");
    }
    // A tool in C++ has another form sent.
    let answer = same(&mut pair.connect().speaking("CPP", NEW), 222, reset("0", "true"));
    assert_ne!(answer.body, consumer.pushed(220, None).body);
    // The consumer's offsets are its own affair.
    assert_eq!(committed(both, group, topic, 0).as_deref(), Some("3"));
    // A member that does not know the request spoils it.
    let old = &mut pair.connect().speaking("JAVA", OLD);
    beat(old, group, topic, "CONSUME_PASSIVELY", "CLUSTERING");
    assert_eq!(same(both, 222, reset("0", "true")).code, 1);
    set_config(both, "useServerSideResetOffset=true");
}

#[test]
fn consumers_are_asked() {
    let (pair, _alone) = alone();
    let both = &mut pair.connect();
    let topic = &topic_with_messages(pair, both);
    let group = &group(both, "MG");
    let running = |client: &str| json!({ "consumerGroup": group, "clientId": client, "jstackEnable": "true" });
    let status = |client: &str| json!({ "topic": topic, "group": group, "clientAddr": client });
    let id = "7F00000100002A9F0000000000000000";
    let consume = |id: &str, client: &str| json!({ "consumerGroup": group, "clientId": client, "topic": topic, "msgId": id, "brokerName": "x" });
    assert_eq!(same(both, 307, running(CLIENT)).code, 1);
    assert_eq!(same(both, 309, consume(id, CLIENT)).code, 1);
    assert_eq!(same(both, 223, status("")).code, 1);
    let consumer = &mut pair.connect();
    beat(consumer, group, topic, "CONSUME_PASSIVELY", "CLUSTERING");
    both.send(307, &running(CLIENT), b"");
    consumer.pushed(307, Some((0, "fine", r#"{"jstack":"x"}"#)));
    assert_eq!(both.answer().body["jstack"], "x");
    both.send(307, &running(CLIENT), b"");
    consumer.pushed(307, Some((7, "I will not", "")));
    let refused = both.answer();
    assert_eq!((refused.code, refused.remark.as_str()), (7, Some("I will not")));
    both.send(309, &consume(id, CLIENT), b"");
    consumer.pushed(309, Some((0, "", r#"{"consumeResult":"CR_SUCCESS"}"#)));
    assert_eq!(both.answer().body["consumeResult"], "CR_SUCCESS");
    for bad in ["xx", "", "7F00000100002A9F00FFFFFFFFFFFFFF"] {
        assert_eq!(same(both, 309, consume(bad, CLIENT)).code, 1, "{bad}");
    }
    let queue = r#"{"brokerName":"broker-a","queueId":0,"topic":"T"}"#;
    let table = format!(r#"{{"messageQueueTable":{{{queue}:7}}}}"#);
    both.send(223, &status(""), b"");
    consumer.pushed(221, Some((0, "", &table)));
    assert_eq!(both.answer().body["consumerTable"][CLIENT][queue], 7);
    // One that refuses, or is not there, has nothing.
    both.send(223, &status(CLIENT), b"");
    consumer.pushed(221, Some((1, "I will not", "")));
    assert_eq!(both.answer().body["consumerTable"], json!({}));
    assert_eq!(same(both, 223, status("nobody")).body["consumerTable"], json!({}));
    // Releases that do not know the requests are not asked.
    let old = &mut pair.connect().speaking("JAVA", OLD);
    let other = &self::group(both, "MG");
    beat(old, other, topic, "CONSUME_PASSIVELY", "CLUSTERING");
    assert_eq!(same(both, 223, json!({ "topic": topic, "group": other })).code, 1);
    assert_eq!(same(both, 307, json!({ "consumerGroup": other, "clientId": CLIENT })).code, 1);
    assert_eq!(same(both, 309, json!({ "consumerGroup": other, "clientId": CLIENT, "msgId": id })).code, 1);
}

#[test]
fn groups_that_read_cold_data_are_held_back() {
    let (pair, _alone) = alone();
    let both = &mut pair.connect();
    let topic = &topic_with_messages(pair, both);
    let [push, lite, free] = ["MG", "MG", "MG"].map(|name| group(both, name));
    let info = |both: &mut Both| both.apart(2003, &json!({}), b"");
    for (code, body) in
        [(2001, format!("{push}=1\n{lite}=1\nother=x")), (2001, String::new()), (2002, "NoGroup".into())]
    {
        assert_eq!(both.ask(code, &json!({}), body.as_bytes()).code, 0);
    }
    let (java, ours) = info(both);
    for key in ["configTable", "cgColdReadThreshold", "globalColdReadThreshold"] {
        assert_eq!(java.body[key], ours.body[key], "{key}");
    }
    assert_eq!(ours.body["configTable"], json!({ &*push: 1, &*lite: 1 }));
    beat(both, &push, topic, "CONSUME_PASSIVELY", "CLUSTERING");
    let other = &mut pair.connect();
    beat(other, &lite, topic, "CONSUME_ACTIVELY", "CLUSTERING");
    // The first pull of a round is never held; how soon a round ends is not known, so each is tried until it is.
    assert_eq!(same(both, 11, pull(&free, topic, 0, SUBSCRIPTION)).code, 0);
    both.ask_until(11, &pull(&push, topic, 0, SUBSCRIPTION), b"", |answer| answer.code == 2);
    let (java, ours) = info(both);
    for answer in [&java, &ours] {
        let reads = &answer.body["runtimeTable"][&push];
        assert!(reads["coldAcc"].as_i64().is_some_and(|bytes| bytes > 0), "{answer:?}");
        assert_eq!(reads["lastColdReadTimeMills"], "TIME");
    }
    // At the end of the queue there is nothing cold to read.
    assert_eq!(same(both, 11, pull(&push, topic, 4, SUBSCRIPTION)).code, 19);
    // Pull consumers wait, and get one message if the group still reads too much, else what they asked for.
    let mut held = [false; 2];
    wait_for("a pull that waited on both", 60, || {
        // The first reads, the second waits, unless a round ends between them.
        let answers = other.in_a_row(2, 11, &pull(&lite, topic, 0, SUBSCRIPTION));
        for ((answer, took), held) in answers.into_iter().zip(&mut held) {
            assert_eq!(answer.code, 0, "{answer:?}");
            *held |= took >= 3000;
        }
        (held == [true; 2]).then_some(())
    });
    both.ask(2002, &json!({}), push.as_bytes());
    assert_eq!(same(both, 11, pull(&push, topic, 0, SUBSCRIPTION)).code, 0);
    for (mode, code) in [("1", 0), ("0", 0), ("7", 29), ("x", 1)] {
        assert_eq!(same(both, 2004, json!({ "READ_AHEAD_MODE": mode })).code, code, "{mode}");
    }
    assert_eq!(same(both, 2004, json!({ "other": "1" })).code, 1);
}

#[test]
fn broadcast_clients_go_on_where_they_were() {
    let (pair, _alone) = alone();
    let both = &mut pair.connect();
    let topic = &topic_with_messages(pair, both);
    let group = &group(both, "MG");
    beat(both, group, topic, "CONSUME_PASSIVELY", "BROADCASTING");
    let proxied = |offset: i64| {
        let mut fields = pull(group, topic, offset, SUBSCRIPTION);
        fields["requestSource"] = json!("1");
        fields["proxyFrowardClientId"] = json!(CLIENT);
        fields
    };
    // Directly, up to 3; then by a proxy, which is told so, also when it asks.
    for offset in [0, 3] {
        assert_eq!(same(both, 11, pull(group, topic, offset, SUBSCRIPTION)).code, 0);
    }
    for wanted in [0, -1] {
        let moved = same(both, 11, proxied(wanted));
        assert_eq!((moved.code, moved.fields["nextBeginOffset"].as_str()), (21, Some("3")));
    }
    assert_eq!(same(both, 11, proxied(3)).code, 0);
    assert_eq!(same(both, 11, pull(group, topic, 0, SUBSCRIPTION)).fields["nextBeginOffset"], "3");
    // What the brokers keep of it.
    let key = format!("{topic}@{group}@broadcast");
    wait_for("the offset of the group", 30, || {
        all_offsets(both, topic).iter().all(|offsets| offsets["offsetTable"][&key]["0"] == 3).then_some(())
    });
    same_offsets(both, topic);
    same(both, 300, json!({ "topic": topic }));
    same(both, 343, json!({ "group": group }));
}

#[test]
fn pulls_and_queries_that_make_no_sense() {
    let (pair, _alone) = alone();
    let both = &mut pair.connect();
    let topic = &topic_with_messages(pair, both);
    let query = |key: &str, more: Value| {
        let mut fields = json!({ "topic": topic, "key": key, "maxNum": "32", "beginTimestamp": "0",
            "endTimestamp": i64::MAX.to_string() });
        fields.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        fields
    };
    let unique_key = json!({ "_UNIQUE_KEY_QUERY": "true" });
    both.ask_until(12, &query("k00", unique_key.clone()), b"", |answer| answer.code == 0);
    for (fields, code) in [
        (query("none", json!({})), 22),
        (query("k00", json!({ "topic": "NoTopic" })), 22),
        (query("k00", json!({ "beginTimestamp": "5", "endTimestamp": "6" })), 22),
        (query("k00", json!({ "maxNum": "-1" })), 1),
        (json!({ "topic": topic }), 1),
    ] {
        assert_eq!(same(both, 12, fields.clone()).code, code, "{fields}");
    }
    for offset in ["999999999999", "-1", "5", "zero", ""] {
        assert_eq!(same(both, 33, json!({ "offset": offset })).code, 1, "{offset}");
    }
    assert_eq!(same(both, 33, json!({ "offset": "0" })).code, 0);
    for code in [29, 30, 31, 32] {
        for (topic, queue) in [(topic.as_str(), "0"), (topic, "99"), ("NoTopic", "0"), (topic, "-1"), (topic, "zero")] {
            same(both, code, json!({ "topic": topic, "queueId": queue, "timestamp": "0" }));
        }
        assert_eq!(same(both, code, json!({ "topic": topic })).code, 1, "{code}");
    }
    for time in ["-1", "0", "9223372036854775807"] {
        for boundary in ["LOWER", "UPPER", "nonsense"] {
            let fields = json!({ "topic": topic, "queueId": "0", "timestamp": time, "boundaryType": boundary });
            same(both, 29, fields);
        }
    }
    for (offset, code) in [(-1, 21), (4, 19), (5, 21), (i64::MAX, 21)] {
        assert_eq!(same(both, 11, pull("MG", topic, offset, SUBSCRIPTION | SUSPEND)).code, code, "{offset}");
    }
    same(both, 202, json!({ "topic": topic }));
}

#[test]
fn java_consumers_answer_through_the_broker() {
    let (pair, _alone) = alone();
    let driver = java(Version::V5_5_0, Serialize::Json);
    for cluster in pair.clusters() {
        let namesrv = cluster.namesrv();
        let (topic, group, admin) = (cluster.topic("java", 2), unique("javaG"), unique("admin"));
        driver.call("admin.start", args! { name: admin, namesrv: namesrv });
        let call = |method: &str, arguments: &[&str]| -> Value {
            let mut args = args! { name: admin, method: method, n: arguments.len() };
            args.extend(arguments.iter().enumerate().map(|(at, text)| (format!("s{at}"), (*text).to_owned())));
            let result = driver.call("admin.call", args)["result"].take();
            result.as_str().and_then(|text| codec::json::from_slice(text.as_bytes()).ok()).unwrap_or(result)
        };
        let sent = driver.producer(&namesrv, args! {}).send_ok(&topic, 4, args! {});
        let push = driver.push(&namesrv, &group, &topic, args! { threads: 1 });
        push.expect(4);
        let connection = wait_for("the consumer is connected", 30, || {
            let shown = call("examineConsumerConnectionInfo", &[&group]);
            shown["connectionSet"][0]["clientId"].as_str().map(str::to_owned)
        });
        // Consumed once more, because somebody wants it so.
        let result = call("consumeMessageDirectly", &[&group, &connection, &topic, &sent[0].offset_msg_id]);
        assert_eq!(result["consumeResult"], "CR_SUCCESS", "{result}");
        assert_eq!(push.deliveries(5).len(), 5);
        let shown = driver.call("admin.status", args! { name: admin, topic: topic, group: group });
        let queues = shown["status"][&connection].as_object().expect("the consumer's queues");
        assert_eq!(queues.values().filter_map(Value::as_i64).sum::<i64>(), 4, "{shown}");
        push.stop();
        driver.call("admin.stop", args! { name: admin });
    }
}

#[test]
fn traces_are_read_back() {
    let (pair, _alone) = alone();
    for cluster in pair.clusters() {
        let drivers = [java(Version::V4_9_7, Serialize::Json), java(Version::V5_5_0, Serialize::Json)];
        each(&drivers, |driver| trace(cluster, driver));
    }
}

/// Sends and consumes with traces on, and has Apache's tool show what became of the message.
fn trace(cluster: &it::Cluster, driver: &Driver) {
    let namesrv = cluster.namesrv();
    let (topic, group) = (cluster.topic("java", 1), unique("javaG"));
    let producer = driver.producer(&namesrv, args! { trace: true });
    let sent = producer.send_ok(&topic, 1, args! { keys: "order-1", tags: "A" });
    let push = driver.push(&namesrv, &group, &topic, args! { trace: true, threads: 1 });
    push.expect(1);
    let line = ["queryMsgTraceById", "-i", &sent[0].msg_id, "-n", &namesrv];
    wait_for("both ends of the trace", 60, || {
        let shown = driver.mqadmin(&line);
        let has = |word: &str| shown.lines().any(|line| line.split_whitespace().any(|found| found == word));
        (has("Pub") && has(&producer.group) && has(&group) && shown.contains("success")).then_some(())
    });
    push.stop();
}
