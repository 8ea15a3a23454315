//! The index file: hash table from message keys to physical offsets.
//!
//! | part | position | size | field |
//! |---|---|---|---|
//! | header | 0 | 8 | beginTimestamp |
//! | | 8 | 8 | endTimestamp |
//! | | 16 | 8 | beginPhyOffset |
//! | | 24 | 8 | endPhyOffset |
//! | | 32 | 4 | hashSlotCount: slots in use |
//! | | 36 | 4 | indexCount: number of the next entry, from 1 |
//! | slots | 40 | 4 each | number of the newest entry of the chain, 0 for none |
//! | entries | 40 + 4 × slots | 20 each | [`Entry`]; entry 0 is never used |
//!
//! Big-endian. Source: index/IndexFile.java, IndexHeader.java.

use crate::cursor::Cursor;
use crate::error::CodecError;
use crate::java_hash::{string_hash, string_hash_continued};
use crate::properties::{self, names};

/// Bytes of the header.
pub const HEADER_LEN: u64 = 40;
/// Bytes of a slot.
pub const SLOT_LEN: u64 = 4;
/// Bytes of an entry.
pub const ENTRY_LEN: u64 = 20;
/// Position of hashSlotCount.
pub const HASH_SLOT_COUNT_POSITION: u64 = 32;
/// Position of indexCount.
pub const INDEX_COUNT_POSITION: u64 = 36;

const TOPIC_KEY_SEPARATOR: &str = "#";
const TAG_INDEX: &str = "#T#";

/// How many slots and entries a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// maxHashSlotNum.
    pub slots: u32,
    /// maxIndexNum.
    pub entries: u32,
}

impl Layout {
    /// Bytes of the file.
    #[must_use]
    pub const fn file_len(self) -> u64 {
        self.slots_end() + self.entries as u64 * ENTRY_LEN
    }

    /// Position behind the slots.
    #[must_use]
    pub const fn slots_end(self) -> u64 {
        HEADER_LEN + self.slots as u64 * SLOT_LEN
    }

    /// Position of the slot of a key hash (not negative).
    #[must_use]
    pub const fn slot_position(self, key_hash: u32) -> u64 {
        HEADER_LEN + (key_hash % self.slots) as u64 * SLOT_LEN
    }

    /// Position of an entry.
    #[must_use]
    pub const fn entry_position(self, number: u32) -> u64 {
        self.slots_end() + number as u64 * ENTRY_LEN
    }
}

/// The header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// Store time of the first message, ms.
    pub begin_timestamp: i64,
    /// Store time of the last message, ms.
    pub end_timestamp: i64,
    /// Physical offset of the first message.
    pub begin_phy_offset: i64,
    /// Physical offset of the last message.
    pub end_phy_offset: i64,
    /// Slots in use.
    pub hash_slot_count: u32,
    /// Number of the next entry, from 1.
    pub index_count: u32,
}

impl Header {
    /// The header at the start of `bytes`; counts that are not positive read as in a new file.
    /// # Errors
    /// [`CodecError::Short`].
    pub fn parse(bytes: &[u8]) -> Result<Header, CodecError> {
        const WHAT: &str = "index header";
        let mut at = Cursor::new(bytes);
        Ok(Header {
            begin_timestamp: at.i64(WHAT)?,
            end_timestamp: at.i64(WHAT)?,
            begin_phy_offset: at.i64(WHAT)?,
            end_phy_offset: at.i64(WHAT)?,
            hash_slot_count: u32::try_from(at.i32(WHAT)?).unwrap_or(0),
            index_count: u32::try_from(at.i32(WHAT)?).unwrap_or(0).max(1),
        })
    }

    /// Whether the file may hold messages stored in `begin_ms..=end_ms`. Source: IndexFile.isTimeMatched.
    #[must_use]
    pub fn is_time_matched(&self, begin_ms: i64, end_ms: i64) -> bool {
        begin_ms <= self.end_timestamp && end_ms >= self.begin_timestamp
    }
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    /// Hash of the key, see [`key_hash`].
    pub key_hash: u32,
    /// Physical offset of the message.
    pub phy_offset: i64,
    /// Seconds since the header's beginTimestamp.
    pub time_diff_s: i32,
    /// Number of the entry before it in the chain, 0 for none.
    pub previous: u32,
}

impl Entry {
    /// The entry at the start of `bytes`.
    /// # Errors
    /// [`CodecError::Short`].
    pub fn parse(bytes: &[u8]) -> Result<Entry, CodecError> {
        const WHAT: &str = "index entry";
        let mut at = Cursor::new(bytes);
        Ok(Entry {
            key_hash: at.u32(WHAT)?,
            phy_offset: at.i64(WHAT)?,
            time_diff_s: at.i32(WHAT)?,
            previous: at.u32(WHAT)?,
        })
    }

    /// Its 20 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; 20] {
        let fields = (u128::from(self.key_hash) << 96)
            | (u128::from(self.phy_offset.cast_unsigned()) << 32)
            | u128::from(self.time_diff_s.cast_unsigned());
        let mut bytes = [0; 20];
        let (front, back) = bytes.split_at_mut(16);
        front.copy_from_slice(&fields.to_be_bytes());
        back.copy_from_slice(&self.previous.to_be_bytes());
        bytes
    }
}

/// Seconds from the header's beginTimestamp to a store time, as Java bounds them.
#[must_use]
pub fn time_diff_s(begin_timestamp: i64, store_timestamp: i64) -> i32 {
    if begin_timestamp <= 0 {
        return 0;
    }
    i32::try_from((store_timestamp.saturating_sub(begin_timestamp) / 1000).max(0)).unwrap_or(i32::MAX)
}

/// Hash under which `topic#key` is filed: the absolute value of Java's hashCode, 0 when that overflows.
#[must_use]
pub fn key_hash(topic: &str, key: &str) -> u32 {
    absolute(string_hash_continued(string_hash_continued(string_hash(topic), TOPIC_KEY_SEPARATOR), key))
}

/// Hash under which a tag is filed since 5.5: that of `topic#T#tag`.
#[must_use]
pub fn tag_hash(topic: &str, tags: &str) -> u32 {
    absolute(string_hash_continued(string_hash_continued(string_hash(topic), TAG_INDEX), tags))
}

/// What a message is filed under: the values of UNIQ_KEY, KEYS and TAGS.
pub type Filed<'a> = [Option<&'a str>; 3];

/// What properties say that their message is filed under.
#[must_use]
pub fn filed(properties: &str) -> Filed<'_> {
    properties::get_all(properties, [names::UNIQ_KEY, names::KEYS, names::TAGS])
}

/// The hashes under which a message is filed, in order: UNIQ_KEY, each item of KEYS, and as 5.5 does it the tags.
/// Source: IndexService.buildIndex.
pub fn hashes<'a>(topic: &str, [unique, keys, tags]: Filed<'a>) -> impl Iterator<Item = u32> + use<'a> {
    let topic = string_hash(topic);
    let filed = move |separator, key| absolute(string_hash_continued(string_hash_continued(topic, separator), key));
    properties::keys_of(unique, keys)
        .map(move |key| filed(TOPIC_KEY_SEPARATOR, key))
        .chain(tags.map(move |tags| filed(TAG_INDEX, tags)))
}

fn absolute(hash: i32) -> u32 {
    hash.checked_abs().map_or(0, i32::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_file_has_javas_size() {
        let layout = Layout { slots: 5_000_000, entries: 20_000_000 };
        assert_eq!(layout.file_len(), 420_000_040);
        assert_eq!(layout.entry_position(1), 40 + 20_000_000 + 20);
        assert_eq!(layout.slot_position(5_000_001), 44);
    }

    #[test]
    fn single_hashes() {
        assert_eq!(key_hash("T", "k"), string_hash("T#k").unsigned_abs());
        assert_eq!(tag_hash("T", "k"), string_hash("T#T#k").unsigned_abs());
        assert_eq!(absolute(i32::MIN), 0);
        assert_eq!(absolute(-5), 5);
    }

    #[test]
    fn hashes_of_a_message() {
        let properties = "TAGS\u{1}t\u{2}KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}u\u{2}";
        let expect = [key_hash("T", "u"), key_hash("T", "k1"), key_hash("T", "k2"), tag_hash("T", "t")];
        assert_eq!(hashes("T", filed(properties)).collect::<Vec<_>>(), expect);
        assert_eq!(hashes("T", filed("")).count(), 0);
    }

    #[test]
    fn entries_round_trip() {
        let entry = Entry { key_hash: 7, phy_offset: 1 << 40, time_diff_s: 3, previous: 9 };
        assert_eq!(Entry::parse(&entry.encode()).unwrap(), entry);
    }

    #[test]
    fn time_diffs() {
        assert_eq!(time_diff_s(0, 5000), 0);
        assert_eq!(time_diff_s(1000, 5999), 4);
        assert_eq!(time_diff_s(5000, 1000), 0);
        assert_eq!(time_diff_s(1, i64::MAX), i32::MAX);
    }
}
