//! Topic and group names: prefixes, system names, and what a valid name is. Sources: common/MixAll.java,
//! common/topic/TopicValidator.java, client/Validators.java.

/// Topic from which automatically created topics take their settings.
pub const AUTO_CREATE_TOPIC_KEY_TOPIC: &str = "TBW102";
/// Holds delayed messages, one queue per level.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Prefix of a group's retry topic.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Prefix of a group's dead letter topic.
pub const DLQ_PREFIX: &str = "%DLQ%";
/// Prefix of light queues.
pub const LMQ_PREFIX: &str = "%LMQ%";
/// Prefix of system topics.
pub const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
/// Prefix of system groups.
pub const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";
/// Half messages of transactions.
pub const TRANS_HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Decisions over half messages.
pub const TRANS_OP_HALF_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Half messages whose fate was asked too often.
pub const TRANS_CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// The group that reads half messages and decisions.
pub const TRANS_GROUP: &str = "CID_RMQ_SYS_TRANS";
/// For the broker's own check.
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// Tells of pulls outside the range of a queue.
pub const OFFSET_MOVED_EVENT: &str = "OFFSET_MOVED_EVENT";
/// Message trace.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// Java's load tester.
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
/// Messages of arbitrary delay.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Reads the revive topic.
pub const REVIVE_GROUP: &str = "CID_RMQ_SYS_REVIVE_GROUP";
const REVIVE_PREFIX: &str = "rmq_sys_REVIVE_LOG_";
const POP_RETRY_V1: char = '_';
const POP_RETRY_V2: char = '+';
/// KV namespace of order topics.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

const TOPIC_MAX_LEN: usize = 127;
const RETRY_OR_DLQ_TOPIC_MAX_LEN: usize = 255;
const GROUP_MAX_LEN: usize = 120;

/// Topics that belong to RocketMQ itself on every broker.
pub const SYSTEM_TOPICS: [&str; 12] = [
    AUTO_CREATE_TOPIC_KEY_TOPIC,
    SCHEDULE_TOPIC,
    BENCHMARK_TOPIC,
    TRANS_HALF_TOPIC,
    TRACE_TOPIC,
    TRANS_OP_HALF_TOPIC,
    TRANS_CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_EVENT,
    "CHECKPOINT_TOPIC",
    "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC",
    "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
];

const NOT_SENDABLE: [&str; 8] = [
    SCHEDULE_TOPIC,
    TRANS_HALF_TOPIC,
    TRANS_OP_HALF_TOPIC,
    TRANS_CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_EVENT,
    "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC",
    "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
];

const SYSTEM_GROUPS: [&str; 13] = [
    "DEFAULT_PRODUCER",
    "DEFAULT_CONSUMER",
    "TOOLS_CONSUMER",
    "SCHEDULE_CONSUMER",
    "FILTERSRV_CONSUMER",
    "__MONITOR_CONSUMER",
    "CLIENT_INNER_PRODUCER",
    "SELF_TEST_P_GROUP",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_ONSAPI_PULL",
];

/// The topic to which a group's failed messages return.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// The topic where a group's given-up messages end.
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_PREFIX}{group}")
}

/// Where check points of POP and their acknowledgements lie.
pub fn revive_topic(cluster: &str) -> String {
    format!("{REVIVE_PREFIX}{cluster}")
}

/// The topic to which messages return that a group popped and did not acknowledge. Source: KeyBuilder.java.
pub fn pop_retry_topic(topic: &str, group: &str, v2: bool) -> String {
    let separator = if v2 { POP_RETRY_V2 } else { POP_RETRY_V1 };
    format!("{RETRY_PREFIX}{group}{separator}{topic}")
}

/// The topic that a POP retry topic of the group is of; any other topic is that itself.
pub fn pop_origin_topic<'a>(topic: &'a str, group: &str) -> &'a str {
    let rest = topic.strip_prefix(RETRY_PREFIX).and_then(|rest| rest.strip_prefix(group));
    rest.and_then(|rest| rest.strip_prefix([POP_RETRY_V1, POP_RETRY_V2])).unwrap_or(topic)
}

/// How receipts tell where a message lies: `0` a topic, `1` a retry topic, `2` one of POP's second form.
pub fn pop_retry_flag(topic: &str) -> &'static str {
    match topic.strip_prefix(RETRY_PREFIX) {
        Some(rest) if rest.contains(POP_RETRY_V2) => "2",
        Some(_) => "1",
        None => "0",
    }
}

/// True for topics that belong to RocketMQ itself.
pub fn is_system_topic(topic: &str) -> bool {
    SYSTEM_TOPICS.contains(&topic) || topic.starts_with(SYSTEM_TOPIC_PREFIX)
}

/// True for groups that belong to RocketMQ itself.
pub fn is_system_group(group: &str) -> bool {
    SYSTEM_GROUPS.contains(&group) || group.starts_with(SYSTEM_GROUP_PREFIX)
}

/// True for topics that clients may not send to.
pub fn is_not_sendable(topic: &str) -> bool {
    NOT_SENDABLE.contains(&topic)
}

/// Checks a topic name.
///
/// # Errors
/// The sentence for the remark, naming the topic and the rule.
pub fn validate_topic(topic: &str) -> Result<(), String> {
    if topic.trim().is_empty() {
        return Err("The specified topic is blank.".to_owned());
    }
    if let Some(bad) = illegal_char(topic) {
        return Err(format!(
            "The specified topic: {topic}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$ (found {bad:?})"
        ));
    }
    let max = if topic.starts_with(RETRY_PREFIX) || topic.starts_with(DLQ_PREFIX) {
        RETRY_OR_DLQ_TOPIC_MAX_LEN
    } else {
        TOPIC_MAX_LEN
    };
    if topic.len() > max {
        return Err(format!("The specified topic: {topic}, is longer than topic max length: {max}"));
    }
    Ok(())
}

/// Checks a group name.
///
/// # Errors
/// The sentence for the remark, naming the group and the rule.
pub fn validate_group(group: &str) -> Result<(), String> {
    if group.trim().is_empty() {
        return Err("The specified group is blank.".to_owned());
    }
    if group.len() > GROUP_MAX_LEN {
        return Err(format!("The specified group: {group}, is longer than group max length: {GROUP_MAX_LEN}"));
    }
    if let Some(bad) = illegal_char(group) {
        return Err(format!(
            "The specified group: {group}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$ (found {bad:?})"
        ));
    }
    Ok(())
}

fn illegal_char(name: &str) -> Option<char> {
    name.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '_' | '-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(validate_topic("%RETRY%my-group_1"), Ok(()));
        assert!(validate_topic("a b").unwrap_err().contains("illegal characters"));
        assert!(validate_topic(&"x".repeat(128)).unwrap_err().ends_with("127"));
        assert_eq!(validate_topic(&format!("%DLQ%{}", "x".repeat(120))), Ok(()));
        assert!(validate_topic("").is_err());
        assert!(validate_group(&"g".repeat(121)).is_err());
    }

    #[test]
    fn pop_retry_topics() {
        assert_eq!(pop_retry_topic("T_1", "g", false), "%RETRY%g_T_1");
        assert_eq!(pop_retry_topic("T_1", "g", true), "%RETRY%g+T_1");
        for (topic, flag) in [("T_1", "0"), ("%RETRY%g_T_1", "1"), ("%RETRY%g+T_1", "2")] {
            assert_eq!((pop_origin_topic(topic, "g"), pop_retry_flag(topic)), ("T_1", flag));
        }
        assert_eq!(pop_origin_topic("%RETRY%other_T", "g"), "%RETRY%other_T");
    }
}
