//! Each kind of damage is found, named with file and position, and mended by the command that the finding names.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use codec::index::Layout;
use common::{
    ENTRIES, LOG_FILE, Put, QUEUE_FILE, SLOTS, assert_serves, assert_sound, check, config, contents, dir, fill, flip,
    index_file, log_place, made, message, open, queue_place, settle, write,
};
use mqstore::bridge::bridge;
use mqstore::cut::cut;
use mqstore::rebuild::{Settings, What, metadata, rebuild};
use mqstore::verify::{Finding, Kind, Report};

/// The finding of a kind.
fn finding(report: &Report, kind: Kind) -> &Finding {
    report
        .findings
        .iter()
        .find(|finding| finding.kind == kind)
        .unwrap_or_else(|| panic!("no {kind:?}: {}", report.text()))
}

#[track_caller]
fn assert_found(report: &Report, kind: Kind, place: &(PathBuf, u64)) {
    let found = finding(report, kind);
    assert_eq!((&found.file, found.position), (&place.0, Some(place.1)), "{}", report.text());
    assert!(!found.remedy.is_empty() && !report.sound);
}

fn queues(root: &Path) -> Vec<String> {
    let files = fs::read_dir(root.join("consumequeue")).into_iter().flatten().count();
    let lost = (files == 0).then_some(QUEUE_FILE);
    rebuild(&dir(root), What::Queues, &Settings { queue_file_bytes: lost, ..Settings::default() }, true).unwrap()
}

fn index(root: &Path) -> Vec<String> {
    let telling = fs::metadata(index_file(root)).unwrap().len() > 1000;
    let settings = if telling {
        Settings::default()
    } else {
        Settings { index_slots: Some(SLOTS), index_entries: Some(ENTRIES), ..Settings::default() }
    };
    rebuild(&dir(root), What::Index, &settings, true).unwrap()
}

/// Damages the queues of a store, and has them rebuilt.
fn queue_case(damage: impl Fn(&Path, &[Put]) -> (Kind, (PathBuf, Option<u64>))) {
    let root = tempfile::tempdir().unwrap();
    let puts = made(root.path(), 400);
    let (kind, place) = damage(root.path(), &puts);
    let report = check(root.path());
    let found = finding(&report, kind);
    assert_eq!((&found.file, found.position), (&place.0, place.1), "{}", report.text());
    assert!(found.remedy.contains("mqstore rebuild queues"), "{}", found.remedy);
    let before = contents(root.path());
    let plan = rebuild(&dir(root.path()), What::Queues, &Settings::default(), false).unwrap();
    assert!(plan.last().unwrap().contains("--apply"), "{plan:?}");
    assert_eq!(contents(root.path()), before, "a dry run changes nothing");
    queues(root.path());
    assert_sound(root.path());
    assert_serves(config(root.path()), &puts);
    assert_sound(root.path());
}

fn some((file, position): (PathBuf, u64)) -> (PathBuf, Option<u64>) {
    (file, Some(position))
}

#[test]
fn a_wrong_unit() {
    for (unit, at) in [(5, 3), (5, 10), (5, 15), (0, 7), (79, 6)] {
        queue_case(|root, _| {
            let (file, position) = queue_place(root, "TopicA", 1, unit);
            flip(&file, position + at, 1);
            (Kind::QueueWrong, (file, Some(position)))
        });
    }
}

#[test]
fn zeroed_units() {
    for units in [0..1, 5..6, 5..9, 0..20, 78..80] {
        queue_case(|root, _| {
            let place = queue_place(root, "TopicA", 2, units.start);
            let len = usize::try_from(units.end - units.start).unwrap() * 20;
            write(&place.0, place.1, &vec![0; len]);
            (Kind::QueueMissing, some(place))
        });
    }
}

#[test]
fn extra_units() {
    queue_case(|root, _| {
        let place = queue_place(root, "TopicA", 0, 80);
        fs::File::create(&place.0).unwrap().set_len(QUEUE_FILE).unwrap();
        let unit = codec::consume_queue::Unit { physical_offset: 1 << 40, size: 100, tags_code: 0 };
        write(&place.0, place.1, &unit.encode());
        (Kind::QueueExtra, some(place))
    });
}

#[test]
fn queue_files_that_are_missing_or_short() {
    queue_case(|root, _| {
        let (file, _) = queue_place(root, "TopicA", 0, 20);
        fs::remove_file(&file).unwrap();
        (Kind::QueueFile, (file, None))
    });
    queue_case(|root, _| {
        let (file, _) = queue_place(root, "TopicA", 0, 20);
        fs::File::options().write(true).open(&file).unwrap().set_len(111).unwrap();
        (Kind::QueueFile, (file, Some(111)))
    });
    queue_case(|root, _| {
        let place = queue_place(root, "TopicA", 1, 0);
        fs::remove_dir_all(place.0.parent().unwrap()).unwrap();
        (Kind::QueueMissing, some(place))
    });
    queue_case(|root, _| {
        fs::remove_dir_all(root.join("consumequeue")).unwrap();
        (Kind::QueueMissing, some(queue_place(root, "TopicA", 0, 0)))
    });
}

/// Damages the index of a store, and has it rebuilt.
fn index_case(kind: Kind, damage: impl Fn(&Path) -> (PathBuf, Option<u64>)) {
    let root = tempfile::tempdir().unwrap();
    let puts = made(root.path(), 150);
    let place = damage(root.path());
    let report = check(root.path());
    let found = finding(&report, kind);
    assert_eq!((&found.file, found.position), (&place.0, place.1), "{}", report.text());
    assert!(found.remedy.contains("mqstore rebuild index"), "{}", found.remedy);
    let queues_before = contents(&root.path().join("consumequeue"));
    index(root.path());
    assert_eq!(contents(&root.path().join("consumequeue")), queues_before);
    assert_sound(root.path());
    assert_serves(config(root.path()), &puts);
    assert_sound(root.path());
}

#[test]
fn a_damaged_index() {
    let layout = Layout { slots: SLOTS, entries: ENTRIES };
    for at in [0, 9, 14, 17] {
        index_case(if at == 17 { Kind::IndexChain } else { Kind::IndexEntry }, |root| {
            let file = index_file(root);
            let entry = layout.entry_position(40);
            flip(&file, entry + at, 4);
            if at == 17 {
                // Where the chain of an entry leads is told with the entry.
                let slot = layout.slot_position(3);
                write(&file, slot, &[0, 0, 1, 1]);
                return (file, Some(slot));
            }
            (file, Some(entry))
        });
    }
    index_case(Kind::IndexFile, |root| {
        let file = index_file(root);
        fs::File::options().write(true).open(&file).unwrap().set_len(20).unwrap();
        (file, Some(0))
    });
    index_case(Kind::IndexMissing, |root| {
        let file = index_file(root);
        // Without the last message's key and tag.
        let bytes = fs::read(&file).unwrap();
        let count = u32::from_be_bytes(bytes[36..40].try_into().unwrap()) - 2;
        write(&file, 36, &count.to_be_bytes());
        let last = usize::try_from(layout.entry_position(count - 1)).unwrap();
        write(&file, 24, &bytes[last + 4..last + 12]);
        (file, None)
    });
}

#[test]
fn a_damaged_body_is_told_and_can_be_stepped_over() {
    let root = tempfile::tempdir().unwrap();
    let mut puts = made(root.path(), 200);
    let put = puts.remove(77);
    let (file, position) = log_place(root.path(), put.place.physical_offset);
    flip(&file, position + 92, 0x20);
    let report = check(root.path());
    assert_found(&report, Kind::LogRecord, &(file.clone(), position));
    let what = &finding(&report, Kind::LogRecord).what;
    assert!(what.contains("checksum") && what.contains(&put.topic), "{what}");
    assert_eq!((report.records, report.bad_records, report.found()), (199, 1, 1), "{}", report.text());
    // Queues made anew still have it.
    queues(root.path());
    assert_eq!(check(root.path()).found(), 1);
    let before = contents(root.path());
    bridge(&dir(root.path()), true, false).unwrap();
    assert_eq!(contents(root.path()), before, "a dry run changes nothing");
    bridge(&dir(root.path()), true, true).unwrap();
    queues(root.path());
    index(root.path());
    assert_sound(root.path());
    assert_serves(config(root.path()), &puts);
}

/// Damages the log so that records cannot be read, and has the damage stepped over.
fn log_case(kind: Kind, damage: impl Fn(&Path, &Put) -> (PathBuf, u64)) {
    let root = tempfile::tempdir().unwrap();
    let puts = made(root.path(), 400);
    let place = damage(root.path(), &puts[177]);
    let report = check(root.path());
    assert_found(&report, kind, &place);
    let refused = rebuild(&dir(root.path()), What::Queues, &Settings::default(), true).unwrap_err().to_string();
    assert!(refused.contains("mqstore bridge"), "{refused}");
    bridge(&dir(root.path()), false, true).unwrap();
    queues(root.path());
    index(root.path());
    let mended = assert_sound(root.path());
    let left: Vec<Put> = puts
        .into_iter()
        .filter(|put| {
            let (file, position) = log_place(root.path(), put.place.physical_offset);
            let bytes = fs::read(file).unwrap();
            let at = usize::try_from(position).unwrap();
            codec::message::MessageRecord::parse(&bytes[at..]).is_ok_and(|record| record.body == put.body)
        })
        .collect();
    assert!(left.len() > 300 && left.len() as u64 == mended.units, "{} {}", left.len(), mended.text());
    assert_serves(config(root.path()), &left);
    assert_sound(root.path());
}

#[test]
fn damage_in_the_middle_of_the_log() {
    // totalSize, magic code, physicalOffset, body length, topic length.
    for at in [1, 5, 33, 84] {
        log_case(Kind::LogLost, |root, put| {
            let place = log_place(root, put.place.physical_offset);
            flip(&place.0, place.1 + at, 0x40);
            place
        });
    }
    // A zeroed page, and a zeroed end of a file.
    log_case(Kind::LogLost, |root, put| {
        let place = log_place(root, put.place.physical_offset);
        write(&place.0, place.1, &[0; 1500]);
        place
    });
    log_case(Kind::LogLost, |root, put| {
        let place = log_place(root, put.place.physical_offset);
        write(&place.0, place.1, &vec![0; usize::try_from(LOG_FILE - place.1).unwrap()]);
        place
    });
    log_case(Kind::LogFile, |root, put| {
        let (file, position) = log_place(root, put.place.physical_offset);
        fs::File::options().write(true).open(&file).unwrap().set_len(position).unwrap();
        (file, position)
    });
    log_case(Kind::LogLost, |root, put| {
        let (file, _) = log_place(root, put.place.physical_offset);
        let last = fs::read_dir(root.join("commitlog"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| *path < file)
            .max();
        let last = last.unwrap();
        fs::remove_file(file).unwrap();
        (last, LOG_FILE)
    });
}

#[test]
fn a_damaged_topic_or_queue_offset() {
    for at in [12 + 3, 20 + 7] {
        let root = tempfile::tempdir().unwrap();
        let puts = made(root.path(), 200);
        let (file, position) = log_place(root.path(), puts[100].place.physical_offset);
        flip(&file, position + at, 1);
        let report = check(root.path());
        let (queue, unit) =
            queue_place(root.path(), &puts[100].topic, puts[100].queue_id, puts[100].place.queue_offset);
        assert_found(&report, Kind::QueueExtra, &(queue, unit));
    }
    let root = tempfile::tempdir().unwrap();
    let puts = made(root.path(), 200);
    let put = &puts[100];
    let (file, position) = log_place(root.path(), put.place.physical_offset);
    flip(&file, position + 88 + put.body.len() as u64 + 1, 1);
    let report = check(root.path());
    let place = queue_place(root.path(), &put.topic, put.queue_id, put.place.queue_offset);
    assert_found(&report, Kind::QueueExtra, &place);
}

#[test]
fn the_checksum_over_the_whole_record_finds_every_bit() {
    let root = tempfile::tempdir().unwrap();
    let store = open(config(root.path()));
    fill(&store, 10);
    let properties = format!("KEYS\u{1}k\u{2}__CRC32#\u{1}{}\u{2}", "0".repeat(10));
    let put = store.put(&message("TopicA", 0, b"body", &properties)).unwrap();
    fill(&store, 10);
    settle(&store);
    store.shutdown();
    common::metadata(root.path());
    let (file, position) = log_place(root.path(), put.physical_offset);
    let (at, len) = (usize::try_from(position).unwrap(), put.len as usize);
    let bytes = fs::read(&file).unwrap();
    let mut crc = codec::message::body_crc(&bytes[at..at + len - 20]);
    let mut digits = Vec::new();
    for _ in 0..10 {
        digits.push(b'0' + u8::try_from(crc % 10).unwrap());
        crc /= 10;
    }
    write(&file, position + u64::from(put.len) - 11, &digits);
    assert_sound(root.path());
    for byte in 0..u64::from(put.len) {
        flip(&file, position + byte, 2);
        let report = check(root.path());
        assert!(report.has(Kind::LogRecord) || report.has(Kind::LogLost), "byte {byte}: {}", report.text());
        flip(&file, position + byte, 2);
    }
    assert_sound(root.path());
}

#[test]
fn a_torn_end_is_cut() {
    let root = tempfile::tempdir().unwrap();
    let mut puts = made(root.path(), 203);
    let put = puts.pop().unwrap();
    let (file, position) = log_place(root.path(), put.place.physical_offset);
    write(&file, position + 40, &vec![0; put.place.len as usize - 40]);
    let report = check(root.path());
    assert_found(&report, Kind::LogTail, &(file, position));
    assert!(report.has(Kind::Checkpoint) && report.has(Kind::QueueExtra), "{}", report.text());
    let at = put.place.physical_offset;
    assert!(finding(&report, Kind::LogTail).remedy.contains(&format!("--at {at} --apply")));
    let before = contents(root.path());
    cut(&dir(root.path()), at, false).unwrap();
    assert_eq!(contents(root.path()), before, "a dry run changes nothing");
    cut(&dir(root.path()), at, true).unwrap();
    assert_sound(root.path());
    assert_serves(config(root.path()), &puts);
}

#[test]
fn a_cut_leaves_what_was_before_it() {
    for (number, count) in [(1, 400), (150, 400), (399, 400), (250, 251)] {
        let root = tempfile::tempdir().unwrap();
        let mut puts = made(root.path(), count);
        let at = puts[number].place.physical_offset;
        cut(&dir(root.path()), at, true).unwrap();
        metadata(&dir(root.path()), true).unwrap();
        let report = assert_sound(root.path());
        assert_eq!((report.records, report.log_end), (number as u64, at), "{}", report.text());
        let cut_off = puts.split_off(number);
        assert_serves(config(root.path()), &puts);
        // New messages go where those that were cut had been.
        let store = open(config(root.path()));
        let first = &cut_off[0];
        let place = store.put(&message(&first.topic, first.queue_id, b"new", "")).unwrap();
        assert_eq!((place.physical_offset, place.queue_offset), (at, first.place.queue_offset));
        settle(&store);
        store.shutdown();
        assert_sound(root.path());
    }
}

#[test]
fn a_cut_at_no_record_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let puts = made(root.path(), 100);
    let (before, at) = (puts[49].place.physical_offset, puts[50].place.physical_offset);
    let error = cut(&dir(root.path()), at - 1, true).unwrap_err().to_string();
    assert!(error.contains(&format!("begins at {before}")), "{error}");
    for at in [0, 1 << 40] {
        let error = cut(&dir(root.path()), at, true).unwrap_err().to_string();
        assert!(error.contains("nothing would be left"), "{error}");
    }
    assert_sound(root.path());
}

#[test]
fn broken_metadata_is_made_anew() {
    for (name, content) in [
        (
            "topics.json",
            &b"{\"topicConfigTable\":{\"TopicA\":{\"topicName\":\"TopicA\",\"perm\":4,\"readQueueNums\":7},"[..],
        ),
        ("topics.json", b""),
        ("subscriptionGroup.json", b"{{{"),
        ("consumerOffset.json", b"{\"offsetTable\":{\"TopicA@GroupB\":{0:3,1:2},\"x@y\":{0:"),
        ("delayOffset.json", b"\0\0\0\0"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let puts = made(root.path(), 100);
        let path = root.path().join("config").join(name);
        fs::write(&path, content).unwrap();
        let report = check(root.path());
        let found = finding(&report, Kind::MetadataBroken);
        assert_eq!(found.file, path);
        assert!(found.remedy.contains("mqstore rebuild metadata"), "{}", found.remedy);
        let before = contents(root.path());
        let plan = metadata(&dir(root.path()), false).unwrap();
        assert!(plan.iter().any(|line| line.starts_with(name)), "{plan:?}");
        assert_eq!(contents(root.path()), before, "a dry run changes nothing");
        metadata(&dir(root.path()), true).unwrap();
        assert_sound(root.path());
        let text = fs::read_to_string(&path).unwrap();
        match name {
            "topics.json" => {
                let topics: protocol::body::topic::TopicConfigSerializeWrapper =
                    codec::json::from_slice(text.as_bytes()).unwrap();
                let readable = !content.is_empty();
                let topic = &topics.topic_config_table["TopicA"];
                assert_eq!((topic.perm, topic.read_queue_nums), if readable { (4, 7) } else { (6, 3) });
                assert_eq!(topics.topic_config_table["%RETRY%GroupB"].write_queue_nums, 2);
            }
            "subscriptionGroup.json" => assert!(text.contains(r#""groupName":"GroupB""#), "{text}"),
            "consumerOffset.json" => assert!(text.contains(r#""TopicA@GroupB":{0:3,1:2}"#), "{text}"),
            _ => assert!(text.contains("offsetTable"), "{text}"),
        }
        assert_serves(config(root.path()), &puts);
    }
}

#[test]
fn metadata_that_does_not_fit_the_queues() {
    let root = tempfile::tempdir().unwrap();
    made(root.path(), 100);
    let offsets = root.path().join("config/consumerOffset.json");
    fs::write(&offsets, r#"{"offsetTable":{"TopicA@GroupB":{0:3,1:999}}}"#).unwrap();
    fs::write(root.path().join("config/topics.json"), r#"{"topicConfigTable":{"TopicA":{"topicName":"TopicA"}}}"#)
        .unwrap();
    let report = check(root.path());
    assert_eq!(report.counts[&Kind::MetadataDisagrees], 2, "{}", report.text());
    metadata(&dir(root.path()), true).unwrap();
    assert_sound(root.path());
    assert!(fs::read_to_string(offsets).unwrap().contains("{0:3,1:20}"));
}

#[test]
fn what_a_killed_broker_had_not_dispatched_is_in_the_queues_after_a_rebuild() {
    for what in [What::Queues, What::Index] {
        let root = tempfile::tempdir().unwrap();
        let puts = made(root.path(), 100);
        // As a Java broker leaves it: a checkpoint that knows little, queues that end early.
        fs::remove_file(root.path().join("checkpoint")).unwrap();
        fs::write(root.path().join("abort"), b"").unwrap();
        for put in &puts[90..] {
            let (file, position) = queue_place(root.path(), &put.topic, put.queue_id, put.place.queue_offset);
            write(&file, position, &[0; 20]);
        }
        let report = assert_sound(root.path());
        assert_eq!(report.units, 90, "{}", report.text());
        rebuild(&dir(root.path()), what, &Settings::default(), true).unwrap();
        assert_eq!(assert_sound(root.path()).units, 100);
        assert_serves(config(root.path()), &puts);
    }
}

#[test]
fn stores_of_java_are_rebuilt_and_cut() {
    for golden in common::golden() {
        let root = tempfile::tempdir().unwrap();
        common::restore(&golden, root.path());
        let units = assert_sound(root.path()).units;
        let queues_before = contents(&root.path().join("consumequeue"));
        rebuild(&dir(root.path()), What::Queues, &Settings::default(), true).unwrap();
        assert_eq!(contents(&root.path().join("consumequeue")), queues_before, "{}", golden.display());
        rebuild(&dir(root.path()), What::Index, &Settings::default(), true).unwrap();
        assert_eq!(contents(&root.path().join("consumequeue")), queues_before, "{}", golden.display());
        assert_eq!(assert_sound(root.path()).units, units);
        fs::write(root.path().join("config/topics.json"), b"{").unwrap();
        fs::write(root.path().join("config/subscriptionGroup.json"), b"").unwrap();
        metadata(&dir(root.path()), true).unwrap();
        assert_sound(root.path());

        let messages = fs::read(golden.join("messages.json")).unwrap();
        let messages: Vec<serde_json::Value> = serde_json::from_slice(&messages).unwrap();
        let at = messages.iter().map(|message| message["physicalOffset"].as_u64().unwrap()).max().unwrap();
        cut(&dir(root.path()), at, true).unwrap();
        metadata(&dir(root.path()), true).unwrap();
        assert_eq!(assert_sound(root.path()).log_end, at);
        let store = open(store::StoreConfig {
            mapped_file_size_commit_log: common::GOLDEN_LOG_FILE,
            mapped_file_size_consume_queue: common::GOLDEN_QUEUE_FILE,
            ..config(root.path())
        });
        assert_eq!(store.status().max_offset, at);
        store.shutdown();
        assert_sound(root.path());
    }
}

#[test]
fn a_store_in_use_is_not_changed() {
    let root = tempfile::tempdir().unwrap();
    let store = open(config(root.path()));
    let puts = fill(&store, 50);
    let store_dir = dir(root.path());
    let at = puts[20].place.physical_offset;
    let refusals = [
        rebuild(&store_dir, What::Queues, &Settings::default(), true).unwrap_err(),
        rebuild(&store_dir, What::Index, &Settings::default(), false).unwrap_err(),
        metadata(&store_dir, true).unwrap_err(),
        cut(&store_dir, at, true).unwrap_err(),
        bridge(&store_dir, false, true).unwrap_err(),
    ];
    for refusal in refusals {
        assert!(refusal.to_string().contains(&format!("in use by process {}", std::process::id())), "{refusal}");
    }
    store.shutdown();
    assert_serves(config(root.path()), &puts);
}

#[test]
fn offsets_of_queues_without_messages_go_on_after_a_rebuild() {
    let root = tempfile::tempdir().unwrap();
    let store = open(config(root.path()));
    let first = store.put(&message("Rare", 0, b"x", "")).unwrap();
    store.put(&message("Rare", 0, b"y", "")).unwrap();
    fill(&store, 300);
    store.shutdown();
    common::metadata(root.path());
    let topics = fs::read_to_string(root.path().join("config/topics.json")).unwrap();
    let topics = topics.replace(r#""topicConfigTable":{"#, r#""topicConfigTable":{"Rare":{"topicName":"Rare"},"#);
    fs::write(root.path().join("config/topics.json"), topics).unwrap();
    let (file, _) = log_place(root.path(), first.physical_offset);
    fs::remove_file(file).unwrap();
    // The checkpoint still fits: the first file may expire at any time.
    assert_sound(root.path());
    queues(root.path());
    assert_sound(root.path());
    let store = open(config(root.path()));
    assert_eq!(store.put(&message("Rare", 0, b"z", "")).unwrap().queue_offset, 2);
}
