//! Thread `store-dispatch`: brings what was appended into consume queues and index, in the order of the log, and tells
//! the listener. It alone writes queues and index. It works on the compact records that appends leave behind, a batch
//! at a time, and reads the log again only when it fell behind by more than those can hold.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use codec::batch_consume_queue::BatchUnit;
use codec::consume_queue::Unit;
use codec::consume_queue_ext::ExtUnit;
use codec::index::filed;
use codec::message::sys_flag;
use codec::properties::names;
use parking_lot::Mutex;
use tracing::debug;

use crate::batch_consume_queue::QueueType;
use crate::checkpoint::StoreCheckpoint;
use crate::clock;
use crate::commit_log::{CommitLog, DispatchRecord};
use crate::compaction::{Compaction, Source};
use crate::config::FlushDiskType;
use crate::consume_queue::Queue;
use crate::core::{Core, Finding, is_no_space};
use crate::disk_level::DiskLimit;
use crate::error::PutError;
use crate::index::IndexWriter;
use crate::lmq::is_lmq;
use crate::message::{Arrival, ArrivedProperties, MessageArrivingListener};
use crate::mmap::MappedSlice;
use crate::queue_table::QueueTable;
use crate::record::{DelayLevels, Step, enters_queue, key_hashes, message_count, step, text};

/// Records dispatched together at most.
const MAX_BATCH: usize = 1024;
/// When batches follow each other within less than this, each is given as long to grow: a wake-up, a write to each queue and
/// one to the index cost the same for one message as for hundreds.
const GATHER: Duration = Duration::from_micros(200);
/// Pause before another attempt when the disk is full.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(1);

/// How far dispatch has come.
#[derive(Debug, Default)]
pub(crate) struct Dispatched {
    offset: AtomicU64,
    last_record: AtomicU64,
}

impl Dispatched {
    pub(crate) fn set(&self, offset: u64, last_record: Option<u64>) {
        self.offset.store(offset, Ordering::Release);
        self.last_record.store(last_record.unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Everything before it is in queues and index.
    pub(crate) fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    /// Where the last dispatched record begins, if one was since the start.
    pub(crate) fn last_record(&self) -> Option<u64> {
        Some(self.last_record.load(Ordering::Acquire)).filter(|offset| *offset != u64::MAX)
    }
}

/// What the thread owns.
pub(crate) struct Dispatcher {
    pub(crate) core: Arc<Core>,
    pub(crate) log: Arc<CommitLog>,
    pub(crate) queues: Arc<QueueTable>,
    pub(crate) index: Option<IndexWriter>,
    pub(crate) compaction: Option<Arc<Compaction>>,
    pub(crate) delays: Arc<DelayLevels>,
    pub(crate) checkpoint: Arc<StoreCheckpoint>,
    pub(crate) dispatched: Arc<Dispatched>,
    pub(crate) listener: Arc<dyn MessageArrivingListener>,
    /// Held while queues are written; who deletes queues takes it.
    pub(crate) gate: Arc<Mutex<()>>,
}

impl Dispatcher {
    /// The thread: ends when the store stops and everything that may be dispatched has been.
    pub(crate) fn run(mut self) {
        self.core.dispatch.attach();
        let mut batch = Vec::new();
        let mut done = clock::instant();
        loop {
            let stopping = self.core.stopping();
            batch.clear();
            let overflow = self.log.take_pending(&mut batch);
            if batch.is_empty() && overflow.is_none() {
                if stopping {
                    return;
                }
                self.core.dispatch.wait(None);
                if clock::instant().duration_since(done) < GATHER {
                    // Asleep and not waiting, so that nobody has to wake the thread meanwhile.
                    thread::sleep(GATHER);
                }
                continue;
            }
            let end = self.dispatch_all(&batch).and_then(|()| match overflow {
                Some((from, to)) => self.reread(from, to),
                None => Some(()),
            });
            if end.is_none() {
                return;
            }
            done = clock::instant();
        }
    }

    /// Dispatches a batch as far as it is confirmed, waits for the rest. `None`: the thread is to end.
    fn dispatch_all(&mut self, mut records: &[DispatchRecord]) -> Option<()> {
        while let Some(first) = records.first() {
            if self.core.abandoned() || self.core.poisoned().is_some() {
                return None;
            }
            let confirmed = confirmed(&self.core, &self.log);
            if first.end() > confirmed {
                self.core.dispatch.wait(None);
                continue;
            }
            let ready = records.partition_point(|record| record.end() <= confirmed).min(MAX_BATCH);
            let (now, later) = records.split_at(ready);
            self.apply_until_done(now)?;
            records = later;
        }
        Some(())
    }

    /// Applies a batch; a full disk is waited for, anything else poisons the store.
    fn apply_until_done(&mut self, records: &[DispatchRecord]) -> Option<()> {
        let mut failed = false;
        loop {
            match self.apply(records) {
                Ok(()) => break,
                Err(error) if is_no_space(&error) && !self.core.abandoned() && !self.core.stopping() => {
                    failed = true;
                    let root = &self.core.config.store_path_root_dir;
                    let usage = self.core.fs.usage(root).unwrap_or_default();
                    let limit = DiskLimit::NoRoom { bytes: usage.available };
                    let error = PutError::DiskFull { limit, path: root.display().to_string() };
                    self.core.set_disk_full(Finding::NoRoom, Some(error));
                    self.core.dispatch.wait(Some(NO_SPACE_PAUSE));
                }
                Err(error) => {
                    self.core.poison(format!("cannot write consume queues or index: {error}"));
                    return None;
                }
            }
        }
        if failed {
            self.core.set_disk_full(Finding::NoRoom, None);
        }
        for record in records {
            self.tell(record);
        }
        Some(())
    }

    /// Writes queues and index for records in log order, then makes them visible. May be done again after an error.
    fn apply(&mut self, records: &[DispatchRecord]) -> io::Result<()> {
        let gate = Arc::clone(&self.gate);
        let _gate = gate.lock();
        self.write_queues(records)?;
        self.write_lmqs(records)?;
        if let Err(error) = self.write_index(records) {
            self.index.iter_mut().for_each(IndexWriter::discard);
            return Err(error);
        }
        if let Some(compaction) = &self.compaction {
            compaction.dispatch(self.source(), records)?;
        }
        if let Some(last) = records.last() {
            self.dispatched.last_record.store(last.physical_offset, Ordering::Release);
            self.dispatched.offset.store(last.end(), Ordering::Release);
            self.checkpoint.set_dispatched(last.end());
            self.core.note_dispatched();
        }
        Ok(())
    }

    /// Where compaction logs are copied from.
    pub(crate) fn source(&self) -> Source<'_> {
        Source { log: &self.log, queues: &self.queues, delays: &self.delays }
    }

    /// One write per queue, however the queues alternate in the log.
    fn write_queues(&self, records: &[DispatchRecord]) -> io::Result<()> {
        let here = |record: &&DispatchRecord| record.queue_offset.is_some() && !self.is_light(&record.queue);
        let mut order: Vec<&DispatchRecord> = records.iter().filter(here).collect();
        order.sort_by_key(|record| Arc::as_ptr(&record.queue).addr());
        let mut units = Vec::new();
        for group in order.chunk_by(|a, b| Arc::ptr_eq(&a.queue, &b.queue)) {
            let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
            let (Some(begin), Some(end)) = (first.queue_offset, last.end_offset()) else { continue };
            if first.queue.is_deleted() {
                continue;
            }
            self.write_units(&first.queue, begin, group.iter().copied(), &mut units)?;
            first.queue.publish(end);
        }
        Ok(())
    }

    /// Writes the units of records of one queue, which begin at `queue_offset` and follow each other.
    pub(crate) fn write_units<'a>(
        &self,
        queue: &Arc<Queue>,
        queue_offset: i64,
        records: impl Iterator<Item = &'a DispatchRecord>,
        units: &mut Vec<u8>,
    ) -> io::Result<()> {
        if let Some(batch) = queue.batch() {
            return batch.write(&records.map(batch_unit).collect::<Vec<_>>());
        }
        let files = self.queues.files();
        // As in Java, light queues have none.
        let extended = self.queues.ext().writes() && !is_lmq(&queue.topic);
        units.clear();
        for record in records {
            let bit_map = if extended { self.bit_map(record) } else { Vec::new() };
            let (tags_code, store_timestamp) = (record.tags_code, record.store_timestamp);
            let unit_of_ext = ExtUnit { tags_code, store_timestamp, bit_map: &bit_map };
            let tags_code = if extended { self.queues.ext().put(queue, files, unit_of_ext)? } else { tags_code };
            units.extend_from_slice(&Unit { tags_code, ..unit(record) }.encode());
        }
        queue.write(files, queue_offset, units)
    }

    /// Which filters take the message, for the extension of its queue.
    fn bit_map(&self, record: &DispatchRecord) -> Vec<u8> {
        ArrivedProperties::of(&|| properties_of(&self.log, record))
            .with(|properties| self.listener.bit_map(&record.queue.topic, properties))
    }

    fn write_index(&mut self, records: &[DispatchRecord]) -> io::Result<()> {
        let Some(index) = &mut self.index else { return Ok(()) };
        for record in records {
            for hash in &record.key_hashes {
                index.put(&self.core, *hash, record.physical_offset, record.store_timestamp)?;
            }
        }
        index.commit(&self.core)?;
        self.checkpoint.set_index_msg_timestamp(index.index().last_update().0);
        Ok(())
    }

    fn tell(&self, record: &DispatchRecord) {
        let Some(queue_offset) = record.queue_offset else { return };
        let read = || properties_of(&self.log, record);
        let properties = ArrivedProperties::of(&read);
        if !record.queue.is_deleted() {
            self.listener.arriving(&Arrival {
                topic: &record.queue.topic,
                queue_id: record.queue.queue_id,
                queue_offset,
                tags_code: record.tags_code,
                store_timestamp: record.store_timestamp,
                properties,
                physical_offset: record.physical_offset,
            });
        }
        self.tell_lmqs(record, properties);
    }

    /// Dispatches the records of the log from one offset to another.
    fn reread(&mut self, from: u64, to: u64) -> Option<()> {
        debug!(from, to, "dispatch fell behind and reads the log");
        let mut offset = from;
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while offset < to {
            batch.clear();
            while offset < to && batch.len() < MAX_BATCH {
                let Some(file) = self.log.files().find(offset) else {
                    self.core.poison(format!("the commit log has no file with offset {offset}"));
                    return None;
                };
                match step(&file, offset - file.first_offset(), false) {
                    Step::Record(record) => {
                        batch.push(match self.record_of(&record) {
                            Ok(record) => record,
                            Err(error) => {
                                self.core.poison(format!("cannot open a consume queue: {error}"));
                                return None;
                            }
                        });
                        offset += record.total_size as u64;
                    }
                    Step::Roll => offset = file.end_offset(),
                    Step::End(reason) => {
                        self.core.poison(format!("{} at {offset}: {reason}", file.path().display()));
                        return None;
                    }
                }
            }
            self.dispatch_all(&batch)?;
        }
        Some(())
    }

    /// What dispatch must know of a record of the log.
    pub(crate) fn record_of(&self, record: &codec::message::MessageRecord<'_>) -> io::Result<DispatchRecord> {
        if record.sys_flag & sys_flag::INNER_BATCH != 0 {
            // The only one that can tell when the topic's settings are lost.
            self.queues.set_type(&record.topic_str(), QueueType::Batch);
        }
        let queue = self.queues.get(&record.topic_str(), record.queue_id)?;
        Ok(DispatchRecord {
            message_count: message_count(&queue, record.sys_flag, || record.property(names::INNER_NUM)),
            queue,
            physical_offset: u64::try_from(record.physical_offset).unwrap_or(0),
            len: u32::try_from(record.total_size).unwrap_or(u32::MAX),
            properties_len: u32::try_from(record.properties.len()).unwrap_or(0),
            queue_offset: enters_queue(record.sys_flag).then_some(record.queue_offset),
            tags_code: self.delays.tags_code_of(record),
            store_timestamp: record.store_timestamp,
            key_hashes: key_hashes(
                &self.core.config,
                &record.topic_str(),
                filed(&text(record.properties)),
                record.sys_flag,
            ),
            lmqs: self.lmqs_of(record)?,
        })
    }

    /// Writes what [`Dispatcher::index_recovered`] gathered.
    pub(crate) fn commit_index(&mut self) -> io::Result<()> {
        let Some(index) = &mut self.index else { return Ok(()) };
        index.commit(&self.core)?;
        self.checkpoint.set_index_msg_timestamp(index.index().last_update().0);
        Ok(())
    }

    /// Puts the keys of a record into the index during recovery, those that it lacks when it knows the record.
    pub(crate) fn index_recovered(&mut self, record: &DispatchRecord) -> io::Result<()> {
        let Some(index) = &mut self.index else { return Ok(()) };
        for hash in &record.key_hashes {
            if !index.index().ends_with(&self.core, *hash, record.physical_offset)? {
                index.put(&self.core, *hash, record.physical_offset, record.store_timestamp)?;
            }
        }
        Ok(())
    }
}

/// Up to here consumers may read.
pub(crate) fn confirmed(core: &Core, log: &CommitLog) -> u64 {
    match core.config.flush_disk_type {
        FlushDiskType::SyncFlush => core.watermark.flushed(),
        FlushDiskType::AsyncFlush => log.wrote(),
    }
}

/// The unit of a record.
pub(crate) fn unit(record: &DispatchRecord) -> Unit {
    Unit {
        physical_offset: i64::try_from(record.physical_offset).unwrap_or(i64::MAX),
        size: i32::try_from(record.len).unwrap_or(i32::MAX),
        tags_code: record.tags_code,
    }
}

fn batch_unit(record: &DispatchRecord) -> BatchUnit {
    BatchUnit {
        unit: unit(record),
        store_timestamp: record.store_timestamp,
        base_offset: record.queue_offset.unwrap_or(0),
        count: record.message_count,
    }
}

/// The properties string as it lies at the end of the record.
fn properties_of(log: &CommitLog, record: &DispatchRecord) -> Option<MappedSlice> {
    log.files().slice(record.end() - u64::from(record.properties_len), record.properties_len)
}
