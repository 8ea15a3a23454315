//! Asking nameservers: one is used until it fails, then the next.

use crate::error::ClientError;
use bytes::Bytes;
use bytestring::ByteString;
use codec::command::Command;
use codec::json;
use protocol::body::route::TopicRouteData;
use protocol::header::namesrv::GetRouteInfoRequestHeader;
use protocol::operation::{GetRouteInfoByTopic, Operation};
use protocol::response_code;
use remoting::client::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The nameservers of one client. They know nothing of each other, so any of them may be asked.
pub struct Nameservers {
    client: Arc<Client>,
    addrs: Vec<String>,
    current: AtomicUsize,
    timeout: Duration,
}

impl Nameservers {
    pub(crate) fn new(client: Arc<Client>, addrs: Vec<String>, timeout: Duration) -> Nameservers {
        // Clients spread over nameservers by beginning anywhere.
        let start = crate::clock::now_nanos() % 1_000_003;
        let current = AtomicUsize::new(usize::try_from(start).unwrap_or(0));
        Nameservers { client, addrs, current, timeout }
    }

    /// The configured addresses.
    #[must_use]
    pub fn addrs(&self) -> &[String] {
        &self.addrs
    }

    /// Calls the nameserver in use; when it does not answer, the others in turn. Any answer counts, whatever its code.
    ///
    /// # Errors
    /// [`ClientError::NoNameserver`], [`ClientError::NameserversDown`].
    pub async fn call<O: Operation>(&self, header: &O::Request, body: Bytes) -> Result<Command, ClientError> {
        if self.addrs.is_empty() {
            return Err(ClientError::NoNameserver);
        }
        let start = self.current.load(Ordering::Relaxed);
        let mut last = String::new();
        for step in 0..self.addrs.len() {
            let at = start.wrapping_add(step);
            let Some(addr) = at.checked_rem(self.addrs.len()).and_then(|at| self.addrs.get(at)) else { break };
            match self.client.call::<O>(addr, header, body.clone(), self.timeout).await {
                Ok(answer) => {
                    self.current.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => {
                    tracing::warn!(addr, %error, operation = O::NAME, "nameserver did not answer");
                    last = error.to_string();
                }
            }
        }
        Err(ClientError::NameserversDown { tried: self.addrs.join(";"), last })
    }

    /// Calls one nameserver by its address; an answer with another code than 0 is an error.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call_one<O: Operation>(
        &self,
        addr: &str,
        header: &O::Request,
        body: Bytes,
    ) -> Result<Command, ClientError> {
        expect_success(self.client.call::<O>(addr, header, body, self.timeout).await?, addr)
    }

    /// [`Nameservers::call`], where an answer with another code than 0 is an error.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn invoke<O: Operation>(&self, header: &O::Request, body: Bytes) -> Result<Command, ClientError> {
        expect_success(self.call::<O>(header, body).await?, "name server")
    }

    /// The route of a topic; `None` when no broker has registered it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn route(&self, topic: &str) -> Result<Option<TopicRouteData>, ClientError> {
        let header = GetRouteInfoRequestHeader {
            topic: ByteString::from(topic),
            accept_standard_json_only: true,
            zone_mode: false,
            zone_name: None,
        };
        let answer = self.call::<GetRouteInfoByTopic>(&header, Bytes::new()).await?;
        if answer.code == response_code::TOPIC_NOT_EXIST {
            return Ok(None);
        }
        let answer = expect_success(answer, "name server")?;
        parse_body(&answer.body, "name server").map(Some)
    }
}

/// An answer with code 0, or the refusal as an error.
pub(crate) fn expect_success(answer: Command, addr: &str) -> Result<Command, ClientError> {
    if answer.code == response_code::SUCCESS {
        return Ok(answer);
    }
    Err(refused(&answer, addr))
}

pub(crate) fn refused(answer: &Command, addr: &str) -> ClientError {
    let remark = answer.remark.as_deref().unwrap_or("null").to_owned();
    ClientError::Refused { code: answer.code, remark, addr: addr.to_owned() }
}

/// A JSON body of an answer.
pub(crate) fn parse_body<T: serde::de::DeserializeOwned>(body: &[u8], addr: &str) -> Result<T, ClientError> {
    json::from_slice(body)
        .map_err(|error| ClientError::Answer { addr: addr.to_owned(), reason: format!("its body is {error}") })
}
