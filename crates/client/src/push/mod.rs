//! Push consumer: shares the queues of its topics out among the members of its group, pulls them without end, hands
//! the messages to a listener and commits.
//!
//! `rebalance` decides which queues are ours, `pull_loop` pulls each of them, `concurrent` or `orderly` runs the
//! listener, `offset_store` keeps how far we are.

mod concurrent;
mod offset_store;
mod orderly;
mod process_queue;
mod pull_loop;
mod rebalance;
mod running_info;

use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::filter;
use crate::instance::ClientInstance;
use crate::message::{Message, MessageExt};
use crate::notices::ConsumerControl;
use crate::producer::{Producer, ProducerConfig};
use bytes::Bytes;
use codec::fields::NoHeader;
use codec::properties::names;
use concurrent::Chunk;
use offset_store::{OffsetStore, Saved};
use parking_lot::Mutex;
use process_queue::{ProcessQueue, Thresholds};
use protocol::body::MessageQueue;
use protocol::body::client::{
    CheckClientRequestBody, ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData,
};
use protocol::header::send::ConsumerSendMsgBackRequestHeader;
use protocol::names::{retry_topic, validate_group, validate_topic};
use protocol::operation::{CheckClientConfig, ConsumerSendMsgBack};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Chunks of messages that may wait for a listener; the pulls wait when there are more.
const MAX_WAITING_CHUNKS: usize = 4096;

/// How a push consumer consumes; the defaults are those of Java's DefaultMQPushConsumer.
#[derive(Clone, Debug)]
pub struct PushConsumerConfig {
    /// Consumer group.
    pub group: String,
    /// Each message to one member of the group, or to all.
    pub message_model: MessageModel,
    /// Where a group without offsets begins.
    pub consume_from_where: ConsumeFromWhere,
    /// For [`ConsumeFromWhere::ConsumeFromTimestamp`]: ms since 1970; `None` is half an hour ago.
    pub consume_timestamp_ms: Option<i64>,
    /// Each queue's messages one after the other, in order, under a lock that excludes other members.
    pub orderly: bool,
    /// Listeners that run at once (consumeThreadMax).
    pub consume_threads: usize,
    /// Messages handed to the listener at once (consumeMessageBatchMaxSize).
    pub consume_message_batch_max_size: usize,
    /// Messages asked for by one pull (pullBatchSize).
    pub pull_batch_size: i32,
    /// Pause between two pulls of a queue.
    pub pull_interval: Duration,
    /// Messages of one queue held here at most (pullThresholdForQueue).
    pub pull_threshold_for_queue: usize,
    /// MiB of one queue held here at most (pullThresholdSizeForQueue).
    pub pull_threshold_size_for_queue: usize,
    /// Distance between the first and the last message held of a queue at most (consumeConcurrentlyMaxSpan).
    pub consume_concurrently_max_span: i64,
    /// Deliveries before a message goes to the dead letter queue; -1: 16, orderly without end.
    pub max_reconsume_times: i32,
    /// How long a listener may take before its messages go back to the broker (consumeTimeout); not when orderly.
    pub consume_timeout: Duration,
    /// Pause before an orderly consumer tries a message again (suspendCurrentQueueTimeMillis).
    pub suspend_current_queue_time: Duration,
    /// How long running listeners are waited for at shutdown.
    pub await_termination: Duration,
    /// Folder of the offsets of broadcast consumers; `None` is `~/.rocketmq_offsets`, as in Java.
    pub local_offset_dir: Option<PathBuf>,
}

impl PushConsumerConfig {
    /// Java's defaults.
    #[must_use]
    pub fn new(group: &str) -> PushConsumerConfig {
        PushConsumerConfig {
            group: group.to_owned(),
            message_model: MessageModel::Clustering,
            consume_from_where: ConsumeFromWhere::ConsumeFromLastOffset,
            consume_timestamp_ms: None,
            orderly: false,
            consume_threads: 20,
            consume_message_batch_max_size: 1,
            pull_batch_size: 32,
            pull_interval: Duration::ZERO,
            pull_threshold_for_queue: 1000,
            pull_threshold_size_for_queue: 100,
            consume_concurrently_max_span: 2000,
            max_reconsume_times: -1,
            consume_timeout: Duration::from_secs(15 * 60),
            suspend_current_queue_time: Duration::from_secs(1),
            await_termination: Duration::from_secs(5),
            local_offset_dir: None,
        }
    }

    fn check(&self) -> Result<(), ClientError> {
        validate_group(&self.group).map_err(ClientError::Invalid)?;
        let in_range = |what: &str, value: usize, max: usize| match value {
            value if (1..=max).contains(&value) => Ok(()),
            _ => Err(ClientError::Invalid(format!("{what} Out of range [1, {max}]: {value}"))),
        };
        in_range("consumeThreadMax", self.consume_threads, 1000)?;
        in_range("consumeMessageBatchMaxSize", self.consume_message_batch_max_size, 1024)?;
        in_range("pullBatchSize", usize::try_from(self.pull_batch_size).unwrap_or(0), 1024)?;
        in_range("pullThresholdForQueue", self.pull_threshold_for_queue, 65_535)?;
        in_range("pullThresholdSizeForQueue", self.pull_threshold_size_for_queue, 1024)
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds {
            messages: self.pull_threshold_for_queue,
            bytes: self.pull_threshold_size_for_queue * 1024 * 1024,
            span: (!self.orderly).then_some(self.consume_concurrently_max_span),
        }
    }
}

/// What became of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumeStatus {
    /// Done (CONSUME_SUCCESS, SUCCESS).
    Success,
    /// To be delivered again (RECONSUME_LATER, SUSPEND_CURRENT_QUEUE_A_MOMENT).
    Later,
}

/// What a listener knows besides the messages.
#[derive(Debug)]
pub struct ConsumeContext {
    /// The queue that the messages came from; for a retry the retry topic's.
    pub message_queue: MessageQueue,
    /// As Java names the thread: `ConsumeMessageThread_GROUP_1`.
    pub thread_name: String,
    delay_level: AtomicI32,
}

impl ConsumeContext {
    /// When messages come again after [`ConsumeStatus::Later`]: a delay level, 0 as the broker likes, negative never.
    pub fn set_delay_level_when_next_consume(&self, level: i32) {
        self.delay_level.store(level, Ordering::Relaxed);
    }
}

/// Takes messages. May block; a panic counts as [`ConsumeStatus::Later`].
pub trait MessageListener: Send + Sync + 'static {
    /// Consumes messages of one queue.
    fn consume(&self, messages: &[MessageExt], context: &ConsumeContext) -> ConsumeStatus;
}

impl<F> MessageListener for F
where
    F: Fn(&[MessageExt], &ConsumeContext) -> ConsumeStatus + Send + Sync + 'static,
{
    fn consume(&self, messages: &[MessageExt], context: &ConsumeContext) -> ConsumeStatus {
        self(messages, context)
    }
}

/// A running push consumer. Dropping it ends it without committing; [`PushConsumer::shutdown`] ends it properly.
pub struct PushConsumer {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// Itself, for tasks that requests of brokers start.
    this: Weak<Inner>,
    config: PushConsumerConfig,
    instance: Arc<ClientInstance>,
    listener: Arc<dyn MessageListener>,
    subscriptions: Mutex<BTreeMap<String, SubscriptionData>>,
    queues: Mutex<BTreeMap<MessageQueue, Arc<ProcessQueue>>>,
    offsets: OffsetStore,
    chunks: mpsc::Sender<Chunk>,
    /// Orderly listeners that run at once.
    permits: Arc<Semaphore>,
    paused: AtomicBool,
    started_ms: i64,
    /// Ends pulls, rebalancing and, after their current messages, listeners.
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl PushConsumer {
    /// Starts a consumer of `subscriptions` (topic, tag expression); must be called inside a tokio runtime. Returns
    /// once the brokers know it; queues are assigned in the background.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] for settings, [`ClientError::NoNameserver`], and what brokers say of an SQL92
    /// expression. Nameservers and brokers that are down are waited for in the background.
    pub async fn start(
        client: ClientConfig,
        config: PushConsumerConfig,
        subscriptions: &[(&str, &str)],
        listener: impl MessageListener,
    ) -> Result<PushConsumer, ClientError> {
        let subscriptions = subscriptions
            .iter()
            .map(|(topic, expression)| filter::by_tags(topic, expression))
            .collect::<Result<Vec<_>, _>>()
            .map_err(ClientError::Invalid)?;
        PushConsumer::start_with(client, config, subscriptions, listener).await
    }

    /// [`PushConsumer::start`] with subscriptions from [`crate::filter`], which may be by SQL92.
    ///
    /// # Errors
    /// As [`PushConsumer::start`].
    pub async fn start_with(
        mut client: ClientConfig,
        config: PushConsumerConfig,
        subscriptions: Vec<SubscriptionData>,
        listener: impl MessageListener,
    ) -> Result<PushConsumer, ClientError> {
        config.check()?;
        let mut table = BTreeMap::new();
        for data in subscriptions {
            validate_topic(&data.topic).map_err(ClientError::Invalid)?;
            table.insert(data.topic.clone(), data);
        }
        if config.message_model == MessageModel::Broadcasting {
            // As in Java: broadcast consumers find their file again, so their id must not change.
            client.instance_name.get_or_insert_with(|| "DEFAULT".to_owned());
        } else {
            let retry = retry_topic(&config.group);
            let data = filter::by_tags(&retry, filter::ALL).map_err(ClientError::Invalid)?;
            table.insert(retry, data);
        }
        let instance = ClientInstance::start(client)?;
        let (chunks, waiting) = mpsc::channel(MAX_WAITING_CHUNKS);
        let inner = Arc::new_cyclic(|this| Inner {
            this: this.clone(),
            offsets: OffsetStore::new(&config.group, saved_where(&config, instance.client_id())),
            listener: Arc::new(listener),
            subscriptions: Mutex::new(table),
            queues: Mutex::default(),
            chunks,
            permits: Arc::new(Semaphore::new(config.consume_threads)),
            paused: AtomicBool::new(false),
            started_ms: crate::clock::now_ms(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            config,
            instance,
        });
        let consumer = PushConsumer { inner };
        if let Err(error) = consumer.inner.begin(waiting).await {
            consumer.inner.instance.shutdown().await;
            return Err(error);
        }
        Ok(consumer)
    }

    /// What it stands on.
    #[must_use]
    pub fn instance(&self) -> &Arc<ClientInstance> {
        &self.inner.instance
    }

    /// Adds or changes the subscription of a topic by tags.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] for the topic or the expression.
    pub async fn subscribe(&self, topic: &str, tags: &str) -> Result<(), ClientError> {
        validate_topic(topic).map_err(ClientError::Invalid)?;
        let data = filter::by_tags(topic, tags).map_err(ClientError::Invalid)?;
        self.inner.subscriptions.lock().insert(topic.to_owned(), data);
        self.inner.announce().await;
        Ok(())
    }

    /// Ends the subscription of a topic.
    pub async fn unsubscribe(&self, topic: &str) {
        self.inner.subscriptions.lock().remove(topic);
        self.inner.announce().await;
    }

    /// Stops pulling until [`PushConsumer::resume`]; what is here is still consumed.
    pub fn suspend(&self) {
        self.inner.paused.store(true, Ordering::Release);
    }

    /// Pulls again.
    pub fn resume(&self) {
        self.inner.paused.store(false, Ordering::Release);
    }

    /// The queues that are ours now.
    #[must_use]
    pub fn assigned_queues(&self) -> Vec<MessageQueue> {
        self.inner.queues.lock().keys().cloned().collect()
    }

    /// Ends: stops pulling, waits for running listeners, commits, gives locks back, takes leave of the brokers.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.stop.cancel();
        inner.tasks.close();
        if tokio::time::timeout(inner.config.await_termination, inner.tasks.wait()).await.is_err() {
            tracing::warn!(group = inner.config.group, "listeners still run at shutdown; their messages come again");
        }
        let queues = self.assigned_queues();
        inner.offsets.save(&inner.instance, &queues).await;
        if inner.needs_locks() {
            inner.unlock(&queues).await;
        }
        for queue in inner.queues.lock().values() {
            queue.dropped.cancel();
        }
        inner.instance.shutdown().await;
    }
}

impl Drop for PushConsumer {
    fn drop(&mut self) {
        self.inner.stop.cancel();
        self.inner.queues.lock().values().for_each(|queue| queue.dropped.cancel());
    }
}

fn saved_where(config: &PushConsumerConfig, client_id: &str) -> Saved {
    if config.message_model == MessageModel::Clustering {
        return Saved::AtBrokers;
    }
    let home = || {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        home.join(".rocketmq_offsets")
    };
    let dir = config.local_offset_dir.clone().unwrap_or_else(home);
    Saved::InFile(dir.join(client_id).join(&config.group).join("offsets.json"))
}

impl Inner {
    async fn begin(self: &Arc<Inner>, waiting: mpsc::Receiver<Chunk>) -> Result<(), ClientError> {
        let control: Arc<dyn ConsumerControl> = self.clone();
        self.instance.notices.set_consumer(Arc::downgrade(&control));
        self.instance.register_consumer(self.consumer_data());
        let topics: Vec<String> = self.subscriptions.lock().keys().cloned().collect();
        for topic in &topics {
            self.instance.want_topic(topic);
            // As in Java, a consumer may start before its nameserver and its topics.
            if let Err(error) = self.instance.update_route(topic).await {
                tracing::warn!(topic, %error, "no route yet");
            }
        }
        self.check_expressions().await?;
        self.instance.send_heartbeats().await;
        if !self.config.orderly {
            concurrent::start(self, waiting);
        }
        self.tasks.spawn(rebalance::run(self.clone()));
        self.tasks.spawn(save_periodically(self.clone()));
        Ok(())
    }

    /// Has brokers check expressions that they will evaluate.
    async fn check_expressions(&self) -> Result<(), ClientError> {
        let by_brokers: Vec<SubscriptionData> = {
            let subscriptions = self.subscriptions.lock();
            subscriptions.values().filter(|data| data.expression_type != "TAG").cloned().collect()
        };
        for data in by_brokers {
            let Some(addr) = self.instance.any_broker_of(&data.topic) else { continue };
            let body = CheckClientRequestBody {
                client_id: self.instance.client_id().to_owned(),
                group: self.config.group.clone(),
                subscription_data: data,
            };
            let body = Bytes::from(protocol::body::encode(&body));
            self.instance.brokers().invoke::<CheckClientConfig>(&addr, &NoHeader, body).await?;
        }
        Ok(())
    }

    fn consumer_data(&self) -> ConsumerData {
        ConsumerData {
            consume_from_where: self.config.consume_from_where,
            consume_type: ConsumeType::ConsumePassively,
            group_name: self.config.group.clone(),
            message_model: self.config.message_model,
            subscription_data_set: self.subscriptions.lock().values().cloned().collect(),
            unit_mode: false,
        }
    }

    async fn announce(&self) {
        self.instance.register_consumer(self.consumer_data());
        let topics: Vec<String> = self.subscriptions.lock().keys().cloned().collect();
        for topic in topics {
            self.instance.want_topic(&topic);
        }
        self.instance.send_heartbeats().await;
        self.instance.notices.rebalance.notify_one();
    }

    fn is_cluster(&self) -> bool {
        self.config.message_model == MessageModel::Clustering
    }

    fn needs_locks(&self) -> bool {
        self.config.orderly && self.is_cluster()
    }

    fn max_reconsume_times(&self) -> i32 {
        if self.config.max_reconsume_times < 0 { 16 } else { self.config.max_reconsume_times }
    }

    /// Has the broker deliver a message again later, or move it to the dead letter queue. When its broker cannot be
    /// reached, the message is sent to the retry topic on any broker.
    async fn send_back(&self, message: &MessageExt, delay_level: i32) -> Result<(), ClientError> {
        let header = ConsumerSendMsgBackRequestHeader {
            offset: message.commit_log_offset,
            group: self.config.group.as_str().into(),
            delay_level,
            origin_msg_id: Some(message.msg_id().into()),
            origin_topic: Some(message.topic().into()),
            unit_mode: false,
            max_reconsume_times: Some(self.max_reconsume_times()),
        };
        let asked = match self.instance.master_addr(message.broker_name.as_deref().unwrap_or_default()) {
            Ok(addr) => {
                let brokers = self.instance.brokers();
                brokers.invoke::<ConsumerSendMsgBack>(&addr, &header, Bytes::new()).await.map(drop)
            }
            Err(error) => Err(error),
        };
        let Err(error) = asked else { return Ok(()) };
        tracing::warn!(group = self.config.group, queue_offset = message.queue_offset, %error, "send back failed");
        let mut again = self.as_retry(message);
        let producer = Producer::on_instance(self.instance.clone(), ProducerConfig::new("CLIENT_INNER_PRODUCER"));
        producer.send(&mut again).await.map(drop)
    }

    /// The message as it is sent to the retry topic by ourselves.
    fn as_retry(&self, message: &MessageExt) -> Message {
        let mut again = message.message.clone();
        let origin = message.property(names::ORIGIN_MESSAGE_ID).map_or_else(|| message.msg_id(), str::to_owned);
        again.topic = retry_topic(&self.config.group);
        again.properties.remove(names::TRAN_MSG);
        for (name, value) in [
            (names::ORIGIN_MESSAGE_ID, origin),
            (names::RETRY_TOPIC, message.topic().to_owned()),
            (names::RECONSUME_TIME, (message.reconsume_times + 1).to_string()),
            (names::MAX_RECONSUME_TIMES, self.max_reconsume_times().to_string()),
            (names::DELAY, (3 + message.reconsume_times).to_string()),
        ] {
            again.properties.set(name, value);
        }
        again
    }

    /// What a listener sees that does not stand in the record.
    fn prepare(&self, messages: &mut [MessageExt]) {
        let retry = retry_topic(&self.config.group);
        let now = crate::clock::now_ms().to_string();
        for message in messages {
            // A retried message shows the topic it was sent to.
            if message.message.topic == retry
                && let Some(topic) = message.property(names::RETRY_TOPIC).map(str::to_owned)
            {
                message.message.topic = topic;
            }
            message.message.properties.set(names::CONSUME_START_TIME, now.clone());
        }
    }

    /// Runs the listener where it may block; the task gives its status and the delay level it asks for, and lets go of
    /// the messages before it ends.
    fn listen(
        &self,
        messages: Arc<Vec<MessageExt>>,
        queue: &MessageQueue,
        thread: usize,
    ) -> JoinHandle<(ConsumeStatus, i32)> {
        let context = ConsumeContext {
            message_queue: queue.clone(),
            thread_name: format!("ConsumeMessageThread_{}_{thread}", self.config.group),
            delay_level: AtomicI32::new(0),
        };
        let listener = self.listener.clone();
        tokio::task::spawn_blocking(move || {
            let consume = std::panic::AssertUnwindSafe(|| listener.consume(&messages, &context));
            let status = std::panic::catch_unwind(consume).unwrap_or_else(|_| {
                tracing::error!(queue = ?context.message_queue, "listener panicked; its messages come again");
                ConsumeStatus::Later
            });
            (status, context.delay_level.load(Ordering::Relaxed))
        })
    }
}

/// The messages themselves; copied only while a listener still holds them.
fn take_back(messages: Arc<Vec<MessageExt>>) -> Vec<MessageExt> {
    Arc::try_unwrap(messages).unwrap_or_else(|held| held.as_ref().clone())
}

async fn save_periodically(inner: Arc<Inner>) {
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = tokio::time::sleep(inner.instance.config().persist_offset_interval) => {}
        }
        let queues: Vec<MessageQueue> = inner.queues.lock().keys().cloned().collect();
        inner.offsets.save(&inner.instance, &queues).await;
    }
}
