//! The static topics of this broker: `topicQueueMapping.json`.

use crate::metadata::MetadataFile;
use daemon::persist::LoadError;
use parking_lot::{Mutex, RwLock};
use protocol::body::static_topic::{
    LogicQueueMappingItem, TopicQueueMappingDetail, TopicQueueMappingInfo, TopicQueueMappings,
};
use remoting::clock;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a mapping is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It is wrong in itself, or contradicts the one that is known.
    #[error("{0}")]
    Refused(String),
    /// The file cannot be written; the former mapping stands.
    #[error("topicQueueMapping.json cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// Mappings by topic, persisted with every change.
#[derive(Debug)]
pub struct TopicQueueMappingManager {
    file: MetadataFile,
    broker_name: String,
    /// What requests for ordinary topics look at, and nothing else, on a broker without static topics.
    any: AtomicBool,
    /// Held by sends to logic queues: a change waits for those that went by the former mapping.
    sends: RwLock<()>,
    /// Held by a change, from its comparison until it is in file and table.
    changing: Mutex<()>,
    state: RwLock<State>,
}

type Table = HashMap<String, Arc<TopicQueueMappingDetail>>;

#[derive(Debug, Default)]
struct State {
    table: Table,
    version: protocol::body::topic::DataVersion,
}

impl TopicQueueMappingManager {
    /// Reads the file.
    ///
    /// # Errors
    /// When the file and its backup are unusable.
    pub fn open(store_root: &Path, broker_name: &str) -> Result<TopicQueueMappingManager, LoadError> {
        let file = MetadataFile::new(store_root, "topicQueueMapping.json");
        let loaded = file.load::<TopicQueueMappings>()?.unwrap_or_default();
        let mut table = Table::new();
        for (topic, detail) in loaded.topic_queue_mapping_info_map {
            if detail.bname == broker_name {
                table.insert(topic, Arc::new(detail));
            } else {
                tracing::error!(
                    topic,
                    bname = detail.bname,
                    "topicQueueMapping.json has a mapping of another broker, left out"
                );
            }
        }
        let any = AtomicBool::new(!table.is_empty());
        let state = RwLock::new(State { table, version: loaded.data_version });
        Ok(TopicQueueMappingManager {
            file,
            broker_name: broker_name.to_owned(),
            any,
            sends: RwLock::default(),
            changing: Mutex::default(),
            state,
        })
    }

    /// The mapping of a topic, if it is static.
    #[inline]
    pub fn get(&self, topic: &str) -> Option<Arc<TopicQueueMappingDetail>> {
        if self.any.load(Ordering::Relaxed) { self.state.read().table.get(topic).cloned() } else { None }
    }

    /// Does `send` while no mapping changes: what it finds holds until its message is stored.
    pub fn while_mapped<T>(&self, send: impl FnOnce() -> T) -> T {
        let _change_waits = self.sends.read();
        send()
    }

    /// Names of the static topics.
    pub fn topics(&self) -> Vec<String> {
        self.state.read().table.keys().cloned().collect()
    }

    /// All mappings, as the file has them.
    pub fn snapshot(&self) -> TopicQueueMappings {
        self.state.read().snapshot()
    }

    /// What nameservers are told of the static topics; `None` without any.
    pub fn infos(&self) -> Option<BTreeMap<String, serde_json::Value>> {
        let state = self.state.read();
        let info = |detail: &TopicQueueMappingDetail| {
            serde_json::to_value(TopicQueueMappingInfo::from(detail)).expect("a mapping has numbers and texts only")
        };
        let infos = state.table.iter().map(|(topic, detail)| (topic.clone(), info(detail)));
        (!state.table.is_empty()).then(|| infos.collect())
    }

    /// Takes the mapping that an administrator made, after it was checked against the known one; what the new one does not
    /// name of that is kept. `force` skips the comparison.
    ///
    /// # Errors
    /// [`NotTaken`]; nothing changed then.
    pub fn put(&self, mut new: TopicQueueMappingDetail, force: bool) -> Result<(), NotTaken> {
        if new.bname != self.broker_name {
            let remark = format!("the mapping is for broker {}, this is {}", new.bname, self.broker_name);
            return Err(NotTaken::Refused(remark));
        }
        new.check().map_err(NotTaken::Refused)?;
        let _one_at_a_time = self.changing.lock();
        if let Some(old) = self.get(&new.topic) {
            if !force {
                keep_decided(&old, &mut new);
                compare(&old, &new).map_err(NotTaken::Refused)?;
            }
            for (id, items) in &old.hosted_queues {
                new.hosted_queues.entry(*id).or_insert_with(|| items.clone());
            }
        }
        tracing::info!(topic = new.topic, epoch = new.epoch, total = new.total_queues, force, "static topic mapped");
        self.change(|table| drop(table.insert(new.topic.clone(), Arc::new(new))))?;
        Ok(())
    }

    /// Replaces the generations of some queues after a clean-up, unless the mapping changed since `seen`; an empty list
    /// forgets the queue.
    ///
    /// # Errors
    /// What the file system says; nothing changed then.
    pub fn clean(
        &self,
        seen: &Arc<TopicQueueMappingDetail>,
        queues: BTreeMap<i32, Vec<LogicQueueMappingItem>>,
    ) -> io::Result<bool> {
        let _one_at_a_time = self.changing.lock();
        if !self.get(&seen.topic).is_some_and(|current| Arc::ptr_eq(&current, seen)) {
            return Ok(false);
        }
        let mut cleaned = TopicQueueMappingDetail::clone(seen);
        cleaned.hosted_queues.extend(queues);
        cleaned.hosted_queues.retain(|_, items| !items.is_empty());
        self.change(|table| drop(table.insert(cleaned.topic.clone(), Arc::new(cleaned))))?;
        Ok(true)
    }

    /// Forgets a topic that was deleted.
    ///
    /// # Errors
    /// What the file system says; the topic is kept then.
    pub fn delete(&self, topic: &str) -> io::Result<()> {
        let _one_at_a_time = self.changing.lock();
        match self.get(topic) {
            Some(_) => self.change(|table| drop(table.remove(topic))),
            None => Ok(()),
        }
    }

    /// Changes the table once the file says so: whoever is answered with a mapping finds it again after a kill. Returns when no
    /// send goes by the former table any more.
    fn change(&self, change: impl FnOnce(&mut Table)) -> io::Result<()> {
        let mut next = {
            let state = self.state.read();
            State { table: state.table.clone(), version: state.version.next(clock::now_ms()) }
        };
        change(&mut next.table);
        self.file.save(&next.snapshot())?;
        self.any.store(!next.table.is_empty(), Ordering::Relaxed);
        *self.state.write() = next;
        drop(self.sends.write());
        Ok(())
    }
}

impl State {
    fn snapshot(&self) -> TopicQueueMappings {
        let details = self.table.iter().map(|(topic, detail)| (topic.clone(), TopicQueueMappingDetail::clone(detail)));
        TopicQueueMappings { data_version: self.version, topic_queue_mapping_info_map: details.collect() }
    }
}

/// A move that is told again, after it was interrupted, begins with logic offsets undecided that are decided by now.
fn keep_decided(old: &TopicQueueMappingDetail, new: &mut TopicQueueMappingDetail) {
    for (id, items) in &mut new.hosted_queues {
        let known = old.hosted_queues.get(id).and_then(|items| items.last());
        if let (Some(known), Some(leader)) = (known, items.last_mut())
            && known.generation == leader.generation
            && !leader.is_decided()
        {
            leader.logic_offset = known.logic_offset;
        }
    }
}

/// A mapping may only go forwards. Source: TopicQueueMappingManager.updateTopicQueueMapping,
/// TopicQueueMappingUtils.makeSureLogicQueueMappingItemImmutable.
fn compare(old: &TopicQueueMappingDetail, new: &TopicQueueMappingDetail) -> Result<(), String> {
    if new.epoch < old.epoch {
        return Err(format!("Can't accept data with small epoch {} < {}", new.epoch, old.epoch));
    }
    if new.scope != old.scope {
        return Err(format!("Can't accept data with unmatched scope {} != {}", new.scope, old.scope));
    }
    let same_epoch = new.epoch == old.epoch;
    for (id, old_items) in old.hosted_queues.iter().filter(|(_, items)| !items.is_empty()) {
        match new.hosted_queues.get(id) {
            None if same_epoch => return Err(format!("Cannot accept equal epoch with null data, for queue {id}")),
            None => {}
            Some(items) => compare_items(old_items, items, same_epoch).map_err(|why| format!("queue {id}: {why}"))?,
        }
    }
    Ok(())
}

fn compare_items(old: &[LogicQueueMappingItem], new: &[LogicQueueMappingItem], same_epoch: bool) -> Result<(), String> {
    let place = |item: &LogicQueueMappingItem| (item.bname.clone(), item.queue_id, item.start_offset);
    for item in new {
        // Generations may be missing on either side: the oldest ones are cleaned away.
        let Some(known) = old.iter().find(|known| known.generation == item.generation) else { continue };
        if place(known) != place(item) || known.is_decided() && known.logic_offset != item.logic_offset {
            return Err(format!("generation {} is known and cannot change", item.generation));
        }
    }
    let leader = |items: &[LogicQueueMappingItem]| items.last().map(|item| (item.generation, place(item)));
    match leader(new) {
        None => Err("The new item list is null or empty".to_owned()),
        Some(_) if same_epoch && leader(new) != leader(old) => {
            Err("The new leader is different but epoch equal".to_owned())
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Generation, broker, logic offset.
    type Items<'a> = &'a [(i32, &'a str, i64)];

    fn detail(epoch: i64, queues: &[(i32, Items<'_>)]) -> TopicQueueMappingDetail {
        let item = |&(generation, bname, logic_offset): &(i32, &str, i64)| LogicQueueMappingItem {
            generation,
            bname: bname.to_owned(),
            logic_offset,
            ..LogicQueueMappingItem::default()
        };
        TopicQueueMappingDetail {
            topic: "T".to_owned(),
            bname: "a".to_owned(),
            epoch,
            total_queues: 2,
            hosted_queues: queues.iter().map(|(id, items)| (*id, items.iter().map(item).collect())).collect(),
            ..TopicQueueMappingDetail::default()
        }
    }

    #[test]
    fn mappings_go_forwards_only_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let mappings = TopicQueueMappingManager::open(dir.path(), "a").unwrap();
        assert!(mappings.get("T").is_none());
        let first: Items<'_> = &[(0, "a", 0)];
        let moved: Items<'_> = &[(0, "a", 0), (1, "b", -1)];
        let decided: Items<'_> = &[(0, "a", 0), (1, "b", 10_000)];
        mappings.put(detail(10, &[(0, first)]), false).unwrap();
        let refused = |new| match mappings.put(new, false) {
            Err(NotTaken::Refused(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(refused(detail(9, &[(0, first)])).contains("small epoch 9 < 10"));
        assert!(refused(detail(10, &[])).contains("equal epoch with null data"));
        assert!(refused(detail(10, &[(0, moved)])).contains("leader is different"));
        assert!(refused(detail(11, &[(0, &[(0, "a", 5)])])).contains("cannot change"));
        assert!(refused(TopicQueueMappingDetail { bname: "b".to_owned(), ..detail(11, &[]) }).contains("for broker b"));
        mappings.put(detail(11, &[(0, moved)]), false).unwrap();
        mappings.put(detail(11, &[(0, decided)]), false).unwrap();
        mappings.put(detail(11, &[(0, moved)]), false).unwrap();
        assert_eq!(*mappings.get("T").unwrap(), detail(11, &[(0, decided)]), "told again");
        mappings.put(detail(12, &[(1, first)]), false).unwrap();
        let kept = mappings.get("T").unwrap();
        assert_eq!(*kept, detail(12, &[(0, decided), (1, first)]));
        assert!(mappings.clean(&kept, BTreeMap::from([(0, Vec::new())])).unwrap());
        assert!(!mappings.clean(&kept, BTreeMap::new()).unwrap(), "it changed since it was seen");
        let again = TopicQueueMappingManager::open(dir.path(), "a").unwrap();
        assert_eq!(*again.get("T").unwrap(), detail(12, &[(1, first)]));
        mappings.put(detail(1, &[]), true).unwrap();
        assert_eq!(mappings.get("T").unwrap().epoch, 1, "forced");
        mappings.delete("T").unwrap();
        assert!(TopicQueueMappingManager::open(dir.path(), "a").unwrap().get("T").is_none());
    }
}
