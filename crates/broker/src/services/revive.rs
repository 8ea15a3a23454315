//! Gives messages again that were popped and not acknowledged in time: one task per queue of the revive topic. It reads
//! what arrives there, and sleeps until something does or the next check point is due.

use crate::broker_stats::{BrokerStats, names as stat};
use crate::config_manager::BrokerConfigManager;
use crate::pop::Pop;
use crate::pop::revive_log::{ACK_TAG, BATCH_ACK_TAG, CHECK_POINT_TAG};
use crate::pop::revive_table::{Pending, ReviveTable};
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use codec::json;
use codec::message::MessageRecord;
use codec::properties::{Properties, names as property};
use protocol::body::pop::{AckMsg, PopCheckPoint};
use protocol::body::topic::TopicConfig;
use protocol::names::{RETRY_PREFIX, REVIVE_GROUP, pop_origin_topic, pop_retry_topic};
use remoting::clock;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::{AllMessages, GetMessageStatus, GetQuery, Message, MessageStore};

const BATCH: usize = 64;
const DISPATCH_PAUSE: Duration = Duration::from_millis(2);
/// A store that does not dispatch for so long has failed, and takes nothing.
const DISPATCH_ROUNDS: usize = 1000;

/// One queue of the revive topic.
pub(super) struct Reviver {
    pub(super) store: Arc<MessageStore>,
    pub(super) topics: Arc<TopicConfigManager>,
    pub(super) groups: Arc<SubscriptionGroupManager>,
    pub(super) stats: Arc<BrokerStats>,
    pub(super) config: Arc<BrokerConfigManager>,
    pub(super) pop: Arc<Pop>,
    pub(super) store_host: SocketAddr,
    pub(super) queue_id: i32,
}

impl Reviver {
    pub(super) async fn run(&self) {
        let topic = self.pop.arrivals.revive.topic().to_owned();
        let mut table = ReviveTable::default();
        let mut next = self.first_offset(&topic);
        loop {
            next = self.read(&topic, &mut table, next).await;
            if table.next_due().is_some_and(|due_ms| due_ms <= clock::now_ms()) {
                let now = clock::now_ms();
                // Every acknowledgement that was answered counts: it must be in the queue before anything is given again.
                self.dispatched().await;
                next = self.read(&topic, &mut table, next).await;
                self.revive_due(&mut table, now).await;
            }
            self.rewrite_laggards(&table, next);
            self.commit(&topic, &mut table, next);
            let wait_ms = table.next_due().map(|due_ms| due_ms.saturating_sub(clock::now_ms()).max(0));
            let sleep = Duration::from_millis(wait_ms.unwrap_or(0).unsigned_abs());
            tokio::select! {
                () = tokio::time::sleep(sleep), if wait_ms.is_some() => {}
                () = self.pop.arrivals.revive.arrival(self.queue_id) => {}
            }
        }
    }

    /// Waits until what is in the log now is in its queues.
    async fn dispatched(&self) {
        let end = self.store.log_end();
        let mut rounds = 0;
        while self.store.dispatched_to() < end && rounds < DISPATCH_ROUNDS {
            rounds += 1;
            tokio::time::sleep(DISPATCH_PAUSE).await;
        }
    }

    /// Java commits the last record that it is done with, not the next one.
    fn first_offset(&self, topic: &str) -> i64 {
        let known = self.pop.offsets.query(REVIVE_GROUP, topic, self.queue_id).map_or(0, |done| done + 1);
        let (min, max) = (self.store.min_offset(topic, self.queue_id), self.store.max_offset(topic, self.queue_id));
        let offset = known.clamp(min, max.max(min));
        if offset != known {
            tracing::warn!(queue_id = self.queue_id, known, min, max, "revive offset outside the queue, corrected");
        }
        offset
    }

    /// Reads everything that is there.
    async fn read(&self, topic: &str, table: &mut ReviveTable, mut next: i64) -> i64 {
        loop {
            // The queue may have lost its beginning to retention meanwhile.
            next = next.max(self.store.min_offset(topic, self.queue_id));
            let units = self.store.queue_units(topic, self.queue_id, next, BATCH);
            if units.is_empty() {
                return next;
            }
            for unit in units {
                if let Some(bytes) = self.store.record_at(unit.physical_offset)
                    && let Ok(record) = MessageRecord::parse(&bytes)
                {
                    self.take_in(table, &record, unit.queue_offset);
                }
                next = unit.queue_offset + 1;
            }
            tokio::task::yield_now().await;
        }
    }

    fn take_in(&self, table: &mut ReviveTable, record: &MessageRecord<'_>, revive_offset: i64) {
        let unreadable = |error: json::JsonError| {
            tracing::error!(queue_id = self.queue_id, revive_offset, %error, "a record of the revive topic is passed over");
        };
        match record.property(property::TAGS) {
            Some(CHECK_POINT_TAG) => match json::from_slice::<PopCheckPoint>(record.body) {
                Ok(point) => {
                    let through_timer = record.property(property::TIMER_OUT_MS).is_some();
                    table.check_point(point, revive_offset, through_timer);
                }
                Err(error) => unreadable(error),
            },
            Some(ACK_TAG | BATCH_ACK_TAG) => match json::from_slice::<AckMsg>(record.body) {
                Ok(ack) => {
                    let own = &self.config.get().broker.broker_name;
                    table.acknowledged(&ack, own, revive_offset, clock::now_ms());
                }
                Err(error) => unreadable(error),
            },
            tag => tracing::warn!(queue_id = self.queue_id, revive_offset, ?tag, "a record that is none of POP's"),
        }
    }

    async fn revive_due(&self, table: &mut ReviveTable, now: i64) {
        while let Some(mut pending) = table.take_due(now) {
            // What the next start reads from lies before it.
            let read_again = table.needed_from(i64::MAX, now) < pending.revive_offset;
            if let Err(error) = self.revive(&mut pending, read_again) {
                let (topic, group) = (&pending.point.topic, &pending.point.consumer_group);
                tracing::warn!(?topic, ?group, %error, "messages cannot be given again now, trying again");
                table.failed(pending, now);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Puts what is not acknowledged into the group's retry topic. What cannot be put stays in `pending`. Where a start would read
    /// the check point again, it finds the message acknowledged: it came again once, and must not with each start.
    fn revive(&self, pending: &mut Pending, read_again: bool) -> Result<(), String> {
        let point = pending.point.clone();
        let (Some(topic), Some(group)) = (&point.topic, &point.consumer_group) else { return Ok(()) };
        let auto_create = self.config.get().broker.auto_create_subscription_group;
        if self.topics.get(pop_origin_topic(topic, group)).is_none() || !self.groups.contains(group, auto_create) {
            tracing::info!(topic, group, "messages of a topic or group that is gone are not given again");
            return Ok(());
        }
        for queue_offset in pending.unacknowledged() {
            self.put_again(&point, topic, group, queue_offset)?;
            pending.acknowledge(queue_offset);
            if read_again && let Err(error) = self.pop.log.put_ack(self.queue_id, &done_with(&point, queue_offset)) {
                tracing::debug!(queue_id = self.queue_id, %error, "a message was given again, which could not be noted");
            }
            self.pop.in_flight.settled(topic, group, point.queue_id, point.pop_time, 1);
        }
        Ok(())
    }

    fn put_again(&self, point: &PopCheckPoint, topic: &str, group: &str, queue_offset: i64) -> Result<(), String> {
        let found = self.store.get(&GetQuery::new(topic, point.queue_id, queue_offset, 1), &AllMessages);
        if found.status == GetMessageStatus::OffsetFoundNull
            && (found.min_offset..found.max_offset).contains(&queue_offset)
        {
            return Err(format!("message {queue_offset} of queue {} cannot be read", point.queue_id));
        }
        // Where one is gone the store may show the next.
        let record = found.messages.first().and_then(|record| MessageRecord::parse(record).ok());
        let Some(record) = record.filter(|record| record.queue_offset <= queue_offset) else {
            tracing::info!(topic, group, queue_id = point.queue_id, queue_offset, status = ?found.status, "message is gone");
            return Ok(());
        };
        let mut properties = Properties::parse(&record.properties_str());
        if record.reconsume_times == 0 || properties.get(property::FIRST_POP_TIME).is_none() {
            properties.set(property::FIRST_POP_TIME, point.pop_time.to_string());
        }
        properties.set(property::ORIGIN_GROUP, group);
        // That of another record.
        properties.remove(property::CRC32);
        let (retry_topic, queue_id) = self.retry_queue(topic, group, record.queue_id);
        let properties = properties.encode();
        let message = Message {
            flag: record.flag,
            sys_flag: record.sys_flag,
            born_timestamp: record.born_timestamp,
            born_host: self.store_host,
            store_host: self.store_host,
            reconsume_times: record.reconsume_times + i32::from(!point.suspend),
            properties: &properties,
            ..Message::new(&retry_topic, queue_id, record.body)
        };
        let put = self.store.put(&message).map_err(|error| error.to_string())?;
        self.stats.add(stat::TOPIC_PUT_NUMS, &retry_topic, 1, 1);
        self.stats.add(stat::TOPIC_PUT_SIZE, &retry_topic, put.len.into(), 1);
        self.stats.add(stat::BROKER_PUT_NUMS, &self.config.get().broker.broker_cluster_name, 1, 1);
        Ok(())
    }

    /// The queue to which a message returns; its topic is made when it is not there.
    fn retry_queue(&self, topic: &str, group: &str, queue_id: i32) -> (String, i32) {
        let options = self.config.get();
        let retry_topic = match topic.starts_with(RETRY_PREFIX) {
            true => topic.to_owned(),
            false => pop_retry_topic(topic, group, options.broker.enable_retry_topic_v2),
        };
        let separate = options.broker.use_separate_retry_queue;
        let queues = match self.topics.get(pop_origin_topic(topic, group)) {
            Some(origin) if separate => origin.write_queue_nums,
            _ => 1,
        };
        let known = self.topics.get(&retry_topic);
        if known.as_ref().is_none_or(|config| separate && config.write_queue_nums != queues) {
            let config = TopicConfig {
                topic_name: retry_topic.clone(),
                read_queue_nums: queues,
                write_queue_nums: queues,
                ..TopicConfig::default()
            };
            if let Err(error) = self.topics.put([config]) {
                tracing::error!(retry_topic, %error, "a retry topic was made, and could not be written");
            }
            for queue_id in 0..queues {
                if self.pop.offsets.query(group, &retry_topic, queue_id).is_none() {
                    self.pop.offsets.commit(group, &retry_topic, queue_id, 0);
                }
            }
        }
        (retry_topic, if separate && queue_id < queues { queue_id } else { 0 })
    }

    /// One check point that waits for long must not have a start read everything behind it.
    fn rewrite_laggards(&self, table: &ReviveTable, next: i64) {
        if let Some(pending) = table.laggard(next)
            && let Err(error) = self.pop.log.put_check_point(self.queue_id, &pending.point)
        {
            tracing::debug!(queue_id = self.queue_id, %error, "a check point could not be written again");
        }
    }

    fn commit(&self, topic: &str, table: &mut ReviveTable, next: i64) {
        let done = table.needed_from(next, clock::now_ms()) - 1;
        let known = self.pop.offsets.query(REVIVE_GROUP, topic, self.queue_id).unwrap_or(-1);
        if done > known {
            self.pop.offsets.commit(REVIVE_GROUP, topic, self.queue_id, done);
        }
    }
}

/// The acknowledgement of a message that was given again. Without an invisible time it waits for no check point.
fn done_with(point: &PopCheckPoint, queue_offset: i64) -> AckMsg {
    AckMsg {
        ack_offset: queue_offset,
        broker_name: point.broker_name.clone(),
        consumer_group: point.consumer_group.clone(),
        pop_time: point.pop_time,
        queue_id: point.queue_id,
        start_offset: point.start_offset,
        topic: point.topic.clone(),
        ..AckMsg::default()
    }
}
