//! [`MessageStore`]: the whole of it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::{
    Boundary, FlushWait, GetQuery, GetResult, MappedSlice, Message, MessageArrivingListener, MessageFilter, OpenError,
    PutError, PutResult, QueryResult, QueueUnit, StoreConfig, StoreStatus,
};

/// A message store over one directory. Share it behind an [`Arc`]; all methods take `&self` and may be called from any
/// thread. Dropping it shuts it down.
#[derive(Debug)]
pub struct MessageStore {}

#[expect(unused_variables, reason = "skeleton")]
impl MessageStore {
    /// Locks the directory, loads it, recovers it and starts the threads. `arriving` is told of each new message by the
    /// thread `store-dispatch`, not of those that recovery dispatches again.
    /// # Errors
    /// See [`OpenError`]; nothing is left running or locked.
    pub fn open(config: StoreConfig, arriving: Arc<dyn MessageArrivingListener>) -> Result<MessageStore, OpenError> {
        todo!()
    }

    /// Appends one message; returns when it is in the page cache and would survive the death of the process. To know
    /// it on the disk, wait for [`MessageStore::flushed`]`(result.end())`.
    ///
    /// The queue offset counts per topic and queue. A prepared or rolled-back transaction message gets queue offset 0
    /// and enters no queue.
    /// # Errors
    /// See [`PutError`]; nothing was stored.
    pub fn put(&self, message: &Message<'_>) -> Result<PutResult, PutError> {
        todo!()
    }

    /// Appends several messages one behind the other, all or none, under one acquisition of the append lock and never
    /// split across files. They may be of different queues.
    /// # Errors
    /// See [`PutError`]; nothing was stored.
    pub fn put_batch(&self, messages: &[Message<'_>]) -> Result<Vec<PutResult>, PutError> {
        todo!()
    }

    /// Resolves when everything before `end` is confirmed: on the disk under SYNC_FLUSH, at once under ASYNC_FLUSH.
    pub fn flushed(&self, end: u64) -> FlushWait {
        todo!()
    }

    /// Messages of one queue from an offset on; Java's getMessage with its statuses and corrections of the offset.
    pub fn get(&self, query: &GetQuery<'_>, filter: &dyn MessageFilter) -> GetResult {
        todo!()
    }

    /// One behind the last position of the queue that can be got; 0 for a queue that does not exist.
    pub fn max_offset(&self, topic: &str, queue_id: i32) -> i64 {
        todo!()
    }

    /// First position of the queue that is left; 0 for a queue that does not exist (Java says -1 then: see
    /// [`MessageStore::has_queue`]).
    pub fn min_offset(&self, topic: &str, queue_id: i32) -> i64 {
        todo!()
    }

    /// Whether the queue exists, that is, has ever had a message.
    pub fn has_queue(&self, topic: &str, queue_id: i32) -> bool {
        todo!()
    }

    /// Position in the queue that a store time stands for; 0 for a queue that does not exist.
    pub fn offset_by_time(&self, topic: &str, queue_id: i32, timestamp_ms: i64, boundary: Boundary) -> i64 {
        todo!()
    }

    /// Store time of the message at a position, ms.
    pub fn store_time(&self, topic: &str, queue_id: i32, queue_offset: i64) -> Option<i64> {
        todo!()
    }

    /// Store time of the oldest message in the log, ms; -1 when there is none.
    pub fn earliest_store_time(&self) -> i64 {
        todo!()
    }

    /// Store time of the oldest message of a queue, ms; -1 when there is none.
    pub fn earliest_queue_store_time(&self, topic: &str, queue_id: i32) -> i64 {
        todo!()
    }

    /// Whether the message at a position is in the page cache; Java's checkInMemByConsumeOffset.
    pub fn in_memory(&self, topic: &str, queue_id: i32, queue_offset: i64) -> bool {
        todo!()
    }

    /// The record that starts at `physical_offset`; `None` when there is none.
    pub fn record_at(&self, physical_offset: u64) -> Option<MappedSlice> {
        todo!()
    }

    /// Records by index key (UNIQ_KEY or an item of KEYS), stored between two times, newest first.
    pub fn query_by_key(&self, topic: &str, key: &str, max_num: usize, begin_ms: i64, end_ms: i64) -> QueryResult {
        todo!()
    }

    /// Up to `count` units of a queue from position `index` on; empty when there are none.
    pub fn queue_units(&self, topic: &str, queue_id: i32, index: i64, count: usize) -> Vec<QueueUnit> {
        todo!()
    }

    /// All topics that have queues, with their queue ids, sorted.
    pub fn topics(&self) -> Vec<(String, Vec<i32>)> {
        todo!()
    }

    /// Deletes the consume queues of a topic; its records stay in the log until they expire. Returns how many queues
    /// went.
    pub fn delete_topic(&self, topic: &str) -> usize {
        todo!()
    }

    /// Deletes the consume queues of all topics that are not in `keep`, nor a system topic or an LMQ. Returns how many
    /// topics went.
    pub fn clean_unused_topics(&self, keep: &HashSet<String>) -> usize {
        todo!()
    }

    /// Deletes expired commit-log files at once, whatever the hour (DELETE_EXPIRED_COMMITLOG).
    pub fn delete_expired_files(&self) {
        todo!()
    }

    /// Deletes consume-queue files that lie wholly before the log (CLEAN_EXPIRED_CONSUMEQUEUE).
    pub fn clean_expired_consume_queues(&self) {
        todo!()
    }

    /// How the store is doing.
    pub fn status(&self) -> StoreStatus {
        todo!()
    }

    /// Stops cleanly: no more puts, everything dispatched and flushed, checkpoint written, `abort` removed, unlocked.
    /// Calling it again does nothing.
    pub fn shutdown(&self) {
        todo!()
    }
}
