//! Which message is the newest of its key, for so many keys as there is memory for.

use std::hash::{BuildHasher, RandomState};

/// Bytes of an entry: the hash of a key, and a queue offset.
const ENTRY_LEN: usize = size_of::<Entry>();
/// Room for so many keys at least. Source: CompactionLog.OffsetMap.
const MIN_KEYS: usize = 100;

type Entry = (u64, u64, i64);

/// The newest queue offsets of keys. Keys are told apart by 128 bits of two keyed hashes.
#[derive(Debug)]
pub(super) struct NewestOffsets {
    hashes: [RandomState; 2],
    /// Sorted, one of each key, up to `sorted`; behind that as they came.
    entries: Vec<Entry>,
    sorted: usize,
    capacity: usize,
    last: i64,
}

impl NewestOffsets {
    /// Takes no more memory than this, but for a hundred keys.
    pub(super) fn new(max_bytes: usize) -> NewestOffsets {
        let capacity = (max_bytes / ENTRY_LEN).max(MIN_KEYS);
        NewestOffsets {
            hashes: [RandomState::new(), RandomState::new()],
            entries: Vec::new(),
            sorted: 0,
            capacity,
            last: -1,
        }
    }

    /// Notes a message; queue offsets grow. `false`, and it is not noted: there is no room for another key.
    pub(super) fn put(&mut self, key: &str, queue_offset: i64) -> bool {
        if self.entries.len() >= self.capacity {
            self.sort();
            // Unless there is a good deal of room again it would be sorted for each message.
            if self.entries.len() > self.capacity / 8 * 7 {
                return false;
            }
        }
        if self.entries.len() == self.entries.capacity() {
            let more = self.entries.len().clamp(64, 1 << 16);
            self.entries.reserve_exact(more.min(self.capacity - self.entries.len()));
        }
        let (a, b) = self.hash(key);
        self.entries.push((a, b, queue_offset));
        self.last = queue_offset;
        true
    }

    /// The queue offset of the newest message of a key that was noted.
    pub(super) fn get(&mut self, key: &str) -> Option<i64> {
        if self.sorted != self.entries.len() {
            self.sort();
        }
        let (a, b) = self.hash(key);
        let at = self.entries.binary_search_by_key(&(a, b), |(a, b, _)| (*a, *b)).ok()?;
        self.entries.get(at).map(|(_, _, queue_offset)| *queue_offset)
    }

    /// The last message that was noted; -1: none.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    fn hash(&self, key: &str) -> (u64, u64) {
        let [a, b] = &self.hashes;
        (a.hash_one(key), b.hash_one(key))
    }

    /// Leaves the newest of each key.
    fn sort(&mut self) {
        self.entries.sort_unstable();
        self.entries.dedup_by(|later, earlier| {
            let same = (later.0, later.1) == (earlier.0, earlier.1);
            if same {
                earlier.2 = later.2;
            }
            same
        });
        self.sorted = self.entries.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_key_within_the_memory() {
        let mut newest = NewestOffsets::new(0);
        assert_eq!((newest.get("a"), newest.last()), (None, -1));
        for queue_offset in 0..1000 {
            assert!(newest.put(&format!("k{}", queue_offset % 50), queue_offset), "{queue_offset}");
        }
        assert_eq!((newest.get("k0"), newest.get("k49"), newest.get("k50")), (Some(950), Some(999), None));
        assert!(newest.entries.capacity() <= MIN_KEYS);
        let full = (1000..).take_while(|queue_offset| newest.put(&format!("other{queue_offset}"), *queue_offset));
        let taken = full.count();
        assert_eq!(taken, 50);
        assert_eq!((newest.last(), newest.get("other1049"), newest.get("k49")), (1049, Some(1049), Some(999)));
        assert!(newest.entries.capacity() <= MIN_KEYS);
    }
}
