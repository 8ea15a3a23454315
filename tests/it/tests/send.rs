//! Sending: every kind of send of every client, each stored and consumed once, where the broker said.

use it::history::judge;
use it::{Cluster, args, clients, on_both, unique};

on_both! { shared: sync_sends; }

fn sync_sends(cluster: &Cluster) {
    for driver in clients() {
        let topic = unique("sync");
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let sent = producer.send_ok(&topic, 40, args! { tags: "A", keys: "k-{}", "p.colour": "red" });
        let push = driver.push(&cluster.namesrv(), &unique("CG"), &topic, args! { threads: 1 });
        let got = push.expect_exactly(40, 300);
        judge(&sent, &[], &got).assert_exactly_once();
    }
}
