//! Acknowledgements of popped messages: codes 200051 and 200151. Source: broker/processor/AckMessageProcessor.java.

use crate::broker_stats::{BrokerStats, names as stat};
use crate::config::FlushDiskType;
use crate::config_manager::BrokerConfigManager;
use crate::pop::Pop;
use crate::pop::order_info::{Committed, OrderKey};
use crate::pop::receipt::{ORDER_REVIVE_QUEUE, Receipt};
use crate::processor::pop_checks::{Reader, popped_from};
use crate::reply::{bad_body, flush_error, put_error, wait_flushed};
use crate::topic_config_manager::TopicConfigManager;
use codec::fields::NoHeader;
use codec::json;
use protocol::body::pop::{AckMsg, BatchAck, BatchAckMessageRequestBody};
use protocol::header::pop::AckMessageRequestHeader;
use protocol::names::pop_retry_topic;
use protocol::operation::{AckMessage, BatchAckMessage};
use protocol::response_code::{MESSAGE_ILLEGAL, NO_MESSAGE, SYSTEM_ERROR};
use remoting::clock;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::net::SocketAddr;
use std::sync::Arc;
use store::MessageStore;

/// Takes acknowledgements.
pub struct AckMessageProcessor {
    /// Where messages lie.
    pub store: Arc<MessageStore>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// State of POP.
    pub pop: Arc<Pop>,
    /// Counters.
    pub stats: Arc<BrokerStats>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
}

/// Messages of one receipt.
struct Acknowledged<'a> {
    topic: &'a str,
    group: &'a str,
    queue_id: i32,
    receipt: Receipt,
    offsets: Vec<i64>,
    is_batch: bool,
}

impl Processor<AckMessage> for AckMessageProcessor {
    fn process(&self, request: Request<AckMessageRequestHeader>) -> Outcome {
        match self.one(&request.header, request.channel.peer()) {
            Ok(end) => self.answer(end),
            Err(reply) => reply.into(),
        }
    }
}

impl Processor<BatchAckMessage> for AckMessageProcessor {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        if request.body.is_empty() {
            return Reply { code: NO_MESSAGE, ..Reply::success() }.into();
        }
        let body = match json::from_slice::<BatchAckMessageRequestBody>(&request.body) {
            Ok(body) if body.acks.is_empty() => return Reply { code: NO_MESSAGE, ..Reply::success() }.into(),
            Ok(body) => body,
            Err(error) => return bad_body(error).into(),
        };
        let mut end = None;
        // As in Java the last refusal is the answer, and what is behind a refused one is acknowledged all the same.
        let mut refused = None;
        for batch in &body.acks {
            match self.batch(batch, &body.broker_name, request.channel.peer()) {
                Ok(put) => end = end.max(put),
                Err(reply) => refused = Some(reply),
            }
        }
        refused.map_or_else(|| self.answer(end), Outcome::from)
    }
}

impl AckMessageProcessor {
    fn one(&self, header: &AckMessageRequestHeader, peer: SocketAddr) -> Result<Option<u64>, Reply> {
        let (topic, group): (&str, &str) = (&header.topic, &header.consumer_group);
        popped_from(&Reader { topic, queue_id: header.queue_id, group, peer }, &self.topics)?;
        let (min, max) = (self.store.min_offset(topic, header.queue_id), self.store.max_offset(topic, header.queue_id));
        if header.offset < min || header.offset > max {
            let (queue_id, offset) = (header.queue_id, header.offset);
            let remark = format!("offset is illegal, key:{topic}@{queue_id}, commit:{offset}, store:{min}~{max}");
            return Err(Reply::error(NO_MESSAGE, remark));
        }
        let receipt = Receipt::parse(&header.extra_info).map_err(|remark| Reply::error(SYSTEM_ERROR, remark))?;
        let queue_id = header.queue_id;
        self.acknowledge(
            Acknowledged { topic, group, queue_id, receipt, offsets: vec![header.offset], is_batch: false },
            peer,
        )
    }

    fn batch(&self, batch: &BatchAck, broker_name: &str, peer: SocketAddr) -> Result<Option<u64>, Reply> {
        let group: &str = &batch.consumer_group;
        let topic = match batch.retry.as_str() {
            "0" => batch.topic.clone(),
            "1" => pop_retry_topic(&batch.topic, group, false),
            "2" => pop_retry_topic(&batch.topic, group, true),
            other => {
                let remark = format!("retry \"{other}\" of a batch acknowledgement is none of 0, 1, 2");
                return Err(Reply::error(SYSTEM_ERROR, remark));
            }
        };
        let queue_id = batch.queue_id;
        let (min, max) = (self.store.min_offset(&topic, queue_id), self.store.max_offset(&topic, queue_id));
        let offsets: Vec<i64> = batch
            .set_bits()
            .filter_map(|bit| batch.start_offset.checked_add(bit))
            .filter(|offset| (min..=max).contains(offset))
            .collect();
        if offsets.is_empty() {
            return Ok(None);
        }
        let receipt = Receipt {
            start_offset: batch.start_offset,
            pop_time: batch.pop_time,
            invisible_time: batch.invisible_time,
            revive_qid: batch.revive_queue_id,
            broker_name: broker_name.to_owned(),
        };
        self.acknowledge(Acknowledged { topic: &topic, group, queue_id, receipt, offsets, is_batch: true }, peer)
    }

    /// Where the log must be flushed to before this may be answered.
    fn acknowledge(&self, ack: Acknowledged<'_>, peer: SocketAddr) -> Result<Option<u64>, Reply> {
        let (topic, group, receipt) = (ack.topic, ack.group, &ack.receipt);
        if receipt.revive_qid == ORDER_REVIVE_QUEUE {
            let mut refused = None;
            for offset in &ack.offsets {
                refused = self.in_order(&ack, *offset, peer).err().or(refused);
            }
            return refused.map_or(Ok(None), Err);
        }
        let count = i64::try_from(ack.offsets.len()).unwrap_or(0);
        self.stats.add(stat::GROUP_ACK_NUMS, &format!("{topic}@{group}"), count, 1);
        if !self.pop.log.has_queue(receipt.revive_qid) {
            // There can be no check point; Java stores it where nobody looks.
            return Ok(None);
        }
        let message = AckMsg {
            ack_offset: if ack.is_batch { -1 } else { ack.offsets.first().copied().unwrap_or(-1) },
            ack_offset_list: ack.is_batch.then(|| ack.offsets.clone()),
            broker_name: Some(receipt.broker_name.clone()),
            consumer_group: Some(group.to_owned()),
            invisible_time: Some(receipt.invisible_time),
            pop_time: receipt.pop_time,
            queue_id: ack.queue_id,
            start_offset: receipt.start_offset,
            topic: Some(topic.to_owned()),
        };
        let put = self.pop.log.put_ack(receipt.revive_qid, &message);
        let put = put.map_err(|error| put_error(&error, self.config.get().store.max_message_size))?;
        self.pop.in_flight.settled(topic, group, ack.queue_id, receipt.pop_time, count);
        Ok(Some(put.end()))
    }

    fn in_order(&self, ack: &Acknowledged<'_>, offset: i64, peer: SocketAddr) -> Result<(), Reply> {
        let (topic, group, queue_id) = (ack.topic, ack.group, ack.queue_id);
        let committed = || self.pop.offsets.query(group, topic, queue_id).unwrap_or(-1);
        if offset < committed() {
            return Ok(());
        }
        let lock = self.pop.locks.lock(topic, group, queue_id);
        let old = committed();
        if offset < old {
            return Ok(());
        }
        let key = OrderKey { topic: topic.to_owned(), group: group.to_owned(), queue_id };
        match self.pop.orders.acknowledge(&key, offset, ack.receipt.pop_time) {
            Committed::Next(next) => {
                if !self.pop.offsets.has_reset(group, topic, queue_id) {
                    self.pop.offsets.commit(group, topic, queue_id, next);
                }
                drop(lock);
                if !self.pop.orders.is_blocked(&key, None, ack.receipt.invisible_time, clock::now_ms()) {
                    self.pop.freed(&key);
                }
            }
            Committed::OldReceipt => {}
            Committed::NotHandedOut => {
                let remark = format!(
                    "offset is illegal, key:{topic}@{group}@{queue_id}, old:{old}, commit:{offset}, next:-1, /{peer}"
                );
                return Err(Reply::error(MESSAGE_ILLEGAL, remark));
            }
        }
        self.pop.in_flight.settled(topic, group, queue_id, ack.receipt.pop_time, 1);
        Ok(())
    }

    fn answer(&self, end: Option<u64>) -> Outcome {
        let options = self.config.get();
        let Some(end) = end.filter(|_| options.store.flush_disk_type == FlushDiskType::SyncFlush) else {
            return Reply::success().into();
        };
        let flushed = wait_flushed(self.store.flushed(end), options.store.sync_flush_timeout);
        Outcome::Later(Box::pin(async move {
            match flushed.await {
                Ok(()) => Reply::success(),
                Err(error) => Reply::error(SYSTEM_ERROR, flush_error(&error).1),
            }
        }))
    }
}
