//! Which files there are, and how long they should be. Sizes are told from the files, not from a configuration.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use codec::batch_consume_queue::BATCH_UNIT_LEN;
use codec::consume_queue::UNIT_LEN;

use crate::error::{IoContext as _, ToolError};

/// A store's directories.
#[derive(Debug, Clone)]
pub struct StoreDir {
    /// storePathRootDir.
    pub root: PathBuf,
    /// storePathCommitLog, one or more.
    pub commit_log: Vec<PathBuf>,
}

impl StoreDir {
    /// The store at `root`; without `commit_log` its log lies in `commitlog` below it.
    /// # Errors
    /// When there is no such directory, or it is none of a store.
    pub fn new(root: &Path, commit_log: &[PathBuf]) -> Result<StoreDir, ToolError> {
        let mut dirs = commit_log.to_vec();
        if dirs.is_empty() {
            dirs.push(root.join("commitlog"));
        }
        let store = StoreDir { root: root.to_owned(), commit_log: dirs };
        if !root.is_dir() {
            return Err(ToolError::Refused(format!("{} is no directory; give --store DIR", root.display())));
        }
        let known = ["commitlog", "consumequeue", "index", "checkpoint", "config"];
        if !known.iter().any(|name| root.join(name).exists()) && !store.commit_log.iter().any(|dir| dir.exists()) {
            return Err(ToolError::Refused(format!(
                "{} holds none of commitlog, consumequeue, index, checkpoint, config: --store takes the directory that is \
                 storePathRootDir of the broker",
                root.display()
            )));
        }
        Ok(store)
    }

    /// The directory of consume queues.
    #[must_use]
    pub fn queues(&self) -> PathBuf {
        self.root.join("consumequeue")
    }

    /// The directory of queues of batches.
    #[must_use]
    pub fn batch_queues(&self) -> PathBuf {
        self.root.join("batchconsumequeue")
    }

    /// The directory of consume-queue extensions.
    #[must_use]
    pub fn extensions(&self) -> PathBuf {
        self.root.join("consumequeue_ext")
    }

    /// The directory of index files.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// The directory of metadata.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    /// How this store is given to a command, for the commands that findings name.
    #[must_use]
    pub fn arguments(&self) -> String {
        let mut text = format!("--store {}", quoted(&self.root));
        if self.commit_log != [self.root.join("commitlog")] {
            let dirs: Vec<String> = self.commit_log.iter().map(|dir| quoted(dir)).collect();
            text.push_str(&format!(" --commitlog {}", dirs.join(",")));
        }
        text
    }
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// One file that is named after its first byte.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its first byte, counted over all files.
    pub first: u64,
    /// Its length.
    pub len: u64,
}

/// Files of a commit log, oldest first.
#[derive(Debug, Clone, Default)]
pub struct LogFiles {
    /// The files, without those that have no length.
    pub files: Vec<DataFile>,
    /// Length that each should have.
    pub file_bytes: u64,
    /// Files in the directories that are none of a log.
    pub strangers: Vec<PathBuf>,
}

impl LogFiles {
    /// Lists the log's directories.
    /// # Errors
    /// What the system said.
    pub fn list(store: &StoreDir) -> Result<LogFiles, ToolError> {
        let mut log = LogFiles::default();
        for dir in &store.commit_log {
            log.files.extend(data_files(dir, &mut log.strangers)?);
        }
        log.files.retain(|file| file.len > 0);
        log.files.sort_by_key(|file| file.first);
        log.file_bytes = file_bytes(&log.files);
        Ok(log)
    }

    /// First offset.
    #[must_use]
    pub fn min(&self) -> u64 {
        self.files.first().map_or(0, |file| file.first)
    }

    /// End of the last file.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.files.last().map_or(0, |file| file.first.saturating_add(self.file_bytes))
    }

    /// The file that has, or should have, this offset.
    #[must_use]
    pub fn find(&self, offset: u64) -> Option<(usize, &DataFile)> {
        let index = self.files.partition_point(|file| file.first <= offset).checked_sub(1)?;
        let file = self.files.get(index)?;
        (offset - file.first < self.file_bytes).then_some((index, file))
    }

    /// The first file that begins behind this offset.
    #[must_use]
    pub fn after(&self, offset: u64) -> Option<&DataFile> {
        self.files.get(self.files.partition_point(|file| file.first <= offset))
    }

    /// The file of an offset and the position in it; of an offset in no file, the nearest before it.
    #[must_use]
    pub fn place(&self, offset: u64) -> (PathBuf, u64) {
        let index = self.files.partition_point(|file| file.first <= offset).saturating_sub(1);
        self.files
            .get(index)
            .map_or_else(Default::default, |file| (file.path.clone(), offset.saturating_sub(file.first)))
    }
}

/// Files of a directory that are named by 20 digits; a directory that is not there has none.
pub(crate) fn data_files(dir: &Path, strangers: &mut Vec<PathBuf>) -> Result<Vec<DataFile>, ToolError> {
    let mut files = Vec::new();
    for (name, path) in entries(dir)? {
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            // A broker that runs deletes files.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).on("look at", &path),
        };
        match offset_of_name(&name).filter(|_| metadata.is_file()) {
            Some(first) => files.push(DataFile { path, first, len: metadata.len() }),
            None => strangers.push(path),
        }
    }
    files.sort_by_key(|file| file.first);
    Ok(files)
}

/// Names and paths of what lies in a directory, sorted; nothing when it is not there.
pub(crate) fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>, ToolError> {
    let listing = match fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).on("list", dir),
    };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry.on("list", dir)?;
        found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    found.sort();
    Ok(found)
}

fn offset_of_name(name: &str) -> Option<u64> {
    (name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok()).flatten()
}

/// The length that most files have, if all begin at multiples of it; else the shortest way from one file to the next.
fn file_bytes(files: &[DataFile]) -> u64 {
    let mut counts = HashMap::<u64, usize>::new();
    for file in files {
        *counts.entry(file.len).or_default() += 1;
    }
    let usual = counts.into_iter().max_by_key(|(len, count)| (*count, *len)).map_or(0, |(len, _)| len);
    let fits = usual > 0 && files.iter().all(|file| file.first.is_multiple_of(usual));
    let step = files.iter().zip(files.iter().skip(1)).map(|(a, b)| b.first - a.first).filter(|step| *step > 0).min();
    match step {
        // A lone file that was cut short, or many of them: names tell more than lengths.
        Some(step) if !fits || usual > step => step,
        // A single file behind offset 0 begins at a multiple of its length.
        None if !fits => files.first().map_or(usual, |file| if file.first == 0 { usual } else { file.first }),
        _ => usual,
    }
}

/// One consume queue.
#[derive(Debug, Clone)]
pub struct QueueDir {
    /// Topic.
    pub topic: String,
    /// Queue id.
    pub queue_id: i32,
    /// Its files, oldest first, by byte.
    pub files: Vec<DataFile>,
}

/// All queues of one of the directories `consumequeue`, `batchconsumequeue` and `consumequeue_ext`.
#[derive(Debug, Clone)]
pub struct QueueFiles {
    /// The directory.
    pub dir: PathBuf,
    /// The queues, by topic and id.
    pub queues: Vec<QueueDir>,
    /// Length of a unit; 1 where units have no fixed length.
    pub unit_len: usize,
    /// Length that each file should have.
    pub file_bytes: u64,
    /// The queues lie in RocksDB, which this tool does not read.
    pub is_rocksdb: bool,
}

impl QueueFiles {
    /// Lists the directory `consumequeue`.
    /// # Errors
    /// What the system said.
    pub fn list(store: &StoreDir) -> Result<QueueFiles, ToolError> {
        QueueFiles::list_dir(store.queues(), UNIT_LEN, 300_000)
    }

    /// Lists the directory `batchconsumequeue`.
    /// # Errors
    /// What the system said.
    pub fn list_batches(store: &StoreDir) -> Result<QueueFiles, ToolError> {
        QueueFiles::list_dir(store.batch_queues(), BATCH_UNIT_LEN, 300_000)
    }

    /// Lists the directory `consumequeue_ext`.
    /// # Errors
    /// What the system said.
    pub fn list_extensions(store: &StoreDir) -> Result<QueueFiles, ToolError> {
        QueueFiles::list_dir(store.extensions(), 1, 48 << 20)
    }

    /// `usual_units`: what a file has when no file tells.
    fn list_dir(dir: PathBuf, unit_len: usize, usual_units: u64) -> Result<QueueFiles, ToolError> {
        let unit = unit_len as u64;
        let mut found =
            QueueFiles { queues: Vec::new(), unit_len, file_bytes: usual_units * unit, is_rocksdb: false, dir };
        let mut counts = HashMap::<u64, usize>::new();
        for (topic, path) in entries(&found.dir)? {
            if topic == "CURRENT" || topic.starts_with("MANIFEST-") {
                found.is_rocksdb = true;
            }
            if !path.is_dir() {
                continue;
            }
            for (name, path) in entries(&path)? {
                let Ok(queue_id) = name.parse::<i32>() else { continue };
                let files = data_files(&path, &mut Vec::new())?;
                files.iter().for_each(|file| *counts.entry(file.len).or_default() += 1);
                found.queues.push(QueueDir { topic: topic.clone(), queue_id, files });
            }
        }
        found.queues.sort_by(|a, b| (&a.topic, a.queue_id).cmp(&(&b.topic, b.queue_id)));
        counts.retain(|len, _| *len > 0 && len.is_multiple_of(unit));
        if let Some((len, _)) = counts.into_iter().max_by_key(|(len, count)| (*count, *len)) {
            found.file_bytes = len;
        }
        Ok(found)
    }

    /// Units of one file.
    #[must_use]
    pub fn units_per_file(&self) -> i64 {
        i64::try_from(self.file_bytes / self.unit_len as u64).unwrap_or(i64::MAX).max(1)
    }

    /// The unit at a byte of all files of a queue.
    #[must_use]
    pub fn unit_at(&self, position: u64) -> i64 {
        i64::try_from(position / self.unit_len as u64).unwrap_or(i64::MAX)
    }

    /// File and position in it of a unit, whether there is such a file or not.
    #[must_use]
    pub fn place(&self, topic: &str, queue_id: i32, unit: i64) -> (PathBuf, u64) {
        let base = unit - unit.rem_euclid(self.units_per_file());
        let bytes = |units: i64| u64::try_from(units).unwrap_or(0).saturating_mul(self.unit_len as u64);
        let dir = self.dir.join(topic).join(queue_id.to_string());
        (dir.join(format!("{:020}", bytes(base))), bytes(unit - base))
    }

    /// Topics that have a directory with queues.
    #[must_use]
    pub fn topics(&self) -> BTreeSet<&str> {
        self.queues.iter().map(|queue| queue.topic.as_str()).collect()
    }
}

/// What can be read of `len` bytes at `position`; fewer at the end of the file.
pub(crate) fn read_at(file: &File, position: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(u64, u64)]) -> Vec<DataFile> {
        list.iter().map(|(first, len)| DataFile { path: PathBuf::new(), first: *first, len: *len }).collect()
    }

    #[test]
    fn sizes_are_told_from_files() {
        for (list, expect) in [
            (&[(0, 1024)][..], 1024),
            (&[(0, 1024), (1024, 1024)], 1024),
            (&[(0, 1024), (2048, 1024)], 1024),
            (&[(0, 1024), (1024, 700)], 1024),
            (&[(0, 700), (1024, 1024)], 1024),
            (&[(4096, 4096)], 4096),
            (&[(4096, 100)], 4096),
            (&[], 0),
        ] {
            assert_eq!(file_bytes(&files(list)), expect, "{list:?}");
        }
    }

    #[test]
    fn commands_are_fit_for_a_shell() {
        assert_eq!(quoted(Path::new("/a/b-c.d")), "/a/b-c.d");
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
