//! Looking messages up by key (12), by offset message id (33), and units of a consume queue (321).

use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::ConsumerManager;
use crate::filter::{ConsumerFilterManager, Filter, Origin, SqlFilter, TagFilter, described, is_tag_type};
use bytes::Bytes;
use codec::consume_queue_ext::ExtUnit;
use protocol::body::admin::{ConsumeQueueData, QueryConsumeQueueResponseBody};
use protocol::body::client::SubscriptionData;
use protocol::body::encode;
use protocol::header::query::{
    QueryConsumeQueueRequestHeader, QueryMessageRequestHeader, QueryMessageResponseHeader, ViewMessageRequestHeader,
};
use protocol::operation::{QueryConsumeQueue, QueryMessage, ViewMessageById};
use protocol::response_code::{QUERY_NOT_FOUND, SYSTEM_ERROR};
use remoting::reply::{Body, Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;
use store::{MessageFilter, MessageStore, QueueUnit};

/// Look-ups by a client's message id take this many. Source: defaultQueryMaxNum.
const UNIQUE_KEY_MAX: usize = 32;
const QUEUE_UNITS_MAX: i32 = 1024;

/// Finds messages.
pub struct QueryMessageProcessor {
    /// Where they lie.
    pub store: Arc<MessageStore>,
    /// Subscriptions, to tell whether a message would be delivered.
    pub consumers: Arc<ConsumerManager>,
    /// Expressions of consumers.
    pub filters: Arc<ConsumerFilterManager>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
}

impl Processor<QueryMessage> for QueryMessageProcessor {
    fn process(&self, request: Request<QueryMessageRequestHeader>) -> Outcome<QueryMessageResponseHeader> {
        let header = &request.header;
        if header.max_num < 0 {
            return Reply::error(SYSTEM_ERROR, format!("maxNum={} is negative", header.max_num)).into();
        }
        let most = match header.unique_key_query {
            true => UNIQUE_KEY_MAX,
            false => usize::try_from(header.max_num).unwrap_or(0),
        };
        let (begin, end) = (header.begin_timestamp, header.end_timestamp);
        let found = self.store.query_by_key(&header.topic, &header.key, most, begin, end);
        let (index_last_update_timestamp, index_last_update_phyoffset) = match found.messages.is_empty() {
            true => (0, 0),
            false => (found.index_last_update_timestamp, found.index_last_update_phyoffset),
        };
        let response = QueryMessageResponseHeader { index_last_update_timestamp, index_last_update_phyoffset };
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
        let (subscription, filter, filter_data) = match header.consumer_group.as_deref() {
            None => (None, None, None),
            Some(group) => self.filter_of(group, topic),
        };
        let count = usize::try_from(header.count.clamp(0, QUEUE_UNITS_MAX)).unwrap_or(0);
        let units = self.store.queue_units(topic, queue_id, header.index.max(min), count);
        let body = QueryConsumeQueueResponseBody {
            filter_data,
            max_queue_index: max,
            min_queue_index: min,
            queue_data: units.iter().map(|unit| shown(unit, filter.as_ref())).collect(),
            subscription_data: subscription,
        };
        Reply::body(encode(&body)).into()
    }
}

impl QueryMessageProcessor {
    /// What a group wants of a topic: its subscription, its filter, and what is known of its expression.
    fn filter_of(&self, group: &str, topic: &str) -> (Option<SubscriptionData>, Option<Filter>, Option<String>) {
        let Some(subscription) = self.consumers.subscription(group, topic).flatten() else {
            return (None, None, Some(format!("{group}@{topic} is not online!")));
        };
        let data = self.filters.get(topic, group);
        let filter_data = data
            .as_ref()
            .map_or_else(|| "null".to_owned(), |data| String::from_utf8_lossy(&encode(&described(data))).into_owned());
        let support_retry = self.config.get().broker.filter_support_retry;
        let filter = match is_tag_type(&subscription.expression_type) {
            true => Some(Filter::Tags(TagFilter::new(&subscription))),
            false => data.map(|data| Filter::Sql(SqlFilter::new(data, Origin::Kept, &self.filters, support_retry))),
        };
        (Some(subscription), filter, Some(filter_data))
    }
}

fn shown(unit: &QueueUnit, filter: Option<&Filter>) -> ConsumeQueueData {
    let extension = unit.extension.as_ref().map(|extension| ExtUnit {
        tags_code: unit.tags_code,
        store_timestamp: extension.store_timestamp,
        bit_map: &extension.bit_map,
    });
    ConsumeQueueData {
        bit_map: extension.filter(|unit| !unit.bit_map.is_empty()).map(|unit| digits(unit.bit_map)),
        eval: filter.is_none_or(|filter| match &extension {
            None => filter.by_queue_unit(unit.tags_code),
            Some(extension) => filter.by_extension(extension),
        }),
        extend_data_json: extension.map(|unit| {
            let ExtUnit { tags_code, store_timestamp, bit_map } = unit;
            // Java's bytes have a sign.
            let numbers: Vec<String> = bit_map.iter().map(|byte| byte.cast_signed().to_string()).collect();
            let numbers = numbers.join(",");
            let bits = if bit_map.is_empty() { numbers } else { format!("\"filterBitMap\":[{numbers}],") };
            format!("{{{bits}\"msgStoreTime\":{store_timestamp},\"size\":{},\"tagsCode\":{tags_code}}}", unit.len())
        }),
        msg: None,
        physic_offset: i64::try_from(unit.physical_offset).unwrap_or(i64::MAX),
        physic_size: i32::try_from(unit.size).unwrap_or(i32::MAX),
        tags_code: unit.tags_code,
    }
}

/// A bit map as Java shows it: from the highest bit to the lowest, a line end behind each eighth byte. Source:
/// filter/util/BitsArray.java, toString.
fn digits(bit_map: &[u8]) -> String {
    let bytes = bit_map.iter().enumerate().rev();
    bytes.map(|(at, byte)| format!("{byte:08b}{}", if at % 8 == 0 { "\n" } else { "" })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Extension;

    #[test]
    fn an_extension_is_shown_as_java_shows_it() {
        let extension = Some(Extension { store_timestamp: 5, bit_map: vec![0x80, 1] });
        let unit =
            QueueUnit { queue_offset: 0, message_count: 1, physical_offset: 0, size: 9, tags_code: -3, extension };
        let data = shown(&unit, None);
        let json = r#"{"filterBitMap":[-128,1],"msgStoreTime":5,"size":22,"tagsCode":-3}"#;
        assert_eq!(data.extend_data_json.as_deref(), Some(json));
        assert_eq!(data.bit_map.as_deref(), Some("0000000110000000\n"));
    }
}
