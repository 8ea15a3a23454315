//! Files of consume queues that somebody takes away while the store is closed, and those that go for good reason.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::{bodies, config, forget_own_checkpoint, open, put, reboot, settle};
use store::{MessageStore, StoreConfig};
use tracing_subscriber::fmt;

/// How the store is left.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Exit {
    Clean,
    Killed,
    PowerLost,
}

const EXITS: [Exit; 3] = [Exit::Clean, Exit::Killed, Exit::PowerLost];
const TOLD_OF_ALL: &str = "queues are built again from the whole log";
const TOLD_OF_ONE: &str = "of a consume queue are gone";

fn leave(store: MessageStore, root: &Path, exit: Exit) {
    settle(&store);
    match exit {
        Exit::Clean => drop(store),
        Exit::Killed => store.abandon(),
        Exit::PowerLost => {
            // All of it is on the disk.
            drop(store);
            open(small(root)).abandon();
            reboot(root);
        }
    }
}

/// Opens the store; returns what it logged meanwhile, too.
fn open_and_listen(config: StoreConfig) -> (MessageStore, String) {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let store = tracing::subscriber::with_default(subscriber, || open(config));
    let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(lines.contains("store opened"), "{lines}");
    (store, lines)
}

/// T/0 has three files, T/1 one, Other/0 two and Batches/0 three.
fn fill(root: &Path) -> MessageStore {
    let store = open(small(root));
    for at in 0..120_u8 {
        put(&store, "T", 0, &[at; 100]);
        if at < 60 {
            put(&store, "Other", 0, &[at; 90]);
            put(&store, "Batches", 0, &[at; 80]);
        }
        if at < 10 {
            put(&store, "T", 1, &[at; 50]);
        }
    }
    settle(&store);
    store
}

fn small(root: &Path) -> StoreConfig {
    let batch_topics = vec!["Batches".to_owned()];
    StoreConfig { mapper_file_size_batch_consume_queue: 46 * 20, batch_topics, ..config(root) }
}

const COUNTS: [(&str, i32, i64); 4] = [("T", 0, 120), ("T", 1, 10), ("Other", 0, 60), ("Batches", 0, 60)];

/// All messages are there, and offsets go on.
fn check(store: &MessageStore, context: &str) {
    for (topic, queue_id, count) in COUNTS {
        assert_eq!(
            (store.min_offset(topic, queue_id), store.max_offset(topic, queue_id)),
            (0, count),
            "{topic} {context}"
        );
        let first: Vec<u8> = bodies(store, topic, queue_id).iter().map(|body| body[0]).collect();
        assert_eq!(first, (0..u8::try_from(count).unwrap()).collect::<Vec<_>>(), "{topic} {context}");
        assert_eq!(put(store, topic, queue_id, b"x").queue_offset, count, "{topic} {context}");
    }
}

/// The files of a directory with what they hold.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.append(&mut content(&path)) } else { all.push((path.clone(), fs::read(&path).unwrap())) }
    }
    all.sort_unstable();
    all
}

fn queues(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    [content(&root.join("consumequeue")), content(&root.join("batchconsumequeue"))].concat()
}

#[test]
fn what_is_gone_from_the_end_is_made_again() {
    for exit in EXITS {
        for gone in [
            &["consumequeue/T/1/00000000000000000000"][..],
            &["consumequeue/T/0/00000000000000002000"],
            &["consumequeue/Other/0/00000000000000001000"],
            &["consumequeue/T/0/00000000000000001000", "consumequeue/T/0/00000000000000002000"],
            &["consumequeue/Other/0/00000000000000000000", "consumequeue/Other/0/00000000000000001000"],
            &["consumequeue/T/0", "consumequeue/Other/0/00000000000000001000"],
            &["consumequeue/T"],
            &["batchconsumequeue/Batches/0/00000000000000001840"],
            &["batchconsumequeue/Batches/0"],
        ] {
            let dir = tempfile::tempdir().unwrap();
            let context = format!("{exit:?} {gone:?}");
            leave(fill(dir.path()), dir.path(), exit);
            let before = queues(dir.path());
            for path in gone {
                let path = dir.path().join(path);
                if path.is_dir() { fs::remove_dir_all(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
            }
            let (store, lines) = open_and_listen(small(dir.path()));
            assert!(lines.contains(TOLD_OF_ALL), "{context} {lines}");
            assert!(!lines.contains("ERROR"), "{context} {lines}");
            assert_eq!(queues(dir.path()).len(), before.len(), "{context}");
            assert!(queues(dir.path()) == before, "other content: {context}");
            check(&store, &context);
            // It is noted anew.
            leave(store, dir.path(), exit);
            let (_store, lines) = open_and_listen(small(dir.path()));
            assert!(!lines.contains(TOLD_OF_ALL), "{context} {lines}");
        }
    }
}

#[test]
fn nothing_gone_nothing_built() {
    for exit in EXITS {
        let dir = tempfile::tempdir().unwrap();
        leave(fill(dir.path()), dir.path(), exit);
        let (store, lines) = open_and_listen(small(dir.path()));
        assert!(!lines.contains(TOLD_OF_ALL) && !lines.contains("ERROR"), "{exit:?} {lines}");
        check(&store, &format!("{exit:?}"));
    }
}

/// Also after Java, which leaves no note of what there was: there a first file is not missed, one in the middle is.
#[test]
fn what_is_gone_before_others_is_made_again() {
    for exit in EXITS {
        for (gone, noted) in [
            ("consumequeue/T/0/00000000000000001000", true),
            ("consumequeue/T/0/00000000000000001000", false),
            ("consumequeue/T/0/00000000000000000000", true),
            ("batchconsumequeue/Batches/0/00000000000000000920", true),
            ("batchconsumequeue/Batches/0/00000000000000000920", false),
            ("batchconsumequeue/Batches/0/00000000000000000000", true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let context = format!("{exit:?} {gone} {noted}");
            leave(fill(dir.path()), dir.path(), exit);
            let before = queues(dir.path());
            fs::remove_file(dir.path().join(gone)).unwrap();
            if !noted {
                forget_own_checkpoint(dir.path());
            }
            let (store, lines) = open_and_listen(small(dir.path()));
            // Without our checkpoint and after no clean stop, all queues are built again anyway.
            assert!(lines.contains(TOLD_OF_ONE) || !noted && exit != Exit::Clean, "{context} {lines}");
            assert!(!lines.contains("ERROR"), "{context} {lines}");
            assert!(queues(dir.path()) == before, "other content: {context}");
            check(&store, &context);
            leave(store, dir.path(), exit);
            let (_store, lines) = open_and_listen(small(dir.path()));
            assert!(!lines.contains(TOLD_OF_ALL) && !lines.contains(TOLD_OF_ONE), "{context} {lines}");
        }
    }
}

#[test]
fn what_expires_is_not_lost() {
    for exit in EXITS {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            file_reserved_time_hours: 0,
            delete_commit_log_files_interval_ms: 0,
            clean_resource_interval_ms: 3_600_000,
            ..small(dir.path())
        };
        let store = open(config);
        for _ in 0..200 {
            put(&store, "T", 0, &[1; 300]);
            put(&store, "Batches", 0, &[1; 300]);
        }
        settle(&store);
        let count = |path: &str| fs::read_dir(dir.path().join(path)).unwrap().count();
        let (files, batch_files) = (count("consumequeue/T/0"), count("batchconsumequeue/Batches/0"));
        common::eventually("deletion", || {
            store.delete_expired_files();
            store.clean_now().unwrap();
            store.status().commit_log_files == 1 && count("consumequeue/T/0") == 1
        });
        assert!(files > 1 && count("batchconsumequeue/Batches/0") < batch_files);
        leave(store, dir.path(), exit);
        let (store, lines) = open_and_listen(small(dir.path()));
        assert!(!lines.contains(TOLD_OF_ALL) && !lines.contains("ERROR"), "{exit:?} {lines}");
        assert_eq!((store.max_offset("T", 0), store.max_offset("Batches", 0)), (200, 200));
        // What is left is still noted.
        leave(store, dir.path(), exit);
        fs::remove_dir_all(dir.path().join("consumequeue/T/0")).unwrap();
        fs::create_dir(dir.path().join("consumequeue/T/0")).unwrap();
        let (store, lines) = open_and_listen(small(dir.path()));
        assert!(lines.contains(TOLD_OF_ALL), "{exit:?} {lines}");
        assert_eq!(put(&store, "T", 0, b"x").queue_offset, 200);
    }
}

#[test]
fn what_is_deleted_does_not_come_back() {
    for exit in EXITS {
        let dir = tempfile::tempdir().unwrap();
        drop(fill(dir.path()));
        let store = open(small(dir.path()));
        store.delete_topic("Batches");
        store.delete_topic("T");
        leave(store, dir.path(), exit);
        let (store, lines) = open_and_listen(small(dir.path()));
        assert!(!lines.contains(TOLD_OF_ALL), "{exit:?} {lines}");
        assert_eq!((store.max_offset("T", 0), store.max_offset("Batches", 0)), (0, 0), "{exit:?}");
        assert_eq!(bodies(&store, "Other", 0).len(), 60);
        // Deleted and made anew.
        put(&store, "T", 0, b"x");
        leave(store, dir.path(), exit);
        let (store, lines) = open_and_listen(small(dir.path()));
        assert!(!lines.contains(TOLD_OF_ALL), "{exit:?} {lines}");
        assert_eq!(store.max_offset("T", 0), 1);
    }
}

/// Units behind the end of the log are cut, and files that held nothing else are removed.
#[test]
fn what_is_cut_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = dir.path().join("checkpoint");
    let put_all = |range: std::ops::Range<u8>| {
        let store = open(small(dir.path()));
        range.map(|at| put(&store, "T", 0, &[at; 100]).physical_offset).collect::<Vec<_>>()
    };
    put_all(0..20);
    let mut early = fs::read(&checkpoint).unwrap();
    let places = put_all(20..120);
    // The checkpoint knows of the files, but not that what is in them is on the disk; and the log has lost its end.
    early[2144..2176].copy_from_slice(&fs::read(&checkpoint).unwrap()[2144..2176]);
    fs::write(&checkpoint, &early).unwrap();
    fs::write(dir.path().join("abort"), b"").unwrap();
    reboot(dir.path());
    let (file, position) = (places[50] / (16 * 1024), places[50] % (16 * 1024));
    let log = |index: u64| dir.path().join("commitlog").join(format!("{:020}", index * 16 * 1024));
    let zeroes = vec![0; usize::try_from(16 * 1024 - position).unwrap()];
    fs::File::options().write(true).open(log(file)).unwrap().write_all_at(&zeroes, position).unwrap();
    let later = (file + 1..).map(log).take_while(|path| fs::remove_file(path).is_ok());
    assert!(later.count() > 0);

    let (store, lines) = open_and_listen(small(dir.path()));
    assert!(!lines.contains(TOLD_OF_ALL) && !lines.contains("ERROR"), "{lines}");
    assert_eq!(store.max_offset("T", 0), 70);
    assert!(!dir.path().join("consumequeue/T/0/00000000000000002000").exists());
    store.abandon();
    drop(store);
    reboot(dir.path());
    let (store, lines) = open_and_listen(small(dir.path()));
    assert!(!lines.contains(TOLD_OF_ALL), "{lines}");
    assert_eq!(put(&store, "T", 0, b"x").queue_offset, 70);
}
