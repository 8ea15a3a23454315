//! Extensions of consume queues and queues of batches, Java's and ours: sound, damaged, and made anew.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use codec::batch_consume_queue::batch_units;
use common::{
    assert_serves, assert_sound, check, config_of_formats, contents, copy, dir, fill_formats, flip, java_formats, open,
    write,
};
use mqstore::cut::cut;
use mqstore::dump::{Form, Selection, dump};
use mqstore::files::StoreDir;
use mqstore::rebuild::{Settings, What, metadata, rebuild};
use mqstore::verify::{Kind, Report, verify, verify_while};
use store::QueueType;
use store::offline::StoreLock;

const MESSAGES: usize = 200;
const BATCHES: usize = 40;

/// [`common::metadata`] with the topic of batches.
fn settings(root: &Path) {
    common::metadata(root);
    let topics = fs::read_to_string(root.join("config/topics.json")).unwrap();
    let batch = r#""topicConfigTable":{"TopicBatch":{"topicName":"TopicBatch","readQueueNums":2,"writeQueueNums":2,"perm":6,"attributes":{"queue.type":"BatchCQ"}},"#;
    fs::write(root.join("config/topics.json"), topics.replace(r#""topicConfigTable":{"#, batch)).unwrap();
}

/// Our store with every format, stopped cleanly.
fn made(root: &Path) -> Vec<common::Put> {
    let store = open(config_of_formats(root));
    let puts = fill_formats(&store, MESSAGES, BATCHES);
    store.shutdown();
    settings(root);
    puts
}

fn sound(store: &StoreDir) -> Report {
    let report = verify(store).unwrap();
    assert!(report.sound, "{}", report.text());
    report
}

/// Files below a directory of a store.
fn files(root: &Path, name: &str) -> Vec<PathBuf> {
    let paths = contents(&root.join(name)).into_keys().map(|path| root.join(name).join(path));
    paths.collect()
}

fn counts(report: &Report) -> (u64, u64, u64) {
    (report.queues, report.units, report.extensions)
}

#[test]
fn javas_store_is_sound_and_stays_so_when_queues_and_index_are_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let store = java_formats(root.path());
    let before = counts(&sound(&store));
    assert_eq!(before, (7, 175, 170));
    let found = contents(root.path());
    let plan = rebuild(&store, What::Queues, &Settings::default(), false).unwrap().join("\n");
    for name in ["consumequeue ", "batchconsumequeue ", "consumequeue_ext "] {
        assert!(plan.contains(name), "{plan}");
    }
    assert_eq!(contents(root.path()), found, "a dry run changes nothing");
    let units = |root: &Path| contents(&root.join("batchconsumequeue"));
    let batches = units(root.path());
    rebuild(&store, What::Queues, &Settings::default(), true).unwrap();
    assert_eq!((counts(&sound(&store)), units(root.path())), (before, batches));
    rebuild(&store, What::Index, &Settings::default(), true).unwrap();
    assert_eq!(counts(&sound(&store)), before);
}

#[test]
fn our_store_is_sound_in_use_killed_and_stopped() {
    let root = tempfile::tempdir().unwrap();
    settings(root.path());
    fs::remove_file(root.path().join("config/consumerOffset.json")).unwrap();
    let store = open(config_of_formats(root.path()));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| fill_formats(&store, MESSAGES, BATCHES));
        while !writer.is_finished() {
            let report = check(root.path());
            assert!(report.sound, "{}", report.text());
        }
    });
    let killed = tempfile::tempdir().unwrap();
    copy(root.path(), killed.path());
    assert!(check(killed.path()).sound, "{}", check(killed.path()).text());
    store.shutdown();
    let root = tempfile::tempdir().unwrap();
    made(root.path());
    let report = assert_sound(root.path());
    assert_eq!(counts(&report), (7, (MESSAGES + BATCHES) as u64, MESSAGES as u64), "{}", report.text());
}

/// Damages a store in one place after the other; each time, something is found in that very file, and named as `kind`.
fn every_byte(root: &Path, store: &StoreDir, places: impl Iterator<Item = (PathBuf, u64)>, kind: Kind) {
    let mut number = 0;
    for (file, position) in places {
        let mask = 1 << (position % 8);
        flip(&file, position, mask);
        let report = verify(store).unwrap();
        let named = report.findings.iter().any(|finding| finding.kind == kind && finding.file == file);
        assert!(named, "bit {mask:#x} at {position} of {}: {}", file.display(), report.text());
        flip(&file, position, mask);
        number += 1;
    }
    assert!(number > 100, "{number} places in {}", root.display());
    sound(store);
}

#[test]
fn every_byte_of_a_unit_of_a_batch_counts() {
    let root = tempfile::tempdir().unwrap();
    let store = java_formats(root.path());
    let file = files(root.path(), "batchconsumequeue").remove(0);
    let len = batch_units(&fs::read(&file).unwrap()).filter(|unit| unit.unit.is_written()).count() as u64 * 46;
    // A unit whose offset no longer leads to its record may be one too many, too.
    let told = |report: &Report| report.has(Kind::QueueWrong) || report.has(Kind::QueueExtra);
    for position in 0..len {
        flip(&file, position, 1 << (position % 8));
        let report = verify(&store).unwrap();
        assert!(told(&report), "{position}: {}", report.text());
        assert!(report.findings.iter().all(|finding| finding.file == file), "{position}: {}", report.text());
        flip(&file, position, 1 << (position % 8));
    }
    sound(&store);
}

#[test]
fn every_byte_of_an_extension_counts() {
    let root = tempfile::tempdir().unwrap();
    let store = java_formats(root.path());
    let places = files(root.path(), "consumequeue_ext").into_iter().flat_map(|file| {
        let bytes = fs::read(&file).unwrap();
        // 20 bytes each, up to the filler.
        let units = bytes.chunks(20).take_while(|unit| unit.starts_with(&[0, 20])).count() as u64;
        (0..units * 20).step_by(7).map(move |position| (file.clone(), position))
    });
    every_byte(root.path(), &store, places, Kind::QueueExtension);
}

/// Damage, what it is told as, and that it is gone after a rebuild.
fn case(damage: impl Fn(&Path), kind: Kind) {
    let root = tempfile::tempdir().unwrap();
    let puts = made(root.path());
    let before = counts(&assert_sound(root.path()));
    damage(root.path());
    let report = check(root.path());
    let finding = report.findings.iter().find(|finding| finding.kind == kind);
    let finding = finding.unwrap_or_else(|| panic!("no {kind:?}: {}", report.text()));
    assert!(finding.remedy.contains("mqstore rebuild queues"), "{}", finding.remedy);
    rebuild(&dir(root.path()), What::Queues, &Settings::default(), true).unwrap();
    assert_eq!(counts(&assert_sound(root.path())), before);
    assert_serves(config_of_formats(root.path()), &puts);
    assert_sound(root.path());
}

#[test]
fn what_is_missing_or_too_much_is_told_and_made_anew() {
    let batch = |root: &Path, at: usize| files(root, "batchconsumequeue/TopicBatch/0").remove(at);
    case(|root| write(&batch(root, 0), 3 * 46, &[0; 46]), Kind::QueueWrong);
    case(|root| write(&batch(root, 1), 9 * 46, &[0; 46]), Kind::QueueMissing);
    case(|root| fs::remove_file(batch(root, 0)).unwrap(), Kind::QueueMissing);
    case(|root| fs::remove_file(batch(root, 1)).unwrap(), Kind::QueueMissing);
    case(|root| fs::remove_dir_all(root.join("batchconsumequeue/TopicBatch/1")).unwrap(), Kind::QueueMissing);
    case(|root| fs::write(batch(root, 0), [1; 100]).unwrap(), Kind::QueueFile);
    case(
        |root| {
            let unit = fs::read(batch(root, 0)).unwrap()[..46].to_vec();
            let more = batch(root, 1).with_file_name("00000000000000000920");
            fs::write(&more, [unit, vec![0; 460 - 46]].concat()).unwrap();
        },
        Kind::QueueExtra,
    );
    let extension = |root: &Path, at: usize| files(root, "consumequeue_ext/TopicA/1").remove(at);
    case(|root| write(&extension(root, 0), 40, &[0; 20]), Kind::QueueExtension);
    case(|root| fs::remove_file(extension(root, 0)).unwrap(), Kind::QueueExtension);
    case(
        |root| fs::File::options().write(true).open(extension(root, 0)).unwrap().set_len(500).unwrap(),
        Kind::QueueFile,
    );
}

#[test]
fn a_unit_that_is_in_the_way_of_a_start_is_told() {
    let root = tempfile::tempdir().unwrap();
    made(root.path());
    // Recovery reads the units of a file one behind the other, also those that no queue leads to.
    let queue = files(root.path(), "consumequeue/TopicA/1").remove(0);
    let extension = files(root.path(), "consumequeue_ext/TopicA/1").remove(0);
    let tags_code = i64::from_be_bytes(fs::read(&extension).unwrap()[2..10].try_into().unwrap());
    write(&queue, 12, &tags_code.to_be_bytes());
    assert_sound(root.path());
    write(&extension, 0, &[0; 2]);
    let report = check(root.path());
    let found = &report.findings[0];
    assert_eq!((found.kind, found.position, report.found()), (Kind::QueueExtension, Some(0), 1), "{}", report.text());
    assert_eq!(found.file, extension);
}

#[test]
fn a_queue_of_batches_that_is_behind_is_looked_at_again() {
    let root = tempfile::tempdir().unwrap();
    made(root.path());
    let _lock = StoreLock::take(root.path()).unwrap();
    let file = files(root.path(), "batchconsumequeue/TopicBatch/0").remove(1);
    let whole = fs::read(&file).unwrap();
    for gone in [4 * 46, 0] {
        let behind = || match gone {
            0 => fs::remove_file(&file).unwrap(),
            _ => write(&file, gone, &vec![0; whole.len() - usize::try_from(gone).unwrap()]),
        };
        behind();
        let mut looks = 0;
        let mut dispatch = || {
            looks += 1;
            fs::write(&file, &whole).unwrap();
            true
        };
        let report = verify_while(&dir(root.path()), &mut dispatch).unwrap();
        assert!(report.sound && report.live, "{}", report.text());
        assert_eq!((looks, report.units), (1, (MESSAGES + BATCHES) as u64));
    }
}

#[test]
fn a_topic_of_batches_that_was_deleted_is_no_damage() {
    for again in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let store = open(config_of_formats(root.path()));
        fill_formats(&store, MESSAGES, BATCHES);
        store.delete_topic("TopicBatch");
        if again {
            store.set_queue_type("TopicBatch", QueueType::Batch);
            fill_formats(&store, MESSAGES, BATCHES);
        }
        store.shutdown();
        if again {
            settings(root.path())
        } else {
            common::metadata(root.path())
        }
        let report = assert_sound(root.path());
        assert!(report.notes.iter().any(|note| note.contains("of a deleted topic")), "{:?}", report.notes);
    }
}

#[test]
fn a_cut_takes_batches_with_it() {
    let root = tempfile::tempdir().unwrap();
    let puts = made(root.path());
    let (keep, gone) = puts.split_at(120);
    cut(&dir(root.path()), gone[0].place.physical_offset, true).unwrap();
    metadata(&dir(root.path()), true).unwrap();
    assert_sound(root.path());
    assert_serves(config_of_formats(root.path()), keep);
    let store = open(config_of_formats(root.path()));
    fill_formats(&store, 40, 8);
    store.shutdown();
    assert_sound(root.path());
}

#[test]
fn topics_of_batches_get_their_settings_back() {
    let root = tempfile::tempdir().unwrap();
    let puts = made(root.path());
    let topics = root.path().join("config/topics.json");
    for without_queues in [false, true] {
        fs::remove_file(&topics).unwrap();
        if without_queues {
            for name in ["consumequeue", "batchconsumequeue", "consumequeue_ext"] {
                fs::remove_dir_all(root.path().join(name)).unwrap();
            }
        }
        metadata(&dir(root.path()), true).unwrap();
        let text = fs::read_to_string(&topics).unwrap();
        assert_eq!(text.matches("BatchCQ").count(), 1, "{text}");
    }
    rebuild(
        &dir(root.path()),
        What::Queues,
        &Settings { queue_file_bytes: Some(common::QUEUE_FILE), ..Settings::default() },
        true,
    )
    .unwrap();
    let report = assert_sound(root.path());
    assert_eq!(report.units, puts.len() as u64, "{}", report.text());
}

#[test]
fn messages_of_batches_are_dumped() {
    let root = tempfile::tempdir().unwrap();
    let puts = made(root.path());
    let of_queue: Vec<_> = puts.iter().filter(|put| put.topic == "TopicBatch" && put.queue_id == 1).collect();
    let lines = |from, to| {
        let mut out = Vec::new();
        let (topic, queue_id) = (Some("TopicBatch".to_owned()), Some(1));
        let wanted = Selection { topic, queue_id, from, to, limit: u64::MAX, ..Selection::default() };
        dump(&dir(root.path()), &wanted, Form::JsonLines, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().count()
    };
    assert_eq!(lines(None, None), of_queue.len());
    let first = of_queue[0].place.queue_offset;
    // The first record has two messages: each of its offsets leads to it.
    assert_eq!([0, 1, 2].map(|at| lines(Some(first + at), Some(first + at + 1))), [1, 1, 1]);
    assert_eq!(lines(Some(first), Some(first + 2)), 1);
}
