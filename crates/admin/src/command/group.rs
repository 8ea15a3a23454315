//! Making, changing and deleting consumer groups.

use crate::context::Context;
use crate::error::AdminError;
use crate::options::{Opt, opt, required};
use crate::say;
use bytes::Bytes;
use codec::fields::NoHeader;
use protocol::body::group::SubscriptionGroupConfig;
use protocol::header::topic::DeleteSubscriptionGroupRequestHeader;
use protocol::names::{dlq_topic, retry_topic, validate_group};
use protocol::operation::{DeleteSubscriptionGroup, UpdateAndCreateSubscriptionGroup};

/// Options of updateSubGroup.
pub const UPDATE: &[Opt] = &[
    opt("b", "brokerAddr", "create subscription group to which broker"),
    opt("c", "clusterName", "create subscription group to which cluster"),
    required("g", "groupName", "consumer group name"),
    opt("s", "consumeEnable", "consume enable"),
    opt("m", "consumeFromMinEnable", "from min offset"),
    opt("d", "consumeBroadcastEnable", "broadcast"),
    opt("o", "consumeMessageOrderly", "consume message orderly"),
    opt("q", "retryQueueNums", "retry queue nums"),
    opt("r", "retryMaxTimes", "retry max times"),
    opt(
        "p",
        "groupRetryPolicy",
        "the json string of retry policy ( exp: {\"type\":\"EXPONENTIAL\",\"exponentialRetryPolicy\":{\"initial\":5000,\
         \"max\":7200000,\"multiplier\":2}} {\"type\":\"CUSTOMIZED\",\"customizedRetryPolicy\":{\"next\":[1000,5000,10000]}} )",
    ),
    opt("i", "brokerId", "consumer from which broker id"),
    opt("w", "whichBrokerWhenConsumeSlowly", "which broker id when consume slowly"),
    opt("a", "notifyConsumerIdsChanged", "notify consumerId changed"),
    opt("", "attributes", "attribute(+a=b,+c=d,-e)"),
];

/// Options of deleteSubGroup.
pub const DELETE: &[Opt] = &[
    opt("b", "brokerAddr", "delete subscription group from which broker"),
    opt("c", "clusterName", "delete subscription group from which cluster"),
    required("g", "groupName", "subscription group name"),
    opt("r", "removeOffset", "remove offset"),
];

/// updateSubGroup.
///
/// # Errors
/// [`AdminError`].
pub async fn update(c: &Context) -> Result<(), AdminError> {
    let config = from_options(c)?;
    let body = Bytes::from(protocol::body::encode(&config));
    let mut failed = Vec::new();
    for addr in c.targets().await? {
        match c.broker::<UpdateAndCreateSubscriptionGroup>(&addr, &NoHeader, body.clone()).await {
            Ok(()) => say!(c, "create subscription group to {addr} success.")?,
            Err(error) => {
                eprintln!("{addr}: {error}");
                failed.push(addr);
            }
        }
    }
    if !failed.is_empty() {
        return Err(AdminError::Partly(failed.join(", ")));
    }
    say!(c, "{}", describe(&config))
}

fn from_options(c: &Context) -> Result<SubscriptionGroupConfig, AdminError> {
    let defaults = SubscriptionGroupConfig::default();
    let switch = |long: &str, default: bool| if c.values.has(long) { c.values.is_true(long) } else { default };
    let group_retry_policy = match c.values.get("groupRetryPolicy") {
        None => defaults.group_retry_policy,
        Some(text) => codec::json::from_slice(text.as_bytes())
            .map_err(|error| AdminError::Usage(format!("--groupRetryPolicy is {error}: {text}")))?,
    };
    let config = SubscriptionGroupConfig {
        group_name: c.need("groupName")?.to_owned(),
        consume_enable: switch("consumeEnable", true),
        // Java's tool turns both off, unlike groups that brokers make by themselves.
        consume_from_min_enable: switch("consumeFromMinEnable", false),
        consume_broadcast_enable: switch("consumeBroadcastEnable", false),
        consume_message_orderly: switch("consumeMessageOrderly", false),
        retry_queue_nums: c.number("retryQueueNums")?.unwrap_or(defaults.retry_queue_nums),
        retry_max_times: c.number("retryMaxTimes")?.unwrap_or(defaults.retry_max_times),
        group_retry_policy,
        broker_id: c.number("brokerId")?.unwrap_or(defaults.broker_id),
        which_broker_when_consume_slowly: c
            .number("whichBrokerWhenConsumeSlowly")?
            .unwrap_or(defaults.which_broker_when_consume_slowly),
        notify_consumer_ids_changed_enable: switch("notifyConsumerIdsChanged", true),
        attributes: super::topic::attributes(c.values.get("attributes").unwrap_or_default())?,
        ..SubscriptionGroupConfig::default()
    };
    validate_group(&config.group_name).map_err(AdminError::Usage)?;
    Ok(config)
}

/// As Java's `SubscriptionGroupConfig.toString`.
fn describe(config: &SubscriptionGroupConfig) -> String {
    let policy = |name: &str| match config.group_retry_policy.get(name) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "null".to_owned(),
    };
    let attributes: Vec<String> = config.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!(
        "SubscriptionGroupConfig{{groupName={}, consumeEnable={}, consumeFromMinEnable={}, consumeBroadcastEnable={}, \
         consumeMessageOrderly={}, retryQueueNums={}, retryMaxTimes={}, groupRetryPolicy=GroupRetryPolicy{{type={}, \
         exponentialRetryPolicy={}, customizedRetryPolicy={}}}, brokerId={}, whichBrokerWhenConsumeSlowly={}, \
         notifyConsumerIdsChangedEnable={}, groupSysFlag={}, consumeTimeoutMinute={}, subscriptionDataSet=null, \
         attributes={{{}}}}}",
        config.group_name,
        config.consume_enable,
        config.consume_from_min_enable,
        config.consume_broadcast_enable,
        config.consume_message_orderly,
        config.retry_queue_nums,
        config.retry_max_times,
        policy("type"),
        policy("exponentialRetryPolicy"),
        policy("customizedRetryPolicy"),
        config.broker_id,
        config.which_broker_when_consume_slowly,
        config.notify_consumer_ids_changed_enable,
        config.group_sys_flag,
        config.consume_timeout_minute,
        attributes.join(", ")
    )
}

/// deleteSubGroup. From a cluster, the group's retry and dead letter topics go too.
///
/// # Errors
/// [`AdminError`].
pub async fn delete(c: &Context) -> Result<(), AdminError> {
    let group = c.need("groupName")?;
    let clean_offset = c.values.is_true("removeOffset");
    let header =
        DeleteSubscriptionGroupRequestHeader { group_name: group.into(), clean_offset, remove_offset: clean_offset };
    let addrs = c.targets().await?;
    let cluster = c.values.get("clusterName").filter(|_| !c.values.has("brokerAddr"));
    for addr in addrs {
        c.broker::<DeleteSubscriptionGroup>(&addr, &header, Bytes::new()).await?;
        match cluster {
            None => say!(c, "delete subscription group [{group}] from broker [{addr}] success.")?,
            Some(cluster) => {
                say!(c, "delete subscription group [{group}] from broker [{addr}] in cluster [{cluster}] success.")?;
            }
        }
    }
    if let Some(cluster) = cluster {
        super::topic::delete_from(c, &retry_topic(group), cluster).await?;
        super::topic::delete_from(c, &dlq_topic(group), cluster).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_as_java() {
        let config = SubscriptionGroupConfig {
            group_name: "gg".to_owned(),
            consume_from_min_enable: false,
            consume_broadcast_enable: false,
            ..SubscriptionGroupConfig::default()
        };
        assert_eq!(
            describe(&config),
            "SubscriptionGroupConfig{groupName=gg, consumeEnable=true, consumeFromMinEnable=false, \
             consumeBroadcastEnable=false, consumeMessageOrderly=false, retryQueueNums=1, retryMaxTimes=16, \
             groupRetryPolicy=GroupRetryPolicy{type=CUSTOMIZED, exponentialRetryPolicy=null, \
             customizedRetryPolicy=null}, brokerId=0, whichBrokerWhenConsumeSlowly=1, \
             notifyConsumerIdsChangedEnable=true, groupSysFlag=0, consumeTimeoutMinute=15, subscriptionDataSet=null, \
             attributes={}}"
        );
    }
}
