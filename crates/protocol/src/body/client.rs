//! Clients: heartbeats, subscriptions, locks, connections.

use super::{MessageQueue, QueueTable, null_as_default};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How a group consumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConsumeType {
    /// The application pulls.
    ConsumeActively,
    /// The client pushes to the application.
    #[default]
    ConsumePassively,
    /// By pop.
    ConsumePop,
}

/// Who of a group gets a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MessageModel {
    /// Every member.
    Broadcasting,
    /// One of them.
    #[default]
    Clustering,
}

/// Where a group without offset begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConsumeFromWhere {
    /// At the end.
    #[default]
    ConsumeFromLastOffset,
    /// Old name.
    ConsumeFromLastOffsetAndFromMinWhenBootFirst,
    /// Old name.
    ConsumeFromMinOffset,
    /// Old name.
    ConsumeFromMaxOffset,
    /// At the beginning.
    ConsumeFromFirstOffset,
    /// At a time.
    ConsumeFromTimestamp,
}

/// What a group wants of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionData {
    /// Filter by class, long gone.
    pub class_filter_mode: bool,
    /// `String.hashCode` of each tag.
    #[serde(deserialize_with = "codes")]
    pub code_set: BTreeSet<i32>,
    /// `TAG` or `SQL92`.
    #[serde(deserialize_with = "null_as_default")]
    pub expression_type: String,
    /// The expression as written.
    #[serde(deserialize_with = "null_as_default")]
    pub sub_string: String,
    /// Rises with every change, ms.
    pub sub_version: i64,
    /// The tags of the expression; empty means all.
    #[serde(deserialize_with = "null_as_default")]
    pub tags_set: BTreeSet<String>,
    /// Topic.
    #[serde(deserialize_with = "null_as_default")]
    pub topic: String,
}

impl Default for SubscriptionData {
    fn default() -> SubscriptionData {
        SubscriptionData {
            class_filter_mode: false,
            code_set: BTreeSet::new(),
            expression_type: "TAG".to_owned(),
            sub_string: String::new(),
            sub_version: 0,
            tags_set: BTreeSet::new(),
            topic: String::new(),
        }
    }
}

/// Numbers as they are, or as decimal text: so the Go client writes them, and fastjson takes both.
fn codes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<i32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Code {
        Number(i32),
        Text(String),
    }
    let written: Option<Vec<Code>> = Option::deserialize(deserializer)?;
    let parse = |code| match code {
        Code::Number(number) => Ok(number),
        Code::Text(text) => {
            text.parse().map_err(|_| D::Error::custom(format!("code {text:?} is no number of 32 bits")))
        }
    };
    written.into_iter().flatten().map(parse).collect()
}

/// One producer group of a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerData {
    /// Group.
    pub group_name: String,
}

/// One consumer group of a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerData {
    /// Where it begins.
    #[serde(deserialize_with = "null_as_default")]
    pub consume_from_where: ConsumeFromWhere,
    /// How it consumes.
    #[serde(deserialize_with = "null_as_default")]
    pub consume_type: ConsumeType,
    /// Group.
    pub group_name: String,
    /// Cluster or broadcast.
    #[serde(deserialize_with = "null_as_default")]
    pub message_model: MessageModel,
    /// Its topics.
    #[serde(deserialize_with = "null_as_default")]
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Unit mode.
    pub unit_mode: bool,
}

/// Body of 34.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatData {
    /// The client.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// Its consumers.
    #[serde(deserialize_with = "null_as_default")]
    pub consumer_data_set: Vec<ConsumerData>,
    /// Hash of everything else; 0 in heartbeats of version 1.
    pub heartbeat_fingerprint: i32,
    /// Its producers.
    #[serde(deserialize_with = "null_as_default")]
    pub producer_data_set: Vec<ProducerData>,
    /// The subscriptions are left out, since they did not change.
    pub without_sub: bool,
}

/// Body of 46.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckClientRequestBody {
    /// The client.
    #[serde(deserialize_with = "null_as_default")]
    pub client_id: String,
    /// Its group.
    #[serde(deserialize_with = "null_as_default")]
    pub group: String,
    /// The expression to check.
    #[serde(deserialize_with = "null_as_default")]
    pub subscription_data: SubscriptionData,
}

/// Body of 41 and 42.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockBatchRequestBody {
    /// Who locks.
    pub client_id: String,
    /// For which group.
    pub consumer_group: String,
    /// Which queues.
    #[serde(deserialize_with = "null_as_default")]
    pub mq_set: Vec<MessageQueue>,
    /// Do not ask the replicas.
    pub only_this_broker: bool,
}

/// Answer to 41.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockBatchResponseBody {
    /// The queues that the client now holds.
    #[serde(rename = "lockOKMQSet", default)]
    pub lock_ok_mq_set: Vec<MessageQueue>,
}

/// Answer to 38.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetConsumerListByGroupResponseBody {
    /// Clients of the group.
    pub consumer_id_list: Vec<String>,
}

/// One client of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connection {
    /// Its remote address.
    pub client_addr: String,
    /// Its id.
    pub client_id: String,
    /// Its language.
    pub language: String,
    /// Ordinal of its release.
    pub version: i32,
}

/// Answer to 203.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerConnection {
    /// Its clients.
    pub connection_set: Vec<Connection>,
    /// Where it begins.
    pub consume_from_where: ConsumeFromWhere,
    /// How it consumes.
    pub consume_type: ConsumeType,
    /// Cluster or broadcast.
    pub message_model: MessageModel,
    /// What it wants, by topic.
    pub subscription_table: BTreeMap<String, SubscriptionData>,
}

/// Answer to 204.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerConnection {
    /// Its clients.
    pub connection_set: Vec<Connection>,
}

/// One producer in the answer to 328.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerInfo {
    /// Its id.
    pub client_id: String,
    /// Its language.
    pub language: String,
    /// Last heartbeat, ms.
    pub last_update_timestamp: i64,
    /// Its remote address.
    #[serde(rename = "remoteIP")]
    pub remote_ip: String,
    /// Ordinal of its release.
    pub version: i32,
}

/// Answer to 328.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProducerTableInfo {
    /// Producers by group.
    pub data: BTreeMap<String, Vec<ProducerInfo>>,
}

/// Answer to 222 and body of 220.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBody {
    /// New offset by queue.
    pub offset_table: QueueTable<i64>,
}

/// Answer of a client to 221.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetConsumerStatusBody {
    /// By client, in the broker's answer to 223.
    pub consumer_table: BTreeMap<String, QueueTable<i64>>,
    /// Offset by queue, in the client's answer.
    pub message_queue_table: QueueTable<i64>,
}

/// Body of 220 for clients in C++.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBodyForC {
    /// New offsets.
    pub offset_table: Vec<QueueOffsetForC>,
}

/// A queue and where to go on in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueOffsetForC {
    /// Broker.
    pub broker_name: String,
    /// Next message to consume.
    pub offset: i64,
    /// Queue.
    pub queue_id: i32,
    /// Topic.
    pub topic: String,
}

#[cfg(test)]
mod tests {
    use super::SubscriptionData;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_numbers_or_decimal_text() {
        let check = |codes: &str, expect: Option<&[i32]>| {
            let text = format!(r#"{{"topic":"T","codeSet":{codes}}}"#);
            let read = codec::json::from_slice::<SubscriptionData>(text.as_bytes());
            assert_eq!(read.ok().map(|data| data.code_set), expect.map(|all| BTreeSet::from_iter(all.iter().copied())));
        };
        check("[65,-3]", Some(&[65, -3]));
        check(r#"["65","-3"]"#, Some(&[65, -3]));
        check("null", Some(&[]));
        check(r#"["x"]"#, None);
        check("[5000000000]", None);
    }
}
