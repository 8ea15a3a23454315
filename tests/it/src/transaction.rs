//! Producers of transactional messages, and what brokers keep of them.

use crate::client::{Received, Sent, received, sent};
use crate::clock::wait_for;
use crate::driver::{Args, Driver};
use crate::{Broker, args, unique, wire};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PULL_MESSAGE: i32 = 11;
const QUERY_CONSUMER_OFFSET: i32 = 14;
const GET_MAX_OFFSET: i32 = 30;
const VIEW_MESSAGE_BY_ID: i32 = 33;

/// Where half messages wait.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Where decisions over them lie.
pub const OP_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// The group that reads both.
pub const GROUP: &str = "CID_RMQ_SYS_TRANS";

/// A TransactionMQProducer.
pub struct Transactional<'d> {
    driver: &'d Driver,
    name: String,
    /// Its producer group.
    pub group: String,
}

impl Driver {
    /// Starts one; `answer` is what it says when it is asked: `commit`, `rollback` or `unknown`.
    pub fn transactional(&self, namesrv: &str, group: &str, answer: &str) -> Transactional<'_> {
        let name = unique("transactional");
        self.call("tx.start", args! { name: name, group: group, namesrv: namesrv, answer: answer, heartbeat: 500 });
        Transactional { driver: self, name, group: group.to_owned() }
    }
}

impl Transactional<'_> {
    /// Sends `count` half messages and decides over each: `commit`, `rollback` or `unknown`.
    pub fn send(&self, topic: &str, count: usize, decide: &str, more: Args) -> Vec<Sent> {
        let mut args = args! { name: self.name, topic: topic, count: count, decide: decide };
        args.extend(more);
        sent(&self.driver.call("tx.send", args)["results"])
    }

    /// [`Self::send`], and fails unless every one is SEND_OK.
    pub fn send_ok(&self, topic: &str, count: usize, decide: &str, more: Args) -> Vec<Sent> {
        let all = self.send(topic, count, decide, more);
        for one in &all {
            assert_eq!(one.status, "SEND_OK", "{}: {one:?}", self.driver.name);
        }
        all
    }

    /// From now on it answers so when it is asked.
    pub fn answer(&self, answer: &str) {
        self.driver.call("tx.answer", args! { name: self.name, answer: answer });
    }

    /// Waits until it was asked `count` times: all that it was asked so far.
    pub fn asked(&self, count: usize) -> Vec<Received> {
        let answer = self.driver.call("tx.checks", args! { name: self.name, count: count, timeout: 90000 });
        let all = received(&answer["messages"]);
        assert_eq!(answer["complete"], true, "{}: asked {} of {count} times", self.driver.name, all.len());
        all
    }
}

impl Drop for Transactional<'_> {
    fn drop(&mut self) {
        self.driver.try_call("producer.stop", args! { name: self.name }).ok();
    }
}

/// A record as it lies in the commit log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// queueId
    pub queue: i64,
    /// The user's flag.
    pub flag: i64,
    /// queueOffset
    pub offset: i64,
    /// sysFlag
    pub sys_flag: i64,
    /// bornTimestamp
    pub born: i64,
    /// reconsumeTimes
    pub reconsume_times: i64,
    /// preparedTransactionOffset
    pub prepared: i64,
    /// The body.
    pub body: String,
    /// The topic.
    pub topic: String,
    /// The properties.
    pub properties: BTreeMap<String, String>,
}

/// The record at a physical offset: of IPv4 hosts and a topic of 127 bytes at most.
/// # Panics
/// When the broker has none there.
pub fn stored(broker: &Broker, physical_offset: i64) -> Stored {
    let fields = json!({ "offset": physical_offset.to_string() });
    let answer = wire::call(&broker.addr(), VIEW_MESSAGE_BY_ID, &fields, &[]).expect("the broker answers");
    assert_eq!(answer.header["code"], 0, "no record at {physical_offset}: {}", answer.header);
    let record = &answer.body;
    let number =
        |at: usize, len: usize| record[at..at + len].iter().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
    let text = |at: usize, len: i64| {
        let len = usize::try_from(len).expect("a length");
        String::from_utf8_lossy(&record[at..at + len]).into_owned()
    };
    let topic_at = 88 + usize::try_from(number(84, 4)).expect("a body length");
    let properties_at = topic_at + 1 + usize::try_from(number(topic_at, 1)).expect("a topic length");
    let properties = text(properties_at + 2, number(properties_at, 2));
    let pairs = properties.split('\u{2}').filter_map(|pair| pair.split_once('\u{1}'));
    Stored {
        queue: number(12, 4),
        flag: number(16, 4),
        offset: number(20, 8),
        sys_flag: number(36, 4),
        born: number(40, 8),
        reconsume_times: number(72, 4),
        prepared: number(76, 8),
        body: text(88, number(84, 4)),
        topic: text(topic_at + 1, number(topic_at, 1)),
        properties: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

fn offset(broker: &Broker, code: i32, fields: &Value) -> i64 {
    let answer = wire::call(&broker.addr(), code, fields, &[]).expect("the broker answers");
    answer.header["extFields"]["offset"].as_str().and_then(|offset| offset.parse().ok()).unwrap_or(-1)
}

/// The end of queue 0 of a topic.
pub fn end_of(broker: &Broker, topic: &str) -> i64 {
    offset(broker, GET_MAX_OFFSET, &json!({ "topic": topic, "queueId": "0" }))
}

/// Where in the commit log the half message lies that was sent: producers of transactions do not tell.
/// # Panics
/// When it is not in its queue in 30 s.
pub fn place(broker: &Broker, sent: &Sent) -> i64 {
    place_in(broker, HALF_TOPIC, sent.offset)
}

/// Where in the commit log a message of queue 0 lies.
/// # Panics
/// When it is not in its queue in 30 s.
pub fn place_in(broker: &Broker, topic: &str, offset: i64) -> i64 {
    let fields = json!({ "consumerGroup": "TOOLS_CONSUMER", "topic": topic, "queueId": "0", "sysFlag": "4",
        "queueOffset": offset.to_string(), "maxMsgNums": "1", "commitOffset": "0", "suspendTimeoutMillis": "0",
        "subscription": "*", "subVersion": "0" });
    wait_for("the message is in its queue", 30, || {
        let answer = wire::call(&broker.addr(), PULL_MESSAGE, &fields, &[]).ok()?;
        wire::physical_offsets(&answer.body).first().copied()
    })
}

/// Waits until the broker has looked at every half message and every decision.
pub fn wait_settled(broker: &Broker) {
    for topic in [HALF_TOPIC, OP_TOPIC] {
        wait_for(&format!("{topic} is settled"), 90, || {
            let fields = json!({ "topic": topic, "queueId": "0", "consumerGroup": GROUP });
            // Java commits no offset for a queue that nothing was ever in.
            (offset(broker, QUERY_CONSUMER_OFFSET, &fields).max(0) == end_of(broker, topic)).then_some(())
        });
    }
}

/// Waits until a broker that is settled and may now be killed has written so.
pub fn wait_persisted(broker: &Broker) {
    let path = broker.store_dir().join("config/consumerOffset.json");
    for topic in [HALF_TOPIC, OP_TOPIC] {
        let end = end_of(broker, topic);
        let entry = format!("{topic}@{GROUP}:{{0:{end}");
        wait_for(&format!("{entry} is written"), 60, || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let text: String = text.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
            (end == 0 || text.contains(&entry)).then_some(())
        });
    }
}
