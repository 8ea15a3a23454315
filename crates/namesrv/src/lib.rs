//! The nameserver: route tables and the daemon mqnamesrv.
//!
//! Nameservers know nothing of each other: every broker registers with each of them. [`route_info`] holds the tables, pure;
//! [`route_info_manager`] adds lock, clock and connections; `routes` names the handler of every request.
#![forbid(unsafe_code)]

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use daemon::exit::{Exit, INITIALIZATION};
use daemon::memory::MemoryBudget;
use remoting::budget::Budget;
use remoting::routes::Lane;
use remoting::server::{Server, ServerConfig};
use tokio::task::JoinHandle;

mod clock;
pub mod config;
pub mod kv_config;
mod notify;
mod parts;
pub mod processor;
pub mod register_body;
pub mod route_info;
pub mod route_info_manager;
mod routes;

use config::{NamesrvConfiguration, NamesrvOptions};
use parts::Parts;
use route_info_manager::RouteInfoManager;

/// Threads that walk tables and write files at a time.
const POOL_THREADS: usize = 4;
/// Patience with connections at shutdown.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(3);

/// A nameserver that serves.
pub struct Namesrv {
    parts: Parts,
    server: Server,
    services: Vec<JoinHandle<()>>,
}

impl Namesrv {
    /// Opens the parts and listens. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// Exit -3 with what cannot be opened or bound, and the remedy.
    pub fn start(config: NamesrvConfiguration, memory: MemoryBudget, max_frame_len: usize) -> Result<Self, Exit> {
        let (parts, queue) = parts::open(config)?;
        let options = parts.config.options();
        let budget = Budget::new(usize::try_from(memory.bytes / 2).unwrap_or(usize::MAX), max_frame_len);
        let capacity = usize::try_from(options.namesrv.default_thread_pool_queue_capacity).unwrap_or(1).max(1);
        let pool = Lane::pool("namesrv", POOL_THREADS, capacity);
        let routes = Arc::new(routes::routes(&parts, &pool));
        let bind = bind_addr(&options)?;
        let server = Server::start(&server_config(&options, bind, max_frame_len), routes, budget, parts.routes.clone())
            .map_err(|error| cannot_listen(bind, &error))?;
        tracing::info!(addr = %server.local_addr(), memory_bytes = memory.bytes, memory_from = memory.source, "name server listens");
        let (config, notifier) = (parts.config.clone(), parts.notifier.clone());
        let rules = move || config.load().rules();
        let services = vec![
            tokio::spawn(RouteInfoManager::unregister_queued(
                Arc::downgrade(&parts.routes),
                queue,
                rules,
                move |change| {
                    notifier.notify(change);
                },
            )),
            tokio::spawn(scan_not_active_broker(parts.routes.clone(), parts.config.clone())),
        ];
        Ok(Self { parts, server, services })
    }

    /// Stops serving and closes all connections.
    pub async fn shutdown(self) {
        self.server.shutdown(SHUTDOWN_PATIENCE).await;
        for service in &self.services {
            service.abort();
        }
        self.parts.client.shutdown();
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The route tables.
    #[must_use]
    pub fn routes(&self) -> &Arc<RouteInfoManager> {
        &self.parts.routes
    }
}

/// The first scan comes after five seconds, as in Java, then one every `scanNotActiveBrokerInterval`.
async fn scan_not_active_broker(routes: Arc<RouteInfoManager>, config: Arc<NamesrvConfiguration>) {
    tokio::time::sleep(Duration::from_millis(5000).min(scan_interval(&config))).await;
    loop {
        routes.scan_not_active_broker();
        tokio::time::sleep(scan_interval(&config)).await;
    }
}

fn scan_interval(config: &NamesrvConfiguration) -> Duration {
    Duration::from_millis(u64::try_from(config.load().namesrv.scan_not_active_broker_interval).unwrap_or(5000).max(1))
}

fn bind_addr(options: &NamesrvOptions) -> Result<SocketAddr, Exit> {
    let host = options.server.bind_address.trim().trim_start_matches('[').trim_end_matches(']');
    let port = u16::try_from(options.server.listen_port).unwrap_or(0);
    let found = (host, port).to_socket_addrs().map(|mut addrs| addrs.next());
    match found {
        Ok(Some(addr)) => Ok(addr),
        Ok(None) => Err(Exit::new(INITIALIZATION, format!("bindAddress={host} has no address"))),
        Err(error) => Err(Exit::new(INITIALIZATION, format!("bindAddress={host} cannot be looked up: {error}"))),
    }
}

fn server_config(options: &NamesrvOptions, bind: SocketAddr, max_frame_len: usize) -> ServerConfig {
    let server = &options.server;
    let size = |value: i32| u32::try_from(value).unwrap_or(0);
    let idle = u64::try_from(server.server_channel_max_idle_time_seconds).unwrap_or(0);
    ServerConfig {
        max_frame_len,
        // 0 turns the check off in Java.
        idle_timeout: if idle == 0 { Duration::from_secs(u64::from(u32::MAX)) } else { Duration::from_secs(idle) },
        backlog: size(server.server_socket_backlog),
        send_buffer: size(server.server_socket_snd_buf_size),
        receive_buffer: size(server.server_socket_rcv_buf_size),
        ..ServerConfig::new(bind)
    }
}

fn cannot_listen(bind: SocketAddr, error: &std::io::Error) -> Exit {
    let remedy = match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "another process listens there (see: ss -ltnp 'sport = :{}'); stop it, or choose another port with --listenPort",
            bind.port()
        ),
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; choose another port".to_owned(),
        _ => "see bindAddress and listenPort".to_owned(),
    };
    Exit::new(INITIALIZATION, format!("cannot listen on {bind}: {error}: {remedy}"))
}
