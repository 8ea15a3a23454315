//! The message broker.
//!
//! Order of reading: [`routes`] is the table of what it answers, [`parts`] what it is made of, `processor` holds the
//! handlers, `services` what runs by itself. [`Broker::start`] puts them together.
#![forbid(unsafe_code)]

pub mod announcements;
pub mod boot;
pub mod broadcast_offset_manager;
pub mod broker_stats;
pub mod cold_data;
pub mod config;
pub mod config_manager;
pub mod consumer_manager;
pub mod consumer_offset_manager;
pub mod filter;
pub mod metadata;
pub mod parts;
pub mod pop;
pub mod processor;
pub mod producer_manager;
pub mod pull_request_hold;
pub mod rebalance_lock_manager;
pub mod reply;
pub mod routes;
pub mod schedule;
pub mod services;
pub mod static_topic;
pub mod subscription_group_manager;
pub mod timer;
pub mod topic_config_manager;
pub mod topic_queue_mapping_manager;
pub mod transaction;

use crate::config_manager::BrokerConfigManager;
use crate::parts::{Parts, PartsError};
use crate::routes::BrokerRoutes;
use crate::services::Services;
use crate::transaction::ops::OpStyle;
use codec::frame::SerializeType;
use remoting::client::{Client, ClientConfig};
use remoting::server::{Server, ServerConfig};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long connections may take to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);
/// The VIP port lies this far below the main port.
const VIP_DISTANCE: u16 = 2;

/// What a broker is started with.
pub struct BrokerStart {
    /// Settings, with file and command line applied and everything derived.
    pub config: BrokerConfigManager,
    /// Bound of the memory of connections, bytes.
    pub memory_bytes: usize,
    /// `com.rocketmq.remoting.frameMaxLength`, bytes.
    pub max_frame_len: usize,
    /// `rocketmq.broker.rebalance.lockMaxLiveTime`, ms.
    pub lock_max_live_ms: i64,
    /// Header serialisation of this broker's own requests.
    pub serialize_type: SerializeType,
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// State cannot be opened.
    #[error("{0}")]
    Parts(#[from] PartsError),
    /// A port cannot be listened on.
    #[error("cannot listen on {addr} ({what}): {source}; stop whoever uses it (see: ss -ltnp), or set {key}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Which port it is.
        what: &'static str,
        /// What the system said.
        source: io::Error,
        /// The setting that changes it.
        key: &'static str,
    },
    /// `bindAddress` is none.
    #[error("bindAddress={0} is not an address; set it to 0.0.0.0 or one address of this machine")]
    BindAddress(String),
}

/// A running broker.
pub struct Broker {
    parts: Parts,
    services: Services,
    servers: Vec<Server>,
    client: Arc<Client>,
}

impl Broker {
    /// Opens, listens, registers. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(start: BrokerStart) -> Result<Broker, StartError> {
        let parts = Parts::open(start.config, start.memory_bytes, start.max_frame_len, start.lock_max_live_ms)?;
        let client_config = ClientConfig {
            serialize_type: start.serialize_type,
            max_frame_len: start.max_frame_len,
            ..ClientConfig::default()
        };
        let client = Arc::new(Client::new(client_config, Arc::default(), Arc::new(())));
        let routes = BrokerRoutes::new(&parts, &client);
        let servers = match listen(&parts, &routes, start.max_frame_len) {
            Ok(servers) => servers,
            Err(error) => {
                parts.timer.shutdown();
                parts.store.shutdown();
                return Err(error);
            }
        };
        let services = Services::start(&parts, &routes.clients, client.clone());
        services.first_registration().await;
        Ok(Broker { parts, services, servers, client })
    }

    /// Its state, for tests and for a process that runs more than a broker.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Unregisters, closes connections, stops services, writes metadata, closes the store.
    pub async fn shutdown(self) {
        let Broker { parts, services, servers, client } = self;
        services.shutdown().await;
        parts.hold.shutdown();
        parts.pop.arrivals.pops.shutdown();
        parts.pop.arrivals.notifications.shutdown();
        for server in &servers {
            server.shutdown(CLOSE_PATIENCE).await;
        }
        client.shutdown();
        // What the last requests decided and committed.
        let style = OpStyle::of(&parts.config.get(), parts.store_host);
        if let Err(error) = parts.transactions.ops.flush(&parts.store, style, remoting::clock::now_ms()) {
            tracing::warn!(%error, "decisions over half messages not written: producers will be asked again");
        }
        parts.offsets.persist();
        let (timer, store) = (parts.timer.clone(), parts.store.clone());
        let closed = move || {
            timer.shutdown();
            store.shutdown();
        };
        if tokio::task::spawn_blocking(closed).await.is_err() {
            tracing::error!("closing the store failed inside the broker");
        }
    }
}

fn listen(parts: &Parts, routes: &BrokerRoutes, max_frame_len: usize) -> Result<Vec<Server>, StartError> {
    let options = parts.config.get();
    let ip = options
        .server
        .bind_address
        .parse()
        .map_err(|_| StartError::BindAddress(options.server.bind_address.clone()))?;
    let port = u16::try_from(options.server.listen_port).unwrap_or(0);
    // 0 turns the check off in Java.
    let seconds = |value: i32| match u64::try_from(value) {
        Ok(0) => Duration::from_secs(u32::MAX.into()),
        seconds => Duration::from_secs(seconds.unwrap_or(120)),
    };
    let config = |port: u16| ServerConfig {
        max_frame_len,
        idle_timeout: seconds(options.server.server_channel_max_idle_time_seconds),
        backlog: u32::try_from(options.server.server_socket_backlog).unwrap_or(1024),
        send_buffer: u32::try_from(options.server.server_socket_snd_buf_size).unwrap_or(0),
        receive_buffer: u32::try_from(options.server.server_socket_rcv_buf_size).unwrap_or(0),
        ..ServerConfig::new(SocketAddr::new(ip, port))
    };
    let start = |port: u16, what, table: &Arc<remoting::routes::Routes>| {
        let config = config(port);
        Server::start(&config, table.clone(), parts.budget.clone(), routes.clients.clone())
            .map_err(|source| StartError::Listen { addr: config.bind, what, source, key: "listenPort" })
    };
    let mut servers = vec![start(port, "the broker's port", &routes.main)?];
    match port.checked_sub(VIP_DISTANCE).filter(|vip| *vip > 0) {
        Some(vip) => servers.push(start(vip, "the VIP port, listenPort - 2", &routes.vip)?),
        None => tracing::warn!(port, "no VIP port below this listenPort"),
    }
    Ok(servers)
}
