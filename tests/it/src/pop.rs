//! POP over the wire, as its clients speak it: for what the Java client does not reach, and to see every field.

use crate::clock::wait_for;
use crate::cluster::{Broker, Cluster};
use crate::unique;
use crate::wire::{self, Frame};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SEND_MESSAGE: i32 = 10;
const QUERY_CONSUMER_OFFSET: i32 = 14;
const GET_MAX_OFFSET: i32 = 30;
/// POP_MESSAGE
pub const POP_MESSAGE: i32 = 200_050;
/// ACK_MESSAGE
pub const ACK_MESSAGE: i32 = 200_051;
/// PEEK_MESSAGE
pub const PEEK_MESSAGE: i32 = 200_052;
/// CHANGE_MESSAGE_INVISIBLETIME
pub const CHANGE_INVISIBLE: i32 = 200_053;
/// NOTIFICATION
pub const NOTIFICATION: i32 = 200_054;
/// POLLING_INFO
pub const POLLING_INFO: i32 = 200_055;
/// BATCH_ACK_MESSAGE
pub const BATCH_ACK: i32 = 200_151;

/// Calls and returns the answer's code, remark and fields.
/// # Panics
/// When nothing comes within 5 s.
pub fn call(addr: &str, code: i32, fields: &Value) -> Answer {
    call_with(addr, code, fields, &[])
}

/// [`call`] with a body.
/// # Panics
/// When nothing comes within 5 s.
pub fn call_with(addr: &str, code: i32, fields: &Value, body: &[u8]) -> Answer {
    let frame = wire::call(addr, code, fields, body);
    Answer::of(&frame.unwrap_or_else(|error| panic!("no answer to {code} {fields}: {error}")))
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Response code.
    pub code: i64,
    /// Remark.
    pub remark: String,
    /// extFields
    pub fields: BTreeMap<String, String>,
    /// The messages of the body.
    pub messages: Vec<Popped>,
}

/// A message in a body.
#[derive(Clone, Debug, PartialEq)]
pub struct Popped {
    /// Body.
    pub body: String,
    /// Topic.
    pub topic: String,
    /// queueId
    pub queue: i64,
    /// queueOffset
    pub offset: i64,
    /// reconsumeTimes
    pub reconsumed: i64,
    /// physicalOffset
    pub physical_offset: i64,
    /// Properties.
    pub properties: BTreeMap<String, String>,
    /// The receipt: the property POP_CK, or what clients make from the answer's header.
    pub receipt: String,
}

impl Answer {
    /// Takes an answer apart, or a request that brings messages.
    /// # Panics
    /// When its body is not made of records.
    pub fn of(frame: &Frame) -> Self {
        let pairs = frame.header["extFields"].as_object().into_iter().flatten();
        let mut answer = Self {
            code: frame.header["code"].as_i64().unwrap_or(-1),
            remark: frame.header["remark"].as_str().unwrap_or_default().to_owned(),
            fields: pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
            messages: Vec::new(),
        };
        let mut rest = &frame.body[..];
        while rest.len() > 4 {
            let size = usize::try_from(number(rest, 0, 4)).expect("a size");
            answer.messages.push(answer.message(&rest[..size]));
            rest = &rest[size..];
        }
        answer
    }

    /// A number among the fields.
    pub fn number(&self, key: &str) -> i64 {
        self.fields.get(key).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    /// Bodies of the messages.
    pub fn bodies(&self) -> Vec<&str> {
        self.messages.iter().map(|message| message.body.as_str()).collect()
    }

    /// The record layout with IPv4 hosts: see `codec::message`.
    fn message(&self, record: &[u8]) -> Popped {
        let body_len = usize::try_from(number(record, 84, 4)).expect("a length");
        let after = 88 + body_len;
        let topic_len = usize::from(record[after]);
        let text = |from: usize, len: usize| String::from_utf8_lossy(&record[from..from + len]).into_owned();
        let properties_len = usize::try_from(number(record, after + 1 + topic_len, 2)).expect("a length");
        let properties = text(after + 3 + topic_len, properties_len);
        let pairs = properties.split('\u{2}').filter_map(|pair| pair.split_once('\u{1}'));
        let mut message = Popped {
            body: text(88, body_len),
            topic: text(after + 1, topic_len),
            queue: number(record, 12, 4),
            offset: number(record, 20, 8),
            physical_offset: number(record, 28, 8),
            reconsumed: number(record, 72, 4),
            properties: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            receipt: String::new(),
        };
        message.receipt = message.properties.get("POP_CK").cloned().unwrap_or_else(|| self.receipt(&message));
        message
    }

    fn receipt(&self, message: &Popped) -> String {
        let Some(starts) = self.fields.get("startOffsetInfo") else { return String::new() };
        let own = format!("0 {} ", message.queue);
        let start = starts.split(';').find_map(|part| part.strip_prefix(&own)).unwrap_or_default();
        let field = |key: &str| self.fields.get(key).map(String::as_str).unwrap_or_default();
        format!(
            "{start} {} {} {} 0 broker-a {} {}",
            field("popTime"),
            field("invisibleTime"),
            field("reviveQid"),
            message.queue,
            message.offset
        )
    }
}

fn number(bytes: &[u8], at: usize, len: usize) -> i64 {
    bytes[at..at + len].iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte))
}

/// Sends one message to a queue of a topic.
/// # Panics
/// When the broker refuses it.
pub fn send(addr: &str, topic: &str, queue: i64, body: &str, tags: &str) {
    let properties = if tags.is_empty() { String::new() } else { format!("TAGS\u{1}{tags}\u{2}") };
    let fields = json!({ "producerGroup": "PG", "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
        "queueId": queue.to_string(), "sysFlag": "0", "bornTimestamp": crate::clock::now_ms().to_string(), "flag": "0",
        "properties": properties, "reconsumeTimes": "0", "unitMode": "false" });
    let answer = call_with(addr, SEND_MESSAGE, &fields, body.as_bytes());
    assert_eq!(answer.code, 0, "{answer:?}");
}

/// A group that pops from a topic.
pub struct Popper {
    /// The broker.
    pub addr: String,
    /// Topic.
    pub topic: String,
    /// Group.
    pub group: String,
}

impl Popper {
    /// Pops; `more` says what is other than: any queue, 32 messages, 60 s invisible, no wait, from the beginning.
    pub fn pop(&self, more: &Value) -> Answer {
        let mut fields = json!({ "consumerGroup": self.group, "topic": self.topic, "queueId": "-1", "maxMsgNums": "32",
            "invisibleTime": "60000", "pollTime": "0", "bornTime": crate::clock::now_ms().to_string(), "initMode": "0",
            "expType": "TAG", "exp": "*", "order": "false" });
        for (key, value) in more.as_object().into_iter().flatten() {
            fields[key] = value.clone();
        }
        call(&self.addr, POP_MESSAGE, &fields)
    }

    /// Where a message lies, as acknowledgements name it: retried ones in their retry topic.
    pub fn place(&self, message: &Popped) -> Value {
        let topic = match message.receipt.split(' ').nth(4) {
            Some("1") => format!("%RETRY%{}_{}", self.group, self.topic),
            Some("2") => format!("%RETRY%{}+{}", self.group, self.topic),
            _ => self.topic.clone(),
        };
        json!({ "consumerGroup": self.group, "topic": topic, "queueId": message.queue.to_string(),
            "extraInfo": message.receipt, "offset": message.offset.to_string() })
    }

    /// Acknowledges.
    pub fn ack(&self, message: &Popped) -> Answer {
        call(&self.addr, ACK_MESSAGE, &self.place(message))
    }

    /// Gives a message another invisible time from now on.
    pub fn change(&self, message: &Popped, invisible_ms: i64) -> Answer {
        let mut fields = self.place(message);
        fields["invisibleTime"] = invisible_ms.to_string().into();
        call(&self.addr, CHANGE_INVISIBLE, &fields)
    }

    /// Pops until `count` messages have come, within `seconds`.
    /// # Panics
    /// When they have not.
    pub fn expect(&self, count: usize, seconds: u64, more: &Value) -> Vec<Popped> {
        let mut got: Vec<Popped> = Vec::new();
        let mut wait = more.clone();
        wait["pollTime"] = "1000".into();
        crate::clock::wait_for(&format!("{count} messages"), seconds, || {
            wait["bornTime"] = crate::clock::now_ms().to_string().into();
            got.extend(self.pop(&wait).messages);
            (got.len() >= count).then_some(())
        });
        assert_eq!(got.len(), count, "{got:?}");
        got
    }
}

/// A new group for a new topic of a cluster.
pub fn popper(cluster: &Cluster, name: &str, queues: u32) -> Popper {
    Popper { addr: cluster.broker().addr(), topic: cluster.topic(name, queues), group: unique("CG") }
}

/// Sends m0, m1, … round the queues, and waits until they can be popped.
pub fn fill(popper: &Popper, count: i64, queues: i64) {
    for number in 0..count {
        send(&popper.addr, &popper.topic, number % queues, &format!("m{number}"), "");
    }
    wait_for("the messages are in their queues", 30, || {
        let all: i64 = (0..queues).map(|queue| end_of(&popper.addr, &popper.topic, queue)).sum();
        (all == count).then_some(())
    });
}

/// The max offset of a queue.
pub fn end_of(addr: &str, topic: &str, queue: i64) -> i64 {
    call(addr, GET_MAX_OFFSET, &json!({ "topic": topic, "queueId": queue.to_string() })).number("offset")
}

/// Waits until the group's offsets are in the file, as `{0:1,1:2}`.
pub fn await_written(broker: &Broker, popper: &Popper, offsets: &str) {
    let file = broker.store_dir().join("config/consumerOffset.json");
    let wanted = format!("\"{}@{}\":{offsets}", popper.topic, popper.group);
    wait_for("the offsets are written", 30, || {
        let text = std::fs::read_to_string(&file).unwrap_or_default().replace(char::is_whitespace, "");
        text.contains(&wanted).then_some(())
    });
}

/// The group's offset in a queue of a topic.
pub fn committed(popper: &Popper, topic: &str, queue: i64) -> Option<i64> {
    let place = json!({ "consumerGroup": popper.group, "topic": topic, "queueId": queue.to_string(),
        "setZeroIfNotFound": "false" });
    let answer = call(&popper.addr, QUERY_CONSUMER_OFFSET, &place);
    answer.fields.get("offset").and_then(|offset| offset.parse().ok())
}

/// Bodies, sorted.
pub fn sorted(messages: &[Popped]) -> Vec<&str> {
    let mut bodies: Vec<_> = messages.iter().map(|message| message.body.as_str()).collect();
    bodies.sort_unstable();
    bodies
}

/// The pop time in a receipt.
/// # Panics
/// When it has none.
pub fn pop_time(message: &Popped) -> i64 {
    message.receipt.split(' ').nth(1).and_then(|time| time.parse().ok()).expect("a pop time")
}

/// Pops of the group that wait for a queue; −1 stands for those of all.
pub fn polling(popper: &Popper, queue: i64) -> i64 {
    let place = json!({ "consumerGroup": popper.group, "topic": popper.topic, "queueId": queue.to_string() });
    call(&popper.addr, POLLING_INFO, &place).number("pollingNum")
}
