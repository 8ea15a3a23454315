//! Light queues (LMQ). A message whose property INNER_MULTI_DISPATCH names topics `%LMQ%…` enters queue 0 of each of them,
//! beside the queue it is sent to. Its positions there are in INNER_MULTI_QUEUE_OFFSET, in the same order; both lists have
//! commas between. Such a queue is like any other, but that its records are of other topics.
//!
//! Positions are part of the record, so they are known only when it has its place in the log: those who send to light queues
//! go one after the other ([`Lmqs::order`]), write down the next position of each queue, and find it unchanged under the
//! append lock. Source: LmqDispatch, MultiDispatchUtils, MixAll.topicAllowsLMQ.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use codec::message::{MessageRecord, RECORD_MIN_LEN};
use codec::properties::{self, Properties, names};
use parking_lot::{Mutex, MutexGuard};

use crate::commit_log::DispatchRecord;
use crate::config::StoreConfig;
use crate::consume_queue::Queue;
use crate::dispatch::Dispatcher;
use crate::error::PutError;
use crate::message::{Arrival, ArrivedProperties, Message};
use crate::queue_table::QueueTable;
use crate::record::enters_queue;

/// Begins the name of each light queue, and of the groups that consume them.
pub const LMQ_PREFIX: &str = "%LMQ%";
/// The one queue of each.
pub(crate) const LMQ_QUEUE_ID: i32 = 0;
/// Between names, and between positions.
const SEPARATOR: char = ',';
/// Queue directories are named after them.
const MAX_FILE_NAME: usize = 255;

/// Whether this is the name of a light queue, or of a group that consumes such.
#[must_use]
pub fn is_lmq(name: &str) -> bool {
    name.starts_with(LMQ_PREFIX)
}

/// Whether messages of a topic may be in light queues too.
fn allows_lmq(topic: &str) -> bool {
    !["%RETRY%", "%DLQ%", "rmq_sys_"].iter().any(|prefix| topic.starts_with(prefix)) && topic != "SCHEDULE_TOPIC_XXXX"
}

/// Light queues and the positions in them, from the two lists of a message. Trailing commas are nothing to Java.
fn places<'a>(lists: Option<(&'a str, &'a str)>) -> impl Iterator<Item = (&'a str, i64)> {
    let split = |list: &'a str| list.trim_end_matches(SEPARATOR).split(SEPARATOR);
    lists
        .map(|(names, offsets)| (split(names), split(offsets)))
        .filter(|(names, offsets)| names.clone().count() == offsets.clone().count())
        .into_iter()
        .flat_map(|(names, offsets)| names.zip(offsets))
        .filter_map(|(name, offset)| {
            let offset = offset.parse().ok().filter(|offset| *offset >= 0)?;
            (is_lmq(name) && is_file_name(name)).then_some((name, offset))
        })
}

/// The light queues that a record of the log belongs in, each with its position there. A client may have written what it
/// liked while light queues were not enabled: positions that no queue can have come to are left out.
pub fn places_of<'a>(record: &MessageRecord<'a>) -> impl Iterator<Item = (&'a str, i64)> {
    let most = record.physical_offset / i64::try_from(RECORD_MIN_LEN).unwrap_or(1);
    let lists = (enters_queue(record.sys_flag) && allows_lmq(&record.topic_str()))
        .then(|| record.property(names::INNER_MULTI_DISPATCH).zip(record.property(names::INNER_MULTI_QUEUE_OFFSET)))
        .flatten();
    places(lists).filter(move |(_, queue_offset)| *queue_offset <= most)
}

fn is_file_name(name: &str) -> bool {
    name.len() <= MAX_FILE_NAME && !name.contains(['/', '\0'])
}

/// Whether the record of another topic is in the light queue `queue`.
pub(crate) fn is_in(record: &MessageRecord<'_>, queue: &Queue) -> bool {
    is_lmq(&queue.topic) && places_of(record).any(|(name, _)| *name == *queue.topic)
}

/// The names in INNER_MULTI_DISPATCH; none when that is blank, or the topic's messages are in no light queue.
fn named<'a>(message: &Message<'a>) -> Option<&'a str> {
    let names = properties::get(message.properties, names::INNER_MULTI_DISPATCH)?;
    (!names.trim().is_empty() && allows_lmq(message.topic)).then_some(names)
}

/// Whether a message that names light queues is put into them now. A half message is once it is committed; Java shows it
/// at once. Batches are put into none, as in Java.
fn enters_now(message: &Message<'_>, alone: bool) -> bool {
    const UNDECIDED: [&str; 2] = ["RMQ_SYS_TRANS_HALF_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC"];
    alone && !UNDECIDED.contains(&message.topic) && enters_queue(message.sys_flag)
}

/// Where a record is in a light queue.
#[derive(Debug)]
pub(crate) struct LmqPlace {
    pub(crate) queue: Arc<Queue>,
    pub(crate) queue_offset: i64,
}

/// All places of one record in light queues; `None`: there are none.
pub(crate) type LmqPlaces = Option<Arc<[LmqPlace]>>;

/// Under the append lock: whether a queue was deleted, or the place in it taken, since the record was encoded.
pub(crate) fn is_stale(places: &LmqPlaces) -> bool {
    let stale = |place: &LmqPlace| place.queue.is_deleted() || place.queue.next_offset() != place.queue_offset;
    places.as_deref().is_some_and(|places| places.iter().any(stale))
}

/// Under the append lock: the places are taken.
pub(crate) fn advance(places: &LmqPlaces) {
    for place in places.as_deref().unwrap_or_default() {
        place.queue.set_next_offset(place.queue_offset + 1);
    }
}

/// Light queues, as far as puts are concerned.
#[derive(Debug)]
pub(crate) struct Lmqs {
    enabled: bool,
    order: Mutex<()>,
    quota: AtomicUsize,
}

impl Lmqs {
    pub(crate) fn new(config: &StoreConfig) -> Lmqs {
        let quota = AtomicUsize::new(config.lmq_quota.unwrap_or(usize::MAX));
        Lmqs { enabled: config.enable_lmq, order: Mutex::default(), quota }
    }

    pub(crate) fn set_quota(&self, quota: Option<usize>) {
        self.quota.store(quota.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Whether the properties of these messages must be changed for light queues.
    pub(crate) fn concern(&self, messages: &[Message<'_>]) -> bool {
        self.enabled && messages.iter().any(|message| named(message).is_some())
    }

    /// To be held from before the properties are completed until the message is appended.
    pub(crate) fn order(&self, messages: &[Message<'_>]) -> Option<MutexGuard<'_, ()>> {
        self.concern(messages).then(|| self.order.lock())
    }

    /// Writes the next positions of the queues that a message names into its properties. What a client says of positions
    /// is taken away: it is nothing that it could know.
    /// # Errors
    /// [`PutError::Illegal`] for what Java's dispatch stumbles over, [`PutError::LmqQuota`]; `get` failed.
    pub(crate) fn complete(
        &self,
        message: &Message<'_>,
        alone: bool,
        properties: &mut String,
        table: &QueueTable,
        get: impl Fn(&str) -> Result<Arc<Queue>, PutError>,
    ) -> Result<(), PutError> {
        let Some(names) = self.enabled.then(|| named(message)).flatten() else { return Ok(()) };
        let mut changed = Properties::parse(properties);
        changed.remove(names::INNER_MULTI_QUEUE_OFFSET);
        if enters_now(message, alone) {
            // Trailing commas are nothing to Java.
            let names: Vec<&str> = names.trim_end_matches(SEPARATOR).split(SEPARATOR).collect();
            for (at, name) in names.iter().enumerate() {
                if !is_lmq(name) || !is_file_name(name) {
                    let reason = "INNER_MULTI_DISPATCH names what is no light queue: names begin with %LMQ%, have at most \
                                  255 bytes and no /, with commas between";
                    return Err(PutError::Illegal { reason });
                }
                if names.iter().take(at).any(|other| other == name) || *name == message.topic {
                    let reason =
                        "INNER_MULTI_DISPATCH names a light queue twice, or the one that the message is sent to";
                    return Err(PutError::Illegal { reason });
                }
                let limit = self.quota.load(Ordering::Relaxed);
                if table.lmqs() >= limit && table.of_topic(name).is_empty() {
                    return Err(PutError::LmqQuota { limit });
                }
            }
            let mut offsets = String::new();
            for name in names {
                if !offsets.is_empty() {
                    offsets.push(SEPARATOR);
                }
                offsets.push_str(&get(name)?.next_offset().to_string());
            }
            changed.set(names::INNER_MULTI_QUEUE_OFFSET, offsets);
        }
        *properties = changed.encode();
        Ok(())
    }

    /// The places that the completed properties of a message name.
    /// # Errors
    /// `get` failed.
    pub(crate) fn places(
        &self,
        message: &Message<'_>,
        get: impl Fn(&str) -> Result<Arc<Queue>, PutError>,
    ) -> Result<LmqPlaces, PutError> {
        let Some(names) = self.enabled.then(|| named(message)).flatten() else { return Ok(None) };
        let offsets = properties::get(message.properties, names::INNER_MULTI_QUEUE_OFFSET);
        let places: Result<Vec<_>, _> = places(offsets.map(|offsets| (names, offsets)))
            .map(|(name, queue_offset)| Ok(LmqPlace { queue: get(name)?, queue_offset }))
            .collect();
        Ok(Some(places?).filter(|places| !places.is_empty()).map(Arc::from))
    }
}

/// What the dispatcher does for light queues.
impl Dispatcher {
    /// The places of a record in the light queues that are written; none when these are not enabled.
    fn lmqs<'a>(&self, record: &'a DispatchRecord) -> &'a [LmqPlace] {
        match self.core.config.enable_multi_dispatch {
            true => record.lmqs.as_deref().unwrap_or_default(),
            false => &[],
        }
    }

    /// The same for a record of the log, whose queues are made where they are missing.
    pub(crate) fn lmqs_of(&self, record: &MessageRecord<'_>) -> io::Result<LmqPlaces> {
        let config = &self.core.config;
        if !config.enable_lmq || !config.enable_multi_dispatch {
            return Ok(None);
        }
        let places: io::Result<Vec<_>> = places_of(record)
            .map(|(name, queue_offset)| Ok(LmqPlace { queue: self.queues.get(name, LMQ_QUEUE_ID)?, queue_offset }))
            .collect();
        Ok(Some(places?).filter(|places| !places.is_empty()).map(Arc::from))
    }

    /// Whether [`Dispatcher::write_lmqs`] writes this queue.
    pub(crate) fn is_light(&self, queue: &Queue) -> bool {
        self.core.config.enable_multi_dispatch && is_lmq(&queue.topic)
    }

    /// Writes the units of records in light queues, sent there or in them too, one write per queue, and makes them visible.
    pub(crate) fn write_lmqs(&self, records: &[DispatchRecord]) -> io::Result<()> {
        if !self.core.config.enable_multi_dispatch {
            return Ok(());
        }
        let places = |record| DispatchRecord::places(record).map(move |(queue, at)| (queue, at, record));
        let mut order: Vec<(&Arc<Queue>, i64, &DispatchRecord)> =
            records.iter().flat_map(places).filter(|(queue, ..)| is_lmq(&queue.topic)).collect();
        order.sort_by_key(|(queue, ..)| Arc::as_ptr(queue).addr());
        let mut units = Vec::new();
        for group in order.chunk_by(|(a, ..), (b, ..)| Arc::ptr_eq(a, b)) {
            let (Some((queue, first, _)), Some((_, last, _))) = (group.first(), group.last()) else { continue };
            if !queue.is_deleted() {
                self.write_units(queue, *first, group.iter().map(|(.., record)| *record), &mut units)?;
                queue.publish(last + 1);
            }
        }
        Ok(())
    }

    /// Tells the listener that a message is in its light queues.
    pub(crate) fn tell_lmqs(&self, record: &DispatchRecord, properties: ArrivedProperties<'_>) {
        for place in self.lmqs(record).iter().filter(|place| !place.queue.is_deleted()) {
            self.listener.arriving(&Arrival {
                topic: &place.queue.topic,
                queue_id: LMQ_QUEUE_ID,
                queue_offset: place.queue_offset,
                tags_code: record.tags_code,
                store_timestamp: record.store_timestamp,
                properties,
                physical_offset: record.physical_offset,
            });
        }
    }
}
