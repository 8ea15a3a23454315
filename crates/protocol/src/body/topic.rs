//! Topics: their configuration, and registration of a broker.

use super::static_topic::TopicQueueMappingDetail;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of a table: changes with every change of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// Counts changes.
    pub counter: i64,
    /// Epoch of a state machine; 0 without controller.
    pub state_version: i64,
    /// Time of the last change, ms.
    pub timestamp: i64,
}

impl DataVersion {
    /// The version after a change at `now_ms`.
    #[must_use]
    pub fn next(self, now_ms: i64) -> DataVersion {
        DataVersion { counter: self.counter.wrapping_add(1), state_version: self.state_version, timestamp: now_ms }
    }
}

/// Whether a message of the topic carries one tag or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TopicFilterType {
    /// One tag.
    #[default]
    SingleTag,
    /// Several tags.
    MultiTag,
}

/// Attribute that says how a topic's queues are kept: `SimpleCQ` or [`BATCH_CQ`].
pub const QUEUE_TYPE: &str = "queue.type";
/// Value of [`QUEUE_TYPE`] for queues whose records hold several messages.
pub const BATCH_CQ: &str = "BatchCQ";
/// Attribute that says what becomes of old messages: `DELETE` or [`COMPACTION`].
pub const CLEANUP_POLICY: &str = "cleanup.policy";
/// Value of [`CLEANUP_POLICY`] for topics of which the newest message of each key is kept.
pub const COMPACTION: &str = "COMPACTION";

/// Settings of one topic on one broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// Attributes such as `message.type`.
    pub attributes: BTreeMap<String, String>,
    /// An order topic.
    pub order: bool,
    /// Bits of [`crate::sys_flag::perm`].
    pub perm: i32,
    /// Queues to read.
    pub read_queue_nums: i32,
    /// One or several tags.
    pub topic_filter_type: TopicFilterType,
    /// Its name.
    pub topic_name: String,
    /// Bits of [`crate::sys_flag::topic`].
    pub topic_sys_flag: i32,
    /// Queues to write.
    pub write_queue_nums: i32,
}

impl TopicConfig {
    /// Whether only the newest message of each key is kept: its attribute `cleanup.policy` is `COMPACTION`.
    #[must_use]
    pub fn is_compacted(&self) -> bool {
        self.attributes.get(CLEANUP_POLICY).is_some_and(|policy| policy == COMPACTION)
    }

    /// Whether the topic's queues hold batches: its attribute `queue.type` is `BatchCQ`.
    #[must_use]
    pub fn is_batch_cq(&self) -> bool {
        self.attributes.get(QUEUE_TYPE).is_some_and(|kind| kind == BATCH_CQ)
    }
}

impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig {
            attributes: BTreeMap::new(),
            order: false,
            perm: 6,
            read_queue_nums: 16,
            topic_filter_type: TopicFilterType::SingleTag,
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

/// `topics.json`, the body of 21, and part of a registration. What nameservers are told of static topics passes
/// through them unread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigSerializeWrapper {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Version of the queue mappings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping_data_version: Option<DataVersion>,
    /// All topics by name.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Static topics in detail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_queue_mapping_detail_map: Option<BTreeMap<String, TopicQueueMappingDetail>>,
    /// Static topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_queue_mapping_info_map: Option<BTreeMap<String, serde_json::Value>>,
}

/// Body of a registration (103).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterBrokerBody {
    /// Addresses of class filter servers, long gone.
    pub filter_server_list: Vec<String>,
    /// The broker's topics.
    pub topic_config_serialize_wrapper: TopicConfigSerializeWrapper,
}

/// Body of 351: a topic's settings, with its queue mapping if it is static.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopicConfigAndQueueMapping {
    /// The settings.
    #[serde(flatten)]
    pub config: TopicConfig,
    /// The mapping, when it was asked for and the topic is static.
    #[serde(rename = "mappingDetail", skip_serializing_if = "Option::is_none")]
    pub mapping_detail: Option<TopicQueueMappingDetail>,
}

/// Body of 18.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateTopicListRequestBody {
    /// Topics to make or change.
    pub topic_config_list: Vec<TopicConfig>,
}

/// Names of topics (206, 224, 305, 343 …).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicList {
    /// A broker, where the answer concerns one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    /// The names.
    pub topic_list: Vec<String>,
}

/// Texts by key (103's answer, 219, 28).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KvTable {
    /// The texts.
    pub table: BTreeMap<String, String>,
}
