//! From a record of the timer topic to what is put when its time has come.
//! Source: TimerMessageStore.convert, convertMessage, doPut.

use std::hash::{DefaultHasher, Hash, Hasher};

use codec::message::MessageRecord;
use codec::properties::{Properties, names};
use tracing::{error, info};

use crate::error::PutError;
use crate::message::Message;
use crate::store::MessageStore;

/// The topic in which messages for arbitrary times wait; all are in its queue 0.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";

/// What marks a message that was due before it came into the wheel.
const NEVER_IN_WHEEL: i64 = i64::MAX;

/// A record of the timer topic.
pub(super) struct Waiting<'a> {
    pub(super) record: MessageRecord<'a>,
    pub(super) properties: Properties,
}

impl<'a> Waiting<'a> {
    /// The record in `bytes`, if it is one of the timer topic.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Waiting<'a>> {
        let record = MessageRecord::parse(bytes).ok()?;
        let properties = Properties::parse(&record.properties_str());
        (record.topic == TIMER_TOPIC.as_bytes()).then_some(Waiting { record, properties })
    }

    /// When it is due, ms.
    pub(super) fn deliver_ms(&self) -> Option<i64> {
        self.properties.get(names::TIMER_OUT_MS)?.parse().ok()
    }

    /// The topic that it waits for.
    pub(super) fn real_topic(&self) -> &str {
        self.properties.get(names::REAL_TOPIC).unwrap_or_default()
    }

    /// How often it went round.
    pub(super) fn rounds(&self) -> i32 {
        self.properties.get(names::TIMER_ROLL_TIMES).and_then(|times| times.parse().ok()).unwrap_or(0)
    }

    /// Tells this message, after so many rounds, from others.
    pub(super) fn mark(&self, rounds: i32) -> u64 {
        let mut hasher = DefaultHasher::new();
        let names = [names::UNIQ_KEY, names::REAL_TOPIC, names::TIMER_OUT_MS, names::TIMER_DEL_UNIQKEY];
        (names.map(|name| self.properties.get(name)), self.record.born_timestamp, rounds).hash(&mut hasher);
        hasher.finish()
    }

    /// The key of the message that this one takes back.
    pub(super) fn deletes(&self) -> Option<&str> {
        self.properties.get(names::TIMER_DEL_UNIQKEY)
    }

    /// The key by which this one can be taken back. Source: TimerMessageStore.buildDeleteKey.
    pub(super) fn key(&self, with_topic: bool) -> Option<String> {
        let unique = self.properties.get(names::UNIQ_KEY)?;
        Some(if with_topic { format!("{}+{unique}", self.real_topic()) } else { unique.to_owned() })
    }

    /// Puts it where it was meant to go, or back into the timer topic. `write_ms`: when it came into the wheel; `None`: never.
    /// A message that cannot be put whatever happens is told in the log and passed over.
    /// # Errors
    /// Why it could not be put now.
    pub(super) fn put(
        mut self,
        store: &MessageStore,
        write_ms: Option<i64>,
        roll: bool,
        now_ms: i64,
    ) -> Result<(), PutError> {
        if !roll && let Some(key) = self.deletes() {
            info!(key, "a message that takes back another came too late");
            return Ok(());
        }
        let write_ms = write_ms.unwrap_or(NEVER_IN_WHEEL);
        self.properties.set(names::TIMER_ENQUEUE_MS, write_ms.to_string());
        if roll {
            let rounds = self.rounds().saturating_add(1);
            self.properties.set(names::TIMER_ROLL_TIMES, rounds.to_string());
        }
        self.properties.set(names::TIMER_DEQUEUE_MS, now_ms.to_string());
        // That of another record.
        self.properties.remove(names::CRC32);
        let topic = if roll { TIMER_TOPIC } else { self.real_topic() }.to_owned();
        let queue_id = match roll {
            true => Some(0),
            false => self.properties.get(names::REAL_QID).and_then(|id| id.parse().ok()),
        };
        let physical_offset = self.record.physical_offset;
        let Some(queue_id) = queue_id.filter(|_| !topic.is_empty()) else {
            error!(physical_offset, "a timer message without destination is passed over");
            return Ok(());
        };
        let put = |properties: &str| {
            let record = &self.record;
            store.put(&Message {
                topic: &topic,
                queue_id,
                flag: record.flag,
                sys_flag: record.sys_flag,
                born_timestamp: record.born_timestamp,
                born_host: record.born_host,
                store_host: record.store_host,
                reconsume_times: record.reconsume_times,
                prepared_transaction_offset: 0,
                body: record.body,
                properties,
            })
        };
        let mut result = put(self.properties.as_str());
        if matches!(result, Err(PutError::PropertiesTooLarge { .. })) {
            // The message was accepted with properties to the brim: rather without these marks than not at all.
            for name in [names::TIMER_ENQUEUE_MS, names::TIMER_DEQUEUE_MS, names::TIMER_ROLL_TIMES] {
                self.properties.remove(name);
            }
            result = put(self.properties.as_str());
        }
        match result {
            Ok(_) => Ok(()),
            Err(
                reason @ (PutError::MessageTooLarge { .. }
                | PutError::PropertiesTooLarge { .. }
                | PutError::TopicTooLong { .. }
                | PutError::Illegal { .. }),
            ) => {
                error!(physical_offset, topic, %reason, "a timer message that cannot be delivered is passed over");
                Ok(())
            }
            Err(reason) => Err(reason),
        }
    }
}
