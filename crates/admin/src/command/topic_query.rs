//! Looking at topics.

use crate::context::{Context, address, json};
use crate::error::AdminError;
use crate::options::{Opt, flag, opt, required};
use crate::output::{date_time_ms, front};
use crate::say;
use bytes::Bytes;
use codec::fields::NoHeader;
use protocol::body::admin::{GroupList, TopicStatsTable};
use protocol::body::route::TopicRouteData;
use protocol::body::topic::TopicList;
use protocol::header::topic::TopicRequestHeader;
use protocol::names::{DLQ_PREFIX, RETRY_PREFIX};
use protocol::operation::{GetAllTopicListFromNameserver, GetTopicStatsInfo, QueryTopicConsumeByWho};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Options of topicRoute.
pub const ROUTE: &[Opt] = &[required("t", "topic", "topic name"), flag("l", "list", "Use list format to print data")];

/// Options of topicStatus.
pub const STATUS: &[Opt] = &[
    required("t", "topic", "topic name"),
    opt("c", "cluster", "cluster name or lmq parent topic, lmq is used to find the route."),
];

/// Options of topicClusterList.
pub const CLUSTERS: &[Opt] = &[required("t", "topic", "topic name")];

/// Options of topicList.
pub const LIST: &[Opt] = &[flag("c", "clusterModel", "clusterModel")];

/// topicRoute.
///
/// # Errors
/// [`AdminError`].
pub async fn route(c: &Context) -> Result<(), AdminError> {
    let route = c.route(c.need("topic")?).await?;
    if c.values.has("list") { print_table(c, &route) } else { say!(c, "{}", pretty(&route)) }
}

fn print_table(c: &Context, route: &TopicRouteData) -> Result<(), AdminError> {
    let line = |cells: [&str; 6]| {
        let [cluster, broker, addrs, read, write, perm] = cells;
        say!(c, "{cluster:<45} {broker:<32} {addrs:<50} {read:<10} {write:<11} {perm:<5}")
    };
    line(["#ClusterName", "#BrokerName", "#BrokerAddrs", "#ReadQueue", "#WriteQueue", "#Perm"])?;
    let queues: BTreeMap<&str, _> = route.queue_datas.iter().map(|queue| (queue.broker_name.as_str(), queue)).collect();
    let mut brokers: Vec<_> = route.broker_datas.iter().collect();
    brokers.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
    let (mut total_read, mut total_write) = (0i64, 0i64);
    for broker in brokers {
        let Some(queue) = queues.get(broker.broker_name.as_str()) else { continue };
        total_read += i64::from(queue.read_queue_nums);
        total_write += i64::from(queue.write_queue_nums);
        let addrs: Vec<String> = broker.broker_addrs.iter().map(|(id, addr)| format!("{id}={addr}")).collect();
        line([
            &broker.cluster,
            &broker.broker_name,
            &format!("{{{}}}", addrs.join(", ")),
            &queue.read_queue_nums.to_string(),
            &queue.write_queue_nums.to_string(),
            &queue.perm.to_string(),
        ])?;
    }
    say!(c, "{}", "-".repeat(158))?;
    line(["Total:", &queues.len().to_string(), "", &total_read.to_string(), &total_write.to_string(), ""])
}

/// The route as fastjson prints it when asked for pretty text: tabs, bare numbers as keys.
fn pretty(route: &TopicRouteData) -> String {
    let value = serde_json::to_value(route).unwrap_or_default();
    let mut out = String::new();
    pretty_value(&mut out, &value, 0);
    out
}

fn pretty_value(out: &mut String, value: &serde_json::Value, depth: usize) {
    use serde_json::Value;
    let tabs = |n: usize| "\t".repeat(n);
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.push('{');
            for (n, (key, member)) in members.iter().enumerate() {
                let number = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
                let quote = if number { "" } else { "\"" };
                let comma = if n == 0 { "" } else { "," };
                let _ = write!(out, "{comma}\n{}{quote}{key}{quote}:", tabs(depth + 1));
                pretty_value(out, member, depth + 1);
            }
            let _ = write!(out, "\n{}}}", tabs(depth));
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                let _ = write!(out, "{}\n{}", if n == 0 { "" } else { "," }, tabs(depth + 1));
                pretty_value(out, item, depth + 1);
            }
            let _ = write!(out, "\n{}]", tabs(depth));
        }
        other => out.push_str(&other.to_string()),
    }
}

/// topicStatus.
///
/// # Errors
/// [`AdminError`].
pub async fn status(c: &Context) -> Result<(), AdminError> {
    let topic = c.need("topic")?;
    let route = c.route(c.values.get("cluster").unwrap_or(topic)).await?;
    let mut all = TopicStatsTable::default();
    for addr in route.broker_datas.iter().filter_map(address) {
        let header = TopicRequestHeader { topic: topic.into() };
        let table: TopicStatsTable = c.broker_json::<GetTopicStatsInfo, _>(addr, &header).await?;
        all.offset_table.extend(table.offset_table);
        all.topic_put_tps += table.topic_put_tps;
    }
    say!(c, "{:<32}  {:<4}  {:<20}  {:<20}    #Last Updated", "#Broker Name", "#QID", "#Min Offset", "#Max Offset")?;
    for (queue, offset) in &all.offset_table {
        let time = match offset.last_update_timestamp {
            ms if ms > 0 => date_time_ms(ms),
            _ => String::new(),
        };
        say!(
            c,
            "{:<32}  {:<4}  {:<20}  {:<20}    {time}",
            front(&queue.0.broker_name, 32),
            queue.0.queue_id,
            offset.min_offset,
            offset.max_offset
        )?;
    }
    say!(c)?;
    say!(c, "Topic Put TPS: {:?}", all.topic_put_tps)
}

/// topicClusterList.
///
/// # Errors
/// [`AdminError`].
pub async fn clusters(c: &Context) -> Result<(), AdminError> {
    let route = c.route(c.need("topic")?).await?;
    let clusters: BTreeSet<&str> = route.broker_datas.iter().map(|broker| broker.cluster.as_str()).collect();
    for cluster in clusters {
        say!(c, "{cluster}")?;
    }
    Ok(())
}

/// The topics that the nameservers know.
///
/// # Errors
/// [`AdminError`].
pub async fn all_topics(c: &Context) -> Result<Vec<String>, AdminError> {
    let nameservers = c.client.nameservers();
    let answer = nameservers.invoke::<GetAllTopicListFromNameserver>(&NoHeader, Bytes::new()).await?;
    Ok(json::<TopicList>(&answer.body, "name server")?.topic_list)
}

/// topicList.
///
/// # Errors
/// [`AdminError`].
pub async fn list(c: &Context) -> Result<(), AdminError> {
    let topics = all_topics(c).await?;
    if !c.values.has("clusterModel") {
        for topic in topics {
            say!(c, "{topic}")?;
        }
        return Ok(());
    }
    say!(c, "{:<20}  {:<48}  {:<48}", "#Cluster Name", "#Topic", "#Consumer Group")?;
    for topic in topics.iter().filter(|topic| !topic.starts_with(RETRY_PREFIX) && !topic.starts_with(DLQ_PREFIX)) {
        // A topic that is just being deleted must not end the list.
        let (cluster, groups) = cluster_and_groups(c, topic).await.unwrap_or_else(|error| {
            tracing::warn!(topic, %error, "topic not examined");
            (String::new(), Vec::new())
        });
        let groups = if groups.is_empty() { vec![String::new()] } else { groups };
        for group in groups {
            say!(c, "{:<20}  {:<64}  {:<64}", front(&cluster, 20), front(topic, 64), front(&group, 64))?;
        }
    }
    Ok(())
}

async fn cluster_and_groups(c: &Context, topic: &str) -> Result<(String, Vec<String>), AdminError> {
    let route = c.route(topic).await?;
    let cluster = route.broker_datas.first().map(|broker| broker.cluster.clone()).unwrap_or_default();
    Ok((cluster, groups_of(c, topic, &route).await?))
}

/// The groups that consume a topic.
///
/// # Errors
/// [`AdminError`].
pub async fn groups_of(c: &Context, topic: &str, route: &TopicRouteData) -> Result<Vec<String>, AdminError> {
    let mut groups = BTreeSet::new();
    for addr in route.broker_datas.iter().filter_map(address) {
        let header = TopicRequestHeader { topic: topic.into() };
        let list: GroupList = c.broker_json::<QueryTopicConsumeByWho, _>(addr, &header).await?;
        groups.extend(list.group_list);
    }
    Ok(groups.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_routes_as_fastjson() {
        let text = r#"{"brokerDatas":[{"brokerAddrs":{"0":"h:1"},"brokerName":"a","cluster":"C","enableActingMaster":false}],
            "queueDatas":[]}"#;
        let route: TopicRouteData = serde_json::from_str(text).unwrap();
        assert_eq!(
            pretty(&route),
            "{\n\t\"brokerDatas\":[\n\t\t{\n\t\t\t\"brokerAddrs\":{\n\t\t\t\t0:\"h:1\"\n\t\t\t},\n\t\t\t\"brokerName\":\"a\",\
             \n\t\t\t\"cluster\":\"C\",\n\t\t\t\"enableActingMaster\":false\n\t\t}\n\t],\n\t\"filterServerTable\":{},\
             \n\t\"queueDatas\":[]\n}"
        );
    }
}
