//! Gives the blocks of deleted files back to the file system a little at a time: what a file of 1 GiB gives back at once can
//! hold up the file system's journal, and with it everyone who writes. The names go first; a file that somebody reads stays
//! as it is until the last reader is gone.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::warn;

use crate::core::Core;
use crate::index::IndexFile;
use crate::mmap::MappedFile;

/// So much is given back at once.
const STEP: u64 = 64 << 20;
/// And so long is waited then.
const PAUSE: Duration = Duration::from_millis(10);

/// A file without a name.
#[derive(Debug)]
pub(crate) enum Nameless {
    Log(Arc<MappedFile>),
    Index(Arc<IndexFile>),
}

impl Nameless {
    /// The file, unmapped, when nobody else has it.
    fn into_file(self) -> Result<File, Nameless> {
        match self {
            Nameless::Log(file) => Arc::try_unwrap(file).map(MappedFile::into_file).map_err(Nameless::Log),
            Nameless::Index(file) => Arc::try_unwrap(file).map(IndexFile::into_file).map_err(Nameless::Index),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Nameless::Log(file) => file.path(),
            Nameless::Index(file) => file.path(),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Nameless::Log(file) => file.len(),
            Nameless::Index(file) => file.len(),
        }
    }
}

/// Deleted files whose blocks are still taken.
#[derive(Debug, Default)]
pub(crate) struct Deleted(Mutex<Vec<Nameless>>);

impl Deleted {
    /// The name of `file` is gone.
    pub(crate) fn add(&self, file: Nameless) {
        self.0.lock().push(file);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Bytes of deleted files that were below `dir`: they will be free without any further deletion.
    pub(crate) fn bytes_below(&self, dir: &Path) -> u64 {
        self.0.lock().iter().filter(|file| file.path().starts_with(dir)).map(Nameless::len).sum()
    }

    /// Gives back what nobody reads; the rest waits for the next call. When the store stops, what is left goes at once with
    /// the descriptor.
    pub(crate) fn release(&self, core: &Core) {
        let files = std::mem::take(&mut *self.0.lock());
        for file in files {
            let path: PathBuf = file.path().to_owned();
            match file.into_file() {
                Ok(file) => {
                    if let Err(error) = shrink(core, &file) {
                        warn!(path = %path.display(), %error, "a deleted file could not be made shorter");
                    }
                }
                Err(held) => self.add(held),
            }
        }
    }
}

fn shrink(core: &Core, file: &File) -> io::Result<()> {
    let mut len = core.fs.len(file)?;
    while len > 0 && !core.stopping() {
        len = len.saturating_sub(STEP);
        core.fs.set_len(file, len)?;
        core.clean.pause(PAUSE, || core.stopping());
    }
    Ok(())
}
