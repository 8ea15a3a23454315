//! Messages as they are sent and as they are received.

use crate::compress;
use crate::java_map::in_hash_map_order;
use bytes::Bytes;
use codec::CodecError;
use codec::message::{MessageRecord, message_id, sys_flag};
use codec::properties::{Properties, names};
use protocol::body::MessageQueue;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: String,
    /// A number of the user's own.
    pub flag: i32,
    /// Properties; see [`codec::properties::names`] for those with a meaning.
    pub properties: Properties,
    /// Body.
    pub body: Bytes,
    /// Of transactional messages.
    pub transaction_id: Option<String>,
}

impl Message {
    /// A message that waits for flush and replication where the broker is set up so.
    #[must_use]
    pub fn new(topic: &str, body: impl Into<Bytes>) -> Message {
        let mut properties = Properties::new();
        properties.set(names::WAIT, "true");
        Message { topic: topic.to_owned(), flag: 0, properties, body: body.into(), transaction_id: None }
    }

    /// The same with a tag.
    #[must_use]
    pub fn with_tags(self, tags: &str) -> Message {
        self.with_property(names::TAGS, tags)
    }

    /// The same with index keys, separated by spaces.
    #[must_use]
    pub fn with_keys(self, keys: &str) -> Message {
        self.with_property(names::KEYS, keys)
    }

    /// The same with a delay level, 1 to 18.
    #[must_use]
    pub fn with_delay_level(self, level: i32) -> Message {
        self.with_property(names::DELAY, &level.to_string())
    }

    /// The same with a property.
    #[must_use]
    pub fn with_property(mut self, name: &str, value: &str) -> Message {
        self.properties.set(name, value);
        self
    }

    /// The tag.
    #[must_use]
    pub fn tags(&self) -> Option<&str> {
        self.properties.get(names::TAGS)
    }

    /// The index keys.
    #[must_use]
    pub fn keys(&self) -> Option<&str> {
        self.properties.get(names::KEYS)
    }
}

/// As Java's `Message.toString`.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Some(&self.body))
    }
}

impl Message {
    fn write(&self, f: &mut fmt::Formatter<'_>, body: Option<&Bytes>) -> fmt::Result {
        let properties = JavaProperties(&self.properties);
        write!(f, "Message{{topic='{}', flag={}, properties={properties}, body=", self.topic, self.flag)?;
        match body {
            Some(body) => write_body(f, body)?,
            None => f.write_str("null")?,
        }
        write!(f, ", transactionId='{}'}}", self.transaction_id.as_deref().unwrap_or("null"))
    }
}

/// A message as a broker holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageExt {
    /// Topic, body and properties.
    pub message: Message,
    /// Broker it came from; none when it was looked up by its id.
    pub broker_name: Option<String>,
    /// Queue.
    pub queue_id: i32,
    /// Bytes of its record.
    pub store_size: usize,
    /// Place in the queue.
    pub queue_offset: i64,
    /// Bits of [`codec::message::sys_flag`].
    pub sys_flag: i32,
    /// When the producer made it, ms.
    pub born_timestamp: i64,
    /// The producer.
    pub born_host: SocketAddr,
    /// When the broker stored it, ms.
    pub store_timestamp: i64,
    /// The broker.
    pub store_host: SocketAddr,
    /// Place in the commit log.
    pub commit_log_offset: i64,
    /// CRC-32 of the stored body.
    pub body_crc: u32,
    /// How often its consumption failed.
    pub reconsume_times: i32,
    /// Of a commit record: place of the half message.
    pub prepared_transaction_offset: i64,
}

impl MessageExt {
    /// The message of a record. A compressed body is inflated; the rest of the record is taken as it is.
    ///
    /// # Errors
    /// A sentence: the checksum is wrong, or the body cannot be inflated.
    pub fn from_record(record: &MessageRecord<'_>) -> Result<MessageExt, String> {
        record.check_body_crc().map_err(|error| error.to_string())?;
        let body = if record.sys_flag & sys_flag::COMPRESSED == 0 {
            Bytes::copy_from_slice(record.body)
        } else {
            compress::inflate(record.body, record.sys_flag)?.into()
        };
        let properties = Properties::parse(&record.properties_str());
        let transaction_id = (properties.get(names::TRAN_MSG) == Some("true"))
            .then(|| properties.get(names::UNIQ_KEY).map(str::to_owned))
            .flatten();
        Ok(MessageExt {
            message: Message {
                topic: record.topic_str().into_owned(),
                flag: record.flag,
                properties,
                body,
                transaction_id,
            },
            broker_name: None,
            queue_id: record.queue_id,
            store_size: record.total_size,
            queue_offset: record.queue_offset,
            sys_flag: record.sys_flag,
            born_timestamp: record.born_timestamp,
            born_host: record.born_host,
            store_timestamp: record.store_timestamp,
            store_host: record.store_host,
            commit_log_offset: record.physical_offset,
            body_crc: record.body_crc,
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: record.prepared_transaction_offset,
        })
    }

    /// The id that the producer was told as msgId: UNIQ_KEY, or the offset id of messages without one.
    #[must_use]
    pub fn msg_id(&self) -> String {
        self.property(names::UNIQ_KEY).map_or_else(|| self.offset_msg_id(), str::to_owned)
    }

    /// The id that says where the message lies.
    #[must_use]
    pub fn offset_msg_id(&self) -> String {
        message_id(self.store_host, self.commit_log_offset)
    }

    /// Topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.message.topic
    }

    /// Body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.message.body
    }

    /// The tag.
    #[must_use]
    pub fn tags(&self) -> Option<&str> {
        self.message.tags()
    }

    /// The index keys.
    #[must_use]
    pub fn keys(&self) -> Option<&str> {
        self.message.keys()
    }

    /// The value of a property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.message.properties.get(name)
    }
}

/// As the `MessageExt.toString` of Java 5.5.0, on one line. What it calls msgId is the offset id, as there.
impl fmt::Display for MessageExt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Some(self.body()))
    }
}

/// A message as Java writes one that it read without the body.
#[derive(Clone, Copy, Debug)]
pub struct JavaHead<'a>(pub &'a MessageExt);

impl fmt::Display for JavaHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, None)
    }
}

impl MessageExt {
    fn write(&self, f: &mut fmt::Formatter<'_>, body: Option<&Bytes>) -> fmt::Result {
        write!(
            f,
            "MessageExt [brokerName={}, queueId={}, storeSize={}, queueOffset={}, sysFlag={}, bornTimestamp={}, \
             bornHost={}, storeTimestamp={}, storeHost={}, msgId={}, commitLogOffset={}, bodyCRC={}, \
             reconsumeTimes={}, preparedTransactionOffset={}, toString()=",
            self.broker_name.as_deref().unwrap_or("null"),
            self.queue_id,
            self.store_size,
            self.queue_offset,
            self.sys_flag,
            self.born_timestamp,
            JavaHost(self.born_host),
            self.store_timestamp,
            JavaHost(self.store_host),
            self.offset_msg_id(),
            self.commit_log_offset,
            self.body_crc,
            self.reconsume_times,
            self.prepared_transaction_offset
        )?;
        self.message.write(f, body)?;
        f.write_str("]")
    }
}

/// An address as Java's `InetSocketAddress.toString` writes one without host name.
#[derive(Clone, Copy, Debug)]
pub struct JavaHost(pub SocketAddr);

impl fmt::Display for JavaHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.ip() {
            IpAddr::V4(ip) => write!(f, "/{ip}:{}", self.0.port()),
            IpAddr::V6(ip) => {
                let groups = ip.segments().map(|group| format!("{group:x}")).join(":");
                write!(f, "/[{groups}]:{}", self.0.port())
            }
        }
    }
}

/// Properties as Java's `HashMap.toString` writes them.
#[derive(Clone, Copy, Debug)]
pub struct JavaProperties<'a>(pub &'a Properties);

impl fmt::Display for JavaProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (n, (name, value)) in in_hash_map_order(self.0.iter()).into_iter().enumerate() {
            write!(f, "{}{name}={value}", if n == 0 { "" } else { ", " })?;
        }
        f.write_str("}")
    }
}

/// A queue as Java's `MessageQueue.toString` writes it.
#[derive(Clone, Copy, Debug)]
pub struct JavaQueue<'a>(pub &'a MessageQueue);

impl fmt::Display for JavaQueue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MessageQueue { topic, broker_name, queue_id } = self.0;
        write!(f, "MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]")
    }
}

/// The messages in the body of a pull or look-up, one record behind the other. Ends at the first record that is none;
/// a record whose body cannot be inflated is passed over, with a line in the log.
///
/// # Errors
/// [`CodecError`] when not even the first record can be read.
pub fn decode_all(body: &[u8]) -> Result<Vec<MessageExt>, CodecError> {
    let mut messages = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let record = match MessageRecord::parse(rest) {
            Ok(record) => record,
            Err(error) if messages.is_empty() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, decoded = messages.len(), "records end early");
                break;
            }
        };
        match MessageExt::from_record(&record) {
            Ok(message) => messages.push(message),
            Err(reason) => {
                let (queue_offset, physical_offset) = (record.queue_offset, record.physical_offset);
                tracing::error!(topic = %record.topic_str(), queue_offset, physical_offset, reason, "message skipped");
            }
        }
        rest = rest.get(record.total_size..).unwrap_or_default();
    }
    Ok(messages)
}

/// As `Arrays.toString(byte[])`: signed numbers.
fn write_body(f: &mut fmt::Formatter<'_>, body: &[u8]) -> fmt::Result {
    f.write_str("[")?;
    for (n, byte) in body.iter().enumerate() {
        write!(f, "{}{}", if n == 0 { "" } else { ", " }, i8::from_ne_bytes([*byte]))?;
    }
    f.write_str("]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::message::RecordParts;

    fn record(body: &[u8], sys_flag: i32, properties: &str) -> Vec<u8> {
        RecordParts {
            queue_id: 3,
            flag: 0,
            sys_flag,
            born_timestamp: 1_000,
            born_host: "10.1.2.3:50000".parse().unwrap(),
            store_host: "10.1.2.4:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            topic: "TopicTest",
            properties,
        }
        .encode()
        .unwrap()
    }

    #[test]
    fn prints_as_java() {
        let bytes =
            record(b"Hi\xFF", 0, "UNIQ_KEY\u{1}0A\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}MIN_OFFSET\u{1}0\u{2}");
        let mut message = decode_all(&bytes).unwrap().remove(0);
        message.broker_name = Some("broker-a".to_owned());
        let crc = codec::message::body_crc(b"Hi\xFF");
        assert_eq!(
            message.to_string(),
            format!(
                "MessageExt [brokerName=broker-a, queueId=3, storeSize={}, queueOffset=0, sysFlag=0, \
                 bornTimestamp=1000, bornHost=/10.1.2.3:50000, storeTimestamp=0, storeHost=/10.1.2.4:10911, \
                 msgId=0A01020400002A9F0000000000000000, commitLogOffset=0, bodyCRC={crc}, reconsumeTimes=0, \
                 preparedTransactionOffset=0, toString()=Message{{topic='TopicTest', flag=0, \
                 properties={{MIN_OFFSET=0, UNIQ_KEY=0A, WAIT=true, TAGS=TagA}}, body=[72, 105, -1], \
                 transactionId='null'}}]",
                bytes.len()
            )
        );
        assert_eq!(message.msg_id(), "0A");
        let head = message.to_string().replace("body=[72, 105, -1]", "body=null");
        assert_eq!(JavaHead(&message).to_string(), head);
    }

    #[test]
    fn hosts_and_queues_print_as_java() {
        assert_eq!(JavaHost("[::1]:9876".parse().unwrap()).to_string(), "/[0:0:0:0:0:0:0:1]:9876");
        let queue = MessageQueue { broker_name: "b".into(), queue_id: 1, topic: "T".into() };
        assert_eq!(JavaQueue(&queue).to_string(), "MessageQueue [topic=T, brokerName=b, queueId=1]");
    }

    #[test]
    fn compressed_bodies_are_inflated_and_bad_ones_passed_over() {
        let body = b"x".repeat(5000);
        let small = compress::deflate(&body).unwrap();
        let mut bytes = record(&small, sys_flag::COMPRESSED, "");
        bytes.extend(record(b"junk", sys_flag::COMPRESSED, ""));
        bytes.extend(record(b"plain", 0, ""));
        let messages = decode_all(&bytes).unwrap();
        assert_eq!(messages.iter().map(|m| m.body().as_ref()).collect::<Vec<_>>(), [body.as_slice(), b"plain"]);
    }

    #[test]
    fn cut_records_are_no_messages() {
        let bytes = record(b"a", 0, "");
        assert!(decode_all(&bytes[..bytes.len() - 1]).is_err());
        let two = [bytes.clone(), bytes[..20].to_vec()].concat();
        assert_eq!(decode_all(&two).unwrap().len(), 1);
    }
}
