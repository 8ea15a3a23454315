//! What a change replaces is kept, in a directory named after the time, beside what it was.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use store::OpenError;
use store::offline::{LockHolder, StoreLock, holder};

use crate::error::{IoContext as _, ToolError};
use crate::files::StoreDir;
use crate::{clock, time};

/// The last line of a dry run.
pub(crate) const NOTHING_CHANGED: &str = "nothing was changed; add --apply to do it";

/// A dry run refuses, as the real one will, while a broker runs.
pub(crate) fn refuse_when_in_use(store: &StoreDir) -> Result<(), ToolError> {
    match holder(&store.root).on("look at the lock of", &store.root)? {
        LockHolder::Free => Ok(()),
        LockHolder::Held(pid) => Err(OpenError::Locked { path: store.root.clone(), pid }.into()),
    }
}

/// What every change begins with: the store's lock, and where what is replaced is kept.
pub(crate) fn begin_change(store: &StoreDir) -> Result<(StoreLock, Backup), ToolError> {
    let lock = StoreLock::take(&store.root)?;
    Ok((lock, Backup::begin(&store.root)?))
}

/// A directory `mqstore-backup-<time>` in the store.
#[derive(Debug)]
pub(crate) struct Backup {
    root: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Backup {
    /// Makes the directory.
    fn begin(root: &Path) -> Result<Backup, ToolError> {
        let stamp = time::stamp(clock::now_ms());
        for number in 1..1000 {
            let name = if number == 1 { stamp.clone() } else { format!("{stamp}-{number}") };
            let dir = root.join(format!("mqstore-backup-{name}"));
            match fs::create_dir(&dir) {
                Ok(()) => {
                    let backup = Backup { root: root.to_owned(), dir };
                    backup.sync(root)?;
                    return Ok(backup);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).on("make", &dir),
            }
        }
        Err(ToolError::Refused(format!("{} has too many backups of this second", root.display())))
    }

    /// Where what was replaced is, for people.
    pub(crate) fn kept(&self) -> String {
        format!("what was there is in {}", self.dir.display())
    }

    /// Where a file or directory of the store is kept.
    pub(crate) fn place(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(relative) => self.dir.join(relative),
            // A directory of the log that lies elsewhere.
            Err(_) => {
                let parts = path.components().filter(|part| matches!(part, std::path::Component::Normal(_)));
                self.dir.join("elsewhere").join(parts.collect::<PathBuf>())
            }
        }
    }

    /// Moves a file or directory here. One that is not there needs no keeping.
    pub(crate) fn take(&self, path: &Path) -> Result<(), ToolError> {
        let place = self.place(path);
        make_parent(&place)?;
        match fs::rename(path, &place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                fs::copy(path, &place).on("copy", path)?;
                self.sync(&place)?;
                fs::remove_file(path).on("remove", path)?;
            }
            other => other.on("move", path)?,
        }
        self.sync(path.parent().unwrap_or(path))
    }

    /// Copies a file here.
    pub(crate) fn copy(&self, path: &Path) -> Result<(), ToolError> {
        let place = self.place(path);
        make_parent(&place)?;
        match fs::copy(path, &place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => {
                other.on("copy", path)?;
                self.sync(&place)
            }
        }
    }

    fn sync(&self, path: &Path) -> Result<(), ToolError> {
        File::open(path).and_then(|file| file.sync_all()).on("flush", path)
    }
}

pub(crate) fn make_parent(path: &Path) -> Result<(), ToolError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).on("make", parent)
}
