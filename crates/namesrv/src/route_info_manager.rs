//! The route tables behind a lock, with their clock, the connections of brokers, and encoded routes kept for the next
//! client that asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use codec::json::Dialect;
use foldhash::{HashMap, HashMapExt};
use parking_lot::{Mutex, RwLock};
use protocol::body::route::TopicRouteData;
use remoting::channel::Channel;
use remoting::server::ChannelListener;
use tokio::sync::mpsc;

use crate::clock::now_ms;
use crate::route_info::{
    MinBrokerIdChange, NoRoute, NotRegistered, Registered, Registration, RouteInfo, Rules, Unregistration,
};

/// Encoded routes are kept up to this many bytes; what does not fit is encoded anew for every request.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// What an entry costs besides its texts.
const ENTRY_BYTES: usize = 96;

/// The route tables of this nameserver.
#[derive(Debug)]
pub struct RouteInfoManager {
    table: RwLock<RouteInfo>,
    /// Grows after every change of the tables and of what else goes into routes.
    version: AtomicU64,
    cache: RwLock<Cache>,
    /// Connections by which brokers registered, to close them when the broker is silent too long.
    channels: Mutex<HashMap<u64, Arc<Channel>>>,
    unregistrations: mpsc::Sender<Unregistration>,
}

#[derive(Debug, Default)]
struct Cache {
    version: u64,
    bytes: usize,
    fastjson: HashMap<String, Bytes>,
    standard: HashMap<String, Bytes>,
}

impl RouteInfoManager {
    /// Empty tables, and the queue of unregistrations (at most `capacity`), which [`RouteInfoManager::unregister_queued`]
    /// works off.
    pub fn new(capacity: usize) -> (Arc<Self>, mpsc::Receiver<Unregistration>) {
        let (unregistrations, queue) = mpsc::channel(capacity.max(1));
        let manager = Self {
            table: RwLock::new(RouteInfo::new()),
            version: AtomicU64::new(0),
            cache: RwLock::default(),
            channels: Mutex::new(HashMap::new()),
            unregistrations,
        };
        (Arc::new(manager), queue)
    }

    /// Registers a broker that calls by `channel`.
    ///
    /// # Errors
    /// [`NotRegistered`].
    pub fn register(
        &self,
        mut broker: Registration,
        channel: &Arc<Channel>,
        rules: Rules,
    ) -> Result<Registered, NotRegistered> {
        broker.channel = channel.id();
        let (name, addr) = (broker.name.clone(), broker.addr.clone());
        self.channels.lock().insert(channel.id(), channel.clone());
        let registered = self.write(|table| table.register(broker, rules, now_ms()))?;
        if registered.is_new {
            tracing::info!(broker = name, addr, "new broker registered");
        }
        if registered.generation.is_none() {
            tracing::warn!(broker = name, addr, "registration ignored: another one has a higher state version");
        }
        // It may have closed while its registration waited for a thread; then nobody else would undo it.
        if channel.is_closed() {
            self.closed(channel);
        }
        Ok(registered)
    }

    /// Changes the tables by anything else than registration.
    pub fn write<R>(&self, change: impl FnOnce(&mut RouteInfo) -> R) -> R {
        let mut table = self.table.write();
        let before = table.version();
        let result = change(&mut table);
        if table.version() != before {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        result
    }

    /// Asks the tables.
    pub fn read<R>(&self, ask: impl FnOnce(&RouteInfo) -> R) -> R {
        ask(&self.table.read())
    }

    /// Forgets encoded routes: something else that goes into them has changed.
    pub fn invalidate(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// The encoded route of a topic; `complete` adds what does not come from the tables.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub fn encoded_route(
        &self,
        topic: &str,
        dialect: Dialect,
        support_acting_master: bool,
        complete: impl FnOnce(&mut TopicRouteData),
    ) -> Result<Bytes, NoRoute> {
        if let Some(body) = self.cache.read().get(self.version.load(Ordering::Acquire), topic, dialect) {
            return Ok(body);
        }
        // The version is taken before what it stands for is read: a change in between makes the entry stale, not wrong.
        let version = self.version.load(Ordering::Acquire);
        let mut route = self.read(|table| table.route(topic, support_acting_master))?;
        complete(&mut route);
        let body = Bytes::from(encode(&route, dialect));
        self.cache.write().put(version, topic, dialect, &body);
        Ok(body)
    }

    /// The route of a topic, not encoded.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub fn route(&self, topic: &str, support_acting_master: bool) -> Result<TopicRouteData, NoRoute> {
        self.read(|table| table.route(topic, support_acting_master))
    }

    /// Queues an unregistration; false when too many wait (`unRegisterBrokerQueueCapacity`).
    pub fn submit(&self, gone: Unregistration) -> bool {
        let (name, addr) = (gone.name.clone(), gone.broker.addr.clone());
        let taken = self.unregistrations.try_send(gone).is_ok();
        if !taken {
            tracing::warn!(broker = name, addr, "unregistration refused: too many wait");
        }
        taken
    }

    /// Works off queued unregistrations until `self` is dropped, many at a time: each pass walks all topics. `rules` are asked
    /// anew for every pass, `notify` is called for every group whose smallest id changed.
    pub async fn unregister_queued(
        table: std::sync::Weak<Self>,
        mut queue: mpsc::Receiver<Unregistration>,
        rules: impl Fn() -> Rules,
        notify: impl Fn(MinBrokerIdChange),
    ) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, 4096).await > 0 {
            let Some(manager) = table.upgrade() else {
                return;
            };
            let changes = manager.write(|table| table.unregister(&batch, rules()));
            for gone in batch.drain(..) {
                tracing::info!(broker = gone.name, addr = gone.broker.addr, id = gone.id, "broker unregistered");
            }
            changes.into_iter().for_each(&notify);
        }
    }

    /// Unregisters brokers that were silent too long, and closes their connections.
    pub fn scan_not_active_broker(&self) {
        for expired in self.write(|table| table.expired(now_ms())) {
            let (addr, timeout_ms) = (expired.broker.addr, expired.timeout_ms);
            tracing::warn!(addr, timeout_ms, "broker was silent too long");
            if let Some(channel) = self.channels.lock().remove(&expired.channel) {
                channel.close();
            }
            if let Some(gone) = expired.unregistration {
                self.submit(gone);
            }
        }
    }
}

/// A closed connection unregisters the brokers whose newest registration came by it.
impl ChannelListener for RouteInfoManager {
    fn closed(&self, channel: &Arc<Channel>) {
        if self.channels.lock().remove(&channel.id()).is_some() {
            for gone in self.read(|table| table.brokers_of_channel(channel.id())) {
                self.submit(gone);
            }
        }
    }
}

impl Cache {
    fn get(&self, version: u64, topic: &str, dialect: Dialect) -> Option<Bytes> {
        let routes = match dialect {
            Dialect::Fastjson => &self.fastjson,
            Dialect::Standard => &self.standard,
        };
        routes.get(topic).filter(|_| self.version == version).cloned()
    }

    fn put(&mut self, version: u64, topic: &str, dialect: Dialect, body: &Bytes) {
        if version < self.version {
            return;
        }
        if version > self.version {
            *self = Cache { version, ..Cache::default() };
        }
        let bytes = topic.len() + body.len() + ENTRY_BYTES;
        if self.bytes + bytes <= CACHE_BYTES {
            self.bytes += bytes;
            let routes = match dialect {
                Dialect::Fastjson => &mut self.fastjson,
                Dialect::Standard => &mut self.standard,
            };
            routes.insert(topic.to_owned(), body.clone());
        }
    }
}

/// A route in one of the two dialects that clients read.
pub fn encode(route: &TopicRouteData, dialect: Dialect) -> Vec<u8> {
    codec::json::to_vec(route, dialect).expect("routes have string and integer keys only")
}
