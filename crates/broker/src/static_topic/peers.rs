//! Calls to the brokers of other generations.

use crate::config_manager::BrokerConfigManager;
use bytes::Bytes;
use bytestring::ByteString;
use codec::command::Command;
use codec::fields::{CommandHeader, FieldError, FieldWriter, Fields, NoHeader};
use codec::json;
use parking_lot::Mutex;
use protocol::body::route::ClusterInfo;
use protocol::operation::{GetBrokerClusterInfo, Operation};
use protocol::response_code::{SUCCESS, name};
use remoting::channel::CallError;
use remoting::client::Client;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

const MASTER_ID: i64 = 0;

/// Masters of the cluster by name, asked of a nameserver when one is needed that is not known.
pub struct Peers {
    client: Arc<Client>,
    config: Arc<BrokerConfigManager>,
    masters: Mutex<BTreeMap<String, String>>,
}

/// Why another broker did not help.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No nameserver tells where it is.
    #[error("cannot find addr for broker {0}: no nameserver knows a master of that name")]
    Unknown(String),
    /// It cannot be reached.
    #[error("broker {broker_name}: {source}")]
    Call {
        /// The broker.
        broker_name: String,
        /// Why.
        source: CallError,
    },
    /// It refuses.
    #[error("broker {broker_name} answers {code} ({name}): {remark}", name = name(*code).unwrap_or("unknown code"))]
    Refused {
        /// The broker.
        broker_name: String,
        /// Its response code.
        code: i32,
        /// Its words.
        remark: String,
    },
    /// Its answer cannot be read.
    #[error("the answer of broker {broker_name} cannot be read: {reason}")]
    Answer {
        /// The broker.
        broker_name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Peers {
    /// Knows nobody yet.
    pub fn new(client: Arc<Client>, config: Arc<BrokerConfigManager>) -> Peers {
        Peers { client, config, masters: Mutex::default() }
    }

    /// Asks another broker about a physical queue; its answer, whatever the code, within `forwardTimeout`.
    ///
    /// # Errors
    /// [`PeerError::Unknown`], [`PeerError::Call`].
    pub async fn call<O: Operation>(&self, broker_name: &str, header: O::Request) -> Result<Command, PeerError> {
        self.ask::<O>(broker_name, header, false).await
    }

    /// As [`Self::call`], for what only a master's logic queues can answer.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_logic<O: Operation>(&self, broker_name: &str, header: O::Request) -> Result<Command, PeerError> {
        self.ask::<O>(broker_name, header, true).await
    }

    async fn ask<O: Operation>(&self, broker_name: &str, header: O::Request, lo: bool) -> Result<Command, PeerError> {
        let (addr, timeout) = (self.master(broker_name).await?, self.timeout());
        let header = Forwarded { header, broker_name: broker_name.into(), lo };
        self.client.call::<Forward<O>>(&addr, &header, Bytes::new(), timeout).await.map_err(|source| {
            // It may have moved.
            self.masters.lock().remove(broker_name);
            PeerError::Call { broker_name: broker_name.to_owned(), source }
        })
    }

    /// The header of an answer that says SUCCESS.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn header<O: Operation>(&self, broker_name: &str, header: O::Request) -> Result<O::Response, PeerError> {
        let answer = expect_success(broker_name, self.call::<O>(broker_name, header).await?)?;
        answer.header::<O::Response>().map_err(|error| unreadable(broker_name, error))
    }

    async fn master(&self, broker_name: &str) -> Result<String, PeerError> {
        if let Some(known) = self.masters.lock().get(broker_name) {
            return Ok(known.clone());
        }
        if let Some(info) = self.of_namesrv::<GetBrokerClusterInfo, ClusterInfo>(&NoHeader).await {
            self.remember(info);
        }
        self.masters.lock().get(broker_name).cloned().ok_or_else(|| PeerError::Unknown(broker_name.to_owned()))
    }

    /// What the first nameserver says that says something.
    pub async fn of_namesrv<O: Operation, T: DeserializeOwned>(&self, header: &O::Request) -> Option<T> {
        for namesrv in self.config.get().namesrv_list() {
            match self.client.call::<O>(&namesrv, header, Bytes::new(), self.timeout()).await {
                Ok(answer) if answer.code == SUCCESS => match json::from_slice(&answer.body) {
                    Ok(found) => return Some(found),
                    Err(error) => tracing::warn!(namesrv, what = O::NAME, %error, "an answer cannot be read"),
                },
                Ok(answer) => tracing::warn!(namesrv, what = O::NAME, code = answer.code, "a nameserver refuses"),
                Err(error) => tracing::warn!(namesrv, what = O::NAME, %error, "a nameserver does not answer"),
            }
        }
        None
    }

    /// `forwardTimeout`.
    fn timeout(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.config.get().broker.forward_timeout).unwrap_or(3000))
    }

    fn remember(&self, info: ClusterInfo) {
        let brokers = info.broker_addr_table.into_iter();
        let masters = brokers.filter_map(|(name, mut data)| Some((name, data.broker_addrs.remove(&MASTER_ID)?)));
        *self.masters.lock() = masters.collect();
    }
}

/// An answer that says SUCCESS.
///
/// # Errors
/// [`PeerError::Refused`].
pub fn expect_success(broker_name: &str, answer: Command) -> Result<Command, PeerError> {
    if answer.code == SUCCESS {
        return Ok(answer);
    }
    let remark = answer.remark.map(|remark| remark.to_string()).unwrap_or_default();
    Err(PeerError::Refused { broker_name: broker_name.to_owned(), code: answer.code, remark })
}

/// An answer whose header or body is broken.
pub fn unreadable(broker_name: &str, reason: impl ToString) -> PeerError {
    PeerError::Answer { broker_name: broker_name.to_owned(), reason: reason.to_string() }
}

/// The operation `O`, sent on to the broker it names. Source: remoting/rpc/RpcRequestHeader.java, TopicRequestHeader.java.
struct Forward<O>(PhantomData<fn(O)>);

struct Forwarded<H> {
    header: H,
    broker_name: ByteString,
    lo: bool,
}

impl<O: Operation> Operation for Forward<O> {
    const CODE: i32 = O::CODE;
    const NAME: &'static str = O::NAME;
    type Request = Forwarded<O::Request>;
    type Response = O::Response;
}

impl<H: CommandHeader> CommandHeader for Forwarded<H> {
    fn decode(fields: &Fields) -> Result<Self, FieldError> {
        let lo = fields.get(super::LOGIC)?.is_some_and(|lo| lo.eq_ignore_ascii_case("true"));
        let broker_name = fields.get("bname")?.unwrap_or_default();
        Ok(Forwarded { header: H::decode(fields)?, broker_name, lo })
    }

    fn encode(&self, out: &mut FieldWriter<'_>) {
        self.header.encode(out);
        out.put("bname", &self.broker_name);
        out.put(super::LOGIC, if self.lo { "true" } else { "false" });
    }
}
