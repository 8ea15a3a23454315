//! Memory maps: the only place that turns mapped memory into Rust references.
//!
//! Two kinds. A [`MappedFile`] is written once from front to back by one [`MappedFileWriter`] and read below its
//! published position only, so what a [`MappedSlice`] shows never changes. [`MappedCells`] are counters that change in
//! place; they are read and written as atomics and never lent out as bytes.
#![allow(unsafe_code, reason = "the one module for memory maps; each block says why it is sound")]

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::sys;

/// A file of fixed length, mapped whole. Bytes below [`MappedFile::published`] are immutable, bytes from there on belong
/// to the writer, if there is one.
pub(crate) struct MappedFile {
    path: PathBuf,
    first_offset: u64,
    map: MmapRaw,
    file: File,
    published: AtomicU64,
    /// Position up to which blocks are known to exist: writing beyond it could raise SIGBUS on a full disk.
    allocated: AtomicU64,
}

impl MappedFile {
    /// Maps `len` bytes of `file`, which must have them; everything counts as published. `first_offset` is the offset
    /// of the file's first byte in the log it is part of.
    pub(crate) fn map(path: PathBuf, file: File, first_offset: u64, len: u64) -> io::Result<MappedFile> {
        let map_len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let map = MmapOptions::new().len(map_len).map_raw(&file)?;
        Ok(MappedFile { path, first_offset, map, file, published: AtomicU64::new(len), allocated: AtomicU64::new(0) })
    }

    /// Takes everything from `position` on out of sight and gives it to a writer. By value: nobody can hold a slice of
    /// a file that has not been shared yet.
    pub(crate) fn resume(self, position: u64) -> (Arc<MappedFile>, MappedFileWriter) {
        let position = position.min(self.len());
        self.published.store(position, Ordering::Release);
        let file = Arc::new(self);
        (Arc::clone(&file), MappedFileWriter { file, position })
    }

    /// Unmaps it. By value: nobody holds a slice of it, so it may be made shorter.
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn first_offset(&self) -> u64 {
        self.first_offset
    }

    /// Offset behind the last byte.
    pub(crate) fn end_offset(&self) -> u64 {
        self.first_offset + self.len()
    }

    pub(crate) fn len(&self) -> u64 {
        self.map.len() as u64
    }

    /// Position up to which bytes may be read.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Position up to which the writer may write.
    pub(crate) fn allocated(&self) -> u64 {
        self.allocated.load(Ordering::Acquire)
    }

    /// Real blocks exist up to `position`.
    pub(crate) fn set_allocated(&self, position: u64) {
        self.allocated.fetch_max(position.min(self.len()), Ordering::AcqRel);
    }

    /// All published bytes; for recovery, which has the file to itself.
    pub(crate) fn published_bytes(&self) -> &[u8] {
        let len = usize::try_from(self.published()).unwrap_or(self.map.len()).min(self.map.len());
        // SAFETY: the mapping lives as long as self; bytes below `published` are not written any more (the writer only
        // writes from its position on, which is never below `published`).
        unsafe { std::slice::from_raw_parts(self.map.as_ptr(), len) }
    }

    /// `len` bytes from `position` on; `None` unless all of them are published.
    pub(crate) fn slice(self: &Arc<Self>, position: u64, len: u32) -> Option<MappedSlice> {
        if position.checked_add(u64::from(len))? > self.published() {
            return None;
        }
        let start = usize::try_from(position).ok()?;
        Some(MappedSlice { file: Arc::clone(self), start, len: usize::try_from(len).ok()? })
    }

    /// Has the kernel provide the pages from `position` to `end` for writing, so that nobody who writes there waits for that.
    /// Where it cannot, writing does it.
    pub(crate) fn prefault(&self, position: u64, end: u64) {
        let end = end.min(self.allocated());
        let (Ok(position), Ok(len)) = (usize::try_from(position), usize::try_from(end.saturating_sub(position))) else {
            return;
        };
        if len > 0 {
            let _ = self.map.advise_range(Advice::PopulateWrite, position, len);
        }
    }

    /// Tells the kernel whether to read ahead. Advice: where it is not taken, nothing is lost.
    pub(crate) fn set_read_ahead(&self, enabled: bool) {
        let _ = self.map.advise(if enabled { Advice::Normal } else { Advice::Random });
    }

    /// Whether all pages of a range are in memory.
    pub(crate) fn is_resident(&self, position: u64, len: u32) -> bool {
        let page = 4096;
        let (Ok(position), Ok(len)) = (usize::try_from(position), usize::try_from(len)) else {
            return false;
        };
        let start = position / page * page;
        if len == 0 || position.saturating_add(len) > self.map.len() {
            return false;
        }
        // SAFETY: the range lies in the mapping, checked above; mappings and `start` are page-aligned.
        let pages = unsafe { sys::resident_pages(self.map.as_ptr().add(start), position + len - start) };
        pages.is_some_and(|pages| pages.iter().all(|page| page & 1 == 1))
    }
}

impl fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedFile").field("path", &self.path).field("published", &self.published()).finish()
    }
}

/// The one who may write to a mapped file, from front to back.
#[derive(Debug)]
pub(crate) struct MappedFileWriter {
    file: Arc<MappedFile>,
    position: u64,
}

impl MappedFileWriter {
    pub(crate) fn file(&self) -> &Arc<MappedFile> {
        &self.file
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes left.
    pub(crate) fn space(&self) -> u64 {
        self.file.len() - self.position
    }

    /// Writes `bytes` behind what was written before; nobody sees them before [`MappedFileWriter::publish`]. `false`
    /// and nothing written when there is no space, or no blocks for it.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> bool {
        let len = bytes.len() as u64;
        let Ok(start) = usize::try_from(self.position) else { return false };
        if self.position + len > self.file.allocated() {
            return false;
        }
        // SAFETY: the range lies in the mapping, since `allocated` never exceeds its length. It is at or above `published`, so no slice covers it,
        // and there is one writer per file (made by `resume`, not cloneable, `&mut self`), so nobody else touches it.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.file.map.as_mut_ptr().add(start), bytes.len());
        }
        self.position += len;
        true
    }

    /// Takes back what was written since the last publish.
    pub(crate) fn rewind(&mut self) {
        self.position = self.file.published();
    }

    /// Shows everything written so far.
    pub(crate) fn publish(&self) {
        self.file.published.store(self.position, Ordering::Release);
    }

    /// Gives the rest of the file away as it is: it reads as part of the file from now on.
    pub(crate) fn finish(self) {
        self.file.published.store(self.file.len(), Ordering::Release);
    }
}

/// A range of published bytes of a mapped file. Keeps the file mapped as long as it lives, also when the file has been
/// deleted meanwhile; cheap to clone.
#[derive(Clone)]
pub struct MappedSlice {
    file: Arc<MappedFile>,
    start: usize,
    len: usize,
}

impl MappedSlice {
    /// Position of the first byte in the log.
    #[must_use]
    pub fn physical_offset(&self) -> u64 {
        self.file.first_offset + self.start as u64
    }

    /// Everything from the start of this slice to the end of `last`, which lies behind it in the same file; `None` when it
    /// does not.
    #[must_use]
    pub fn through(&self, last: &MappedSlice) -> Option<MappedSlice> {
        let end = last.start + last.len;
        let is_behind = Arc::ptr_eq(&self.file, &last.file) && self.start + self.len <= end && self.start <= last.start;
        is_behind.then(|| MappedSlice { file: Arc::clone(&self.file), start: self.start, len: end - self.start })
    }
}

impl std::ops::Deref for MappedSlice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the range was published when the slice was made (`MappedFile::slice`); published bytes are never
        // written again, `published` never goes back once the file is shared, and `file` keeps the mapping alive.
        unsafe { std::slice::from_raw_parts(self.file.map.as_ptr().add(self.start), self.len) }
    }
}

impl AsRef<[u8]> for MappedSlice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for MappedSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedSlice").field("physical_offset", &self.physical_offset()).field("len", &self.len).finish()
    }
}

/// The start of a file mapped as big-endian numbers that change in place. The blocks must have been allocated.
#[derive(Debug)]
pub(crate) struct MappedCells {
    map: MmapRaw,
}

impl MappedCells {
    /// Maps the first `len` bytes of `file`, which must have them.
    pub(crate) fn map(file: &File, len: u64) -> io::Result<MappedCells> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(MappedCells { map: MmapOptions::new().len(len).map_raw(file)? })
    }

    /// The number at `position`; 0 outside of the mapping or at a position that is not a multiple of 4.
    pub(crate) fn load_u32(&self, position: u64) -> u32 {
        self.cell_u32(position).map_or(0, |cell| u32::from_be(cell.load(Ordering::Acquire)))
    }

    /// Sets the number at `position`; nothing happens where [`MappedCells::load_u32`] gives 0 for want of a cell.
    pub(crate) fn store_u32(&self, position: u64, value: u32) {
        if let Some(cell) = self.cell_u32(position) {
            cell.store(value.to_be(), Ordering::Release);
        }
    }

    /// As [`MappedCells::load_u32`], at multiples of 8.
    pub(crate) fn load_i64(&self, position: u64) -> i64 {
        self.cell_i64(position).map_or(0, |cell| i64::from_be(cell.load(Ordering::Acquire)))
    }

    /// As [`MappedCells::store_u32`], at multiples of 8.
    pub(crate) fn store_i64(&self, position: u64, value: i64) {
        if let Some(cell) = self.cell_i64(position) {
            cell.store(value.to_be(), Ordering::Release);
        }
    }

    fn cell_u32(&self, position: u64) -> Option<&AtomicU32> {
        let at = self.place(position, 4)?;
        // SAFETY: `place` checked range and alignment (mappings are page-aligned); the mapping lives as long as self and
        // this process touches it through atomics only. AtomicU32 allows any bits.
        Some(unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(at).cast()) })
    }

    fn cell_i64(&self, position: u64) -> Option<&AtomicI64> {
        let at = self.place(position, 8)?;
        // SAFETY: as for `cell_u32`. The cells of a file have one width each, so no two atomics overlap.
        Some(unsafe { AtomicI64::from_ptr(self.map.as_mut_ptr().add(at).cast()) })
    }

    fn place(&self, position: u64, width: usize) -> Option<usize> {
        let at = usize::try_from(position).ok()?;
        (at.is_multiple_of(width) && at.checked_add(width)? <= self.map.len()).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(len: u64) -> (tempfile::TempDir, MappedFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000001000");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.set_len(len).unwrap();
        let mapped = MappedFile::map(path, file, 1000, len).unwrap();
        mapped.set_allocated(len + 5);
        (dir, mapped)
    }

    #[test]
    fn unpublished_bytes_cannot_be_reached() {
        let (_dir, mapped) = mapped(100);
        assert_eq!(mapped.published_bytes().len(), 100);
        let (file, mut writer) = mapped.resume(0);
        assert!(writer.append(b"abc"));
        assert!(file.slice(0, 1).is_none());
        writer.publish();
        assert_eq!(&*file.slice(1, 2).unwrap(), b"bc");
        assert_eq!(file.slice(1, 2).unwrap().physical_offset(), 1001);
        assert!(file.slice(1, 3).is_none());
        assert!(file.slice(u64::MAX, 3).is_none());
        assert!(!writer.append(&[0; 98]));
        assert!(writer.append(&[1; 97]));
        writer.rewind();
        assert_eq!(writer.position(), 3);
        writer.finish();
        assert_eq!(file.published(), 100);
    }

    #[test]
    fn slices_outlive_the_file() {
        let (dir, mapped) = mapped(10);
        let (file, mut writer) = mapped.resume(0);
        writer.append(b"abc");
        writer.publish();
        let slice = file.slice(0, 3).unwrap();
        drop((writer, file));
        dir.close().unwrap();
        assert_eq!(&*slice, b"abc");
    }

    #[test]
    fn cells_are_big_endian_and_bounded() {
        let (_dir, mapped) = mapped(16);
        let cells = MappedCells::map(mapped.file(), 16).unwrap();
        cells.store_i64(0, 0x0102_0304_0506_0708);
        cells.store_u32(12, 7);
        cells.store_u32(13, 9);
        cells.store_u32(16, 9);
        assert_eq!(cells.load_i64(0), 0x0102_0304_0506_0708);
        assert_eq!((cells.load_u32(12), cells.load_u32(16)), (7, 0));
        assert_eq!(mapped.published_bytes()[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn written_pages_are_resident() {
        let (_dir, mapped) = mapped(8192);
        let (file, mut writer) = mapped.resume(0);
        writer.append(&[1; 8192]);
        writer.publish();
        assert!(file.is_resident(4000, 200));
        assert!(!file.is_resident(8000, 200));
    }
}
