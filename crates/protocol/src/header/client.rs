//! Clients: leaving, members of a group, what the broker asks of them.

use bytestring::ByteString;
use codec::command_header;

command_header! {
    /// Answer to a heartbeat (34). Brokers before 5.1 answer without.
    pub struct HeartbeatResponseHeader {
        /// The broker understands fingerprints.
        "IS_SUPPORT_HEART_BEAT_V2" is_support_heart_beat_v2: Option<bool>,
        /// The broker needs the whole subscription again.
        "IS_SUB_CHANGE" is_sub_change: Option<bool>,
    }
}

command_header! {
    /// Code 35.
    pub struct UnregisterClientRequestHeader {
        "clientID" client_id: ByteString,
        "producerGroup" producer_group: Option<ByteString>,
        "consumerGroup" consumer_group: Option<ByteString>,
    }
}

command_header! {
    /// Codes 38 and 203, and 40 towards clients.
    pub struct ConsumerGroupRequestHeader {
        "consumerGroup" consumer_group: ByteString,
    }
}

command_header! {
    /// Code 204.
    pub struct ProducerGroupRequestHeader {
        "producerGroup" producer_group: ByteString,
    }
}

command_header! {
    /// Code 307, relayed to the client.
    pub struct GetConsumerRunningInfoRequestHeader {
        "consumerGroup" consumer_group: ByteString,
        "clientId" client_id: ByteString,
        "jstackEnable" jstack_enable: bool = false,
    }
}

command_header! {
    /// Code 309, relayed to the client with the message as its body.
    pub struct ConsumeMessageDirectlyResultRequestHeader {
        "consumerGroup" consumer_group: ByteString,
        "clientId" client_id: Option<ByteString>,
        "msgId" msg_id: Option<ByteString>,
        "brokerName" broker_name: Option<ByteString>,
        "topic" topic: Option<ByteString>,
        "topicSysFlag" topic_sys_flag: Option<i32>,
        "groupSysFlag" group_sys_flag: Option<i32>,
    }
}

command_header! {
    /// Codes 223 and, towards clients, 221.
    pub struct GetConsumerStatusRequestHeader {
        "topic" topic: ByteString,
        "group" group: ByteString,
        "clientAddr" client_addr: Option<ByteString>,
    }
}
