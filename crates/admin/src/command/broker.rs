//! Brokers: their figures, their configuration, cleaning.

use crate::context::Context;
use crate::error::AdminError;
use crate::options::{Opt, one_of, opt, required};
use crate::say;
use bytes::Bytes;
use client::ClientError;
use codec::fields::NoHeader;
use daemon::properties::{Properties, decode};
use protocol::body::topic::KvTable;
use protocol::operation::{
    CleanExpiredConsumeQueue, CleanUnusedTopic, DeleteExpiredCommitLog, GetBrokerConfig, GetBrokerRuntimeInfo,
    Operation, UpdateBrokerConfig,
};
use std::collections::BTreeMap;

/// Options of brokerStatus.
pub const STATUS: &[Opt] = &[one_of("b", "brokerAddr", "Broker address"), one_of("c", "clusterName", "which cluster")];

/// Options of getBrokerConfig.
pub const GET_CONFIG: &[Opt] =
    &[one_of("b", "brokerAddr", "get which broker"), one_of("c", "clusterName", "get which cluster")];

/// Options of updateBrokerConfig.
pub const UPDATE_CONFIG: &[Opt] = &[
    opt("b", "brokerAddr", "update which broker"),
    opt("c", "clusterName", "update which cluster"),
    opt("a", "updateAllBroker", "update all brokers include slave"),
    required("k", "key", "config key"),
    required("v", "value", "config value"),
];

/// Options of cleanExpiredCQ, deleteExpiredCommitLog and cleanUnusedTopic.
pub const CLEAN: &[Opt] = &[opt("b", "brokerAddr", "Broker address"), opt("c", "cluster", "clustername")];

/// brokerStatus.
///
/// # Errors
/// [`AdminError`].
pub async fn status(c: &Context) -> Result<(), AdminError> {
    if let Some(addr) = c.values.get("brokerAddr") {
        for (key, value) in runtime_info(c, addr).await? {
            say!(c, "{key:<32}: {value}")?;
        }
        return Ok(());
    }
    let mut failed = false;
    for addr in c.all_of(c.need("clusterName")?).await? {
        match runtime_info(c, &addr).await {
            Ok(table) => {
                for (key, value) in table {
                    say!(c, "{addr:<24} {key:<32}: {value}")?;
                }
            }
            Err(error) => {
                failed = true;
                eprintln!("{addr}: {error}");
            }
        }
    }
    if failed { Err(AdminError::Partly("some brokers".to_owned())) } else { Ok(()) }
}

/// The figures of a broker by name.
///
/// # Errors
/// [`AdminError::Client`].
pub async fn runtime_info(c: &Context, addr: &str) -> Result<BTreeMap<String, String>, AdminError> {
    let body: KvTable = c.broker_json::<GetBrokerRuntimeInfo, _>(addr, &NoHeader).await?;
    Ok(body.table)
}

/// getBrokerConfig.
///
/// # Errors
/// [`AdminError`].
pub async fn get_config(c: &Context) -> Result<(), AdminError> {
    if let Some(addr) = c.values.get("brokerAddr") {
        return get_one(c, addr, &format!("============{addr}============")).await;
    }
    for broker in c.brokers_of(c.need("clusterName")?).await? {
        let master = broker.broker_addrs.get(&0).cloned();
        match &master {
            Some(addr) => get_one(c, addr, &format!("============Master: {addr}============")).await?,
            None => say!(c, "============Master: NO_MASTER============")?,
        }
        let master = master.unwrap_or_else(|| "NO_MASTER".to_owned());
        for (_, addr) in broker.broker_addrs.iter().filter(|(id, _)| **id != 0) {
            get_one(c, addr, &format!("============My Master: {master}=====Slave: {addr}============")).await?;
        }
    }
    Ok(())
}

async fn get_one(c: &Context, addr: &str, title: &str) -> Result<(), AdminError> {
    let answer = c.client.brokers().invoke::<GetBrokerConfig>(addr, &NoHeader, Bytes::new()).await?;
    say!(c, "{title}")?;
    print_config(c, &answer.body, addr)?;
    say!(c)
}

/// Prints a configuration that a server sent as properties text.
///
/// # Errors
/// [`AdminError`].
pub fn print_config(c: &Context, body: &[u8], from: &str) -> Result<(), AdminError> {
    let properties = Properties::from_text(&decode(body), from).map_err(|error| {
        AdminError::Client(ClientError::Answer { addr: from.to_owned(), reason: error.to_string() })
    })?;
    let mut entries: Vec<_> = properties.entries().iter().collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    for entry in entries {
        say!(c, "{:<50}=  {}", entry.key, entry.value)?;
    }
    Ok(())
}

/// The body that changes one key.
///
/// # Errors
/// [`AdminError::Usage`] when key or value would become several lines.
pub fn config_line(key: &str, value: &str) -> Result<Bytes, AdminError> {
    if key.is_empty() || key.contains(['\n', '\r', '=']) || value.contains(['\n', '\r']) {
        return Err(AdminError::Usage(format!("{key:?} = {value:?} does not fit in one line key=value")));
    }
    Ok(Bytes::from(format!("{key}={value}\n")))
}

/// updateBrokerConfig.
///
/// # Errors
/// [`AdminError`].
pub async fn update_config(c: &Context) -> Result<(), AdminError> {
    let body = config_line(c.need("key")?, c.need("value")?)?;
    let addrs = match (c.values.get("brokerAddr"), c.values.get("clusterName")) {
        (None, Some(cluster)) if c.values.has("updateAllBroker") => c.all_of(cluster).await?,
        _ => c.targets().await?,
    };
    let mut failed = Vec::new();
    for addr in addrs {
        match c.broker::<UpdateBrokerConfig>(&addr, &NoHeader, body.clone()).await {
            Ok(()) => say!(c, "update broker config success, {addr}")?,
            Err(error) => {
                eprintln!("{addr}: {error}");
                failed.push(addr);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(AdminError::Partly(failed.join(", "))) }
}

/// cleanExpiredCQ.
///
/// # Errors
/// [`AdminError`].
pub async fn clean_expired_cq(c: &Context) -> Result<(), AdminError> {
    clean::<CleanExpiredConsumeQueue>(c).await
}

/// deleteExpiredCommitLog.
///
/// # Errors
/// [`AdminError`].
pub async fn delete_expired_commit_log(c: &Context) -> Result<(), AdminError> {
    clean::<DeleteExpiredCommitLog>(c).await
}

/// cleanUnusedTopic.
///
/// # Errors
/// [`AdminError`].
pub async fn clean_unused_topic(c: &Context) -> Result<(), AdminError> {
    clean::<CleanUnusedTopic>(c).await
}

/// Has one broker, the masters of one cluster, or all masters clean up.
async fn clean<O: Operation<Request = NoHeader>>(c: &Context) -> Result<(), AdminError> {
    let addrs = match (c.values.get("brokerAddr"), c.values.get("cluster")) {
        (Some(addr), _) => vec![addr.to_owned()],
        (None, Some(cluster)) => c.masters_of(cluster).await?,
        (None, None) => {
            let info = c.cluster_info().await?;
            info.broker_addr_table.values().filter_map(|broker| broker.broker_addrs.get(&0).cloned()).collect()
        }
    };
    let mut ok = true;
    for addr in addrs {
        if let Err(error) = c.broker::<O>(&addr, &NoHeader, Bytes::new()).await {
            eprintln!("{addr}: {error}");
            ok = false;
        }
    }
    say!(c, "{}", if ok { "success" } else { "false" })?;
    if ok { Ok(()) } else { Err(AdminError::Partly("some brokers".to_owned())) }
}
