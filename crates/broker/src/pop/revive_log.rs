//! Check points and acknowledgements as messages of the revive topic.
//!
//! Java parks them in its timer until their time has come and reads them then. Here they go to the revive topic at once:
//! whoever waits for them reads them when they arrive and keeps what is pending. A Java broker that takes the store over
//! reads them as if its timer had delivered them; their TIMER_DELIVER_MS tells it how far its clock of this queue is.

use codec::properties::{Properties, names as property};
use protocol::body::encode;
use protocol::body::pop::{AckMsg, PopCheckPoint};
use protocol::names::revive_topic;
use remoting::clock;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use store::{Message, MessageStore, PutError, PutResult};
use tokio::sync::Notify;

/// Tag of a check point.
pub const CHECK_POINT_TAG: &str = "ck";
/// Tag of an acknowledgement.
pub const ACK_TAG: &str = "ack";
/// Tag of several acknowledgements.
pub const BATCH_ACK_TAG: &str = "bAck";

/// Writes the revive topic, and tells whoever reads it of what arrives.
pub struct ReviveLog {
    store: Arc<MessageStore>,
    arrivals: Arc<ReviveArrivals>,
    store_host: SocketAddr,
    next_queue: AtomicU32,
}

/// Wakes those who read the queues of the revive topic.
pub struct ReviveArrivals {
    topic: String,
    queues: Vec<Notify>,
}

impl ReviveArrivals {
    /// For the revive topic of a cluster with so many queues.
    pub fn new(cluster: &str, queues: i32) -> ReviveArrivals {
        ReviveArrivals { topic: revive_topic(cluster), queues: (0..queues.max(1)).map(|_| Notify::new()).collect() }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Its queues.
    pub fn queue_ids(&self) -> std::ops::Range<i32> {
        0..i32::try_from(self.queues.len()).unwrap_or(i32::MAX)
    }

    /// Something arrived in a queue of a topic.
    pub fn arrived(&self, topic: &str, queue_id: i32) {
        if topic == self.topic
            && let Some(queue) = usize::try_from(queue_id).ok().and_then(|id| self.queues.get(id))
        {
            queue.notify_one();
        }
    }

    /// Waits until something arrives in a queue.
    pub async fn arrival(&self, queue_id: i32) {
        match usize::try_from(queue_id).ok().and_then(|id| self.queues.get(id)) {
            Some(queue) => queue.notified().await,
            None => std::future::pending().await,
        }
    }
}

impl ReviveLog {
    /// Writes to `store`.
    pub fn new(store: Arc<MessageStore>, arrivals: Arc<ReviveArrivals>, store_host: SocketAddr) -> ReviveLog {
        ReviveLog { store, arrivals, store_host, next_queue: AtomicU32::new(0) }
    }

    /// The revive queue for the next pop: each in turn.
    pub fn next_queue(&self) -> i32 {
        let queues = u32::try_from(self.arrivals.queues.len()).unwrap_or(1);
        i32::try_from(self.next_queue.fetch_add(1, Ordering::Relaxed) % queues).unwrap_or(0)
    }

    /// Whether a receipt may name this revive queue.
    pub fn has_queue(&self, queue_id: i32) -> bool {
        self.arrivals.queue_ids().contains(&queue_id)
    }

    /// Stores a check point.
    ///
    /// # Errors
    /// What the store says; then nothing may be handed out.
    pub fn put_check_point(&self, queue_id: i32, point: &PopCheckPoint) -> Result<PutResult, PutError> {
        let (body, properties) = check_point(point);
        self.store.put(&self.message(queue_id, &body, &properties))
    }

    /// Stores an acknowledgement.
    ///
    /// # Errors
    /// What the store says; then the message comes again.
    pub fn put_ack(&self, queue_id: i32, ack: &AckMsg) -> Result<PutResult, PutError> {
        let (body, properties) = acknowledgement(ack);
        self.store.put(&self.message(queue_id, &body, &properties))
    }

    /// Stores a check point together with the acknowledgement of the one it replaces: both or none.
    ///
    /// # Errors
    /// What the store says; then the old check point stands.
    pub fn replace(&self, queue_id: i32, point: &PopCheckPoint, ack: &AckMsg) -> Result<PutResult, PutError> {
        let (point, ack) = (check_point(point), acknowledgement(ack));
        let messages = [self.message(queue_id, &point.0, &point.1), self.message(queue_id, &ack.0, &ack.1)];
        let puts = self.store.put_batch(&messages)?;
        puts.last().copied().ok_or(PutError::Illegal { reason: "nothing was put" })
    }

    fn message<'a>(&'a self, queue_id: i32, body: &'a [u8], properties: &'a str) -> Message<'a> {
        Message {
            properties,
            born_timestamp: clock::now_ms(),
            born_host: self.store_host,
            store_host: self.store_host,
            ..Message::new(&self.arrivals.topic, queue_id, body)
        }
    }
}

fn check_point(point: &PopCheckPoint) -> (Vec<u8>, String) {
    let name = |name: &Option<String>| name.as_deref().unwrap_or_default().to_owned();
    let unique = format!(
        "{}@{}@{}@{}@{}@{}@{CHECK_POINT_TAG}",
        name(&point.topic),
        point.queue_id,
        point.start_offset,
        name(&point.consumer_group),
        point.pop_time,
        name(&point.broker_name)
    );
    (encode(point), properties(CHECK_POINT_TAG, &unique))
}

fn acknowledgement(ack: &AckMsg) -> (Vec<u8>, String) {
    let name = |name: &Option<String>| name.as_deref().unwrap_or_default().to_owned();
    let unique = format!(
        "{}@{}@{}@{}@{}@{}@{ACK_TAG}",
        name(&ack.topic),
        ack.queue_id,
        ack.ack_offset,
        name(&ack.consumer_group),
        ack.pop_time,
        name(&ack.broker_name)
    );
    (encode(ack), properties(if ack.ack_offset_list.is_some() { BATCH_ACK_TAG } else { ACK_TAG }, &unique))
}

/// Java's reviver takes the latest TIMER_DELIVER_MS of what it read for its clock, and 3 s after it the time of day.
fn properties(tag: &str, unique: &str) -> String {
    let mut properties = Properties::new();
    properties.set(property::TAGS, tag);
    properties.set(property::UNIQ_KEY, unique);
    properties.set(property::TIMER_DELIVER_MS, clock::now_ms().to_string());
    properties.encode()
}
