//! Everything against everything, without changing anything.
//!
//! The log is read once, from its first file to its end. Each record looks up its unit in its queue and its entries in
//! the index; then what is left over in queues and index is looked at.

mod batches;
mod catch_up;
mod compaction;
mod extensions;
mod index;
mod lost;
mod metadata;
mod queue_files;
mod queues;
mod report;
mod runs;
mod timer;

pub use report::{Finding, Kind, MAX_FINDINGS, Report};

use std::time::Duration;

use store::offline::{LockHolder, OwnCheckpoint, TagsCodes, holder};

use crate::clock;
use crate::error::{IoContext as _, ToolError};
use crate::files::{LogFiles, QueueFiles, StoreDir};
use crate::log::{Event, LogReader};
use crate::metadata::Metadata;
use crate::progress::Progress;
use crate::remedy::Remedies;
use batches::BatchCheck;
use extensions::ExtensionCheck;
use lost::LostRanges;
use queues::{Context, QueueCheck};

/// Java's messageDelayLevel.
pub(crate) const DELAY_LEVELS: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";

/// What is made from the log by a broker that runs, and cannot be compared with it meanwhile.
const MOVING: [&str; 3] = ["timerwheel", "timerlog", "compaction"];
/// How long a broker that runs may take to bring into its queues what it had in its log.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(10);

/// Verifies a store. When a broker has it open, waits up to ten seconds for queues that are behind the log.
///
/// # Errors
/// When it cannot be looked at.
pub fn verify(store: &StoreDir) -> Result<Report, ToolError> {
    let mut deadline = None;
    verify_while(store, &mut || {
        let in_time = clock::now() < *deadline.get_or_insert_with(|| clock::now() + PATIENCE);
        if in_time {
            std::thread::sleep(PAUSE);
        }
        in_time
    })
}

/// [`verify`] that asks `again`, where a queue of a store in use is behind the log, whether to look once more.
///
/// # Errors
/// When it cannot be looked at.
pub fn verify_while(store: &StoreDir, again: &mut dyn FnMut() -> bool) -> Result<Report, ToolError> {
    let live = holder(&store.root).on("look at the lock of", &store.root)? != LockHolder::Free;
    let mut report = Report { live, ..Report::default() };
    let unclean = store.root.join("abort").exists();
    if report.live {
        report.note("a broker has this store open: figures move, and what is not dispatched yet is no finding");
    } else if unclean {
        report.note("the broker was not stopped cleanly (file abort): the next start recovers what was not dispatched");
    }
    let checkpoint = std::fs::read(store.root.join("checkpoint")).unwrap_or_default();
    let own = OwnCheckpoint::parse(&checkpoint);
    let metadata = Metadata::read(&store.config())?;
    // Before the log: a queue that is written meanwhile is never behind it.
    let index = crate::index::list(&store.index())?;
    let log = LogFiles::list(store)?;
    let queues = QueueFiles::list(store)?;
    let batches = QueueFiles::list_batches(store)?;
    let extensions = QueueFiles::list_extensions(store)?;
    let remedies = Remedies::new(store);

    check_log_files(&log, &remedies, &mut report);
    let there: Vec<&str> = MOVING.into_iter().filter(|name| store.root.join(name).exists()).collect();
    if live && !there.is_empty() {
        report.note(format!("not looked at while a broker has them open: {}", there.join(", ")));
    }
    if queues.is_rocksdb {
        report.note("the consume queues lie in RocksDB, which this tool does not read: they were not checked");
    }
    if index.is_empty() {
        report.note(
            "there is no index: queries by key find nothing. To make one: ".to_owned() + &remedies.rebuild("index"),
        );
    }
    let tags = TagsCodes::new(DELAY_LEVELS).map_err(ToolError::Refused)?;
    for files in [&queues, &batches, &extensions] {
        queue_files::check(files, live, &remedies, &mut report);
    }
    let mut batch_check = BatchCheck::new(&batches, &log, tags.clone(), remedies.clone(), live)?;
    let extension_check = ExtensionCheck::new(&extensions, remedies.clone(), live);
    let mut queue_check = QueueCheck::new(&queues, extension_check, &log, tags, remedies.clone(), live);
    let mut index_check = index::IndexCheck::new(&index, &log, remedies.clone(), report.live || unclean);
    index_check.check_files(&mut report);

    let mut lost = LostRanges::default();
    let mut progress = Progress::new(log.max() - log.min());
    let min = log.min();
    let end = LogReader::new(&log).walk(min, &mut |event| match event {
        Event::Record(located) => {
            progress.at(located.offset - min);
            if let Some(problem) = &located.problem {
                report.bad_records += 1;
                let (file, position) = log.place(located.offset);
                let record = &located.record;
                let what = format!(
                    "record at {} ({} queue {} offset {}): {problem}",
                    located.offset,
                    record.topic_str(),
                    record.queue_id,
                    record.queue_offset
                );
                report.find(Kind::LogRecord, (file, Some(position)), what, remedies.damaged_record(located.offset));
            } else {
                report.records += 1;
            }
            let is_batch = batch_check.takes(&located.record);
            if is_batch {
                batch_check.record(&located.record, located.offset, &mut report, &lost)?;
            }
            queue_check.record(&located.record, located.offset, is_batch, &mut report, &lost)?;
            index_check.record(&located.record, located.offset, located.problem.is_none(), &mut report, &lost)
        }
        Event::Filler { offset, problem } => {
            let (file, position) = log.place(offset);
            report.find(Kind::LogFiller, (file, Some(position)), problem, remedies.damaged_log(offset));
            Ok(())
        }
        Event::Lost { from, to, reason } => {
            lost.add(from, to);
            report.lost_bytes += to - from;
            let (file, position) = log.place(from);
            let what = format!("{reason}; nothing can be read from {from} to {to} ({} bytes)", to - from);
            report.find(Kind::LogLost, (file, Some(position)), what, remedies.damaged_log(from));
            Ok(())
        }
        Event::Tail { end, torn } => {
            if let Some(reason) = torn.filter(|_| !live) {
                let (file, position) = log.place(end);
                let what = format!("{reason}; the log ends at {end}, and no record comes behind");
                report.find(Kind::LogTail, (file, Some(position)), what, remedies.cut(end));
            }
            Ok(())
        }
    })?;
    drop(progress);
    (report.log_min, report.log_end) = (min, end);
    check_checkpoint(store, own.as_ref(), end, &remedies, &mut report);

    let topics = metadata::topic_queues(&metadata);
    let context = Context {
        lost: &lost,
        log_end: end,
        live,
        no_queues: queues.queues.is_empty() && batches.queues.is_empty(),
        unclean,
        topics: topics.as_ref(),
        dispatched: own.map(|own| own.dispatched.max(own.durable)),
        emptied: own.map_or(0, |own| own.emptied),
    };
    let is_rocksdb = queues.is_rocksdb;
    let mut ends = if is_rocksdb { Default::default() } else { queue_check.finish(&mut report, &context, again)? };
    batch_check.finish(&mut report, &context, &mut ends, again)?;
    index_check.finish(&mut report, &lost)?;
    metadata::check_files(store, &metadata, &queues, &mut report)?;
    if !is_rocksdb {
        metadata::check_agreement(store, &metadata, &ends, &mut report);
    }
    if !live {
        compaction::check(store, &mut report)?;
        if unclean && store.root.join("timerlog").exists() {
            report.note("not looked at: the timer's files, which the next start brings in step with the log");
        } else {
            timer::check(store, &log, end, &mut report)?;
        }
    }
    report.sound = report.found() == 0;
    Ok(report)
}

/// Lengths of the log's files, and none twice.
fn check_log_files(log: &LogFiles, remedies: &Remedies, report: &mut Report) {
    for stranger in &log.strangers {
        report.note(format!("{} is no commit-log file; nobody reads it", stranger.display()));
    }
    let mut before = None;
    for file in &log.files {
        if before == Some(file.first) {
            let what = "another directory of the log has a file for the same place";
            report.find(Kind::LogFile, (file.path.clone(), Some(0)), what, "move away the one that is not needed");
        }
        before = Some(file.first);
        if file.len != log.file_bytes && !(report.live && file.len < log.file_bytes) {
            let what = format!("the file has {} bytes, {} are right", file.len, log.file_bytes);
            let end = file.first + file.len.min(log.file_bytes);
            report.find(Kind::LogFile, (file.path.clone(), Some(file.len)), what, remedies.damaged_log(end));
        }
    }
}

/// The checkpoint speaks of nothing that the log does not have.
fn check_checkpoint(store: &StoreDir, own: Option<&OwnCheckpoint>, end: u64, remedies: &Remedies, report: &mut Report) {
    let Some(own) = own.filter(|_| !report.live) else { return };
    let known = own.clean_end.unwrap_or(own.durable).max(own.durable);
    if known > end {
        let what = format!("messages up to {known} are on the disk, it says, but the log ends at {end}");
        let place = (store.root.join("checkpoint"), Some(OwnCheckpoint::MARK_POSITION));
        let remedy = format!("restore the end of the log from a backup, or give it up: {}", remedies.cut(end));
        report.find(Kind::Checkpoint, place, what, remedy);
    }
}
