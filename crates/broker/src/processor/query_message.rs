//! Looking messages up by key (12), by offset message id (33), and units of a consume queue (321).

use crate::consumer_manager::ConsumerManager;
use crate::filter::{TagFilter, is_tag_type};
use bytes::Bytes;
use protocol::body::admin::{ConsumeQueueData, QueryConsumeQueueResponseBody};
use protocol::body::encode;
use protocol::header::query::{
    QueryConsumeQueueRequestHeader, QueryMessageRequestHeader, QueryMessageResponseHeader, ViewMessageRequestHeader,
};
use protocol::operation::{QueryConsumeQueue, QueryMessage, ViewMessageById};
use protocol::response_code::{QUERY_NOT_FOUND, SYSTEM_ERROR};
use remoting::reply::{Body, Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;
use store::{MessageFilter, MessageStore};

/// Look-ups by a client's message id take this many. Source: defaultQueryMaxNum.
const UNIQUE_KEY_MAX: usize = 32;
const QUEUE_UNITS_MAX: i32 = 1024;

/// Finds messages.
pub struct QueryMessageProcessor {
    /// Where they lie.
    pub store: Arc<MessageStore>,
    /// Subscriptions, to tell whether a message would be delivered.
    pub consumers: Arc<ConsumerManager>,
}

impl Processor<QueryMessage> for QueryMessageProcessor {
    fn process(&self, request: Request<QueryMessageRequestHeader>) -> Outcome<QueryMessageResponseHeader> {
        let header = &request.header;
        let most = match header.unique_key_query {
            true => UNIQUE_KEY_MAX,
            false => usize::try_from(header.max_num).unwrap_or(0),
        };
        let (begin, end) = (header.begin_timestamp, header.end_timestamp);
        let found = self.store.query_by_key(&header.topic, &header.key, most, begin, end);
        let response = QueryMessageResponseHeader {
            index_last_update_timestamp: found.index_last_update_timestamp,
            index_last_update_phyoffset: found.index_last_update_phyoffset,
        };
        if found.messages.is_empty() {
            let remark = "can not find message, maybe time range not correct";
            return Reply { code: QUERY_NOT_FOUND, ..Reply::ok(response).with_remark(remark) }.into();
        }
        Reply::ok(response).with_body(Body::Many(found.messages.into_iter().map(Bytes::from_owner).collect())).into()
    }
}

impl Processor<ViewMessageById> for QueryMessageProcessor {
    fn process(&self, request: Request<ViewMessageRequestHeader>) -> Outcome {
        let offset = request.header.offset;
        match u64::try_from(offset).ok().and_then(|offset| self.store.record_at(offset)) {
            Some(record) => Reply::body(Bytes::from_owner(record)).into(),
            None => Reply::error(SYSTEM_ERROR, format!("can not find message by the offset, {offset}")).into(),
        }
    }
}

impl Processor<QueryConsumeQueue> for QueryMessageProcessor {
    fn process(&self, request: Request<QueryConsumeQueueRequestHeader>) -> Outcome {
        let header = &request.header;
        let (topic, queue_id): (&str, i32) = (&header.topic, header.queue_id);
        if !self.store.has_queue(topic, queue_id) {
            let remark = format!("{queue_id}@{topic} is not exist!");
            return Reply::error(SYSTEM_ERROR, remark).into();
        }
        let (min, max) = (self.store.min_offset(topic, queue_id), self.store.max_offset(topic, queue_id));
        let group = header.consumer_group.as_deref().unwrap_or_default();
        let subscription = self.consumers.subscription(group, topic).flatten();
        let filter = subscription.as_ref().filter(|data| is_tag_type(&data.expression_type)).map(TagFilter::new);
        let count = usize::try_from(header.count.clamp(0, QUEUE_UNITS_MAX)).unwrap_or(0);
        let units = self.store.queue_units(topic, queue_id, header.index.max(min), count);
        let queue_data = units.into_iter().map(|unit| ConsumeQueueData {
            eval: filter.as_ref().is_none_or(|filter| filter.by_queue_unit(unit.tags_code)),
            msg: None,
            physic_offset: i64::try_from(unit.physical_offset).unwrap_or(i64::MAX),
            physic_size: i32::try_from(unit.size).unwrap_or(i32::MAX),
            tags_code: unit.tags_code,
        });
        let body = QueryConsumeQueueResponseBody {
            max_queue_index: max,
            min_queue_index: min,
            queue_data: queue_data.collect(),
            subscription_data: subscription,
        };
        Reply::body(encode(&body)).into()
    }
}
