//! Producer and consumer library: what Apache RocketMQ's own Java client does over remoting, for tests, `mqadmin` and
//! the quick start.
//!
//! Order of reading: [`message`] is what is sent and received, [`producer`] sends, [`pull_consumer`] pulls,
//! [`push`] calls back, [`instance`] is what all of them stand on: routes, heartbeats and calls to brokers.
//! Every queue, cache and number of concurrent calls is bounded.
#![forbid(unsafe_code)]

pub mod allocate;
pub mod broker_api;
pub mod clock;
mod compress;
pub mod config;
pub mod error;
pub mod filter;
pub mod ids;
pub mod instance;
mod java_map;
pub mod message;
pub mod namesrv_api;
mod notices;
pub mod producer;
pub mod pull_consumer;
pub mod push;
pub mod route;
mod send;

pub use config::ClientConfig;
pub use error::ClientError;
pub use instance::ClientInstance;
pub use message::{Message, MessageExt};
pub use producer::{Producer, ProducerConfig, SendResult, SendStatus};
pub use protocol::body::MessageQueue;
pub use pull_consumer::{PullConsumer, PullResult, PullStatus};
pub use push::{ConsumeContext, ConsumeStatus, MessageListener, PushConsumer, PushConsumerConfig};
