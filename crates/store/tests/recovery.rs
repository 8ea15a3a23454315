//! Reopening: after a clean stop, after a kill, after a loss of power, with damaged and missing files.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use codec::message::MessageRecord;
use common::{block_on, bodies, config, message, open, put, reboot, settle, sync_config};
use store::{AllMessages, GetQuery, MessageStore, NoListener, OpenError, StoreConfig};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn log_file(root: &Path, index: u64) -> std::path::PathBuf {
    root.join("commitlog").join(format!("{:020}", index * 16 * 1024))
}

/// Changes bytes of a file.
fn damage(path: &Path, position: u64, bytes: &[u8]) {
    fs::File::options().write(true).open(path).unwrap().write_all_at(bytes, position).unwrap();
}

fn fill(root: &Path, count: usize) -> MessageStore {
    let store = open(config(root));
    for at in 0..count {
        let properties = format!("UNIQ_KEY\u{1}u{at}\u{2}");
        store.put(&message("T", 0, format!("{at:0>300}").as_bytes(), &properties)).unwrap();
    }
    settle(&store);
    store
}

fn check(store: &MessageStore, count: usize) {
    let expect: Vec<_> = (0..count).map(|at| format!("{at:0>300}").into_bytes()).collect();
    assert_eq!(bodies(store, "T", 0), expect);
    for at in [0, count / 2, count - 1] {
        assert_eq!(store.query_by_key("T", &format!("u{at}"), 9, 0, i64::MAX).messages.len(), 1, "u{at}");
    }
}

#[test]
fn clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    drop(fill(dir.path(), 200));
    let store = open(config(dir.path()));
    check(&store, 200);
    assert_eq!(put(&store, "T", 0, b"x").queue_offset, 200);
}

#[test]
fn clean_stop_without_any_message() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let store = open(config(dir.path()));
        assert_eq!(store.status().max_offset, 0);
    }
    assert_eq!(put(&open(config(dir.path())), "T", 0, b"x").physical_offset, 0);
}

#[test]
fn kill() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..4 {
        let store = open(config(dir.path()));
        for at in (round - 1) * 100..round * 100 {
            let properties = format!("UNIQ_KEY\u{1}u{at}\u{2}");
            let place = store.put(&message("T", 0, format!("{at:0>300}").as_bytes(), &properties)).unwrap();
            assert_eq!(place.queue_offset, at);
        }
        // Not settled: some of it has not been dispatched.
        store.abandon();
        drop(store);
        assert!(dir.path().join("abort").exists());
        let store = open(config(dir.path()));
        check(&store, usize::try_from(round).unwrap() * 100);
        store.abandon();
    }
}

#[test]
fn reboot_keeps_what_is_there_and_cuts_queues_that_are_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let store = fill(dir.path(), 100);
    let end = store.status().max_offset;
    store.abandon();
    drop(store);
    reboot(dir.path());
    let store = open(config(dir.path()));
    check(&store, 100);
    assert_eq!(store.status().max_offset, end);
    assert_eq!(store.status().flushed_offset, end);
}

#[test]
fn torn_tail_at_each_byte() {
    let whole = tempfile::tempdir().unwrap();
    let store = fill(whole.path(), 60);
    let last = store.put(&message("T", 0, b"the last one", "TAGS\u{1}a\u{2}")).unwrap();
    settle(&store);
    store.abandon();
    drop(store);
    reboot(whole.path());
    let in_file = last.physical_offset % (16 * 1024);
    for kept in 0..=u64::from(last.len) {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        let file = log_file(dir.path(), last.physical_offset / (16 * 1024));
        let lost = usize::try_from(u64::from(last.len) - kept).unwrap();
        damage(&file, in_file + kept, &vec![0; lost]);
        if kept % 2 == 0 {
            // As a Java broker would find it.
            fs::remove_file(dir.path().join("checkpoint")).unwrap();
        }
        let store = open(config(dir.path()));
        // The record ends in non-zero bytes, so it is whole only when all of it is there.
        let expect = if kept == u64::from(last.len) { 61 } else { 60 };
        assert_eq!(store.max_offset("T", 0), expect, "kept {kept} of {}", last.len);
        assert_eq!(bodies(&store, "T", 0).len(), usize::try_from(expect).unwrap());
        assert_eq!(store.query_by_key("T", "u59", 9, 0, i64::MAX).messages.len(), 1);
        let end = store.status().max_offset % (16 * 1024);
        let bytes = fs::read(&file).unwrap();
        assert!(bytes[usize::try_from(end).unwrap()..].iter().all(|byte| *byte == 0), "kept {kept}");
        assert_eq!(put(&store, "T", 0, b"x").queue_offset, expect);
    }
}

#[test]
fn stale_records_behind_the_cut_never_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    let places: Vec<_> = (0..10u8).map(|at| put(&store, "T", 0, &[at; 100])).collect();
    settle(&store);
    store.abandon();
    drop(store);
    reboot(dir.path());
    damage(&log_file(dir.path(), 0), places[5].physical_offset + 100, &[0xFF]);
    let store = open(config(dir.path()));
    assert_eq!(store.max_offset("T", 0), 5);
    // Exactly as long as the damaged one: what lies behind it would line up.
    assert_eq!(put(&store, "T", 0, &[99; 100]).physical_offset, places[5].physical_offset);
    settle(&store);
    store.abandon();
    drop(store);
    reboot(dir.path());
    let store = open(config(dir.path()));
    let expect: Vec<_> = [0, 1, 2, 3, 4, 99].iter().map(|at| vec![*at; 100]).collect();
    assert_eq!(bodies(&store, "T", 0), expect);
}

#[test]
fn missing_queues_are_built_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(fill(dir.path(), 200));
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    check(&open(config(dir.path())), 200);
}

#[test]
fn queues_that_are_behind_are_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = fill(dir.path(), 200);
    put(&store, "Other", 0, b"x");
    settle(&store);
    store.abandon();
    drop(store);
    reboot(dir.path());
    // One queue has lost all, as a crash can do to files that were not flushed, and one file of the other is empty.
    fs::remove_dir_all(dir.path().join("consumequeue/Other")).unwrap();
    damage(&dir.path().join("consumequeue/T/0/00000000000000003000"), 200, &[0; 800]);
    let store = open(config(dir.path()));
    check(&store, 200);
    assert_eq!(bodies(&store, "Other", 0), [b"x".to_vec()]);
}

#[test]
fn units_before_the_replayed_part_are_found_in_the_whole_log() {
    let dir = tempfile::tempdir().unwrap();
    drop(fill(dir.path(), 100));
    // The checkpoint says that all of it is dispatched; then the queue is lost, and a kill follows.
    let store = open(config(dir.path()));
    put(&store, "Other", 0, b"x");
    settle(&store);
    store.abandon();
    drop(store);
    reboot(dir.path());
    fs::remove_dir_all(dir.path().join("consumequeue/T")).unwrap();
    // Nothing of T is in the replayed part, but the checkpoint knows that there was such a queue.
    let store = open(config(dir.path()));
    put(&store, "Other", 0, b"x");
    settle(&store);
    check(&store, 100);
    drop(store);
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    check(&open(config(dir.path())), 100);
}

#[test]
fn a_lost_commit_log_is_not_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    drop(fill(dir.path(), 100));
    fs::remove_dir_all(dir.path().join("commitlog")).unwrap();
    let error = MessageStore::open(config(dir.path()), Arc::new(NoListener)).unwrap_err();
    assert!(error.to_string().contains("is its disk mounted"), "{error}");
    assert!(dir.path().join("consumequeue/T").exists());
    // Without a checkpoint of ours it is as in Java: queues without a log are nothing.
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let store = open(config(dir.path()));
    assert_eq!(store.topics(), []);
    assert_eq!(put(&store, "T", 0, b"x").queue_offset, 0);
}

fn corrupted(root: &Path) -> (std::path::PathBuf, u64, String) {
    match MessageStore::open(config(root), Arc::new(NoListener)) {
        Err(OpenError::Corrupted { path, file_position, reason }) => (path, file_position, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn damage_after_a_clean_stop_is_named_and_nothing_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    drop(fill(dir.path(), 200));
    // A Java broker has used it last, cleanly: the checkpoint has no end.
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let files = fs::read_dir(dir.path().join("commitlog")).unwrap().count();
    let last = log_file(dir.path(), u64::try_from(files).unwrap() - 1);
    let before = log_file(dir.path(), u64::try_from(files).unwrap() - 2);
    fs::copy(&last, dir.path().join("saved")).unwrap();

    fs::remove_file(&before).unwrap();
    let (path, position, reason) = corrupted(dir.path());
    assert_eq!((path, position), (last.clone(), 0));
    assert!(reason.contains("should come before it"), "{reason}");
    fs::write(&before, vec![0; 16 * 1024]).unwrap();

    fs::write(&last, vec![0; 1000]).unwrap();
    let (path, position, reason) = corrupted(dir.path());
    assert_eq!((path, position), (last.clone(), 1000));
    assert!(reason.contains("mappedFileSizeCommitLog is 16384"), "{reason}");
    assert!(!dir.path().join("abort").exists(), "a second attempt must not take it for a kill");
    assert_eq!(fs::read_dir(dir.path().join("commitlog")).unwrap().count(), files);
}

#[test]
fn damage_after_a_clean_stop_of_a_java_broker_is_refused_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = fill(dir.path(), 200);
    let file = log_file(dir.path(), store.status().max_offset / (16 * 1024));
    drop(store);
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    for (bytes, known_by) in
        [(vec![0xFF; 4], "the log went on behind it"), (vec![0; 15 * 1024], "queue 0 of T has messages")]
    {
        damage(&file, 600, &bytes);
        for _ in 0..2 {
            let (path, position, reason) = corrupted(dir.path());
            assert_eq!(path, file);
            assert!(position < 600 && reason.contains(known_by), "{position} {reason}");
        }
    }
    fs::write(dir.path().join("abort"), b"").unwrap();
    let store = open(config(dir.path()));
    assert!(store.max_offset("T", 0) < 200);
}

#[test]
fn an_end_that_is_lost_after_a_clean_stop_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = fill(dir.path(), 10);
    drop(store);
    // The checkpoint is that of a stop with more messages: the log lost its end since.
    let saved = fs::read(log_file(dir.path(), 0)).unwrap();
    let store = open(config(dir.path()));
    let lost = put(&store, "T", 0, b"x").physical_offset;
    drop(store);
    fs::remove_file(log_file(dir.path(), 0)).unwrap();
    let (.., reason) = corrupted(dir.path());
    assert!(reason.contains("is its disk mounted"), "{reason}");
    fs::write(log_file(dir.path(), 0), &saved).unwrap();
    let (_, position, reason) = corrupted(dir.path());
    assert_eq!(position, lost);
    assert!(reason.contains("gone or damaged"), "{reason}");
}

#[test]
fn giving_up_the_rest_is_possible_as_the_error_says() {
    let dir = tempfile::tempdir().unwrap();
    let store = fill(dir.path(), 10);
    let first_len = store.record_at(0).unwrap().len() as u64;
    drop(store);
    damage(&log_file(dir.path(), 0), first_len + 120, &[0xFF; 4]);
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    fs::write(dir.path().join("abort"), b"").unwrap();
    let store = open(config(dir.path()));
    assert_eq!(store.max_offset("T", 0), 1);
    assert_eq!(store.status().max_offset, first_len);
}

#[test]
fn files_a_kill_left_without_length_are_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let store = fill(dir.path(), 10);
    store.abandon();
    drop(store);
    let last = fs::read_dir(dir.path().join("commitlog")).unwrap().count();
    fs::write(log_file(dir.path(), u64::try_from(last).unwrap()), b"").unwrap();
    fs::write(dir.path().join("consumequeue/T/0/00000000000000001000"), b"").unwrap();
    fs::write(dir.path().join("index/99991231235959999"), b"").unwrap();
    check(&open(config(dir.path())), 10);
}

#[test]
fn old_files_go_and_readers_keep_what_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreConfig {
        file_reserved_time_hours: 0,
        delete_commit_log_files_interval_ms: 0,
        clean_resource_interval_ms: 3_600_000,
        ..config(dir.path())
    });
    for at in 0..300 {
        let properties = format!("UNIQ_KEY\u{1}u{at}\u{2}");
        store.put(&message("T", 0, format!("{at:0>300}").as_bytes(), &properties)).unwrap();
    }
    put(&store, "Old", 0, b"x");
    settle(&store);
    let held = store.record_at(0).unwrap();
    let before = held.to_vec();
    let files = store.status().commit_log_files;
    common::eventually("deletion", || {
        // Armed anew each time: it lasts for some rounds only, and what is not flushed yet stays.
        store.delete_expired_files();
        store.clean_now().unwrap();
        // The thread may be at it as well: queues follow the log.
        store.status().commit_log_files == 1 && fs::read_dir(dir.path().join("consumequeue/T/0")).unwrap().count() == 1
    });
    assert!(files > 5 && store.status().min_offset > 0);
    assert_eq!(*held, *before);
    assert!(store.record_at(0).is_none());
    let (min, max) = (store.min_offset("T", 0), store.max_offset("T", 0));
    assert!(min > 200 && max == 300, "{min} {max}");
    assert_eq!(bodies(&store, "T", 0).len(), usize::try_from(max - min).unwrap());
    let too_small = store.get(&store::GetQuery::new("T", 0, 0, 1), &store::AllMessages);
    assert_eq!((too_small.status, too_small.next_begin_offset), (store::GetMessageStatus::OffsetTooSmall, min));
    drop(store);
    let store = open(config(dir.path()));
    assert_eq!((store.min_offset("T", 0), store.max_offset("T", 0)), (min, max));
    store.abandon();
    drop(store);
    // All queues are built again from a log that begins in the middle.
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let store = open(config(dir.path()));
    assert_eq!((store.min_offset("T", 0), store.max_offset("T", 0)), (min, max));
    assert_eq!(put(&store, "T", 0, b"x").queue_offset, 300);
}

/// Not a test by itself: what `kill_minus_nine` runs in a process of its own.
#[test]
fn child() {
    let Ok(root) = std::env::var("STORE_TEST_CHILD") else { return };
    let root = Path::new(&root);
    let sync = std::env::var("STORE_TEST_SYNC").is_ok();
    let store = open(if sync { sync_config(root) } else { config(root) });
    for at in store.max_offset("T", 0).. {
        let place = store.put(&message("T", 0, format!("{at:0>200}").as_bytes(), "UNIQ_KEY\u{1}u\u{2}")).unwrap();
        block_on(store.flushed(place.end())).unwrap();
        println!("acked {}", place.queue_offset);
    }
}

#[test]
fn kill_minus_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = -1;
    for round in 0..6 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env("STORE_TEST_CHILD", dir.path());
        if round % 2 == 1 {
            command.env("STORE_TEST_SYNC", "1");
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut seen = 0;
        for line in lines {
            let Some((_, offset)) = line.split_once("acked ") else { continue };
            let Ok(offset) = offset.parse::<i64>() else { continue };
            assert_eq!(offset, acked + 1);
            acked = offset;
            seen += 1;
            if seen == 100 + round * 37 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen > 0, "the child acknowledged nothing");
        let store = open(config(dir.path()));
        let bodies = bodies(&store, "T", 0);
        assert!(i64::try_from(bodies.len()).unwrap() > acked, "round {round}");
        for (at, body) in bodies.iter().enumerate() {
            assert_eq!(*body, format!("{at:0>200}").into_bytes());
        }
        acked = i64::try_from(bodies.len()).unwrap() - 1;
    }
}

#[test]
fn the_last_topic_deleted_stays_deleted_and_lost_queues_still_come_back() {
    for clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let reopen = |store: MessageStore| {
            if clean {
                store.shutdown()
            } else {
                store.abandon()
            }
            drop(store);
            open(config(dir.path()))
        };
        let store = open(config(dir.path()));
        store.put(&message("Old", 0, b"a", "")).unwrap();
        settle(&store);
        assert_eq!(store.delete_topic("Old"), 1);
        let store = reopen(store);
        assert_eq!(store.topics(), []);
        store.put(&message("New", 1, b"b", "")).unwrap();
        settle(&store);
        store.shutdown();
        drop(store);
        std::fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
        let store = open(config(dir.path()));
        assert_eq!(store.topics(), [("New".to_owned(), vec![1])], "clean {clean}");
    }
}

#[test]
fn single_queues_and_index_files_that_are_taken_away_come_back() {
    for clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = fill(dir.path(), 100);
        put(&store, "Other", 3, b"x");
        put(&store, "Deleted", 0, b"x");
        settle(&store);
        store.delete_topic("Deleted");
        put(&store, "Other", 3, b"y");
        settle(&store);
        if clean {
            store.shutdown()
        } else {
            store.abandon()
        }
        drop(store);
        fs::remove_dir_all(dir.path().join("index")).unwrap();
        check(&open(config(dir.path())), 100);
        // What is there is not read again: the topic that was deleted stays so.
        let store = open(config(dir.path()));
        assert_eq!(store.topics().iter().map(|(topic, _)| topic.as_str()).collect::<Vec<_>>(), ["Other", "T"]);
        drop(store);
        fs::remove_dir_all(dir.path().join("consumequeue/Other/3")).unwrap();
        let store = open(config(dir.path()));
        assert_eq!(bodies(&store, "Other", 3), [b"x".to_vec(), b"y".to_vec()]);
        check(&store, 100);
    }
}

/// Two keys each, and an odd number of entries in an index file: one message has its keys in two files.
#[test]
fn a_message_with_keys_in_two_index_files_keeps_both_when_the_second_is_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    let put_keys = |from: usize, to: usize| {
        for at in from..to {
            let properties = format!("UNIQ_KEY\u{1}u{at}\u{2}KEYS\u{1}k{at}\u{2}");
            store.put(&message("T", 0, b"body", &properties)).unwrap();
        }
        settle(&store);
    };
    put_keys(0, 200);
    let straddling = store.store_time("T", 0, 199).unwrap();
    while std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() <= u128::try_from(straddling).unwrap() {
        std::thread::yield_now();
    }
    put_keys(200, 210);
    let left = tempfile::tempdir().unwrap();
    copy(dir.path(), left.path());
    drop(store);
    // The machine died when the first index file was on the disk.
    reboot(left.path());
    damage(&left.path().join("checkpoint"), 2096, &straddling.to_be_bytes());
    let store = open(config(left.path()));
    for at in 0..210 {
        for key in [format!("u{at}"), format!("k{at}")] {
            assert_eq!(store.query_by_key("T", &key, 9, 0, i64::MAX).messages.len(), 1, "{key}");
        }
    }
}

/// What Java's checkpoint says was flushed has not got lost with the power: damage in the middle of it is no end of the log.
#[test]
fn damage_before_what_a_killed_java_broker_had_flushed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = fill(dir.path(), 20);
    store.abandon();
    drop(store);
    fs::write(dir.path().join("abort"), b"").unwrap();
    let checkpoint = |physic_msg_timestamp: i64| {
        let mut bytes = vec![0; 4096];
        bytes[..8].copy_from_slice(&physic_msg_timestamp.to_be_bytes());
        fs::write(dir.path().join("checkpoint"), bytes).unwrap();
    };
    damage(&log_file(dir.path(), 0), 1000, &[0xFF; 40]);
    checkpoint(i64::MAX);
    let (_, position, reason) = corrupted(dir.path());
    assert!(position <= 1000 && reason.contains("the log went on behind it"), "{position} {reason}");
    // Had nothing been flushed, it would be where the log ends.
    checkpoint(0);
    let store = open(config(dir.path()));
    assert!((1..4).contains(&store.max_offset("T", 0)));
}

/// Bits that flip on the disk, a page that is zeroed: those messages are not served, all others are.
#[test]
fn damaged_messages_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = fill(dir.path(), 60);
    let places: Vec<_> = store.queue_units("T", 0, 0, 60).iter().map(|unit| unit.physical_offset).collect();
    drop(store);
    let flip = |message: usize, at: u64| {
        let file = log_file(dir.path(), places[message] / (16 * 1024));
        let position = places[message] % (16 * 1024) + at;
        let mut byte = [0];
        fs::File::open(&file).unwrap().read_exact_at(&mut byte, position).unwrap();
        damage(&file, position, &[byte[0] ^ 4]);
    };
    // The last byte of the body, queueOffset, the topic's length, the topic.
    for (message, at) in [(5, 88 + 299), (15, 27), (25, 88 + 300), (35, 88 + 301)] {
        flip(message, at);
    }
    damage(&log_file(dir.path(), places[50] / (16 * 1024)), places[50] % (16 * 1024), &[0; 200]);
    let store = open(config(dir.path()));
    let got = || {
        let (mut got, mut at) = (Vec::new(), 0);
        while at < 60 {
            let result = store.get(&GetQuery::new("T", 0, at, 32), &AllMessages);
            assert!(result.next_begin_offset > at, "{result:?}");
            got.extend(result.messages.iter().map(|record| MessageRecord::parse(record).unwrap().body.to_vec()));
            at = result.next_begin_offset;
        }
        got
    };
    let sound = (0..60).filter(|at| ![5, 15, 25, 35, 50].contains(at));
    assert_eq!(got(), sound.map(|at| format!("{at:0>300}").into_bytes()).collect::<Vec<_>>());
    // Told once each, however often they are asked for.
    got();
    assert_eq!(store.status().damaged_records, 5);
}
