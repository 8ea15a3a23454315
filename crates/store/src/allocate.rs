//! Thread `store-allocate`: takes disk blocks ahead of the writer and prepares the next commit-log file, so that a full
//! disk is an error here and never a SIGBUS at a store, and appends do not wait for the file system.
//!
//! Blocks are taken in steps, not a whole file of 1 GiB at once: a store with few messages uses little disk.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing::{info, warn};

use crate::clock;
use crate::core::{Core, is_no_space};
use crate::mapped_file_queue::file_name;
use crate::mmap::{MappedFile, MappedFileWriter};

const MIN_AHEAD: u64 = 16 << 20;
const MAX_AHEAD: u64 = 128 << 20;
/// Pages are provided so far ahead of the writer: idle stores take little memory, quick ones never wait for the kernel.
const MIN_WINDOW: u64 = 512 << 10;
const MAX_WINDOW: u64 = 16 << 20;
/// The window grows while half of it is used up within less than this.
const WINDOW_LASTS: Duration = Duration::from_millis(50);
/// How long an append waits for blocks or a file before it fails.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Allocator {
    core: Arc<Core>,
    paths: Vec<PathBuf>,
    file_bytes: u64,
    /// The appender signals the thread when it reaches this offset.
    signal_at: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
    faulted: Mutex<Faulted>,
}

/// How far the pages of the log have been provided.
#[derive(Debug)]
struct Faulted {
    upto: u64,
    window: u64,
    last: Option<Instant>,
}

#[derive(Debug, Default)]
struct State {
    /// File that is written now.
    current: Option<Arc<MappedFile>>,
    /// File after it, not in the log yet.
    next: Option<MappedFileWriter>,
    /// Offset where the next file begins.
    next_offset: u64,
    /// Someone waits for the next file.
    next_wanted: bool,
    /// Someone waits for blocks of the current file up to this position.
    wanted: u64,
    /// Why the last attempt failed.
    failure: Option<Arc<str>>,
    attempts: u64,
}

impl Allocator {
    /// `paths` are the commit-log directories; `current` is the file that is written now, `next_offset` where the file
    /// after it begins.
    pub(crate) fn new(
        core: Arc<Core>,
        paths: Vec<PathBuf>,
        file_bytes: u64,
        current: Option<Arc<MappedFile>>,
        next_offset: u64,
    ) -> Allocator {
        let state = State { current, next_offset, ..State::default() };
        Allocator {
            core,
            paths,
            file_bytes,
            signal_at: AtomicU64::new(0),
            state: Mutex::new(state),
            changed: Condvar::new(),
            faulted: Mutex::new(Faulted { upto: 0, window: MIN_WINDOW, last: None }),
        }
    }

    /// The appender has come to `offset`; wakes the thread when it is time.
    pub(crate) fn reached(&self, offset: u64) {
        if offset >= self.signal_at.load(Ordering::Relaxed) {
            self.signal_at.store(u64::MAX, Ordering::Relaxed);
            self.core.allocate.notify();
        }
    }

    /// The next file, if it is ready; it becomes the current one. One that somebody has deleted meanwhile is not: a Java
    /// broker that is started on a store in use deletes what lies behind the end of the log before it looks at the lock
    /// (DefaultMessageStore.load, start), and messages written there would be gone with the process.
    pub(crate) fn take_next(&self) -> Option<MappedFileWriter> {
        let mut state = self.state.lock();
        let next = state.next.take()?;
        if !next.file().file().metadata().is_ok_and(|metadata| metadata.nlink() > 0) {
            warn!(path = %next.file().path().display(), "a prepared commit-log file was deleted by somebody else");
            return None;
        }
        state.current = Some(Arc::clone(next.file()));
        state.next_offset = next.file().end_offset();
        state.next_wanted = false;
        drop(state);
        self.core.allocate.notify();
        Some(next)
    }

    /// Waits until the next file is ready. Call without any lock held.
    /// # Errors
    /// Why there is none, after at least one attempt.
    pub(crate) fn wait_for_next(&self) -> Result<(), Arc<str>> {
        self.wait(|state| state.next.is_some(), |state| state.next_wanted = true)
    }

    /// Waits until `file` has blocks up to `position`, or is no longer written. Call without any lock held.
    /// # Errors
    /// As [`Allocator::wait_for_next`].
    pub(crate) fn wait_for_blocks(&self, file: &Arc<MappedFile>, position: u64) -> Result<(), Arc<str>> {
        let position = position.min(file.len());
        let is_current = |state: &State| state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, file));
        self.wait(
            |state| file.allocated() >= position || !is_current(state),
            |state| state.wanted = state.wanted.max(position),
        )
    }

    fn wait(&self, ready: impl Fn(&State) -> bool, want: impl Fn(&mut State)) -> Result<(), Arc<str>> {
        let deadline = clock::instant() + PATIENCE;
        let mut state = self.state.lock();
        let attempts = state.attempts;
        loop {
            if ready(&state) {
                return Ok(());
            }
            if let Some(failure) = state.failure.as_ref().filter(|_| state.attempts > attempts) {
                return Err(Arc::clone(failure));
            }
            want(&mut state);
            self.core.allocate.notify();
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                let text = state.failure.as_deref().unwrap_or("the disk is slow");
                return Err(format!("{text} (waited {} s)", PATIENCE.as_secs()).into());
            }
        }
    }

    /// Why the last attempt failed, if it did.
    pub(crate) fn failure(&self) -> Option<Arc<str>> {
        self.state.lock().failure.clone()
    }

    /// The thread.
    pub(crate) fn run(&self) {
        self.core.allocate.attach();
        while !self.core.stopping() {
            self.work();
            self.core.allocate.wait(None);
        }
        let mut state = self.state.lock();
        state.failure = Some("the store is shut down".into());
        state.attempts += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Does what is due now. Called once before the threads start, so that the first message finds blocks.
    pub(crate) fn work(&self) {
        let result = self.try_work();
        let mut state = self.state.lock();
        state.attempts += 1;
        state.failure = None;
        if let Err((path, error)) = result {
            let text = format!("{}: {error}", path.display());
            if !is_no_space(&error) {
                self.core.poison(format!("cannot allocate {text}"));
            }
            state.failure = Some(text.into());
        }
        drop(state);
        self.changed.notify_all();
    }

    fn try_work(&self) -> Result<(), (PathBuf, io::Error)> {
        let (current, wanted, need_next) = {
            let mut state = self.state.lock();
            let wanted = std::mem::take(&mut state.wanted);
            (state.current.clone(), wanted, state.next_wanted && state.next.is_none())
        };
        let mut signal_at = u64::MAX;
        let mut prepare_next = need_next || current.is_none();
        if let Some(file) = current {
            let used = file.published();
            let ahead = used.clamp(MIN_AHEAD, MAX_AHEAD);
            if file.allocated() < wanted.max((used + ahead / 2).min(file.len())) {
                self.allocate_to(&file, wanted.max(used + ahead)).map_err(|error| (file.path().to_owned(), error))?;
            }
            if file.allocated() < file.len() {
                signal_at = file.first_offset() + file.allocated() - ahead / 2;
            }
            signal_at = signal_at.min(self.prefault(&file));
            // Small files fill within one step: their successor is always ready.
            let next_due = if self.file_bytes <= MIN_AHEAD { 0 } else { self.file_bytes / 2 };
            prepare_next |= used >= next_due;
            if used < next_due {
                signal_at = signal_at.min(file.first_offset() + next_due);
            }
        }
        // Asked anew and under one lock: the appender may have taken the prepared file since, and where the next one begins
        // has moved with it. Making a file anew that is being written would lose what is in it.
        let next_offset = {
            let state = self.state.lock();
            (prepare_next && state.next.is_none()).then_some(state.next_offset)
        };
        if let Some(next_offset) = next_offset {
            let writer = self.prepare(next_offset)?;
            self.state.lock().next = Some(writer);
        }
        self.signal_at.store(signal_at, Ordering::Relaxed);
        Ok(())
    }

    /// Provides pages ahead of the writer, if it has come far enough; returns the offset at which it will have again.
    fn prefault(&self, file: &MappedFile) -> u64 {
        let mut faulted = self.faulted.lock();
        let used = file.first_offset() + file.published();
        let from = faulted.upto.max(used);
        if used + faulted.window / 2 >= from && from < file.end_offset() {
            let now = clock::instant();
            let is_quick = faulted.last.is_some_and(|last| now.duration_since(last) < WINDOW_LASTS);
            let window = if is_quick { faulted.window * 2 } else { faulted.window / 2 };
            faulted.window = window.clamp(MIN_WINDOW, MAX_WINDOW);
            faulted.last = Some(now);
            faulted.upto = (used + faulted.window).min(file.first_offset() + file.allocated());
            file.prefault(from - file.first_offset(), faulted.upto - file.first_offset());
        }
        if faulted.upto < file.end_offset() { faulted.upto - faulted.window / 2 } else { u64::MAX }
    }

    fn allocate_to(&self, file: &MappedFile, position: u64) -> io::Result<()> {
        let end = position.min(file.len());
        while file.allocated() < end {
            let from = file.allocated();
            let step = (end - from).min(MIN_AHEAD);
            self.core.fs.allocate(file.file(), from, step)?;
            file.set_allocated(from + step);
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Makes the file that begins at `offset`. With several paths they take turns; one that is nearly full, or turns out
    /// to be full, is passed over as long as another has room.
    /// Source: MultiPathMappedFileQueue.tryCreateMappedFile.
    fn prepare(&self, offset: u64) -> Result<MappedFileWriter, (PathBuf, io::Error)> {
        let (roomy, full): (Vec<_>, Vec<_>) = self.paths.iter().partition(|path| !self.is_nearly_full(path));
        let turn = offset / self.file_bytes;
        let mut failure = None;
        for dir in in_turn(&roomy, turn).chain(in_turn(&full, turn)) {
            let path = dir.join(file_name(offset));
            match self.create(&path, offset) {
                Ok(writer) => return Ok(writer),
                Err(error) => {
                    // An empty file that stays would be taken for a damaged one by the next start of a Java broker.
                    let _ = self.core.fs.remove_file(&path);
                    let no_space = is_no_space(&error);
                    failure = Some((path, error));
                    if !no_space {
                        break;
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| (PathBuf::new(), io::Error::other("no commit-log directory is configured"))))
    }

    /// Whether files go to other paths, if there are any, before this one gets another. Source:
    /// DefaultMessageStore.CleanCommitLogService.isSpaceToDelete.
    fn is_nearly_full(&self, path: &Path) -> bool {
        let limit = self.core.config.disk_space_clean_forcibly_ratio.clamp(30, 85);
        self.paths.len() > 1 && self.core.fs.usage(path).is_ok_and(|usage| usage.percent() > limit)
    }

    fn create(&self, path: &Path, offset: u64) -> io::Result<MappedFileWriter> {
        let file = self.core.fs.create(path, self.file_bytes)?;
        let mapped = MappedFile::map(path.to_owned(), file, offset, self.file_bytes)?;
        self.allocate_to(&mapped, MIN_AHEAD)?;
        mapped.prefault(0, self.faulted.lock().window);
        // Its length, then its name: a file without length is known for one that was never used only while it is the last.
        self.core.fs.sync_data(mapped.file())?;
        if let Some(dir) = path.parent() {
            self.core.fs.sync_dir(dir)?;
        }
        info!(path = %path.display(), "commit-log file prepared");
        Ok(mapped.resume(0).1)
    }

    /// Removes the prepared file, which holds nothing; at a clean stop.
    pub(crate) fn discard_next(&self) {
        if let Some(writer) = self.state.lock().next.take() {
            let _ = self.core.fs.remove_file(writer.file().path());
        }
    }
}

/// All of `paths`, from the one whose turn it is on.
fn in_turn<'a>(paths: &'a [&'a PathBuf], turn: u64) -> impl Iterator<Item = &'a PathBuf> {
    let first = usize::try_from(turn % (paths.len() as u64).max(1)).unwrap_or(0);
    let (behind, from) = paths.split_at(first);
    from.iter().chain(behind).copied()
}
