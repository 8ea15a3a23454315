//! The directory of a Java broker that was set up to write everything (`tests/golden/5.5.0-formats`): a CRC in every record,
//! two log directories, extensions of queues, a queue of batches. Opened as it is, after a kill, and with everything but
//! the log built again, which must come out as Java wrote it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use codec::batch_consume_queue::batch_units;
use codec::consume_queue::units;
use codec::consume_queue_ext::{ExtUnit, ext_position};
use codec::message::{MessageRecord, PROP_CRC_LEN, body_crc};
use common::{message, open, settle};
use serde_json::Value;
use store::{AllMessages, GetQuery, MessageFilter, MessageStore, OpenError, StoreConfig};

const COMMIT_LOG: u64 = 16_384;
const CONSUME_QUEUE: u64 = 20_000;
const EXTENSION: u64 = 1024;
const BATCH_QUEUE: u64 = 460;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/5.5.0-formats")
}

fn config(root: &Path) -> StoreConfig {
    StoreConfig {
        store_paths_commit_log: vec![root.join("log-b"), root.join("log-a")],
        mapped_file_size_commit_log: COMMIT_LOG,
        mapped_file_size_consume_queue: CONSUME_QUEUE,
        mapped_file_size_consume_queue_ext: EXTENSION,
        mapper_file_size_batch_consume_queue: BATCH_QUEUE,
        enable_consume_queue_ext: true,
        enabled_append_prop_crc: true,
        force_verify_prop_crc: true,
        file_reserved_time_hours: 1_000_000,
        ..common::config(root)
    }
}

/// A copy with files of the length that they had.
fn restore(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            restore(&path, &target);
            continue;
        }
        fs::copy(&path, &target).unwrap();
        let lens = [
            ("/log-", COMMIT_LOG),
            ("/consumequeue/", CONSUME_QUEUE),
            ("/consumequeue_ext/", EXTENSION),
            ("/batchconsumequeue/", BATCH_QUEUE),
            ("/index/", 40 + 100 * 4 + 400 * 20),
        ];
        let text = path.to_str().unwrap();
        if let Some((_, len)) = lens.into_iter().find(|(part, _)| text.contains(part)) {
            fs::File::options().write(true).open(&target).unwrap().set_len(len).unwrap();
        }
    }
}

/// Relative paths and contents of all files below a directory, trailing zeroes cut off.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let mut bytes = fs::read(&path).unwrap();
                bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1));
                found.push((path.strip_prefix(root).unwrap().to_owned(), bytes));
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}

const QUEUES: [&str; 3] = ["consumequeue", "consumequeue_ext", "batchconsumequeue"];

struct Tag(i64);

impl MessageFilter for Tag {
    fn by_queue_unit(&self, tags_code: i64) -> bool {
        tags_code == self.0
    }
}

/// Everything that a Java client was shown is there; every record has a CRC, and it is that of its bytes.
fn check(store: &MessageStore) {
    let messages: Vec<Value> = serde_json::from_slice(&fs::read(golden().join("messages.json")).unwrap()).unwrap();
    assert!(messages.len() > 190);
    for message in &messages {
        let number = |name: &str| message[name].as_i64().unwrap();
        let topic = message["topic"].as_str().unwrap();
        let (queue_id, offset) = (i32::try_from(number("queue")).unwrap(), number("offset"));
        let got = store.get(&GetQuery::new(topic, queue_id, offset, 1), &AllMessages);
        let bytes = got.messages.first().unwrap_or_else(|| panic!("{message}: {:?}", got.status));
        assert_eq!(i64::try_from(bytes.physical_offset()).unwrap(), number("physicalOffset"));
        let record = MessageRecord::parse(bytes).unwrap();
        assert_eq!(record.prop_crc(), Some(body_crc(&bytes[..bytes.len() - PROP_CRC_LEN])));
        assert_eq!((record.store_timestamp, record.queue_id), (number("storeTimestamp"), queue_id));
        if record.queue_offset == offset && got.message_count == 1 {
            assert!(String::from_utf8_lossy(record.body).starts_with(message["body"].as_str().unwrap()));
            let tags = message["tags"].as_str().map_or(0, codec::java_hash::tags_code);
            let tagged = store.get(&GetQuery::new(topic, queue_id, offset, 1), &Tag(tags));
            assert_eq!(tagged.messages.first().map(|found| found.physical_offset()), Some(bytes.physical_offset()));
        } else {
            assert!(record.queue_offset <= offset && topic == "TopicBatch");
        }
    }
    assert_eq!((store.min_offset("TopicBatch", 0), store.max_offset("TopicBatch", 0)), (0, 30));
}

#[test]
fn opened_as_it_is_and_continued() {
    let dir = tempfile::tempdir().unwrap();
    restore(&golden(), dir.path());
    let store = open(config(dir.path()));
    check(&store);
    let next = store.max_offset("TopicTest", 0);
    for at in 0..20 {
        let place = store.put(&message("TopicTest", 0, b"continued", "TAGS\u{1}TagA\u{2}")).unwrap();
        assert_eq!(place.queue_offset, next + at);
    }
    settle(&store);
    drop(store);
    check(&open(config(dir.path())));
    for name in QUEUES {
        for (path, bytes) in contents(&golden().join(name)) {
            let now = fs::read(dir.path().join(name).join(&path)).unwrap();
            assert_eq!(now[..bytes.len()], bytes, "{name} {}", path.display());
        }
    }
    // Our units follow Java's in its extension.
    let queue = fs::read(dir.path().join("consumequeue/TopicTest/0/00000000000000000000")).unwrap();
    let ours = units(&queue).nth(usize::try_from(next).unwrap()).unwrap();
    let before = units(&queue).nth(usize::try_from(next - 1).unwrap()).unwrap();
    assert_eq!(ext_position(ours.tags_code), ext_position(before.tags_code).map(|position| position + 20));
}

#[test]
fn opened_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    restore(&golden(), dir.path());
    fs::write(dir.path().join("abort"), b"1234").unwrap();
    let store = open(config(dir.path()));
    check(&store);
    drop(store);
    for name in QUEUES {
        assert_eq!(contents(&dir.path().join(name)), contents(&golden().join(name)), "{name}");
    }
}

#[test]
fn built_again_as_java_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    restore(&golden(), dir.path());
    for name in QUEUES.into_iter().chain(["index"]) {
        fs::remove_dir_all(dir.path().join(name)).unwrap();
    }
    let store = open(config(dir.path()));
    check(&store);
    drop(store);
    for name in QUEUES {
        assert_eq!(contents(&dir.path().join(name)), contents(&golden().join(name)), "{name}");
    }
    let index = |dir: &Path| contents(&dir.join("index")).into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
    assert_eq!(index(dir.path()), index(&golden()));
}

#[test]
fn queues_of_batches_do_not_hide_that_all_others_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    restore(&golden(), dir.path());
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let store = open(config(dir.path()));
    check(&store);
    drop(store);
    for name in QUEUES {
        assert_eq!(contents(&dir.path().join(name)), contents(&golden().join(name)), "{name}");
    }
}

#[test]
fn damage_that_no_body_has_is_found() {
    let dir = tempfile::tempdir().unwrap();
    restore(&golden(), dir.path());
    // A topic in the last file: bodyCRC is right.
    let path = dir.path().join("log-b/00000000000000081920");
    let log = fs::read(&path).unwrap();
    let at = log.windows(9).position(|part| part == b"TopicTest").unwrap();
    fs::File::options().write(true).open(&path).unwrap().write_all_at(b"x", at as u64).unwrap();
    let opened = MessageStore::open(config(dir.path()), std::sync::Arc::new(store::NoListener));
    assert!(matches!(opened, Err(OpenError::Corrupted { .. })), "{opened:?}");
    let unchecked = StoreConfig { enabled_append_prop_crc: false, force_verify_prop_crc: false, ..config(dir.path()) };
    MessageStore::open(unchecked, std::sync::Arc::new(store::NoListener)).unwrap();
}

#[test]
fn units_say_what_their_records_say() {
    let batch = fs::read(golden().join("batchconsumequeue/TopicBatch/0/00000000000000000000")).unwrap();
    let read: Vec<_> = batch_units(&batch).collect();
    assert_eq!(
        read.iter().map(|unit| (unit.base_offset, unit.count)).collect::<Vec<_>>(),
        [(0, 3), (3, 3), (6, 3), (9, 1), (10, 20)]
    );
    assert_eq!(read.iter().flat_map(|unit| unit.encode()).collect::<Vec<_>>(), batch);
    let mut ext = fs::read(golden().join("consumequeue_ext/TopicTest/0/00000000000000000000")).unwrap();
    ext.resize(1024, 0);
    let mut again = Vec::new();
    while let Some(unit) = ExtUnit::parse(&ext[again.len()..]).unwrap() {
        assert!(unit.bit_map.is_empty());
        unit.encode_into(&mut again).unwrap();
    }
    assert_eq!((again.len(), &ext[..again.len()]), (1020, again.as_slice()));
}
