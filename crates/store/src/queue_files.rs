//! What all consume queues share: where their files lie, which of them are open, which must be flushed.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use codec::batch_consume_queue::BATCH_UNIT_LEN;
use codec::consume_queue::UNIT_LEN;
use parking_lot::Mutex;

use crate::checkpoint::StoreCheckpoint;
use crate::consume_queue::Queue;
use crate::fs::{DirItem, FileSystem};
use crate::inventory::Inventory;
use crate::mapped_file_queue::{file_name, file_offset};

/// More dirty files than this are flushed with the whole file system.
const MAX_SINGLE_FLUSHES: usize = 256;

#[derive(Debug)]
pub(crate) struct QueueFiles {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
    unit_len: usize,
    /// The setting that says how long files are.
    size_key: &'static str,
    units_per_file: i64,
    file_bytes: u64,
    /// End of the log when it was recovered: units that point behind it are of records that never were.
    log_end: AtomicU64,
    /// Behind the units that are kept anything may lie, of any length.
    distrust: AtomicBool,
    log_min: AtomicU64,
    open: Mutex<VecDeque<Arc<Queue>>>,
    max_open: usize,
    dirty: Mutex<Dirty>,
    checkpoint: Arc<StoreCheckpoint>,
}

/// Files that are missing between others of a queue.
#[derive(Debug)]
pub(crate) struct Gap {
    pub(crate) queue: Arc<Queue>,
    /// The first unit that is missing.
    pub(crate) begin: i64,
    /// The first one behind that is there.
    pub(crate) end: i64,
}

#[derive(Debug, Default)]
struct Dirty {
    files: Vec<(Arc<Queue>, i64)>,
    new_dirs: BTreeSet<PathBuf>,
    /// Files whose names may not be on the disk yet.
    made: Inventory,
}

impl QueueFiles {
    /// `root` is the directory `consumequeue`; `file_bytes` is rounded up to whole units, as Java does.
    pub(crate) fn new(
        fs: Arc<dyn FileSystem>,
        root: PathBuf,
        file_bytes: u64,
        checkpoint: Arc<StoreCheckpoint>,
    ) -> QueueFiles {
        QueueFiles::of_units(fs, root, UNIT_LEN, file_bytes, "mappedFileSizeConsumeQueue", checkpoint)
    }

    /// [`QueueFiles::new`] for the directory `batchconsumequeue`.
    pub(crate) fn of_batches(
        fs: Arc<dyn FileSystem>,
        root: PathBuf,
        file_bytes: u64,
        checkpoint: Arc<StoreCheckpoint>,
    ) -> QueueFiles {
        QueueFiles::of_units(fs, root, BATCH_UNIT_LEN, file_bytes, "mapperFileSizeBatchConsumeQueue", checkpoint)
    }

    fn of_units(
        fs: Arc<dyn FileSystem>,
        root: PathBuf,
        unit_len: usize,
        file_bytes: u64,
        size_key: &'static str,
        checkpoint: Arc<StoreCheckpoint>,
    ) -> QueueFiles {
        let unit = unit_len as u64;
        let units_per_file = i64::try_from(file_bytes.div_ceil(unit)).unwrap_or(i64::MAX / 1024).max(1);
        QueueFiles {
            fs,
            root,
            unit_len,
            size_key,
            units_per_file,
            file_bytes: u64::try_from(units_per_file).unwrap_or(1) * unit,
            log_end: AtomicU64::new(u64::MAX),
            distrust: AtomicBool::new(false),
            log_min: AtomicU64::new(0),
            open: Mutex::default(),
            max_open: max_open_files(),
            dirty: Mutex::default(),
            checkpoint,
        }
    }

    pub(crate) fn fs(&self) -> &dyn FileSystem {
        &*self.fs
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn unit_len(&self) -> usize {
        self.unit_len
    }

    pub(crate) fn size_key(&self) -> &'static str {
        self.size_key
    }

    /// Byte position of unit `index`.
    pub(crate) fn position(&self, index: i64) -> u64 {
        u64::try_from(index).unwrap_or(0) * self.unit_len as u64
    }

    pub(crate) fn units_per_file(&self) -> i64 {
        self.units_per_file
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(crate) fn log_end(&self) -> u64 {
        self.log_end.load(Ordering::Acquire)
    }

    /// Recovery found this end; queues that are loaded from now on are cut there.
    pub(crate) fn set_log_end(&self, log_end: u64) {
        self.log_end.store(log_end, Ordering::Release);
        self.distrust.store(false, Ordering::Release);
    }

    /// After a loss of power: units of records at or behind `offset` are as good as none, until the end is set.
    pub(crate) fn distrust_from(&self, offset: u64) {
        self.log_end.store(offset, Ordering::Release);
        self.distrust.store(true, Ordering::Release);
    }

    pub(crate) fn distrusts(&self) -> bool {
        self.distrust.load(Ordering::Acquire)
    }

    pub(crate) fn log_min(&self) -> u64 {
        self.log_min.load(Ordering::Acquire)
    }

    /// The log begins here now.
    pub(crate) fn set_log_min(&self, log_min: u64) {
        self.log_min.store(log_min, Ordering::Release);
    }

    pub(crate) fn topic_dir(&self, topic: &str) -> PathBuf {
        self.root.join(topic)
    }

    pub(crate) fn queue_dir(&self, queue: &Queue) -> PathBuf {
        self.topic_dir(&queue.topic).join(queue.queue_id.to_string())
    }

    pub(crate) fn file_path(&self, queue: &Queue, base: i64) -> PathBuf {
        self.queue_dir(queue).join(file_name(self.position(base)))
    }

    /// First unit of the file that starts at byte `position` of its queue.
    pub(crate) fn base_of(&self, position: u64) -> i64 {
        i64::try_from(position / self.unit_len as u64).unwrap_or(i64::MAX)
    }

    /// First unit of the file that has `queue_offset`.
    pub(crate) fn base_at(&self, queue_offset: i64) -> i64 {
        queue_offset - queue_offset.rem_euclid(self.units_per_file)
    }

    /// The queue has opened a file and may keep it; when there are too many, the one that has had its longest is closed.
    pub(crate) fn keep_open(&self, queue: &Arc<Queue>) {
        let mut open = self.open.lock();
        open.push_back(Arc::clone(queue));
        let oldest = if open.len() > self.max_open { open.pop_front() } else { None };
        drop(open);
        if let Some(oldest) = oldest {
            oldest.close();
        }
    }

    /// The file of `queue` with this first unit must be flushed before the checkpoint may pass it.
    pub(crate) fn note_dirty(&self, queue: &Arc<Queue>, base: i64) {
        if queue.dirty_base.swap(base, Ordering::AcqRel) != base {
            self.dirty.lock().files.push((Arc::clone(queue), base));
        }
    }

    /// Notes the files among `items`, which lie in the directory of `queue`. Returns the first place where some are missing
    /// between them.
    pub(crate) fn note_found(&self, queue: &Arc<Queue>, items: &[DirItem]) -> Option<Gap> {
        let mut positions = Vec::new();
        let mut found = Inventory::default();
        for item in items.iter().filter(|item| !item.is_dir) {
            if let Some(position) = file_offset(&item.name) {
                positions.push(position);
                found.add(&self.inventory_name(queue, position));
            }
        }
        queue.noted().lock().add_all(&found);
        positions.sort_unstable();
        positions.windows(2).find_map(|pair| {
            let &[before, after] = pair else { return None };
            let next = before.saturating_add(self.file_bytes);
            let gap = || Gap { queue: Arc::clone(queue), begin: self.base_of(next), end: self.base_of(after) };
            (next < after).then(gap)
        })
    }

    /// The file of `queue` with this first unit was made.
    pub(crate) fn note_created(&self, queue: &Queue, base: i64) {
        let file = self.inventory_of(queue, base);
        queue.noted().lock().add_all(&file);
        self.checkpoint.note_queue_files(|files| files.made.add_all(&file));
        let mut dirty = self.dirty.lock();
        dirty.made.add_all(&file);
        dirty.new_dirs.insert(self.queue_dir(queue));
        dirty.new_dirs.insert(self.topic_dir(&queue.topic));
    }

    /// The file of `queue` with this first unit is about to be removed. The checkpoint must be flushed before it is: after a
    /// loss of power between the two it would seem to be lost.
    pub(crate) fn strike_off(&self, queue: &Queue, base: i64) {
        let file = self.inventory_of(queue, base);
        queue.noted().lock().remove_all(&file);
        self.checkpoint.note_queue_files(|files| {
            files.made.remove_all(&file);
            // One that is not there yet is added by the next flush.
            files.safe.remove_all(&file);
        });
    }

    /// [`QueueFiles::strike_off`] for all files of `queue`.
    pub(crate) fn strike_off_all(&self, queue: &Queue) {
        let all = std::mem::take(&mut *queue.noted().lock());
        self.checkpoint.note_queue_files(|files| {
            files.made.remove_all(&all);
            files.safe.remove_all(&all);
        });
    }

    /// Removes the file of `queue` with this first unit, for good with the next flush; for recovery.
    /// # Errors
    /// What the system said.
    pub(crate) fn remove_file(&self, queue: &Queue, base: i64) -> io::Result<()> {
        self.strike_off(queue, base);
        self.checkpoint.flush(&*self.fs)?;
        self.fs.remove_file(&self.file_path(queue, base))?;
        self.dirty.lock().new_dirs.insert(self.queue_dir(queue));
        Ok(())
    }

    fn inventory_of(&self, queue: &Queue, base: i64) -> Inventory {
        Inventory::of([self.inventory_name(queue, self.position(base)).as_str()])
    }

    /// Queues of batches may have the names of others.
    fn inventory_name(&self, queue: &Queue, position: u64) -> String {
        format!("{}/{}/{}/{position}", self.unit_len, queue.topic, queue.queue_id)
    }

    /// How many files have changed since the last flush.
    pub(crate) fn dirty_files(&self) -> usize {
        self.dirty.lock().files.len()
    }

    /// Brings everything written before the call to the disk.
    /// # Errors
    /// What the system said; what was to be flushed is then unknown.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let Dirty { files, new_dirs, made } = std::mem::take(&mut *self.dirty.lock());
        if files.is_empty() && new_dirs.is_empty() {
            return Ok(());
        }
        for (queue, base) in &files {
            // Cleared first: what is written from here on is dirty anew.
            let _ = queue.dirty_base.compare_exchange(*base, -1, Ordering::AcqRel, Ordering::Relaxed);
        }
        if files.len() + new_dirs.len() > MAX_SINGLE_FLUSHES {
            self.fs.sync_all(&self.root)?;
        } else {
            self.flush_each(&files, &new_dirs)?;
        }
        self.checkpoint.note_queue_files(|files| files.safe.add_all(&made));
        Ok(())
    }

    fn flush_each(&self, files: &[(Arc<Queue>, i64)], new_dirs: &BTreeSet<PathBuf>) -> io::Result<()> {
        for (queue, base) in files {
            match self.fs.open(&self.file_path(queue, *base)) {
                Ok(file) => self.fs.sync_data(&file)?,
                // Deleted meanwhile, with its topic or because it expired.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        for dir in new_dirs.iter().map(PathBuf::as_path).chain([self.root.as_path()]) {
            match self.fs.sync_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A quarter of the descriptors this process may have.
fn max_open_files() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from((limit / 4).clamp(16, 4096)).unwrap_or(16)
}
