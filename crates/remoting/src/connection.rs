//! The task of one connection: read, split, dispatch all complete frames of a read, write all replies at once.

use crate::budget::{Budget, Charge, SMALL_FRAME};
use crate::channel::Channel;
use crate::clock;
use crate::outbound::Outbound;
use crate::routes::Routes;
use crate::stats::RemotingStats;
use bytes::BytesMut;
use codec::command::Command;
use codec::fields::FieldError;
use codec::frame::{self, FrameError};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

const MIN_READ: usize = 4 * 1024;
const MAX_READ: usize = 256 * 1024;
/// A peer that does not read its replies is not read from either.
const HIGH_WATER: usize = 4 * 1024 * 1024;
const MAX_UNANSWERED: usize = 32 * 1024;
const TLS_HANDSHAKE: u8 = 0x16;

/// What a connection needs of its server or client.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) routes: Arc<Routes>,
    pub(crate) stats: Arc<RemotingStats>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) max_frame_len: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) stop: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Header(#[from] FieldError),
    #[error("a TLS handshake, but TLS is not available on this port: set tls.enable=false in the client")]
    Tls,
    #[error("a PROXY protocol preface, which is not supported: turn it off in the load balancer")]
    ProxyProtocol,
}

/// Serves a connection until it closes. The channel is marked closed before this returns.
pub(crate) async fn run(mut stream: TcpStream, channel: Arc<Channel>, context: Context) {
    let mut connection = Connection {
        charge: Charge::new(context.budget.clone()),
        last_active: clock::instant(),
        buf: BytesMut::new(),
        read_len: MIN_READ,
        out: Outbound::default(),
        reserved: None,
        first_bytes: true,
        channel: &channel,
        context: &context,
    };
    if let Err(error) = connection.serve(&mut stream).await {
        tracing::debug!(peer = %channel.peer(), %error, "connection failed");
    }
    channel.mark_closed();
}

struct Connection<'a> {
    channel: &'a Arc<Channel>,
    context: &'a Context,
    buf: BytesMut,
    read_len: usize,
    out: Outbound,
    charge: Charge,
    reserved: Option<OwnedSemaphorePermit>,
    last_active: Instant,
    first_bytes: bool,
}

impl Connection<'_> {
    async fn serve(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let (mut reader, writer) = stream.split();
        let idle = tokio::time::sleep(self.context.idle_timeout);
        tokio::pin!(idle);
        let mut stopping = false;
        loop {
            self.channel.take_outbound(&mut self.out);
            self.flush(&writer)?;
            if self.out.is_empty() && (stopping || self.channel.is_closing()) {
                return Ok(());
            }
            let large = self.large_frame_due();
            let readable = large.is_none() && self.may_read();
            let starved = large.is_none() && self.buf.is_empty() && !self.context.budget.has_room();
            if readable {
                self.make_space();
            }
            tokio::select! {
                biased;
                () = self.channel.woken() => {}
                read = reader.read_buf(&mut self.buf), if readable => {
                    let len = read?;
                    if len == 0 || !self.dispatch(len) {
                        // What was answered before the peer stopped sending, or before the bad frame, is still written.
                        self.channel.take_outbound(&mut self.out);
                        self.flush(&writer)?;
                        return Ok(());
                    }
                }
                written = writer.writable(), if !self.out.is_empty() => written?,
                permit = self.context.budget.reserve(large.unwrap_or(0)), if large.is_some() => {
                    self.buf.reserve(large.unwrap_or(0).saturating_sub(self.buf.len()));
                    self.reserved = permit;
                }
                () = self.context.budget.room(), if starved => {}
                () = &mut idle => {
                    let silent = clock::instant().duration_since(self.last_active);
                    if silent >= self.context.idle_timeout && self.channel.unanswered() == 0 {
                        RemotingStats::count(&self.context.stats.idle_closed);
                        return Ok(());
                    }
                    let rest = self.context.idle_timeout.saturating_sub(silent).max(Duration::from_secs(1));
                    idle.as_mut().reset((clock::instant() + rest).into());
                }
                () = self.context.stop.cancelled(), if !stopping => stopping = true,
            }
            self.charge.set(self.buf.capacity() + self.out.len());
        }
    }

    /// The length of the incomplete frame at the front, when it is large and its memory is not reserved yet.
    fn large_frame_due(&self) -> Option<usize> {
        let announced = frame::announced_len(&self.buf, self.context.max_frame_len).ok().flatten()?;
        (self.reserved.is_none() && announced > SMALL_FRAME && self.buf.len() < announced).then_some(announced)
    }

    fn may_read(&self) -> bool {
        self.out.len() < HIGH_WATER
            && self.channel.unanswered() < MAX_UNANSWERED
            && !self.channel.is_closing()
            && (!self.buf.is_empty() || self.charge.budget().has_room())
    }

    fn make_space(&mut self) {
        if self.buf.capacity() - self.buf.len() < MIN_READ {
            self.buf.reserve(self.read_len);
        }
    }

    /// Handles every complete frame in the buffer; false when the connection must be closed. A function of its own also when
    /// optimised: scripts/instructions counts what it costs.
    #[inline(never)]
    fn dispatch(&mut self, len: usize) -> bool {
        self.last_active = clock::instant();
        self.read_len = if self.buf.len() == self.buf.capacity() { self.read_len * 2 } else { len.next_power_of_two() }
            .clamp(MIN_READ, MAX_READ);
        match self.split_frames() {
            Ok(()) => true,
            Err(broken) => {
                RemotingStats::count(&self.context.stats.bad_frames);
                if let Some(suppressed) = self.context.stats.bad_frame_log.allow() {
                    let peer = self.channel.peer();
                    tracing::warn!(%peer, reason = %broken, suppressed, "bad frame, connection closed");
                }
                false
            }
        }
    }

    fn split_frames(&mut self) -> Result<(), Broken> {
        if std::mem::take(&mut self.first_bytes) {
            match self.buf.as_ref() {
                [TLS_HANDSHAKE, ..] => return Err(Broken::Tls),
                bytes if bytes.starts_with(b"PROXY ") || bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n") => {
                    return Err(Broken::ProxyProtocol);
                }
                _ => {}
            }
        }
        while let Some(at) = frame::layout(&self.buf, self.context.max_frame_len)? {
            let bytes = self.buf.split_to(at.total_len).freeze();
            let command = Command::decode(at.serialize_type, bytes.slice(at.header), bytes.slice(at.body))?;
            self.reserved = None;
            if command.is_response() {
                self.channel.complete(command);
            } else {
                self.context.routes.dispatch(command, self.channel, &mut self.out);
            }
        }
        Ok(())
    }

    fn flush(&mut self, writer: &WriteHalf<'_>) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.out.with_slices(|slices| writer.try_write_vectored(slices)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.out.advance(written),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
            self.last_active = clock::instant();
        }
        Ok(())
    }
}
