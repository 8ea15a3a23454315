//! One compaction of one queue: everything but the last segment is written anew without the messages that a newer one of their
//! key has made superfluous, and then takes its place.

use std::io;
use std::sync::Arc;

use codec::batch_consume_queue::BatchUnit;
use codec::message::MessageRecord;
use codec::properties::names;
use tracing::{info, warn};

use crate::compaction::log::CompactionLog;
use crate::compaction::newest::NewestOffsets;
use crate::compaction::segment::{Place, Segment, SegmentWriter};
use crate::compaction::swap::{NEW_SUFFIX, Swap, discard, making};
use crate::core::Core;
use crate::flush::Flusher;
use crate::mmap::MappedSlice;

/// What a compaction did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compacted {
    /// Messages up to this queue offset are compacted.
    pub(super) position: i64,
    kept: u64,
    dropped: u64,
}

/// Compacts a queue, unless nothing has been closed since the last time. What is dropped must not be needed to make good
/// what a loss of power takes, so the commit log is brought to the disk first.
/// # Errors
/// What the system said. When the swap had begun the log is [`CompactionLog::is_stuck`], and the next start finishes it.
pub(super) fn compact(flusher: &Flusher, log: &CompactionLog, max_bytes: usize) -> io::Result<Option<Compacted>> {
    let core = &*flusher.core;
    let _files = log.own_files();
    let segments = log.segments();
    let Some((_, closed)) = segments.split_last() else { return Ok(None) };
    let is_new = |segment: &&Arc<Segment>| segment.last_unit().is_some_and(|last| last.base_offset > log.position());
    let new: Vec<&Arc<Segment>> = closed.iter().filter(is_new).collect();
    if new.is_empty() || log.is_stuck() || log.is_closed() {
        return Ok(None);
    }
    flusher.flush()?;
    let Some(mut newest) = newest_of(core, &new, log.position(), max_bytes) else { return Ok(None) };
    let fs = &*core.fs;
    discard(fs, &log.dirs)?;
    let mut output = Output::default();
    for segment in closed {
        for unit in segment.units(0) {
            if core.stopping() || log.is_closed() {
                return discard(fs, &log.dirs).map(|()| None);
            }
            let Some(record) = segment.record(&unit) else { continue };
            if is_needed(&record, &unit, &mut newest) {
                output.keep(core, log, &record, &unit)?;
            } else {
                output.dropped += 1;
            }
        }
    }
    // There is always something that takes the place of what was there.
    if output.kept == 0
        && let Some((segment, unit)) = closed.iter().rev().find_map(|segment| Some((segment, segment.last_unit()?)))
        && let Some(record) = segment.record(&unit)
    {
        output.keep(core, log, &record, &unit)?;
        output.dropped -= 1;
    }
    let done = Compacted { position: newest.last(), kept: output.kept, dropped: output.dropped };
    let made = output.finish(core)?;
    let replaced = closed.iter().map(|segment| segment.first_offset()).collect();
    let swap = Swap { replaced, made: made.iter().map(|segment| segment.first_offset()).collect() };
    swap.write(fs, &log.dirs)?;
    let finished = swap.apply(fs, &log.dirs).inspect_err(|_| log.set_stuck());
    log.replace(closed.len(), made);
    finished?;
    log.set_position(done.position);
    info!(topic = %log.topic, queue_id = log.queue_id, position = done.position, kept = done.kept,
        dropped = done.dropped, "compacted");
    Ok(Some(done))
}

/// The newest message of each key; `None` when the store stops meanwhile.
fn newest_of(core: &Core, new: &[&Arc<Segment>], position: i64, max_bytes: usize) -> Option<NewestOffsets> {
    let mut newest = NewestOffsets::new(max_bytes);
    for segment in new {
        let from = segment.partition(|unit| unit.base_offset <= position);
        for unit in segment.units(from) {
            if core.stopping() {
                return None;
            }
            let Some(record) = segment.record(&unit) else { continue };
            if let Some(key) = key_of(&record)
                && !newest.put(key, unit.base_offset)
            {
                // What follows is kept, and is for the next compaction.
                return Some(newest);
            }
        }
    }
    Some(newest)
}

/// Source: CompactionLog.shouldRetainMsg. A message without a body says that there is none of its key any more.
fn is_needed(record: &MappedSlice, unit: &BatchUnit, newest: &mut NewestOffsets) -> bool {
    if unit.base_offset > newest.last() {
        return true;
    }
    let Some(key) = key_of(record) else { return false };
    let has_body = MessageRecord::parse(record).is_ok_and(|record| !record.body.is_empty());
    has_body && newest.get(key).is_none_or(|newest| unit.base_offset >= newest)
}

/// What a message is compacted by: all of its KEYS.
pub(super) fn key_of(record: &[u8]) -> Option<&str> {
    MessageRecord::parse(record).ok()?.property(names::KEYS).filter(|keys| !keys.trim().is_empty())
}

/// Segments that are being made.
#[derive(Debug, Default)]
struct Output {
    writer: Option<SegmentWriter>,
    made: Vec<Arc<Segment>>,
    kept: u64,
    dropped: u64,
}

impl Output {
    fn keep(&mut self, core: &Core, log: &CompactionLog, record: &MappedSlice, unit: &BatchUnit) -> io::Result<()> {
        let place = Place {
            queue_offset: unit.base_offset,
            tags_code: unit.unit.tags_code,
            store_timestamp: unit.store_timestamp,
        };
        self.kept += 1;
        if let Some(writer) = &mut self.writer
            && writer.append(&*core.fs, record, place)?
        {
            return Ok(());
        }
        self.close(core)?;
        let first_offset = self.made.last().map_or(0, |last| last.first_offset() + log.sizes().log);
        let mut writer = Segment::create(&*core.fs, &making(&log.dirs), first_offset, NEW_SUFFIX, log.sizes())?;
        if !writer.append(&*core.fs, record, place)? {
            warn!(topic = %log.topic, queue_id = log.queue_id, queue_offset = unit.base_offset, "message larger than a file");
        }
        self.writer = Some(writer);
        Ok(())
    }

    fn close(&mut self, core: &Core) -> io::Result<()> {
        if let Some(writer) = self.writer.take() {
            let segment = writer.close(&*core.fs)?;
            segment.sync(&*core.fs)?;
            self.made.push(segment);
        }
        Ok(())
    }

    fn finish(mut self, core: &Core) -> io::Result<Vec<Arc<Segment>>> {
        self.close(core)?;
        Ok(self.made)
    }
}
