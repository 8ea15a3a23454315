//! Offsets of consumers and queues.

use bytestring::ByteString;
use codec::command_header;

command_header! {
    /// Code 14.
    pub struct QueryConsumerOffsetRequestHeader {
        "consumerGroup" consumer_group: ByteString,
        "topic" topic: ByteString,
        "queueId" queue_id: i32,
        /// False: a missing offset is never answered with 0.
        "setZeroIfNotFound" set_zero_if_not_found: Option<bool>,
    }
}

command_header! {
    /// Code 15.
    pub struct UpdateConsumerOffsetRequestHeader {
        "consumerGroup" consumer_group: ByteString,
        "topic" topic: ByteString,
        "queueId" queue_id: Option<i32>,
        /// The next message to consume.
        "commitOffset" commit_offset: Option<i64>,
    }
}

command_header! {
    /// Answers that are one offset: 14, 29, 30, 31.
    pub struct OffsetResponseHeader {
        "offset" offset: i64,
    }
}

command_header! {
    /// Codes 30, 31 and 32.
    pub struct QueueRequestHeader {
        "topic" topic: ByteString,
        "queueId" queue_id: i32,
    }
}

command_header! {
    /// Code 29.
    pub struct SearchOffsetRequestHeader {
        "topic" topic: ByteString,
        "queueId" queue_id: i32,
        /// Milliseconds of store time.
        "timestamp" timestamp: i64,
        /// `LOWER` (default) or `UPPER`: which of several messages of that time.
        "boundaryType" boundary_type: Option<ByteString>,
    }
}

command_header! {
    /// Answer to 32.
    pub struct GetEarliestMsgStoretimeResponseHeader {
        /// Milliseconds, -1 when the queue is empty.
        "timestamp" timestamp: i64,
    }
}

command_header! {
    /// Codes 222 and 220.
    pub struct ResetOffsetRequestHeader {
        "topic" topic: ByteString,
        "group" group: ByteString,
        /// One queue, or -1 for all.
        "queueId" queue_id: i32 = -1,
        /// The offset for that queue.
        "offset" offset: Option<i64>,
        /// Milliseconds; -1 means the end.
        "timestamp" timestamp: i64 = -1,
        /// Also backwards.
        "isForce" is_force: bool = false,
    }
}

command_header! {
    /// Code 314.
    pub struct CloneGroupOffsetRequestHeader {
        "srcGroup" src_group: ByteString,
        "destGroup" dest_group: ByteString,
        "topic" topic: Option<ByteString>,
        "offline" offline: bool = false,
    }
}

command_header! {
    /// Code 308.
    pub struct QueryCorrectionOffsetHeader {
        "filterGroups" filter_groups: Option<ByteString>,
        "compareGroup" compare_group: ByteString,
        "topic" topic: ByteString,
    }
}
