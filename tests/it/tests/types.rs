//! Types of topics, and priorities: on a broker of their own, for what is popped here and not acknowledged comes again and would
//! hold up what `pop.rs` waits for.

use it::clock::wait_for;
use it::driver::{Serialize, Version};
use it::pop::{Answer, Popper, call, call_with, end_of};
use it::{Cluster, args, java, on_both, unique, wire};
use serde_json::{Value, json};

const SEND_MESSAGE: i32 = 10;
const CREATE_TOPIC: i32 = 17;
const CREATE_GROUP: i32 = 200;
const GET_GROUP: i32 = 352;
const SET_REQUEST_MODE: i32 = 401;
const GET_ALL_REQUEST_MODES: i32 = 402;

on_both! {
    shared: priorities_are_queues, types_of_topics;
}

fn create_topic(addr: &str, topic: &str, attributes: &str) -> Answer {
    let fields = json!({ "topic": topic, "defaultTopic": "TBW102", "readQueueNums": "4", "writeQueueNums": "4",
        "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false", "attributes": attributes });
    call(addr, CREATE_TOPIC, &fields)
}

fn send_with(addr: &str, topic: &str, body: &str, properties: &str) -> Answer {
    let fields = json!({ "producerGroup": "PG", "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
        "queueId": "2", "sysFlag": "0", "bornTimestamp": "1700000000000", "flag": "0", "properties": properties,
        "reconsumeTimes": "0", "unitMode": "false" });
    call_with(addr, SEND_MESSAGE, &fields, body.as_bytes())
}

/// A priority chooses the queue; pops begin with the highest. The client of 5.5.0 can set one.
fn priorities_are_queues(cluster: &Cluster) {
    let (addr, topic) = (cluster.broker().addr(), unique("Priorities"));
    assert_eq!(create_topic(&addr, &topic, "+message.type=PRIORITY").code, 0);
    let popper = Popper { addr: addr.clone(), topic: topic.clone(), group: unique("CG") };
    let mine = |value: &str| format!("_SYS_MSG_PRIORITY_\u{1}{value}\u{2}");
    for (body, value, queue) in [("low", "0", 0), ("high", "3", 3), ("higher", "9", 3), ("none", "-1", 2)] {
        let answer = send_with(&addr, &topic, body, &mine(value));
        assert_eq!((answer.code, answer.number("queueId")), (0, queue), "{body}: {answer:?}");
    }
    // Of another type already: the priority counts for nothing, and is taken away.
    let ordered = send_with(&addr, &topic, "ordered", &format!("{}__SHARDINGKEY\u{1}k\u{2}", mine("3")));
    assert_eq!(ordered.number("queueId"), 2, "{ordered:?}");
    let driver = java(Version::V5_5_0, Serialize::Json);
    cluster.wait_route(&topic);
    let sent = driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 1, args! { body: "client", priority: 1 });
    assert_eq!(sent[0].queue, 1, "{sent:?}");
    for (queue, end) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
        wait_for("the messages are in their queues", 30, || (end_of(&addr, &topic, queue) == end).then_some(()));
    }
    let popped: Vec<_> = (0..6).flat_map(|_| popper.pop(&json!({ "maxMsgNums": "1" })).messages).collect();
    let bodies: Vec<_> = popped.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, ["high", "higher", "none", "ordered", "client0", "low"]);
    let kept = popped.iter().map(|message| message.properties.get("_SYS_MSG_PRIORITY_").map(String::as_str));
    assert_eq!(kept.collect::<Vec<_>>(), [Some("3"), Some("9"), Some("-1"), None, Some("1"), Some("0")]);
    // How often a group begins with the highest, in percent.
    let group = |attributes: &Value| {
        let body = json!({ "groupName": popper.group, "attributes": attributes });
        call_with(&addr, CREATE_GROUP, &json!({}), body.to_string().as_bytes())
    };
    assert_eq!(group(&json!({ "+priority.factor": "101" })).code, 1);
    assert_eq!(group(&json!({ "+priority.factor": "40" })).code, 0);
    let shown = wire::call(&addr, GET_GROUP, &json!({ "group": popper.group }), b"").expect("an answer");
    let shown: Value = serde_json::from_slice(&shown.body).expect("JSON");
    assert_eq!(shown["attributes"], json!({ "priority.factor": "40" }), "{shown}");
    assert_eq!(group(&json!({ "-priority.factor": "" })).code, 0);
}

/// What the broker itself makes of the type of a topic: it must be one there is, and says nothing about what is sent.
fn types_of_topics(cluster: &Cluster) {
    let addr = cluster.broker().addr();
    for kind in ["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "PRIORITY", "LITE"] {
        let topic = unique(kind);
        assert_eq!(create_topic(&addr, &topic, &format!("+message.type={kind}")).code, 0, "{kind}");
        for properties in ["", "DELAY\u{1}1\u{2}", "__SHARDINGKEY\u{1}k\u{2}"] {
            let answer = send_with(&addr, &topic, kind, properties);
            assert_eq!(answer.code, 0, "{kind} {properties:?}: {answer:?}");
        }
    }
    let refused = |attributes: &str, code: i64, remark: &str| {
        let answer = create_topic(&addr, "Refused", attributes);
        assert!(answer.code == code && answer.remark.starts_with(remark), "{attributes}: {answer:?}");
    };
    refused("+message.type=MIXED", 29, "MIXED message type is not supported.");
    refused("+message.type=WRONG", 1, "value is not in set: ");
    refused("+message.kind=FIFO", 1, "unsupported key: message.kind");
    refused("message.type=FIFO", 1, "add/alter attribute format is wrong: message.type");
    let topic = unique("Changes");
    assert_eq!(create_topic(&addr, &topic, "+message.type=FIFO").code, 0);
    assert_eq!(create_topic(&addr, &topic, "+message.type=DELAY").code, 0);
    let fixed = create_topic(&addr, &topic, "+queue.type=SimpleCQ");
    assert_eq!(fixed.remark, "attempt to update an unchangeable attribute. key: queue.type", "{fixed:?}");
    // Pull or pop, for all topics and groups that were told.
    let mode = json!({ "topic": topic, "consumerGroup": unique("CG"), "mode": "POP", "popShareQueueNum": 3 });
    assert_eq!(call_with(&addr, SET_REQUEST_MODE, &json!({}), mode.to_string().as_bytes()).code, 0);
    let all = wire::call(&addr, GET_ALL_REQUEST_MODES, &json!({}), b"").expect("an answer");
    let all: Value = serde_json::from_slice(&all.body).expect("JSON");
    let group = mode["consumerGroup"].as_str().expect("a name");
    assert_eq!(all["messageRequestModeMap"][&topic], json!({ group: mode }), "{all}");
}
