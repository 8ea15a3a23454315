//! A connection as the rest of the process sees it: who is there, send it something, call it, close it.

use crate::outbound::Outbound;
use crate::reply::Body;
use crate::stats::RemotingStats;
use bytes::Bytes;
use codec::command::{Command, FLAG_ONEWAY, Preamble};
use codec::fields::{CommandHeader, FieldError};
use codec::frame::SerializeType;
use parking_lot::Mutex;
use protocol::operation::Operation;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

/// One-way requests are dropped towards a peer that lets this many bytes pile up.
const ONEWAY_LIMIT: usize = 1024 * 1024;
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Why a call to a peer has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection could be made.
    #[error("connect to {addr} failed: {reason}")]
    Connect {
        /// The address as given.
        addr: String,
        /// What the system said.
        reason: String,
    },
    /// The connection closed first.
    #[error("connection to {0} closed before it answered")]
    Closed(String),
    /// Time ran out.
    #[error("{addr} did not answer within {timeout_ms} ms")]
    Timeout {
        /// The address.
        addr: String,
        /// The limit.
        timeout_ms: u128,
    },
    /// The request does not fit in a frame.
    #[error("request cannot be encoded: {0}")]
    Encode(#[from] FieldError),
}

/// One connection, accepted or made by us. Cheap to share; outlives the socket.
#[derive(Debug)]
pub struct Channel {
    id: u64,
    peer: SocketAddr,
    local: SocketAddr,
    serialize_type: SerializeType,
    stats: Arc<RemotingStats>,
    outbound: Mutex<Outbound>,
    wake: Notify,
    calls: Mutex<HashMap<i32, oneshot::Sender<Command>>>,
    next_opaque: AtomicI32,
    unanswered: AtomicUsize,
    closing: AtomicBool,
    closed: AtomicBool,
    gone: CancellationToken,
}

impl Channel {
    pub(crate) fn new(
        peer: SocketAddr,
        local: SocketAddr,
        serialize_type: SerializeType,
        stats: Arc<RemotingStats>,
    ) -> Arc<Channel> {
        Arc::new(Channel {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            peer,
            local,
            serialize_type,
            stats,
            outbound: Mutex::default(),
            wake: Notify::new(),
            calls: Mutex::default(),
            next_opaque: AtomicI32::new(0),
            unanswered: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            gone: CancellationToken::new(),
        })
    }

    /// Unique in this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Address of the other side.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our own address of this connection.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Counters of the server or client it belongs to.
    pub fn stats(&self) -> &RemotingStats {
        &self.stats
    }

    /// True once the socket is gone.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits until the socket is gone.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Closes the connection once what is queued is written.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Sends a request that nobody answers. False when the connection is closed or its peer does not read.
    pub fn oneway<O: Operation>(&self, header: &O::Request, body: impl Into<Body>) -> bool {
        if self.is_closed() || self.outbound.lock().len() > ONEWAY_LIMIT {
            return false;
        }
        let opaque = self.next_opaque.fetch_add(1, Ordering::Relaxed);
        let mut sent = Ok(());
        self.push(|out| {
            let preamble = self.preamble(O::CODE, opaque, FLAG_ONEWAY);
            sent = out.push(&preamble, |w| header.encode(w), body.into());
        });
        sent.is_ok()
    }

    /// Sends a request and waits for its answer, whatever its code.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call<O: Operation>(
        &self,
        header: &O::Request,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Command, CallError> {
        let opaque = self.next_opaque.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.calls.lock().insert(opaque, sender);
        let _forget = Forget { channel: self, opaque };
        if self.is_closed() {
            return Err(CallError::Closed(self.peer.to_string()));
        }
        let mut sent = Ok(());
        self.push(|out| {
            sent = out.push(&self.preamble(O::CODE, opaque, 0), |w| header.encode(w), body.into());
        });
        sent?;
        match tokio::time::timeout(timeout, receiver).await {
            Ok(Ok(command)) => Ok(command),
            Ok(Err(_)) => Err(CallError::Closed(self.peer.to_string())),
            Err(_) => Err(CallError::Timeout { addr: self.peer.to_string(), timeout_ms: timeout.as_millis() }),
        }
    }

    fn preamble(&self, code: i32, opaque: i32, flag: i32) -> Preamble<'static> {
        let serialize_type = self.serialize_type;
        Preamble { code, version: protocol::CURRENT_VERSION, opaque, flag, remark: None, serialize_type }
    }

    /// Requests of this peer that wait for their answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_request(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end_request(&self) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
    }

    /// Queues bytes from any thread and wakes the connection's task.
    pub(crate) fn push(&self, write: impl FnOnce(&mut Outbound)) {
        if !self.is_closed() {
            write(&mut self.outbound.lock());
            self.wake.notify_one();
        }
    }

    pub(crate) fn take_outbound(&self, out: &mut Outbound) {
        let mut queued = self.outbound.lock();
        if !queued.is_empty() {
            out.append(&mut queued);
        }
    }

    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(crate) fn complete(&self, response: Command) {
        if let Some(waiting) = self.calls.lock().remove(&response.opaque) {
            let _ = waiting.send(response);
        }
    }

    pub(crate) fn mark_closed(&self) {
        self.closed.store(true, Ordering::Release);
        self.calls.lock().clear();
        *self.outbound.lock() = Outbound::default();
        self.gone.cancel();
    }
}

struct Forget<'a> {
    channel: &'a Channel,
    opaque: i32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.channel.calls.lock().remove(&self.opaque);
    }
}
