//! Static topics: logic queues move from broker to broker under load, and nothing is lost or comes out of order. Apache's brokers,
//! ours, and one of each; Apache's mqadmin and ours by turns; Apache's clients.

use it::clock::wait_for;
use it::cluster::our_bin;
use it::driver::{Serialize, Version};
use it::history::judge;
use it::{Broker, Kind, Launch, Nameserver, Sent, args, java, on_both, unique, wire};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

/// The broker name that clients see for every logic queue.
const LOGIC: &str = "__syslo__global__";
const GET_MAX_OFFSET: i32 = 30;
const GET_TOPIC_CONFIG: i32 = 351;
const NOT_LEADER_FOR_QUEUE: i64 = 501;
const QUEUES: i64 = 2;

on_both! { own: queues_move_and_keep_their_order; }

#[test]
fn mixed_queues_move_and_keep_their_order() {
    it::run_own(Kind::Ferrocket, |_| moves(&[Kind::Java, Kind::Ferrocket], [Kind::Java, Kind::Ferrocket]));
}

fn queues_move_and_keep_their_order(kind: Kind) {
    moves(&[kind], [kind, kind]);
}

/// Whose mqadmin.
#[derive(Clone, Copy)]
enum Tool {
    Apache,
    Ours,
}

fn mqadmin(tool: Tool, namesrv: &str, line: &[&str]) -> String {
    let line = [line, &["-n", namesrv]].concat();
    match tool {
        Tool::Apache => java(Version::V5_5_0, Serialize::Json).mqadmin(&line),
        Tool::Ours => {
            let done = Command::new(our_bin("mqadmin")).args(&line).output().expect("mqadmin starts");
            let text = String::from_utf8_lossy(&done.stdout).into_owned();
            assert!(done.status.success(), "mqadmin {line:?}: {text}{}", String::from_utf8_lossy(&done.stderr));
            text
        }
    }
}

/// The response code of a question about a logic queue.
fn code(broker: &Broker, topic: &str, queue: i64) -> i64 {
    let fields = json!({ "topic": topic, "queueId": queue.to_string() });
    let answer = wire::call(&broker.addr(), GET_MAX_OFFSET, &fields, &[]).expect("the broker answers");
    answer.header["code"].as_i64().expect("a code is a number")
}

/// The broker leads every logic queue, and the other none.
fn assert_leader(leader: &Broker, other: &Broker, topic: &str) {
    for queue in 0..QUEUES {
        assert_eq!((code(leader, topic, queue), code(other, topic, queue)), (0, NOT_LEADER_FOR_QUEUE), "queue {queue}");
    }
}

/// The mapping as a broker tells it.
fn mapping(broker: &Broker, topic: &str) -> Value {
    let fields = json!({ "topic": topic, "lo": "true" });
    let answer = wire::call(&broker.addr(), GET_TOPIC_CONFIG, &fields, &[]).expect("the broker answers");
    codec_json(&answer.body)["mappingDetail"].clone()
}

fn epoch(broker: &Broker, topic: &str) -> i64 {
    mapping(broker, topic)["epoch"].as_i64().expect("a mapping has a version")
}

/// Number, broker and first logic offset of the generations of each queue.
fn generations(broker: &Broker, topic: &str) -> BTreeMap<String, Vec<(i64, String, i64)>> {
    let item = |item: &Value| {
        let bname = item["bname"].as_str().unwrap_or_default().to_owned();
        (item["gen"].as_i64().unwrap_or(-1), bname, item["logicOffset"].as_i64().unwrap_or(-2))
    };
    let queues = mapping(broker, topic)["hostedQueues"].as_object().cloned().unwrap_or_default();
    queues.into_iter().map(|(id, items)| (id, items.as_array().into_iter().flatten().map(item).collect())).collect()
}

/// Java leaves the numbers that are keys bare.
fn codec_json(body: &[u8]) -> Value {
    let text = String::from_utf8_lossy(body);
    let mut quoted = text.into_owned();
    for id in 0..QUEUES {
        quoted = quoted
            .replace(&format!("{{{id}:"), &format!("{{\"{id}\":"))
            .replace(&format!(",{id}:"), &format!(",\"{id}\":"));
    }
    serde_json::from_str(&quoted).unwrap_or_else(|error| panic!("{error}: {quoted}"))
}

/// The physical queues that a nameserver tells of the logic queues of each broker, and the version of the mapping.
fn told(nameserver: &Nameserver, topic: &str) -> BTreeMap<String, (usize, Option<i64>)> {
    let answer = wire::call(&nameserver.addr(), wire::GET_ROUTEINFO_BY_TOPIC, &json!({ "topic": topic }), &[]);
    let route = codec_json(&answer.expect("the nameserver answers").body);
    let mappings = route["topicQueueMappingByBroker"].as_object().cloned().unwrap_or_default();
    let led = |info: &Value| info["currIdMap"].as_object().map_or(0, serde_json::Map::len);
    mappings.into_iter().map(|(name, info)| (name, (led(&info), info["epoch"].as_i64()))).collect()
}

fn moves(namesrvs: &[Kind], kinds: [Kind; 2]) {
    let nameservers: Vec<_> = namesrvs.iter().map(|kind| Nameserver::start(Launch::of(*kind))).collect();
    let addr = nameservers.iter().map(Nameserver::addr).collect::<Vec<_>>().join(";");
    let registered = |broker: &Broker| nameservers.iter().for_each(|nameserver| broker.wait_registered(nameserver));
    let start = |kind, name: &str| Broker::start(Launch::of(kind), name, &addr, &[]);
    let (a, b) = std::thread::scope(|scope| {
        let b = scope.spawn(|| start(kinds[1], "broker-b"));
        (start(kinds[0], "broker-a"), b.join().expect("broker-b starts"))
    });
    registered(&a);
    registered(&b);
    let topic = unique("static");
    let made = mqadmin(Tool::Apache, &addr, &["updateStaticTopic", "-b", "broker-a", "-t", &topic, "-qn", "2"]);
    assert!(made.contains("The new mapping data is written to file"), "{made}");
    assert_leader(&a, &b, &topic);
    for nameserver in &nameservers {
        wait_for("a route", 30, || wire::has_route(&nameserver.addr(), &topic).then_some(()));
    }

    let driver = java(Version::V5_5_0, Serialize::Json);
    let producer = driver.producer(&addr, args! { poll: 500, retries: 0 });
    let push = driver.push(&addr, &unique("CG"), &topic, args! { orderly: true, poll: 500, persist: 500 });
    producer.start_load(&topic, args! { pause: 10 });
    let progress = |what: &str| {
        let (before, _) = producer.load_counts();
        wait_for(&format!("the load goes on {what}"), 60, || (producer.load_counts().0 > before + 60).then_some(()));
    };
    progress("at the first leader");
    mqadmin(Tool::Ours, &addr, &["remappingStaticTopic", "-b", "broker-b", "-t", &topic]);
    assert_leader(&b, &a, &topic);
    progress("at the second leader");
    if kinds[1] == Kind::Ferrocket {
        // The mapping and what was acknowledged outlive a kill.
        let before = generations(&b, &topic);
        b.kill9();
        b.boot();
        registered(&b);
        assert_eq!(generations(&b, &topic), before);
        assert_leader(&b, &a, &topic);
        progress("after a kill");
    }
    mqadmin(Tool::Apache, &addr, &["remappingStaticTopic", "-b", "broker-a", "-t", &topic]);
    assert_leader(&a, &b, &topic);
    progress("back at the first leader");
    let (mut acknowledged, unsure) = producer.stop_load();
    assert!(unsure.iter().any(|one| one.code == Some(NOT_LEADER_FOR_QUEUE)), "the moves were felt");

    // Three generations each, told alike by both brokers.
    let all = generations(&a, &topic);
    assert_eq!(all.len(), 2);
    for items in all.values() {
        let brokers: Vec<_> = items.iter().map(|(generation, bname, _)| (*generation, bname.as_str())).collect();
        assert_eq!(brokers, [(0, "broker-a"), (1, "broker-b"), (2, "broker-a")]);
        let begins: Vec<_> = items.iter().map(|(.., begin)| *begin).collect();
        assert_eq!(begins, [0, 10_000, 20_000]);
    }
    let [mapping_a, mapping_b] = [&a, &b].map(|broker| epoch(broker, &topic));
    assert_eq!(mapping_a, mapping_b);
    for nameserver in &nameservers {
        let expected = [("broker-a", 2), ("broker-b", 0)].map(|(name, led)| (name.to_owned(), (led, Some(mapping_a))));
        wait_for("the route has the mapping", 30, || {
            (told(nameserver, &topic) == expected.clone().into()).then_some(())
        });
    }
    // Everything comes, to the group that was there, and to one that begins now and reads all generations.
    acknowledged.iter_mut().for_each(|one| one.broker = LOGIC.to_owned());
    let late = driver.push(&addr, &unique("CG"), &topic, args! { orderly: true, poll: 500 });
    for consumer in [push, late] {
        consumer.expect(acknowledged.len());
        wait_for("every acknowledged message is consumed", 60, || {
            let got = consumer.so_far();
            let places: BTreeMap<_, _> = got.iter().map(|one| (one.body.as_str(), one.offset)).collect();
            // While a queue moves its leader does not know the logic offset, and the sender is not told one.
            let told = acknowledged.iter().map(|one| match places.get(one.body.as_str()) {
                Some(offset) if one.offset < 0 => Sent { offset: *offset, ..one.clone() },
                _ => one.clone(),
            });
            let verdict = judge(&told.collect::<Vec<_>>(), &unsure, &got);
            let lost = |one: &it::history::Violation| matches!(one, it::history::Violation::Lost(_));
            if !verdict.violations.iter().any(lost) {
                verdict.assert_good();
            }
            verdict.violations.is_empty().then_some(())
        });
    }
    for broker in [&a, &b].into_iter().zip(kinds).filter(|(_, kind)| *kind == Kind::Ferrocket).map(|(broker, _)| broker)
    {
        let output = broker.output();
        let bad: Vec<_> = output.lines().filter(|line| it::cluster::is_error(line)).collect();
        assert!(bad.is_empty(), "{}: {bad:?}", broker.name);
    }
}
