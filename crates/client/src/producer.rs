//! Sending messages.

use crate::clock;
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::instance::ClientInstance;
use crate::message::{JavaQueue, Message};
use crate::route::PublishInfo;
use crate::send::{Prepared, prepare, prepare_batch};
use protocol::body::MessageQueue;
use protocol::names::{AUTO_CREATE_TOPIC_KEY_TOPIC, validate_group};
use protocol::operation::{Operation, SendBatchMessage, SendMessageV2};
use protocol::response_code;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Asynchronous sends that may be under way at once (Java's backPressureForAsyncSendNum).
const MAX_ASYNC_SENDS: usize = 1024;

/// How a producer sends; the defaults are those of Java's DefaultMQProducer.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Producer group.
    pub group: String,
    /// Limit of a send with all its retries (sendMsgTimeout).
    pub send_timeout: Duration,
    /// Further tries of a synchronous send (retryTimesWhenSendFailed).
    pub retry_times_when_send_failed: usize,
    /// Further tries of an asynchronous send (retryTimesWhenSendAsyncFailed).
    pub retry_times_when_send_async_failed: usize,
    /// Also try another broker when the message was stored, but not flushed or replicated in time.
    pub retry_another_broker_when_not_store_ok: bool,
    /// Bodies of this length and more are compressed (compressMsgBodyOverHowmuch).
    pub compress_over_bytes: usize,
    /// Longest body (maxMessageSize).
    pub max_message_bytes: usize,
    /// Topic after which brokers make unknown topics (createTopicKey).
    pub create_topic_key: String,
    /// Queues of topics made so (defaultTopicQueueNums).
    pub default_topic_queue_nums: i32,
}

impl ProducerConfig {
    /// Java's defaults.
    #[must_use]
    pub fn new(group: &str) -> ProducerConfig {
        ProducerConfig {
            group: group.to_owned(),
            send_timeout: Duration::from_secs(3),
            retry_times_when_send_failed: 2,
            retry_times_when_send_async_failed: 2,
            retry_another_broker_when_not_store_ok: false,
            compress_over_bytes: 4 * 1024,
            max_message_bytes: 4 * 1024 * 1024,
            create_topic_key: AUTO_CREATE_TOPIC_KEY_TOPIC.to_owned(),
            default_topic_queue_nums: 4,
        }
    }
}

/// How safely a message was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// As the broker is set up.
    SendOk,
    /// Stored, but not flushed to disk in time.
    FlushDiskTimeout,
    /// Stored, but not replicated in time.
    FlushSlaveTimeout,
    /// Stored, but there is no replica.
    SlaveNotAvailable,
}

/// Java's names.
impl fmt::Display for SendStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendStatus::SendOk => "SEND_OK",
            SendStatus::FlushDiskTimeout => "FLUSH_DISK_TIMEOUT",
            SendStatus::FlushSlaveTimeout => "FLUSH_SLAVE_TIMEOUT",
            SendStatus::SlaveNotAvailable => "SLAVE_NOT_AVAILABLE",
        })
    }
}

/// Where a message went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendResult {
    /// How safely it was stored.
    pub send_status: SendStatus,
    /// Its unique id; comma-joined for a batch.
    pub msg_id: String,
    /// The id that says where it lies; comma-joined for a batch.
    pub offset_msg_id: String,
    /// Its queue.
    pub message_queue: MessageQueue,
    /// Its place there; of a batch that of the first message.
    pub queue_offset: i64,
    /// Of half messages.
    pub transaction_id: Option<String>,
    /// By which a timer message can be recalled.
    pub recall_handle: Option<String>,
    /// Region of the broker.
    pub region_id: Option<String>,
}

/// As Java's `SendResult.toString` up to 5.2; what later releases add (`, recallHandle=…`) only when there is one.
impl fmt::Display for SendResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SendResult [sendStatus={}, msgId={}, offsetMsgId={}, messageQueue={}, queueOffset={}",
            self.send_status,
            self.msg_id,
            self.offset_msg_id,
            JavaQueue(&self.message_queue),
            self.queue_offset
        )?;
        if let Some(handle) = &self.recall_handle {
            write!(f, ", recallHandle={handle}")?;
        }
        f.write_str("]")
    }
}

/// Sends messages of one producer group. Cheap to clone.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    config: ProducerConfig,
    instance: Arc<ClientInstance>,
    async_sends: Arc<Semaphore>,
}

impl Producer {
    /// Starts a producer; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] for the group's name, [`ClientError::NoNameserver`].
    pub fn start(client: ClientConfig, config: ProducerConfig) -> Result<Producer, ClientError> {
        validate_group(&config.group).map_err(ClientError::Invalid)?;
        let instance = ClientInstance::start(client)?;
        instance.register_producer(&config.group);
        let inner = Inner { config, instance, async_sends: Arc::new(Semaphore::new(MAX_ASYNC_SENDS)) };
        Ok(Producer { inner: Arc::new(inner) })
    }

    /// A producer on a client that exists already.
    pub(crate) fn on_instance(instance: Arc<ClientInstance>, config: ProducerConfig) -> Producer {
        let async_sends = Arc::new(Semaphore::new(MAX_ASYNC_SENDS));
        Producer { inner: Arc::new(Inner { config, instance, async_sends }) }
    }

    /// What it stands on.
    #[must_use]
    pub fn instance(&self) -> &Arc<ClientInstance> {
        &self.inner.instance
    }

    /// Sends and waits for the answer; tries other brokers as Java does.
    ///
    /// # Errors
    /// [`ClientError::SendFailed`] with the last reason when all tries failed; at once what no other broker would mend.
    pub async fn send(&self, message: &mut Message) -> Result<SendResult, ClientError> {
        self.send_within(message, self.inner.config.send_timeout).await
    }

    /// [`Producer::send`] with a limit of its own.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn send_within(&self, message: &mut Message, timeout: Duration) -> Result<SendResult, ClientError> {
        let prepared = prepare(message, &self.inner.config)?;
        self.inner.send_retrying(&prepared, timeout, self.inner.config.retry_times_when_send_failed).await
    }

    /// Sends messages of one topic to one queue in one request.
    ///
    /// # Errors
    /// As [`Producer::send`], and [`ClientError::Invalid`] for what cannot be in a batch.
    pub async fn send_batch(&self, messages: &mut [Message]) -> Result<SendResult, ClientError> {
        let prepared = prepare_batch(messages, &self.inner.config)?;
        let config = &self.inner.config;
        self.inner.send_retrying(&prepared, config.send_timeout, config.retry_times_when_send_failed).await
    }

    /// Sends to a certain queue, without retries.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send_to(&self, message: &mut Message, queue: &MessageQueue) -> Result<SendResult, ClientError> {
        if message.topic != queue.topic {
            return Err(ClientError::Invalid("message's topic not equal mq's topic".to_owned()));
        }
        let prepared = prepare(message, &self.inner.config)?;
        let deadline = clock::instant() + self.inner.config.send_timeout;
        self.inner.send_once(&prepared, queue, deadline).await
    }

    /// Sends to the queue that `select` chooses among all queues of the topic, without retries.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send_select<F>(&self, message: &mut Message, select: F) -> Result<SendResult, ClientError>
    where
        F: FnOnce(&[MessageQueue], &Message) -> Option<MessageQueue>,
    {
        let route = self.inner.publish_info(&message.topic).await?;
        let queue = select(&route.publish.queues, message)
            .ok_or_else(|| ClientError::Invalid("select message queue return null.".to_owned()))?;
        self.send_to(message, &queue).await
    }

    /// Sends in the background and hands the result to `done`. Waits only while too many sends are under way.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] for the message, [`ClientError::TooManySends`] when none ended in time.
    pub async fn send_async<F>(&self, mut message: Message, done: F) -> Result<(), ClientError>
    where
        F: FnOnce(Result<SendResult, ClientError>) + Send + 'static,
    {
        let prepared = prepare(&mut message, &self.inner.config)?;
        let timeout = self.inner.config.send_timeout;
        let permit = tokio::time::timeout(timeout, self.inner.async_sends.clone().acquire_owned())
            .await
            .map_err(|_| ClientError::TooManySends(MAX_ASYNC_SENDS))?
            .map_err(|_| ClientError::Closed("producer"))?;
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let retries = inner.config.retry_times_when_send_async_failed;
            let result = inner.send_retrying(&prepared, timeout, retries).await;
            drop(permit);
            done(result);
        });
        Ok(())
    }

    /// Sends without waiting for an answer; whether it arrives is not known.
    ///
    /// # Errors
    /// [`ClientError`] when there is no route or no connection.
    pub async fn send_oneway(&self, message: &mut Message) -> Result<(), ClientError> {
        let prepared = prepare(message, &self.inner.config)?;
        let route = self.inner.publish_info(&prepared.topic).await?;
        let queue = route.publish.select(None).ok_or_else(|| no_queue(&prepared.topic))?;
        let addr = self.inner.broker_addr(queue).await?;
        let header = prepared.header(queue, &self.inner.config);
        self.inner.instance.brokers().oneway::<SendMessageV2>(&addr, &header, prepared.body).await
    }

    /// The queues to which messages of the topic may go.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn fetch_publish_message_queues(&self, topic: &str) -> Result<Vec<MessageQueue>, ClientError> {
        Ok(self.inner.publish_info(topic).await?.publish.queues.clone())
    }

    /// Waits for asynchronous sends, takes leave of the brokers and closes the connections.
    pub async fn shutdown(&self) {
        let all = u32::try_from(MAX_ASYNC_SENDS).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(self.inner.config.send_timeout, self.inner.async_sends.acquire_many(all)).await;
        self.inner.async_sends.close();
        self.inner.instance.shutdown().await;
    }
}

impl Inner {
    async fn publish_info(&self, topic: &str) -> Result<Arc<crate::instance::TopicRoute>, ClientError> {
        if self.instance.is_closed() {
            return Err(ClientError::Closed("producer"));
        }
        let (key, queue_nums) = (&self.config.create_topic_key, self.config.default_topic_queue_nums);
        let route = self.instance.publish_route(topic, key, queue_nums).await?;
        if route.publish.queues.is_empty() { Err(no_queue(topic)) } else { Ok(route) }
    }

    async fn broker_addr(&self, queue: &MessageQueue) -> Result<String, ClientError> {
        let addr = self.instance.queue_master(queue).await?;
        if !self.instance.config().vip_channel {
            return Ok(addr);
        }
        let vip =
            addr.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?.checked_sub(2)?)));
        Ok(vip.map_or(addr.clone(), |(host, port)| format!("{host}:{port}")))
    }

    async fn send_retrying(
        &self,
        prepared: &Prepared,
        timeout: Duration,
        retries: usize,
    ) -> Result<SendResult, ClientError> {
        let (started, started_ms) = (clock::instant(), clock::now_ms());
        let deadline = started + timeout;
        let route = self.publish_info(&prepared.topic).await?;
        let publish: &PublishInfo = &route.publish;
        let mut tried: Vec<&str> = Vec::new();
        let mut stored = None;
        let mut last = None;
        for _ in 0..=retries {
            let Some(queue) = publish.select(tried.last().copied()) else { break };
            if clock::instant() >= deadline {
                break;
            }
            tried.push(&queue.broker_name);
            match self.send_once(prepared, queue, deadline).await {
                Ok(result) => {
                    let try_on =
                        result.send_status != SendStatus::SendOk && self.config.retry_another_broker_when_not_store_ok;
                    if !try_on {
                        return Ok(result);
                    }
                    stored = Some(result);
                }
                Err(error) if is_worth_another_try(&error) => {
                    tracing::warn!(topic = prepared.topic, broker = queue.broker_name, %error, "send failed, next try");
                    last = Some(error);
                }
                Err(error) => return stored.ok_or(error),
            }
        }
        if let Some(result) = stored {
            return Ok(result);
        }
        match last {
            None => Err(ClientError::SendTimeout { timeout_ms: timeout.as_millis() }),
            Some(last) => Err(ClientError::SendFailed {
                times: tried.len(),
                cost_ms: clock::now_ms() - started_ms,
                topic: prepared.topic.clone(),
                brokers: tried.join(", "),
                last: Box::new(last),
            }),
        }
    }

    async fn send_once(
        &self,
        prepared: &Prepared,
        queue: &MessageQueue,
        deadline: Instant,
    ) -> Result<SendResult, ClientError> {
        let addr = self.broker_addr(queue).await?;
        let rest = deadline.saturating_duration_since(clock::instant());
        if prepared.batch {
            self.call::<SendBatchMessage>(prepared, queue, &addr, rest).await
        } else {
            self.call::<SendMessageV2>(prepared, queue, &addr, rest).await
        }
    }

    async fn call<O>(
        &self,
        prepared: &Prepared,
        queue: &MessageQueue,
        addr: &str,
        rest: Duration,
    ) -> Result<SendResult, ClientError>
    where
        O: Operation<Request = protocol::header::send::SendMessageRequestHeaderV2>,
    {
        let header = prepared.header(queue, &self.config);
        let answer = self.instance.brokers().call::<O>(addr, &header, prepared.body.clone(), rest).await?;
        prepared.result(&answer, queue, addr)
    }
}

fn no_queue(topic: &str) -> ClientError {
    ClientError::NoQueue { topic: topic.to_owned(), what: "writable" }
}

/// Whether another broker may do better. The codes are Java's retryResponseCodes.
fn is_worth_another_try(error: &ClientError) -> bool {
    match error {
        ClientError::Call(_) | ClientError::NoBroker(_) | ClientError::Answer { .. } => true,
        ClientError::Refused { code, .. } => matches!(
            *code,
            response_code::TOPIC_NOT_EXIST
                | response_code::SERVICE_NOT_AVAILABLE
                | response_code::SYSTEM_ERROR
                | response_code::SYSTEM_BUSY
                | response_code::NO_PERMISSION
                | response_code::NO_BUYER_ID
                | response_code::NOT_IN_CURRENT_UNIT
                | response_code::GO_AWAY
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_java() {
        let result = SendResult {
            send_status: SendStatus::SendOk,
            msg_id: "7F0000010001".to_owned(),
            offset_msg_id: "7F00000100002A9F0000000000000000".to_owned(),
            message_queue: MessageQueue { broker_name: "broker-a".into(), queue_id: 3, topic: "TopicTest".into() },
            queue_offset: 9,
            transaction_id: None,
            recall_handle: None,
            region_id: None,
        };
        assert_eq!(
            result.to_string(),
            "SendResult [sendStatus=SEND_OK, msgId=7F0000010001, offsetMsgId=7F00000100002A9F0000000000000000, \
             messageQueue=MessageQueue [topic=TopicTest, brokerName=broker-a, queueId=3], queueOffset=9]"
        );
    }
}
