//! Where a group goes on, and how its members say they are: 222, 223. Sends 220 and 221 to consumers.
//! Source: AdminBrokerProcessor.resetOffset, broker/client/net/Broker2Client.java.

use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::{ClientChannelInfo, ConsumerManager};
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::pop::Pop;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use bytes::Bytes;
use codec::command::Language;
use codec::json;
use protocol::body::client::{GetConsumerStatusBody, QueueOffsetForC, ResetOffsetBody, ResetOffsetBodyForC};
use protocol::body::{MessageQueue, MessageQueueKey, encode};
use protocol::header::client::GetConsumerStatusRequestHeader;
use protocol::header::offset::ResetOffsetRequestHeader;
use protocol::operation::{
    GetConsumerStatusFromClient, InvokeBrokerToGetConsumerStatus, InvokeBrokerToResetOffset, ResetConsumerClientOffset,
};
use protocol::response_code::{
    CONSUMER_NOT_ONLINE, SUBSCRIPTION_GROUP_NOT_EXIST, SUCCESS, SYSTEM_ERROR, TOPIC_NOT_EXIST,
};
use protocol::version;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Boundary, MessageStore};
use tokio::task::JoinSet;

/// How long a consumer may take to say where it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// Resets offsets and asks for them.
pub struct ResetOffsetAdmin {
    /// Queues.
    pub store: Arc<MessageStore>,
    /// Offsets of groups.
    pub offsets: Arc<ConsumerOffsetManager>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Connected consumers.
    pub consumers: Arc<ConsumerManager>,
    /// Messages that are out with consumers no longer count.
    pub pop: Arc<Pop>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
}

impl Processor<InvokeBrokerToResetOffset> for ResetOffsetAdmin {
    fn process(&self, request: Request<ResetOffsetRequestHeader>) -> Outcome {
        let header = &request.header;
        let done = match self.config.get().broker.use_server_side_reset_offset {
            true => self.reset(header),
            false => self.push(header, request.language),
        };
        done.unwrap_or_else(|refusal| refusal).into()
    }
}

impl ResetOffsetAdmin {
    /// Sets where a group goes on: one queue or all, at an offset or a time. The next pull of each queue is told.
    fn reset(&self, header: &ResetOffsetRequestHeader) -> Result<Reply, Reply> {
        let (topic, group): (&str, &str) = (&header.topic, &header.group);
        let missing = |code, what, name| Reply::error(code, format!("{what} {name} does not exist"));
        let config = self.topics.get(topic).ok_or_else(|| missing(TOPIC_NOT_EXIST, "Topic", topic))?;
        if self.groups.get(group).is_none() {
            return Err(missing(SUBSCRIPTION_GROUP_NOT_EXIST, "Group", group));
        }
        let mut targets = BTreeMap::new();
        match (header.queue_id, header.offset) {
            (0.., Some(offset)) if offset != -1 => {
                let (min, max) =
                    (self.store.min_offset(topic, header.queue_id), self.store.max_offset(topic, header.queue_id));
                if offset < min || offset > max + 1 {
                    let remark = format!("Target offset {offset} not in consume queue range [{min}-{max}]");
                    return Err(Reply::error(SYSTEM_ERROR, remark));
                }
                targets.insert(header.queue_id, offset);
            }
            (0.., _) => drop(targets.insert(header.queue_id, self.offset_at(topic, header.queue_id, header.timestamp))),
            _ => {
                let all = 0..config.read_queue_nums;
                targets.extend(all.map(|queue_id| (queue_id, self.offset_at(topic, queue_id, header.timestamp))));
            }
        }
        if targets.is_empty() {
            return Err(Reply::error(SYSTEM_ERROR, "No queues to reset."));
        }
        for (queue_id, offset) in &targets {
            self.offsets.assign_reset(group, topic, *queue_id, *offset);
            self.pop.in_flight.clear(topic, group, *queue_id);
        }
        tracing::info!(topic, group, queues = targets.len(), timestamp = header.timestamp, "offsets reset");
        Ok(Reply::body(encode(&self.table(topic, targets))))
    }

    fn offset_at(&self, topic: &str, queue_id: i32, timestamp: i64) -> i64 {
        match timestamp {
            ..=-1 => self.store.max_offset(topic, queue_id),
            _ => self.store.offset_by_time(topic, queue_id, timestamp, Boundary::Lower),
        }
    }

    /// Tells every member of the group where to go on; each commits its new offsets itself. A group that is further back
    /// already stays there unless it is forced.
    fn push(&self, header: &ResetOffsetRequestHeader, language: Language) -> Result<Reply, Reply> {
        let (topic, group): (&str, &str) = (&header.topic, &header.group);
        let config = self.topics.get(topic).ok_or_else(|| {
            let remark = format!("[reset-offset] reset offset failed, no topic in this broker. topic={topic}");
            Reply::error(TOPIC_NOT_EXIST, remark)
        })?;
        let mut targets = BTreeMap::new();
        for queue_id in 0..config.write_queue_nums {
            let Some(consumed) = self.offsets.query(group, topic, queue_id).filter(|offset| *offset != -1) else {
                return Err(Reply::error(SYSTEM_ERROR, format!("THe consumer group <{group}> not exist")));
            };
            let wanted = match header.timestamp {
                -1 => self.store.max_offset(topic, queue_id),
                time => self.store.offset_by_time(topic, queue_id, time, Boundary::Lower),
            };
            targets.insert(queue_id, if header.is_force || wanted < consumed { wanted } else { consumed });
        }
        let clients = self.consumers.clients(group);
        if clients.is_empty() {
            let remark = format!(
                "Consumer not online, so can not reset offset, Group: {group} Topic: {topic} Timestamp: {}",
                header.timestamp
            );
            return Err(Reply::error(CONSUMER_NOT_ONLINE, remark));
        }
        // All are looked at before the first is told, where Java tells those before the one that is too old.
        clients.iter().try_for_each(supports)?;
        let told = ResetOffsetRequestHeader {
            topic: header.topic.clone(),
            group: header.group.clone(),
            queue_id: -1,
            offset: None,
            timestamp: header.timestamp,
            is_force: false,
        };
        let table = self.table(topic, targets);
        let answer = encode(&table);
        let body = match language {
            Language::CPP => encode(&for_c(&table)),
            _ => answer.clone(),
        };
        let body = Bytes::from(body);
        for client in &clients {
            if !client.channel.oneway::<ResetConsumerClientOffset>(&told, body.clone()) {
                tracing::warn!(topic, group, client_id = client.client_id, "consumer not told to reset its offsets");
            }
        }
        tracing::info!(topic, group, clients = clients.len(), timestamp = header.timestamp, "consumers told to reset");
        Ok(Reply::body(answer))
    }

    fn table(&self, topic: &str, offsets: BTreeMap<i32, i64>) -> ResetOffsetBody {
        let broker_name = &self.config.get().broker.broker_name;
        let queue = |queue_id| MessageQueue { broker_name: broker_name.clone(), queue_id, topic: topic.to_owned() };
        let table = offsets.into_iter().map(|(queue_id, offset)| (MessageQueueKey(queue(queue_id)), offset));
        ResetOffsetBody { offset_table: table.collect() }
    }
}

/// As C++ clients read it: a list.
fn for_c(table: &ResetOffsetBody) -> ResetOffsetBodyForC {
    let queues = table.offset_table.iter().map(|(MessageQueueKey(queue), offset)| QueueOffsetForC {
        broker_name: queue.broker_name.clone(),
        offset: *offset,
        queue_id: queue.queue_id,
        topic: queue.topic.clone(),
    });
    ResetOffsetBodyForC { offset_table: queues.collect() }
}

fn supports(client: &ClientChannelInfo) -> Result<(), Reply> {
    if client.version >= version::V3_0_7_SNAPSHOT {
        return Ok(());
    }
    let described = version::describe(client.version);
    Err(Reply::error(SYSTEM_ERROR, format!("the client does not support this feature. version={described}")))
}

impl Processor<InvokeBrokerToGetConsumerStatus> for ResetOffsetAdmin {
    fn process(&self, request: Request<GetConsumerStatusRequestHeader>) -> Outcome {
        let GetConsumerStatusRequestHeader { topic, group, client_addr } = request.header;
        let mut clients = self.consumers.clients(&group);
        if clients.is_empty() {
            let remark = format!("No Any Consumer online in the consumer group: [{group}]");
            return Reply::error(SYSTEM_ERROR, remark).into();
        }
        if let Err(refusal) = clients.iter().try_for_each(supports) {
            return refusal.into();
        }
        if let Some(wanted) = client_addr.filter(|wanted| !wanted.trim().is_empty()) {
            clients.retain(|client| client.client_id == *wanted);
        }
        Outcome::Later(Box::pin(async move {
            let mut answers = JoinSet::new();
            for client in clients {
                let header =
                    GetConsumerStatusRequestHeader { topic: topic.clone(), group: group.clone(), client_addr: None };
                answers.spawn(status(client, header));
            }
            let table = answers.join_all().await.into_iter().flatten().collect();
            Reply::body(encode(&GetConsumerStatusBody { consumer_table: table, ..GetConsumerStatusBody::default() }))
        }))
    }
}

type QueueOffsets = BTreeMap<MessageQueueKey, i64>;

/// What a consumer says of its queues; nothing when it does not answer in time or refuses.
async fn status(client: ClientChannelInfo, header: GetConsumerStatusRequestHeader) -> Option<(String, QueueOffsets)> {
    let answer = client.channel.call::<GetConsumerStatusFromClient>(&header, Bytes::new(), STATUS_TIMEOUT).await;
    let failed = |error: String| {
        tracing::warn!(client_id = client.client_id, group = %header.group, error, "no status from a consumer");
    };
    let answer = answer.map_err(|error| failed(error.to_string())).ok()?;
    if answer.code != SUCCESS {
        failed(format!("it answers {}: {}", answer.code, answer.remark.as_deref().unwrap_or_default()));
        return None;
    }
    let body =
        json::from_slice::<GetConsumerStatusBody>(&answer.body).map_err(|error| failed(error.to_string())).ok()?;
    Some((client.client_id, body.message_queue_table))
}
