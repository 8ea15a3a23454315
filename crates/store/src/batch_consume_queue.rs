//! Queues of batches: the topics whose records hold several messages each (attribute `queue.type=BatchCQ`).
//!
//! Files `batchconsumequeue/TOPIC/QUEUEID/<first byte, 20 digits>` of fixed length, units of 46 bytes
//! ([`codec::batch_consume_queue`]), one per record. The files are those of a [`Queue`] whose offsets count units; the
//! messages' offsets stand in the units, and are found by bisection.

use std::io;
use std::sync::Arc;

use codec::batch_consume_queue::{BATCH_UNIT_LEN, BatchUnit, batch_units};

use crate::consume_queue::{Entry, Queue, partition};
use crate::queue_files::QueueFiles;

/// How the queues of a topic are kept; Java's CQType.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueType {
    /// A unit per message.
    #[default]
    Simple,
    /// A unit per record, which may hold several messages.
    Batch,
}

#[derive(Debug)]
pub(crate) struct BatchConsumeQueue {
    /// Its offsets count units.
    units: Arc<Queue>,
    files: Arc<QueueFiles>,
}

impl BatchConsumeQueue {
    /// `files` are those of the directory `batchconsumequeue`.
    pub(crate) fn new(topic: Arc<str>, queue_id: i32, files: Arc<QueueFiles>) -> BatchConsumeQueue {
        BatchConsumeQueue { units: Arc::new(Queue::new(topic, queue_id, None)), files }
    }

    pub(crate) fn files(&self) -> &Arc<QueueFiles> {
        &self.files
    }

    /// The array of units.
    pub(crate) fn units(&self) -> &Arc<Queue> {
        &self.units
    }

    /// Finds out what the files hold.
    /// # Errors
    /// As [`Queue::load`].
    pub(crate) fn load(&self) -> io::Result<()> {
        self.units.load(&self.files)
    }

    /// Queue offsets of the first message that is left and behind the last one; zeroes without any.
    /// # Errors
    /// What the system said.
    pub(crate) fn bounds(&self) -> io::Result<(i64, i64)> {
        let end = self.units.max_offset();
        let max = self.unit(end - 1)?.map_or(0, |last| last.end_offset());
        let min = self.unit(self.units.min_offset())?.map_or(max, |first| first.base_offset);
        Ok((min, max))
    }

    /// Up to `count` records from the one on that has the message at `queue_offset`. Units that are damaged, so that their
    /// offsets do not lie between those of their neighbours, are passed over.
    /// # Errors
    /// What the system said.
    pub(crate) fn entries(&self, queue_offset: i64, count: i64) -> io::Result<Vec<Entry>> {
        let (begin, end) = (self.units.min_offset(), self.units.max_offset());
        let mut index = (self.first_behind(queue_offset)? - 1).max(begin);
        let holds =
            |unit: &BatchUnit| unit.unit.is_written() && (unit.base_offset..unit.end_offset()).contains(&queue_offset);
        if index > begin && !self.unit(index)?.as_ref().is_some_and(holds) {
            // Bisection met a damaged unit.
            index = begin;
        }
        while index < end {
            let bytes = self.units.read(&self.files, index, count)?;
            let entries = ascending(batch_units(&bytes), queue_offset);
            if !entries.is_empty() {
                return Ok(entries);
            }
            // What is read is of one file.
            let read = i64::try_from(bytes.len() / BATCH_UNIT_LEN).unwrap_or(0);
            let next_file = self.files.base_at(index) + self.files.units_per_file();
            index = if read > 0 { index + read } else { next_file };
        }
        Ok(Vec::new())
    }

    /// Appends units, but those of records that it has; nobody sees them before the queue is published. For the
    /// dispatcher. Doing it again with the same units changes nothing.
    /// # Errors
    /// What the system said.
    pub(crate) fn write(&self, units: &[BatchUnit]) -> io::Result<()> {
        let index = self.units.max_offset();
        let newest = self.unit(index - 1)?.map_or(-1, |newest| newest.unit.physical_offset);
        let units = units.iter().filter(|unit| unit.unit.physical_offset > newest);
        let bytes: Vec<u8> = units.flat_map(BatchUnit::encode).collect();
        self.units.write(&self.files, index, &bytes)?;
        self.units.publish(index + i64::try_from(bytes.len() / BATCH_UNIT_LEN).unwrap_or(0));
        Ok(())
    }

    /// Makes the records from `queue_offset` on vanish; for recovery.
    /// # Errors
    /// What the system said.
    pub(crate) fn rewind(&self, queue_offset: i64) -> io::Result<()> {
        let first = self.units.min_offset();
        let keep = partition(self.units.max_offset() - first, |at| {
            Ok(self.unit(first + at)?.is_some_and(|unit| unit.base_offset < queue_offset))
        })?;
        // One that has nothing begins with unit 0.
        self.units.rewind(&self.files, if keep == 0 { 0 } else { first + keep })
    }

    /// Index of the first unit that begins behind `queue_offset`.
    fn first_behind(&self, queue_offset: i64) -> io::Result<i64> {
        let first = self.units.min_offset();
        let before = partition(self.units.max_offset() - first, |at| {
            Ok(self.unit(first + at)?.is_some_and(|unit| unit.base_offset <= queue_offset))
        })?;
        Ok(first + before)
    }

    fn unit(&self, index: i64) -> io::Result<Option<BatchUnit>> {
        let bytes = self.units.read(&self.files, index, 1)?;
        Ok(bytes.first_chunk::<BATCH_UNIT_LEN>().and_then(|unit| BatchUnit::parse(unit).ok()))
    }
}

/// What the units say whose messages come behind `queue_offset` and one behind the other.
fn ascending(units: impl Iterator<Item = BatchUnit>, queue_offset: i64) -> Vec<Entry> {
    let mut entries = Vec::<Entry>::new();
    let written = |unit: &BatchUnit| unit.unit.is_written() && unit.end_offset() > queue_offset;
    for unit in units.filter(written) {
        let base = unit.base_offset;
        let is_behind = |before: &Entry| before.queue_offset.saturating_add(before.count) > base;
        match entries.last() {
            // One of the two is damaged: the one before, if this one follows on the others.
            Some(before) if is_behind(before) => {
                let others = entries.len() - 1;
                if base <= queue_offset && others > 0 || entries.iter().take(others).any(is_behind) {
                    continue;
                }
                entries.pop();
            }
            _ => {}
        }
        entries.push(Entry { queue_offset: base, count: i64::from(unit.count.max(1)), unit: unit.unit });
    }
    entries
}
