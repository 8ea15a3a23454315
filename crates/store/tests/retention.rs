//! What is deleted when, and what that leaves: by age, by the room on the disk, with readers on what goes.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use codec::message::MessageRecord;
use common::faults::{Faults, open_on, with};
use common::{bodies, config, eventually, message, put, settle};
use store::{
    Boundary, Clock, DiskLevel, DiskUsage, FakeClock, MessageStore, NoListener, PutError, StoreConfig, SystemClock,
};

const HOUR_MS: i64 = 3_600_000;

/// The thread does nothing by itself, deletions do not wait, and no hour is one to delete at.
fn quiet(root: &Path) -> StoreConfig {
    StoreConfig {
        clean_resource_interval_ms: 3_600_000,
        delete_commit_log_files_interval_ms: 0,
        delete_when: String::new(),
        ..config(root)
    }
}

/// Fills some files of the log.
fn fill(store: &MessageStore) {
    for at in 0..100 {
        let properties = format!("UNIQ_KEY\u{1}u{at}\u{2}");
        store.put(&message("T", 0, &[1; 1000], &properties)).unwrap();
    }
    settle(store);
}

fn files(store: &MessageStore) -> usize {
    store.status().commit_log_files
}

#[test]
fn free_bytes_reach_each_level_and_refusals_name_them() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        disk_min_free_space_bytes: Some(3000),
        disk_space_clean_forcibly_free_bytes: Some(2000),
        disk_space_warning_level_free_bytes: Some(1000),
        ..quiet(dir.path())
    };
    let (faults, store) = with(config.clone());
    let store = store.unwrap();
    let free = |available| {
        // A tenth is used, whatever is free.
        *faults.usage.lock().unwrap() = Some(DiskUsage { used: available / 9, available });
        store.clean_now().unwrap();
        store.status().disk_level
    };
    fill(&store);
    let all = files(&store);
    assert_eq!(free(3000), DiskLevel::Plenty);
    assert_eq!((free(2999), files(&store)), (DiskLevel::Scarce, all));
    // Scarce: what has expired goes at any hour.
    store.set_retention(&StoreConfig { file_reserved_time_hours: 0, delete_file_batch_max: 1, ..config.clone() });
    assert_eq!(free(2999), DiskLevel::Scarce);
    // Changed settings wake the cleaner, too, which takes another one.
    let scarce = all - 2;
    eventually("the cleaner has run", || files(&store) == scarce);
    // Short: what has not expired goes too, unless that is switched off.
    store.set_retention(&StoreConfig { clean_file_forcibly_enable: false, ..config.clone() });
    assert_eq!((free(1999), files(&store)), (DiskLevel::Short, scarce));
    store.set_retention(&StoreConfig { delete_file_batch_max: 1, ..config.clone() });
    assert_eq!(free(1999), DiskLevel::Short);
    // The changes before may wake it once more.
    eventually("the cleaner has run", || files(&store) <= scarce - 2);
    assert!(files(&store) >= scarce - 3, "{} of {scarce} files", files(&store));
    assert_eq!(store.min_offset("T", 0) as usize + bodies(&store, "T", 0).len(), 100);
    put(&store, "T", 0, b"accepted");
    assert_eq!(free(999), DiskLevel::Full);
    let error = store.put(&message("T", 0, b"x", "")).unwrap_err();
    let expect = format!(
        "the disk is full but for 999 bytes, limit 1000 bytes (diskSpaceWarningLevelFreeBytes); free some space on {}",
        dir.path().join("commitlog").display()
    );
    assert_eq!(error.to_string(), expect);
    assert_eq!(store.status().disk_full, Some(error));
    // Between the two levels it stays as it is; then it heals.
    assert_eq!(free(1500), DiskLevel::Short);
    assert!(matches!(store.put(&message("T", 0, b"x", "")), Err(PutError::DiskFull { .. })));
    assert_eq!((free(2500), store.status().disk_full), (DiskLevel::Scarce, None));
    put(&store, "T", 0, b"x");
}

#[test]
fn of_several_paths_the_one_with_room_decides() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let paths = ["log-a", "log-b"].map(|name| dir.path().join(name));
    let config = StoreConfig {
        store_paths_commit_log: paths.to_vec(),
        disk_space_clean_forcibly_free_bytes: Some(50),
        disk_space_warning_level_free_bytes: Some(20),
        ..quiet(dir.path())
    };
    // The words of a path and what is free there; elsewhere there is room.
    *faults.usage.lock().unwrap() = Some(DiskUsage { used: 10, available: 90 });
    *faults.free.lock().unwrap() = vec![("log-b", 15)];
    let store = open_on(&faults, config).unwrap();
    fill(&store);
    store.clean_now().unwrap();
    let status = store.status();
    let levels: Vec<_> = status.disks.iter().map(|disk| (disk.usage.available, disk.level)).collect();
    assert_eq!(levels, [(90, DiskLevel::Plenty), (15, DiskLevel::Full), (90, DiskLevel::Plenty)]);
    assert_eq!((status.disk_level, status.disk_full), (DiskLevel::Plenty, None));
    assert!(fs::read_dir(&paths[1]).unwrap().next().is_none(), "files go where there is room");
    assert!(status.commit_log_files > 5);
    *faults.free.lock().unwrap() = vec![("log-a", 19), ("log-b", 15)];
    store.clean_now().unwrap();
    let error = store.put(&message("T", 0, b"x", "")).unwrap_err().to_string();
    assert!(error.contains("diskSpaceWarningLevelFreeBytes") && error.contains("log-"), "{error}");
    *faults.free.lock().unwrap() = vec![];
    *faults.usage.lock().unwrap() = Some(DiskUsage { used: 10, available: 49 });
    store.clean_now().unwrap();
    assert_eq!(store.status().disk_level, DiskLevel::Short);
}

/// Files that this process has open and that have no name any more below `root`: their lengths.
fn nameless(root: &Path) -> Vec<u64> {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let open = descriptors.filter_map(|path| Some((fs::read_link(&path).ok()?, fs::metadata(&path).ok()?)));
    open.filter(|(target, metadata)| metadata.nlink() == 0 && target.starts_with(root))
        .map(|(_, metadata)| metadata.len())
        .collect()
}

#[test]
fn deleted_files_are_given_back_in_steps_and_never_under_a_reader() {
    const MIB: usize = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        mapped_file_size_commit_log: 150 << 20,
        max_message_size: 60 * MIB,
        file_reserved_time_hours: 0,
        ..quiet(dir.path())
    };
    let (faults, store) = with(config);
    let store = store.unwrap();
    let body = vec![7; 50 * MIB];
    let first = put(&store, "T", 0, &body);
    for _ in 0..2 {
        put(&store, "T", 0, &body);
    }
    settle(&store);
    let held = store.record_at(first.physical_offset).unwrap();
    let name = dir.path().join("commitlog/00000000000000000000");
    assert!(name.exists());
    store.delete_expired_files();
    // The thread may have been first.
    eventually("deletion", || store.clean_now().is_ok() && store.status().min_offset > 0);
    assert!(!name.exists());
    assert_eq!(nameless(dir.path()), [150 << 20]);
    assert_eq!(store.status().deleted_bytes_held, 150 << 20);
    assert!(faults.lens.lock().unwrap().is_empty());
    assert!(MessageRecord::parse(&held).unwrap().body == body);
    // Nothing of it can be asked for any more.
    assert_eq!((store.min_offset("T", 0), store.max_offset("T", 0)), (2, 3));
    assert!(store.record_at(first.physical_offset).is_none());
    drop(held);
    eventually("release", || store.clean_now().is_ok() && nameless(dir.path()).is_empty());
    assert_eq!(*faults.lens.lock().unwrap(), [86 << 20, 22 << 20, 0]);
    assert_eq!(store.status().deleted_bytes_held, 0);
    assert!(bodies(&store, "T", 0) == [body]);
}

#[test]
fn queues_and_index_follow_the_log_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, store) = with(StoreConfig { file_reserved_time_hours: 0, ..quiet(dir.path()) });
    let store = store.unwrap();
    for at in 0..600 {
        let properties = format!("UNIQ_KEY\u{1}u{at}\u{2}");
        store.put(&message("T", at % 2, &[1; 300], &properties)).unwrap();
    }
    put(&store, "Old", 0, b"x");
    settle(&store);
    let count = |dir: PathBuf| fs::read_dir(dir).unwrap().count();
    let index_files = count(dir.path().join("index"));
    assert!(index_files > 1);
    let found = |at: i32| store.query_by_key("T", &format!("u{at}"), 1, 0, i64::MAX).messages.len();
    assert_eq!((found(0), found(599)), (1, 1));
    store.delete_expired_files();
    eventually("deletion", || store.clean_now().is_ok() && files(&store) == 1);
    let min = i64::try_from(store.status().min_offset).unwrap();
    for queue_id in 0..2 {
        let units = store.queue_units("T", queue_id, 0, 1000);
        assert_eq!(units[0].queue_offset, store.min_offset("T", queue_id));
        assert!(units.iter().all(|unit| i64::try_from(unit.physical_offset).unwrap() >= min));
        assert_eq!(store.max_offset("T", queue_id), 300);
        assert!(count(dir.path().join(format!("consumequeue/T/{queue_id}"))) < 6);
    }
    assert_eq!((found(0), found(599)), (0, 1));
    assert!(count(dir.path().join("index")) < index_files);
    // Index files are given back like those of the log.
    eventually("release", || store.clean_now().is_ok() && nameless(dir.path()).is_empty());
    assert!(faults.lens.lock().unwrap().len() > index_files - count(dir.path().join("index")));
}

#[test]
fn what_readers_hold_is_not_asked_for_twice() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        delete_file_batch_max: 1,
        disk_space_clean_forcibly_free_bytes: Some(20_000),
        ..quiet(dir.path())
    };
    let (faults, store) = with(config);
    let store = store.unwrap();
    *faults.usage.lock().unwrap() = Some(DiskUsage { used: 10, available: 10_000 });
    fill(&store);
    let all = files(&store);
    let held = store.record_at(0).unwrap();
    // One file makes enough room, as soon as it is given back.
    (0..5).for_each(|_| store.clean_now().unwrap());
    assert_eq!((files(&store), store.status().disk_level), (all - 1, DiskLevel::Short));
    drop(held);
    store.clean_now().unwrap();
    store.clean_now().unwrap();
    assert_eq!(files(&store), all - 2, "the disk says that there is none");
}

fn open_at(config: &StoreConfig, clock: &Arc<FakeClock>) -> MessageStore {
    let faults = Arc::new(Faults::default());
    *faults.usage.lock().unwrap() = Some(DiskUsage { used: 10, available: 90 });
    MessageStore::open_with(config.clone(), Arc::new(NoListener), faults, Arc::clone(clock) as _).unwrap()
}

#[test]
fn a_clock_set_ahead_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let every_hour = (0..24).map(|hour| hour.to_string()).collect::<Vec<_>>().join(";");
    let config = StoreConfig { delete_when: every_hour, file_reserved_time_hours: 72, ..quiet(dir.path()) };
    let now = SystemClock.now_ms();
    let clock = Arc::new(FakeClock::new(now));
    let store = open_at(&config, &clock);
    fill(&store);
    let all = files(&store);
    let clean = |store: &MessageStore| {
        store.clean_now().unwrap();
        files(store)
    };
    assert_eq!(clean(&store), all);
    // While it runs.
    clock.set(now + 10 * 365 * 24 * HOUR_MS);
    assert_eq!(clean(&store), all);
    clock.advance(71 * HOUR_MS);
    assert_eq!(clean(&store), all);
    clock.advance(2 * HOUR_MS);
    assert_eq!(clean(&store), 1);
    // Time passes all the same when the clock is set back.
    clock.set(now);
    fill(&store);
    let all = files(&store);
    assert_eq!(clean(&store), all);
    drop(store);
    // Before it starts: nobody could get the messages meanwhile.
    clock.set(now + 20 * 365 * 24 * HOUR_MS);
    let store = open_at(&config, &clock);
    assert_eq!(clean(&store), all);
    clock.advance(70 * HOUR_MS);
    assert_eq!(clean(&store), all);
    clock.advance(3 * HOUR_MS);
    assert!(clean(&store) < all);
}

#[test]
fn a_stop_while_files_are_deleted_does_not_wait_for_the_next_round() {
    let dir = tempfile::tempdir().unwrap();
    let config = quiet(dir.path());
    let clock = Arc::new(FakeClock::new(SystemClock.now_ms()));
    let store = Arc::new(open_at(&config, &clock));
    fill(&store);
    let all = files(&store);
    clock.advance(HOUR_MS);
    // The cleaner wakes, deletes one file, and waits before the next.
    store.set_retention(&StoreConfig {
        file_reserved_time_hours: 0,
        delete_when: (0..24).map(|hour| format!("{hour:02}")).collect::<Vec<_>>().join(";"),
        delete_commit_log_files_interval_ms: HOUR_MS.unsigned_abs(),
        ..config
    });
    eventually("a file is deleted", || files(&store) < all);
    let stopped = Arc::clone(&store);
    let stop = std::thread::spawn(move || stopped.shutdown());
    eventually("the store stops", || stop.is_finished());
    stop.join().unwrap();
}

#[test]
fn expired_files_go_in_the_hours_of_delete_when_only() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::new(SystemClock.now_ms()));
    let config = StoreConfig { file_reserved_time_hours: 1, ..quiet(dir.path()) };
    let store = open_at(&config, &clock);
    fill(&store);
    let all = files(&store);
    clock.advance(5 * HOUR_MS);
    store.clean_now().unwrap();
    assert_eq!(files(&store), all);
    // A day has every hour once.
    store.set_retention(&StoreConfig { delete_when: "04".to_owned(), ..config });
    let deleted_at = (0..24).filter(|_| {
        let before = files(&store);
        clock.advance(HOUR_MS);
        store.clean_now().unwrap();
        files(&store) < before
    });
    assert_eq!(deleted_at.count(), 1);
    assert_eq!(files(&store), 1);
}

#[test]
fn store_times_that_go_back_break_neither_lookups_nor_recovery() {
    const DAY_MS: i64 = 24 * HOUR_MS;
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { file_reserved_time_hours: u64::MAX, ..quiet(dir.path()) };
    let start = 1_700_000_000_000;
    let clock = Arc::new(FakeClock::new(start));
    let store = open_at(&config, &clock);
    let mut times = Vec::new();
    let put_some = |store: &MessageStore, times: &mut Vec<i64>| {
        for at in times.len()..times.len() + 80 {
            clock.advance(1000);
            let properties = format!("UNIQ_KEY\u{1}u{at}\u{2}");
            times.push(store.put(&message("T", 0, &[1; 500], &properties)).unwrap().store_timestamp);
        }
        settle(store);
    };
    let check = |store: &MessageStore, times: &[i64]| {
        let max = i64::try_from(times.len()).unwrap();
        assert_eq!((store.min_offset("T", 0), store.max_offset("T", 0)), (0, max));
        assert_eq!(bodies(store, "T", 0).len(), times.len());
        let (oldest, newest) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        for time in times.iter().flat_map(|time| [time - 1, *time, time + 1]).chain([0, i64::MAX]) {
            let lower = store.offset_by_time("T", 0, time, Boundary::Lower);
            let upper = store.offset_by_time("T", 0, time, Boundary::Upper);
            assert!((0..=max).contains(&lower) && (0..max).contains(&upper), "{time}: {lower} {upper}");
            // What is found is on the boundary: one before it is older, it is not.
            let at = |offset: i64| times[usize::try_from(offset).unwrap()];
            assert!(lower == max || at(lower) >= time, "{time}: {lower}");
            assert!(lower == 0 || at(lower - 1) < time, "{time}: {lower}");
        }
        assert_eq!(store.offset_by_time("T", 0, oldest - 1, Boundary::Lower), 0);
        assert_eq!(store.offset_by_time("T", 0, newest + 1, Boundary::Lower), max);
        for at in 0..times.len() {
            let found = store.query_by_key("T", &format!("u{at}"), 4, 0, i64::MAX).messages;
            assert_eq!(found.len(), 1, "u{at}");
        }
    };
    put_some(&store, &mut times);
    clock.set(start - 400 * DAY_MS);
    put_some(&store, &mut times);
    assert!(times[80] < times[0]);
    clock.set(start + DAY_MS);
    put_some(&store, &mut times);
    clock.set(start - DAY_MS);
    put_some(&store, &mut times);
    check(&store, &times);
    store.abandon();
    drop(store);
    // Killed.
    let store = open_at(&config, &clock);
    check(&store, &times);
    put_some(&store, &mut times);
    store.abandon();
    drop(store);
    // The power was lost: queues and index are built again from the checkpoint on.
    common::reboot(dir.path());
    let store = open_at(&config, &clock);
    check(&store, &times);
    drop(store);
    // Nothing of ours is left but the log: as a Java broker that was killed leaves it, or one that was stopped.
    for abort in [true, false] {
        fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
        common::forget_own_checkpoint(dir.path());
        if abort {
            fs::write(dir.path().join("abort"), b"1").unwrap();
        }
        let store = open_at(&config, &clock);
        check(&store, &times);
    }
}
