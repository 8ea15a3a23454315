//! How new segments take the place of old ones, so that a kill or a loss of power at any moment leaves either these or
//! those, or what the next start can finish.
//!
//! New files are made in the folder `compacting`, under names that Java does not take for its own, and are on the disk before the
//! file `swap` there names both. Then the old files of the sparse queue go, and from the first of them on the change is
//! certain: until it is over files have no counterpart, so that a Java broker, which knows nothing of it, refuses to start. A
//! swap that is found while all have one is forgotten: it had not begun, and Java may have gone on with the old files since.

use std::io;

use crate::compaction::segment::Dirs;
use crate::fs::FileSystem;
use crate::mapped_file_queue::{file_name, file_offset};

/// Source: CompactionLog.COMPACTING_SUB_FOLDER.
const FOLDER: &str = "compacting";
/// Behind the names of files that are being made.
pub(super) const NEW_SUFFIX: &str = ".new";
/// Java's, behind the names of files that are to go. Source: DefaultMappedFile.renameToDelete.
const DELETE_SUFFIX: &str = ".delete";
/// In the log's folder: what is replaced by what.
const SWAP_FILE: &str = "swap";

/// Which segments take the place of which, by their first offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Swap {
    pub(super) replaced: Vec<u64>,
    pub(super) made: Vec<u64>,
}

/// Where segments are made.
pub(super) fn making(dirs: &Dirs) -> Dirs {
    Dirs { log: dirs.log.join(FOLDER), cq: dirs.cq.join(FOLDER) }
}

/// Removes what a compaction made that did not come to its end.
/// # Errors
/// What the system said.
pub(super) fn discard(fs: &dyn FileSystem, dirs: &Dirs) -> io::Result<()> {
    let folder = making(dirs);
    // Before the rest: without its files it must not be found.
    fs.remove_file(&folder.log.join(SWAP_FILE))?;
    folder.both().into_iter().try_for_each(|dir| fs.remove_dir_all(dir))
}

impl Swap {
    /// Makes the swap certain. The new files are on the disk, but for their names.
    /// # Errors
    /// What the system said.
    pub(super) fn write(&self, fs: &dyn FileSystem, dirs: &Dirs) -> io::Result<()> {
        let folder = making(dirs);
        for dir in folder.both().into_iter().chain(dirs.both()) {
            fs.create_dir_all(dir)?;
            fs.sync_dir(dir)?;
        }
        let path = folder.log.join(SWAP_FILE);
        fs.write_file(&path, self.encode().as_bytes())?;
        fs.sync_data(&fs.open(&path)?)?;
        fs.sync_dir(&folder.log)
    }

    /// Does it, or what is left of it to do.
    /// # Errors
    /// What the system said.
    pub(super) fn apply(&self, fs: &dyn FileSystem, dirs: &Dirs) -> io::Result<()> {
        let folder = making(dirs);
        let (log_waits, cq_waits) = (names(fs, &folder.log, NEW_SUFFIX)?, names(fs, &folder.cq, NEW_SUFFIX)?);
        for first in &self.replaced {
            // One that was put there already is not to go.
            if !self.made.contains(first) || cq_waits.contains(first) {
                fs.remove_file(&dirs.cq.join(file_name(*first)))?;
            }
        }
        fs.sync_dir(&dirs.cq)?;
        for first in self.replaced.iter().filter(|first| !self.made.contains(first)) {
            fs.remove_file(&dirs.log.join(file_name(*first)))?;
        }
        fs.sync_dir(&dirs.log)?;
        for (waiting, from, to) in [(&log_waits, &folder.log, &dirs.log), (&cq_waits, &folder.cq, &dirs.cq)] {
            for first in waiting.iter().filter(|first| self.made.contains(first)) {
                let name = file_name(*first);
                fs.rename(&from.join(format!("{name}{NEW_SUFFIX}")), &to.join(name))?;
            }
            fs.sync_dir(to)?;
        }
        discard(fs, dirs)
    }

    /// Whether it has begun, and is not over: from the first file that it removes to the last that it moves, a file of the
    /// log has no counterpart.
    fn is_under_way(fs: &dyn FileSystem, dirs: &Dirs) -> io::Result<bool> {
        let folder = making(dirs);
        let (log_waits, cq_waits) = (names(fs, &folder.log, NEW_SUFFIX)?, names(fs, &folder.cq, NEW_SUFFIX)?);
        let (logs, cqs) = (names(fs, &dirs.log, "")?, names(fs, &dirs.cq, "")?);
        let mixed = logs.iter().any(|first| !cqs.contains(first));
        Ok(mixed && !(log_waits.is_empty() && cq_waits.is_empty()))
    }

    fn encode(&self) -> String {
        let list = |offsets: &[u64]| offsets.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        let text = format!("{}\n{}\n", list(&self.replaced), list(&self.made));
        format!("{text}{:08x}\n", crc32fast::hash(text.as_bytes()))
    }

    /// `None` when it was not written completely.
    fn decode(text: &[u8]) -> Option<Swap> {
        let text = std::str::from_utf8(text).ok()?;
        let mut lines = text.split('\n');
        let list = |line: Option<&str>| -> Option<Vec<u64>> {
            line?.split_whitespace().map(|word| word.parse().ok()).collect()
        };
        let swap = Swap { replaced: list(lines.next())?, made: list(lines.next())? };
        (swap.encode() == text).then_some(swap)
    }
}

/// Brings a queue's directories into a state in which nothing is half done.
/// # Errors
/// What the system said.
pub(super) fn finish(fs: &dyn FileSystem, dirs: &Dirs) -> io::Result<()> {
    let folder = making(dirs);
    let swap = fs.read_file(&folder.log.join(SWAP_FILE))?;
    match swap.as_deref().and_then(Swap::decode) {
        Some(swap) if Swap::is_under_way(fs, dirs)? => swap.apply(fs, dirs),
        Some(_) => discard(fs, dirs),
        None => {
            finish_for_java(fs, dirs)?;
            discard(fs, dirs)
        }
    }
}

/// What a Java broker left that was killed. It gives old files of the log other names, then moves the new ones to their
/// places from the first on, removes the old ones, and does the same with the sparse queue: once the first has been moved,
/// all are. Source: CompactionLog.replaceFiles, replaceCqFiles.
fn finish_for_java(fs: &dyn FileSystem, dirs: &Dirs) -> io::Result<()> {
    let folder = making(dirs);
    let (log_waits, cq_waits) = (names(fs, &folder.log, "")?, names(fs, &folder.cq, "")?);
    let (log_old, cq_old) = (names(fs, &dirs.log, DELETE_SUFFIX)?, names(fs, &dirs.cq, DELETE_SUFFIX)?);
    let none = log_old.is_empty() && cq_old.is_empty() && cq_waits.is_empty();
    let began = !none && !log_waits.contains(&0);
    let moved = began && names(fs, &dirs.log, "")?.contains(&0);
    if !moved {
        for (old, dir) in [(log_old, &dirs.log), (cq_old, &dirs.cq)] {
            for first in old {
                let name = file_name(first);
                fs.rename(&dir.join(format!("{name}{DELETE_SUFFIX}")), &dir.join(name))?;
            }
        }
        return Ok(());
    }
    for (waiting, from, to) in [(log_waits, &folder.log, &dirs.log), (cq_waits, &folder.cq, &dirs.cq)] {
        for first in waiting {
            let name = file_name(first);
            fs.rename(&from.join(&name), &to.join(name))?;
        }
    }
    for (old, dir) in [(log_old, &dirs.log), (cq_old, &dirs.cq)] {
        for first in old {
            fs.remove_file(&dir.join(format!("{}{DELETE_SUFFIX}", file_name(first))))?;
        }
    }
    let logs = names(fs, &dirs.log, "")?;
    for first in names(fs, &dirs.cq, "")? {
        if !logs.contains(&first) {
            fs.remove_file(&dirs.cq.join(file_name(first)))?;
        }
    }
    dirs.both().into_iter().try_for_each(|dir| fs.sync_dir(dir))
}

/// First offsets of the files of a directory whose names end so, sorted.
/// # Errors
/// What the system said.
pub(super) fn names(fs: &dyn FileSystem, dir: &std::path::Path, suffix: &str) -> io::Result<Vec<u64>> {
    let items = fs.list(dir)?;
    let names = items.iter().filter(|item| !item.is_dir).filter_map(|item| item.name.strip_suffix(suffix));
    let mut offsets: Vec<u64> = names.filter_map(file_offset).collect();
    offsets.sort_unstable();
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_swap_is_none() {
        for (replaced, made) in [(vec![0, 100], vec![0]), (vec![5], vec![]), (vec![], vec![])] {
            let swap = Swap { replaced, made };
            let text = swap.encode();
            assert_eq!(Swap::decode(text.as_bytes()), Some(swap));
            for end in 0..text.len() {
                assert_eq!(Swap::decode(&text.as_bytes()[..end]), None, "{end}");
            }
        }
    }
}
