//! Transactional messages: commit, roll back, being asked, and what of it survives.

use it::clock::wait_for;
use it::cluster::is_error;
use it::driver::{Driver, Serialize, Version};
use it::transaction::{
    HALF_TOPIC, OP_TOPIC, Stored, Transactional, end_of, place, place_in, stored, wait_persisted, wait_settled,
};
use it::{Broker, Cluster, ClusterOptions, Kind, Launch, Nameserver, Received, Sent, args, each, go, java, mix};
use it::{on_both, unique, wire};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::OnceLock;

const END_TRANSACTION: i32 = 37;
const RESUME_CHECK_HALF_MESSAGE: i32 = 323;
const DISCARDED_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

const COMMIT: i32 = 8;
const ROLL_BACK: i32 = 12;

/// Java gathers decisions for up to three seconds, and asks about what is decided but not written when that is longer than
/// a message's peace.
const QUICK: &[(&str, &str)] = &[
    ("transactionTimeOut", "2000"),
    ("transactionCheckInterval", "1000"),
    ("transactionCheckMax", "100"),
    ("transactionOpBatchInterval", "200"),
    ("flushConsumerOffsetInterval", "500"),
];

on_both! {
    own: commits_are_seen_and_rollbacks_are_not, a_committed_message_is_the_one_that_was_meant,
        the_undecided_are_asked_about, any_producer_of_the_group_is_asked, who_is_asked_too_often_is_put_aside,
        the_pending_survive_a_stop_and_a_kill, half_messages_can_be_forbidden, a_hostile_decision_changes_nothing,
        a_producer_can_choose_when_it_is_asked, go_decides_and_is_asked;
}

fn with(extra: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    QUICK.iter().chain(extra).copied().collect()
}

fn cluster(kind: Kind, extra: &[(&'static str, &'static str)]) -> Cluster {
    let settings = with(extra);
    Cluster::start(Launch::of(kind), &ClusterOptions { extra: &settings, ..ClusterOptions::default() })
}

/// The cluster of the cases that need nothing special.
fn quick(kind: Kind) -> &'static Cluster {
    static JAVA: OnceLock<Cluster> = OnceLock::new();
    static FERROCKET: OnceLock<Cluster> = OnceLock::new();
    let slot = if kind == Kind::Java { &JAVA } else { &FERROCKET };
    slot.get_or_init(|| cluster(kind, &[]))
}

fn started<'d>(cluster: &Cluster, driver: &'d Driver, answer: &str) -> Transactional<'d> {
    driver.transactional(&cluster.namesrv(), &unique("PG"), answer)
}

/// Everything in a topic, from its start, each once.
fn consumed(cluster: &Cluster, driver: &Driver, topic: &str, count: usize) -> Vec<Received> {
    let push = driver.push(&cluster.namesrv(), &unique("CG"), topic, args! { threads: 1 });
    push.expect_exactly(count, 300)
}

fn bodies(received: &[Received]) -> Vec<&str> {
    received.iter().map(|message| message.body.as_str()).collect()
}

/// Decides over a half message: code and remark.
fn end(broker: &Broker, group: &str, half: (i64, i64), decision: i32) -> (i64, String) {
    end_with(broker, group, half, decision, false)
}

fn end_with(broker: &Broker, group: &str, half: (i64, i64), decision: i32, asked: bool) -> (i64, String) {
    let fields = json!({ "producerGroup": group, "tranStateTableOffset": half.0.to_string(),
        "commitLogOffset": half.1.to_string(), "commitOrRollback": decision.to_string(),
        "fromTransactionCheck": asked.to_string(), "msgId": "0", "transactionId": "0" });
    let answer = wire::call(&broker.addr(), END_TRANSACTION, &fields, &[]).expect("it is answered");
    let remark = answer.header["remark"].as_str().unwrap_or_default().to_owned();
    (answer.header["code"].as_i64().unwrap_or(-1), remark)
}

/// Queue offset and physical offset of what was sent.
fn half_of(broker: &Broker, sent: &Sent) -> (i64, i64) {
    (sent.offset, place(broker, sent))
}

fn commits_are_seen_and_rollbacks_are_not(kind: Kind) {
    let cluster = quick(kind);
    each(&mix(), |driver| {
        let topic = cluster.topic("decided", 1);
        let producer = started(cluster, driver, "unknown");
        let rounds = [("commit", 0), ("rollback", 5), ("commit", 10)];
        for (decide, from) in rounds {
            producer.send_ok(&topic, 5, decide, args! { from: from });
        }
        let got = consumed(cluster, driver, &topic, 10);
        let order = [0, 1, 2, 3, 4, 10, 11, 12, 13, 14].map(|number| format!("m{number}"));
        let mut came = bodies(&got);
        if kind == Kind::Java {
            // Its threads take one-way requests in any order.
            came.sort_by_key(|body| body[1..].parse::<u32>().expect("a number"));
        }
        assert_eq!(came, order, "in the order of the commits");
        let offsets: Vec<_> = got.iter().map(|message| message.offset).collect();
        assert_eq!(offsets, (0..10).collect::<Vec<_>>());
        wait_settled(cluster.broker());
        assert!(producer.asked(0).is_empty(), "nobody is asked about what is decided");
        assert_eq!(end_of(cluster.broker(), &topic), 10);
    });
    cluster.assert_quiet();
}

fn a_committed_message_is_the_one_that_was_meant(kind: Kind) {
    let cluster = quick(kind);
    each(&mix(), |driver| {
        let topic = cluster.topic("meant", 3);
        let producer = started(cluster, driver, "unknown");
        let more = args! { tags: "Größe", keys: "key-{} other", flag: 42, "p.colour": "red" };
        let sent = producer.send_ok(&topic, 3, "commit", more).remove(0);
        let half_place = place(cluster.broker(), &sent);
        let half = stored(cluster.broker(), half_place);
        let got = consumed(cluster, driver, &topic, 3);
        let message = got.iter().find(|message| message.body == sent.body).expect("it was consumed");
        let meant = stored(cluster.broker(), message.number("physicalOffset"));

        let mut properties = half.properties.clone();
        for (name, value) in [
            ("REAL_TOPIC", topic.as_str()),
            ("REAL_QID", &sent.queue.to_string()),
            ("TRAN_MSG", "true"),
            ("PGROUP", &producer.group),
            ("UNIQ_KEY", &sent.msg_id),
            ("__transactionId__", &sent.msg_id),
            ("TAGS", "Größe"),
            ("KEYS", "key-m0 other"),
            ("colour", "red"),
        ] {
            assert_eq!(half.properties.get(name).map(String::as_str), Some(value), "{name} of the half message");
        }
        let there = Stored {
            topic: HALF_TOPIC.to_owned(),
            queue: 0,
            offset: sent.offset,
            flag: 42,
            sys_flag: 0,
            body: "m0".to_owned(),
            ..half.clone()
        };
        assert_eq!(half, there);
        properties.retain(|name, _| !["REAL_TOPIC", "REAL_QID"].contains(&name.as_str()));
        let expected = Stored {
            topic: topic.clone(),
            queue: sent.queue,
            offset: message.offset,
            sys_flag: 8,
            prepared: half_place,
            properties,
            ..half
        };
        assert_eq!(meant, expected);

        // The decision over it.
        let broker = cluster.broker();
        let op = wait_for("the decision is written", 30, || {
            let all = (0..end_of(broker, OP_TOPIC)).map(|at| stored(broker, place_in(broker, OP_TOPIC, at)));
            all.into_iter().find(|op| op.body.split(',').any(|item| item == sent.offset.to_string()))
        });
        let expected = [("TAGS", "d"), ("WAIT", "true")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!((op.sys_flag, op.flag, op.properties), (0, 0, expected.into()));

        // It is found by its keys and its tag.
        let fields = |key: &str, unique: bool| {
            json!({ "topic": topic, "key": key, "maxNum": "10", "beginTimestamp": "0",
                "endTimestamp": i64::MAX.to_string(), "_UNIQUE_KEY_QUERY": unique.to_string() })
        };
        for (key, unique, count) in [("key-m0", false, 1), ("other", false, 3), (&*sent.msg_id, true, 1)] {
            let found = wait_for(&format!("{key} is in the index"), 30, || {
                let answer = wire::call(&cluster.broker().addr(), 12, &fields(key, unique), &[]).ok()?;
                Some(wire::physical_offsets(&answer.body)).filter(|found| found.len() == count)
            });
            assert!(found.contains(&message.number("physicalOffset")), "{key}");
        }
        let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { sub: "Größe" });
        push.expect_exactly(3, 200);
    });
    cluster.assert_quiet();
}

fn the_undecided_are_asked_about(kind: Kind) {
    let cluster = quick(kind);
    each(&mix(), |driver| {
        let topic = cluster.topic("undecided", 2);
        let other = cluster.topic("undecided", 2);
        let committer = started(cluster, driver, "commit");
        let roller = started(cluster, driver, "rollback");
        let sent = committer.send_ok(&topic, 3, "unknown", args! { tags: "A", keys: "k", flag: 9, size: 3000 });
        roller.send_ok(&other, 2, "unknown", args! {});
        let asked = committer.asked(3);
        for message in &asked {
            let one = sent.iter().find(|one| one.body == message.body).expect("what was sent");
            assert_eq!((message.text("topic"), message.queue), (topic.as_str(), one.queue));
            assert_eq!((message.text("tags"), message.text("keys")), ("A", "k"));
            assert_eq!(message.number("bodyLength"), 3000);
            assert_eq!(message.text("transactionId"), one.msg_id);
            assert_eq!(message.property("REAL_TOPIC"), Some(topic.as_str()));
            assert_eq!(message.property("TRANSACTION_CHECK_TIMES"), Some("1"));
            assert!(message.offset > one.offset, "asked about a copy behind the others");
            let half = stored(cluster.broker(), place(cluster.broker(), one));
            let copy = stored(cluster.broker(), message.number("physicalOffset"));
            let mut properties = half.properties.clone();
            properties.insert("TRANSACTION_CHECK_TIMES".to_owned(), "1".to_owned());
            // Java forgets the flag.
            let flag = if kind == Kind::Java { 0 } else { 9 };
            assert_eq!(copy, Stored { offset: message.offset, flag, properties, ..half });
        }
        let got = consumed(cluster, driver, &topic, 3);
        for message in &got {
            assert_eq!(message.property("TRANSACTION_CHECK_TIMES"), Some("1"));
            assert_eq!(message.property("__transactionId__"), message.property("UNIQ_KEY"));
        }
        roller.asked(2);
        wait_settled(cluster.broker());
        assert_eq!((committer.asked(3).len(), roller.asked(2).len()), (3, 2), "asked once each");
        assert_eq!(end_of(cluster.broker(), &other), 0);
    });
    cluster.assert_quiet();
}

fn any_producer_of_the_group_is_asked(kind: Kind) {
    let cluster = quick(kind);
    let topic = cluster.topic("orphaned", 1);
    let group = unique("PG");
    let doomed = Driver::java(Version::V5_5_0, Serialize::Json, false);
    let heir = java(Version::V4_9_7, Serialize::RocketMq).transactional(&cluster.namesrv(), &group, "unknown");
    let first = doomed.transactional(&cluster.namesrv(), &group, "unknown");
    first.send_ok(&topic, 2, "unknown", args! {});
    std::mem::forget(first);
    // Kills the process: nothing is said to the broker.
    drop(doomed);
    heir.asked(2);
    heir.answer("commit");
    consumed(cluster, java(Version::V5_5_0, Serialize::Json), &topic, 2);
    wait_settled(cluster.broker());
    cluster.assert_quiet();
}

fn who_is_asked_too_often_is_put_aside(kind: Kind) {
    let cluster = cluster(kind, &[("transactionCheckMax", "2")]);
    let topic = cluster.topic("ignored", 1);
    let driver = java(Version::V5_5_0, Serialize::Json);
    let producer = started(&cluster, driver, "unknown");
    let sent = producer.send_ok(&topic, 1, "unknown", args! { keys: "k" }).remove(0);
    producer.asked(2);
    wait_settled(cluster.broker());
    assert_eq!(producer.asked(2).len(), 2);
    assert_eq!(end_of(cluster.broker(), DISCARDED_TOPIC), 1);
    assert_eq!(end_of(cluster.broker(), &topic), 0);
    let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
    cluster.wait_route(DISCARDED_TOPIC);
    let aside = pull.fetch(DISCARDED_TOPIC, &cluster.broker().name, 0, 0, args! {}).messages.remove(0);
    let record = stored(cluster.broker(), aside.number("physicalOffset"));
    assert_eq!(record.properties.get("REAL_TOPIC"), Some(&topic));
    assert_eq!(record.properties.get("UNIQ_KEY"), Some(&sent.msg_id));
    assert_eq!(record.properties.get("TRANSACTION_CHECK_TIMES").map(String::as_str), Some("2"));
    assert_eq!((record.sys_flag, record.prepared, record.body.as_str()), (0, 0, "m0"));

    // An operator has it asked about again.
    producer.answer("commit");
    let id = format!("7F000001{:08X}{:016X}", cluster.broker().port(), aside.number("physicalOffset"));
    let resume = |id: &str| {
        let fields = json!({ "topic": topic, "msgId": id });
        wire::call(&cluster.broker().addr(), RESUME_CHECK_HALF_MESSAGE, &fields, &[]).expect("it is answered").header
    };
    assert_eq!(resume(&id)["code"], 0);
    assert_eq!(resume("nonsense")["code"], 1);
    let got = consumed(&cluster, driver, &topic, 1).remove(0);
    assert_eq!(got.property("TRANSACTION_CHECK_TIMES"), Some("1"));
    wait_settled(cluster.broker());
    cluster.assert_quiet();
}

fn the_pending_survive_a_stop_and_a_kill(kind: Kind) {
    let cluster = cluster(kind, &[("flushDiskType", "SYNC_FLUSH")]);
    let broker = cluster.broker();
    let topic = cluster.topic("survivors", 1);
    let driver = java(Version::V5_5_0, Serialize::Json);
    let producer = started(&cluster, driver, "unknown");
    producer.send_ok(&topic, 3, "commit", args! { body: "commit-" });
    producer.send_ok(&topic, 3, "rollback", args! { body: "rollback-" });
    producer.send_ok(&topic, 3, "unknown", args! { body: "stop-" });
    broker.stop();
    broker.boot();
    broker.wait_registered(&cluster.nameservers[0]);
    // Those of before are asked about by this broker.
    let stopped: BTreeSet<_> = ["stop-0", "stop-1", "stop-2"].map(str::to_owned).into();
    let asked = |producer: &Transactional<'_>, wanted: &BTreeSet<String>| {
        wait_for("all undecided are asked about", 90, || {
            let asked: BTreeSet<_> = producer.asked(0).into_iter().map(|message| message.body).collect();
            wanted.is_subset(&asked).then_some(asked)
        })
    };
    asked(&producer, &stopped);
    producer.send_ok(&topic, 3, "unknown", args! { body: "kill-" });
    broker.kill9();
    broker.boot();
    broker.wait_registered(&cluster.nameservers[0]);
    producer.answer("commit");
    let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { threads: 1 });
    let got: BTreeSet<_> = push.expect(9).into_iter().map(|message| message.body).collect();
    let wanted = ["commit-", "stop-", "kill-"].into_iter().flat_map(|body| (0..3).map(move |n| format!("{body}{n}")));
    assert_eq!(got, wanted.collect());
    wait_settled(broker);
    cluster.assert_quiet();
}

fn half_messages_can_be_forbidden(kind: Kind) {
    let cluster = cluster(kind, &[("rejectTransactionMessage", "true")]);
    let topic = cluster.topic("forbidden", 1);
    each(&mix(), |driver| {
        let producer = started(&cluster, driver, "commit");
        let refused = producer.send(&topic, 1, "commit", args! {}).remove(0);
        assert_eq!(refused.status, "FAILED");
        assert!(refused.error.contains("sending transaction message is forbidden"), "{}", refused.error);
        driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 1, args! {});
    });
    assert_eq!((end_of(cluster.broker(), HALF_TOPIC), end_of(cluster.broker(), &topic)), (0, 3));
    cluster.assert_quiet();
}

fn a_hostile_decision_changes_nothing(kind: Kind) {
    let cluster = cluster(kind, &[("transactionCheckInterval", "3600000")]);
    let broker = cluster.broker();
    let topic = cluster.topic("attacked", 1);
    let driver = java(Version::V5_5_0, Serialize::Json);
    let producer = started(&cluster, driver, "unknown");
    let group = producer.group.as_str();
    let sent = producer.send_ok(&topic, 2, "unknown", args! {});
    let plain = driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 1, args! { body: "plain" }).remove(0);
    let (half, other) = (half_of(broker, &sent[0]), half_of(broker, &sent[1]));
    let check = |who: &str, half: (i64, i64), remark: &str| {
        for decision in [COMMIT, ROLL_BACK] {
            let (code, said) = end(broker, who, half, decision);
            assert_eq!(code, 1, "{half:?} by {who}: {said}");
            assert!(said.contains(remark), "{half:?} by {who}: {said}");
        }
    };
    check("another", half, "The producer group wrong");
    check(group, (half.0 + 1, half.1), "The transaction state table offset wrong");
    check(group, (half.0, other.1), "The transaction state table offset wrong");
    check(group, (half.0, 1 << 40), "Find prepared transaction message failed");
    // What Java says of a record that is no half message is an exception's text.
    let plain_place = i64::from_str_radix(&plain.offset_msg_id[16..], 16).expect("digits");
    check(group, (plain.offset, plain_place), "");
    check(group, (half.0, half.1 + 4), "");
    check(group, (half.0, -1), "");
    let (code, remark) = end(broker, group, half, 4);
    assert!(code == 1 && remark.contains("commitOrRollback field wrong"), "{code} {remark}");
    assert_eq!((end_of(broker, &topic), end_of(broker, HALF_TOPIC)), (1, 2), "nothing came of it");

    // Undecided is not answered: what comes back is the answer to the request behind it.
    let undecided = json!({ "producerGroup": group, "tranStateTableOffset": half.0.to_string(),
        "commitLogOffset": half.1.to_string(), "commitOrRollback": "0", "msgId": "0" });
    assert_eq!(answered_first(broker, &undecided), 2);
    assert_eq!(end(broker, group, half, COMMIT), (0, String::new()));
    assert_eq!(end(broker, group, other, ROLL_BACK), (0, "not set any response code".to_owned()));
    assert_eq!(bodies(&consumed(&cluster, driver, &topic, 2)), ["plain0", "m0"]);
    cluster.assert_quiet();
}

/// Sends END_TRANSACTION as request 1 and another as request 2: the number of the first answer.
fn answered_first(broker: &Broker, fields: &Value) -> i64 {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(broker.addr()).expect("the broker listens");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a time-out");
    stream.write_all(&wire::request(END_TRANSACTION, 1, fields, &[])).expect("it is sent");
    let behind = json!({ "topic": HALF_TOPIC, "queueId": "0" });
    stream.write_all(&wire::request(30, 2, &behind, &[])).expect("it is sent");
    let raw = wire::read_raw(&mut stream).expect("an answer");
    wire::parse(&raw).expect("a frame").header["opaque"].as_i64().expect("a number")
}

fn a_producer_can_choose_when_it_is_asked(kind: Kind) {
    let cluster = quick(kind);
    let driver = java(Version::V5_5_0, Serialize::Json);
    let topic = cluster.topic("immune", 1);
    let producer = started(cluster, driver, "commit");
    let immune = args! { "p.CHECK_IMMUNITY_TIME_IN_SECONDS": 5 };
    let sent = producer.send_ok(&topic, 2, "unknown", immune);
    let born = stored(cluster.broker(), place(cluster.broker(), &sent[0])).born;
    let first = producer.asked(1).remove(0);
    let after = first.number("receivedAt") - born;
    assert!(after > 5000, "asked after {after} ms");
    assert!(first.property("TRAN_PREPARED_QUEUE_OFFSET").is_some(), "it was put behind the others");
    // Too late for a decision that was not asked for.
    assert_eq!(
        end(cluster.broker(), &producer.group, half_of(cluster.broker(), &sent[0]), COMMIT),
        (604, "not set any response code".to_owned())
    );
    consumed(cluster, driver, &topic, 2);
    wait_settled(cluster.broker());
    cluster.assert_quiet();
}

fn go_decides_and_is_asked(kind: Kind) {
    let cluster = quick(kind);
    let topic = cluster.topic("go_decided", 1);
    let producer = started(cluster, go(), "commit");
    producer.send_ok(&topic, 3, "commit", args! { body: "commit-" });
    producer.send_ok(&topic, 3, "rollback", args! { body: "rollback-" });
    producer.send_ok(&topic, 2, "unknown", args! { body: "unknown-" });
    for message in producer.asked(2) {
        assert_eq!(message.text("topic"), topic);
        assert_eq!(message.property("REAL_TOPIC"), Some(topic.as_str()));
    }
    let push = go().push(&cluster.namesrv(), &unique("CG"), &topic, args! { threads: 1 });
    let got: BTreeSet<_> = push.expect(5).into_iter().map(|message| message.body).collect();
    assert_eq!(got, ["commit-0", "commit-1", "commit-2", "unknown-0", "unknown-1"].map(str::to_owned).into());
    wait_settled(cluster.broker());
    cluster.assert_quiet();
}

/// What one broker left undecided, the next asks about; what one has decided, the next leaves alone.
mod half_messages_change_hands {
    #[test]
    fn java_4_5_2() {
        super::change_hands(super::Version::V4_5_2);
    }

    #[test]
    fn java_4_9_7() {
        super::change_hands(super::Version::V4_9_7);
    }

    #[test]
    fn java_5_5_0() {
        super::change_hands(super::Version::V5_5_0);
    }
}

/// Offsets of half messages that the op messages from `from` on decide over.
fn decided(broker: &Broker, from: i64) -> BTreeSet<i64> {
    let ops = (from..end_of(broker, OP_TOPIC)).map(|at| stored(broker, place_in(broker, OP_TOPIC, at)));
    ops.flat_map(|op| op.body.split(',').filter_map(|item| item.parse().ok()).collect::<Vec<i64>>()).collect()
}

/// Java, ours, Java, ours on one directory. Each leaves, stopped or killed, while the first half message of its day is too
/// young to be looked at, so that the next has to read the decisions over those behind it, too.
fn change_hands(version: Version) {
    it::jvm::prepare();
    let driver = java(version, Serialize::Json);
    let (java, ours) = (Launch { version: version.name(), ..Launch::of(Kind::Java) }, Launch::of(Kind::Ferrocket));
    let nameserver = Nameserver::start(ours);
    // Java 4.x reads one decision in a message only.
    let one_each = [("transactionOpMsgMaxSize", "1")];
    let settings = with(&[("transactionTimeOut", "10000")]);
    let settings = [&*settings, &one_each[usize::from(version == Version::V5_5_0)..]].concat();
    let mut broker = Broker::start(java, "broker-a", &nameserver.addr(), &settings);
    let topic = unique("handed");
    let (mut pending, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let numbered = |kind: &str, day: usize| (0..3).map(|n| format!("{kind}-{day}-{n}")).collect::<BTreeSet<_>>();
    for (day, next) in [ours, java, ours, ours].into_iter().enumerate() {
        broker.wait_registered(&nameserver);
        // A producer of the same group each day, which knows what becomes of the days before.
        let producer = driver.transactional(&nameserver.addr(), "PGHanded", "commit");
        // Clients of 5.x tell a broker that they are there once they have looked up a topic of it.
        producer.send_ok(&topic, 1, "commit", args! { body: format!("hello-{day}-") });
        seen.insert(format!("hello-{day}-0"));
        wait_for("those of before are asked about", 90, || {
            let asked: BTreeSet<_> = producer.asked(0).into_iter().map(|message| message.body).collect();
            assert!(asked.is_subset(&pending), "day {day}: asked about {asked:?}, pending were {pending:?}");
            (asked == pending).then_some(())
        });
        wait_settled(&broker);
        assert_eq!(producer.asked(0).len(), pending.len(), "day {day}: each once");
        seen.append(&mut pending);
        wait_persisted(&broker);
        producer.answer("unknown");
        let ops = end_of(&broker, OP_TOPIC);
        producer.send_ok(&topic, 3, "unknown", args! { body: format!("pending-{day}-") });
        let mut ended = producer.send_ok(&topic, 3, "commit", args! { body: format!("commit-{day}-") });
        ended.extend(producer.send_ok(&topic, 3, "rollback", args! { body: format!("rollback-{day}-") }));
        let ended: BTreeSet<_> = ended.into_iter().map(|sent| sent.offset).collect();
        wait_for("decisions are written", 60, || {
            let written = match version {
                Version::V5_5_0 => decided(&broker, ops) == ended,
                // One in each message, in a topic that brokers of 4.x let nobody pull from.
                _ => usize::try_from(end_of(&broker, OP_TOPIC) - ops) == Ok(ended.len()),
            };
            written.then_some(())
        });
        pending = numbered("pending", day);
        seen.append(&mut numbered("commit", day));
        if day % 3 == 0 {
            broker.stop();
        } else {
            broker.kill9();
        }
        drop(producer);
        broker.hand_to(next);
        broker.boot();
    }
    broker.wait_registered(&nameserver);
    let push = driver.push(&nameserver.addr(), &unique("CG"), &topic, args! { threads: 1 });
    let got: Vec<_> = push.expect_exactly(seen.len(), 300).into_iter().map(|message| message.body).collect();
    assert_eq!(got.into_iter().collect::<BTreeSet<_>>(), seen);
    let output = broker.output();
    let bad: Vec<_> = output.lines().filter(|line| is_error(line)).collect();
    assert!(bad.is_empty(), "the broker logged what it should not:\n{}", bad.join("\n"));
}
