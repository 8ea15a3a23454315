//! RocketMQ's own quick start, as Apache published it: the Producer and Consumer of rocketmq-example 4.5.2.

use it::clock::wait_for;
use it::process::{Process, run};
use it::{Cluster, jvm, on_both, scratch};
use std::collections::BTreeSet;
use std::process::Command;

on_both! { shared: thousand_sent_and_each_received_once; }

fn example(program: &str, cluster: &Cluster) -> Command {
    let dir = scratch::dir(program);
    let properties = [
        ("user.home", dir.display().to_string()),
        ("java.io.tmpdir", dir.display().to_string()),
        ("log.file", dir.join("client.log").display().to_string()),
    ];
    let main = format!("org.apache.rocketmq.example.quickstart.{program}");
    let mut command = jvm::command("4.5.2", &main, "driver", false, &properties);
    command.env("NAMESRV_ADDR", cluster.namesrv()).current_dir(dir);
    command
}

fn thousand_sent_and_each_received_once(cluster: &Cluster) {
    let printed = run(example("Producer", cluster));
    let ids: BTreeSet<&str> = printed
        .lines()
        .filter(|line| line.starts_with("SendResult [sendStatus=SEND_OK"))
        .filter_map(|line| between(line, "msgId=", ","))
        .collect();
    assert_eq!(ids.len(), 1000, "of 1,000 sends, in:\n{printed}");
    cluster.wait_route("TopicTest");

    let log = scratch::dir("consumed").join("out.log");
    let consumer = Process::start("quickstart.Consumer", example("Consumer", cluster), &log);
    let received = |output: &str| -> Vec<String> {
        let lines = output.lines().filter(|line| line.contains("Receive New Messages:"));
        lines.filter_map(|line| between(line, "UNIQ_KEY=", ",")).map(str::to_owned).collect()
    };
    wait_for("1,000 received", 90, || (received(&consumer.output()).len() >= 1000).then_some(()));
    // A clean stop: whatever came twice would be in the output by then.
    consumer.stop(20);
    let all = received(&consumer.output());
    assert_eq!(all.len(), 1000, "deliveries");
    let each: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(each, ids, "each once");
}

fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    line.split_once(before)?.1.split(after).next()
}
