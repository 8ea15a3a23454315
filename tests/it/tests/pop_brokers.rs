//! POP on brokers of their own: settings, kills, limits, and one store under both brokers.

use it::clock::{now_ms, wait_for};
use it::pop::{NOTIFICATION, Popper, await_written, call, end_of, fill, polling, pop_time, popper, send, sorted};
use it::{Broker, Cluster, ClusterOptions, Kind, Launch, Nameserver, on_both, wire};
use serde_json::{Value, json};

const CREATE_TOPIC: i32 = 17;
const GET_BROKER_RUNTIME_INFO: i32 = 28;

on_both! {
    own: the_second_form_of_retry_topics, a_kill_loses_nothing, too_many_wait, expressions_are_obeyed;
}

fn the_second_form_of_retry_topics(kind: Kind) {
    let options = ClusterOptions { extra: &[("enableRetryTopicV2", "true")], ..ClusterOptions::default() };
    let cluster = Cluster::start(Launch::of(kind), &options);
    let popper = popper(&cluster, "second_form", 1);
    fill(&popper, 2, 1);
    popper.expect(2, 10, &json!({ "invisibleTime": "1000" }));
    let again = popper.expect(2, 30, &json!({ "invisibleTime": "1000" }));
    for message in &again {
        assert_eq!((message.reconsumed, message.topic.as_str()), (1, popper.topic.as_str()));
        assert_eq!(message.receipt.split(' ').nth(4), Some("2"));
    }
    assert_eq!(popper.ack(&again[0]).code, 0);
    let last = popper.expect(1, 30, &json!({}));
    assert_eq!((last[0].body.as_str(), last[0].reconsumed), (again[1].body.as_str(), 2));
    assert_eq!(popper.ack(&last[0]).code, 0);
    cluster.assert_quiet();
}

fn a_kill_loses_nothing(kind: Kind) {
    let options = ClusterOptions { extra: &[("flushConsumerOffsetInterval", "500")], ..ClusterOptions::default() };
    let cluster = Cluster::start(Launch::of(kind), &options);
    let popper = popper(&cluster, "killed", 2);
    fill(&popper, 20, 2);
    let got = popper.expect(20, 10, &json!({ "invisibleTime": "8000" }));
    let (kept, dropped): (Vec<_>, Vec<_>) = got.iter().partition(|message| message.offset < 5);
    for message in &kept {
        assert_eq!(popper.ack(message).code, 0);
    }
    await_written(cluster.broker(), &popper, "{0:10,1:10}");
    cluster.broker().kill9();
    cluster.broker().boot();
    cluster.broker().wait_registered(&cluster.nameservers[0]);
    // What was acknowledged does not come again, everything else does, and not before its time.
    let again = popper.expect(dropped.len(), 60, &json!({}));
    let due = dropped.iter().map(|message| pop_time(message)).min().expect("some") + 8000;
    assert!(again.iter().all(|message| pop_time(message) >= due), "{again:?}");
    assert_eq!(sorted(&again), {
        let mut bodies: Vec<_> = dropped.iter().map(|message| message.body.as_str()).collect();
        bodies.sort_unstable();
        bodies
    });
    cluster.assert_quiet();
}

/// SQL92 over the properties, now and while a pop waits.
fn expressions_are_obeyed(kind: Kind) {
    let options = ClusterOptions { extra: &[("enablePropertyFilter", "true")], ..ClusterOptions::default() };
    let cluster = Cluster::start(Launch::of(kind), &options);
    let popper = popper(&cluster, "expressions", 1);
    for (number, tag) in ["A", "B", "C", "A", "B", ""].into_iter().enumerate() {
        send(&popper.addr, &popper.topic, 0, &format!("m{number}"), tag);
    }
    let want = |expression: &str| json!({ "exp": expression, "expType": "SQL92", "invisibleTime": "2000" });
    let unread = popper.pop(&want("TAGS IN ("));
    assert_eq!((unread.code, unread.bodies().len()), (23, 0), "SUBSCRIPTION_PARSE_FAILED");
    let both = want("TAGS IN ('A', 'C')");
    let got = popper.expect(3, 10, &both);
    assert_eq!(sorted(&got), ["m0", "m2", "m3"]);
    assert_eq!(popper.ack(&got[0]).code, 0);
    assert_eq!(sorted(&popper.expect(2, 30, &both)), ["m2", "m3"], "what comes again is filtered alike");
    let fields = json!({ "exp": "TAGS = 'A'", "expType": "SQL92", "pollTime": "10000" });
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| popper.pop(&fields));
        wait_for("the pop waits", 10, || (polling(&popper, -1) == 1).then_some(()));
        send(&popper.addr, &popper.topic, 0, "unwanted", "B");
        send(&popper.addr, &popper.topic, 0, "wanted", "A");
        let got = waiting.join().expect("the pop ends");
        assert!(got.bodies().contains(&"wanted") && !got.bodies().contains(&"unwanted"), "{got:?}");
    });
    cluster.assert_quiet();
}

fn too_many_wait(kind: Kind) {
    let options = ClusterOptions { extra: &[("popPollingSize", "1")], ..ClusterOptions::default() };
    let cluster = Cluster::start(Launch::of(kind), &options);
    let popper = popper(&cluster, "full", 1);
    std::thread::scope(|scope| {
        // One more than the limit may wait, in Java and here.
        for count in 1..=2 {
            scope.spawn(|| popper.pop(&json!({ "pollTime": "3000" })));
            wait_for("it waits", 10, || (polling(&popper, -1) == count).then_some(()));
        }
        let full = popper.pop(&json!({ "pollTime": "3000" }));
        assert_eq!((full.code, full.remark.as_str()), (209, "NO_MESSAGE_IN_QUEUE"));
        let place = json!({ "consumerGroup": popper.group, "topic": popper.topic, "queueId": "-1", "pollTime": "1000",
            "bornTime": now_ms().to_string() });
        assert_eq!(call(&popper.addr, NOTIFICATION, &place).fields["pollingFull"], "false", "they wait elsewhere");
    });
    cluster.assert_quiet();
}

/// Under SYNC_FLUSH nothing is answered before its check point or acknowledgement is on the disk.
#[test]
fn check_points_are_on_the_disk_before_the_answer() {
    let options = ClusterOptions { extra: &[("flushDiskType", "SYNC_FLUSH")], ..ClusterOptions::default() };
    let cluster = Cluster::start(Launch::of(Kind::Ferrocket), &options);
    let popper = popper(&cluster, "flushed", 1);
    let flushed = |what: &str| {
        let answer = wire::call(&popper.addr, GET_BROKER_RUNTIME_INFO, &json!({}), &[]).expect("the broker answers");
        let info: Value = serde_json::from_slice(&answer.body).expect("the runtime info is JSON");
        assert_eq!(info["table"]["remainHowManyDataToFlush"], "0 B", "{what}");
    };
    fill(&popper, 4, 1);
    let got = popper.pop(&json!({})).messages;
    flushed("a pop");
    assert_eq!(popper.ack(&got[0]).code, 0);
    flushed("an acknowledgement");
    assert_eq!(popper.change(&got[1], 1000).code, 0);
    flushed("another receipt");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| popper.pop(&json!({ "pollTime": "4000", "exp": "held" })));
        wait_for("the pop waits", 10, || (polling(&popper, -1) == 1).then_some(()));
        send(&popper.addr, &popper.topic, 0, "held", "held");
        assert_eq!(waiting.join().expect("the pop ends").bodies(), ["held"]);
        flushed("a pop that waited");
    });
    cluster.assert_quiet();
}

/// A broker of its own on a store that another will open, with nine messages in one queue.
fn first_broker(kind: Kind) -> (Nameserver, Broker, Popper) {
    it::jvm::prepare();
    let nameserver = Nameserver::start(Launch::of(Kind::Ferrocket));
    // Java's timer, killed, delivers again what it has since its last flush: one second, as by default.
    let settings = [("flushConsumerOffsetInterval", "500"), ("reviveQueueNum", "1"), ("timerFlushIntervalMs", "1000")];
    let broker = Broker::start(Launch::of(kind), "broker-a", &nameserver.addr(), &settings);
    broker.wait_registered(&nameserver);
    let fields = json!({ "topic": "Handed", "defaultTopic": "TBW102", "readQueueNums": "1", "writeQueueNums": "1", "perm": "6",
        "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false" });
    assert_eq!(call(&broker.addr(), CREATE_TOPIC, &fields).code, 0);
    let popper = Popper { addr: broker.addr(), topic: "Handed".to_owned(), group: "CG".to_owned() };
    fill(&popper, 9, 1);
    (nameserver, broker, popper)
}

fn second_broker(nameserver: &Nameserver, broker: &mut Broker, kind: Kind) {
    broker.hand_to(Launch::of(kind));
    broker.boot();
    broker.wait_registered(nameserver);
}

fn nothing_more(popper: &Popper) {
    let until = now_ms() + 4000;
    while now_ms() < until {
        let answer = popper.pop(&json!({ "pollTime": "500" }));
        assert!(answer.messages.is_empty(), "{answer:?}");
    }
}

#[test]
fn what_ours_handed_out_comes_again_from_java() {
    let (nameserver, mut broker, popper) = first_broker(Kind::Ferrocket);
    let early = popper.expect(3, 10, &json!({ "maxMsgNums": "3", "invisibleTime": "2000" }));
    let late = popper.expect(3, 10, &json!({ "maxMsgNums": "3", "invisibleTime": "25000" }));
    let never = popper.expect(3, 10, &json!({ "maxMsgNums": "3", "invisibleTime": "25000" }));
    assert_eq!(popper.ack(&early[0]).code, 0);
    assert_eq!(popper.ack(&late[0]).code, 0);
    broker.stop();
    second_broker(&nameserver, &mut broker, Kind::Java);
    // Acknowledged with the receipts of the broker before.
    for message in never.iter().chain([&late[1]]) {
        assert_eq!(popper.ack(message).code, 0);
    }
    let got = popper.expect(3, 120, &json!({}));
    assert_eq!(sorted(&got), ["m1", "m2", "m5"]);
    let due = pop_time(&late[2]) + 25_000;
    let last = got.iter().find(|message| message.body == "m5").expect("it came");
    assert!(pop_time(last) >= due, "{} ms too early", due - pop_time(last));
    for message in &got {
        assert_eq!((message.reconsumed, popper.ack(message).code), (1, 0));
    }
    nothing_more(&popper);
    broker.stop();
}

#[test]
fn what_java_handed_out_comes_again_from_ours() {
    let (nameserver, mut broker, popper) = first_broker(Kind::Java);
    let got = popper.expect(9, 10, &json!({ "maxMsgNums": "3", "invisibleTime": "15000" }));
    for message in &got[..4] {
        assert_eq!(popper.ack(message).code, 0);
    }
    // Java's timer delivers three check points a second before their time and the acknowledgements at it; 2 s later at the
    // earliest they are looked at.
    await_written(&broker, &popper, "{0:9}");
    let revive = "rmq_sys_REVIVE_LOG_DefaultCluster";
    wait_for("the records are in the revive topic", 60, || (end_of(&popper.addr, revive, 0) >= 7).then_some(()));
    broker.kill9();
    second_broker(&nameserver, &mut broker, Kind::Ferrocket);
    let again = popper.expect(5, 60, &json!({}));
    assert_eq!(sorted(&again), ["m4", "m5", "m6", "m7", "m8"]);
    for message in &again {
        assert_eq!((message.reconsumed, popper.ack(message).code), (1, 0));
        let first = got.iter().find(|first| first.body == message.body).expect("it was popped before");
        assert_eq!(message.properties["1ST_POP_TIME"], pop_time(first).to_string());
    }
    nothing_more(&popper);
    broker.stop();
    let output = broker.output();
    let bad: Vec<_> = output.lines().filter(|line| it::cluster::is_error(line)).collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn what_waits_in_the_timer_of_java_comes_again_from_ours() {
    let (nameserver, mut broker, popper) = first_broker(Kind::Java);
    let early = popper.expect(3, 10, &json!({ "maxMsgNums": "3", "invisibleTime": "20000" }));
    let late = popper.expect(6, 10, &json!({ "maxMsgNums": "3", "invisibleTime": "40000" }));
    assert_eq!(popper.ack(&early[0]).code, 0);
    assert_eq!(popper.ack(&late[0]).code, 0);
    await_written(&broker, &popper, "{0:9}");
    broker.stop();
    second_broker(&nameserver, &mut broker, Kind::Ferrocket);
    // Acknowledged before their check points leave the timer.
    for message in [&late[1], &late[2], &late[3]] {
        assert_eq!(popper.ack(message).code, 0);
    }
    let got = popper.expect(4, 120, &json!({}));
    assert_eq!(sorted(&got), ["m1", "m2", "m7", "m8"]);
    for message in &got {
        let first = early.iter().chain(&late).find(|first| first.body == message.body).expect("it was popped before");
        let invisible = if early.contains(first) { 20_000 } else { 40_000 };
        assert!(pop_time(message) >= pop_time(first) + invisible, "too early: {message:?}");
        assert_eq!((message.reconsumed, popper.ack(message).code), (1, 0));
    }
    nothing_more(&popper);
    broker.stop();
}
