//! Pulls from logic queues: 11 and 361. Source: the methods rewriteRequestForStaticTopic and rewriteResponseForStaticTopic of
//! PullMessageProcessor.

use super::peers::{Peers, unreadable};
use super::{LogicQueue, forward_failed};
use crate::processor::pull_message::{PullMessageProcessor, PullReply};
use crate::topic_queue_mapping_manager::TopicQueueMappingManager;
use protocol::body::static_topic::{LogicQueueMappingItem, find_item, next_item};
use protocol::header::pull::{PullMessageRequestHeader, PullMessageResponseHeader};
use protocol::operation::{LitePullMessage, PullMessage};
use protocol::response_code::{PULL_NOT_FOUND, PULL_OFFSET_MOVED, PULL_RETRY_IMMEDIATELY, SUCCESS};
use protocol::sys_flag::pull as pull_flag;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;

/// Remark of an answer that hands out an offset that an administrator set.
const RESET: &str = "OFFSET_RESET";

/// Stands before the handler of pulls.
pub struct LogicPulls {
    /// Static topics.
    pub mappings: Arc<TopicQueueMappingManager>,
    /// The handler.
    pub pull: Arc<PullMessageProcessor>,
    /// Brokers of earlier generations.
    pub peers: Arc<Peers>,
}

impl Processor<PullMessage> for LogicPulls {
    fn process(&self, request: Request<PullMessageRequestHeader>) -> Outcome<PullMessageResponseHeader> {
        self.pull(request)
    }
}

impl Processor<LitePullMessage> for LogicPulls {
    fn process(&self, request: Request<PullMessageRequestHeader>) -> Outcome<PullMessageResponseHeader> {
        self.pull(request)
    }
}

impl LogicPulls {
    #[inline]
    fn pull(&self, request: Request<PullMessageRequestHeader>) -> Outcome<PullMessageResponseHeader> {
        let header = &request.header;
        match LogicQueue::find(&self.mappings, &header.topic, header.queue_id, &request.fields) {
            None => self.pull.pull(request, None),
            Some(Err(refusal)) => Reply::from(refusal).into(),
            Some(Ok(queue)) => self.pull_logic(queue, request),
        }
    }

    fn pull_logic(
        &self,
        queue: LogicQueue,
        mut request: Request<PullMessageRequestHeader>,
    ) -> Outcome<PullMessageResponseHeader> {
        let item = queue.item_at(request.header.queue_offset).clone();
        self.commit_there(&queue, &item, &mut request.header);
        let header = &mut request.header;
        let logic_offset = header.queue_offset;
        header.queue_offset = item.to_physical(logic_offset);
        header.queue_id = item.queue_id;
        if item.has_end() {
            let left = item.end_offset.saturating_sub(header.queue_offset).max(1);
            header.max_msg_nums = header.max_msg_nums.min(i32::try_from(left).unwrap_or(i32::MAX));
        }
        let is_here = queue.is_here(&item);
        let logic = LogicPull { mappings: self.mappings.clone(), queue, item, logic_offset };
        if is_here {
            return self.pull.pull(request, Some(Box::new(logic)));
        }
        header.sys_flag &= !(pull_flag::SUSPEND | pull_flag::COMMIT_OFFSET);
        let (peers, header) = (self.peers.clone(), request.header);
        Outcome::Later(Box::pin(async move { logic.pull_there(&peers, header).await }))
    }

    /// The offset that comes along is a logic one, of the generation that is pulled or of an earlier one. Where it is not of a
    /// queue here it is left to the request that consumers commit by. Java stores it as it is.
    fn commit_there(&self, queue: &LogicQueue, item: &LogicQueueMappingItem, header: &mut PullMessageRequestHeader) {
        let of = queue.item_at(header.commit_offset);
        header.commit_offset = of.to_physical(header.commit_offset);
        if of.generation != item.generation || header.commit_offset < 0 {
            header.sys_flag &= !pull_flag::COMMIT_OFFSET;
        }
    }
}

/// A pull from a logic queue that goes on as one from the physical queue of a generation.
pub struct LogicPull {
    mappings: Arc<TopicQueueMappingManager>,
    queue: LogicQueue,
    item: LogicQueueMappingItem,
    logic_offset: i64,
}

impl LogicPull {
    async fn pull_there(&self, peers: &Peers, header: PullMessageRequestHeader) -> PullReply {
        let (broker_name, queue_offset) = (&self.item.bname, header.queue_offset);
        let answer = match peers.call::<PullMessage>(broker_name, header).await {
            Ok(answer) => answer,
            Err(error) => return forward_failed(error),
        };
        let remark = answer.remark.as_ref().map(ToString::to_string).unwrap_or_default();
        if !is_of_pull(answer.code) {
            let (broker_name, code) = (broker_name.clone(), answer.code);
            return forward_failed(super::peers::PeerError::Refused { broker_name, code, remark });
        }
        match answer.header::<PullMessageResponseHeader>() {
            Ok(header) => {
                let reply = Reply { code: answer.code, ..Reply::ok(header).with_remark(remark).with_body(answer.body) };
                self.answer(queue_offset, reply)
            }
            Err(error) => forward_failed(unreadable(broker_name, error)),
        }
    }

    /// Whether the mapping is still the one that the pull went by. One that was held may see another.
    pub fn is_current(&self) -> bool {
        let current = self.mappings.get(&self.queue.detail.topic);
        current.is_some_and(|current| Arc::ptr_eq(&current, &self.queue.detail))
    }

    /// Has the consumer ask again, where the new mapping tells what to do.
    pub fn again(&self) -> PullReply {
        let header = PullMessageResponseHeader {
            suggest_which_broker_id: 0,
            next_begin_offset: self.logic_offset,
            min_offset: self.item.logic_offset,
            max_offset: self.logic_offset,
            offset_delta: None,
            topic_sys_flag: None,
            group_sys_flag: None,
            forbidden_type: None,
        };
        Reply { code: PULL_RETRY_IMMEDIATELY, ..Reply::ok(header).with_remark("the queue was mapped anew") }
    }

    /// The answer for the logic queue, to what the physical one answered a pull at `queue_offset`.
    pub fn answer(&self, queue_offset: i64, mut reply: PullReply) -> PullReply {
        let PullReply { code, remark, header: Some(header), .. } = &mut reply else { return reply };
        if !is_of_pull(*code) {
            return reply;
        }
        let items = self.queue.items();
        let mut item = &self.item;
        if *code != SUCCESS && remark.as_deref() != Some(RESET) {
            let is_leader = item.generation == self.queue.leader().generation;
            let is_first = find_item(items, 0).is_none_or(|first| first.generation == item.generation);
            if queue_offset < header.min_offset {
                // Messages in the middle of the queue may be gone while earlier ones, on another broker, are not.
                header.next_begin_offset = header.min_offset;
                *code = if is_first { PULL_OFFSET_MOVED } else { PULL_RETRY_IMMEDIATELY };
            } else if is_leader && queue_offset > header.max_offset && *code == PULL_OFFSET_MOVED {
                header.next_begin_offset = header.max_offset;
            } else if !is_leader && queue_offset >= header.max_offset {
                match next_item(items, item) {
                    Some(next) => {
                        item = next;
                        header.next_begin_offset = next.start_offset;
                        header.min_offset = next.start_offset;
                        header.max_offset = next.start_offset;
                        *code = PULL_RETRY_IMMEDIATELY;
                    }
                    // Its logic offset is not decided yet.
                    None => *code = PULL_NOT_FOUND,
                }
            }
        }
        if item.has_end() {
            header.next_begin_offset = header.next_begin_offset.min(item.end_offset);
        }
        header.next_begin_offset = item.to_logic(header.next_begin_offset);
        header.min_offset = item.to_logic(header.min_offset);
        header.max_offset = item.to_logic(header.max_offset).max(self.queue.leader().known_max());
        header.offset_delta = Some(item.delta());
        reply
    }
}

fn is_of_pull(code: i32) -> bool {
    [SUCCESS, PULL_NOT_FOUND, PULL_RETRY_IMMEDIATELY, PULL_OFFSET_MOVED].contains(&code)
}
