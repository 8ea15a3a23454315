//! Deaths: a nameserver of two, a broker under load. Nothing acknowledged is lost, order in each queue is kept.

use it::clock::wait_for;
use it::cluster::ClusterOptions;
use it::driver::{Serialize, Version};
use it::history::judge;
use it::{Cluster, Kind, Launch, args, java, on_both, unique};

on_both! { own: a_nameserver_dies, a_broker_is_killed_under_load, a_broker_restarts_cleanly_under_load; }

fn two_by_two(kind: Kind) -> Cluster {
    let options = ClusterOptions { nameservers: 2, brokers: 2, ..ClusterOptions::default() };
    Cluster::start(Launch::of(kind), &options)
}

/// Clients go on when one nameserver of two is gone, and new ones start; a broker's route goes on being known.
fn a_nameserver_dies(kind: Kind) {
    let cluster = two_by_two(kind);
    let driver = java(Version::V5_5_0, Serialize::Json);
    let topic = cluster.topic("ns", 2);
    let producer = driver.producer(&cluster.namesrv(), args! { poll: 1000 });
    let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { poll: 1000, threads: 1 });
    let mut sent = producer.send_ok(&topic, 20, args! { body: "before" });
    push.expect(20);
    cluster.nameservers[0].kill9();
    sent.extend(producer.send_ok(&topic, 20, args! { body: "after" }));
    // Clients and topics that come only now: the brokers tell the nameserver that is left.
    let late = java(Version::V4_9_7, Serialize::RocketMq);
    let new_topic = cluster.topic("ns_new", 2);
    let late_producer = late.producer(&cluster.namesrv(), args! {});
    late_producer.send_ok(&new_topic, 8, args! {});
    late.push(&cluster.namesrv(), &unique("CG"), &new_topic, args! {}).expect_exactly(8, 200);
    sent.extend(late_producer.send_ok(&topic, 20, args! { body: "late" }));
    judge(&sent, &[], &push.expect(60)).assert_good();
    let brokers =
        |all: &[it::Sent]| all.iter().map(|one| one.broker.clone()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(brokers(&sent).len(), 2, "both brokers take part");
    // The first comes back, and hears of every broker by itself.
    cluster.nameservers[0].boot();
    for broker in &cluster.brokers {
        broker.wait_registered(&cluster.nameservers[0]);
    }
    cluster.assert_quiet();
}

fn a_broker_is_killed_under_load(kind: Kind) {
    under_load(kind, 2, it::Broker::kill9);
}

fn a_broker_restarts_cleanly_under_load(kind: Kind) {
    under_load(kind, 1, it::Broker::stop);
}

/// Two brokers under load from three client versions; the first goes down by `end` and comes back, `rounds` times.
fn under_load(kind: Kind, rounds: usize, end: fn(&it::Broker)) {
    let cluster = two_by_two(kind);
    let topic = cluster.topic("load", 2);
    let namesrv = cluster.namesrv();
    let drivers = Version::ALL.map(|version| java(version, Serialize::Json));
    let producers: Vec<_> = drivers.iter().map(|driver| driver.producer(&namesrv, args! { retries: 0 })).collect();
    let consumer = drivers[2].push(&namesrv, &unique("CG"), &topic, args! { orderly: true, poll: 1000 });
    for (producer, version) in producers.iter().zip(Version::ALL) {
        producer.start_load(&topic, args! { body: format!("{}-", version.name()) });
    }
    let progress = |what: &str| {
        for producer in &producers {
            let (before, _) = producer.load_counts();
            wait_for(&format!("the load goes on {what}"), 60, || {
                (producer.load_counts().0 > before + 200).then_some(())
            });
        }
    };
    for _ in 0..rounds {
        progress("with both brokers");
        end(&cluster.brokers[0]);
        progress("with the other broker");
        cluster.brokers[0].boot();
        cluster.brokers[0].wait_registered(&cluster.nameservers[0]);
    }
    // Both brokers take messages again before the load ends.
    progress("after the last restart");
    let mut acknowledged = Vec::new();
    let mut unsure = Vec::new();
    for producer in &producers {
        let (taken, failed) = producer.stop_load();
        assert!(!failed.is_empty(), "the death was felt");
        acknowledged.extend(taken);
        unsure.extend(failed);
    }
    let last = |broker: &str| acknowledged.iter().filter(|one| one.broker == broker).map(|one| one.offset).max();
    assert!(last("broker-a").is_some() && last("broker-b").is_some());
    let got = consumer.expect(acknowledged.len());
    let got = wait_for("every acknowledged message is consumed", 60, || {
        let all = if got.len() >= acknowledged.len() { consumer.so_far() } else { got.clone() };
        judge(&acknowledged, &unsure, &all).violations.is_empty().then_some(all)
    });
    judge(&acknowledged, &unsure, &got).assert_good();
    cluster.assert_quiet();
}
