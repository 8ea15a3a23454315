//! Figures for administrators.

use super::client::SubscriptionData;
use super::{MessageQueue, QueueTable, null_as_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Range of one queue (202).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicOffset {
    /// Store time of the last message, ms.
    pub last_update_timestamp: i64,
    /// Behind the last message.
    pub max_offset: i64,
    /// First message.
    pub min_offset: i64,
}

/// Answer to 202.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStatsTable {
    /// Range by queue.
    pub offset_table: QueueTable<TopicOffset>,
    /// Messages a second.
    #[serde(deserialize_with = "null_as_default")]
    pub topic_put_tps: f64,
}

/// How far a group is in one queue (208).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffsetWrapper {
    /// Behind the last message.
    pub broker_offset: i64,
    /// Next to consume.
    pub consumer_offset: i64,
    /// Store time of the last consumed message, ms.
    pub last_timestamp: i64,
    /// Next to pull.
    pub pull_offset: i64,
}

/// Answer to 208.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStats {
    /// Messages a second.
    #[serde(deserialize_with = "null_as_default")]
    pub consume_tps: f64,
    /// Progress by queue.
    pub offset_table: QueueTable<OffsetWrapper>,
}

/// Answer to 317.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatsList {
    /// The broker.
    pub broker_addr: String,
    /// Progress by group.
    pub consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
    /// Messages not consumed.
    pub total_diff: i64,
    /// Messages pulled and not yet consumed.
    pub total_inflight_diff: i64,
}

/// Names of groups (300).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupList {
    /// The names.
    pub group_list: Vec<String>,
}

/// Answer to 345.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QuerySubscriptionResponseBody {
    /// Group.
    pub group: String,
    /// Its subscription; absent without members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
    /// Topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// Times of one queue (303).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueTimeSpan {
    /// Store time of the message consumed last, ms; of the first where there is none.
    pub consume_time_stamp: i64,
    /// The same for people.
    pub consume_time_stamp_str: String,
    /// How old the next message to consume is, ms.
    pub delay_time: i64,
    /// Store time of the last message, ms.
    pub max_time_stamp: i64,
    /// The same for people.
    pub max_time_stamp_str: String,
    /// The queue.
    pub message_queue: MessageQueue,
    /// Store time of the first message, ms.
    pub min_time_stamp: i64,
    /// The same for people.
    pub min_time_stamp_str: String,
}

/// Answer to 303.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryConsumeTimeSpanBody {
    /// One entry a queue.
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}

/// Counts of one span of time (315).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrokerStatsItem {
    /// Average per event.
    #[serde(deserialize_with = "null_as_default")]
    pub avgpt: f64,
    /// Sum.
    pub sum: i64,
    /// Per second.
    #[serde(deserialize_with = "null_as_default")]
    pub tps: f64,
}

/// Answer to 315.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerStatsData {
    /// Last day.
    pub stats_day: BrokerStatsItem,
    /// Last hour.
    pub stats_hour: BrokerStatsItem,
    /// Last minute.
    pub stats_minute: BrokerStatsItem,
}

/// One unit of a consume queue (321).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeQueueData {
    /// Which SQL filters take the message, as digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_map: Option<String>,
    /// Would be delivered to the group.
    pub eval: bool,
    /// The unit of the queue's extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extend_data_json: Option<String>,
    /// Why it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// Position in the commit log.
    pub physic_offset: i64,
    /// Size there.
    pub physic_size: i32,
    /// Hash of the tag.
    pub tags_code: i64,
}

/// Answer to 321.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryConsumeQueueResponseBody {
    /// The SQL filter of the group, or why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_data: Option<String>,
    /// Behind the last unit.
    pub max_queue_index: i64,
    /// First unit.
    pub min_queue_index: i64,
    /// The units.
    pub queue_data: Vec<ConsumeQueueData>,
    /// Subscription of the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
}

/// Answer to 308.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryCorrectionOffsetBody {
    /// Offset by queue.
    pub correction_offsets: BTreeMap<i32, i64>,
}
