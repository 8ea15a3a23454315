//! Pulling. Source: remoting/protocol/header/PullMessage*.java.

use bytestring::ByteString;
use codec::command_header;

command_header! {
    /// Codes 11 and 361.
    pub struct PullMessageRequestHeader {
        /// Group of the consumer.
        "consumerGroup" consumer_group: ByteString,
        /// Topic.
        "topic" topic: ByteString,
        /// Queue.
        "queueId" queue_id: i32,
        /// First message wanted.
        "queueOffset" queue_offset: i64,
        /// At most so many.
        "maxMsgNums" max_msg_nums: i32,
        /// Bits of [`crate::sys_flag::pull`].
        "sysFlag" sys_flag: i32,
        /// Committed with the pull when the flag says so.
        "commitOffset" commit_offset: i64 = 0,
        /// How long an empty pull may be held, ms.
        "suspendTimeoutMillis" suspend_timeout_millis: i64 = 0,
        /// Expression, when the flag says so.
        "subscription" subscription: Option<ByteString>,
        /// Version of the subscription, ms.
        "subVersion" sub_version: i64 = 0,
        /// `TAG` (default) or `SQL92`.
        "expressionType" expression_type: Option<ByteString>,
        /// At most so many bytes.
        "maxMsgBytes" max_msg_bytes: Option<i32>,
        /// Who pulls: a client, a proxy for a broadcast client …
        "requestSource" request_source: Option<i32>,
        /// The client behind a proxy.
        "proxyFrowardClientId" proxy_forward_client_id: Option<ByteString>,
    }
}

command_header! {
    /// Answer to a pull, whatever its code.
    pub struct PullMessageResponseHeader {
        /// 0 the master, 1 the slave to read from next.
        "suggestWhichBrokerId" suggest_which_broker_id: i64,
        /// Where to pull next.
        "nextBeginOffset" next_begin_offset: i64,
        /// First message of the queue.
        "minOffset" min_offset: i64,
        /// Behind the last message of the queue.
        "maxOffset" max_offset: i64,
        /// Static topics only.
        "offsetDelta" offset_delta: Option<i64>,
        /// Flag of the topic.
        "topicSysFlag" topic_sys_flag: Option<i32>,
        /// Flag of the group.
        "groupSysFlag" group_sys_flag: Option<i32>,
        /// Why a pull is forbidden.
        "forbiddenType" forbidden_type: Option<i32>,
    }
}

/// Values of `requestSource`. Source: remoting/protocol/RequestSource.java.
pub mod request_source {
    /// A proxy pulls for a client of a broadcasting group.
    pub const PROXY_FOR_BROADCAST: i32 = 1;
}

/// Values of `forbiddenType`. Source: remoting/protocol/ForbiddenType.java.
pub mod forbidden_type {
    /// The broker must not be read.
    pub const BROKER: i32 = 1;
    /// The group must not consume.
    pub const GROUP: i32 = 2;
    /// The topic must not be read.
    pub const TOPIC: i32 = 3;
    /// The group must not broadcast.
    pub const BROADCASTING: i32 = 4;
    /// The group must not read this topic.
    pub const SUBSCRIPTION: i32 = 5;
}
