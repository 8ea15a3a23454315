//! Request and reply: who asks gets the answer to its own question, over the broker that both are connected to.

use it::clock::wait_for;
use it::driver::{Driver, Serialize, Version};
use it::{Cluster, args, each, java, on_both, unique};
use serde_json::Value;

on_both! {
    shared: requests_are_answered, each_client_gets_its_own_answers, a_reply_nobody_waits_for_is_refused;
}

/// Those that know requests.
fn clients() -> [&'static Driver; 2] {
    [java(Version::V4_9_7, Serialize::RocketMq), java(Version::V5_5_0, Serialize::Json)]
}

struct Responder<'a> {
    driver: &'a Driver,
    name: String,
}

impl<'a> Responder<'a> {
    fn start(driver: &'a Driver, cluster: &Cluster, topic: &str, more: it::driver::Args) -> Self {
        let name = unique("responder");
        let mut args = args! { name: name, group: unique("CG"), namesrv: cluster.namesrv(), topic: topic };
        args.extend(more);
        driver.call("responder.start", args);
        Self { driver, name }
    }

    fn replies(&self, count: usize) -> Vec<Value> {
        wait_for("the replies are sent", 60, || {
            let all = self.driver.call("responder.replies", args! { name: self.name });
            all["results"].as_array().filter(|replies| replies.len() >= count).cloned()
        })
    }
}

impl Drop for Responder<'_> {
    fn drop(&mut self) {
        self.driver.try_call("responder.stop", args! { name: self.name }).ok();
    }
}

fn ask(driver: &Driver, producer: &str, topic: &str, more: it::driver::Args) -> Vec<Value> {
    let mut args = args! { name: producer, topic: topic };
    args.extend(more);
    driver.call("request", args)["results"].as_array().expect("a list").clone()
}

fn requests_are_answered(cluster: &Cluster) {
    each(&clients(), |driver| {
        let producer = driver.producer(&cluster.namesrv(), args! {});
        // The second has replies that travel compressed.
        for size in [0, 20_000] {
            let topic = cluster.topic("ask", 2);
            let responder = Responder::start(driver, cluster, &topic, args! { size: size });
            for is_async in [false, true] {
                let answers = ask(driver, &producer.name, &topic, args! { count: 3, async: is_async });
                for (number, answer) in answers.iter().enumerate() {
                    let reply = answer["reply"].as_str().unwrap_or_else(|| panic!("{}: {answer}", driver.name));
                    assert!(reply.starts_with(&format!("re:q{number}")), "{}: {answer}", driver.name);
                    assert_eq!(reply.len(), 5 + size, "{}: the whole reply", driver.name);
                    assert_eq!(answer["topic"], "DefaultCluster_REPLY_TOPIC", "{}: {answer}", driver.name);
                    let property = |name: &str| answer["properties"][name].as_str().unwrap_or_default();
                    assert_eq!(property("MSG_TYPE"), "reply", "{}: {answer}", driver.name);
                    assert!(!property("CORRELATION_ID").is_empty(), "{}: {answer}", driver.name);
                    let time = |name: &str| property(name).parse::<u64>().unwrap_or(0);
                    assert!(time("PUSH_REPLY_TIME") > 0, "{}: {answer}", driver.name);
                    assert!(
                        time("REPLY_MESSAGE_ARRIVE_TIME") > 0 || time("ARRIVE_TIME") > 0,
                        "{}: {answer}",
                        driver.name
                    );
                }
            }
            let replies = responder.replies(6);
            assert!(replies.iter().all(|reply| reply["status"] == "SEND_OK"), "{}: {replies:?}", driver.name);
        }
    });
}

/// Two clients ask at once; the broker tells them apart.
fn each_client_gets_its_own_answers(cluster: &Cluster) {
    let topic = cluster.topic("ask", 4);
    let [old, new] = clients();
    let _responder = Responder::start(new, cluster, &topic, args! {});
    let first = new.producer(&cluster.namesrv(), args! {});
    wait_for("the responder has its queues", 120, || {
        ask(new, &first.name, &topic, args! { body: "first-" })[0]["reply"].as_str().map(str::to_owned)
    });
    each(&[old, new], |driver| {
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let answers = ask(driver, &producer.name, &topic, args! { count: 20, body: format!("{}-", driver.name) });
        assert_eq!(answers.len(), 20);
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(answer["reply"], format!("re:{}-{number}", driver.name), "{answer}");
        }
    });
}

/// The client that asked is gone: whoever replies is told, and the reply is kept.
fn a_reply_nobody_waits_for_is_refused(cluster: &Cluster) {
    each(&clients(), |driver| {
        let topic = cluster.topic("ask", 1);
        let producer = driver.producer(&cluster.namesrv(), args! {});
        let responder = Responder::start(driver, cluster, &topic, args! { lost: "nobody@nowhere" });
        let answers = ask(driver, &producer.name, &topic, args! { timeout: 5000 });
        assert!(!answers[0]["error"].as_str().unwrap_or_default().is_empty(), "{}: {answers:?}", driver.name);
        let reply = &responder.replies(1)[0];
        assert_eq!(reply["code"], 1, "{}: {reply}", driver.name);
        let error = reply["error"].as_str().unwrap_or_default();
        let reason = "push reply message fail, channel of <nobody@nowhere> not found.";
        assert!(error.contains(reason), "{}: {reply}", driver.name);
    });
}
