//! `compaction/position-checkpoint`: how far each queue was compacted.

use std::io;
use std::path::PathBuf;

use codec::compaction::Positions;
use parking_lot::Mutex;
use tracing::warn;

use crate::fs::FileSystem;

/// The file, replaced as a whole; the content before is kept as `.bak`, as Java does. Losing it costs one compaction more.
#[derive(Debug)]
pub(super) struct PositionFile {
    path: PathBuf,
    positions: Mutex<Positions>,
}

impl PositionFile {
    /// Reads the file at `path`, or the one before when that is gone or torn.
    /// # Errors
    /// What the system said.
    pub(super) fn open(fs: &dyn FileSystem, path: PathBuf) -> io::Result<PositionFile> {
        let mut positions = Positions::default();
        for path in [path.clone(), path.with_extension("bak")] {
            match fs.read_file(&path)?.map(|text| Positions::parse(&text)) {
                Some(Ok(found)) => {
                    positions = found;
                    break;
                }
                Some(Err(error)) => warn!(path = %path.display(), %error, "not read"),
                None => {}
            }
        }
        Ok(PositionFile { path, positions: Mutex::new(positions) })
    }

    /// Messages of a queue up to this queue offset were compacted; -1: none.
    pub(super) fn get(&self, topic: &str, queue_id: i32) -> i64 {
        self.positions.lock().by_queue.get(&Positions::key(topic, queue_id)).copied().unwrap_or(-1)
    }

    /// # Errors
    /// What the system said.
    pub(super) fn set(&self, fs: &dyn FileSystem, topic: &str, queue_id: i32, position: i64) -> io::Result<()> {
        let mut positions = self.positions.lock();
        positions.by_queue.insert(Positions::key(topic, queue_id), position);
        self.write(fs, &positions)
    }

    /// # Errors
    /// What the system said.
    pub(super) fn forget(&self, fs: &dyn FileSystem, topic: &str, queue_id: i32) -> io::Result<()> {
        let mut positions = self.positions.lock();
        match positions.by_queue.remove(&Positions::key(topic, queue_id)) {
            Some(_) => self.write(fs, &positions),
            None => Ok(()),
        }
    }

    fn write(&self, fs: &dyn FileSystem, positions: &Positions) -> io::Result<()> {
        let (new, old) = (self.path.with_extension("tmp"), self.path.with_extension("bak"));
        fs.write_file(&new, &positions.encode())?;
        fs.sync_data(&fs.open(&new)?)?;
        match fs.rename(&self.path, &old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs.rename(&new, &self.path)?,
        }
        self.path.parent().map_or(Ok(()), |dir| fs.sync_dir(dir))
    }
}
