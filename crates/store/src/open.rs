//! Opening a store: lock, load, recover, start the threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use parking_lot::Mutex;
use tracing::info;

use crate::allocate::Allocator;
use crate::checkpoint::{Found, StoreCheckpoint};
use crate::clean::Cleaner;
use crate::commit_log::CommitLog;
use crate::compaction::{Compaction, CompactionConfig};
use crate::consume_queue_ext::ConsumeQueueExt;
use crate::core::Core;
use crate::dispatch::{Dispatched, Dispatcher};
use crate::error::OpenError;
use crate::flush::{Checkpointer, Flusher};
use crate::index::{Index, IndexWriter, LastExit, index_dir};
use crate::inventory::Inventory;
use crate::lmq::Lmqs;
use crate::log_files::{self, io_error, open_or_create};
use crate::lookup::DamagedRecords;
use crate::mapped_file_queue::MappedFileQueue;
use crate::message::MessageArrivingListener;
use crate::mmap::{MappedFile, MappedFileWriter};
use crate::queue_files::QueueFiles;
use crate::queue_table::QueueTable;
use crate::rebuild;
use crate::record::DelayLevels;
use crate::recovery;
use crate::release::Deleted;
use crate::retention::RetentionClock;
use crate::store::MessageStore;
use crate::sys::{LockError, RangeLock};

/// Smallest commit-log file: a record of the smallest kind and the filler behind it, with room to spare.
const MIN_COMMIT_LOG_FILE: u64 = 1024;
/// Smallest file of a consume-queue extension: some units of the smallest kind.
const MIN_EXT_FILE: u64 = 1024;
/// Largest: positions in a file are Java ints.
const MAX_COMMIT_LOG_FILE: u64 = i32::MAX as u64;

pub(crate) fn open(core: Core, listener: Arc<dyn MessageArrivingListener>) -> Result<MessageStore, OpenError> {
    let delays = Arc::new(check_config(&core)?);
    let core = Arc::new(core);
    let root = core.config.store_path_root_dir.clone();
    let queue_root = root.join("consumequeue");
    for dir in core.config.commit_log_paths().iter().chain([&root, &queue_root]) {
        core.fs.create_dir_all(dir).map_err(|error| io_error("create", dir, error))?;
    }
    let lock = lock(&core, &root.join("lock"))?;
    let abort = root.join("abort");
    let clean = core.fs.read_file(&abort).map_err(|error| io_error("read", &abort, error))?.is_none();
    let checkpoint_path = root.join("checkpoint");
    // Before anything changes the file.
    let last_use = match core.fs.open(&checkpoint_path) {
        Ok(file) => core.fs.modified_ms(&file).ok(),
        Err(_) => None,
    };
    let clock = RetentionClock::start(&*core.clock, last_use);
    let (checkpoint, found) =
        StoreCheckpoint::open(&core).map_err(|error| io_error("open", &checkpoint_path, error))?;
    let checkpoint = Arc::new(checkpoint);
    let last_exit = recovery::last_exit(clean, &found);
    let parts = recover(&core, queue_root, last_exit, &found, &checkpoint, delays, listener)?;
    let Parts { dispatcher, checkpointer, recovered_from } = parts;
    let log = Arc::clone(&dispatcher.log);
    checkpoint.begin(&core, recovered_from, log.wrote());
    let checkpointed = checkpointer.checkpoint();
    checkpointed.map_err(|error| io_error("flush", &checkpoint_path, error))?;

    let cleaner = Arc::new(Cleaner {
        core: Arc::clone(&core),
        log: Arc::clone(&log),
        queues: Arc::clone(&dispatcher.queues),
        index: checkpointer.index.clone(),
        gate: Arc::clone(&dispatcher.gate),
        checkpoint: Arc::clone(&checkpoint),
        manual_rounds: AtomicU32::new(0),
        round: Mutex::default(),
        clock,
        deleted: Deleted::default(),
        level: Mutex::default(),
        stuck: AtomicBool::new(false),
        cleaned_to: AtomicU64::new(0),
    });
    let mut store = MessageStore {
        damaged: DamagedRecords::default(),
        lmqs: Lmqs::new(&core.config),
        total_memory: core.config.total_memory_bytes.unwrap_or_else(machine_memory),
        delays: Arc::clone(&dispatcher.delays),
        dispatched: Arc::clone(&dispatcher.dispatched),
        queues: Arc::clone(&dispatcher.queues),
        compaction: dispatcher.compaction.clone(),
        checkpointer: Arc::new(checkpointer),
        checkpoint,
        cleaner,
        log,
        threads: Mutex::new(Vec::new()),
        lock: Mutex::new(Some(lock)),
        core,
    };
    store.start(dispatcher).map_err(|error| io_error("start threads for", &root, error))?;
    info!(root = %root.display(), min = store.log.min_offset(), max = store.log.wrote(), "store opened");
    Ok(store)
}

struct Parts {
    dispatcher: Dispatcher,
    checkpointer: Checkpointer,
    recovered_from: u64,
}

fn recover(
    core: &Arc<Core>,
    queue_root: PathBuf,
    last_exit: LastExit,
    found: &Found,
    checkpoint: &Arc<StoreCheckpoint>,
    delays: Arc<DelayLevels>,
    listener: Arc<dyn MessageArrivingListener>,
) -> Result<Parts, OpenError> {
    let mut files = log_files::load(core)?;
    let log = recovery::find_end(core, &mut files, found, last_exit)?;
    if matches!(last_exit, LastExit::Unknown { .. }) {
        let path = core.config.store_path_root_dir.join("checkpoint");
        checkpoint.begin_recovery(core, log.start).map_err(|error| io_error("flush", &path, error))?;
    }
    let ext_root = core.config.store_path_root_dir.join("consumequeue_ext");
    let batch_root = core.config.store_path_root_dir.join("batchconsumequeue");
    if files.is_empty() {
        recovery::forget_queues(core, &queue_root)?;
        recovery::forget_queues(core, &ext_root)?;
        recovery::forget_queues(core, &batch_root)?;
    }
    let config = &core.config;
    let ext = ConsumeQueueExt::new(
        Arc::clone(&core.fs),
        ext_root,
        config.mapped_file_size_consume_queue_ext,
        config.enable_consume_queue_ext,
    );
    let size = config.mapped_file_size_consume_queue;
    let queue_files = QueueFiles::new(Arc::clone(&core.fs), queue_root.clone(), size, Arc::clone(checkpoint));
    let size = config.mapper_file_size_batch_consume_queue;
    let batch_files = QueueFiles::of_batches(Arc::clone(&core.fs), batch_root, size, Arc::clone(checkpoint));
    let (queues, gaps) = QueueTable::open(Arc::new(queue_files), Arc::new(batch_files), ext, &config.batch_topics)
        .map_err(|error| io_error("list", &queue_root, error))?;
    queues.set_log_min(log.min);
    if last_exit == LastExit::Clean && found.own.is_none() {
        recovery::check_queues(&files, &queues, &log)?;
    }
    queues.set_log_end(log.end);
    mark_in_use(core)?;
    let own = found.own.as_ref();
    let lost = rebuild::note_files(core, &queues, checkpoint, &log, last_exit, own)
        .map_err(|error| io_error("rebuild", &queue_root, error))?;
    let (index, index_from) = open_index(core, last_exit, found, checkpoint, log.end)?;

    let store_timestamp = log.last_record.map_or(0, |(_, timestamp)| timestamp);
    let commit_log = Arc::new(commit_log(core, files, log.end, store_timestamp)?);
    let dispatched = Arc::new(Dispatched::default());
    let mut dispatcher = Dispatcher {
        core: Arc::clone(core),
        log: Arc::clone(&commit_log),
        queues: Arc::new(queues),
        index: index.as_ref().map(|index| IndexWriter::new(Arc::clone(index))),
        compaction: None,
        delays,
        checkpoint: Arc::clone(checkpoint),
        dispatched: Arc::clone(&dispatched),
        listener,
        gate: Arc::default(),
    };
    let recovered_from = rebuild::dispatch(&mut dispatcher, &log, last_exit, index_from, own, lost, &gaps)?;
    if let Some(settings) = &core.config.compaction {
        let compaction = Compaction::open(core, settings, dispatcher.source(), last_exit)?;
        dispatcher.compaction = Some(Arc::new(compaction));
    }
    core.watermark.advance(log.end);
    dispatched.set(log.end, log.last_record.map(|(offset, _)| offset));
    let flusher = Flusher { core: Arc::clone(core), log: commit_log, checkpoint: Arc::clone(checkpoint) };
    let (queues, compaction) = (Arc::clone(&dispatcher.queues), dispatcher.compaction.clone());
    let checkpointer = Checkpointer { flusher, dispatched, queues, index, compaction };
    Ok(Parts { dispatcher, checkpointer, recovered_from })
}

/// Makes the file `abort`. Not before the log is known to be sound: a second attempt to open a damaged store would take it
/// for one that was killed, and cut it. But before queues and index are touched: whatever stops that, they are in doubt.
fn mark_in_use(core: &Core) -> Result<(), OpenError> {
    let root = &core.config.store_path_root_dir;
    let abort = root.join("abort");
    let pid = std::process::id().to_string();
    let written = core.fs.write_file(&abort, pid.as_bytes()).and_then(|()| core.fs.sync_dir(root));
    written.map_err(|error| io_error("write", &abort, error))
}

fn open_index(
    core: &Core,
    last_exit: LastExit,
    found: &Found,
    checkpoint: &Arc<StoreCheckpoint>,
    log_end: u64,
) -> Result<(Option<Arc<Index>>, Option<u64>), OpenError> {
    if !core.config.message_index_enable {
        return Ok((None, None));
    }
    let dir = index_dir(&core.config.store_path_root_dir);
    let failed = |error| io_error("open", &dir, error);
    let known = found.own.map_or_else(Inventory::default, |own| own.index);
    let opened = Index::open(core, dir.clone(), last_exit, &known, Arc::clone(checkpoint));
    let (index, index_from) = opened.map_err(failed)?;
    if log_end == 0 {
        index.clear(core).map_err(failed)?;
    }
    index.cut(log_end);
    Ok((Some(Arc::new(index)), index_from))
}

/// Goes on at `end`, in the last file unless that is full.
fn commit_log(
    core: &Arc<Core>,
    mut files: Vec<MappedFile>,
    end: u64,
    store_timestamp: i64,
) -> Result<CommitLog, OpenError> {
    let size = core.config.mapped_file_size_commit_log;
    let current = files.pop_if(|file| file.first_offset() <= end && end < file.end_offset());
    let mut shared: Vec<Arc<MappedFile>> = files.into_iter().map(Arc::new).collect();
    let writer: Option<MappedFileWriter> = current.map(|file| {
        let position = end - file.first_offset();
        file.set_allocated(position);
        let (file, writer) = file.resume(position);
        shared.push(file);
        writer
    });
    let current = writer.as_ref().map(|writer| Arc::clone(writer.file()));
    let next_offset = current.as_ref().map_or(end, |file| file.end_offset());
    let paths = core.config.writable_commit_log_paths();
    let first_path = paths.first().cloned().unwrap_or_default();
    let allocator = Arc::new(Allocator::new(Arc::clone(core), paths, size, current, next_offset));
    allocator.work();
    if let Some(reason) = allocator.failure().filter(|_| shared.is_empty()) {
        return Err(match core.poisoned() {
            None => OpenError::DiskFull { path: first_path, needed_bytes: size.min(16 << 20) },
            Some(_) => OpenError::Io {
                action: "allocate in",
                path: first_path,
                source: std::io::Error::other(reason.to_string()),
            },
        });
    }
    let files = MappedFileQueue::new(size, shared);
    Ok(CommitLog::new(Arc::clone(core), files, allocator, writer, end, store_timestamp))
}

fn check_config(core: &Core) -> Result<DelayLevels, OpenError> {
    let config = &core.config;
    let size = config.mapped_file_size_commit_log;
    let wrong = |key, value: String, reason: &str| OpenError::Config { key, value, reason: reason.to_owned() };
    if !(MIN_COMMIT_LOG_FILE..=MAX_COMMIT_LOG_FILE).contains(&size) {
        return Err(wrong("mappedFileSizeCommitLog", size.to_string(), "allowed are 1024 to 2147483647 bytes"));
    }
    if config.writable_commit_log_paths().is_empty() {
        let value = config.read_only_commit_log_store_paths.iter().map(|path| path.display().to_string());
        let reason = "leaves no directory of storePathCommitLog to write to; add one there";
        return Err(wrong("readOnlyCommitLogStorePaths", value.collect::<Vec<_>>().join(","), reason));
    }
    let size = config.mapped_file_size_consume_queue;
    if !(20..=MAX_COMMIT_LOG_FILE).contains(&size) {
        return Err(wrong("mappedFileSizeConsumeQueue", size.to_string(), "allowed are 20 to 2147483647 bytes"));
    }
    let size = config.mapper_file_size_batch_consume_queue;
    if !(46..=MAX_COMMIT_LOG_FILE).contains(&size) {
        return Err(wrong("mapperFileSizeBatchConsumeQueue", size.to_string(), "allowed are 46 to 2147483647 bytes"));
    }
    let size = config.mapped_file_size_consume_queue_ext;
    if !(MIN_EXT_FILE..=MAX_COMMIT_LOG_FILE).contains(&size) {
        return Err(wrong("mappedFileSizeConsumeQueueExt", size.to_string(), "allowed are 1024 to 2147483647 bytes"));
    }
    let size = u64::from(config.max_hash_slot_num) * 4 + u64::from(config.max_index_num) * 20 + 40;
    if config.max_hash_slot_num == 0 || config.max_index_num < 2 || size > MAX_COMMIT_LOG_FILE {
        let value = format!("{}, maxIndexNum={}", config.max_hash_slot_num, config.max_index_num);
        return Err(wrong("maxHashSlotNum", value, "at least 1 and 2, and 40 + 4 × slots + 20 × entries below 2 GiB"));
    }
    config.compaction.as_ref().map_or(Ok(()), CompactionConfig::check)?;
    DelayLevels::parse(&config.message_delay_level).map_err(|part| {
        wrong("messageDelayLevel", part, "levels are a number and s, m, h or d, with spaces between them")
    })
}

fn lock(core: &Core, path: &Path) -> Result<RangeLock, OpenError> {
    let file = open_or_create(core, path).map_err(|error| io_error("open", path, error))?;
    let lock = RangeLock::take(file).map_err(|error| match error {
        LockError::Held(pid) => OpenError::Locked { path: path.parent().unwrap_or(path).to_owned(), pid },
        LockError::Io(error) => io_error("lock", path, error),
    })?;
    core.fs.write_all_at(lock.file(), b"lock", 0).map_err(|error| io_error("write", path, error))?;
    Ok(lock)
}

/// The machine's memory in bytes.
fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}
