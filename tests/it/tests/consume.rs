//! Consuming: push, pull and lite pull, filters, long polling, retry, dead letters, broadcast, order, resuming.

use it::clock::{now_ms, wait_for};
use it::driver::Version;
use it::history::judge;
use it::{Cluster, args, each, mix, on_both, unique, wire};
use serde_json::json;
use std::collections::BTreeMap;

on_both! {
    shared: pull_from_every_queue, pulls_say_why_they_find_nothing, tag_filters, a_held_pull_ends_with_the_message,
        lite_pull_subscribes_and_seeks, retry_comes_back_with_rising_reconsume_times, dead_letters_after_the_limit,
        a_message_can_be_sent_back_by_hand, broadcast_reaches_all, orderly_keeps_order_through_refusals,
        a_stopped_consumer_resumes_from_its_offset, offsets_by_place_and_by_time, two_groups_have_all_each,
        a_new_group_may_start_at_the_end;
}

fn pull_from_every_queue(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("pull", 3);
        let sent = driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 100, args! {});
        let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
        assert_eq!(pull.queues(&topic), ["broker-a:0", "broker-a:1", "broker-a:2"]);
        let mut got = Vec::new();
        for queue in 0..3 {
            let mut at = 0;
            loop {
                let pulled = pull.fetch(&topic, "broker-a", queue, at, args! { max: 7 });
                assert!(pulled.messages.len() <= 7);
                if pulled.status != "FOUND" {
                    assert_eq!((pulled.status.as_str(), at), ("NO_NEW_MSG", pulled.max));
                    break;
                }
                let next = at + i64::try_from(pulled.messages.len()).expect("few");
                assert_eq!((pulled.next, pulled.min), (next, 0));
                at = pulled.next;
                got.extend(pulled.messages);
            }
        }
        judge(&sent, &[], &got).assert_exactly_once();
    });
}

fn pulls_say_why_they_find_nothing(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("empty", 1);
        let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
        let fetch = |offset, sub: &str| pull.fetch(&topic, "broker-a", 0, offset, args! { sub: sub });
        assert_eq!(fetch(0, "*").status, "NO_NEW_MSG", "an empty queue");
        driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 5, args! { tags: "A" });
        let end = fetch(5, "*");
        assert_eq!((end.status.as_str(), end.next), ("NO_NEW_MSG", 5), "at the end");
        let unmatched = fetch(0, "B");
        assert_eq!((unmatched.status.as_str(), unmatched.next), ("NO_MATCHED_MSG", 5), "all filtered out");
        let beyond = fetch(99, "*");
        assert_eq!((beyond.status.as_str(), beyond.next), ("OFFSET_ILLEGAL", 5), "beyond the end");
        let found = fetch(3, "*");
        assert_eq!((found.status.as_str(), found.next, found.min, found.max), ("FOUND", 5, 0, 5));
    });
}

fn tag_filters(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("tags", 4);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let mut wanted = Vec::new();
        for tag in ["A", "B", "C", "Größe"] {
            let sent = producer.send_ok(&topic, 10, args! { tags: tag, body: tag });
            wanted.extend(if tag == "B" { Vec::new() } else { sent });
        }
        // One without any tag is matched by nothing but the star.
        producer.send_ok(&topic, 3, args! { body: "bare" });
        let sub = "A || C || Größe";
        let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { sub: sub, threads: 1 });
        judge(&wanted, &[], &push.expect_exactly(30, 300)).assert_exactly_once();
        // The same tags (Aa and BB have the same hash) do not get mixed up.
        producer.send_ok(&topic, 5, args! { tags: "Aa", body: "Aa" });
        let others = producer.send_ok(&topic, 5, args! { tags: "BB", body: "BB" });
        let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { sub: "BB", threads: 1 });
        judge(&others, &[], &push.expect_exactly(5, 300)).assert_exactly_once();
    });
}

fn a_held_pull_ends_with_the_message(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("held", 1);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
        std::thread::scope(|scope| {
            // The broker holds this pull until the message comes; were it late, the pull would find it at once.
            let held = scope.spawn(|| pull.fetch(&topic, "broker-a", 0, 0, args! { block: true, sub: "A" }));
            producer.send_ok(&topic, 1, args! { tags: "A" });
            let pulled = held.join().expect("the pull ends");
            assert_eq!(pulled.status, "FOUND", "{pulled:?}");
            assert_eq!(pulled.messages.iter().map(|m| m.body.as_str()).collect::<Vec<_>>(), ["m0"]);
        });
        let all = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { threads: 1 });
        let some = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { threads: 1, sub: "A" });
        all.expect(1);
        some.expect(1);
        // From here on both wait in held pulls; one of them must sleep through every other message.
        for round in 1..=4 {
            producer.send_ok(&topic, 1, args! { tags: "B", body: "other", from: round });
            let sent = producer.send_ok(&topic, 1, args! { tags: "A", from: round });
            let count = usize::try_from(round).expect("small");
            let got = all.expect(1 + 2 * count);
            let last = got.last().expect("one came");
            assert_eq!((&last.body, last.offset), (&sent[0].body, sent[0].offset));
            let got = some.expect(1 + count);
            assert_eq!(got.len(), 1 + count);
        }
    });
}

fn lite_pull_subscribes_and_seeks(cluster: &Cluster) {
    let newer: Vec<_> = mix().into_iter().filter(|driver| !driver.name.contains(Version::V4_5_2.name())).collect();
    each(&newer, |driver| {
        let topic = cluster.topic("lite", 3);
        let sent = driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 60, args! {});
        let namesrv = cluster.namesrv();
        let name = unique("lite");
        driver.call("lite.start", args! { name: name, group: unique("CG"), namesrv: namesrv, topic: topic });
        let polled = driver.call("lite.poll", args! { name: name, count: 60 });
        let got = it::client::received(&polled["messages"]);
        judge(&sent, &[], &got).assert_exactly_once();
        driver.call("lite.commit", args! { name: name });
        driver.call("lite.seek", args! { name: name, topic: topic, offset: 10 });
        let polled = driver.call("lite.poll", args! { name: name, count: 30 });
        let again = it::client::received(&polled["messages"]);
        assert_eq!(again.len(), 30, "ten of each queue are skipped");
        assert!(again.iter().all(|message| message.offset >= 10));
        driver.call("lite.stop", args! { name: name });
        let name = unique("lite");
        let group = unique("CG");
        driver.call("lite.start", args! { name: name, group: group, namesrv: namesrv, topic: topic, assign: true });
        // Sought while its first pulls are under way, the client may drop what they bring.
        for _ in 0..2 {
            let polled = driver.call("lite.poll", args! { name: name, count: 60 });
            judge(&sent, &[], &it::client::received(&polled["messages"])).assert_good();
            driver.call("lite.seek", args! { name: name, topic: topic, offset: 0 });
        }
        driver.call("lite.stop", args! { name: name });
    });
}

fn retry_comes_back_with_rising_reconsume_times(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("retry", 2);
        driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 4, args! { tags: "A", keys: "k-{}" });
        let group = cluster.group_with_retry_topic();
        let push = driver.push(&cluster.namesrv(), &group, &topic, args! { refuse: 3, threads: 1 });
        let got = push.deliveries(16);
        let mut times: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for one in &got {
            times.entry(&one.body).or_default().push(one.number("reconsumeTimes"));
            // The consumer sees the topic that it subscribed to, wherever the message waited.
            assert_eq!(one.text("topic"), topic);
            assert_eq!(one.text("tags"), "A");
            assert_eq!(one.text("keys"), format!("k-{}", one.body));
        }
        assert_eq!(times.len(), 4);
        for (body, times) in times {
            assert_eq!(times, [0, 1, 2, 3], "{body}");
        }
    });
}

fn dead_letters_after_the_limit(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("dead", 1);
        driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 3, args! { tags: "A" });
        let group = cluster.group_with_retry_topic();
        let more = args! { refuse: 99, maxReconsume: 2, threads: 1 };
        let push = driver.push(&cluster.namesrv(), &group, &topic, more);
        let got = push.deliveries(9);
        let dead = format!("%DLQ%{group}");
        cluster.wait_route(&dead);
        let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
        let found = wait_for("three dead letters", 30, || {
            let pulled = pull.fetch(&dead, "broker-a", 0, 0, args! {});
            (pulled.messages.len() == 3).then_some(pulled.messages)
        });
        let mut bodies: Vec<_> = found.iter().map(|message| message.body.as_str()).collect();
        bodies.sort_unstable();
        assert_eq!(bodies, ["m0", "m1", "m2"]);
        for message in &found {
            assert_eq!(message.property("RETRY_TOPIC"), Some(topic.as_str()));
            let id = message.property("ORIGIN_MESSAGE_ID").expect("an original id").to_owned();
            assert!(!id.is_empty());
        }
        assert_eq!(got.len(), 9, "the first delivery and two more of each");
        assert_eq!(push.so_far().len(), 9, "and none after that");
    });
}

fn a_message_can_be_sent_back_by_hand(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("back", 1);
        driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 1, args! {});
        let group = unique("CG");
        let pull = driver.pull(&cluster.namesrv(), &group);
        // The group becomes known with its first heartbeat; until then a send-back is refused.
        let args = args! { name: pull.name(), topic: topic, broker: "broker-a", queue: 0, offset: 0, level: 1 };
        wait_for("the send-back is taken", 30, || driver.try_call("pull.sendback", args.clone()).ok());
        let retry = format!("%RETRY%{group}");
        cluster.wait_route(&retry);
        let found = wait_for("the message is in the retry topic", 30, || {
            let pulled = pull.fetch(&retry, "broker-a", 0, 0, args! {});
            pulled.messages.into_iter().next()
        });
        assert_eq!((found.body.as_str(), found.number("reconsumeTimes")), ("m0", 1));
    });
}

fn broadcast_reaches_all(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("broadcast", 3);
        let group = unique("CG");
        let sent = driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 30, args! {});
        let members: Vec<_> = (0..3)
            .map(|_| driver.push(&cluster.namesrv(), &group, &topic, args! { model: "broadcast", threads: 1 }))
            .collect();
        for member in &members {
            judge(&sent, &[], &member.expect_exactly(30, 200)).assert_exactly_once();
            assert_eq!(member.queues().len(), 3, "each member has all queues");
        }
    });
}

fn orderly_keeps_order_through_refusals(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("orderly", 3);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let sent = producer.send_ok(&topic, 30, args! { mode: "orderly", shards: 3 });
        let more = args! { orderly: true, refuse: 1, suspend: 20 };
        let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, more);
        let got = push.expect(30);
        judge(&sent, &[], &got).assert_exactly_once();
        assert_eq!(got.len(), 60, "each refused once, then taken");
        // A refused message comes again before any other of its queue.
        let mut refused: BTreeMap<i64, &str> = BTreeMap::new();
        for one in &got {
            if let Some(body) = refused.remove(&one.queue) {
                assert_eq!((one.body.as_str(), one.accepted), (body, true));
            } else {
                assert!(!one.accepted);
                refused.insert(one.queue, &one.body);
            }
        }
    });
}

fn a_stopped_consumer_resumes_from_its_offset(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("resume", 4);
        let group = unique("CG");
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let first = producer.send_ok(&topic, 20, args! {});
        let push = driver.push(&cluster.namesrv(), &group, &topic, args! { threads: 1 });
        judge(&first, &[], &push.expect_exactly(20, 200)).assert_exactly_once();
        // Once a second; what is left to the moment of the stop, a broker may miss.
        wait_for("the offsets are committed", 20, || (committed(cluster, &group, &topic, 4) == 20).then_some(()));
        push.stop();
        let missed = producer.send_ok(&topic, 20, args! { from: 20 });
        let push = driver.push(&cluster.namesrv(), &group, &topic, args! { threads: 1 });
        judge(&missed, &[], &push.expect_exactly(20, 500)).assert_exactly_once();
    });
}

/// The sum of a group's offsets over the queues of a topic.
fn committed(cluster: &Cluster, group: &str, topic: &str, queues: i64) -> i64 {
    let one = |queue: i64| {
        let place = json!({ "consumerGroup": group, "topic": topic, "queueId": queue.to_string() });
        let answer = wire::call(&cluster.broker().addr(), 14, &place, b"").expect("an answer");
        answer.header["extFields"]["offset"].as_str().and_then(|offset| offset.parse::<i64>().ok()).unwrap_or(0)
    };
    (0..queues).map(one).sum()
}

fn offsets_by_place_and_by_time(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("offsets", 1);
        let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
        let offset = |what: &str, time| pull.offset(&topic, "broker-a", 0, what, time);
        assert_eq!((offset("min", 0), offset("max", 0)), (0, 0), "an empty queue");
        assert_eq!(offset("earliest", 0), -1, "an empty queue has no earliest message");
        let producer = driver.producer(&cluster.namesrv(), args! {});
        producer.send_ok(&topic, 10, args! {});
        // A message can be pulled a moment after it is acknowledged.
        let stored = |at| {
            wait_for("the message can be pulled", 30, || {
                let pulled = pull.fetch(&topic, "broker-a", 0, at, args! { max: 1 });
                pulled.messages.first().map(|message| message.number("storeTimestamp"))
            })
        };
        let before = stored(9);
        // The clock must have moved on, or the two times are one.
        wait_for("the next millisecond", 5, || (now_ms() > u64::try_from(before).ok()? + 1).then_some(()));
        producer.send_ok(&topic, 10, args! { from: 10 });
        let last = stored(19);
        assert_eq!((offset("min", 0), offset("max", 0)), (0, 20));
        assert_eq!(offset("earliest", 0), stored(0));
        assert_eq!(offset("time", stored(10)), 10, "the first at or after that time");
        assert_eq!(offset("time", before + 1), 10);
        assert_eq!(offset("time", 1000), 0, "a time before all");
        let after = offset("time", last + 3_600_000);
        assert!((19..=20).contains(&after), "a time after all: {after}");
        wait_for("the commit is taken", 30, || pull.try_commit(&topic, "broker-a", 0, 13));
        assert_eq!(offset("committed", 0), 13);
    });
}

fn two_groups_have_all_each(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("groups", 2);
        let groups: Vec<_> =
            (0..2).map(|_| driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { threads: 1 })).collect();
        let sent = driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 50, args! { mode: "async" });
        for group in &groups {
            judge(&sent, &[], &group.expect_exactly(50, 200)).assert_exactly_once();
        }
    });
}

fn a_new_group_may_start_at_the_end(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("fromlast", 1);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        producer.send_ok(&topic, 10, args! { body: "old" });
        let group = unique("CG");
        // A new group on a young topic starts at its beginning whatever it asks for, as RocketMQ has it. So this one is
        // told where to stand before it has members, by requests of an operator's tool.
        let addr = cluster.broker().addr();
        let made = wire::call(&addr, 200, &json!({}), json!({ "groupName": group }).to_string().as_bytes());
        assert_eq!(made.expect("an answer").header["code"], 0);
        let place = json!({ "consumerGroup": group, "topic": topic, "queueId": "0", "commitOffset": "10" });
        assert_eq!(wire::call(&addr, 15, &place, b"").expect("an answer").header["code"], 0);
        let push = driver.push(&cluster.namesrv(), &group, &topic, args! { from: "last", threads: 1 });
        let sent = producer.send_ok(&topic, 10, args! { body: "new" });
        judge(&sent, &[], &push.expect_exactly(10, 300)).assert_exactly_once();
    });
}
