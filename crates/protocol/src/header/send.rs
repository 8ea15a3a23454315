//! Sending. Source: remoting/protocol/header/SendMessage*.java, ConsumerSendMsgBackRequestHeader.java.

use bytestring::ByteString;
use codec::command_header;

command_header! {
    /// Code 10.
    pub struct SendMessageRequestHeader {
        /// Group of the producer.
        "producerGroup" producer_group: ByteString,
        /// Topic to send to.
        "topic" topic: ByteString,
        /// Topic after which an unknown topic is made.
        "defaultTopic" default_topic: ByteString,
        /// Queues of a topic made so.
        "defaultTopicQueueNums" default_topic_queue_nums: i32,
        /// Queue; negative lets the broker choose.
        "queueId" queue_id: i32,
        /// Bits: compressed, transaction, IPv6 …
        "sysFlag" sys_flag: i32,
        /// Milliseconds.
        "bornTimestamp" born_timestamp: i64,
        /// The user's own flag.
        "flag" flag: i32,
        /// Property string.
        "properties" properties: Option<ByteString>,
        /// How often consumption failed.
        "reconsumeTimes" reconsume_times: Option<i32>,
        /// Unit mode.
        "unitMode" unit_mode: bool = false,
        /// The body is a batch.
        "batch" batch: bool = false,
        /// Retries before the dead letter topic.
        "maxReconsumeTimes" max_reconsume_times: Option<i32>,
    }
}

command_header! {
    /// Codes 310 and 320: the same with one-letter names.
    pub struct SendMessageRequestHeaderV2 {
        /// Group of the producer.
        "a" producer_group: ByteString,
        /// Topic to send to.
        "b" topic: ByteString,
        /// Topic after which an unknown topic is made.
        "c" default_topic: ByteString,
        /// Queues of a topic made so.
        "d" default_topic_queue_nums: i32,
        /// Queue; negative lets the broker choose.
        "e" queue_id: i32,
        /// Bits: compressed, transaction, IPv6 …
        "f" sys_flag: i32,
        /// Milliseconds.
        "g" born_timestamp: i64,
        /// The user's own flag.
        "h" flag: i32,
        /// Property string.
        "i" properties: Option<ByteString>,
        /// How often consumption failed.
        "j" reconsume_times: Option<i32>,
        /// Unit mode.
        "k" unit_mode: bool = false,
        /// Retries before the dead letter topic.
        "l" max_reconsume_times: Option<i32>,
        /// The body is a batch.
        "m" batch: bool = false,
        /// Broker meant.
        "n" broker_name: Option<ByteString>,
    }
}

impl From<SendMessageRequestHeaderV2> for SendMessageRequestHeader {
    fn from(v2: SendMessageRequestHeaderV2) -> SendMessageRequestHeader {
        SendMessageRequestHeader {
            producer_group: v2.producer_group,
            topic: v2.topic,
            default_topic: v2.default_topic,
            default_topic_queue_nums: v2.default_topic_queue_nums,
            queue_id: v2.queue_id,
            sys_flag: v2.sys_flag,
            born_timestamp: v2.born_timestamp,
            flag: v2.flag,
            properties: v2.properties,
            reconsume_times: v2.reconsume_times,
            unit_mode: v2.unit_mode,
            batch: v2.batch,
            max_reconsume_times: v2.max_reconsume_times,
        }
    }
}

command_header! {
    /// Code 326: a reply on its way to the client that waits for it.
    pub struct ReplyMessageRequestHeader {
        /// Group of the producer that replied.
        "producerGroup" producer_group: ByteString,
        /// Reply topic of the cluster.
        "topic" topic: ByteString,
        /// As the sender gave it.
        "defaultTopic" default_topic: ByteString,
        /// As the sender gave it.
        "defaultTopicQueueNums" default_topic_queue_nums: i32,
        /// As the sender gave it.
        "queueId" queue_id: i32,
        /// Bits: compressed, IPv6 …
        "sysFlag" sys_flag: i32,
        /// Milliseconds.
        "bornTimestamp" born_timestamp: i64,
        /// The user's own flag.
        "flag" flag: i32,
        /// Property string; CORRELATION_ID names the request.
        "properties" properties: Option<ByteString>,
        /// How often consumption failed.
        "reconsumeTimes" reconsume_times: Option<i32>,
        /// Unit mode.
        "unitMode" unit_mode: bool = false,
        /// Address of the client that replied.
        "bornHost" born_host: ByteString,
        /// Address of the broker.
        "storeHost" store_host: ByteString,
        /// When the reply reached the broker, milliseconds.
        "storeTimestamp" store_timestamp: i64,
    }
}

command_header! {
    /// Answer to every send that was stored.
    pub struct SendMessageResponseHeader {
        /// Offset message id; comma-joined for a batch.
        "msgId" msg_id: ByteString,
        /// Queue it went to.
        "queueId" queue_id: i32,
        /// Its place there.
        "queueOffset" queue_offset: i64,
        /// Unique key of a half message.
        "transactionId" transaction_id: Option<ByteString>,
        /// Unique key of an inner batch.
        "batchUniqId" batch_uniq_id: Option<ByteString>,
        /// By which a timer message can be recalled.
        "recallHandle" recall_handle: Option<ByteString>,
        /// `regionId` of the broker.
        "MSG_REGION" msg_region: Option<ByteString>,
        /// `traceOn` of the broker.
        "TRACE_ON" trace_on: Option<ByteString>,
    }
}

command_header! {
    /// Code 36.
    pub struct ConsumerSendMsgBackRequestHeader {
        /// Physical offset of the message in the commit log.
        "offset" offset: i64,
        /// Consumer group.
        "group" group: ByteString,
        /// 0 lets the broker choose, negative means dead letter.
        "delayLevel" delay_level: i32,
        /// Offset message id.
        "originMsgId" origin_msg_id: Option<ByteString>,
        /// Topic it was consumed from.
        "originTopic" origin_topic: Option<ByteString>,
        /// Unit mode.
        "unitMode" unit_mode: bool = false,
        /// Retries before the dead letter topic.
        "maxReconsumeTimes" max_reconsume_times: Option<i32>,
    }
}
