//! Offsets of queues and groups: 29, 30, 31, 32, 43, 45, 222, 303, 308, 314.

use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::ConsumerManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::reply::{group_not_exist, topic_not_exist};
use crate::schedule::ScheduleOffsets;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use codec::fields::NoHeader;
use protocol::body::admin::{QueryConsumeTimeSpanBody, QueryCorrectionOffsetBody, QueueTimeSpan};
use protocol::body::client::ResetOffsetBody;
use protocol::body::{MessageQueue, MessageQueueKey, encode};
use protocol::header::offset::{
    CloneGroupOffsetRequestHeader, GetEarliestMsgStoretimeResponseHeader, OffsetResponseHeader,
    QueryCorrectionOffsetHeader, QueueRequestHeader, ResetOffsetRequestHeader, SearchOffsetRequestHeader,
};
use protocol::header::topic::QueryConsumeTimeSpanRequestHeader;
use protocol::operation::{
    CloneGroupOffset, GetAllConsumerOffset, GetAllDelayOffset, GetEarliestMsgStoretime, GetMaxOffset, GetMinOffset,
    InvokeBrokerToResetOffset, QueryConsumeTimeSpan, QueryCorrectionOffset, SearchOffsetByTimestamp,
};
use protocol::response_code::SYSTEM_ERROR;
use remoting::clock;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Boundary, MessageStore};

/// Answers questions about offsets, and sets them.
pub struct OffsetAdmin {
    /// Queues.
    pub store: Arc<MessageStore>,
    /// Offsets of groups.
    pub offsets: Arc<ConsumerOffsetManager>,
    /// Offsets of delay levels.
    pub schedule: Arc<ScheduleOffsets>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Connected consumers.
    pub consumers: Arc<ConsumerManager>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
}

impl Processor<GetMaxOffset> for OffsetAdmin {
    fn process(&self, request: Request<QueueRequestHeader>) -> Outcome<OffsetResponseHeader> {
        let offset = self.store.max_offset(&request.header.topic, request.header.queue_id);
        Reply::ok(OffsetResponseHeader { offset }).into()
    }
}

impl Processor<GetMinOffset> for OffsetAdmin {
    fn process(&self, request: Request<QueueRequestHeader>) -> Outcome<OffsetResponseHeader> {
        let offset = self.store.min_offset(&request.header.topic, request.header.queue_id);
        Reply::ok(OffsetResponseHeader { offset }).into()
    }
}

impl Processor<SearchOffsetByTimestamp> for OffsetAdmin {
    fn process(&self, request: Request<SearchOffsetRequestHeader>) -> Outcome<OffsetResponseHeader> {
        let header = &request.header;
        let boundary = match header.boundary_type.as_deref() {
            Some(kind) if kind.eq_ignore_ascii_case("UPPER") => Boundary::Upper,
            _ => Boundary::Lower,
        };
        let offset = self.store.offset_by_time(&header.topic, header.queue_id, header.timestamp, boundary);
        Reply::ok(OffsetResponseHeader { offset }).into()
    }
}

impl Processor<GetEarliestMsgStoretime> for OffsetAdmin {
    fn process(&self, request: Request<QueueRequestHeader>) -> Outcome<GetEarliestMsgStoretimeResponseHeader> {
        let timestamp = self.store.earliest_queue_store_time(&request.header.topic, request.header.queue_id);
        Reply::ok(GetEarliestMsgStoretimeResponseHeader { timestamp }).into()
    }
}

impl Processor<GetAllConsumerOffset> for OffsetAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        Reply::body(encode(&self.offsets.snapshot())).into()
    }
}

impl Processor<GetAllDelayOffset> for OffsetAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        Reply::body(encode(&self.schedule.snapshot())).into()
    }
}

impl Processor<InvokeBrokerToResetOffset> for OffsetAdmin {
    fn process(&self, request: Request<ResetOffsetRequestHeader>) -> Outcome {
        self.reset(&request.header).unwrap_or_else(|refusal| refusal).into()
    }
}

impl OffsetAdmin {
    /// Sets where a group goes on: one queue or all, at an offset or a time. The next pull of each queue is told.
    /// Source: AdminBrokerProcessor.resetOffsetInner.
    fn reset(&self, header: &ResetOffsetRequestHeader) -> Result<Reply, Reply> {
        let (topic, group): (&str, &str) = (&header.topic, &header.group);
        let config = self.topics.get(topic).ok_or_else(|| topic_not_exist(topic, ""))?;
        let auto_create = self.config.get().broker.auto_create_subscription_group;
        self.groups.find(group, auto_create).ok_or_else(|| group_not_exist(group))?;
        let mut targets = BTreeMap::new();
        match (header.queue_id, header.offset) {
            (0.., Some(offset)) if offset != -1 => {
                let range =
                    (self.store.min_offset(topic, header.queue_id), self.store.max_offset(topic, header.queue_id));
                if offset < range.0 || offset > range.1 {
                    let remark = format!("Target offset {offset} not in consume queue range [{}-{}]", range.0, range.1);
                    return Err(Reply::error(SYSTEM_ERROR, remark));
                }
                targets.insert(header.queue_id, offset);
            }
            (0.., _) => drop(targets.insert(header.queue_id, self.offset_at(topic, header.queue_id, header.timestamp))),
            _ => {
                let all = 0..config.write_queue_nums;
                targets.extend(all.map(|queue_id| (queue_id, self.offset_at(topic, queue_id, header.timestamp))));
            }
        }
        let broker_name = &self.config.get().broker.broker_name;
        let mut body = ResetOffsetBody::default();
        for (queue_id, offset) in targets {
            self.offsets.assign_reset(group, topic, queue_id, offset);
            let queue = MessageQueue { broker_name: broker_name.clone(), queue_id, topic: topic.to_owned() };
            body.offset_table.insert(MessageQueueKey(queue), offset);
        }
        tracing::info!(topic, group, queues = body.offset_table.len(), timestamp = header.timestamp, "offsets reset");
        Ok(Reply::body(encode(&body)))
    }

    fn offset_at(&self, topic: &str, queue_id: i32, timestamp: i64) -> i64 {
        match timestamp {
            ..=-1 => self.store.max_offset(topic, queue_id),
            _ => self.store.offset_by_time(topic, queue_id, timestamp, Boundary::Lower),
        }
    }
}

impl Processor<CloneGroupOffset> for OffsetAdmin {
    fn process(&self, request: Request<CloneGroupOffsetRequestHeader>) -> Outcome {
        let header = &request.header;
        let topics = match header.topic.as_deref().filter(|topic| !topic.is_empty()) {
            Some(topic) => vec![topic.to_owned()],
            None => self.offsets.topics_of(&header.src_group).into_iter().collect(),
        };
        for topic in topics {
            self.offsets.clone_offsets(&header.src_group, &header.dest_group, &topic);
        }
        Reply::success().into()
    }
}

impl Processor<QueryCorrectionOffset> for OffsetAdmin {
    fn process(&self, request: Request<QueryCorrectionOffsetHeader>) -> Outcome {
        let header = &request.header;
        let topic: &str = &header.topic;
        let without: Vec<&str> = header.filter_groups.as_deref().unwrap_or_default().split(',').collect();
        let mut lowest: BTreeMap<i32, i64> = BTreeMap::new();
        for group in self.offsets.groups_of(topic).iter().filter(|group| !without.contains(&group.as_str())) {
            for (queue_id, offset) in self.offsets.query_all(group, topic).unwrap_or_default() {
                let lowest = lowest.entry(queue_id).or_insert(i64::MAX);
                *lowest = offset.min(*lowest);
            }
        }
        let compared = self.offsets.query_all(&header.compare_group, topic).unwrap_or_default();
        lowest.retain(|queue_id, offset| compared.get(queue_id).is_none_or(|compared| *compared > *offset));
        Reply::body(encode(&QueryCorrectionOffsetBody { correction_offsets: lowest })).into()
    }
}

impl Processor<QueryConsumeTimeSpan> for OffsetAdmin {
    fn process(&self, request: Request<QueryConsumeTimeSpanRequestHeader>) -> Outcome {
        let (topic, group): (&str, &str) = (&request.header.topic, &request.header.group);
        let Some(config) = self.topics.get(topic) else { return topic_not_exist(topic, "").into() };
        let broker_name = &self.config.get().broker.broker_name;
        let spans = (0..config.write_queue_nums).map(|queue_id| {
            let time = |offset| self.store.store_time(topic, queue_id, offset).unwrap_or(-1);
            let next = self.offsets.query(group, topic, queue_id);
            let consume_time_stamp = next.filter(|next| *next > 0).map_or(-1, |next| time(next - 1));
            let unconsumed = next.and_then(|next| self.store.store_time(topic, queue_id, next));
            QueueTimeSpan {
                consume_time_stamp,
                delay_time: unconsumed.map_or(0, |stored| clock::now_ms() - stored),
                max_time_stamp: time(self.store.max_offset(topic, queue_id) - 1),
                message_queue: MessageQueue { broker_name: broker_name.clone(), queue_id, topic: topic.to_owned() },
                min_time_stamp: self.store.earliest_queue_store_time(topic, queue_id),
            }
        });
        Reply::body(encode(&QueryConsumeTimeSpanBody { consume_time_span_set: spans.collect() })).into()
    }
}
