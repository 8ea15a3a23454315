//! Calls to one broker by its address, typed.

use crate::error::ClientError;
use crate::message::{MessageExt, decode_all};
use crate::namesrv_api::{expect_success, parse_body};
use bytes::Bytes;
use bytestring::ByteString;
use codec::command::Command;
use codec::fields::{CommandHeader, NoHeader};
use protocol::body::MessageQueue;
use protocol::body::client::{GetConsumerListByGroupResponseBody, LockBatchRequestBody, LockBatchResponseBody};
use protocol::header::client::{ConsumerGroupRequestHeader, UnregisterClientRequestHeader};
use protocol::header::offset::{
    OffsetResponseHeader, QueryConsumerOffsetRequestHeader, QueueRequestHeader, SearchOffsetRequestHeader,
    UpdateConsumerOffsetRequestHeader,
};
use protocol::header::query::{QueryMessageRequestHeader, ViewMessageRequestHeader};
use protocol::operation::{
    GetConsumerListByGroup, GetMaxOffset, GetMinOffset, LockBatchMq, Operation, QueryConsumerOffset, QueryMessage,
    SearchOffsetByTimestamp, UnlockBatchMq, UnregisterClient, UpdateConsumerOffset, ViewMessageById,
};
use protocol::response_code;
use remoting::client::Client;
use std::sync::Arc;
use std::time::Duration;

/// Calls brokers; every function names the address it calls.
pub struct BrokerApi {
    client: Arc<Client>,
    timeout: Duration,
}

impl BrokerApi {
    pub(crate) fn new(client: Arc<Client>, timeout: Duration) -> BrokerApi {
        BrokerApi { client, timeout }
    }

    /// Calls and returns the answer whatever its code.
    ///
    /// # Errors
    /// [`ClientError::Call`].
    pub async fn call<O: Operation>(
        &self,
        addr: &str,
        header: &O::Request,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Command, ClientError> {
        Ok(self.client.call::<O>(addr, header, body, timeout).await?)
    }

    /// Calls; an answer with another code than 0 is an error.
    ///
    /// # Errors
    /// [`ClientError::Call`], [`ClientError::Refused`].
    pub async fn invoke<O: Operation>(
        &self,
        addr: &str,
        header: &O::Request,
        body: Bytes,
    ) -> Result<Command, ClientError> {
        expect_success(self.call::<O>(addr, header, body, self.timeout).await?, addr)
    }

    /// Calls and reads the JSON body of the answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn invoke_json<O: Operation, T: serde::de::DeserializeOwned>(
        &self,
        addr: &str,
        header: &O::Request,
        body: Bytes,
    ) -> Result<T, ClientError> {
        parse_body(&self.invoke::<O>(addr, header, body).await?.body, addr)
    }

    /// Calls and reads the header of the answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn invoke_header<O: Operation>(
        &self,
        addr: &str,
        header: &O::Request,
        body: Bytes,
    ) -> Result<O::Response, ClientError> {
        response_header(&self.invoke::<O>(addr, header, body).await?, addr)
    }

    /// Sends a request that nobody answers.
    ///
    /// # Errors
    /// [`ClientError::Call`].
    pub async fn oneway<O: Operation>(&self, addr: &str, header: &O::Request, body: Bytes) -> Result<(), ClientError> {
        Ok(self.client.oneway::<O>(addr, header, body).await?)
    }

    /// Tells the broker that a group of this client is gone.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn unregister(
        &self,
        addr: &str,
        client_id: &str,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
    ) -> Result<(), ClientError> {
        let header = UnregisterClientRequestHeader {
            client_id: client_id.into(),
            producer_group: producer_group.map(ByteString::from),
            consumer_group: consumer_group.map(ByteString::from),
        };
        self.invoke::<UnregisterClient>(addr, &header, Bytes::new()).await.map(drop)
    }

    /// Client ids of a group, as this broker knows them.
    ///
    /// # Errors
    /// [`ClientError`]; a group without members is refused by brokers.
    pub async fn consumer_ids(&self, addr: &str, group: &str) -> Result<Vec<String>, ClientError> {
        let header = ConsumerGroupRequestHeader { consumer_group: group.into() };
        let body: GetConsumerListByGroupResponseBody =
            self.invoke_json::<GetConsumerListByGroup, _>(addr, &header, Bytes::new()).await?;
        Ok(body.consumer_id_list)
    }

    /// The committed offset of a group in a queue; `None` when it has none.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn query_offset(
        &self,
        addr: &str,
        group: &str,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, ClientError> {
        let header = QueryConsumerOffsetRequestHeader {
            consumer_group: group.into(),
            topic: queue.topic.as_str().into(),
            queue_id: queue.queue_id,
            set_zero_if_not_found: None,
        };
        let answer = self.call::<QueryConsumerOffset>(addr, &header, Bytes::new(), self.timeout).await?;
        if answer.code == response_code::QUERY_NOT_FOUND {
            return Ok(None);
        }
        let answer = expect_success(answer, addr)?;
        Ok(Some(response_header::<OffsetResponseHeader>(&answer, addr)?.offset))
    }

    /// Commits the offset of a group in a queue. One-way when nobody needs to know that it arrived.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn update_offset(
        &self,
        addr: &str,
        group: &str,
        queue: &MessageQueue,
        commit_offset: i64,
        oneway: bool,
    ) -> Result<(), ClientError> {
        let header = UpdateConsumerOffsetRequestHeader {
            consumer_group: group.into(),
            topic: queue.topic.as_str().into(),
            queue_id: Some(queue.queue_id),
            commit_offset: Some(commit_offset),
        };
        if oneway {
            return self.oneway::<UpdateConsumerOffset>(addr, &header, Bytes::new()).await;
        }
        self.invoke::<UpdateConsumerOffset>(addr, &header, Bytes::new()).await.map(drop)
    }

    /// The offset behind the last message of a queue.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn max_offset(&self, addr: &str, queue: &MessageQueue) -> Result<i64, ClientError> {
        Ok(self.invoke_header::<GetMaxOffset>(addr, &queue_header(queue), Bytes::new()).await?.offset)
    }

    /// The offset of the first message of a queue.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn min_offset(&self, addr: &str, queue: &MessageQueue) -> Result<i64, ClientError> {
        Ok(self.invoke_header::<GetMinOffset>(addr, &queue_header(queue), Bytes::new()).await?.offset)
    }

    /// The offset of the first message stored at `timestamp_ms` or later.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn search_offset(&self, addr: &str, queue: &MessageQueue, timestamp_ms: i64) -> Result<i64, ClientError> {
        let header = SearchOffsetRequestHeader {
            topic: queue.topic.as_str().into(),
            queue_id: queue.queue_id,
            timestamp: timestamp_ms,
            boundary_type: None,
        };
        Ok(self.invoke_header::<SearchOffsetByTimestamp>(addr, &header, Bytes::new()).await?.offset)
    }

    /// Locks queues for this client; returns those it holds now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn lock(&self, addr: &str, body: &LockBatchRequestBody) -> Result<Vec<MessageQueue>, ClientError> {
        let body = Bytes::from(protocol::body::encode(body));
        let answer: LockBatchResponseBody = self.invoke_json::<LockBatchMq, _>(addr, &NoHeader, body).await?;
        Ok(answer.lock_ok_mq_set)
    }

    /// Gives locks back.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn unlock(&self, addr: &str, body: &LockBatchRequestBody) -> Result<(), ClientError> {
        let body = Bytes::from(protocol::body::encode(body));
        self.invoke::<UnlockBatchMq>(addr, &NoHeader, body).await.map(drop)
    }

    /// The message at a place of the broker's commit log.
    ///
    /// # Errors
    /// [`ClientError`]; code 1 when no message begins there.
    pub async fn view_message(
        &self,
        addr: &str,
        topic: Option<&str>,
        commit_log_offset: i64,
    ) -> Result<MessageExt, ClientError> {
        let header = ViewMessageRequestHeader { topic: topic.map(ByteString::from), offset: commit_log_offset };
        let answer = self.invoke::<ViewMessageById>(addr, &header, Bytes::new()).await?;
        decode(&answer.body, addr)?
            .into_iter()
            .next()
            .ok_or_else(|| ClientError::Answer { addr: addr.to_owned(), reason: "no message in it".to_owned() })
    }

    /// The messages that the broker's index has under a key; none when there are none.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn query_message(
        &self,
        addr: &str,
        header: &QueryMessageRequestHeader,
        timeout: Duration,
    ) -> Result<Vec<MessageExt>, ClientError> {
        let answer = self.call::<QueryMessage>(addr, header, Bytes::new(), timeout).await?;
        if answer.code == response_code::QUERY_NOT_FOUND {
            return Ok(Vec::new());
        }
        let answer = expect_success(answer, addr)?;
        decode(&answer.body, addr)
    }
}

pub(crate) fn decode(body: &[u8], addr: &str) -> Result<Vec<MessageExt>, ClientError> {
    decode_all(body).map_err(|error| ClientError::Answer { addr: addr.to_owned(), reason: error.to_string() })
}

pub(crate) fn response_header<H: CommandHeader>(answer: &Command, addr: &str) -> Result<H, ClientError> {
    answer
        .header()
        .map_err(|error| ClientError::Answer { addr: addr.to_owned(), reason: format!("its header: {error}") })
}

fn queue_header(queue: &MessageQueue) -> QueueRequestHeader {
    QueueRequestHeader { topic: queue.topic.as_str().into(), queue_id: queue.queue_id }
}
