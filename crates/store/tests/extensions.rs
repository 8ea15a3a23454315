//! Consume-queue extensions: written, looked up, cut, expired, lost.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use codec::consume_queue::units;
use codec::consume_queue_ext::{ExtUnit, ext_position};
use codec::java_hash::tags_code;
use common::{bodies, config, message, open, settle};
use store::{
    Arrival, GetMessageStatus, GetQuery, MessageArrivingListener, MessageFilter, MessageStore, OpenError, StoreConfig,
};

/// Units of 20 bytes in files that have room for 51, and 4 bytes that stay free.
const FILE: u64 = 1024;

fn ext_config(root: &Path) -> StoreConfig {
    StoreConfig { enable_consume_queue_ext: true, mapped_file_size_consume_queue_ext: FILE, ..config(root) }
}

/// Puts messages `from..to`, every third with tag b, the others with tag a.
fn fill(store: &MessageStore, topic: &str, from: usize, to: usize) {
    for at in from..to {
        let tag = if at % 3 == 0 { "b" } else { "a" };
        store.put(&message(topic, 0, at.to_string().as_bytes(), &format!("TAGS\u{1}{tag}\u{2}"))).unwrap();
    }
    settle(store);
}

struct Tag(i64);

impl MessageFilter for Tag {
    fn by_queue_unit(&self, tags_code: i64) -> bool {
        tags_code == self.0
    }
}

/// Bodies of the messages with tag b.
fn tagged(store: &MessageStore, topic: &str) -> Vec<String> {
    let (mut found, mut at) = (Vec::new(), store.min_offset(topic, 0));
    while at < store.max_offset(topic, 0) {
        let got = store.get(&GetQuery::new(topic, 0, at, 32), &Tag(tags_code("b")));
        assert!(matches!(got.status, GetMessageStatus::Found | GetMessageStatus::NoMatchedMessage), "{got:?}");
        for record in &got.messages {
            let record = codec::message::MessageRecord::parse(record).unwrap();
            found.push(String::from_utf8(record.body.to_vec()).unwrap());
        }
        at = got.next_begin_offset;
    }
    found
}

fn every_third(from: usize, to: usize) -> Vec<String> {
    (from..to).filter(|at| at % 3 == 0).map(|at| at.to_string()).collect()
}

/// The queue's units as they lie in its files.
fn raw_units(root: &Path, topic: &str) -> Vec<i64> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root.join(format!("consumequeue/{topic}/0")))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let bytes: Vec<u8> = paths.iter().flat_map(|path| fs::read(path).unwrap()).collect();
    units(&bytes).take_while(|unit| unit.is_written()).map(|unit| unit.tags_code).collect()
}

fn ext_files(root: &Path, topic: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(format!("consumequeue_ext/{topic}/0"))).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn units_have_addresses_and_pulls_find_the_tags() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(ext_config(dir.path()));
    fill(&store, "T", 0, 60);
    assert_eq!(tagged(&store, "T"), every_third(0, 60));
    drop(store);
    let positions: Vec<u64> = raw_units(dir.path(), "T").into_iter().map(|code| ext_position(code).unwrap()).collect();
    let expect: Vec<u64> = (0..51).map(|at| at * 20).chain((0..9).map(|at| FILE + at * 20)).collect();
    assert_eq!(positions, expect);
    let first = fs::read(dir.path().join("consumequeue_ext/T/0/00000000000000000000")).unwrap();
    let unit = ExtUnit::parse(&first).unwrap().unwrap();
    assert_eq!((unit.tags_code, unit.bit_map), (tags_code("b"), &[][..]));
    assert_eq!(first[1020..], [0xFF, 0xFF, 0, 0], "the rest of a full file is marked");
    // Goes on where it stopped, and reads with the option off.
    let store = open(ext_config(dir.path()));
    fill(&store, "T", 60, 63);
    drop(store);
    let next = raw_units(dir.path(), "T").get(60).copied().and_then(ext_position);
    assert_eq!(next, Some(FILE + 9 * 20));
    let store = open(StoreConfig { enable_consume_queue_ext: false, ..ext_config(dir.path()) });
    fill(&store, "T", 63, 70);
    assert_eq!(tagged(&store, "T"), every_third(0, 70));
    drop(store);
    // Switched on again: where the last file ends cannot be known, so a new one begins.
    let store = open(ext_config(dir.path()));
    fill(&store, "T", 70, 80);
    assert_eq!(tagged(&store, "T"), every_third(0, 80));
    drop(store);
    assert_eq!(raw_units(dir.path(), "T").get(70).copied().and_then(ext_position), Some(2 * FILE));
    let error = MessageStore::open(
        StoreConfig { mapped_file_size_consume_queue_ext: 1000, ..ext_config(dir.path()) },
        std::sync::Arc::new(store::NoListener),
    );
    assert!(matches!(error, Err(OpenError::Config { key: "mappedFileSizeConsumeQueueExt", .. })));
}

#[test]
fn lost_extensions_cost_no_message() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(ext_config(dir.path()));
    fill(&store, "T", 0, 30);
    drop(store);
    fs::remove_dir_all(dir.path().join("consumequeue_ext")).unwrap();
    let store = open(ext_config(dir.path()));
    // Nobody knows the tags: consumers get everything and look themselves.
    assert_eq!(tagged(&store, "T").len(), 30);
    let codes: Vec<i64> = store.queue_units("T", 0, 0, 3).iter().map(|unit| unit.tags_code).collect();
    assert_eq!(codes, [tags_code("b"), tags_code("a"), tags_code("a")]);
    fill(&store, "T", 30, 33);
    assert_eq!(tagged(&store, "T").len(), 31);
}

#[test]
fn rebuilt_with_the_queues_and_gone_with_the_topic() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(ext_config(dir.path()));
    fill(&store, "T", 0, 60);
    fill(&store, "U", 0, 5);
    drop(store);
    let before = raw_units(dir.path(), "T");
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let store = open(ext_config(dir.path()));
    assert_eq!(raw_units(dir.path(), "T"), before);
    assert_eq!(tagged(&store, "T"), every_third(0, 60));
    assert_eq!(store.delete_topic("T"), 1);
    assert!(!dir.path().join("consumequeue_ext/T").exists());
    assert!(dir.path().join("consumequeue_ext/U/0").exists());
    fill(&store, "T", 0, 3);
    assert_eq!(tagged(&store, "T"), every_third(0, 3));
    drop(store);
    assert_eq!(raw_units(dir.path(), "T").first().copied().and_then(ext_position), Some(0));
}

#[test]
fn cut_behind_the_last_message_that_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(ext_config(dir.path()));
    fill(&store, "T", 0, 60);
    let last = &store.queue_units("T", 0, 59, 1)[0];
    store.abandon();
    drop(store);
    // As if the last record had not reached the disk before the machine went down.
    let log = dir.path().join(format!("commitlog/{:020}", last.physical_offset / (16 * 1024) * 16 * 1024));
    let file = fs::File::options().write(true).open(log).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 16], last.physical_offset % (16 * 1024)).unwrap();
    let checkpoint = fs::File::options().write(true).open(dir.path().join("checkpoint")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&checkpoint, &[0; 8], 2072).unwrap();
    let store = open(ext_config(dir.path()));
    assert_eq!(store.max_offset("T", 0), 59);
    let position = ext_position(raw_units(dir.path(), "T")[58]).unwrap();
    fill(&store, "T", 59, 61);
    drop(store);
    let positions: Vec<_> = raw_units(dir.path(), "T")[58..].iter().map(|code| ext_position(*code).unwrap()).collect();
    assert_eq!(positions, [position, position + 20, position + 40]);
}

#[test]
fn files_of_expired_messages_go() {
    let dir = tempfile::tempdir().unwrap();
    let expiring =
        StoreConfig { file_reserved_time_hours: 0, delete_commit_log_files_interval_ms: 0, ..ext_config(dir.path()) };
    let store = open(expiring);
    for at in 0..160 {
        store.put(&message("T", 0, &[b'x'; 300], &format!("TAGS\u{1}{at}\u{2}"))).unwrap();
    }
    settle(&store);
    assert_eq!(ext_files(dir.path(), "T").len(), 4);
    store.delete_expired_files();
    common::eventually("files expire", || {
        store.clean_now().unwrap();
        store.status().commit_log_files == 1
    });
    store.clean_now().unwrap();
    let min = store.min_offset("T", 0);
    assert!(min > 102, "{min}");
    assert!(ext_files(dir.path(), "T").len() < 4, "{:?}", ext_files(dir.path(), "T"));
    let got = store.get(&GetQuery::new("T", 0, min, 1), &Tag(tags_code(&min.to_string())));
    assert_eq!(got.status, GetMessageStatus::Found);
    assert_eq!(bodies(&store, "T", 0).len(), usize::try_from(160 - min).unwrap());
}

/// Bits of messages that have any: the length of their properties.
struct Lengths;

impl MessageArrivingListener for Lengths {
    fn arriving(&self, _: &Arrival<'_>) {}

    fn bit_map(&self, topic: &str, properties: &str) -> Vec<u8> {
        let len = u8::try_from(properties.len()).unwrap();
        if topic == "T" { vec![len, 0] } else { Vec::new() }
    }
}

/// Messages whose bits are these.
struct Bits(u8);

impl MessageFilter for Bits {
    fn by_queue_unit(&self, _: i64) -> bool {
        true
    }

    fn by_extension(&self, unit: &ExtUnit<'_>) -> bool {
        assert!(unit.store_timestamp > 0);
        unit.bit_map == [self.0, 0] || unit.bit_map.is_empty()
    }
}

#[test]
fn bits_of_filters_lie_beside_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let store = MessageStore::open(ext_config(dir.path()), std::sync::Arc::new(Lengths)).unwrap();
    for topic in ["T", "U"] {
        for properties in ["", "a\u{1}1\u{2}", "a\u{1}22\u{2}"] {
            store.put(&message(topic, 0, properties.len().to_string().as_bytes(), properties)).unwrap();
        }
    }
    settle(&store);
    let got = |topic: &str, bits: u8| {
        let result = store.get(&GetQuery::new(topic, 0, 0, 32), &Bits(bits));
        let body = |record: &_| codec::message::MessageRecord::parse(record).unwrap().body.to_vec();
        let found = result.messages.iter().map(|record| String::from_utf8(body(&**record)).unwrap());
        found.collect::<Vec<_>>()
    };
    assert_eq!(got("T", 4), ["4"]);
    assert_eq!(got("T", 9), Vec::<String>::new());
    assert_eq!(got("U", 9), ["0", "4", "5"], "without bits everything passes");
    let units = store.queue_units("T", 0, 0, 3);
    let maps: Vec<_> = units.iter().map(|unit| unit.extension.as_ref().unwrap().bit_map.clone()).collect();
    assert_eq!(maps, [[0, 0], [4, 0], [5, 0]]);
    assert_eq!(
        raw_units(dir.path(), "T").into_iter().map(ext_position).collect::<Vec<_>>(),
        [Some(0), Some(22), Some(44)]
    );
}
