//! Apache's Go client, rocketmq-client-go/v2: producers, push and pull consumers, its admin client, and Go beside Java.

use it::driver::{Serialize, Version};
use it::history::judge;
use it::{Cluster, args, go, java, on_both, unique};
use serde_json::Value;
use std::collections::BTreeMap;

on_both! {
    shared: go_sends_of_every_kind, go_push_with_tags, go_push_in_order, go_broadcast, go_retry, go_pull, go_admin,
        go_and_the_jvm_read_each_other;
}

fn go_sends_of_every_kind(cluster: &Cluster) {
    let topic = cluster.topic("go_send", 4);
    let producer = go().producer(&cluster.namesrv(), args! {});
    let mut sent = producer.send_ok(&topic, 20, args! { tags: "A", keys: "k-{}", "p.colour": "red" });
    sent.extend(producer.send_ok(&topic, 50, args! { mode: "async", body: "async" }));
    producer.send(&topic, 10, args! { mode: "oneway", body: "oneway" });
    producer.send_ok(&topic, 10, args! { mode: "batch", body: "batch" });
    producer.send_ok(&topic, 1, args! { size: 200000, body: "large" });
    let push = go().push(&cluster.namesrv(), &unique("CG"), &topic, args! {});
    let got = push.expect_exactly(91, 300);
    for one in &sent {
        let message = got.iter().find(|message| message.body == one.body).expect("consumed");
        assert_eq!((message.queue, message.offset), (one.queue, one.offset), "{one:?}");
    }
    let first = got.iter().find(|message| message.body == "m0").expect("consumed");
    assert_eq!((first.text("tags"), first.text("keys")), ("A", "k-m0"));
    assert_eq!(first.property("colour"), Some("red"));
    let large = got.iter().find(|message| message.body == "large0").expect("consumed");
    assert_eq!(large.number("bodyLength"), 200_000);
}

fn go_push_with_tags(cluster: &Cluster) {
    let topic = cluster.topic("go_tags", 4);
    let producer = go().producer(&cluster.namesrv(), args! {});
    let mut wanted = producer.send_ok(&topic, 10, args! { tags: "A", body: "A" });
    producer.send_ok(&topic, 10, args! { tags: "B", body: "B" });
    wanted.extend(producer.send_ok(&topic, 10, args! { tags: "C", body: "C" }));
    let push = go().push(&cluster.namesrv(), &unique("CG"), &topic, args! { sub: "A || C", threads: 1 });
    let verdict = judge(&wanted, &[], &push.expect_exactly(20, 300));
    assert_eq!((verdict.duplicates, verdict.violations.len()), (0, 0), "{verdict:?}");
}

fn go_push_in_order(cluster: &Cluster) {
    let topic = cluster.topic("go_order", 2);
    let sent = java(Version::V5_5_0, Serialize::Json).producer(&cluster.namesrv(), args! {}).send_ok(
        &topic,
        20,
        args! { mode: "orderly", shards: 2 },
    );
    let push = go().push(&cluster.namesrv(), &unique("CG"), &topic, args! { orderly: true });
    judge(&sent, &[], &push.expect_exactly(20, 300)).assert_exactly_once();
}

fn go_broadcast(cluster: &Cluster) {
    let topic = cluster.topic("go_broadcast", 2);
    let group = unique("CG");
    let members: Vec<_> =
        (0..2).map(|_| go().push(&cluster.namesrv(), &group, &topic, args! { model: "broadcast" })).collect();
    go().producer(&cluster.namesrv(), args! {}).send_ok(&topic, 20, args! {});
    for member in &members {
        member.expect_exactly(20, 200);
    }
}

fn go_retry(cluster: &Cluster) {
    let topic = cluster.topic("go_retry", 1);
    go().producer(&cluster.namesrv(), args! {}).send_ok(&topic, 3, args! {});
    let push = go().push(&cluster.namesrv(), &unique("CG"), &topic, args! { refuse: 2 });
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for one in push.deliveries(9) {
        times.entry(one.body.clone()).or_default().push(one.number("reconsumeTimes"));
    }
    assert_eq!(times.into_values().collect::<Vec<_>>(), [[0, 1, 2], [0, 1, 2], [0, 1, 2]]);
}

fn go_pull(cluster: &Cluster) {
    let topic = cluster.topic("go_pull", 2);
    let sent = go().producer(&cluster.namesrv(), args! {}).send_ok(&topic, 30, args! {});
    let name = unique("gopull");
    go().call("pull.start", args! { name: name, group: unique("CG"), namesrv: cluster.namesrv(), topic: topic });
    let polled = go().call("pull.poll", args! { name: name, count: 30 });
    assert_eq!(polled["complete"], true, "{polled}");
    let got = it::client::received(&polled["messages"]);
    for one in &sent {
        assert!(got.iter().any(|message| message.body == one.body && message.offset == one.offset), "{one:?}");
    }
    let fetched = go().call(
        "pull.fetch",
        args! { name: name, topic: topic, broker: "broker-a", queue: sent[0].queue, offset: sent[0].offset, max: 1 },
    );
    assert_eq!(fetched["status"], "FOUND");
    assert_eq!(fetched["messages"][0]["body"], "m0");
    go().call("pull.stop", args! { name: name });
}

fn go_admin(cluster: &Cluster) {
    let topic = unique("go_admin");
    let (namesrv, addr) = (cluster.namesrv(), cluster.broker().addr());
    go().call("admin.create", args! { namesrv: namesrv, topic: topic, addr: addr, queues: 3 });
    cluster.wait_route(&topic);
    let topics = || go().call("admin.topics", args! { namesrv: namesrv })["topics"].clone();
    let has = |list: &Value| list.as_array().is_some_and(|all| all.iter().any(|one| one == topic.as_str()));
    assert!(has(&topics()), "{}", topics());
    go().call("admin.delete", args! { namesrv: namesrv, topic: topic, addr: addr });
    it::clock::wait_for("the topic is gone", 30, || (!has(&topics())).then_some(()));
}

fn go_and_the_jvm_read_each_other(cluster: &Cluster) {
    for serialize in [Serialize::Json, Serialize::RocketMq] {
        let jvm = java(Version::V4_9_7, serialize);
        let topic = cluster.topic("go_java", 2);
        jvm.producer(&cluster.namesrv(), args! {}).send_ok(
            &topic,
            10,
            args! { body: "java", size: 9000, tags: "TagG" },
        );
        go().producer(&cluster.namesrv(), args! {}).send_ok(&topic, 10, args! { body: "go", size: 9000, tags: "TagG" });
        for driver in [jvm, go()] {
            let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { sub: "TagG" });
            for message in push.expect_exactly(20, 200) {
                assert_eq!((message.number("bodyLength"), message.text("tags")), (9000, "TagG"), "{}", message.body);
            }
        }
    }
}
