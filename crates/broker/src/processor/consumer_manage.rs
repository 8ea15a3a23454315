//! Members of a group (38) and its offsets (14, 15). Source: broker/processor/ConsumerManageProcessor.java.

use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::ConsumerManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use protocol::body::client::GetConsumerListByGroupResponseBody;
use protocol::body::encode;
use protocol::header::client::ConsumerGroupRequestHeader;
use protocol::header::offset::{
    OffsetResponseHeader, QueryConsumerOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use protocol::operation::{GetConsumerListByGroup, QueryConsumerOffset, UpdateConsumerOffset};
use protocol::response_code::{
    INVALID_PARAMETER, QUERY_NOT_FOUND, SUBSCRIPTION_GROUP_NOT_EXIST, SYSTEM_ERROR, TOPIC_NOT_EXIST,
};
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;
use store::MessageStore;

/// Answers what consumers ask about their group.
pub struct ConsumerManageProcessor {
    /// Connected consumers.
    pub consumers: Arc<ConsumerManager>,
    /// Offsets.
    pub offsets: Arc<ConsumerOffsetManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// For groups without offset.
    pub store: Arc<MessageStore>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
}

impl Processor<GetConsumerListByGroup> for ConsumerManageProcessor {
    fn process(&self, request: Request<ConsumerGroupRequestHeader>) -> Outcome {
        let group = &request.header.consumer_group;
        let consumer_id_list = self.consumers.client_ids(group);
        if consumer_id_list.is_empty() {
            return Reply::error(SYSTEM_ERROR, format!("no consumer for this group, {group}")).into();
        }
        Reply::body(encode(&GetConsumerListByGroupResponseBody { consumer_id_list })).into()
    }
}

impl Processor<UpdateConsumerOffset> for ConsumerManageProcessor {
    fn process(&self, request: Request<UpdateConsumerOffsetRequestHeader>) -> Outcome {
        let header = &request.header;
        let (group, topic) = (&header.consumer_group, &header.topic);
        let options = self.config.get();
        if self.groups.get(group).is_none() {
            return Reply::error(SUBSCRIPTION_GROUP_NOT_EXIST, format!("Group {group} not exist!")).into();
        }
        if self.topics.get(topic).is_none() {
            return Reply::error(TOPIC_NOT_EXIST, format!("Topic {topic} not exist!")).into();
        }
        let missing = |what| Reply::error(INVALID_PARAMETER, format!("{what} is null, topic is {topic}")).into();
        let Some(queue_id) = header.queue_id else { return missing("QueueId") };
        let Some(offset) = header.commit_offset else { return missing("Offset") };
        if options.broker.use_server_side_reset_offset && self.offsets.has_reset(group, topic, queue_id) {
            return Reply::success().with_remark("Offset has been previously reset").into();
        }
        self.offsets.commit(group, topic, queue_id, offset);
        Reply::success().into()
    }
}

impl Processor<QueryConsumerOffset> for ConsumerManageProcessor {
    fn process(&self, request: Request<QueryConsumerOffsetRequestHeader>) -> Outcome<OffsetResponseHeader> {
        let header = &request.header;
        let (topic, queue_id): (&str, i32) = (&header.topic, header.queue_id);
        // A negative one may have been committed, and counts for none.
        if let Some(offset) = self.offsets.query(&header.consumer_group, topic, queue_id).filter(|offset| *offset >= 0)
        {
            return Reply::ok(OffsetResponseHeader { offset }).into();
        }
        if header.set_zero_if_not_found == Some(false) {
            let remark = "Not found, do not set to zero, maybe this group boot first";
            return Reply::error(QUERY_NOT_FOUND, remark).into();
        }
        // A young queue is consumed from its start, so that what was sent just before the group began is not skipped.
        if self.store.min_offset(topic, queue_id) <= 0 && self.store.in_memory(topic, queue_id, 0) {
            return Reply::ok(OffsetResponseHeader { offset: 0 }).into();
        }
        let remark = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first";
        Reply::error(QUERY_NOT_FOUND, remark).into()
    }
}
