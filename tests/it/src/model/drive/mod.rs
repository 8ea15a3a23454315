//! Those who send and consume, a thread each; they do what the plan says and tell the history.

pub mod pop;
pub mod pull;
pub mod push;
pub mod send;
pub mod transaction;

use super::history::Delivery;
use crate::pop::Popped;

/// What of a message's properties the plan has given it.
pub fn planned(properties: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    properties.into_iter().filter(|(name, _)| matches!(name.as_str(), "TAGS" | "number" | "colour")).collect()
}

/// A message of that topic and queue that a group got.
pub fn delivery(group: &str, message: Popped, invisible_ms: Option<u64>) -> Delivery {
    Delivery {
        group: group.to_owned(),
        topic: message.topic,
        queue: message.queue,
        offset: message.offset,
        body: message.body,
        properties: planned(message.properties),
        reconsumed: message.reconsumed,
        invisible_ms,
    }
}
