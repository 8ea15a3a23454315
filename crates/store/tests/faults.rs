//! A disk that fails, or is full: what was acknowledged stays true, and a full disk heals.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::faults::{EIO, ENOSPC, Faults, open_on, with};
use common::{block_on, bodies, config, eventually, message, open, put, settle, sync_config};
use store::{DiskUsage, FlushError, MessageStore, NoListener, OpenError, PutError, StoreConfig, SystemClock};

#[test]
fn a_failed_flush_makes_the_store_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, store) = with(sync_config(dir.path()));
    let store = store.unwrap();
    let first = put(&store, "T", 0, b"acknowledged");
    block_on(store.flushed(first.end())).unwrap();
    settle(&store);
    faults.set("sync_data", "commitlog", EIO);
    let place = put(&store, "T", 0, b"not acknowledged");
    let error = block_on(store.flushed(place.end())).unwrap_err();
    assert!(
        matches!(&error, FlushError::Poisoned { reason } if reason.contains("cannot flush the commit log")),
        "{error}"
    );
    faults.lift();
    // It stays so, though the disk would work again: what was lost is unknown.
    let refused = store.put(&message("T", 0, b"x", "")).unwrap_err();
    assert!(matches!(refused, PutError::Poisoned { .. }), "{refused}");
    assert_eq!(bodies(&store, "T", 0), [b"acknowledged".to_vec()]);
    assert!(store.status().poisoned.is_some());
    store.shutdown();
    assert!(dir.path().join("abort").exists(), "not a clean stop");
    drop(store);
    assert_eq!(bodies(&open(config(dir.path())), "T", 0)[0], b"acknowledged");
}

#[test]
fn a_failed_consume_queue_write_makes_the_store_read_only_and_is_made_good_by_recovery() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, store) = with(config(dir.path()));
    let store = store.unwrap();
    put(&store, "T", 0, b"one");
    settle(&store);
    faults.set("write_all_at", "consumequeue", EIO);
    put(&store, "T", 0, b"two");
    eventually("poison", || store.status().poisoned.is_some());
    assert!(matches!(store.put(&message("T", 0, b"x", "")), Err(PutError::Poisoned { .. })));
    drop(store);
    assert_eq!(bodies(&open(config(dir.path())), "T", 0), [b"one".to_vec(), b"two".to_vec()]);
}

#[test]
fn a_full_disk_is_an_error_at_allocation_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, store) = with(config(dir.path()));
    let store = store.unwrap();
    faults.set("allocate", "commitlog", ENOSPC);
    let body = vec![1; 4000];
    let mut stored = 0;
    let error = loop {
        match store.put(&message("T", 0, &body, "")) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, PutError::NoFile { reason } if reason.contains("space")), "{error}");
    // The file that was prepared beforehand took some.
    assert!((3..=8).contains(&stored), "{stored}");
    assert!(store.status().poisoned.is_none());
    settle(&store);
    assert_eq!(bodies(&store, "T", 0).len(), stored);
    faults.lift();
    assert_eq!(put(&store, "T", 0, &body).queue_offset, i64::try_from(stored).unwrap());
    settle(&store);
    drop(store);
    assert_eq!(bodies(&open(config(dir.path())), "T", 0).len(), stored + 1);
}

#[test]
fn a_full_disk_for_consume_queues_refuses_puts_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, store) = with(config(dir.path()));
    let store = store.unwrap();
    put(&store, "T", 0, b"one");
    settle(&store);
    faults.set("write_all_at", "consumequeue", ENOSPC);
    put(&store, "T", 0, b"two");
    eventually("refusal", || matches!(store.put(&message("T", 0, b"x", "")), Err(PutError::DiskFull { .. })));
    assert!(store.status().disk_full.is_some());
    faults.lift();
    settle(&store);
    eventually("healing", || store.status().disk_full.is_none());
    put(&store, "T", 0, b"last");
    settle(&store);
    let bodies = bodies(&store, "T", 0);
    assert_eq!((bodies[1].as_slice(), bodies.last().unwrap().as_slice()), (&b"two"[..], &b"last"[..]));
}

#[test]
fn disk_use_above_the_warning_level_refuses_puts_and_deletes_files() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        delete_commit_log_files_interval_ms: 0,
        clean_resource_interval_ms: 3_600_000,
        ..config(dir.path())
    };
    let (faults, store) = with(config);
    let store = store.unwrap();
    for _ in 0..100 {
        put(&store, "T", 0, &[1; 1000]);
    }
    settle(&store);
    let set = |used| *faults.usage.lock().unwrap() = Some(DiskUsage { used, available: 100 - used });
    let files = store.status().commit_log_files;
    set(80);
    store.clean_now().unwrap();
    // Young files stay, and puts go on.
    assert_eq!(store.status().commit_log_files, files);
    put(&store, "T", 0, b"x");
    set(95);
    store.clean_now().unwrap();
    let error = store.put(&message("T", 0, b"x", "")).unwrap_err().to_string();
    assert!(error.contains("95% full, limit 90% (diskSpaceWarningLevelRatio)"), "{error}");
    assert!(store.status().commit_log_files < files);
    assert_eq!(store.status().commit_log_disk_ratio, 0.95);
    // Between the two levels it stays as it is.
    set(88);
    store.clean_now().unwrap();
    assert!(store.put(&message("T", 0, b"x", "")).is_err());
    set(50);
    store.clean_now().unwrap();
    put(&store, "T", 0, b"x");
}

#[test]
fn no_room_for_a_new_store() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    faults.set("allocate", "commitlog", ENOSPC);
    let error = open_on(&faults, config(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::DiskFull { .. }), "{error}");
    faults.set("create_dir_all", "commitlog", 13);
    let error = open_on(&faults, config(dir.path())).unwrap_err();
    let expect =
        format!("chown -R {} {}", std::fs::metadata(dir.path()).map(owner).unwrap(), existing(dir.path()).display());
    assert!(error.to_string().contains(&expect), "{error} {expect}");
    // Nothing stays locked.
    faults.lift();
    put(&open_on(&faults, config(dir.path())).unwrap(), "T", 0, b"x");
}

fn owner(metadata: std::fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{}:{}", metadata.uid(), metadata.gid())
}

/// The commit-log directory, which the first attempt made.
fn existing(root: &Path) -> PathBuf {
    root.join("commitlog")
}

#[test]
fn a_failed_checkpoint_makes_the_store_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { flush_consume_queue_thorough_interval_ms: 1, ..config(dir.path()) };
    let (faults, store) = with(config);
    let store = store.unwrap();
    faults.set("sync_data", "checkpoint", EIO);
    put(&store, "T", 0, b"x");
    eventually("poison", || store.status().poisoned.is_some());
}

/// A Java broker that is started on a store in use deletes what lies behind the end of the log before it finds the lock
/// taken (DefaultMessageStore.load comes before start).
#[test]
fn a_prepared_file_that_somebody_deleted_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    put(&store, "T", 0, b"first");
    let prepared = dir.path().join("commitlog").join(format!("{:020}", 16 * 1024));
    eventually("the next file is prepared", || prepared.exists());
    std::fs::remove_file(&prepared).unwrap();
    while store.status().max_offset < 2 * 16 * 1024 {
        put(&store, "T", 0, &[b'x'; 4000]);
    }
    settle(&store);
    let all = bodies(&store, "T", 0);
    drop(store);
    assert_eq!(bodies(&open(config(dir.path())), "T", 0), all);
}

#[test]
fn a_file_that_cannot_be_deleted_keeps_those_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        file_reserved_time_hours: 0,
        delete_commit_log_files_interval_ms: 0,
        clean_resource_interval_ms: 3_600_000,
        ..config(dir.path())
    };
    let (faults, store) = with(config.clone());
    let store = store.unwrap();
    for _ in 0..100 {
        put(&store, "T", 0, &[1; 1000]);
    }
    settle(&store);
    faults.set("remove_file", "commitlog/00000000000000000000", EIO);
    // Whichever comes first, this call or the thread; the other is after it.
    store.delete_expired_files();
    for _ in 0..3 {
        store.clean_now().unwrap_err();
    }
    assert_eq!((store.status().min_offset, bodies(&store, "T", 0).len()), (0, 100));
    drop(store);
    let store = open_on(&faults, config).unwrap();
    assert_eq!(bodies(&store, "T", 0).len(), 100);
    faults.lift();
    store.delete_expired_files();
    eventually("deletion", || store.clean_now().is_ok() && store.status().min_offset > 0);
}

/// Names of the files in a directory.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A store on three paths with these faults; whatever the machine's disk is like, it has room.
fn on_paths(root: &Path, faults: &Arc<Faults>) -> MessageStore {
    faults.usage.lock().unwrap().get_or_insert(DiskUsage { used: 10, available: 90 });
    // In no order: the names decide.
    let paths = ["log-b", "log-a", "log-c"].map(|name| root.join(name)).to_vec();
    let config = StoreConfig { store_paths_commit_log: paths, ..config(root) };
    MessageStore::open_with(config, Arc::new(NoListener), faults.clone(), Arc::new(SystemClock)).unwrap()
}

/// Fills three quarters of a commit-log file.
fn put_most_of_a_file(store: &MessageStore) {
    for _ in 0..2 {
        put(store, "T", 0, &[7; 6000]);
    }
    settle(store);
}

#[test]
fn several_log_paths_take_turns_and_full_ones_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let store = on_paths(dir.path(), &faults);
    let files = |name: &str| names(&dir.path().join(name));
    let name = |index: u64| format!("{:020}", index * 16 * 1024);
    (0..4).for_each(|_| put_most_of_a_file(&store));
    // The next file is made ahead.
    eventually("the fifth file", || files("log-b").len() == 2);
    assert_eq!(files("log-a"), [name(0), name(3)]);
    assert_eq!(files("log-b"), [name(1), name(4)]);
    assert_eq!(files("log-c"), [name(2)]);
    // By its number the seventh would go to log-a, the only one but log-c with room.
    *faults.nearly_full.lock().unwrap() = Some("log-b");
    (0..4).for_each(|_| put_most_of_a_file(&store));
    eventually("the ninth file", || files("log-a").len() + files("log-c").len() == 7);
    assert_eq!(files("log-b").len(), 2);
    assert_eq!(files("log-a"), [name(0), name(3), name(6), name(8)]);
    assert_eq!(files("log-c"), [name(2), name(5), name(7)]);
    // A path that says it has room and has none, too.
    *faults.nearly_full.lock().unwrap() = None;
    faults.set("allocate", "log-a", ENOSPC);
    (0..2).for_each(|_| put_most_of_a_file(&store));
    eventually("the eleventh file", || files("log-b").len() + files("log-c").len() == 7);
    assert_eq!(files("log-a").len(), 4);
    drop(store);
    let store = on_paths(dir.path(), &faults);
    assert_eq!(bodies(&store, "T", 0).len(), 20);
}

#[test]
fn when_all_log_paths_are_nearly_full_they_take_turns_again() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    *faults.nearly_full.lock().unwrap() = Some("log-");
    let store = on_paths(dir.path(), &faults);
    (0..3).for_each(|_| put_most_of_a_file(&store));
    for name in ["log-a", "log-b", "log-c"] {
        assert!(!names(&dir.path().join(name)).is_empty(), "{name}");
    }
}

#[test]
fn read_only_log_paths_are_read_and_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = on_paths(dir.path(), &Arc::default());
    (0..5).for_each(|_| put_most_of_a_file(&store));
    drop(store);
    let old = dir.path().join("old");
    std::fs::rename(dir.path().join("log-a"), &old).unwrap();
    let paths = |read_only: &[&Path]| StoreConfig {
        store_paths_commit_log: vec![dir.path().join("log-b"), dir.path().join("log-c")],
        read_only_commit_log_store_paths: read_only.iter().map(|path| path.to_path_buf()).collect(),
        ..config(dir.path())
    };
    let error = MessageStore::open(paths(&[]), Arc::new(NoListener)).unwrap_err();
    assert!(error.to_string().contains("readOnlyCommitLogStorePaths"), "{error}");
    let before = names(&old);
    let store = open(paths(&[&old, &dir.path().join("log-b")]));
    assert_eq!(bodies(&store, "T", 0).len(), 10);
    let in_b = names(&dir.path().join("log-b")).len();
    (0..4).for_each(|_| put_most_of_a_file(&store));
    drop(store);
    assert_eq!((names(&old), names(&dir.path().join("log-b")).len()), (before, in_b));
    let all = [dir.path().join("log-b"), dir.path().join("log-c")];
    let error = MessageStore::open(paths(&[&all[0], &all[1]]), Arc::new(NoListener)).unwrap_err();
    assert!(matches!(error, OpenError::Config { key: "readOnlyCommitLogStorePaths", .. }), "{error}");
}
