//! Put, get, query, time, deletion: what the broker calls.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use codec::message::{MessageRecord, sys_flag};
use common::{block_on, bodies, config, eventually, message, open, put, settle, sync_config};
use store::{
    AllMessages, Arrival, Boundary, FakeClock, GetMessageStatus, GetQuery, MessageArrivingListener, MessageFilter,
    MessageStore, NoListener, OpenError, PutError, RealFileSystem, StoreConfig,
};

#[test]
fn what_is_put_can_be_got() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    let first = put(&store, "T", 0, b"one");
    let second = put(&store, "T", 0, b"two");
    let other = put(&store, "T", 3, b"three");
    assert_eq!((first.queue_offset, second.queue_offset, other.queue_offset), (0, 1, 0));
    assert_eq!((first.physical_offset, first.end()), (0, second.physical_offset));
    settle(&store);
    assert_eq!(bodies(&store, "T", 0), [b"one".to_vec(), b"two".to_vec()]);
    assert_eq!(bodies(&store, "T", 3), [b"three".to_vec()]);
    assert_eq!(store.topics(), [("T".to_owned(), vec![0, 3])]);
    let record = store.record_at(second.physical_offset).unwrap();
    assert_eq!(MessageRecord::parse(&record).unwrap().body, b"two");
    assert!(store.record_at(second.physical_offset + 1).is_none());
    assert!(store.in_memory("T", 0, 1) && !store.in_memory("T", 0, 2));
    let status = store.status();
    assert_eq!((status.puts, status.queues, status.max_offset), (3, 2, other.end()));
}

#[test]
fn files_roll_and_batches_stay_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    let body = vec![7; 1000];
    for _ in 0..40 {
        let batch: Vec<_> = (0..5).map(|_| message("T", 1, &body, "")).collect();
        let places = store.put_batch(&batch).unwrap();
        let files: HashSet<_> = places.iter().map(|place| place.physical_offset / (16 * 1024)).collect();
        assert_eq!(files.len(), 1);
        assert!(places.windows(2).all(|pair| pair[0].end() == pair[1].physical_offset));
        assert!(places.windows(2).all(|pair| pair[0].queue_offset + 1 == pair[1].queue_offset));
    }
    settle(&store);
    assert_eq!(bodies(&store, "T", 1).len(), 200);
    assert!(store.status().commit_log_files >= 13);
    // Small enough each, too long together for any file.
    let batch: Vec<_> = (0..17).map(|_| message("T", 1, &body, "")).collect();
    assert!(matches!(store.put_batch(&batch), Err(PutError::MessageTooLarge { .. })));
    assert_eq!(store.put_batch(&[]), Ok(Vec::new()));
}

#[test]
fn statuses_and_offset_corrections_are_javas() {
    use GetMessageStatus::*;
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    let get = |offset| {
        let result = store.get(&GetQuery::new("T", 0, offset, 32), &AllMessages);
        (result.status, result.next_begin_offset)
    };
    assert_eq!(get(5), (NoMatchedLogicQueue, 0));
    for _ in 0..3 {
        put(&store, "T", 0, b"x");
    }
    settle(&store);
    assert_eq!(get(0), (Found, 3));
    assert_eq!(get(2), (Found, 3));
    assert_eq!(get(3), (OffsetOverflowOne, 3));
    assert_eq!(get(4), (OffsetOverflowBadly, 3));
    assert_eq!(get(-1), (OffsetTooSmall, 0));
    assert_eq!((store.min_offset("T", 0), store.max_offset("T", 0)), (0, 3));
    assert_eq!((store.min_offset("U", 0), store.max_offset("U", 0), store.has_queue("U", 0)), (0, 0, false));
}

#[test]
fn gets_are_limited_by_count_and_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreConfig {
        max_transfer_bytes_on_message_in_memory: 5000,
        max_transfer_count_on_message_in_memory: 10,
        ..config(dir.path())
    });
    for _ in 0..20 {
        put(&store, "Small", 0, b"x");
        put(&store, "Large", 0, &[1; 2000]);
    }
    settle(&store);
    let count = |topic, max_num, max_bytes| {
        let query = GetQuery { max_bytes, ..GetQuery::new(topic, 0, 0, max_num) };
        let result = store.get(&query, &AllMessages);
        assert_eq!(result.next_begin_offset, i64::try_from(result.messages.len()).unwrap());
        assert_eq!(result.total_bytes, result.messages.iter().map(|message| message.len()).sum::<usize>());
        result.messages.len()
    };
    assert_eq!(count("Small", 32, usize::MAX), 10);
    assert_eq!(count("Small", 4, usize::MAX), 4);
    assert_eq!(count("Large", 32, usize::MAX), 2);
    // The first is returned whatever its size.
    assert_eq!(count("Large", 32, 100), 1);
    let last = store.get(&GetQuery::new("Small", 0, 0, 32), &AllMessages);
    assert!(!last.suggest_pulling_from_slave);
}

#[test]
fn what_lies_far_behind_counts_as_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreConfig {
        total_memory_bytes: Some(10_000),
        max_transfer_count_on_message_in_disk: 3,
        ..config(dir.path())
    });
    for _ in 0..100 {
        put(&store, "T", 0, &[1; 500]);
    }
    settle(&store);
    let old = store.get(&GetQuery::new("T", 0, 0, 32), &AllMessages);
    assert_eq!((old.messages.len(), old.suggest_pulling_from_slave), (3, true));
    let new = store.get(&GetQuery::new("T", 0, 95, 32), &AllMessages);
    assert_eq!((new.messages.len(), new.suggest_pulling_from_slave), (5, false));
}

struct ByTag(i64);

impl MessageFilter for ByTag {
    fn by_queue_unit(&self, tags_code: i64) -> bool {
        tags_code == self.0
    }
}

struct ByBody(u8);

impl MessageFilter for ByBody {
    fn by_queue_unit(&self, _: i64) -> bool {
        true
    }
    fn by_record(&self, record: &[u8]) -> bool {
        MessageRecord::parse(record).unwrap().body == [self.0]
    }
}

#[test]
fn filters_skip_and_move_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreConfig { max_filter_message_size: 20 * 100, ..config(dir.path()) });
    for at in 0..120u8 {
        let tag = if at % 10 == 0 { "TAGS\u{1}A\u{2}" } else { "TAGS\u{1}B\u{2}" };
        store.put(&message("T", 0, &[at], tag)).unwrap();
    }
    settle(&store);
    let by_tag = |tag: &str, offset| {
        let filter = ByTag(codec::java_hash::tags_code(tag));
        store.get(&GetQuery::new("T", 0, offset, 32), &filter)
    };
    // A queue file holds 50 units, and a get that found something ends with it.
    let found = by_tag("A", 1);
    assert_eq!((found.status, found.messages.len(), found.next_begin_offset), (GetMessageStatus::Found, 4, 50));
    let none = by_tag("C", 1);
    assert_eq!((none.status, none.next_begin_offset), (GetMessageStatus::NoMatchedMessage, 50));
    let by_body = store.get(&GetQuery::new("T", 0, 0, 32), &ByBody(30));
    assert_eq!((by_body.messages.len(), by_body.filtered), (1, 49));
}

#[test]
fn limits_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    let check = |message, expect: &str| {
        let error = store.put(&message).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    let (long, large) = ("x".repeat(40_000), vec![0; 8 * 1024 + 1]);
    check(message(&long[..128], 0, b"", ""), "128 bytes exceeds 127 bytes (maxTopicLength)");
    check(message("T", 0, &large, ""), "8193 exceeds 8192 bytes (maxMessageSize)");
    check(message("T", 0, b"", &long), "40000 bytes exceed 32767");
    for topic in ["", ".", "..", "a/b", "a\0b"] {
        check(message(topic, 0, b"", ""), "directory");
    }
    check(message("T", -1, b"", ""), "negative");
    assert_eq!(store.status().put_failures, 9);
    assert_eq!(store.status().max_offset, 0);
}

/// Topic, queue id, queue offset, tagsCode, properties.
type Told = (String, i32, i64, i64, String);

#[derive(Default)]
struct Seen(Mutex<Vec<Told>>);

impl MessageArrivingListener for Seen {
    fn arriving(&self, a: &Arrival<'_>) {
        let seen = (a.topic.to_owned(), a.queue_id, a.queue_offset, a.tags_code, a.properties.with(str::to_owned));
        self.0.lock().unwrap().push(seen);
    }
}

#[test]
fn the_listener_is_told_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(Seen::default());
    let store = MessageStore::open(config(dir.path()), Arc::clone(&seen) as _).unwrap();
    store.put(&message("T", 1, b"x", "TAGS\u{1}a\u{2}")).unwrap();
    store.put(&message("U", 2, b"x", "")).unwrap();
    let half = sys_flag::TRANSACTION_PREPARED_TYPE;
    store.put(&store::Message { sys_flag: half, ..message("T", 1, b"x", "") }).unwrap();
    store.put(&message("T", 1, b"x", "")).unwrap();
    settle(&store);
    store.shutdown();
    let expect = [("T", 1, 0, 97, "TAGS\u{1}a\u{2}"), ("U", 2, 0, 0, ""), ("T", 1, 1, 0, "")];
    let expect =
        expect.map(|(topic, queue_id, offset, tag, p)| (topic.to_owned(), queue_id, offset, tag, p.to_owned()));
    assert_eq!(*seen.0.lock().unwrap(), expect);
}

#[test]
fn keys_find_messages_across_index_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    for at in 0..600 {
        let properties = format!("KEYS\u{1}k{at} shared{}\u{2}UNIQ_KEY\u{1}u{at}\u{2}TAGS\u{1}t\u{2}", at % 100);
        store.put(&message("T", 0, b"x", &properties)).unwrap();
    }
    settle(&store);
    let find = |key: &str| {
        let found = store.query_by_key("T", key, 64, 0, i64::MAX);
        let offsets = found.messages.iter().map(|message| MessageRecord::parse(message).unwrap().queue_offset);
        offsets.collect::<Vec<_>>()
    };
    for at in [0, 1, 99, 100, 399, 599] {
        assert_eq!(find(&format!("k{at}")), [at]);
        assert_eq!(find(&format!("u{at}")), [at]);
    }
    assert_eq!(find("shared7"), [7, 107, 207, 307, 407, 507]);
    assert_eq!(find("absent"), [0i64; 0]);
    assert_eq!(store.query_by_tag("T", "t", 10, 0, i64::MAX).messages.len(), 10);
    assert_eq!(store.query_by_key("T", "k0", 64, 0, 1).messages.len(), 0);
    let last = store.query_by_key("T", "k0", 64, 0, i64::MAX).index_last_update_phyoffset;
    assert!(last > 0 && store.record_at(u64::try_from(last).unwrap()).is_some());
    let files = std::fs::read_dir(dir.path().join("index")).unwrap();
    for file in files {
        let file = file.unwrap();
        assert_eq!(file.file_name().len(), 17);
        assert_eq!(file.metadata().unwrap().len(), 40 + 400 + 8000);
    }
    // After a clean stop all is still there.
    store.shutdown();
    drop(store);
    let store = open(config(dir.path()));
    assert_eq!(store.query_by_key("T", "k599", 64, 0, i64::MAX).messages.len(), 1);
    assert_eq!(store.query_by_key("T", "shared7", 64, 0, i64::MAX).messages.len(), 6);
}

#[test]
fn offsets_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::new(0));
    let config = StoreConfig { file_reserved_time_hours: u64::MAX, ..config(dir.path()) };
    let store =
        MessageStore::open_with(config, Arc::new(NoListener), Arc::new(RealFileSystem), Arc::clone(&clock) as _)
            .unwrap();
    for time in [1000, 1000, 2000, 2000, 4000] {
        clock.set(time);
        put(&store, "T", 0, b"x");
    }
    settle(&store);
    let check = |time, lower, upper| {
        assert_eq!(store.offset_by_time("T", 0, time, Boundary::Lower), lower, "{time}");
        assert_eq!(store.offset_by_time("T", 0, time, Boundary::Upper), upper, "{time}");
    };
    check(500, 0, 0);
    check(1000, 0, 1);
    check(1500, 2, 1);
    check(2000, 2, 3);
    check(4000, 4, 4);
    check(9000, 5, 4);
    assert_eq!(store.offset_by_time("U", 0, 1, Boundary::Lower), 0);
    assert_eq!((store.store_time("T", 0, 2), store.store_time("T", 0, 5)), (Some(2000), None));
    assert_eq!((store.earliest_store_time(), store.earliest_queue_store_time("T", 0)), (1000, 1000));
    // A clock that goes back a little does not make store times descend.
    clock.set(3000);
    assert_eq!(put(&store, "T", 0, b"x").store_timestamp, 4000);
}

#[test]
fn scheduled_messages_carry_their_delivery_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    let place = store.put(&message("SCHEDULE_TOPIC_XXXX", 2, b"x", "DELAY\u{1}3\u{2}TAGS\u{1}a\u{2}")).unwrap();
    settle(&store);
    let units = store.queue_units("SCHEDULE_TOPIC_XXXX", 2, 0, 10);
    assert_eq!(units.len(), 1);
    assert_eq!(units[0].tags_code, place.store_timestamp + 10_000);
}

#[test]
fn deleted_topics_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    for topic in ["A", "B", "TBW102"] {
        for _ in 0..60 {
            put(&store, topic, 0, b"old");
        }
    }
    settle(&store);
    assert_eq!(store.delete_topic("A"), 1);
    assert_eq!((store.max_offset("A", 0), store.has_queue("A", 0)), (0, false));
    assert!(!dir.path().join("consumequeue/A").exists());
    assert_eq!(put(&store, "A", 0, b"new").queue_offset, 0);
    settle(&store);
    assert_eq!(bodies(&store, "A", 0), [b"new".to_vec()]);
    assert_eq!(store.clean_unused_topics(&HashSet::from(["A".to_owned()])), 1);
    assert_eq!(store.topics().into_iter().map(|(topic, _)| topic).collect::<Vec<_>>(), ["A", "TBW102"]);
    // A kill makes recovery read over the old and the new queue: the new one wins.
    store.abandon();
    drop(store);
    std::fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let store = open(config(dir.path()));
    assert_eq!(bodies(&store, "A", 0), [b"new".to_vec()]);
    assert_eq!(put(&store, "A", 0, b"x").queue_offset, 1);
}

#[test]
fn sync_flush_confirms_and_hides_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(sync_config(dir.path()));
    for at in 0..10 {
        let place = put(&store, "T", 0, b"x");
        block_on(store.flushed(place.end())).unwrap();
        assert!(store.status().flushed_offset >= place.end());
        assert_eq!(place.queue_offset, at);
    }
    settle(&store);
    assert_eq!(bodies(&store, "T", 0).len(), 10);
    store.shutdown();
    assert!(block_on(store.flushed(u64::MAX)).is_err());
    assert_eq!(store.put(&message("T", 0, b"", "")), Err(PutError::Shutdown));
}

#[test]
fn async_flush_confirms_at_once_and_flushes_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreConfig { flush_interval_commit_log_ms: 10, ..config(dir.path()) });
    let place = put(&store, "T", 0, b"x");
    block_on(store.flushed(place.end())).unwrap();
    eventually("flush", || store.status().flushed_offset == place.end());
}

#[test]
fn one_store_per_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    let second = MessageStore::open(config(dir.path()), Arc::new(NoListener));
    assert!(matches!(second, Err(OpenError::Locked { pid: Some(pid), .. }) if pid == std::process::id()));
    assert!(dir.path().join("abort").exists());
    store.shutdown();
    store.shutdown();
    assert!(!dir.path().join("abort").exists());
    assert_eq!(std::fs::read(dir.path().join("lock")).unwrap(), b"lock");
    assert_eq!(std::fs::metadata(dir.path().join("checkpoint")).unwrap().len(), 4096);
    open(config(dir.path()));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let check = |config: StoreConfig, expect: &str| {
        let error = MessageStore::open(config, Arc::new(NoListener)).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    let base = || config(dir.path());
    check(StoreConfig { mapped_file_size_commit_log: 1, ..base() }, "mappedFileSizeCommitLog=1");
    check(StoreConfig { mapped_file_size_consume_queue: 1, ..base() }, "mappedFileSizeConsumeQueue=1");
    check(StoreConfig { max_index_num: u32::MAX, ..base() }, "maxIndexNum=4294967295");
    check(StoreConfig { message_delay_level: "1s 5q".to_owned(), ..base() }, "messageDelayLevel=5q");
    let store = open(base());
    put(&store, "T", 0, b"x");
    drop(store);
    check(StoreConfig { mapped_file_size_commit_log: 32 * 1024, ..base() }, "mappedFileSizeCommitLog");
}

#[test]
fn many_threads_leave_no_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreConfig { mapped_file_size_commit_log: 256 * 1024, ..config(dir.path()) });
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for at in 0..500u32 {
                    put(store, "T", thread % 2, &at.to_be_bytes());
                }
            });
        }
    });
    settle(&store);
    assert_eq!((bodies(&store, "T", 0).len(), bodies(&store, "T", 1).len()), (1000, 1000));
}
