//! What producers, consumers and tools of one client share: its id, the route cache, heartbeats, and calls to servers.

use crate::broker_api::BrokerApi;
use crate::clock;
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::ids;
use crate::namesrv_api::Nameservers;
use crate::notices::Notices;
use crate::route::{MASTER_ID, PublishInfo, subscribe_queues};
use bytes::Bytes;
use codec::fields::NoHeader;
use parking_lot::Mutex;
use protocol::body::MessageQueue;
use protocol::body::client::{ConsumerData, HeartbeatData, ProducerData};
use protocol::body::route::{BrokerData, TopicRouteData};
use protocol::operation::HeartBeat;
use remoting::client::{Client, ClientConfig as RemotingConfig};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Routes are kept of so many topics at most.
const MAX_TOPICS: usize = 20_000;
/// The producer group that every Java client announces for what it sends by itself.
const INNER_PRODUCER_GROUP: &str = "CLIENT_INNER_PRODUCER";

/// A route with what was made of it.
#[derive(Debug)]
pub struct TopicRoute {
    /// As the nameserver gave it.
    pub data: TopicRouteData,
    /// Queues to send to.
    pub publish: PublishInfo,
    /// Queues to read, sorted.
    pub subscribe: Vec<MessageQueue>,
}

#[derive(Default)]
struct Tables {
    routes: HashMap<String, Arc<TopicRoute>>,
    /// Topics that are asked for again and again, whether they have a route yet or not.
    wanted: BTreeSet<String>,
    /// Addresses by broker name and id, from all routes.
    brokers: BTreeMap<String, BTreeMap<i64, String>>,
}

#[derive(Default)]
struct Members {
    producers: BTreeSet<String>,
    consumers: BTreeMap<String, ConsumerData>,
    /// By address: the fingerprint that a broker knows. See [`ClientConfig::heartbeat_v2`].
    fingerprints: HashMap<String, i32>,
}

/// One client as brokers see it. Each producer and consumer has its own, as in Java since 4.9.
pub struct ClientInstance {
    config: ClientConfig,
    client_id: String,
    remoting: Arc<Client>,
    nameservers: Nameservers,
    brokers: BrokerApi,
    tables: Mutex<Tables>,
    members: Mutex<Members>,
    heartbeat: tokio::sync::Mutex<()>,
    pub(crate) notices: Arc<Notices>,
    stop: CancellationToken,
}

impl ClientInstance {
    /// A client; refreshes its routes and sends heartbeats until [`ClientInstance::shutdown`] or until it is dropped.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ClientError::NoNameserver`].
    pub fn start(config: ClientConfig) -> Result<Arc<ClientInstance>, ClientError> {
        if config.namesrv_addrs.is_empty() {
            return Err(ClientError::NoNameserver);
        }
        let notices = Arc::<Notices>::default();
        let remoting_config = RemotingConfig { serialize_type: config.serialize_type, ..RemotingConfig::default() };
        let remoting = Arc::new(Client::new(remoting_config, Arc::new(Notices::routes(&notices)), Arc::new(())));
        let nameserver = config.namesrv_addrs.first().and_then(|addr| addr.parse().ok());
        let client_id = ids::client_id(ids::local_ip(nameserver), config.instance_name.as_deref());
        let instance = Arc::new(ClientInstance {
            nameservers: Nameservers::new(remoting.clone(), config.namesrv_addrs.clone(), config.api_timeout),
            brokers: BrokerApi::new(remoting.clone(), config.api_timeout),
            config,
            client_id,
            remoting,
            tables: Mutex::default(),
            members: Mutex::default(),
            heartbeat: tokio::sync::Mutex::default(),
            notices,
            stop: CancellationToken::new(),
        });
        let stop = instance.stop.clone();
        tokio::spawn(every(
            instance.config.poll_namesrv_interval,
            stop.clone(),
            Arc::downgrade(&instance),
            |instance| Box::pin(async move { instance.refresh_routes().await }),
        ));
        tokio::spawn(every(instance.config.heartbeat_interval, stop, Arc::downgrade(&instance), |instance| {
            Box::pin(async move { instance.send_heartbeats().await })
        }));
        Ok(instance)
    }

    /// The client id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Calls to nameservers.
    #[must_use]
    pub fn nameservers(&self) -> &Nameservers {
        &self.nameservers
    }

    /// Calls to brokers.
    #[must_use]
    pub fn brokers(&self) -> &BrokerApi {
        &self.brokers
    }

    /// True after [`ClientInstance::shutdown`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Stops the background work, takes leave of all brokers and closes the connections.
    pub async fn shutdown(&self) {
        if self.stop.is_cancelled() {
            return;
        }
        self.stop.cancel();
        let (producers, consumers) = {
            let mut members = self.members.lock();
            let members = std::mem::take(&mut *members);
            (members.producers, members.consumers)
        };
        for addr in self.all_broker_addrs() {
            for group in &producers {
                self.leave(&addr, Some(group), None).await;
            }
            for group in consumers.keys() {
                self.leave(&addr, None, Some(group)).await;
            }
        }
        self.remoting.shutdown();
    }

    async fn leave(&self, addr: &str, producer_group: Option<&str>, consumer_group: Option<&str>) {
        if let Err(error) = self.brokers.unregister(addr, &self.client_id, producer_group, consumer_group).await {
            tracing::debug!(addr, %error, "unregister failed; the broker notices by itself");
        }
    }

    /// Announces a producer group in heartbeats.
    pub(crate) fn register_producer(&self, group: &str) {
        let mut members = self.members.lock();
        members.producers.insert(group.to_owned());
        members.producers.insert(INNER_PRODUCER_GROUP.to_owned());
    }

    /// Announces a consumer group in heartbeats, or what it changed.
    pub(crate) fn register_consumer(&self, data: ConsumerData) {
        let mut members = self.members.lock();
        members.producers.insert(INNER_PRODUCER_GROUP.to_owned());
        members.consumers.insert(data.group_name.clone(), data);
    }

    /// The route of a topic: the cached one, else asked for now.
    ///
    /// # Errors
    /// [`ClientError::NoRoute`], and what a nameserver call may give.
    pub async fn route(&self, topic: &str) -> Result<Arc<TopicRoute>, ClientError> {
        if let Some(route) = self.cached_route(topic) {
            return Ok(route);
        }
        match self.update_route(topic).await? {
            Some(route) => Ok(route),
            None => Err(ClientError::NoRoute(topic.to_owned())),
        }
    }

    /// The cached route.
    #[must_use]
    pub fn cached_route(&self, topic: &str) -> Option<Arc<TopicRoute>> {
        self.tables.lock().routes.get(topic).cloned()
    }

    /// The route to send to: as [`ClientInstance::route`], and for a topic that does not exist yet that of
    /// `create_topic_key` with at most `queue_nums` queues a broker, since brokers make the topic at the first message.
    pub(crate) async fn publish_route(
        &self,
        topic: &str,
        create_topic_key: &str,
        queue_nums: i32,
    ) -> Result<Arc<TopicRoute>, ClientError> {
        if let Some(route) = self.cached_route(topic).filter(|route| !route.publish.queues.is_empty()) {
            return Ok(route);
        }
        if let Some(route) = self.update_route(topic).await? {
            return Ok(route);
        }
        let Some(mut data) = self.nameservers.route(create_topic_key).await? else {
            return Err(ClientError::NoRoute(topic.to_owned()));
        };
        for queue in &mut data.queue_datas {
            queue.read_queue_nums = queue.read_queue_nums.min(queue_nums);
            queue.write_queue_nums = queue.read_queue_nums;
        }
        self.store_route(topic, data)
    }

    /// Asks for the route now and caches it; a topic that is gone keeps its old route, as in Java.
    ///
    /// # Errors
    /// What a nameserver call may give.
    pub async fn update_route(&self, topic: &str) -> Result<Option<Arc<TopicRoute>>, ClientError> {
        match self.nameservers.route(topic).await? {
            Some(data) => self.store_route(topic, data).map(Some),
            None => Ok(None),
        }
    }

    /// Asks for the route of `topic` again and again even while it has none.
    pub(crate) fn want_topic(&self, topic: &str) {
        self.tables.lock().wanted.insert(topic.to_owned());
    }

    fn store_route(&self, topic: &str, data: TopicRouteData) -> Result<Arc<TopicRoute>, ClientError> {
        let mut tables = self.tables.lock();
        match tables.routes.get(topic) {
            Some(known) if known.data == data => return Ok(known.clone()),
            None if tables.routes.len() >= MAX_TOPICS => {
                return Err(ClientError::Invalid(format!("this client already uses {MAX_TOPICS} topics")));
            }
            _ => {}
        }
        let route = Arc::new(TopicRoute {
            publish: PublishInfo::new(topic, &data),
            subscribe: subscribe_queues(topic, &data),
            data,
        });
        tables.routes.insert(topic.to_owned(), route.clone());
        let mut brokers = BTreeMap::<String, BTreeMap<i64, String>>::new();
        for data in tables.routes.values().flat_map(|route| &route.data.broker_datas) {
            brokers.entry(data.broker_name.clone()).or_default().extend(data.broker_addrs.clone());
        }
        tables.brokers = brokers;
        drop(tables);
        self.notices.rebalance.notify_one();
        Ok(route)
    }

    async fn refresh_routes(&self) {
        let topics: BTreeSet<String> = {
            let tables = self.tables.lock();
            tables.routes.keys().chain(&tables.wanted).cloned().collect()
        };
        for topic in topics {
            if let Err(error) = self.update_route(&topic).await {
                tracing::warn!(topic, %error, "route not refreshed");
                return;
            }
        }
    }

    /// The address of a broker's master.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] when no cached route lists it.
    pub fn master_addr(&self, broker_name: &str) -> Result<String, ClientError> {
        let tables = self.tables.lock();
        let found = tables.brokers.get(broker_name).and_then(|addrs| addrs.get(&MASTER_ID));
        found.cloned().ok_or_else(|| ClientError::NoBroker(broker_name.to_owned()))
    }

    /// The address of the master of a queue's broker; the route is asked for when it is not known.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`], and what a nameserver call may give.
    pub async fn queue_master(&self, queue: &MessageQueue) -> Result<String, ClientError> {
        if let Ok(addr) = self.master_addr(&queue.broker_name) {
            return Ok(addr);
        }
        self.update_route(&queue.topic).await?;
        self.master_addr(&queue.broker_name)
    }

    /// The address to read from: of the replica with `broker_id`, else of any. The flag says whether it is a slave.
    pub(crate) async fn subscribe_addr(
        &self,
        queue: &MessageQueue,
        broker_id: i64,
    ) -> Result<(String, bool), ClientError> {
        let find = || {
            let tables = self.tables.lock();
            let addrs = tables.brokers.get(&queue.broker_name)?;
            let (id, addr) = addrs.get_key_value(&broker_id).or_else(|| addrs.first_key_value())?;
            Some((addr.clone(), *id != MASTER_ID))
        };
        if let Some(found) = find() {
            return Ok(found);
        }
        self.update_route(&queue.topic).await?;
        find().ok_or_else(|| ClientError::NoBroker(queue.broker_name.clone()))
    }

    /// An address of any broker that holds the topic: masters first.
    pub(crate) fn any_broker_of(&self, topic: &str) -> Option<String> {
        let route = self.cached_route(topic)?;
        let pick = |data: &BrokerData| data.broker_addrs.values().next().cloned();
        let turn = usize::try_from(clock::now_ms()).unwrap_or(0).checked_rem(route.data.broker_datas.len())?;
        route.data.broker_datas.iter().cycle().skip(turn).take(route.data.broker_datas.len()).find_map(pick)
    }

    fn all_broker_addrs(&self) -> Vec<String> {
        self.tables.lock().brokers.values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Tells all known brokers that this client lives and what it wants: masters only, unless there are consumers.
    pub async fn send_heartbeats(&self) {
        let _one_at_a_time = self.heartbeat.lock().await;
        let Some((full, short)) = self.heartbeat_data() else { return };
        let targets: Vec<String> = {
            let tables = self.tables.lock();
            let all = tables.brokers.values().flatten();
            let needed = all.filter(|(id, _)| **id == MASTER_ID || !full.consumer_data_set.is_empty());
            needed.map(|(_, addr)| addr.clone()).collect()
        };
        for addr in targets {
            self.send_heartbeat(&addr, &full, &short).await;
        }
    }

    async fn send_heartbeat(&self, addr: &str, full: &HeartbeatData, short: &HeartbeatData) {
        let known = self.members.lock().fingerprints.get(addr) == Some(&full.heartbeat_fingerprint);
        let data = if self.config.heartbeat_v2 && known { short } else { full };
        let body = Bytes::from(protocol::body::encode(data));
        match self.brokers.invoke::<HeartBeat>(addr, &NoHeader, body).await {
            Ok(answer) if self.config.heartbeat_v2 => {
                let says = |key| answer.fields.get(key).ok().flatten().is_some_and(|value| value == "true");
                let mut members = self.members.lock();
                if says("IS_SUPPORT_HEART_BEAT_V2") && !says("IS_SUB_CHANGE") {
                    members.fingerprints.insert(addr.to_owned(), full.heartbeat_fingerprint);
                } else {
                    members.fingerprints.remove(addr);
                }
            }
            Ok(_) => {}
            Err(error) => {
                self.members.lock().fingerprints.remove(addr);
                tracing::warn!(addr, %error, "heartbeat failed");
            }
        }
    }

    /// The heartbeat with subscriptions and, for brokers that know its fingerprint, without.
    fn heartbeat_data(&self) -> Option<(HeartbeatData, HeartbeatData)> {
        let members = self.members.lock();
        if members.producers.is_empty() && members.consumers.is_empty() {
            return None;
        }
        let mut full = HeartbeatData {
            client_id: self.client_id.clone(),
            consumer_data_set: members.consumers.values().cloned().collect(),
            producer_data_set: members
                .producers
                .iter()
                .map(|group| ProducerData { group_name: group.clone() })
                .collect(),
            ..HeartbeatData::default()
        };
        let mut short = full.clone();
        if self.config.heartbeat_v2 {
            // Brokers only compare fingerprints, so any hash of the content will do; versions are no content.
            let mut content = full.clone();
            for data in content.consumer_data_set.iter_mut().flat_map(|group| &mut group.subscription_data_set) {
                data.sub_version = 0;
            }
            let text = protocol::body::encode(&content);
            // 0 means a heartbeat of version 1.
            full.heartbeat_fingerprint = match codec::java_hash::string_hash(&String::from_utf8_lossy(&text)) {
                0 => 1,
                hash => hash,
            };
            short.heartbeat_fingerprint = full.heartbeat_fingerprint;
            short.without_sub = true;
            short.consumer_data_set.iter_mut().for_each(|group| group.subscription_data_set.clear());
        }
        Some((full, short))
    }
}

impl Drop for ClientInstance {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

type Work = fn(Arc<ClientInstance>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn every(interval: Duration, stop: CancellationToken, instance: Weak<ClientInstance>, work: Work) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let Some(instance) = instance.upgrade() else { return };
        tokio::select! {
            () = stop.cancelled() => return,
            () = work(instance) => {}
        }
    }
}
