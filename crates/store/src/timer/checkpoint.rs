//! `config/timercheck`: Java's seven longs, and behind them, where Java does not look, how far work has come since they were
//! brought to the disk. That part is good for as long as the machine runs, or when everything was stopped cleanly.
//!
//! | position | field |
//! |---|---|
//! | 2048 | "FERROTIM" |
//! | 2056 | hash of the boot id of the machine; 0: stopped cleanly |
//! | 2064 | slots before this time are delivered, ms |
//! | 2072 | messages of the timer topic before this queue offset are in the log and the wheel, or delivered |
//! | 2080 | the log before this position is in the wheel |
//! | 2088 | of the slot of this time, ms, … |
//! | 2096 | … so many units are delivered, in the order of the log |
//! | 2104 | precision that the wheel is made with, ms |
//! | 2112 | how many slots of the wheel wait |
//! | 2120 | CRC-32 of Java's 56 bytes and of everything above: when Java has run meanwhile, it does not fit |

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use codec::timer::{CHECKPOINT_LEN, TimerCheckpoint};

use crate::checkpoint::boot_hash;
use crate::core::Core;
use crate::error::OpenError;
use crate::log_files::io_error;

const FILE_LEN: usize = 4096;
const OWN_AT: usize = 2048;
const OWN_FIELDS: usize = 9;
const OWN_LEN: usize = OWN_FIELDS * 8 + 4;
const MAGIC: i64 = i64::from_be_bytes(*b"FERROTIM");

/// How far work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// Slots before it are delivered, ms.
    pub(super) read_ms: i64,
    /// Messages of the timer topic before it are in log and wheel, or delivered.
    pub(super) queue_offset: i64,
    /// The log before it is in the wheel.
    pub(super) log_end: u64,
    /// The slot of this time, ms …
    pub(super) slot_ms: i64,
    /// … has so many units delivered.
    pub(super) slot_done: i64,
    /// How many slots of the wheel wait.
    pub(super) slots: i64,
}

/// What was found at the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    /// Java's part; all zeroes when there is no file.
    pub(super) java: TimerCheckpoint,
    /// Ours, when nobody else has used the files since and what it says is there.
    pub(super) own: Option<Progress>,
}

/// The open file.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    file: Arc<File>,
    java: TimerCheckpoint,
    boot: i64,
    precision_ms: i64,
    live: Progress,
}

impl CheckpointFile {
    /// Opens or makes the file.
    /// # Errors
    /// What the system said.
    pub(super) fn open(core: &Core, path: &Path, precision_ms: i64) -> Result<(CheckpointFile, Found), OpenError> {
        let failed = |error| io_error("open", path, error);
        if let Some(dir) = path.parent() {
            core.fs.create_dir_all(dir).map_err(failed)?;
        }
        let old = core.fs.read_file(path).map_err(failed)?.unwrap_or_default();
        let file = core.fs.create(path, FILE_LEN as u64).map_err(failed)?;
        let java = TimerCheckpoint::parse(&old).unwrap_or_default();
        let boot = boot_hash(core);
        let own = own(&old, &java, boot, precision_ms);
        Ok((
            CheckpointFile { file: Arc::new(file), java, boot, precision_ms, live: Progress::default() },
            Found { java, own },
        ))
    }

    /// Java's part as it was written last.
    pub(super) fn java(&self) -> TimerCheckpoint {
        self.java
    }

    /// Notes how far work has come; not for a loss of power.
    /// # Errors
    /// What the system said.
    pub(super) fn note(&mut self, core: &Core, progress: &Progress) -> io::Result<()> {
        self.live = *progress;
        core.fs.write_all_at(&self.file, &self.own_part(progress, self.boot), OWN_AT as u64)
    }

    /// Writes both parts; everything that Java's says must be on the disk already. `clean`: our part holds from now on whatever
    /// happens to the machine. Returns the file, which is to be brought to the disk.
    /// # Errors
    /// What the system said.
    pub(super) fn write(&mut self, core: &Core, java: TimerCheckpoint, clean: bool) -> io::Result<Arc<File>> {
        self.java = java;
        let mut bytes = [0; OWN_AT + OWN_LEN];
        let own = self.own_part(&self.live, if clean { 0 } else { self.boot });
        // One write, so that a kill leaves both parts or none.
        for (to, from) in bytes.iter_mut().zip(java.encode()) {
            *to = from;
        }
        for (to, from) in bytes.iter_mut().skip(OWN_AT).zip(own) {
            *to = from;
        }
        core.fs.write_all_at(&self.file, &bytes, 0)?;
        Ok(Arc::clone(&self.file))
    }

    fn own_part(&self, progress: &Progress, boot: i64) -> [u8; OWN_LEN] {
        let log_end = i64::try_from(progress.log_end).unwrap_or(i64::MAX);
        let fields: [i64; OWN_FIELDS] = [
            MAGIC,
            boot,
            progress.read_ms,
            progress.queue_offset,
            log_end,
            progress.slot_ms,
            progress.slot_done,
            self.precision_ms,
            progress.slots,
        ];
        let mut bytes = [0; OWN_LEN];
        for (to, from) in bytes.iter_mut().zip(fields.iter().flat_map(|field| field.to_be_bytes())) {
            *to = from;
        }
        let crc = crc(&self.java, &fields);
        for (to, from) in bytes.iter_mut().skip(fields.len() * 8).zip(crc.to_be_bytes()) {
            *to = from;
        }
        bytes
    }
}

fn own(file: &[u8], java: &TimerCheckpoint, boot: i64, precision_ms: i64) -> Option<Progress> {
    let part = file.get(OWN_AT..OWN_AT + OWN_LEN)?;
    let mut fields = [0; OWN_FIELDS];
    let (longs, stored_crc) = part.split_at_checked(fields.len() * 8)?;
    for (field, bytes) in fields.iter_mut().zip(longs.chunks_exact(8)) {
        *field = i64::from_be_bytes(bytes.try_into().ok()?);
    }
    let [magic, stored_boot, read_ms, queue_offset, log_end, slot_ms, slot_done, stored_precision, slots] = fields;
    let is_there = magic == MAGIC && (stored_boot == boot || stored_boot == 0) && stored_precision == precision_ms;
    if !is_there || stored_crc != crc(java, &fields).to_be_bytes() {
        return None;
    }
    Some(Progress { read_ms, queue_offset, log_end: u64::try_from(log_end).ok()?, slot_ms, slot_done, slots })
}

fn crc(java: &TimerCheckpoint, fields: &[i64]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let java: [u8; CHECKPOINT_LEN] = java.encode();
    hasher.update(&java);
    for field in fields {
        hasher.update(&field.to_be_bytes());
    }
    hasher.finalize()
}
