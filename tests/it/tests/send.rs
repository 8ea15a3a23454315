//! Sending: every kind of send of every Java client, each stored and consumed once, where the broker said.

use it::history::judge;
use it::{Cluster, Received, Sent, args, clients, each, mix, on_both, unique};

on_both! {
    shared: sync_sends, async_sends, oneway_sends, batches, large_bodies_are_compressed_and_come_back_whole,
        sends_to_chosen_queues, everything_said_with_a_message_comes_back, a_topic_comes_to_be_by_sending,
        bad_topics_are_refused, the_vip_port_takes_sends;
}

/// Consumes the topic from its start in a new group, and says what came.
fn consumed(cluster: &Cluster, driver: &it::Driver, topic: &str, count: usize) -> Vec<Received> {
    let push = driver.push(&cluster.namesrv(), &unique("CG"), topic, args! { threads: 1 });
    push.expect_exactly(count, 200)
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
        let mut sent = Vec::new();
        for round in 0..5 {
            for batch in producer.send_ok(&topic, 10, args! { mode: "batch", from: round * 10, keys: "k{}" }) {
                let ids: Vec<_> = batch.offset_msg_id.split(',').collect();
                assert_eq!(ids.len(), 10, "one id for each message: {batch:?}");
                // The result names the first message; the others follow it without a gap.
                for (place, body) in (batch.offset..).zip(batch.body.split(',')) {
                    sent.push(Sent { body: body.to_owned(), offset: place, ..batch.clone() });
                }
            }
        }
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
