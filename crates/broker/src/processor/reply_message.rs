//! Replies to requests: codes 324 and 325. A reply is pushed to the client that waits for it, over the connection of its producer,
//! and stored in the reply topic of the cluster, so that operators find it. Source: broker/processor/ReplyMessageProcessor.java.

use crate::processor::send_message::SendMessageProcessor;
use crate::producer_manager::ProducerManager;
use crate::reply::wait_flushed;
use bytes::Bytes;
use codec::properties::{Properties, names as property};
use protocol::header::send::{
    ReplyMessageRequestHeader, SendMessageRequestHeader, SendMessageRequestHeaderV2, SendMessageResponseHeader,
};
use protocol::operation::{PushReplyMessageToClient, SendReplyMessage, SendReplyMessageV2};
use protocol::response_code::{SUCCESS, SYSTEM_ERROR};
use remoting::channel::Channel;
use remoting::clock;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::Message;

/// How long the client may take to confirm. Source: Broker2Client.callClient.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);
/// In place of the message id of a reply that is not stored, since clients must have one.
const NO_MESSAGE_ID: &str = "0";

/// Brings replies to those who asked.
pub struct ReplyMessageProcessor {
    /// Checks and stores.
    pub send: Arc<SendMessageProcessor>,
    /// Where clients are connected.
    pub producers: Arc<ProducerManager>,
}

impl Processor<SendReplyMessage> for ReplyMessageProcessor {
    fn process(&self, request: Request<SendMessageRequestHeader>) -> Outcome<SendMessageResponseHeader> {
        self.reply(request)
    }
}

impl Processor<SendReplyMessageV2> for ReplyMessageProcessor {
    fn process(&self, request: Request<SendMessageRequestHeaderV2>) -> Outcome<SendMessageResponseHeader> {
        self.reply(request.map(SendMessageRequestHeader::from))
    }
}

impl ReplyMessageProcessor {
    fn reply(&self, request: Request<SendMessageRequestHeader>) -> Outcome<SendMessageResponseHeader> {
        let topic = match self.send.check(&request.header) {
            Ok(topic) => topic,
            Err(refusal) => return refusal.into(),
        };
        let queue_id = match request.header.queue_id {
            id if id < 0 => self.send.ids.any(topic.write_queue_nums),
            id => id,
        };
        let properties = Properties::parse(request.header.properties.as_deref().unwrap_or_default());
        let waiting = match properties.get(property::REPLY_TO_CLIENT) {
            None => Err(format!("reply message properties[{}] is null", property::REPLY_TO_CLIENT)),
            Some(client) => match self.producers.find(client) {
                Some(channel) => Ok((client.to_owned(), channel)),
                None => Err(format!("push reply message fail, channel of <{client}> not found.")),
            },
        };
        let send = self.send.clone();
        Outcome::Later(Box::pin(async move {
            let pushed = match waiting {
                Ok((client, channel)) => push(&request, properties, &client, &channel, send.store_host).await,
                Err(reason) => Err(reason),
            };
            let mut answer = SendMessageResponseHeader {
                msg_id: NO_MESSAGE_ID.into(),
                queue_id,
                queue_offset: 0,
                transaction_id: None,
                batch_uniq_id: None,
                recall_handle: None,
                msg_region: Some(send.config.get().broker.region_id.as_str().into()),
                trace_on: Some(send.config.get().broker.trace_on.to_string().into()),
            };
            if send.config.get().broker.store_reply_message_enable {
                store(&send, &request, &mut answer).await;
            }
            match pushed {
                Ok(()) => Reply::ok(answer),
                Err(reason) => {
                    tracing::warn!(topic = %request.header.topic, reason, "a reply does not reach who asked");
                    Reply { code: SYSTEM_ERROR, ..Reply::ok(answer).with_remark(reason) }
                }
            }
        }))
    }
}

/// Gives the reply to the client; why it could not be given.
async fn push(
    request: &Request<SendMessageRequestHeader>,
    mut properties: Properties,
    client: &str,
    channel: &Channel,
    store_host: SocketAddr,
) -> Result<(), String> {
    let now = clock::now_ms();
    properties.set(property::PUSH_REPLY_TIME, now.to_string());
    let header = request.header.clone();
    let header = ReplyMessageRequestHeader {
        producer_group: header.producer_group,
        topic: header.topic,
        default_topic: header.default_topic,
        default_topic_queue_nums: header.default_topic_queue_nums,
        queue_id: header.queue_id,
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        flag: header.flag,
        properties: Some(properties.as_str().into()),
        reconsume_times: header.reconsume_times,
        unit_mode: header.unit_mode,
        born_host: request.channel.peer().to_string().into(),
        store_host: store_host.to_string().into(),
        store_timestamp: now,
    };
    let body: Bytes = request.body.clone();
    let failed = |reason: &str| format!("push reply message to {client}fail. ({reason})");
    match channel.call::<PushReplyMessageToClient>(&header, body, PUSH_TIMEOUT).await {
        Ok(answer) if answer.code == SUCCESS => Ok(()),
        Ok(answer) => Err(failed(answer.remark.as_deref().unwrap_or("refused without a reason"))),
        Err(error) => Err(failed(&error.to_string())),
    }
}

/// Stores the reply and notes its place in the answer. That it could not be stored does not undo that it arrived.
async fn store(
    send: &SendMessageProcessor,
    request: &Request<SendMessageRequestHeader>,
    answer: &mut SendMessageResponseHeader,
) {
    let header = &request.header;
    let message = Message {
        topic: &header.topic,
        queue_id: answer.queue_id,
        properties: header.properties.as_deref().unwrap_or_default(),
        body: &request.body,
        ..send.message(header, request.channel.peer(), header.sys_flag)
    };
    let put = match send.store.put(&message) {
        Ok(put) => put,
        Err(error) => return tracing::warn!(topic = %header.topic, %error, "a reply is not stored"),
    };
    let timeout_ms = send.config.get().store.sync_flush_timeout;
    if let Err(error) = wait_flushed(send.store.flushed(put.end()), timeout_ms).await {
        tracing::warn!(topic = %header.topic, %error, "a stored reply is not on the disk");
    }
    send.count(&header.topic, 1, put.len);
    answer.msg_id = send.offset_message_id(&put).into();
    answer.queue_offset = put.queue_offset;
}
