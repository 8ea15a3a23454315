//! From what lies on the disk to a store that can go on.
//!
//! 1. From where: our checkpoint if nobody else has used the store since, else Java's rules (StoreCheckpoint timestamps,
//!    CommitLog.recoverAbnormally).
//! 2. Where the log ends: every record from there on is checked, CRC included. What lies behind the first that is none
//!    is made to read as zeroes, so that it can never come back.
//! 3. Dispatch again what queues or index may lack: [`crate::rebuild`].

use std::io;
use std::path::Path;

use tracing::{info, warn};

use crate::checkpoint::Found;
use crate::core::Core;
use crate::error::OpenError;
use crate::index::{IndexFlushed, LastExit};
use crate::log_files::{io_error, remove_for_good};
use crate::mmap::MappedFile;
use crate::parallel;
use crate::progress::Progress;
use crate::queue_table::QueueTable;
use crate::record::{Step, step};
use crate::scan::{Piece, Scan, end_of};

const REMEDY: &str = "restore the file from a backup; or stop all brokers on this store and see what can be done with \
                      mqstore verify --store (this directory): mqstore bridge goes on without what is damaged, mqstore cut \
                      gives up everything behind it";

/// How the log was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    /// First offset.
    pub(crate) min: u64,
    /// Reading began here; everything before it was known to be whole and dispatched.
    pub(crate) start: u64,
    /// One behind the last record.
    pub(crate) end: u64,
    /// Where the last record that was read begins, and its store time.
    pub(crate) last_record: Option<(u64, i64)>,
}

/// How the store was left, and what that means for its files.
pub(crate) fn last_exit(clean: bool, found: &Found) -> LastExit {
    match found.own {
        _ if clean => LastExit::Clean,
        Some(own) if own.same_boot => LastExit::Killed,
        _ => LastExit::Unknown {
            index: match found.index_durable {
                Some(offset) => IndexFlushed::Before(offset),
                None => IndexFlushed::UpTo(found.java.index_msg_timestamp),
            },
        },
    }
}

/// Finds the end of the log, removes what lies behind it.
/// # Errors
/// [`OpenError::Corrupted`] when going on would lose messages that are known to have been stored.
pub(crate) fn find_end(
    core: &Core,
    files: &mut Vec<MappedFile>,
    found: &Found,
    last_exit: LastExit,
) -> Result<Log, OpenError> {
    let Some(first) = files.first() else { return no_log(core, found) };
    let min = first.first_offset();
    let start = start_offset(core, files, found, last_exit)?;
    let mut log = Log { min, start, end: start, last_record: None };
    let mut broken = None;
    {
        let files: Vec<&MappedFile> = files.iter().collect();
        let to = files.last().map_or(start, |file| file.end_offset());
        let progress = Progress::new("checking the commit log", to.saturating_sub(start));
        let check = core.config.check_on_recover();
        let scan = Scan { files: &files, from: start, to, check, progress: &progress };
        scan.run(|found| {
            match found {
                Piece::Records(records) => {
                    if let Some(last) = records.last() {
                        log.end = end_of(last);
                        log.last_record = Some((log.end - last.total_size as u64, last.store_timestamp));
                    }
                }
                Piece::Roll(next) => log.end = next,
                Piece::Broken { reason, next, .. } => broken = Some((reason, next)),
            }
            Ok::<_, OpenError>(broken.is_none())
        })?;
    }
    if let Some((reason, next)) = broken {
        let index = file_index(files, log.end);
        check_loss(files, &log, found, last_exit, &reason, next)?;
        let later = files.split_off(files.len().min(index + 1));
        // From the last on, each for good before the next: whatever stops this, no gap is left.
        for file in later.iter().rev() {
            remove_for_good(core, file.path()).map_err(|error| io_error("remove", file.path(), error))?;
        }
        if last_exit != LastExit::Clean {
            zero_behind(core, files, log.end)?;
        }
    }
    // What is acknowledged from here on builds on these bytes: they must be as durable as the store says.
    match last_exit {
        LastExit::Clean => {}
        LastExit::Killed => sync_all(core)?,
        LastExit::Unknown { .. } => {
            for file in files.iter().filter(|file| file.end_offset() > start) {
                core.fs.sync_data(file.file()).map_err(|error| io_error("flush", file.path(), error))?;
            }
        }
    }
    info!(start, end = log.end, ?last_exit, "commit log recovered");
    Ok(log)
}

/// Brings to the disk what the killed process had written: log, queues and index are not read again up to where it had come,
/// and nobody knows which of their files had been flushed.
fn sync_all(core: &Core) -> Result<(), OpenError> {
    let root = &core.config.store_path_root_dir;
    for dir in core.config.commit_log_paths().iter().chain([root]) {
        core.fs.sync_all(dir).map_err(|error| io_error("flush", dir, error))?;
    }
    Ok(())
}

fn no_log(core: &Core, found: &Found) -> Result<Log, OpenError> {
    if let Some(own) = found.own.filter(|own| own.durable > 0) {
        let path = core.config.commit_log_paths().into_iter().next().unwrap_or_default();
        let reason = format!(
            "the commit log is gone, though the checkpoint knows of messages up to {}; is its disk mounted? To begin anew, \
             remove the whole store directory",
            own.durable
        );
        return Err(OpenError::Corrupted { path, file_position: 0, reason });
    }
    Ok(Log { min: 0, start: 0, end: 0, last_record: None })
}

/// Where reading has to begin.
fn start_offset(core: &Core, files: &[MappedFile], found: &Found, last_exit: LastExit) -> Result<u64, OpenError> {
    let (Some(first), Some(last)) = (files.first(), files.last()) else { return Ok(0) };
    let Some(own) = found.own else { return Ok(java_start(core, files, found, last_exit)) };
    let start = match last_exit {
        LastExit::Clean | LastExit::Unknown { .. } => own.durable,
        LastExit::Killed => own.durable.max(own.dispatched),
    };
    if start > last.end_offset() {
        let reason = format!("files are missing behind it: messages up to {start} were stored; {REMEDY}");
        return Err(OpenError::Corrupted { path: last.path().to_owned(), file_position: last.len(), reason });
    }
    check_last_record(files, found, own.durable)?;
    Ok(start.max(first.first_offset()))
}

/// The last record that the checkpoint knows to be on the disk must be there: a file may have been replaced or emptied.
fn check_last_record(files: &[MappedFile], found: &Found, durable: u64) -> Result<(), OpenError> {
    let Ok(offset) = u64::try_from(found.java.logics_physical_offset) else { return Ok(()) };
    let file = files.iter().find(|file| (file.first_offset()..file.end_offset()).contains(&offset));
    let Some(file) = file.filter(|_| offset < durable) else { return Ok(()) };
    let file_position = offset - file.first_offset();
    match step(file, file_position, true) {
        Step::Record(_) => Ok(()),
        Step::Roll | Step::End(_) => Err(OpenError::Corrupted {
            path: file.path().to_owned(),
            file_position,
            reason: format!("the checkpoint knows of a message there that is gone or damaged; {REMEDY}"),
        }),
    }
}

/// The newest file all of whose predecessors are certainly flushed and dispatched, by Java's checkpoint.
fn java_start(core: &Core, files: &[MappedFile], found: &Found, last_exit: LastExit) -> u64 {
    let java = &found.java;
    let matches = |file: &MappedFile| match step(file, 0, core.config.check_on_recover()) {
        Step::Record(record) if record.store_timestamp != 0 => {
            last_exit == LastExit::Clean
                || (record.store_timestamp <= java.min_timestamp()
                    && (java.logics_physical_offset <= 0 || record.physical_offset <= java.logics_physical_offset)
                    && (!core.config.message_index_safe || record.store_timestamp <= java.index_msg_timestamp))
        }
        _ => false,
    };
    let file = files.iter().rev().find(|file| matches(file)).or(files.first());
    file.map_or(0, MappedFile::first_offset)
}

fn file_index(files: &[MappedFile], offset: u64) -> usize {
    files.partition_point(|file| file.end_offset() <= offset)
}

/// Refuses to cut off messages that are known to have been stored. After a loss of power the log may end early for good
/// reason, and a torn record at the end is one that was never acknowledged. `next`: a sound record in the same file.
fn check_loss(
    files: &[MappedFile],
    log: &Log,
    found: &Found,
    last_exit: LastExit,
    reason: &str,
    next: Option<u64>,
) -> Result<(), OpenError> {
    let Some(file) = files.get(file_index(files, log.end)) else { return Ok(()) };
    let later = files.iter().map(MappedFile::first_offset).find(|first| *first > log.end);
    let goes_on = next.or(later).and_then(|offset| store_time_at(files, offset).map(|time| (offset, time)));
    let clean_end = found.own.and_then(|own| own.clean_end).filter(|_| last_exit == LastExit::Clean);
    // Java's checkpoint tells up to when it had flushed the log: older messages cannot have got lost with the power. Not so
    // one of ours, if it is torn.
    let flushed = |time: i64| found.index_durable.is_none() && time < found.java.physic_msg_timestamp;
    let certain = |time| !matches!(last_exit, LastExit::Unknown { .. }) || flushed(time);
    let known = clean_end.is_some_and(|end| log.end < end) || goes_on.is_some_and(|(_, time)| certain(time));
    if !known {
        if let Some((next, _)) = goes_on {
            warn!(offset = log.end, path = %file.path().display(), reason, next,
                "commit log is cut here, though there are messages further on: their flush was never confirmed");
        }
        return Ok(());
    }
    let goes_on = goes_on.map_or_else(String::new, |(next, _)| format!(" at {next}"));
    Err(OpenError::Corrupted {
        path: file.path().to_owned(),
        file_position: log.end - file.first_offset(),
        reason: format!("{reason}, but the log went on behind it{goes_on}; {REMEDY}"),
    })
}

/// Store time of the record at `offset`; `None` when there is none.
fn store_time_at(files: &[MappedFile], offset: u64) -> Option<i64> {
    let file = files.get(file_index(files, offset))?;
    match step(file, offset.checked_sub(file.first_offset())?, true) {
        Step::Record(record) => Some(record.store_timestamp),
        _ => None,
    }
}

/// Makes everything behind `end` in the last file read as zeroes.
fn zero_behind(core: &Core, files: &[MappedFile], end: u64) -> Result<(), OpenError> {
    let Some(file) = files.last().filter(|file| file.end_offset() > end) else { return Ok(()) };
    let position = end - file.first_offset();
    core.fs.zero(file.file(), position, file.len() - position).map_err(|error| io_error("cut", file.path(), error))
}

/// After a clean stop of a Java broker, whose checkpoint does not say where the log ends: no queue may know of a message
/// behind it.
/// # Errors
/// [`OpenError::Corrupted`] when one does.
pub(crate) fn check_queues(files: &[MappedFile], queues: &QueueTable, log: &Log) -> Result<(), OpenError> {
    let root = queues.files().root();
    load_all(queues).map_err(|error| io_error("read", root, error))?;
    for queue in queues.all() {
        let end = queue.last_physical_end(queues.files()).map_err(|error| io_error("read", root, error))?;
        let Some(end) = end.filter(|end| *end > log.end) else { continue };
        let file = files.iter().rev().find(|file| file.first_offset() <= log.end);
        let path = file.map_or_else(|| root.to_owned(), |file| file.path().to_owned());
        let reason = format!(
            "the message there is damaged or gone, but queue {} of {} has messages up to {end}; {REMEDY}",
            queue.queue_id, queue.topic
        );
        return Err(OpenError::Corrupted {
            path,
            file_position: log.end - file.map_or(log.end, MappedFile::first_offset),
            reason,
        });
    }
    Ok(())
}

/// Loads every queue, which cuts units that point behind the end of the log.
pub(crate) fn load_all(queues: &QueueTable) -> io::Result<()> {
    parallel::try_for_each(&queues.all(), |queue| queue.load(queues.files()))
}

/// The log is gone: queues and index speak of nothing. Java does the same.
/// # Errors
/// See [`OpenError`].
pub(crate) fn forget_queues(core: &Core, root: &Path) -> Result<(), OpenError> {
    for item in core.fs.list(root).map_err(|error| io_error("list", root, error))? {
        let path = root.join(&item.name);
        if item.is_dir {
            warn!(path = %path.display(), "consume queues without a commit log, removed");
            core.fs.remove_dir_all(&path).map_err(|error| io_error("remove", &path, error))?;
        }
    }
    Ok(())
}
