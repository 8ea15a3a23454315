//! Making, changing and deleting topics.

use crate::context::Context;
use crate::error::AdminError;
use crate::options::{Opt, one_of, opt, required};
use crate::say;
use bytes::Bytes;
use protocol::body::topic::{TopicConfig, TopicFilterType};
use protocol::header::namesrv::DeleteTopicFromNamesrvRequestHeader;
use protocol::header::topic::{CreateTopicRequestHeader, TopicRequestHeader};
use protocol::names::{AUTO_CREATE_TOPIC_KEY_TOPIC, validate_topic};
use protocol::operation::{DeleteTopicInBroker, DeleteTopicInNamesrv, UpdateAndCreateTopic};
use protocol::sys_flag::{perm, topic as topic_flag};
use std::collections::BTreeMap;

/// Options of updateTopic.
pub const UPDATE: &[Opt] = &[
    one_of("b", "brokerAddr", "create topic to which broker"),
    one_of("c", "clusterName", "create topic to which cluster"),
    opt("a", "attributes", "attribute(+a=b,+c=d,-e)"),
    required("t", "topic", "topic name"),
    opt("r", "readQueueNums", "set read queue nums"),
    opt("w", "writeQueueNums", "set write queue nums"),
    opt("p", "perm", "set topic's permission(2|4|6), intro[2:W 4:R; 6:RW]"),
    opt("o", "order", "set topic's order(true|false)"),
    opt("u", "unit", "is unit topic (true|false)"),
    opt("s", "hasUnitSub", "has unit sub (true|false)"),
];

/// Options of deleteTopic.
pub const DELETE: &[Opt] =
    &[required("t", "topic", "topic name"), required("c", "clusterName", "delete topic from which cluster")];

/// Options of updateTopicPerm.
pub const UPDATE_PERM: &[Opt] = &[
    opt("b", "brokerAddr", "create topic to which broker"),
    opt("c", "clusterName", "create topic to which cluster"),
    required("t", "topic", "topic name"),
    required("p", "perm", "set topic's permission(2|4|6), intro[2:W; 4:R; 6:RW]"),
];

/// updateTopic.
///
/// # Errors
/// [`AdminError`].
pub async fn update(c: &Context) -> Result<(), AdminError> {
    let config = TopicConfig {
        topic_name: c.need("topic")?.to_owned(),
        read_queue_nums: c.number("readQueueNums")?.unwrap_or(8),
        write_queue_nums: c.number("writeQueueNums")?.unwrap_or(8),
        perm: c.number("perm")?.unwrap_or(perm::READ | perm::WRITE),
        order: c.values.is_true("order"),
        topic_sys_flag: topic_flag::build(c.values.is_true("unit"), c.values.is_true("hasUnitSub")),
        attributes: attributes(c.values.get("attributes").unwrap_or_default())?,
        ..TopicConfig::default()
    };
    validate_topic(&config.topic_name).map_err(AdminError::Usage)?;
    for addr in c.targets().await? {
        create(c, &addr, &config).await?;
        say!(c, "create topic to {addr} success.")?;
    }
    if config.order {
        set_order_conf(c, &config).await?;
    }
    say!(c, "{}", describe(&config))
}

/// Has a broker make or change a topic.
///
/// # Errors
/// [`AdminError::Client`].
pub async fn create(c: &Context, addr: &str, config: &TopicConfig) -> Result<(), AdminError> {
    let filter_type = match config.topic_filter_type {
        TopicFilterType::SingleTag => "SINGLE_TAG",
        TopicFilterType::MultiTag => "MULTI_TAG",
    };
    let attributes: Vec<String> = config.attributes.iter().map(|(key, value)| join_attribute(key, value)).collect();
    let header = CreateTopicRequestHeader {
        topic: config.topic_name.as_str().into(),
        default_topic: Some(AUTO_CREATE_TOPIC_KEY_TOPIC.into()),
        read_queue_nums: config.read_queue_nums,
        write_queue_nums: config.write_queue_nums,
        perm: config.perm,
        topic_filter_type: Some(filter_type.into()),
        topic_sys_flag: Some(config.topic_sys_flag),
        order: config.order,
        attributes: Some(attributes.join(",").into()),
        force: false,
    };
    c.broker::<UpdateAndCreateTopic>(addr, &header, Bytes::new()).await
}

async fn set_order_conf(c: &Context, config: &TopicConfig) -> Result<(), AdminError> {
    let queues = config.write_queue_nums;
    if let Some(cluster) = c.values.get("clusterName") {
        let brokers = c.brokers_of(cluster).await?;
        let conf: Vec<String> = brokers.iter().map(|broker| format!("{}:{queues}", broker.broker_name)).collect();
        let conf = conf.join(";");
        super::order_conf::put(c, &config.topic_name, &conf).await?;
        return say!(c, "set cluster orderConf. isOrder=true, orderConf=[{conf}]");
    }
    let addr = c.need("brokerAddr")?;
    let info = c.cluster_info().await?;
    let broker = info.broker_addr_table.values().find(|broker| broker.broker_addrs.values().any(|a| a == addr));
    let broker = broker.ok_or_else(|| AdminError::NotFound(format!("no name server knows a broker at {addr}")))?;
    let conf = format!("{}:{queues}", broker.broker_name);
    super::order_conf::put_one(c, &config.topic_name, &broker.broker_name, &conf).await?;
    say!(c, "set broker orderConf. isOrder=true, orderConf=[{conf}]")
}

/// deleteTopic.
///
/// # Errors
/// [`AdminError`].
pub async fn delete(c: &Context) -> Result<(), AdminError> {
    delete_from(c, c.need("topic")?, c.need("clusterName")?).await
}

/// Deletes a topic from all masters of a cluster, then from all nameservers.
///
/// # Errors
/// [`AdminError`].
pub async fn delete_from(c: &Context, topic: &str, cluster: &str) -> Result<(), AdminError> {
    for addr in c.masters_of(cluster).await? {
        c.broker::<DeleteTopicInBroker>(&addr, &TopicRequestHeader { topic: topic.into() }, Bytes::new()).await?;
    }
    say!(c, "delete topic [{topic}] from cluster [{cluster}] success.")?;
    let header = DeleteTopicFromNamesrvRequestHeader { topic: topic.into(), cluster_name: Some(cluster.into()) };
    let nameservers = c.client.nameservers();
    for addr in nameservers.addrs() {
        nameservers.call_one::<DeleteTopicInNamesrv>(addr, &header, Bytes::new()).await?;
    }
    say!(c, "delete topic [{topic}] from NameServer success.")
}

/// updateTopicPerm.
///
/// # Errors
/// [`AdminError`].
pub async fn update_perm(c: &Context) -> Result<(), AdminError> {
    let topic = c.need("topic")?;
    let perm: i32 = c.number("perm")?.unwrap_or_default();
    let route = c.route(topic).await?;
    let config_like = |queue: &protocol::body::route::QueueData| TopicConfig {
        topic_name: topic.to_owned(),
        read_queue_nums: queue.read_queue_nums,
        write_queue_nums: queue.write_queue_nums,
        topic_sys_flag: queue.topic_sys_flag,
        perm,
        ..TopicConfig::default()
    };
    let old = |broker_name: &str| route.queue_datas.iter().find(|queue| queue.broker_name == broker_name);
    if let Some(addr) = c.values.get("brokerAddr") {
        let is_master = |broker: &&protocol::body::route::BrokerData| {
            broker.broker_addrs.get(&0).is_some_and(|master| master == addr)
        };
        let queue = route.broker_datas.iter().find(is_master).and_then(|broker| old(&broker.broker_name));
        let Some(queue) = queue else {
            return Err(AdminError::NotFound("updateTopicPerm error broker not exit or broker is not master!.".into()));
        };
        if queue.perm == perm {
            return say!(c, "new perm equals to the old one!");
        }
        let config = config_like(queue);
        create(c, addr, &config).await?;
        say!(c, "update topic perm from {} to {perm} in {addr} success.", queue.perm)?;
        return say!(c, "{}.", describe(&config));
    }
    let cluster = c.values.get("clusterName");
    let cluster = cluster.ok_or_else(|| AdminError::Usage("give a broker with -b or a cluster with -c".to_owned()))?;
    for broker in c.brokers_of(cluster).await? {
        let (Some(addr), Some(queue)) = (broker.broker_addrs.get(&0), old(&broker.broker_name)) else { continue };
        create(c, addr, &config_like(queue)).await?;
        say!(c, "update topic perm from {} to {perm} in {addr} success.", queue.perm)?;
    }
    Ok(())
}

/// As Java's `TopicConfig.toString`.
fn describe(config: &TopicConfig) -> String {
    let bit = |is: bool, name: &'static str| if is { name } else { "-" };
    let perm = [
        bit(perm::is_readable(config.perm), "R"),
        bit(perm::is_writeable(config.perm), "W"),
        bit(perm::is_inherited(config.perm), "X"),
    ];
    let filter_type = if config.topic_filter_type == TopicFilterType::SingleTag { "SINGLE_TAG" } else { "MULTI_TAG" };
    let attributes: Vec<String> = config.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!(
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={}, topicFilterType={filter_type}, \
         topicSysFlag={}, order={}, attributes={{{}}}]",
        config.topic_name,
        config.read_queue_nums,
        config.write_queue_nums,
        perm.concat(),
        config.topic_sys_flag,
        config.order,
        attributes.join(", ")
    )
}

/// Changes of attributes: `+a=b,+c=d,-e` as `{+a: b, +c: d, -e: ""}`.
///
/// # Errors
/// [`AdminError::Usage`] for an item that neither sets nor deletes.
pub fn attributes(text: &str) -> Result<BTreeMap<String, String>, AdminError> {
    let mut changes = BTreeMap::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (key, value) = item.split_once('=').unwrap_or((item, ""));
        let (sets, deletes) = (key.starts_with('+'), key.starts_with('-'));
        if key.len() < 2 || !(sets || deletes) || deletes != value.is_empty() {
            return Err(AdminError::Usage(format!("attribute {item:?}: write +key=value to set, -key to delete")));
        }
        changes.insert(key.to_owned(), value.to_owned());
    }
    Ok(changes)
}

fn join_attribute(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_owned() } else { format!("{key}={value}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_as_java() {
        let config = TopicConfig {
            topic_name: "x".to_owned(),
            read_queue_nums: 8,
            write_queue_nums: 8,
            attributes: attributes("+message.type=FIFO").unwrap(),
            ..TopicConfig::default()
        };
        assert_eq!(
            describe(&config),
            "TopicConfig [topicName=x, readQueueNums=8, writeQueueNums=8, perm=RW-, topicFilterType=SINGLE_TAG, \
             topicSysFlag=0, order=false, attributes={+message.type=FIFO}]"
        );
    }

    #[test]
    fn attributes_are_checked() {
        assert_eq!(attributes("+a=b, -c").unwrap().len(), 2);
        for bad in ["a=b", "+a", "-a=b", "+=b", "x"] {
            assert!(attributes(bad).is_err(), "{bad}");
        }
    }
}
