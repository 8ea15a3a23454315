//! Messages for arbitrary times: in time, once, with what Java leaves on them, taken back, over restarts and kills, and a store
//! whose messages wait while Java's broker and ours take turns.

use it::client::{Received, Sent};
use it::clock::{now_ms, wait_for};
use it::cluster::{ClusterOptions, is_error};
use it::driver::{Driver, Serialize, Version};
use it::{Broker, Cluster, Kind, Launch, Nameserver, args, java, on_both, unique, wire};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const GET_BROKER_RUNTIME_INFO: i32 = 28;
const GET_TIMER_CHECK_POINT: i32 = 60;
const GET_TIMER_METRICS: i32 = 61;
const MESSAGE_ILLEGAL: i64 = 13;
const ILLEGAL_OPERATION: i64 = 604;
/// What a message may be behind its time: the length of a slot, and something for a small machine under load.
const LATE_MS: i64 = 1000 + 4000;

on_both! {
    shared: every_kind_of_time_is_kept, old_clients_say_it_by_property, what_lies_too_far_off_is_refused,
        many_in_one_second_come_once, a_level_wins_over_a_time, the_state_can_be_asked_for;
    own: messages_are_taken_back, a_restart_and_a_kill_lose_and_double_nothing, far_messages_go_round,
        without_the_wheel_it_is_refused;
}

fn client() -> &'static Driver {
    java(Version::V5_5_0, Serialize::Json)
}

fn now() -> i64 {
    i64::try_from(now_ms()).expect("the clock is set")
}

/// What was delivered came no earlier than `due` and not much later.
fn assert_in_time(message: &Received, due: i64) {
    let behind = message.number("storeTimestamp") - due;
    assert!((0..LATE_MS).contains(&behind), "{} came {behind} ms behind its time", message.body);
}

/// Every message came, none twice. In no order: they come in that of their times, to several threads.
fn assert_each_once(sent: &[Sent], got: &[Received]) {
    let expected: BTreeSet<_> = sent.iter().map(|one| &one.body).collect();
    let came: BTreeSet<_> = got.iter().map(|message| &message.body).collect();
    assert_eq!(came, expected);
    assert_eq!(got.len(), expected.len(), "doubles");
}

fn every_kind_of_time_is_kept(cluster: &Cluster) {
    let topic = cluster.topic("Timer", 2);
    let producer = client().producer(&cluster.namesrv(), args! {});
    let sent_at = now();
    let at = sent_at + 3210;
    let whole = (sent_at / 1000 + 4) * 1000;
    let cases = [
        ("sec", args! { delaySec: 2 }, sent_at + 2000),
        ("ms", args! { delayMs: 2345 }, sent_at + 2345),
        ("at", args! { deliverMs: at }, at),
        ("whole", args! { deliverMs: whole }, whole),
        ("past", args! { deliverMs: sent_at - 5000 }, sent_at),
        ("zero", args! { delaySec: 0 }, sent_at),
    ];
    for (name, time, due) in &cases {
        let args = [time.clone(), args! { body: name, tags: "T", keys: "k", "p.mine": "yes" }].concat();
        let sent = producer.send_ok(&topic, 1, args);
        let waits = *due > sent_at;
        assert_eq!(sent[0].recall_handle.is_some(), waits, "{sent:?}");
    }
    let push = client().push(&cluster.namesrv(), &unique("CG"), &topic, args! {});
    let got = push.expect_exactly(cases.len(), 1500);
    for (name, _, due) in &cases {
        let message = got.iter().find(|message| message.body == format!("{name}0")).expect("every one came");
        assert_in_time(message, *due);
        let mut names: BTreeSet<_> =
            message.all["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let mut expect: BTreeSet<_> = [
            "CLUSTER",
            "CONSUME_START_TIME",
            "KEYS",
            "MAX_OFFSET",
            "MIN_OFFSET",
            "MSG_REGION",
            "TAGS",
            "TRACE_ON",
            "UNIQ_KEY",
            "WAIT",
            "mine",
        ]
        .into();
        expect.insert(match *name {
            "sec" | "zero" => "TIMER_DELAY_SEC",
            "ms" => "TIMER_DELAY_MS",
            _ => "TIMER_DELIVER_MS",
        });
        if *due > sent_at {
            expect.extend(["REAL_QID", "REAL_TOPIC", "TIMER_DEQUEUE_MS", "TIMER_ENQUEUE_MS", "TIMER_OUT_MS"]);
            let out: i64 = message.property("TIMER_OUT_MS").and_then(|out| out.parse().ok()).expect("a time");
            assert_eq!(out % 1000, 0);
            // Rounded down, and one slot less on its edge; a delay counts from when the broker had it.
            assert!((due - 1000..due + 1500).contains(&out), "{name}: {out} {due}");
            assert_eq!(message.property("REAL_TOPIC"), Some(topic.as_str()));
        }
        // Of the client's making.
        names.remove("CONSUME_START_TIME");
        expect.remove("CONSUME_START_TIME");
        assert_eq!(names, expect, "{name}: {}", message.all);
    }
}

fn old_clients_say_it_by_property(cluster: &Cluster) {
    let driver = java(Version::V4_9_7, Serialize::RocketMq);
    let topic = cluster.topic("TimerOld", 1);
    let producer = driver.producer(&cluster.namesrv(), args! {});
    let sent_at = now();
    let sent = [
        producer.send_ok(&topic, 1, args! { body: "sec", "p.TIMER_DELAY_SEC": "2" }),
        producer.send_ok(&topic, 1, args! { body: "at", "p.TIMER_DELIVER_MS": (sent_at + 1500) }),
    ]
    .concat();
    let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! {});
    let got = push.expect_exactly(2, 1000);
    assert_each_once(&sent, &got);
    for message in &got {
        assert_in_time(message, sent_at + if message.body == "sec0" { 2000 } else { 1500 });
    }
}

fn what_lies_too_far_off_is_refused(cluster: &Cluster) {
    let topic = cluster.topic("TimerFar", 1);
    let producer = client().producer(&cluster.namesrv(), args! { retries: 0 });
    let far = 3 * 24 * 3600;
    for time in [
        args! { delaySec: (far + 60) },
        args! { delayMs: (far + 60) * 1000 },
        args! { deliverMs: (now() + (far + 60) * 1000) },
    ] {
        let sent = producer.send(&topic, 1, time);
        assert_eq!((sent[0].status.as_str(), sent[0].code), ("FAILED", Some(MESSAGE_ILLEGAL)), "{sent:?}");
        let text = "timer message illegal, the delay time should not be bigger than the max delay 259200000ms; or if set del \
                    msg, the delay time should be bigger than the current time";
        assert!(sent[0].error.contains(text), "{sent:?}");
    }
    producer.send_ok(&topic, 1, args! { delaySec: (far - 60) });
    let pull = client().pull(&cluster.namesrv(), &unique("CG"));
    assert_eq!(pull.fetch(&topic, "broker-a", 0, 0, args! {}).max, 0, "nothing came yet");
}

fn many_in_one_second_come_once(cluster: &Cluster) {
    let topic = cluster.topic("TimerMany", 4);
    let producer = client().producer(&cluster.namesrv(), args! {});
    let due = now() + 5000;
    let sent = producer.send_ok(&topic, 1000, args! { deliverMs: due, mode: "async" });
    assert!(now() < due, "the machine is too slow for this case");
    let push = client().push(&cluster.namesrv(), &unique("CG"), &topic, args! {});
    let got = push.expect_exactly(1000, 1500);
    assert_each_once(&sent, &got);
    got.iter().for_each(|message| assert_in_time(message, due));
}

fn a_level_wins_over_a_time(cluster: &Cluster) {
    let topic = cluster.topic("TimerLevel", 1);
    let producer = client().producer(&cluster.namesrv(), args! {});
    let sent_at = now();
    let sent = producer.send_ok(&topic, 1, args! { delay: 1, delaySec: 100 });
    assert_eq!(sent[0].recall_handle, None);
    let push = client().push(&cluster.namesrv(), &unique("CG"), &topic, args! {});
    let got = push.expect_exactly(1, 500);
    assert_in_time(&got[0], sent_at + 1000);
    assert_eq!(got[0].property("TIMER_DELAY_SEC"), None);
}

fn call(cluster: &Cluster, code: i32) -> (Value, Vec<u8>) {
    let answer = wire::call(&cluster.broker().addr(), code, &json!({}), &[]).expect("the broker answers");
    assert_eq!(answer.header["code"], 0, "{}", answer.header);
    (answer.header, answer.body)
}

fn the_state_can_be_asked_for(cluster: &Cluster) {
    let topic = cluster.topic("TimerState", 1);
    let producer = client().producer(&cluster.namesrv(), args! {});
    let counted = || {
        let (_, body) = call(cluster, GET_TIMER_METRICS);
        let metrics: Value = serde_json::from_slice(&body).expect("JSON");
        assert!(metrics["dataVersion"]["counter"].is_i64(), "{metrics}");
        metrics["timingCount"][&topic]["count"].as_i64()
    };
    producer.send_ok(&topic, 7, args! { delaySec: 30 });
    wait_for("the messages are counted", 30, || (counted() == Some(7)).then_some(()));
    let long = |body: &[u8], at: usize| i64::from_be_bytes(body[at * 8..at * 8 + 8].try_into().expect("eight bytes"));
    wait_for("the checkpoint follows", 30, || {
        let (_, body) = call(cluster, GET_TIMER_CHECK_POINT);
        assert_eq!(body.len(), 56);
        let behind = now() - long(&body, 0);
        ((0..5000).contains(&behind) && long(&body, 3) >= 7 && long(&body, 2) >= 7).then_some(())
    });
    wait_for("the runtime information tells it", 30, || {
        let (_, body) = call(cluster, GET_BROKER_RUNTIME_INFO);
        let info: Value = serde_json::from_slice(&body).expect("JSON");
        let number =
            |key: &str| info["table"][key].as_str().and_then(|text| text.parse::<f64>().ok()).expect("a number");
        let settled = number("timerCongestNum") >= 7.0 && number("timerOffsetBehind") == 0.0;
        assert!(number("timerEnqueueTps") >= 0.0 && number("timerDequeueTps") >= 0.0);
        (settled && number("timerReadBehind") < 5.0).then_some(())
    });
}

fn messages_are_taken_back(kind: Kind) {
    let extra = [("recallMessageEnable", "true"), ("timerMaxDelaySec", "3600")];
    let cluster = Cluster::start(Launch::of(kind), &ClusterOptions { extra: &extra, ..ClusterOptions::default() });
    let topic = cluster.topic("Recall", 1);
    let other = cluster.topic("RecallOther", 1);
    let producer = client().producer(&cluster.namesrv(), args! {});
    let due = now() + 6000;
    let sent = producer.send_ok(&topic, 6, args! { deliverMs: due });
    let handle = |at: usize| sent[at].recall_handle.clone().expect("a handle");
    for at in [1, 3] {
        assert_eq!(producer.recall(&topic, &handle(at)).expect("taken back"), sent[at].msg_id);
    }
    assert_eq!(producer.recall(&topic, &handle(3)).expect("a second time"), sent[3].msg_id);
    let refused = |topic: &str, handle: &str, text: &str| {
        let failure = producer.recall(topic, handle).expect_err("it cannot be taken back");
        assert_eq!(failure.code, Some(ILLEGAL_OPERATION), "{failure:?}");
        assert!(failure.error.contains(text), "{failure:?}");
    };
    refused(&other, &handle(0), "recall failed, topic not match");
    assert!(now() < due - 1000, "the machine is too slow for this case");
    let push = client().push(&cluster.namesrv(), &unique("CG"), &topic, args! {});
    let mut got: Vec<_> = push.expect_exactly(4, 1500).iter().map(|message| message.body.clone()).collect();
    got.sort();
    assert_eq!(got, ["m0", "m2", "m4", "m5"]);
    refused(&topic, &handle(0), "recall failed, timestamp invalid");
    cluster.assert_quiet();
}

fn far_messages_go_round(kind: Kind) {
    let extra = [("timerRollWindowSlot", "4")];
    let cluster = Cluster::start(Launch::of(kind), &ClusterOptions { extra: &extra, ..ClusterOptions::default() });
    let topic = cluster.topic("Roll", 1);
    let producer = client().producer(&cluster.namesrv(), args! {});
    let due = now() + 12_000;
    producer.send_ok(&topic, 3, args! { deliverMs: due });
    let push = client().push(&cluster.namesrv(), &unique("CG"), &topic, args! {});
    for message in push.expect_exactly(3, 2500) {
        assert_in_time(&message, due);
        let rounds: i32 = message.property("TIMER_ROLL_TIMES").and_then(|times| times.parse().ok()).expect("a number");
        assert!((2..=5).contains(&rounds), "{rounds}");
    }
    cluster.assert_quiet();
}

fn without_the_wheel_it_is_refused(kind: Kind) {
    let extra = [("timerWheelEnable", "false")];
    let cluster = Cluster::start(Launch::of(kind), &ClusterOptions { extra: &extra, ..ClusterOptions::default() });
    let topic = cluster.topic("NoWheel", 1);
    let producer = client().producer(&cluster.namesrv(), args! { retries: 0 });
    let sent = producer.send(&topic, 1, args! { delaySec: 5 });
    assert_eq!(sent[0].code, Some(1), "{sent:?}");
    assert!(sent[0].error.contains("accurate timer message is not enabled, timerWheelEnable is false"), "{sent:?}");
    producer.send_ok(&topic, 1, args! {});
}

/// Messages whose times lie before, in and after what happens to the broker.
fn a_restart_and_a_kill_lose_and_double_nothing(kind: Kind) {
    let extra = [("timerFlushIntervalMs", "1000")];
    let cluster = Cluster::start(Launch::of(kind), &ClusterOptions { extra: &extra, ..ClusterOptions::default() });
    let topic = cluster.topic("TimerRestart", 2);
    let producer = client().producer(&cluster.namesrv(), args! {});
    let begin = now();
    let mut sent = Vec::new();
    let mut send = |name: &str, due: i64| {
        sent.extend(producer.send_ok(&topic, 20, args! { deliverMs: due, body: format!("{name}-{due}-") }));
    };
    for step in 0..12 {
        send("first", begin + 4000 + step * 2500);
    }
    cluster.broker().stop();
    cluster.broker().boot();
    cluster.broker().wait_registered(&cluster.nameservers[0]);
    for step in 0..8 {
        send("second", now() + 8000 + step * 2500);
    }
    cluster.broker().kill9();
    cluster.broker().boot();
    cluster.broker().wait_registered(&cluster.nameservers[0]);
    let push = client().push(&cluster.namesrv(), &unique("CG"), &topic, args! {});
    let got = push.expect(400);
    // What Java had delivered since its last flush, and read from the queue, it delivers again.
    if kind == Kind::Ferrocket {
        assert_each_once(&sent, &got);
    }
    for message in &got {
        let due: i64 = message.body.split('-').nth(1).and_then(|due| due.parse().ok()).expect("a time");
        assert!(message.number("storeTimestamp") >= due, "{} came early", message.body);
    }
    cluster.assert_quiet();
}

/// Java's broker, ours, Java's, ours on one store; stopped or killed, always with messages that wait.
fn change_hands(killed: bool) {
    it::jvm::prepare();
    let nameserver = Nameserver::start(Launch::of(Kind::Ferrocket));
    let extra = [("mappedFileSizeTimerLog", "5200"), ("recallMessageEnable", "true"), ("timerFlushIntervalMs", "1000")];
    let mut broker = Broker::start(Launch::of(Kind::Java), "broker-a", &nameserver.addr(), &extra);
    let fields = json!({ "topic": "Waiting", "defaultTopic": "TBW102", "readQueueNums": "2", "writeQueueNums": "2",
        "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
        "attributes": "+message.type=DELAY" });
    broker.wait_registered(&nameserver);
    let made = wire::call(&broker.addr(), 17, &fields, &[]).expect("the broker answers");
    assert_eq!(made.header["code"], 0, "{}", made.header);
    wait_for("the nameserver knows the topic", 60, || wire::has_route(&nameserver.addr(), "Waiting").then_some(()));
    let mut sent = Vec::new();
    let mut handles: Vec<String> = Vec::new();
    let last_due = now() + 100_000;
    for (day, kind) in [Kind::Java, Kind::Ferrocket, Kind::Java, Kind::Ferrocket].into_iter().enumerate() {
        if day > 0 {
            broker.hand_to(Launch::of(kind));
            broker.boot();
            broker.wait_registered(&nameserver);
        }
        let producer = client().producer(&nameserver.addr(), args! {});
        // What the one before has handed out is good here.
        for handle in std::mem::take(&mut handles) {
            producer.recall("Waiting", &handle).unwrap_or_else(|failure| panic!("day {day}: {failure:?}"));
        }
        for due in [now() + 12_000, now() + 30_000, last_due] {
            let body = format!("{day}-{due}-");
            sent.extend(producer.send_ok("Waiting", 40, args! { deliverMs: due, body: body }));
        }
        let doomed = producer.send_ok("Waiting", 3, args! { deliverMs: last_due, body: "doomed" });
        handles.extend(doomed.into_iter().filter_map(|one| one.recall_handle));
        if day < 3 {
            // So that what is written down covers the messages: a kill of Java loses and doubles otherwise.
            let before = std::fs::read(broker.store_dir().join("config/timercheck")).unwrap_or_default();
            wait_for("the checkpoint is written", 30, || {
                let after = std::fs::read(broker.store_dir().join("config/timercheck")).unwrap_or_default();
                let offset = after.get(16..24).map(|bytes| i64::from_be_bytes(bytes.try_into().expect("eight bytes")));
                (after != before && offset >= i64::try_from(sent.len()).ok()).then_some(())
            });
            if killed { broker.kill9() } else { broker.stop() }
        } else {
            for handle in std::mem::take(&mut handles) {
                producer.recall("Waiting", &handle).expect("taken back");
            }
        }
    }
    let push = client().push(&nameserver.addr(), &unique("CG"), "Waiting", args! {});
    wait_for("the last time has passed", 200, || (now() > last_due + 2000).then_some(()));
    let got = if killed {
        // Java delivers again what it had delivered in the second before it was killed.
        push.expect(sent.len())
    } else {
        push.expect_exactly(sent.len(), 2000)
    };
    let expected: BTreeSet<_> = sent.iter().map(|one| &one.body).collect();
    let came: BTreeSet<_> = got.iter().map(|message| &message.body).collect();
    assert_eq!(came, expected, "each that was not taken back");
    for message in &got {
        let due: i64 = message.body.split('-').nth(1).and_then(|due| due.parse().ok()).expect("a time");
        assert!(message.number("storeTimestamp") >= due, "{} came early", message.body);
    }
    broker.stop();
    let output = broker.output();
    let bad: Vec<_> = output.lines().filter(|line| is_error(line)).collect();
    assert!(bad.is_empty(), "the broker logged what it should not:\n{}", bad.join("\n"));
}

#[test]
fn waiting_messages_change_hands_between_stopped_brokers() {
    change_hands(false);
}

#[test]
fn waiting_messages_change_hands_between_killed_brokers() {
    change_hands(true);
}
