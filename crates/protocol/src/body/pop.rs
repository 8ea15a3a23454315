//! POP consumption: request bodies, assignment by the broker, and the records of the revive topic.

use super::{MessageQueue, client::MessageModel, null_as_default};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a consumer gets its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RequestMode {
    /// From queues that it was assigned.
    #[default]
    Pull,
    /// The broker hands them out.
    Pop,
}

/// Body of 401, and the values of `messageRequestMode.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetMessageRequestModeRequestBody {
    /// Group.
    pub consumer_group: String,
    /// Mode.
    #[serde(deserialize_with = "null_as_default")]
    pub mode: RequestMode,
    /// Each client pops its own queues and those of so many neighbours; 0 or less: all queues.
    pub pop_share_queue_num: i32,
    /// Topic.
    pub topic: String,
}

/// Body of 400.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryAssignmentRequestBody {
    /// The client.
    pub client_id: String,
    /// Group.
    pub consumer_group: String,
    /// Cluster or broadcast.
    #[serde(deserialize_with = "null_as_default")]
    pub message_model: MessageModel,
    /// `AVG` or `AVG_BY_CIRCLE`.
    #[serde(deserialize_with = "null_as_default")]
    pub strategy_name: String,
    /// Topic.
    pub topic: String,
}

/// One queue for a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageQueueAssignment {
    /// The queue; with id −1 all queues of the broker.
    pub message_queue: MessageQueue,
    /// `PULL` or `POP`.
    pub mode: String,
}

/// Answer to 400. Without assignments the client keeps what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryAssignmentResponseBody {
    /// The client's queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queue_assignments: Option<Vec<MessageQueueAssignment>>,
}

/// Body of 200151.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BatchAckMessageRequestBody {
    /// What is acknowledged.
    #[serde(deserialize_with = "null_as_default")]
    pub acks: Vec<BatchAck>,
    /// Broker of the receipts.
    #[serde(deserialize_with = "null_as_default")]
    pub broker_name: String,
}

/// Messages of one check point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchAck {
    /// Bit i stands for the message at `start_offset` + i.
    #[serde(rename = "b", alias = "bitSet", with = "bits")]
    pub bit_set: Vec<u8>,
    /// Group.
    #[serde(rename = "c", alias = "consumerGroup")]
    pub consumer_group: String,
    /// Of the receipt, ms.
    #[serde(rename = "it", alias = "invisibleTime")]
    pub invisible_time: i64,
    /// Of the receipt, ms.
    #[serde(rename = "pt", alias = "popTime")]
    pub pop_time: i64,
    /// Queue.
    #[serde(rename = "q", alias = "queueId")]
    pub queue_id: i32,
    /// `0` the topic, `1` its retry topic v1, `2` v2.
    #[serde(rename = "r", alias = "retry", deserialize_with = "null_as_default")]
    pub retry: String,
    /// Of the receipt.
    #[serde(rename = "rq", alias = "reviveQueueId")]
    pub revive_queue_id: i32,
    /// Of the receipt.
    #[serde(rename = "so", alias = "startOffset")]
    pub start_offset: i64,
    /// Topic.
    #[serde(rename = "t", alias = "topic")]
    pub topic: String,
}

impl BatchAck {
    /// Places of the set bits, counted from `start_offset`.
    pub fn set_bits(&self) -> impl Iterator<Item = i64> + '_ {
        let byte = |(at, bits): (usize, &u8)| {
            let (at, bits) = (i64::try_from(at).unwrap_or(i64::MAX >> 4) * 8, *bits);
            (0..8).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| at + bit)
        };
        self.bit_set.iter().enumerate().flat_map(byte)
    }
}

/// A BitSet as fastjson has it: the base64 text of its bytes, the lowest bit first.
mod bits {
    use super::*;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        STANDARD
            .decode(text.unwrap_or_default())
            .map_err(|error| D::Error::custom(format!("the bit set is no base64: {error}")))
    }
}

/// A check point: messages that were handed out, body of a record with the tag `ck`. Source: store/pop/PopCheckPoint.java.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PopCheckPoint {
    /// Bit i: message i is acknowledged.
    #[serde(rename = "bm")]
    pub bit_map: i32,
    /// Broker that handed them out.
    #[serde(rename = "bn", skip_serializing_if = "Option::is_none")]
    pub broker_name: Option<String>,
    /// Group.
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    pub consumer_group: Option<String>,
    /// Place of each message, counted from `start_offset`. Old brokers leave it out: then they are the next `num`.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    pub queue_offset_diff: Option<Vec<i32>>,
    /// For how long nobody else gets them, ms.
    #[serde(rename = "it")]
    pub invisible_time: i64,
    /// Number of messages.
    #[serde(rename = "n")]
    pub num: i8,
    /// When they were handed out, ms.
    #[serde(rename = "pt")]
    pub pop_time: i64,
    /// Queue.
    #[serde(rename = "q")]
    pub queue_id: i32,
    /// Place in the revive queue, as the broker that wrote it knew it: 0.
    #[serde(rename = "ro")]
    pub revive_offset: i64,
    /// How often it was written again since reviving failed.
    #[serde(rename = "rp", skip_serializing_if = "Option::is_none")]
    pub re_put_times: Option<String>,
    /// Where the queue was read from.
    #[serde(rename = "so")]
    pub start_offset: i64,
    /// Coming again does not count as another attempt.
    #[serde(rename = "sp")]
    pub suspend: bool,
    /// Topic, maybe a retry topic.
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// An acknowledgement: body of a record with the tag `ack`, or, with `ack_offset_list`, `bAck`. Sources:
/// store/pop/AckMsg.java, BatchAckMsg.java.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AckMsg {
    /// The message, −1 in a batch.
    #[serde(rename = "ao", alias = "ackOffset")]
    pub ack_offset: i64,
    /// The messages of a batch.
    #[serde(rename = "aol", alias = "ackOffsetList", skip_serializing_if = "Option::is_none")]
    pub ack_offset_list: Option<Vec<i64>>,
    /// Broker that handed it out; none stands for the one that reads.
    #[serde(rename = "bn", alias = "brokerName", skip_serializing_if = "Option::is_none")]
    pub broker_name: Option<String>,
    /// Group.
    #[serde(rename = "c", alias = "consumerGroup", skip_serializing_if = "Option::is_none")]
    pub consumer_group: Option<String>,
    /// Invisible time of the receipt, ms. Java neither writes nor reads it: there, an acknowledgement comes to the revive
    /// topic behind its check point.
    #[serde(rename = "it", skip_serializing_if = "Option::is_none")]
    pub invisible_time: Option<i64>,
    /// Of the receipt, ms.
    #[serde(rename = "pt", alias = "popTime")]
    pub pop_time: i64,
    /// Queue.
    #[serde(rename = "q", alias = "queueId")]
    pub queue_id: i32,
    /// Of the receipt.
    #[serde(rename = "so", alias = "startOffset")]
    pub start_offset: i64,
    /// Topic, maybe a retry topic.
    #[serde(rename = "t", alias = "topic", skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::encode;
    use codec::json::from_slice;

    #[test]
    fn a_batch_of_acknowledgements_is_read_under_both_names() {
        let short = r#"{"acks":[{"b":"BQE=","c":"g","it":60000,"pt":7,"q":1,"r":"0","rq":3,"so":10,"t":"T"}],"brokerName":"b"}"#;
        let read: BatchAckMessageRequestBody = from_slice(short.as_bytes()).unwrap();
        assert_eq!(read.acks[0].set_bits().collect::<Vec<_>>(), [0, 2, 8]);
        assert_eq!(encode(&read), short.as_bytes());
        let long = r#"{"acks":[{"bitSet":"BQE=","consumerGroup":"g","invisibleTime":60000,"popTime":7,"queueId":1,"retry":"0",
            "reviveQueueId":3,"startOffset":10,"topic":"T"}],"brokerName":"b"}"#;
        assert_eq!(from_slice::<BatchAckMessageRequestBody>(long.as_bytes()).unwrap(), read);
        assert!(from_slice::<BatchAckMessageRequestBody>(br#"{"acks":[{"b":"*"}]}"#).is_err());
    }

    #[test]
    fn check_points_and_acknowledgements_are_written_as_java_does() {
        let point = PopCheckPoint {
            broker_name: Some("b".into()),
            consumer_group: Some("g".into()),
            queue_offset_diff: Some(vec![0, 2]),
            invisible_time: 60_000,
            num: 2,
            pop_time: 7,
            start_offset: 5,
            topic: Some("T".into()),
            ..PopCheckPoint::default()
        };
        let text =
            r#"{"bm":0,"bn":"b","c":"g","d":[0,2],"it":60000,"n":2,"pt":7,"q":0,"ro":0,"so":5,"sp":false,"t":"T"}"#;
        assert_eq!(String::from_utf8(encode(&point)).unwrap(), text);
        assert_eq!(from_slice::<PopCheckPoint>(text.as_bytes()).unwrap(), point);
        let ack = AckMsg { ack_offset: 7, topic: Some("T".into()), ..AckMsg::default() };
        assert_eq!(String::from_utf8(encode(&ack)).unwrap(), r#"{"ao":7,"pt":0,"q":0,"so":0,"t":"T"}"#);
    }
}
