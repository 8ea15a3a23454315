//! How far groups are, and counters: 208, 315, 317.

use crate::broker_stats::{BrokerStats, names as stat};
use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::ConsumerManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use crate::topic_queue_mapping_manager::TopicQueueMappingManager;
use protocol::body::admin::{ConsumeStats, ConsumeStatsList, OffsetWrapper};
use protocol::body::topic::TopicConfig;
use protocol::body::{MessageQueue, MessageQueueKey, encode};
use protocol::header::admin::{
    GetConsumeStatsInBrokerHeader, GetConsumeStatsRequestHeader, ViewBrokerStatsDataRequestHeader,
};
use protocol::operation::{GetBrokerConsumeStats, GetConsumeStats, ViewBrokerStatsData};
use protocol::response_code::SYSTEM_ERROR;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::MessageStore;

/// Reckons progress.
pub struct StatsAdmin {
    /// Queues.
    pub store: Arc<MessageStore>,
    /// Offsets of groups.
    pub offsets: Arc<ConsumerOffsetManager>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// Static topics.
    pub mappings: Arc<TopicQueueMappingManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Connected consumers.
    pub consumers: Arc<ConsumerManager>,
    /// Counters.
    pub stats: Arc<BrokerStats>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
}

impl Processor<GetConsumeStats> for StatsAdmin {
    fn process(&self, request: Request<GetConsumeStatsRequestHeader>) -> Outcome {
        let header = &request.header;
        let group: &str = &header.consumer_group;
        let list = header.topic_list.as_deref().filter(|topics| !topics.is_empty());
        let one = header.topic.as_deref().filter(|topic| !topic.trim().is_empty());
        let topics: BTreeSet<String> = match (list, one) {
            (Some(list), _) => list.split(';').map(str::to_owned).collect(),
            (None, Some(one)) => BTreeSet::from([one.to_owned()]),
            (None, None) => self.offsets.topics_of(group),
        };
        let mut all = ConsumeStats::default();
        for topic in topics {
            // What is asked for by a list is shown whether it is subscribed or not.
            if list.is_none() && self.is_unsubscribed(group, &topic) {
                continue;
            }
            let stats = self.consume_stats(group, &topic, |config| config.read_queue_nums);
            all.offset_table.extend(stats.offset_table);
            all.consume_tps += stats.consume_tps;
        }
        Reply::body(encode(&all)).into()
    }
}

impl StatsAdmin {
    /// A group that is connected and no longer subscribes the topic has no progress there.
    fn is_unsubscribed(&self, group: &str, topic: &str) -> bool {
        self.consumers.subscription(group, topic) == Some(None)
    }

    /// Progress of a group in one topic; empty when the topic is gone.
    fn consume_stats(&self, group: &str, topic: &str, queues: impl Fn(&TopicConfig) -> i32) -> ConsumeStats {
        let mut stats = ConsumeStats::default();
        let Some(config) = self.topics.get(topic) else { return stats };
        let broker_name = &self.config.get().broker.broker_name;
        // Which generation of a logic queue a group has reached is told by where it has an offset.
        let none = if self.mappings.get(topic).is_some() { -1 } else { 0 };
        for queue_id in 0..queues(&config) {
            let broker_offset = self.store.max_offset(topic, queue_id);
            let consumer_offset = self.offsets.query(group, topic, queue_id).map_or(none, |offset| offset.max(0));
            let last = (consumer_offset > 0).then(|| self.store.store_time(topic, queue_id, consumer_offset - 1));
            let queue = MessageQueue { broker_name: broker_name.clone(), queue_id, topic: topic.to_owned() };
            let progress = OffsetWrapper {
                broker_offset,
                consumer_offset,
                last_timestamp: last.flatten().unwrap_or(0),
                pull_offset: self.offsets.query_pull(group, topic, queue_id).unwrap_or(0).max(consumer_offset),
            };
            stats.offset_table.insert(MessageQueueKey(queue), progress);
        }
        stats.consume_tps = self.stats.tps(stat::GROUP_GET_NUMS, &format!("{topic}@{group}"));
        stats
    }
}

impl Processor<GetBrokerConsumeStats> for StatsAdmin {
    fn process(&self, request: Request<GetConsumeStatsInBrokerHeader>) -> Outcome {
        let options = self.config.get();
        let broker_addr = format!("{}:{}", options.broker.broker_ip1, options.server.listen_port);
        let mut list = ConsumeStatsList { broker_addr, ..ConsumeStatsList::default() };
        for group in self.groups.snapshot().subscription_group_table.into_keys() {
            let mut of_group = Vec::new();
            for topic in self.offsets.topics_of(&group) {
                let ordered_only = request.header.is_order && !self.topics.is_order(&topic);
                if ordered_only || self.is_unsubscribed(&group, &topic) {
                    continue;
                }
                let stats = self.consume_stats(&group, &topic, |config| config.write_queue_nums);
                for progress in stats.offset_table.values() {
                    list.total_diff += progress.broker_offset - progress.consumer_offset;
                    list.total_inflight_diff += progress.pull_offset - progress.consumer_offset;
                }
                if !stats.offset_table.is_empty() {
                    of_group.push(stats);
                }
            }
            list.consume_stats_list.push(BTreeMap::from([(group, of_group)]));
        }
        Reply::body(encode(&list)).into()
    }
}

impl Processor<ViewBrokerStatsData> for StatsAdmin {
    fn process(&self, request: Request<ViewBrokerStatsDataRequestHeader>) -> Outcome {
        let (name, key) = (&request.header.stats_name, &request.header.stats_key);
        match self.stats.get(name, key) {
            Some(item) => Reply::body(encode(&item.data())).into(),
            None => Reply::error(SYSTEM_ERROR, format!("The stats <{name}> <{key}> not exist")).into(),
        }
    }
}
