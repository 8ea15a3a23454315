//! What a handler gets and what it gives back.

use crate::channel::Channel;
use crate::outbound::Outbound;
use crate::stats::RemotingStats;
use bytes::Bytes;
use codec::command::{Command, FLAG_RESPONSE, Language, Preamble};
use codec::fields::{CommandHeader, Fields, NoHeader};
use codec::frame::SerializeType;
use protocol::response_code;
use std::borrow::Cow;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

/// A request with its header decoded.
#[derive(Debug)]
pub struct Request<H> {
    /// The typed header.
    pub header: H,
    /// The body; empty when there is none.
    pub body: Bytes,
    /// All fields of the header, for the few that no typed header has.
    pub fields: Fields,
    /// Request code.
    pub code: i32,
    /// Release ordinal of the sender.
    pub version: i32,
    /// Language of the sender.
    pub language: Language,
    /// The connection it came by.
    pub channel: Arc<Channel>,
    pub(crate) to: ReplyTo,
}

/// What an answer must know of its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyTo {
    pub(crate) opaque: i32,
    pub(crate) serialize_type: SerializeType,
    pub(crate) oneway: bool,
}

impl ReplyTo {
    pub(crate) fn of(command: &Command) -> ReplyTo {
        ReplyTo { opaque: command.opaque, serialize_type: command.serialize_type, oneway: command.is_oneway() }
    }
}

impl<H> Request<H> {
    pub(crate) fn new(header: H, command: Command, to: ReplyTo, channel: &Arc<Channel>) -> Request<H> {
        let Command { body, fields, code, version, language, .. } = command;
        Request { header, body, fields, code, version, language, channel: Arc::clone(channel), to }
    }

    /// The same request with another form of its header.
    pub fn map<T>(self, change: impl FnOnce(H) -> T) -> Request<T> {
        let Request { header, body, fields, code, version, language, channel, to } = self;
        Request { header: change(header), body, fields, code, version, language, channel, to }
    }

    /// Whether nobody waits for an answer.
    pub fn is_oneway(&self) -> bool {
        self.to.oneway
    }

    /// The duty to answer this request later, for [`Outcome::Parked`].
    pub fn slot<R>(&self) -> ReplySlot<R> {
        ReplySlot::new(&self.channel, self.to)
    }
}

/// The body of an answer.
#[derive(Debug, Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// One piece.
    One(Bytes),
    /// Several pieces, sent back to back.
    Many(Vec<Bytes>),
}

impl Body {
    /// Length of all pieces, in bytes.
    pub fn len(&self) -> usize {
        match self {
            Body::Empty => 0,
            Body::One(part) => part.len(),
            Body::Many(parts) => parts.iter().map(Bytes::len).sum(),
        }
    }

    /// True without bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn for_each(self, mut each: impl FnMut(Bytes)) {
        match self {
            Body::Empty => {}
            Body::One(part) => each(part),
            Body::Many(parts) => parts.into_iter().for_each(each),
        }
    }
}

impl From<Bytes> for Body {
    fn from(part: Bytes) -> Body {
        Body::One(part)
    }
}

impl From<Vec<u8>> for Body {
    fn from(part: Vec<u8>) -> Body {
        Body::One(part.into())
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply<R = NoHeader> {
    /// Response code.
    pub code: i32,
    /// Error text or status name.
    pub remark: Option<Cow<'static, str>>,
    /// Custom header.
    pub header: Option<R>,
    /// Body.
    pub body: Body,
}

impl<R> Reply<R> {
    /// Success without header.
    pub fn success() -> Reply<R> {
        Reply { code: response_code::SUCCESS, remark: None, header: None, body: Body::Empty }
    }

    /// Success with a header.
    pub fn ok(header: R) -> Reply<R> {
        Reply { header: Some(header), ..Reply::success() }
    }

    /// Success with a body only.
    pub fn body(body: impl Into<Body>) -> Reply<R> {
        Reply { body: body.into(), ..Reply::success() }
    }

    /// A refusal.
    pub fn error(code: i32, remark: impl Into<Cow<'static, str>>) -> Reply<R> {
        Reply { code, remark: Some(remark.into()), header: None, body: Body::Empty }
    }

    /// The same with a remark.
    #[must_use]
    pub fn with_remark(self, remark: impl Into<Cow<'static, str>>) -> Reply<R> {
        Reply { remark: Some(remark.into()), ..self }
    }

    /// The same with a body.
    #[must_use]
    pub fn with_body(self, body: impl Into<Body>) -> Reply<R> {
        Reply { body: body.into(), ..self }
    }
}

/// What became of a request.
pub enum Outcome<R = NoHeader> {
    /// Answered.
    Reply(Reply<R>),
    /// Will be answered when a flush, a replica or a peer is done.
    Later(Pin<Box<dyn Future<Output = Reply<R>> + Send>>),
    /// Its [`ReplySlot`] was moved to whoever answers it.
    Parked,
    /// Deserves no answer.
    Silent,
}

impl<R> From<Reply<R>> for Outcome<R> {
    fn from(reply: Reply<R>) -> Outcome<R> {
        Outcome::Reply(reply)
    }
}

/// The duty to answer one request. Dropping it unanswered is a bug: it is counted, and the client is told.
#[must_use = "a request must be answered"]
#[derive(Debug)]
pub struct ReplySlot<R> {
    channel: Arc<Channel>,
    to: ReplyTo,
    open: bool,
    header: PhantomData<fn(R)>,
}

impl<R> ReplySlot<R> {
    pub(crate) fn new(channel: &Arc<Channel>, to: ReplyTo) -> Self {
        channel.begin_request();
        ReplySlot { channel: channel.clone(), to, open: true, header: PhantomData }
    }

    /// The connection that waits.
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Gives the duty up, because the connection is gone or Java would not answer either.
    pub fn discard(mut self) {
        self.open = false;
    }
}

impl<R: CommandHeader> ReplySlot<R> {
    /// Answers. A connection that was closed meanwhile swallows it.
    pub fn send(mut self, reply: Reply<R>) {
        self.open = false;
        if !self.to.oneway {
            self.channel.push(|out| push_reply(out, self.to, reply));
        }
    }
}

impl<R> Drop for ReplySlot<R> {
    fn drop(&mut self) {
        self.channel.end_request();
        if self.open && !self.to.oneway && !self.channel.is_closed() {
            RemotingStats::count(&self.channel.stats().unanswered);
            tracing::error!(opaque = self.to.opaque, peer = %self.channel.peer(), "request was dropped unanswered");
            let reply = Reply::<NoHeader>::error(response_code::SYSTEM_ERROR, "the broker dropped this request");
            self.channel.push(|out| push_reply(out, self.to, reply));
        }
    }
}

/// Appends an answer; one that does not fit in a frame becomes an error that says so.
pub(crate) fn push_reply<R: CommandHeader>(out: &mut Outbound, to: ReplyTo, reply: Reply<R>) {
    let ReplyTo { opaque, serialize_type, .. } = to;
    let preamble = Preamble {
        code: reply.code,
        version: protocol::CURRENT_VERSION,
        opaque,
        flag: FLAG_RESPONSE,
        remark: reply.remark.as_deref(),
        serialize_type,
    };
    let encode = |writer: &mut codec::fields::FieldWriter<'_>| {
        if let Some(header) = &reply.header {
            header.encode(writer);
        }
    };
    if let Err(error) = out.push(&preamble, encode, reply.body) {
        tracing::error!(%error, opaque, "an answer does not fit in a frame");
        let preamble = Preamble {
            code: response_code::SYSTEM_ERROR,
            remark: Some("the answer does not fit in a frame; ask for less"),
            ..preamble
        };
        let _ = out.push(&preamble, |_| {}, Body::Empty);
    }
}
