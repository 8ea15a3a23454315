//! Opening compaction logs: what was half done is finished, what is torn or was never stored is cut off, what is missing is
//! copied from the commit log.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use codec::batch_consume_queue::BatchUnit;
use codec::compaction::is_unit;
use codec::message::MessageRecord;
use parking_lot::RwLock;
use tracing::{info, warn};

use crate::commit_log::CommitLog;
use crate::compaction::compact::key_of;
use crate::compaction::log::CompactionLog;
use crate::compaction::positions::PositionFile;
use crate::compaction::segment::{Dirs, Segment, SegmentWriter, Sizes};
use crate::compaction::swap::{finish, names};
use crate::compaction::{Compaction, CompactionConfig, Logs, place_of};
use crate::consume_queue::Queue;
use crate::core::{Core, Signal};
use crate::error::OpenError;
use crate::fs::FileSystem;
use crate::index::LastExit;
use crate::log_files::io_error;
use crate::lookup::Lookup;
use crate::queue_table::QueueTable;
use crate::record::{DelayLevels, Step, step};

/// Units of a consume queue read at a time.
const UNITS_PER_READ: i64 = 256;

/// Where messages are copied from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) log: &'a CommitLog,
    pub(crate) queues: &'a QueueTable,
    pub(crate) delays: &'a DelayLevels,
}

impl Compaction {
    /// Opens the logs of all topics that are compacted. Consume queues are in step with the commit log.
    /// # Errors
    /// See [`OpenError`].
    pub(crate) fn open(
        core: &Arc<Core>,
        config: &CompactionConfig,
        source: Source<'_>,
        last_exit: LastExit,
    ) -> Result<Compaction, OpenError> {
        let root = core.config.store_path_root_dir.join("compaction");
        let failed = |error| io_error("open", &root, error);
        let positions = PositionFile::open(&*core.fs, root.join("position-checkpoint")).map_err(failed)?;
        let compaction = Compaction {
            core: Arc::clone(core),
            sizes: config.sizes(),
            config: config.clone(),
            topics: ArcSwap::from_pointee(config.topics.iter().cloned().collect()),
            logs: RwLock::new(Logs::new()),
            positions,
            signal: Signal::default(),
            root: root.clone(),
        };
        let unsure = matches!(last_exit, LastExit::Unknown { .. });
        for topic in &config.topics {
            compaction.open_topic(topic, source, unsure).map_err(failed)?;
        }
        Ok(compaction)
    }

    /// Messages of the topic are compacted from now on. Logs of a topic of that name that was deleted go, others are opened.
    /// For the holder of the dispatcher's gate.
    /// # Errors
    /// What the system said.
    pub(crate) fn add_topic(&self, topic: &str, source: Source<'_>) -> io::Result<()> {
        if self.has_topic(topic) {
            return Ok(());
        }
        if source.queues.of_topic(topic).is_empty() {
            for dir in self.dirs(topic, 0).both().into_iter().filter_map(Path::parent) {
                self.core.fs.remove_dir_all(dir)?;
            }
        } else {
            self.open_topic(topic, source, true)?;
        }
        self.set_topic(topic, true);
        Ok(())
    }

    fn open_topic(&self, topic: &str, source: Source<'_>, unsure: bool) -> io::Result<()> {
        let mut queue_ids: Vec<i32> = source.queues.of_topic(topic).iter().map(|queue| queue.queue_id).collect();
        let found = self.core.fs.list(&self.log_root().join(topic))?;
        queue_ids.extend(found.iter().filter(|item| item.is_dir).filter_map(|item| item.name.parse::<i32>().ok()));
        queue_ids.sort_unstable();
        queue_ids.dedup();
        for queue_id in queue_ids {
            self.open_queue(topic, queue_id, source, unsure, None)?;
        }
        Ok(())
    }

    /// The log of a queue that has its first message since the start, with all that the queue had before `to`.
    /// # Errors
    /// What the system said.
    pub(super) fn open_log(
        &self,
        topic: &str,
        queue_id: i32,
        source: Source<'_>,
        to: i64,
    ) -> io::Result<Arc<CompactionLog>> {
        self.open_queue(topic, queue_id, source, true, Some(to))
    }

    fn open_queue(
        &self,
        topic: &str,
        queue_id: i32,
        source: Source<'_>,
        unsure: bool,
        to: Option<i64>,
    ) -> io::Result<Arc<CompactionLog>> {
        let queue = source.queues.get(topic, queue_id)?;
        queue.load(source.queues.files())?;
        let fs = &*self.core.fs;
        let dirs = self.dirs(topic, queue_id);
        finish(fs, &dirs)?;
        let opening = Opening { fs, dirs: &dirs, sizes: self.sizes };
        let position = self.positions.get(topic, queue_id);
        let mut writers = opening.segments()?;
        opening.cut_torn(&mut writers, unsure.then_some(position))?;
        // What the commit log would have, if it had been stored.
        let oldest = oldest_store_time(source.log);
        let max = queue.max_offset();
        opening.cut_from(&mut writers, |unit| unit.base_offset >= max && unit.store_timestamp >= oldest)?;
        while let Some(empty) = writers.pop_if(|last| last.segment().count() == 0) {
            opening.remove(&empty)?;
        }
        if let Some(last) = writers.last() {
            last.clear_rest(fs)?;
        }
        let segments = writers.iter().map(|writer| Arc::clone(writer.segment())).collect();
        let log = CompactionLog::new((topic, queue_id), dirs.clone(), self.sizes, segments, writers.pop(), position);
        if log.max_offset() > max {
            // All of the queue has expired, and it was deleted: its numbers go on where they were.
            queue.fill_blank(source.queues.files(), log.max_offset())?;
            queue.set_next_offset(log.max_offset());
        }
        log.set_position(position.min(log.max_offset() - 1));
        catch_up(fs, &log, &queue, source, to.unwrap_or_else(|| queue.max_offset()))?;
        let log = Arc::new(log);
        let mut logs = self.logs.write();
        logs.entry(log.topic.clone()).or_default().insert(queue_id, Arc::clone(&log));
        drop(logs);
        self.signal.notify();
        Ok(log)
    }
}

/// Copies what the consume queue has before `to` and the log has not.
fn catch_up(
    fs: &dyn FileSystem,
    log: &CompactionLog,
    queue: &Arc<Queue>,
    source: Source<'_>,
    to: i64,
) -> io::Result<()> {
    let files = queue.files(source.queues.files());
    let from = log.next_offset().max(queue.min_offset());
    let mut at = from;
    while at < to {
        let entries = queue.entries(source.queues.files(), at, UNITS_PER_READ)?;
        if entries.is_empty() {
            at = files.base_at(at) + files.units_per_file();
            continue;
        }
        for entry in entries.iter().take_while(|entry| entry.queue_offset < to) {
            at = entry.queue_offset + entry.count;
            let record = Lookup::of(source.log, queue, &entry.unit, entry.queue_offset, true).record();
            if let Some(bytes) = record
                && let Ok(record) = MessageRecord::parse(&bytes)
            {
                let place = place_of(&record, source.delays.tags_code_of(&record));
                log.append(fs, key_of(&bytes).map(|_| &*bytes), place)?;
            }
        }
        at = at.max(entries.first().map_or(at, |entry| entry.queue_offset + 1));
    }
    if from < to {
        info!(topic = %log.topic, queue_id = log.queue_id, from, to, "compaction log caught up with its queue");
    }
    Ok(())
}

/// Store time of the first message in the commit log; later than any when it has none.
fn oldest_store_time(log: &CommitLog) -> i64 {
    match log.files().files().first().map(|file| step(file, 0, false)) {
        Some(Step::Record(record)) => record.store_timestamp,
        _ => i64::MAX,
    }
}

/// A queue's files while they are opened: nobody else has them.
struct Opening<'a> {
    fs: &'a dyn FileSystem,
    dirs: &'a Dirs,
    sizes: Sizes,
}

impl Opening<'_> {
    /// Opens all pairs of files.
    fn segments(&self) -> io::Result<Vec<SegmentWriter>> {
        let mut logs = self.files_of(&self.dirs.log, self.sizes.log, "compactionMappedFileSize")?;
        let cqs = self.files_of(&self.dirs.cq, self.sizes.cq, "compactionCqMappedFileSize")?;
        if let Some(alone) = logs.pop_if(|last| cqs.last().is_none_or(|cq| *cq < *last)) {
            let [path, _] = self.dirs.files(alone, "");
            // The first of the two that are made.
            let mut head = [0; 8];
            self.fs.read_exact_at(&self.fs.open(&path)?, &mut head, 0)?;
            if head != [0; 8] {
                return Err(self.no_counterpart(alone, "log", "compactionCq"));
            }
            self.fs.remove_file(&path)?;
        }
        if let Some(first) = logs.iter().find(|first| !cqs.contains(first)) {
            return Err(self.no_counterpart(*first, "log", "compactionCq"));
        }
        if let Some(first) = cqs.iter().find(|first| !logs.contains(first)) {
            return Err(self.no_counterpart(*first, "sparse queue", "compactionLog"));
        }
        logs.into_iter().map(|first| Segment::open(self.fs, self.dirs, first, self.sizes)).collect()
    }

    /// First offsets of the files of a directory. Those without a byte were being made.
    fn files_of(&self, dir: &Path, size: u64, key: &str) -> io::Result<Vec<u64>> {
        let mut found = names(self.fs, dir, "")?;
        for first in std::mem::take(&mut found) {
            let path = dir.join(crate::mapped_file_queue::file_name(first));
            match self.fs.len(&self.fs.open(&path)?)? {
                0 => self.fs.remove_file(&path)?,
                len if len == size && first.is_multiple_of(self.sizes.log) => found.push(first),
                len => {
                    let reason = format!(
                        "{} has {len} bytes where {size} are expected of {key}, and its name is to be a multiple of {}; set \
                         compactionMappedFileSize and compactionCqMappedFileSize to what this store was made with, or \
                         restore the file",
                        path.display(),
                        self.sizes.log
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
                }
            }
        }
        Ok(found)
    }

    fn no_counterpart(&self, first: u64, what: &str, other: &str) -> io::Error {
        let [log, cq] = self.dirs.files(first, "");
        let (has, lacks) = if other == "compactionCq" { (log, cq) } else { (cq, log) };
        let reason = format!(
            "{} is a file of a compaction {what} without its counterpart in {other}; restore {}, or move both folders of \
             this queue away: what the commit log still has is copied again",
            has.display(),
            lacks.display()
        );
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }

    /// Cuts off what was not written completely. `unsure_from`: of messages behind this queue offset any may be.
    fn cut_torn(&self, writers: &mut Vec<SegmentWriter>, unsure_from: Option<i64>) -> io::Result<()> {
        if let Some(position) = unsure_from {
            let mut before = -1;
            let torn = writers.iter().enumerate().find_map(|(at, writer)| {
                let segment = writer.segment();
                if segment.last_unit().is_some_and(|last| last.base_offset <= position) {
                    return None;
                }
                let sound = segment.units(0).take_while(|unit| {
                    let sound = unit.base_offset > before && segment.is_sound(unit);
                    before = unit.base_offset;
                    sound
                });
                let sound = sound.count() as u64;
                let more = writers.len() - at > 1 && segment.has_units_behind(segment.count());
                (sound < segment.count() || more).then_some((at, sound))
            });
            if let Some((at, count)) = torn {
                warn!(dir = %self.dirs.log.display(), "a compaction log has a torn message; it is cut there, what follows is copied again");
                self.cut(writers, at, count)?;
            }
        }
        while let Some(last) = writers.last()
            && let Some(unit) = last.segment().last_unit()
            && !last.segment().is_sound(&unit)
        {
            let (at, count) = (writers.len() - 1, last.segment().count() - 1);
            self.cut(writers, at, count)?;
        }
        Ok(())
    }

    /// Cuts off all units at the end of which `goes` is true.
    fn cut_from(&self, writers: &mut Vec<SegmentWriter>, goes: impl Fn(&BatchUnit) -> bool) -> io::Result<()> {
        while let Some(segment) = writers.last().map(SegmentWriter::segment) {
            let count = segment.partition(|unit| !goes(unit));
            if count == segment.count() && count > 0 {
                return Ok(());
            }
            let at = writers.len() - 1;
            if count > 0 {
                return self.cut(writers, at, count);
            }
            if let Some(gone) = writers.pop() {
                self.remove(&gone)?;
            }
        }
        Ok(())
    }

    /// Leaves `count` units of the segment at an index, and none of those behind it.
    fn cut(&self, writers: &mut Vec<SegmentWriter>, at: usize, count: u64) -> io::Result<()> {
        while writers.len() > at + 1
            && let Some(gone) = writers.pop()
        {
            self.remove(&gone)?;
        }
        match writers.pop() {
            Some(last) => {
                writers.push(last.cut(self.fs, self.dirs, count, self.sizes)?);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn remove(&self, writer: &SegmentWriter) -> io::Result<()> {
        let [log, cq] = self.dirs.files(writer.segment().first_offset(), "");
        // A log alone, without a message in it, is what is left when a segment was being made; one with messages is damage.
        self.fs.write_all_at(&self.fs.open(&log)?, &[0; 8], 0)?;
        self.fs.remove_file(&cq)?;
        self.fs.remove_file(&log)
    }
}

impl Segment {
    /// Whether there is a unit behind what counts as the end.
    fn has_units_behind(&self, count: u64) -> bool {
        (count..).map_while(|index| self.raw_unit(index)).any(|unit| is_unit(&unit))
    }
}
