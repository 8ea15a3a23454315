//! Requests that brokers send to clients over the connection the client made.

use codec::fields::NoHeader;
use parking_lot::Mutex;
use protocol::body::MessageQueue;
use protocol::body::client::ResetOffsetBody;
use protocol::header::client::{
    ConsumerGroupRequestHeader, GetConsumerRunningInfoRequestHeader, GetConsumerStatusRequestHeader,
};
use protocol::header::offset::ResetOffsetRequestHeader;
use protocol::operation::{
    GetConsumerRunningInfo, GetConsumerStatusFromClient, NotifyConsumerIdsChanged, ResetConsumerClientOffset,
};
use protocol::response_code;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::{Lane, Processor, Routes};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// What brokers may ask of a push consumer.
pub(crate) trait ConsumerControl: Send + Sync {
    /// The group it belongs to.
    fn group(&self) -> &str;
    /// Go on at these offsets.
    fn reset_offsets(&self, topic: &str, offsets: BTreeMap<MessageQueue, i64>);
    /// Where it is in the queues of a topic, or of all topics when `topic` is empty.
    fn offsets(&self, topic: &str) -> BTreeMap<MessageQueue, i64>;
    /// ConsumerRunningInfo as JSON.
    fn running_info(&self) -> Vec<u8>;
}

/// Receives what brokers send.
#[derive(Default)]
pub(crate) struct Notices {
    /// Woken when members or routes changed, so that queues must be shared out anew.
    pub(crate) rebalance: Notify,
    consumer: Mutex<Option<Weak<dyn ConsumerControl>>>,
}

impl Notices {
    pub(crate) fn set_consumer(&self, consumer: Weak<dyn ConsumerControl>) {
        *self.consumer.lock() = Some(consumer);
    }

    fn consumer(&self, group: &str) -> Option<Arc<dyn ConsumerControl>> {
        let consumer = self.consumer.lock().as_ref()?.upgrade()?;
        (consumer.group() == group).then_some(consumer)
    }

    /// The handlers of a client.
    pub(crate) fn routes(notices: &Arc<Notices>) -> Routes {
        let handler = || Arc::new(Handler(notices.clone()));
        Routes::new()
            .on::<NotifyConsumerIdsChanged>(Lane::Connection, handler())
            .on::<ResetConsumerClientOffset>(Lane::Connection, handler())
            .on::<GetConsumerStatusFromClient>(Lane::Connection, handler())
            .on::<GetConsumerRunningInfo>(Lane::Connection, handler())
    }
}

struct Handler(Arc<Notices>);

fn no_consumer(group: &str) -> Outcome<NoHeader> {
    Reply::error(response_code::SYSTEM_ERROR, format!("The Consumer Group <{group}> not exist in this consumer")).into()
}

impl Processor<NotifyConsumerIdsChanged> for Handler {
    fn process(&self, request: Request<ConsumerGroupRequestHeader>) -> Outcome<NoHeader> {
        tracing::info!(group = %request.header.consumer_group, peer = %request.channel.peer(), "group members changed");
        self.0.rebalance.notify_one();
        Reply::success().into()
    }
}

impl Processor<ResetConsumerClientOffset> for Handler {
    fn process(&self, request: Request<ResetOffsetRequestHeader>) -> Outcome<NoHeader> {
        let header = &request.header;
        let Some(consumer) = self.0.consumer(&header.group) else { return no_consumer(&header.group) };
        match codec::json::from_slice::<ResetOffsetBody>(&request.body) {
            Ok(body) => {
                let offsets = body.offset_table.into_iter().map(|(queue, offset)| (queue.0, offset)).collect();
                consumer.reset_offsets(&header.topic, offsets);
                Reply::success().into()
            }
            Err(error) => Reply::error(response_code::SYSTEM_ERROR, format!("reset offset body: {error}")).into(),
        }
    }
}

impl Processor<GetConsumerStatusFromClient> for Handler {
    fn process(&self, request: Request<GetConsumerStatusRequestHeader>) -> Outcome<NoHeader> {
        let header = &request.header;
        let Some(consumer) = self.0.consumer(&header.group) else { return no_consumer(&header.group) };
        let offsets = consumer.offsets(&header.topic);
        let table = offsets.into_iter().map(|(queue, offset)| (protocol::body::MessageQueueKey(queue), offset));
        let body = protocol::body::client::GetConsumerStatusBody {
            message_queue_table: table.collect(),
            ..Default::default()
        };
        Reply::body(protocol::body::encode(&body)).into()
    }
}

impl Processor<GetConsumerRunningInfo> for Handler {
    fn process(&self, request: Request<GetConsumerRunningInfoRequestHeader>) -> Outcome<NoHeader> {
        match self.0.consumer(&request.header.consumer_group) {
            Some(consumer) => Reply::body(consumer.running_info()).into(),
            None => no_consumer(&request.header.consumer_group),
        }
    }
}
