//! Pulling messages by hand, and the pull itself, on which the push consumer stands too.

use crate::broker_api::{decode, response_header};
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::filter;
use crate::instance::ClientInstance;
use crate::message::MessageExt;
use crate::namesrv_api::refused;
use crate::route::MASTER_ID;
use bytes::Bytes;
use codec::properties::names;
use protocol::body::MessageQueue;
use protocol::body::client::{ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData};
use protocol::header::pull::{PullMessageRequestHeader, PullMessageResponseHeader};
use protocol::names::validate_group;
use protocol::operation::PullMessage;
use protocol::response_code;
use protocol::sys_flag::pull;
use std::sync::Arc;
use std::time::Duration;

/// How long brokers may hold an empty pull (brokerSuspendMaxTimeMillis of the push consumer).
pub(crate) const SUSPEND: Duration = Duration::from_secs(15);
/// How long the answer of such a pull is waited for.
const SUSPENDED_PULL_TIMEOUT: Duration = Duration::from_secs(30);
const PULL_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for pulls of the pull consumer (brokerSuspendMaxTimeMillis there).
const PULL_CONSUMER_SUSPEND: Duration = Duration::from_secs(20);

/// What a pull found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStatus {
    /// Messages.
    Found,
    /// The queue ends here.
    NoNewMsg,
    /// Messages, but none that the subscription wants.
    NoMatchedMsg,
    /// The offset lies outside of the queue.
    OffsetIllegal,
}

/// Answer to a pull.
#[derive(Clone, Debug)]
pub struct PullResult {
    /// What was found.
    pub pull_status: PullStatus,
    /// Where to pull next.
    pub next_begin_offset: i64,
    /// First message of the queue.
    pub min_offset: i64,
    /// Behind the last message of the queue.
    pub max_offset: i64,
    /// The messages.
    pub messages: Vec<MessageExt>,
    /// Replica to read from next: 0 the master.
    pub suggest_which_broker_id: i64,
}

/// What to pull.
pub(crate) struct PullRequest<'a> {
    pub(crate) group: &'a str,
    pub(crate) queue: &'a MessageQueue,
    pub(crate) subscription: &'a SubscriptionData,
    pub(crate) queue_offset: i64,
    pub(crate) max_msg_nums: i32,
    /// Committed with the pull.
    pub(crate) commit_offset: Option<i64>,
    /// How long the broker may hold an empty pull.
    pub(crate) suspend: Option<Duration>,
    /// Replica to read from.
    pub(crate) broker_id: i64,
}

impl ClientInstance {
    /// Pulls once. The messages know their broker and the range of the queue, as in Java.
    pub(crate) async fn pull(&self, request: &PullRequest<'_>) -> Result<PullResult, ClientError> {
        let (addr, slave) = self.subscribe_addr(request.queue, request.broker_id).await?;
        let commit = request.commit_offset.filter(|_| !slave);
        let flag = |set: bool, bit: i32| if set { bit } else { 0 };
        let header = PullMessageRequestHeader {
            consumer_group: request.group.into(),
            topic: request.queue.topic.as_str().into(),
            queue_id: request.queue.queue_id,
            queue_offset: request.queue_offset,
            max_msg_nums: request.max_msg_nums,
            sys_flag: pull::SUBSCRIPTION
                | flag(commit.is_some(), pull::COMMIT_OFFSET)
                | flag(request.suspend.is_some(), pull::SUSPEND),
            commit_offset: commit.unwrap_or(0),
            suspend_timeout_millis: request
                .suspend
                .map_or(0, |suspend| i64::try_from(suspend.as_millis()).unwrap_or(i64::MAX)),
            subscription: Some(request.subscription.sub_string.as_str().into()),
            sub_version: request.subscription.sub_version,
            expression_type: Some(request.subscription.expression_type.as_str().into()),
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
        };
        let timeout = if request.suspend.is_some() { SUSPENDED_PULL_TIMEOUT } else { PULL_TIMEOUT };
        let answer = self.brokers().call::<PullMessage>(&addr, &header, Bytes::new(), timeout).await?;
        let pull_status = match answer.code {
            response_code::SUCCESS => PullStatus::Found,
            response_code::PULL_NOT_FOUND => PullStatus::NoNewMsg,
            response_code::PULL_RETRY_IMMEDIATELY => PullStatus::NoMatchedMsg,
            response_code::PULL_OFFSET_MOVED => PullStatus::OffsetIllegal,
            _ => return Err(refused(&answer, &addr)),
        };
        let header: PullMessageResponseHeader = response_header(&answer, &addr)?;
        let messages = match pull_status {
            PullStatus::Found => finish(decode(&answer.body, &addr)?, &header, request),
            _ => Vec::new(),
        };
        Ok(PullResult {
            pull_status,
            next_begin_offset: header.next_begin_offset,
            min_offset: header.min_offset,
            max_offset: header.max_offset,
            messages,
            suggest_which_broker_id: header.suggest_which_broker_id,
        })
    }

    /// The offset behind the last message of a queue.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn max_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        self.brokers().max_offset(&self.queue_master(queue).await?, queue).await
    }

    /// The offset of the first message of a queue.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn min_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        self.brokers().min_offset(&self.queue_master(queue).await?, queue).await
    }

    /// The offset of the first message stored at `timestamp_ms` or later.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn search_offset(&self, queue: &MessageQueue, timestamp_ms: i64) -> Result<i64, ClientError> {
        self.brokers().search_offset(&self.queue_master(queue).await?, queue, timestamp_ms).await
    }

    /// The committed offset of a group in a queue.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn query_offset(&self, group: &str, queue: &MessageQueue) -> Result<Option<i64>, ClientError> {
        self.brokers().query_offset(&self.queue_master(queue).await?, group, queue).await
    }
}

/// What the client adds to pulled messages; those whose tag only shares its hash with a wanted one go.
fn finish(messages: Vec<MessageExt>, header: &PullMessageResponseHeader, request: &PullRequest<'_>) -> Vec<MessageExt> {
    let wanted = messages.into_iter().filter(|message| filter::matches(request.subscription, message.tags()));
    wanted
        .map(|mut message| {
            message.broker_name = Some(request.queue.broker_name.clone());
            let properties = &mut message.message.properties;
            properties.set(names::MIN_OFFSET, header.min_offset.to_string());
            properties.set(names::MAX_OFFSET, header.max_offset.to_string());
            message
        })
        .collect()
}

/// Pulls messages where and when the caller wants.
pub struct PullConsumer {
    group: String,
    instance: Arc<ClientInstance>,
}

impl PullConsumer {
    /// Starts a pull consumer; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] for the group's name, [`ClientError::NoNameserver`].
    pub fn start(client: ClientConfig, group: &str) -> Result<PullConsumer, ClientError> {
        validate_group(group).map_err(ClientError::Invalid)?;
        let instance = ClientInstance::start(client)?;
        instance.register_consumer(ConsumerData {
            consume_from_where: ConsumeFromWhere::ConsumeFromLastOffset,
            consume_type: ConsumeType::ConsumeActively,
            group_name: group.to_owned(),
            message_model: MessageModel::Clustering,
            subscription_data_set: Vec::new(),
            unit_mode: false,
        });
        Ok(PullConsumer { group: group.to_owned(), instance })
    }

    /// What it stands on: offsets by queue, look-ups, calls.
    #[must_use]
    pub fn instance(&self) -> &Arc<ClientInstance> {
        &self.instance
    }

    /// The readable queues of a topic, sorted.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn fetch_subscribe_message_queues(&self, topic: &str) -> Result<Vec<MessageQueue>, ClientError> {
        let known = self.instance.cached_route(topic).is_some();
        let route = self.instance.route(topic).await?;
        if !known {
            // Brokers refuse pulls of groups they have not heard of.
            self.instance.send_heartbeats().await;
        }
        if route.subscribe.is_empty() {
            return Err(ClientError::NoQueue { topic: topic.to_owned(), what: "readable" });
        }
        Ok(route.subscribe.clone())
    }

    /// Pulls once and returns at once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pull(
        &self,
        queue: &MessageQueue,
        tags: &str,
        queue_offset: i64,
        max_msg_nums: i32,
    ) -> Result<PullResult, ClientError> {
        self.pull_with(queue, tags, queue_offset, max_msg_nums, None).await
    }

    /// Pulls once; at the end of the queue the answer waits up to 20 s for a message.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pull_block_if_not_found(
        &self,
        queue: &MessageQueue,
        tags: &str,
        queue_offset: i64,
        max_msg_nums: i32,
    ) -> Result<PullResult, ClientError> {
        self.pull_with(queue, tags, queue_offset, max_msg_nums, Some(PULL_CONSUMER_SUSPEND)).await
    }

    async fn pull_with(
        &self,
        queue: &MessageQueue,
        tags: &str,
        queue_offset: i64,
        max_msg_nums: i32,
        suspend: Option<Duration>,
    ) -> Result<PullResult, ClientError> {
        if queue_offset < 0 || max_msg_nums <= 0 {
            return Err(ClientError::Invalid(format!(
                "offset {queue_offset} and maxNums {max_msg_nums}: offset must not be negative, maxNums must be positive"
            )));
        }
        let subscription = filter::by_tags(&queue.topic, tags).map_err(ClientError::Invalid)?;
        let request = PullRequest {
            group: &self.group,
            queue,
            subscription: &subscription,
            queue_offset,
            max_msg_nums,
            commit_offset: None,
            suspend,
            broker_id: MASTER_ID,
        };
        self.instance.pull(&request).await
    }

    /// The committed offset of the group in a queue.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn fetch_consume_offset(&self, queue: &MessageQueue) -> Result<Option<i64>, ClientError> {
        self.instance.query_offset(&self.group, queue).await
    }

    /// Commits the offset of the group in a queue and waits until the broker has it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn update_consume_offset(&self, queue: &MessageQueue, offset: i64) -> Result<(), ClientError> {
        let addr = self.instance.queue_master(queue).await?;
        self.instance.brokers().update_offset(&addr, &self.group, queue, offset, false).await
    }

    /// Takes leave of the brokers and closes the connections.
    pub async fn shutdown(&self) {
        self.instance.shutdown().await;
    }
}
