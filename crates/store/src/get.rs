//! The reading half of [`MessageStore`].

use codec::index::key_hash;
use codec::message::{MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, MessageRecord};
use tracing::warn;

use std::io;
use std::sync::Arc;

use codec::consume_queue::Unit;

use crate::consume_queue::{Entry, Queue};
use crate::core::Counters;
use crate::lookup::Lookup;
use crate::mmap::MappedSlice;
use crate::read::{
    Boundary, ColdArea, GetMessageStatus, GetQuery, GetResult, MAX_PULL_BYTES, MessageFilter, QueryResult, QueueUnit,
};
use crate::record::{Step, step};
use crate::store::MessageStore;

/// Units read from a queue at a time.
const UNITS_PER_READ: i64 = 64;
/// Room is made for so many messages at most before any is there.
const MOST_EXPECTED: usize = 64;

impl MessageStore {
    /// Messages of one queue from an offset on; Java's getMessage with its statuses and corrections of the offset.
    pub fn get(&self, query: &GetQuery<'_>, filter: &dyn MessageFilter) -> GetResult {
        let mut result = GetResult {
            status: GetMessageStatus::NoMatchedLogicQueue,
            messages: Vec::new(),
            message_count: 0,
            total_bytes: 0,
            next_begin_offset: 0,
            min_offset: 0,
            max_offset: 0,
            suggest_pulling_from_slave: false,
            filtered: 0,
            cold_bytes: 0,
        };
        if self.get_compacted(query, &mut result) {
        } else if let Some(queue) = self.find(query.topic, query.queue_id) {
            result.min_offset = queue.min_offset();
            result.max_offset = queue.max_offset();
            (result.status, result.next_begin_offset) = match query.queue_offset {
                _ if result.max_offset == 0 => (GetMessageStatus::NoMessageInQueue, 0),
                offset if offset < result.min_offset => (GetMessageStatus::OffsetTooSmall, result.min_offset),
                offset if offset == result.max_offset => (GetMessageStatus::OffsetOverflowOne, offset),
                offset if offset > result.max_offset => (GetMessageStatus::OffsetOverflowBadly, result.max_offset),
                offset => (GetMessageStatus::NoMatchedMessage, offset),
            };
            if result.status == GetMessageStatus::NoMatchedMessage
                && let Err(error) = self.collect(query, filter, &queue, &mut result)
            {
                warn!(topic = query.topic, queue_id = query.queue_id, %error, "cannot read a consume queue");
                if result.messages.is_empty() {
                    result.status = GetMessageStatus::OffsetFoundNull;
                }
            }
        }
        let counters = &self.core.counters;
        if result.status == GetMessageStatus::Found {
            Counters::add(&counters.gets_found, 1);
            Counters::add(&counters.got_messages, result.message_count);
            Counters::add(&counters.got_bytes, result.total_bytes);
        } else {
            Counters::add(&counters.gets_missed, 1);
        }
        result
    }

    fn collect(
        &self,
        query: &GetQuery<'_>,
        filter: &dyn MessageFilter,
        queue: &Arc<Queue>,
        result: &mut GetResult,
    ) -> io::Result<()> {
        let files = self.queues.files();
        let log_end = self.log.wrote();
        let limits = Limits::new(self, query, queue.files(files).unit_len());
        let mut last_physical_offset = 0;
        // A record that is gone takes those behind it in the same commit-log file with it.
        let mut skip_before = None;
        let mut files_left = self.core.config.travel_cq_file_num_when_get_message.max(1);
        'queue: while result.next_begin_offset < result.max_offset && files_left > 0 {
            let from = result.next_begin_offset;
            let entries = queue.entries(files, from, UNITS_PER_READ)?;
            if entries.is_empty() {
                if result.messages.is_empty() {
                    result.status = GetMessageStatus::OffsetFoundNull;
                    result.next_begin_offset = files.base_at(from) + files.units_per_file();
                }
                break;
            }
            for Entry { queue_offset, count, unit } in entries {
                if unit.is_blank() && !limits.scanned_enough(queue_offset) {
                    // It stands for a message that is nowhere, and says nothing of those behind it.
                    if result.messages.is_empty() {
                        result.status = GetMessageStatus::MessageWasRemoving;
                    }
                    result.next_begin_offset = queue_offset + count;
                    continue;
                }
                let physical_offset = u64::try_from(unit.physical_offset).unwrap_or(0);
                let len = usize::try_from(unit.size).unwrap_or(0);
                let in_memory = log_end.saturating_sub(physical_offset) <= limits.memory;
                if limits.scanned_enough(queue_offset) || limits.is_full(result, len, count, in_memory) {
                    break 'queue;
                }
                last_physical_offset = physical_offset;
                result.next_begin_offset = queue_offset + count;
                if skip_before.is_some_and(|offset| physical_offset < offset) {
                    continue;
                }
                if !self.queues.ext().passes(queue, unit.tags_code, filter) {
                    continue;
                }
                // Asked before the record is looked at, which brings it into memory.
                if query.cold.is_some_and(|area| self.is_cold(area, log_end, physical_offset, unit.size)) {
                    result.cold_bytes += u64::try_from(unit.size).unwrap_or(0);
                }
                // What this process wrote and still has in memory is as it was put; what came from the disk may not be.
                let closely = !in_memory || physical_offset < self.log.opened_at();
                let found = Lookup::of(&self.log, queue, &unit, queue_offset, closely);
                let Lookup::Record(record) = found else {
                    if result.messages.is_empty() {
                        result.status = GetMessageStatus::MessageWasRemoving;
                    }
                    if let Lookup::Damaged(reason) = found {
                        self.damaged.met(&self.log, queue, queue_offset, unit.physical_offset, &reason);
                    } else {
                        let file_bytes = self.log.files().file_bytes();
                        skip_before = Some(physical_offset - physical_offset % file_bytes + file_bytes);
                    }
                    continue;
                };
                skip_before = None;
                if !filter.by_record(&record) {
                    if result.messages.is_empty() {
                        result.status = GetMessageStatus::NoMatchedMessage;
                    }
                    result.filtered += 1;
                    continue;
                }
                if result.messages.is_empty() {
                    result.messages.reserve_exact(query.max_num.min(MOST_EXPECTED));
                }
                result.total_bytes += record.len();
                result.message_count += usize::try_from(count).unwrap_or(1);
                result.messages.push(record);
                result.status = GetMessageStatus::Found;
            }
            if queue.batch().is_none() && files.base_at(result.next_begin_offset) == result.next_begin_offset {
                files_left = if result.messages.is_empty() { files_left - 1 } else { 0 };
            }
        }
        result.suggest_pulling_from_slave = log_end.saturating_sub(last_physical_offset) > limits.memory;
        Ok(())
    }

    fn is_cold(&self, area: ColdArea, log_end: u64, physical_offset: u64, size: i32) -> bool {
        let hot = (self.total_memory / 100).saturating_mul(u64::from(area.hot_ratio));
        log_end.saturating_sub(physical_offset) > hot && !(area.ask_kernel && self.is_resident(physical_offset, size))
    }

    fn is_resident(&self, physical_offset: u64, size: i32) -> bool {
        let (file, size) = (self.log.files().find(physical_offset), u32::try_from(size).unwrap_or(0));
        file.is_some_and(|file| file.is_resident(physical_offset - file.first_offset(), size))
    }

    /// Whether the message at a position lies in the cold area, whatever the kernel has of it.
    pub fn in_cold_area(&self, topic: &str, queue_id: i32, queue_offset: i64, hot_ratio: u8) -> bool {
        let entry = self.find(topic, queue_id).and_then(|queue| self.entry(&queue, queue_offset));
        let offset = entry.and_then(|entry| u64::try_from(entry.unit.physical_offset).ok());
        let area = ColdArea { hot_ratio, ask_kernel: false };
        offset.is_some_and(|offset| self.is_cold(area, self.log.wrote(), offset, 0))
    }

    /// Whether the kernel may read ahead in the commit log; if not, each page is read by itself.
    pub fn set_read_ahead(&self, enabled: bool) {
        self.log.files().set_read_ahead(enabled);
    }

    /// Everything before it in the log has been put, as a physical offset.
    pub fn log_end(&self) -> u64 {
        self.log.wrote()
    }

    /// Everything before it in the log can be got from its queue, as a physical offset.
    pub fn dispatched_to(&self) -> u64 {
        self.dispatched.offset()
    }

    /// One behind the last position of the queue that can be got; 0 for a queue that does not exist.
    pub fn max_offset(&self, topic: &str, queue_id: i32) -> i64 {
        let compacted = self.compacted_max_offset(topic, queue_id);
        compacted.unwrap_or_else(|| self.find(topic, queue_id).map_or(0, |queue| queue.max_offset()))
    }

    /// First position of the queue that is left; 0 for a queue that does not exist.
    pub fn min_offset(&self, topic: &str, queue_id: i32) -> i64 {
        let min = self.find(topic, queue_id).map_or(0, |queue| queue.min_offset());
        self.compacted_min_offset(topic, queue_id).map_or(min, |compacted| compacted.min(min))
    }

    /// Whether the queue exists: whether it has ever had a message.
    pub fn has_queue(&self, topic: &str, queue_id: i32) -> bool {
        self.find(topic, queue_id).is_some_and(|queue| queue.max_offset() > 0)
    }

    /// Position in the queue that a store time stands for, within min and max offset; 0 for a queue that does not exist.
    /// [`Boundary::Lower`]: the first message stored then or later, the max offset when there is none.
    /// [`Boundary::Upper`]: the last message stored then or earlier, the min offset when there is none.
    pub fn offset_by_time(&self, topic: &str, queue_id: i32, timestamp_ms: i64, boundary: Boundary) -> i64 {
        let Some(queue) = self.find(topic, queue_id) else { return 0 };
        let (min, max) = (queue.min_offset(), queue.max_offset());
        let before = |time: i64| match boundary {
            Boundary::Lower => time < timestamp_ms,
            Boundary::Upper => time <= timestamp_ms,
        };
        let (mut low, mut high) = (min, max);
        while low < high {
            let middle = low + (high - low) / 2;
            // A message that is gone meanwhile is older than all that are left.
            if self.store_time_in(&queue, middle).is_none_or(before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let found = match boundary {
            Boundary::Lower => low,
            Boundary::Upper => (low - 1).max(min),
        };
        if found == min
            && let Some(older) = self.compacted_offset_by_time((topic, queue_id), min, timestamp_ms, boundary)
        {
            return older;
        }
        if queue.batch().is_none() {
            return found;
        }
        // Java names the first message of a batch, and the last batch where it should be none. Source:
        // BatchConsumeQueue.getOffsetInQueueByTime.
        self.entry(&queue, found.min(max - 1)).map_or(found, |entry| entry.queue_offset)
    }

    /// Store time of the message at a position, ms.
    pub fn store_time(&self, topic: &str, queue_id: i32, queue_offset: i64) -> Option<i64> {
        self.store_time_in(&self.find(topic, queue_id)?, queue_offset)
    }

    /// Store time of the oldest message in the log, ms; -1 when there is none.
    pub fn earliest_store_time(&self) -> i64 {
        let files = self.log.files().files();
        match files.first().map(|file| step(file, 0, false)) {
            Some(Step::Record(record)) => record.store_timestamp,
            _ => -1,
        }
    }

    /// Store time of the oldest message of a queue, ms; -1 when there is none.
    pub fn earliest_queue_store_time(&self, topic: &str, queue_id: i32) -> i64 {
        let Some(queue) = self.find(topic, queue_id) else { return -1 };
        self.store_time_in(&queue, queue.min_offset()).unwrap_or(-1)
    }

    /// Whether the message at a position is in the page cache; Java's checkInMemByConsumeOffset.
    pub fn in_memory(&self, topic: &str, queue_id: i32, queue_offset: i64) -> bool {
        let Some(entry) = self.find(topic, queue_id).and_then(|queue| self.entry(&queue, queue_offset)) else {
            return false;
        };
        u64::try_from(entry.unit.physical_offset).is_ok_and(|offset| self.is_resident(offset, entry.unit.size))
    }

    /// The record that starts at `physical_offset`; `None` when there is none.
    pub fn record_at(&self, physical_offset: u64) -> Option<MappedSlice> {
        let head = self.log.files().slice(physical_offset, 8)?;
        let (len, magic) = head.split_first_chunk::<4>()?;
        let magic = u32::from_be_bytes(magic.try_into().ok()?);
        let len = u32::from_be_bytes(*len);
        if !matches!(magic, MESSAGE_MAGIC_CODE | MESSAGE_MAGIC_CODE_V2) {
            return None;
        }
        let record = self.log.files().slice(physical_offset, len)?;
        let parsed = MessageRecord::parse(&record).ok()?;
        (u64::try_from(parsed.physical_offset) == Ok(physical_offset)).then_some(record)
    }

    /// Records by index key (UNIQ_KEY or an item of KEYS), stored between two times, in log order, the newest `max_num`
    /// of them (and no more than maxMsgsNumBatch). Keys of the same hash are returned too: the caller compares.
    /// Source: DefaultMessageStore.queryMessage.
    pub fn query_by_key(&self, topic: &str, key: &str, max_num: usize, begin_ms: i64, end_ms: i64) -> QueryResult {
        self.query_by_hash(key_hash(topic, key), max_num, begin_ms, end_ms)
    }

    /// [`MessageStore::query_by_key`] by tag.
    pub fn query_by_tag(&self, topic: &str, tags: &str, max_num: usize, begin_ms: i64, end_ms: i64) -> QueryResult {
        self.query_by_hash(codec::index::tag_hash(topic, tags), max_num, begin_ms, end_ms)
    }

    fn query_by_hash(&self, hash: u32, max_num: usize, begin_ms: i64, end_ms: i64) -> QueryResult {
        let Some(index) = &self.checkpointer.index else { return QueryResult::default() };
        let max_num = max_num.min(self.core.config.max_msgs_num_batch);
        let (index_last_update_timestamp, index_last_update_phyoffset) = index.last_update();
        let mut offsets = index.query(&self.core, hash, max_num, begin_ms, end_ms).unwrap_or_else(|error| {
            warn!(%error, "cannot read the index");
            Vec::new()
        });
        offsets.sort_unstable();
        offsets.dedup();
        let messages = offsets.into_iter().filter_map(|offset| self.record_at(offset)).collect();
        QueryResult { messages, index_last_update_timestamp, index_last_update_phyoffset }
    }

    /// Up to `count` units of a queue from position `index` on; empty when there are none.
    pub fn queue_units(&self, topic: &str, queue_id: i32, index: i64, count: usize) -> Vec<QueueUnit> {
        let Some(queue) = self.find(topic, queue_id) else { return Vec::new() };
        let mut units = Vec::new();
        let (mut at, max) = (index.max(queue.min_offset()), queue.max_offset());
        while units.len() < count && at < max {
            let wanted = i64::try_from(count - units.len()).unwrap_or(i64::MAX).min(1024);
            let Ok(read) = queue.entries(self.queues.files(), at, wanted) else { break };
            if read.is_empty() {
                break;
            }
            for Entry { queue_offset, count, unit } in read {
                at = queue_offset;
                units.push(QueueUnit {
                    queue_offset,
                    message_count: count,
                    physical_offset: u64::try_from(unit.physical_offset).unwrap_or(0),
                    size: u32::try_from(unit.size).unwrap_or(0),
                    tags_code: self.tags_code(&queue, &unit, at),
                    extension: self.queues.ext().extension(&queue, unit.tags_code),
                });
                at += count;
            }
        }
        units
    }

    fn find(&self, topic: &str, queue_id: i32) -> Option<Arc<Queue>> {
        self.queues.find(topic, queue_id).unwrap_or_else(|error| {
            self.core.poison(format!("cannot open the consume queue {queue_id} of {topic}: {error}"));
            None
        })
    }

    fn entry(&self, queue: &Arc<Queue>, queue_offset: i64) -> Option<Entry> {
        queue.entries(self.queues.files(), queue_offset, 1).ok()?.first().copied()
    }

    /// The tagsCode of a unit; from its record when the extension that had it is lost.
    fn tags_code(&self, queue: &Queue, unit: &Unit, queue_offset: i64) -> i64 {
        self.queues.ext().tags_code(queue, unit.tags_code).unwrap_or_else(|| {
            let record = Lookup::of(&self.log, queue, unit, queue_offset, false).record();
            record.and_then(|record| Some(self.delays.tags_code_of(&MessageRecord::parse(&record).ok()?))).unwrap_or(0)
        })
    }

    fn store_time_in(&self, queue: &Arc<Queue>, queue_offset: i64) -> Option<i64> {
        let entry = self.entry(queue, queue_offset)?;
        let record = Lookup::of(&self.log, queue, &entry.unit, entry.queue_offset, false).record()?;
        Some(MessageRecord::parse(&record).ok()?.store_timestamp)
    }
}

/// How much one get may return. Source: DefaultMessageStore.getMessage, isTheBatchFull.
pub(crate) struct Limits {
    begin_offset: i64,
    max_num: usize,
    max_bytes: usize,
    scan_units: i64,
    /// What lies further behind the end of the log counts as on disk.
    pub(crate) memory: u64,
    in_memory: (usize, usize),
    on_disk: (usize, usize),
}

impl Limits {
    pub(crate) fn new(store: &MessageStore, query: &GetQuery<'_>, unit_len: usize) -> Limits {
        let config = &store.core.config;
        let scan_bytes = config.max_filter_message_size.max(query.max_num.saturating_mul(unit_len));
        let ratio = u64::from(config.access_message_in_memory_max_ratio);
        Limits {
            begin_offset: query.queue_offset,
            max_num: query.max_num,
            max_bytes: query.max_bytes.clamp(100, MAX_PULL_BYTES),
            scan_units: i64::try_from(scan_bytes.div_ceil(unit_len)).unwrap_or(i64::MAX),
            memory: (store.total_memory / 100).saturating_mul(ratio),
            in_memory: (config.max_transfer_bytes_on_message_in_memory, config.max_transfer_count_on_message_in_memory),
            on_disk: (config.max_transfer_bytes_on_message_in_disk, config.max_transfer_count_on_message_in_disk),
        }
    }

    fn scanned_enough(&self, queue_offset: i64) -> bool {
        queue_offset - self.begin_offset >= self.scan_units
    }

    /// Whether a record of `len` bytes and so many messages more is too much; the first never is.
    pub(crate) fn is_full(&self, result: &GetResult, len: usize, messages: i64, in_memory: bool) -> bool {
        let count = result.message_count;
        if count == 0 {
            return false;
        }
        let messages = usize::try_from(messages).unwrap_or(1);
        let bytes = result.total_bytes.saturating_add(len);
        let (max_bytes, max_count) = if in_memory { self.in_memory } else { self.on_disk };
        count + messages > self.max_num || bytes > self.max_bytes || bytes > max_bytes || count >= max_count
    }
}
