//! Static topics: logic queues that keep their number and their order while the broker behind them changes. A logic queue is a
//! list of generations, each a whole physical queue on one broker; the last one takes the messages.
//! Source: remoting/protocol/statictopic/*.java.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Scope of topics that are static over all brokers of a cluster.
pub const GLOBAL_SCOPE: &str = "__global__";

/// One generation of a logic queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogicQueueMappingItem {
    /// Broker name.
    pub bname: String,
    /// Physical offset behind its last message; −1 while that is not said.
    pub end_offset: i64,
    /// Rises with every move.
    #[serde(rename = "gen")]
    pub generation: i32,
    /// Logic offset of its first message; −1 until that is decided.
    pub logic_offset: i64,
    /// Physical queue.
    pub queue_id: i32,
    /// Physical offset of its first message, 0.
    pub start_offset: i64,
    /// Reserved, −1.
    pub time_of_end: i64,
    /// Reserved, −1.
    pub time_of_start: i64,
}

impl Default for LogicQueueMappingItem {
    fn default() -> LogicQueueMappingItem {
        LogicQueueMappingItem {
            bname: String::new(),
            end_offset: -1,
            generation: 0,
            logic_offset: 0,
            queue_id: 0,
            start_offset: 0,
            time_of_end: -1,
            time_of_start: -1,
        }
    }
}

impl LogicQueueMappingItem {
    /// Whether its logic offsets are known. Those of a new leader are not until the old one takes no more messages.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.logic_offset >= 0
    }

    /// Whether it is known where it ends.
    #[must_use]
    pub fn has_end(&self) -> bool {
        self.end_offset > self.start_offset
    }

    /// The logic offset of a physical one; what lies before the first message stands for the first message.
    #[must_use]
    pub fn to_logic(&self, physical: i64) -> i64 {
        self.logic_offset.saturating_add(physical.saturating_sub(self.start_offset).max(0))
    }

    /// As [`Self::to_logic`], not beyond the end; −1 while the item is not decided.
    #[must_use]
    pub fn to_logic_within(&self, physical: i64) -> i64 {
        match self.is_decided() {
            true if self.end_offset >= self.start_offset => self.to_logic(physical.min(self.end_offset)),
            true => self.to_logic(physical),
            false => -1,
        }
    }

    /// The physical offset of a logic one; negative for what lies before this generation.
    #[must_use]
    pub fn to_physical(&self, logic: i64) -> i64 {
        logic.saturating_sub(self.logic_offset).saturating_add(self.start_offset)
    }

    /// What must be added to a physical offset.
    #[must_use]
    pub fn delta(&self) -> i64 {
        self.logic_offset.saturating_sub(self.start_offset)
    }

    /// The highest logic offset that is known without asking its broker.
    #[must_use]
    pub fn known_max(&self) -> i64 {
        if self.end_offset >= self.start_offset { self.to_logic(self.end_offset) } else { self.logic_offset }
    }
}

/// A static topic as brokers register it and routes tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicQueueMappingInfo {
    /// The broker that says so.
    pub bname: String,
    /// Physical queue by logic queue, of those that this broker leads.
    #[serde(deserialize_with = "by_number")]
    pub curr_id_map: BTreeMap<i32, i32>,
    /// Never true.
    pub dirty: bool,
    /// Version of the mapping, ms.
    pub epoch: i64,
    /// [`GLOBAL_SCOPE`].
    pub scope: String,
    /// The topic.
    pub topic: String,
    /// How many logic queues the topic has.
    pub total_queues: i32,
}

impl Default for TopicQueueMappingInfo {
    fn default() -> TopicQueueMappingInfo {
        TopicQueueMappingInfo::from(&TopicQueueMappingDetail::default())
    }
}

impl From<&TopicQueueMappingDetail> for TopicQueueMappingInfo {
    fn from(detail: &TopicQueueMappingDetail) -> TopicQueueMappingInfo {
        let led = detail.hosted_queues.iter().filter_map(|(id, items)| {
            items.last().filter(|leader| leader.bname == detail.bname).map(|leader| (*id, leader.queue_id))
        });
        TopicQueueMappingInfo {
            bname: detail.bname.clone(),
            curr_id_map: led.collect(),
            dirty: false,
            epoch: detail.epoch,
            scope: detail.scope.clone(),
            topic: detail.topic.clone(),
            total_queues: detail.total_queues,
        }
    }
}

/// A static topic as one broker keeps it: body of 513, entry of topicQueueMapping.json.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicQueueMappingDetail {
    /// The broker that keeps it.
    pub bname: String,
    /// Left empty here: made when it is registered.
    #[serde(deserialize_with = "by_number")]
    pub curr_id_map: BTreeMap<i32, i32>,
    /// Never true.
    pub dirty: bool,
    /// Version of the mapping, ms.
    pub epoch: i64,
    /// Generations by logic queue, oldest first: of the queues that this broker leads or has led.
    #[serde(deserialize_with = "by_number")]
    pub hosted_queues: BTreeMap<i32, Vec<LogicQueueMappingItem>>,
    /// [`GLOBAL_SCOPE`].
    pub scope: String,
    /// The topic.
    pub topic: String,
    /// How many logic queues the topic has, on all brokers together.
    pub total_queues: i32,
}

impl Default for TopicQueueMappingDetail {
    fn default() -> TopicQueueMappingDetail {
        TopicQueueMappingDetail {
            bname: String::new(),
            curr_id_map: BTreeMap::new(),
            dirty: false,
            epoch: 0,
            hosted_queues: BTreeMap::new(),
            scope: GLOBAL_SCOPE.to_owned(),
            topic: String::new(),
            total_queues: 0,
        }
    }
}

impl TopicQueueMappingDetail {
    /// Checks every queue's generations on their own.
    ///
    /// # Errors
    /// What is wrong, with the queue.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |(id, items): (&i32, &Vec<_>)| check_items(items).err().map(|why| format!("queue {id}: {why}"));
        self.hosted_queues.iter().find_map(wrong).map_or(Ok(()), Err)
    }
}

/// topicQueueMapping.json.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicQueueMappings {
    /// Version of the table.
    pub data_version: super::topic::DataVersion,
    /// Mappings by topic. Java's name of the member, though it holds details.
    pub topic_queue_mapping_info_map: BTreeMap<String, TopicQueueMappingDetail>,
}

/// Checks the generations of one logic queue. Source: TopicQueueMappingUtils.checkLogicQueueMappingItemOffset.
///
/// # Errors
/// What is wrong.
pub fn check_items(items: &[LogicQueueMappingItem]) -> Result<(), String> {
    let fault = |at: usize, why: &str| Err(format!("generation {at} of the mapping: {why}"));
    let last = items.len().saturating_sub(1);
    for (at, item) in items.iter().enumerate() {
        if item.start_offset < 0 || item.generation < 0 || item.queue_id < 0 {
            return fault(at, "gen, queueId and startOffset must not be negative");
        }
        if at < last && !item.is_decided() {
            return fault(at, "only the last one may have no logicOffset");
        }
        if item.end_offset != -1 && item.end_offset < item.start_offset {
            return fault(at, "endOffset is smaller than startOffset");
        }
        let Some(next) = items.get(at + 1) else { continue };
        if item.generation >= next.generation {
            return fault(at, "gen does not rise");
        }
        if next.is_decided() && (item.logic_offset >= next.logic_offset || item.known_max() >= next.logic_offset) {
            return fault(at, "logicOffset does not rise");
        }
    }
    Ok(())
}

/// The generation that a logic offset belongs to: the last one that begins at or before it, the first one for an offset before
/// all. Generations that are not decided hold no logic offset. Source: TopicQueueMappingUtils.findLogicQueueMappingItem.
#[must_use]
pub fn find_item(items: &[LogicQueueMappingItem], logic_offset: i64) -> Option<&LogicQueueMappingItem> {
    let decided = || items.iter().filter(|item| item.is_decided());
    decided().rfind(|item| logic_offset >= item.logic_offset).or_else(|| decided().next())
}

/// The generation behind `item`, if it is decided.
#[must_use]
pub fn next_item<'a>(
    items: &'a [LogicQueueMappingItem],
    item: &LogicQueueMappingItem,
) -> Option<&'a LogicQueueMappingItem> {
    let at = items.iter().position(|one| one.generation == item.generation)?;
    items.get(at + 1).filter(|next| next.is_decided())
}

/// Map keys arrive as texts where a body was read in two steps, as those with flattened members are.
fn by_number<'de, D, V>(deserializer: D) -> Result<BTreeMap<i32, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    let texts = Option::<BTreeMap<String, V>>::deserialize(deserializer)?.unwrap_or_default();
    let number = |(key, value): (String, V)| match key.parse() {
        Ok(key) => Ok((key, value)),
        Err(_) => Err(D::Error::custom(format!("{key:?} is not the number of a queue"))),
    };
    texts.into_iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(generation: i32, bname: &str, logic_offset: i64) -> LogicQueueMappingItem {
        LogicQueueMappingItem { generation, bname: bname.to_owned(), logic_offset, ..LogicQueueMappingItem::default() }
    }

    #[test]
    fn a_file_of_java_is_read_and_written_alike() {
        let text = r#"{"dataVersion":{"counter":2,"stateVersion":0,"timestamp":9},"topicQueueMappingInfoMap":{"T":{"bname":"b","currIdMap":{},"dirty":false,"epoch":7,"hostedQueues":{0:[{"bname":"a","endOffset":-1,"gen":0,"logicOffset":0,"queueId":0,"startOffset":0,"timeOfEnd":-1,"timeOfStart":-1},{"bname":"b","endOffset":-1,"gen":1,"logicOffset":10000,"queueId":3,"startOffset":0,"timeOfEnd":-1,"timeOfStart":-1}]},"scope":"__global__","topic":"T","totalQueues":8}}}"#;
        let read: TopicQueueMappings = codec::json::from_slice(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(super::super::encode(&read)).unwrap(), text);
        let detail = &read.topic_queue_mapping_info_map["T"];
        detail.check().unwrap();
        assert_eq!(TopicQueueMappingInfo::from(detail).curr_id_map, BTreeMap::from([(0, 3)]));
    }

    #[test]
    fn offsets_are_translated() {
        let item = LogicQueueMappingItem { start_offset: 5, end_offset: 9, ..item(1, "a", 10_000) };
        assert_eq!([0, 5, 7, 12].map(|at| item.to_logic(at)), [10_000, 10_000, 10_002, 10_007]);
        assert_eq!([0, 7, 12].map(|at| item.to_logic_within(at)), [10_000, 10_002, 10_004]);
        assert_eq!((item.to_physical(10_002), item.to_physical(9_998), item.delta()), (7, 3, 9_995));
        assert_eq!((item.known_max(), item.has_end()), (10_004, true));
        assert_eq!(LogicQueueMappingItem { logic_offset: -1, ..item }.to_logic_within(7), -1);
    }

    #[test]
    fn the_generation_of_an_offset() {
        let items = [item(0, "a", 0), item(1, "b", 10_000), item(2, "a", -1)];
        let generation = |offset| find_item(&items, offset).map(|item| item.generation);
        assert_eq!([-4, 0, 9_999, 10_000, i64::MAX].map(generation), [0, 0, 0, 1, 1].map(Some));
        assert_eq!(next_item(&items, &items[0]).map(|item| item.generation), Some(1));
        assert_eq!(next_item(&items, &items[1]), None);
        assert_eq!(find_item(&items[2..], 5), None);
    }

    #[test]
    fn broken_mappings_are_refused() {
        check_items(&[item(0, "a", 0), item(1, "b", 10), item(2, "a", -1)]).unwrap();
        let ended = LogicQueueMappingItem { end_offset: 12, ..item(0, "a", 0) };
        for bad in [
            vec![item(0, "a", 0), item(0, "b", 10)],
            vec![item(0, "a", 10), item(1, "b", 10)],
            vec![item(0, "a", -1), item(1, "b", 10)],
            vec![LogicQueueMappingItem { queue_id: -1, ..item(0, "a", 0) }],
            vec![ended, item(1, "b", 12)],
        ] {
            assert!(check_items(&bad).is_err(), "{bad:?}");
        }
        let text = br#"{"hostedQueues":{"x":[]}}"#;
        assert!(codec::json::from_slice::<TopicQueueMappingDetail>(text).unwrap_err().to_string().contains("\"x\""));
    }
}
