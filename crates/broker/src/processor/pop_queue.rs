//! The part of a pop that looks into one queue after the other.

use crate::broker_stats::names as stat;
use crate::config::BrokerOptions;
use crate::filter::Filter;
use crate::pop::order_info::OrderKey;
use crate::pop::receipt::{PopInfo, Receipt};
use crate::processor::pop_message::PopParts;
use crate::reply::record_parts;
use bytes::Bytes;
use codec::error::CodecError;
use codec::message::{MessageRecord, RecordParts, patch};
use codec::properties::{Properties, names as property};
use protocol::body::pop::PopCheckPoint;
use protocol::header::pop::PopMessageRequestHeader;
use protocol::names::RETRY_PREFIX;
use remoting::clock;
use store::{GetMessageStatus, GetQuery, GetResult, MessageStore};

/// `initMode` of a group that begins at the first message. Source: common/constant/ConsumeInitMode.java.
const INIT_MIN: i32 = 0;

/// What was seen besides messages.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Messages left in the queues.
    pub(super) rest: i64,
    /// A queue was taken, or had more than one look could pass over.
    again: bool,
    /// Queues that had nothing more, with their ends.
    ends: Vec<(String, i32, i64)>,
}

impl Look {
    /// A topic is not there: it may be made the next moment.
    pub(super) fn passed_by(&mut self, topic: &str) {
        self.ends.push((topic.to_owned(), 0, 0));
    }

    /// Whether there is a reason to look again: not everything was seen, or something has arrived since.
    pub(super) fn may_find_more(&self, store: &MessageStore) -> bool {
        self.again || self.ends.iter().any(|(topic, queue_id, end)| store.max_offset(topic, *queue_id) > *end)
    }
}

/// A pop under way.
pub(super) struct Popping<'a> {
    parts: &'a PopParts,
    header: &'a PopMessageRequestHeader,
    filter: &'a Filter,
    options: &'a BrokerOptions,
    pub(super) pop_time: i64,
    revive_qid: i32,
    wanted: usize,
    /// Number of records found.
    pub(super) found: usize,
    pub(super) parts_of_body: Vec<Bytes>,
    pub(super) info: PopInfo,
    pub(super) look: Look,
    /// End of the last check point in the log.
    pub(super) flush_end: Option<u64>,
}

impl<'a> Popping<'a> {
    pub(super) fn new(
        parts: &'a PopParts,
        header: &'a PopMessageRequestHeader,
        filter: &'a Filter,
        options: &'a BrokerOptions,
        (wanted, revive_qid): (usize, i32),
    ) -> Popping<'a> {
        Popping {
            wanted,
            parts,
            header,
            filter,
            options,
            pop_time: clock::now_ms(),
            revive_qid,
            found: 0,
            parts_of_body: Vec::new(),
            info: PopInfo::default(),
            look: Look::default(),
            flush_end: None,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.found >= self.wanted
    }

    /// All queues of a topic, beginning with one that `turn` chooses.
    pub(super) fn all_queues(&mut self, topic: &str, queues: i32, turn: i32) {
        for step in 0..queues {
            let from = if self.options.broker.priority_order_asc { queues - 1 - step } else { step };
            self.queue(topic, (from + turn) % queues);
        }
    }

    /// One queue.
    pub(super) fn queue(&mut self, topic: &str, queue_id: i32) {
        let (parts, group): (&PopParts, &str) = (self.parts, &self.header.consumer_group);
        let end = parts.store.max_offset(topic, queue_id);
        let Some(_lock) = parts.pop.locks.try_lock(topic, group, queue_id) else {
            if !self.header.order {
                self.look.rest += end - self.offset(topic, queue_id, false);
                self.look.again = true;
            }
            return;
        };
        let broker = &self.options.broker;
        if broker.enable_pop_message_threshold
            && parts.pop.in_flight.get(topic, group, queue_id) > broker.pop_inflight_message_threshold
        {
            self.look.rest += end - self.offset(topic, queue_id, false);
            return;
        }
        let mut offset = self.offset(topic, queue_id, true);
        let key = self.header.order.then(|| OrderKey { topic: topic.into(), group: group.into(), queue_id });
        if let Some(key) = &key {
            let (attempt, invisible) = (self.header.attempt_id.as_deref(), self.header.invisible_time);
            if parts.pop.orders.is_blocked(key, attempt, invisible, self.pop_time) {
                return;
            }
            parts.pop.in_flight.clear(topic, group, queue_id);
        }
        if self.is_full() {
            self.look.rest += end - offset;
            return;
        }
        let mut result = self.get(topic, queue_id, offset);
        if matches!(
            result.status,
            GetMessageStatus::OffsetTooSmall
                | GetMessageStatus::OffsetOverflowBadly
                | GetMessageStatus::OffsetFoundNull
        ) {
            tracing::warn!(topic, group, queue_id, offset, next = result.next_begin_offset, status = ?result.status,
                "pop outside the queue, offset corrected");
            offset = result.next_begin_offset;
            parts.pop.offsets.commit(group, topic, queue_id, offset);
            result = self.get(topic, queue_id, offset);
        }
        self.hand_out(topic, queue_id, offset, key.as_ref(), result);
    }

    fn get(&self, topic: &str, queue_id: i32, offset: i64) -> GetResult {
        let wanted = self.wanted - self.found;
        self.parts.store.get(&GetQuery::new(topic, queue_id, offset, wanted), self.filter)
    }

    /// What was found is the group's from here on; or its offset passes over what it does not want.
    fn hand_out(&mut self, topic: &str, queue_id: i32, start: i64, key: Option<&OrderKey>, result: GetResult) {
        let (parts, group): (&PopParts, &str) = (self.parts, &self.header.consumer_group);
        let next = result.next_begin_offset;
        if result.messages.is_empty() {
            let passed = matches!(
                result.status,
                GetMessageStatus::NoMatchedMessage
                    | GetMessageStatus::OffsetFoundNull
                    | GetMessageStatus::MessageWasRemoving
                    | GetMessageStatus::NoMatchedLogicQueue
            );
            if passed && next > start {
                parts.pop.offsets.commit(group, topic, queue_id, next);
            }
            self.look.again |= result.max_offset > next && next > start;
            self.look.ends.push((topic.to_owned(), queue_id, result.max_offset));
            self.look.rest += result.max_offset - next;
            return;
        }
        parts.count(self.header, topic, result.message_count, result.total_bytes);
        let places: Vec<i64> = result.messages.iter().filter_map(|record| place(record)).collect();
        match key {
            Some(key) => {
                let attempt = self.header.attempt_id.as_deref();
                let invisible = self.header.invisible_time;
                let (counts, least) = parts.pop.orders.popped(key, attempt, &places, invisible, self.pop_time);
                self.info.counted(topic, queue_id, counts, least);
                parts.pop.offsets.commit(group, topic, queue_id, start);
            }
            None => {
                let point = self.check_point(topic, queue_id, start, &places);
                match parts.pop.log.put_check_point(self.revive_qid, &point) {
                    Ok(put) => self.flush_end = Some(put.end()),
                    Err(error) => {
                        tracing::warn!(topic, group, queue_id, %error, "no check point, nothing is handed out");
                        self.look.rest += result.max_offset - start;
                        return;
                    }
                }
                parts.stats.add(stat::GROUP_CK_NUMS, &format!("{}@{group}", self.header.topic), 1, 1);
                parts.pop.offsets.commit(group, topic, queue_id, next);
            }
        }
        self.info.popped(topic, queue_id, start, &places);
        self.look.rest += result.max_offset - next;
        let count = i64::try_from(result.message_count).unwrap_or(0);
        parts.pop.in_flight.popped(topic, group, queue_id, count);
        let as_it_is = self.options.broker.pop_response_return_actual_retry_topic || !topic.starts_with(RETRY_PREFIX);
        self.found += result.messages.len();
        if as_it_is {
            self.parts_of_body.extend(record_parts(&result.messages));
            return;
        }
        for record in result.messages {
            match self.of_origin(topic, start, &record) {
                Ok(record) => self.parts_of_body.push(record.into()),
                Err(error) => tracing::error!(topic, queue_id, %error, "a retried message cannot be handed out"),
            }
        }
    }

    fn check_point(&self, topic: &str, queue_id: i32, start: i64, places: &[i64]) -> PopCheckPoint {
        let distance = |place: &i64| i32::try_from(place - start).unwrap_or(i32::MAX);
        PopCheckPoint {
            broker_name: Some(self.options.broker.broker_name.clone()),
            consumer_group: Some(self.header.consumer_group.to_string()),
            topic: Some(topic.to_owned()),
            queue_offset_diff: Some(places.iter().map(distance).collect()),
            num: i8::try_from(places.len()).unwrap_or(i8::MAX),
            pop_time: self.pop_time,
            invisible_time: self.header.invisible_time,
            queue_id,
            start_offset: start,
            ..PopCheckPoint::default()
        }
    }

    /// A retried message as a consumer gets it: with the topic that it subscribed to, and its receipt.
    fn of_origin(&self, topic: &str, start: i64, record: &[u8]) -> Result<Vec<u8>, CodecError> {
        let record = MessageRecord::parse(record)?;
        let mut properties = Properties::parse(&record.properties_str());
        if properties.get(property::POP_CK).is_none() {
            let receipt = Receipt {
                start_offset: start,
                pop_time: self.pop_time,
                invisible_time: self.header.invisible_time,
                revive_qid: self.revive_qid,
                broker_name: self.options.broker.broker_name.clone(),
            };
            properties.set(property::POP_CK, receipt.of_message(topic, record.queue_id, record.queue_offset));
        }
        let properties = properties.encode();
        let parts = RecordParts {
            queue_id: record.queue_id,
            flag: record.flag,
            sys_flag: record.sys_flag,
            born_timestamp: record.born_timestamp,
            born_host: record.born_host,
            store_host: record.store_host,
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: record.prepared_transaction_offset,
            body: record.body,
            topic: &self.header.topic,
            properties: &properties,
        };
        let mut bytes = parts.encode()?;
        patch(&mut bytes, record.queue_offset, record.physical_offset, record.store_timestamp)?;
        Ok(bytes)
    }

    /// Where the pop begins. `init`: under the lock, so that a first offset and a reset take effect.
    fn offset(&self, topic: &str, queue_id: i32, init: bool) -> i64 {
        let (parts, group): (&PopParts, &str) = (self.parts, &self.header.consumer_group);
        let offsets = &parts.pop.offsets;
        let offset = offsets.query(group, topic, queue_id).unwrap_or_else(|| {
            let first = self.first_offset(topic, queue_id);
            if init {
                offsets.commit(group, topic, queue_id, first);
            }
            first
        });
        if !init {
            return offset;
        }
        let Some(reset) = offsets.take_reset(group, topic, queue_id) else { return offset };
        parts.pop.orders.clear(&OrderKey { topic: topic.to_owned(), group: group.to_owned(), queue_id });
        offsets.commit(group, topic, queue_id, reset);
        reset
    }

    fn first_offset(&self, topic: &str, queue_id: i32) -> i64 {
        let store = &self.parts.store;
        let min = store.min_offset(topic, queue_id);
        if self.header.init_mode == INIT_MIN || topic.starts_with(RETRY_PREFIX) {
            return min;
        }
        let short =
            self.options.broker.init_pop_offset_by_check_msg_in_mem && min <= 0 && store.in_memory(topic, queue_id, 0);
        // The last message is popped, too: so the group has an offset.
        if short { 0 } else { (store.max_offset(topic, queue_id) - 1).max(0) }
    }
}

/// Place of a record in its queue.
fn place(record: &[u8]) -> Option<i64> {
    MessageRecord::parse(record).ok().map(|record| record.queue_offset)
}
