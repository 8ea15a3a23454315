//! Offsets of queues and groups: 29, 30, 31, 32, 43, 45, 303, 308, 314.

use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::ConsumerManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::reply::topic_not_exist;
use crate::schedule::ScheduleOffsets;
use crate::topic_config_manager::TopicConfigManager;
use codec::fields::NoHeader;
use protocol::body::admin::{QueryConsumeTimeSpanBody, QueryCorrectionOffsetBody, QueueTimeSpan};
use protocol::body::{MessageQueue, encode};
use protocol::header::offset::{
    CloneGroupOffsetRequestHeader, GetEarliestMsgStoretimeResponseHeader, OffsetResponseHeader,
    QueryCorrectionOffsetHeader, QueueRequestHeader, SearchOffsetRequestHeader,
};
use protocol::header::topic::QueryConsumeTimeSpanRequestHeader;
use protocol::operation::{
    CloneGroupOffset, GetAllConsumerOffset, GetAllDelayOffset, GetEarliestMsgStoretime, GetMaxOffset, GetMinOffset,
    QueryConsumeTimeSpan, QueryCorrectionOffset, SearchOffsetByTimestamp,
};
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
        Reply::body(encode(&self.offsets.shown())).into()
    }
}

impl Processor<GetAllDelayOffset> for OffsetAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        Reply::body(encode(&self.schedule.snapshot())).into()
    }
}

impl Processor<CloneGroupOffset> for OffsetAdmin {
    fn process(&self, request: Request<CloneGroupOffsetRequestHeader>) -> Outcome {
        let header = &request.header;
        let topics = match header.topic.as_deref().filter(|topic| !topic.is_empty()) {
            Some(topic) => vec![topic.to_owned()],
            None => self.offsets.topics_of(&header.src_group).into_iter().collect(),
        };
        let subscribed = self.consumers.subscribed_topics(&header.src_group);
        for topic in topics {
            let is_subscribed = header.offline || subscribed.is_empty() || subscribed.contains(&topic);
            if self.topics.get(&topic).is_none() || !is_subscribed {
                tracing::warn!(topic, group = %header.src_group, "no such topic, or not subscribed: offsets not cloned");
                continue;
            }
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
            let offsets = self.offsets.query_all(group, topic).unwrap_or_default();
            for (queue_id, offset) in offsets.into_iter().filter(|at| at.1 >= self.store.min_offset(topic, at.0)) {
                let lowest = lowest.entry(queue_id).or_insert(i64::MAX);
                *lowest = offset.min(*lowest);
            }
        }
        // A queue in which the group compared is behind all others is named with the highest number: nothing to correct.
        for (queue_id, compared) in self.offsets.query_all(&header.compare_group, topic).unwrap_or_default() {
            let lowest = lowest.entry(queue_id).or_insert(i64::MAX);
            if *lowest > compared {
                *lowest = i64::MAX;
            }
        }
        Reply::body(encode(&QueryCorrectionOffsetBody { correction_offsets: lowest })).into()
    }
}

impl Processor<QueryConsumeTimeSpan> for OffsetAdmin {
    fn process(&self, request: Request<QueryConsumeTimeSpanRequestHeader>) -> Outcome {
        let topic: &str = &request.header.topic;
        let group = request.header.group.as_deref().unwrap_or_default();
        let Some(config) = self.topics.get(topic) else { return topic_not_exist(topic, "").into() };
        let broker_name = &self.config.get().broker.broker_name;
        let now_ms = clock::now_ms();
        let spans = (0..config.write_queue_nums).map(|queue_id| {
            let time = |offset| self.store.store_time(topic, queue_id, offset).unwrap_or(-1);
            let min_time_stamp = self.store.earliest_queue_store_time(topic, queue_id);
            let max_offset = self.store.max_offset(topic, queue_id);
            let next = self.offsets.query(group, topic, queue_id).unwrap_or(-1);
            let consume_time_stamp = if next > 0 { time(next - 1) } else { min_time_stamp };
            // A group without offset is behind since 1970, as in Java.
            let delay_time = if next < max_offset { now_ms - time(next) } else { 0 };
            let max_time_stamp = time(max_offset - 1);
            QueueTimeSpan {
                consume_time_stamp,
                consume_time_stamp_str: human_time(consume_time_stamp),
                delay_time,
                max_time_stamp,
                max_time_stamp_str: human_time(max_time_stamp),
                message_queue: MessageQueue { broker_name: broker_name.clone(), queue_id, topic: topic.to_owned() },
                min_time_stamp,
                min_time_stamp_str: human_time(min_time_stamp),
            }
        });
        Reply::body(encode(&QueryConsumeTimeSpanBody { consume_time_span_set: spans.collect() })).into()
    }
}

/// A time as Java shows it, in the zone of this machine. Source: UtilAll.timeMillisToHumanString2.
fn human_time(ms: i64) -> String {
    let zoned = jiff::Timestamp::from_millisecond(ms).map(|time| time.to_zoned(jiff::tz::TimeZone::system()));
    zoned.map_or_else(|_| ms.to_string(), |time| time.strftime("%Y-%m-%d#%H:%M:%S:%3f").to_string())
}
