//! The file `checkpoint`: Java's six longs, and behind them, where Java does not look, from where a restart has to read
//! the log.
//!
//! | position | field |
//! |---|---|
//! | 2048 | "FERROCKT" |
//! | 2056 | durable: log, consume queues and index before this offset are on the disk |
//! | 2064 | dispatched: everything before it is dispatched, good for as long as the machine has not been restarted |
//! | 2072 | hash of the boot id of the machine |
//! | 2080 | end of the log at a clean stop, else -1 |
//! | 2088 | CRC-32 of Java's 48 bytes, durable and clean end: when Java has run meanwhile, it does not fit |
//! | 2096 | the index before this offset is on the disk; less than durable only while it is built again |
//! | 2104 | retired: 0. Else a version that kept an inventory of the directories of consume queues here, and none at 2144, has had the store since |
//! | 2120 | index files: how many, then (2128) the hash of their names; see [`crate::inventory`] |
//! | 2136 | end of the log when the last consume queue was deleted: none is built again from before it |
//! | 2144 | files of consume queues, like 2120 |
//! | 2160 | those of them whose names are on the disk: what there must be after a loss of power |

use std::fs::File;
use std::io;
use std::path::PathBuf;

use codec::checkpoint::{Checkpoint, FILE_LEN};
use parking_lot::Mutex;

use crate::core::Core;
use crate::fs::FileSystem;
use crate::inventory::Inventory;
use crate::mmap::MappedCells;
use crate::offline::OwnCheckpoint;

const MAGIC: i64 = i64::from_be_bytes(*b"FERROCKT");
pub(crate) const MAGIC_POSITION: u64 = 2048;
const DURABLE_POSITION: u64 = 2056;
const DISPATCHED_POSITION: u64 = 2064;
const BOOT_POSITION: u64 = 2072;
const CLEAN_END_POSITION: u64 = 2080;
const CRC_POSITION: u64 = 2088;
const INDEX_DURABLE_POSITION: u64 = 2096;
const RETIRED_POSITION: u64 = 2104;
const INDEX_POSITION: u64 = 2120;
const EMPTIED_POSITION: u64 = 2136;
const QUEUE_FILES_POSITION: u64 = 2144;
const SAFE_QUEUE_FILES_POSITION: u64 = 2160;

/// What the checkpoint said when the store was opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    /// Java's part.
    pub(crate) java: Checkpoint,
    /// Our part, when nobody else has used the store since.
    pub(crate) own: Option<Own>,
    /// Where the index was on the disk up to; also when our part does not fit: a loss of power may have torn the file, and what
    /// was on the disk then is there still. `None`: the file is Java's alone.
    pub(crate) index_durable: Option<u64>,
}

/// Our part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own {
    pub(crate) durable: u64,
    pub(crate) dispatched: u64,
    /// The machine has not been restarted: what was written is there, flushed or not.
    pub(crate) same_boot: bool,
    pub(crate) clean_end: Option<u64>,
    /// The files of consume queues there were.
    pub(crate) queue_files: NotedFiles,
    /// The index files there were.
    pub(crate) index: Inventory,
    /// All queues of messages before it were deleted by hand.
    pub(crate) emptied: u64,
}

/// The files of consume queues.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NotedFiles {
    /// All of them.
    pub(crate) made: Inventory,
    /// Those whose names are on the disk.
    pub(crate) safe: Inventory,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct StoreCheckpoint {
    file: File,
    cells: MappedCells,
    values: Mutex<Values>,
}

#[derive(Debug)]
struct Values {
    java: Checkpoint,
    durable: i64,
    clean_end: i64,
    /// `None` until it has been compared with what there is.
    queue_files: Option<NotedFiles>,
    index: Inventory,
    /// What there was before of the index is compared with what there is until recovery is done; only then it is overwritten.
    begun: bool,
}

impl StoreCheckpoint {
    /// Opens or makes the file.
    /// # Errors
    /// What the system said.
    pub(crate) fn open(core: &Core) -> io::Result<(StoreCheckpoint, Found)> {
        let path = path(core);
        let old = core.fs.read_file(&path)?.unwrap_or_default();
        let file = core.fs.create(&path, FILE_LEN as u64)?;
        // Real blocks, so that writing through the map cannot fail.
        core.fs.allocate(&file, 0, FILE_LEN as u64)?;
        let cells = MappedCells::map(&file, FILE_LEN as u64)?;
        let java = Checkpoint::parse(&old).unwrap_or_default();
        let is_ours = cells.load_i64(MAGIC_POSITION) == MAGIC;
        let index_durable = cells.load_i64(INDEX_DURABLE_POSITION).min(cells.load_i64(DURABLE_POSITION));
        let index_durable = u64::try_from(index_durable).ok().filter(|_| is_ours);
        let found = Found { java, own: own(core, &cells, &java), index_durable };
        let values = Mutex::new(Values {
            java,
            durable: cells.load_i64(DURABLE_POSITION),
            clean_end: -1,
            queue_files: None,
            index: Inventory::default(),
            begun: false,
        });
        Ok((StoreCheckpoint { file, cells, values }, found))
    }

    /// The store is in use from here on; what was found about a clean end no longer holds.
    pub(crate) fn begin(&self, core: &Core, durable: u64, dispatched: u64) {
        self.cells.store_i64(MAGIC_POSITION, MAGIC);
        self.cells.store_i64(BOOT_POSITION, boot_hash(core));
        self.set_dispatched(dispatched);
        self.change(|values| {
            values.durable = as_i64(durable);
            values.clean_end = -1;
            values.begun = true;
        });
    }

    /// Everything before `offset` is in consume queues and index, flushed or not.
    pub(crate) fn set_dispatched(&self, offset: u64) {
        self.cells.store_i64(DISPATCHED_POSITION, as_i64(offset));
    }

    /// The log was flushed when its newest record had this store time.
    pub(crate) fn set_physic_msg_timestamp(&self, store_timestamp: i64) {
        self.change(|values| values.java.physic_msg_timestamp = store_timestamp);
    }

    /// The index has messages up to this store time, flushed or not. A Java broker deletes index files that go beyond it,
    /// and does not build them again from before its recovery: after a kill there is no cause for that.
    pub(crate) fn set_index_msg_timestamp(&self, end_timestamp: i64) {
        self.change(|values| values.java.index_msg_timestamp = end_timestamp);
    }

    /// Recovery writes queues and index again from `offset` on: until it has come to its end, no more than that is on the disk.
    /// # Errors
    /// What the system said.
    pub(crate) fn begin_recovery(&self, core: &Core, offset: u64) -> io::Result<()> {
        let dispatched = self.cells.load_i64(DISPATCHED_POSITION);
        if self.values.lock().durable.max(dispatched) <= as_i64(offset) {
            return Ok(());
        }
        // Or what comes after a kill would begin where the queues had come to before.
        self.set_dispatched(offset.min(u64::try_from(dispatched).unwrap_or(0)));
        self.change(|values| values.durable = values.durable.min(as_i64(offset)));
        self.flush(&*core.fs)
    }

    /// The index lacks messages from `offset` on, until the next [`StoreCheckpoint::set_durable`].
    pub(crate) fn set_index_durable(&self, offset: u64) {
        self.cells.store_i64(INDEX_DURABLE_POSITION, as_i64(offset));
    }

    /// The last consume queue was deleted when the log ended at `end`.
    pub(crate) fn set_emptied(&self, end: u64) {
        self.cells.store_i64(EMPTIED_POSITION, as_i64(end));
    }

    /// These files of consume queues are there, on the disk; from here on the checkpoint keeps step with them.
    pub(crate) fn set_queue_files(&self, found: Inventory) {
        self.change(|values| values.queue_files = Some(NotedFiles { made: found, safe: found }));
    }

    /// Files of consume queues come or go.
    pub(crate) fn note_queue_files(&self, change: impl FnOnce(&mut NotedFiles)) {
        self.change(|values| {
            if let Some(files) = &mut values.queue_files {
                change(files);
            }
        });
    }

    /// Index files come or go.
    pub(crate) fn note_index(&self, change: impl FnOnce(&mut Inventory)) {
        self.change(|values| change(&mut values.index));
    }

    /// Log, queues and index are on the disk up to `durable`; the last record before it has this store time and begins
    /// at `last_record`.
    pub(crate) fn set_durable(&self, durable: u64, store_timestamp: i64, last_record: Option<u64>) {
        self.change(|values| {
            values.durable = as_i64(durable);
            if store_timestamp > 0 {
                values.java.logics_msg_timestamp = store_timestamp;
            }
            if let Some(last_record) = last_record {
                values.java.logics_physical_offset = as_i64(last_record);
            }
            values.java.confirm_phy_offset = as_i64(last_record.unwrap_or(durable));
        });
        self.set_index_durable(durable);
    }

    /// The store is stopped cleanly, with the log ending at `end`.
    pub(crate) fn set_clean_end(&self, end: u64) {
        self.change(|values| values.clean_end = as_i64(end));
    }

    /// # Errors
    /// What the system said.
    pub(crate) fn flush(&self, fs: &dyn FileSystem) -> io::Result<()> {
        fs.sync_data(&self.file)
    }

    fn change(&self, change: impl FnOnce(&mut Values)) {
        let mut values = self.values.lock();
        change(&mut values);
        let fields = [
            values.java.physic_msg_timestamp,
            values.java.logics_msg_timestamp,
            values.java.index_msg_timestamp,
            values.java.master_flushed_offset,
            values.java.confirm_phy_offset,
            values.java.logics_physical_offset,
        ];
        for (position, field) in (0..).step_by(8).zip(fields) {
            self.cells.store_i64(position, field);
        }
        if values.begun {
            self.store(INDEX_POSITION, values.index);
        }
        if let Some(NotedFiles { made, safe }) = values.queue_files {
            self.store(QUEUE_FILES_POSITION, made);
            self.store(SAFE_QUEUE_FILES_POSITION, safe);
            self.store(RETIRED_POSITION, Inventory::default());
        }
        self.cells.store_i64(DURABLE_POSITION, values.durable);
        self.cells.store_i64(CLEAN_END_POSITION, values.clean_end);
        self.cells.store_u32(CRC_POSITION, crc(&values.java, values.durable, values.clean_end));
    }

    fn store(&self, position: u64, inventory: Inventory) {
        self.cells.store_i64(position, inventory.count);
        self.cells.store_i64(position + 8, inventory.hash);
    }
}

fn own(core: &Core, cells: &MappedCells, java: &Checkpoint) -> Option<Own> {
    let durable = cells.load_i64(DURABLE_POSITION);
    let clean_end = cells.load_i64(CLEAN_END_POSITION);
    if cells.load_i64(MAGIC_POSITION) != MAGIC || cells.load_u32(CRC_POSITION) != crc(java, durable, clean_end) {
        return None;
    }
    Some(Own {
        durable: u64::try_from(durable).ok()?,
        dispatched: u64::try_from(cells.load_i64(DISPATCHED_POSITION)).ok()?,
        same_boot: cells.load_i64(BOOT_POSITION) == boot_hash(core),
        clean_end: u64::try_from(clean_end).ok(),
        queue_files: queue_files(cells),
        index: inventory(cells, INDEX_POSITION),
        emptied: u64::try_from(cells.load_i64(EMPTIED_POSITION)).unwrap_or(0),
    })
}

fn queue_files(cells: &MappedCells) -> NotedFiles {
    if inventory(cells, RETIRED_POSITION) != Inventory::default() {
        return NotedFiles::default();
    }
    NotedFiles { made: inventory(cells, QUEUE_FILES_POSITION), safe: inventory(cells, SAFE_QUEUE_FILES_POSITION) }
}

fn inventory(cells: &MappedCells, position: u64) -> Inventory {
    Inventory { count: cells.load_i64(position), hash: cells.load_i64(position + 8) }
}

/// Our part of a whole file that is not in use.
pub(crate) fn read_own(file: &[u8]) -> Option<OwnCheckpoint> {
    let long = |position: u64| {
        let at = usize::try_from(position).ok()?;
        file.get(at..)?.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes))
    };
    let stored_crc = file.get(usize::try_from(CRC_POSITION).ok()?..)?.first_chunk::<4>()?;
    let java = Checkpoint::parse(file).ok()?;
    let (durable, clean_end) = (long(DURABLE_POSITION)?, long(CLEAN_END_POSITION)?);
    if long(MAGIC_POSITION)? != MAGIC || u32::from_be_bytes(*stored_crc) != crc(&java, durable, clean_end) {
        return None;
    }
    Some(OwnCheckpoint {
        durable: u64::try_from(durable).ok()?,
        dispatched: u64::try_from(long(DISPATCHED_POSITION)?).ok()?,
        clean_end: u64::try_from(clean_end).ok(),
        emptied: u64::try_from(long(EMPTIED_POSITION)?).unwrap_or(0),
    })
}

fn crc(java: &Checkpoint, durable: i64, clean_end: i64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&java.encode());
    hasher.update(&durable.to_be_bytes());
    hasher.update(&clean_end.to_be_bytes());
    hasher.finalize()
}

/// Differs between two starts of the machine; 0, which never compares equal in practice, when the system does not tell.
pub(crate) fn boot_hash(core: &Core) -> i64 {
    let boot_id = core.fs.read_file("/proc/sys/kernel/random/boot_id".as_ref()).ok().flatten();
    boot_id.map_or_else(|| core.clock.now_ms(), |id| i64::from(crc32fast::hash(&id)) + 1)
}

fn path(core: &Core) -> PathBuf {
    core.config.store_path_root_dir.join("checkpoint")
}

fn as_i64(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
