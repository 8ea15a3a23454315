//! JSON bodies. Members stand in alphabetical order, as fastjson writes them; absent ones are left out. Read with
//! [`codec::json::from_slice`], written with [`encode`].

pub mod admin;
pub mod client;
pub mod group;
pub mod pop;
pub mod route;
pub mod static_topic;
pub mod topic;

use codec::json::{Dialect, to_vec};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use std::collections::BTreeMap;

/// A body in fastjson's default dialect.
///
/// Every type of this module can be expressed as JSON, so this cannot fail.
pub fn encode<T: Serialize>(body: &T) -> Vec<u8> {
    to_vec(body, Dialect::Fastjson).expect("bodies of this crate have string, integer or MessageQueue keys")
}

/// One queue of a topic on one broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageQueue {
    /// Broker name.
    pub broker_name: String,
    /// Queue number.
    pub queue_id: i32,
    /// Topic.
    pub topic: String,
}

/// A [`MessageQueue`] as the key of a map: fastjson writes the object itself there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageQueueKey(pub MessageQueue);

impl Serialize for MessageQueueKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(&self.0).map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for MessageQueueKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map(MessageQueueKey).map_err(D::Error::custom)
    }
}

/// A table by queue.
pub type QueueTable<V> = BTreeMap<MessageQueueKey, V>;

/// For members that Java writes as null: collections that were not set, rates that are no number.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_as_key_is_written_as_the_object_and_read_back() {
        let queue = MessageQueue { broker_name: "a".into(), queue_id: 3, topic: "T".into() };
        let table: QueueTable<i64> = BTreeMap::from([(MessageQueueKey(queue), 7)]);
        let text = encode(&table);
        assert_eq!(std::str::from_utf8(&text).unwrap(), r#"{{"brokerName":"a","queueId":3,"topic":"T"}:7}"#);
        assert_eq!(codec::json::from_slice::<QueueTable<i64>>(&text).unwrap(), table);
    }
}
