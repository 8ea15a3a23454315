//! Subscription groups.

use super::topic::DataVersion;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Settings of one consumer group on one broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupConfig {
    /// Attributes.
    pub attributes: BTreeMap<String, String>,
    /// Which replica to read from: 0 the master.
    pub broker_id: i64,
    /// May broadcast.
    pub consume_broadcast_enable: bool,
    /// May consume at all.
    pub consume_enable: bool,
    /// May begin at the first message.
    pub consume_from_min_enable: bool,
    /// Consumes in order.
    pub consume_message_orderly: bool,
    /// A message not consumed in this time returns, minutes.
    pub consume_timeout_minute: i32,
    /// Its name.
    pub group_name: String,
    /// How delays of retries grow, as Java writes it.
    pub group_retry_policy: serde_json::Value,
    /// Unit bits.
    pub group_sys_flag: i32,
    /// Members are told when members come and go.
    pub notify_consumer_ids_changed_enable: bool,
    /// Retries before the dead letter topic.
    pub retry_max_times: i32,
    /// Queues of the retry topic.
    pub retry_queue_nums: i32,
    /// Fixed subscriptions, as Java writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data_set: Option<BTreeSet<SimpleSubscriptionData>>,
    /// Which replica to read from when far behind.
    pub which_broker_when_consume_slowly: i64,
}

impl Default for SubscriptionGroupConfig {
    fn default() -> SubscriptionGroupConfig {
        SubscriptionGroupConfig {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: serde_json::json!({"type": "CUSTOMIZED"}),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            subscription_data_set: None,
            which_broker_when_consume_slowly: 1,
        }
    }
}

/// A fixed subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SimpleSubscriptionData {
    /// The expression.
    pub expression: String,
    /// `TAG` or `SQL92`.
    pub expression_type: String,
    /// Topic.
    pub topic: String,
    /// Version, ms.
    pub version: i64,
}

/// `subscriptionGroup.json` and the answer to 201.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupWrapper {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Forbidden bits by group and topic.
    pub forbidden_table: BTreeMap<String, BTreeMap<String, i32>>,
    /// All groups by name.
    pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
}

/// Body of 225.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionGroupList {
    /// Groups to make or change.
    pub group_config_list: Vec<SubscriptionGroupConfig>,
}

/// Answer to 353.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupForbidden {
    /// Group.
    pub group: String,
    /// May read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readable: Option<bool>,
    /// Topic.
    pub topic: String,
}
