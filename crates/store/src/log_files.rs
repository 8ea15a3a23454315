//! The commit-log directories as a start finds them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::core::{Core, is_no_space};
use crate::error::OpenError;
use crate::mapped_file_queue::file_offset;
use crate::mmap::MappedFile;

/// Opens and maps all files of the log, oldest first. Files without length at the end, as a kill can leave them, are
/// removed.
/// # Errors
/// [`OpenError::Corrupted`] for a file that is missing, doubled or has another length than the rest.
pub(crate) fn load(core: &Core) -> Result<Vec<MappedFile>, OpenError> {
    let mut found = Vec::new();
    let config = &core.config;
    let dirs: BTreeSet<PathBuf> =
        config.commit_log_paths().into_iter().chain(config.read_only_commit_log_store_paths.clone()).collect();
    for dir in dirs {
        let items = core.fs.list(&dir).map_err(|error| io_error("list", &dir, error))?;
        for item in items.into_iter().filter(|item| !item.is_dir) {
            let path = dir.join(&item.name);
            let Some(first_offset) = file_offset(&item.name) else {
                warn!(path = %path.display(), "not a commit-log file, left alone");
                continue;
            };
            let file = core.fs.open(&path).map_err(|error| io_error("open", &path, error))?;
            let len = core.fs.len(&file).map_err(|error| io_error("open", &path, error))?;
            found.push((first_offset, path, file, len));
        }
    }
    found.sort_by_key(|(first_offset, ..)| *first_offset);
    while let Some((_, path, _, 0)) = found.last() {
        core.fs.remove_file(path).map_err(|error| io_error("remove", path, error))?;
        found.pop();
    }
    let mut files: Vec<MappedFile> = Vec::new();
    for (first_offset, path, file, len) in found {
        check(core, files.last(), first_offset, &path, len)?;
        let mapped = MappedFile::map(path.clone(), file, first_offset, len);
        files.push(mapped.map_err(|error| io_error("map", &path, error))?);
    }
    Ok(files)
}

fn check(
    core: &Core,
    previous: Option<&MappedFile>,
    first_offset: u64,
    path: &Path,
    len: u64,
) -> Result<(), OpenError> {
    let size = core.config.mapped_file_size_commit_log;
    let corrupted = |file_position, reason| OpenError::Corrupted { path: path.to_owned(), file_position, reason };
    if len != size {
        return Err(corrupted(
            len.min(size),
            format!(
                "it has {len} bytes where mappedFileSizeCommitLog is {size}; set that to what this store was made with, \
                 or restore the file"
            ),
        ));
    }
    let expected = previous.map_or(first_offset - first_offset % size, MappedFile::end_offset);
    if first_offset != expected {
        return Err(corrupted(
            0,
            format!(
                "the file that begins at {expected} should come before it; restore it (or remove the doubled one), or \
                 name the directory that has it in storePathCommitLog or readOnlyCommitLogStorePaths"
            ),
        ));
    }
    Ok(())
}

/// Removes a file of the log, also from the directory on the disk: whatever stops what follows, it does not come back.
/// # Errors
/// What the system said.
pub(crate) fn remove_for_good(core: &Core, path: &Path) -> io::Result<()> {
    core.fs.remove_file(path)?;
    path.parent().map_or(Ok(()), |dir| core.fs.sync_dir(dir))
}

/// The error of opening a store for what the system said about a path.
pub(crate) fn io_error(action: &'static str, path: &Path, source: io::Error) -> OpenError {
    use std::os::unix::fs::MetadataExt;
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            let existing = path.ancestors().find_map(|path| Some((path.to_owned(), path.metadata().ok()?)));
            let (path, owner_uid) =
                existing.map_or_else(|| (path.to_owned(), 0), |(path, metadata)| (path, metadata.uid()));
            let my_uid = rustix::process::geteuid().as_raw();
            let my_gid = rustix::process::getegid().as_raw();
            let read_only = source.kind() == io::ErrorKind::ReadOnlyFilesystem;
            if read_only {
                return OpenError::Io { action, path, source };
            }
            OpenError::NotWritable { path, owner_uid, my_uid, my_gid }
        }
        io::ErrorKind::InvalidData => {
            OpenError::Corrupted { path: path.to_owned(), file_position: 0, reason: source.to_string() }
        }
        _ if is_no_space(&source) => OpenError::DiskFull { path: path.to_owned(), needed_bytes: 0 },
        _ => OpenError::Io { action, path: path.to_owned(), source },
    }
}

/// Opens a file, makes an empty one when there is none; what it holds stays.
pub(crate) fn open_or_create(core: &Core, path: &Path) -> io::Result<File> {
    match core.fs.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => core.fs.create(path, 0),
        other => other,
    }
}
