//! What neither the standard library nor rustix offers: record locks on a byte range, and local time.
#![allow(unsafe_code, reason = "two libc calls; each block says why it is sound")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use parking_lot::Mutex;

use crate::offline::LockHolder;

/// (device, inode) of the files this process has locked: record locks do not conflict within one process.
static LOCKED_HERE: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

/// An exclusive lock on byte 0 of a file, as Java's FileChannel.tryLock(0, 1, false) takes it. Released when dropped.
///
/// The kernel drops such a lock when *any* descriptor of that file is closed by the process: open it nowhere else.
#[derive(Debug)]
pub(crate) struct RangeLock {
    file: File,
    key: (u64, u64),
}

/// Why a lock was not had.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Someone has it; the process, when the kernel says.
    Held(Option<u32>),
    /// The system refused.
    Io(io::Error),
}

impl RangeLock {
    /// Locks byte 0 of `file`.
    pub(crate) fn take(file: File) -> Result<RangeLock, LockError> {
        let metadata = file.metadata().map_err(LockError::Io)?;
        let key = (metadata.dev(), metadata.ino());
        let mut locked_here = LOCKED_HERE.lock();
        if locked_here.contains(&key) {
            // Closing this descriptor would drop the lock that the other store of this process holds on the file.
            std::mem::forget(file);
            return Err(LockError::Held(Some(std::process::id())));
        }
        let mut range = byte_zero();
        // SAFETY: the descriptor is open for as long as `file` lives, and `range` is a valid flock for F_SETLK.
        let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw mut range) };
        if result == 0 {
            locked_here.insert(key);
            return Ok(RangeLock { file, key });
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EACCES | libc::EAGAIN) => Err(LockError::Held(holder(&file))),
            _ => Err(LockError::Io(error)),
        }
    }

    /// The locked file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for RangeLock {
    fn drop(&mut self) {
        let mut locked_here = LOCKED_HERE.lock();
        let mut range = byte_zero();
        range.l_type = lock_type(libc::F_UNLCK);
        // SAFETY: as in `take`.
        unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_SETLK, &raw mut range) };
        locked_here.remove(&self.key);
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut range = byte_zero();
    // SAFETY: as in `take`; F_GETLK writes into `range`, which is ours.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut range) };
    (result == 0 && range.l_type != lock_type(libc::F_UNLCK)).then(|| u32::try_from(range.l_pid).ok()).flatten()
}

/// Who has byte 0 of the file at `path` locked.
///
/// The file is not opened when this process holds the lock: closing it again would drop that.
pub(crate) fn lock_holder(path: &Path) -> io::Result<LockHolder> {
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LockHolder::Free),
        Err(error) => return Err(error),
    };
    let locked_here = LOCKED_HERE.lock();
    if locked_here.contains(&(metadata.dev(), metadata.ino())) {
        return Ok(LockHolder::Held(Some(std::process::id())));
    }
    let file = File::open(path)?;
    let mut range = byte_zero();
    // SAFETY: the descriptor is open for as long as `file` lives; F_GETLK writes into `range`, which is ours.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut range) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if range.l_type == lock_type(libc::F_UNLCK) {
        return Ok(LockHolder::Free);
    }
    Ok(LockHolder::Held(u32::try_from(range.l_pid).ok().filter(|pid| *pid > 0)))
}

fn byte_zero() -> libc::flock {
    // SAFETY: flock is plain integers, for which zero is a value.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = lock_type(libc::F_WRLCK);
    range.l_whence = i16::try_from(libc::SEEK_SET).unwrap_or(0);
    range.l_len = 1;
    range
}

fn lock_type(value: i32) -> libc::c_short {
    libc::c_short::try_from(value).unwrap_or(0)
}

/// A moment in the machine's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocalTime {
    year: i64,
    month: i32,
    day: i32,
    /// 0..=23.
    pub(crate) hour: i32,
    minute: i32,
    second: i32,
    millisecond: i64,
}

impl LocalTime {
    /// The moment `ms` after 1970.
    pub(crate) fn at(ms: i64) -> LocalTime {
        let seconds: libc::time_t = ms.div_euclid(1000);
        // SAFETY: tm is plain integers and a pointer that may be null; localtime_r fills it from a valid pointer.
        let broken_down = unsafe {
            let mut broken_down: libc::tm = std::mem::zeroed();
            libc::localtime_r(&raw const seconds, &raw mut broken_down);
            broken_down
        };
        LocalTime {
            year: i64::from(broken_down.tm_year) + 1900,
            month: broken_down.tm_mon + 1,
            day: broken_down.tm_mday,
            hour: broken_down.tm_hour,
            minute: broken_down.tm_min,
            second: broken_down.tm_sec,
            millisecond: ms.rem_euclid(1000),
        }
    }

    /// `yyyyMMddHHmmssSSS`, the name of an index file.
    pub(crate) fn digits(&self) -> String {
        format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}{:03}",
            self.year, self.month, self.day, self.hour, self.minute, self.second, self.millisecond
        )
    }
}

/// Which pages of a mapping are in memory: one byte each, bit 0 says so. `None` when the system will not tell.
///
/// # Safety
/// `start` is the page-aligned start of a mapping of at least `len` bytes.
pub(crate) unsafe fn resident_pages(start: *const u8, len: usize) -> Option<Vec<u8>> {
    let mut pages = vec![0; len.div_ceil(4096)];
    // SAFETY: the caller vouches for the range; `pages` has a byte for each page of it.
    let result = unsafe { libc::mincore(start.cast_mut().cast(), len, pages.as_mut_ptr()) };
    (result == 0).then_some(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_in_one_process_is_refused_and_the_first_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let open = || File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let first = RangeLock::take(open()).unwrap();
        assert!(matches!(RangeLock::take(open()), Err(LockError::Held(Some(pid))) if pid == std::process::id()));
        drop(first);
        RangeLock::take(open()).unwrap();
    }

    #[test]
    fn digits_have_the_form_of_index_file_names() {
        let digits = LocalTime::at(1_700_000_000_123).digits();
        assert_eq!((digits.len(), &digits[14..]), (17, "123"));
        assert!(digits.starts_with("202311"));
    }
}
