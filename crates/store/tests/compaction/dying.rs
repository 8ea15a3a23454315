//! A disk that does nothing more from some step on, as if the process had been killed there.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use store::{DirItem, DiskUsage, FileSystem, RealFileSystem};

/// Counts what changes something, and fails all of it once it is dead.
#[derive(Debug, Default)]
pub struct Dying(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    left: Option<usize>,
    dead: bool,
    last: String,
}

impl Dying {
    /// So many steps more are done.
    pub fn die_after(&self, steps: usize) {
        self.0.lock().unwrap().left = Some(steps);
    }

    pub fn is_dead(&self) -> bool {
        self.0.lock().unwrap().dead
    }

    /// The last step that was done.
    pub fn last(&self) -> String {
        self.0.lock().unwrap().last.clone()
    }

    fn step<T>(&self, name: &str, path: &Path, what: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        match &mut state.left {
            Some(0) => state.dead = true,
            Some(left) => *left -= 1,
            None => {}
        }
        if state.dead {
            return Err(io::Error::other("dead"));
        }
        state.last = format!("{name} {}", path.display());
        what()
    }
}

impl FileSystem for Dying {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.step("create_dir_all", path, || RealFileSystem.create_dir_all(path))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirItem>> {
        RealFileSystem.list(path)
    }
    fn open(&self, path: &Path) -> io::Result<File> {
        RealFileSystem.open(path)
    }
    fn create(&self, path: &Path, len: u64) -> io::Result<File> {
        // A kill may come between the name and the length.
        self.step("create", path, || RealFileSystem.create(path, 0))?;
        self.step("set_len", path, || RealFileSystem.create(path, len))
    }
    fn len(&self, file: &File) -> io::Result<u64> {
        RealFileSystem.len(file)
    }
    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.step("set_len", Path::new(""), || RealFileSystem.set_len(file, len))
    }
    fn modified_ms(&self, file: &File) -> io::Result<i64> {
        RealFileSystem.modified_ms(file)
    }
    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        self.step("allocate", Path::new(""), || RealFileSystem.allocate(file, position, len))
    }
    fn zero(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        self.step("zero", Path::new(""), || RealFileSystem.zero(file, position, len))
    }
    fn read_exact_at(&self, file: &File, bytes: &mut [u8], position: u64) -> io::Result<()> {
        RealFileSystem.read_exact_at(file, bytes, position)
    }
    fn write_all_at(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        self.step("write_all_at", Path::new(""), || RealFileSystem.write_all_at(file, bytes, position))
    }
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.step("sync_data", Path::new(""), || RealFileSystem.sync_data(file))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step("sync_dir", path, || RealFileSystem.sync_dir(path))
    }
    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.step("sync_all", path, || RealFileSystem.sync_all(path))
    }
    fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // In two parts, as a kill may leave it.
        let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
        self.step("write_file", path, || RealFileSystem.write_file(path, half))?;
        self.step("write_file", path, || RealFileSystem.write_file(path, bytes))
    }
    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        RealFileSystem.read_file(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step("rename", from, || RealFileSystem.rename(from, to))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step("remove_file", path, || RealFileSystem.remove_file(path))
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.step("remove_dir_all", path, || RealFileSystem.remove_dir_all(path))
    }
    fn usage(&self, path: &Path) -> io::Result<DiskUsage> {
        RealFileSystem.usage(path)
    }
}
