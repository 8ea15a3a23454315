//! Brings consume queues and index in step with the log when a store is opened. Units that are there already are left
//! alone; queues that lack units, or are gone altogether, are built again from the start of the log.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::Path;
use std::sync::Arc;

use codec::consume_queue::Unit;
use codec::message::RECORD_MIN_LEN;
use foldhash::fast::FixedState;
use tracing::{debug, error, info, warn};

use crate::batch_consume_queue::BatchConsumeQueue;
use crate::checkpoint::{Own, StoreCheckpoint};
use crate::commit_log::{CommitLog, DispatchRecord};
use crate::consume_queue::{Entry as QueueEntry, Queue};
use crate::core::Core;
use crate::dispatch::Dispatcher;
use crate::error::OpenError;
use crate::index::LastExit;
use crate::inventory::Inventory;
use crate::lmq::is_in;
use crate::log_files::io_error;
use crate::mmap::MappedFile;
use crate::progress::Progress;
use crate::queue_files::{Gap, QueueFiles};
use crate::queue_table::QueueTable;
use crate::record::{Check, Step, step};
use crate::recovery::{Log, load_all};
use crate::scan::{Piece, Scan};

/// Records whose units are kept until they are written, 6 MB.
const MAX_PENDING: usize = 64 * 1024;
/// A queue has no message beyond: positions of its units, and of the file behind them, must be numbers of 63 bits.
const MAX_QUEUE_OFFSET: i64 = i64::MAX / 64;

/// Notes the files of consume queues there are. Returns what was noted before, if some of that is gone; then the checkpoint
/// says that the queues are to be built again from the whole log, whatever stops this start.
/// # Errors
/// What the system said.
pub(crate) fn note_files(
    core: &Core,
    queues: &QueueTable,
    checkpoint: &StoreCheckpoint,
    log: &Log,
    last_exit: LastExit,
    own: Option<&Own>,
) -> io::Result<Option<Inventory>> {
    let found = queues.inventory();
    let noted = own.map(|own| match last_exit {
        LastExit::Clean | LastExit::Killed => own.queue_files.made,
        LastExit::Unknown { .. } => own.queue_files.safe,
    });
    let lost = noted.filter(|noted| log.min < log.end && noted.has_lost(&found));
    if lost.is_some() {
        checkpoint.begin_recovery(core, oldest(own, log))?;
    }
    checkpoint.set_queue_files(found);
    Ok(lost)
}

/// Where the records begin that may have to be in queues.
fn oldest(own: Option<&Own>, log: &Log) -> u64 {
    own.map_or(0, |own| own.emptied).clamp(log.min, log.start)
}

/// Reads the log as far back as needed. `index_from`: the index lacks messages from there on; `own`: what the checkpoint
/// says, unless a Java broker had the store since; `lost`: see [`note_files`]; `gaps`: where queues lack files between others.
/// Returns from where the log was read.
/// # Errors
/// See [`OpenError`].
pub(crate) fn dispatch(
    dispatcher: &mut Dispatcher,
    log: &Log,
    last_exit: LastExit,
    index_from: Option<u64>,
    own: Option<&Own>,
    lost: Option<Inventory>,
    gaps: &[Gap],
) -> Result<u64, OpenError> {
    let queues = Arc::clone(&dispatcher.queues);
    let root = queues.files().root().to_owned();
    let failed = |error| io_error("rebuild", &root, error);
    let checkpoint = Arc::clone(&dispatcher.checkpoint);
    if matches!(last_exit, LastExit::Unknown { .. }) {
        // Of units of later records any may be missing or torn: they are all written again.
        queues.distrust_from(log.start);
        load_all(&queues).map_err(failed)?;
        for queue in queues.all() {
            drop_torn_units(dispatcher, &queue).map_err(failed)?;
        }
        queues.set_log_end(log.end);
    }
    let oldest = oldest(own, log);
    let cut = cut_at_gaps(dispatcher, gaps, log, oldest).map_err(failed)?;
    // Without our checkpoint nobody knows which queues there were; having none but those of batches is a loss, as a rule.
    let simple = queues.all().iter().filter(|queue| queue.batch().is_none()).count();
    let none = queues.len() == 0 || simple == 0 && own.is_none();
    let queues_from = if none || lost.is_some() || cut { oldest } else { log.start };
    let from = queues_from.min(index_from.unwrap_or(log.start).max(log.min));
    if lost.is_some() {
        warn!(
            from = oldest,
            to = log.end,
            "files of consume queues are gone; queues are built again from the whole log"
        );
    }
    if from < log.start {
        checkpoint.begin_recovery(&dispatcher.core, queues_from).map_err(failed)?;
        info!(from, to = log.end, "consume queues or index are built again from the log");
    }
    let indexed = dispatcher.index.as_ref().and_then(|index| index.index().end_phy_offset());
    // Of the last message some keys may be missing.
    let indexed = indexed.map_or(0, |offset| u64::try_from(offset).unwrap_or(0));
    let mut rebuild = Rebuild { dispatcher, log, tails: HashMap::default(), pending: 0, lost: lost.is_some() };
    let mut missing = HashMap::<usize, Arc<Queue>, FixedState>::default();
    let first = rebuild.read_log(from, |rebuild, record| {
        if record.physical_offset >= queues_from {
            for (queue, queue_offset) in record.places() {
                let key = key(queue);
                if !missing.contains_key(&key) && rebuild.apply(record, queue, queue_offset, queues_from == oldest)? {
                    missing.insert(key, Arc::clone(queue));
                }
            }
        }
        if record.physical_offset >= indexed {
            rebuild.dispatcher.index_recovered(record)?;
        }
        Ok(())
    });
    first.map_err(failed)?;
    if lost.is_some_and(|noted| noted.has_lost(&queues.inventory())) {
        error!(remedy = %remedy(&rebuild.dispatcher.core), "files of consume queues are gone, and not all of them could be \
            made again: others follow on them, or the log has no more of their messages");
    }
    if missing.is_empty() {
        return Ok(from);
    }
    warn!(lack_units = missing.len(), "consume queues are built again from the whole log");
    checkpoint.begin_recovery(&rebuild.dispatcher.core, oldest).map_err(failed)?;
    let second = rebuild.read_log(oldest, |rebuild, record| {
        for (queue, queue_offset) in record.places().filter(|(queue, _)| missing.contains_key(&key(queue))) {
            rebuild.apply(record, queue, queue_offset, true)?;
        }
        Ok(())
    });
    second.map_err(failed)?;
    Ok(oldest)
}

/// Takes away what lies behind missing files of queues, when the log may have some of their messages: units are only ever
/// appended. Returns whether there was any.
fn cut_at_gaps(dispatcher: &Dispatcher, gaps: &[Gap], log: &Log, oldest: u64) -> io::Result<bool> {
    let mut cut = false;
    for Gap { queue, begin, end } in gaps {
        let (queues, units) = (dispatcher.queues.files(), queue.batch().map_or(queue, BatchConsumeQueue::units));
        queue.load(queues)?;
        let bytes = units.read(queue.files(queues), *end, 1)?;
        let behind = bytes.first_chunk().map(|offset| i64::from_be_bytes(*offset));
        // What was behind is no longer there either, or the messages of the missing files have expired.
        if behind.is_none_or(|offset| u64::try_from(offset).is_ok_and(|offset| offset < log.min)) {
            continue;
        }
        warn!(topic = %queue.topic, queue_id = queue.queue_id, begin, end,
            "files of a consume queue are gone between others; from there on it is built again");
        if !cut {
            dispatcher.checkpoint.begin_recovery(&dispatcher.core, oldest)?;
            cut = true;
        }
        queue.cut(queues, *begin)?;
    }
    Ok(cut)
}

struct Rebuild<'a> {
    dispatcher: &'a mut Dispatcher,
    log: &'a Log,
    /// By the address of the queue.
    tails: HashMap<usize, Tail, FixedState>,
    /// Records of all tails that are not written yet.
    pending: usize,
    /// Files of queues are gone.
    lost: bool,
}

/// The end of one queue.
struct Tail {
    queue: Arc<Queue>,
    /// The first message it had.
    begin: i64,
    /// One behind the last message.
    end: i64,
    /// What the last unit points to; -1 when there is none, or a blank one.
    newest: i64,
    /// The last records, whose units are not written yet.
    pending: Vec<DispatchRecord>,
    /// Position of the first of them.
    pending_from: i64,
}

impl Tail {
    fn of(queue: &Arc<Queue>, files: &QueueFiles) -> io::Result<Tail> {
        let end = queue.max_offset();
        let last = queue.entries(files, end - 1, 1)?.first().map(|entry| entry.unit).filter(|unit| !unit.is_blank());
        let newest = last.map_or(-1, |unit| unit.physical_offset);
        Ok(Tail {
            queue: Arc::clone(queue),
            begin: queue.min_offset(),
            end,
            newest,
            pending: Vec::new(),
            pending_from: end,
        })
    }

    /// Whether the messages between the last one and this record can have lain between them in the log. No checksum covers
    /// a queue offset, and a queue is filled up to where it says.
    fn may_be_followed_by(&self, record: &DispatchRecord, queue_offset: i64) -> bool {
        let log_between = record.physical_offset.saturating_sub(u64::try_from(self.newest).unwrap_or(0));
        let missing = u64::try_from(queue_offset.saturating_sub(self.end)).unwrap_or(0);
        // A queue begins anywhere; one of batches has no unit for what it lacks.
        self.end == 0 || self.queue.batch().is_some() || missing <= log_between / RECORD_MIN_LEN as u64
    }

    /// Returns how many records were pending.
    fn write(&mut self, dispatcher: &Dispatcher) -> io::Result<usize> {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            dispatcher.write_units(&self.queue, self.pending_from, pending.iter(), &mut Vec::new())?;
            self.queue.publish(self.end);
            self.queue.set_next_offset(self.end);
        }
        Ok(pending.len())
    }
}

impl Rebuild<'_> {
    /// Shows `visit` every record from `from` on; then everything is written.
    fn read_log(
        &mut self,
        from: u64,
        mut visit: impl FnMut(&mut Self, &DispatchRecord) -> io::Result<()>,
    ) -> io::Result<()> {
        let files = self.dispatcher.log.files().files();
        let files: Vec<&MappedFile> = files.iter().map(|file| &**file).collect();
        let progress = Progress::new("building consume queues and index", self.log.end.saturating_sub(from));
        let scan = Scan { files: &files, from, to: self.log.end, check: Check::Form, progress: &progress };
        scan.run(|piece| {
            match piece {
                Piece::Records(records) => {
                    for record in records {
                        let dispatch = self.dispatcher.record_of(&record)?;
                        visit(self, &dispatch)?;
                    }
                    self.dispatcher.commit_index()?;
                    if self.pending >= MAX_PENDING {
                        self.write_all()?;
                    }
                }
                Piece::Roll(_) => {}
                Piece::Broken { offset, reason, next } if offset < self.log.start => {
                    warn!(offset, %reason, ?next,
                        "commit log is damaged here; messages up to the next sound part are not in the queues; \
                         to see what can be done: mqstore verify");
                }
                Piece::Broken { .. } => return Ok(false),
            }
            Ok::<_, io::Error>(true)
        })?;
        self.dispatcher.commit_index()?;
        self.write_all()
    }

    /// Puts a record into one of its queues, unless it is there. `may_begin`: the log is read from its start, so a queue whose
    /// units are missing before this one has lost them for good. Returns whether units are missing that the log still
    /// has.
    fn apply(
        &mut self,
        record: &DispatchRecord,
        queue: &Arc<Queue>,
        queue_offset: i64,
        may_begin: bool,
    ) -> io::Result<bool> {
        if !(0..=MAX_QUEUE_OFFSET).contains(&queue_offset) {
            tell_damaged(record, queue, queue_offset);
            return Ok(false);
        }
        let physical_offset = i64::try_from(record.physical_offset).unwrap_or(i64::MAX);
        let queues = Arc::clone(&self.dispatcher.queues);
        let files = queues.files();
        let tail = match self.tails.entry(key(queue)) {
            Entry::Occupied(tail) => tail.into_mut(),
            Entry::Vacant(none) => none.insert(Tail::of(queue, files)?),
        };
        // It is there already, or of a topic that was deleted since: the queue is further on in the log.
        if tail.end > 0 && tail.newest >= physical_offset {
            if !self.lost || queue_offset >= tail.begin {
                return Ok(false);
            }
            warn!(topic = %queue.topic, queue_id = queue.queue_id, begin = tail.begin, queue_offset,
                "the first files of a consume queue are gone, all of it is built again");
            queue.cut(files, 0)?;
            *tail = Tail::of(queue, files)?;
        }
        if queue_offset > tail.end && !may_begin {
            return Ok(true);
        }
        if !tail.may_be_followed_by(record, queue_offset) {
            tell_damaged(record, queue, queue_offset);
            return Ok(false);
        }
        if queue_offset != tail.end {
            self.pending -= tail.write(self.dispatcher)?;
            if queue_offset < tail.end {
                // The place of an earlier record: the topic was deleted and made anew, or the unit is torn.
                queue.rewind(files, queue_offset)?;
            } else {
                if tail.end > 0 {
                    warn!(topic = %queue.topic, queue_id = queue.queue_id, from = tail.end, to = queue_offset,
                        "consume queue gap");
                }
                queue.fill_blank(files, queue_offset)?;
            }
        }
        if tail.pending.is_empty() {
            tail.pending_from = queue_offset;
        }
        // In a light queue it is one message, whatever it is in its own.
        let count = if Arc::ptr_eq(queue, &record.queue) { i64::from(record.message_count) } else { 1 };
        tail.end = queue_offset + count;
        tail.newest = physical_offset;
        tail.pending.push(record.clone());
        self.pending += 1;
        Ok(false)
    }

    fn write_all(&mut self) -> io::Result<()> {
        self.tails.values_mut().try_for_each(|tail| tail.write(self.dispatcher).map(drop))?;
        self.pending = 0;
        Ok(())
    }
}

/// Tells of a record whose place in its queue cannot be true.
fn tell_damaged(record: &DispatchRecord, queue: &Queue, queue_offset: i64) {
    error!(topic = %queue.topic, queue_id = queue.queue_id, queue_offset, offset = record.physical_offset,
        "the queue offset of this message is damaged, it is not in its queue; to see what can be done: mqstore verify");
}

fn remedy(core: &Core) -> String {
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    let root = &core.config.store_path_root_dir;
    let logs = core.config.commit_log_paths();
    let mut command = format!("stop the broker, then: mqstore rebuild queues --store {}", quoted(root));
    if logs.iter().any(|path| *path != root.join("commitlog")) {
        let logs: Vec<String> = logs.iter().map(|path| quoted(path)).collect();
        command.push_str(&format!(" --commitlog {}", logs.join(",")));
    }
    command + " --apply"
}

/// Takes away what lies at the end of a queue and is no unit of it. A unit that lies in two sectors may have reached the
/// disk in half, with another offset than its own.
fn drop_torn_units(dispatcher: &Dispatcher, queue: &Arc<Queue>) -> io::Result<()> {
    let files = dispatcher.queues.files();
    let max = queue.max_offset();
    let mut end = max;
    while let Some(last) = queue.entries(files, end - 1, 1)?.first() {
        let before = queue.entries(files, last.queue_offset - 1, 1)?;
        if is_unit_of(&dispatcher.log, queue, last, before.first().map(|before| &before.unit)) {
            break;
        }
        debug!(topic = %queue.topic, queue_id = queue.queue_id, queue_offset = end - 1, unit = ?last.unit, "torn unit");
        end = last.queue_offset.min(end - 1);
    }
    if end < max { queue.rewind(files, end) } else { Ok(()) }
}

/// Whether the record that a unit points to is this one of the queue; of a record that has expired, whether it follows the
/// unit before.
fn is_unit_of(log: &CommitLog, queue: &Queue, entry: &QueueEntry, before: Option<&Unit>) -> bool {
    let unit = &entry.unit;
    let Ok(offset) = u64::try_from(unit.physical_offset) else { return false };
    if unit.is_blank() || !unit.is_written() {
        return unit.is_blank();
    }
    if offset < log.min_offset() {
        return before.is_none_or(|before| before.is_blank() || before.physical_offset < unit.physical_offset);
    }
    let Some(file) = log.files().find(offset) else { return false };
    match step(&file, offset - file.first_offset(), false) {
        Step::Record(record) => {
            record.topic == queue.topic.as_bytes()
                && (record.queue_id, record.queue_offset) == (queue.queue_id, entry.queue_offset)
                || is_in(&record, queue)
        }
        _ => false,
    }
}

/// Queues are kept alive by the table and by who holds the key.
fn key(queue: &Arc<Queue>) -> usize {
    Arc::as_ptr(queue).addr()
}
