//! What pops, peeks, notifications and their like check first, in Java's order and words.

use crate::config::{BrokerConfig, BrokerOptions};
use crate::filter::{
    ConsumerFilterData, ConsumerFilterManager, Filter, Origin, SqlFilter, TagFilter, is_tag_type, not_supported, parse,
};
use crate::reply::{group_missing, topic_not_exist};
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use protocol::body::client::SubscriptionData;
use protocol::body::group::SubscriptionGroupConfig;
use protocol::body::topic::TopicConfig;
use protocol::response_code::{
    INVALID_PARAMETER, MESSAGE_ILLEGAL, NO_PERMISSION, SUBSCRIPTION_PARSE_FAILED, SYSTEM_ERROR,
};
use protocol::sys_flag::perm;
use remoting::clock;
use remoting::reply::Reply;
use std::net::SocketAddr;
use std::sync::Arc;

/// Remark of Java's answers to which nothing is said, whatever their code.
pub const NOTHING_SAID: &str = "not set any response code";

/// Whose request is checked.
pub struct Reader<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue; negative means all.
    pub queue_id: i32,
    /// Group.
    pub group: &'a str,
    /// The client.
    pub peer: SocketAddr,
}

/// Broker, topic, queue and group may be read.
///
/// # Errors
/// The refusal.
pub fn readable<R>(
    reader: &Reader<'_>,
    verb: &str,
    options: &BrokerOptions,
    topics: &TopicConfigManager,
    groups: &SubscriptionGroupManager,
) -> Result<(Arc<TopicConfig>, Arc<SubscriptionGroupConfig>), Reply<R>> {
    broker_readable(verb, options)?;
    topic_and_group(reader, options, topics, groups)
}

/// The broker may be read.
///
/// # Errors
/// The refusal.
pub fn broker_readable<R>(verb: &str, options: &BrokerOptions) -> Result<(), Reply<R>> {
    if perm::is_readable(options.broker.broker_permission) {
        return Ok(());
    }
    let remark = format!("the broker[{}] {verb} message is forbidden", options.broker.broker_ip1);
    Err(Reply::error(NO_PERMISSION, remark))
}

/// Topic, queue and group may be read.
///
/// # Errors
/// The refusal.
pub fn topic_and_group<R>(
    reader: &Reader<'_>,
    options: &BrokerOptions,
    topics: &TopicConfigManager,
    groups: &SubscriptionGroupManager,
) -> Result<(Arc<TopicConfig>, Arc<SubscriptionGroupConfig>), Reply<R>> {
    let topic_name = reader.topic;
    let topic = topics.get(topic_name).ok_or_else(|| topic_not_exist(topic_name, ""))?;
    if !perm::is_readable(topic.perm) {
        return Err(Reply::error(NO_PERMISSION, format!("the topic[{topic_name}] peeking message is forbidden")));
    }
    if reader.queue_id >= topic.read_queue_nums {
        return Err(Reply::error(INVALID_PARAMETER, illegal_queue(reader, topic.read_queue_nums)));
    }
    let group = groups.find(reader.group, options.broker.auto_create_subscription_group);
    let group = group.ok_or_else(|| group_missing(reader.group))?;
    if !group.consume_enable {
        return Err(Reply::error(NO_PERMISSION, format!("subscription group no permission, {}", reader.group)));
    }
    Ok((topic, group))
}

/// How many messages are wanted.
///
/// # Errors
/// The refusal of a negative number.
pub fn wanted_count<R>(max_msg_nums: i32) -> Result<usize, Reply<R>> {
    usize::try_from(max_msg_nums)
        .map_err(|_| Reply::error(SYSTEM_ERROR, format!("maxMsgNums[{max_msg_nums}] is negative")))
}

/// Topic and queue of a message that was popped.
///
/// # Errors
/// The refusal.
pub fn popped_from<R>(reader: &Reader<'_>, topics: &TopicConfigManager) -> Result<(), Reply<R>> {
    let topic = topics.get(reader.topic).ok_or_else(|| topic_not_exist(reader.topic, ""))?;
    if reader.queue_id < 0 || reader.queue_id >= topic.read_queue_nums {
        return Err(Reply::error(MESSAGE_ILLEGAL, illegal_queue(reader, topic.read_queue_nums)));
    }
    Ok(())
}

fn illegal_queue(reader: &Reader<'_>, queues: i32) -> String {
    format!(
        "queueId[{}] is illegal, topic:[{}] topicConfig.readQueueNums:[{queues}] consumer:[/{}]",
        reader.queue_id, reader.topic, reader.peer
    )
}

/// What a pop wants.
///
/// # Errors
/// The refusal of an expression that cannot be read, or is of a type that this broker does not filter by.
pub fn wanted<R>(
    (topic, group): (&str, &str),
    kind: Option<&str>,
    expression: &str,
    filters: &Arc<ConsumerFilterManager>,
    broker: &BrokerConfig,
) -> Result<(SubscriptionData, Filter), Reply<R>> {
    let failed = |_: String| Reply::error(SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed");
    let now_ms = clock::now_ms();
    let subscription = parse(topic, expression, kind, now_ms).map_err(failed)?;
    let kind = &subscription.expression_type;
    if is_tag_type(kind) {
        let filter = Filter::Tags(TagFilter::new(&subscription));
        return Ok((subscription, filter));
    }
    if !broker.enable_property_filter {
        return Err(Reply::error(SYSTEM_ERROR, not_supported(kind)));
    }
    let data = ConsumerFilterData::build(topic, group, expression, kind, now_ms, now_ms).map_err(failed)?;
    let filter = Filter::Sql(SqlFilter::new(Arc::new(data), Origin::Own, filters, false));
    Ok((subscription, filter))
}
