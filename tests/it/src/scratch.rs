//! Directories of one test run, below `target/it` (or `FERROCKET_SCRATCH`). They stay after the run, for looking at logs; the next run removes
//! those whose process is gone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The root of the source tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().and_then(Path::parent).expect("this crate is two below the root")
}

/// The target directory of this build.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Waits until no other test program holds the lock of that name, and holds it until the file is dropped: for what several
/// programs share and only one may make.
pub fn lock(name: &str) -> File {
    let path = target().join(format!(".{name}.lock"));
    let file = File::create(&path).unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
    file.lock().unwrap_or_else(|error| panic!("cannot lock {}: {error}", path.display()));
    file
}

/// A new empty directory with `name` in its name.
pub fn dir(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let path = run_dir().join(format!("{}-{name}", NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&path).unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
    path
}

fn run_dir() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let all = std::env::var_os("FERROCKET_SCRATCH").map_or_else(|| target().join("it"), PathBuf::from);
        for old in fs::read_dir(&all).into_iter().flatten().flatten() {
            let pid = old.file_name().to_string_lossy().to_string();
            if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(&pid).exists() {
                // Another test program may be removing it at the same time.
                fs::remove_dir_all(old.path()).ok();
            }
        }
        let mine = all.join(std::process::id().to_string());
        fs::create_dir_all(&mine).unwrap_or_else(|error| panic!("cannot create {}: {error}", mine.display()));
        mine
    })
}
