//! One file per capability; each processor's fields are what it depends on.

use remoting::reply::{Body, Reply};

mod broker;
mod cluster;
mod config;
mod kv_config;
mod route;
mod topic;

pub use broker::BrokerProcessor;
pub use cluster::ClusterProcessor;
pub use config::ConfigProcessor;
pub use kv_config::KvConfigProcessor;
pub use route::RouteProcessor;
pub use topic::TopicProcessor;

/// A body in fastjson's default dialect.
fn json<R>(value: &impl serde::Serialize) -> Reply<R> {
    Reply::body(Body::from(protocol::body::encode(value)))
}
