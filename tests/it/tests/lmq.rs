//! Light queues (LMQ): messages that are in queues of other topics too, their offsets and groups, on both brokers and on one
//! store by turns.

use it::client::received;
use it::clock::wait_for;
use it::cluster::{ClusterOptions, is_error, our_bin};
use it::driver::{Serialize, Version};
use it::pop::{Answer, call, call_with, end_of};
use it::{Broker, Cluster, Kind, Launch, Nameserver, args, java, on_both, unique, wire};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const SEND_MESSAGE: i32 = 10;
const PULL_MESSAGE: i32 = 11;
const QUERY_CONSUMER_OFFSET: i32 = 14;
const UPDATE_CONSUMER_OFFSET: i32 = 15;
const GET_MIN_OFFSET: i32 = 31;
const DELETE_TOPIC: i32 = 215;
const GET_TOPIC_CONFIG: i32 = 351;
const LMQ_QUOTA_EXCEEDED: i64 = 2017;
/// Pull flags: the answer may wait, the subscription comes along.
const SUSPEND: i32 = 2;
const SUBSCRIPTION: i32 = 4;
const GROUP: &str = "%LMQ%CG";

const SETTINGS: &[(&str, &str)] = &[
    ("enableLmq", "true"),
    ("enableMultiDispatch", "true"),
    ("enableLmqQuota", "true"),
    ("maxLmqConsumeQueueNum", "3"),
    ("mappedFileSizeConsumeQueue", "2000"),
    ("flushConsumerOffsetInterval", "500"),
];

on_both! {
    own: messages_are_in_light_queues_too;
}

fn properties(lmqs: &str, more: &str) -> String {
    format!("TAGS\u{1}TagA\u{2}WAIT\u{1}true\u{2}UNIQ_KEY\u{1}U1\u{2}INNER_MULTI_DISPATCH\u{1}{lmqs}\u{2}{more}")
}

fn send(addr: &str, topic: &str, body: &str, properties: &str) -> Answer {
    let fields = json!({ "producerGroup": "PG", "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
        "queueId": "1", "sysFlag": "0", "bornTimestamp": "1700000000000", "flag": "0", "properties": properties,
        "reconsumeTimes": "0", "unitMode": "false" });
    call_with(addr, SEND_MESSAGE, &fields, body.as_bytes())
}

fn pull(addr: &str, lmq: &str, offset: i64, flags: i32) -> Answer {
    let fields = json!({ "consumerGroup": GROUP, "topic": lmq, "queueId": "0", "queueOffset": offset.to_string(),
        "maxMsgNums": "32", "sysFlag": flags.to_string(), "commitOffset": "0", "suspendTimeoutMillis": "4000",
        "subscription": "*", "subVersion": "0", "expressionType": "TAG" });
    call(addr, PULL_MESSAGE, &fields)
}

fn await_end(addr: &str, lmq: &str, end: i64) {
    wait_for(&format!("{lmq} ends at {end}"), 30, || (end_of(addr, lmq, 0) == end).then_some(()));
}

/// Bodies of a light queue, each with the position that its message says it has there.
fn all_of(addr: &str, lmq: &str) -> Vec<(String, i64)> {
    let (mut all, mut at) = (Vec::new(), 0);
    loop {
        let answer = pull(addr, lmq, at, SUBSCRIPTION);
        if answer.code != 0 {
            return all;
        }
        for message in &answer.messages {
            let list = |name: &str| message.properties[name].split(',').map(str::to_owned).collect::<Vec<_>>();
            let (names, offsets) = (list("INNER_MULTI_DISPATCH"), list("INNER_MULTI_QUEUE_OFFSET"));
            let place = names.iter().position(|name| name == lmq).expect("the message names its light queue");
            all.push((message.body.clone(), offsets[place].parse().expect("a position")));
        }
        at = answer.number("nextBeginOffset");
    }
}

fn expect(bodies: &[&str]) -> Vec<(String, i64)> {
    bodies.iter().map(|body| (*body).to_owned()).zip(0..).collect()
}

fn offset_of_group(addr: &str, lmq: &str) -> i64 {
    let place = json!({ "consumerGroup": GROUP, "topic": lmq, "queueId": "0" });
    call(addr, QUERY_CONSUMER_OFFSET, &place).number("offset")
}

fn commit(broker: &Broker, lmq: &str, offset: i64) {
    let place = json!({ "consumerGroup": GROUP, "topic": lmq, "queueId": "0", "commitOffset": offset.to_string() });
    assert_eq!(call(&broker.addr(), UPDATE_CONSUMER_OFFSET, &place).code, 0);
    let file = broker.store_dir().join("config/lmqConsumerOffset.json");
    let wanted = format!("\"{lmq}@{GROUP}\":{offset}");
    wait_for("the offset is written", 30, || {
        let text = std::fs::read_to_string(&file).unwrap_or_default().replace(char::is_whitespace, "");
        text.contains(&wanted).then_some(())
    });
}

fn messages_are_in_light_queues_too(kind: Kind) {
    let cluster = Cluster::start(Launch::of(kind), &ClusterOptions { extra: SETTINGS, ..ClusterOptions::default() });
    let (broker, addr, topic) = (cluster.broker(), cluster.broker().addr(), cluster.topic("Parent", 2));
    assert_eq!(send(&addr, &topic, "m0", &properties("%LMQ%a", "")).code, 0);
    assert_eq!(send(&addr, &topic, "m1", &properties("%LMQ%b,%LMQ%a", "")).code, 0);
    await_end(&addr, "%LMQ%a", 2);
    await_end(&addr, "%LMQ%b", 1);
    every_field(&addr, &topic);
    // What clients say of positions is not believed.
    let forged = properties("%LMQ%a", "INNER_MULTI_QUEUE_OFFSET\u{1}7\u{2}");
    assert_eq!(send(&addr, &topic, "m2", &forged).code, 0);
    await_end(&addr, "%LMQ%a", 3);
    assert_eq!(all_of(&addr, "%LMQ%a"), expect(&["m0", "m1", "m2"]));
    held_pulls_are_woken(&addr, &topic);
    // No more queues than may be, but more messages in those there are.
    assert_eq!(send(&addr, &topic, "c0", &properties("%LMQ%c", "")).code, 0);
    await_end(&addr, "%LMQ%c", 1);
    let refused = send(&addr, &topic, "d0", &properties("%LMQ%a,%LMQ%d", ""));
    assert_eq!(refused.code, LMQ_QUOTA_EXCEEDED, "{refused:?}");
    assert!(
        refused.remark.starts_with("[LMQ_CONSUME_QUEUE_NUM_EXCEEDED]lmq consume queue num exceeded."),
        "{refused:?}"
    );
    // The client of 5.5.0 sends and pulls; it finds the broker by the topic that was sent to.
    let driver = java(Version::V5_5_0, Serialize::Json);
    let producer = driver.producer(&cluster.namesrv(), args! {});
    producer.send_ok(&topic, 2, args! { body: "client", "p.INNER_MULTI_DISPATCH": "%LMQ%a" });
    await_end(&addr, "%LMQ%a", 6);
    let puller = unique("puller");
    let start = args! { name: puller, group: "%LMQ%PullGroup", namesrv: cluster.namesrv(), topic: topic };
    driver.call("pull.start", start);
    let fetch = args! { name: puller, topic: "%LMQ%a", broker: "broker-a", queue: 0, offset: 0, max: 32 };
    let pulled = wait_for("the client knows the broker", 30, || driver.try_call("pull.fetch", fetch.clone()).ok());
    driver.call("pull.stop", args! { name: puller });
    let bodies: Vec<_> = received(&pulled["messages"]).into_iter().map(|message| message.body).collect();
    let of_a = ["m0", "m1", "m2", "late", "client0", "client1"];
    assert_eq!((bodies, &pulled["next"], &pulled["max"]), (of_a.map(str::to_owned).to_vec(), &json!(6), &json!(6)));
    // Offsets of the group, and what is left of everything after a kill.
    assert_eq!(offset_of_group(&addr, "%LMQ%b"), 0, "from the beginning, as long as there is none");
    commit(broker, "%LMQ%a", 4);
    let config =
        wire::call(&addr, GET_TOPIC_CONFIG, &json!({ "topic": "%LMQ%nobody made it" }), b"").expect("an answer");
    assert_eq!(config.header["code"], 0, "{}", config.header);
    broker.kill9();
    broker.boot();
    await_end(&addr, "%LMQ%a", 6);
    assert_eq!((offset_of_group(&addr, "%LMQ%a"), all_of(&addr, "%LMQ%a")), (4, expect(&of_a)));
    assert_eq!(send(&addr, &topic, "after", &properties("%LMQ%b,%LMQ%c", "")).code, 0);
    await_end(&addr, "%LMQ%c", 2);
    assert_eq!(all_of(&addr, "%LMQ%b"), expect(&["m1", "after"]));
    // One that is deleted begins again.
    assert_eq!(call(&addr, DELETE_TOPIC, &json!({ "topic": "%LMQ%b" })).code, 0);
    assert_eq!(end_of(&addr, "%LMQ%b", 0), 0);
    assert_eq!(send(&addr, &topic, "again", &properties("%LMQ%b", "")).code, 0);
    await_end(&addr, "%LMQ%b", 1);
    assert_eq!(all_of(&addr, "%LMQ%b"), expect(&["again"]));
    let topics = std::fs::read_to_string(broker.store_dir().join("config/topics.json")).expect("topics.json");
    assert!(topics.contains(&topic) && !topics.contains("\"%LMQ%"), "{topics}");
    cluster.assert_quiet();
}

fn every_field(addr: &str, topic: &str) {
    let answer = pull(addr, "%LMQ%a", 1, SUBSCRIPTION);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(["nextBeginOffset", "minOffset", "maxOffset"].map(|key| answer.number(key)), [2, 0, 2]);
    let [message] = &answer.messages[..] else { panic!("one message: {answer:?}") };
    assert_eq!((message.topic.as_str(), message.queue, message.offset), (topic, 1, 1));
    let given = [
        ("TAGS", "TagA"),
        ("WAIT", "true"),
        ("UNIQ_KEY", "U1"),
        ("MSG_REGION", "DefaultRegion"),
        ("TRACE_ON", "true"),
        ("CLUSTER", "DefaultCluster"),
        ("INNER_MULTI_DISPATCH", "%LMQ%b,%LMQ%a"),
        ("INNER_MULTI_QUEUE_OFFSET", "0,1"),
    ];
    let given: BTreeMap<_, _> = given.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    assert_eq!(message.properties, given);
    let min = call(addr, GET_MIN_OFFSET, &json!({ "topic": "%LMQ%a", "queueId": "0" }));
    assert_eq!(min.number("offset"), 0);
}

fn held_pulls_are_woken(addr: &str, topic: &str) {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pull(addr, "%LMQ%a", 3, SUBSCRIPTION | SUSPEND));
        assert_eq!(send(addr, topic, "late", &properties("%LMQ%a", "")).code, 0);
        let woken = waiting.join().expect("an answer");
        assert_eq!((woken.code, woken.bodies()), (0, vec!["late"]), "{woken:?}");
    });
}

/// Java's broker and ours by turns, killed and stopped: each shows what the other had, and goes on.
#[test]
fn a_store_with_light_queues_goes_to_and_fro() {
    it::jvm::prepare();
    let nameserver = Nameserver::start(Launch::of(Kind::Ferrocket));
    let mut settings: Vec<_> = SETTINGS.iter().filter(|(key, _)| !key.ends_with("Quota")).copied().collect();
    // What a Java broker that is killed leaves of an index is not the subject here.
    settings.push(("messageIndexEnable", "false"));
    let mut broker = Broker::start(Launch::of(Kind::Java), "broker-a", &nameserver.addr(), &settings);
    let addr = broker.addr();
    let mut all = BTreeMap::<String, Vec<String>>::new();
    for (turn, kind) in [Kind::Java, Kind::Ferrocket, Kind::Java, Kind::Ferrocket].into_iter().enumerate() {
        if turn > 0 {
            broker.hand_to(Launch::of(kind));
            broker.boot();
        }
        eprintln!("turn {turn}, {kind:?}");
        show(&addr, &all);
        let offset = i64::try_from(turn).expect("small") * 10;
        if turn > 0 {
            assert_eq!(offset_of_group(&addr, "%LMQ%all"), offset);
        }
        for number in 0..150 {
            let own = format!("%LMQ%of{}", number % 7);
            let body = format!("t{turn}m{number}");
            assert_eq!(send(&addr, "Parent", &body, &properties(&format!("%LMQ%all,{own}"), "")).code, 0);
            for name in ["%LMQ%all", &own] {
                all.entry(name.to_owned()).or_default().push(body.clone());
            }
        }
        await_end(&addr, "%LMQ%all", i64::try_from(all["%LMQ%all"].len()).expect("a length"));
        show(&addr, &all);
        commit(&broker, "%LMQ%all", offset + 10);
        if turn < 2 { broker.kill9() } else { broker.stop() }
    }
    let verify = Command::new(our_bin("mqstore")).arg("verify").arg("--store").arg(broker.store_dir()).output();
    let verify = verify.expect("mqstore runs");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    let output = broker.output();
    let bad: Vec<_> = output.lines().filter(|line| is_error(line)).collect();
    assert!(bad.is_empty(), "the broker logged what it should not:\n{}", bad.join("\n"));
    let files = std::fs::read_dir(broker.store_dir().join("consumequeue/%LMQ%all/0")).expect("the queue").count();
    assert!(files > 4, "the queue begins several files: {files}");
}

fn show(addr: &str, all: &BTreeMap<String, Vec<String>>) {
    for (lmq, bodies) in all {
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        await_end(addr, lmq, i64::try_from(bodies.len()).expect("a length"));
        assert_eq!(all_of(addr, lmq), expect(&bodies), "{lmq}");
    }
    let names: BTreeSet<&String> = all.keys().collect();
    assert!(names.is_empty() || names.len() == 8, "{names:?}");
}
