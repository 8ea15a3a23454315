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
    /// Code 2004.
    pub struct SetCommitLogReadModeRequestHeader {
        /// 0: the kernel reads ahead, 1: it does not. As text, since anything else has an answer of its own.
        "READ_AHEAD_MODE" mode: Option<ByteString>,
    }
}

command_header! {
    /// Code 315.
    pub struct ViewBrokerStatsDataRequestHeader {
        "statsName" stats_name: ByteString,
        "statsKey" stats_key: ByteString,
    }
}
