//! A disk that fails, or is full.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

use store::{
    DirItem, DiskUsage, FileSystem, MessageStore, NoListener, OpenError, RealFileSystem, StoreConfig, SystemClock,
};

/// Fails one operation on files whose path contains a word, for as long as it is set.
#[derive(Debug, Default)]
pub struct Faults {
    fail: Mutex<Option<(&'static str, &'static str, i32)>>,
    pub usage: Mutex<Option<DiskUsage>>,
    /// Paths with this word are on a disk that is nearly full.
    pub nearly_full: Mutex<Option<&'static str>>,
    /// Paths with these words have so many bytes free.
    pub free: Mutex<Vec<(&'static str, u64)>>,
    /// Lengths that open files were given, in turn.
    pub lens: Mutex<Vec<u64>>,
}

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

impl Faults {
    pub fn set(&self, operation: &'static str, path: &'static str, errno: i32) {
        *self.fail.lock().unwrap() = Some((operation, path, errno));
    }

    pub fn lift(&self) {
        *self.fail.lock().unwrap() = None;
    }

    fn check(&self, operation: &str, path: &Path) -> io::Result<()> {
        match *self.fail.lock().unwrap() {
            Some((failing, word, errno)) if failing == operation && path.to_str().unwrap().contains(word) => {
                Err(io::Error::from_raw_os_error(errno))
            }
            _ => Ok(()),
        }
    }

    fn check_file(&self, operation: &str, file: &File) -> io::Result<()> {
        self.check(operation, &std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default())
    }
}

impl FileSystem for Faults {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.check("create_dir_all", path)?;
        RealFileSystem.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirItem>> {
        RealFileSystem.list(path)
    }
    fn open(&self, path: &Path) -> io::Result<File> {
        RealFileSystem.open(path)
    }
    fn create(&self, path: &Path, len: u64) -> io::Result<File> {
        self.check("create", path)?;
        RealFileSystem.create(path, len)
    }
    fn len(&self, file: &File) -> io::Result<u64> {
        RealFileSystem.len(file)
    }
    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.lens.lock().unwrap().push(len);
        RealFileSystem.set_len(file, len)
    }
    fn modified_ms(&self, file: &File) -> io::Result<i64> {
        RealFileSystem.modified_ms(file)
    }
    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        self.check_file("allocate", file)?;
        RealFileSystem.allocate(file, position, len)
    }
    fn zero(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        RealFileSystem.zero(file, position, len)
    }
    fn read_exact_at(&self, file: &File, bytes: &mut [u8], position: u64) -> io::Result<()> {
        RealFileSystem.read_exact_at(file, bytes, position)
    }
    fn write_all_at(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        self.check_file("write_all_at", file)?;
        RealFileSystem.write_all_at(file, bytes, position)
    }
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.check_file("sync_data", file)?;
        RealFileSystem.sync_data(file)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.check("sync_dir", path)?;
        RealFileSystem.sync_dir(path)
    }
    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.check("sync_all", path)?;
        RealFileSystem.sync_all(path)
    }
    fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        RealFileSystem.write_file(path, bytes)
    }
    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        RealFileSystem.read_file(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check("rename", from)?;
        RealFileSystem.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check("remove_file", path)?;
        RealFileSystem.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.remove_dir_all(path)
    }
    fn usage(&self, path: &Path) -> io::Result<DiskUsage> {
        if self.nearly_full.lock().unwrap().is_some_and(|word| path.to_str().unwrap().contains(word)) {
            return Ok(DiskUsage { used: 86, available: 14 });
        }
        if let Some((_, free)) =
            self.free.lock().unwrap().iter().find(|(word, _)| path.to_str().unwrap().contains(word))
        {
            return Ok(DiskUsage { used: free / 9, available: *free });
        }
        self.usage.lock().unwrap().map_or_else(|| RealFileSystem.usage(path), Ok)
    }
}

pub fn with(config: StoreConfig) -> (Arc<Faults>, Result<MessageStore, OpenError>) {
    let faults = Arc::new(Faults::default());
    let store = open_on(&faults, config);
    (faults, store)
}

pub fn open_on(faults: &Arc<Faults>, config: StoreConfig) -> Result<MessageStore, OpenError> {
    MessageStore::open_with(config, Arc::new(NoListener), Arc::clone(faults) as _, Arc::new(SystemClock))
}
