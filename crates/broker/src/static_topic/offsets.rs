//! Offsets of logic queues and of groups in them: 14, 15, 29, 30, 31, 32. Source: the methods rewriteRequestForStaticTopic of
//! AdminBrokerProcessor and ConsumerManageProcessor.

use super::peers::{PeerError, Peers, expect_success, unreadable};
use super::{LogicQueue, forward_failed};
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::processor::admin::offset::OffsetAdmin;
use crate::processor::consumer_manage::ConsumerManageProcessor;
use crate::topic_queue_mapping_manager::TopicQueueMappingManager;
use protocol::body::static_topic::LogicQueueMappingItem;
use protocol::header::offset::{
    GetEarliestMsgStoretimeResponseHeader, OffsetResponseHeader, QueryConsumerOffsetRequestHeader, QueueRequestHeader,
    SearchOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use protocol::operation::{
    GetEarliestMsgStoretime, GetMaxOffset, GetMinOffset, QueryConsumerOffset, SearchOffsetByTimestamp,
    UpdateConsumerOffset,
};
use protocol::response_code::QUERY_NOT_FOUND;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;
use store::{Boundary, MessageStore};

/// Stands before the handlers of offsets.
pub struct LogicOffsets {
    /// Static topics.
    pub mappings: Arc<TopicQueueMappingManager>,
    /// Offsets of queues, for physical queues.
    pub queues: Arc<OffsetAdmin>,
    /// Offsets of groups, for physical queues.
    pub groups: Arc<ConsumerManageProcessor>,
    /// What generations are asked for.
    pub generations: Arc<Generations>,
}

/// Asks generations of logic queues, here or elsewhere.
pub struct Generations {
    /// Queues of this broker.
    pub store: Arc<MessageStore>,
    /// Offsets of groups on this broker.
    pub offsets: Arc<ConsumerOffsetManager>,
    /// Other brokers.
    pub peers: Arc<Peers>,
}

/// The reply of `work`, or what went wrong.
async fn replied<R>(work: impl Future<Output = Result<Reply<R>, PeerError>>) -> Reply<R> {
    work.await.unwrap_or_else(forward_failed)
}

macro_rules! logic_queue {
    ($self:ident, $request:ident, $physical:expr) => {
        logic_queue!($self, $request, $request.header.queue_id, $physical)
    };
    ($self:ident, $request:ident, $queue_id:expr, $physical:expr) => {
        match LogicQueue::find(&$self.mappings, &$request.header.topic, $queue_id, &$request.fields) {
            None => return $physical,
            Some(Err(refusal)) => return Reply::from(refusal).into(),
            Some(Ok(queue)) => (queue, $self.generations.clone()),
        }
    };
}

impl Processor<GetMaxOffset> for LogicOffsets {
    fn process(&self, request: Request<QueueRequestHeader>) -> Outcome<OffsetResponseHeader> {
        let (queue, all) =
            logic_queue!(self, request, Processor::<GetMaxOffset>::process(self.queues.as_ref(), request));
        Outcome::Later(Box::pin(replied(async move {
            // Java asks this generation's broker for the queue number of the leader, which may be another.
            let item = queue.item_at(i64::MAX);
            let offset = item.to_logic(all.max_offset(&queue, item).await?);
            Ok(Reply::ok(OffsetResponseHeader { offset }))
        })))
    }
}

impl Processor<GetMinOffset> for LogicOffsets {
    fn process(&self, request: Request<QueueRequestHeader>) -> Outcome<OffsetResponseHeader> {
        let (queue, all) =
            logic_queue!(self, request, Processor::<GetMinOffset>::process(self.queues.as_ref(), request));
        Outcome::Later(Box::pin(replied(async move {
            let item = queue.item_at(0);
            let offset = item.to_logic_within(all.min_offset(&queue, item).await?);
            Ok(Reply::ok(OffsetResponseHeader { offset }))
        })))
    }
}

impl Processor<GetEarliestMsgStoretime> for LogicOffsets {
    fn process(&self, request: Request<QueueRequestHeader>) -> Outcome<GetEarliestMsgStoretimeResponseHeader> {
        let (queue, all) =
            logic_queue!(self, request, Processor::<GetEarliestMsgStoretime>::process(self.queues.as_ref(), request));
        Outcome::Later(Box::pin(replied(async move {
            let item = queue.item_at(0);
            let header = match queue.is_here(item) {
                true => GetEarliestMsgStoretimeResponseHeader {
                    timestamp: all.store.earliest_queue_store_time(&queue.detail.topic, item.queue_id),
                },
                false => all.peers.header::<GetEarliestMsgStoretime>(&item.bname, physical(&queue, item)).await?,
            };
            Ok(Reply::ok(header))
        })))
    }
}

impl Processor<SearchOffsetByTimestamp> for LogicOffsets {
    fn process(&self, request: Request<SearchOffsetRequestHeader>) -> Outcome<OffsetResponseHeader> {
        let (queue, all) =
            logic_queue!(self, request, Processor::<SearchOffsetByTimestamp>::process(self.queues.as_ref(), request));
        let header = request.header;
        Outcome::Later(Box::pin(replied(async move {
            let offset = all.search(&queue, &header).await?;
            Ok(Reply::ok(OffsetResponseHeader { offset }))
        })))
    }
}

impl Processor<QueryConsumerOffset> for LogicOffsets {
    fn process(&self, request: Request<QueryConsumerOffsetRequestHeader>) -> Outcome<OffsetResponseHeader> {
        let (queue, all) =
            logic_queue!(self, request, Processor::<QueryConsumerOffset>::process(self.groups.as_ref(), request));
        if let [only] = queue.items()
            && only.logic_offset == 0
        {
            // Never moved: what the physical queue says of a group without offset is right for the logic one.
            let header = QueryConsumerOffsetRequestHeader { queue_id: only.queue_id, ..request.header.clone() };
            return Processor::<QueryConsumerOffset>::process(self.groups.as_ref(), request.map(|_| header));
        }
        let group = request.header.consumer_group;
        Outcome::Later(Box::pin(replied(async move {
            Ok(match all.committed(&queue, &group).await? {
                Some(offset) => Reply::ok(OffsetResponseHeader { offset }),
                None => Reply::error(QUERY_NOT_FOUND, "Not found, maybe this group consumer boot first"),
            })
        })))
    }
}

impl Processor<UpdateConsumerOffset> for LogicOffsets {
    fn process(&self, request: Request<UpdateConsumerOffsetRequestHeader>) -> Outcome {
        let physical = |request| Processor::<UpdateConsumerOffset>::process(self.groups.as_ref(), request);
        let (Some(queue_id), Some(offset)) = (request.header.queue_id, request.header.commit_offset) else {
            return physical(request);
        };
        let (queue, all) = logic_queue!(self, request, queue_id, physical(request));
        let item = queue.item_at(offset).clone();
        let header = UpdateConsumerOffsetRequestHeader {
            queue_id: Some(item.queue_id),
            commit_offset: Some(item.to_physical(offset).max(0)),
            ..request.header.clone()
        };
        if queue.is_here(&item) {
            return physical(request.map(|_| header));
        }
        Outcome::Later(Box::pin(replied(async move {
            let answer = all.peers.call::<UpdateConsumerOffset>(&item.bname, header).await?;
            expect_success(&item.bname, answer)?;
            Ok(Reply::success())
        })))
    }
}

fn physical(queue: &LogicQueue, item: &LogicQueueMappingItem) -> QueueRequestHeader {
    QueueRequestHeader { topic: queue.detail.topic.as_str().into(), queue_id: item.queue_id }
}

impl Generations {
    /// Behind the last message of a generation, as a physical offset.
    async fn max_offset(&self, queue: &LogicQueue, item: &LogicQueueMappingItem) -> Result<i64, PeerError> {
        match queue.is_here(item) {
            true => Ok(self.store.max_offset(&queue.detail.topic, item.queue_id)),
            false => Ok(self.peers.header::<GetMaxOffset>(&item.bname, physical(queue, item)).await?.offset),
        }
    }

    /// Before the first message of a generation, as a physical offset.
    async fn min_offset(&self, queue: &LogicQueue, item: &LogicQueueMappingItem) -> Result<i64, PeerError> {
        match queue.is_here(item) {
            true => Ok(self.store.min_offset(&queue.detail.topic, item.queue_id)),
            false => Ok(self.peers.header::<GetMinOffset>(&item.bname, physical(queue, item)).await?.offset),
        }
    }

    /// The logic offset that a time stands for, over all generations as if they were one queue. Java takes the last generation
    /// that answers at all, and 0 when that is the leader's own and young.
    async fn search(&self, queue: &LogicQueue, header: &SearchOffsetRequestHeader) -> Result<i64, PeerError> {
        let upper = header.boundary_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("UPPER"));
        // The last message at that time or earlier is the one before the first that is later.
        let timestamp = if upper { header.timestamp.saturating_add(1) } else { header.timestamp };
        let mut last_before = None;
        let mut end = 0;
        for item in queue.items().iter().filter(|item| item.is_decided()) {
            let (min, max) = (self.min_offset(queue, item).await?, self.max_offset(queue, item).await?);
            let first = self.search_in(queue, item, header, timestamp).await?.clamp(min, max);
            if first > min {
                last_before = Some(item.to_logic(first - 1));
            }
            end = item.to_logic(max);
            if first < max {
                return Ok(if upper { last_before.unwrap_or(item.to_logic(first)) } else { item.to_logic(first) });
            }
        }
        Ok(if upper { last_before.unwrap_or(end) } else { end })
    }

    /// The first message of a generation stored at `timestamp` or later, as a physical offset.
    async fn search_in(
        &self,
        queue: &LogicQueue,
        item: &LogicQueueMappingItem,
        header: &SearchOffsetRequestHeader,
        timestamp: i64,
    ) -> Result<i64, PeerError> {
        if queue.is_here(item) {
            return Ok(self.store.offset_by_time(&queue.detail.topic, item.queue_id, timestamp, Boundary::Lower));
        }
        let (queue_id, boundary_type) = (item.queue_id, Some("LOWER".into()));
        let header = SearchOffsetRequestHeader { queue_id, timestamp, boundary_type, ..header.clone() };
        Ok(self.peers.header::<SearchOffsetByTimestamp>(&item.bname, header).await?.offset)
    }

    /// The committed logic offset of a group: what the newest generation has that has one.
    async fn committed(&self, queue: &LogicQueue, group: &str) -> Result<Option<i64>, PeerError> {
        for item in queue.items().iter().rev().filter(|item| item.is_decided()) {
            if queue.is_here(item) {
                if let Some(offset) = self.offsets.query(group, &queue.detail.topic, item.queue_id) {
                    return Ok(Some(item.to_logic(offset)));
                }
                continue;
            }
            let header = QueryConsumerOffsetRequestHeader {
                consumer_group: group.into(),
                topic: queue.detail.topic.as_str().into(),
                queue_id: item.queue_id,
                set_zero_if_not_found: Some(false),
            };
            let answer = self.peers.call::<QueryConsumerOffset>(&item.bname, header).await?;
            if answer.code == QUERY_NOT_FOUND {
                continue;
            }
            let answer = expect_success(&item.bname, answer)?;
            let found = answer.header::<OffsetResponseHeader>().map_err(|error| unreadable(&item.bname, error))?;
            return Ok(Some(item.to_logic(found.offset)));
        }
        Ok(None)
    }
}
