//! Sends: codes 10, 310 and 320. Source of checks, order and remarks: broker/processor/SendMessageProcessor.java and
//! AbstractSendMessageProcessor.java.

use crate::broker_stats::{BrokerStats, names as stat};
use crate::config::FlushDiskType;
use crate::config_manager::BrokerConfigManager;
use crate::processor::priority;
use crate::processor::recall_message::recall_handle;
use crate::rebalance_lock_manager::RebalanceLockManager;
use crate::reply::{flush_error, forbidden, group_not_exist, put_error, timer_refusal, topic_not_exist, wait_flushed};
use crate::schedule::DelayLevels;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::timer::Timer;
use crate::topic_config_manager::{NotCreated, TopicConfigManager};
use crate::transaction::{Transactions, half};
use bytestring::ByteString;
use codec::message::{BatchMessages, message_id, sys_flag};
use codec::properties::{self, Properties, names as property};
use protocol::body::topic::{TopicConfig, TopicFilterType};
use protocol::header::send::{SendMessageRequestHeader, SendMessageRequestHeaderV2, SendMessageResponseHeader};
use protocol::names;
use protocol::operation::{SendBatchMessage, SendMessage, SendMessageV2};
use protocol::response_code::{INVALID_PARAMETER, MESSAGE_ILLEGAL, SYSTEM_ERROR};
use protocol::sys_flag::{perm, topic as topic_flag};
use protocol::version;
use remoting::clock;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use store::{Message, MessageStore, PutResult, QueueType};

type SendReply = Reply<SendMessageResponseHeader>;

/// Stores what producers send.
pub struct SendMessageProcessor {
    /// Where it goes.
    pub store: Arc<MessageStore>,
    /// Topics, made on first send where that is allowed.
    pub topics: Arc<TopicConfigManager>,
    /// Groups, for messages that return to a retry topic.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Locks of ordered consumers.
    pub locks: Arc<RebalanceLockManager>,
    /// Counters.
    pub stats: Arc<BrokerStats>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
    /// Delays by level.
    pub levels: Arc<DelayLevels>,
    /// Half messages.
    pub transactions: Arc<Transactions>,
    /// Delivery at arbitrary times.
    pub timer: Arc<Timer>,
    /// This broker's address, written into every record.
    pub store_host: SocketAddr,
    /// Makes message ids for clients that give none.
    pub ids: Arc<UniqueIds>,
}

impl Processor<SendMessage> for SendMessageProcessor {
    fn process(&self, request: Request<SendMessageRequestHeader>) -> Outcome<SendMessageResponseHeader> {
        self.send(&request)
    }
}

impl Processor<SendMessageV2> for SendMessageProcessor {
    fn process(&self, request: Request<SendMessageRequestHeaderV2>) -> Outcome<SendMessageResponseHeader> {
        self.send(&request.map(SendMessageRequestHeader::from))
    }
}

impl Processor<SendBatchMessage> for SendMessageProcessor {
    fn process(&self, request: Request<SendMessageRequestHeaderV2>) -> Outcome<SendMessageResponseHeader> {
        self.send(&request.map(|header| SendMessageRequestHeader { batch: true, ..header.into() }))
    }
}

/// One message, or the frame of a batch, on its way into the store.
struct Draft {
    topic: ByteString,
    queue_id: i32,
    sys_flag: i32,
    properties: Properties,
    /// A retry that goes to the dead letter topic instead is not delayed.
    dead: bool,
}

impl SendMessageProcessor {
    fn send(&self, request: &Request<SendMessageRequestHeader>) -> Outcome<SendMessageResponseHeader> {
        let header = &request.header;
        let checked = self.check(header).and_then(|topic| Ok((self.draft(header, request.version, &topic)?, topic)));
        match checked {
            Ok((draft, topic)) if header.batch => self.put_batch(request, draft, &topic),
            Ok((draft, topic)) if topic.is_compacted() && has_no_keys(&draft) => {
                Reply::error(MESSAGE_ILLEGAL, "Required message key is missing").into()
            }
            Ok((draft, _)) => self.put_one(request, draft),
            Err(reply) => reply.into(),
        }
    }

    /// Everything that Java checks before it builds a message.
    pub(super) fn check(&self, header: &SendMessageRequestHeader) -> Result<Arc<TopicConfig>, SendReply> {
        let options = self.config.get();
        let broker = &options.broker;
        let until = broker.start_accept_send_request_time_stamp;
        if until > 0 && clock::now_ms() < until {
            let remark = format!("broker unable to service, until {until} ms (startAcceptSendRequestTimeStamp)");
            return Err(Reply::error(SYSTEM_ERROR, remark));
        }
        let topic: &str = &header.topic;
        if !perm::is_writeable(broker.broker_permission) && self.topics.is_order(topic) {
            let remark = format!(
                "the broker[{}] sending message is forbidden (brokerPermission={})",
                broker.broker_ip1, broker.broker_permission
            );
            return Err(forbidden(remark));
        }
        names::validate_topic(topic).map_err(|remark| Reply::error(INVALID_PARAMETER, remark))?;
        if names::is_not_sendable(topic) {
            return Err(forbidden(format!("Sending message to topic[{topic}] is forbidden.")));
        }
        let config = match self.topics.get(topic) {
            Some(config) => config,
            None => self.create_topic(header, broker.auto_create_topic_enable)?,
        };
        let queues = config.write_queue_nums.max(config.read_queue_nums);
        if header.queue_id >= queues {
            let remark = format!(
                "request queueId[{}] is illegal, topic[{topic}] has readQueueNums={} writeQueueNums={}",
                header.queue_id, config.read_queue_nums, config.write_queue_nums
            );
            return Err(Reply::error(INVALID_PARAMETER, remark));
        }
        Ok(config)
    }

    fn create_topic(&self, header: &SendMessageRequestHeader, auto: bool) -> Result<Arc<TopicConfig>, SendReply> {
        let topic: &str = &header.topic;
        let is_retry = topic.starts_with(names::RETRY_PREFIX);
        let flag = if header.unit_mode { topic_flag::build(!is_retry, is_retry) } else { 0 };
        let made =
            self.topics.create_in_send(topic, &header.default_topic, header.default_topic_queue_nums, flag, auto);
        match made {
            Ok(config) => Ok(config),
            Err(_) if is_retry => Ok(self.topics.create_for_retry(topic, 1, false, flag)),
            Err(reason) => {
                let reason = match reason {
                    _ if !auto => "autoCreateTopicEnable=false".to_owned(),
                    NotCreated::NoDefaultTopic => format!("defaultTopic[{}] does not exist", header.default_topic),
                    NotCreated::NotInherited => format!("defaultTopic[{}] may not be copied", header.default_topic),
                };
                tracing::warn!(topic, reason, group = %header.producer_group, "topic not created on send");
                Err(topic_not_exist(topic, &format!("({reason})")))
            }
        }
    }

    /// Decides on queue, flags and properties; sends retries beyond their limit to the dead letter topic.
    fn draft(&self, header: &SendMessageRequestHeader, peer: i32, config: &TopicConfig) -> Result<Draft, SendReply> {
        let options = self.config.get();
        let queue_id = match header.queue_id {
            id if id < 0 => self.ids.any(config.write_queue_nums),
            id => id,
        };
        let mut properties = Properties::parse(header.properties.as_deref().unwrap_or_default());
        properties.remove(property::POP_CK);
        properties.set(property::MSG_REGION, options.broker.region_id.as_str());
        properties.set(property::TRACE_ON, text_of(options.broker.trace_on));
        properties.set(property::CLUSTER, options.broker.broker_cluster_name.as_str());
        let mut draft =
            Draft { topic: header.topic.clone(), queue_id, sys_flag: header.sys_flag, properties, dead: false };
        if config.topic_filter_type == TopicFilterType::MultiTag {
            draft.sys_flag |= sys_flag::MULTI_TAGS;
        }
        if header.topic.starts_with(names::RETRY_PREFIX) && !header.batch {
            self.redirect_retry(header, peer, &mut draft)?;
        }
        if !header.batch
            && let Some(queue_id) = priority::queue_id(&mut draft.properties, config.write_queue_nums)
        {
            draft.queue_id = queue_id;
        }
        Ok(draft)
    }

    fn redirect_retry(&self, header: &SendMessageRequestHeader, peer: i32, draft: &mut Draft) -> Result<(), SendReply> {
        let group = header.topic.strip_prefix(names::RETRY_PREFIX).unwrap_or_default();
        let auto_create = self.config.get().broker.auto_create_subscription_group;
        let config = self.groups.find(group, auto_create).ok_or_else(|| group_not_exist(group))?;
        let limit = header.max_reconsume_times.filter(|_| peer >= version::V3_4_9).unwrap_or(config.retry_max_times);
        // A lock that is alive tells of ordered consumption, whose clients retry by themselves before they send back.
        let ordered = !self.locks.is_all_expired(group, clock::now_ms());
        if header.reconsume_times.unwrap_or(0) > limit || ordered {
            let dead = names::dlq_topic(group);
            self.topics.create_for_retry(&dead, 1, false, 0);
            draft.topic = dead.into();
            draft.queue_id = 0;
            draft.dead = true;
            draft.properties.set(property::DELAY, "-1");
        }
        Ok(())
    }

    fn put_one(
        &self,
        request: &Request<SendMessageRequestHeader>,
        mut draft: Draft,
    ) -> Outcome<SendMessageResponseHeader> {
        let header = &request.header;
        let is_half = !draft.dead && half::is_half(&draft.properties, header.reconsume_times.unwrap_or(0));
        let refusal = is_half.then(|| self.refuse_half(&draft.properties)).flatten();
        if let Some(refusal) = refusal.or_else(|| refuse_inner_batch(&draft)) {
            return refusal.into();
        }
        if draft.properties.get(property::UNIQ_KEY).is_none() {
            draft.properties.set(property::UNIQ_KEY, self.ids.next(self.store_host));
        }
        let unique = unique_key(header.properties.as_ref(), draft.properties.get(property::UNIQ_KEY));
        let (topic, queue_id) = (draft.topic.clone(), draft.queue_id);
        let level = draft.properties.get(property::DELAY).and_then(|level| level.parse().ok()).unwrap_or(0);
        if is_half {
            draft.sys_flag = sys_flag::with_transaction_type(draft.sys_flag, sys_flag::TRANSACTION_NOT_TYPE);
        }
        let (put_topic, put_queue) = match level {
            _ if is_half => half::park(&topic, queue_id, &mut draft.properties),
            1.. if !draft.dead => self.levels.park(level, &topic, queue_id, &mut draft.properties),
            _ => match self.timer.park(&self.config.get(), &topic, queue_id, &mut draft.properties) {
                Ok(parked) => parked.unwrap_or((&*topic, queue_id)),
                Err(refusal) => return timer_refusal(refusal).into(),
            },
        };
        let message = Message {
            topic: put_topic,
            queue_id: put_queue,
            properties: draft.properties.as_str(),
            body: &request.body,
            ..self.message(header, request.channel.peer(), draft.sys_flag)
        };
        match self.store.put(&message) {
            Ok(put) => {
                let id = self.offset_message_id(&put);
                if is_half {
                    self.transactions.metrics.add(&topic, 1, clock::now_ms());
                }
                self.count(if is_half { put_topic } else { &topic }, 1, put.len);
                let wait = draft.properties.get(property::WAIT) != Some("false");
                let handle = recall_handle(&draft.properties, &self.config.get().broker.broker_name);
                self.answer((id, None, handle), unique, queue_id, &put, put.end(), wait)
            }
            Err(error) => put_error(&error, self.config.get().store.max_message_size).into(),
        }
    }

    /// What a half message may not be. Java stores one with a delay, and drops it when it is due.
    fn refuse_half(&self, properties: &Properties) -> Option<SendReply> {
        let options = self.config.get();
        if options.broker.reject_transaction_message {
            let broker = &options.broker.broker_ip1;
            let remark = format!("the broker[{broker}] sending transaction message is forbidden");
            return Some(forbidden(remark));
        }
        let delay = properties.get(property::DELAY).filter(|level| level.parse().is_ok_and(|level: i32| level > 0));
        let timer = [property::TIMER_DELAY_SEC, property::TIMER_DELAY_MS, property::TIMER_DELIVER_MS];
        let timed = delay.is_some() || timer.into_iter().any(|name| properties.get(name).is_some());
        let remark = "a transaction message cannot be delayed; send it without delay level and without delivery time";
        timed.then(|| Reply::error(MESSAGE_ILLEGAL, remark))
    }

    fn put_batch(
        &self,
        request: &Request<SendMessageRequestHeader>,
        draft: Draft,
        topic: &TopicConfig,
    ) -> Outcome<SendMessageResponseHeader> {
        let illegal = |remark: String| Outcome::from(Reply::error(MESSAGE_ILLEGAL, remark));
        if draft.topic.starts_with(names::RETRY_PREFIX) {
            return illegal(format!("batch request does not support retry group {}", draft.topic));
        }
        let limit = self.config.get().store.max_message_size;
        if i32::try_from(request.body.len()).unwrap_or(i32::MAX) > limit {
            return illegal(format!("batch of {} bytes is over {limit} (maxMessageSize)", request.body.len()));
        }
        let parts: Result<Vec<_>, _> = BatchMessages::new(&request.body).collect();
        let parts = match parts {
            Ok(parts) if !parts.is_empty() => parts,
            Ok(_) => return illegal("the batch holds no message".to_owned()),
            Err(error) => return illegal(format!("the batch cannot be read: {error}")),
        };
        if parts.iter().any(|part| is_special(part.properties)) {
            return illegal("a batch can hold neither delayed nor transaction messages".to_owned());
        }
        let unique = draft.properties.get(property::UNIQ_KEY).map(ByteString::from);
        if topic.is_batch_cq()
            && self.store.queue_type(&draft.topic) == QueueType::Batch
            && let Some(unique) = &unique
        {
            return self.put_inner_batch(request, draft, parts.len(), unique);
        }
        let frame = self.message(&request.header, request.channel.peer(), draft.sys_flag);
        let messages: Vec<Message<'_>> = parts
            .iter()
            .map(|part| Message {
                topic: &draft.topic,
                queue_id: draft.queue_id,
                flag: part.flag,
                body: part.body,
                properties: part.properties,
                ..frame
            })
            .collect();
        match self.store.put_batch(&messages) {
            Ok(puts) => {
                let ids: Vec<_> = puts.iter().map(|put| self.offset_message_id(put)).collect();
                let bytes = puts.iter().map(|put| put.len).sum();
                self.count(&draft.topic, i64::try_from(puts.len()).unwrap_or(0), bytes);
                let wait = draft.properties.get(property::WAIT) != Some("false");
                match (puts.first(), puts.last()) {
                    (Some(first), Some(last)) => {
                        self.answer((ids.join(","), None, None), unique, draft.queue_id, first, last.end(), wait)
                    }
                    _ => illegal("the batch holds no message".to_owned()),
                }
            }
            Err(error) => put_error(&error, limit).into(),
        }
    }

    /// Stores a batch as one record, in a topic whose queues hold batches. Source: SendMessageProcessor.sendBatchMessage.
    fn put_inner_batch(
        &self,
        request: &Request<SendMessageRequestHeader>,
        mut draft: Draft,
        count: usize,
        unique: &ByteString,
    ) -> Outcome<SendMessageResponseHeader> {
        let Ok(num) = i16::try_from(count) else {
            let remark = format!("the batch holds {count} messages, {} are possible", i16::MAX);
            return Reply::error(MESSAGE_ILLEGAL, remark).into();
        };
        draft.properties.set(property::INNER_NUM, num.to_string());
        let message = Message {
            topic: &draft.topic,
            queue_id: draft.queue_id,
            properties: draft.properties.as_str(),
            body: &request.body,
            ..self.message(
                &request.header,
                request.channel.peer(),
                draft.sys_flag | sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP,
            )
        };
        match self.store.put(&message) {
            Ok(put) => {
                self.count(&draft.topic, i64::from(num), put.len);
                let wait = draft.properties.get(property::WAIT) != Some("false");
                let ids = (self.offset_message_id(&put), Some(unique.clone()), None);
                self.answer(ids, Some(unique.clone()), draft.queue_id, &put, put.end(), wait)
            }
            Err(error) => put_error(&error, self.config.get().store.max_message_size).into(),
        }
    }

    pub(super) fn message(
        &self,
        header: &SendMessageRequestHeader,
        born_host: SocketAddr,
        sys_flag: i32,
    ) -> Message<'static> {
        Message {
            topic: "",
            queue_id: 0,
            flag: header.flag,
            sys_flag,
            born_timestamp: header.born_timestamp,
            born_host,
            store_host: self.store_host,
            reconsume_times: header.reconsume_times.unwrap_or(0),
            prepared_transaction_offset: 0,
            body: &[],
            properties: "",
        }
    }

    pub(super) fn offset_message_id(&self, put: &PutResult) -> String {
        message_id(self.store_host, i64::try_from(put.physical_offset).unwrap_or(i64::MAX))
    }

    /// Answers at once, or under SYNC_FLUSH when the message is on disk.
    fn answer(
        &self,
        (msg_id, batch_uniq_id, recall_handle): (String, Option<ByteString>, Option<String>),
        unique: Option<ByteString>,
        queue_id: i32,
        put: &PutResult,
        end: u64,
        wait: bool,
    ) -> Outcome<SendMessageResponseHeader> {
        let options = self.config.get();
        let header = SendMessageResponseHeader {
            msg_id: msg_id.into(),
            queue_id,
            queue_offset: put.queue_offset,
            transaction_id: unique,
            batch_uniq_id,
            recall_handle: recall_handle.map(ByteString::from),
            msg_region: Some(options.broker.region_id.as_str().into()),
            trace_on: Some(ByteString::from_static(text_of(options.broker.trace_on))),
        };
        if options.store.flush_disk_type == FlushDiskType::AsyncFlush || !wait {
            return Reply::ok(header).into();
        }
        let flushed = wait_flushed(self.store.flushed(end), options.store.sync_flush_timeout);
        Outcome::Later(Box::pin(async move {
            match flushed.await {
                Ok(()) => Reply::ok(header),
                Err(error) => {
                    let (code, remark) = flush_error(&error);
                    Reply { code, ..Reply::ok(header).with_remark(remark) }
                }
            }
        }))
    }

    pub(super) fn count(&self, topic: &str, messages: i64, bytes: u32) {
        self.stats.add(stat::TOPIC_PUT_NUMS, topic, messages, 1);
        self.stats.add(stat::TOPIC_PUT_SIZE, topic, bytes.into(), 1);
        self.stats.add(stat::BROKER_PUT_NUMS, &self.config.get().broker.broker_cluster_name, messages, 1);
    }
}

/// The UNIQ_KEY that the client gave, as a part of its properties, which costs no copy; else `value`.
fn unique_key(text: Option<&ByteString>, value: Option<&str>) -> Option<ByteString> {
    let found = text.and_then(|text| Some(text.slice_ref(properties::get(text, property::UNIQ_KEY)?)));
    found.or_else(|| value.map(ByteString::from))
}

/// What a topic that is compacted by keys has no place for.
fn has_no_keys(draft: &Draft) -> bool {
    draft.properties.get(property::KEYS).is_none_or(|keys| keys.trim().is_empty())
}

fn text_of(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

/// What only a batch to a topic of batches may be, for consumers would take it apart. Source: HookUtils.checkInnerBatch.
fn refuse_inner_batch(draft: &Draft) -> Option<SendReply> {
    let is_one = draft.sys_flag & sys_flag::INNER_BATCH != 0 || draft.properties.get(property::INNER_NUM).is_some();
    is_one.then(|| Reply::error(MESSAGE_ILLEGAL, "the message says that it is an inner batch, but is no batch"))
}

/// Delayed, timed and transaction messages cannot travel in a batch.
fn is_special(text: &str) -> bool {
    [
        property::DELAY,
        property::TRAN_MSG,
        property::TIMER_DELAY_SEC,
        property::TIMER_DELAY_MS,
        property::TIMER_DELIVER_MS,
    ]
    .into_iter()
    .any(|name| properties::get(text, name).is_some_and(|value| value != "0" && value != "false"))
}

/// Message ids in the form of Java's clients, for senders that give none; and numbers for choosing a queue.
#[derive(Debug, Default)]
pub struct UniqueIds {
    counter: AtomicU32,
}

impl UniqueIds {
    /// A new id: address, process, milliseconds and a counter in hexadecimal.
    pub fn next(&self, host: SocketAddr) -> String {
        use std::fmt::Write;
        /// Asking the kernel costs more than all the rest.
        static PROCESS: LazyLock<u32> = LazyLock::new(std::process::id);
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let octets = match host.ip() {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let mut id = String::with_capacity(56);
        for octet in octets {
            let _ = write!(id, "{octet:02X}");
        }
        let now = clock::now_ms();
        let _ = write!(
            id,
            "{:04X}{:08X}{:08X}{:04X}",
            *PROCESS & 0xFFFF,
            (now >> 32) & 0xFFFF_FFFF,
            now & 0xFFFF_FFFF,
            counter & 0xFFFF
        );
        id
    }

    /// Some number below `bound`.
    pub fn any(&self, bound: i32) -> i32 {
        let bound = u32::try_from(bound.max(1)).unwrap_or(1);
        i32::try_from(self.counter.fetch_add(1, Ordering::Relaxed) % bound).unwrap_or(0)
    }
}
