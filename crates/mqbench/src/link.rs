//! One connection: a task that writes requests as a [`Script`] asks for them and hands it the answers.
//!
//! Everything that may go is written with one call, everything that came is read with one, so that the generator costs
//! less than any server. The task is polled by hand: no channel, no second task, no timer stands between socket and script.

use crate::error::BenchError;
use crate::wire::Input;
use bytes::Bytes;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::net::TcpStream;

/// A read asks for at least so many bytes.
const READ_LEN: usize = 64 * 1024;
/// Slices of one vectored write; two a frame.
const SLICES: usize = 64;
/// Rounds of one poll before other connections get their turn.
const ROUNDS: usize = 8;

/// What a connection does.
pub trait Script {
    /// Appends the requests that may go now. Registers the task's waker where it must be called again before an answer
    /// comes.
    ///
    /// # Errors
    /// Ends the run.
    fn fill(&mut self, out: &mut Outgoing, cx: &mut Context<'_>) -> Result<(), BenchError>;

    /// Looks at the answers that came.
    ///
    /// # Errors
    /// Ends the run.
    fn receive(&mut self, input: &mut Input) -> Result<(), BenchError>;

    /// True when nothing more is to be sent or received.
    fn is_done(&self) -> bool;

    /// True when [`Script::fill`] left off although it could go on.
    fn has_more(&self) -> bool {
        false
    }
}

/// Frames on their way out: their beginnings, one behind the other, and an end that all of them share and that is
/// not copied.
#[derive(Debug, Default)]
pub struct Outgoing {
    heads: Vec<u8>,
    /// Lengths of the beginnings; only kept when there is a shared end.
    lens: VecDeque<usize>,
    tail: Bytes,
    /// Bytes of `heads` that belong to frames that are written.
    done: usize,
    /// Bytes of the first frame that are written.
    written: usize,
}

impl Outgoing {
    /// Frames that end in `tail`.
    #[must_use]
    pub fn new(tail: Bytes) -> Outgoing {
        Outgoing { tail, ..Outgoing::default() }
    }

    /// Appends a frame's beginning.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let from = self.heads.len();
        write(&mut self.heads);
        if !self.tail.is_empty() {
            self.lens.push_back(self.heads.len() - from);
        }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len() - self.done + self.lens.len() * self.tail.len() - self.written
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first bytes that wait, in up to [`SLICES`] parts; returns how many.
    fn slices<'a>(&'a self, parts: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut heads = self.heads.get(self.done..).unwrap_or_default();
        if self.tail.is_empty() {
            parts[0] = IoSlice::new(heads.get(self.written..).unwrap_or_default());
            return 1;
        }
        let (mut count, mut skip) = (0, self.written);
        for len in self.lens.iter().take(SLICES / 2) {
            let (head, rest) = heads.split_at_checked(*len).unwrap_or((heads, &[]));
            heads = rest;
            for part in [head, &self.tail[..]] {
                let unwritten = part.get(skip..).unwrap_or_default();
                skip = skip.saturating_sub(part.len());
                if !unwritten.is_empty() {
                    parts[count] = IoSlice::new(unwritten);
                    count += 1;
                }
            }
        }
        count
    }

    /// `count` more bytes are written.
    fn advance(&mut self, count: usize) {
        self.written += count;
        while let Some(len) = self.lens.front().filter(|len| self.written >= **len + self.tail.len()) {
            self.written -= len + self.tail.len();
            self.done += len;
            self.lens.pop_front();
        }
        if self.is_empty() {
            self.heads.clear();
            (self.done, self.written) = (0, 0);
        } else if self.done > READ_LEN {
            self.heads.drain(..self.done);
            self.done = 0;
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    peer: String,
    input: Input,
    out: Outgoing,
}

impl Link {
    /// Connects to `addr`; all frames will end in `tail`.
    ///
    /// # Errors
    /// [`BenchError::Server`] naming the address and what to look at.
    pub async fn connect(addr: &str, tail: Bytes, timeout: Duration) -> Result<Link, BenchError> {
        let failed = |reason: String| {
            BenchError::Server(format!(
                "cannot connect to {addr}: {reason}; is the server there, and is this its port?"
            ))
        };
        let stream = tokio::time::timeout(timeout, TcpStream::connect(addr))
            .await
            .map_err(|_| failed(format!("no connection within {} ms", timeout.as_millis())))?
            .map_err(|error| failed(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        Ok(Link { stream, peer: addr.to_owned(), input: Input::new(addr), out: Outgoing::new(tail) })
    }

    /// Whether the server runs on this machine: both ends of the connection then have one address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!((self.stream.local_addr(), self.stream.peer_addr()), (Ok(own), Ok(peer)) if own.ip() == peer.ip())
    }

    /// Address of the server.
    #[must_use]
    pub fn peer_addr(&self) -> Option<std::net::SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// Runs `script` to its end. Connection and script are given back, since closing a connection is up to the caller.
    ///
    /// # Errors
    /// What the script finds, and [`BenchError::Server`] when the connection breaks.
    pub async fn drive<S: Script>(mut self, mut script: S) -> Result<(Link, S), BenchError> {
        poll_fn(|cx| self.poll(cx, &mut script)).await?;
        Ok((self, script))
    }

    fn poll(&mut self, cx: &mut Context<'_>, script: &mut impl Script) -> Poll<Result<(), BenchError>> {
        for _ in 0..ROUNDS {
            script.fill(&mut self.out, cx)?;
            self.write(cx)?;
            if self.out.is_empty() && script.is_done() {
                return Poll::Ready(Ok(()));
            }
            if self.read(cx)?.is_pending() {
                if self.out.is_empty() && script.has_more() {
                    break;
                }
                return Poll::Pending;
            }
            script.receive(&mut self.input)?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), BenchError> {
        while !self.out.is_empty() {
            let mut parts = [IoSlice::new(&[]); SLICES];
            let count = self.out.slices(&mut parts);
            let parts = parts.get(..count).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write_vectored(cx, parts) {
                Poll::Ready(Ok(written)) => self.out.advance(written),
                Poll::Ready(Err(error)) => return Err(self.broken(&error.to_string())),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, BenchError> {
        let buffer = &mut self.input;
        let want = buffer.missing().max(READ_LEN / 2);
        if buffer.buffer.capacity() - buffer.buffer.len() < want {
            buffer.buffer.reserve(want.max(READ_LEN));
        }
        // The future of one read keeps nothing when it is dropped.
        match pin!(self.stream.read_buf(&mut buffer.buffer)).poll(cx) {
            Poll::Ready(Ok(0)) => Err(self.broken("the server closed it")),
            Poll::Ready(Ok(_)) => Ok(Poll::Ready(())),
            Poll::Ready(Err(error)) => Err(self.broken(&error.to_string())),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn broken(&self, reason: &str) -> BenchError {
        BenchError::Server(format!("connection to {} broke during the run: {reason}", self.peer))
    }
}

/// Everything that waits, for tests of what is sent.
#[cfg(test)]
pub(crate) fn bytes_of(out: &mut Outgoing) -> Vec<u8> {
    let mut all = Vec::new();
    while !out.is_empty() {
        let mut parts = [IoSlice::new(&[]); SLICES];
        let count = out.slices(&mut parts);
        let bytes: Vec<u8> = parts[..count].iter().flat_map(|part| part.iter().copied()).collect();
        out.advance(bytes.len());
        all.extend(bytes);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes everything in pieces of `piece` bytes and returns what came out.
    fn drain(out: &mut Outgoing, piece: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !out.is_empty() {
            let mut parts = [IoSlice::new(&[]); SLICES];
            let count = out.slices(&mut parts);
            let bytes: Vec<u8> = parts[..count].iter().flat_map(|part| part.iter().copied()).collect();
            let taken = piece.min(bytes.len());
            all.extend_from_slice(&bytes[..taken]);
            out.advance(taken);
        }
        all
    }

    #[test]
    fn frames_come_out_whole_whatever_a_write_takes() {
        for tail in [&b""[..], b"-the-end;"] {
            for piece in [1, 2, 5, 7, 1000] {
                let mut out = Outgoing::new(Bytes::copy_from_slice(tail));
                let mut expect = Vec::new();
                for round in 0..3 {
                    for number in 0..50 {
                        let head = format!("{round}.{number}");
                        out.push(|bytes| bytes.extend_from_slice(head.as_bytes()));
                        expect.extend_from_slice(head.as_bytes());
                        expect.extend_from_slice(tail);
                    }
                    assert_eq!(out.len(), expect.len());
                    let got = drain(&mut out, piece);
                    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&expect));
                    expect.clear();
                }
            }
        }
    }

    #[test]
    fn what_is_written_makes_room() {
        let mut out = Outgoing::new(Bytes::from_static(b"t"));
        for _ in 0..40 {
            out.push(|bytes| bytes.resize(bytes.len() + 5000, b'h'));
            out.advance(4000);
            assert!(out.heads.len() <= 3 * READ_LEN, "{}", out.heads.len());
        }
        assert_eq!(out.len(), 40 * 1001);
    }
}
