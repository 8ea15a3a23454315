//! Calling other servers: one connection per address, made when needed and made anew after it closed.

use crate::budget::Budget;
use crate::channel::{CallError, Channel};
use crate::connection::{self, Context};
use crate::routes::Routes;
use crate::server::ChannelListener;
use crate::stats::RemotingStats;
use bytes::Bytes;
use codec::command::Command;
use codec::frame::{DEFAULT_MAX_FRAME_LEN, SerializeType};
use protocol::operation::Operation;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// How calls are made.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Limit for making a connection.
    pub connect_timeout: Duration,
    /// Header serialisation of our requests.
    pub serialize_type: SerializeType,
    /// Largest frame accepted, bytes.
    pub max_frame_len: usize,
    /// Bytes that buffers may take together.
    pub budget: usize,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig {
            connect_timeout: Duration::from_secs(3),
            serialize_type: SerializeType::Json,
            max_frame_len: DEFAULT_MAX_FRAME_LEN,
            budget: 64 * 1024 * 1024,
        }
    }
}

/// The connection to one address; locked while it is being made, so that it is made once.
type Slot = Arc<Mutex<Option<Arc<Channel>>>>;

/// Connections to other servers by address (`host:port`; host names are looked up at every new connection).
pub struct Client {
    config: ClientConfig,
    context: Context,
    listener: Arc<dyn ChannelListener>,
    connections: Mutex<HashMap<String, Slot>>,
}

impl Client {
    /// A client; `routes` answers requests that servers send over our connections.
    pub fn new(config: ClientConfig, routes: Arc<Routes>, listener: Arc<dyn ChannelListener>) -> Client {
        let context = Context {
            routes,
            stats: Arc::<RemotingStats>::default(),
            budget: Budget::new(config.budget, config.max_frame_len),
            max_frame_len: config.max_frame_len,
            idle_timeout: Duration::from_secs(120),
            stop: CancellationToken::new(),
        };
        Client { config, context, listener, connections: Mutex::default() }
    }

    /// Calls the server at `addr` and waits for its answer, whatever its code.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call<O: Operation>(
        &self,
        addr: &str,
        header: &O::Request,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Command, CallError> {
        let deadline = crate::clock::instant() + timeout;
        let channel = self.channel(addr).await?;
        let rest = deadline.saturating_duration_since(crate::clock::instant());
        match channel.call::<O>(header, body, rest).await {
            Err(CallError::Timeout { .. }) => {
                Err(CallError::Timeout { addr: addr.to_owned(), timeout_ms: timeout.as_millis() })
            }
            other => other,
        }
    }

    /// Sends a request that nobody answers.
    ///
    /// # Errors
    /// [`CallError`] when no connection can be made.
    pub async fn oneway<O: Operation>(&self, addr: &str, header: &O::Request, body: Bytes) -> Result<(), CallError> {
        match self.channel(addr).await?.oneway::<O>(header, body) {
            true => Ok(()),
            false => Err(CallError::Closed(addr.to_owned())),
        }
    }

    /// The live connection to `addr`, made now if there is none.
    ///
    /// # Errors
    /// [`CallError::Connect`].
    pub async fn channel(&self, addr: &str) -> Result<Arc<Channel>, CallError> {
        let slot = self.connections.lock().await.entry(addr.to_owned()).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(channel) = slot.as_ref().filter(|channel| !channel.is_closed()) {
            return Ok(channel.clone());
        }
        let channel = self.connect(addr).await?;
        *slot = Some(channel.clone());
        Ok(channel)
    }

    async fn connect(&self, addr: &str) -> Result<Arc<Channel>, CallError> {
        let failed = |reason: String| CallError::Connect { addr: addr.to_owned(), reason };
        let stream = tokio::time::timeout(self.config.connect_timeout, TcpStream::connect(addr))
            .await
            .map_err(|_| failed(format!("no connection within {} ms", self.config.connect_timeout.as_millis())))?
            .map_err(|e| failed(e.to_string()))?;
        let (peer, local) = (|| {
            stream.set_nodelay(true)?;
            Ok((stream.peer_addr()?, stream.local_addr()?))
        })()
        .map_err(|e: std::io::Error| failed(e.to_string()))?;
        let channel = Channel::new(peer, local, self.config.serialize_type, self.context.stats.clone());
        let (task, context, listener) = (channel.clone(), self.context.clone(), self.listener.clone());
        tokio::spawn(async move {
            connection::run(stream, task.clone(), context).await;
            listener.closed(&task);
        });
        Ok(channel)
    }

    /// Closes the connection to `addr`, if there is one.
    pub async fn close(&self, addr: &str) {
        if let Some(slot) = self.connections.lock().await.remove(addr)
            && let Some(channel) = slot.lock().await.take()
        {
            channel.close();
        }
    }

    /// Closes all connections.
    pub fn shutdown(&self) {
        self.context.stop.cancel();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shutdown();
    }
}
