//! Finding messages by id, key or offset.

use super::{connection, consumer_progress, topic_query};
use crate::context::{Context, address};
use crate::error::AdminError;
use crate::options::{Opt, flag, opt, required};
use crate::output::date_time_ms;
use crate::say;
use client::clock::now_ms;
use client::filter::matches;
use client::message::JavaProperties;
use client::{ClientError, MessageExt, MessageQueue, Producer, ProducerConfig, PullConsumer};
use codec::message::parse_message_id;
use protocol::body::client::ConsumeType;
use protocol::header::query::QueryMessageRequestHeader;
use protocol::response_code::CONSUMER_NOT_ONLINE;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Options of queryMsgById.
pub const BY_ID: &[Opt] = &[
    required("t", "topic", "topic name"),
    required("i", "msgId", "Message Id"),
    opt("g", "consumerGroup", "consumer group name"),
    opt("d", "clientId", "The consumer's client id"),
    opt("s", "sendMessage", "resend message"),
    opt("u", "unitName", "unit name"),
    opt("f", "bodyFormat", "print message body by the specified format"),
    opt("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
];

/// Options of queryMsgByKey.
pub const BY_KEY: &[Opt] = &[
    required("t", "topic", "Topic name"),
    required("k", "msgKey", "Message Key"),
    opt("b", "beginTimestamp", "Begin timestamp(ms). default:0, eg:1676730526212"),
    opt("e", "endTimestamp", "End timestamp(ms). default:Long.MAX_VALUE, eg:1676730526212"),
    opt("m", "maxNum", "The maximum number of messages returned by the query, default:64"),
    opt("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
];

/// Options of queryMsgByUniqueKey.
pub const BY_UNIQUE_KEY: &[Opt] = &[
    required("i", "msgId", "Message Id"),
    opt("g", "consumerGroup", "consumer group name"),
    opt("d", "clientId", "The consumer's client id"),
    required("t", "topic", "The topic of msg"),
    flag("a", "showAll", "Print all message, the limit is 32"),
    opt("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
    opt("s", "startTime", "startTime"),
    opt("e", "endTime", "endTime"),
];

/// Options of queryMsgByOffset.
pub const BY_OFFSET: &[Opt] = &[
    required("t", "topic", "topic name"),
    required("b", "brokerName", "Broker Name"),
    required("i", "queueId", "Queue Id"),
    required("o", "offset", "Queue Offset"),
    opt("f", "bodyFormat", "print message body by the specified format"),
    opt("r", "routeTopic", "the topic which is used to find route info"),
];

/// Where Java's tools leave the bodies of messages.
const BODY_DIR: &str = "/tmp/rocketmq/msgbodys";
/// The group that Java's tools pull with.
const TOOLS_GROUP: &str = "TOOLS_CONSUMER";
const QUERY_TIMEOUT: Duration = Duration::from_secs(15);
/// queryMsgByUniqueKey looks this far back and ahead.
const UNIQUE_KEY_SPAN_MS: i64 = 36 * 60 * 60 * 1000;

/// queryMsgById: an offset id is looked up where it says, a unique id in the index.
///
/// # Errors
/// [`AdminError`].
pub async fn by_id(c: &Context) -> Result<(), AdminError> {
    let topic = c.need("topic")?;
    if c.values.has("consumerGroup") && c.values.has("clientId") {
        return Err(no_direct_push());
    }
    for id in c.need("msgId")?.split(',').map(str::trim).filter(|id| !id.is_empty()) {
        let message = find(c, topic, id).await?;
        if c.values.has("sendMessage") {
            if c.values.is_true("sendMessage") {
                resend(c, id, message).await?;
            }
        } else {
            show(c, &message, None, true).await?;
        }
    }
    Ok(())
}

fn no_direct_push() -> AdminError {
    AdminError::Usage("-g with -d (have a client consume the message at once) is not in this release".to_owned())
}

async fn find(c: &Context, topic: &str, id: &str) -> Result<MessageExt, AdminError> {
    if let Ok((host, physical_offset)) = parse_message_id(id) {
        match c.client.brokers().view_message(&host.to_string(), Some(topic), physical_offset).await {
            Ok(message) => return Ok(message),
            // Unique ids have the length of offset ids, too, and point anywhere.
            Err(error) => tracing::debug!(id, %error, "not an offset id"),
        }
    }
    let found = query(c, topic, id, 32, (0, i64::MAX), true).await?;
    found.into_iter().next().ok_or_else(|| AdminError::NotFound(format!("Message not found! {id} of topic {topic}")))
}

async fn resend(c: &Context, id: &str, message: MessageExt) -> Result<(), AdminError> {
    c.out.print(format_args!("prepare resend msg. originalMsgId={id}"))?;
    let producer = Producer::start(c.client_config(), ProducerConfig::new("ReSendMsgById"))?;
    let mut again = message.message;
    let sent = producer.send(&mut again).await;
    producer.shutdown().await;
    say!(c, "{}", sent?)
}

/// Asks every broker of the topic, and keeps what truly has that key: the index only knows hashes.
async fn query(
    c: &Context,
    topic: &str,
    key: &str,
    max_num: i32,
    (begin_timestamp, end_timestamp): (i64, i64),
    unique: bool,
) -> Result<Vec<MessageExt>, AdminError> {
    let route = c.route(topic).await?;
    let cluster = c.values.get("cluster");
    let header = QueryMessageRequestHeader {
        topic: topic.into(),
        key: key.into(),
        max_num,
        begin_timestamp,
        end_timestamp,
        index_type: (!unique).then(|| "K".into()),
        unique_key_query: unique,
    };
    let mut found = Vec::new();
    let mut failed = None;
    for broker in route.broker_datas.iter().filter(|broker| cluster.is_none_or(|name| name == broker.cluster)) {
        let Some(addr) = address(broker) else { continue };
        match c.client.brokers().query_message(addr, &header, QUERY_TIMEOUT).await {
            Ok(messages) => found.extend(messages.into_iter().filter(|message| has_key(message, topic, key, unique))),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if found.is_empty() => Err(error.into()),
        _ => Ok(found),
    }
}

fn has_key(message: &MessageExt, topic: &str, key: &str, unique: bool) -> bool {
    if unique {
        return message.msg_id() == key;
    }
    message.topic() == topic && message.keys().is_some_and(|keys| keys.split(' ').any(|one| one == key))
}

/// queryMsgByKey.
///
/// # Errors
/// [`AdminError`].
pub async fn by_key(c: &Context) -> Result<(), AdminError> {
    let (topic, key) = (c.need("topic")?, c.need("msgKey")?);
    let times = (c.number("beginTimestamp")?.unwrap_or(0), c.number("endTimestamp")?.unwrap_or(i64::MAX));
    let found = query(c, topic, key, c.number("maxNum")?.unwrap_or(64), times, false).await?;
    if found.is_empty() {
        return Err(AdminError::NotFound("query message by key finished, but no message.".to_owned()));
    }
    say!(c, "{:<50} {:>4} {:>40}", "#Message ID", "#QID", "#Offset")?;
    for message in found {
        say!(c, "{:<50} {:>4} {:>40}", message.msg_id(), message.queue_id, message.queue_offset)?;
    }
    Ok(())
}

/// queryMsgByUniqueKey.
///
/// # Errors
/// [`AdminError`].
pub async fn by_unique_key(c: &Context) -> Result<(), AdminError> {
    if c.values.has("consumerGroup") && c.values.has("clientId") {
        return Err(no_direct_push());
    }
    let (topic, id) = (c.need("topic")?, c.need("msgId")?);
    let times = match (c.number("startTime")?, c.number("endTime")?) {
        (Some(start), Some(end)) => (start, end),
        _ => (now_ms() - UNIQUE_KEY_SPAN_MS, now_ms() + UNIQUE_KEY_SPAN_MS),
    };
    let mut found = query(c, topic, id, 32, times, true).await?;
    found.sort_by_key(|message| message.store_timestamp);
    if found.is_empty() {
        return Err(AdminError::NotFound("query message by key finished, but no message.".to_owned()));
    }
    let shown = if c.values.has("showAll") { found.len() } else { 1 };
    for (n, message) in found.iter().take(shown).enumerate() {
        show(c, message, (n > 0).then_some(n), false).await?;
    }
    Ok(())
}

/// queryMsgByOffset.
///
/// # Errors
/// [`AdminError`].
pub async fn by_offset(c: &Context) -> Result<(), AdminError> {
    let queue = MessageQueue {
        topic: c.need("topic")?.to_owned(),
        broker_name: c.need("brokerName")?.to_owned(),
        queue_id: c.number("queueId")?.unwrap_or(0),
    };
    let offset = c.number("offset")?.unwrap_or(0);
    let consumer = PullConsumer::start(c.client_config(), TOOLS_GROUP)?;
    if let Some(topic) = c.values.get("routeTopic") {
        consumer.fetch_subscribe_message_queues(topic).await?;
    } else {
        consumer.fetch_subscribe_message_queues(&queue.topic).await?;
    }
    let pulled = consumer.pull(&queue, "*", offset, 1).await;
    consumer.shutdown().await;
    match pulled?.messages.first() {
        Some(message) => show(c, message, None, true).await,
        None => Err(AdminError::NotFound(format!("no message at offset {offset} of {queue:?}"))),
    }
}

/// Prints all there is to know of a message, and who consumed it. `with_id` is for those commands that print the
/// offset id too; `number` tells several messages of one id apart.
async fn show(c: &Context, message: &MessageExt, number: Option<usize>, with_id: bool) -> Result<(), AdminError> {
    let path = write_body(Path::new(BODY_DIR), message, number)?;
    let line = |label: &str, value: &dyn std::fmt::Display| say!(c, "{label:<20} {value}");
    if with_id {
        line("OffsetID:", &message.offset_msg_id())?;
    }
    line("Topic:", &message.topic())?;
    line("Tags:", &format!("[{}]", message.tags().unwrap_or("null")))?;
    line("Keys:", &format!("[{}]", message.keys().unwrap_or("null")))?;
    line("Queue ID:", &message.queue_id)?;
    line("Queue Offset:", &message.queue_offset)?;
    line("CommitLog Offset:", &message.commit_log_offset)?;
    line("Reconsume Times:", &message.reconsume_times)?;
    line("Born Timestamp:", &date_time_ms(message.born_timestamp))?;
    line("Store Timestamp:", &date_time_ms(message.store_timestamp))?;
    line("Born Host:", &message.born_host)?;
    line("Store Host:", &message.store_host)?;
    line("System Flag:", &message.sys_flag)?;
    line("Properties:", &JavaProperties(&message.message.properties))?;
    line("Message Body Path:", &path.display())?;
    if with_id && c.values.has("bodyFormat") {
        line("Message Body:", &String::from_utf8_lossy(message.body()))?;
    }
    show_tracks(c, message).await
}

fn write_body(dir: &Path, message: &MessageExt, number: Option<usize>) -> Result<PathBuf, AdminError> {
    // The id comes from whoever sent the message: only its letters and digits may become part of a path.
    let mut name: String = message.msg_id().chars().filter(char::is_ascii_alphanumeric).take(128).collect();
    if let Some(number) = number {
        name.push_str(&format!("_{number}"));
    }
    let path = dir.join(name);
    let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, message.body()));
    written.map_err(|source| AdminError::Io { what: format!("body of the message to {}", path.display()), source })?;
    Ok(path)
}

async fn show_tracks(c: &Context, message: &MessageExt) -> Result<(), AdminError> {
    let route = c.route(message.topic()).await?;
    let groups = topic_query::groups_of(c, message.topic(), &route).await?;
    if groups.is_empty() {
        return c.out.print(format_args!("\n\nWARN: No Consumer\n"));
    }
    c.out.print(format_args!("\n\n"))?;
    for group in groups {
        let (track, reason) = match track(c, message, &group).await {
            Ok(track) => (track, "null".to_owned()),
            Err(AdminError::Client(error)) if error.code() == Some(CONSUMER_NOT_ONLINE) => {
                let remark = match &error {
                    ClientError::Refused { remark, .. } => remark.clone(),
                    other => other.to_string(),
                };
                ("NOT_ONLINE", format!("CODE:{CONSUMER_NOT_ONLINE} DESC:{remark}"))
            }
            Err(error) => ("UNKNOWN", error.to_string()),
        };
        say!(c, "MessageTrack [consumerGroup={group}, trackType={track}, exceptionDesc={reason}]")?;
    }
    Ok(())
}

/// Whether a group has consumed a message, in Java's words.
async fn track(c: &Context, message: &MessageExt, group: &str) -> Result<&'static str, AdminError> {
    let members = connection::of_group(c, group).await?;
    match members.consume_type {
        ConsumeType::ConsumeActively => return Ok("PULL"),
        ConsumeType::ConsumePop => return Ok("UNKNOWN"),
        ConsumeType::ConsumePassively => {}
    }
    let stats = consumer_progress::stats(c, group, None).await?;
    let info = c.cluster_info().await?;
    let store_host = message.store_host.to_string();
    let consumed = stats.offset_table.iter().any(|(queue, offset)| {
        let broker = info.broker_addr_table.get(&queue.0.broker_name);
        queue.0.topic == message.topic()
            && queue.0.queue_id == message.queue_id
            && broker.and_then(|broker| broker.broker_addrs.get(&0)).is_some_and(|addr| *addr == store_host)
            && offset.consumer_offset > message.queue_offset
    });
    let subscription = members.subscription_table.get(message.topic());
    Ok(match (consumed, subscription) {
        (false, _) => "NOT_CONSUME_YET",
        (true, Some(data)) if !data.tags_set.contains("*") && !matches(data, message.tags()) => "CONSUMED_BUT_FILTERED",
        (true, _) => "CONSUMED",
    })
}
