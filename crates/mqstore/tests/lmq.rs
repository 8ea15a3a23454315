//! Light queues: the log leads to their units too.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs;

use common::{assert_sound, check, config, dir, message, open, settle};
use mqstore::rebuild::{Settings, What, metadata, rebuild};
use mqstore::verify::Kind;
use store::StoreConfig;

#[test]
fn light_queues_are_checked_and_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let config = StoreConfig { enable_lmq: true, enable_multi_dispatch: true, ..config(root.path()) };
    let store = open(config.clone());
    for number in 0..90 {
        let properties = format!("INNER_MULTI_DISPATCH\u{1}%LMQ%all,%LMQ%{}\u{2}", number % 3);
        store.put(&message("TopicA", number % 2, b"body", &properties)).unwrap();
    }
    settle(&store);
    store.shutdown();
    drop(store);
    common::metadata(root.path());
    let report = assert_sound(root.path());
    assert_eq!((report.queues, report.units), (6, 270));
    // A unit that points to another message of the same queue.
    let queue = root.path().join("consumequeue/%LMQ%all/0/00000000000000000000");
    let mut bytes = fs::read(&queue).unwrap();
    bytes.copy_within(20..40, 40);
    fs::write(&queue, bytes).unwrap();
    let report = check(root.path());
    assert_eq!(report.findings.iter().map(|found| found.kind).collect::<Vec<_>>(), [Kind::QueueWrong]);
    fs::remove_dir_all(root.path().join("consumequeue/%LMQ%1")).unwrap();
    rebuild(&dir(root.path()), What::Queues, &Settings::default(), true).unwrap();
    let report = assert_sound(root.path());
    assert_eq!((report.queues, report.units), (6, 270));
    assert_eq!(open(config).max_offset("%LMQ%1", 0), 30);
    // Offsets of groups of light queues, too high and then broken, with a backup that is sound.
    let path = root.path().join("config/lmqConsumerOffset.json");
    let offsets = |of_all: i64| {
        format!(
            r#"{{"lmqOffsetTable":{{"%LMQ%all@%LMQ%g":{of_all},"%LMQ%1@%LMQ%g":7}},"offsetTable":{{"TopicA@g":{{0:3}}}}}}"#
        )
    };
    fs::write(&path, offsets(91)).unwrap();
    assert_eq!(
        check(root.path()).findings.iter().map(|found| found.kind).collect::<Vec<_>>(),
        [Kind::MetadataDisagrees]
    );
    metadata(&dir(root.path()), true).unwrap();
    let mended = fs::read_to_string(&path).unwrap();
    let tables = r#""lmqOffsetTable":{"%LMQ%1@%LMQ%g":7,"%LMQ%all@%LMQ%g":90},"offsetTable":{"TopicA@g":{0:3}}"#;
    assert!(mended.contains(tables), "{mended}");
    fs::write(path.with_extension("json.bak"), offsets(80)).unwrap();
    fs::write(&path, &mended[..40]).unwrap();
    assert_eq!(check(root.path()).findings.iter().map(|found| found.kind).collect::<Vec<_>>(), [Kind::MetadataBroken]);
    metadata(&dir(root.path()), true).unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains(&tables.replace("90", "80")));
    assert_sound(root.path());
}
