//! The index against the log: both are read side by side, in the order of the log.

use std::collections::VecDeque;
use std::fs::File;

use codec::index::{ENTRY_LEN, Entry, HEADER_LEN, Layout, time_diff_s};
use codec::message::MessageRecord;

use super::lost::LostRanges;
use super::report::{Kind, Report};
use crate::error::{IoContext as _, ToolError};
use crate::files::{LogFiles, read_at};
use crate::index::{IndexFile, hashes};
use crate::log::{LogReader, Look, int};
use crate::remedy::Remedies;

/// Read at a time.
const CHUNK: usize = 1 << 20;

/// The check.
pub(crate) struct IndexCheck<'a> {
    files: &'a [IndexFile],
    /// The next file to open.
    next_file: usize,
    current: Option<Open>,
    ahead: VecDeque<Placed>,
    /// Looks at records out of turn.
    lookup: LogReader<'a>,
    remedies: Remedies,
    log_min: u64,
    /// The newest file is being written, or was when its broker died.
    unfinished: bool,
    checked: u64,
    missing: Option<Missing>,
    last_offset: i64,
}

/// A file being read.
struct Open {
    index: usize,
    file: File,
    layout: Layout,
    count: u32,
    begin_timestamp: i64,
    next: u32,
    bytes: Vec<u8>,
    bytes_from: u32,
    /// What the slots should be.
    slots: Vec<u32>,
}

/// An entry and where it is.
#[derive(Debug, Clone, Copy)]
struct Placed {
    file: usize,
    number: u32,
    begin_timestamp: i64,
    entry: Entry,
}

struct Missing {
    from: u64,
    to: u64,
    records: u64,
}

impl<'a> IndexCheck<'a> {
    pub(crate) fn new(
        files: &'a [IndexFile],
        log: &'a LogFiles,
        remedies: Remedies,
        unfinished: bool,
    ) -> IndexCheck<'a> {
        IndexCheck {
            files,
            next_file: 0,
            current: None,
            ahead: VecDeque::new(),
            lookup: LogReader::for_single_records(log),
            remedies,
            log_min: log.min(),
            unfinished,
            checked: 0,
            missing: None,
            last_offset: -1,
        }
    }

    /// Headers and lengths.
    pub(crate) fn check_files(&self, report: &mut Report) {
        let usual = self.files.iter().map(|file| file.len).max().unwrap_or(0);
        for file in self.files {
            let what = match (&file.header, file.layout) {
                (Some(_), _) if file.len < usual => {
                    format!("the file has {} bytes, others have {usual}", file.len)
                }
                (None, _) if file.len == 0 && self.unfinished => continue,
                // Its first entry is on its way.
                (Some(header), None) if header.index_count <= 1 && self.unfinished => continue,
                (None, _) => format!("the file has {} bytes, less than a header", file.len),
                (Some(_), None) => format!(
                    "with {} bytes and these first and last entries the file is divided in no way that fits",
                    file.len
                ),
                (Some(header), Some(layout)) if file.len != layout.file_len() => {
                    format!("{} bytes, but {} entries make {}", file.len, header.index_count, layout.file_len())
                }
                (Some(header), Some(layout)) if header.index_count > layout.entries => {
                    format!("{} entries, where {} fit", header.index_count, layout.entries)
                }
                _ => continue,
            };
            report.find(Kind::IndexFile, (file.path.clone(), Some(0)), what, self.remedies.rebuild("index"));
        }
    }

    /// Compares the entries of one record; entries before it are of none. What the keys of a damaged record are nobody
    /// knows, and that it is damaged is told already.
    pub(crate) fn record(
        &mut self,
        record: &MessageRecord<'_>,
        offset: u64,
        is_sound: bool,
        report: &mut Report,
        lost: &LostRanges,
    ) -> Result<(), ToolError> {
        if self.files.is_empty() {
            return Ok(());
        }
        let place = i64::try_from(offset).unwrap_or(i64::MAX);
        let (mut required, allowed) = hashes(record);
        while let Some(placed) = self.peek(report)? {
            if placed.entry.phy_offset > place {
                break;
            }
            self.ahead.pop_front();
            self.last_offset = self.last_offset.max(placed.entry.phy_offset);
            if placed.entry.phy_offset < place {
                self.stray(&placed, report, lost)?;
                continue;
            }
            if !is_sound {
                continue;
            }
            let hash = placed.entry.key_hash;
            match required.iter().position(|required| *required == hash) {
                Some(at) => {
                    required.swap_remove(at);
                }
                None if allowed.contains(&hash) => {}
                // The same key twice in KEYS, or a record indexed twice.
                None if hashes(record).0.contains(&hash) => {}
                None => {
                    let what = format!("the hash {hash:08X} is of no key of the record at {offset}");
                    self.tell_entry(&placed, what, report);
                    continue;
                }
            }
            self.check_time(&placed, record.store_timestamp, report);
            self.checked += 1;
        }
        if is_sound && !required.is_empty() && self.is_covered(place, report)? {
            match &mut self.missing {
                Some(missing) => (missing.to, missing.records) = (offset, missing.records + 1),
                None => self.missing = Some(Missing { from: offset, to: offset, records: 1 }),
            }
        }
        Ok(())
    }

    /// Whether the index should know a record: it begins before it, and knows later ones, which what is being written need
    /// not. What the header says of the newest one may be younger than its number of entries.
    fn is_covered(&mut self, place: i64, report: &mut Report) -> Result<bool, ToolError> {
        let begin = self.files.iter().filter_map(|file| file.header).map(|header| header.begin_phy_offset).min();
        let begun = begin.is_some_and(|begin| begin <= place);
        Ok(begun && (!self.unfinished || self.peek(report)?.is_some()))
    }

    fn check_time(&self, placed: &Placed, store_timestamp: i64, report: &mut Report) {
        let expected = time_diff_s(placed.begin_timestamp, store_timestamp);
        // The first entry of a file may count from the end of the file before.
        if placed.number > 1 && placed.entry.time_diff_s != expected {
            let what =
                format!("it says {} s after the first message, {expected} s are right", placed.entry.time_diff_s);
            self.tell_entry(placed, what, report);
        }
    }

    /// An entry whose record did not come up in its turn.
    fn stray(&mut self, placed: &Placed, report: &mut Report, lost: &LostRanges) -> Result<(), ToolError> {
        let Ok(offset) = u64::try_from(placed.entry.phy_offset) else {
            self.tell_entry(placed, format!("it says offset {}", placed.entry.phy_offset), report);
            return Ok(());
        };
        // Of messages that were deleted, or lost with their part of the log: that is told already.
        if offset < self.log_min || lost.contains(offset) {
            return Ok(());
        }
        let found = match self.lookup.look(offset)? {
            Look::Record(located) => {
                let (required, allowed) = hashes(&located.record);
                required.iter().chain(&allowed).any(|hash| *hash == placed.entry.key_hash)
            }
            _ => false,
        };
        if found {
            self.checked += 1;
        } else {
            self.tell_entry(placed, format!("no record with this key lies at {offset}"), report);
        }
        Ok(())
    }

    fn tell_entry(&self, placed: &Placed, what: String, report: &mut Report) {
        let Some(file) = self.files.get(placed.file) else { return };
        let position = file.layout.map(|layout| layout.entry_position(placed.number));
        let what = format!("entry {}: {what}", placed.number);
        report.find(Kind::IndexEntry, (file.path.clone(), position), what, self.remedies.rebuild("index"));
    }

    /// The entry whose turn is next. Those that point further on than their successor are looked up at once.
    fn peek(&mut self, report: &mut Report) -> Result<Option<Placed>, ToolError> {
        loop {
            while self.ahead.len() < 2 {
                match self.read(report)? {
                    Some(placed) => self.ahead.push_back(placed),
                    None => break,
                }
            }
            let Some(front) = self.ahead.front().copied() else { return Ok(None) };
            let end = self
                .files
                .get(front.file)
                .and_then(|file| file.header)
                .map_or(i64::MAX, |header| header.end_phy_offset);
            let after = self.ahead.get(1).map_or(i64::MAX, |next| next.entry.phy_offset);
            let offset = front.entry.phy_offset;
            if offset >= self.last_offset && offset <= after && offset <= end {
                return Ok(Some(front));
            }
            self.ahead.pop_front();
            self.stray(&front, report, &LostRanges::default())?;
        }
    }

    /// The next entry of all files.
    fn read(&mut self, report: &mut Report) -> Result<Option<Placed>, ToolError> {
        loop {
            if self.current.is_none() {
                let Some(file) = self.files.get(self.next_file) else { return Ok(None) };
                self.current = open(file, self.next_file)?;
                self.next_file += 1;
                if self.current.is_none() {
                    continue;
                }
            }
            let Some(open) = &mut self.current else { continue };
            if open.next < open.count {
                let entry = open.entry(self.files)?;
                let placed =
                    Placed { file: open.index, number: open.next - 1, begin_timestamp: open.begin_timestamp, entry };
                let slot = entry.key_hash.checked_rem(open.layout.slots).and_then(|slot| usize::try_from(slot).ok());
                let previous = slot.and_then(|slot| open.slots.get_mut(slot));
                let expected = previous.map_or(0, |previous| std::mem::replace(previous, placed.number));
                if entry.previous != expected {
                    let what = format!("the chain goes on with entry {}, where {expected} is right", entry.previous);
                    self.tell_entry(&placed, what, report);
                }
                return Ok(Some(placed));
            }
            if let Some(open) = self.current.take() {
                self.check_slots(open, report)?;
            }
        }
    }

    /// Compares the slots of a file that was read with what its entries make them.
    fn check_slots(&self, open: Open, report: &mut Report) -> Result<(), ToolError> {
        let Some(file) = self.files.get(open.index) else { return Ok(()) };
        let newest = open.index + 1 == self.files.len();
        let (mut wrong, mut first) = (0u64, None);
        for (part, slots) in (0u64..).zip(open.slots.chunks(CHUNK / 4)) {
            let position = HEADER_LEN + part * CHUNK as u64;
            let bytes = read_at(&open.file, position, slots.len() * 4).on("read", &file.path)?;
            for (at, expected) in slots.iter().enumerate() {
                let stored = int(&bytes, at * 4).and_then(|stored| u32::try_from(stored).ok());
                let begun = self.unfinished && newest && stored.is_some_and(|stored| stored >= open.count);
                if stored != Some(*expected) && !begun {
                    wrong += 1;
                    first.get_or_insert((position + at as u64 * 4, stored, *expected));
                }
            }
        }
        if let Some((position, stored, expected)) = first {
            let stored = stored.map_or_else(|| "no entry".to_owned(), |stored| format!("entry {stored}"));
            let what =
                format!("{wrong} slots lead to the wrong entry; the first one to {stored}, where {expected} is right");
            report.find(Kind::IndexChain, (file.path.clone(), Some(position)), what, self.remedies.rebuild("index"));
        }
        Ok(())
    }

    /// What is left when the log has been read.
    pub(crate) fn finish(mut self, report: &mut Report, lost: &LostRanges) -> Result<(), ToolError> {
        while let Some(placed) = self.peek(report)? {
            self.ahead.pop_front();
            if !self.unfinished {
                self.stray(&placed, report, lost)?;
            }
        }
        if let (Some(missing), Some(file)) = (&self.missing, self.files.last()) {
            let what = format!(
                "the keys of {} records between {} and {} of the log are not in the index",
                missing.records, missing.from, missing.to
            );
            report.find(Kind::IndexMissing, (file.path.clone(), None), what, self.remedies.rebuild("index"));
        }
        report.index_entries = self.checked;
        Ok(())
    }
}

fn open(index: &IndexFile, number: usize) -> Result<Option<Open>, ToolError> {
    let (Some(header), Some(layout)) = (&index.header, index.layout) else { return Ok(None) };
    let file = File::open(&index.path).on("open", &index.path)?;
    // As many slots as the file is long enough for.
    let slots = u64::from(layout.slots).min(index.len / 4);
    Ok(Some(Open {
        index: number,
        file,
        layout,
        count: header.index_count.min(layout.entries),
        begin_timestamp: header.begin_timestamp,
        next: 1,
        bytes: Vec::new(),
        bytes_from: 0,
        slots: vec![0; usize::try_from(slots).unwrap_or(0)],
    }))
}

impl Open {
    /// The entry with the number `next`, which is then one more.
    fn entry(&mut self, files: &[IndexFile]) -> Result<Entry, ToolError> {
        let number = self.next;
        self.next += 1;
        let len = ENTRY_LEN as usize;
        let skip = |from: u32, number: u32| usize::try_from(number - from).unwrap_or(usize::MAX).saturating_mul(len);
        let have = number >= self.bytes_from && self.bytes.len() >= skip(self.bytes_from, number).saturating_add(len);
        if !have {
            let path = files.get(self.index).map(|file| file.path.clone()).unwrap_or_default();
            let left = usize::try_from(self.count - number).unwrap_or(0).saturating_mul(len);
            let bytes = read_at(&self.file, self.layout.entry_position(number), left.min(CHUNK - CHUNK % len));
            (self.bytes, self.bytes_from) = (bytes.on("read", &path)?, number);
        }
        let bytes = self.bytes.get(skip(self.bytes_from, number)..).unwrap_or_default();
        Ok(Entry::parse(bytes).unwrap_or_default())
    }
}
