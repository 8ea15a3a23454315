//! Assignment by the broker: codes 400 and 401. Source: broker/processor/QueryAssignmentProcessor.java,
//! broker/topic/TopicRouteInfoManager.java.

use crate::config::{BrokerOptions, MessageRequestMode};
use crate::config_manager::BrokerConfigManager;
use crate::consumer_manager::ConsumerManager;
use crate::pop::request_mode::RequestModeManager;
use crate::reply::{bad_body, forbidden, not_persisted};
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use bytes::Bytes;
use codec::fields::NoHeader;
use codec::json;
use foldhash::HashMap;
use parking_lot::Mutex;
use protocol::body::client::MessageModel;
use protocol::body::pop::{
    MessageQueueAssignment, QueryAssignmentRequestBody, QueryAssignmentResponseBody, RequestMode,
    SetMessageRequestModeRequestBody,
};
use protocol::body::route::TopicRouteData;
use protocol::body::{MessageQueue, encode};
use protocol::header::namesrv::GetRouteInfoRequestHeader;
use protocol::names::{LMQ_PREFIX, RETRY_PREFIX};
use protocol::operation::{GetAllMessageRequestMode, GetRouteInfoByTopic, QueryAssignment, SetMessageRequestMode};
use protocol::response_code::{SUBSCRIPTION_GROUP_NOT_EXIST, SUCCESS, TOPIC_NOT_EXIST};
use protocol::sys_flag::perm;
use remoting::client::Client;
use remoting::clock;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A route is asked for again when it is so old, ms: clients ask every 20 s, for each topic and group.
const ROUTE_AGE_MS: i64 = 10_000;
/// A nameserver may take so long.
const ROUTE_TIMEOUT: Duration = Duration::from_secs(3);
/// So many routes are kept.
const MAX_ROUTES: usize = 10_000;

/// Tells clients which queues are theirs.
pub struct QueryAssignmentProcessor {
    parts: Arc<AssignmentParts>,
}

/// What an assignment needs.
pub struct AssignmentParts {
    /// Topics.
    pub topics: Arc<TopicConfigManager>,
    /// Groups.
    pub groups: Arc<SubscriptionGroupManager>,
    /// Members of groups.
    pub consumers: Arc<ConsumerManager>,
    /// Pull or pop.
    pub modes: Arc<RequestModeManager>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
    /// Asks nameservers.
    pub client: Arc<Client>,
    /// Queues of topics on all brokers, with the time of asking, ms.
    pub routes: Routes,
}

/// Queues of topics on all brokers, with the time of asking, ms.
pub type Routes = Mutex<HashMap<String, (i64, Vec<MessageQueue>)>>;

impl QueryAssignmentProcessor {
    /// A handler over these parts.
    pub fn new(parts: AssignmentParts) -> QueryAssignmentProcessor {
        QueryAssignmentProcessor { parts: Arc::new(parts) }
    }
}

impl Processor<QueryAssignment> for QueryAssignmentProcessor {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        let body = match json::from_slice::<QueryAssignmentRequestBody>(&request.body) {
            Ok(body) => body,
            Err(error) => return bad_body(error).into(),
        };
        let parts = self.parts.clone();
        Outcome::Later(Box::pin(async move {
            let mode = parts.mode(&body.topic, &body.consumer_group);
            let queues = parts.share(&body, &mode).await;
            let name = if mode.mode == RequestMode::Pop { "POP" } else { "PULL" };
            let assignment =
                |message_queue: MessageQueue| MessageQueueAssignment { message_queue, mode: name.to_owned() };
            let assignments = queues.map(|queues| queues.into_iter().map(assignment).collect());
            Reply::body(encode(&QueryAssignmentResponseBody { message_queue_assignments: assignments }))
        }))
    }
}

impl Processor<GetAllMessageRequestMode> for QueryAssignmentProcessor {
    fn process(&self, _: Request<NoHeader>) -> Outcome {
        Reply::body(encode(&self.parts.modes.snapshot())).into()
    }
}

impl Processor<SetMessageRequestMode> for QueryAssignmentProcessor {
    fn process(&self, request: Request<NoHeader>) -> Outcome {
        let body = match json::from_slice::<SetMessageRequestModeRequestBody>(&request.body) {
            Ok(body) => body,
            Err(error) => return bad_body(error).into(),
        };
        let (topic, parts) = (&body.topic, &self.parts);
        if topic.starts_with(RETRY_PREFIX) {
            return forbidden("retry topic is not allowed to set mode").into();
        }
        if parts.topics.get(topic).is_none() {
            return Reply::error(TOPIC_NOT_EXIST, format!("topic[{topic}] not exist")).into();
        }
        if !parts.groups.contains(&body.consumer_group, parts.config.get().broker.auto_create_subscription_group) {
            return Reply::error(SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group does not exist").into();
        }
        match parts.modes.set(body) {
            Ok(()) => Reply::success().into(),
            Err(error) => not_persisted(error).into(),
        }
    }
}

impl AssignmentParts {
    fn mode(&self, topic: &str, group: &str) -> SetMessageRequestModeRequestBody {
        self.modes.get(topic, group).unwrap_or_else(|| {
            let broker = &self.config.get().broker;
            let pops =
                !topic.starts_with(RETRY_PREFIX) && broker.default_message_request_mode == MessageRequestMode::Pop;
            let (mode, share) = match pops {
                true => (RequestMode::Pop, broker.default_pop_share_queue_num),
                false => (RequestMode::Pull, 0),
            };
            SetMessageRequestModeRequestBody {
                consumer_group: group.to_owned(),
                mode,
                pop_share_queue_num: share,
                topic: topic.to_owned(),
            }
        })
    }

    /// The queues of a client; `None`: it keeps what it has.
    async fn share(
        &self,
        body: &QueryAssignmentRequestBody,
        mode: &SetMessageRequestModeRequestBody,
    ) -> Option<BTreeSet<MessageQueue>> {
        let (topic, group) = (&body.topic, &body.consumer_group);
        let cluster = body.message_model == MessageModel::Clustering;
        let queues = if cluster && topic.starts_with(LMQ_PREFIX) {
            let broker_name = self.config.get().broker.broker_name.clone();
            vec![MessageQueue { broker_name, queue_id: 0, topic: topic.clone() }]
        } else {
            self.queues(topic).await?
        };
        if !cluster || !self.config.get().broker.server_load_balancer_enable {
            return Some(queues.into_iter().collect());
        }
        let clients = self.consumers.client_ids(group);
        if clients.is_empty() {
            tracing::debug!(group, topic, "no assignment: the group has no members");
            return None;
        }
        assign(&body.strategy_name, &body.client_id, &queues, &clients, mode).map(|queues| queues.into_iter().collect())
    }

    /// The readable queues of a topic on all brokers, sorted. A nameserver that does not answer leaves what was known.
    async fn queues(&self, topic: &str) -> Option<Vec<MessageQueue>> {
        let known = self.routes.lock().get(topic).cloned();
        if let Some((asked_ms, queues)) = &known
            && clock::now_ms() - asked_ms < ROUTE_AGE_MS
        {
            return Some(queues.clone());
        }
        let namesrvs = BrokerOptions::namesrv_list(&self.config.get());
        for namesrv in namesrvs {
            let header = GetRouteInfoRequestHeader {
                topic: topic.into(),
                accept_standard_json_only: true,
                zone_mode: false,
                zone_name: None,
            };
            let answer = self.client.call::<GetRouteInfoByTopic>(&namesrv, &header, Bytes::new(), ROUTE_TIMEOUT).await;
            match answer {
                Ok(answer) if answer.code == SUCCESS => match json::from_slice::<TopicRouteData>(&answer.body) {
                    Ok(route) => return Some(self.remember(topic, &route)),
                    Err(error) => tracing::warn!(namesrv, topic, %error, "a route cannot be read"),
                },
                Ok(answer) if answer.code == TOPIC_NOT_EXIST => {
                    self.routes.lock().remove(topic);
                    return None;
                }
                Ok(answer) => tracing::warn!(namesrv, topic, code = answer.code, "a nameserver gives no route"),
                Err(error) => tracing::warn!(namesrv, topic, %error, "a nameserver gives no route"),
            }
        }
        known.map(|(_, queues)| queues)
    }

    fn remember(&self, topic: &str, route: &TopicRouteData) -> Vec<MessageQueue> {
        let mut queues = Vec::new();
        for data in route.queue_datas.iter().filter(|data| perm::is_readable(data.perm)) {
            let queue =
                |queue_id| MessageQueue { broker_name: data.broker_name.clone(), queue_id, topic: topic.to_owned() };
            queues.extend((0..data.read_queue_nums).map(queue));
        }
        queues.sort();
        let mut routes = self.routes.lock();
        if routes.len() >= MAX_ROUTES {
            routes.clear();
        }
        routes.insert(topic.to_owned(), (clock::now_ms(), queues.clone()));
        queues
    }
}

/// The queues of `client` among sorted `queues` and `clients`; `None` for a strategy that is not known, or without queues.
fn assign(
    strategy: &str,
    client: &str,
    queues: &[MessageQueue],
    clients: &[String],
    mode: &SetMessageRequestModeRequestBody,
) -> Option<Vec<MessageQueue>> {
    let allocate: fn(usize, usize, usize) -> Vec<usize> = match strategy {
        "AVG" => averagely,
        "AVG_BY_CIRCLE" => by_circle,
        _ => {
            tracing::warn!(strategy, client, "no assignment: unsupported strategy, AVG and AVG_BY_CIRCLE are known");
            return None;
        }
    };
    let index = clients.iter().position(|one| one == client);
    let of = |index: usize| -> Vec<MessageQueue> {
        allocate(index, queues.len(), clients.len()).into_iter().filter_map(|at| queues.get(at).cloned()).collect()
    };
    let share = usize::try_from(mode.pop_share_queue_num).unwrap_or(0);
    if mode.mode == RequestMode::Pop && (share == 0 || share >= clients.len() - 1) {
        // Everyone pops all queues: one entry per broker.
        return Some(queues.iter().map(|queue| MessageQueue { queue_id: -1, ..queue.clone() }).collect());
    }
    if queues.is_empty() {
        return None;
    }
    let Some(index) = index else { return Some(Vec::new()) };
    if mode.mode == RequestMode::Pull {
        return Some(of(index));
    }
    if clients.len() > queues.len() {
        return Some(queues.get(index % queues.len()).cloned().into_iter().collect());
    }
    Some((0..=share).flat_map(|step| of((index + step) % clients.len())).collect())
}

/// Indexes of the queues of member `index` of `clients`: as many for each, one behind the other.
fn averagely(index: usize, queues: usize, clients: usize) -> Vec<usize> {
    let (each, more) = (queues / clients, queues % clients);
    let first = index * each + index.min(more);
    (first..first + each + usize::from(index < more)).collect()
}

/// The same, in turn.
fn by_circle(index: usize, queues: usize, clients: usize) -> Vec<usize> {
    (index..queues).step_by(clients).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(strategy: &str, client: &str, (queues, clients): (i32, usize), pop: Option<i32>, expect: &[i32]) {
        let queue = |queue_id| MessageQueue { broker_name: "b".into(), queue_id, topic: "T".into() };
        let queues: Vec<_> = (0..queues).map(queue).collect();
        let clients: Vec<_> = (0..clients).map(|number| format!("c{number}")).collect();
        let mode = SetMessageRequestModeRequestBody {
            mode: if pop.is_some() { RequestMode::Pop } else { RequestMode::Pull },
            pop_share_queue_num: pop.unwrap_or(0),
            ..SetMessageRequestModeRequestBody::default()
        };
        let got = assign(strategy, client, &queues, &clients, &mode).unwrap();
        let ids: Vec<_> = got.iter().map(|queue| queue.queue_id).collect();
        assert_eq!(ids, expect, "{strategy} {client} {pop:?}");
    }

    #[test]
    fn queues_are_shared_out() {
        check("AVG", "c0", (8, 3), None, &[0, 1, 2]);
        check("AVG", "c2", (8, 3), None, &[6, 7]);
        check("AVG", "c3", (2, 4), None, &[]);
        check("AVG_BY_CIRCLE", "c1", (8, 3), None, &[1, 4, 7]);
        check("AVG", "stranger", (8, 3), None, &[]);
        // Pop: all, or one's own and those of neighbours, or one when there are more clients than queues.
        check("AVG", "c0", (2, 3), Some(-1), &[-1, -1]);
        check("AVG", "c0", (8, 4), Some(3), &[-1; 8]);
        check("AVG", "c3", (8, 4), Some(1), &[6, 7, 0, 1]);
        check("AVG", "c3", (2, 4), Some(1), &[1]);
        let mode = SetMessageRequestModeRequestBody::default();
        assert_eq!(assign("BY_ROOM", "c0", &[], &["c0".into()], &mode), None);
        assert_eq!(assign("AVG", "c0", &[], &["c0".into()], &mode), None);
    }
}
