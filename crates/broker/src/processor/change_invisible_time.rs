//! Messages that a consumer wants to keep for longer or give back: code 200053. Source:
//! broker/processor/ChangeInvisibleTimeProcessor.java.

use crate::broker_stats::{BrokerStats, names as stat};
use crate::config::FlushDiskType;
use crate::config_manager::BrokerConfigManager;
use crate::pop::Pop;
use crate::pop::order_info::OrderKey;
use crate::pop::receipt::Receipt;
use crate::processor::pop_checks::{NOTHING_SAID, Reader, popped_from};
use crate::reply::{put_error, wait_flushed};
use crate::topic_config_manager::TopicConfigManager;
use protocol::body::pop::{AckMsg, PopCheckPoint};
use protocol::header::pop::{ChangeInvisibleTimeRequestHeader, ChangeInvisibleTimeResponseHeader};
use protocol::operation::ChangeMessageInvisibleTime;
use protocol::response_code::{NO_MESSAGE, SYSTEM_ERROR};
use remoting::clock;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::net::SocketAddr;
use std::sync::Arc;
use store::MessageStore;

type ChangeReply = Reply<ChangeInvisibleTimeResponseHeader>;

/// Gives receipts for other receipts.
pub struct ChangeInvisibleTimeProcessor {
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

impl Processor<ChangeMessageInvisibleTime> for ChangeInvisibleTimeProcessor {
    fn process(
        &self,
        request: Request<ChangeInvisibleTimeRequestHeader>,
    ) -> Outcome<ChangeInvisibleTimeResponseHeader> {
        match self.change(&request.header, request.channel.peer()) {
            Ok(outcome) => outcome,
            Err(reply) => Reply { header: Some(ChangeInvisibleTimeResponseHeader::default()), ..reply }.into(),
        }
    }
}

impl ChangeInvisibleTimeProcessor {
    fn change(
        &self,
        header: &ChangeInvisibleTimeRequestHeader,
        peer: SocketAddr,
    ) -> Result<Outcome<ChangeInvisibleTimeResponseHeader>, ChangeReply> {
        let (topic, group): (&str, &str) = (&header.topic, &header.consumer_group);
        popped_from(&Reader { topic, queue_id: header.queue_id, group, peer }, &self.topics)?;
        let (min, max) = (self.store.min_offset(topic, header.queue_id), self.store.max_offset(topic, header.queue_id));
        if header.offset < min || header.offset >= max {
            return Err(Reply::error(NO_MESSAGE, NOTHING_SAID));
        }
        let receipt = Receipt::parse(&header.extra_info).map_err(|remark| Reply::error(SYSTEM_ERROR, remark))?;
        if receipt.is_ordered() {
            return Ok(self.in_order(header, &receipt).into());
        }
        if !self.pop.log.has_queue(receipt.revive_qid) {
            let remark = format!(
                "extraInfo \"{}\": there is no revive queue {} (reviveQueueNum)",
                header.extra_info, receipt.revive_qid
            );
            return Err(Reply::error(SYSTEM_ERROR, remark));
        }
        // The new check point must not be taken for the old one, which its pop time tells apart.
        let now = clock::now_ms().max(receipt.pop_time.saturating_add(1));
        let (point, ack) = (check_point(header, &receipt, now), acknowledgement(header, &receipt));
        let options = self.config.get();
        let put = self.pop.log.replace(receipt.revive_qid, &point, &ack);
        let put = put.map_err(|error| put_error(&error, options.store.max_message_size))?;
        self.stats.add(stat::GROUP_CK_NUMS, &format!("{topic}@{group}"), 1, 1);
        self.stats.add(stat::GROUP_ACK_NUMS, &format!("{topic}@{group}"), 1, 1);
        let response = ChangeInvisibleTimeResponseHeader {
            pop_time: now,
            invisible_time: header.invisible_time,
            revive_qid: receipt.revive_qid,
        };
        let reply = Reply::ok(response).with_remark(NOTHING_SAID);
        if options.store.flush_disk_type == FlushDiskType::AsyncFlush {
            return Ok(reply.into());
        }
        let flushed = wait_flushed(self.store.flushed(put.end()), options.store.sync_flush_timeout);
        Ok(Outcome::Later(Box::pin(async move {
            if let Err(error) = flushed.await {
                tracing::warn!(%error, "a check point is not known to be on disk");
            }
            reply
        })))
    }

    fn in_order(&self, header: &ChangeInvisibleTimeRequestHeader, receipt: &Receipt) -> ChangeReply {
        let (topic, group, queue_id): (&str, &str, i32) = (&header.topic, &header.consumer_group, header.queue_id);
        let nothing = Reply::ok(ChangeInvisibleTimeResponseHeader::default()).with_remark(NOTHING_SAID);
        let acknowledged = || self.pop.offsets.query(group, topic, queue_id).is_some_and(|old| header.offset < old);
        if acknowledged() {
            return nothing;
        }
        let _lock = self.pop.locks.lock(topic, group, queue_id);
        if acknowledged() {
            return nothing;
        }
        let key = OrderKey { topic: topic.to_owned(), group: group.to_owned(), queue_id };
        let next_visible = clock::now_ms().saturating_add(header.invisible_time);
        self.pop.orders.set_next_visible(&key, header.offset, receipt.pop_time, next_visible);
        let response = ChangeInvisibleTimeResponseHeader {
            pop_time: receipt.pop_time,
            invisible_time: next_visible.saturating_sub(receipt.pop_time),
            revive_qid: receipt.revive_qid,
        };
        Reply::ok(response).with_remark(NOTHING_SAID)
    }
}

fn check_point(header: &ChangeInvisibleTimeRequestHeader, receipt: &Receipt, now_ms: i64) -> PopCheckPoint {
    PopCheckPoint {
        broker_name: Some(receipt.broker_name.clone()),
        consumer_group: Some(header.consumer_group.to_string()),
        topic: Some(header.topic.to_string()),
        queue_offset_diff: Some(vec![0]),
        num: 1,
        pop_time: now_ms,
        invisible_time: header.invisible_time,
        queue_id: header.queue_id,
        start_offset: header.offset,
        suspend: header.suspend,
        ..PopCheckPoint::default()
    }
}

fn acknowledgement(header: &ChangeInvisibleTimeRequestHeader, receipt: &Receipt) -> AckMsg {
    AckMsg {
        ack_offset: header.offset,
        ack_offset_list: None,
        broker_name: Some(receipt.broker_name.clone()),
        consumer_group: Some(header.consumer_group.to_string()),
        invisible_time: Some(receipt.invisible_time),
        pop_time: receipt.pop_time,
        queue_id: header.queue_id,
        start_offset: receipt.start_offset,
        topic: Some(header.topic.to_string()),
    }
}
