//! consumerProgress: how far groups are.

use super::connection;
use crate::context::{Context, address};
use crate::error::AdminError;
use crate::options::{Opt, opt};
use crate::output::{date_time, front};
use crate::say;
use client::{ClientError, MessageQueue};
use codec::json;
use protocol::body::admin::{ConsumeStats, OffsetWrapper};
use protocol::body::client::{ConsumeType, ConsumerConnection};
use protocol::body::{MessageQueueKey, QueueTable};
use protocol::header::admin::GetConsumeStatsRequestHeader;
use protocol::header::client::GetConsumerRunningInfoRequestHeader;
use protocol::names::{RETRY_PREFIX, retry_topic};
use protocol::operation::{GetConsumeStats, GetConsumerRunningInfo};
use protocol::version::describe;
use std::collections::BTreeMap;

/// Options of consumerProgress.
pub const OPTIONS: &[Opt] = &[
    opt("g", "groupName", "consumer group name"),
    opt("t", "topicName", "topic name"),
    opt("s", "showClientIP", "Show Client IP per Queue"),
    opt("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
];

/// consumerProgress.
///
/// # Errors
/// [`AdminError`].
pub async fn run(c: &Context) -> Result<(), AdminError> {
    match c.values.get("groupName") {
        Some(group) => one_group(c, group).await,
        None => all_groups(c).await,
    }
}

/// Progress of a group by queue, from all brokers that have its retry topic, or else the topic.
///
/// # Errors
/// [`AdminError`], also when the group has no offset anywhere.
pub async fn stats(c: &Context, group: &str, topic: Option<&str>) -> Result<ConsumeStats, AdminError> {
    let route = match (c.route(&retry_topic(group)).await, topic) {
        (Err(_), Some(topic)) => c.route(topic).await?,
        (route, _) => route?,
    };
    let header =
        GetConsumeStatsRequestHeader { consumer_group: group.into(), topic: topic.map(Into::into), topic_list: None };
    let mut all = ConsumeStats::default();
    for addr in route.broker_datas.iter().filter_map(address) {
        let stats: ConsumeStats = c.broker_json::<GetConsumeStats, _>(addr, &header).await?;
        all.offset_table.extend(stats.offset_table);
        all.consume_tps += stats.consume_tps;
    }
    if all.offset_table.is_empty() {
        return Err(AdminError::NotFound(format!(
            "Not found the consumer group consume stats of {group}, because return offset table is empty, maybe the \
             consumer not online, or it broadcasts"
        )));
    }
    Ok(all)
}

async fn one_group(c: &Context, group: &str) -> Result<(), AdminError> {
    let stats = stats(c, group, c.values.get("topicName")).await?;
    let clients = match c.values.is_true("showClientIP") {
        true => Some(clients_by_queue(c, group).await),
        false => None,
    };
    let row = |cells: [&str; 9], time: &str| {
        let [topic, broker, qid, broker_offset, offset, client, diff, inflight, gap] = cells;
        let client = if clients.is_some() { format!("{client:<20} ") } else { String::new() };
        say!(
            c,
            "{topic:<64}  {broker:<32}  {qid:<4}  {broker_offset:<20}  {offset:<20}  {client}{diff:<20} {inflight:<20}{gap}{time}"
        )
    };
    row(
        [
            "#Topic",
            "#Broker Name",
            "#QID",
            "#Broker Offset",
            "#Consumer Offset",
            "#Client IP",
            "#Diff",
            "#Inflight",
            "",
        ],
        "#LastTime",
    )?;
    let (mut diff_total, mut inflight_total) = (0i64, 0i64);
    for (queue, offset) in sorted(&stats.offset_table) {
        let (diff, inflight) = (difference(offset), offset.pull_offset.saturating_sub(offset.consumer_offset));
        diff_total = diff_total.saturating_add(diff);
        inflight_total = inflight_total.saturating_add(inflight);
        let time = if offset.last_timestamp == 0 { "N/A".to_owned() } else { date_time(offset.last_timestamp) };
        let client = clients.as_ref().and_then(|clients| clients.get(queue)).map_or("N/A", String::as_str);
        row(
            [
                front(&queue.topic, 64),
                front(&queue.broker_name, 32),
                &queue.queue_id.to_string(),
                &offset.broker_offset.to_string(),
                &offset.consumer_offset.to_string(),
                client,
                &diff.to_string(),
                &inflight.to_string(),
                " ",
            ],
            &time,
        )?;
    }
    say!(c)?;
    say!(c, "Consume TPS: {:.2}", stats.consume_tps)?;
    say!(c, "Consume Diff Total: {diff_total}")?;
    say!(c, "Consume Inflight Total: {inflight_total}")
}

fn difference(offset: &OffsetWrapper) -> i64 {
    offset.broker_offset.saturating_sub(offset.consumer_offset)
}

/// By topic, broker and queue, as Java sorts queues.
fn sorted(table: &QueueTable<OffsetWrapper>) -> Vec<(&MessageQueue, &OffsetWrapper)> {
    let mut rows: Vec<_> = table.iter().map(|(queue, offset)| (&queue.0, offset)).collect();
    rows.sort_by(|(a, _), (b, _)| (&a.topic, &a.broker_name, a.queue_id).cmp(&(&b.topic, &b.broker_name, b.queue_id)));
    rows
}

/// The address part of the client id that holds each queue, as the clients themselves tell.
async fn clients_by_queue(c: &Context, group: &str) -> BTreeMap<MessageQueue, String> {
    let mut table = BTreeMap::new();
    let Ok(members) = connection::of_group(c, group).await else { return table };
    for client in &members.connection_set {
        match queues_of(c, group, &client.client_id).await {
            Ok(queues) => {
                let ip = client.client_id.split('@').next().unwrap_or_default();
                table.extend(queues.into_iter().map(|queue| (queue, ip.to_owned())));
            }
            Err(error) => tracing::warn!(client = client.client_id, %error, "client not examined"),
        }
    }
    table
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct RunningInfo {
    mq_table: BTreeMap<MessageQueueKey, serde_json::Value>,
}

async fn queues_of(c: &Context, group: &str, client_id: &str) -> Result<Vec<MessageQueue>, AdminError> {
    let route = c.route(&retry_topic(group)).await?;
    let header = GetConsumerRunningInfoRequestHeader {
        consumer_group: group.into(),
        client_id: client_id.into(),
        jstack_enable: false,
    };
    let addr = route.broker_datas.iter().find_map(address);
    let addr = addr.ok_or_else(|| AdminError::NotFound(format!("no broker holds the retry topic of {group}")))?;
    let answer = c.client.brokers().invoke::<GetConsumerRunningInfo>(addr, &header, bytes::Bytes::new()).await?;
    let info: RunningInfo = json::from_slice(&answer.body)
        .map_err(|error| AdminError::Client(ClientError::Answer { addr: addr.clone(), reason: error.to_string() }))?;
    Ok(info.mq_table.into_keys().map(|key| key.0).collect())
}

async fn all_groups(c: &Context) -> Result<(), AdminError> {
    let line = |cells: [&str; 7]| {
        let [group, count, version, kind, model, tps, diff] = cells;
        say!(c, "{group:<64}  {count:<6}  {version:<24} {kind:<5}  {model:<14}  {tps:<7}  {diff}")
    };
    line(["#Group", "#Count", "#Version", "#Type", "#Model", "#TPS", "#Diff Total"])?;
    for topic in super::topic_query::all_topics(c).await? {
        let Some(group) = topic.strip_prefix(RETRY_PREFIX) else { continue };
        let stats = stats(c, group, None).await.unwrap_or_default();
        let members = connection::of_group(c, group).await.ok();
        let diff = stats.offset_table.values().map(difference).fold(0i64, i64::saturating_add);
        let (count, version, kind, model) = describe_members(members.as_ref());
        // Java cuts the fraction off.
        let tps = format!("{:.0}", stats.consume_tps.trunc());
        line([front(group, 64), &count.to_string(), &version, kind, &model, &tps, &diff.to_string()])?;
    }
    Ok(())
}

fn describe_members(members: Option<&ConsumerConnection>) -> (usize, String, &'static str, String) {
    let Some(members) = members else { return (0, "OFFLINE".to_owned(), "", String::new()) };
    let oldest = members.connection_set.iter().map(|client| client.version).min().unwrap_or_default();
    let (kind, model) = match members.consume_type {
        ConsumeType::ConsumeActively => ("PULL", String::new()),
        ConsumeType::ConsumePassively => ("PUSH", connection::java_name(&members.message_model)),
        ConsumeType::ConsumePop => ("PUSH", String::new()),
    };
    (members.connection_set.len(), describe(oldest), kind, model)
}
