//! The log all messages go into, and the one lock of the send path.
//!
//! A record is encoded before the lock. Under it: reserve a place, patch offsets and time, copy into the map, publish,
//! hand a compact [`DispatchRecord`] to the dispatcher. Records never span files; what is left of a file is marked by a
//! filler (int space left, [`BLANK_MAGIC_CODE`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use codec::message::{BLANK_MAGIC_CODE, END_FILE_MIN_BLANK_LEN, PROP_CRC_LEN, patch, prop_crc};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::allocate::Allocator;
use crate::consume_queue::Queue;
use crate::core::Core;
use crate::error::PutError;
use crate::lmq::{self, LmqPlaces};
use crate::mapped_file_queue::MappedFileQueue;
use crate::message::PutResult;
use crate::mmap::MappedFileWriter;
use crate::record::{Step, step};

/// Records that wait for the dispatcher at most; beyond it they are read from the log again.
const MAX_PENDING: usize = 32_768;
/// A clock that goes back by less than this is waited for: store times do not descend then.
const SMOOTHED_BACKSTEP_MS: i64 = 10_000;

/// What the dispatcher must know of a record.
#[derive(Debug, Clone)]
pub(crate) struct DispatchRecord {
    pub(crate) queue: Arc<Queue>,
    pub(crate) physical_offset: u64,
    pub(crate) len: u32,
    pub(crate) properties_len: u32,
    /// `None`: prepared and rolled-back messages enter no queue.
    pub(crate) queue_offset: Option<i64>,
    /// How many messages it holds.
    pub(crate) message_count: i16,
    pub(crate) tags_code: i64,
    pub(crate) store_timestamp: i64,
    /// What the index files it under.
    pub(crate) key_hashes: KeyHashes,
    /// Light queues that it is in too.
    pub(crate) lmqs: LmqPlaces,
}

/// Hashes of the keys of a record; those of most fit without the heap.
pub(crate) type KeyHashes = SmallVec<[u32; 4]>;

impl DispatchRecord {
    pub(crate) fn end(&self) -> u64 {
        self.physical_offset + u64::from(self.len)
    }

    /// Position in the queue behind its last message.
    pub(crate) fn end_offset(&self) -> Option<i64> {
        Some(self.queue_offset? + i64::from(self.message_count))
    }

    /// The queues it is in, with its position in each.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&Arc<Queue>, i64)> {
        let light = self.lmqs.as_deref().unwrap_or_default().iter().map(|place| (&place.queue, place.queue_offset));
        self.queue_offset.map(|queue_offset| (&self.queue, queue_offset)).into_iter().chain(light)
    }
}

/// The tagsCode of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TagsCode {
    /// Known beforehand.
    Hash(i64),
    /// Delivery time: so many ms after the store time.
    Delay(i64),
}

impl TagsCode {
    pub(crate) fn at(self, store_timestamp: i64) -> i64 {
        match self {
            TagsCode::Hash(hash) => hash,
            TagsCode::Delay(delay_ms) => store_timestamp.saturating_add(delay_ms),
        }
    }
}

/// A record that lacks nothing but its place.
#[derive(Debug)]
pub(crate) struct EncodedRecord<'a> {
    pub(crate) queue: Arc<Queue>,
    /// Up to the body.
    pub(crate) head: &'a mut [u8],
    pub(crate) body: &'a [u8],
    /// Behind the body.
    pub(crate) tail: &'a mut [u8],
    pub(crate) properties_len: u32,
    pub(crate) len: u32,
    pub(crate) in_queue: bool,
    /// How many messages it holds.
    pub(crate) message_count: i16,
    /// The record says that it begins at this position of the queue: it can have no other.
    pub(crate) expects_offset: Option<i64>,
    pub(crate) tags_code: TagsCode,
    pub(crate) key_hashes: KeyHashes,
    /// The places in light queues that it says it has.
    pub(crate) lmqs: LmqPlaces,
    /// Where it went, once appended.
    pub(crate) place: PutResult,
}

impl EncodedRecord<'_> {
    /// What was known when it was encoded holds no longer.
    fn is_stale(&self) -> bool {
        self.queue.is_deleted()
            || self.expects_offset.is_some_and(|expected| expected != self.queue.next_offset())
            || lmq::is_stale(&self.lmqs)
    }
}

/// Why an append did not happen.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// A queue was deleted meanwhile, or another message took the place in the queue: encode it anew and try again.
    Stale,
    Put(PutError),
}

#[derive(Debug)]
pub(crate) struct CommitLog {
    core: Arc<Core>,
    files: MappedFileQueue,
    allocator: Arc<Allocator>,
    opened_at: u64,
    wrote: AtomicU64,
    last_store_timestamp: AtomicI64,
    tail: Mutex<Tail>,
}

#[derive(Debug)]
struct Tail {
    writer: Option<MappedFileWriter>,
    closed: bool,
    pending: Vec<DispatchRecord>,
    overflow_from: Option<u64>,
    last_store_timestamp: i64,
}

impl CommitLog {
    /// Goes on at `end` with `writer`, which stands there; without one a new file begins there.
    pub(crate) fn new(
        core: Arc<Core>,
        files: MappedFileQueue,
        allocator: Arc<Allocator>,
        writer: Option<MappedFileWriter>,
        end: u64,
        last_store_timestamp: i64,
    ) -> CommitLog {
        CommitLog {
            core,
            files,
            allocator,
            opened_at: end,
            wrote: AtomicU64::new(end),
            last_store_timestamp: AtomicI64::new(last_store_timestamp),
            tail: Mutex::new(Tail {
                writer,
                closed: false,
                pending: Vec::new(),
                overflow_from: None,
                last_store_timestamp,
            }),
        }
    }

    pub(crate) fn files(&self) -> &MappedFileQueue {
        &self.files
    }

    pub(crate) fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    /// Where the log ended when it was opened: what lies before it was written by others.
    pub(crate) fn opened_at(&self) -> u64 {
        self.opened_at
    }

    /// One behind the last byte written.
    pub(crate) fn wrote(&self) -> u64 {
        self.wrote.load(Ordering::Acquire)
    }

    /// First offset that is left.
    pub(crate) fn min_offset(&self) -> u64 {
        // Read before the files are: a first file that came in between, with messages, would count as gone.
        let wrote = self.wrote();
        self.files.min_offset().unwrap_or(wrote)
    }

    /// Store time of the newest record, ms.
    pub(crate) fn last_store_timestamp(&self) -> i64 {
        self.last_store_timestamp.load(Ordering::Acquire)
    }

    /// Store time of the record that begins at `offset`, ms; `None` when none does.
    pub(crate) fn store_timestamp_at(&self, offset: u64) -> Option<i64> {
        let file = self.files.find(offset)?;
        match step(&file, offset - file.first_offset(), false) {
            Step::Record(record) => Some(record.store_timestamp),
            _ => None,
        }
    }

    /// Appends `records` one behind the other in one file, all or none, and notes the place of each in it.
    pub(crate) fn append(&self, records: &mut [EncodedRecord<'_>]) -> Result<(), AppendError> {
        let len: u64 = records.iter().map(|record| u64::from(record.len)).sum();
        let need = len + END_FILE_MIN_BLANK_LEN as u64;
        if need > self.files.file_bytes() {
            let limit = usize::try_from(self.files.file_bytes()).unwrap_or(usize::MAX) - END_FILE_MIN_BLANK_LEN;
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            return Err(AppendError::Put(PutError::MessageTooLarge { len, limit }));
        }
        loop {
            let now = self.core.clock.now_ms();
            let mut tail = self.tail.lock();
            if tail.closed {
                return Err(AppendError::Put(PutError::Shutdown));
            }
            match self.reserve(&mut tail, need) {
                Reserved::Ready => {}
                Reserved::NoFile => {
                    drop(tail);
                    self.allocator.wait_for_next().map_err(no_file)?;
                    continue;
                }
                Reserved::NoBlocks(file, position) => {
                    drop(tail);
                    self.allocator.wait_for_blocks(&file, position).map_err(no_file)?;
                    continue;
                }
            }
            if records.iter().any(EncodedRecord::is_stale) {
                return Err(AppendError::Stale);
            }
            let _whole = PoisonOnPanic(&self.core);
            let end = self.write(&mut tail, records, now)?;
            drop(tail);
            self.allocator.reached(end);
            return Ok(());
        }
    }

    /// Makes sure that `need` bytes can be written to the current file; goes on to the next one when it is full.
    fn reserve(&self, tail: &mut Tail, need: u64) -> Reserved {
        if tail.writer.as_ref().is_none_or(|writer| need > writer.space()) {
            let Some(next) = self.allocator.take_next() else { return Reserved::NoFile };
            let begins =
                tail.writer.as_ref().map_or(self.wrote.load(Ordering::Acquire), |full| full.file().end_offset());
            if next.file().first_offset() != begins {
                let found = next.file().first_offset();
                self.core
                    .poison(format!("the next commit-log file begins at {found}, not where the log ends: {begins}"));
                return Reserved::NoFile;
            }
            if let Some(mut full) = tail.writer.take() {
                let space = u32::try_from(full.space()).unwrap_or(u32::MAX);
                full.append(&space.to_be_bytes());
                full.append(&BLANK_MAGIC_CODE.to_be_bytes());
                full.finish();
            }
            self.files.push(next.file());
            self.wrote.store(next.file().first_offset(), Ordering::Release);
            tail.writer = Some(next);
        }
        match &tail.writer {
            Some(writer) if writer.position() + need > writer.file().allocated() => {
                Reserved::NoBlocks(Arc::clone(writer.file()), writer.position() + need)
            }
            _ => Reserved::Ready,
        }
    }

    /// Writes and publishes; there is room. Returns the new end of the log.
    fn write(&self, tail: &mut Tail, records: &mut [EncodedRecord<'_>], now: i64) -> Result<u64, AppendError> {
        let Tail { writer: Some(writer), pending, overflow_from, last_store_timestamp, .. } = tail else {
            return Err(AppendError::Put(PutError::Illegal { reason: "no commit-log file is open" }));
        };
        let store_timestamp = if now < *last_store_timestamp && *last_store_timestamp - now < SMOOTHED_BACKSTEP_MS {
            *last_store_timestamp
        } else {
            now
        };
        for record in &mut *records {
            let physical_offset = writer.file().first_offset() + writer.position();
            let queue_offset = if record.in_queue { record.queue.next_offset() } else { 0 };
            let patched =
                patch(record.head, queue_offset, i64::try_from(physical_offset).unwrap_or(i64::MAX), store_timestamp);
            if self.core.config.enabled_append_prop_crc {
                stamp_prop_crc(record);
            }
            let written = patched.is_ok()
                && writer.append(record.head)
                && writer.append(record.body)
                && writer.append(record.tail);
            if !written {
                writer.rewind();
                self.core.poison("a record did not fit the place reserved for it".to_owned());
                return Err(AppendError::Put(PutError::Illegal { reason: "the record does not fit its place" }));
            }
            record.place = PutResult { physical_offset, len: record.len, queue_offset, store_timestamp };
            if record.in_queue {
                record.queue.set_next_offset(queue_offset + i64::from(record.message_count));
            }
            lmq::advance(&record.lmqs);
        }
        writer.publish();
        let end = writer.file().first_offset() + writer.position();
        for record in records {
            let place = record.place;
            if pending.len() >= MAX_PENDING || overflow_from.is_some() {
                overflow_from.get_or_insert(place.physical_offset);
                continue;
            }
            pending.push(DispatchRecord {
                queue: Arc::clone(&record.queue),
                physical_offset: place.physical_offset,
                len: record.len,
                properties_len: record.properties_len,
                queue_offset: record.in_queue.then_some(place.queue_offset),
                message_count: record.message_count,
                tags_code: record.tags_code.at(store_timestamp),
                store_timestamp,
                key_hashes: std::mem::take(&mut record.key_hashes),
                lmqs: record.lmqs.clone(),
            });
        }
        *last_store_timestamp = store_timestamp;
        self.last_store_timestamp.store(store_timestamp, Ordering::Release);
        self.wrote.store(end, Ordering::Release);
        Ok(end)
    }

    /// Takes over what was appended since the last call; `into` must be empty and is given to the appenders for reuse.
    /// Returned is a range of the log whose records were too many to be kept: to be read again, after those of `into`.
    pub(crate) fn take_pending(&self, into: &mut Vec<DispatchRecord>) -> Option<(u64, u64)> {
        let mut tail = self.tail.lock();
        std::mem::swap(&mut tail.pending, into);
        tail.overflow_from.take().map(|from| (from, self.wrote()))
    }

    /// Runs `change` while nothing can be appended; to take queues out of the table.
    pub(crate) fn while_held<T>(&self, change: impl FnOnce() -> T) -> T {
        let _tail = self.tail.lock();
        change()
    }

    /// No append succeeds after this.
    pub(crate) fn close(&self) {
        self.tail.lock().closed = true;
    }
}

/// Writes the CRC of the record into the place that its properties keep for it. The slow way through the append section:
/// the CRC covers the offsets and the store time, so all of the record is read once more here.
fn stamp_prop_crc(record: &mut EncodedRecord<'_>) {
    let Some((before, place)) = record.tail.split_last_chunk_mut::<PROP_CRC_LEN>() else { return };
    let mut crc = crc32fast::Hasher::new();
    for part in [&*record.head, record.body, &*before] {
        crc.update(part);
    }
    *place = prop_crc(crc.finalize());
}

enum Reserved {
    Ready,
    NoFile,
    NoBlocks(Arc<crate::mmap::MappedFile>, u64),
}

fn no_file(reason: Arc<str>) -> AppendError {
    AppendError::Put(PutError::NoFile { reason })
}

/// Poisons the store when a panic unwinds through the append section: nobody knows then what is half done.
struct PoisonOnPanic<'a>(&'a Core);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison("a panic while appending to the commit log".to_owned());
        }
    }
}
