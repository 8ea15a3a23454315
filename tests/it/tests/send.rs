//! Sending: every kind of send of every Java client, each stored and consumed once, where the broker said.

use it::driver::Args;
use it::history::judge;
use it::{Broker, Cluster, ClusterOptions, Kind, Launch, Producer, Received, Sent};
use it::{args, clients, each, mix, on_both, unique, wire};
use serde_json::{Value, json};

const GET_BROKER_RUNTIME_INFO: i32 = 28;

on_both! {
    shared: sync_sends, async_sends, oneway_sends, batches, large_bodies_are_compressed_and_come_back_whole,
        sends_to_chosen_queues, everything_said_with_a_message_comes_back, a_topic_comes_to_be_by_sending,
        bad_topics_are_refused, the_vip_port_takes_sends;
    own: sync_flush_sends_survive_a_kill;
}

/// Consumes the topic from its start in a new group, and says what came.
fn consumed(cluster: &Cluster, driver: &it::Driver, topic: &str, count: usize) -> Vec<Received> {
    let push = driver.push(&cluster.namesrv(), &unique("CG"), topic, args! { threads: 1 });
    push.expect_exactly(count, 200)
}

/// Sends one batch of `count` messages: what each of them came to.
fn batch(producer: &Producer<'_>, topic: &str, count: usize, more: Args) -> Vec<Sent> {
    let mut args = args! { mode: "batch" };
    args.extend(more);
    let answers = producer.send_ok(topic, count, args);
    let [answer] = answers.as_slice() else { panic!("one answer to a batch: {answers:?}") };
    let ids: Vec<_> = answer.offset_msg_id.split(',').collect();
    assert_eq!(ids.len(), count, "one id for each message: {answer:?}");
    // The result names the first message; the others follow it without a gap.
    let places = (answer.offset..).zip(answer.body.split(','));
    places.map(|(offset, body)| Sent { body: body.to_owned(), offset, ..answer.clone() }).collect()
}

fn sync_sends(cluster: &Cluster) {
    each(&clients(), |driver| {
        let topic = cluster.topic("sync", 4);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let sent = producer.send_ok(&topic, 40, args! { tags: "A" });
        judge(&sent, &[], &consumed(cluster, driver, &topic, 40)).assert_exactly_once();
    });
}

fn async_sends(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("async", 4);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let sent = producer.send_ok(&topic, 200, args! { mode: "async" });
        assert_eq!(sent.len(), 200);
        judge(&sent, &[], &consumed(cluster, driver, &topic, 200)).assert_exactly_once();
    });
}

fn oneway_sends(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("oneway", 4);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        // A first send that is waited for opens the connection.
        producer.send_ok(&topic, 1, args! { body: "first" });
        assert!(producer.send(&topic, 20, args! { mode: "oneway" }).is_empty(), "nothing is answered");
        consumed(cluster, driver, &topic, 21);
    });
}

fn batches(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("batch", 1);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let rounds = (0..5).map(|round| batch(&producer, &topic, 10, args! { from: round * 10, keys: "k{}" }));
        let sent: Vec<_> = rounds.flatten().collect();
        judge(&sent, &[], &consumed(cluster, driver, &topic, 50)).assert_exactly_once();
    });
}

fn large_bodies_are_compressed_and_come_back_whole(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("large", 2);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        producer.send_ok(&topic, 4, args! { size: 300000 });
        let wide = driver.producer(&cluster.namesrv(), args! { compress: 100000000 });
        wide.send_ok(&topic, 4, args! { size: 300000, from: 4 });
        for message in consumed(cluster, driver, &topic, 8) {
            assert_eq!(message.number("bodyLength"), 300_000);
            let compressed = message.body.as_str() < "m4";

            let stored = message.number("storeSize");
            assert_eq!(stored < 10_000, compressed, "stored as sent: {stored}");
        }
    });
}

fn sends_to_chosen_queues(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("chosen", 3);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let sent = producer.send_ok(&topic, 30, args! { mode: "orderly", shards: 3 });
        for (index, one) in (0..).zip(&sent) {
            assert_eq!((one.queue, one.offset), (index % 3, index / 3), "{one:?}");
        }
        judge(&sent, &[], &consumed(cluster, driver, &topic, 30)).assert_exactly_once();
    });
}

fn everything_said_with_a_message_comes_back(cluster: &Cluster) {
    each(&clients(), |driver| {
        let topic = cluster.topic("said", 1);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let more = args! { tags: "Größe", keys: "one two-{}", flag: 42, "p.colour": "red", "p.straße": "ü=ß; \"x\"", body: "körper" };
        let sent = producer.send_ok(&topic, 1, more);
        let got = consumed(cluster, driver, &topic, 1);
        let (one, message) = (&sent[0], &got[0]);
        assert_eq!(message.body, "körper0");
        assert_eq!(message.text("tags"), "Größe");
        assert_eq!(message.text("keys"), "one two-körper0");
        assert_eq!(message.property("colour"), Some("red"));
        assert_eq!(message.property("straße"), Some("ü=ß; \"x\""));
        assert_eq!(message.property("UNIQ_KEY"), Some(one.msg_id.as_str()));
        assert_eq!(message.number("reconsumeTimes"), 0);
        assert!(message.number("storeTimestamp") > 0 && message.number("bornTimestamp") > 0);
        let (min, max) = (message.property("MIN_OFFSET"), message.property("MAX_OFFSET"));
        assert_eq!((min, max), (Some("0"), Some("1")), "the queue's bounds at the pull");
        // An offset id is the store host, its port and the physical offset, in hexadecimal digits.
        let place = i64::from_str_radix(&one.offset_msg_id[16..], 16).expect("digits");
        assert_eq!(message.number("physicalOffset"), place);
        assert_eq!(message.text("storeHost"), format!("/{}", cluster.broker().addr()));
    });
}

fn a_topic_comes_to_be_by_sending(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = unique("auto");
        let producer = driver.producer(&cluster.namesrv(), args! { queues: 3 });
        let sent = producer.send_ok(&topic, 12, args! {});
        cluster.wait_route(&topic);
        let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
        assert_eq!(pull.queues(&topic).len(), 3, "as many queues as the producer asks for");
        judge(&sent, &[], &consumed(cluster, driver, &topic, 12)).assert_exactly_once();
    });
}

fn bad_topics_are_refused(cluster: &Cluster) {
    each(&mix(), |driver| {
        let producer = driver.producer(&cluster.namesrv(), args! {});
        for topic in ["SCHEDULE_TOPIC_XXXX", "with space"] {
            let answers = producer.send(topic, 1, args! {});
            assert_eq!(answers[0].status, "FAILED", "{topic}: {:?}", answers[0]);
        }
    });
}

fn the_vip_port_takes_sends(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("vip", 2);
        let producer = driver.producer(&cluster.namesrv(), args! { vip: true });
        let sent = producer.send_ok(&topic, 10, args! {});
        let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { vip: true, threads: 1 });
        judge(&sent, &[], &push.expect_exactly(10, 200)).assert_exactly_once();
    });
}

/// How much of its commit log the broker has not flushed: a number and a unit.
fn unflushed(broker: &Broker) -> String {
    let answer = wire::call(&broker.addr(), GET_BROKER_RUNTIME_INFO, &json!({}), &[]).expect("the broker answers");
    let info: Value = serde_json::from_slice(&answer.body).expect("the runtime info is JSON");
    info["table"]["remainHowManyDataToFlush"].as_str().expect("it tells what is not flushed").to_owned()
}

/// Under SYNC_FLUSH a send that waits is answered when it is on the disk. A kill alone would not show that, as the page
/// cache outlives the process: so the broker is asked what it has not flushed.
fn sync_flush_sends_survive_a_kill(kind: Kind) {
    let options = ClusterOptions { extra: &[("flushDiskType", "SYNC_FLUSH")], ..ClusterOptions::default() };
    let cluster = Cluster::start(Launch::of(kind), &options);
    let broker = cluster.broker();
    // One client after the other: what does not wait would be among what another finds unflushed.
    let sent = mix().map(|driver| {
        let topic = cluster.topic("flushed", 2);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let mut sent = Vec::new();
        for (wait, round) in [true, false].into_iter().flat_map(|wait| (0..5).map(move |round| (wait, round))) {
            let more = |kind: &str| args! { body: format!("{kind}-{wait}-{round}-"), waitStore: wait };
            let settled =
                |what: &str| assert!(!wait || unflushed(broker) == "0 B", "{}: {what} is not flushed", driver.name);
            sent.extend(producer.send_ok(&topic, 1, more("single")));
            settled("a message");
            sent.extend(batch(&producer, &topic, 10, more("batch")));
            settled("a batch");
        }
        (driver, topic, producer, sent)
    });
    broker.kill9();
    for (driver, topic, producer, _) in &sent {
        let failed = producer.send(topic, 1, args! { body: "to-the-dead-" });
        let error = &failed[0].error;
        let caused = error.contains(" Caused by: org.apache.rocketmq.remoting.exception.") && !error.contains('\n');
        assert!(caused, "{}: the cause is told, on the same line: {error}", driver.name);
    }
    broker.boot();
    broker.wait_registered(&cluster.nameservers[0]);
    for (driver, topic, _, sent) in &sent {
        let got = consumed(&cluster, driver, topic, sent.len());
        judge(sent, &[], &got).assert_exactly_once();
        for message in got {
            let wait = message.property("WAIT").expect("whether the sender waits is kept with the message");
            assert!(message.body.contains(wait), "sent otherwise than asked: {}", message.all);
        }
    }
    cluster.assert_quiet();
}
