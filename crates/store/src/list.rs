//! What directories hold, for four system calls each: those of consume queues are many.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, statat};
use rustix::io::Errno;

use crate::fs::DirItem;

/// Bytes of entries that are read at once: as many as fifty names of files.
const BUFFER: usize = 2048;

/// As [`crate::FileSystem::list`].
pub(crate) fn list(path: &Path) -> io::Result<Vec<DirItem>> {
    items(CWD, path)
}

/// As [`crate::FileSystem::list_dirs`]. The directories in `path` are opened from there: their paths are not walked again.
pub(crate) fn list_dirs(path: &Path) -> io::Result<Vec<(String, Vec<DirItem>)>> {
    let mut dirs = Vec::new();
    for_each(CWD, path, |dir, name, is_dir| {
        if is_dir {
            dirs.push((name.to_owned(), items(dir, Path::new(name))?));
        }
        Ok(())
    })?;
    Ok(dirs)
}

fn items(at: BorrowedFd<'_>, path: &Path) -> io::Result<Vec<DirItem>> {
    let mut items = Vec::new();
    for_each(at, path, |_, name, is_dir| {
        items.push(DirItem { name: name.to_owned(), is_dir });
        Ok(())
    })?;
    Ok(items)
}

/// Shows what a directory holds: the directory, a name in it, whether that is a directory, too.
fn for_each(
    at: BorrowedFd<'_>,
    path: &Path,
    mut visit: impl FnMut(BorrowedFd<'_>, &str, bool) -> io::Result<()>,
) -> io::Result<()> {
    let dir = match openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(&dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name == "." || name == ".." {
            continue;
        }
        let file_type = match entry.file_type() {
            // What the link leads to counts; and some file systems do not tell.
            FileType::Symlink | FileType::Unknown => {
                FileType::from_raw_mode(statat(&dir, name, AtFlags::empty())?.st_mode)
            }
            file_type => file_type,
        };
        visit(dir.as_fd(), name, file_type.is_dir())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn sorted(mut items: Vec<DirItem>) -> Vec<(String, bool)> {
        items.sort_by(|a, b| a.name.cmp(&b.name));
        items.into_iter().map(|item| (item.name, item.is_dir)).collect()
    }

    #[test]
    fn files_directories_and_links() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("f"), b"x").unwrap();
        symlink("a", root.path().join("to_dir")).unwrap();
        symlink("f", root.path().join("to_file")).unwrap();
        let items = sorted(list(root.path()).unwrap());
        let expected = [("a", true), ("f", false), ("to_dir", true), ("to_file", false)];
        assert_eq!(items, expected.map(|(name, is_dir)| (name.to_owned(), is_dir)));
        assert_eq!(list(&root.path().join("none")).unwrap(), []);
        assert_eq!(list(&root.path().join("f")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        symlink("nowhere", root.path().join("broken")).unwrap();
        assert_eq!(list(root.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_directories_hold() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), b"x").unwrap();
        fs::create_dir(root.path().join("empty")).unwrap();
        // More than a buffer takes.
        let names: Vec<String> = (0..300).map(|number| format!("{number:020}")).collect();
        for dir in ["one", "two"] {
            fs::create_dir(root.path().join(dir)).unwrap();
            names.iter().for_each(|name| fs::write(root.path().join(dir).join(name), b"").unwrap());
        }
        let mut dirs = list_dirs(root.path()).unwrap();
        dirs.sort_by(|a, b| a.0.cmp(&b.0));
        let expected: Vec<(String, bool)> = names.iter().map(|name| (name.clone(), false)).collect();
        let found: Vec<_> = dirs.into_iter().map(|(name, items)| (name, sorted(items))).collect();
        assert_eq!(
            found,
            [("empty", vec![]), ("one", expected.clone()), ("two", expected)].map(|(n, i)| (n.to_owned(), i))
        );
        assert!(list_dirs(&root.path().join("none")).unwrap().is_empty());
    }
}
