//! Heartbeats (34), leaving (35) and the check of expressions (46). Source: broker/processor/ClientManageProcessor.java.

use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::{ClientChannelInfo, ConsumerManager, GroupChange};
use crate::filter::{ConsumerFilterManager, compile, is_tag_type, not_supported};
use crate::producer_manager::ProducerManager;
use crate::reply::bad_body;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use codec::fields::NoHeader;
use codec::json;
use protocol::body::client::{CheckClientRequestBody, ConsumeType, ConsumerData, HeartbeatData, SubscriptionData};
use protocol::header::client::{ConsumerGroupRequestHeader, HeartbeatResponseHeader, UnregisterClientRequestHeader};
use protocol::names;
use protocol::operation::{CheckClientConfig, HeartBeat, NotifyConsumerIdsChanged, UnregisterClient};
use protocol::response_code::{SUBSCRIPTION_PARSE_FAILED, SYSTEM_ERROR};
use protocol::sys_flag::topic as topic_flag;
use remoting::channel::Channel;
use remoting::clock;
use remoting::reply::{Body, Outcome, Reply, Request};
use remoting::routes::Processor;
use remoting::server::ChannelListener;
use std::sync::Arc;

/// Keeps the tables of connected clients.
pub struct ClientManageProcessor {
    /// Consumers.
    pub consumers: Arc<ConsumerManager>,
    /// Producers.
    pub producers: Arc<ProducerManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Topics: a group's first heartbeat makes its retry topic.
    pub topics: Arc<TopicConfigManager>,
    /// Expressions of consumers.
    pub filters: Arc<ConsumerFilterManager>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
}

impl Processor<HeartBeat> for ClientManageProcessor {
    fn process(&self, request: Request<NoHeader>) -> Outcome<HeartbeatResponseHeader> {
        let heartbeat: HeartbeatData = match json::from_slice(&request.body) {
            Ok(heartbeat) => heartbeat,
            Err(error) => return bad_body(error).into(),
        };
        let client = || ClientChannelInfo {
            channel: request.channel.clone(),
            client_id: heartbeat.client_id.clone(),
            language: request.language,
            version: request.version,
            last_update_timestamp: clock::now_ms(),
        };
        // Without fingerprint the client is always asked for everything.
        let mut is_sub_change = heartbeat.heartbeat_fingerprint == 0;
        for data in &heartbeat.consumer_data_set {
            is_sub_change |= self.register_consumer(data, client(), &heartbeat);
        }
        if self.config.get().broker.enable_register_producer {
            for data in &heartbeat.producer_data_set {
                self.producers.register(&data.group_name, client());
            }
        }
        let is_sub_change = Some(is_sub_change);
        Reply::ok(HeartbeatResponseHeader { is_support_heart_beat_v2: Some(true), is_sub_change }).into()
    }
}

impl Processor<UnregisterClient> for ClientManageProcessor {
    fn process(&self, request: Request<UnregisterClientRequestHeader>) -> Outcome {
        if let Some(group) = &request.header.producer_group {
            self.producers.unregister(group, &request.channel);
        }
        if let Some(group) = &request.header.consumer_group {
            let change = self.consumers.unregister(group, &request.channel);
            self.left(group, change);
        }
        Reply::success().into()
    }
}

impl Processor<CheckClientConfig> for ClientManageProcessor {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        let check: CheckClientRequestBody = match json::from_slice(&request.body) {
            Ok(check) => check,
            Err(error) => return bad_body(error).into(),
        };
        let SubscriptionData { expression_type, sub_string, topic, .. } = check.subscription_data;
        if is_tag_type(&expression_type) {
            return Reply::success().into();
        }
        if !self.config.get().broker.enable_property_filter {
            return Reply::error(SYSTEM_ERROR, not_supported(&expression_type)).into();
        }
        match compile(&sub_string, &expression_type) {
            Ok(_) => Reply::success().into(),
            Err(error) => {
                tracing::warn!(
                    client = check.client_id,
                    group = check.group,
                    topic,
                    expression = sub_string,
                    error,
                    "a consumer's expression cannot be read"
                );
                Reply::error(SUBSCRIPTION_PARSE_FAILED, error).into()
            }
        }
    }
}

impl ClientManageProcessor {
    /// Takes one consumer in; true when the broker needs its whole subscription.
    fn register_consumer(&self, data: &ConsumerData, client: ClientChannelInfo, heartbeat: &HeartbeatData) -> bool {
        let options = self.config.get();
        if options.broker.reject_pull_consumer_enable && data.consume_type == ConsumeType::ConsumeActively {
            return false;
        }
        let group_name = &data.group_name;
        let Some(group) = self.groups.find(group_name, options.broker.auto_create_subscription_group) else {
            return false;
        };
        let order = data.subscription_data_set.iter().any(|subscription| self.topics.is_order(&subscription.topic));
        let flag = if data.unit_mode { topic_flag::build(false, true) } else { 0 };
        self.topics.create_for_retry(&names::retry_topic(group_name), group.retry_queue_nums, order, flag);
        // A member that reconnects to a broker which forgot the group leaves out what the broker needs.
        let unknown = self.consumers.model(group_name).is_none();
        let change = self.consumers.register(data, client, heartbeat.without_sub);
        if !heartbeat.without_sub {
            self.filters.register(group_name, &data.subscription_data_set, clock::now_ms());
        }
        let fingerprint = heartbeat.heartbeat_fingerprint;
        let differs = fingerprint != 0 && self.consumers.update_fingerprint(group_name, fingerprint);
        if change.changed {
            tracing::info!(group = group_name, client = heartbeat.client_id, "consumer registered or changed");
        }
        if group.notify_consumer_ids_changed_enable {
            self.notify(group_name, change);
        }
        differs || (unknown && heartbeat.without_sub)
    }

    /// A member has left a group.
    fn left(&self, group: &str, change: GroupChange) {
        if change.gone {
            self.filters.unregister(group, clock::now_ms());
        }
        self.notify(group, change);
    }

    /// Tells the members of a group to rebalance.
    pub fn notify(&self, group: &str, change: GroupChange) {
        let enabled = self.config.get().broker.notify_consumer_ids_changed_enable
            && self.groups.get(group).is_none_or(|group| group.notify_consumer_ids_changed_enable);
        if enabled {
            let header = ConsumerGroupRequestHeader { consumer_group: group.into() };
            for channel in change.notify {
                channel.oneway::<NotifyConsumerIdsChanged>(&header, Body::Empty);
            }
        }
    }

    /// Takes out clients that were silent too long.
    pub fn expire(&self) {
        let options = self.config.get();
        let now_ms = clock::now_ms();
        let deadline_ms = now_ms - options.broker.channel_expired_timeout;
        self.producers.expire(deadline_ms);
        for (group, change) in self.consumers.expire(deadline_ms) {
            self.left(&group, change);
        }
        self.consumers.expire_compensated(now_ms - options.broker.subscription_expired_timeout);
    }
}

impl ChannelListener for ClientManageProcessor {
    fn closed(&self, channel: &Arc<Channel>) {
        self.producers.close(channel);
        for (group, change) in self.consumers.close(channel) {
            tracing::info!(group, peer = %channel.peer(), "consumer connection closed");
            self.left(&group, change);
        }
    }
}
