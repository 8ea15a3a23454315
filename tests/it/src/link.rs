//! A connection that sends and pulls, in few bytes of the protocol: quick enough for hundreds of rounds, and without a
//! client that would retry what a test wants to see.

use crate::wire;
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

const SEND_MESSAGE: i32 = 10;
const PULL_MESSAGE: i32 = 11;
const QUERY_MESSAGE: i32 = 12;
const QUERY_CONSUMER_OFFSET: i32 = 14;
const UPDATE_CONSUMER_OFFSET: i32 = 15;
const UPDATE_AND_CREATE_TOPIC: i32 = 17;
const GET_MAX_OFFSET: i32 = 30;
const GET_MIN_OFFSET: i32 = 31;
const SEND_BATCH_MESSAGE: i32 = 320;

/// An answer with another code than 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The response code.
    pub code: i64,
    /// Why.
    pub remark: String,
}

/// One message as it was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// queueOffset
    pub queue_offset: i64,
    /// The body.
    pub body: String,
}

/// A connection to a broker.
pub struct Link {
    stream: TcpStream,
    opaque: i32,
}

impl Link {
    /// Connects.
    /// # Errors
    /// What the socket says.
    pub fn new(addr: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { stream, opaque: 0 })
    }

    /// One request and its answer.
    /// # Errors
    /// What the socket says; the inner one: a refusal.
    pub fn call(&mut self, code: i32, fields: &Value) -> std::io::Result<Result<wire::Frame, Refused>> {
        self.call_with(code, fields, &[])
    }

    fn call_with(&mut self, code: i32, fields: &Value, body: &[u8]) -> std::io::Result<Result<wire::Frame, Refused>> {
        self.opaque += 1;
        self.stream.write_all(&wire::request(code, self.opaque, fields, body))?;
        let frame = wire::parse(&wire::read_raw(&mut self.stream)?)?;
        let code = frame.header["code"].as_i64().unwrap_or(-1);
        let remark = frame.header["remark"].as_str().unwrap_or_default().to_owned();
        Ok(if code == 0 { Ok(frame) } else { Err(Refused { code, remark }) })
    }

    /// Makes a topic.
    /// # Errors
    /// As [`Link::call`].
    pub fn create_topic(&mut self, topic: &str, queues: i64) -> std::io::Result<Result<(), Refused>> {
        let fields = json!({ "topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues.to_string(),
            "writeQueueNums": queues.to_string(), "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0",
            "order": "false" });
        Ok(self.call(UPDATE_AND_CREATE_TOPIC, &fields)?.map(drop))
    }

    /// Sends one message whose UNIQ_KEY is `key`; its queueOffset.
    /// # Errors
    /// As [`Link::call`].
    pub fn send(&mut self, topic: &str, queue: i64, key: &str, body: &[u8]) -> std::io::Result<Result<i64, Refused>> {
        let fields = json!({ "producerGroup": "P", "topic": topic, "defaultTopic": "TBW102",
            "defaultTopicQueueNums": "4", "queueId": queue.to_string(), "sysFlag": "0",
            "bornTimestamp": crate::clock::now_ms().to_string(), "flag": "0",
            "properties": format!("UNIQ_KEY\u{1}{key}\u{2}"), "reconsumeTimes": "0", "unitMode": "false" });
        Ok(self.call_with(SEND_MESSAGE, &fields, body)?.map(|frame| number(&frame, "queueOffset")))
    }

    /// Sends `bodies` as one batch without properties; the queueOffset of the first.
    /// # Errors
    /// As [`Link::call`].
    pub fn send_batch(&mut self, topic: &str, queue: i64, bodies: &[Vec<u8>]) -> std::io::Result<Result<i64, Refused>> {
        // The names of SendMessageRequestHeaderV2, in its order: group, topic, default topic and its queues, queue, sysFlag, born
        // timestamp, flag, properties, reconsume times, unit mode, (none), batch.
        let fields = json!({ "a": "P", "b": topic, "c": "TBW102", "d": "4", "e": queue.to_string(), "f": "0",
            "g": crate::clock::now_ms().to_string(), "h": "0", "i": "", "j": "0", "k": "false", "m": "true" });
        let mut batch = Vec::new();
        for body in bodies {
            // total size, magic, CRC, flag, body with its length, properties with theirs
            let number = |value: usize| u32::try_from(value).expect("a test body is short").to_be_bytes();
            let heads = [number(22 + body.len()), [0; 4], [0; 4], [0; 4], number(body.len())];
            batch.extend(heads.into_iter().flatten().chain(body.iter().copied()).chain([0; 2]));
        }
        Ok(self.call_with(SEND_BATCH_MESSAGE, &fields, &batch)?.map(|frame| number(&frame, "queueOffset")))
    }

    /// What a queue has from `offset` on, at most `count`; none at its end.
    /// # Errors
    /// What the socket says; `InvalidData` for a body that holds no records.
    pub fn pull(&mut self, topic: &str, queue: i64, offset: i64, count: i64) -> std::io::Result<Vec<Message>> {
        let fields = json!({ "consumerGroup": "C", "topic": topic, "queueId": queue.to_string(),
            "queueOffset": offset.to_string(), "maxMsgNums": count.to_string(), "sysFlag": "4", "commitOffset": "0",
            "suspendTimeoutMillis": "0", "subscription": "*", "subVersion": "0", "expressionType": "TAG" });
        match self.call(PULL_MESSAGE, &fields)? {
            Ok(frame) => records(&frame.body).ok_or_else(|| std::io::ErrorKind::InvalidData.into()),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// The bodies that are found by a key.
    /// # Errors
    /// As [`Link::pull`].
    pub fn query(&mut self, topic: &str, key: &str) -> std::io::Result<Vec<Message>> {
        let fields = json!({ "topic": topic, "key": key, "maxNum": "32", "beginTimestamp": "0",
            "endTimestamp": i64::MAX.to_string(), "_UNIQUE_KEY_QUERY": "true" });
        match self.call(QUERY_MESSAGE, &fields)? {
            Ok(frame) => records(&frame.body).ok_or_else(|| std::io::ErrorKind::InvalidData.into()),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// minOffset and maxOffset of a queue.
    /// # Errors
    /// As [`Link::call`].
    pub fn range(&mut self, topic: &str, queue: i64) -> std::io::Result<(i64, i64)> {
        let fields = json!({ "topic": topic, "queueId": queue.to_string() });
        let mut ask = |code| {
            let answer = self.call(code, &fields)?;
            answer.map(|frame| number(&frame, "offset")).map_err(|refused| std::io::Error::other(refused.remark))
        };
        Ok((ask(GET_MIN_OFFSET)?, ask(GET_MAX_OFFSET)?))
    }

    /// Commits an offset of the group `C`.
    /// # Errors
    /// As [`Link::call`].
    pub fn commit(&mut self, topic: &str, queue: i64, offset: i64) -> std::io::Result<Result<(), Refused>> {
        let fields = json!({ "consumerGroup": "C", "topic": topic, "queueId": queue.to_string(),
            "commitOffset": offset.to_string() });
        Ok(self.call(UPDATE_CONSUMER_OFFSET, &fields)?.map(drop))
    }

    /// The committed offset of the group `C`; none when there is none.
    /// # Errors
    /// What the socket says.
    pub fn committed(&mut self, topic: &str, queue: i64) -> std::io::Result<Option<i64>> {
        let fields = json!({ "consumerGroup": "C", "topic": topic, "queueId": queue.to_string(),
            "setZeroIfNotFound": "false" });
        Ok(self.call(QUERY_CONSUMER_OFFSET, &fields)?.ok().map(|frame| number(&frame, "offset")))
    }
}

fn number(frame: &wire::Frame, field: &str) -> i64 {
    frame.header["extFields"][field].as_str().and_then(|text| text.parse().ok()).unwrap_or(-1)
}

/// The records of a pull's body. Layout: size, magic, bodyCRC, queueId, flag (4 each), queueOffset, physicalOffset (8 each),
/// sysFlag (4), bornTimestamp (8), bornHost (8), storeTimestamp (8), storeHost (8), reconsumeTimes (4),
/// preparedTransactionOffset (8), body with its length (4), …
fn records(mut bytes: &[u8]) -> Option<Vec<Message>> {
    const BODY_LEN_AT: usize = 84;
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let number = |at: usize, len: usize| {
            let field = bytes.get(at..at + len)?;
            Some(field.iter().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte)))
        };
        let (size, body_len) = (usize::try_from(number(0, 4)?).ok()?, usize::try_from(number(BODY_LEN_AT, 4)?).ok()?);
        let body = bytes.get(BODY_LEN_AT + 4..BODY_LEN_AT + 4 + body_len)?;
        found.push(Message { queue_offset: number(20, 8)?, body: String::from_utf8_lossy(body).into_owned() });
        bytes = bytes.get(size.max(1)..)?;
    }
    Some(found)
}
