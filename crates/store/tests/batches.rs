//! Queues of batches: records with several messages, found by each of them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use codec::batch_consume_queue::{BatchUnit, batch_units};
use codec::message::{MessageRecord, sys_flag};
use common::{bodies, config, eventually, message, open, settle};
use proptest::prelude::*;
use store::{
    AllMessages, Boundary, FakeClock, GetMessageStatus, GetQuery, Message, MessageStore, NoListener, PutError,
    PutResult, QueueType, RealFileSystem, StoreConfig,
};

/// Position of the boot hash in our part of the checkpoint.
const BOOT_POSITION: u64 = 2072;
const BATCH: i32 = sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP;

fn batch_config(root: &Path) -> StoreConfig {
    StoreConfig {
        mapper_file_size_batch_consume_queue: 46 * 10,
        batch_topics: vec!["B".to_owned()],
        max_transfer_count_on_message_in_memory: 1000,
        ..config(root)
    }
}

fn inner_batch<'a>(topic: &'a str, body: &'a [u8], properties: &'a str) -> Message<'a> {
    Message { sys_flag: BATCH, ..message(topic, 0, body, properties) }
}

/// Puts a record of so many messages; 0 puts a message that is no batch.
fn put(store: &MessageStore, count: i64) -> PutResult {
    let body = format!("{count} messages");
    match count {
        0 => store.put(&message("B", 0, body.as_bytes(), "TAGS\u{1}a\u{2}")).unwrap(),
        count => store.put(&inner_batch("B", body.as_bytes(), &format!("INNER_NUM\u{1}{count}\u{2}"))).unwrap(),
    }
}

/// The machine goes down: what was written since the last checkpoint may have reached the disk in part. Here half of the
/// newest unit.
fn lose_power(root: &Path) {
    let checkpoint = fs::File::options().write(true).open(root.join("checkpoint")).unwrap();
    checkpoint.write_all_at(&[0; 8], BOOT_POSITION).unwrap();
    let paths = fs::read_dir(root.join("batchconsumequeue/B/0")).into_iter().flatten();
    let Some(last) = paths.map(|entry| entry.unwrap().path()).max() else { return };
    let units = batch_units(&fs::read(&last).unwrap()).take_while(|unit| unit.unit.is_written()).count();
    if let Some(torn) = units.checked_sub(1) {
        let file = fs::File::options().write(true).open(last).unwrap();
        file.write_all_at(&[0; 26], 46 * torn as u64 + 20).unwrap();
    }
}

fn raw_units(root: &Path) -> Vec<BatchUnit> {
    let mut paths: Vec<_> =
        fs::read_dir(root.join("batchconsumequeue/B/0")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let bytes: Vec<u8> = paths.iter().flat_map(|path| fs::read(path).unwrap()).collect();
    batch_units(&bytes).take_while(|unit| unit.unit.is_written()).collect()
}

/// Every message of the model is found in its record, and nothing else is there.
fn check(store: &MessageStore, records: &[PutResult], counts: &[i64]) {
    let mut next = records.first().map_or(0, |first| first.queue_offset);
    for (record, count) in records.iter().zip(counts) {
        let count = (*count).max(1);
        assert_eq!(record.queue_offset, next, "offsets are dense");
        for offset in next..next + count {
            let got = store.get(&GetQuery::new("B", 0, offset, 1), &AllMessages);
            assert_eq!(got.status, GetMessageStatus::Found, "{offset}");
            assert_eq!((got.messages.len(), got.message_count), (1, usize::try_from(count).unwrap()));
            assert_eq!(got.messages[0].physical_offset(), record.physical_offset);
            assert_eq!(got.next_begin_offset, next + count);
            assert_eq!(store.store_time("B", 0, offset), Some(record.store_timestamp));
        }
        let bytes = store.record_at(record.physical_offset).unwrap();
        let parsed = MessageRecord::parse(&bytes).unwrap();
        let base = parsed.property("INNER_BASE").map(|base| base.parse::<i64>().unwrap());
        assert_eq!(base, (parsed.sys_flag & BATCH != 0).then_some(record.queue_offset));
        next += count;
    }
    assert_eq!(
        (store.min_offset("B", 0), store.max_offset("B", 0)),
        (records.first().map_or(0, |first| first.queue_offset), next)
    );
    assert_eq!(store.get(&GetQuery::new("B", 0, next, 1), &AllMessages).messages.len(), 0);
    let units = store.queue_units("B", 0, 0, usize::MAX);
    let places: Vec<_> = units.iter().map(|unit| (unit.queue_offset, unit.physical_offset)).collect();
    assert_eq!(places, records.iter().map(|put| (put.queue_offset, put.physical_offset)).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn as_a_list_of_batches(before in prop::collection::vec(0i64..40, 0..40), after in prop::collection::vec(0i64..40, 1..10), exit in 0..3) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(batch_config(dir.path()));
        let mut records: Vec<_> = before.iter().map(|count| put(&store, *count)).collect();
        settle(&store);
        check(&store, &records, &before);
        if exit > 0 {
            store.abandon();
        }
        drop(store);
        if exit > 1 {
            lose_power(dir.path());
        }
        let store = open(batch_config(dir.path()));
        check(&store, &records, &before);
        records.extend(after.iter().map(|count| put(&store, *count)));
        settle(&store);
        let counts = [before, after].concat();
        check(&store, &records, &counts);
        drop(store);
        // Built again from the log, without anyone who tells what the topic is unless a batch does.
        let units = raw_units(dir.path());
        fs::remove_dir_all(dir.path().join("batchconsumequeue")).unwrap();
        let known = counts[0] == 0;
        let batch_topics = if known { vec!["B".to_owned()] } else { Vec::new() };
        let store = open(StoreConfig { batch_topics, ..batch_config(dir.path()) });
        check(&store, &records, &counts);
        prop_assert_eq!(store.queue_type("B"), QueueType::Batch);
        prop_assert_eq!(raw_units(dir.path()), units);
    }
}

#[test]
fn units_are_javas() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(batch_config(dir.path()));
    let first = put(&store, 3);
    let second =
        store.put(&inner_batch("B", b"x", "TAGS\u{1}a\u{2}INNER_NUM\u{1}2\u{2}INNER_BASE\u{1}99\u{2}")).unwrap();
    settle(&store);
    let units = raw_units(dir.path());
    assert_eq!((units[0].base_offset, units[0].count, units[0].store_timestamp), (0, 3, first.store_timestamp));
    assert_eq!((units[1].base_offset, units[1].count, units[1].unit.tags_code), (3, 2, 97));
    assert_eq!(units[1].unit.physical_offset, i64::try_from(second.physical_offset).unwrap());
    assert_eq!(fs::metadata(dir.path().join("batchconsumequeue/B/0/00000000000000000000")).unwrap().len(), 460);
    assert!(!dir.path().join("consumequeue/B").exists());
    let record = store.record_at(second.physical_offset).unwrap();
    let text = MessageRecord::parse(&record).unwrap().properties_str().into_owned();
    assert_eq!(text, "TAGS\u{1}a\u{2}INNER_NUM\u{1}2\u{2}INNER_BASE\u{1}3\u{2}");
}

#[test]
fn batches_need_their_kind_of_queue() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(batch_config(dir.path()));
    let refused = |error: PutError, part: &str| assert!(error.to_string().contains(part), "{error}");
    refused(store.put(&inner_batch("T", b"x", "INNER_NUM\u{1}2\u{2}")).unwrap_err(), "queue.type=BatchCQ");
    let two = [inner_batch("B", b"x", "INNER_NUM\u{1}2\u{2}"); 2];
    refused(store.put_batch(&two).unwrap_err(), "goes alone");
    store.put(&message("T", 0, b"simple", "")).unwrap();
    store.set_queue_type("T", QueueType::Batch);
    assert_eq!(store.queue_type("T"), QueueType::Simple, "a topic with queues keeps their kind");
    store.set_queue_type("U", QueueType::Batch);
    store.put(&inner_batch("U", b"x", "INNER_NUM\u{1}2\u{2}")).unwrap();
    settle(&store);
    assert_eq!(store.max_offset("U", 0), 2);
    drop(store);
    // What lies in batchconsumequeue is known again without being told, what lies in consumequeue is not believed to be more.
    let store = open(StoreConfig { batch_topics: vec!["T".to_owned()], ..batch_config(dir.path()) });
    assert_eq!((store.queue_type("T"), store.queue_type("U")), (QueueType::Simple, QueueType::Batch));
    assert_eq!(bodies(&store, "T", 0), [b"simple"]);
    assert_eq!(store.delete_topic("U"), 1);
    assert!(!dir.path().join("batchconsumequeue/U").exists());
    assert_eq!(store.queue_type("U"), QueueType::Simple);
}

#[test]
fn many_producers_one_queue() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreConfig { enabled_append_prop_crc: true, ..batch_config(dir.path()) });
    let mut places: Vec<(i64, i64)> = std::thread::scope(|scope| {
        let producers: Vec<_> = (1..5i64)
            .map(|count| {
                let store = &store;
                scope.spawn(move || (0..50).map(|_| (put(store, count).queue_offset, count)).collect::<Vec<_>>())
            })
            .collect();
        producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect()
    });
    settle(&store);
    places.sort_unstable();
    let mut next = 0;
    for (offset, count) in places {
        assert_eq!(offset, next);
        let got = store.get(&GetQuery::new("B", 0, offset, 1), &AllMessages);
        let record = MessageRecord::parse(&got.messages[0]).unwrap();
        record.check_prop_crc(&got.messages[0]).unwrap();
        assert_eq!(record.property("INNER_BASE"), Some(offset.to_string().as_str()));
        next += count;
    }
    assert_eq!(store.max_offset("B", 0), 500);
}

#[test]
fn limits_count_messages() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreConfig { max_transfer_count_on_message_in_memory: 32, ..batch_config(dir.path()) });
    for _ in 0..30 {
        put(&store, 10);
    }
    settle(&store);
    let got = |max: usize| {
        let got = store.get(&GetQuery::new("B", 0, 5, max), &AllMessages);
        (got.messages.len(), got.message_count, got.next_begin_offset)
    };
    assert_eq!(got(1), (1, 10, 10), "a batch comes whole");
    assert_eq!(got(25), (2, 20, 20));
    // As in Java: the store's own limit is looked at before a record is added, whatever that holds.
    assert_eq!(got(1000), (4, 40, 40));
}

#[test]
fn times_name_the_first_message_of_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::new(1000));
    let open = || {
        MessageStore::open_with(batch_config(dir.path()), Arc::new(NoListener), Arc::new(RealFileSystem), clock.clone())
    };
    let store = open().unwrap();
    for time in [1000, 1100, 1200, 1300] {
        clock.set(time);
        put(&store, 5);
    }
    settle(&store);
    let at = |time, boundary| store.offset_by_time("B", 0, time, boundary);
    for (time, lower, upper) in [(0, 0, 0), (1000, 0, 0), (1001, 5, 0), (1100, 5, 5), (1250, 15, 10), (1300, 15, 15)] {
        assert_eq!((at(time, Boundary::Lower), at(time, Boundary::Upper)), (lower, upper), "{time}");
    }
    assert_eq!(at(9999, Boundary::Lower), 15, "as Java: the last batch, not the end");
    assert_eq!(store.earliest_queue_store_time("B", 0), 1000);
    assert!(store.in_memory("B", 0, 7));
}

#[test]
fn expired_batches_go() {
    let dir = tempfile::tempdir().unwrap();
    let expiring =
        StoreConfig { file_reserved_time_hours: 0, delete_commit_log_files_interval_ms: 0, ..batch_config(dir.path()) };
    let store = open(expiring.clone());
    let body = vec![b'x'; 1000];
    let records: Vec<_> =
        (0..60).map(|_| store.put(&inner_batch("B", &body, "INNER_NUM\u{1}4\u{2}")).unwrap()).collect();
    settle(&store);
    store.delete_expired_files();
    eventually("files expire", || {
        store.clean_now().unwrap();
        store.status().commit_log_files == 1
    });
    store.clean_now().unwrap();
    let left: Vec<_> =
        records.iter().filter(|place| place.physical_offset >= store.status().min_offset).copied().collect();
    assert!(!left.is_empty() && left.len() < 20);
    check(&store, &left, &vec![4; left.len()]);
    let files = fs::read_dir(dir.path().join("batchconsumequeue/B/0")).unwrap().count();
    assert!(files < 6, "{files}");
    let got = store.get(&GetQuery::new("B", 0, 0, 1), &AllMessages);
    assert_eq!((got.status, got.next_begin_offset), (GetMessageStatus::OffsetTooSmall, left[0].queue_offset));
    drop(store);
    let store = open(expiring);
    check(&store, &left, &vec![4; left.len()]);
    assert_eq!(put(&store, 2).queue_offset, 240);
}

#[test]
fn damaged_units_are_passed_over() {
    for (zeroed, base) in
        [(vec![3], None), (vec![7, 8, 9], None), (vec![8, 9, 10, 11], None), (vec![], Some(0)), (vec![], Some(1 << 40))]
    {
        let root = tempfile::tempdir().unwrap();
        let store = open(batch_config(root.path()));
        let records: Vec<PutResult> = (0..25).map(|number| put(&store, number % 4)).collect();
        settle(&store);
        store.shutdown();
        let write = |unit: usize, at: u64, bytes: &[u8]| {
            let path = root.path().join(format!("batchconsumequeue/B/0/{:020}", unit / 10 * 460));
            let file = fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(bytes, (unit % 10 * 46) as u64 + at).unwrap();
        };
        zeroed.iter().for_each(|unit| write(*unit, 0, &[0; 46]));
        let moved = 5;
        if let Some(base) = base {
            write(moved, 28, &i64::to_be_bytes(base));
        }
        let store = open(batch_config(root.path()));
        let (mut at, mut found) = (0, Vec::new());
        while at < store.max_offset("B", 0) {
            let got = store.get(&GetQuery::new("B", 0, at, 4), &AllMessages);
            assert!(got.next_begin_offset > at, "{at}: {got:?}");
            found.extend(got.messages.iter().map(store::MappedSlice::physical_offset));
            at = got.next_begin_offset;
        }
        let whole = |number: &usize| !zeroed.contains(number) && (base.is_none() || *number != moved);
        let expected: Vec<u64> = (0..25).filter(whole).map(|number| records[number].physical_offset).collect();
        assert_eq!(found, expected, "{zeroed:?} {base:?}");
        store.shutdown();
    }
}
