//! Filtering: by SQL92 and by tags, with the clients that can (4.9.7 and 5.5.0).

use it::clock::{now_ms, wait_for};
use it::driver::Failure;
use it::history::judge;
use it::{
    Cluster, ClusterOptions, Driver, Kind, Launch, Producer, Pull, Received, Sent, Serialize, Version, args, each,
    java, on_both, unique, wire,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

on_both! {
    shared: expressions_are_refused_when_they_are_off;
    own: what_expressions_select, push_and_lite_pull_select, expressions_that_cannot_be_read, waiting_pulls_wake_for_theirs,
        an_expression_may_change, what_came_back_is_delivered, tags_and_those_of_one_hash, filters_are_kept,
        bits_beside_the_queues;
}

/// The clients of the two newer releases.
fn newer() -> [&'static Driver; 2] {
    [java(Version::V4_9_7, Serialize::RocketMq), java(Version::V5_5_0, Serialize::Json)]
}

/// The cluster of that kind that filters by properties, shared by the cases of this file.
fn filtering(kind: Kind) -> &'static Cluster {
    static JAVA: OnceLock<Cluster> = OnceLock::new();
    static FERROCKET: OnceLock<Cluster> = OnceLock::new();
    let slot = match kind {
        Kind::Java => &JAVA,
        Kind::Ferrocket => &FERROCKET,
    };
    slot.get_or_init(|| start(kind, &[]))
}

fn start(kind: Kind, more: &[(&str, &str)]) -> Cluster {
    let extra: Vec<_> = [("enablePropertyFilter", "true")].into_iter().chain(more.iter().copied()).collect();
    Cluster::start(Launch::of(kind), &ClusterOptions { extra: &extra, ..ClusterOptions::default() })
}

/// Sends a message with these properties; its body is the name and a zero.
fn send(producer: &Producer<'_>, topic: &str, name: &str, properties: &[(&str, &str)]) -> Sent {
    let mut more = args! { body: name };
    more.extend(properties.iter().map(|(key, value)| (format!("p.{key}"), (*value).to_owned())));
    producer.send_ok(topic, 1, more).remove(0)
}

/// The text with one blank for any number of them: Java clients show a server's text so.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a pull fails with once the client has learned from a heartbeat what the broker is able to.
fn refusal(driver: &Driver, pull: &Pull<'_>, topic: &str, sql: &str) -> Failure {
    wait_for("the client knows the broker's release", 60, || {
        let more = args! { name: pull.name(), topic: topic, broker: "broker-a", queue: 0, offset: 0, sql: sql };
        let failure = driver.try_call("pull.fetch", more).err()?;
        (!failure.error.contains("does not upgrade")).then_some(failure)
    })
}

fn bodies(messages: &[Received]) -> BTreeSet<&str> {
    messages.iter().map(|message| message.body.trim_end_matches('0')).collect()
}

const MESSAGES: [(&str, &[(&str, &str)]); 8] = [
    ("five", &[("a", "5"), ("city", "Größe")]),
    ("fifty", &[("a", "50"), ("city", "Berlin")]),
    ("float", &[("a", "5.5")]),
    ("huge", &[("a", "5000000000")]),
    ("word", &[("a", "abc"), ("b", "it's")]),
    ("true", &[("flag", "True"), ("b", "b")]),
    ("tagged", &[("a", "-7"), ("b", "")]),
    ("bare", &[]),
];

/// Each expression, and the messages that it selects.
const SELECTED: [(&str, &[&str]); 24] = [
    ("a = 5", &["five"]),
    ("a = '5' OR a = '5.5'", &["five", "float"]),
    ("a = 5L", &["five"]),
    // What is no integer cannot be compared with one: not delivered either way.
    ("a <> 5", &["fifty", "tagged"]),
    ("a > 5", &["fifty"]),
    ("a > 5.0", &["fifty", "float", "huge"]),
    ("a >= 5 AND a < 50", &["five"]),
    ("a > 4000000000", &["huge"]),
    ("a BETWEEN 5.0 AND 50.0", &["five", "fifty", "float"]),
    ("a NOT BETWEEN 0 AND 49", &["fifty", "tagged"]),
    ("a BETWEEN -10 AND -5", &["tagged"]),
    ("a IN ('5', 'abc', 'x')", &["five", "word"]),
    ("a NOT IN ('5', 'abc')", &["fifty", "float", "huge", "tagged"]),
    ("a IS NULL", &["true", "bare"]),
    ("a IS NOT NULL AND b IS NULL", &["five", "fifty", "float", "huge", "tagged"]),
    ("b = 'it''s'", &["word"]),
    ("flag = TRUE", &["true"]),
    ("NOT (flag = FALSE)", &["true"]),
    ("city = 'Größe'", &["five"]),
    ("city CONTAINS 'r'", &["five", "fifty"]),
    ("city STARTSWITH 'Ber' OR city ENDSWITH 'öße'", &["five", "fifty"]),
    ("city NOT CONTAINS 'rl'", &["five"]),
    ("TAGS = 'T' and keys is null", &["five", "fifty", "float", "huge", "word", "true", "tagged", "bare"]),
    // Unknown OR true is true, unknown AND true is not.
    ("(absent = 1 OR a = 5) AND NOT (absent = 1 AND a = 6)", &["five"]),
];

fn what_expressions_select(kind: Kind) {
    let cluster = filtering(kind);
    each(&newer(), |driver| {
        let topic = cluster.topic("select", 1);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        for (name, properties) in MESSAGES {
            let properties: Vec<_> = properties.iter().copied().filter(|(_, value)| !value.is_empty()).collect();
            let mut more = args! { body: name, tags: "T" };
            more.extend(properties.iter().map(|(key, value)| (format!("p.{key}"), (*value).to_owned())));
            producer.send_ok(&topic, 1, more);
        }
        let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
        let probe = args! { name: pull.name(), topic: topic, broker: "broker-a", queue: 0, offset: 0, sql: "a = 5" };
        wait_for("the client knows the broker's release", 60, || driver.try_call("pull.fetch", probe.clone()).ok());
        let mut wrong = Vec::new();
        for (sql, expect) in SELECTED {
            let pulled = pull.fetch(&topic, "broker-a", 0, 0, args! { sql: sql });
            if bodies(&pulled.messages) != expect.iter().copied().collect() || pulled.next != 8 {
                wrong.push(format!("{sql}: {} up to {}, {:?}", pulled.status, pulled.next, bodies(&pulled.messages)));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        let none = pull.fetch(&topic, "broker-a", 0, 0, args! { sql: "a = 'nobody'" });
        assert_eq!((none.status.as_str(), none.next), ("NO_MATCHED_MSG", 8));
    });
}

fn push_and_lite_pull_select(kind: Kind) {
    let cluster = filtering(kind);
    each(&newer(), |driver| {
        let topic = cluster.topic("push", 2);
        let namesrv = cluster.namesrv();
        let producer = driver.producer(&namesrv, args! {});
        let more = args! { sql: "price BETWEEN 10 AND 20 AND colour IN ('red', 'blue')", threads: 1 };
        let push = driver.push(&namesrv, &unique("CG"), &topic, more);
        let lite = unique("lite");
        let more = args! { name: lite, group: unique("CG"), namesrv: namesrv, topic: topic, sql: "price > 20" };
        driver.call("lite.start", more);
        let mut sent: BTreeMap<bool, Vec<Sent>> = BTreeMap::new();
        let mut dear = Vec::new();
        for at in 0..60 {
            let (price, colour) = ((at % 30).to_string(), ["red", "green", "blue"][at % 3]);
            let one = send(&producer, &topic, &format!("{at}-"), &[("price", &price), ("colour", colour)]);
            if at % 30 > 20 {
                dear.push(one.clone());
            }
            sent.entry((10..=20).contains(&(at % 30)) && colour != "green").or_default().push(one);
        }
        judge(&sent[&true], &[], &push.expect_exactly(sent[&true].len(), 500)).assert_exactly_once();
        let polled = driver.call("lite.poll", args! { name: lite, count: dear.len() });
        judge(&dear, &[], &it::client::received(&polled["messages"])).assert_good();
        driver.call("lite.stop", args! { name: lite });
    });
}

/// Each expression that is none, and what the broker says of it.
const UNREADABLE: [(&str, &str); 8] = [
    (
        "a = ",
        "org.apache.rocketmq.filter.parser.ParseException: Encountered \"<EOF>\" at line 1, column 4.\nWas expecting one of:\n",
    ),
    (
        "a BETWEEN 1 5",
        "org.apache.rocketmq.filter.parser.ParseException: Encountered \" <DECIMAL_LITERAL> \"5 \"\" at line 1, column 13.\n\
         Was expecting:\n    \"AND\" ...\n",
    ),
    (
        "a = 'x",
        "org.apache.rocketmq.filter.parser.TokenMgrError: Lexical error at line 1, column 7.  Encountered: <EOF> after",
    ),
    ("a > 'x'", "java.lang.RuntimeException: Value ''x'' cannot be compared."),
    ("a BETWEEN 10 AND 1", "left value(10) must less than or equal to right value(1)"),
    ("a = NULL", "java.lang.RuntimeException: 'NULL' cannot be compared."),
    ("a = 0.0", "java.lang.RuntimeException: 0.0 is less than 4.9E-324"),
    ("a = 99999999999999999999", "java.lang.NumberFormatException: For input string: \"99999999999999999999\""),
];

fn expressions_that_cannot_be_read(kind: Kind) {
    let cluster = filtering(kind);
    each(&newer(), |driver| {
        let topic = cluster.topic("unreadable", 1);
        for (sql, expect) in UNREADABLE {
            let more =
                args! { name: unique("bad"), group: unique("CG"), namesrv: cluster.namesrv(), topic: topic, sql: sql };
            let failure = driver.try_call("push.start", more).expect_err(sql);
            assert!(plain(&failure.error).contains(&plain(expect)), "{sql}: {}", failure.error);
            assert_eq!(failure.code, Some(23), "{sql}");
        }
    });
    // A pull that brings such an expression along. Java's broker has an assertion there, which nobody switches on, and hands
    // out everything.
    let driver = java(Version::V5_5_0, Serialize::Json);
    let topic = cluster.topic("unreadable", 1);
    send(&driver.producer(&cluster.namesrv(), args! {}), &topic, "one", &[("a", "1")]);
    let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
    if kind == Kind::Ferrocket {
        let failure = refusal(driver, &pull, &topic, "a BETWEEN 1 5");
        assert!(
            failure.error.contains("parse the consumer's subscription failed (org.apache.rocketmq.filter"),
            "{}",
            failure.error
        );
    } else {
        let more =
            args! { name: pull.name(), topic: topic, broker: "broker-a", queue: 0, offset: 0, sql: "a BETWEEN 1 5" };
        let pulled = wait_for("the pull is answered", 60, || driver.try_call("pull.fetch", more.clone()).ok());
        assert_eq!(pulled["messages"].as_array().map(Vec::len), Some(1));
    }
    // The whole of it, as it is on the wire.
    let check = |sql: &str| {
        let body = json!({ "clientId": "c", "group": "g",
            "subscriptionData": { "topic": "T", "subString": sql, "expressionType": "SQL92" } });
        let answer =
            wire::call(&cluster.broker().addr(), 46, &json!({}), body.to_string().as_bytes()).expect("an answer");
        (answer.header["code"].as_i64(), answer.header["remark"].as_str().unwrap_or_default().to_owned())
    };
    let expect = "org.apache.rocketmq.filter.parser.ParseException: Encountered \" <ID> \"b \"\" at line 1, column 7.\n\
                  Was expecting:\n    \"(\" ...\n    ";
    assert_eq!(check("a IN  b"), (Some(23), expect.to_owned()));
    assert_eq!(check("a IN ('b') what follows is not looked at").0, Some(0));
}

fn expressions_are_refused_when_they_are_off(cluster: &Cluster) {
    let expect = "The broker does not support consumer to filter message by SQL92";
    each(&newer(), |driver| {
        let topic = cluster.topic("off", 1);
        let more =
            args! { name: unique("off"), group: unique("CG"), namesrv: cluster.namesrv(), topic: topic, sql: "a = 1" };
        let failure = driver.try_call("push.start", more).expect_err("it is off");
        assert!(failure.error.contains(expect), "{}", failure.error);
        assert_eq!(failure.code, Some(1));
        let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
        let failure = refusal(driver, &pull, &topic, "a = 1");
        assert!(failure.error.contains(expect), "{}", failure.error);
    });
}

fn waiting_pulls_wake_for_theirs(kind: Kind) {
    let cluster = filtering(kind);
    each(&newer(), |driver| {
        let topic = cluster.topic("wake", 1);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { sql: "a > 10", threads: 1 });
        send(&producer, &topic, "first", &[("a", "11")]);
        push.expect(1);
        // A pull is held for 15 s: were it not woken, these would take more than a minute.
        let began = now_ms();
        for round in 0..5 {
            send(&producer, &topic, &format!("small{round}-"), &[("a", "9")]);
            send(&producer, &topic, &format!("large{round}-"), &[("a", "12")]);
            push.expect(2 + round);
        }
        let took = now_ms() - began;
        assert!(took < 40_000, "{took} ms");
        assert!(push.so_far().iter().all(|message| !message.body.starts_with("small")));
    });
}

fn an_expression_may_change(kind: Kind) {
    let cluster = filtering(kind);
    each(&newer(), |driver| {
        let topic = cluster.topic("change", 1);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { sql: "a = 1", threads: 1 });
        send(&producer, &topic, "one", &[("a", "1")]);
        push.expect(1);
        push.subscribe(&topic, args! { sql: "a = 2" });
        send(&producer, &topic, "old", &[("a", "1")]);
        // A pull that was held by the old expression may still bring one of the old kind.
        wait_for("the new expression counts", 90, || {
            send(&producer, &topic, &unique("two"), &[("a", "2")]);
            push.so_far().iter().any(|message| message.body.starts_with("two")).then_some(())
        });
        let before = push.so_far().iter().filter(|message| message.property("a") == Some("1")).count();
        assert!(before <= 2, "{before}");
        send(&producer, &topic, "gone", &[("a", "1")]);
        let last = send(&producer, &topic, "last", &[("a", "2")]);
        wait_for("the last one", 60, || push.so_far().iter().any(|message| message.body == last.body).then_some(()));
        assert!(push.so_far().iter().all(|message| !message.body.starts_with("gone")));
    });
}

fn what_came_back_is_delivered(kind: Kind) {
    let cluster = filtering(kind);
    each(&newer(), |driver| {
        let topic = cluster.topic("retry", 1);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let group = cluster.group_with_retry_topic();
        let push = driver.push(&cluster.namesrv(), &group, &topic, args! { sql: "a = 1", refuse: 1, threads: 1 });
        for at in 0..6 {
            send(&producer, &topic, &format!("m{at}-"), &[("a", if at % 2 == 0 { "1" } else { "2" })]);
        }
        let got = push.expect(3);
        assert_eq!(got.len(), 6, "each of three refused once and taken once");
        assert!(got.iter().all(|message| message.property("a") == Some("1") && message.text("topic") == topic));
    });
}

fn tags_and_those_of_one_hash(kind: Kind) {
    let cluster = filtering(kind);
    each(&newer(), |driver| {
        let topic = cluster.topic("tags", 2);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let mut sent = BTreeMap::new();
        // Aa and BB, AaAa, AaBB, BBAa and BBBB have one hash each.
        for tag in ["Aa", "BB", "AaAa", "AaBB", "BBAa", "BBBB", "C"] {
            sent.insert(tag, producer.send_ok(&topic, 4, args! { tags: tag, body: tag }));
        }
        for (sub, tags) in [("BB", &["BB"][..]), ("Aa || AaBB", &["Aa", "AaBB"]), (" BBBB||C ", &["BBBB", "C"])] {
            let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { sub: sub, threads: 1 });
            let wanted: Vec<_> = tags.iter().flat_map(|tag| sent[tag].clone()).collect();
            judge(&wanted, &[], &push.expect_exactly(wanted.len(), 400)).assert_exactly_once();
        }
    });
}

/// The filters in the broker's file, by topic.
fn kept(cluster: &Cluster, suffix: &str) -> Option<Value> {
    let path = cluster.broker().store_dir().join(format!("config/consumerFilter.json{suffix}"));
    let text = std::fs::read_to_string(path).ok()?;
    serde_json::from_str::<Value>(&text).ok().map(|file| file["filterDataByTopic"].clone())
}

fn filters_are_kept(kind: Kind) {
    let cluster = start(kind, &[]);
    let driver = java(Version::V5_5_0, Serialize::Json);
    let (topic, group) = (cluster.topic("kept", 1), unique("CG"));
    let namesrv = cluster.namesrv();
    let producer = driver.producer(&namesrv, args! {});
    let more = || args! { sql: "a = 1", threads: 1 };
    let push = driver.push(&namesrv, &group, &topic, more());
    send(&producer, &topic, "one", &[("a", "1")]);
    push.expect(1);
    let data = |suffix: &str| kept(&cluster, suffix).map(|topics| topics[&topic]["groupFilterData"][&group].clone());
    let alive = wait_for("the filter is in the file", 60, || data("").filter(|data| data["deadTime"] == 0));
    let keys: Vec<_> = alive.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    let expect = [
        "bloomFilterData",
        "bornTime",
        "clientVersion",
        "consumerGroup",
        "dead",
        "deadTime",
        "expression",
        "expressionType",
        "topic",
    ];
    assert_eq!(sorted, expect, "in this order: {keys:?}");
    assert_eq!(
        (&alive["expression"], &alive["expressionType"], &alive["dead"]),
        (&json!("a = 1"), &json!("SQL92"), &json!(false))
    );
    let bits = &alive["bloomFilterData"];
    assert_eq!((bits["bitNum"].as_i64(), bits["bitPos"].as_array().map(Vec::len)), (Some(112), Some(3)));
    // The broker goes and comes back while the consumer stays.
    cluster.broker().stop();
    cluster.broker().boot();
    cluster.broker().wait_registered(&cluster.nameservers[0]);
    wait_for("messages are taken again", 60, || {
        producer
            .send(&topic, 1, args! { body: "probe", "p.a": "0" })
            .first()
            .filter(|one| one.status == "SEND_OK")
            .map(|_| ())
    });
    send(&producer, &topic, "two", &[("a", "2")]);
    send(&producer, &topic, "three", &[("a", "1")]);
    wait_for("the consumer is back", 90, || bodies(&push.so_far()).contains("three").then_some(()));
    assert_eq!(bodies(&push.so_far()), ["one", "three"].into());
    // The consumer goes and comes back.
    push.stop();
    wait_for("the filter is dead", 60, || data("").filter(|data| data["deadTime"] != 0));
    assert!(kept(&cluster, ".bak").is_some(), "the former file is kept");
    send(&producer, &topic, "four", &[("a", "2")]);
    send(&producer, &topic, "five", &[("a", "1")]);
    let push = driver.push(&namesrv, &group, &topic, more());
    wait_for("what was missed", 90, || bodies(&push.so_far()).contains("five").then_some(()));
    assert!(push.so_far().iter().all(|message| message.property("a") == Some("1")));
    let again = wait_for("the filter is alive", 60, || data("").filter(|data| data["deadTime"] == 0));
    assert_eq!(again["expression"], "a = 1");
}

/// The view of a queue that mqadmin queryCq shows.
fn view(cluster: &Cluster, topic: &str, group: &str) -> Value {
    let fields = json!({ "topic": topic, "queueId": "0", "index": "0", "count": "10", "consumerGroup": group });
    let answer = wire::call(&cluster.broker().addr(), 321, &fields, b"").expect("an answer");
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&answer.body)))
}

fn bits_beside_the_queues(kind: Kind) {
    let extra = [
        ("enableConsumeQueueExt", "true"),
        ("enableCalcFilterBitMap", "true"),
        ("mappedFileSizeConsumeQueueExt", "65536"),
    ];
    let mut cluster = start(kind, &extra);
    let driver = java(Version::V5_5_0, Serialize::Json);
    let (topic, group) = (cluster.topic("bits", 1), unique("CG"));
    let namesrv = cluster.namesrv();
    let producer = driver.producer(&namesrv, args! {});
    send(&producer, &topic, "before", &[("a", "1")]);
    let push = driver.push(&namesrv, &group, &topic, args! { sql: "a = 1", threads: 1 });
    push.expect(1);
    for (name, a) in [("yes", "1"), ("no", "2"), ("none", "")] {
        let properties = [("a", a)];
        send(&producer, &topic, name, if a.is_empty() { &[] } else { &properties });
    }
    send(&producer, &topic, "last", &[("a", "1")]);
    wait_for("the last one", 60, || bodies(&push.so_far()).contains("last").then_some(()));
    assert_eq!(bodies(&push.so_far()), ["before", "yes", "last"].into());
    let shown = view(&cluster, &topic, &group);
    let units = shown["queueData"].as_array().expect("units");
    let filter: Value = serde_json::from_str(shown["filterData"].as_str().expect("filter data")).expect("JSON");
    assert_eq!((&filter["expression"], &filter["consumerGroup"]), (&json!("a = 1"), &json!(group)));
    let evals: Vec<_> = units.iter().map(|unit| unit["eval"].as_bool()).collect();
    assert_eq!(evals, [Some(true), Some(true), Some(false), Some(false), Some(true)], "{shown:#}");
    assert!(units[0]["bitMap"].is_null(), "nobody filtered then");
    let mut digits = vec![b'0'; 112];
    for bit in filter["bloomFilterData"]["bitPos"].as_array().expect("bits") {
        digits[111 - usize::try_from(bit.as_u64().expect("a number")).expect("small")] = b'1';
    }
    let mut bits = String::from_utf8(digits).expect("digits");
    // A line ends behind byte 8 and byte 0 from the right.
    bits.insert(48, '\n');
    bits.push('\n');
    assert_eq!(units[1]["bitMap"], json!(bits));
    assert_eq!(units[2]["bitMap"], json!(bits.replace('1', "0")));
    let extension: Value =
        serde_json::from_str(units[1]["extendDataJson"].as_str().expect("an extension")).expect("JSON");
    let keys: Vec<_> = extension.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["filterBitMap", "msgStoreTime", "size", "tagsCode"]);
    // The other kind of broker goes on with the same files.
    let other = if kind == Kind::Java { Kind::Ferrocket } else { Kind::Java };
    cluster.brokers[0].stop();
    cluster.brokers[0].hand_to(Launch::of(other));
    cluster.brokers[0].boot();
    cluster.brokers[0].wait_registered(&cluster.nameservers[0]);
    let after = wait_for("the consumer is back", 90, || {
        let shown = view(&cluster, &topic, &group);
        shown["subscriptionData"].is_object().then_some(shown)
    });
    for (before, after) in units.iter().zip(after["queueData"].as_array().expect("units")) {
        for key in ["bitMap", "eval", "tagsCode", "extendDataJson"] {
            assert_eq!(before[key], after[key], "{key}");
        }
    }
    assert_eq!(units.len(), after["queueData"].as_array().map_or(0, Vec::len));
    wait_for("messages are taken again", 60, || {
        producer
            .send(&topic, 1, args! { body: "probe", "p.a": "0" })
            .first()
            .filter(|one| one.status == "SEND_OK")
            .map(|_| ())
    });
    send(&producer, &topic, "more", &[("a", "1")]);
    wait_for("one more", 90, || bodies(&push.so_far()).contains("more").then_some(()));
    let other = driver.push(&namesrv, &unique("CG"), &topic, args! { sql: "a = 2", threads: 1 });
    other.expect(1);
    assert_eq!(bodies(&other.so_far()), ["no"].into());
}
