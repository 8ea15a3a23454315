//! The index by key: hash tables on disk, `index/<yyyyMMddHHmmssSSS>`, layout in [`codec::index`].
//!
//! Header and slots (20 MB by default) have real blocks and are mapped as atomics; entries are written by position, a
//! batch at a time, so a file costs little until it is used. Order of a batch: entries, slots, header. The header's
//! count says which entries exist; a slot beyond it is one of a batch that a kill interrupted and is taken back at the
//! next start.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use codec::index::{ENTRY_LEN, Entry, HASH_SLOT_COUNT_POSITION, Header, INDEX_COUNT_POSITION, Layout, time_diff_s};
use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::checkpoint::StoreCheckpoint;
use crate::core::Core;
use crate::inventory::Inventory;
use crate::log_files::remove_for_good;
use crate::mmap::MappedCells;
use crate::release::{Deleted, Nameless};
use crate::sys::LocalTime;

/// Longest chain that a query follows.
const MAX_CHAIN: usize = 1_000_000;

/// The files, oldest first. Readers take a snapshot; the dispatcher alone writes.
#[derive(Debug)]
pub(crate) struct Index {
    dir: PathBuf,
    layout: Layout,
    files: ArcSwap<Vec<Arc<IndexFile>>>,
    /// Files that became full and are not on the disk yet.
    full: Mutex<Vec<Arc<IndexFile>>>,
    checkpoint: Arc<StoreCheckpoint>,
}

#[derive(Debug)]
pub(crate) struct IndexFile {
    path: PathBuf,
    layout: Layout,
    file: File,
    cells: MappedCells,
}

/// What a start after a kill found in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastExit {
    /// Clean stop: everything is there.
    Clean,
    /// The process died, the machine did not: what was written is there.
    Killed,
    /// Nothing is certain beyond what was flushed.
    Unknown {
        /// What was, of the index.
        index: IndexFlushed,
    },
}

/// What of the index is on the disk for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexFlushed {
    /// By our checkpoint: what it says of records before this offset.
    Before(u64),
    /// By Java's: files that end at this store time or earlier.
    UpTo(i64),
}

impl IndexFlushed {
    fn offset(self) -> Option<u64> {
        match self {
            IndexFlushed::Before(offset) => Some(offset),
            IndexFlushed::UpTo(_) => None,
        }
    }
}

impl Index {
    /// Opens the files of `dir`. Returns too from which physical offset the index must be built again, if any part of
    /// it was thrown away, now or by a start that did not come to its end, or is gone though it was `known`.
    /// # Errors
    /// What the system said, or [`io::ErrorKind::InvalidData`] for a file of another size.
    pub(crate) fn open(
        core: &Core,
        dir: PathBuf,
        last_exit: LastExit,
        known: &Inventory,
        checkpoint: Arc<StoreCheckpoint>,
    ) -> io::Result<(Index, Option<u64>)> {
        let layout = Layout { slots: core.config.max_hash_slot_num.max(1), entries: core.config.max_index_num.max(2) };
        let mut names: Vec<_> = core.fs.list(&dir)?.into_iter().filter(|item| !item.is_dir).collect();
        names.retain(|item| !item.name.is_empty() && item.name.bytes().all(|byte| byte.is_ascii_digit()));
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let lost = known.has_lost(&Inventory::of(names.iter().map(|item| item.name.as_str())));
        let mut files = Vec::new();
        for item in names {
            let path = dir.join(&item.name);
            match IndexFile::open(core, path.clone(), layout)? {
                Some(file) => files.push(Arc::new(file)),
                None => core.fs.remove_file(&path)?,
            }
        }
        let mut rebuild_from = None;
        match last_exit {
            _ if lost => {
                // A file cannot be put between others: their times and names ascend.
                warn!(dir = %dir.display(), "index files are missing, the whole index will be built again");
                rebuild_from = Some(0);
                throw_away(core, &dir, &std::mem::take(&mut files), rebuild_from, &checkpoint)?;
            }
            LastExit::Clean => {}
            LastExit::Killed => files.iter().try_for_each(|file| file.take_back_unfinished(core))?,
            LastExit::Unknown { index } => {
                let whole = files.iter().position(|file| !file.is_whole(index)).unwrap_or(files.len());
                let doubtful = files.split_off(whole);
                // Without a header it is younger than the checkpoint, and so are the messages in it.
                let begins = doubtful.iter().map(|file| file.header()).filter(|header| header.index_count > 1);
                let begins = begins.map(|header| u64::try_from(header.begin_phy_offset).unwrap_or(0));
                rebuild_from = begins.chain(index.offset()).min();
                if !doubtful.is_empty() {
                    throw_away(core, &dir, &doubtful, rebuild_from, &checkpoint)?;
                }
            }
        }
        files.iter().for_each(|file| checkpoint.note_index(|noted| noted.add(&file.name())));
        let index = Index { dir, layout, files: ArcSwap::from_pointee(files), full: Mutex::default(), checkpoint };
        Ok((index, rebuild_from))
    }

    /// Physical offset of the last message in the index, if there is one.
    pub(crate) fn end_phy_offset(&self) -> Option<i64> {
        let files = self.files.load();
        let header = files.last()?.header();
        (header.index_count > 1 || files.len() > 1).then_some(header.end_phy_offset)
    }

    /// Whether the last message in the index is the one at `phy_offset`, and found by a key of this hash. Its other keys
    /// may have gone into a file of which nothing is left.
    /// # Errors
    /// What the system said.
    pub(crate) fn ends_with(&self, core: &Core, key_hash: u32, phy_offset: u64) -> io::Result<bool> {
        if self.end_phy_offset().and_then(|end| u64::try_from(end).ok()) != Some(phy_offset) {
            return Ok(false);
        }
        Ok(self.query(core, key_hash, usize::MAX, i64::MIN, i64::MAX)?.contains(&phy_offset))
    }

    /// The log ends at `log_end` now: what the index says of later messages must not keep new ones out.
    pub(crate) fn cut(&self, log_end: u64) {
        let last = i64::try_from(log_end).unwrap_or(i64::MAX).saturating_sub(1);
        if let Some(file) = self.files.load().last().filter(|file| file.header().end_phy_offset > last) {
            file.cells.store_i64(24, last);
        }
    }

    /// Store time and physical offset of the newest message.
    pub(crate) fn last_update(&self) -> (i64, i64) {
        self.files.load().last().map_or((0, 0), |file| (file.header().end_timestamp, file.header().end_phy_offset))
    }

    /// Physical offsets of messages with a key of this hash, stored between two times; newest file first and in each
    /// newest message first, `max_num` at most.
    /// # Errors
    /// What the system said.
    pub(crate) fn query(
        &self,
        core: &Core,
        key_hash: u32,
        max_num: usize,
        begin_ms: i64,
        end_ms: i64,
    ) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for file in self.files.load().iter().rev() {
            let header = file.header();
            if header.is_time_matched(begin_ms, end_ms) {
                file.query(core, key_hash, max_num, begin_ms, end_ms, &mut found)?;
            }
            if header.begin_timestamp < begin_ms || found.len() >= max_num {
                break;
            }
        }
        Ok(found)
    }

    /// Deletes files all of whose messages lie before `log_min`, never the newest; their blocks are left to `deleted`.
    /// # Errors
    /// What the system said.
    pub(crate) fn delete_expired(&self, core: &Core, log_min: u64, deleted: &Deleted) -> io::Result<()> {
        let min = i64::try_from(log_min).unwrap_or(i64::MAX);
        loop {
            let files = self.files.load_full();
            let Some(first) = files.first().filter(|file| files.len() > 1 && file.header().end_phy_offset < min) else {
                return Ok(());
            };
            // On the disk before the file goes, or it would seem lost after a loss of power between the two.
            self.checkpoint.note_index(|files| files.remove(&first.name()));
            self.checkpoint.flush(&*core.fs)?;
            remove_for_good(core, &first.path)?;
            self.files.rcu(|files| files.iter().filter(|file| !Arc::ptr_eq(file, first)).cloned().collect::<Vec<_>>());
            deleted.add(Nameless::Index(Arc::clone(first)));
        }
    }

    /// Deletes all files; when the log is gone.
    /// # Errors
    /// What the system said.
    pub(crate) fn clear(&self, core: &Core) -> io::Result<()> {
        for file in self.files.swap(Arc::default()).iter() {
            self.checkpoint.note_index(|files| files.remove(&file.name()));
            core.fs.remove_file(&file.path)?;
        }
        Ok(())
    }

    /// Brings everything written to the disk.
    /// # Errors
    /// What the system said.
    pub(crate) fn flush(&self, core: &Core) -> io::Result<()> {
        let full = std::mem::take(&mut *self.full.lock());
        full.iter().try_for_each(|file| core.fs.sync_data(&file.file))?;
        self.files.load().last().map_or(Ok(()), |file| core.fs.sync_data(&file.file))
    }

    fn newest(&self) -> Option<Arc<IndexFile>> {
        self.files.load().last().cloned()
    }

    /// A new file, named after now, that goes on from `previous`.
    fn add(&self, core: &Core, previous: Option<&Header>) -> io::Result<Arc<IndexFile>> {
        core.fs.create_dir_all(&self.dir)?;
        let mut at = core.clock.now_ms();
        let newest = self.newest();
        let path = loop {
            let path = self.dir.join(LocalTime::at(at).digits());
            // Names must ascend even when the clock does not.
            if newest.as_ref().is_none_or(|newest| newest.path < path) && core.fs.read_file(&path)?.is_none() {
                break path;
            }
            at += 1;
            if newest.as_ref().is_some_and(|newest| newest.path > path) {
                at += 60_000;
            }
        };
        let file = IndexFile::create(core, path, self.layout)?;
        core.fs.sync_dir(&self.dir)?;
        core.fs.sync_dir(&core.config.store_path_root_dir)?;
        if let Some(previous) = previous {
            file.cells.store_i64(0, previous.end_timestamp);
            file.cells.store_i64(8, previous.end_timestamp);
            file.cells.store_i64(16, previous.end_phy_offset);
            file.cells.store_i64(24, previous.end_phy_offset);
        }
        // Its name is on the disk: noted earlier, it would seem taken away after a loss of power.
        self.checkpoint.note_index(|files| files.add(&file.name()));
        let file = Arc::new(file);
        self.files.rcu(|files| files.iter().chain([&file]).cloned().collect::<Vec<_>>());
        Ok(file)
    }
}

/// Removes files that will be built again. The checkpoint says so beforehand: a start that does not come to its end leaves
/// nothing else that would.
fn throw_away(
    core: &Core,
    dir: &Path,
    files: &[Arc<IndexFile>],
    rebuild_from: Option<u64>,
    checkpoint: &StoreCheckpoint,
) -> io::Result<()> {
    checkpoint.set_index_durable(rebuild_from.unwrap_or(0));
    checkpoint.flush(&*core.fs)?;
    core.fs.create_dir_all(dir)?;
    for file in files {
        warn!(path = %file.path.display(), "index file may be incomplete, it will be built again");
        core.fs.remove_file(&file.path)?;
    }
    core.fs.sync_dir(dir)
}

impl IndexFile {
    fn create(core: &Core, path: PathBuf, layout: Layout) -> io::Result<IndexFile> {
        let file = core.fs.create(&path, layout.file_len())?;
        let made = core.fs.allocate(&file, 0, layout.slots_end());
        let made = made.and_then(|()| MappedCells::map(&file, layout.slots_end()));
        match made {
            Ok(cells) => {
                cells.store_u32(INDEX_COUNT_POSITION, 1);
                info!(path = %path.display(), "new index file");
                Ok(IndexFile { path, layout, file, cells })
            }
            Err(error) => {
                core.fs.remove_file(&path)?;
                Err(error)
            }
        }
    }

    /// `None` for a file without length.
    fn open(core: &Core, path: PathBuf, layout: Layout) -> io::Result<Option<IndexFile>> {
        let file = core.fs.open(&path)?;
        let len = core.fs.len(&file)?;
        if len == 0 {
            return Ok(None);
        }
        if len != layout.file_len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{}: {len} bytes, but maxHashSlotNum {} and maxIndexNum {} make {}; set them to what this store was \
                     made with, or remove the directory index",
                    path.display(),
                    layout.slots,
                    layout.entries,
                    layout.file_len()
                ),
            ));
        }
        // Java makes its files sparse; before slots are written through the map they need blocks.
        core.fs.allocate(&file, 0, layout.slots_end())?;
        let cells = MappedCells::map(&file, layout.slots_end())?;
        Ok(Some(IndexFile { path, layout, file, cells }))
    }

    /// Unmaps it. By value: nobody looks for keys in it.
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> u64 {
        self.layout.file_len()
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(crate) fn header(&self) -> Header {
        Header {
            begin_timestamp: self.cells.load_i64(0),
            end_timestamp: self.cells.load_i64(8),
            begin_phy_offset: self.cells.load_i64(16),
            end_phy_offset: self.cells.load_i64(24),
            hash_slot_count: self.cells.load_u32(HASH_SLOT_COUNT_POSITION),
            index_count: self.cells.load_u32(INDEX_COUNT_POSITION).clamp(1, self.layout.entries),
        }
    }

    /// Whether all of it is on the disk. What was written since the last flush may be there in part: the header tells of it,
    /// or, when that part is missing, slots that point behind what the header knows. Slots of a full file do not change.
    fn is_whole(&self, flushed: IndexFlushed) -> bool {
        let header = self.header();
        match flushed {
            IndexFlushed::UpTo(timestamp) => header.end_timestamp <= timestamp,
            IndexFlushed::Before(offset) => {
                header.index_count > 1
                    && u64::try_from(header.end_phy_offset).is_ok_and(|end| end < offset)
                    && (header.index_count >= self.layout.entries
                        || (0..self.layout.slots)
                            .all(|slot| self.cells.load_u32(self.layout.slot_position(slot)) < header.index_count))
            }
        }
    }

    fn entry(&self, core: &Core, number: u32) -> io::Result<Entry> {
        let mut bytes = [0; 20];
        core.fs.read_exact_at(&self.file, &mut bytes, self.layout.entry_position(number))?;
        Entry::parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn query(
        &self,
        core: &Core,
        key_hash: u32,
        max_num: usize,
        begin_ms: i64,
        end_ms: i64,
        found: &mut Vec<u64>,
    ) -> io::Result<()> {
        let header = self.header();
        let mut number = self.cells.load_u32(self.layout.slot_position(key_hash));
        for _ in 0..MAX_CHAIN {
            if number == 0 || number >= header.index_count || found.len() >= max_num {
                break;
            }
            let entry = self.entry(core, number)?;
            if entry.time_diff_s < 0 {
                break;
            }
            let time = header.begin_timestamp + i64::from(entry.time_diff_s) * 1000;
            if entry.key_hash == key_hash && (begin_ms..=end_ms).contains(&time) {
                found.extend(u64::try_from(entry.phy_offset));
            }
            // Chains run towards smaller numbers; anything else would not end.
            if entry.previous >= number || time < begin_ms {
                break;
            }
            number = entry.previous;
        }
        Ok(())
    }

    /// Points the slots of a batch that a kill interrupted back to where they pointed before it.
    fn take_back_unfinished(&self, core: &Core) -> io::Result<()> {
        let header = self.header();
        let mut unfinished = Vec::new();
        let mut number = header.index_count;
        while number < self.layout.entries && unfinished.len() < IndexWriter::MAX_BATCH {
            let entry = self.entry(core, number)?;
            if entry == Entry::default() || entry.previous >= number {
                break;
            }
            unfinished.push((number, entry));
            number += 1;
        }
        for (number, entry) in unfinished.into_iter().rev() {
            let slot = self.layout.slot_position(entry.key_hash);
            if self.cells.load_u32(slot) == number {
                self.cells.store_u32(slot, entry.previous);
            }
        }
        Ok(())
    }
}

/// Puts keys into the newest file, a batch at a time.
#[derive(Debug)]
pub(crate) struct IndexWriter {
    index: Arc<Index>,
    batch: Option<Batch>,
}

#[derive(Debug)]
struct Batch {
    file: Arc<IndexFile>,
    header: Header,
    first: u32,
    entries: Vec<u8>,
    slots: HashMap<u32, u32, FixedState>,
}

impl IndexWriter {
    /// Most entries that one batch may have.
    const MAX_BATCH: usize = 65_536;

    pub(crate) fn new(index: Arc<Index>) -> Self {
        IndexWriter { index, batch: None }
    }

    pub(crate) fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Forgets what has not been committed; to be tried again from the start.
    pub(crate) fn discard(&mut self) {
        self.batch = None;
    }

    /// Adds one entry to the batch; begins a new file when the newest is full.
    /// # Errors
    /// What the system said; then [`IndexWriter::discard`] and do the batch again.
    pub(crate) fn put(&mut self, core: &Core, key_hash: u32, phy_offset: u64, store_timestamp: i64) -> io::Result<()> {
        let is_full = |batch: &Batch| batch.header.index_count >= batch.file.layout.entries;
        if self.batch.as_ref().is_some_and(|batch| is_full(batch) || batch.slots.len() >= Self::MAX_BATCH / 2) {
            self.commit(core)?;
        }
        let mut batch = match self.batch.take() {
            Some(batch) => batch,
            None => Batch::over(match self.index.newest() {
                Some(file) => file,
                None => self.index.add(core, None)?,
            }),
        };
        if is_full(&batch) {
            self.index.full.lock().push(Arc::clone(&batch.file));
            batch = Batch::over(self.index.add(core, Some(&batch.header))?);
        }
        batch.push(key_hash, i64::try_from(phy_offset).unwrap_or(i64::MAX), store_timestamp);
        self.batch = Some(batch);
        Ok(())
    }

    /// Writes the batch.
    /// # Errors
    /// What the system said; nothing of the batch counts then.
    pub(crate) fn commit(&mut self, core: &Core) -> io::Result<()> {
        let Some(batch) = self.batch.take() else { return Ok(()) };
        let file = &batch.file;
        core.fs.write_all_at(&file.file, &batch.entries, file.layout.entry_position(batch.first))?;
        for (slot, number) in &batch.slots {
            file.cells.store_u32(file.layout.slot_position(*slot), *number);
        }
        file.cells.store_i64(0, batch.header.begin_timestamp);
        file.cells.store_i64(8, batch.header.end_timestamp);
        file.cells.store_i64(16, batch.header.begin_phy_offset);
        file.cells.store_u32(HASH_SLOT_COUNT_POSITION, batch.header.hash_slot_count);
        file.cells.store_u32(INDEX_COUNT_POSITION, batch.header.index_count);
        file.cells.store_i64(24, batch.header.end_phy_offset);
        Ok(())
    }
}

impl Batch {
    fn over(file: Arc<IndexFile>) -> Batch {
        let header = file.header();
        Batch { first: header.index_count, header, entries: Vec::new(), slots: HashMap::default(), file }
    }

    fn push(&mut self, key_hash: u32, phy_offset: i64, store_timestamp: i64) {
        let number = self.header.index_count;
        let slot = key_hash % self.file.layout.slots;
        let previous = match self.slots.get(&slot) {
            Some(number) => *number,
            None => {
                let stored = self.file.cells.load_u32(self.file.layout.slot_position(slot));
                if stored < self.first { stored } else { 0 }
            }
        };
        // Before the first entry sets it, the header may have the times of the file before: so does Java.
        let time_diff_s = time_diff_s(self.header.begin_timestamp, store_timestamp);
        if number <= 1 {
            self.header.begin_phy_offset = phy_offset;
            self.header.begin_timestamp = store_timestamp;
        }
        self.entries.extend_from_slice(&Entry { key_hash, phy_offset, time_diff_s, previous }.encode());
        self.slots.insert(slot, number);
        if previous == 0 {
            self.header.hash_slot_count = self.header.hash_slot_count.saturating_add(1);
        }
        self.header.index_count = number + 1;
        self.header.end_phy_offset = phy_offset;
        self.header.end_timestamp = store_timestamp;
    }
}

const _: () = assert!(ENTRY_LEN == 20);

/// The directory of the index below the store's root.
pub(crate) fn index_dir(root: &Path) -> PathBuf {
    root.join("index")
}
