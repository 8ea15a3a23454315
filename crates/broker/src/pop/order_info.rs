//! Ordered pops: which messages of a queue a group has and did not acknowledge, so that it gets no further ones:
//! `consumerOrderInfo.json`. Source: broker/pop/orderly/QueueLevelConsumerManager.java.

use crate::metadata::MetadataFile;
use daemon::persist::LoadError;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokio::sync::Notify;

/// What was not touched for so long is forgotten, ms.
const FORGET_MS: i64 = 24 * 3600 * 1000;

/// The messages of a queue that a group has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderInfo {
    /// The attempt that got them.
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<String>,
    /// Bit i: message i is acknowledged.
    #[serde(rename = "cm")]
    pub commit_offset_bit: i64,
    /// For how long nobody else gets them, ms.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub invisible_time: Option<i64>,
    /// When they were handed out or asked for last, ms.
    #[serde(rename = "l")]
    pub last_consume_timestamp: i64,
    /// Place of the first message, then distances of the others from it.
    #[serde(rename = "o")]
    pub offset_list: Vec<i64>,
    /// How often each was handed out before, by place.
    #[serde(rename = "oc", skip_serializing_if = "Option::is_none")]
    pub offset_consumed_count: Option<BTreeMap<i64, i32>>,
    /// Until when, ms, by place, where a consumer has changed it.
    #[serde(rename = "ot", skip_serializing_if = "Option::is_none")]
    pub offset_next_visible_time: Option<BTreeMap<i64, i64>>,
    /// When they were handed out, ms.
    #[serde(rename = "popTime")]
    pub pop_time: i64,
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The group is so far.
    Next(i64),
    /// The receipt is of an earlier pop: nothing changes.
    OldReceipt,
    /// No such message was handed out.
    NotHandedOut,
}

impl OrderInfo {
    fn offsets(&self) -> impl Iterator<Item = i64> + '_ {
        let first = self.offset_list.first().copied().unwrap_or(0);
        // The bits are those of one long.
        self.offset_list.iter().take(64).enumerate().map(move |(index, at)| if index == 0 { first } else { first + at })
    }

    fn is_acknowledged(&self, index: usize) -> bool {
        self.commit_offset_bit >> index & 1 == 1
    }

    /// Until when each message that is not acknowledged is invisible.
    fn invisible_until(&self, default_invisible_ms: i64) -> impl Iterator<Item = i64> + '_ {
        let invisible = self.invisible_time.filter(|time| *time > 0).unwrap_or(default_invisible_ms);
        let usual = self.pop_time.saturating_add(invisible);
        let open = self.offsets().enumerate().filter(|(index, _)| !self.is_acknowledged(*index));
        let changed = self.offset_next_visible_time.as_ref();
        open.map(move |(_, offset)| changed.and_then(|times| times.get(&offset)).copied().unwrap_or(usual))
    }

    fn next_offset(&self) -> i64 {
        let open = self.offsets().enumerate().find(|(index, _)| !self.is_acknowledged(*index));
        open.map_or_else(|| self.offsets().last().unwrap_or(0) + 1, |(_, offset)| offset)
    }
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct OrderTable {
    /// By `topic@group`, then queue.
    table: BTreeMap<String, BTreeMap<i32, OrderInfo>>,
}

/// A queue of a topic, and a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    /// Topic.
    pub topic: String,
    /// Group.
    pub group: String,
    /// Queue.
    pub queue_id: i32,
}

#[derive(Debug, Default)]
struct State {
    table: OrderTable,
    /// When queues become free by themselves.
    free: BTreeSet<(i64, OrderKey)>,
    free_at: BTreeMap<OrderKey, i64>,
    changes: u64,
}

/// What groups have popped in order.
#[derive(Debug)]
pub struct OrderInfoManager {
    file: MetadataFile,
    state: Mutex<State>,
    earlier: Notify,
}

impl OrderInfoManager {
    /// Reads the file.
    ///
    /// # Errors
    /// When the file and its backup are unusable.
    pub fn open(store_root: &Path) -> Result<OrderInfoManager, LoadError> {
        let file = MetadataFile::new(store_root, "consumerOrderInfo.json");
        let mut state = State { table: file.load()?.unwrap_or_default(), ..State::default() };
        let keys: Vec<OrderKey> = state.table.table.iter().flat_map(|(name, queues)| keys(name, queues)).collect();
        keys.into_iter().for_each(|key| state.set_free(key));
        Ok(OrderInfoManager { file, state: Mutex::new(state), earlier: Notify::new() })
    }

    /// Whether the group must not get messages of the queue now: it has some, and this is another attempt.
    pub fn is_blocked(&self, key: &OrderKey, attempt_id: Option<&str>, invisible_ms: i64, now_ms: i64) -> bool {
        let state = self.state.lock();
        let Some(info) = state.get(key).filter(|info| !info.offset_list.is_empty()) else { return false };
        if info.attempt_id.is_some() && info.attempt_id.as_deref() == attempt_id {
            return false;
        }
        info.invisible_until(invisible_ms).any(|until| now_ms < until)
    }

    /// Messages at `offsets` were handed out. Returns how often those were that were handed out before, by place, and
    /// how often at least all of them were.
    pub fn popped(
        &self,
        key: &OrderKey,
        attempt_id: Option<&str>,
        offsets: &[i64],
        invisible_ms: i64,
        now_ms: i64,
    ) -> (BTreeMap<i64, i32>, i32) {
        let mut state = self.state.lock();
        let queues = state.table.table.entry(file_key(key)).or_default();
        let counts = match queues.get(&key.queue_id) {
            None => None,
            Some(old) if old.attempt_id.is_some() && old.attempt_id.as_deref() == attempt_id => {
                Some(old.offset_consumed_count.clone().unwrap_or_default())
            }
            Some(old) => {
                let had: BTreeSet<i64> = old.offsets().collect();
                let before = old.offset_consumed_count.as_ref();
                let count = |offset: &i64| before.and_then(|counts| counts.get(offset)).copied().unwrap_or(0) + 1;
                let again = offsets.iter().filter(|offset| had.contains(offset));
                Some(again.map(|offset| (*offset, count(offset))).collect())
            }
        };
        let first = offsets.first().copied().unwrap_or(0);
        let list = offsets.iter().enumerate().map(|(index, at)| if index == 0 { first } else { at - first });
        let info = OrderInfo {
            attempt_id: attempt_id.map(str::to_owned),
            invisible_time: Some(invisible_ms),
            last_consume_timestamp: now_ms,
            offset_list: list.collect(),
            offset_consumed_count: counts.clone(),
            pop_time: now_ms,
            ..OrderInfo::default()
        };
        queues.insert(key.queue_id, info);
        state.changes += 1;
        state.set_free(key.clone());
        drop(state);
        self.earlier.notify_one();
        let counts = counts.unwrap_or_default();
        let least = if counts.len() == offsets.len() { counts.values().min().copied() } else { None };
        (counts, least.unwrap_or(0))
    }

    /// A message was acknowledged.
    pub fn acknowledge(&self, key: &OrderKey, queue_offset: i64, pop_time: i64) -> Committed {
        let mut state = self.state.lock();
        let Some(info) = state.get_mut(key) else { return Committed::Next(queue_offset.saturating_add(1)) };
        if info.offset_list.is_empty() {
            return Committed::NotHandedOut;
        }
        if info.pop_time != pop_time {
            return Committed::OldReceipt;
        }
        let Some(index) = info.offsets().position(|offset| offset == queue_offset) else {
            return Committed::NotHandedOut;
        };
        info.commit_offset_bit |= 1 << index;
        let next = info.next_offset();
        state.changes += 1;
        state.set_free(key.clone());
        drop(state);
        self.earlier.notify_one();
        Committed::Next(next)
    }

    /// A consumer has changed until when a message is invisible.
    pub fn set_next_visible(&self, key: &OrderKey, queue_offset: i64, pop_time: i64, next_visible_ms: i64) {
        let mut state = self.state.lock();
        let Some(info) = state.get_mut(key).filter(|info| info.pop_time == pop_time) else { return };
        // Only places that were handed out: a stranger's request must not grow the table.
        if info.offsets().any(|offset| offset == queue_offset) {
            info.offset_next_visible_time.get_or_insert_default().insert(queue_offset, next_visible_ms);
            state.changes += 1;
            state.set_free(key.clone());
            drop(state);
            self.earlier.notify_one();
        }
    }

    /// Nothing of a queue is handed out: its offset was reset.
    pub fn clear(&self, key: &OrderKey) {
        let mut state = self.state.lock();
        if let Some(queues) = state.table.table.get_mut(&file_key(key))
            && queues.remove(&key.queue_id).is_some()
        {
            state.changes += 1;
            state.set_free(key.clone());
        }
    }

    /// Forgets what is not `wanted` (topic, group, queue), and what is old.
    pub fn retain(&self, now_ms: i64, wanted: impl Fn(&str, &str, i32) -> bool) {
        let mut state = self.state.lock();
        let mut gone = 0;
        state.table.table.retain(|name, queues| {
            let Some((topic, group)) = name.rsplit_once('@') else { return true };
            let before = queues.len();
            queues.retain(|queue_id, info| {
                wanted(topic, group, *queue_id) && now_ms.saturating_sub(info.last_consume_timestamp) <= FORGET_MS
            });
            gone += before - queues.len();
            !queues.is_empty()
        });
        state.changes += u64::from(gone > 0);
    }

    /// Waits until a queue becomes free because the time of its messages is over, and returns it.
    pub async fn freed(&self, now_ms: impl Fn() -> i64) -> OrderKey {
        loop {
            let wait_ms = {
                let mut state = self.state.lock();
                match state.free.first().cloned() {
                    Some((at_ms, key)) if at_ms <= now_ms() => {
                        state.free.pop_first();
                        state.free_at.remove(&key);
                        return key;
                    }
                    first => first.map(|(at_ms, _)| at_ms.saturating_sub(now_ms())),
                }
            };
            let sleep = std::time::Duration::from_millis(wait_ms.unwrap_or(0).unsigned_abs());
            tokio::select! {
                () = tokio::time::sleep(sleep), if wait_ms.is_some() => {}
                () = self.earlier.notified() => {}
            }
        }
    }

    /// How many changes there were.
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// Writes the table.
    pub fn persist(&self) {
        let snapshot = self.state.lock().table.clone();
        self.file.save_or_log(&snapshot);
    }
}

impl State {
    fn get(&self, key: &OrderKey) -> Option<&OrderInfo> {
        self.table.table.get(&file_key(key))?.get(&key.queue_id)
    }

    fn get_mut(&mut self, key: &OrderKey) -> Option<&mut OrderInfo> {
        self.table.table.get_mut(&file_key(key))?.get_mut(&key.queue_id)
    }

    /// Looks anew when a queue becomes free.
    fn set_free(&mut self, key: OrderKey) {
        if let Some(old) = self.free_at.remove(&key) {
            self.free.remove(&(old, key.clone()));
        }
        // Java leaves out those without invisible time: the next pop sets it.
        let free_at = self.get(&key).filter(|info| info.invisible_time.is_some_and(|time| time > 0));
        if let Some(at_ms) = free_at.and_then(|info| info.invisible_until(0).min()) {
            self.free_at.insert(key.clone(), at_ms);
            self.free.insert((at_ms, key));
        }
    }
}

fn file_key(key: &OrderKey) -> String {
    format!("{}@{}", key.topic, key.group)
}

fn keys(name: &str, queues: &BTreeMap<i32, OrderInfo>) -> Vec<OrderKey> {
    let Some((topic, group)) = name.rsplit_once('@') else { return Vec::new() };
    let key = |queue_id: &i32| OrderKey { topic: topic.to_owned(), group: group.to_owned(), queue_id: *queue_id };
    queues.keys().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn setup() -> (tempfile::TempDir, OrderInfoManager, OrderKey) {
        let dir = tempfile::tempdir().unwrap();
        let manager = OrderInfoManager::open(dir.path()).unwrap();
        (dir, manager, OrderKey { topic: "T".into(), group: "g".into(), queue_id: 2 })
    }

    #[test]
    fn a_queue_is_blocked_until_all_are_acknowledged_or_their_time_is_over() {
        let (_dir, orders, key) = setup();
        assert!(!orders.is_blocked(&key, None, 0, NOW));
        assert_eq!(orders.popped(&key, Some("a"), &[5, 6, 9], 10_000, NOW), (BTreeMap::new(), 0));
        assert!(orders.is_blocked(&key, Some("b"), 10_000, NOW + 9_999));
        assert!(!orders.is_blocked(&key, Some("a"), 10_000, NOW), "the same attempt");
        assert!(!orders.is_blocked(&key, None, 10_000, NOW + 10_000));
        assert_eq!(orders.acknowledge(&key, 6, NOW), Committed::Next(5));
        assert_eq!(orders.acknowledge(&key, 7, NOW), Committed::NotHandedOut);
        assert_eq!(orders.acknowledge(&key, 5, NOW - 1), Committed::OldReceipt);
        assert_eq!(orders.acknowledge(&key, 5, NOW), Committed::Next(9));
        assert!(orders.is_blocked(&key, None, 10_000, NOW));
        orders.set_next_visible(&key, 9, NOW, NOW + 60_000);
        assert!(orders.is_blocked(&key, None, 10_000, NOW + 59_999));
        assert_eq!(orders.acknowledge(&key, 9, NOW), Committed::Next(10));
        assert!(!orders.is_blocked(&key, None, 10_000, NOW));
    }

    #[test]
    fn attempts_are_counted_by_message() {
        let (_dir, orders, key) = setup();
        orders.popped(&key, None, &[5, 6], 10, NOW);
        assert_eq!(orders.popped(&key, None, &[5, 6], 10, NOW + 10), (BTreeMap::from([(5, 1), (6, 1)]), 1));
        assert_eq!(orders.popped(&key, Some("a"), &[6, 7], 10, NOW + 20), (BTreeMap::from([(6, 2)]), 0));
        assert_eq!(orders.popped(&key, Some("a"), &[6, 7], 10, NOW + 30), (BTreeMap::from([(6, 2)]), 0));
    }

    #[test]
    fn the_table_survives_in_javas_shape() {
        let (dir, orders, key) = setup();
        orders.popped(&key, Some("a"), &[5, 7], 10_000, NOW);
        orders.popped(&key, Some("b"), &[5, 7], 10_000, NOW + 1);
        orders.set_next_visible(&key, 7, NOW + 1, NOW + 5);
        orders.persist();
        let text = std::fs::read_to_string(dir.path().join("config/consumerOrderInfo.json")).unwrap();
        let java = r#"{"table":{"T@g":{2:{"a":"b","cm":0,"i":10000,"l":1000001,"o":[5,2],"oc":{5:1,7:1},"ot":{7:1000005},"popTime":1000001}}}}"#;
        assert_eq!(text, java);
        let again = OrderInfoManager::open(dir.path()).unwrap();
        assert_eq!(again.state.lock().table, orders.state.lock().table);
        assert_eq!(again.state.lock().free.first(), Some(&(NOW + 5, key.clone())));
        again.retain(NOW + 1, |topic, group, queue_id| (topic, group, queue_id) == ("T", "g", 2));
        assert!(again.state.lock().get(&key).is_some());
        again.retain(NOW + 1, |_, _, _| false);
        assert!(again.state.lock().get(&key).is_none());
    }

    #[tokio::test]
    async fn a_queue_tells_when_it_becomes_free() {
        let (_dir, orders, key) = setup();
        let instant = std::time::Duration::from_millis(1);
        orders.popped(&key, None, &[5], 10_000, NOW);
        assert!(tokio::time::timeout(instant, orders.freed(|| NOW + 9_999)).await.is_err());
        assert_eq!(orders.freed(|| NOW + 10_000).await, key);
        orders.popped(&key, None, &[5], 10_000, NOW);
        orders.acknowledge(&key, 5, NOW);
        assert!(tokio::time::timeout(instant, orders.freed(|| i64::MAX)).await.is_err(), "whoever acknowledges tells");
    }
}
