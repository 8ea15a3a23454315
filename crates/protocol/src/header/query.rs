//! Looking messages up.

use bytestring::ByteString;
use codec::command_header;

command_header! {
    /// Code 12.
    pub struct QueryMessageRequestHeader {
        "topic" topic: ByteString,
        "key" key: ByteString,
        "maxNum" max_num: i32,
        /// Milliseconds of store time, inclusive.
        "beginTimestamp" begin_timestamp: i64,
        /// Milliseconds of store time, inclusive.
        "endTimestamp" end_timestamp: i64,
        /// `K`, `U` or `T` (5.5).
        "indexType" index_type: Option<ByteString>,
        /// "true": `key` is a client's message id.
        "_UNIQUE_KEY_QUERY" unique_key_query: bool = false,
    }
}

command_header! {
    /// Answer to 12.
    pub struct QueryMessageResponseHeader {
        "indexLastUpdateTimestamp" index_last_update_timestamp: i64,
        "indexLastUpdatePhyoffset" index_last_update_phyoffset: i64,
    }
}

command_header! {
    /// Code 33.
    pub struct ViewMessageRequestHeader {
        "topic" topic: Option<ByteString>,
        /// Physical offset in the commit log.
        "offset" offset: i64,
    }
}

command_header! {
    /// Code 321.
    pub struct QueryConsumeQueueRequestHeader {
        "topic" topic: ByteString,
        "queueId" queue_id: i32,
        /// First unit wanted; negative means the last ones.
        "index" index: i64,
        "count" count: i32,
        "consumerGroup" consumer_group: Option<ByteString>,
    }
}
