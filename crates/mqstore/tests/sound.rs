//! Sound stores, Java's and ours: nothing is found, nothing is changed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs;
use std::path::Path;

use common::{
    assert_sound, check, config, contents, copy, dir, fill, golden, made, metadata, open, queue_place, restore,
};
use mqstore::dump::{Form, Selection, dump};
use mqstore::inspect::inspect;
use mqstore::verify::{Kind, verify_while};
use serde_json::Value;
use store::offline::StoreLock;

#[test]
fn stores_of_java_are_sound_and_untouched() {
    for golden in golden() {
        let root = tempfile::tempdir().unwrap();
        restore(&golden, root.path());
        let before = contents(root.path());
        let report = assert_sound(root.path());
        let messages: Vec<Value> =
            serde_json::from_slice(&std::fs::read(golden.join("messages.json")).unwrap()).unwrap();
        assert!(report.records >= messages.len() as u64 && report.index_entries > 0, "{report:?}");
        assert!(report.units >= messages.len() as u64, "{report:?}");
        let text = inspect(&dir(root.path())).unwrap().text();
        assert!(text.contains("TopicTest  0: 0.."), "{text}");
        assert!(text.contains("topics.json"), "{text}");
        assert_eq!(contents(root.path()), before, "{}", golden.display());
    }
}

#[test]
fn dump_shows_what_java_clients_consumed() {
    for golden in golden() {
        let root = tempfile::tempdir().unwrap();
        restore(&golden, root.path());
        let mut out = Vec::new();
        dump(&dir(root.path()), &Selection { limit: u64::MAX, ..Selection::default() }, Form::JsonLines, &mut out)
            .unwrap();
        let dumped: Vec<Value> =
            String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let messages: Vec<Value> =
            serde_json::from_slice(&std::fs::read(golden.join("messages.json")).unwrap()).unwrap();
        for message in &messages {
            let found = dumped.iter().find(|found| found["physicalOffset"] == message["physicalOffset"]).unwrap();
            // Of a long body the recording has the beginning and the length.
            let (body, recorded) = (found["body"].as_str().unwrap(), message["body"].as_str().unwrap());
            assert!(body.starts_with(recorded), "{message}");
            assert_eq!(body.len() as u64, message["bodyLength"].as_u64().unwrap());
            assert_eq!((&found["queueId"], &found["queueOffset"]), (&message["queue"], &message["offset"]));
            assert_eq!(found["size"], message["storeSize"]);
        }
    }
}

#[test]
fn our_stores_are_sound_however_many_messages_they_have() {
    for count in [0, 1, 60, 400] {
        let root = tempfile::tempdir().unwrap();
        let puts = made(root.path(), count);
        if count < 60 {
            std::fs::remove_file(root.path().join("config/consumerOffset.json")).unwrap();
        }
        let before = contents(root.path());
        let report = assert_sound(root.path());
        assert_eq!((report.records, report.units), (puts.len() as u64, puts.len() as u64));
        assert_eq!(contents(root.path()), before);
    }
}

#[test]
fn a_store_in_use_and_one_that_was_killed_are_sound() {
    let root = tempfile::tempdir().unwrap();
    let store = open(config(root.path()));
    fill(&store, 100);
    metadata(root.path());
    let report = check(root.path());
    assert!(report.live && report.sound, "{}", report.text());
    // Writing goes on while the store is looked at.
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| fill(&store, 300));
        while !writer.is_finished() {
            let report = check(root.path());
            assert!(report.sound, "{}", report.text());
        }
    });
    let killed = tempfile::tempdir().unwrap();
    copy(root.path(), killed.path());
    let report = check(killed.path());
    assert!(!report.live && report.sound, "{}", report.text());
    assert!(report.notes.iter().any(|note| note.contains("not stopped cleanly")), "{:?}", report.notes);
    store.shutdown();
    assert_sound(root.path());
}

/// A copy of a store with `count` messages whose lock is held, as by a broker that writes nothing.
fn in_use(root: &Path, count: usize) -> StoreLock {
    made(root, count);
    StoreLock::take(root).unwrap()
}

#[test]
fn a_queue_that_is_behind_another_is_looked_at_again() {
    // In the middle of a file, and in one that is not there yet.
    for (count, unit) in [(90, 15), (105, 20)] {
        let root = tempfile::tempdir().unwrap();
        let _lock = in_use(root.path(), count);
        let (file, position) = queue_place(root.path(), "TopicA", 1, unit);
        let whole = fs::read(&file).unwrap();
        let behind = || match position {
            0 => fs::remove_file(&file).unwrap(),
            _ => common::write(&file, position, &vec![0; whole.len() - usize::try_from(position).unwrap()]),
        };
        behind();
        let mut looks = 0;
        let mut dispatch = || {
            looks += 1;
            if looks == 3 {
                fs::write(&file, &whole).unwrap();
            }
            true
        };
        let report = verify_while(&dir(root.path()), &mut dispatch).unwrap();
        assert!(report.sound && report.live, "{}", report.text());
        assert_eq!((looks, report.units), (3, count as u64));
        behind();
        let report = verify_while(&dir(root.path()), &mut || false).unwrap();
        assert!(report.has(Kind::QueueMissing), "{}", report.text());
    }
}

#[test]
fn what_a_queue_went_on_without_is_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let _lock = in_use(root.path(), 105);
    for unit in [5, 19] {
        let (file, position) = queue_place(root.path(), "TopicA", 1, unit);
        common::write(&file, position, &[0; 20]);
    }
    let report = verify_while(&dir(root.path()), &mut || panic!("waited for a queue that went on")).unwrap();
    assert_eq!(report.counts.get(&Kind::QueueMissing), Some(&2), "{}", report.text());
}

#[test]
fn index_entries_that_are_not_counted_yet_are_no_damage() {
    let root = tempfile::tempdir().unwrap();
    let _lock = in_use(root.path(), 100);
    let file = common::index_file(root.path());
    let counted = |bytes: &[u8]| u32::from_be_bytes(bytes[36..40].try_into().unwrap());
    let count = counted(&fs::read(&file).unwrap());
    for uncounted in [1, 2, 40] {
        common::write(&file, 36, &(count - uncounted).to_be_bytes());
        let report = assert_sound(root.path());
        assert!(report.live && report.index_entries > 0, "{}", report.text());
    }
}

#[test]
fn a_topic_that_was_deleted_and_made_anew_is_no_damage() {
    let root = tempfile::tempdir().unwrap();
    let store = open(config(root.path()));
    fill(&store, 200);
    store.delete_topic("TopicA");
    fill(&store, 60);
    store.shutdown();
    metadata(root.path());
    let report = assert_sound(root.path());
    assert_eq!((report.records, report.units), (260, 2 * 20 + 12 * 3 + 80 + 24 - 40), "{}", report.text());
}

#[test]
fn messages_are_found_in_every_way() {
    let root = tempfile::tempdir().unwrap();
    let puts = made(root.path(), 200);
    let dump = |selection: Selection| -> Vec<Value> {
        let mut out = Vec::new();
        dump(&dir(root.path()), &selection, Form::JsonLines, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = Selection { limit: u64::MAX, ..Selection::default() };
    assert_eq!(dump(all.clone()).len(), 200);
    assert_eq!(dump(Selection { limit: 7, ..all.clone() }).len(), 7);
    let topic = Some("TopicA".to_owned());
    assert_eq!(dump(Selection { topic: topic.clone(), ..all.clone() }).len(), 120);
    let by_queue = Selection { topic: topic.clone(), queue_id: Some(1), from: Some(10), to: Some(25), ..all.clone() };
    let found = dump(by_queue);
    assert_eq!(
        found.iter().map(|found| found["queueOffset"].as_i64().unwrap()).collect::<Vec<_>>(),
        (10..25).collect::<Vec<_>>()
    );
    let put = &puts[100];
    let key = Some(put.key.clone());
    for topic in [None, topic.clone()] {
        let found = dump(Selection { topic, key: key.clone(), ..all.clone() });
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["body"].as_str().unwrap().as_bytes(), put.body);
    }
    let id = found_id(&dump(Selection { key, ..all.clone() })[0]);
    assert_eq!(dump(Selection { id: Some(id), ..all.clone() })[0]["physicalOffset"], put.place.physical_offset);
    let time = put.place.store_timestamp;
    let found = dump(Selection { begin: Some(time), end: Some(time), ..all.clone() });
    let expected = puts.iter().filter(|put| put.place.store_timestamp == time).count();
    assert_eq!(found.len(), expected);
    assert_eq!(dump(Selection { begin: Some(time + 1_000_000), ..all }).len(), 0);
}

fn found_id(value: &Value) -> String {
    value["msgId"].as_str().unwrap().to_owned()
}
