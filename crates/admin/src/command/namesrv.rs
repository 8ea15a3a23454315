//! Nameservers: their KV configuration, their own configuration, write permission of brokers.

use crate::context::Context;
use crate::error::AdminError;
use crate::options::{Opt, required};
use crate::say;
use bytes::Bytes;
use client::ClientError;
use codec::fields::NoHeader;
use protocol::header::namesrv::{
    AddWritePermOfBrokerResponseHeader, KvConfigKeyRequestHeader, PutKvConfigRequestHeader,
    WipeWritePermOfBrokerResponseHeader, WritePermOfBrokerRequestHeader,
};
use protocol::operation::{
    AddWritePermOfBroker, DeleteKvConfig, GetNamesrvConfig, PutKvConfig, UpdateNamesrvConfig, WipeWritePermOfBroker,
};

/// Options of updateKvConfig.
pub const UPDATE_KV: &[Opt] = &[
    required("s", "namespace", "set the namespace"),
    required("k", "key", "set the key name"),
    required("v", "value", "set the key value"),
];

/// Options of deleteKvConfig.
pub const DELETE_KV: &[Opt] =
    &[required("s", "namespace", "set the namespace"), required("k", "key", "set the key name")];

/// Options of wipeWritePerm and addWritePerm.
pub const WRITE_PERM: &[Opt] = &[required("b", "brokerName", "broker name")];

/// Options of updateNamesrvConfig.
pub const UPDATE_CONFIG: &[Opt] = &[required("k", "key", "config key"), required("v", "value", "config value")];

/// updateKvConfig.
///
/// # Errors
/// [`AdminError`].
pub async fn update_kv(c: &Context) -> Result<(), AdminError> {
    put(c, c.need("namespace")?, c.need("key")?, c.need("value")?).await?;
    say!(c, "create or update kv config to namespace success.")
}

/// deleteKvConfig.
///
/// # Errors
/// [`AdminError`].
pub async fn delete_kv(c: &Context) -> Result<(), AdminError> {
    delete(c, c.need("namespace")?, c.need("key")?).await?;
    say!(c, "delete kv config from namespace success.")
}

/// Puts a value into the KV configuration of every nameserver.
///
/// # Errors
/// [`AdminError::Client`].
pub async fn put(c: &Context, namespace: &str, key: &str, value: &str) -> Result<(), AdminError> {
    let header = PutKvConfigRequestHeader {
        namespace: Some(namespace.into()),
        key: Some(key.into()),
        value: Some(value.into()),
    };
    let nameservers = c.client.nameservers();
    for addr in nameservers.addrs() {
        nameservers.call_one::<PutKvConfig>(addr, &header, Bytes::new()).await?;
    }
    Ok(())
}

/// Deletes a value from the KV configuration of every nameserver.
///
/// # Errors
/// [`AdminError::Client`].
pub async fn delete(c: &Context, namespace: &str, key: &str) -> Result<(), AdminError> {
    let header = KvConfigKeyRequestHeader { namespace: namespace.into(), key: key.into() };
    let nameservers = c.client.nameservers();
    for addr in nameservers.addrs() {
        nameservers.call_one::<DeleteKvConfig>(addr, &header, Bytes::new()).await?;
    }
    Ok(())
}

/// wipeWritePerm.
///
/// # Errors
/// [`AdminError`].
pub async fn wipe_write_perm(c: &Context) -> Result<(), AdminError> {
    let broker_name = c.need("brokerName")?;
    let header = WritePermOfBrokerRequestHeader { broker_name: broker_name.into() };
    let mut failed = false;
    for addr in c.client.nameservers().addrs() {
        let answer = c.client.nameservers().call_one::<WipeWritePermOfBroker>(addr, &header, Bytes::new()).await;
        let count = answer.and_then(|answer| {
            let header: Result<WipeWritePermOfBrokerResponseHeader, _> = answer.header();
            header.map(|header| header.wipe_topic_count).map_err(|error| not_understood(addr, &error))
        });
        failed |= report(c, "wipe", broker_name, addr, count)?;
    }
    if failed { Err(AdminError::Partly("wiping the write permission".to_owned())) } else { Ok(()) }
}

/// addWritePerm.
///
/// # Errors
/// [`AdminError`].
pub async fn add_write_perm(c: &Context) -> Result<(), AdminError> {
    let broker_name = c.need("brokerName")?;
    let header = WritePermOfBrokerRequestHeader { broker_name: broker_name.into() };
    let mut failed = false;
    for addr in c.client.nameservers().addrs() {
        let answer = c.client.nameservers().call_one::<AddWritePermOfBroker>(addr, &header, Bytes::new()).await;
        let count = answer.and_then(|answer| {
            let header: Result<AddWritePermOfBrokerResponseHeader, _> = answer.header();
            header.map(|header| header.add_topic_count).map_err(|error| not_understood(addr, &error))
        });
        failed |= report(c, "add", broker_name, addr, count)?;
    }
    if failed { Err(AdminError::Partly("adding the write permission".to_owned())) } else { Ok(()) }
}

fn not_understood(addr: &str, error: &codec::fields::FieldError) -> ClientError {
    ClientError::Answer { addr: addr.to_owned(), reason: error.to_string() }
}

/// Prints what one nameserver did; true when it failed.
fn report(
    c: &Context,
    what: &str,
    broker_name: &str,
    addr: &str,
    count: Result<i32, ClientError>,
) -> Result<bool, AdminError> {
    match count {
        Ok(count) => {
            say!(c, "{what} write perm of broker[{broker_name}] in name server[{addr}] OK, {count}")?;
            Ok(false)
        }
        Err(error) => {
            say!(c, "{what} write perm of broker[{broker_name}] in name server[{addr}] Failed")?;
            eprintln!("{error}");
            Ok(true)
        }
    }
}

/// getNamesrvConfig.
///
/// # Errors
/// [`AdminError`].
pub async fn get_config(c: &Context) -> Result<(), AdminError> {
    let nameservers = c.client.nameservers();
    for addr in nameservers.addrs() {
        let answer = nameservers.call_one::<GetNamesrvConfig>(addr, &NoHeader, Bytes::new()).await?;
        say!(c, "============{addr}============")?;
        super::broker::print_config(c, &answer.body, addr)?;
    }
    Ok(())
}

/// updateNamesrvConfig.
///
/// # Errors
/// [`AdminError`].
pub async fn update_config(c: &Context) -> Result<(), AdminError> {
    let (key, value) = (c.need("key")?, c.need("value")?);
    let body = super::broker::config_line(key, value)?;
    let nameservers = c.client.nameservers();
    for addr in nameservers.addrs() {
        nameservers.call_one::<UpdateNamesrvConfig>(addr, &NoHeader, body.clone()).await?;
    }
    // Java names the servers only when they were given by -n.
    let list = match c.values.get("namesrvAddr") {
        Some(_) => format!("[{}]", nameservers.addrs().join(", ")),
        None => String::new(),
    };
    say!(c, "update name server config success!{list}\n{key} : {value}")
}
