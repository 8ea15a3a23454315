//! The compaction log of one queue: segments, the last of which is appended to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::ArcSwap;
use codec::batch_consume_queue::BatchUnit;
use parking_lot::{Mutex, MutexGuard};
use tracing::error;

use crate::compaction::segment::{Dirs, Place, Segment, SegmentWriter, Sizes};
use crate::fs::FileSystem;

/// Messages of one queue of a topic that is compacted, in the order of their queue offsets.
#[derive(Debug)]
pub(super) struct CompactionLog {
    pub(super) topic: Arc<str>,
    pub(super) queue_id: i32,
    pub(super) dirs: Dirs,
    sizes: Sizes,
    segments: ArcSwap<Vec<Arc<Segment>>>,
    tail: Mutex<Tail>,
    /// Messages up to this queue offset were compacted; -1: none.
    position: AtomicI64,
    /// A compaction could not be finished: not before the next start is there another.
    stuck: AtomicBool,
    /// Held by who changes files but the last.
    files: Mutex<()>,
}

#[derive(Debug)]
struct Tail {
    writer: Option<SegmentWriter>,
    /// Messages before this queue offset are in the log, or have no key.
    next: i64,
    /// Segments that may not be on the disk.
    dirty: Vec<Arc<Segment>>,
    /// Nothing is appended any more.
    closed: bool,
}

impl CompactionLog {
    /// Goes on with segments that were opened, the last of them with `writer`.
    pub(super) fn new(
        (topic, queue_id): (&str, i32),
        dirs: Dirs,
        sizes: Sizes,
        segments: Vec<Arc<Segment>>,
        writer: Option<SegmentWriter>,
        position: i64,
    ) -> CompactionLog {
        let tail = Tail { writer, next: 0, dirty: Vec::new(), closed: false };
        let log = CompactionLog {
            topic: topic.into(),
            queue_id,
            dirs,
            sizes,
            segments: ArcSwap::from_pointee(segments),
            tail: Mutex::new(tail),
            position: AtomicI64::new(position),
            stuck: AtomicBool::new(false),
            files: Mutex::new(()),
        };
        log.tail.lock().next = log.max_offset();
        log
    }

    pub(super) fn sizes(&self) -> Sizes {
        self.sizes
    }

    pub(super) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.segments.load_full()
    }

    pub(super) fn position(&self) -> i64 {
        self.position.load(Ordering::Acquire)
    }

    pub(super) fn set_position(&self, queue_offset: i64) {
        self.position.store(queue_offset, Ordering::Release);
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Acquire)
    }

    pub(super) fn set_stuck(&self) {
        self.stuck.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.tail.lock().closed
    }

    /// Keeps everyone else from changing files but the last.
    pub(super) fn own_files(&self) -> MutexGuard<'_, ()> {
        self.files.lock()
    }

    /// Messages before this queue offset were appended, or passed over for want of a key.
    pub(super) fn next_offset(&self) -> i64 {
        self.tail.lock().next
    }

    /// First position that there is; -1 when there is none. Source: BatchConsumeQueue.reviseMinOffsetInQueue.
    pub(super) fn min_offset(&self) -> i64 {
        self.segments.load().iter().find_map(|segment| segment.first_unit()).map_or(-1, |unit| unit.base_offset)
    }

    /// One behind the last position; 0 when there is none.
    pub(super) fn max_offset(&self) -> i64 {
        self.last_unit().map_or(0, |unit| unit.end_offset())
    }

    /// First byte behind the last record.
    pub(super) fn end(&self) -> i64 {
        self.last_unit().map_or(0, |unit| unit.unit.physical_offset.saturating_add(unit.unit.size.into()))
    }

    fn last_unit(&self) -> Option<BatchUnit> {
        self.segments.load().iter().rev().find_map(|segment| segment.last_unit())
    }

    /// Appends a record, unless it is there; one without a key (`record` is `None`) is passed over.
    /// # Errors
    /// What the system said; it may be tried again.
    pub(super) fn append(&self, fs: &dyn FileSystem, record: Option<&[u8]>, place: Place) -> io::Result<()> {
        let mut tail = self.tail.lock();
        if place.queue_offset < tail.next || tail.closed {
            return Ok(());
        }
        if let Some(record) = record {
            self.write(fs, &mut tail, record, place)?;
        }
        tail.next = place.queue_offset.saturating_add(1);
        Ok(())
    }

    fn write(&self, fs: &dyn FileSystem, tail: &mut Tail, record: &[u8], place: Place) -> io::Result<()> {
        let mut fresh = false;
        loop {
            let Some(writer) = &mut tail.writer else {
                tail.writer = Some(self.begin_segment(fs)?);
                fresh = true;
                continue;
            };
            if writer.append(fs, record, place)? {
                if !tail.dirty.last().is_some_and(|last| Arc::ptr_eq(last, writer.segment())) {
                    tail.dirty.push(Arc::clone(writer.segment()));
                }
                return Ok(());
            }
            if fresh {
                error!(topic = %self.topic, queue_id = self.queue_id, queue_offset = place.queue_offset, bytes = record.len(),
                    "a message is larger than a file of its compaction log and cannot be got; make compactionMappedFileSize \
                     larger (only for a new store)");
                return Ok(());
            }
            if let Some(full) = tail.writer.take() {
                full.close(fs)?;
            }
        }
    }

    /// Makes the next pair of files.
    fn begin_segment(&self, fs: &dyn FileSystem) -> io::Result<SegmentWriter> {
        let segments = self.segments.load();
        let first_offset = segments.last().map_or(0, |last| last.first_offset().saturating_add(self.sizes.log));
        let writer = Segment::create(fs, &self.dirs, first_offset, "", self.sizes)?;
        self.dirs.both().into_iter().try_for_each(|dir| fs.sync_dir(dir))?;
        let mut segments = Vec::clone(&segments);
        segments.push(Arc::clone(writer.segment()));
        self.segments.store(Arc::new(segments));
        Ok(writer)
    }

    /// Puts `made` into the place of the first segments, of which there are `replaced`.
    pub(super) fn replace(&self, replaced: usize, made: Vec<Arc<Segment>>) {
        let tail = self.tail.lock();
        let segments = self.segments.load();
        let all = made.into_iter().chain(segments.iter().skip(replaced).cloned()).collect();
        self.segments.store(Arc::new(all));
        drop(tail);
    }

    /// Brings what was appended to the disk.
    /// # Errors
    /// What the system said.
    pub(super) fn flush(&self, fs: &dyn FileSystem) -> io::Result<()> {
        let dirty = std::mem::take(&mut self.tail.lock().dirty);
        dirty.iter().try_for_each(|segment| segment.sync(fs))
    }

    /// Nothing is appended or compacted any more when this returns. Who still reads keeps what he has.
    pub(super) fn close(&self) {
        let mut tail = self.tail.lock();
        tail.closed = true;
        tail.writer = None;
        tail.dirty.clear();
        drop(tail);
        // A compaction sees that it is closed.
        drop(self.own_files());
    }

    /// Deletes the files of a log that was closed.
    /// # Errors
    /// What the system said.
    pub(super) fn delete(&self, fs: &dyn FileSystem) -> io::Result<()> {
        self.dirs.both().into_iter().try_for_each(|dir| fs.remove_dir_all(dir))
    }
}
