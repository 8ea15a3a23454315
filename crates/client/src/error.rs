//! Why something a client asked for did not happen.

use protocol::response_code;
use remoting::channel::CallError;

/// An error of a producer, a consumer or an administrative call. The texts name the thing and what to do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No nameserver is configured.
    #[error("No name server address, please set it: NAMESRV_ADDR in the environment, or -n HOST:PORT[;HOST:PORT]")]
    NoNameserver,
    /// None of the nameservers answered.
    #[error("connect to {tried} failed, no name server answered (last: {last}); is mqnamesrv running there?")]
    NameserversDown {
        /// The addresses tried, joined by `;`.
        tried: String,
        /// The last error.
        last: String,
    },
    /// No nameserver knows the topic.
    #[error(
        "No route info of this topic: {0}; create it with updateTopic, or start the broker with \
         autoCreateTopicEnable=true and the same name server"
    )]
    NoRoute(String),
    /// A route exists, but without a queue that may be used.
    #[error("The topic [{topic}] has no {what} queue on a reachable broker; see mqadmin topicRoute -t {topic}")]
    NoQueue {
        /// Topic.
        topic: String,
        /// `writable` or `readable`.
        what: &'static str,
    },
    /// The broker is not in the route any more.
    #[error("The broker[{0}] not exist: no nameserver lists an address of it")]
    NoBroker(String),
    /// The peer could not be called or did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The peer refused. The wording is Java's `MQBrokerException`.
    #[error("CODE: {code}  DESC: {remark}{}", broker_suffix(.addr, *.code))]
    Refused {
        /// Response code.
        code: i32,
        /// Its remark.
        remark: String,
        /// Who answered.
        addr: String,
    },
    /// The answer could not be understood.
    #[error("answer of {addr} not understood: {reason}")]
    Answer {
        /// Who answered.
        addr: String,
        /// What is wrong.
        reason: String,
    },
    /// The message, name or setting cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// All tries of a synchronous send failed.
    #[error("Send [{times}] times, still failed, cost [{cost_ms}]ms, Topic: {topic}, BrokersSent: [{brokers}]: {last}")]
    SendFailed {
        /// Number of tries.
        times: usize,
        /// Milliseconds that all of them took.
        cost_ms: i64,
        /// Topic.
        topic: String,
        /// Brokers tried, in order.
        brokers: String,
        /// Why the last try failed.
        last: Box<ClientError>,
    },
    /// The time for the whole send was used up.
    #[error("sendDefaultImpl call timeout: the send of {timeout_ms} ms ended before a broker answered")]
    SendTimeout {
        /// The limit.
        timeout_ms: u128,
    },
    /// Too many asynchronous sends are under way.
    #[error("send message tryAcquire semaphoreAsyncNum timeout: {0} asynchronous sends are under way")]
    TooManySends(usize),
    /// The producer or consumer is not running.
    #[error("the {0} is shut down")]
    Closed(&'static str),
}

impl ClientError {
    /// The response code of the server, if it was the server that refused.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            ClientError::Refused { code, .. } => Some(*code),
            ClientError::SendFailed { last, .. } => last.code(),
            _ => None,
        }
    }
}

fn broker_suffix(addr: &str, code: i32) -> String {
    let name = response_code::name(code).map(|name| format!(" ({name})")).unwrap_or_default();
    if addr.is_empty() { name } else { format!("{name} BROKER: {addr}") }
}
