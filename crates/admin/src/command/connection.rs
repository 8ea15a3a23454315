//! Connected clients.

use crate::context::{Context, address};
use crate::error::AdminError;
use crate::options::{Opt, opt, required};
use crate::say;
use client::ClientError;
use protocol::body::client::{ConsumerConnection, ProducerConnection};
use protocol::header::client::{ConsumerGroupRequestHeader, ProducerGroupRequestHeader};
use protocol::names::retry_topic;
use protocol::operation::{GetConsumerConnectionList, GetProducerConnectionList};
use protocol::response_code::CONSUMER_NOT_ONLINE;
use protocol::version::describe;

/// Options of producerConnection.
pub const PRODUCER: &[Opt] =
    &[required("g", "producerGroup", "producer group name"), required("t", "topic", "topic name")];

/// Options of consumerConnection.
pub const CONSUMER: &[Opt] =
    &[required("g", "consumerGroup", "consumer group name"), opt("b", "brokerAddr", "broker address")];

/// producerConnection.
///
/// # Errors
/// [`AdminError`].
pub async fn producer(c: &Context) -> Result<(), AdminError> {
    let (group, topic) = (c.need("producerGroup")?, c.need("topic")?);
    let route = c.route(topic).await?;
    let header = ProducerGroupRequestHeader { producer_group: group.into() };
    for addr in route.broker_datas.iter().filter_map(address) {
        let answer = c.broker_json::<GetProducerConnectionList, ProducerConnection>(addr, &header).await;
        // Brokers refuse to answer for groups that are not connected to them.
        let Ok(connection) = answer else { continue };
        if connection.connection_set.is_empty() {
            continue;
        }
        for (n, client) in connection.connection_set.iter().enumerate() {
            say!(
                c,
                "{:04}  {:<32} {:<22} {:<8} {}",
                n + 1,
                client.client_id,
                client.client_addr,
                client.language,
                describe(client.version)
            )?;
        }
        return Ok(());
    }
    Err(AdminError::NotFound(format!("Not found the producer group connection: group {group}, topic {topic}")))
}

/// consumerConnection.
///
/// # Errors
/// [`AdminError`].
pub async fn consumer(c: &Context) -> Result<(), AdminError> {
    let group = c.need("consumerGroup")?;
    let connection = match c.values.get("brokerAddr") {
        Some(addr) => at_broker(c, group, addr).await?,
        None => of_group(c, group).await?,
    };
    say!(c, "{:<36} {:<22} {:<10} #Version", "#ClientId", "#ClientAddr", "#Language")?;
    for client in &connection.connection_set {
        let version = describe(client.version);
        say!(c, "{:<36} {:<22} {:<10} {version}", client.client_id, client.client_addr, client.language)?;
    }
    say!(c)?;
    say!(c, "Below is subscription:")?;
    say!(c, "{:<20} #SubExpression", "#Topic")?;
    for data in connection.subscription_table.values() {
        say!(c, "{:<20} {}", data.topic, data.sub_string)?;
    }
    say!(c)?;
    say!(c, "ConsumeType: {}", java_name(&connection.consume_type))?;
    say!(c, "MessageModel: {}", java_name(&connection.message_model))?;
    say!(c, "ConsumeFromWhere: {}", java_name(&connection.consume_from_where))
}

/// The name of an enum constant as JSON has it, which is Java's.
pub fn java_name(value: &impl serde::Serialize) -> String {
    let name = serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned));
    name.unwrap_or_default()
}

/// The members of a group, asked for at a broker that has its retry topic.
///
/// # Errors
/// [`AdminError::Client`] with code CONSUMER_NOT_ONLINE when nobody is connected.
pub async fn of_group(c: &Context, group: &str) -> Result<ConsumerConnection, AdminError> {
    let route = c.route(&retry_topic(group)).await?;
    let mut last = not_online(group);
    for addr in route.broker_datas.iter().filter_map(address) {
        match at_broker(c, group, addr).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn at_broker(c: &Context, group: &str, addr: &str) -> Result<ConsumerConnection, AdminError> {
    let header = ConsumerGroupRequestHeader { consumer_group: group.into() };
    let connection: ConsumerConnection = c.broker_json::<GetConsumerConnectionList, _>(addr, &header).await?;
    if connection.connection_set.is_empty() { Err(not_online(group)) } else { Ok(connection) }
}

fn not_online(group: &str) -> AdminError {
    AdminError::Client(ClientError::Refused {
        code: CONSUMER_NOT_ONLINE,
        remark: format!("Not found the consumer group connection: {group}"),
        addr: String::new(),
    })
}
