//! The files of the commit log, oldest first: found by offset without a lock, listed anew when one comes or goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use crate::mmap::{MappedFile, MappedSlice};

#[derive(Debug)]
pub(crate) struct MappedFileQueue {
    file_bytes: u64,
    files: ArcSwap<Vec<Arc<MappedFile>>>,
    read_ahead: AtomicBool,
}

impl MappedFileQueue {
    /// `files` in order and without gaps.
    pub(crate) fn new(file_bytes: u64, files: Vec<Arc<MappedFile>>) -> Self {
        MappedFileQueue { file_bytes, files: ArcSwap::from_pointee(files), read_ahead: AtomicBool::new(true) }
    }

    pub(crate) fn files(&self) -> Arc<Vec<Arc<MappedFile>>> {
        self.files.load_full()
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(crate) fn push(&self, file: &Arc<MappedFile>) {
        if !self.read_ahead.load(Ordering::Relaxed) {
            file.set_read_ahead(false);
        }
        self.files.rcu(|files| files.iter().chain([file]).cloned().collect::<Vec<_>>());
    }

    /// Whether the kernel may read ahead, in these files and in those to come.
    pub(crate) fn set_read_ahead(&self, enabled: bool) {
        if self.read_ahead.swap(enabled, Ordering::Relaxed) != enabled {
            self.files.load().iter().for_each(|file| file.set_read_ahead(enabled));
        }
    }

    /// Takes the oldest file out of the list.
    pub(crate) fn remove_first(&self, file: &Arc<MappedFile>) {
        self.files.rcu(|files| files.iter().filter(|other| !Arc::ptr_eq(other, file)).cloned().collect::<Vec<_>>());
    }

    /// First offset that is left; `None` without files.
    pub(crate) fn min_offset(&self) -> Option<u64> {
        self.files.load().first().map(|file| file.first_offset())
    }

    /// The file that has `offset`.
    pub(crate) fn find(&self, offset: u64) -> Option<Arc<MappedFile>> {
        let files = self.files.load();
        let first = files.first()?.first_offset();
        let index = usize::try_from(offset.checked_sub(first)? / self.file_bytes).ok()?;
        files.get(index).map(Arc::clone)
    }

    /// `len` published bytes from `offset` on, all of one file.
    pub(crate) fn slice(&self, offset: u64, len: u32) -> Option<MappedSlice> {
        let files = self.files.load();
        let first = files.first()?.first_offset();
        let index = usize::try_from(offset.checked_sub(first)? / self.file_bytes).ok()?;
        let file = files.get(index)?;
        file.slice(offset - file.first_offset(), len)
    }
}

/// The name of the file that starts at `offset`: 20 decimal digits.
pub(crate) fn file_name(offset: u64) -> String {
    format!("{offset:020}")
}

/// The offset that a file name stands for; `None` for other names.
pub(crate) fn file_offset(name: &str) -> Option<u64> {
    (name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(file_name(1_073_741_824), "00000000001073741824");
        assert_eq!(file_offset("00000000001073741824"), Some(1_073_741_824));
        for name in ["", "1", "0000000000107374182x", "+0000000001073741824", "99999999999999999999"] {
            assert_eq!(file_offset(name), None, "{name}");
        }
    }
}
