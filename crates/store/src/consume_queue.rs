//! One consume queue: which record is the n-th message of a topic's queue.
//!
//! Files `consumequeue/TOPIC/QUEUEID/<first byte, 20 digits>` of fixed length, units of 20 bytes
//! ([`codec::consume_queue`]), never mapped: units are written and read by position, so a full disk is an error and an
//! idle queue costs nothing but its [`Queue`]. What a queue holds is found out on first use.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::ArcSwapOption;
use codec::consume_queue::{UNIT_LEN, Unit, units};
use parking_lot::Mutex;

use crate::batch_consume_queue::BatchConsumeQueue;
use crate::inventory::Inventory;
use crate::mapped_file_queue::file_offset;
use crate::queue_files::QueueFiles;

/// Units that fit a page.
const PAGE_UNITS: i64 = 4096 / UNIT_LEN as i64;
/// No file.
const NONE: i64 = -1;

/// State of one queue. The holder of the append mutex owns `next_offset`, the dispatcher all the rest; readers go by
/// `max_offset`.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: i32,
    next_offset: AtomicI64,
    max_offset: AtomicI64,
    min_offset: AtomicI64,
    /// First unit of the first file, or [`NONE`].
    first_base: AtomicI64,
    /// First unit of the file that is on the list of files to be flushed, or [`NONE`].
    pub(crate) dirty_base: AtomicI64,
    loaded: AtomicBool,
    /// Its files, as far as the checkpoint knows of them.
    noted: Mutex<Inventory>,
    /// Files before this unit are struck off and may be removed.
    struck_off: AtomicI64,
    deleted: AtomicBool,
    load: Mutex<()>,
    hot: ArcSwapOption<QueueFile>,
    /// Set when the queue holds batches: then the files are there, and none of `hot`, `first_base` and `dirty_base` is used.
    batch: Option<BatchConsumeQueue>,
}

/// What a queue knows of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// Position of its first message.
    pub(crate) queue_offset: i64,
    /// How many messages it holds.
    pub(crate) count: i64,
    pub(crate) unit: Unit,
}

/// An open file of a queue.
#[derive(Debug)]
pub(crate) struct QueueFile {
    /// Its first unit.
    pub(crate) base: i64,
    pub(crate) file: File,
}

impl Queue {
    pub(crate) fn new(topic: Arc<str>, queue_id: i32, batch: Option<BatchConsumeQueue>) -> Queue {
        Queue {
            topic,
            queue_id,
            next_offset: AtomicI64::new(0),
            max_offset: AtomicI64::new(0),
            min_offset: AtomicI64::new(0),
            first_base: AtomicI64::new(NONE),
            dirty_base: AtomicI64::new(NONE),
            loaded: AtomicBool::new(false),
            noted: Mutex::default(),
            struck_off: AtomicI64::new(0),
            deleted: AtomicBool::new(false),
            load: Mutex::new(()),
            hot: ArcSwapOption::empty(),
            batch,
        }
    }

    /// The queue's other form, if it holds batches.
    pub(crate) fn batch(&self) -> Option<&BatchConsumeQueue> {
        self.batch.as_ref()
    }

    /// Where the queue's files are; `simple` are those of queues without batches.
    pub(crate) fn files<'a>(&'a self, simple: &'a Arc<QueueFiles>) -> &'a Arc<QueueFiles> {
        self.batch.as_ref().map_or(simple, BatchConsumeQueue::files)
    }

    /// One behind the last unit that may be read.
    pub(crate) fn max_offset(&self) -> i64 {
        self.max_offset.load(Ordering::Acquire)
    }

    /// First unit whose record is left.
    pub(crate) fn min_offset(&self) -> i64 {
        self.min_offset.load(Ordering::Acquire).min(self.max_offset())
    }

    /// For the holder of the append mutex: what the next message gets.
    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset.load(Ordering::Relaxed)
    }

    /// For the holder of the append mutex.
    pub(crate) fn set_next_offset(&self, queue_offset: i64) {
        self.next_offset.store(queue_offset, Ordering::Relaxed);
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Its files, as far as the checkpoint knows of them.
    pub(crate) fn noted(&self) -> &Mutex<Inventory> {
        &self.batch.as_ref().map_or(self, |batch| batch.units()).noted
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// The queue is out of the table; who still holds it must look it up again.
    pub(crate) fn set_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    /// Closes the open file, if any.
    pub(crate) fn close(&self) {
        self.hot.store(None);
        if let Some(batch) = &self.batch {
            batch.units().close();
        }
    }

    /// Finds out what the files hold: cuts units of records at or behind `files.log_end()`, sets min, max and next
    /// offset. Does nothing when that has been done.
    /// # Errors
    /// What the system said, or [`io::ErrorKind::InvalidData`] for files that cannot be of this queue.
    pub(crate) fn load(self: &Arc<Self>, files: &QueueFiles) -> io::Result<()> {
        if self.is_loaded() {
            return Ok(());
        }
        let _once = self.load.lock();
        if self.is_loaded() {
            return Ok(());
        }
        if let Some(batch) = &self.batch {
            batch.load()?;
            self.set_bounds(batch)?;
            self.next_offset.store(self.max_offset(), Ordering::Relaxed);
            self.loaded.store(true, Ordering::Release);
            return Ok(());
        }
        let bases = self.list(files)?;
        if let Some(first) = bases.first() {
            self.first_base.store(*first, Ordering::Release);
            self.find_end(files, &bases)?;
            self.correct_min_offset(files, files.log_min())?;
        }
        self.next_offset.store(self.max_offset(), Ordering::Relaxed);
        self.loaded.store(true, Ordering::Release);
        Ok(())
    }

    fn set_bounds(&self, batch: &BatchConsumeQueue) -> io::Result<()> {
        let (min, max) = batch.bounds()?;
        self.min_offset.store(min, Ordering::Release);
        self.max_offset.store(max, Ordering::Release);
        Ok(())
    }

    /// First units of all files, ascending. A last file without length, as a kill can leave it, is removed.
    fn list(&self, files: &QueueFiles) -> io::Result<Vec<i64>> {
        let dir = files.queue_dir(self);
        let mut bases = Vec::new();
        for item in files.fs().list(&dir)? {
            let Some(position) = file_offset(&item.name).filter(|_| !item.is_dir) else { continue };
            if position % files.file_bytes() != 0 {
                return Err(invalid(format!(
                    "{}: starts at no multiple of {} bytes; set {} to what this store was made with",
                    dir.join(&item.name).display(),
                    files.file_bytes(),
                    files.size_key()
                )));
            }
            bases.push(files.base_of(position));
        }
        bases.sort_unstable();
        if let Some(last) = bases.last().copied() {
            let path = files.file_path(self, last);
            let len = files.fs().len(&files.fs().open(&path)?)?;
            if len == 0 {
                files.remove_file(self, last)?;
                bases.pop();
            } else if len != files.file_bytes() {
                return Err(invalid(format!(
                    "{}: {len} bytes, but {} is {}; set it to what this store was made with",
                    path.display(),
                    files.size_key(),
                    files.file_bytes()
                )));
            }
        }
        Ok(bases)
    }

    /// Sets the max offset behind the last unit of a record before the end of the log; takes away what lies behind it, on
    /// the disk too.
    fn find_end(self: &Arc<Self>, files: &QueueFiles, bases: &[i64]) -> io::Result<()> {
        let log_end = i64::try_from(files.log_end()).unwrap_or(i64::MAX);
        for base in bases.iter().rev() {
            let file = self.open_file(files, *base)?;
            let has_units = files.fs().len(&file.file)? > 0;
            let count = if has_units { files.units_per_file() } else { 0 };
            let is_before = |at: i64| -> io::Result<bool> {
                let unit = read_unit(files, &file, at)?;
                Ok(unit.is_written() && unit.physical_offset < log_end)
            };
            // A unit that lies in two sectors may have reached the disk in half, and seem to be of an early record. The one
            // before it does not.
            let torn = files.distrusts();
            let keep = gallop(count, |at| Ok(is_before(at)? && (!torn || at == 0 || is_before(at - 1)?)))?;
            self.max_offset.store(base + keep, Ordering::Release);
            let is_last = keep > 0 || has_units && bases.first() == Some(base);
            if !is_last {
                self.close();
                files.remove_file(self, *base)?;
            } else if keep < count && (files.distrusts() || read_unit(files, &file, keep)?.is_written()) {
                self.clear(files, &file, keep)?;
            }
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes a file's units from `index` on read as zeroes, also after a loss of power later on.
    fn clear(self: &Arc<Self>, files: &QueueFiles, file: &QueueFile, index: i64) -> io::Result<()> {
        files.fs().zero(&file.file, files.position(index), files.file_bytes() - files.position(index))?;
        files.note_dirty(self, file.base);
        Ok(())
    }

    /// Makes the units from `queue_offset` on vanish; for recovery.
    pub(crate) fn rewind(self: &Arc<Self>, files: &QueueFiles, queue_offset: i64) -> io::Result<()> {
        if let Some(batch) = &self.batch {
            batch.rewind(queue_offset)?;
            self.set_bounds(batch)?;
            self.next_offset.store(self.max_offset(), Ordering::Relaxed);
            return Ok(());
        }
        let bases = self.list(files)?;
        for base in bases.iter().rev() {
            if *base < queue_offset {
                let file = self.open_file(files, *base)?;
                if queue_offset - base < files.units_per_file() {
                    self.clear(files, &file, queue_offset - base)?;
                }
                break;
            }
            self.close();
            files.remove_file(self, *base)?;
        }
        if bases.first().is_none_or(|first| *first >= queue_offset) {
            self.first_base.store(NONE, Ordering::Release);
        }
        self.max_offset.store(queue_offset, Ordering::Release);
        self.min_offset.fetch_min(queue_offset, Ordering::AcqRel);
        self.next_offset.store(self.max_offset(), Ordering::Relaxed);
        Ok(())
    }

    /// Makes the units from `unit` on vanish; for recovery.
    /// # Errors
    /// What the system said.
    pub(crate) fn cut(self: &Arc<Self>, files: &QueueFiles, unit: i64) -> io::Result<()> {
        let Some(batch) = &self.batch else { return self.rewind(files, unit) };
        batch.units().rewind(batch.files(), unit)?;
        self.set_bounds(batch)?;
        self.next_offset.store(self.max_offset(), Ordering::Relaxed);
        Ok(())
    }

    /// Moves the min offset to the first unit whose record lies at or behind `log_min`.
    /// # Errors
    /// What the system said.
    pub(crate) fn correct_min_offset(self: &Arc<Self>, files: &QueueFiles, log_min: u64) -> io::Result<()> {
        if let Some(batch) = &self.batch {
            batch.units().correct_min_offset(batch.files(), log_min)?;
            self.min_offset.store(batch.bounds()?.0, Ordering::Release);
            return Ok(());
        }
        let first_base = self.first_base.load(Ordering::Acquire);
        let max = self.max_offset();
        if first_base == NONE || max == 0 {
            return Ok(());
        }
        let log_min = i64::try_from(log_min).unwrap_or(i64::MAX);
        let gone = |unit: Unit| unit.is_blank() || unit.physical_offset < log_min;
        let mut from = self.min_offset().max(first_base);
        // As a rule nothing has expired, and one look tells.
        if self.units(files, from, 1)?.first().is_some_and(|unit| !gone(*unit)) {
            self.min_offset.store(from, Ordering::Release);
            return Ok(());
        }
        while from < max {
            let base = files.base_at(from);
            let end = max.min(base + files.units_per_file());
            let Some(file) = self.file_if_any(files, base)? else {
                from = end;
                continue;
            };
            if gone(read_unit(files, &file, end - 1 - base)?) {
                from = end;
                continue;
            }
            let start = from - base;
            let skip = partition(end - from, |at| Ok(gone(read_unit(files, &file, start + at)?)))?;
            from += skip;
            break;
        }
        self.min_offset.store(from, Ordering::Release);
        Ok(())
    }

    /// Strikes off files all of whose records lie before `log_min`, never the last one. Returns whether there are files to
    /// remove. When the checkpoint is flushed, [`Queue::remove_struck_off`] may be called.
    /// # Errors
    /// What the system said.
    pub(crate) fn strike_off_expired(self: &Arc<Self>, files: &QueueFiles, log_min: u64) -> io::Result<bool> {
        self.correct_min_offset(files, log_min)?;
        if let Some(batch) = &self.batch {
            return batch.units().strike_off_expired(batch.files(), log_min);
        }
        let first_base = self.first_base.load(Ordering::Acquire);
        if first_base == NONE {
            return Ok(false);
        }
        // What is left from a removal that failed is not struck off twice.
        let mut base = first_base.max(self.struck_off.load(Ordering::Acquire));
        while base + files.units_per_file() <= self.min_offset() && base + files.units_per_file() < self.max_offset() {
            files.strike_off(self, base);
            base += files.units_per_file();
        }
        self.struck_off.store(base, Ordering::Release);
        Ok(first_base < base)
    }

    /// Removes the files that are struck off.
    /// # Errors
    /// What the system said.
    pub(crate) fn remove_struck_off(&self, files: &QueueFiles) -> io::Result<()> {
        if let Some(batch) = &self.batch {
            return batch.units().remove_struck_off(batch.files());
        }
        let end = self.struck_off.load(Ordering::Acquire);
        let mut base = self.first_base.load(Ordering::Acquire);
        while base != NONE && base < end {
            files.fs().remove_file(&files.file_path(self, base))?;
            base += files.units_per_file();
            self.first_base.store(base, Ordering::Release);
        }
        Ok(())
    }

    /// The physical offset behind the last record of the queue; `None` when it has none.
    pub(crate) fn last_physical_end(self: &Arc<Self>, files: &QueueFiles) -> io::Result<Option<u64>> {
        if let Some(batch) = &self.batch {
            return batch.units().last_physical_end(batch.files());
        }
        let max = self.max_offset();
        if max == 0 {
            return Ok(None);
        }
        let unit = self.units(files, max - 1, 1)?.first().copied();
        Ok(unit
            .filter(|unit| unit.is_written() && !unit.is_blank())
            .and_then(|unit| u64::try_from(unit.physical_offset.saturating_add(i64::from(unit.size))).ok()))
    }

    /// What is known of up to `count` records, from the one on that has the message at `queue_offset`.
    /// # Errors
    /// What the system said.
    pub(crate) fn entries(
        self: &Arc<Self>,
        files: &QueueFiles,
        queue_offset: i64,
        count: i64,
    ) -> io::Result<Vec<Entry>> {
        if let Some(batch) = &self.batch {
            return batch.entries(queue_offset, count);
        }
        let bytes = self.read(files, queue_offset, count)?;
        let mut entries = Vec::with_capacity(bytes.len() / UNIT_LEN);
        let units = (queue_offset..).zip(units(&bytes));
        entries.extend(units.map(|(queue_offset, unit)| Entry { queue_offset, count: 1, unit }));
        Ok(entries)
    }

    /// Up to `count` units from `queue_offset` on, of one file; none outside of what the queue holds.
    /// # Errors
    /// What the system said.
    pub(crate) fn units(self: &Arc<Self>, files: &QueueFiles, queue_offset: i64, count: i64) -> io::Result<Vec<Unit>> {
        Ok(units(&self.read(files, queue_offset, count)?).collect())
    }

    /// The bytes of up to `count` units from `queue_offset` on, of one file.
    /// # Errors
    /// What the system said.
    pub(crate) fn read(self: &Arc<Self>, files: &QueueFiles, queue_offset: i64, count: i64) -> io::Result<Vec<u8>> {
        let max = self.max_offset();
        let base = files.base_at(queue_offset);
        let end = max.min(base + files.units_per_file()).min(queue_offset.saturating_add(count));
        if queue_offset < 0 || end <= queue_offset {
            return Ok(Vec::new());
        }
        let Some(file) = self.file_if_any(files, base)? else { return Ok(Vec::new()) };
        let mut bytes = vec![0; usize::try_from(end - queue_offset).unwrap_or(0) * files.unit_len()];
        files.fs().read_exact_at(&file.file, &mut bytes, files.position(queue_offset - base))?;
        Ok(bytes)
    }

    /// Writes whole units from `queue_offset` on and makes new files where needed; nobody sees them before
    /// [`Queue::publish`]. For the dispatcher. Doing it again with the same units changes nothing.
    /// # Errors
    /// What the system said.
    pub(crate) fn write(self: &Arc<Self>, files: &QueueFiles, queue_offset: i64, mut bytes: &[u8]) -> io::Result<()> {
        let mut queue_offset = queue_offset;
        while !bytes.is_empty() {
            let base = files.base_at(queue_offset);
            let room = usize::try_from(base + files.units_per_file() - queue_offset).unwrap_or(0) * files.unit_len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            let file = match self.file_if_any(files, base)? {
                Some(file) => file,
                None => self.create_file(files, base)?,
            };
            files.fs().write_all_at(&file.file, now, files.position(queue_offset - base))?;
            files.note_dirty(self, base);
            queue_offset += i64::try_from(now.len() / files.unit_len()).unwrap_or(0);
            bytes = later;
        }
        Ok(())
    }

    /// Shows everything before `queue_offset`. For the dispatcher.
    pub(crate) fn publish(&self, queue_offset: i64) {
        self.max_offset.fetch_max(queue_offset, Ordering::AcqRel);
    }

    /// Fills the places from the end of the queue to `queue_offset` with blank units; for recovery, when the records
    /// that were there are gone. An empty queue begins in the file that has `queue_offset`.
    /// # Errors
    /// What the system said.
    pub(crate) fn fill_blank(self: &Arc<Self>, files: &QueueFiles, queue_offset: i64) -> io::Result<()> {
        let max = self.max_offset();
        let none_left = self.min_offset() == max;
        if self.batch.is_some() {
            // Units say where they begin.
            if none_left {
                self.min_offset.store(queue_offset, Ordering::Release);
            }
            return Ok(());
        }
        let from = if max == 0 { files.base_at(queue_offset) } else { max };
        let chunk = Unit::BLANK.encode().repeat(1024);
        let mut at = from;
        while at < queue_offset {
            let count = (queue_offset - at).min(1024);
            let len = usize::try_from(count).unwrap_or(0) * files.unit_len();
            self.write(files, at, chunk.get(..len).unwrap_or_default())?;
            at += count;
        }
        self.publish(queue_offset);
        if none_left {
            self.min_offset.store(queue_offset, Ordering::Release);
        }
        Ok(())
    }

    fn open_file(self: &Arc<Self>, files: &QueueFiles, base: i64) -> io::Result<Arc<QueueFile>> {
        self.file_if_any(files, base)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, files.file_path(self, base).display().to_string()))
    }

    fn file_if_any(self: &Arc<Self>, files: &QueueFiles, base: i64) -> io::Result<Option<Arc<QueueFile>>> {
        let hot = self.hot.load();
        if let Some(file) = hot.as_ref().filter(|file| file.base == base) {
            return Ok(Some(Arc::clone(file)));
        }
        match files.fs().open(&files.file_path(self, base)) {
            Ok(file) => {
                let file = Arc::new(QueueFile { base, file });
                // Only the newest file stays open; who reads old ones opens them for the one read.
                if hot.as_ref().is_none_or(|hot| hot.base < base) {
                    self.hot.store(Some(Arc::clone(&file)));
                    files.keep_open(self);
                }
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create_file(self: &Arc<Self>, files: &QueueFiles, base: i64) -> io::Result<Arc<QueueFile>> {
        let path = files.file_path(self, base);
        let file = match files.fs().create(&path, files.file_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                files.fs().create_dir_all(&files.queue_dir(self))?;
                files.fs().create(&path, files.file_bytes())?
            }
            other => other?,
        };
        files.note_created(self, base);
        let file = Arc::new(QueueFile { base, file });
        self.hot.store(Some(Arc::clone(&file)));
        files.keep_open(self);
        let first_base = self.first_base.load(Ordering::Acquire);
        if first_base == NONE || self.max_offset() == 0 {
            self.first_base.store(base, Ordering::Release);
        }
        Ok(file)
    }
}

fn read_unit(files: &QueueFiles, file: &QueueFile, index: i64) -> io::Result<Unit> {
    let mut bytes = [0; UNIT_LEN];
    files.fs().read_exact_at(&file.file, &mut bytes, files.position(index))?;
    Unit::parse(&bytes).map_err(|error| invalid(error.to_string()))
}

/// The first of `0..count` for which `before` is false; `before` is true up to some point and false from there on.
pub(crate) fn partition(count: i64, mut before: impl FnMut(i64) -> io::Result<bool>) -> io::Result<i64> {
    let (mut low, mut high) = (0, count.max(0));
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// [`partition`], with the first looks at growing distances: most queues are short.
fn gallop(count: i64, mut before: impl FnMut(i64) -> io::Result<bool>) -> io::Result<i64> {
    let (mut low, mut high) = (0, PAGE_UNITS);
    while high < count && before(high - 1)? {
        (low, high) = (high, high * 4);
    }
    Ok(low + partition(high.min(count) - low, |at| before(low + at))?)
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_wherever_it_is() {
        for count in [0, 1, PAGE_UNITS, 13 * PAGE_UNITS + 5] {
            for end in 0..=count {
                assert_eq!(gallop(count, |at| Ok(at < end)).unwrap(), end);
                assert_eq!(partition(count, |at| Ok(at < end)).unwrap(), end);
            }
        }
    }
}
