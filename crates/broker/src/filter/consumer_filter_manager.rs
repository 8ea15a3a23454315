//! What consumers that filter by SQL92 subscribed with: `config/consumerFilter.json`.
//! Source: broker/filter/ConsumerFilterManager.java, ConsumerFilterData.java.

use super::is_tag_type;
use crate::metadata::MetadataFile;
use codec::properties;
use daemon::persist::LoadError;
use filter::{BloomFilter, Expression};
use foldhash::HashMap;
use parking_lot::RwLock;
use protocol::body::client::SubscriptionData;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The only type of expressions beside tags.
pub const SQL92: &str = "SQL92";
/// A consumer whose broker was restarted counts as gone since so long before. Source: ConsumerFilterManager.decode.
const GONE_BEFORE_LOAD_MS: i64 = 30_000;

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Content {
    filter_data_by_topic: BTreeMap<String, OfTopic>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OfTopic {
    group_filter_data: BTreeMap<String, ConsumerFilterData>,
    topic: String,
}

/// Which bits stand for a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BloomFilterData {
    /// Bits in all.
    pub bit_num: i32,
    /// Those of the consumer.
    pub bit_pos: Vec<i32>,
}

/// One group's expression for a topic.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerFilterData {
    /// Bits of the group in the maps beside the queues.
    pub bloom_filter_data: Option<BloomFilterData>,
    /// Since when the expression is known, ms: messages stored before have no bits for it.
    pub born_time: i64,
    /// subVersion of the subscription.
    pub client_version: i64,
    /// Group.
    pub consumer_group: String,
    /// Whether the consumer is gone.
    #[serde(skip_deserializing)]
    pub dead: bool,
    /// Since when, ms; 0 while it is there.
    pub dead_time: i64,
    /// The expression as written.
    pub expression: String,
    /// `SQL92`.
    pub expression_type: String,
    /// Topic.
    pub topic: String,
    /// The expression as read; none when it was in the file and cannot be read: then everything passes.
    #[serde(skip)]
    pub compiled: Option<Arc<Expression>>,
}

impl ConsumerFilterData {
    /// The filter of a subscription by an expression, without bits.
    ///
    /// # Errors
    /// What is wrong with the expression, in Java's words, or with its type.
    pub fn build(
        topic: &str,
        consumer_group: &str,
        expression: &str,
        expression_type: &str,
        client_version: i64,
        now_ms: i64,
    ) -> Result<ConsumerFilterData, String> {
        Ok(ConsumerFilterData {
            born_time: now_ms,
            client_version,
            consumer_group: consumer_group.to_owned(),
            expression: expression.to_owned(),
            expression_type: expression_type.to_owned(),
            topic: topic.to_owned(),
            compiled: Some(Arc::new(compile(expression, expression_type)?)),
            ..ConsumerFilterData::default()
        })
    }

    fn is_dead(&self) -> bool {
        self.dead_time >= self.born_time
    }

    /// Whether a message with these properties is wanted.
    pub fn matches(&self, properties: &str) -> bool {
        let Some(expression) = &self.compiled else { return true };
        expression.matches(&|name| properties::get(properties, name))
    }
}

/// Reads an expression of a type other than tags.
///
/// # Errors
/// What is wrong with the expression, in Java's words, or with its type.
pub fn compile(expression: &str, expression_type: &str) -> Result<Expression, String> {
    if expression_type != SQL92 {
        return Err(format!("expressions of the type {expression_type} are unknown; use TAG or {SQL92}"));
    }
    Expression::parse(expression).map_err(|error| error.to_string())
}

type Groups = BTreeMap<String, Arc<ConsumerFilterData>>;

/// Filters by topic and group.
#[derive(Debug)]
pub struct ConsumerFilterManager {
    file: MetadataFile,
    bloom: BloomFilter,
    topics: RwLock<HashMap<String, Groups>>,
    changes: AtomicU64,
    written: AtomicU64,
}

impl ConsumerFilterManager {
    /// Reads the file. Bits of a filter of another size are of no use: then nothing of it is kept, and consumers bring what
    /// they want with their next heartbeats.
    ///
    /// # Errors
    /// When the file and its backup are unusable.
    pub fn open(store_root: &Path, bloom: BloomFilter, now_ms: i64) -> Result<ConsumerFilterManager, LoadError> {
        let file = MetadataFile::new(store_root, "consumerFilter.json");
        let manager = ConsumerFilterManager {
            file,
            bloom,
            topics: RwLock::default(),
            changes: AtomicU64::new(0),
            written: AtomicU64::new(0),
        };
        let loaded = manager.file.load::<Content>()?.unwrap_or_default();
        let mut topics = HashMap::default();
        for (topic, of_topic) in loaded.filter_data_by_topic {
            let groups = of_topic.group_filter_data.into_iter();
            let groups: Groups = groups.map(|(group, data)| (group, Arc::new(loaded_data(data, now_ms)))).collect();
            if groups.values().any(|data| !manager.has_bits(data)) {
                tracing::info!(topic, "the bloom filter has changed, so what is in consumerFilter.json is not used");
                return Ok(manager);
            }
            topics.insert(topic, groups);
        }
        *manager.topics.write() = topics;
        Ok(manager)
    }

    /// Takes in what a group subscribes; filters of topics that it no longer does are dead.
    pub fn register(&self, group: &str, subscriptions: &[SubscriptionData], now_ms: i64) {
        let wanted = |topic: &str| subscriptions.iter().any(|subscription| subscription.topic == topic);
        let mut dropped: Vec<String> = Vec::new();
        for (topic, groups) in &*self.topics.read() {
            if groups.get(group).is_some_and(|data| !data.is_dead()) && !wanted(topic) {
                dropped.push(topic.clone());
            }
        }
        let by_expression = subscriptions
            .iter()
            .filter(|subscription| !is_tag_type(&subscription.expression_type) && !subscription.sub_string.is_empty());
        for subscription in by_expression {
            self.register_one(group, subscription, now_ms);
        }
        for topic in dropped {
            self.change(&topic, group, |data| data.dead_time = now_ms);
        }
    }

    fn register_one(&self, group: &str, subscription: &SubscriptionData, now_ms: i64) {
        let SubscriptionData { topic, sub_string, expression_type, sub_version, .. } = subscription;
        let old = self.get(topic, group);
        let bits = self.bits_of(topic, group);
        if let Some(old) = &old {
            let same = old.expression == *sub_string && old.expression_type == *expression_type;
            if *sub_version <= old.client_version {
                if !same {
                    tracing::info!(
                        group,
                        topic,
                        version = sub_version,
                        newer = old.client_version,
                        "an older expression of a consumer is not taken over"
                    );
                }
                if *sub_version == old.client_version && old.is_dead() {
                    self.change(topic, group, |data| data.dead_time = 0);
                }
                return;
            }
            if same && old.bloom_filter_data.as_ref() == Some(&bits) {
                self.change(topic, group, |data| {
                    data.client_version = *sub_version;
                    data.dead_time = 0;
                });
                return;
            }
        }
        let built = ConsumerFilterData::build(topic, group, sub_string, expression_type, *sub_version, now_ms);
        let mut topics = self.topics.write();
        let meanwhile = topics.get(topic).and_then(|groups| groups.get(group));
        if meanwhile.is_some_and(|newer| newer.client_version > *sub_version) {
            return;
        }
        match built {
            Ok(data) => {
                tracing::info!(group, topic, expression = sub_string, "consumer filter registered");
                let data = ConsumerFilterData { bloom_filter_data: Some(bits), ..data };
                topics.entry(topic.clone()).or_default().insert(group.to_owned(), Arc::new(data));
            }
            Err(error) => {
                tracing::warn!(group, topic, expression = sub_string, error, "a consumer's expression cannot be read");
                // Without any its pulls are refused, which tells the client.
                topics.get_mut(topic).and_then(|groups| groups.remove(group));
            }
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// The last member of a group is gone.
    pub fn unregister(&self, group: &str, now_ms: i64) {
        let is_alive = |groups: &Groups| groups.get(group).is_some_and(|data| !data.is_dead());
        let topics = self.topics.read();
        let alive: Vec<String> =
            topics.iter().filter(|(_, groups)| is_alive(groups)).map(|(topic, _)| topic.clone()).collect();
        drop(topics);
        for topic in alive {
            self.change(&topic, group, |data| data.dead_time = now_ms);
        }
    }

    fn change(&self, topic: &str, group: &str, change: impl FnOnce(&mut ConsumerFilterData)) {
        let mut topics = self.topics.write();
        if let Some(data) = topics.get_mut(topic).and_then(|groups| groups.get_mut(group)) {
            change(Arc::make_mut(data));
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The filter of a group for a topic.
    pub fn get(&self, topic: &str, group: &str) -> Option<Arc<ConsumerFilterData>> {
        self.topics.read().get(topic)?.get(group).cloned()
    }

    /// The bits of the groups whose filters take a message, all of the map; empty when nobody filters the topic.
    pub fn bit_map(&self, topic: &str, properties: &str) -> Vec<u8> {
        let filters: Vec<Arc<ConsumerFilterData>> = match self.topics.read().get(topic) {
            Some(groups) if !groups.is_empty() => groups.values().cloned().collect(),
            _ => return Vec::new(),
        };
        let mut map = vec![0; self.bloom.bits() / 8];
        for data in filters {
            if let Some(bits) = &data.bloom_filter_data
                && data.compiled.is_some()
                && data.matches(properties)
            {
                BloomFilter::set(&mut map, &bits.bit_pos);
            }
        }
        map
    }

    /// Whether the bits of a filter are of the filter that this broker has.
    pub fn has_bits(&self, data: &ConsumerFilterData) -> bool {
        data.bloom_filter_data.as_ref().is_some_and(|bits| {
            usize::try_from(bits.bit_num) == Ok(self.bloom.bits()) && bits.bit_pos.len() == self.bloom.hashes()
        })
    }

    fn bits_of(&self, topic: &str, group: &str) -> BloomFilterData {
        let bit_pos = self.bloom.positions(&format!("{group}#{topic}"));
        BloomFilterData { bit_num: i32::try_from(self.bloom.bits()).unwrap_or(i32::MAX), bit_pos }
    }

    /// Forgets filters of consumers that are gone since `keep_ms`, and writes the file if anything has changed.
    pub fn persist(&self, now_ms: i64, keep_ms: i64) {
        let is_old = |data: &ConsumerFilterData| data.is_dead() && now_ms - data.dead_time >= keep_ms;
        let mut topics = self.topics.write();
        topics.retain(|topic, groups| {
            groups.retain(|group, data| {
                if is_old(data) {
                    tracing::info!(group, topic, "filter of a consumer that is gone is forgotten");
                    self.changes.fetch_add(1, Ordering::Relaxed);
                }
                !is_old(data)
            });
            !groups.is_empty()
        });
        let changes = self.changes.load(Ordering::Relaxed);
        if self.written.swap(changes, Ordering::Relaxed) == changes {
            return;
        }
        let of_topic = |(topic, groups): (&String, &Groups)| {
            let group_filter_data = groups.iter().map(|(group, data)| (group.clone(), described(data))).collect();
            (topic.clone(), OfTopic { group_filter_data, topic: topic.clone() })
        };
        let content = Content { filter_data_by_topic: topics.iter().map(of_topic).collect() };
        drop(topics);
        self.file.save_or_log(&content);
    }
}

/// As administrators and the file have it.
pub fn described(data: &ConsumerFilterData) -> ConsumerFilterData {
    ConsumerFilterData { dead: data.is_dead(), ..data.clone() }
}

/// All consumers are gone when the file is read.
fn loaded_data(mut data: ConsumerFilterData, now_ms: i64) -> ConsumerFilterData {
    match compile(&data.expression, &data.expression_type) {
        Ok(expression) => data.compiled = Some(Arc::new(expression)),
        Err(error) => tracing::error!(
            group = data.consumer_group,
            topic = data.topic,
            expression = data.expression,
            error,
            "an expression in consumerFilter.json cannot be read; messages are not filtered by it"
        ),
    }
    if data.dead_time == 0 {
        data.dead_time = (now_ms - GONE_BEFORE_LOAD_MS).max(data.born_time);
    }
    data
}

#[cfg(test)]
mod tests;
