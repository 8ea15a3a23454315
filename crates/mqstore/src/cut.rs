//! `mqstore cut`: gives up everything from one offset on, in log, queues, index and checkpoint.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use codec::checkpoint::{Checkpoint, JAVA_LEN};
use codec::index::{ENTRY_LEN, Entry, HASH_SLOT_COUNT_POSITION, INDEX_COUNT_POSITION};
use store::offline::{OwnCheckpoint, next_data};

use crate::backup::{Backup, NOTHING_CHANGED, begin_change, make_parent, refuse_when_in_use};
use crate::error::{IoContext as _, ToolError};
use crate::files::{DataFile, LogFiles, QueueDir, QueueFiles, StoreDir, read_at};
use crate::index::{self, IndexFile};
use crate::log::{Event, LogReader, Look, int};
use crate::queue_units::for_each_written;
use crate::remedy::Remedies;

const CHUNK: usize = 1 << 20;
/// Positions in the header of an index file.
const END_TIMESTAMP_POSITION: u64 = 8;
const END_OFFSET_POSITION: u64 = 24;

/// What lies before and behind the cut.
#[derive(Debug, Default)]
struct Found {
    /// The last record that stays, and its store time.
    last: Option<(u64, i64)>,
    records: u64,
    end: u64,
}

/// Cuts the store at an offset of its log, or says what that would do. Returns lines for people.
///
/// # Errors
/// When the store is in use, or no record begins at the offset; then nothing was changed.
pub fn cut(store: &StoreDir, at: u64, apply: bool) -> Result<Vec<String>, ToolError> {
    refuse_when_in_use(store)?;
    let log = LogFiles::list(store)?;
    let found = look(&log, at)?;
    let queues = QueueFiles::list(store)?;
    let batches = QueueFiles::list_batches(store)?;
    if queues.is_rocksdb {
        return Err(ToolError::Refused("the consume queues lie in RocksDB, which this tool cannot cut".to_owned()));
    }
    let index = index::list(&store.index())?;
    let mut lines = vec![format!(
        "{} records from {at} to the end of the log at {} go; the last one that stays begins at {}",
        found.records,
        found.end,
        found.last.map_or_else(|| "-".to_owned(), |(offset, _)| offset.to_string())
    )];
    if !apply {
        lines.push("consume queues, index and checkpoint are cut to fit; all of it is kept in a directory mqstore-backup-<time>".to_owned());
        lines.push(NOTHING_CHANGED.to_owned());
        return Ok(lines);
    }
    let (_lock, backup) = begin_change(store)?;
    // The log last: until then, a run that was interrupted can be done again.
    cut_checkpoint(store, &backup, at, found.last)?;
    let mut entries = 0;
    for file in &index {
        entries += cut_index(file, &backup, &log, at)?;
    }
    let mut units = 0;
    // Extensions of what is cut stay: nothing leads to them, and the next ones are written over them.
    for files in [&queues, &batches] {
        for queue in &files.queues {
            units += cut_queue(files, queue, &backup, at)?;
        }
    }
    for file in log.files.iter().rev().filter(|file| file.first + log.file_bytes > at) {
        cut_log_file(file, &log, &backup, at)?;
    }
    lines.push(format!("cut: {units} units of queues and {entries} entries of the index went with them"));
    lines.push(backup.kept());
    lines.push(format!(
        "offsets of groups may lie beyond their queues now: {}",
        Remedies::new(store).rebuild("metadata")
    ));
    Ok(lines)
}

/// Finds out whether a record, or damage, begins at `at`.
fn look(log: &LogFiles, at: u64) -> Result<Found, ToolError> {
    if at <= log.min() || at > log.max() {
        return Err(ToolError::Refused(format!(
            "--at {at}: the log begins at {} and its files end at {}; nothing would be left, or nothing goes. To begin anew, \
             remove the whole store directory",
            log.min(),
            log.max()
        )));
    }
    // Files begin with a record; the one before holds the last record that stays if the cut lies at a beginning.
    let first = log.files.iter().rev().map(|file| file.first).find(|first| *first < at).unwrap_or(log.min());
    let mut found = Found::default();
    let mut fits = false;
    let mut nearest = first;
    let mut place = |offset: u64| {
        fits |= offset == at;
        if offset < at {
            nearest = offset;
        }
    };
    found.end = LogReader::new(log).walk(first, &mut |event| {
        match event {
            Event::Record(located) => {
                place(located.offset);
                place(located.end());
                if located.offset < at {
                    found.last = Some((located.offset, located.record.store_timestamp));
                } else {
                    found.records += 1;
                }
            }
            Event::Filler { offset, .. } => place(offset),
            Event::Lost { from, to, .. } => {
                place(from);
                place(to);
            }
            Event::Tail { end, .. } => place(end),
        }
        Ok(())
    })?;
    let begins_file = log.find(at).is_some_and(|(_, file)| file.first == at);
    if fits || begins_file {
        return Ok(found);
    }
    Err(ToolError::Refused(format!("--at {at}: no record begins there; the nearest before it begins at {nearest}")))
}

fn cut_log_file(file: &DataFile, log: &LogFiles, backup: &Backup, at: u64) -> Result<(), ToolError> {
    if file.first >= at {
        return backup.take(&file.path);
    }
    keep_range(&file.path, backup, at - file.first, file.len)?;
    resize(&file.path, at - file.first, log.file_bytes)
}

/// Copies a range of a file into the backup, as `<name>-from-<position>`.
pub(crate) fn keep_range(path: &std::path::Path, backup: &Backup, from: u64, to: u64) -> Result<(), ToolError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!("-from-{from}"));
    let target = backup.place(&path.with_file_name(name));
    make_parent(&target)?;
    let source = File::open(path).on("open", path)?;
    let kept = File::create(&target).on("make", &target)?;
    let mut position = from;
    while position < to {
        let Some(data) = next_data(&source, position).filter(|data| *data < to) else { break };
        let len = usize::try_from(to - data).unwrap_or(CHUNK).min(CHUNK);
        let bytes = read_at(&source, data, len).on("read", path)?;
        if bytes.is_empty() {
            break;
        }
        if bytes.iter().any(|byte| *byte != 0) {
            kept.write_all_at(&bytes, data - from).on("write", &target)?;
        }
        position = data + bytes.len() as u64;
    }
    kept.sync_all().on("flush", &target)
}

/// Makes everything from `keep` on read as zeroes, in a file of `len` bytes.
fn resize(path: &std::path::Path, keep: u64, len: u64) -> Result<(), ToolError> {
    let file = File::options().write(true).open(path).on("open", path)?;
    file.set_len(keep).and_then(|()| file.set_len(len)).and_then(|()| file.sync_all()).on("cut", path)
}

/// Takes the units of records at or behind `at` away. Returns how many went.
fn cut_queue(files: &QueueFiles, queue: &QueueDir, backup: &Backup, at: u64) -> Result<u64, ToolError> {
    let mut cut = 0;
    for (number, file) in queue.files.iter().enumerate().rev() {
        let base = files.unit_at(file.first);
        let (mut keep, mut behind) = (0, 0);
        let one = QueueDir { files: vec![file.clone()], ..queue.clone() };
        for_each_written(files, &one, base, &mut |place, unit| {
            let stays = unit.is_written() && u64::try_from(unit.physical_offset).is_ok_and(|offset| offset < at);
            if stays {
                keep = u64::try_from(place - base).unwrap_or(0) + 1;
                behind = 0;
            } else {
                behind += 1;
            }
        })?;
        cut += behind;
        if keep == 0 && number > 0 {
            backup.take(&file.path)?;
            continue;
        }
        if behind > 0 || file.len != files.file_bytes {
            backup.copy(&file.path)?;
            resize(&file.path, keep * files.unit_len as u64, files.file_bytes)?;
        }
        if keep > 0 {
            break;
        }
    }
    Ok(cut)
}

/// Takes the entries of records at or behind `at` away. Returns how many went.
fn cut_index(index: &IndexFile, backup: &Backup, log: &LogFiles, at: u64) -> Result<u64, ToolError> {
    let path = &index.path;
    let (Some(header), Some(layout)) = (&index.header, index.layout) else {
        backup.take(path)?;
        return Ok(0);
    };
    let before = |offset: i64| u64::try_from(offset).is_ok_and(|offset| offset < at);
    let count = header.index_count.min(layout.entries);
    if count > 1 && before(header.end_phy_offset) {
        return Ok(0);
    }
    let file = File::options().read(true).write(true).open(path).on("open", path)?;
    let entry = |number: u32| -> Result<Entry, ToolError> {
        Ok(Entry::parse(&read_at(&file, layout.entry_position(number), 20).on("read", path)?).unwrap_or_default())
    };
    let mut keep = 1;
    while keep < count && before(entry(keep)?.phy_offset) {
        keep += 1;
    }
    if keep == 1 {
        drop(file);
        backup.take(path)?;
        return Ok(u64::from(count.saturating_sub(1)));
    }
    backup.copy(path)?;
    let mut slots_in_use = header.hash_slot_count;
    for number in (keep..count).rev() {
        let gone = entry(number)?;
        let slot = layout.slot_position(gone.key_hash);
        let newest = read_at(&file, slot, 4).on("read", path)?;
        if int(&newest, 0).and_then(|newest| u32::try_from(newest).ok()) == Some(number) {
            file.write_all_at(&gone.previous.to_be_bytes(), slot).on("write", path)?;
        }
        slots_in_use -= u32::from(gone.previous == 0 && slots_in_use > 0);
        file.write_all_at(&[0; ENTRY_LEN as usize], layout.entry_position(number)).on("write", path)?;
    }
    let last = entry(keep - 1)?;
    let mut reader = LogReader::for_single_records(log);
    let end_timestamp = match reader.look(u64::try_from(last.phy_offset).unwrap_or(0))? {
        Look::Record(located) => located.record.store_timestamp,
        _ => header.begin_timestamp.saturating_add(i64::from(last.time_diff_s) * 1000),
    };
    for (position, bytes) in [
        (END_TIMESTAMP_POSITION, end_timestamp.to_be_bytes().as_slice()),
        (END_OFFSET_POSITION, last.phy_offset.to_be_bytes().as_slice()),
        (HASH_SLOT_COUNT_POSITION, slots_in_use.to_be_bytes().as_slice()),
        (INDEX_COUNT_POSITION, keep.to_be_bytes().as_slice()),
    ] {
        file.write_all_at(bytes, position).on("write", path)?;
    }
    file.sync_all().on("flush", path)?;
    Ok(u64::from(count - keep))
}

/// The checkpoint knows of nothing behind the cut; our part of it counts no more.
fn cut_checkpoint(store: &StoreDir, backup: &Backup, at: u64, last: Option<(u64, i64)>) -> Result<(), ToolError> {
    let path = store.root.join("checkpoint");
    let Some(bytes) = crate::metadata::bytes(&path)? else { return Ok(()) };
    let Ok(java) = Checkpoint::parse(&bytes) else { return backup.take(&path) };
    backup.copy(&path)?;
    let (offset, time) = last.unwrap_or((0, 0));
    let long = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
    let java = Checkpoint {
        physic_msg_timestamp: java.physic_msg_timestamp.min(time),
        logics_msg_timestamp: java.logics_msg_timestamp.min(time),
        index_msg_timestamp: java.index_msg_timestamp.min(time),
        master_flushed_offset: java.master_flushed_offset.min(long(at)),
        confirm_phy_offset: java.confirm_phy_offset.min(long(at)),
        logics_physical_offset: java.logics_physical_offset.min(long(offset)),
    };
    let file = File::options().write(true).open(&path).on("open", &path)?;
    const { assert!(JAVA_LEN as u64 <= OwnCheckpoint::MARK_POSITION) };
    file.write_all_at(&java.encode(), 0).on("write", &path)?;
    if fs::metadata(&path).on("look at", &path)?.len() > OwnCheckpoint::MARK_POSITION {
        file.write_all_at(&[0; 8], OwnCheckpoint::MARK_POSITION).on("write", &path)?;
    }
    file.sync_all().on("flush", &path)
}
