//! What was done to a store, and what it must show for it. Believes nothing that the store says of itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Positions are numbers of events in a record; this one never comes.
pub const NEVER: usize = usize::MAX;

/// A message that was given to the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    pub topic: String,
    pub queue_id: i32,
    pub queue_offset: i64,
    pub physical_offset: u64,
    /// Unique.
    pub key: String,
    /// The whole record.
    pub bytes: Vec<u8>,
    /// The put began here: not to be seen before.
    pub begun: usize,
    /// It returned here: a kill from here on leaves it.
    pub kept: usize,
    /// It was told to be on the disk here: a loss of power from here on leaves it.
    pub safe: usize,
    /// Its topic was deleted from here on: it may be there or not.
    pub dropped: usize,
    /// A loss of power had taken it, and whoever opened the store then found it gone: not to be seen again.
    pub lost: usize,
}

impl Put {
    fn end(&self) -> u64 {
        self.physical_offset + self.bytes.len() as u64
    }
}

/// All that was put.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    pub puts: Vec<Put>,
}

impl History {
    /// From `position` on everything before `physical_offset` is known to be on the disk.
    pub fn flushed(&mut self, position: usize, physical_offset: u64) {
        for put in self.puts.iter_mut().rev() {
            if put.safe == NEVER && put.lost == NEVER && put.end() <= physical_offset {
                put.safe = position;
            }
        }
    }

    /// A deletion of the topic begins.
    pub fn deleted(&mut self, position: usize, topic: &str) {
        for put in self.puts.iter_mut().filter(|put| put.topic == topic) {
            put.dropped = put.dropped.min(position);
        }
    }

    /// The history as it goes on after `end`: a store opened on what was left showed `seen`. Positions count anew, and at
    /// `opened` the store was open.
    pub fn after(&self, end: &End, seen: &Seen, opened: usize) -> History {
        let puts = self.puts.iter().filter(|put| put.begun < end.position).map(|put| {
            let is_there = seen.log.get(&put.physical_offset) == Some(&put.bytes);
            let from = if end.requires(put) { 0 } else { opened };
            let (kept, lost) = match is_there {
                _ if put.lost <= end.position => (NEVER, 0),
                true => (from, NEVER),
                false => (NEVER, opened),
            };
            let dropped = if put.dropped <= end.position { 0 } else { NEVER };
            Put { begun: 0, kept, safe: kept, dropped, lost, ..put.clone() }
        });
        History { puts: puts.collect() }
    }
}

/// How and when a run ended.
#[derive(Debug, Clone, Default)]
pub struct End {
    pub position: usize,
    pub power_loss: bool,
    /// First offset that was left in the log.
    pub log_min: u64,
}

impl End {
    fn requires(&self, put: &Put) -> bool {
        let from = if self.power_loss { put.safe } else { put.kept };
        from <= self.position && self.position < put.dropped && put.physical_offset >= self.log_min
    }
}

/// What an opened store shows.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub min_offset: u64,
    /// Every record of the log, by its place.
    pub log: BTreeMap<u64, Vec<u8>>,
    /// Of each queue: min and max offset, and what is at each place.
    pub queues: BTreeMap<(String, i32), SeenQueue>,
    /// Keys that were asked for, and where the index says their records are.
    pub keys: BTreeMap<String, BTreeSet<u64>>,
}

/// What is in a queue.
#[derive(Debug, Clone, Default)]
pub struct SeenQueue {
    pub min: i64,
    pub max: i64,
    pub messages: BTreeMap<i64, (u64, Vec<u8>)>,
    /// Places whose unit has another tagsCode than its message, by which consumers would miss it.
    pub mistagged: BTreeSet<i64>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Acknowledged, and not in its queue.
    Lost { key: String },
    /// A record that was never put there, or not yet.
    Invented { physical_offset: u64 },
    /// A record that was found lost before.
    Risen { key: String },
    /// A queue has no message at this place, though between min and max.
    Hole { queue: (String, i32), queue_offset: i64 },
    /// A queue goes back in the log.
    Disorder { queue: (String, i32), queue_offset: i64 },
    /// The queue has another tag for this place than the message.
    Mistagged { queue: (String, i32), queue_offset: i64 },
    /// In the log, and in no queue.
    NotInQueue { key: String },
    /// In a queue, and not in the log.
    NotInLog { physical_offset: u64 },
    /// In the log, and not found by its key.
    NotInIndex { key: String },
    /// The log has lost its beginning.
    Begins { at: u64 },
}

/// What is wrong with what is seen after `end`.
pub fn judge(history: &History, end: &End, seen: &Seen) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let mut puts: BTreeMap<u64, Vec<&Put>> = BTreeMap::new();
    for put in &history.puts {
        puts.entry(put.physical_offset).or_default().push(put);
    }
    let whose = |physical_offset: u64, bytes: &[u8]| {
        let same = puts.get(&physical_offset).into_iter().flatten().filter(|put| put.bytes == bytes);
        same.min_by_key(|put| put.lost <= end.position).filter(|put| put.begun < end.position.max(1)).copied()
    };
    if !seen.log.is_empty() && seen.min_offset > end.log_min {
        wrong.push(Violation::Begins { at: seen.min_offset });
    }
    for (physical_offset, bytes) in &seen.log {
        let Some(put) = whose(*physical_offset, bytes) else {
            wrong.push(Violation::Invented { physical_offset: *physical_offset });
            continue;
        };
        if put.lost <= end.position {
            wrong.push(Violation::Risen { key: put.key.clone() });
        }
        if *physical_offset < end.log_min {
            continue;
        }
        let queue = seen.queues.get(&(put.topic.clone(), put.queue_id));
        let there = queue.and_then(|queue| queue.messages.get(&put.queue_offset));
        if end.position < put.dropped && there.is_none_or(|(at, _)| at != physical_offset) {
            wrong.push(Violation::NotInQueue { key: put.key.clone() });
        }
        if seen.keys.get(&put.key).is_some_and(|found| !found.contains(physical_offset)) {
            wrong.push(Violation::NotInIndex { key: put.key.clone() });
        }
    }
    for found in seen.keys.values().flatten() {
        if !seen.log.contains_key(found) {
            wrong.push(Violation::NotInLog { physical_offset: *found });
        }
    }
    for (queue, all) in &seen.queues {
        let mistagged = all.mistagged.iter();
        wrong.extend(mistagged.map(|at| Violation::Mistagged { queue: queue.clone(), queue_offset: *at }));
        let mut before = None;
        for queue_offset in all.min..all.max {
            let Some((physical_offset, bytes)) = all.messages.get(&queue_offset) else {
                wrong.push(Violation::Hole { queue: queue.clone(), queue_offset });
                continue;
            };
            if before.replace(*physical_offset).is_some_and(|before| before >= *physical_offset) {
                wrong.push(Violation::Disorder { queue: queue.clone(), queue_offset });
            }
            let is_it = |put: &Put| (&put.topic, put.queue_id, put.queue_offset) == (&queue.0, queue.1, queue_offset);
            if !whose(*physical_offset, bytes).is_some_and(is_it) {
                wrong.push(Violation::Invented { physical_offset: *physical_offset });
            }
            if seen.log.get(physical_offset) != Some(bytes) {
                wrong.push(Violation::NotInLog { physical_offset: *physical_offset });
            }
        }
    }
    for put in history.puts.iter().filter(|put| end.requires(put)) {
        let queue = seen.queues.get(&(put.topic.clone(), put.queue_id));
        let there = queue.and_then(|queue| queue.messages.get(&put.queue_offset));
        if there.is_none_or(|(at, bytes)| *at != put.physical_offset || *bytes != put.bytes) {
            wrong.push(Violation::Lost { key: put.key.clone() });
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(number: u64, queue_offset: i64) -> Put {
        Put {
            topic: "T".to_owned(),
            queue_id: 0,
            queue_offset,
            physical_offset: number * 100,
            key: format!("k{number}"),
            bytes: vec![u8::try_from(number).unwrap(); 100],
            begun: 10,
            kept: 20,
            safe: 30,
            dropped: NEVER,
            lost: NEVER,
        }
    }

    fn history() -> History {
        History { puts: vec![put(0, 0), put(1, 1), put(2, 2)] }
    }

    fn seen() -> Seen {
        let mut seen = Seen::default();
        let mut queue = SeenQueue { min: 0, max: 3, ..SeenQueue::default() };
        for put in history().puts {
            seen.log.insert(put.physical_offset, put.bytes.clone());
            seen.keys.insert(put.key.clone(), BTreeSet::from([put.physical_offset]));
            queue.messages.insert(put.queue_offset, (put.physical_offset, put.bytes));
        }
        seen.queues.insert(("T".to_owned(), 0), queue);
        seen
    }

    fn end(position: usize, power_loss: bool) -> End {
        End { position, power_loss, log_min: 0 }
    }

    fn queue(seen: &mut Seen) -> &mut SeenQueue {
        seen.queues.values_mut().next().unwrap()
    }

    fn key(number: u64) -> String {
        format!("k{number}")
    }

    /// The last message is nowhere.
    fn cut() -> Seen {
        let mut seen = seen();
        seen.log.remove(&200);
        seen.keys.remove("k2");
        queue(&mut seen).messages.remove(&2);
        queue(&mut seen).max = 2;
        seen
    }

    #[test]
    fn a_good_store_is_good() {
        for position in [15, 25, 35] {
            assert_eq!(judge(&history(), &end(position, true), &seen()), []);
            assert_eq!(judge(&history(), &end(position, false), &seen()), []);
        }
    }

    #[test]
    fn acknowledged_and_gone_is_lost() {
        let lost = [Violation::Lost { key: key(2) }];
        assert_eq!(judge(&history(), &end(29, true), &cut()), []);
        assert_eq!(judge(&history(), &end(30, true), &cut()), lost);
        assert_eq!(judge(&history(), &end(19, false), &cut()), []);
        assert_eq!(judge(&history(), &end(20, false), &cut()), lost);
        // Unless its topic was deleted, or its part of the log has expired.
        let mut deleted = history();
        deleted.deleted(40, "T");
        assert_eq!(judge(&deleted, &end(39, true), &cut()), lost);
        assert_eq!(judge(&deleted, &end(40, true), &cut()), []);
        assert_eq!(judge(&history(), &End { log_min: 201, ..end(40, true) }, &cut()), []);
    }

    #[test]
    fn what_a_sync_covered_is_safe() {
        let mut history = history();
        history.puts.iter_mut().for_each(|put| put.safe = NEVER);
        history.flushed(25, 200);
        assert_eq!(history.puts.iter().map(|put| put.safe).collect::<Vec<_>>(), [25, 25, NEVER]);
    }

    #[test]
    fn what_was_never_put_is_invented() {
        assert_eq!(judge(&history(), &end(10, true), &seen()).len(), 6);
        let mut changed = seen();
        changed.log.insert(100, vec![9; 100]);
        queue(&mut changed).messages.insert(1, (100, vec![9; 100]));
        let wrong = judge(&history(), &end(25, true), &changed);
        assert_eq!(wrong, [Violation::Invented { physical_offset: 100 }, Violation::Invented { physical_offset: 100 }]);
        // At another place of the queue.
        let mut moved = seen();
        let first = queue(&mut moved).messages.remove(&0).unwrap();
        queue(&mut moved).messages.insert(3, first);
        (queue(&mut moved).min, queue(&mut moved).max) = (1, 4);
        assert!(judge(&history(), &end(15, true), &moved).contains(&Violation::Invented { physical_offset: 0 }));
    }

    #[test]
    fn holes_and_disorder_are_seen() {
        let mut hole = seen();
        queue(&mut hole).messages.remove(&1);
        let queue_name = ("T".to_owned(), 0);
        let wrong = judge(&history(), &end(25, true), &hole);
        let expect = Violation::Hole { queue: queue_name.clone(), queue_offset: 1 };
        assert_eq!(wrong, [Violation::NotInQueue { key: key(1) }, expect]);
        let mut twice = seen();
        let first = queue(&mut twice).messages[&0].clone();
        queue(&mut twice).messages.insert(2, first);
        let wrong = judge(&history(), &end(25, true), &twice);
        let mut mistagged = seen();
        queue(&mut mistagged).mistagged.insert(1);
        let expect = Violation::Mistagged { queue: queue_name.clone(), queue_offset: 1 };
        assert_eq!(judge(&history(), &end(25, true), &mistagged), [expect]);
        assert!(wrong.contains(&Violation::Disorder { queue: queue_name, queue_offset: 2 }), "{wrong:?}");
    }

    #[test]
    fn log_queues_and_index_must_agree() {
        let mut no_queue = seen();
        queue(&mut no_queue).messages.remove(&2);
        queue(&mut no_queue).max = 2;
        assert_eq!(judge(&history(), &end(25, true), &no_queue), [Violation::NotInQueue { key: key(2) }]);
        let mut no_log = seen();
        no_log.log.remove(&200);
        let not_in_log = Violation::NotInLog { physical_offset: 200 };
        assert_eq!(judge(&history(), &end(25, true), &no_log), [not_in_log.clone(), not_in_log]);
        let mut no_index = seen();
        no_index.keys.insert(key(1), BTreeSet::new());
        assert_eq!(judge(&history(), &end(25, true), &no_index), [Violation::NotInIndex { key: key(1) }]);
        let mut begins = seen();
        begins.log.remove(&0);
        begins.min_offset = 100;
        assert!(judge(&history(), &end(25, true), &begins).contains(&Violation::Begins { at: 100 }));
    }

    #[test]
    fn a_history_goes_on_after_a_loss() {
        let mut later = history().after(&end(29, true), &cut(), 5);
        assert_eq!(later.puts.iter().map(|put| put.safe).collect::<Vec<_>>(), [5, 5, NEVER]);
        assert_eq!(later.puts.iter().map(|put| put.lost).collect::<Vec<_>>(), [NEVER, NEVER, 5]);
        // Before the store was open the message may be there or not; after that it may not come back.
        assert_eq!(judge(&later, &end(4, true), &seen()), []);
        assert_eq!(judge(&later, &end(5, true), &seen()), [Violation::Risen { key: key(2) }]);
        // Its place may be taken.
        let mut new = put(2, 2);
        new.bytes = vec![77; 100];
        new.key = "new".to_owned();
        later.puts.push(new.clone());
        let mut taken = seen();
        taken.keys.remove("k2");
        taken.log.insert(200, new.bytes.clone());
        queue(&mut taken).messages.insert(2, (200, new.bytes));
        assert_eq!(judge(&later, &end(30, true), &taken), []);
        // What was required before is required throughout.
        let later = history().after(&end(30, true), &seen(), 5);
        assert_eq!(judge(&later, &end(1, true), &cut()), [Violation::Lost { key: key(2) }]);
    }
}
