//! Half messages: how they are stored, and what is made of them.

use bytes::Bytes;
use codec::message::{MessageRecord, RecordParts, patch, sys_flag};
use codec::properties::{Properties, names as property};
use protocol::names::{TRANS_CHECK_MAX_TIME_TOPIC, TRANS_HALF_TOPIC};
use store::{Message, MessageStore, PutResult};

/// Whether a message that is sent is a half message. Clients before 4.6.1 leave the mark on what they send back for a
/// retry.
pub fn is_half(properties: &Properties, reconsume_times: i32) -> bool {
    let level = || properties.get(property::DELAY).and_then(|level| level.parse().ok()).unwrap_or(0);
    let marked = properties.get(property::TRAN_MSG).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    marked && !(reconsume_times > 0 && level() > 0)
}

/// Sends a message to the half topic instead: keeps its destination in the properties. Returns where it goes.
pub fn park(topic: &str, queue_id: i32, properties: &mut Properties) -> (&'static str, i32) {
    if let Some(unique) = properties.get(property::UNIQ_KEY).map(str::to_owned) {
        properties.set(property::TRANSACTION_ID, unique);
    }
    properties.set(property::REAL_TOPIC, topic);
    properties.set(property::REAL_QID, queue_id.to_string());
    (TRANS_HALF_TOPIC, 0)
}

/// A stored half message, taken apart.
#[derive(Debug)]
pub struct Half<'a> {
    /// The record.
    pub record: MessageRecord<'a>,
    /// Its properties.
    pub properties: Properties,
    /// Topic and queue that it is meant for.
    pub destination: (String, i32),
}

impl<'a> Half<'a> {
    /// `None` when the record is no half message, or none that could ever be delivered.
    pub fn of(bytes: &'a [u8]) -> Option<Half<'a>> {
        let half = Half::kept(bytes)?;
        (half.record.topic == TRANS_HALF_TOPIC.as_bytes()).then_some(half)
    }

    /// [`Half::of`], also for what was asked too often and lies in TRANS_CHECK_MAX_TIME_TOPIC.
    pub fn kept(bytes: &'a [u8]) -> Option<Half<'a>> {
        let record = MessageRecord::parse(bytes).ok()?;
        if ![TRANS_HALF_TOPIC, TRANS_CHECK_MAX_TIME_TOPIC].iter().any(|topic| topic.as_bytes() == record.topic) {
            return None;
        }
        let mut properties = Properties::parse(&record.properties_str());
        // Every record gets its own.
        properties.remove(property::CRC32);
        let topic = properties.get(property::REAL_TOPIC)?.to_owned();
        let queue_id = properties.get(property::REAL_QID)?.parse().ok().filter(|queue| *queue >= 0)?;
        Some(Half { record, properties, destination: (topic, queue_id) })
    }

    /// The group of its producer.
    pub fn group(&self) -> &str {
        self.properties.get(property::PGROUP).unwrap_or_default()
    }

    /// Stores it where it was meant to go. Source: EndTransactionProcessor.endMessageTransaction, which leaves TRAN_MSG
    /// in the properties.
    ///
    /// # Errors
    /// As [`MessageStore::put`].
    pub fn commit(&self, store: &MessageStore) -> Result<PutResult, store::PutError> {
        let mut properties = self.properties.clone();
        properties.remove(property::REAL_TOPIC);
        properties.remove(property::REAL_QID);
        let flags = sys_flag::with_transaction_type(self.record.sys_flag, sys_flag::TRANSACTION_COMMIT_TYPE);
        let (topic, queue_id) = (&*self.destination.0, self.destination.1);
        store.put(&Message {
            sys_flag: flags,
            prepared_transaction_offset: self.record.physical_offset,
            ..self.message(topic, queue_id, &properties.encode())
        })
    }

    /// Stores it again in queue `queue_id` of `topic`, with these properties.
    ///
    /// # Errors
    /// As [`MessageStore::put`].
    pub fn copy(
        &self,
        store: &MessageStore,
        topic: &str,
        queue_id: i32,
        properties: &Properties,
    ) -> Result<PutResult, store::PutError> {
        store.put(&self.message(topic, queue_id, &properties.encode()))
    }

    fn message<'m>(&'m self, topic: &'m str, queue_id: i32, properties: &'m str) -> Message<'m> {
        Message {
            topic,
            queue_id,
            flag: self.record.flag,
            sys_flag: self.record.sys_flag,
            born_timestamp: self.record.born_timestamp,
            born_host: self.record.born_host,
            store_host: self.record.store_host,
            reconsume_times: self.record.reconsume_times,
            prepared_transaction_offset: 0,
            body: self.record.body,
            properties,
        }
    }

    /// The record that its producer is asked about: the copy at `put`, as it would lie in the topic it is meant for.
    /// `None` when it does not fit a record.
    pub fn question(&self, put: &PutResult, properties: &Properties) -> Option<Bytes> {
        let parts = RecordParts {
            queue_id: self.destination.1,
            flag: self.record.flag,
            sys_flag: self.record.sys_flag,
            born_timestamp: self.record.born_timestamp,
            born_host: self.record.born_host,
            store_host: self.record.store_host,
            reconsume_times: self.record.reconsume_times,
            prepared_transaction_offset: 0,
            body: self.record.body,
            topic: &self.destination.0,
            properties: &properties.encode(),
        };
        let mut record = parts.encode().ok()?;
        let physical_offset = i64::try_from(put.physical_offset).ok()?;
        patch(&mut record, put.queue_offset, physical_offset, self.record.store_timestamp).ok()?;
        Some(record.into())
    }
}
