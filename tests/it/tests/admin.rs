//! Topics, groups, offsets and configuration as operators handle them: Apache's own mqadmin, 4.9.7 and 5.5.0.

use it::clock::{now_ms, wait_for};
use it::driver::{Driver, Serialize, Version};
use it::{Cluster, args, each, java, on_both, unique};

on_both! {
    shared: topics_come_change_and_go, lists_and_routes, cluster_and_broker_status, broker_config_is_read_and_changed,
        groups_come_and_go, progress_of_a_group, connections_are_listed, messages_are_found, offsets_are_reset_by_time,
        write_permission_is_wiped, kv_config, namesrv_config;
}

fn tools() -> [&'static Driver; 2] {
    [java(Version::V4_9_7, Serialize::Json), java(Version::V5_5_0, Serialize::RocketMq)]
}

/// Runs a command of mqadmin with `-n`.
fn mqadmin(cluster: &Cluster, driver: &Driver, line: &[&str]) -> String {
    let namesrv = cluster.namesrv();
    driver.mqadmin(&[line, &["-n", &namesrv]].concat())
}

/// Runs a command until what it prints has every one of `texts`.
fn shows(cluster: &Cluster, driver: &Driver, line: &[&str], texts: &[&str]) -> String {
    let mut last = String::new();
    let deadline = it::clock::Deadline::in_seconds(30);
    while !deadline.passed() {
        last = mqadmin(cluster, driver, line);
        if texts.iter().all(|text| last.contains(text)) {
            return last;
        }
    }
    panic!("{} mqadmin {line:?} does not show {texts:?} but:\n{last}", driver.name);
}

fn topics_come_change_and_go(cluster: &Cluster) {
    each(&tools(), |driver| {
        let topic = unique("made");
        let broker = cluster.broker().addr();
        let made = mqadmin(cluster, driver, &["updateTopic", "-b", &broker, "-t", &topic, "-r", "3", "-w", "3"]);
        assert!(made.contains(&format!("create topic to {broker} success.")), "{made}");
        shows(
            cluster,
            driver,
            &["topicRoute", "-t", &topic],
            &["\"perm\":6", "\"readQueueNums\":3", "\"writeQueueNums\":3"],
        );
        driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 9, args! {});
        let status = mqadmin(cluster, driver, &["topicStatus", "-t", &topic]);
        for queue in 0..3 {
            let line = status.lines().find(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                words.starts_with(&["broker-a", &queue.to_string()])
            });
            let words: Vec<_> =
                line.unwrap_or_else(|| panic!("no queue {queue}: {status}")).split_whitespace().collect();
            assert_eq!(words[2..4], ["0", "3"], "min and max offset: {status}");
        }
        let changed = mqadmin(cluster, driver, &["updateTopicPerm", "-b", &broker, "-t", &topic, "-p", "4"]);
        assert!(changed.contains("from 6 to 4"), "{changed}");
        shows(cluster, driver, &["topicRoute", "-t", &topic], &["\"perm\":4"]);
        // Wider, by the name of the cluster.
        let wider = &["updateTopic", "-c", "DefaultCluster", "-t", &topic, "-r", "6", "-w", "6"];
        let wider = mqadmin(cluster, driver, wider);
        assert!(wider.contains(&format!("create topic to {broker} success.")), "{wider}");
        shows(cluster, driver, &["topicRoute", "-t", &topic], &["\"readQueueNums\":6"]);
        let gone = mqadmin(cluster, driver, &["deleteTopic", "-t", &topic, "-c", "DefaultCluster"]);
        assert!(gone.contains(&format!("delete topic [{topic}] from cluster [DefaultCluster] success.")), "{gone}");
        assert!(gone.contains(&format!("delete topic [{topic}] from NameServer success.")), "{gone}");
        wait_for("the topic is in no list", 30, || {
            let list = mqadmin(cluster, driver, &["topicList"]);
            (!list.lines().any(|line| line.trim() == topic)).then_some(())
        });
        // The same name again starts empty.
        mqadmin(cluster, driver, &["updateTopic", "-b", &broker, "-t", &topic, "-r", "1", "-w", "1"]);
        cluster.wait_route(&topic);
        let pull = driver.pull(&cluster.namesrv(), &unique("CG"));
        wait_for("an empty queue", 10, || (pull.offset(&topic, "broker-a", 0, "max", 0) == 0).then_some(()));
    });
}

fn lists_and_routes(cluster: &Cluster) {
    let topic = cluster.topic("listed", 2);
    each(&tools(), |driver| {
        shows(
            cluster,
            driver,
            &["topicList"],
            &[&topic, "TBW102", "broker-a", "DefaultCluster", "SCHEDULE_TOPIC_XXXX"],
        );
        shows(cluster, driver, &["topicList", "-c"], &["#Cluster Name", &topic]);
        shows(cluster, driver, &["topicClusterList", "-t", &topic], &["DefaultCluster"]);
        let addr = cluster.broker().addr();
        shows(cluster, driver, &["topicRoute", "-t", &topic], &[&addr, "\"brokerName\":\"broker-a\""]);
        let none = mqadmin(cluster, driver, &["topicRoute", "-t", "NoSuchTopic"]);
        assert!(none.contains("No topic route info in name server for the topic: NoSuchTopic"), "{none}");
    });
}

fn cluster_and_broker_status(cluster: &Cluster) {
    each(&tools(), |driver| {
        let addr = cluster.broker().addr();
        shows(cluster, driver, &["clusterList"], &["#Cluster Name", "DefaultCluster", "broker-a", &addr]);
        shows(cluster, driver, &["clusterList", "-m"], &["#InTotalYest", "broker-a"]);
        let status = mqadmin(cluster, driver, &["brokerStatus", "-b", &addr]);
        for key in
            ["bootTimestamp", "brokerVersionDesc", "commitLogMaxOffset", "putTps", "msgPutTotalTodayNow", "runtime"]
        {
            assert!(status.lines().any(|line| line.starts_with(key)), "no {key} in:\n{status}");
        }
        shows(cluster, driver, &["brokerStatus", "-c", "DefaultCluster"], &[&addr, "bootTimestamp"]);
    });
}

fn broker_config_is_read_and_changed(cluster: &Cluster) {
    let addr = cluster.broker().addr();
    for (driver, value) in tools().into_iter().zip(["7777", "8888"]) {
        let config = mqadmin(cluster, driver, &["getBrokerConfig", "-b", &addr]);
        for (key, value) in
            [("brokerName", "broker-a"), ("brokerClusterName", "DefaultCluster"), ("brokerIP1", "127.0.0.1")]
        {
            let line = config.lines().find(|line| line.split_whitespace().next() == Some(key));
            assert!(line.is_some_and(|line| line.trim_end().ends_with(value)), "{key} in:\n{config}");
        }
        let change = ["updateBrokerConfig", "-b", &addr, "-k", "flushConsumerOffsetInterval", "-v", value];
        let changed = mqadmin(cluster, driver, &change);
        assert!(changed.contains(&format!("update broker config success, {addr}")), "{changed}");
        let config = mqadmin(cluster, driver, &["getBrokerConfig", "-b", &addr]);
        let line = config.lines().find(|line| line.starts_with("flushConsumerOffsetInterval"));
        assert!(line.is_some_and(|line| line.trim_end().ends_with(value)), "{line:?}");
    }
}

fn groups_come_and_go(cluster: &Cluster) {
    each(&tools(), |driver| {
        let group = unique("AG");
        let addr = cluster.broker().addr();
        let made = mqadmin(cluster, driver, &["updateSubGroup", "-b", &addr, "-g", &group, "-r", "5"]);
        assert!(made.contains(&format!("create subscription group to {addr} success.")), "{made}");
        let retries = || {
            let config = mqadmin(cluster, driver, &["getConsumerConfig", "-g", &group]);
            let line = config.lines().find(|line| line.contains("retryMaxTimes")).map(str::to_owned);
            line.and_then(|line| {
                line.split_whitespace().last().and_then(|value| value.trim_matches(',').parse::<u32>().ok())
            })
        };
        assert_eq!(retries(), Some(5));
        let gone = mqadmin(cluster, driver, &["deleteSubGroup", "-b", &addr, "-g", &group]);
        assert!(gone.contains(&format!("delete subscription group [{group}] from broker [{addr}] success.")), "{gone}");
        // Asking for an unknown group makes it anew, with the usual 16.
        wait_for("the group's configuration is gone", 10, || (retries() != Some(5)).then_some(()));
        // A group that may not consume gets nothing, and is told so.
        let topic = cluster.topic("barred", 1);
        driver.producer(&cluster.namesrv(), args! {}).send_ok(&topic, 1, args! {});
        mqadmin(cluster, driver, &["updateSubGroup", "-b", &addr, "-g", &group, "-s", "false"]);
        let pull = driver.pull(&cluster.namesrv(), &group);
        let barred = args! { name: pull.name(), topic: topic, broker: "broker-a", queue: 0, offset: 0 };
        let failure = driver.try_call("pull.fetch", barred).expect_err("the group is barred");
        assert_eq!(failure.code, Some(16), "{}", failure.error);
    });
}

fn progress_of_a_group(cluster: &Cluster) {
    each(&tools(), |driver| {
        let topic = cluster.topic("progress", 2);
        let group = unique("CG");
        let producer = driver.producer(&cluster.namesrv(), args! {});
        producer.send_ok(&topic, 10, args! { mode: "orderly", shards: 2 });
        let push = driver.push(&cluster.namesrv(), &group, &topic, args! { threads: 1 });
        push.expect(10);
        push.stop();
        producer.send_ok(&topic, 6, args! { mode: "orderly", shards: 2 });
        let shown = shows(cluster, driver, &["consumerProgress", "-g", &group], &["Diff Total: 6"]);
        let line = shown.lines().find(|line| line.starts_with(&topic)).expect("a line of the topic");
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[1..5], ["broker-a", words[2], "8", "5"], "broker and consumer offset: {line}");
        shows(cluster, driver, &["consumerProgress"], &[&group]);
    });
}

fn connections_are_listed(cluster: &Cluster) {
    each(&tools(), |driver| {
        let topic = cluster.topic("connections", 2);
        let group = unique("CG");
        let producer = driver.producer(&cluster.namesrv(), args! {});
        producer.send_ok(&topic, 2, args! {});
        let push = driver.push(&cluster.namesrv(), &group, &topic, args! { sub: "A || B" });
        shows(
            cluster,
            driver,
            &["consumerConnection", "-g", &group],
            &["JAVA", &topic, "A || B", "ConsumeType: CONSUME_PASSIVELY", "MessageModel: CLUSTERING"],
        );
        shows(cluster, driver, &["consumerStatus", "-g", &group], &["Rebalance OK"]);
        shows(cluster, driver, &["producerConnection", "-g", &producer.group, "-t", &topic], &["JAVA", "127.0.0.1"]);
        push.stop();
        let none = mqadmin(cluster, driver, &["consumerConnection", "-g", &group]);
        assert!(none.contains("CODE: 206"), "{none}");
    });
}

fn messages_are_found(cluster: &Cluster) {
    each(&tools(), |driver| {
        let topic = cluster.topic("found", 2);
        let key = unique("key");
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let sent = producer.send_ok(&topic, 3, args! { tags: "TagF", keys: format!("{key} all-{{}}") });
        let (id, offset_id) = (&sent[0].msg_id, &sent[0].offset_msg_id);
        let by_id = ["queryMsgById", "-i", offset_id, "-t", &topic];
        // 4.9 does not want to know the topic.
        let by_id = if driver.name.contains("4.9") { &by_id[..3] } else { &by_id[..] };
        shows(cluster, driver, by_id, &[&topic, "TagF", &key, "OffsetID"]);
        let by_key = shows(cluster, driver, &["queryMsgByKey", "-t", &topic, "-k", &key], &[id]);
        for one in &sent {
            assert!(by_key.contains(&one.msg_id), "{by_key}");
        }
        let one_key = mqadmin(cluster, driver, &["queryMsgByKey", "-t", &topic, "-k", "all-m1"]);
        assert!(one_key.contains(&sent[1].msg_id) && !one_key.contains(id.as_str()), "{one_key}");
        shows(cluster, driver, &["queryMsgByUniqueKey", "-i", id, "-t", &topic], &[&topic, "TagF"]);
        let queue = sent[0].queue.to_string();
        let at = ["queryMsgByOffset", "-t", &topic, "-b", "broker-a", "-i", &queue, "-o", "0"];
        shows(cluster, driver, &at, &[&topic, "TagF"]);
    });
}

fn offsets_are_reset_by_time(cluster: &Cluster) {
    each(&tools(), |driver| {
        let topic = cluster.topic("reset", 2);
        let group = unique("CG");
        let producer = driver.producer(&cluster.namesrv(), args! {});
        producer.send_ok(&topic, 10, args! {});
        let push = driver.push(&cluster.namesrv(), &group, &topic, args! { threads: 1 });
        push.expect(10);
        // Back to the beginning while the consumer is there: it has everything a second time.
        let line = ["resetOffsetByTime", "-g", &group, "-t", &topic, "-s", "1000", "-f", "true"];
        shows(cluster, driver, &line, &["broker-a"]);
        let got = push.deliveries(20);
        assert_eq!(got.len(), 20);
        push.stop();
        // And when nobody is there, to a time before any message.
        let line =
            ["resetOffsetByTime", "-g", &group, "-t", &topic, "-s", &(now_ms() - 3_600_000).to_string(), "-f", "true"];
        mqadmin(cluster, driver, &line);
        shows(cluster, driver, &["consumerProgress", "-g", &group], &["Diff Total: 10"]);
    });
}

fn write_permission_is_wiped(cluster: &Cluster) {
    // Registration gives the permission back (every 30 s, or with any change of topics), so one tool at a time.
    for driver in tools() {
        let wiped = mqadmin(cluster, driver, &["wipeWritePerm", "-b", "broker-a"]);
        assert!(wiped.contains("wipe write perm of broker[broker-a] in name server"), "{wiped}");
        let count = wiped.rsplit(',').next().and_then(|last| last.trim().parse::<u32>().ok());
        assert!(count.is_some_and(|count| count > 0), "{wiped}");
        let added = mqadmin(cluster, driver, &["addWritePerm", "-b", "broker-a"]);
        assert!(added.contains("add write perm of broker[broker-a] in name server"), "{added}");
    }
    // Other cases go on sending: what was wiped is given back before they notice.
    let topic = cluster.topic("writable", 1);
    cluster.wait_route(&topic);
}

fn kv_config(cluster: &Cluster) {
    each(&tools(), |driver| {
        let key = unique("key");
        let put = mqadmin(cluster, driver, &["updateKvConfig", "-s", "space", "-k", &key, "-v", "größe"]);
        assert!(put.contains("create or update kv config to namespace success"), "{put}");
        let answer = it::wire::call(
            &cluster.nameservers[0].addr(),
            101,
            &serde_json::json!({ "namespace": "space", "key": key }),
            b"",
        );
        assert_eq!(answer.expect("an answer").header["extFields"]["value"], "größe");
        let gone = mqadmin(cluster, driver, &["deleteKvConfig", "-s", "space", "-k", &key]);
        assert!(gone.contains("delete kv config from namespace success"), "{gone}");
        // A topic's order configuration comes with its route.
        let topic = cluster.topic("kvorder", 2);
        mqadmin(cluster, driver, &["updateOrderConf", "-t", &topic, "-v", "broker-a:2", "-m", "put"]);
        shows(cluster, driver, &["updateOrderConf", "-t", &topic, "-m", "get"], &["broker-a:2"]);
        shows(cluster, driver, &["updateOrderConf", "-t", &topic, "-m", "delete"], &[&topic]);
    });
}

fn namesrv_config(cluster: &Cluster) {
    for driver in tools() {
        shows(cluster, driver, &["getNamesrvConfig"], &["listenPort", "kvConfigPath"]);
        let changed =
            mqadmin(cluster, driver, &["updateNamesrvConfig", "-k", "returnOrderTopicConfigToBroker", "-v", "true"]);
        assert!(changed.contains("update name server config success"), "{changed}");
        let config = mqadmin(cluster, driver, &["getNamesrvConfig"]);
        assert!(
            config.lines().any(|line| line.contains("returnOrderTopicConfigToBroker") && line.contains("true")),
            "{config}"
        );
    }
}
