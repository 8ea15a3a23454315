//! What flows through topics and groups, and which producers there are.

use super::{consumer_progress, topic_query};
use crate::context::Context;
use crate::error::AdminError;
use crate::options::{Opt, flag, opt, required};
use crate::output::front;
use crate::say;
use codec::fields::NoHeader;
use protocol::body::admin::BrokerStatsData;
use protocol::body::client::ProducerTableInfo;
use protocol::body::route::TopicRouteData;
use protocol::header::admin::ViewBrokerStatsDataRequestHeader;
use protocol::names::{DLQ_PREFIX, RETRY_PREFIX};
use protocol::operation::{GetAllProducerInfo, ViewBrokerStatsData};

/// Options of statsAll.
pub const ALL: &[Opt] =
    &[flag("a", "activeTopic", "print active topic only"), opt("t", "topic", "print select topic only")];

/// Options of producer.
pub const PRODUCER: &[Opt] = &[required("b", "broker", "broker address")];

/// Messages a second, and in the last 24 hours.
#[derive(Clone, Copy, Default)]
struct Flow {
    tps: f64,
    day: i64,
}

/// statsAll.
///
/// # Errors
/// [`AdminError`].
pub async fn all(c: &Context) -> Result<(), AdminError> {
    say!(
        c,
        "{:<64}  {:<64} {:>12} {:>11} {:>11} {:>14} {:>14}",
        "#Topic",
        "#Consumer Group",
        "#Accumulation",
        "#InTPS",
        "#OutTPS",
        "#InMsg24Hour",
        "#OutMsg24Hour"
    )?;
    let selected = c.values.get("topic").filter(|topic| !topic.is_empty());
    for topic in topic_query::all_topics(c).await? {
        let internal = topic.starts_with(RETRY_PREFIX) || topic.starts_with(DLQ_PREFIX);
        if internal || selected.is_some_and(|selected| selected != topic) {
            continue;
        }
        match one(c, &topic).await {
            // A topic that is just being deleted must not end the list.
            Err(AdminError::Client(error)) => tracing::warn!(topic, %error, "topic not examined"),
            other => other?,
        }
    }
    Ok(())
}

async fn one(c: &Context, topic: &str) -> Result<(), AdminError> {
    let route = c.route(topic).await?;
    let groups = topic_query::groups_of(c, topic, &route).await?;
    let put = flow(c, &route, "TOPIC_PUT_NUMS", topic).await;
    let only_active = c.values.has("activeTopic");
    if groups.is_empty() && (!only_active || put.day > 0) {
        say!(
            c,
            "{:<64}  {:<64} {:>12} {:>11.2} {:>11} {:>14} {:>14}",
            front(topic, 64),
            "",
            0,
            put.tps,
            "",
            put.day,
            "NO_CONSUMER"
        )?;
    }
    for group in groups {
        let got = flow(c, &route, "GROUP_GET_NUMS", &format!("{topic}@{group}")).await;
        let behind = consumer_progress::stats(c, &group, Some(topic)).await.map_or(0, |stats| {
            let each = stats.offset_table.values();
            let sum =
                each.fold(0i64, |sum, at| sum.saturating_add(at.broker_offset.saturating_sub(at.consumer_offset)));
            sum.max(0)
        });
        if only_active && put.day == 0 && got.day == 0 {
            continue;
        }
        say!(
            c,
            "{:<64}  {:<64} {behind:>12} {:>11.2} {:>11.2} {:>14} {:>14}",
            front(topic, 64),
            front(&group, 64),
            put.tps,
            got.tps,
            put.day,
            got.day
        )?;
    }
    Ok(())
}

/// The sum over all masters of a topic; brokers that have no such figure count nothing.
async fn flow(c: &Context, route: &TopicRouteData, stats_name: &str, stats_key: &str) -> Flow {
    let header = ViewBrokerStatsDataRequestHeader { stats_name: stats_name.into(), stats_key: stats_key.into() };
    let mut flow = Flow::default();
    for addr in route.broker_datas.iter().filter_map(|broker| broker.broker_addrs.get(&0)) {
        let answer = c.broker_json::<ViewBrokerStatsData, BrokerStatsData>(addr, &header).await;
        let Ok(data) = answer else { continue };
        flow.tps += data.stats_minute.tps;
        // The longest span that the broker has seen already.
        let spans = [data.stats_day.sum, data.stats_hour.sum, data.stats_minute.sum];
        flow.day = flow.day.saturating_add(spans.into_iter().find(|sum| *sum != 0).unwrap_or(0));
    }
    flow
}

/// producer.
///
/// # Errors
/// [`AdminError`].
pub async fn producer(c: &Context) -> Result<(), AdminError> {
    let table: ProducerTableInfo = c.broker_json::<GetAllProducerInfo, _>(c.need("broker")?, &NoHeader).await?;
    for (group, producers) in &table.data {
        if producers.is_empty() {
            say!(c, "producer group ({group}) instances are empty")?;
        }
        for one in producers {
            say!(
                c,
                "producer group ({group}) instance : clientId={},remoteIP={}, language={}, version={}, lastUpdateTimestamp={}",
                one.client_id,
                one.remote_ip,
                one.language,
                one.version,
                one.last_update_timestamp
            )?;
        }
    }
    Ok(())
}
