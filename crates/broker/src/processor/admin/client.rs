//! Connected clients: 203, 204, 307, 309, 328.

use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::ConsumerManager;
use crate::producer_manager::ProducerManager;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use bytes::Bytes;
use codec::fields::NoHeader;
use codec::message::parse_message_id;
use protocol::body::client::{ProducerConnection, ProducerTableInfo};
use protocol::body::encode;
use protocol::header::client::{
    ConsumeMessageDirectlyResultRequestHeader, ConsumerGroupRequestHeader, GetConsumerRunningInfoRequestHeader,
    ProducerGroupRequestHeader,
};
use protocol::operation::{
    ConsumeMessageDirectly, GetAllProducerInfo, GetConsumerConnectionList, GetConsumerRunningInfo,
    GetProducerConnectionList, Operation,
};
use protocol::response_code::{CONSUME_MSG_TIMEOUT, CONSUMER_NOT_ONLINE, SYSTEM_ERROR};
use protocol::version;
use remoting::channel::{CallError, Channel};
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::sync::Arc;
use std::time::Duration;
use store::MessageStore;

/// How long a client may take for a relayed request.
const RELAY_TIMEOUT: Duration = Duration::from_secs(10);

/// Shows clients and relays requests to them.
pub struct ClientAdmin {
    /// Consumers.
    pub consumers: Arc<ConsumerManager>,
    /// Producers.
    pub producers: Arc<ProducerManager>,
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Messages to be consumed directly.
    pub store: Arc<MessageStore>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
}

impl Processor<GetConsumerConnectionList> for ClientAdmin {
    fn process(&self, request: Request<ConsumerGroupRequestHeader>) -> Outcome {
        let group = &request.header.consumer_group;
        match self.consumers.describe(group) {
            Some(connection) => Reply::body(encode(&connection)).into(),
            None => Reply::error(CONSUMER_NOT_ONLINE, format!("the consumer group[{group}] not online")).into(),
        }
    }
}

impl Processor<GetProducerConnectionList> for ClientAdmin {
    fn process(&self, request: Request<ProducerGroupRequestHeader>) -> Outcome {
        let group = &request.header.producer_group;
        match self.producers.connections(group) {
            Some(connection_set) => Reply::body(encode(&ProducerConnection { connection_set })).into(),
            None => Reply::error(SYSTEM_ERROR, format!("the producer group[{group}] not exist")).into(),
        }
    }
}

impl Processor<GetAllProducerInfo> for ClientAdmin {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        Reply::body(encode(&ProducerTableInfo { data: self.producers.table() })).into()
    }
}

impl Processor<GetConsumerRunningInfo> for ClientAdmin {
    fn process(&self, request: Request<GetConsumerRunningInfoRequestHeader>) -> Outcome {
        let header = request.header;
        match self.online(&header.consumer_group, &header.client_id) {
            Ok(consumer) => relay::<GetConsumerRunningInfo>(consumer, header, Bytes::new()),
            Err(refusal) => refusal.into(),
        }
    }
}

impl Processor<ConsumeMessageDirectly> for ClientAdmin {
    fn process(&self, request: Request<ConsumeMessageDirectlyResultRequestHeader>) -> Outcome {
        let mut header = request.header;
        let consumer = match self.online(&header.consumer_group, header.client_id.as_deref().unwrap_or("null")) {
            Ok(consumer) => consumer,
            Err(refusal) => return refusal.into(),
        };
        header.broker_name = Some(self.config.get().broker.broker_name.as_str().into());
        let topic = header.topic.as_deref().and_then(|topic| self.topics.get(topic));
        header.topic_sys_flag = topic.map(|topic| topic.topic_sys_flag).or(header.topic_sys_flag);
        let group = self.groups.get(&header.consumer_group);
        header.group_sys_flag = group.map(|group| group.group_sys_flag).or(header.group_sys_flag);
        let id = header.msg_id.as_deref().unwrap_or_default();
        let offset = parse_message_id(id).ok().and_then(|(_, offset)| u64::try_from(offset).ok());
        match offset.and_then(|offset| self.store.record_at(offset)) {
            Some(record) => relay::<ConsumeMessageDirectly>(consumer, header, Bytes::from_owner(record)),
            None => Reply::error(SYSTEM_ERROR, format!("can not find message {id}")).into(),
        }
    }
}

/// A consumer that a request is passed on to.
struct Consumer {
    channel: Arc<Channel>,
    /// `<group> <client>`, for remarks.
    name: String,
}

impl ClientAdmin {
    fn online(&self, group: &str, client_id: &str) -> Result<Consumer, Reply> {
        let refuse = |remark| Err(Reply::error(SYSTEM_ERROR, remark));
        let Some(client) = self.consumers.client(group, client_id) else {
            return refuse(format!("The Consumer <{group}> <{client_id}> not online"));
        };
        if client.version < version::V3_1_8_SNAPSHOT {
            let described = version::describe(client.version);
            return refuse(format!(
                "The Consumer <{client_id}> Version <{described}> too low to finish, please upgrade it to V3_1_8_SNAPSHOT"
            ));
        }
        Ok(Consumer { channel: client.channel, name: format!("<{group}> <{client_id}>") })
    }
}

/// Passes a request on to a client and its answer back.
fn relay<O: Operation>(consumer: Consumer, header: O::Request, body: Bytes) -> Outcome
where
    O::Request: Sync,
{
    Outcome::Later(Box::pin(async move {
        let Consumer { channel, name } = consumer;
        match channel.call::<O>(&header, body, RELAY_TIMEOUT).await {
            Ok(answer) => Reply {
                code: answer.code,
                remark: answer.remark.map(|remark| remark.to_string().into()),
                header: None,
                body: answer.body.into(),
            },
            Err(error @ CallError::Timeout { .. }) => {
                Reply::error(CONSUME_MSG_TIMEOUT, format!("consumer {name} Timeout: {error}"))
            }
            Err(error) => Reply::error(SYSTEM_ERROR, format!("invoke consumer {name} Exception: {error}")),
        }
    }))
}
