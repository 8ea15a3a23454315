//! From what lies on the disk to a store that can go on.
//!
//! 1. From where: our checkpoint if nobody else has used the store since, else Java's rules (StoreCheckpoint timestamps,
//!    CommitLog.recoverAbnormally).
//! 2. Where the log ends: every record from there on is checked, CRC included. What lies behind the first that is none
//!    is made to read as zeroes, so that it can never come back.
//! 3. Dispatch again what queues or index may lack. Units that are there already are left alone, units that point behind
//!    the end are cut, queues whose units are missing altogether are built again from the start of the log.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use tracing::{info, warn};

use crate::checkpoint::Found;
use crate::core::Core;
use crate::dispatch::Dispatcher;
use crate::error::OpenError;
use crate::index::LastExit;
use crate::log_files::io_error;
use crate::mmap::MappedFile;
use crate::queue_table::QueueTable;
use crate::record::{Step, step};

/// Index entries and progress are brought down after so many records.
const INDEX_BATCH: usize = 1024;
const GIVE_UP_REMEDY: &str = "restore the file from a backup; or, to give up everything from there on, stop all brokers \
                              on this store, remove the file checkpoint and put an empty file named abort in its place";

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
        Some(own) => LastExit::Unknown { flushed_timestamp: own.index_flushed_timestamp },
        None => LastExit::Unknown { flushed_timestamp: found.java.index_msg_timestamp },
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
    let mut index = file_index(files, start);
    let mut stopped = None;
    while let Some(file) = files.get(index) {
        match step(file, log.end - file.first_offset(), core.config.check_on_recover()) {
            Step::Record(record) => {
                log.last_record = Some((log.end, record.store_timestamp));
                log.end += record.total_size as u64;
            }
            Step::Roll => {
                log.end = file.end_offset();
                index += 1;
            }
            Step::End(reason) => {
                stopped = Some(reason);
                break;
            }
        }
    }
    if let (Some(reason), Some(file)) = (stopped, files.get(index)) {
        check_loss(files, file, &log, found, last_exit, reason)?;
        let later = files.split_off(index + 1);
        for file in later {
            core.fs.remove_file(file.path()).map_err(|error| io_error("remove", file.path(), error))?;
        }
        if last_exit != LastExit::Clean {
            zero_behind(core, files, log.end)?;
        }
    }
    if last_exit != LastExit::Clean {
        // What is acknowledged from here on builds on these bytes: they must be as durable as the store says.
        for file in files.iter().filter(|file| file.end_offset() > start) {
            core.fs.sync_data(file.file()).map_err(|error| io_error("flush", file.path(), error))?;
        }
    }
    info!(start, end = log.end, ?last_exit, "commit log recovered");
    Ok(log)
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
        let reason = format!("files are missing behind it: messages up to {start} were stored; {GIVE_UP_REMEDY}");
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
            reason: format!("the checkpoint knows of a message there that is gone or damaged; {GIVE_UP_REMEDY}"),
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
/// reason, and a torn record at the end is one that was never acknowledged.
fn check_loss(
    files: &[MappedFile],
    file: &MappedFile,
    log: &Log,
    found: &Found,
    last_exit: LastExit,
    reason: String,
) -> Result<(), OpenError> {
    let goes_on = files
        .iter()
        .find(|later| later.first_offset() > log.end)
        .is_some_and(|next| matches!(step(next, 0, true), Step::Record(_)));
    let clean_end = found.own.and_then(|own| own.clean_end).filter(|_| last_exit == LastExit::Clean);
    let known_end = clean_end.filter(|end| log.end < *end);
    let certain = !matches!(last_exit, LastExit::Unknown { .. });
    if known_end.is_none() && !(goes_on && certain) {
        if goes_on {
            warn!(offset = log.end, path = %file.path().display(), %reason,
                "commit log is cut here, though later files hold messages");
        }
        return Ok(());
    }
    Err(OpenError::Corrupted {
        path: file.path().to_owned(),
        file_position: log.end - file.first_offset(),
        reason: format!("{reason}, but the log went on behind it; {GIVE_UP_REMEDY}"),
    })
}

/// Makes everything behind `end` in the last file read as zeroes.
fn zero_behind(core: &Core, files: &[MappedFile], end: u64) -> Result<(), OpenError> {
    let Some(file) = files.last().filter(|file| file.end_offset() > end) else { return Ok(()) };
    let position = end - file.first_offset();
    core.fs.zero(file.file(), position, file.len() - position).map_err(|error| io_error("cut", file.path(), error))
}

/// Brings queues and index in step with the log. `index_from`: the index lacks messages from there on; `emptied`: the
/// queues of messages before it were deleted by hand, so having none is no loss. Returns from where the log was read.
/// # Errors
/// See [`OpenError`].
pub(crate) fn dispatch(
    dispatcher: &mut Dispatcher,
    log: &Log,
    last_exit: LastExit,
    index_from: Option<u64>,
    emptied: u64,
) -> Result<u64, OpenError> {
    let queues = std::sync::Arc::clone(&dispatcher.queues);
    let root = queues.files().root().to_owned();
    let failed = |error| io_error("rebuild", &root, error);
    if matches!(last_exit, LastExit::Unknown { .. }) {
        load_all(&queues).map_err(failed)?;
    }
    let queues_from = if queues.len() == 0 { emptied.clamp(log.min, log.start) } else { log.start };
    let from = queues_from.min(index_from.unwrap_or(log.start).max(log.min));
    if from < log.start {
        info!(from, to = log.end, "consume queues or index are built again from the log");
    }
    let indexed = dispatcher.index.as_ref().and_then(|index| index.index().end_phy_offset());
    let indexed = indexed.map_or(0, |offset| u64::try_from(offset).unwrap_or(0) + 1);
    let mut missing = BTreeSet::new();
    let mut pass = Pass { from, to: log.end, verified_from: log.start };
    pass.run(dispatcher, &mut |dispatcher, record, properties| {
        let queue = (record.queue.topic.to_string(), record.queue.queue_id);
        if record.physical_offset >= queues_from
            && !missing.contains(&queue)
            && dispatcher.apply_recovered(record, from == log.min)?
        {
            missing.insert(queue);
        }
        if record.physical_offset >= indexed {
            dispatcher.index_recovered(record, properties)?;
        }
        Ok(())
    })
    .map_err(failed)?;
    if missing.is_empty() {
        return Ok(from);
    }
    warn!(queues = missing.len(), "consume queues lack units and are built again from the log");
    pass.from = log.min;
    pass.run(dispatcher, &mut |dispatcher, record, _| {
        if missing.contains(&(record.queue.topic.to_string(), record.queue.queue_id)) {
            dispatcher.apply_recovered(record, true)?;
        }
        Ok(())
    })
    .map_err(failed)?;
    Ok(log.min)
}

/// One reading of the log.
struct Pass {
    from: u64,
    to: u64,
    /// From here on every record is known to be whole.
    verified_from: u64,
}

type Visit<'a> = dyn FnMut(&mut Dispatcher, &crate::commit_log::DispatchRecord, &[u8]) -> io::Result<()> + 'a;

impl Pass {
    fn run(&mut self, dispatcher: &mut Dispatcher, visit: &mut Visit<'_>) -> io::Result<()> {
        let log = std::sync::Arc::clone(&dispatcher.log);
        let mut offset = self.from;
        let mut count = 0;
        while offset < self.to {
            let Some(file) = log.files().find(offset) else { break };
            match step(&file, offset - file.first_offset(), false) {
                Step::Record(record) => {
                    let dispatch = dispatcher.record_of(&record)?;
                    visit(dispatcher, &dispatch, record.properties)?;
                    offset += record.total_size as u64;
                    count += 1;
                    if count % INDEX_BATCH == 0 {
                        dispatcher.commit_index()?;
                    }
                }
                Step::Roll => offset = file.end_offset(),
                Step::End(reason) if offset < self.verified_from => {
                    warn!(offset, path = %file.path().display(), %reason,
                        "commit log is damaged here; messages up to the next sound part are not in the queues");
                    offset = file.end_offset().min(self.verified_from);
                }
                Step::End(_) => break,
            }
        }
        dispatcher.commit_index()
    }
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
            "the message there is damaged or gone, but queue {} of {} has messages up to {end}; {GIVE_UP_REMEDY}",
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

/// Loads every queue, which cuts units that point behind the end of the log. On a few threads: it is mostly waiting.
fn load_all(queues: &QueueTable) -> io::Result<()> {
    let all = queues.all();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    std::thread::scope(|scope| {
        let workers: Vec<_> = all
            .chunks(all.len().div_ceil(threads).max(1))
            .map(|chunk| scope.spawn(|| chunk.iter().try_for_each(|queue| queue.load(queues.files()))))
            .collect();
        for worker in workers {
            worker
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread panicked while loading consume queues")))?;
        }
        Ok(())
    })
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
