//! The timer log, `timerlog/`: a unit for each message that waits, appended, never changed but for its link to the unit
//! before it. Files of `mappedFileSizeTimerLog` bytes, named by the position of their first byte, as Java's are.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use codec::timer::{BLANK_LEN, LogItem, LogUnit, NO_POSITION, UNIT_LEN, UNIT_PREVIOUS_AT, blank};
use tracing::warn;

use crate::error::OpenError;
use crate::fs::FileSystem;
use crate::log_files::io_error;
use crate::mapped_file_queue::file_offset;

const UNIT: u64 = UNIT_LEN as u64;
/// Units read together.
const BLOCK: u64 = UNIT * 1260;

#[derive(Debug)]
struct LogFile {
    first: u64,
    file: Arc<File>,
    path: PathBuf,
}

/// The open log. What is pushed is written by the next [`TimerLog::commit`].
#[derive(Debug)]
pub(super) struct TimerLog {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    file_bytes: u64,
    files: VecDeque<LogFile>,
    /// Where the next unit goes, what is pushed included.
    end: u64,
    /// Everything before it is written.
    committed: u64,
    pushed: Vec<u8>,
    /// Files before it need no sync.
    synced: u64,
    /// The block last read, and where it begins.
    block: (u64, Vec<u8>),
}

impl TimerLog {
    /// Opens the files there are. [`TimerLog::scan`] has to find the end before anything is pushed.
    /// # Errors
    /// What the system said; a file of another length than `file_bytes`, or one that is missing between others.
    pub(super) fn open(fs: Arc<dyn FileSystem>, dir: PathBuf, file_bytes: u64) -> Result<TimerLog, OpenError> {
        fs.create_dir_all(&dir).map_err(|error| io_error("create", &dir, error))?;
        let mut found = Vec::new();
        for item in fs.list(&dir).map_err(|error| io_error("list", &dir, error))? {
            match file_offset(&item.name).filter(|_| !item.is_dir) {
                Some(first) => found.push((first, dir.join(&item.name))),
                None => warn!(path = %dir.join(&item.name).display(), "not a file of the timer log, left alone"),
            }
        }
        found.sort_unstable();
        let mut files = VecDeque::<LogFile>::new();
        for (first, path) in found {
            let file = fs.open(&path).map_err(|error| io_error("open", &path, error))?;
            let len = fs.len(&file).map_err(|error| io_error("open", &path, error))?;
            let expected = files.back().map_or(first - first % file_bytes, |before| before.first + file_bytes);
            if len != file_bytes || first != expected {
                let reason = format!(
                    "it begins at {first} and has {len} bytes, where {expected} and {file_bytes} were expected \
                     (mappedFileSizeTimerLog); set that to what this store was made with, or restore the file, or move \
                     timerlog and timerwheel away: they are made again from the messages of the timer topic"
                );
                return Err(OpenError::Corrupted { path, file_position: 0, reason });
            }
            files.push_back(LogFile { first, file: Arc::new(file), path });
        }
        let start = files.front().map_or(0, |file| file.first);
        Ok(TimerLog {
            fs,
            dir,
            file_bytes,
            files,
            end: start,
            committed: start,
            pushed: Vec::new(),
            synced: start,
            block: (0, Vec::new()),
        })
    }

    /// Bytes of a file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// First position that there is.
    pub(super) fn start(&self) -> u64 {
        self.files.front().map_or(0, |file| file.first)
    }

    /// Where the next unit goes.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Calls `each` with position and content of every unit from `from` on, as long as it returns true. Returns where the
    /// units end: behind the last one that `each` took.
    /// # Errors
    /// What the system said, and what `each` said.
    pub(super) fn scan(
        &mut self,
        from: u64,
        mut each: impl FnMut(u64, &LogUnit, &TimerLog) -> io::Result<bool>,
    ) -> io::Result<u64> {
        let mut at = from.max(self.start());
        let mut block = Vec::new();
        loop {
            let Some(file) = self.file_at(at) else { return Ok(at) };
            let file_end = file.first + self.file_bytes;
            let len = BLOCK.min(file_end - at);
            block.resize(usize::try_from(len).unwrap_or(0), 0);
            self.fs.read_exact_at(&file.file, &mut block, at - file.first)?;
            let before = at;
            for bytes in block.chunks(UNIT_LEN) {
                match LogItem::parse(bytes) {
                    LogItem::Unit(unit) if bytes.len() == UNIT_LEN => {
                        if !each(at, &unit, self)? {
                            return Ok(at);
                        }
                        at += UNIT;
                    }
                    LogItem::Blank => {
                        at = file_end;
                        break;
                    }
                    _ => return Ok(at),
                }
            }
            if at == before {
                return Ok(at);
            }
        }
    }

    /// Units are appended from `end` on; what lies behind it reads as zeroes from now on.
    /// # Errors
    /// What the system said.
    pub(super) fn set_end(&mut self, end: u64) -> io::Result<()> {
        while let Some(last) = self.files.back().filter(|file| file.first > end || (file.first == end && end > 0)) {
            warn!(path = %last.path.display(), "a file of the timer log behind its end is removed");
            self.fs.remove_file(&last.path)?;
            self.files.pop_back();
        }
        if let Some(last) = self.files.back()
            && end < last.first + self.file_bytes
        {
            self.fs.zero(&last.file, end - last.first, last.first + self.file_bytes - end)?;
        }
        (self.end, self.committed) = (end, end);
        self.pushed.clear();
        self.block.1.clear();
        self.synced = self.synced.min(end);
        Ok(())
    }

    /// Appends a unit to what the next commit writes; returns its position.
    /// # Errors
    /// What the system said while a new file was begun.
    pub(super) fn push(&mut self, unit: &LogUnit) -> io::Result<u64> {
        let end_of_file = self.files.back().map_or(0, |file| file.first + self.file_bytes);
        let left = end_of_file.saturating_sub(self.end);
        if left < UNIT + BLANK_LEN as u64 {
            if left >= BLANK_LEN as u64 {
                self.pushed.extend_from_slice(&blank(i32::try_from(left).unwrap_or(i32::MAX)));
            }
            self.commit()?;
            self.begin_file(end_of_file)?;
        }
        let position = self.end;
        self.pushed.extend_from_slice(&unit.encode());
        self.end += UNIT;
        Ok(position)
    }

    fn begin_file(&mut self, first: u64) -> io::Result<()> {
        let path = self.dir.join(format!("{first:020}"));
        let file = self.fs.create(&path, self.file_bytes)?;
        self.fs.sync_dir(&self.dir)?;
        self.files.push_back(LogFile { first, file: Arc::new(file), path });
        (self.end, self.committed) = (first, first);
        Ok(())
    }

    /// Writes what was pushed.
    /// # Errors
    /// What the system said; what was pushed is still to be written then, or to be cut off with [`TimerLog::set_end`].
    pub(super) fn commit(&mut self) -> io::Result<()> {
        if let Some(last) = self.files.back()
            && !self.pushed.is_empty()
        {
            self.fs.write_all_at(&last.file, &self.pushed, self.committed - last.first)?;
            self.pushed.clear();
            self.block.1.clear();
        }
        self.committed = self.end;
        Ok(())
    }

    /// Whether anything was pushed and not written.
    pub(super) fn has_uncommitted(&self) -> bool {
        self.committed != self.end
    }

    /// Whether the files reach up to `position`.
    pub(super) fn reaches(&self, position: u64) -> bool {
        position == self.start() || position.checked_sub(1).is_some_and(|last| self.file_at(last).is_some())
    }

    /// The unit at a position; `None` where there is none.
    /// # Errors
    /// What the system said.
    pub(super) fn unit(&mut self, position: i64) -> io::Result<Option<LogUnit>> {
        let Ok(position) = u64::try_from(position) else { return Ok(None) };
        let end = position.saturating_add(UNIT);
        if end > self.committed {
            return Ok(None);
        }
        let in_block = |(first, bytes): &(u64, Vec<u8>)| position >= *first && end <= first + bytes.len() as u64;
        if !in_block(&self.block) {
            let Some(file) = self.file_at(position) else { return Ok(None) };
            let (file_first, file_end) = (file.first, file.first + self.file_bytes);
            if end > file_end {
                return Ok(None);
            }
            // Links lead backwards: what comes before is wanted next.
            let first = end.saturating_sub(BLOCK).max(file_first);
            let mut bytes = std::mem::take(&mut self.block.1);
            bytes.resize(usize::try_from(end - first).unwrap_or(0), 0);
            if let Some(file) = self.file_at(position) {
                self.fs.read_exact_at(&file.file, &mut bytes, first - file_first)?;
            }
            self.block = (first, bytes);
        }
        let at = usize::try_from(position - self.block.0).unwrap_or(usize::MAX);
        let item = self.block.1.get(at..).map(LogItem::parse);
        Ok(match item {
            Some(LogItem::Unit(unit)) => Some(unit),
            _ => None,
        })
    }

    /// Changes the link of a unit to the one before it.
    /// # Errors
    /// What the system said.
    pub(super) fn relink(&self, position: u64, previous: i64) -> io::Result<()> {
        match self.file_at(position) {
            Some(file) => {
                let at = position - file.first + UNIT_PREVIOUS_AT;
                self.fs.write_all_at(&file.file, &previous.to_be_bytes(), at)
            }
            None => Ok(()),
        }
    }

    /// The files that must be brought to the disk for everything committed to be there; none of them again by the next call.
    pub(super) fn take_unsynced(&mut self) -> Vec<Arc<File>> {
        let from = std::mem::replace(&mut self.synced, self.committed);
        if from == self.committed {
            return Vec::new();
        }
        let changed = self.files.iter().filter(|file| file.first + self.file_bytes > from);
        changed.map(|file| Arc::clone(&file.file)).collect()
    }

    /// Removes files all of whose messages lie before `log_min` in the commit log, and are gone; never the last.
    /// Source: MappedFileQueue.deleteExpiredFileByOffsetForTimerLog.
    /// # Errors
    /// What the system said.
    pub(super) fn delete_before(&mut self, log_min: u64) -> io::Result<()> {
        let last_unit = (self.file_bytes - BLANK_LEN as u64) / UNIT * UNIT - UNIT;
        while self.files.len() > 1 {
            let first = self.start();
            let unit = self.unit(i64::try_from(first + last_unit).unwrap_or(NO_POSITION))?;
            if !unit.is_some_and(|unit| u64::try_from(unit.physical_offset).is_ok_and(|offset| offset < log_min)) {
                return Ok(());
            }
            if let Some(file) = self.files.pop_front() {
                self.fs.remove_file(&file.path)?;
            }
            self.block.1.clear();
        }
        Ok(())
    }

    fn file_at(&self, position: u64) -> Option<&LogFile> {
        let first = self.files.front()?.first;
        let index = position.checked_sub(first)? / self.file_bytes;
        self.files.get(usize::try_from(index).ok()?)
    }
}
