//! The file system as the store uses it: a seam, so that tests can record, delay and fail what is written.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::list;

/// One item of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirItem {
    /// Its name; names that are not UTF-8 are left out of listings.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Room on the file system of a directory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUsage {
    /// Used by anyone.
    pub used: u64,
    /// Free for this process.
    pub available: u64,
}

impl DiskUsage {
    /// Used part in 0.0..=1.0, in whole percent rounded up, as Java reckons it (UtilAll.getDiskPartitionSpaceUsedPercent).
    #[must_use]
    pub fn ratio(&self) -> f64 {
        f64::from(self.percent()) / 100.0
    }

    /// [`DiskUsage::ratio`] in percent.
    #[must_use]
    pub fn percent(&self) -> u8 {
        let whole = u128::from(self.used) + u128::from(self.available);
        if whole == 0 {
            return 0;
        }
        u8::try_from((u128::from(self.used) * 100).div_ceil(whole)).unwrap_or(100)
    }
}

/// What the store asks of a file system. Memory maps are made from the files it hands out.
pub trait FileSystem: Debug + Send + Sync {
    /// Creates a directory and its parents; fine when it is there.
    /// # Errors
    /// What the system said; so for all methods here.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// What a directory holds, in no order; nothing when it does not exist.
    fn list(&self, path: &Path) -> io::Result<Vec<DirItem>>;
    /// The directories that a directory holds, each with its name and what it holds, in no order.
    fn list_dirs(&self, path: &Path) -> io::Result<Vec<(String, Vec<DirItem>)>> {
        let dirs = self.list(path)?.into_iter().filter(|item| item.is_dir);
        dirs.map(|dir| self.list(&path.join(&dir.name)).map(|items| (dir.name, items))).collect()
    }
    /// Opens a file that exists for reading and writing.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// Opens a file for reading and writing, makes it when it does not exist, and gives it this length without taking
    /// blocks for it.
    fn create(&self, path: &Path, len: u64) -> io::Result<File>;
    /// Bytes of an open file.
    fn len(&self, file: &File) -> io::Result<u64>;
    /// Gives an open file another length; what lies behind a shorter one is given back to the file system.
    fn set_len(&self, file: &File, len: u64) -> io::Result<()>;
    /// When a file was last changed, ms since 1970.
    fn modified_ms(&self, file: &File) -> io::Result<i64>;
    /// Takes real blocks for a range, so that writing there, also through a map, cannot run out of space. What is there
    /// stays; where nothing is, zeroes read.
    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()>;
    /// Makes a range read as zeroes; it may lose its blocks.
    fn zero(&self, file: &File, position: u64, len: u64) -> io::Result<()>;
    /// Reads until `bytes` is full.
    fn read_exact_at(&self, file: &File, bytes: &mut [u8], position: u64) -> io::Result<()>;
    /// Writes all of `bytes`.
    fn write_all_at(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Brings the file's content to the disk, what was written through maps included.
    fn sync_data(&self, file: &File) -> io::Result<()>;
    /// Brings a directory's entries to the disk.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Brings everything on the file system of this directory to the disk.
    fn sync_all(&self, path: &Path) -> io::Result<()>;
    /// Replaces a small file's content in place.
    fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// The content of a file; `None` when it does not exist.
    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// Gives a file another name, of the same file system; a file that had that name is gone, at once.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; fine when it does not exist.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all it holds; fine when it does not exist.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Room on the file system of `path`.
    fn usage(&self, path: &Path) -> io::Result<DiskUsage>;
}

/// The real one.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFileSystem;

static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];

impl FileSystem for RealFileSystem {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirItem>> {
        list::list(path)
    }

    fn list_dirs(&self, path: &Path) -> io::Result<Vec<(String, Vec<DirItem>)>> {
        list::list_dirs(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn create(&self, path: &Path, len: u64) -> io::Result<File> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.set_len(len)?;
        Ok(file)
    }

    fn len(&self, file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn modified_ms(&self, file: &File) -> io::Result<i64> {
        let since = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(file, FallocateFlags::empty(), position, len) {
            Ok(()) => Ok(()),
            // File systems without fallocate: blocks come by writing. Only ranges that hold nothing are asked for.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill_holes(file, position, len),
            Err(error) => Err(error.into()),
        }
    }

    fn zero(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(file, mode, position, len) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeroes(file, position, len),
            Err(error) => Err(error.into()),
        }
    }

    fn read_exact_at(&self, file: &File, bytes: &mut [u8], position: u64) -> io::Result<()> {
        file.read_exact_at(bytes, position)
    }

    fn write_all_at(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        file.write_all_at(bytes, position)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(path)?)?)
    }

    fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::write(path, bytes)
    }

    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        none_when_missing(fs::read(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        none_when_missing(fs::remove_file(path)).map(drop)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        none_when_missing(fs::remove_dir_all(path)).map(drop)
    }

    fn usage(&self, path: &Path) -> io::Result<DiskUsage> {
        let stat = rustix::fs::statvfs(path)?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
        Ok(DiskUsage { used, available: stat.f_bavail.saturating_mul(stat.f_frsize) })
    }
}

/// The first position at or behind `position` that may hold anything but zeroes; `None` when none does. Preallocated
/// files are mostly holes.
#[must_use]
pub fn next_data(file: &File, position: u64) -> Option<u64> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(position)) {
        Ok(data) => Some(data.max(position)),
        Err(Errno::NXIO) => None,
        // A file system that cannot tell.
        Err(_) => Some(position),
    }
}

fn none_when_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write_zeroes(file: &File, position: u64, len: u64) -> io::Result<()> {
    let (mut at, end) = (position, position + len);
    while at < end {
        let chunk = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROES.len());
        file.write_all_at(ZEROES.get(..chunk).unwrap_or_default(), at)?;
        at += chunk as u64;
    }
    Ok(())
}

/// Writes zeroes over what reads as zeroes in pages of 4 KiB, which gives them blocks and leaves data alone.
fn fill_holes(file: &File, position: u64, len: u64) -> io::Result<()> {
    let mut page = [0; 4096];
    let (mut at, end) = (position, position + len);
    while at < end {
        let chunk = usize::try_from(end - at).unwrap_or(usize::MAX).min(page.len());
        let bytes = page.get_mut(..chunk).unwrap_or_default();
        file.read_exact_at(bytes, at)?;
        if bytes.iter().all(|byte| *byte == 0) {
            file.write_all_at(bytes, at)?;
        }
        at += chunk as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_allocate_keep_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealFileSystem.create(&dir.path().join("f"), 20_000).unwrap();
        RealFileSystem.write_all_at(&file, &[7; 20_000], 0).unwrap();
        RealFileSystem.zero(&file, 5000, 10_000).unwrap();
        RealFileSystem.allocate(&file, 0, 20_000).unwrap();
        let mut bytes = vec![1; 20_000];
        RealFileSystem.read_exact_at(&file, &mut bytes, 0).unwrap();
        assert!(bytes[..5000].iter().chain(&bytes[15_000..]).all(|byte| *byte == 7));
        assert!(bytes[5000..15_000].iter().all(|byte| *byte == 0));
        write_zeroes(&file, 0, 5000).unwrap();
        fill_holes(&file, 0, 20_000).unwrap();
        RealFileSystem.read_exact_at(&file, &mut bytes, 0).unwrap();
        assert!(bytes[..15_000].iter().all(|byte| *byte == 0) && bytes[15_000..].iter().all(|byte| *byte == 7));
    }

    #[test]
    fn holes_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealFileSystem.create(&dir.path().join("f"), 1 << 20).unwrap();
        RealFileSystem.allocate(&file, 0, 1 << 20).unwrap();
        RealFileSystem.write_all_at(&file, &[7], 700_000).unwrap();
        let data = next_data(&file, 5).unwrap();
        assert!((5..=700_000).contains(&data), "{data}");
        assert_eq!(next_data(&file, 700_000), Some(700_000));
    }

    #[test]
    fn percent_rounds_up() {
        assert_eq!(DiskUsage { used: 1, available: 999 }.percent(), 1);
        assert_eq!(DiskUsage { used: 75, available: 25 }.percent(), 75);
        assert_eq!(DiskUsage::default().percent(), 0);
    }
}
