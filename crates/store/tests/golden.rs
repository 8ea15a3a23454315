//! Directories written by Java brokers (`tests/golden/<version>/store*`, trailing zeroes cut off): opened as they are,
//! after a kill, and with consume queues and index built again, which must come out as Java wrote them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use codec::message::MessageRecord;
use common::{bodies, open, put, settle};
use serde_json::Value;
use store::{AllMessages, GetQuery, MessageStore, StoreConfig};

const COMMIT_LOG: u64 = 1 << 20;
const CONSUME_QUEUE: u64 = 20 * 1000;

fn stores() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut stores = Vec::new();
    for version in ["4.5.2", "4.9.7", "5.5.0"] {
        for entry in fs::read_dir(golden.join(version)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.join("commitlog").is_dir() {
                stores.push(path);
            }
        }
    }
    stores.sort();
    assert!(!stores.is_empty(), "no golden store in {}", golden.display());
    stores
}

fn config(root: &Path) -> StoreConfig {
    StoreConfig {
        mapped_file_size_commit_log: COMMIT_LOG,
        mapped_file_size_consume_queue: CONSUME_QUEUE,
        file_reserved_time_hours: 1_000_000,
        ..common::config(root)
    }
}

/// A copy with files of the length they had, or as if they had been made with these settings.
fn restore(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            restore(&path, &target);
            continue;
        }
        fs::copy(&path, &target).unwrap();
        let text = path.to_str().unwrap();
        let len = if text.contains("/commitlog/") {
            COMMIT_LOG
        } else if text.contains("/consumequeue/") {
            CONSUME_QUEUE
        } else if text.contains("/index/") {
            40 + 100 * 4 + 400 * 20
        } else {
            continue;
        };
        fs::File::options().write(true).open(&target).unwrap().set_len(len).unwrap();
    }
}

fn messages(golden: &Path) -> Vec<Value> {
    serde_json::from_slice(&fs::read(golden.join("messages.json")).unwrap()).unwrap()
}

/// Every message that a Java client consumed is where it said, by queue, by offset and by key.
fn check(store: &MessageStore, golden: &Path) {
    let mut seen = BTreeSet::new();
    for message in messages(golden) {
        let topic = message["topic"].as_str().unwrap();
        let number = |name: &str| message[name].as_i64().unwrap();
        let physical_offset = number("physicalOffset");
        let record = store.record_at(u64::try_from(physical_offset).unwrap()).unwrap();
        let record = MessageRecord::parse(&record).unwrap();
        record.check_body_crc().unwrap();
        assert_eq!(record.total_size, usize::try_from(number("storeSize")).unwrap());
        assert_eq!((record.queue_offset, i64::from(record.queue_id)), (number("offset"), number("queue")));
        assert_eq!(
            (record.store_timestamp, record.born_timestamp),
            (number("storeTimestamp"), number("bornTimestamp"))
        );
        // Clients of 5.x take the mark of a compressed body away when they decompress it.
        assert_eq!(i64::from(record.sys_flag & !1), number("sysFlag") & !1);
        if record.sys_flag & 1 == 0 {
            assert_eq!(record.body, message["body"].as_str().unwrap().as_bytes());
        }
        // A client shows a retried message under its own topic; the record has that of the retry queue.
        let topic = if record.topic == topic.as_bytes() { topic.to_owned() } else { record.topic_str().into_owned() };
        let (queue_id, offset) = (record.queue_id, record.queue_offset);
        let got = store.get(&GetQuery::new(&topic, queue_id, offset, 1), &AllMessages);
        assert_eq!(got.messages.first().unwrap().physical_offset(), u64::try_from(physical_offset).unwrap(), "{topic}");
        for key in codec::properties::index_keys(&record.properties_str()) {
            let found = store.query_by_key(&topic, key, 64, 0, i64::MAX);
            assert!(
                found.messages.iter().any(|found| i64::try_from(found.physical_offset()) == Ok(physical_offset)),
                "{key}"
            );
        }
        seen.insert((topic, queue_id));
    }
    assert!(!seen.is_empty());
    for (topic, queue_ids) in store.topics() {
        for queue_id in queue_ids {
            bodies(store, &topic, queue_id);
        }
    }
}

/// Relative paths and contents of all files below `dir`, trailing zeroes cut off.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let mut bytes = fs::read(&path).unwrap();
                let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
                bytes.truncate(used);
                found.push((path.strip_prefix(root).unwrap().to_owned(), bytes));
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}

#[test]
fn opened_as_they_are() {
    for golden in stores() {
        let dir = tempfile::tempdir().unwrap();
        restore(&golden, dir.path());
        let store = open(config(dir.path()));
        check(&store, &golden);
        let end = store.status().max_offset;
        let next = store.max_offset("TopicTest", 0);
        let place = put(&store, "TopicTest", 0, b"continued");
        assert_eq!((place.physical_offset, place.queue_offset), (end, next), "{}", golden.display());
        settle(&store);
        drop(store);
        check(&open(config(dir.path())), &golden);
        let queues = dir.path().join("consumequeue");
        for (path, bytes) in contents(&golden.join("consumequeue")) {
            let now = fs::read(queues.join(&path)).unwrap();
            assert_eq!(now[..bytes.len()], bytes, "{}", path.display());
        }
    }
}

#[test]
fn opened_after_a_kill() {
    for golden in stores() {
        let dir = tempfile::tempdir().unwrap();
        restore(&golden, dir.path());
        fs::write(dir.path().join("abort"), b"1234").unwrap();
        let store = open(config(dir.path()));
        check(&store, &golden);
        drop(store);
        assert_eq!(contents(&dir.path().join("consumequeue")), contents(&golden.join("consumequeue")));
    }
}

#[test]
fn queues_and_index_come_out_as_java_wrote_them() {
    for golden in stores() {
        let dir = tempfile::tempdir().unwrap();
        restore(&golden, dir.path());
        fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
        fs::remove_dir_all(dir.path().join("index")).unwrap();
        let store = open(config(dir.path()));
        check(&store, &golden);
        drop(store);
        assert_eq!(contents(&dir.path().join("consumequeue")), contents(&golden.join("consumequeue")));
        if golden.starts_with(golden.ancestors().nth(2).unwrap().join("5.5.0")) {
            // Older brokers do not index tags.
            let index =
                |dir: &Path| contents(&dir.join("index")).into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
            assert_eq!(index(dir.path()), index(&golden), "{}", golden.display());
        }
    }
}
