//! Index files as they lie on the disk.

use std::fs::File;
use std::path::{Path, PathBuf};

use codec::index::{ENTRY_LEN, Entry, HEADER_LEN, Header, Layout, key_hash, tag_hash};
use codec::message::{MessageRecord, sys_flag};
use codec::properties::{index_keys, names};

use crate::error::{IoContext as _, ToolError};
use crate::files::{entries, read_at};
use crate::log::int;

/// What Java makes unless told otherwise.
pub(crate) const DEFAULT: Layout = Layout { slots: 5_000_000, entries: 20_000_000 };
/// Layouts that are tried on a file of another length.
const MAX_TRIES: u32 = 200_000;
/// Entries whose chains tell whether a layout fits.
const SAMPLE: u32 = 32;
/// Entries of one chain that the header does not count yet.
const MAX_UNCOUNTED: u32 = 10_000;
/// Longest chain that is followed.
const MAX_CHAIN: u32 = 1_000_000;

/// One file.
#[derive(Debug)]
pub struct IndexFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub len: u64,
    /// Its header; `None` when the file is too short for one.
    pub header: Option<Header>,
    /// How it is divided; `None` when it cannot be told.
    pub layout: Option<Layout>,
}

/// The files of a directory, oldest first.
///
/// # Errors
/// What the system said.
pub fn list(dir: &Path) -> Result<Vec<IndexFile>, ToolError> {
    let mut files = Vec::new();
    for (name, path) in entries(dir)? {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let file = File::open(&path).on("open", &path)?;
        let len = file.metadata().on("look at", &path)?.len();
        let header = Header::parse(&read_at(&file, 0, 40).on("read", &path)?).ok();
        let layout = match &header {
            Some(header) => layout(&file, len, header).on("read", &path)?,
            None => None,
        };
        files.push(IndexFile { path, len, header, layout });
    }
    // A file without header that says how it is divided is divided as the others are.
    let usual = files.iter().filter_map(|file| Some((file.len, file.layout?))).next_back();
    for file in &mut files {
        if file.layout.is_none() {
            file.layout = usual.filter(|(len, _)| *len == file.len).map(|(_, layout)| layout);
        }
    }
    Ok(files)
}

/// How a file is divided: the length alone does not say, its first and last entry do.
fn layout(file: &File, len: u64, header: &Header) -> std::io::Result<Option<Layout>> {
    if len == DEFAULT.file_len() {
        return Ok(Some(DEFAULT));
    }
    let Some(room) = len.checked_sub(HEADER_LEN) else { return Ok(None) };
    // 4 × slots and 20 × entries make the length: every fifth number of slots does.
    let rest = u32::try_from(room % ENTRY_LEN / 4).unwrap_or(0);
    let most = u32::try_from(room / 4).unwrap_or(u32::MAX);
    let mut found = None;
    for slots in (rest..=most).step_by(5).filter(|slots| *slots > 0).take(MAX_TRIES as usize) {
        let entries = u32::try_from((room - u64::from(slots) * 4) / ENTRY_LEN).unwrap_or(0);
        let layout = Layout { slots, entries };
        if header.index_count > 1 && header.index_count <= entries && fits(file, layout, header)? {
            return Ok(Some(layout));
        }
        // Java's proportion, for a file with nothing in it.
        if found.is_none() && u64::from(entries) == u64::from(slots) * 4 {
            found = Some(layout);
        }
    }
    Ok(found.filter(|_| header.index_count <= 1))
}

fn fits(file: &File, layout: Layout, header: &Header) -> std::io::Result<bool> {
    let entry = |number| -> std::io::Result<Entry> {
        Ok(Entry::parse(&read_at(file, layout.entry_position(number), 20)?).unwrap_or_default())
    };
    let last_number = header.index_count - 1;
    let (first, last) = (entry(1)?, entry(last_number)?);
    if first.phy_offset != header.begin_phy_offset || first.previous != 0 || last.previous >= last_number {
        return Ok(false);
    }
    let slot = layout.slot_position(last.key_hash);
    let same_slot = |other: &Entry| layout.slot_position(other.key_hash) == slot;
    let mut number = int(&read_at(file, slot, 4)?, 0).and_then(|newest| u32::try_from(newest).ok()).unwrap_or(0);
    // Entries that are being written, or were when the broker died, are led to before the header counts them.
    for _ in 0..MAX_UNCOUNTED {
        if number <= last_number || number > layout.entries {
            break;
        }
        let newer = entry(number)?;
        let leads_on = same_slot(&newer) && newer.previous < number && first != Entry::default();
        number = if leads_on { newer.previous } else { 0 };
    }
    if number != last_number {
        return Ok(false);
    }
    // In another layout chains lead anywhere; in this one some entries may be damaged.
    let (mut right, mut wrong) = (0, 0);
    for number in last_number.saturating_sub(SAMPLE).max(1)..=last_number {
        let one = entry(number)?;
        if one.previous != 0 {
            let slot = |entry: &Entry| layout.slot_position(entry.key_hash);
            let leads_back = one.previous < number && slot(&entry(one.previous)?) == slot(&one);
            *(if leads_back { &mut right } else { &mut wrong }) += 1;
        }
    }
    Ok(wrong * 4 <= right)
}

/// Hashes under which a record must be in the index, and under which it may be: brokers before 5.5 do not index tags.
pub(crate) fn hashes(record: &MessageRecord<'_>) -> (Vec<u32>, Vec<u32>) {
    if sys_flag::transaction_type(record.sys_flag) == sys_flag::TRANSACTION_ROLLBACK_TYPE {
        return (Vec::new(), Vec::new());
    }
    let (topic, properties) = (record.topic_str(), record.properties_str());
    let keys = index_keys(&properties).map(|key| key_hash(&topic, key)).collect();
    let tags = record.property(names::TAGS).map(|tags| tag_hash(&topic, tags));
    (keys, tags.into_iter().collect())
}

/// Physical offsets of what is filed under a hash, newest first.
///
/// # Errors
/// What the system said.
pub(crate) fn query(files: &[IndexFile], hash: u32, visit: &mut dyn FnMut(u64) -> bool) -> Result<(), ToolError> {
    for index in files.iter().rev() {
        let (Some(header), Some(layout)) = (&index.header, index.layout) else { continue };
        let file = File::open(&index.path).on("open", &index.path)?;
        let slot = read_at(&file, layout.slot_position(hash), 4).on("read", &index.path)?;
        let mut number = int(&slot, 0).and_then(|slot| u32::try_from(slot).ok()).unwrap_or(0);
        for _ in 0..MAX_CHAIN {
            if number == 0 || number >= header.index_count {
                break;
            }
            let bytes = read_at(&file, layout.entry_position(number), 20).on("read", &index.path)?;
            let Ok(entry) = Entry::parse(&bytes) else { break };
            if entry.key_hash == hash
                && let Ok(offset) = u64::try_from(entry.phy_offset)
                && !visit(offset)
            {
                return Ok(());
            }
            if entry.previous >= number {
                break;
            }
            number = entry.previous;
        }
    }
    Ok(())
}
