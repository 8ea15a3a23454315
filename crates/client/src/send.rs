//! One send to one queue: request header, compression, and what the answer means.

use crate::broker_api::response_header;
use crate::clock;
use crate::compress;
use crate::error::ClientError;
use crate::ids;
use crate::message::Message;
use crate::namesrv_api::refused;
use crate::producer::{ProducerConfig, SendResult, SendStatus};
use bytes::Bytes;
use bytestring::ByteString;
use codec::command::Command;
use codec::message::{BatchMessage, sys_flag};
use codec::properties::{self, names};
use protocol::body::MessageQueue;
use protocol::header::send::{SendMessageRequestHeaderV2, SendMessageResponseHeader};
use protocol::names::{RETRY_PREFIX, is_not_sendable, validate_topic};
use protocol::response_code;

/// Body and header of a send that fits every queue of its topic.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) body: Bytes,
    pub(crate) topic: String,
    msg_id: String,
    sys_flag: i32,
    flag: i32,
    properties: ByteString,
    reconsume_times: Option<i32>,
    max_reconsume_times: Option<i32>,
    pub(crate) batch: bool,
}

/// Checks a message and makes it ready: gives it a unique id if it has none, compresses its body if that pays.
///
/// # Errors
/// [`ClientError::Invalid`].
pub(crate) fn prepare(message: &mut Message, config: &ProducerConfig) -> Result<Prepared, ClientError> {
    check(message, config)?;
    let msg_id = set_unique_id(message);
    let mut flags = 0;
    let mut body = message.body.clone();
    if body.len() >= config.compress_over_bytes
        && let Some(small) = compress::deflate(&body)
    {
        body = small.into();
        flags |= sys_flag::COMPRESSED | sys_flag::COMPRESSION_ZLIB;
    }
    if message.properties.get(names::TRAN_MSG) == Some("true") {
        flags |= sys_flag::TRANSACTION_PREPARED_TYPE;
    }
    let mut sent = message.properties.clone();
    let (mut reconsume_times, mut max_reconsume_times) = (Some(0), None);
    if message.topic.starts_with(RETRY_PREFIX) {
        if let Some(times) = sent.remove(names::RECONSUME_TIME).and_then(|times| times.parse().ok()) {
            reconsume_times = Some(times);
        }
        max_reconsume_times = sent.remove(names::MAX_RECONSUME_TIMES).and_then(|times| times.parse().ok());
    }
    Ok(Prepared {
        body,
        topic: message.topic.clone(),
        msg_id,
        sys_flag: flags,
        flag: message.flag,
        properties: encode_properties(&sent)?,
        reconsume_times,
        max_reconsume_times,
        batch: false,
    })
}

/// Checks messages and joins them to a batch.
///
/// # Errors
/// [`ClientError::Invalid`]: nothing to send, different topics, a delay, a retry topic, or too large.
pub(crate) fn prepare_batch(messages: &mut [Message], config: &ProducerConfig) -> Result<Prepared, ClientError> {
    let Some(first) = messages.first() else {
        return Err(ClientError::Invalid("the batch is empty".to_owned()));
    };
    let (topic, wait) = (first.topic.clone(), first.properties.get(names::WAIT).unwrap_or("true").to_owned());
    if topic.starts_with(RETRY_PREFIX) {
        return Err(ClientError::Invalid("Retry Group is not supported for batching".to_owned()));
    }
    let mut body = Vec::new();
    let mut ids = Vec::with_capacity(messages.len());
    for message in messages {
        if message.topic != topic {
            return Err(ClientError::Invalid("The topic of the messages in one batch should be the same".to_owned()));
        }
        if message.properties.get(names::WAIT).unwrap_or("true") != wait {
            return Err(ClientError::Invalid(
                "The waitStoreMsgOK of the messages in one batch should the same".to_owned(),
            ));
        }
        if message.properties.get(names::DELAY).is_some() {
            return Err(ClientError::Invalid("TimeDelayLevel is not supported for batching".to_owned()));
        }
        check(message, config)?;
        ids.push(set_unique_id(message));
        let properties = encode_properties(&message.properties)?;
        BatchMessage { flag: message.flag, body: &message.body, properties: &properties }
            .encode_into(&mut body)
            .map_err(|error| ClientError::Invalid(error.to_string()))?;
    }
    if body.len() > config.max_message_bytes {
        return Err(too_large(body.len(), config.max_message_bytes));
    }
    let mut properties = codec::properties::Properties::new();
    properties.set(names::WAIT, wait);
    properties.set(names::UNIQ_KEY, ids::unique_message_id());
    Ok(Prepared {
        body: body.into(),
        topic,
        msg_id: ids.join(","),
        sys_flag: 0,
        flag: 0,
        properties: encode_properties(&properties)?,
        reconsume_times: Some(0),
        max_reconsume_times: None,
        batch: true,
    })
}

impl Prepared {
    /// The request header for one queue.
    pub(crate) fn header(&self, queue: &MessageQueue, config: &ProducerConfig) -> SendMessageRequestHeaderV2 {
        SendMessageRequestHeaderV2 {
            producer_group: config.group.as_str().into(),
            topic: self.topic.as_str().into(),
            default_topic: config.create_topic_key.as_str().into(),
            default_topic_queue_nums: config.default_topic_queue_nums,
            queue_id: queue.queue_id,
            sys_flag: self.sys_flag,
            born_timestamp: clock::now_ms(),
            flag: self.flag,
            properties: Some(self.properties.clone()),
            reconsume_times: self.reconsume_times,
            unit_mode: false,
            max_reconsume_times: self.max_reconsume_times,
            batch: self.batch,
            broker_name: Some(queue.broker_name.as_str().into()),
        }
    }

    /// What the broker's answer means. Codes 10, 11 and 12 say that the message is stored, but not as safely as wanted.
    ///
    /// # Errors
    /// [`ClientError::Refused`], [`ClientError::Answer`].
    pub(crate) fn result(&self, answer: &Command, queue: &MessageQueue, addr: &str) -> Result<SendResult, ClientError> {
        let status = match answer.code {
            response_code::SUCCESS => SendStatus::SendOk,
            response_code::FLUSH_DISK_TIMEOUT => SendStatus::FlushDiskTimeout,
            response_code::FLUSH_SLAVE_TIMEOUT => SendStatus::FlushSlaveTimeout,
            response_code::SLAVE_NOT_AVAILABLE => SendStatus::SlaveNotAvailable,
            _ => return Err(refused(answer, addr)),
        };
        let header: SendMessageResponseHeader = response_header(answer, addr)?;
        let text = |value: Option<ByteString>| value.map(|value| value.to_string());
        let batch_id = self.batch.then(|| text(header.batch_uniq_id.clone())).flatten();
        Ok(SendResult {
            send_status: status,
            msg_id: batch_id.unwrap_or_else(|| self.msg_id.clone()),
            offset_msg_id: header.msg_id.to_string(),
            message_queue: MessageQueue { queue_id: header.queue_id, ..queue.clone() },
            queue_offset: header.queue_offset,
            transaction_id: text(header.transaction_id),
            recall_handle: text(header.recall_handle),
            region_id: text(header.msg_region),
        })
    }
}

fn check(message: &Message, config: &ProducerConfig) -> Result<(), ClientError> {
    validate_topic(&message.topic).map_err(ClientError::Invalid)?;
    if is_not_sendable(&message.topic) {
        return Err(ClientError::Invalid(format!("Sending message to topic[{}] is forbidden.", message.topic)));
    }
    if message.body.is_empty() {
        return Err(ClientError::Invalid("the message body length is zero".to_owned()));
    }
    if message.body.len() > config.max_message_bytes {
        return Err(too_large(message.body.len(), config.max_message_bytes));
    }
    Ok(())
}

fn too_large(len: usize, max: usize) -> ClientError {
    ClientError::Invalid(format!("the message body size over max value, MAX: {max}, it has {len} bytes"))
}

fn set_unique_id(message: &mut Message) -> String {
    if let Some(id) = message.properties.get(names::UNIQ_KEY) {
        return id.to_owned();
    }
    let id = ids::unique_message_id();
    message.properties.set(names::UNIQ_KEY, id.clone());
    id
}

fn encode_properties(all: &properties::Properties) -> Result<ByteString, ClientError> {
    let text = all.encode();
    properties::check_len(text.len()).map_err(|error| ClientError::Invalid(error.to_string()))?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ProducerConfig {
        ProducerConfig::new("g")
    }

    #[test]
    fn large_bodies_are_compressed_small_ones_not() {
        let mut large = Message::new("T", vec![7; 4096]);
        let prepared = prepare(&mut large, &config()).unwrap();
        assert_eq!(prepared.sys_flag, sys_flag::COMPRESSED | sys_flag::COMPRESSION_ZLIB);
        assert_eq!(compress::inflate(&prepared.body, prepared.sys_flag).unwrap(), vec![7; 4096]);
        assert_eq!(large.body.len(), 4096);
        let prepared = prepare(&mut Message::new("T", vec![7; 4095]), &config()).unwrap();
        assert_eq!((prepared.sys_flag, prepared.body.len()), (0, 4095));
    }

    #[test]
    fn the_unique_id_stays_over_retries() {
        let mut message = Message::new("T", "x");
        let first = prepare(&mut message, &config()).unwrap();
        let second = prepare(&mut message, &config()).unwrap();
        assert_eq!(first.msg_id, second.msg_id);
        assert_eq!(properties::get(&first.properties, names::UNIQ_KEY), Some(first.msg_id.as_str()));
        assert_eq!(properties::get(&first.properties, names::WAIT), Some("true"));
    }

    #[test]
    fn retry_sends_carry_their_counts_in_the_header() {
        let mut message = Message::new("%RETRY%g", "x")
            .with_property(names::RECONSUME_TIME, "3")
            .with_property(names::MAX_RECONSUME_TIMES, "16");
        let prepared = prepare(&mut message, &config()).unwrap();
        assert_eq!((prepared.reconsume_times, prepared.max_reconsume_times), (Some(3), Some(16)));
        assert_eq!(properties::get(&prepared.properties, names::RECONSUME_TIME), None);
    }

    #[test]
    fn what_cannot_be_sent_says_why() {
        let refuse = |mut message: Message| prepare(&mut message, &config()).unwrap_err().to_string();
        assert!(refuse(Message::new("T", "")).contains("length is zero"));
        assert!(refuse(Message::new("a b", "x")).contains("illegal characters"));
        assert!(refuse(Message::new("SCHEDULE_TOPIC_XXXX", "x")).contains("forbidden"));
        assert!(refuse(Message::new("T", vec![0; 4 * 1024 * 1024 + 1])).contains("MAX: 4194304"));
        assert!(refuse(Message::new("T", "x").with_property("k", &"v".repeat(40_000))).contains("properties"));
        let batch = |mut messages: Vec<Message>| prepare_batch(&mut messages, &config()).unwrap_err().to_string();
        assert!(batch(vec![]).contains("empty"));
        assert!(batch(vec![Message::new("A", "x"), Message::new("B", "x")]).contains("same"));
        assert!(batch(vec![Message::new("A", "x").with_delay_level(1)]).contains("DelayLevel"));
    }

    #[test]
    fn a_batch_holds_all_messages() {
        let mut messages = vec![Message::new("T", "a").with_tags("x"), Message::new("T", "b")];
        let prepared = prepare_batch(&mut messages, &config()).unwrap();
        let decoded: Vec<_> = codec::message::BatchMessages::new(&prepared.body).map(Result::unwrap).collect();
        assert_eq!(decoded.iter().map(|m| m.body).collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(properties::get(decoded[0].properties, names::TAGS), Some("x"));
        assert_eq!(prepared.msg_id.split(',').count(), 2);
    }
}
