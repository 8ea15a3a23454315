//! Reading what is compacted: the queries of [`MessageStore`] about queues of such topics.

use std::sync::Arc;

use codec::batch_consume_queue::BatchUnit;

use crate::compaction::log::CompactionLog;
use crate::get::Limits;
use crate::read::{Boundary, GetMessageStatus, GetQuery, GetResult};
use crate::store::MessageStore;

impl MessageStore {
    /// The compaction log of a queue, if consumers read that.
    fn compacted(&self, topic: &str, queue_id: i32) -> Option<Arc<CompactionLog>> {
        self.compaction.as_ref().filter(|compaction| compaction.has_topic(topic))?.find(topic, queue_id)
    }

    /// Answers a get from the compaction log; `false` when the topic has none. No filter is asked: as in Java, consumers
    /// of such a topic get all. Source: CompactionLog.getMessage.
    pub(crate) fn get_compacted(&self, query: &GetQuery<'_>, result: &mut GetResult) -> bool {
        let Some(compaction) = self.compaction.as_ref().filter(|compaction| compaction.has_topic(query.topic)) else {
            return false;
        };
        if let Some(log) = compaction.find(query.topic, query.queue_id) {
            result.min_offset = log.min_offset();
            result.max_offset = log.max_offset();
            (result.status, result.next_begin_offset) = match query.queue_offset {
                _ if result.max_offset == 0 => (GetMessageStatus::NoMessageInQueue, 0),
                offset if offset == result.max_offset => (GetMessageStatus::OffsetOverflowOne, offset),
                offset if offset > result.max_offset => {
                    let next = if result.min_offset == 0 { 0 } else { result.max_offset };
                    (GetMessageStatus::OffsetOverflowBadly, next)
                }
                offset => (GetMessageStatus::NoMatchedMessage, offset),
            };
            if result.status == GetMessageStatus::NoMatchedMessage {
                self.collect_compacted(&log, query, result);
            }
        }
        true
    }

    /// What lies in one segment, as Java gives it.
    fn collect_compacted(&self, log: &CompactionLog, query: &GetQuery<'_>, result: &mut GetResult) {
        let limits = Limits::new(self, query, 1);
        let end = log.end();
        let segments = log.segments();
        let reaches = |unit: BatchUnit| unit.base_offset >= query.queue_offset;
        let Some(segment) = segments.iter().find(|segment| segment.last_unit().is_some_and(reaches)) else { return };
        let from = segment.partition(|unit| unit.base_offset < query.queue_offset);
        for unit in segment.units(from) {
            let len = usize::try_from(unit.unit.size).unwrap_or(0);
            let behind = u64::try_from(end.saturating_sub(unit.unit.physical_offset)).unwrap_or(0);
            if limits.is_full(result, len, 1, behind <= limits.memory) {
                break;
            }
            result.next_begin_offset = result.next_begin_offset.max(unit.end_offset());
            result.suggest_pulling_from_slave = behind > limits.memory;
            let Some(record) = segment.record(&unit) else { continue };
            result.total_bytes += record.len();
            result.message_count += 1;
            result.messages.push(record);
            result.status = GetMessageStatus::Found;
        }
    }

    /// The max offset as consumers of a compacted queue see it.
    pub(crate) fn compacted_max_offset(&self, topic: &str, queue_id: i32) -> Option<i64> {
        Some(self.compacted(topic, queue_id)?.max_offset())
    }

    /// The min offset of a compacted queue: what the commit log has not any more may be there.
    pub(crate) fn compacted_min_offset(&self, topic: &str, queue_id: i32) -> Option<i64> {
        Some(self.compacted(topic, queue_id)?.min_offset()).filter(|min| *min >= 0)
    }

    /// The position that a time stands for among messages before `end`; `None` when none of them is the one.
    pub(crate) fn compacted_offset_by_time(
        &self,
        (topic, queue_id): (&str, i32),
        end: i64,
        timestamp_ms: i64,
        boundary: Boundary,
    ) -> Option<i64> {
        let log = self.compacted(topic, queue_id)?;
        let segments = log.segments();
        let before = |unit: &BatchUnit| match boundary {
            Boundary::Lower => unit.store_timestamp < timestamp_ms,
            Boundary::Upper => unit.store_timestamp <= timestamp_ms,
        };
        let first_behind = segments
            .iter()
            .find_map(|segment| segment.unit(segment.partition(before)))
            .filter(|unit| unit.base_offset < end);
        match boundary {
            Boundary::Lower => first_behind.map(|unit| unit.base_offset),
            Boundary::Upper => {
                let behind = first_behind.map_or(end, |unit| unit.base_offset);
                let last = |unit: &BatchUnit| unit.base_offset < behind;
                let found =
                    segments.iter().rev().find_map(|segment| segment.unit(segment.partition(last).checked_sub(1)?));
                found.map(|unit| unit.base_offset)
            }
        }
    }
}
