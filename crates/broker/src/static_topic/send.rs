//! Sends to logic queues: 10, 310, 320. Source: SendMessageProcessor.rewriteResponseForStaticTopic.

use super::{LogicQueue, NotLeader};
use crate::processor::send_message::SendMessageProcessor;
use crate::topic_queue_mapping_manager::TopicQueueMappingManager;
use protocol::header::send::{SendMessageRequestHeader, SendMessageRequestHeaderV2, SendMessageResponseHeader};
use protocol::operation::{Operation, SendBatchMessage, SendMessage, SendMessageV2};
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;

/// Stands before the handler of sends.
pub struct LogicSend {
    /// Static topics.
    pub mappings: Arc<TopicQueueMappingManager>,
    /// The handler.
    pub send: Arc<SendMessageProcessor>,
}

/// Both headers of sends.
trait Target {
    fn topic(&self) -> &str;
    fn queue_id(&mut self) -> &mut i32;
}

macro_rules! target {
    ($($header:ty),*) => {$(
        impl Target for $header {
            fn topic(&self) -> &str {
                &self.topic
            }
            fn queue_id(&mut self) -> &mut i32 {
                &mut self.queue_id
            }
        }
    )*};
}
target!(SendMessageRequestHeader, SendMessageRequestHeaderV2);

impl Processor<SendMessage> for LogicSend {
    fn process(&self, request: Request<SendMessageRequestHeader>) -> Outcome<SendMessageResponseHeader> {
        self.put::<SendMessage>(request)
    }
}

impl Processor<SendMessageV2> for LogicSend {
    fn process(&self, request: Request<SendMessageRequestHeaderV2>) -> Outcome<SendMessageResponseHeader> {
        self.put::<SendMessageV2>(request)
    }
}

impl Processor<SendBatchMessage> for LogicSend {
    fn process(&self, request: Request<SendMessageRequestHeaderV2>) -> Outcome<SendMessageResponseHeader> {
        self.put::<SendBatchMessage>(request)
    }
}

impl LogicSend {
    #[inline]
    fn put<O>(&self, request: Request<O::Request>) -> Outcome<SendMessageResponseHeader>
    where
        O: Operation<Response = SendMessageResponseHeader, Request: Target>,
        SendMessageProcessor: Processor<O>,
    {
        match self.mappings.get(request.header.topic()) {
            None => self.send.process(request),
            Some(_) => self.mappings.while_mapped(|| self.put_mapped(request)),
        }
    }

    fn put_mapped<O>(&self, mut request: Request<O::Request>) -> Outcome<SendMessageResponseHeader>
    where
        O: Operation<Response = SendMessageResponseHeader, Request: Target>,
        SendMessageProcessor: Processor<O>,
    {
        let Some(found) = self.find(&mut request) else { return self.send.process(request) };
        let queue = match found {
            Ok(queue) => queue,
            Err(refusal) => return Reply::from(refusal).into(),
        };
        *request.header.queue_id() = queue.leader().queue_id;
        match self.send.process(request) {
            Outcome::Reply(reply) => answer(&queue, reply).into(),
            Outcome::Later(reply) => Outcome::Later(Box::pin(async move { answer(&queue, reply.await) })),
            other => other,
        }
    }

    /// As [`LogicQueue::find`]; a sender that names no queue gets one that this broker leads.
    fn find<H: Target>(&self, request: &mut Request<H>) -> Option<Result<LogicQueue, NotLeader>> {
        let detail = self.mappings.get(request.header.topic())?;
        let mut queue_id = *request.header.queue_id();
        if queue_id < 0 {
            let led = |(_, items): &(&i32, &Vec<_>)| {
                items.last().is_some_and(|leader: &super::LogicQueueMappingItem| leader.bname == detail.bname)
            };
            queue_id = detail.hosted_queues.iter().find(led).map_or(queue_id, |(id, _)| *id);
        }
        LogicQueue::of(detail, queue_id, &request.fields)
    }
}

/// While the logic offset of a new leader is not decided, the sender learns no offset.
fn answer(queue: &LogicQueue, mut reply: Reply<SendMessageResponseHeader>) -> Reply<SendMessageResponseHeader> {
    if let Some(header) = &mut reply.header {
        header.queue_id = queue.id;
        header.queue_offset = queue.leader().to_logic_within(header.queue_offset);
    }
    reply
}
