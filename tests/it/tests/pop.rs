//! POP: pop, acknowledge, come again; order, tags, waiting, assignment by the broker.

use it::clock::{now_ms, wait_for};
use it::driver::{Serialize, Version};
use it::pop::{
    Answer, BATCH_ACK, NOTIFICATION, PEEK_MESSAGE, POLLING_INFO, POP_MESSAGE, Popped, Popper, call, call_with,
    committed, fill, polling, pop_time, popper, send, sorted,
};
use it::{Cluster, Driver, Received, args, java, on_both, unique, wire};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const CONSUMER_SEND_MSG_BACK: i32 = 36;
const QUERY_ASSIGNMENT: i32 = 400;
const SET_REQUEST_MODE: i32 = 401;

on_both! {
    shared: every_field_of_an_answer, what_is_not_acknowledged_comes_again, receipts_may_be_exchanged,
        several_are_acknowledged_together, in_order_until_acknowledged, pops_wait_for_messages, each_message_goes_to_one, tags_are_obeyed,
        peeks_and_notifications_take_nothing, what_makes_no_sense_is_refused, a_dead_letter_by_hand,
        the_java_client_pops, a_group_goes_from_push_to_pop_and_back, queues_are_assigned_by_the_broker;
}

/// The fields that do not depend on time.
fn fixed(answer: &Answer) -> BTreeMap<&str, &str> {
    let fields = answer.fields.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    fields.filter(|(key, _)| !["popTime", "reviveQid"].contains(key)).collect()
}

fn every_field_of_an_answer(cluster: &Cluster) {
    let popper = popper(cluster, "fields", 1);
    fill(&popper, 5, 1);
    let before = i64::try_from(now_ms()).expect("a time");
    let answer = wait_for("the messages can be popped", 10, || {
        let answer = popper.pop(&json!({ "maxMsgNums": "3", "queueId": "0" }));
        (answer.code == 0).then_some(answer)
    });
    assert_eq!((answer.remark.as_str(), answer.bodies()), ("FOUND", vec!["m0", "m1", "m2"]));
    let expect =
        [("invisibleTime", "60000"), ("msgOffsetInfo", "0 0 0,1,2"), ("restNum", "2"), ("startOffsetInfo", "0 0 0")];
    assert_eq!(fixed(&answer), expect.into());
    assert!((before..before + 60_000).contains(&answer.number("popTime")));
    assert!((0..8).contains(&answer.number("reviveQid")));
    assert!(answer.messages.iter().all(|message| !message.properties.contains_key("POP_CK")), "{answer:?}");
    // The next pop goes on behind, and another group begins anew, at the end where it wants to.
    let next = popper.pop(&json!({}));
    let expect =
        [("invisibleTime", "60000"), ("msgOffsetInfo", "0 0 3,4"), ("restNum", "0"), ("startOffsetInfo", "0 0 3")];
    assert_eq!((next.bodies(), fixed(&next)), (vec!["m3", "m4"], expect.into()));
    wait_for("the offset is committed", 10, || (committed(&popper, &popper.topic, 0) == Some(5)).then_some(()));
    let nothing = popper.pop(&json!({}));
    let expect = [("invisibleTime", "60000"), ("msgOffsetInfo", ""), ("restNum", "0"), ("startOffsetInfo", "")];
    assert_eq!((nothing.code, nothing.remark.as_str(), fixed(&nothing)), (210, "NO_MESSAGE_IN_QUEUE", expect.into()));
    // A short queue that is in memory is popped from its beginning in either mode.
    let other = Popper { group: unique("CG"), ..popper };
    assert_eq!(other.pop(&json!({ "initMode": "1" })).messages.len(), 5);
}

fn what_is_not_acknowledged_comes_again(cluster: &Cluster) {
    let popper = popper(cluster, "again", 2);
    fill(&popper, 6, 2);
    let first = popper.expect(6, 10, &json!({ "invisibleTime": "3000" }));
    let popped_at = first.iter().map(pop_time).min().expect("some");
    for message in &first {
        assert_eq!(message.reconsumed, 0);
        if ["m0", "m3"].contains(&message.body.as_str()) {
            assert_eq!(popper.ack(message).code, 0);
        }
    }
    let again = popper.expect(4, 60, &json!({ "invisibleTime": "3000" }));
    let came_at = again.iter().map(pop_time).min().expect("some");
    assert!(came_at >= popped_at + 3000, "came again {} ms after the pop", came_at - popped_at);
    assert_eq!(sorted(&again), ["m1", "m2", "m4", "m5"]);
    for message in &again {
        assert_eq!((message.reconsumed, message.topic.as_str(), message.queue), (1, popper.topic.as_str(), 0));
        let first = first.iter().find(|first| first.body == message.body).expect("it was popped before");
        assert_eq!(message.properties["1ST_POP_TIME"], pop_time(first).to_string());
        assert_eq!(message.properties["ORIGIN_GROUP"], popper.group);
        let receipt: Vec<_> = message.receipt.split(' ').collect();
        assert_eq!((receipt.len(), receipt[4], receipt[5], receipt[6]), (8, "1", "broker-a", "0"));
        if message.body != "m5" {
            assert_eq!(popper.ack(message).code, 0);
        }
    }
    let last = popper.expect(1, 60, &json!({}));
    assert_eq!((last[0].body.as_str(), last[0].reconsumed), ("m5", 2));
    assert_eq!(
        last[0].properties["1ST_POP_TIME"],
        again.iter().find(|m| m.body == "m5").expect("it came").properties["1ST_POP_TIME"]
    );
    assert_eq!(popper.ack(&last[0]).code, 0);
    let retry = format!("%RETRY%{}_{}", popper.group, popper.topic);
    wait_for("the retry topic is popped to its end", 10, || (committed(&popper, &retry, 0) == Some(5)).then_some(()));
}

fn receipts_may_be_exchanged(cluster: &Cluster) {
    let popper = popper(cluster, "change", 1);
    fill(&popper, 2, 1);
    let got = popper.expect(2, 10, &json!({ "invisibleTime": "60000" }));
    let asked = i64::try_from(now_ms()).expect("a time");
    let changed = popper.change(&got[0], 2000);
    assert_eq!((changed.code, changed.remark.as_str()), (0, "not set any response code"));
    assert_eq!(changed.number("invisibleTime"), 2000);
    let old: Vec<_> = got[0].receipt.split(' ').collect();
    assert_eq!(changed.fields["reviveQid"], old[3]);
    let renewed = changed.number("popTime");
    assert!(renewed >= asked, "{changed:?}");
    // The old receipt is worth nothing: the message comes again all the same, soon.
    assert_eq!(popper.ack(&got[0]).code, 0);
    let again = popper.expect(1, 30, &json!({}));
    assert_eq!((again[0].body.as_str(), again[0].reconsumed), ("m0", 1));
    assert!(pop_time(&again[0]) >= renewed + 2000);
    // Prolonged, and acknowledged with the new receipt, the other never comes.
    let changed = popper.change(&got[1], 3000);
    let receipt = format!("1 {} 3000 {} 0 broker-a 0 1", changed.number("popTime"), changed.number("reviveQid"));
    assert_eq!(popper.ack(&Popped { receipt, ..got[1].clone() }).code, 0);
    assert_eq!(popper.ack(&again[0]).code, 0);
    let until = now_ms() + 8000;
    while now_ms() < until {
        let answer = popper.pop(&json!({ "pollTime": "1000" }));
        assert!(answer.messages.is_empty(), "{answer:?}");
    }
}

fn several_are_acknowledged_together(cluster: &Cluster) {
    let popper = popper(cluster, "batch", 1);
    fill(&popper, 10, 1);
    let got = popper.expect(10, 10, &json!({ "invisibleTime": "2000", "queueId": "0" }));
    let receipt: Vec<_> = got[0].receipt.split(' ').collect();
    // Bits 0-2 and 9: 0b0000_0111, 0b0000_0010.
    let batch = |bits: &str, topic: &str| {
        json!({ "brokerName": "broker-a", "acks": [{ "c": popper.group, "t": topic, "r": "0", "so": receipt[0].parse::<i64>().expect("a number"),
            "q": 0, "rq": receipt[3].parse::<i64>().expect("a number"), "pt": pop_time(&got[0]), "it": 2000, "b": bits }] })
    };
    let answer = |body: &Value| call_with(&popper.addr, BATCH_ACK, &json!({}), body.to_string().as_bytes());
    assert_eq!(answer(&batch("BwI=", &popper.topic)).code, 0);
    assert_eq!(answer(&batch("AQ==", &unique("nowhere"))).code, 0, "a topic that is not there");
    assert_eq!(answer(&json!({ "brokerName": "broker-a", "acks": [] })).code, 208);
    assert_eq!(call_with(&popper.addr, BATCH_ACK, &json!({}), &[]).code, 208);
    let again = popper.expect(6, 30, &json!({}));
    assert_eq!(sorted(&again), ["m3", "m4", "m5", "m6", "m7", "m8"]);
}

fn in_order_until_acknowledged(cluster: &Cluster) {
    let popper = popper(cluster, "order", 1);
    fill(&popper, 6, 1);
    let more =
        |attempt: &str| json!({ "order": "true", "attemptId": attempt, "maxMsgNums": "2", "invisibleTime": "3000" });
    let first =
        wait_for("the messages can be popped", 10, || Some(popper.pop(&more("a"))).filter(|answer| answer.code == 0));
    assert_eq!(first.bodies(), ["m0", "m1"]);
    let expect = [
        ("invisibleTime", "3000"),
        ("msgOffsetInfo", "0 0 0,1"),
        ("orderCountInfo", "0 0 0"),
        ("restNum", "4"),
        ("startOffsetInfo", "0 0 0"),
    ];
    assert_eq!((fixed(&first), first.number("reviveQid")), (expect.into(), 999));
    // Nobody else gets a message of this queue, but the same attempt gets the same again.
    let blocked = popper.pop(&more("b"));
    assert_eq!((blocked.code, blocked.number("restNum")), (210, 0));
    assert_eq!(popper.pop(&more("a")).bodies(), ["m0", "m1"]);
    let mut same = popper.pop(&more("a"));
    let receipt = |answer: &Answer, at: usize| answer.messages[at].clone();
    assert_eq!(popper.ack(&receipt(&same, 0)).code, 0);
    assert_eq!(popper.pop(&more("b")).code, 210, "one of two");
    wait_for("the offset is that of the other", 10, || (committed(&popper, &popper.topic, 0) == Some(1)).then_some(()));
    // Its time passes: another attempt gets it again, with the one behind.
    let started = now_ms();
    let later = wait_for("the time is over", 20, || Some(popper.pop(&more("c"))).filter(|answer| answer.code == 0));
    assert!(now_ms() - started >= 1500, "{} ms", now_ms() - started);
    assert_eq!((later.bodies(), later.fields["orderCountInfo"].as_str()), (vec!["m1", "m2"], "0 qo0%1 1;0 0 0"));
    // Another receipt makes its time longer; a wrong place is refused, an old receipt changes nothing.
    let changed = popper.change(&receipt(&later, 0), 60_000);
    assert_eq!(
        (changed.code, changed.number("reviveQid"), changed.number("popTime")),
        (0, 999, later.number("popTime"))
    );
    let wrong = Popped { offset: 4, ..receipt(&later, 0) };
    assert_eq!(popper.ack(&wrong).code, 13);
    same.messages[1].offset = 1;
    assert_eq!(popper.ack(&receipt(&same, 1)).code, 0);
    assert_eq!(popper.pop(&more("d")).code, 210);
    for at in 0..2 {
        assert_eq!(popper.ack(&receipt(&later, at)).code, 0);
    }
    assert_eq!(popper.pop(&more("e")).bodies(), ["m3", "m4"]);
    // Who waits is woken by the acknowledgement.
    let held = Popper { addr: popper.addr.clone(), topic: popper.topic.clone(), group: popper.group.clone() };
    let rest = popper.pop(&more("e"));
    std::thread::scope(|scope| {
        let mut wait = more("f");
        wait["pollTime"] = "4000".into();
        let waiting = scope.spawn(move || held.pop(&wait));
        wait_for("the pop waits", 10, || (polling(&popper, -1) == 1).then_some(()));
        for at in 0..2 {
            assert_eq!(popper.ack(&receipt(&rest, at)).code, 0);
        }
        assert_eq!(waiting.join().expect("the pop ends").bodies(), ["m5"]);
    });
}

fn pops_wait_for_messages(cluster: &Cluster) {
    let popper = popper(cluster, "wait", 2);
    let started = now_ms();
    let late = popper.pop(&json!({ "pollTime": "1500" }));
    assert_eq!((late.code, late.remark.as_str()), (210, "NO_MESSAGE_IN_QUEUE"));
    assert!((1300..4000).contains(&(now_ms() - started)), "{} ms", now_ms() - started);
    for queue in ["-1", "1"] {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| popper.pop(&json!({ "pollTime": "4500", "queueId": queue })));
            wait_for("the pop waits", 10, || (polling(&popper, queue.parse().expect("a number")) == 1).then_some(()));
            let sent = now_ms();
            send(&popper.addr, &popper.topic, 1, queue, "");
            let answer = waiting.join().expect("the pop ends");
            assert_eq!(answer.bodies(), [queue]);
            assert!(now_ms() - sent < 1500, "woken after {} ms", now_ms() - sent);
        });
    }
    assert_eq!(polling(&popper, -1), 0);
}

fn each_message_goes_to_one(cluster: &Cluster) {
    let popper = popper(cluster, "shared", 4);
    let done = std::sync::atomic::AtomicUsize::new(0);
    let got: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    let deadline = it::clock::Deadline::in_seconds(60);
                    while done.load(std::sync::atomic::Ordering::SeqCst) < 400 && !deadline.passed() {
                        for message in popper.pop(&json!({ "maxMsgNums": "5", "pollTime": "500" })).messages {
                            assert_eq!(popper.ack(&message).code, 0);
                            mine.push(message.body);
                            done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        }
                    }
                    mine
                })
            })
            .collect();
        fill(&popper, 400, 4);
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker ends")).collect()
    });
    let different: BTreeSet<&String> = got.iter().collect();
    assert_eq!((got.len(), different.len()), (400, 400));
}

fn tags_are_obeyed(cluster: &Cluster) {
    let popper = popper(cluster, "tags", 1);
    for (number, tag) in ["A", "B", "C", "A", "B", ""].into_iter().enumerate() {
        send(&popper.addr, &popper.topic, 0, &format!("m{number}"), tag);
    }
    let more = json!({ "exp": "A || C", "invisibleTime": "2000" });
    let got = popper.expect(3, 10, &more);
    assert_eq!(sorted(&got), ["m0", "m2", "m3"]);
    assert_eq!(popper.ack(&got[0]).code, 0);
    // What comes again has its tag.
    let again = popper.expect(2, 30, &more);
    assert_eq!(sorted(&again), ["m2", "m3"]);
    assert_eq!(again[0].properties["TAGS"], if again[0].body == "m2" { "C" } else { "A" });
    let nothing = popper.pop(&json!({ "exp": "D" }));
    assert_eq!(nothing.code, 210);
    wait_for("what nobody wants is passed over", 10, || {
        (committed(&popper, &popper.topic, 0) == Some(6)).then_some(())
    });
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| popper.pop(&json!({ "exp": "A", "pollTime": "4000" })));
        wait_for("the pop waits", 10, || (polling(&popper, -1) == 1).then_some(()));
        send(&popper.addr, &popper.topic, 0, "unwanted", "B");
        send(&popper.addr, &popper.topic, 0, "wanted", "A");
        assert_eq!(waiting.join().expect("the pop ends").bodies(), ["wanted"]);
    });
}

fn peeks_and_notifications_take_nothing(cluster: &Cluster) {
    let popper = popper(cluster, "peek", 2);
    let place = |code: i32, more: Value| {
        let mut fields = json!({ "consumerGroup": popper.group, "topic": popper.topic, "queueId": "-1", "maxMsgNums": "32",
            "pollTime": "0", "bornTime": now_ms().to_string() });
        for (key, value) in more.as_object().into_iter().flatten() {
            fields[key] = value.clone();
        }
        call(&popper.addr, code, &fields)
    };
    let told = |answer: &Answer| (answer.code, answer.fields["hasMsg"].clone(), answer.fields["pollingFull"].clone());
    let no = (0, "false".to_owned(), "false".to_owned());
    assert_eq!(told(&place(NOTIFICATION, json!({}))), no);
    let nothing = place(PEEK_MESSAGE, json!({}));
    assert_eq!((nothing.code, nothing.remark.as_str(), nothing.number("restNum")), (19, "NO_MESSAGE_IN_QUEUE", 0));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| place(NOTIFICATION, json!({ "pollTime": "4500" })));
        // Were it late, it would be told at once.
        fill(&popper, 6, 2);
        assert_eq!(told(&waiting.join().expect("it ends")).1, "true");
    });
    for _ in 0..2 {
        let answer = place(PEEK_MESSAGE, json!({}));
        assert_eq!((answer.code, answer.remark.as_str(), answer.messages.len()), (0, "FOUND", 6));
        assert_eq!((answer.number("restNum"), answer.number("popTime"), answer.number("reviveQid")), (6, 0, 0));
    }
    let some = place(PEEK_MESSAGE, json!({ "queueId": "1", "maxMsgNums": "2" }));
    assert_eq!((some.bodies(), some.number("restNum")), (vec!["m1", "m3"], 3));
    assert_eq!(told(&place(NOTIFICATION, json!({}))).1, "true");
    assert_eq!(told(&place(NOTIFICATION, json!({ "expType": "TAG", "exp": "nobody" }))).1, "false");
    popper.expect(6, 10, &json!({}));
    wait_for("the offsets are committed", 10, || (told(&place(NOTIFICATION, json!({}))) == no).then_some(()));
    assert_eq!(place(PEEK_MESSAGE, json!({})).code, 19);
}

fn what_makes_no_sense_is_refused(cluster: &Cluster) {
    let popper = popper(cluster, "hostile", 1);
    fill(&popper, 2, 1);
    let got = popper.expect(2, 10, &json!({}));
    let refused = |answer: Answer, code: i64, remark: &str| {
        assert_eq!(answer.code, code, "{answer:?}");
        assert!(answer.remark.starts_with(remark), "{answer:?}");
        answer.fields
    };
    let zeroes = BTreeMap::from(
        ["invisibleTime", "popTime", "restNum", "reviveQid"].map(|key| (key.to_owned(), "0".to_owned())),
    );
    let (topic, addr) = (popper.topic.as_str(), popper.addr.as_str());
    let fields = refused(
        popper.pop(&json!({ "maxMsgNums": "33" })),
        29,
        "the broker[127.0.0.1] pop message's num is greater than 32",
    );
    assert_eq!(fields, zeroes);
    let says = format!("queueId[1] is illegal, topic:[{topic}] topicConfig.readQueueNums:[1] consumer:[/127.0.0.1:");
    assert_eq!(refused(popper.pop(&json!({ "queueId": "1" })), 29, &says), zeroes);
    refused(popper.pop(&json!({ "topic": "nowhere" })), 17, "topic[nowhere] not exist, apply first please! ");
    refused(popper.pop(&json!({ "exp": "||" })), 23, "parse the consumer's subscription failed");
    let long_ago = (now_ms() - 60_000).to_string();
    refused(popper.pop(&json!({ "bornTime": long_ago })), 210, "the broker[127.0.0.1] pop message is timeout too much");
    assert_eq!(popper.pop(&json!({ "maxMsgNums": "-5" })).code, 1);
    // Acknowledgements.
    let with = |change: &dyn Fn(&mut Value)| {
        let mut fields = popper.place(&got[0]);
        change(&mut fields);
        call(addr, it::pop::ACK_MESSAGE, &fields)
    };
    refused(with(&|f| f["topic"] = "nowhere".into()), 17, "topic[nowhere] not exist");
    refused(with(&|f| f["queueId"] = "1".into()), 13, &says);
    refused(with(&|f| f["queueId"] = "-1".into()), 13, "queueId[-1] is illegal");
    let says = format!("offset is illegal, key:{topic}@0, commit:99, store:0~2");
    refused(with(&|f| f["offset"] = "99".into()), 208, &says);
    for bad in ["", "nonsense", "0 1 2", "x 1 2 3 0 broker-a 0 0"] {
        assert_eq!(with(&|f| f["extraInfo"] = bad.into()).code, 1, "{bad}");
    }
    assert_eq!(with(&|f| f["extraInfo"] = "0 1 60000 5 0 broker-a 0 0".into()).code, 0, "of a pop that never was");
    // Changes of the invisible time.
    let change = |change: &dyn Fn(&mut Value)| {
        let mut fields = popper.place(&got[0]);
        fields["invisibleTime"] = "1000".into();
        change(&mut fields);
        call(addr, it::pop::CHANGE_INVISIBLE, &fields)
    };
    let zeroes = BTreeMap::from(["invisibleTime", "popTime", "reviveQid"].map(|key| (key.to_owned(), "0".to_owned())));
    assert_eq!(refused(change(&|f| f["offset"] = "2".into()), 208, "not set any response code"), zeroes);
    assert_eq!(refused(change(&|f| f["queueId"] = "7".into()), 13, "queueId[7] is illegal"), zeroes);
    assert_eq!(change(&|f| f["extraInfo"] = "nonsense".into()).code, 1);
    // Others that look at queues.
    let look = |code: i32, queue: &str, topic: &str| {
        let fields = json!({ "consumerGroup": popper.group, "topic": topic, "queueId": queue, "maxMsgNums": "1", "pollTime": "0",
            "bornTime": "0" });
        call(addr, code, &fields)
    };
    for code in [PEEK_MESSAGE, NOTIFICATION, POLLING_INFO] {
        refused(look(code, "1", topic), 29, "queueId[1] is illegal");
        refused(look(code, "0", "nowhere"), 17, "topic[nowhere] not exist");
    }
    // Pops are not for the port of sends.
    let vip = format!("127.0.0.1:{}", cluster.broker().port() - 2);
    assert_eq!(call(&vip, POP_MESSAGE, &json!({})).code, 3);
}

fn a_dead_letter_by_hand(cluster: &Cluster) {
    let popper = popper(cluster, "dead", 1);
    fill(&popper, 1, 1);
    let first = popper.expect(1, 10, &json!({ "invisibleTime": "1000" }));
    assert_eq!(first[0].reconsumed, 0);
    let again = popper.expect(1, 30, &json!({}));
    // A proxy gives a message up like this, once it has come too often: no broker does by itself.
    let back = json!({ "offset": again[0].physical_offset.to_string(), "group": popper.group, "delayLevel": "-1",
        "originMsgId": "x", "originTopic": popper.topic, "unitMode": "false", "maxReconsumeTimes": "1" });
    assert_eq!(call(&popper.addr, CONSUMER_SEND_MSG_BACK, &back).code, 0);
    assert_eq!(popper.ack(&again[0]).code, 0);
    let dead = Popper { topic: format!("%DLQ%{}", popper.group), group: unique("CG"), addr: popper.addr.clone() };
    let found = wait_for("the dead letter can be popped", 30, || dead.pop(&json!({})).messages.into_iter().next());
    assert_eq!((found.body.as_str(), found.reconsumed), ("m0", 2));
}

fn driver() -> &'static Driver {
    java(Version::V5_5_0, Serialize::Json)
}

fn set_mode(cluster: &Cluster, topic: &str, group: &str, mode: &str, share: i32) {
    let body = json!({ "topic": topic, "consumerGroup": group, "mode": mode, "popShareQueueNum": share });
    let answer = call_with(&cluster.broker().addr(), SET_REQUEST_MODE, &json!({}), body.to_string().as_bytes());
    assert_eq!((answer.code, answer.remark.as_str()), (0, ""));
}

fn bodies(received: &[Received]) -> BTreeSet<String> {
    received.iter().map(|message| message.body.clone()).collect()
}

fn the_java_client_pops(cluster: &Cluster) {
    let (driver, topic, group) = (driver(), cluster.topic("client", 4), unique("CG"));
    let namesrv = cluster.namesrv();
    let line = [
        "setConsumeMode",
        "-n",
        &namesrv,
        "-b",
        &cluster.broker().addr(),
        "-t",
        &topic,
        "-g",
        &group,
        "-m",
        "POP",
        "-q",
        "8",
    ];
    let printed = driver.mqadmin(&line);
    assert!(printed.contains("success"), "{printed}");
    let producer = driver.producer(&namesrv, args! {});
    let sent = producer.send_ok(&topic, 40, args! { tags: "A", keys: "k-{}" });
    let push = driver.push(&namesrv, &group, &topic, args! { pop: true, sub: "A" });
    let got = push.expect(40);
    assert_eq!((got.len(), bodies(&got)), (40, sent.iter().map(|sent| sent.body.clone()).collect()));
    for message in &got {
        assert_eq!((message.text("topic"), message.number("reconsumeTimes")), (topic.as_str(), 0));
        assert!(message.property("POP_CK").is_some(), "{}", message.all);
    }
    // What comes while it waits.
    producer.send_ok(&topic, 10, args! { tags: "A", from: 40 });
    assert_eq!(bodies(&push.expect_exactly(50, 300)).len(), 50);
    push.stop();
    // Refused once, each comes again; the client's shortest delay is 10 s.
    let (topic, group) = (cluster.topic("refused", 2), unique("CG"));
    set_mode(cluster, &topic, &group, "POP", 8);
    let sent = producer.send_ok(&topic, 4, args! {});
    let push = driver.push(&namesrv, &group, &topic, args! { pop: true, refuse: 1 });
    let got = push.expect(4);
    assert_eq!(bodies(&got), sent.iter().map(|sent| sent.body.clone()).collect());
    let mut times: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for one in &got {
        assert_eq!(one.text("topic"), topic);
        times.entry(&one.body).or_default().push((one.number("reconsumeTimes"), one.number("receivedAt")));
    }
    for (body, times) in times {
        assert_eq!(times.iter().map(|(count, _)| *count).collect::<Vec<_>>(), [0, 1], "{body}");
        assert!(times[1].1 - times[0].1 >= 9_500, "{body} came again too early: {times:?}");
    }
    push.stop();
}

fn a_group_goes_from_push_to_pop_and_back(cluster: &Cluster) {
    let (driver, topic, group) = (driver(), cluster.topic("switch", 2), unique("CG"));
    let namesrv = cluster.namesrv();
    let producer = driver.producer(&namesrv, args! {});
    let mut all: BTreeSet<String> = BTreeSet::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (round, mode) in ["PULL", "POP", "PULL", "POP"].into_iter().enumerate() {
        set_mode(cluster, &topic, &group, mode, 8);
        all.extend(producer.send_ok(&topic, 10, args! { from: round * 10 }).into_iter().map(|sent| sent.body));
        let push = driver.push(&namesrv, &group, &topic, args! { pop: true });
        // Nothing is lost; what the round before had acknowledged does not come again.
        let got: Vec<String> = push.expect(10).into_iter().map(|message| message.body).collect();
        assert_eq!(got.len(), 10, "{mode}: {got:?}");
        assert!(got.iter().all(|body| seen.insert(body.clone())), "{mode}: {got:?} came before");
        let popper = Popper { addr: cluster.broker().addr(), topic: topic.clone(), group: group.clone() };
        let end = i64::try_from(all.len()).expect("few");
        wait_for("the offsets are committed", 20, || {
            let sum: i64 = (0..2).filter_map(|queue| committed(&popper, &topic, queue)).sum();
            (sum == end).then_some(())
        });
        push.stop();
    }
    assert_eq!(seen, all);
}

fn queues_are_assigned_by_the_broker(cluster: &Cluster) {
    let (driver, topic, group) = (driver(), cluster.topic("assigned", 8), unique("CG"));
    let addr = cluster.broker().addr();
    let ask = |strategy: &str, client: &str, model: &str| {
        let body = json!({ "topic": topic, "consumerGroup": group, "clientId": client, "strategyName": strategy,
            "messageModel": model });
        let answer = wire::call(&addr, QUERY_ASSIGNMENT, &json!({}), body.to_string().as_bytes()).expect("an answer");
        assert_eq!(answer.header["code"], 0, "{}", answer.header);
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        body["messageQueueAssignments"].as_array().map(|all| {
            let mut shown: Vec<_> = all
                .iter()
                .map(|one| {
                    format!(
                        "{}:{}:{}",
                        one["mode"].as_str().unwrap_or("?"),
                        one["messageQueue"]["brokerName"].as_str().unwrap_or("?"),
                        one["messageQueue"]["queueId"]
                    )
                })
                .collect();
            shown.sort();
            shown
        })
    };
    assert_eq!(ask("AVG", "nobody", "CLUSTERING"), None, "a group without members");
    assert_eq!(ask("AVG", "nobody", "BROADCASTING").map(|all| all.len()), Some(8));
    let namesrv = cluster.namesrv();
    let members: Vec<_> = (0..3).map(|_| driver.push(&namesrv, &group, &topic, args! { pop: true })).collect();
    let all = |strategy: &str| {
        let connection = wire::call(&addr, 203, &json!({ "consumerGroup": group }), b"").expect("an answer");
        let connection: Value = serde_json::from_slice(&connection.body).unwrap_or_default();
        let clients: BTreeSet<String> = connection["connectionSet"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["clientId"].as_str())
            .map(str::to_owned)
            .collect();
        clients.iter().map(|client| ask(strategy, client, "CLUSTERING").unwrap_or_default()).collect::<Vec<_>>()
    };
    let shared = wait_for("three members", 30, || Some(all("AVG")).filter(|all| all.len() == 3));
    let queues = |ids: &[i64], mode: &str| ids.iter().map(|id| format!("{mode}:broker-a:{id}")).collect::<Vec<_>>();
    assert_eq!(shared, [queues(&[0, 1, 2], "PULL"), queues(&[3, 4, 5], "PULL"), queues(&[6, 7], "PULL")]);
    assert_eq!(all("AVG_BY_CIRCLE"), [queues(&[0, 3, 6], "PULL"), queues(&[1, 4, 7], "PULL"), queues(&[2, 5], "PULL")]);
    assert_eq!(ask("BY_ROOM", "nobody", "CLUSTERING"), None, "a strategy that is not known");
    assert_eq!(ask("AVG", "nobody", "CLUSTERING"), Some(vec![]), "not a member");
    set_mode(cluster, &topic, &group, "POP", -1);
    assert_eq!(all("AVG"), vec![queues(&[-1], "POP"); 3]);
    set_mode(cluster, &topic, &group, "POP", 1);
    assert_eq!(all("AVG")[2], queues(&[0, 1, 2, 6, 7], "POP"));
    let refused = |topic: &str, group: &str, code: i64, remark: &str| {
        let body = json!({ "topic": topic, "consumerGroup": group, "mode": "POP", "popShareQueueNum": 0 });
        let answer = call_with(&addr, SET_REQUEST_MODE, &json!({}), body.to_string().as_bytes());
        assert_eq!((answer.code, answer.remark.as_str()), (code, remark));
    };
    refused(&format!("%RETRY%{group}"), &group, 16, "retry topic is not allowed to set mode");
    refused("nowhere", &group, 17, "topic[nowhere] not exist");
    drop(members);
}
