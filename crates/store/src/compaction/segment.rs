//! A pair of files of one name: records, and for each its unit in the sparse queue. The units say what there is: a record
//! counts from when its unit is written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use codec::batch_consume_queue::{BATCH_UNIT_LEN, BatchUnit};
use codec::compaction::{LOG_BLANK_LEN, end_unit, is_unit, log_blank};
use codec::consume_queue::Unit;
use codec::message::{MessageRecord, PHYSICAL_OFFSET_POSITION};

use crate::fs::{FileSystem, next_data};
use crate::mapped_file_queue::file_name;
use crate::mmap::{MappedFile, MappedFileWriter, MappedSlice};
use crate::record::is_torn;

const UNIT: u64 = BATCH_UNIT_LEN as u64;
/// Blocks are taken so many bytes ahead.
const LOG_STEP: u64 = 1 << 20;
const CQ_STEP: u64 = 64 << 10;

/// Lengths of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) log: u64,
    pub(super) cq: u64,
}

/// The two directories of a queue, or of what is made of it.
#[derive(Debug, Clone)]
pub(super) struct Dirs {
    pub(super) log: PathBuf,
    pub(super) cq: PathBuf,
}

impl Dirs {
    pub(super) fn both(&self) -> [&Path; 2] {
        [&self.log, &self.cq]
    }

    /// The paths of a segment.
    pub(super) fn files(&self, first_offset: u64, suffix: &str) -> [PathBuf; 2] {
        let name = file_name(first_offset) + suffix;
        [self.log.join(&name), self.cq.join(name)]
    }
}

/// An open pair of files.
#[derive(Debug)]
pub(super) struct Segment {
    log: Arc<MappedFile>,
    cq: Arc<MappedFile>,
}

/// What a record is filed under.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) queue_offset: i64,
    pub(super) tags_code: i64,
    pub(super) store_timestamp: i64,
}

impl Segment {
    /// Makes the files, with nothing in them. What had these names is gone.
    /// # Errors
    /// What the system said.
    pub(super) fn create(
        fs: &dyn FileSystem,
        dirs: &Dirs,
        first_offset: u64,
        suffix: &str,
        sizes: Sizes,
    ) -> io::Result<SegmentWriter> {
        for dir in dirs.both() {
            fs.create_dir_all(dir)?;
        }
        let [log, cq] = dirs.files(first_offset, suffix);
        for path in [&log, &cq] {
            fs.remove_file(path)?;
        }
        let log_file = fs.create(&log, sizes.log)?;
        let cq_file = fs.create(&cq, sizes.cq)?;
        SegmentWriter::new((log, log_file), (cq, cq_file), first_offset, sizes, 0, 0)
    }

    /// Opens files that exist and have these lengths.
    /// # Errors
    /// What the system said.
    pub(super) fn open(fs: &dyn FileSystem, dirs: &Dirs, first_offset: u64, sizes: Sizes) -> io::Result<SegmentWriter> {
        let [log, cq] = dirs.files(first_offset, "");
        let (log_file, cq_file) = (fs.open(&log)?, fs.open(&cq)?);
        let count = count_units(fs, &cq_file, sizes)?;
        let end = match count.checked_sub(1) {
            Some(last) => read_unit(fs, &cq_file, last)?.map_or(0, |unit| record_end(&unit, first_offset)),
            None => 0,
        };
        SegmentWriter::new((log, log_file), (cq, cq_file), first_offset, sizes, end, count * UNIT)
    }

    pub(super) fn first_offset(&self) -> u64 {
        self.log.first_offset()
    }

    /// How many records there are.
    pub(super) fn count(&self) -> u64 {
        self.cq.published() / UNIT
    }

    pub(super) fn unit(&self, index: u64) -> Option<BatchUnit> {
        let bytes = self.cq.slice(index.checked_mul(UNIT)?, u32::try_from(UNIT).ok()?)?;
        BatchUnit::parse(&bytes).ok()
    }

    /// The unit at an index, whatever is there; `None` behind the end of the file.
    pub(super) fn raw_unit(&self, index: u64) -> Option<BatchUnit> {
        let mut bytes = [0; BATCH_UNIT_LEN];
        let position = index.checked_mul(UNIT).filter(|position| position + UNIT <= self.cq.len())?;
        self.cq.file().read_exact_at(&mut bytes, position).ok()?;
        BatchUnit::parse(&bytes).ok()
    }

    pub(super) fn first_unit(&self) -> Option<BatchUnit> {
        self.unit(0)
    }

    pub(super) fn last_unit(&self) -> Option<BatchUnit> {
        self.unit(self.count().checked_sub(1)?)
    }

    pub(super) fn units(&self, from: u64) -> impl Iterator<Item = BatchUnit> {
        (from..self.count()).map_while(|index| self.unit(index))
    }

    /// How many units come before the first for which `before` is false; they are in that order.
    pub(super) fn partition(&self, before: impl Fn(&BatchUnit) -> bool) -> u64 {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.unit(middle).is_some_and(|unit| before(&unit)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The record of a unit; `None` when the unit points out of the file.
    pub(super) fn record(&self, unit: &BatchUnit) -> Option<MappedSlice> {
        let offset = u64::try_from(unit.unit.physical_offset).ok()?;
        self.log.slice(offset.checked_sub(self.first_offset())?, u32::try_from(unit.unit.size).ok()?)
    }

    /// Whether the record of a unit is there, is that of the unit, and is whole.
    pub(super) fn is_sound(&self, unit: &BatchUnit) -> bool {
        let Some(bytes) = self.record(unit) else { return false };
        let Ok(record) = MessageRecord::parse(&bytes) else { return false };
        record.total_size == bytes.len()
            && (record.queue_offset, record.physical_offset) == (unit.base_offset, unit.unit.physical_offset)
            && record.check_body_crc().is_ok()
            && !is_torn(record.topic, record.properties)
    }

    /// Brings both files to the disk.
    /// # Errors
    /// What the system said.
    pub(super) fn sync(&self, fs: &dyn FileSystem) -> io::Result<()> {
        fs.sync_data(self.log.file())?;
        fs.sync_data(self.cq.file())
    }
}

/// The one who may append to a segment.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    segment: Arc<Segment>,
    log: MappedFileWriter,
    cq: MappedFileWriter,
}

impl SegmentWriter {
    fn new(
        log: (PathBuf, File),
        cq: (PathBuf, File),
        first_offset: u64,
        sizes: Sizes,
        log_end: u64,
        cq_end: u64,
    ) -> io::Result<SegmentWriter> {
        let resume = |(path, file): (PathBuf, File), len: u64, end: u64| {
            let file = MappedFile::map(path, file, first_offset, len)?;
            file.set_allocated(end);
            Ok::<_, io::Error>(file.resume(end))
        };
        let ((log, log_writer), (cq, cq_writer)) = (resume(log, sizes.log, log_end)?, resume(cq, sizes.cq, cq_end)?);
        Ok(SegmentWriter { segment: Arc::new(Segment { log, cq }), log: log_writer, cq: cq_writer })
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Appends a record, which gets the offset that it has here. `false`: the segment is full.
    /// # Errors
    /// What the system said; nothing was appended.
    pub(super) fn append(&mut self, fs: &dyn FileSystem, record: &[u8], place: Place) -> io::Result<bool> {
        let len = record.len() as u64;
        if len + LOG_BLANK_LEN as u64 > self.log.space() || self.cq.space() <= UNIT {
            return Ok(false);
        }
        let head = record.get(..PHYSICAL_OFFSET_POSITION).zip(record.get(PHYSICAL_OFFSET_POSITION + 8..));
        let (Some((head, tail)), Ok(size)) = (head, i32::try_from(len)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a record that is shorter than its head"));
        };
        allocate(fs, &self.log, len, LOG_STEP)?;
        allocate(fs, &self.cq, UNIT, CQ_STEP)?;
        let offset = self.segment.first_offset() + self.log.position();
        let physical_offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let unit = BatchUnit {
            unit: Unit { physical_offset, size, tags_code: place.tags_code },
            store_timestamp: place.store_timestamp,
            base_offset: place.queue_offset,
            count: 1,
        };
        let written = self.log.append(head)
            && self.log.append(&physical_offset.to_be_bytes())
            && self.log.append(tail)
            && self.cq.append(&unit.encode());
        if !written {
            self.log.rewind();
            return Err(io::Error::other("no blocks were taken for a record"));
        }
        self.log.publish();
        self.cq.publish();
        Ok(true)
    }

    /// Marks the end of both files; nothing is appended any more.
    /// # Errors
    /// What the system said.
    pub(super) fn close(mut self, fs: &dyn FileSystem) -> io::Result<Arc<Segment>> {
        if self.log.space() >= LOG_BLANK_LEN as u64 {
            allocate(fs, &self.log, LOG_BLANK_LEN as u64, LOG_STEP)?;
            self.log.append(&log_blank(i32::try_from(self.log.space()).unwrap_or(i32::MAX)));
        }
        if self.cq.space() >= UNIT {
            allocate(fs, &self.cq, UNIT, CQ_STEP)?;
            self.cq.append(&end_unit());
        }
        Ok(self.segment)
    }

    /// Makes everything read as zeroes that lies behind what there is.
    /// # Errors
    /// What the system said.
    pub(super) fn clear_rest(&self, fs: &dyn FileSystem) -> io::Result<()> {
        for (writer, file) in [(&self.log, &self.segment.log), (&self.cq, &self.segment.cq)] {
            let end = writer.position();
            if end < file.len() && next_data(file.file(), end).is_some() {
                fs.zero(file.file(), end, file.len() - end)?;
            }
        }
        Ok(())
    }

    /// Takes back all units from `count` on. By value, and at a start only: nobody has a slice of them.
    /// # Errors
    /// What the system said.
    pub(super) fn cut(self, fs: &dyn FileSystem, dirs: &Dirs, count: u64, sizes: Sizes) -> io::Result<SegmentWriter> {
        let first_offset = self.segment.first_offset();
        let position = count * UNIT;
        fs.zero(self.segment.cq.file(), position, sizes.cq.saturating_sub(position))?;
        drop(self);
        let cut = Segment::open(fs, dirs, first_offset, sizes)?;
        cut.clear_rest(fs)?;
        Ok(cut)
    }
}

/// Takes blocks for `len` bytes more.
fn allocate(fs: &dyn FileSystem, writer: &MappedFileWriter, len: u64, step: u64) -> io::Result<()> {
    let (file, end) = (writer.file(), writer.position() + len);
    let from = file.allocated();
    if end > from {
        let to = end.next_multiple_of(step).min(file.len());
        fs.allocate(file.file(), from, to - from)?;
        file.set_allocated(to);
    }
    Ok(())
}

/// Position behind the record of a unit in its file.
fn record_end(unit: &BatchUnit, first_offset: u64) -> u64 {
    let offset = u64::try_from(unit.unit.physical_offset).unwrap_or(0);
    offset.saturating_sub(first_offset) + u64::try_from(unit.unit.size).unwrap_or(0)
}

fn read_unit(fs: &dyn FileSystem, file: &File, index: u64) -> io::Result<Option<BatchUnit>> {
    let mut bytes = [0; BATCH_UNIT_LEN];
    fs.read_exact_at(file, &mut bytes, index * UNIT)?;
    Ok(BatchUnit::parse(&bytes).ok().filter(is_unit))
}

/// How many units a file begins with. They are written from front to back, so a few looks are enough.
fn count_units(fs: &dyn FileSystem, file: &File, sizes: Sizes) -> io::Result<u64> {
    let (mut low, mut high) = (0, sizes.cq / UNIT);
    while low < high {
        let middle = low + (high - low) / 2;
        if read_unit(fs, file, middle)?.is_some() {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
