//! Small files that must never be half written or silently empty: metadata and configuration.
//!
//! Java keeps one generation as `<name>.bak` (`common/ConfigManager`, `MixAll.string2File`); the names here are the same.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The largest file [`load`] reads: a broker with a million consumer offsets stays far below.
pub const MAX_BYTES: u64 = 1 << 30;

/// What was read, and from which generation.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded<T> {
    /// From the file itself.
    Main(T),
    /// From `.bak`; the text says why the file itself was not usable.
    Backup(T, String),
}

impl<T> Loaded<T> {
    /// What was read.
    pub fn into_inner(self) -> T {
        match self {
            Self::Main(value) | Self::Backup(value, _) => value,
        }
    }
}

/// Neither generation could be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {main}; {}: {backup}; restore one of them, or move both away to start empty", path.display(), backup_of(path).display())]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// Why the file is not usable.
    pub main: String,
    /// Why its `.bak` is not.
    pub backup: String,
}

/// `<path>.bak`.
#[must_use]
pub fn backup_of(path: &Path) -> PathBuf {
    with_suffix(path, ".bak")
}

/// Replaces the content of `path`: written to `<path>.tmp`, fsynced, renamed over, and the directory fsynced; whoever reads
/// sees the old or the new content, also after a loss of power. The former content stays as `<path>.bak`, itself replaced by
/// rename; a former file that is empty does not become the backup. Directories above are created.
///
/// # Errors
/// What the file system answers; `path` holds its former content then.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    // A configuration file may be a symbolic link (Kubernetes, /etc alternatives): replace what it points to.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let directory = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(directory);
    let temporary = with_suffix(&target, ".tmp");
    write_synced(&temporary, content, fs::metadata(&target).ok())?;
    keep_backup(&target)?;
    fs::rename(&temporary, &target)?;
    sync_directory(directory)
}

/// Reads `path`, or its `.bak` when `path` is missing or `parse` refuses its content. Nothing at all is `None`; something
/// unreadable is an error and never "nothing".
///
/// # Errors
/// [`LoadError`] when something is there and no generation of it is usable.
pub fn load<T, E: std::fmt::Display>(
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<Loaded<T>>, LoadError> {
    let backup = backup_of(path);
    let main_problem = match read_and_parse(path, &parse) {
        Ok(Some(value)) => return Ok(Some(Loaded::Main(value))),
        Ok(None) => None,
        Err(problem) => Some(problem),
    };
    match (read_and_parse(&backup, &parse), main_problem) {
        (Ok(Some(value)), problem) => {
            Ok(Some(Loaded::Backup(value, problem.unwrap_or_else(|| "it is missing".to_owned()))))
        }
        (Ok(None), None) => Ok(None),
        (Ok(None), Some(main)) => Err(LoadError { path: path.into(), main, backup: "it is missing".into() }),
        (Err(backup), main) => {
            Err(LoadError { path: path.into(), main: main.unwrap_or_else(|| "it is missing".into()), backup })
        }
    }
}

fn read_and_parse<T, E: std::fmt::Display>(
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    parse(&bytes).map(Some).map_err(|e| e.to_string())
}

/// Writes a new file and syncs it; its permissions are those of the file it will replace.
fn write_synced(path: &Path, content: &[u8], like: Option<fs::Metadata>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    if let Some(metadata) = like {
        file.set_permissions(metadata.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()
}

/// Makes the present content the backup, without a moment in which `path` is missing: a second link, renamed over the old
/// backup; a copy where links are not supported.
fn keep_backup(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > 0 => {}
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    }
    let next = with_suffix(path, ".bak.tmp");
    match fs::remove_file(&next) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    if fs::hard_link(path, &next).is_err() {
        write_synced(&next, &fs::read(path)?, fs::metadata(path).ok())?;
    }
    fs::rename(&next, backup_of(path))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<String, String> {
        let text = String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string())?;
        if text.starts_with("bad") { Err("it is bad".to_owned()) } else { Ok(text) }
    }

    #[test]
    fn keeps_one_generation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config/topics.json");
        assert!(load(&path, text).unwrap().is_none());
        replace(&path, b"one").unwrap();
        assert!(!backup_of(&path).exists());
        replace(&path, b"two").unwrap();
        replace(&path, b"three").unwrap();
        assert_eq!(load(&path, text).unwrap(), Some(Loaded::Main("three".to_owned())));
        assert_eq!(fs::read(backup_of(&path)).unwrap(), b"two");
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn falls_back_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        for (content, why) in [(&b"bad"[..], "it is bad"), (b"", "it is empty")] {
            fs::write(&path, content).unwrap();
            assert_eq!(load(&path, text).unwrap(), Some(Loaded::Backup("one".to_owned(), why.to_owned())));
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(load(&path, text).unwrap(), Some(Loaded::Backup("one".to_owned(), "it is missing".to_owned())));
    }

    #[test]
    fn broken_is_never_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"").unwrap();
        let error = load(&path, text).unwrap_err();
        assert_eq!((error.main.as_str(), error.backup.as_str()), ("it is empty", "it is missing"));
        fs::write(backup_of(&path), b"bad").unwrap();
        assert_eq!(load(&path, text).unwrap_err().backup, "it is bad");
        fs::remove_file(&path).unwrap();
        assert_eq!(load(&path, text).unwrap_err().main, "it is missing");
    }

    #[test]
    fn an_empty_file_does_not_become_the_backup() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        fs::write(&path, b"").unwrap();
        replace(&path, b"three").unwrap();
        assert_eq!(fs::read(backup_of(&path)).unwrap(), b"one");
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::write(&real, b"one").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace(&link, b"two").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, b"one").unwrap();
        fs::create_dir(with_suffix(&path, ".tmp")).unwrap();
        assert!(replace(&path, b"two").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }
}
