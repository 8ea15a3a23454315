//! What goes into the store, and what it tells when something arrived.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::mmap::MappedSlice;
use crate::record::text;

/// A message to be stored. All of it is written as it is; the store adds offsets and the store time.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Topic, at most maxTopicLength bytes.
    pub topic: &'a str,
    /// Queue, not negative.
    pub queue_id: i32,
    /// The user's flag.
    pub flag: i32,
    /// Bits of [`codec::message::sys_flag`]; those of IPv6 are set from the hosts.
    pub sys_flag: i32,
    /// When the client made it, ms.
    pub born_timestamp: i64,
    /// The client.
    pub born_host: SocketAddr,
    /// This broker, as clients reach it.
    pub store_host: SocketAddr,
    /// How often it was sent back.
    pub reconsume_times: i32,
    /// Of a commit message: physical offset of the half message.
    pub prepared_transaction_offset: i64,
    /// Body as it is to be stored (maybe compressed).
    pub body: &'a [u8],
    /// Properties string; see [`codec::properties`].
    pub properties: &'a str,
}

impl<'a> Message<'a> {
    /// A message without properties, flags and times, from and to nobody (0.0.0.0:0).
    #[must_use]
    pub const fn new(topic: &'a str, queue_id: i32, body: &'a [u8]) -> Self {
        let nobody = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Message {
            topic,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: nobody,
            store_host: nobody,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: "",
        }
    }
}

/// Where a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutResult {
    /// Position of the record in the commit log.
    pub physical_offset: u64,
    /// Bytes of the record.
    pub len: u32,
    /// Position in the queue.
    pub queue_offset: i64,
    /// When it was stored, ms.
    pub store_timestamp: i64,
}

impl PutResult {
    /// First byte behind the record: what [`crate::MessageStore::flushed`] is to be asked for.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.physical_offset + u64::from(self.len)
    }
}

/// A message has become visible in a queue.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue.
    pub queue_id: i32,
    /// Its position; the queue's max offset is now one more.
    pub queue_offset: i64,
    /// tagsCode of its unit.
    pub tags_code: i64,
    /// When it was stored, ms.
    pub store_timestamp: i64,
    /// Properties string.
    pub properties: ArrivedProperties<'a>,
    /// Position of the record in the commit log.
    pub physical_offset: u64,
}

/// The properties string of a message that arrived. It is read from the log when somebody asks, which few do.
#[derive(Clone, Copy)]
pub struct ArrivedProperties<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Text(&'a str),
    Log(&'a dyn Fn() -> Option<MappedSlice>),
}

impl<'a> ArrivedProperties<'a> {
    pub(crate) fn of(read: &'a dyn Fn() -> Option<MappedSlice>) -> Self {
        ArrivedProperties(Source::Log(read))
    }

    /// What `look` makes of the text.
    pub fn with<T>(&self, look: impl FnOnce(&str) -> T) -> T {
        match self.0 {
            Source::Text(properties) => look(properties),
            Source::Log(read) => look(&text(read().as_deref().unwrap_or_default())),
        }
    }
}

impl<'a> From<&'a str> for ArrivedProperties<'a> {
    fn from(properties: &'a str) -> Self {
        ArrivedProperties(Source::Text(properties))
    }
}

impl fmt::Debug for ArrivedProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|properties| write!(f, "{properties:?}"))
    }
}

/// Is told of each message, in commit-log order, once it can be got. Called on the thread `store-dispatch`: quick, and
/// never a call back into the store that waits for dispatch.
pub trait MessageArrivingListener: Send + Sync {
    /// A message has become visible.
    fn arriving(&self, arrival: &Arrival<'_>);
    /// Which filters take a message of that topic with these properties, as bits; empty when that is not reckoned. Asked
    /// before the message is visible, when queues have extensions.
    fn bit_map(&self, _topic: &str, _properties: &str) -> Vec<u8> {
        Vec::new()
    }
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoListener;

impl MessageArrivingListener for NoListener {
    fn arriving(&self, _: &Arrival<'_>) {}
}
