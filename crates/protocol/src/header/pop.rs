//! POP consumption. Sources: remoting/protocol/header/PopMessage*.java, AckMessage*.java, ChangeInvisibleTime*.java,
//! PeekMessage*.java, Notification*.java, PollingInfo*.java.

use bytestring::ByteString;
use codec::command_header;

command_header! {
    /// Code 200050.
    pub struct PopMessageRequestHeader {
        /// Group of the consumer.
        "consumerGroup" consumer_group: ByteString,
        /// Topic.
        "topic" topic: ByteString,
        /// Queue; negative means all.
        "queueId" queue_id: i32,
        /// At most so many, 32 at most.
        "maxMsgNums" max_msg_nums: i32,
        /// For how long nobody else gets them, ms.
        "invisibleTime" invisible_time: i64,
        /// How long the request may wait for a message, ms.
        "pollTime" poll_time: i64,
        /// When the client made the request, ms; 0 means when it arrives.
        "bornTime" born_time: i64 = 0,
        /// Where a group without offset begins: 0 at the first message, 1 at the last.
        "initMode" init_mode: i32 = 0,
        /// `TAG` (default) or `SQL92`.
        "expType" exp_type: Option<ByteString>,
        /// What is wanted; nothing means all.
        "exp" exp: Option<ByteString>,
        /// In order: no further message of a queue until these are acknowledged.
        "order" order: bool = false,
        /// Of an ordered pop: the same id gets the same messages again.
        "attemptId" attempt_id: Option<ByteString>,
    }
}

command_header! {
    /// Answer to 200050 and 200052, whatever its code.
    #[derive(Default)]
    pub struct PopMessageResponseHeader {
        /// When they were handed out, ms.
        "popTime" pop_time: i64 = 0,
        /// For how long nobody else gets them, ms.
        "invisibleTime" invisible_time: i64 = 0,
        /// Queue of the revive topic that holds the check points; 999 for ordered pops.
        "reviveQid" revive_qid: i32 = 0,
        /// Messages left in the queues that were looked at.
        "restNum" rest_num: i64 = 0,
        /// `retry queueId startOffset` by `;`: where each queue was read from. `retry` is 0, 1 (retry topic v1) or 2 (v2).
        "startOffsetInfo" start_offset_info: Option<ByteString>,
        /// `retry queueId offset,offset…` by `;`: what was handed out.
        "msgOffsetInfo" msg_offset_info: Option<ByteString>,
        /// Of an ordered pop: `retry queueId count` and `retry qoQUEUE%OFFSET count` by `;`: how often it was handed out.
        "orderCountInfo" order_count_info: Option<ByteString>,
    }
}

command_header! {
    /// Code 200051.
    pub struct AckMessageRequestHeader {
        /// Group.
        "consumerGroup" consumer_group: ByteString,
        /// Topic, of a retried message its retry topic.
        "topic" topic: ByteString,
        /// Queue.
        "queueId" queue_id: i32,
        /// The receipt.
        "extraInfo" extra_info: ByteString,
        /// Place in the queue.
        "offset" offset: i64,
        /// Lite topics only.
        "liteTopic" lite_topic: Option<ByteString>,
    }
}

command_header! {
    /// Code 200053.
    pub struct ChangeInvisibleTimeRequestHeader {
        /// Group.
        "consumerGroup" consumer_group: ByteString,
        /// Topic, of a retried message its retry topic.
        "topic" topic: ByteString,
        /// Queue.
        "queueId" queue_id: i32,
        /// The receipt.
        "extraInfo" extra_info: ByteString,
        /// Place in the queue.
        "offset" offset: i64,
        /// From now on, ms.
        "invisibleTime" invisible_time: i64,
        /// Lite topics only.
        "liteTopic" lite_topic: Option<ByteString>,
        /// Coming again does not count as another attempt.
        "suspend" suspend: bool = false,
    }
}

command_header! {
    /// Answer to 200053: what the new receipt is made of.
    #[derive(Default)]
    pub struct ChangeInvisibleTimeResponseHeader {
        /// Of the new receipt, ms.
        "popTime" pop_time: i64 = 0,
        /// Of the new receipt, ms.
        "invisibleTime" invisible_time: i64 = 0,
        /// Of the new receipt.
        "reviveQid" revive_qid: i32 = 0,
    }
}

command_header! {
    /// Code 200052.
    pub struct PeekMessageRequestHeader {
        /// Topic.
        "topic" topic: ByteString,
        /// Queue; negative means all.
        "queueId" queue_id: i32,
        /// At most so many.
        "maxMsgNums" max_msg_nums: i32,
        /// Group.
        "consumerGroup" consumer_group: ByteString,
    }
}

command_header! {
    /// Code 200054.
    pub struct NotificationRequestHeader {
        /// Group.
        "consumerGroup" consumer_group: ByteString,
        /// Topic.
        "topic" topic: ByteString,
        /// Queue; negative means all.
        "queueId" queue_id: i32,
        /// How long the request may wait, ms.
        "pollTime" poll_time: i64,
        /// When the client made the request, ms; 0 means when it arrives.
        "bornTime" born_time: i64 = 0,
        /// Whether messages that an ordered pop would not get count.
        "order" order: bool = false,
        /// Of an ordered pop.
        "attemptId" attempt_id: Option<ByteString>,
        /// `TAG` (default) or `SQL92`.
        "expType" exp_type: Option<ByteString>,
        /// What is wanted.
        "exp" exp: Option<ByteString>,
    }
}

command_header! {
    /// Answer to 200054, whatever its code.
    #[derive(Default)]
    pub struct NotificationResponseHeader {
        /// A pop would find something.
        "hasMsg" has_msg: bool = false,
        /// The request could not wait: too many do.
        "pollingFull" polling_full: bool = false,
    }
}

command_header! {
    /// Code 200055.
    pub struct PollingInfoRequestHeader {
        /// Group.
        "consumerGroup" consumer_group: ByteString,
        /// Topic.
        "topic" topic: ByteString,
        /// Queue as the waiting pops named it; −1 for those of all queues.
        "queueId" queue_id: i32,
    }
}

command_header! {
    /// Answer to 200055, whatever its code.
    #[derive(Default)]
    pub struct PollingInfoResponseHeader {
        /// Pops that wait.
        "pollingNum" polling_num: i32 = 0,
    }
}
