//! What a broker makes from the log beside queues and index: compaction logs and the timer's files. Sound, and damaged.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use codec::timer::{BLANK_LEN, SLOT_LEN, UNIT_LEN};
use common::{config, contents, copy, dir, message, open, settle};
use mqstore::verify::{Kind, Report, verify};
use store::timer::{TIMER_TOPIC, TimerConfig, TimerStore, TimerWake};
use store::{CompactionConfig, StoreConfig};

const TOPIC: &str = "Prices";
const TIMED: i64 = 40;
const TIMER_FILE: u64 = 1024;

fn compacting(root: &Path) -> StoreConfig {
    let compaction = CompactionConfig {
        compaction_mapped_file_size: 2300,
        compaction_cq_mapped_file_size: 460,
        topics: vec![TOPIC.to_owned()],
        ..CompactionConfig::default()
    };
    StoreConfig { compaction: Some(compaction), ..config(root) }
}

/// A store with a compaction log that was compacted, and messages that wait for an hour and more; stopped cleanly.
fn made(root: &Path) {
    let store = Arc::new(open(compacting(root)));
    let wake = Arc::new(TimerWake::default());
    let settings = TimerConfig { mapped_file_size_timer_log: TIMER_FILE, ..TimerConfig::default() };
    let timer = TimerStore::open(&store, &settings, Arc::clone(&wake)).unwrap();
    for number in 0..70 {
        let properties = format!("KEYS\u{1}k{}\u{2}", number % 7);
        store.put(&message(TOPIC, 0, format!("v{number}").as_bytes(), &properties)).unwrap();
    }
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    for number in 0..TIMED {
        // Several in a slot.
        let due = (now / 1000 + 3600 + number % 9) * 1000;
        let properties =
            format!("UNIQ_KEY\u{1}u{number}\u{2}TIMER_OUT_MS\u{1}{due}\u{2}REAL_TOPIC\u{1}T\u{2}REAL_QID\u{1}0\u{2}");
        store.put(&message(TIMER_TOPIC, 0, b"later", &properties)).unwrap();
        wake.arrived();
    }
    settle(&store);
    store.compact_now().unwrap();
    while timer.status().queue_offset < TIMED {
        wake.arrived();
        std::thread::yield_now();
    }
    timer.shutdown();
    store.shutdown();
    let topic =
        |name: &str| format!(r#""{name}":{{"topicName":"{name}","readQueueNums":1,"writeQueueNums":1,"perm":6}}"#);
    let topics = format!(r#"{{"topicConfigTable":{{{},{}}}}}"#, topic(TOPIC), topic(TIMER_TOPIC));
    fs::create_dir_all(root.join("config")).unwrap();
    fs::write(root.join("config/topics.json"), topics).unwrap();
}

fn checked(root: &Path) -> Report {
    verify(&dir(root)).unwrap()
}

fn first_file(root: &Path, name: &str) -> PathBuf {
    let below = root.join(name);
    below.join(contents(&below).into_keys().next().unwrap())
}

fn overwrite(path: &Path, position: u64, bytes: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, position).unwrap();
}

#[test]
fn what_the_store_makes_is_sound() {
    let root = tempfile::tempdir().unwrap();
    made(root.path());
    let report = checked(root.path());
    assert!(report.sound, "{}", report.text());
    // The newest of seven keys, and the seven of the last segment.
    assert_eq!((report.compacted, report.timer_units), (14, 40), "{}", report.text());
    assert!(report.text().contains("14 messages in compaction logs; 40 units of the timer"), "{}", report.text());
    let store = open(compacting(root.path()));
    let live = checked(root.path());
    assert!(live.sound && live.compacted == 0, "{}", live.text());
    store.abandon();
    drop(store);
    let unclean = checked(root.path());
    assert!(unclean.sound && (unclean.compacted, unclean.timer_units) == (14, 0), "{}", unclean.text());
}

#[test]
fn damage_to_compaction_logs_is_found() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("record", |root| overwrite(&first_file(root, "compaction/compactionLog"), 100, b"????")),
        ("no record is", |root| overwrite(&first_file(root, "compaction/compactionLog"), 4, &[1])),
        ("the unit before is that of", |root| {
            overwrite(&first_file(root, "compaction/compactionCq"), 28, &[0, 0, 0, 1])
        }),
        ("it leads to", |root| overwrite(&first_file(root, "compaction/compactionCq"), 7, &[9])),
        ("no file of this name", |root| fs::remove_file(first_file(root, "compaction/compactionCq")).unwrap()),
        ("JSON", |root| fs::write(root.join("compaction/position-checkpoint"), "{").unwrap()),
    ];
    let root = tempfile::tempdir().unwrap();
    made(root.path());
    for (what, damage) in damages {
        let damaged = tempfile::tempdir().unwrap();
        copy(root.path(), damaged.path());
        damage(damaged.path());
        let report = checked(damaged.path());
        assert!(report.has(Kind::Compaction) && report.text().contains(what), "{what}: {}", report.text());
    }
    // What was interrupted is no damage.
    let killed = tempfile::tempdir().unwrap();
    copy(root.path(), killed.path());
    fs::create_dir(killed.path().join("compaction/compactionLog").join(TOPIC).join("0/compacting")).unwrap();
    let report = checked(killed.path());
    assert!(report.sound && report.text().contains("was interrupted"), "{}", report.text());
}

#[test]
fn damage_to_the_timer_s_files_is_found() {
    let root = tempfile::tempdir().unwrap();
    made(root.path());
    let per_file = (TIMER_FILE - BLANK_LEN as u64) / UNIT_LEN as u64;
    assert!(contents(&root.path().join("timerlog")).len() as u64 >= 40 / per_file);
    let slot = {
        let wheel = fs::read(root.path().join("timerwheel")).unwrap();
        wheel.chunks(SLOT_LEN).position(|slot| slot.iter().any(|byte| *byte != 0)).unwrap() as u64 * SLOT_LEN as u64
    };
    type Damage = fn(&Path, u64);
    let damages: [(&str, Damage); 8] = [
        ("is one of Prices", |root, _| overwrite(&first_file(root, "timerlog"), 28, &[0; 8])),
        ("bytes, not", |root, _| overwrite(&first_file(root, "timerlog"), 38, &[7])),
        ("whose hash is not", |root, _| overwrite(&first_file(root, "timerlog"), 43, &[7])),
        ("link leads forward", |root, _| overwrite(&first_file(root, "timerlog"), 4, &[0; 8])),
        ("no unit can be read", |root, _| overwrite(&first_file(root, "timerlog"), 0, &[9])),
        ("messages from", |root, slot| overwrite(&root.join("timerwheel"), slot + 24, &[0, 0, 0, 99])),
        ("no slot of the wheel leads to", |root, slot| overwrite(&root.join("timerwheel"), slot, &[0; SLOT_LEN])),
        ("there is no wheel", |root, _| fs::remove_file(root.join("timerwheel")).unwrap()),
    ];
    for (what, damage) in damages {
        let damaged = tempfile::tempdir().unwrap();
        copy(root.path(), damaged.path());
        damage(damaged.path(), slot);
        let report = checked(damaged.path());
        assert!(report.has(Kind::Timer) && report.text().contains(what), "{what}: {}", report.text());
    }
    let flushed = tempfile::tempdir().unwrap();
    copy(root.path(), flushed.path());
    overwrite(&flushed.path().join("config/timercheck"), 8, &[0, 0, 1]);
    let report = checked(flushed.path());
    assert!(report.has(Kind::Timer) && report.text().contains("is on the disk up to"), "{}", report.text());
}
