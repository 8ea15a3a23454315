//! Topics and subscription groups.

use bytestring::ByteString;
use codec::command_header;

command_header! {
    /// Code 17.
    pub struct CreateTopicRequestHeader {
        "topic" topic: ByteString,
        "defaultTopic" default_topic: Option<ByteString>,
        "readQueueNums" read_queue_nums: i32,
        "writeQueueNums" write_queue_nums: i32,
        "perm" perm: i32,
        /// `SINGLE_TAG` or `MULTI_TAG`.
        "topicFilterType" topic_filter_type: Option<ByteString>,
        "topicSysFlag" topic_sys_flag: Option<i32>,
        "order" order: bool = false,
        /// `+key=value,-key`.
        "attributes" attributes: Option<ByteString>,
        "force" force: bool = false,
    }
}

command_header! {
    /// One topic: 202, 215, 300.
    pub struct TopicRequestHeader {
        "topic" topic: ByteString,
    }
}

command_header! {
    /// Code 351.
    pub struct GetTopicConfigRequestHeader {
        "topic" topic: ByteString,
        /// With the mapping of a static topic.
        "lo" lo: Option<bool>,
    }
}

command_header! {
    /// One group: 343, 352.
    pub struct GroupRequestHeader {
        "group" group: ByteString,
    }
}

command_header! {
    /// Code 207.
    pub struct DeleteSubscriptionGroupRequestHeader {
        "groupName" group_name: ByteString,
        /// Also forget its offsets.
        "cleanOffset" clean_offset: bool = false,
        /// The same in 4.9.
        "removeOffset" remove_offset: bool = false,
    }
}

command_header! {
    /// Code 21.
    pub struct GetAllTopicConfigRequestHeader {
        /// First topic wanted; without it the whole table is answered.
        "topicSeq" topic_seq: Option<i32>,
        /// JSON of the version that the pages belong to.
        "dataVersion" data_version: Option<ByteString>,
        "maxTopicNum" max_topic_num: Option<i32>,
    }
}

command_header! {
    /// Answer to 21.
    pub struct GetAllTopicConfigResponseHeader {
        "totalTopicNum" total_topic_num: Option<i32>,
    }
}

command_header! {
    /// Code 201.
    pub struct GetAllSubscriptionGroupRequestHeader {
        /// First group wanted; without it the whole table is answered.
        "groupSeq" group_seq: Option<i32>,
        /// JSON of the version that the pages belong to.
        "dataVersion" data_version: Option<ByteString>,
        "maxGroupNum" max_group_num: Option<i32>,
    }
}

command_header! {
    /// Answer to 201.
    pub struct GetAllSubscriptionGroupResponseHeader {
        "totalGroupNum" total_group_num: Option<i32>,
    }
}

command_header! {
    /// Code 353.
    pub struct UpdateGroupForbiddenRequestHeader {
        "group" group: ByteString,
        "topic" topic: ByteString,
        /// Absent: only asked.
        "readable" readable: Option<bool>,
    }
}

command_header! {
    /// Code 345.
    pub struct QuerySubscriptionByConsumerRequestHeader {
        "group" group: ByteString,
        "topic" topic: Option<ByteString>,
    }
}

command_header! {
    /// Code 303.
    pub struct QueryConsumeTimeSpanRequestHeader {
        "topic" topic: ByteString,
        "group" group: Option<ByteString>,
    }
}
