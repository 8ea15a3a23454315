//! Questions to the store and its answers.

use codec::consume_queue_ext::ExtUnit;

use crate::mmap::MappedSlice;

/// Which messages a get is to return.
#[derive(Debug, Clone, Copy)]
pub struct GetQuery<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue.
    pub queue_id: i32,
    /// First position wanted.
    pub queue_offset: i64,
    /// Most messages wanted; the store has limits of its own besides.
    pub max_num: usize,
    /// Most bytes wanted; at least one message is returned whatever its size.
    pub max_bytes: usize,
    /// What counts as cold; [`GetResult::cold_bytes`] is reckoned only with it.
    pub cold: Option<ColdArea>,
}

/// Messages that lie so far behind the end of the log that reading them takes a disk's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdArea {
    /// Messages behind the end by more than so many percent of the machine's memory are cold.
    pub hot_ratio: u8,
    /// Of those, only the ones that the kernel does not have in memory.
    pub ask_kernel: bool,
}

impl<'a> GetQuery<'a> {
    /// Up to `max_num` messages from `queue_offset` on, bytes limited by the store alone.
    #[must_use]
    pub fn new(topic: &'a str, queue_id: i32, queue_offset: i64, max_num: usize) -> Self {
        GetQuery { topic, queue_id, queue_offset, max_num, max_bytes: MAX_PULL_BYTES, cold: None }
    }
}

/// Hard limit of the bytes of one get. Source: DefaultMessageStore.MAX_PULL_MSG_SIZE.
pub const MAX_PULL_BYTES: usize = 128 * 1024 * 1024;

/// How a get went; Java's GetMessageStatus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GetMessageStatus {
    /// There are messages.
    Found,
    /// The filter took none of those looked at.
    NoMatchedMessage,
    /// The messages were deleted from the commit log meanwhile.
    MessageWasRemoving,
    /// The queue has no unit there.
    OffsetFoundNull,
    /// The offset is beyond the end by more than one.
    OffsetOverflowBadly,
    /// The offset is the end: nothing there yet.
    OffsetOverflowOne,
    /// The offset is before the first message that is left.
    OffsetTooSmall,
    /// There is no such queue.
    NoMatchedLogicQueue,
    /// The queue is empty.
    NoMessageInQueue,
}

/// The answer to a [`GetQuery`].
#[derive(Debug, Clone)]
pub struct GetResult {
    /// How it went.
    pub status: GetMessageStatus,
    /// Whole records, in queue order. In a queue of batches each holds one message or several; the first may begin before
    /// the offset asked for.
    pub messages: Vec<MappedSlice>,
    /// How many messages they hold.
    pub message_count: usize,
    /// Bytes of all of them.
    pub total_bytes: usize,
    /// Where to go on.
    pub next_begin_offset: i64,
    /// First position of the queue.
    pub min_offset: i64,
    /// One behind the last position of the queue.
    pub max_offset: i64,
    /// The messages lie too far back to be in memory.
    pub suggest_pulling_from_slave: bool,
    /// Messages that [`MessageFilter::by_record`] refused.
    pub filtered: usize,
    /// Bytes of messages that were cold before they were read, those that the filter refused too.
    pub cold_bytes: u64,
}

/// Decides which messages a get returns.
pub trait MessageFilter {
    /// By tagsCode alone; `false` spares reading the record. Hashes collide: the consumer checks the tag itself.
    fn by_queue_unit(&self, tags_code: i64) -> bool;
    /// By what the queue's extension says, where there is one.
    fn by_extension(&self, unit: &ExtUnit<'_>) -> bool {
        self.by_queue_unit(unit.tags_code)
    }
    /// By the properties of a message that has just arrived, for those who wait for one.
    fn by_properties(&self, _properties: &str) -> bool {
        true
    }
    /// By the whole record.
    fn by_record(&self, _record: &[u8]) -> bool {
        true
    }
}

/// Takes every message.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllMessages;

impl MessageFilter for AllMessages {
    fn by_queue_unit(&self, _: i64) -> bool {
        true
    }
}

/// Which of several messages a time stands for; Java's BoundaryType.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Boundary {
    /// The first message stored at that time or after it.
    #[default]
    Lower,
    /// The last message stored at that time or before it.
    Upper,
}

/// The answer to a query by key.
#[derive(Debug, Clone, Default)]
pub struct QueryResult {
    /// Whole records in log order whose key has the hash asked for; other keys may have it too, so the caller compares.
    pub messages: Vec<MappedSlice>,
    /// Store time of the newest message in the index, ms.
    pub index_last_update_timestamp: i64,
    /// Physical offset of the newest message in the index.
    pub index_last_update_phyoffset: i64,
}

/// What the extension of a queue says of a message beside its tagsCode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// When it was stored, ms.
    pub store_timestamp: i64,
    /// Which filters take it; empty when that was not reckoned.
    pub bit_map: Vec<u8>,
}

/// One unit of a consume queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueUnit {
    /// Position in the queue; of a batch that of its first message.
    pub queue_offset: i64,
    /// How many messages the record holds; 1 but in a queue of batches.
    pub message_count: i64,
    /// Position of the record in the commit log.
    pub physical_offset: u64,
    /// Bytes of the record.
    pub size: u32,
    /// Hash of the tag, or the delivery time in SCHEDULE_TOPIC_XXXX.
    pub tags_code: i64,
    /// Its extension, if it has one.
    pub extension: Option<Extension>,
}
