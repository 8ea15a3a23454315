//! A consumer returns a message it could not consume (36): it comes again after a delay, or ends in the dead letter
//! topic. Source: broker/processor/AbstractSendMessageProcessor.consumerSendMsgBack.

use crate::broker_stats::{BrokerStats, names as stat};
use crate::config::FlushDiskType;
use crate::config_manager::BrokerConfigManager;
use crate::processor::send_message::UniqueIds;
use crate::reply::{flush_error, forbidden, group_not_exist, put_error, wait_flushed};
use crate::schedule::DelayLevels;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use codec::message::MessageRecord;
use codec::properties::{Properties, names as property};
use protocol::body::group::SubscriptionGroupConfig;
use protocol::header::send::ConsumerSendMsgBackRequestHeader;
use protocol::names;
use protocol::operation::ConsumerSendMsgBack;
use protocol::response_code::SYSTEM_ERROR;
use protocol::sys_flag::{perm, topic as topic_flag};
use protocol::version;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::net::SocketAddr;
use std::sync::Arc;
use store::{Message, MessageStore};

/// The level of the first retry; each further one takes the next.
const FIRST_RETRY_LEVEL: i32 = 3;

/// Puts returned messages into retry or dead letter topics.
pub struct ConsumerSendMsgBackProcessor {
    /// Where the message lies and its copy goes.
    pub store: Arc<MessageStore>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Counters.
    pub stats: Arc<BrokerStats>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
    /// Delays by level.
    pub levels: Arc<DelayLevels>,
    /// This broker's address.
    pub store_host: SocketAddr,
    /// Chooses queues.
    pub ids: Arc<UniqueIds>,
}

impl Processor<ConsumerSendMsgBack> for ConsumerSendMsgBackProcessor {
    fn process(&self, request: Request<ConsumerSendMsgBackRequestHeader>) -> Outcome {
        self.send_back(&request).unwrap_or_else(Outcome::from)
    }
}

impl ConsumerSendMsgBackProcessor {
    fn send_back(&self, request: &Request<ConsumerSendMsgBackRequestHeader>) -> Result<Outcome, Reply> {
        let header = &request.header;
        let options = self.config.get();
        let auto_create = options.broker.auto_create_subscription_group;
        let group = self.groups.find(&header.group, auto_create).ok_or_else(|| group_not_exist(&header.group))?;
        if !perm::is_writeable(options.broker.broker_permission) {
            return Err(forbidden(format!("the broker[{}] sending message is forbidden", options.broker.broker_ip1)));
        }
        if group.retry_queue_nums <= 0 {
            return Ok(Reply::success().into());
        }
        let record = u64::try_from(header.offset).ok().and_then(|offset| self.store.record_at(offset));
        let record = record.as_ref().and_then(|bytes| MessageRecord::parse(bytes).ok());
        let missing = || Reply::error(SYSTEM_ERROR, format!("look message by offset failed, {}", header.offset));
        let record = record.ok_or_else(missing)?;
        self.put(request, &group, &record)
    }

    fn put(
        &self,
        request: &Request<ConsumerSendMsgBackRequestHeader>,
        group: &SubscriptionGroupConfig,
        record: &MessageRecord<'_>,
    ) -> Result<Outcome, Reply> {
        let header = &request.header;
        let origin = record.topic_str();
        let mut properties = Properties::parse(&record.properties_str());
        if properties.get(property::RETRY_TOPIC).is_none() {
            properties.set(property::RETRY_TOPIC, origin.as_ref());
        }
        properties.set(property::WAIT, "false");
        // That of another record.
        properties.remove(property::CRC32);
        if properties.get(property::ORIGIN_MESSAGE_ID).is_none() {
            properties.set(property::ORIGIN_MESSAGE_ID, record.offset_message_id());
        }
        let back_topic = properties.get(property::RETRY_TOPIC).unwrap_or_default().to_owned();
        let limit = header.max_reconsume_times.filter(|_| request.version >= version::V3_4_9);
        let dead = record.reconsume_times >= limit.unwrap_or(group.retry_max_times) || header.delay_level < 0;
        let (topic, queue_id) = self.destination(header, group, dead)?;
        let level = match header.delay_level {
            0 => FIRST_RETRY_LEVEL + record.reconsume_times,
            level => level,
        };
        let (put_topic, put_queue) = if dead {
            properties.set(property::DELAY, "0");
            (topic.as_str(), queue_id)
        } else {
            self.levels.park(level, &topic, queue_id, &mut properties)
        };
        let properties = properties.encode();
        let message = Message {
            topic: put_topic,
            queue_id: put_queue,
            flag: record.flag,
            sys_flag: record.sys_flag,
            born_timestamp: record.born_timestamp,
            born_host: record.born_host,
            store_host: self.store_host,
            reconsume_times: record.reconsume_times + 1,
            prepared_transaction_offset: 0,
            body: record.body,
            properties: &properties,
        };
        let options = self.config.get();
        let put = self.store.put(&message).map_err(|error| put_error(&error, options.store.max_message_size))?;
        self.stats.add(stat::SNDBCK_PUT_NUMS, &format!("{back_topic}@{}", header.group), 1, 1);
        if dead {
            tracing::info!(topic, group = %header.group, origin = back_topic, "message sent to the dead letter topic");
        }
        if options.store.flush_disk_type == FlushDiskType::AsyncFlush {
            return Ok(Reply::success().into());
        }
        // The consumer forgets the message once this is answered: it must be as safe as one that was sent.
        let flushed = wait_flushed(self.store.flushed(put.end()), options.store.sync_flush_timeout);
        Ok(Outcome::Later(Box::pin(async move {
            match flushed.await {
                Ok(()) => Reply::success(),
                Err(error) => Reply::error(SYSTEM_ERROR, flush_error(&error).1),
            }
        })))
    }

    fn destination(
        &self,
        header: &ConsumerSendMsgBackRequestHeader,
        group: &SubscriptionGroupConfig,
        dead: bool,
    ) -> Result<(String, i32), Reply> {
        if dead {
            let topic = names::dlq_topic(&header.group);
            self.topics.create_for_retry(&topic, 1, false, 0);
            return Ok((topic, 0));
        }
        let topic = names::retry_topic(&header.group);
        let flag = if header.unit_mode { topic_flag::build(false, true) } else { 0 };
        let config = self.topics.create_for_retry(&topic, group.retry_queue_nums, false, flag);
        if !perm::is_writeable(config.perm) {
            return Err(forbidden(format!("the topic[{topic}] sending message is forbidden")));
        }
        Ok((topic, self.ids.any(group.retry_queue_nums)))
    }
}
