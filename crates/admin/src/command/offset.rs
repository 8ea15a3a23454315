//! Moving the offsets of groups.

use super::consumer_progress;
use crate::context::{Context, address};
use crate::error::AdminError;
use crate::options::{Opt, opt, required};
use crate::output::{front, parse_time};
use crate::say;
use bytes::Bytes;
use client::{ClientError, MessageQueue};
use protocol::body::QueueTable;
use protocol::body::admin::{ConsumeStats, TopicStatsTable};
use protocol::body::client::ResetOffsetBody;
use protocol::body::route::TopicRouteData;
use protocol::header::admin::GetConsumeStatsRequestHeader;
use protocol::header::offset::ResetOffsetRequestHeader;
use protocol::header::topic::TopicRequestHeader;
use protocol::operation::{GetConsumeStats, GetTopicStatsInfo, InvokeBrokerToResetOffset};
use protocol::response_code::CONSUMER_NOT_ONLINE;

/// Options of resetOffsetByTime.
pub const RESET: &[Opt] = &[
    required("g", "group", "set the consumer group"),
    required("t", "topic", "set the topic"),
    required("s", "timestamp", "set the timestamp[now|currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
    opt("f", "force", "set the force rollback by timestamp switch[true|false]. Deprecated."),
    opt("b", "broker", "broker addr"),
    opt("q", "queue", "queue id"),
    opt("o", "offset", "Expect queue offset, not support old version broker"),
    opt("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
];

/// Options of skipAccumulatedMessage.
pub const SKIP: &[Opt] = &[
    required("g", "group", "set the consumer group"),
    required("t", "topic", "set the topic"),
    opt("f", "force", "set the force rollback by timestamp switch[true|false]"),
    opt("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
];

/// Options of cloneGroupOffset.
pub const CLONE: &[Opt] = &[
    required("s", "srcGroup", "set source consumer group"),
    required("d", "destGroup", "set destination consumer group"),
    required("t", "topic", "set the topic"),
    opt("o", "offline", "the group or the topic is offline"),
];

/// The end of every queue.
const TO_THE_END: i64 = -1;

/// What resets one topic of one group.
struct Reset<'a> {
    group: &'a str,
    topic: &'a str,
    timestamp: i64,
    force: bool,
}

/// One queue that was reset without help of its consumer.
struct Rollback {
    queue: MessageQueue,
    broker_offset: i64,
    consumer_offset: i64,
    timestamp_offset: i64,
    reset_offset: i64,
}

fn from_options<'a>(c: &'a Context, timestamp: i64) -> Result<Reset<'a>, AdminError> {
    let force = !c.values.has("force") || c.values.is_true("force");
    Ok(Reset { group: c.need("group")?, topic: c.need("topic")?, timestamp, force })
}

/// resetOffsetByTime.
///
/// # Errors
/// [`AdminError`].
pub async fn reset(c: &Context) -> Result<(), AdminError> {
    let text = c.need("timestamp")?;
    let reset = from_options(c, parse_time(text).map_err(AdminError::Usage)?)?;
    let Reset { group, topic, timestamp, force } = &reset;
    if let (Some(addr), Some(queue_id)) = (c.values.get("broker"), c.number::<i32>("queue")?) {
        say!(
            c,
            "start reset consumer offset by specified, group[{group}], topic[{topic}], queueId[{queue_id}], \
             broker[{addr}], timestamp(string)[{text}], timestamp(long)[{timestamp}]"
        )?;
        return reset_queue(c, &reset, addr, queue_id).await;
    }
    let route = c.route(topic).await?;
    match by_brokers(c, &route, &reset).await? {
        Some(offsets) => {
            say!(
                c,
                "start reset consumer offset by specified, group[{group}], topic[{topic}], force[{force}], \
                 timestamp(string)[{text}], timestamp(long)[{timestamp}]"
            )?;
            print_offsets(c, &offsets)
        }
        None => {
            let rollbacks = by_ourselves(c, &route, &reset).await?;
            say!(
                c,
                "reset consumer offset by specified consumerGroup[{group}], topic[{topic}], force[{force}], \
                 timestamp(string)[{text}], timestamp(long)[{timestamp}]"
            )?;
            print_rollbacks(c, &rollbacks, "#resetOffset")
        }
    }
}

/// skipAccumulatedMessage.
///
/// # Errors
/// [`AdminError`].
pub async fn skip(c: &Context) -> Result<(), AdminError> {
    let reset = from_options(c, TO_THE_END)?;
    let route = c.route(reset.topic).await?;
    match by_brokers(c, &route, &reset).await? {
        Some(offsets) => print_offsets(c, &offsets),
        None => print_rollbacks(c, &by_ourselves(c, &route, &reset).await?, "#rollbackOffset"),
    }
}

async fn reset_queue(c: &Context, reset: &Reset<'_>, addr: &str, queue_id: i32) -> Result<(), AdminError> {
    let queue = MessageQueue { topic: reset.topic.to_owned(), broker_name: String::new(), queue_id };
    let offset = match c.number("offset")? {
        Some(offset) => offset,
        None => c.client.brokers().search_offset(addr, &queue, reset.timestamp).await?,
    };
    say!(c, "reset consumer offset to {offset}")?;
    if offset <= 0 {
        return Ok(());
    }
    c.client.brokers().update_offset(addr, reset.group, &queue, offset, false).await?;
    let header = ResetOffsetRequestHeader {
        topic: reset.topic.into(),
        group: reset.group.into(),
        queue_id,
        offset: Some(offset),
        timestamp: 0,
        is_force: true,
    };
    // Tells a running consumer; one that is offline begins at the committed offset anyway.
    match c.broker::<InvokeBrokerToResetOffset>(addr, &header, Bytes::new()).await {
        Err(AdminError::Client(error)) if error.code() == Some(CONSUMER_NOT_ONLINE) => Ok(()),
        other => other,
    }
}

/// Has the brokers reset the offsets, which they do when the group's clients are connected; `None` when they are not.
async fn by_brokers(
    c: &Context,
    route: &TopicRouteData,
    reset: &Reset<'_>,
) -> Result<Option<QueueTable<i64>>, AdminError> {
    let header = ResetOffsetRequestHeader {
        topic: reset.topic.into(),
        group: reset.group.into(),
        queue_id: -1,
        offset: Some(-1),
        timestamp: reset.timestamp,
        is_force: reset.force,
    };
    let mut all = QueueTable::new();
    for addr in route.broker_datas.iter().filter_map(address) {
        let brokers = c.client.brokers();
        match brokers.invoke_json::<InvokeBrokerToResetOffset, ResetOffsetBody>(addr, &header, Bytes::new()).await {
            Ok(body) => all.extend(body.offset_table),
            Err(ClientError::Refused { code: CONSUMER_NOT_ONLINE, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(all))
}

/// Commits the offsets for a group that is not connected.
async fn by_ourselves(c: &Context, route: &TopicRouteData, reset: &Reset<'_>) -> Result<Vec<Rollback>, AdminError> {
    let mut rollbacks = Vec::new();
    for broker in &route.broker_datas {
        let Some(addr) = address(broker) else { continue };
        for (queue, broker_offset, consumer_offset) in positions(c, addr, reset).await? {
            let brokers = c.client.brokers();
            let timestamp_offset = match reset.timestamp {
                TO_THE_END => brokers.max_offset(addr, &queue).await?,
                timestamp => brokers.search_offset(addr, &queue, timestamp).await?,
            };
            let mut reset_offset = consumer_offset;
            if reset.force || timestamp_offset <= consumer_offset {
                reset_offset = timestamp_offset;
                brokers.update_offset(addr, reset.group, &queue, reset_offset, false).await?;
            }
            rollbacks.push(Rollback { queue, broker_offset, consumer_offset, timestamp_offset, reset_offset });
        }
    }
    Ok(rollbacks)
}

/// The queues of the topic at one broker with their end and the group's offset, or their begin when it has none.
async fn positions(c: &Context, addr: &str, reset: &Reset<'_>) -> Result<Vec<(MessageQueue, i64, i64)>, AdminError> {
    let header = GetConsumeStatsRequestHeader { consumer_group: reset.group.into(), topic: None, topic_list: None };
    let stats: ConsumeStats = c.broker_json::<GetConsumeStats, _>(addr, &header).await?;
    let of_topic = stats.offset_table.into_iter().filter(|(queue, _)| queue.0.topic == reset.topic);
    let known: Vec<_> =
        of_topic.map(|(queue, offset)| (queue.0, offset.broker_offset, offset.consumer_offset)).collect();
    if !known.is_empty() {
        return Ok(known);
    }
    let header = TopicRequestHeader { topic: reset.topic.into() };
    let stats: TopicStatsTable = c.broker_json::<GetTopicStatsInfo, _>(addr, &header).await?;
    Ok(stats.offset_table.into_iter().map(|(queue, offset)| (queue.0, offset.max_offset, offset.min_offset)).collect())
}

fn print_offsets(c: &Context, offsets: &QueueTable<i64>) -> Result<(), AdminError> {
    say!(c, "{:<40}  {:<40}  {:<40}", "#brokerName", "#queueId", "#offset")?;
    for (queue, offset) in offsets {
        say!(c, "{:<40}  {:<40}  {offset:<40}", front(&queue.0.broker_name, 32), queue.0.queue_id)?;
    }
    Ok(())
}

fn print_rollbacks(c: &Context, rollbacks: &[Rollback], last_column: &str) -> Result<(), AdminError> {
    say!(
        c,
        "{:<20}  {:<20}  {:<20}  {:<20}  {:<20}  {last_column:<20}",
        "#brokerName",
        "#queueId",
        "#brokerOffset",
        "#consumerOffset",
        "#timestampOffset"
    )?;
    for row in rollbacks {
        say!(
            c,
            "{:<20}  {:<20}  {:<20}  {:<20}  {:<20}  {:<20}",
            front(&row.queue.broker_name, 32),
            row.queue.queue_id,
            row.broker_offset,
            row.consumer_offset,
            row.timestamp_offset,
            row.reset_offset
        )?;
    }
    Ok(())
}

/// cloneGroupOffset: gives a group the offsets that another one has, in all topics of that other group.
///
/// # Errors
/// [`AdminError`].
pub async fn clone(c: &Context) -> Result<(), AdminError> {
    let (source, target, topic) = (c.need("srcGroup")?, c.need("destGroup")?, c.need("topic")?);
    let stats = consumer_progress::stats(c, source, None).await?;
    let route = c.route(topic).await?;
    for (queue, offset) in &stats.offset_table {
        let broker = route.broker_datas.iter().find(|broker| broker.broker_name == queue.0.broker_name);
        let Some(addr) = broker.and_then(address) else { continue };
        if offset.consumer_offset >= 0 {
            c.client.brokers().update_offset(addr, target, &queue.0, offset.consumer_offset, false).await?;
        }
    }
    say!(c, "clone group offset success. srcGroup[{source}], destGroup=[{target}], topic[{topic}]")
}
