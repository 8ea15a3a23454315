//! Takes back a message that waits for its time: 370. Source: broker/processor/RecallMessageProcessor.java,
//! common/producer/RecallMessageHandle.java.

use crate::broker_stats::{BrokerStats, names as stat};
use crate::config_manager::BrokerConfigManager;
use crate::reply::{flush_error, wait_flushed};
use crate::timer::Timer;
use crate::topic_config_manager::TopicConfigManager;
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use codec::properties::{Properties, names as property};
use protocol::header::send::{RecallMessageRequestHeader, RecallMessageResponseHeader};
use protocol::names::RETRY_PREFIX;
use protocol::operation::RecallMessage;
use protocol::response_code::{ILLEGAL_OPERATION, NO_PERMISSION, SERVICE_NOT_AVAILABLE, SYSTEM_ERROR, TOPIC_NOT_EXIST};
use protocol::sys_flag::perm;
use remoting::clock;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::net::SocketAddr;
use std::sync::Arc;
use store::{Message, MessageStore};

const VERSION: &str = "v1";
const TAG: &str = "_RECALL_TAG_";
/// Java's URL encoder pads, its decoder does not mind.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

type RecallReply = Reply<RecallMessageResponseHeader>;

/// Takes messages back.
pub struct RecallMessageProcessor {
    /// Where the message waits.
    pub store: Arc<MessageStore>,
    /// What it waits in.
    pub timer: Arc<Timer>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// Counters.
    pub stats: Arc<BrokerStats>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
    /// This broker's address.
    pub store_host: SocketAddr,
}

/// What a handle says.
#[derive(Debug, PartialEq, Eq)]
struct Handle {
    topic: String,
    broker_name: String,
    timestamp: String,
    unique_key: String,
}

impl Handle {
    fn decode(text: &str) -> Option<Handle> {
        let bytes = BASE64.decode(text).ok().filter(|bytes| !bytes.is_empty())?;
        let raw = String::from_utf8_lossy(&bytes).into_owned();
        let mut items = raw.split(' ').map(str::to_owned);
        if items.next()? != VERSION {
            return None;
        }
        let (topic, broker_name) = (items.next()?, items.next()?);
        let (timestamp, unique_key) = (items.next()?, items.next().filter(|key| !key.is_empty())?);
        Some(Handle { topic, broker_name, timestamp, unique_key })
    }
}

/// The handle for a message that waits with these properties; `None` for others. Source:
/// SendMessageProcessor.attachRecallHandle.
pub fn recall_handle(properties: &Properties, broker_name: &str) -> Option<String> {
    let topic = properties.get(property::REAL_TOPIC).filter(|topic| !topic.starts_with(RETRY_PREFIX))?;
    let out_ms: i64 = properties.get(property::TIMER_OUT_MS)?.parse().ok()?;
    let key = properties.get(property::UNIQ_KEY).unwrap_or("null");
    // In the slot that was rounded down to, a time exactly on its edge would belong to the slot before.
    Some(BASE64.encode(format!("{VERSION} {topic} {broker_name} {} {key}", out_ms.saturating_add(1))))
}

impl Processor<RecallMessage> for RecallMessageProcessor {
    fn process(&self, request: Request<RecallMessageRequestHeader>) -> Outcome<RecallMessageResponseHeader> {
        self.check(&request.header).map_or_else(Outcome::from, |handle| self.recall(&request, &handle))
    }
}

impl RecallMessageProcessor {
    fn check(&self, header: &RecallMessageRequestHeader) -> Result<Handle, RecallReply> {
        let options = self.config.get();
        let broker = &options.broker;
        if !broker.recall_message_enable {
            let remark = "recall failed, operation is forbidden (recallMessageEnable=false)";
            return Err(Reply::error(NO_PERMISSION, remark));
        }
        let unwritable =
            !perm::is_writeable(broker.broker_permission) && !broker.allow_recall_when_broker_not_writeable;
        if clock::now_ms() < broker.start_accept_send_request_time_stamp || unwritable {
            return Err(Reply::error(SERVICE_NOT_AVAILABLE, "recall failed, broker service not available"));
        }
        if self.topics.get(&header.topic).is_none() {
            let remark = format!("recall failed, the topic[{}] not exist", header.topic);
            return Err(Reply::error(TOPIC_NOT_EXIST, remark));
        }
        let illegal = |remark: &'static str| Reply::error(ILLEGAL_OPERATION, remark);
        let handle = Handle::decode(&header.recall_handle).ok_or_else(|| illegal("recall handle is invalid"))?;
        if *header.topic != *handle.topic {
            return Err(illegal("recall failed, topic not match"));
        }
        if broker.broker_name != handle.broker_name {
            return Err(illegal("recall failed, broker service not available"));
        }
        let left = handle.timestamp.parse::<i64>().unwrap_or(-1).saturating_sub(clock::now_ms());
        if left <= 0 || left >= i64::from(options.store.timer_max_delay_sec) * 1000 {
            return Err(illegal("recall failed, timestamp invalid"));
        }
        Ok(handle)
    }

    /// Puts a message into the slot of the other that takes it back.
    fn recall(
        &self,
        request: &Request<RecallMessageRequestHeader>,
        handle: &Handle,
    ) -> Outcome<RecallMessageResponseHeader> {
        let failed = |reason: String| {
            tracing::warn!(topic = handle.topic, key = handle.unique_key, reason, "recall failed");
            Outcome::from(Reply::error(SYSTEM_ERROR, format!("recall failed, execute error ({reason})")))
        };
        let options = self.config.get();
        let now_ms = clock::now_ms();
        let key = match options.store.append_topic_for_timer_delete_key {
            true => format!("{}+{}", handle.topic, handle.unique_key),
            false => handle.unique_key.clone(),
        };
        let mut properties = Properties::new();
        properties.set(property::TAGS, TAG);
        properties.set(property::TIMER_DEL_UNIQKEY, key);
        properties.set(property::UNIQ_KEY, handle.unique_key.as_str());
        properties.set(property::TIMER_DELIVER_MS, handle.timestamp.as_str());
        properties.set(property::BORN_TIMESTAMP, now_ms.to_string());
        properties.set(property::TRACE_CONTEXT, "");
        if let Some(group) = &request.header.producer_group {
            properties.set(property::PGROUP, &**group);
        }
        let (topic, queue_id) = match self.timer.park(&options, &handle.topic, 0, &mut properties) {
            Ok(Some(parked)) => parked,
            Ok(None) => return failed("its time is over".to_owned()),
            Err(reason) => return failed(format!("{reason:?}")),
        };
        let properties = properties.encode();
        let put = self.store.put(&Message {
            topic,
            queue_id,
            born_timestamp: now_ms,
            born_host: request.channel.peer(),
            store_host: self.store_host,
            properties: &properties,
            ..Message::new(topic, queue_id, b"0")
        });
        let put = match put {
            Ok(put) => put,
            Err(error) => return failed(error.to_string()),
        };
        self.stats.add(stat::TOPIC_PUT_NUMS, topic, 1, 1);
        self.stats.add(stat::TOPIC_PUT_SIZE, topic, put.len.into(), 1);
        self.stats.add(stat::BROKER_PUT_NUMS, &options.broker.broker_cluster_name, 1, 1);
        let header = RecallMessageResponseHeader {
            msg_id: handle.unique_key.as_str().into(),
            msg_region: Some(options.broker.region_id.as_str().into()),
        };
        let flushed = wait_flushed(self.store.flushed(put.end()), options.store.sync_flush_timeout);
        Outcome::Later(Box::pin(async move {
            match flushed.await {
                Ok(()) => Reply::ok(header),
                // As in Java: it is stored, and the disk will follow.
                Err(error @ store::FlushError::Timeout { .. }) => Reply::ok(header).with_remark(error.to_string()),
                Err(error) => {
                    Reply::error(SYSTEM_ERROR, format!("recall failed, execute error ({})", flush_error(&error).1))
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_java_s() {
        let mut properties = Properties::new();
        assert_eq!(recall_handle(&properties, "broker-a"), None);
        properties.set(property::TIMER_OUT_MS, "1700000000000");
        properties.set(property::REAL_TOPIC, "T");
        properties.set(property::UNIQ_KEY, "AC11");
        let handle = recall_handle(&properties, "broker-a").unwrap();
        // base64 of "v1 T broker-a 1700000000001 AC11".
        assert_eq!(handle, "djEgVCBicm9rZXItYSAxNzAwMDAwMDAwMDAxIEFDMTE=");
        let decoded = Handle {
            topic: "T".to_owned(),
            broker_name: "broker-a".to_owned(),
            timestamp: "1700000000001".to_owned(),
            unique_key: "AC11".to_owned(),
        };
        assert_eq!(Handle::decode(&handle), Some(decoded));
        assert!(Handle::decode(handle.trim_end_matches('=')).is_some());
        for bad in ["", "?", "djEgVA==", "djIgVCBicm9rZXItYSAxNzAwMDAwMDAwMDAxIEFDMTE="] {
            assert_eq!(Handle::decode(bad), None, "{bad}");
        }
        properties.set(property::REAL_TOPIC, "%RETRY%g");
        assert_eq!(recall_handle(&properties, "broker-a"), None);
    }
}
