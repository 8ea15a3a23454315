//! Listening.

use crate::budget::Budget;
use crate::channel::Channel;
use crate::connection::{self, Context};
use crate::routes::Routes;
use crate::stats::{LogLimit, RemotingStats};
use codec::frame::{DEFAULT_MAX_FRAME_LEN, SerializeType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How a server listens.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address and port; port 0 takes a free one.
    pub bind: SocketAddr,
    /// `com.rocketmq.remoting.frameMaxLength`, bytes.
    pub max_frame_len: usize,
    /// `serverChannelMaxIdleTimeSeconds`.
    pub idle_timeout: Duration,
    /// `serverSocketBacklog`.
    pub backlog: u32,
    /// `serverSocketSndBufSize`, bytes, 0 leaves it to the system.
    pub send_buffer: u32,
    /// `serverSocketRcvBufSize`, bytes, 0 leaves it to the system.
    pub receive_buffer: u32,
}

impl ServerConfig {
    /// Java's defaults.
    pub fn new(bind: SocketAddr) -> ServerConfig {
        ServerConfig {
            bind,
            max_frame_len: DEFAULT_MAX_FRAME_LEN,
            idle_timeout: Duration::from_secs(120),
            backlog: 1024,
            send_buffer: 0,
            receive_buffer: 0,
        }
    }
}

/// Is told of connections that closed.
pub trait ChannelListener: Send + Sync + 'static {
    /// The socket is gone; called once per connection.
    fn closed(&self, channel: &Arc<Channel>);
}

/// For servers that keep nothing per connection.
impl ChannelListener for () {
    fn closed(&self, _: &Arc<Channel>) {}
}

/// A listening socket and its connections.
#[derive(Debug)]
pub struct Server {
    local: SocketAddr,
    stats: Arc<RemotingStats>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Binds and starts to accept; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the system says of the address, for example that it is in use.
    pub fn start(
        config: &ServerConfig,
        routes: Arc<Routes>,
        budget: Arc<Budget>,
        listener: Arc<dyn ChannelListener>,
    ) -> io::Result<Server> {
        let socket = listen(config)?;
        let stats = Arc::<RemotingStats>::default();
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let local = SocketAddr::new(config.bind.ip(), socket.local_addr()?.port());
        let context = Context {
            routes,
            stats: stats.clone(),
            budget,
            max_frame_len: config.max_frame_len,
            idle_timeout: config.idle_timeout,
            stop: stop.clone(),
        };
        tasks.spawn(accept(socket, context, listener, tasks.clone()));
        Ok(Server { local, stats, stop, tasks })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Its counters.
    pub fn stats(&self) -> &Arc<RemotingStats> {
        &self.stats
    }

    /// Stops accepting, writes what is queued, closes all connections; waits at most `patience`.
    pub async fn shutdown(&self, patience: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!(addr = %self.local, open = self.tasks.len(), "connections still open at shutdown");
        }
    }
}

/// Listens on `config.bind`. As in Java, 0.0.0.0 is every address of the machine, those of IPv6 too, where it has any.
fn listen(config: &ServerConfig) -> io::Result<TcpListener> {
    if config.bind.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        match listen_on(config, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), config.bind.port())) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {}
            other => return other,
        }
    }
    listen_on(config, config.bind)
}

fn listen_on(config: &ServerConfig, bind: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(bind);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM.nonblocking(), Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if bind != config.bind {
        socket.set_only_v6(false)?;
    }
    if config.send_buffer > 0 {
        socket.set_send_buffer_size(config.send_buffer as usize)?;
    }
    if config.receive_buffer > 0 {
        socket.set_recv_buffer_size(config.receive_buffer as usize)?;
    }
    socket.bind(&bind.into())?;
    socket.listen(i32::try_from(config.backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

async fn accept(socket: TcpListener, context: Context, listener: Arc<dyn ChannelListener>, tasks: TaskTracker) {
    let refused = LogLimit::default();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = context.stop.cancelled() => return,
        };
        match accepted.and_then(|(stream, peer)| {
            stream.set_nodelay(true)?;
            // Of a socket for both kinds, IPv4 addresses come in the form of IPv6.
            let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
            let local = canonical(stream.local_addr()?);
            Ok((stream, canonical(peer), local))
        }) {
            Ok((stream, peer, local)) => {
                RemotingStats::count(&context.stats.accepted);
                let channel = Channel::new(peer, local, SerializeType::Json, context.stats.clone());
                let (context, listener) = (context.clone(), listener.clone());
                tasks.spawn(async move {
                    connection::run(stream, channel.clone(), context).await;
                    listener.closed(&channel);
                });
            }
            Err(error) => {
                if refused.allow().is_some() {
                    tracing::warn!(%error, "cannot accept a connection; if descriptors ran out, raise `ulimit -n`");
                }
                // Without descriptors accept fails at once, again and again.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
