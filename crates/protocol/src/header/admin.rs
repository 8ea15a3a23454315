//! Administration of brokers.

use bytestring::ByteString;
use codec::command_header;

command_header! {
    /// Answer to 26.
    pub struct GetBrokerConfigResponseHeader {
        /// DataVersion as JSON.
        "version" version: ByteString,
    }
}

command_header! {
    /// Code 208.
    pub struct GetConsumeStatsRequestHeader {
        "consumerGroup" consumer_group: ByteString,
        /// Absent or empty: all topics of the group.
        "topic" topic: Option<ByteString>,
        /// Several topics, joined by `;`.
        "topicList" topic_list: Option<ByteString>,
    }
}

command_header! {
    /// Code 317.
    pub struct GetConsumeStatsInBrokerHeader {
        "isOrder" is_order: bool = false,
    }
}

command_header! {
    /// Code 315.
    pub struct ViewBrokerStatsDataRequestHeader {
        "statsName" stats_name: ByteString,
        "statsKey" stats_key: ByteString,
    }
}
