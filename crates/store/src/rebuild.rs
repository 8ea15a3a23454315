//! Brings consume queues and index in step with the log when a store is opened. Units that are there already are left
//! alone; queues that lack units, or are gone altogether, are built again from the start of the log.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use codec::consume_queue::{UNIT_LEN, Unit};
use foldhash::fast::FixedState;
use tracing::{info, warn};

use crate::checkpoint::Own;
use crate::commit_log::DispatchRecord;
use crate::consume_queue::Queue;
use crate::dispatch::{Dispatcher, unit};
use crate::error::OpenError;
use crate::index::LastExit;
use crate::log_files::io_error;
use crate::mmap::MappedFile;
use crate::progress::Progress;
use crate::recovery::{Log, load_all};
use crate::scan::{Piece, Scan};

/// Units that are kept until they are written, 5 MB.
const MAX_PENDING: usize = 256 * 1024;

/// Reads the log as far back as needed. `index_from`: the index lacks messages from there on; `own`: what the checkpoint
/// says, unless a Java broker had the store since. Returns from where the log was read.
/// # Errors
/// See [`OpenError`].
pub(crate) fn dispatch(
    dispatcher: &mut Dispatcher,
    log: &Log,
    last_exit: LastExit,
    index_from: Option<u64>,
    own: Option<&Own>,
) -> Result<u64, OpenError> {
    let queues = Arc::clone(&dispatcher.queues);
    let root = queues.files().root().to_owned();
    let failed = |error| io_error("rebuild", &root, error);
    if matches!(last_exit, LastExit::Unknown { .. }) {
        load_all(&queues).map_err(failed)?;
    }
    let oldest = own.map_or(0, |own| own.emptied).clamp(log.min, log.start);
    let queues_from = if queues.len() == 0 { oldest } else { log.start };
    let from = queues_from.min(index_from.unwrap_or(log.start).max(log.min));
    if from < log.start {
        info!(from, to = log.end, "consume queues or index are built again from the log");
    }
    let indexed = dispatcher.index.as_ref().and_then(|index| index.index().end_phy_offset());
    // Of the last message some keys may be missing.
    let indexed = indexed.map_or(0, |offset| u64::try_from(offset).unwrap_or(0));
    let mut rebuild = Rebuild { dispatcher, log, pending: HashMap::default(), pending_units: 0 };
    let mut missing = HashMap::<usize, Arc<Queue>, FixedState>::default();
    let first = rebuild.read_log(from, |rebuild, record, properties| {
        let key = key(&record.queue);
        if record.physical_offset >= queues_from
            && !missing.contains_key(&key)
            && rebuild.apply(record, from == log.min)?
        {
            missing.insert(key, Arc::clone(&record.queue));
        }
        if record.physical_offset >= indexed {
            rebuild.dispatcher.index_recovered(record, properties)?;
        }
        Ok(())
    });
    first.map_err(failed)?;
    // Only now: after a loss of power the checkpoint may know of queues whose directories had not reached the disk, and
    // which have just been made again.
    let lost = queues_from > oldest && own.is_some_and(|own| own.queues.has_lost(&queues.files().inventory()));
    if !lost && missing.is_empty() {
        return Ok(from);
    }
    warn!(some_are_gone = lost, lack_units = missing.len(), "consume queues are built again from the whole log");
    let second = rebuild.read_log(oldest, |rebuild, record, _| {
        if lost || missing.contains_key(&key(&record.queue)) {
            rebuild.apply(record, true)?;
        }
        Ok(())
    });
    second.map_err(failed)?;
    Ok(oldest)
}

struct Rebuild<'a> {
    dispatcher: &'a mut Dispatcher,
    log: &'a Log,
    /// By the address of the queue.
    pending: HashMap<usize, Pending, FixedState>,
    pending_units: usize,
}

/// Units of one queue that follow each other and are not written yet.
struct Pending {
    queue: Arc<Queue>,
    begin: i64,
    newest: i64,
    units: Vec<u8>,
}

impl Pending {
    fn end(&self) -> i64 {
        self.begin + i64::try_from(self.units.len() / UNIT_LEN).unwrap_or(0)
    }
}

impl Rebuild<'_> {
    /// Shows `visit` every record from `from` on, with its properties; then everything is written.
    fn read_log(
        &mut self,
        from: u64,
        mut visit: impl FnMut(&mut Self, &DispatchRecord, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let files = self.dispatcher.log.files().files();
        let files: Vec<&MappedFile> = files.iter().map(|file| &**file).collect();
        let progress = Progress::new("building consume queues and index", self.log.end.saturating_sub(from));
        let scan = Scan { files: &files, from, to: self.log.end, check_crc: false, progress: &progress };
        scan.run(|piece| {
            match piece {
                Piece::Records(records) => {
                    for record in records {
                        let dispatch = self.dispatcher.record_of(&record)?;
                        visit(self, &dispatch, record.properties)?;
                    }
                    self.dispatcher.commit_index()?;
                    if self.pending_units >= MAX_PENDING {
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

    /// Puts a record into its queue, unless it is there. `may_begin`: the log is read from its start, so a queue whose
    /// units are missing before this one has lost them for good. Returns whether units are missing that the log still
    /// has.
    fn apply(&mut self, record: &DispatchRecord, may_begin: bool) -> io::Result<bool> {
        let queue = &record.queue;
        let Some(queue_offset) = record.queue_offset else { return Ok(false) };
        if queue_offset < 0 {
            warn!(topic = %queue.topic, queue_id = queue.queue_id, queue_offset, "record with a negative queue offset");
            return Ok(false);
        }
        let unit = unit(record);
        if let Some(pending) = self.pending.get_mut(&key(queue)) {
            if pending.end() == queue_offset && pending.newest < unit.physical_offset {
                pending.units.extend_from_slice(&unit.encode());
                pending.newest = unit.physical_offset;
                self.pending_units += 1;
                return Ok(false);
            }
            self.write(queue)?;
        }
        let queues = Arc::clone(&self.dispatcher.queues);
        match make_room(&queues, queue, queue_offset, unit.physical_offset, may_begin)? {
            Room::Made => {}
            Room::Taken => return Ok(false),
            Room::Beyond => return Ok(true),
        }
        let pending = Pending {
            queue: Arc::clone(queue),
            begin: queue_offset,
            newest: unit.physical_offset,
            units: unit.encode().to_vec(),
        };
        self.pending.insert(key(queue), pending);
        self.pending_units += 1;
        Ok(false)
    }

    fn write(&mut self, queue: &Arc<Queue>) -> io::Result<()> {
        let Some(pending) = self.pending.remove(&key(queue)) else { return Ok(()) };
        self.pending_units -= pending.units.len() / UNIT_LEN;
        queue.write(self.dispatcher.queues.files(), pending.begin, &pending.units)?;
        queue.publish(pending.end());
        queue.set_next_offset(pending.end());
        Ok(())
    }

    fn write_all(&mut self) -> io::Result<()> {
        let queues: Vec<_> = self.pending.values().map(|pending| Arc::clone(&pending.queue)).collect();
        queues.iter().try_for_each(|queue| self.write(queue))
    }
}

enum Room {
    /// The unit is to be written at the end of the queue.
    Made,
    /// The unit is there already, or of a topic that was deleted since.
    Taken,
    /// Units before it are missing that the log still has.
    Beyond,
}

/// Makes `queue_offset` the end of `queue`, if it is the record's place.
fn make_room(
    queues: &crate::queue_table::QueueTable,
    queue: &Arc<Queue>,
    queue_offset: i64,
    physical_offset: i64,
    may_begin: bool,
) -> io::Result<Room> {
    let files = queues.files();
    let max = queue.max_offset();
    if (1..max).contains(&queue_offset) {
        return Ok(Room::Taken);
    }
    // What lies before the queue's last record in the log is in it, or of a topic that was deleted since.
    let newest = queue.units(files, max - 1, 1)?.first().copied().unwrap_or_default();
    if max > 0 && newest != Unit::BLANK && physical_offset <= newest.physical_offset {
        return Ok(Room::Taken);
    }
    if queue_offset < max {
        // 0 again, further on in the log: the topic was deleted and made anew.
        queue.rewind(files, queue_offset)?;
    }
    if queue_offset > queue.max_offset() {
        if !may_begin {
            return Ok(Room::Beyond);
        }
        if queue.max_offset() > 0 {
            warn!(topic = %queue.topic, queue_id = queue.queue_id, from = queue.max_offset(), to = queue_offset,
                "consume queue gap");
        }
        queue.fill_blank(files, queue_offset)?;
    }
    Ok(Room::Made)
}

/// Queues are kept alive by the table and by who holds the key.
fn key(queue: &Arc<Queue>) -> usize {
    Arc::as_ptr(queue).addr()
}
