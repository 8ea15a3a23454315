//! Topics that are compacted: what consumers read, what is left after a compaction, and that nothing is lost whatever stops
//! it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

#[path = "common/mod.rs"]
mod common;
#[path = "compaction/dying.rs"]
mod dying;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use codec::message::MessageRecord;
use common::{message, open, reboot, settle};
use dying::Dying;
use store::{
    AllMessages, Boundary, CompactionConfig, GetMessageStatus, GetQuery, MessageStore, NoListener, RealFileSystem,
    StoreConfig, SystemClock,
};

const TOPIC: &str = "Prices";
/// Messages in a segment.
const PER_SEGMENT: usize = 9;

/// Segments of nine messages.
fn config(root: &Path) -> StoreConfig {
    let compaction = CompactionConfig {
        compaction_mapped_file_size: 2300,
        compaction_cq_mapped_file_size: 460,
        compaction_schedule_internal_ms: 3_600_000,
        topics: vec![TOPIC.to_owned()],
        ..CompactionConfig::default()
    };
    StoreConfig { compaction: Some(compaction), ..common::config(root) }
}

fn send(store: &MessageStore, key: &str, body: &str) -> i64 {
    let properties = format!("KEYS\u{1}{key}\u{2}TAGS\u{1}t\u{2}");
    store.put(&message(TOPIC, 0, body.as_bytes(), &properties)).unwrap().queue_offset
}

/// Sends `count` messages of `keys` keys in turn; bodies count from `from` on.
fn send_many(store: &MessageStore, keys: usize, from: usize, count: usize) {
    for number in from..from + count {
        send(store, &format!("k{}", number % keys), &format!("v{number}"));
    }
    settle(store);
}

/// Everything a consumer gets that reads from `from` on: queue offset, key, body.
fn read_from(store: &MessageStore, from: i64) -> Vec<(i64, String, String)> {
    let (mut all, mut at) = (Vec::new(), from);
    loop {
        let result = store.get(&GetQuery::new(TOPIC, 0, at, 5), &AllMessages);
        match result.status {
            GetMessageStatus::Found => {}
            GetMessageStatus::OffsetOverflowOne | GetMessageStatus::NoMessageInQueue => return all,
            other => panic!("{other:?} at {at}: {result:?}"),
        }
        for record in &result.messages {
            let record = MessageRecord::parse(record).unwrap();
            record.check_body_crc().unwrap();
            assert!(all.last().is_none_or(|(before, ..)| *before < record.queue_offset));
            let key = record.property("KEYS").unwrap().to_owned();
            all.push((record.queue_offset, key, String::from_utf8(record.body.to_vec()).unwrap()));
        }
        assert!(result.next_begin_offset > at);
        at = result.next_begin_offset;
    }
}

fn read(store: &MessageStore) -> Vec<(i64, String, String)> {
    read_from(store, 0)
}

/// The newest body of each key.
fn newest(store: &MessageStore) -> BTreeMap<String, String> {
    read(store).into_iter().map(|(_, key, body)| (key, body)).collect()
}

fn values(keys: usize, end: usize) -> BTreeMap<String, String> {
    (0..end).map(|number| (format!("k{}", number % keys), format!("v{number}"))).collect()
}

fn log_dir(root: &Path) -> PathBuf {
    root.join("compaction/compactionLog").join(TOPIC).join("0")
}

fn cq_dir(root: &Path) -> PathBuf {
    root.join("compaction/compactionCq").join(TOPIC).join("0")
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn the_newest_of_each_key_are_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    assert_eq!(store.get(&GetQuery::new(TOPIC, 0, 0, 5), &AllMessages).status, GetMessageStatus::NoMatchedLogicQueue);
    assert!(!dir.path().join("compaction").exists());
    send_many(&store, 7, 0, 40);
    assert_eq!(read(&store).len(), 40);
    store.compact_now().unwrap();
    // Four segments are closed; the last has four messages.
    let left = read(&store);
    let closed: Vec<i64> = (36 - 7..36).collect();
    assert_eq!(left.iter().map(|(at, ..)| *at).collect::<Vec<_>>(), [closed, (36..40).collect()].concat());
    assert_eq!(newest(&store), values(7, 40));
    assert_eq!(names(&log_dir(dir.path())), names(&cq_dir(dir.path())));
    assert_eq!((store.min_offset(TOPIC, 0), store.max_offset(TOPIC, 0)), (0, 40));
    assert_eq!(read_from(&store, 33).len(), 7);
    let beyond = store.get(&GetQuery::new(TOPIC, 0, 41, 5), &AllMessages);
    assert_eq!((beyond.status, beyond.next_begin_offset), (GetMessageStatus::OffsetOverflowBadly, 40));
    // Nothing new was closed.
    store.compact_now().unwrap();
    assert_eq!(read(&store), left);
    send_many(&store, 7, 40, 30);
    store.compact_now().unwrap();
    assert_eq!((newest(&store), read(&store).len()), (values(7, 70), 7 + 70 % PER_SEGMENT));
    store.shutdown();
    drop(store);
    let store = open(config(dir.path()));
    assert_eq!((newest(&store), read(&store).len()), (values(7, 70), 7 + 70 % PER_SEGMENT));
    assert_eq!(send(&store, "k0", "last"), 70);
}

#[test]
fn a_message_without_body_takes_its_key_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    send_many(&store, 3, 0, 9);
    send(&store, "k1", "");
    send_many(&store, 1, 9, 17);
    assert_eq!(newest(&store)["k1"], "");
    store.compact_now().unwrap();
    let left = newest(&store);
    assert_eq!(left.keys().collect::<Vec<_>>(), ["k0", "k2"]);
    // Nothing but such messages: the last of them stays.
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    for number in 0..20 {
        send(&store, &format!("k{}", number % 2), "");
    }
    settle(&store);
    store.compact_now().unwrap();
    assert_eq!(read(&store).iter().map(|(at, ..)| *at).collect::<Vec<_>>(), [17, 18, 19]);
}

#[test]
fn a_message_without_key_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    send(&store, "a", "1");
    for properties in ["", "TAGS\u{1}t\u{2}", "KEYS\u{1} \u{2}"] {
        store.put(&message(TOPIC, 0, b"lost", properties)).unwrap();
    }
    settle(&store);
    // Or who waits for the next message would be told of this one for ever.
    assert_eq!((read(&store).len(), store.max_offset(TOPIC, 0)), (1, 1));
    store.shutdown();
    drop(store);
    let store = open(config(dir.path()));
    assert_eq!(send(&store, "a", "2"), 4);
    settle(&store);
    assert_eq!((newest(&store)["a"].as_str(), store.max_offset(TOPIC, 0)), ("2", 5));
}

/// The states of a store that is to be compacted, the key space that it has, and how many messages.
fn prepared(root: &Path) -> (usize, usize) {
    let store = open(config(root));
    send_many(&store, 7, 0, 40);
    store.compact_now().unwrap();
    send_many(&store, 7, 40, 30);
    store.abandon();
    (7, 70)
}

#[test]
fn a_kill_at_each_step_of_a_compaction_loses_nothing() {
    let before = tempfile::tempdir().unwrap();
    let (keys, count) = prepared(before.path());
    let mut steps = 0;
    for lost_power in [false, true] {
        for step in 0.. {
            let dir = tempfile::tempdir().unwrap();
            copy(before.path(), dir.path());
            let disk = Arc::new(Dying::default());
            let store =
                MessageStore::open_with(config(dir.path()), Arc::new(NoListener), disk.clone(), Arc::new(SystemClock))
                    .unwrap();
            disk.die_after(step);
            let compacted = store.compact_now();
            let over = !disk.is_dead();
            store.abandon();
            drop(store);
            if lost_power {
                reboot(dir.path());
            }
            let store = open(config(dir.path()));
            let context = format!("step {step}, {compacted:?}, {:?}", disk.last());
            assert_eq!(newest(&store), values(keys, count), "{context}");
            assert!(!log_dir(dir.path()).join("compacting").exists(), "{context}");
            send_many(&store, keys, count, 21);
            store.compact_now().unwrap();
            assert_eq!(newest(&store), values(keys, count + 21), "{context}");
            assert_eq!(read(&store).len(), keys + (count + 21) % PER_SEGMENT, "{context}");
            steps = step;
            if over {
                compacted.unwrap();
                break;
            }
        }
        assert!(steps > 30, "{steps}");
    }
}

/// A swap that was written and not begun is no more valid when a broker has gone on with the old files since.
#[test]
fn a_swap_that_java_knew_nothing_of_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (keys, count) = prepared(dir.path());
    let compacting = |of: fn(&Path) -> PathBuf| of(dir.path()).join("compacting");
    for step in 0.. {
        let disk = Arc::new(Dying::default());
        let config = config(dir.path());
        let store = MessageStore::open_with(config, Arc::new(NoListener), disk.clone(), Arc::new(SystemClock)).unwrap();
        disk.die_after(step);
        store.compact_now().unwrap_err();
        store.abandon();
        if compacting(log_dir).join("swap").exists() && disk.last().starts_with("sync_dir") {
            break;
        }
    }
    let stale = tempfile::tempdir().unwrap();
    copy(&compacting(log_dir), &stale.path().join("log"));
    copy(&compacting(cq_dir), &stale.path().join("cq"));
    let store = open(config(dir.path()));
    send_many(&store, keys, count, 40);
    store.compact_now().unwrap();
    store.shutdown();
    drop(store);
    // Java leaves what it does not know.
    copy(&stale.path().join("log"), &compacting(log_dir));
    copy(&stale.path().join("cq"), &compacting(cq_dir));
    let store = open(config(dir.path()));
    assert_eq!(newest(&store), values(keys, count + 40));
    assert!(!compacting(log_dir).exists() && !compacting(cq_dir).exists());
}

/// The files of a store before and after a compaction, as Java moves from the one to the other.
#[test]
fn what_a_killed_java_broker_left_is_finished_or_undone() {
    let before = tempfile::tempdir().unwrap();
    let (keys, count) = prepared(before.path());
    let after = tempfile::tempdir().unwrap();
    copy(before.path(), after.path());
    let store = open(config(after.path()));
    store.compact_now().unwrap();
    store.abandon();
    drop(store);
    let current = names(&log_dir(before.path())).pop().unwrap();
    let old: Vec<String> = names(&log_dir(before.path())).into_iter().filter(|name| *name != current).collect();
    let new: Vec<String> = names(&log_dir(after.path())).into_iter().filter(|name| *name != current).collect();
    type Step = Box<dyn Fn(&Path)>;
    let mut steps: Vec<Step> = vec![Box::new(|_| {})];
    for dir in [log_dir as fn(&Path) -> PathBuf, cq_dir] {
        for name in old.clone() {
            steps.push(Box::new(move |root| {
                fs::rename(dir(root).join(&name), dir(root).join(format!("{name}.delete"))).unwrap();
            }));
        }
        for name in new.clone() {
            steps.push(Box::new(move |root| {
                fs::rename(dir(root).join("compacting").join(&name), dir(root).join(&name)).unwrap();
            }));
        }
        for name in old.clone() {
            steps.push(Box::new(move |root| fs::remove_file(dir(root).join(format!("{name}.delete"))).unwrap()));
        }
    }
    for done in 1..=steps.len() {
        let dir = tempfile::tempdir().unwrap();
        copy(before.path(), dir.path());
        for of in [log_dir, cq_dir] {
            fs::create_dir_all(of(dir.path()).join("compacting")).unwrap();
            for name in &new {
                fs::copy(of(after.path()).join(name), of(dir.path()).join("compacting").join(name)).unwrap();
            }
        }
        steps[..done].iter().for_each(|step| step(dir.path()));
        let store = open(config(dir.path()));
        assert_eq!(newest(&store), values(keys, count), "{done}");
        store.compact_now().unwrap();
        assert_eq!((newest(&store), read(&store).len()), (values(keys, count), keys + count % PER_SEGMENT), "{done}");
        assert_eq!(names(&log_dir(dir.path())), names(&cq_dir(dir.path())), "{done}");
    }
}

#[test]
fn what_is_missing_or_torn_is_copied_again() {
    let before = tempfile::tempdir().unwrap();
    let (keys, count) = prepared(before.path());
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("all gone", |root| fs::remove_dir_all(root.join("compaction")).unwrap()),
        ("the newest files gone", |root| {
            for dir in [log_dir(root), cq_dir(root)] {
                fs::remove_file(dir.join(names(&dir).pop().unwrap())).unwrap();
            }
        }),
        ("a sector never written", |root| {
            let newest = log_dir(root).join(names(&log_dir(root)).pop().unwrap());
            File::options().write(true).open(newest).unwrap().write_all_at(&[0; 512], 0).unwrap();
        }),
        ("units never written", |root| {
            let files = names(&cq_dir(root));
            let closed = cq_dir(root).join(&files[files.len() - 2]);
            File::options().write(true).open(closed).unwrap().write_all_at(&[0; 92], 46).unwrap();
        }),
        ("files begun", |root| {
            let name = "00000000000000899760";
            File::create(log_dir(root).join(name)).unwrap().set_len(2760).unwrap();
            File::create(cq_dir(root).join(name)).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        copy(before.path(), dir.path());
        damage(dir.path());
        reboot(dir.path());
        let store = open(config(dir.path()));
        assert_eq!(newest(&store), values(keys, count), "{what}");
        send_many(&store, keys, count, 30);
        store.compact_now().unwrap();
        assert_eq!(newest(&store), values(keys, count + 30), "{what}");
    }
}

#[test]
fn what_the_commit_log_lost_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    send_many(&store, 7, 0, 40);
    store.abandon();
    drop(store);
    let earlier = tempfile::tempdir().unwrap();
    copy(dir.path(), earlier.path());
    let store = open(config(dir.path()));
    send_many(&store, 7, 40, 20);
    store.abandon();
    drop(store);
    // A loss of power took these twenty from the log and the queues, and not from here.
    fs::remove_dir_all(earlier.path().join("compaction")).unwrap();
    copy(&dir.path().join("compaction"), &earlier.path().join("compaction"));
    let store = open(config(earlier.path()));
    assert_eq!((newest(&store), store.max_offset(TOPIC, 0)), (values(7, 40), 40));
    assert_eq!(send(&store, "k0", "anew"), 40);
    settle(&store);
    assert_eq!((newest(&store)["k0"].as_str(), read(&store).len()), ("anew", 41));
}

#[test]
fn messages_outlive_the_commit_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    send(&store, "old", "value");
    settle(&store);
    let time = store.store_time(TOPIC, 0, 0).unwrap();
    send_many(&store, 7, 0, 40);
    for number in 0..400 {
        store.put(&message("Other", 0, format!("{number}").as_bytes(), "")).unwrap();
    }
    settle(&store);
    store.compact_now().unwrap();
    store.shutdown();
    drop(store);
    let files = names(&dir.path().join("commitlog"));
    assert!(files.len() > 2, "{files:?}");
    for name in &files[..files.len() - 1] {
        fs::remove_file(dir.path().join("commitlog").join(name)).unwrap();
    }
    let store = open(config(dir.path()));
    let mut expected = values(7, 40);
    expected.insert("old".to_owned(), "value".to_owned());
    assert_eq!(newest(&store), expected);
    assert_eq!((store.min_offset(TOPIC, 0), store.max_offset(TOPIC, 0)), (0, 41));
    assert_eq!(store.offset_by_time(TOPIC, 0, time, Boundary::Lower), 0);
    assert_eq!(store.clean_expired_consume_queues(), 0);
    assert_eq!(send(&store, "k0", "next"), 41);
    settle(&store);
    assert_eq!(newest(&store)["k0"], "next");
    store.shutdown();
    drop(store);
    // Even without its consume queue it goes on where it was.
    fs::remove_dir_all(dir.path().join("consumequeue").join(TOPIC)).unwrap();
    for name in names(&dir.path().join("commitlog")) {
        fs::remove_file(dir.path().join("commitlog").join(name)).unwrap();
    }
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let store = open(config(dir.path()));
    assert_eq!(newest(&store)["old"], "value");
    assert_eq!(send(&store, "k0", "after"), 42);
    settle(&store);
    assert_eq!(newest(&store)["k0"], "after");
}

#[test]
fn more_keys_than_memory_are_compacted_bit_by_bit() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.compaction.as_mut().unwrap().max_offset_map_size = 0;
    let store = open(config);
    send_many(&store, 150, 0, 450);
    let counts: Vec<usize> = (0..6)
        .map(|_| {
            store.compact_now().unwrap();
            assert_eq!(newest(&store), values(150, 450));
            read(&store).len()
        })
        .collect();
    // A hundred keys at a time; the last nine messages are in the segment that is not closed.
    assert_eq!(counts, [450, 400, 300, 200, 159, 159]);
}

#[test]
fn a_topic_that_is_made_again_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    send_many(&store, 7, 0, 40);
    store.compact_now().unwrap();
    store.delete_topic(TOPIC);
    assert!(!log_dir(dir.path()).parent().unwrap().exists());
    // What a kill in the middle of that may leave.
    fs::create_dir_all(log_dir(dir.path())).unwrap();
    File::create(log_dir(dir.path()).join("00000000000000000000")).unwrap().write_all_at(&[1; 2760], 0).unwrap();
    store.set_compacted(TOPIC, true).unwrap();
    assert_eq!(send(&store, "a", "1"), 0);
    settle(&store);
    assert_eq!(newest(&store), BTreeMap::from([("a".to_owned(), "1".to_owned())]));
    // A topic that has messages already.
    send(&store, "b", "2");
    store.set_compacted(TOPIC, false).unwrap();
    send(&store, "a", "3");
    settle(&store);
    assert_eq!(read(&store).len(), 3);
    store.set_compacted(TOPIC, true).unwrap();
    assert_eq!((read(&store).len(), newest(&store)["a"].as_str()), (3, "3"));
}

#[test]
fn without_the_setting_nothing_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreConfig { compaction: None, ..config(dir.path()) });
    send_many(&store, 7, 0, 20);
    store.set_compacted(TOPIC, true).unwrap();
    assert_eq!(read(&store).len(), 20);
    store.shutdown();
    drop(store);
    assert!(!dir.path().join("compaction").exists());
    let store = open(config(dir.path()));
    store.compact_now().unwrap();
    assert_eq!((newest(&store), read(&store).len()), (values(7, 20), 9));
}

#[test]
fn a_full_disk_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, store) = common::faults::with(config(dir.path()));
    let store = store.unwrap();
    send(&store, "a", "1");
    settle(&store);
    faults.set("create", "compactionCq", common::faults::ENOSPC);
    for number in 0..12 {
        let _ = store.put(&message(TOPIC, 0, format!("{number}").as_bytes(), "KEYS\u{1}b\u{2}"));
    }
    common::eventually("a full disk", || store.status().disk_full.is_some());
    faults.lift();
    common::eventually("dispatch", || store.status().dispatch_behind_bytes == 0);
    assert_eq!(read(&store).len(), usize::try_from(store.max_offset(TOPIC, 0)).unwrap());
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    prepared(dir.path());
    let refused = |config: StoreConfig| match MessageStore::open(config, Arc::new(NoListener)) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    };
    let mut other = config(dir.path());
    other.compaction.as_mut().unwrap().compaction_mapped_file_size = 4600;
    assert!(refused(other).contains("compactionMappedFileSize"));
    let mut small = config(dir.path());
    small.compaction.as_mut().unwrap().compaction_cq_mapped_file_size = 91;
    assert!(refused(small).contains("compactionCqMappedFileSize=91"));
    fs::remove_file(cq_dir(dir.path()).join(&names(&cq_dir(dir.path()))[0])).unwrap();
    let error = refused(config(dir.path()));
    assert!(error.contains("without its counterpart in compactionCq; restore"), "{error}");
}

/// Compactions by the thread, while messages come and are read.
#[test]
fn it_happens_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.compaction.as_mut().unwrap().compaction_schedule_internal_ms = 10;
    let store = MessageStore::open_with(config, Arc::new(NoListener), Arc::new(RealFileSystem), Arc::new(SystemClock));
    let store = store.unwrap();
    for round in 0..50 {
        send_many(&store, 7, round * 20, 20);
        assert_eq!(newest(&store), values(7, (round + 1) * 20));
    }
    common::eventually("compaction", || read(&store).len() <= 7 + PER_SEGMENT);
}
