//! updateOrderConf: how many queues an order topic has on each broker, kept by the nameservers.

use crate::context::Context;
use crate::error::AdminError;
use crate::options::{Opt, opt, required};
use bytes::Bytes;
use client::ClientError;
use protocol::header::namesrv::{GetKvConfigResponseHeader, KvConfigKeyRequestHeader};
use protocol::names::ORDER_TOPIC_CONFIG;
use protocol::operation::GetKvConfig;
use protocol::response_code::QUERY_NOT_FOUND;

/// Options of updateOrderConf.
pub const OPTIONS: &[Opt] = &[
    required("t", "topic", "topic name"),
    opt("v", "orderConf", "set order conf [eg. brokerName1:num;brokerName2:num]"),
    required("m", "method", "option type [eg. put|get|delete"),
];

/// updateOrderConf.
///
/// # Errors
/// [`AdminError`].
pub async fn run(c: &Context) -> Result<(), AdminError> {
    let topic = c.need("topic")?;
    match c.need("method")? {
        "get" => match get(c, topic).await? {
            Some(conf) => c.out.print(format_args!("get orderConf success. topic=[{topic}], orderConf=[{conf}] \n")),
            None => Err(AdminError::NotFound(format!("topic {topic} has no order conf"))),
        },
        "put" => {
            let conf = c.values.get("orderConf").filter(|conf| !conf.is_empty());
            let conf = conf.ok_or_else(|| AdminError::Usage("please set orderConf with option -v.".to_owned()))?;
            put(c, topic, conf).await?;
            c.out.print(format_args!("update orderConf success. topic=[{topic}], orderConf=[{conf}]\n"))
        }
        "delete" => {
            super::namesrv::delete(c, ORDER_TOPIC_CONFIG, topic).await?;
            c.out.print(format_args!("delete orderConf success. topic=[{topic}]\n"))
        }
        other => Err(AdminError::Usage(format!("-m {other}: the methods are put, get and delete"))),
    }
}

/// Replaces the whole configuration of a topic.
///
/// # Errors
/// [`AdminError::Client`].
pub async fn put(c: &Context, topic: &str, conf: &str) -> Result<(), AdminError> {
    super::namesrv::put(c, ORDER_TOPIC_CONFIG, topic, conf).await
}

/// Replaces what the configuration of a topic says of one broker.
///
/// # Errors
/// [`AdminError::Client`].
pub async fn put_one(c: &Context, topic: &str, broker_name: &str, conf: &str) -> Result<(), AdminError> {
    let old = get(c, topic).await?.unwrap_or_default();
    put(c, topic, &with_broker(&old, broker_name, conf)).await
}

fn with_broker(old: &str, broker_name: &str, conf: &str) -> String {
    let others = old.split(';').filter(|item| {
        let name = item.split(':').next().unwrap_or_default();
        !item.is_empty() && name != broker_name
    });
    others.chain([conf]).collect::<Vec<_>>().join(";")
}

async fn get(c: &Context, topic: &str) -> Result<Option<String>, AdminError> {
    let header = KvConfigKeyRequestHeader { namespace: ORDER_TOPIC_CONFIG.into(), key: topic.into() };
    let answer = match c.client.nameservers().invoke::<GetKvConfig>(&header, Bytes::new()).await {
        Err(ClientError::Refused { code: QUERY_NOT_FOUND, .. }) => return Ok(None),
        other => other?,
    };
    let header: GetKvConfigResponseHeader = answer.header().map_err(|error| {
        AdminError::Client(ClientError::Answer { addr: "name server".to_owned(), reason: error.to_string() })
    })?;
    Ok(header.value.map(|value| value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broker_is_replaced() {
        assert_eq!(with_broker("", "a", "a:4"), "a:4");
        assert_eq!(with_broker("a:4;b:2", "a", "a:8"), "b:2;a:8");
    }
}
