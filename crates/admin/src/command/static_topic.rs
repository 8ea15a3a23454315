//! Making static topics and moving their queues. Source: UpdateStaticTopicSubCommand, RemappingStaticTopicSubCommand, MQAdminUtils.

use crate::context::{Context, json};
use crate::error::AdminError;
use crate::mapping_plan::{self, Brokers, CREATE, REMAP, TopicRemapping};
use crate::options::{Opt, one_of, opt, required};
use crate::say;
use client::ClientError;
use client::clock::now_ms;
use protocol::body::admin::TopicStatsTable;
use protocol::body::encode;
use protocol::body::route::ClusterInfo;
use protocol::body::static_topic::TopicQueueMappingDetail;
use protocol::body::topic::{TopicConfigAndQueueMapping, TopicFilterType};
use protocol::header::topic::{CreateTopicRequestHeader, GetTopicConfigRequestHeader, TopicRequestHeader};
use protocol::names::{AUTO_CREATE_TOPIC_KEY_TOPIC, validate_topic};
use protocol::operation::{GetTopicConfig, GetTopicStatsInfo, UpdateAndCreateStaticTopic};
use protocol::response_code::TOPIC_NOT_EXIST;
use std::collections::BTreeSet;
use std::path::Path;

/// Options of updateStaticTopic.
pub const UPDATE: &[Opt] = &[
    one_of("c", "clusters", "remapping static topic to clusters, comma separated"),
    one_of("b", "brokers", "remapping static topic to brokers, comma separated"),
    required("t", "topic", "topic name"),
    required("qn", "totalQueueNum", "total queue num"),
    opt("mf", "mapFile", "The mapping data file name"),
    opt("fr", "forceReplace", "Force replace the old mapping"),
];

/// Options of remappingStaticTopic.
pub const REMAPPING: &[Opt] = &[
    one_of("c", "clusters", "remapping static topic to clusters, comma separated"),
    one_of("b", "brokers", "remapping static topic to brokers, comma separated"),
    required("t", "topic", "topic name"),
    opt("mf", "mapFile", "The mapping data file name"),
    opt("fr", "forceReplace", "Force replace the old mapping"),
];

/// updateStaticTopic.
///
/// # Errors
/// [`AdminError`].
pub async fn update(c: &Context) -> Result<(), AdminError> {
    let topic = c.need("topic")?;
    validate_topic(topic).map_err(AdminError::Usage)?;
    let total: i32 = c.number("totalQueueNum")?.unwrap_or_default();
    let info = c.cluster_info().await?;
    if let Some(file) = c.values.get("mapFile") {
        return apply(c, read(topic, CREATE, file)?, &info, c.values.is_true("forceReplace")).await;
    }
    let mut targets = targets(c, &info)?;
    let brokers = examine(c, topic, &info).await?;
    let epoch =
        mapping_plan::agreed(topic, &brokers).map_err(AdminError::Usage)?.map_or_else(now_ms, |(epoch, _)| epoch);
    let old = TopicRemapping {
        broker_config_map: brokers.clone(),
        epoch,
        topic: topic.to_owned(),
        kind: CREATE.to_owned(),
        ..TopicRemapping::default()
    };
    say!(c, "The old mapping data is written to file {}", write(&old, "before")?)?;
    targets.extend(brokers.keys().cloned());
    let plan = mapping_plan::create(topic, total, &targets, brokers, now_ms()).map_err(AdminError::Usage)?;
    say!(c, "The new mapping data is written to file {}", write(&plan, "after")?)?;
    apply(c, plan, &info, false).await
}

/// remappingStaticTopic.
///
/// # Errors
/// [`AdminError`].
pub async fn remapping(c: &Context) -> Result<(), AdminError> {
    let topic = c.need("topic")?;
    let info = c.cluster_info().await?;
    if let Some(file) = c.values.get("mapFile") {
        return apply(c, read(topic, REMAP, file)?, &info, c.values.is_true("forceReplace")).await;
    }
    let targets = targets(c, &info)?;
    let brokers = examine(c, topic, &info).await?;
    let known = mapping_plan::agreed(topic, &brokers).map_err(AdminError::Usage)?;
    let Some((epoch, _)) = known else {
        return Err(AdminError::NotFound(format!("No topic route to do the remapping: no broker has topic[{topic}]")));
    };
    let old = TopicRemapping {
        broker_config_map: brokers.clone(),
        epoch,
        topic: topic.to_owned(),
        kind: CREATE.to_owned(),
        ..TopicRemapping::default()
    };
    say!(c, "The old mapping data is written to file {}", write(&old, "before")?)?;
    let plan = mapping_plan::remap(topic, &targets, brokers, now_ms()).map_err(AdminError::Usage)?;
    say!(c, "The new mapping data is written to file {}", write(&plan, "after")?)?;
    apply(c, plan, &info, false).await
}

/// Tells the brokers, in the order in which no message can be lost: the new leaders take messages before the old ones stop to,
/// and where the queues go on is decided when the old ones have stopped.
async fn apply(c: &Context, mut plan: TopicRemapping, info: &ClusterInfo, force: bool) -> Result<(), AdminError> {
    mapping_plan::check(&plan.topic, &plan.broker_config_map).map_err(AdminError::Usage)?;
    let neighbours = neighbours(&plan.broker_config_map, info);
    mapping_plan::complete(&mut plan, neighbours);
    for name in plan.broker_config_map.keys() {
        master(info, name)?;
    }
    let (ins, outs) = (plan.broker_to_map_in.clone(), plan.broker_to_map_out.clone());
    for name in ins.iter().chain(&outs) {
        tell(c, &plan, name, info, force).await?;
    }
    for name in &outs {
        let header = TopicRequestHeader { topic: plan.topic.as_str().into() };
        let stats: TopicStatsTable = c.broker_json::<GetTopicStatsInfo, _>(master(info, name)?, &header).await?;
        let max_of = |queue_id| {
            let found = stats.offset_table.iter().find(|(queue, _)| queue.0.queue_id == queue_id);
            found.map(|(_, range)| range.max_offset)
        };
        mapping_plan::decide(&mut plan, name, max_of).map_err(AdminError::NotFound)?;
    }
    for name in &ins {
        tell(c, &plan, name, info, force).await?;
    }
    for name in plan.broker_config_map.keys().filter(|name| !ins.contains(*name) && !outs.contains(*name)) {
        tell(c, &plan, name, info, force).await?;
    }
    Ok(())
}

async fn tell(
    c: &Context,
    plan: &TopicRemapping,
    name: &str,
    info: &ClusterInfo,
    force: bool,
) -> Result<(), AdminError> {
    let none = || AdminError::NotFound(format!("the mapping has nothing for broker {name}"));
    let broker = plan.broker_config_map.get(name).ok_or_else(none)?;
    let mapping: &TopicQueueMappingDetail = broker.mapping_detail.as_ref().ok_or_else(none)?;
    let config = &broker.config;
    let header = CreateTopicRequestHeader {
        topic: config.topic_name.as_str().into(),
        default_topic: Some(AUTO_CREATE_TOPIC_KEY_TOPIC.into()),
        read_queue_nums: config.read_queue_nums,
        write_queue_nums: config.write_queue_nums,
        perm: config.perm,
        topic_filter_type: Some(match config.topic_filter_type {
            TopicFilterType::SingleTag => "SINGLE_TAG".into(),
            TopicFilterType::MultiTag => "MULTI_TAG".into(),
        }),
        topic_sys_flag: Some(config.topic_sys_flag),
        order: config.order,
        attributes: None,
        force,
    };
    c.broker::<UpdateAndCreateStaticTopic>(master(info, name)?, &header, encode(mapping).into()).await
}

/// The topic on every broker that has it.
async fn examine(c: &Context, topic: &str, info: &ClusterInfo) -> Result<Brokers, AdminError> {
    let mut brokers = Brokers::new();
    let header = GetTopicConfigRequestHeader { topic: topic.into(), lo: Some(true) };
    for name in info.broker_addr_table.keys() {
        match c.broker_json::<GetTopicConfig, TopicConfigAndQueueMapping>(master(info, name)?, &header).await {
            Ok(found) => drop(brokers.insert(name.clone(), found)),
            Err(AdminError::Client(ClientError::Refused { code: TOPIC_NOT_EXIST, .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(brokers)
}

/// The brokers that were named, themselves or by their clusters.
fn targets(c: &Context, info: &ClusterInfo) -> Result<BTreeSet<String>, AdminError> {
    let mut found = BTreeSet::new();
    for name in c.values.get("brokers").unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()) {
        master(info, name)?;
        found.insert(name.to_owned());
    }
    for cluster in
        c.values.get("clusters").unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty())
    {
        let brokers = info.cluster_addr_table.get(cluster);
        found.extend(brokers.ok_or_else(|| AdminError::NoCluster(cluster.to_owned()))?.iter().cloned());
    }
    match found.is_empty() {
        true => Err(AdminError::Usage("Find none brokers, do nothing".to_owned())),
        false => Ok(found),
    }
}

/// All brokers of the clusters that these belong to.
fn neighbours(brokers: &Brokers, info: &ClusterInfo) -> BTreeSet<String> {
    let clusters = info.cluster_addr_table.values();
    clusters.filter(|names| names.iter().any(|name| brokers.contains_key(name))).flatten().cloned().collect()
}

fn master<'a>(info: &'a ClusterInfo, name: &str) -> Result<&'a str, AdminError> {
    let broker = info.broker_addr_table.get(name);
    let addr = broker.and_then(|broker| broker.broker_addrs.get(&0));
    addr.map(String::as_str).ok_or_else(|| AdminError::NotFound(format!("Can't find addr for broker {name}")))
}

fn read(topic: &str, kind: &str, file: &str) -> Result<TopicRemapping, AdminError> {
    let bytes = std::fs::read(file).map_err(|source| AdminError::Io { what: file.to_owned(), source })?;
    let plan: TopicRemapping = json(&bytes, file)?;
    if plan.topic != topic {
        return Err(AdminError::Usage(format!(
            "{file} has the mapping of topic[{}], not of topic[{topic}]",
            plan.topic
        )));
    }
    if plan.kind != kind {
        return Err(AdminError::Usage(format!("{file} is of type {}, this command takes {kind}", plan.kind)));
    }
    Ok(plan)
}

fn write(plan: &TopicRemapping, suffix: &str) -> Result<String, AdminError> {
    let file = std::env::temp_dir().join(format!("{}-{}.{suffix}", plan.topic, plan.epoch));
    write_to(&file, &encode(plan))?;
    Ok(file.display().to_string())
}

fn write_to(file: &Path, text: &[u8]) -> Result<(), AdminError> {
    std::fs::write(file, text).map_err(|source| AdminError::Io { what: file.display().to_string(), source })
}
