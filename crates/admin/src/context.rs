//! What a command works with, and what several commands look up.

use crate::error::AdminError;
use crate::options::Values;
use crate::output::Output;
use bytes::Bytes;
use client::{ClientConfig, ClientInstance};
use codec::fields::NoHeader;
use protocol::body::route::{BrokerData, ClusterInfo, TopicRouteData};
use protocol::operation::{GetBrokerClusterInfo, Operation};
use std::sync::Arc;
use std::time::Duration;

/// Limit of an administrative call, as in Java's tools.
const TIMEOUT: Duration = Duration::from_secs(5);
const MASTER_ID: i64 = 0;

/// See the module.
pub struct Context {
    /// The options given.
    pub values: Values,
    /// Calls to nameservers and brokers.
    pub client: Arc<ClientInstance>,
    /// Where to print.
    pub out: Output,
    namesrv: String,
}

impl Context {
    /// A context for a command with these options; must be made inside a tokio runtime.
    ///
    /// # Errors
    /// [`AdminError::Client`] when no nameserver is given, neither by `-n` nor by `NAMESRV_ADDR`.
    pub fn new(values: Values, out: Output) -> Result<Context, AdminError> {
        let namesrv = match values.get("namesrvAddr") {
            Some(addr) => addr.to_owned(),
            None => std::env::var("NAMESRV_ADDR").unwrap_or_default(),
        };
        let client = ClientInstance::start(ClientConfig { api_timeout: TIMEOUT, ..ClientConfig::new(&namesrv) })?;
        Ok(Context { values, client, out, namesrv })
    }

    /// Settings for a producer or consumer of a command.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig::new(&self.namesrv)
    }

    /// The value of an option that must be there.
    ///
    /// # Errors
    /// [`AdminError::Usage`].
    pub fn need(&self, long: &str) -> Result<&str, AdminError> {
        self.values.need(long).map_err(AdminError::Usage)
    }

    /// The value of an option as a number.
    ///
    /// # Errors
    /// [`AdminError::Usage`].
    pub fn number<T: std::str::FromStr>(&self, long: &str) -> Result<Option<T>, AdminError> {
        self.values.number(long).map_err(AdminError::Usage)
    }

    /// Calls a broker; another code than 0 is an error.
    ///
    /// # Errors
    /// [`AdminError::Client`].
    pub async fn broker<O: Operation>(&self, addr: &str, header: &O::Request, body: Bytes) -> Result<(), AdminError> {
        Ok(self.client.brokers().invoke::<O>(addr, header, body).await.map(drop)?)
    }

    /// Calls a broker and reads the JSON body of its answer.
    ///
    /// # Errors
    /// [`AdminError::Client`].
    pub async fn broker_json<O: Operation, T: serde::de::DeserializeOwned>(
        &self,
        addr: &str,
        header: &O::Request,
    ) -> Result<T, AdminError> {
        Ok(self.client.brokers().invoke_json::<O, T>(addr, header, Bytes::new()).await?)
    }

    /// All clusters and brokers.
    ///
    /// # Errors
    /// [`AdminError::Client`].
    pub async fn cluster_info(&self) -> Result<ClusterInfo, AdminError> {
        let answer = self.client.nameservers().invoke::<GetBrokerClusterInfo>(&NoHeader, Bytes::new()).await?;
        json(&answer.body, "name server")
    }

    /// The brokers of a cluster, by name.
    ///
    /// # Errors
    /// [`AdminError::NoCluster`], [`AdminError::Client`].
    pub async fn brokers_of(&self, cluster: &str) -> Result<Vec<BrokerData>, AdminError> {
        let info = self.cluster_info().await?;
        let mut names = info.cluster_addr_table.get(cluster).cloned().unwrap_or_default();
        names.sort();
        let brokers: Vec<_> = names.iter().filter_map(|name| info.broker_addr_table.get(name).cloned()).collect();
        if brokers.is_empty() { Err(AdminError::NoCluster(cluster.to_owned())) } else { Ok(brokers) }
    }

    /// Addresses of all masters of a cluster.
    ///
    /// # Errors
    /// As [`Context::brokers_of`].
    pub async fn masters_of(&self, cluster: &str) -> Result<Vec<String>, AdminError> {
        let brokers = self.brokers_of(cluster).await?;
        Ok(brokers.iter().filter_map(|broker| broker.broker_addrs.get(&MASTER_ID).cloned()).collect())
    }

    /// Addresses of all replicas of a cluster.
    ///
    /// # Errors
    /// As [`Context::brokers_of`].
    pub async fn all_of(&self, cluster: &str) -> Result<Vec<String>, AdminError> {
        let brokers = self.brokers_of(cluster).await?;
        Ok(brokers.into_iter().flat_map(|broker| broker.broker_addrs.into_values()).collect())
    }

    /// The addresses that `-b` or `-c` name: that broker, or all masters of that cluster.
    ///
    /// # Errors
    /// [`AdminError::Usage`] when neither is given, and as [`Context::brokers_of`].
    pub async fn targets(&self) -> Result<Vec<String>, AdminError> {
        if let Some(addr) = self.values.get("brokerAddr") {
            return Ok(vec![addr.to_owned()]);
        }
        match self.values.get("clusterName") {
            Some(cluster) => self.masters_of(cluster).await,
            None => Err(AdminError::Usage("give a broker with -b or a cluster with -c".to_owned())),
        }
    }

    /// The route of a topic.
    ///
    /// # Errors
    /// [`AdminError::Client`], also when no broker has the topic.
    pub async fn route(&self, topic: &str) -> Result<TopicRouteData, AdminError> {
        Ok(self.client.route(topic).await?.data.clone())
    }
}

/// Where to ask a broker: its master, else any replica.
#[must_use]
pub fn address(broker: &BrokerData) -> Option<&String> {
    broker.broker_addrs.get(&MASTER_ID).or_else(|| broker.broker_addrs.values().next())
}

/// A JSON body of an answer.
///
/// # Errors
/// [`AdminError::Client`].
pub fn json<T: serde::de::DeserializeOwned>(body: &[u8], from: &str) -> Result<T, AdminError> {
    codec::json::from_slice(body).map_err(|error| {
        AdminError::Client(client::ClientError::Answer {
            addr: from.to_owned(),
            reason: format!("its body is {error}"),
        })
    })
}
