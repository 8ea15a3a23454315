//! Static topics: requests for a logic queue become requests for one of its physical queues, here or on the broker of an earlier
//! generation, and the answers become those of the logic queue. Each handler stands in front of the ordinary one, which knows
//! physical queues only; without static topics a request passes with one look at a flag.

pub mod clean;
pub mod offsets;
pub mod peers;
pub mod pull;
pub mod send;

use crate::topic_queue_mapping_manager::TopicQueueMappingManager;
use codec::fields::Fields;
use protocol::body::static_topic::{LogicQueueMappingItem, TopicQueueMappingDetail, find_item};
use protocol::response_code::NOT_LEADER_FOR_QUEUE;
use remoting::reply::Reply;
use std::fmt::Display;
use std::sync::Arc;

/// Field of a request: `false` says that its queue is a physical one.
const LOGIC: &str = "lo";

/// A logic queue that this broker leads.
#[derive(Clone, Debug)]
pub struct LogicQueue {
    detail: Arc<TopicQueueMappingDetail>,
    id: i32,
    leader: LogicQueueMappingItem,
}

/// Why a request for a logic queue cannot be served.
#[derive(Debug)]
pub struct NotLeader(String);

impl<R> From<NotLeader> for Reply<R> {
    fn from(NotLeader(remark): NotLeader) -> Reply<R> {
        Reply::error(NOT_LEADER_FOR_QUEUE, remark)
    }
}

impl LogicQueue {
    /// The logic queue that a request means; `None` when it means a physical one, as always in ordinary topics.
    ///
    /// # Errors
    /// [`NotLeader`]: another broker leads the queue, or none.
    #[inline]
    pub fn find(
        mappings: &TopicQueueMappingManager,
        topic: &str,
        queue_id: i32,
        fields: &Fields,
    ) -> Option<Result<LogicQueue, NotLeader>> {
        let detail = mappings.get(topic)?;
        LogicQueue::of(detail, queue_id, fields)
    }

    fn of(
        detail: Arc<TopicQueueMappingDetail>,
        queue_id: i32,
        fields: &Fields,
    ) -> Option<Result<LogicQueue, NotLeader>> {
        if fields.get(LOGIC).ok().flatten().is_some_and(|logic| !logic.eq_ignore_ascii_case("true")) {
            return None;
        }
        let leader = detail.hosted_queues.get(&queue_id).and_then(|items| items.last());
        let leader = leader.filter(|leader| leader.bname == detail.bname).cloned();
        Some(match leader {
            Some(leader) => Ok(LogicQueue { detail, id: queue_id, leader }),
            // Java's words, which clients show.
            None => Err(NotLeader(format!(
                "{}-{queue_id} does not exit in request process of current broker {}",
                detail.topic, detail.bname
            ))),
        })
    }

    /// Its generations, oldest first.
    pub fn items(&self) -> &[LogicQueueMappingItem] {
        self.detail.hosted_queues.get(&self.id).map(Vec::as_slice).unwrap_or_default()
    }

    /// The generation that takes messages.
    pub fn leader(&self) -> &LogicQueueMappingItem {
        &self.leader
    }

    /// The generation that a logic offset belongs to; the leader when none is decided.
    pub fn item_at(&self, logic_offset: i64) -> &LogicQueueMappingItem {
        find_item(self.items(), logic_offset).unwrap_or(&self.leader)
    }

    /// Whether a generation lies on this broker.
    pub fn is_here(&self, item: &LogicQueueMappingItem) -> bool {
        item.bname == self.detail.bname
    }
}

/// A failure on the way to another broker, as it is answered.
fn forward_failed<R>(error: impl Display) -> Reply<R> {
    tracing::warn!(%error, "a request for an earlier generation of a logic queue failed");
    Reply::error(protocol::response_code::SYSTEM_ERROR, error.to_string())
}
