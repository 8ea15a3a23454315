//! Consumer groups that grow and shrink, with messages coming all the time.

use it::clock::{Deadline, wait_for};
use it::history::{Violation, judge};
use it::{Cluster, Push, args, clients, each, mix, on_both, unique};
use std::collections::BTreeSet;

on_both! { shared: one_four_two_members, members_of_different_versions_share; }

/// Waits until each member has `count` queues, none has another's, and all `total` have an owner.
fn shared_out(members: &[&Push<'_>], total: usize) {
    let count = total / members.len();
    wait_for(&format!("{count} queues for each of {} members", members.len()), 60, || {
        let queues: Vec<Vec<String>> = members.iter().map(|member| member.queues()).collect();
        let all: BTreeSet<&String> = queues.iter().flatten().collect();
        (all.len() == total && queues.iter().all(|own| own.len() == count)).then_some(())
    });
}

fn one_four_two_members(cluster: &Cluster) {
    each(&mix(), |driver| {
        let topic = cluster.topic("rebalance", 8);
        let group = unique("CG");
        let start = || driver.push(&cluster.namesrv(), &group, &topic, args! {});
        let producer = driver.producer(&cluster.namesrv(), args! {});
        producer.start_load(&topic, args! { pause: 20 });
        let first = start();
        shared_out(&[&first], 8);
        let (second, third, fourth) = (start(), start(), start());
        shared_out(&[&first, &second, &third, &fourth], 8);
        let mut got = second.stop();
        got.extend(third.stop());
        shared_out(&[&first, &fourth], 8);
        let (acknowledged, failed) = producer.stop_load();
        assert!(acknowledged.len() > 100, "a load: {}", acknowledged.len());
        // Members take over from the last committed offset: what was under way comes again, in any order.
        let bad = || {
            let all: Vec<_> = got.iter().cloned().chain(first.so_far()).chain(fourth.so_far()).collect();
            let verdict = judge(&acknowledged, &failed, &all);
            verdict.violations.into_iter().filter(|one| !matches!(one, Violation::Disorder(..))).collect::<Vec<_>>()
        };
        let deadline = Deadline::in_seconds(30);
        while !bad().is_empty() {
            assert!(!deadline.passed(), "not every message is consumed by someone: {:?}", bad());
        }
    });
}

fn members_of_different_versions_share(cluster: &Cluster) {
    let drivers = clients();
    let topic = cluster.topic("mixed", drivers.len().try_into().expect("few"));
    let group = unique("CG");
    let members: Vec<_> =
        drivers.iter().map(|driver| driver.push(&cluster.namesrv(), &group, &topic, args! { threads: 1 })).collect();
    shared_out(&members.iter().collect::<Vec<_>>(), drivers.len());
    let mut sent = Vec::new();
    for driver in &drivers {
        let producer = driver.producer(&cluster.namesrv(), args! {});
        sent.extend(producer.send_ok(&topic, 12, args! { body: format!("{}-", driver.name) }));
    }
    let got = wait_for("all is consumed", 30, || {
        let got: Vec<_> = members.iter().flat_map(Push::so_far).collect();
        (got.len() >= sent.len()).then_some(got)
    });
    judge(&sent, &[], &got).assert_exactly_once();
}
