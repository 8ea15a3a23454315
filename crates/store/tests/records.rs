//! Forms of records that are not everyday's: with a CRC of the whole record, of long topics, of IPv6 hosts.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;

use codec::message::{MessageRecord, MessageVersion, PROP_CRC_LEN, body_crc, parse_message_id, sys_flag};
use common::{bodies, config, message, open, settle};
use store::{Message, MessageStore, PutError, StoreConfig};

/// Position of the boot hash in our part of the checkpoint.
const BOOT_POSITION: u64 = 2072;

fn crc_config(root: &Path) -> StoreConfig {
    StoreConfig { enabled_append_prop_crc: true, mapped_file_size_commit_log: 64 * 1024, ..config(root) }
}

/// Makes the next start believe that the machine went down: what was not flushed may be damaged.
fn lose_power(store: MessageStore, root: &Path) {
    store.abandon();
    drop(store);
    let checkpoint = fs::File::options().write(true).open(root.join("checkpoint")).unwrap();
    checkpoint.write_all_at(&[0; 8], BOOT_POSITION).unwrap();
}

#[test]
fn records_end_in_a_crc_of_all_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(crc_config(dir.path()));
    let properties = ["", "a\u{1}b", "a\u{1}b\u{2}", "__CRC32#\u{1}1234567890\u{2}a\u{1}b\u{2}"];
    for properties in properties {
        store.put(&message("T", 0, b"single", properties)).unwrap();
    }
    let batch: Vec<_> = properties.iter().map(|properties| message("T", 0, b"batch", properties)).collect();
    store.put_batch(&batch).unwrap();
    settle(&store);
    for (at, unit) in store.queue_units("T", 0, 0, 100).iter().enumerate() {
        let bytes = store.record_at(unit.physical_offset).unwrap();
        let record = MessageRecord::parse(&bytes).unwrap();
        assert_eq!(record.prop_crc(), Some(body_crc(&bytes[..bytes.len() - PROP_CRC_LEN])));
        assert_eq!((record.queue_offset, record.physical_offset), (at as i64, unit.physical_offset as i64));
        let text = record.properties_str();
        assert_eq!(text.matches("__CRC32#").count(), 1, "{text}");
        assert_eq!(record.property("a"), Some("b").filter(|_| at % 4 != 0));
    }
    let most = "p".repeat(32_767 - PROP_CRC_LEN);
    store.put(&message("T", 0, b"", &most[..most.len() - 1])).unwrap();
    let error = store.put(&message("T", 0, b"", &most)).unwrap_err();
    assert!(matches!(error, PutError::PropertiesTooLarge { .. }), "the \\u0002 before the CRC counts: {error}");
}

/// Stores five messages, loses power and damages a property of the fourth; returns what the next start finds.
fn recovered(append: StoreConfig, recover: StoreConfig) -> usize {
    let root = append.store_path_root_dir.clone();
    let store = open(append);
    let places: Vec<_> =
        (0..5).map(|_| store.put(&message("T", 0, b"body", "KEYS\u{1}key-one\u{2}")).unwrap()).collect();
    settle(&store);
    let log = root.join("commitlog/00000000000000000000");
    lose_power(store, &root);
    let bytes = fs::read(&log).unwrap();
    let from = usize::try_from(places[3].physical_offset).unwrap();
    let at = from + bytes[from..].windows(7).position(|part| part == b"key-one").unwrap();
    fs::File::options().write(true).open(&log).unwrap().write_all_at(b"X", at as u64).unwrap();
    let store = open(recover);
    bodies(&store, "T", 0).len()
}

#[test]
fn recovery_checks_the_crc_where_it_is_written() {
    let check = |append: bool, recover: bool, force: bool, expect: usize| {
        let dir = tempfile::tempdir().unwrap();
        let append = StoreConfig { enabled_append_prop_crc: append, ..config(dir.path()) };
        let recover =
            StoreConfig { enabled_append_prop_crc: recover, force_verify_prop_crc: force, ..config(dir.path()) };
        assert_eq!(recovered(append, recover), expect);
    };
    check(true, true, false, 3);
    check(true, false, true, 3);
    check(true, false, false, 5);
    // Records that have none are checked by bodyCRC, which does not cover properties; none of them is given up.
    check(false, true, true, 5);
}

#[test]
fn a_stale_crc_of_an_earlier_life_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    store.put(&message("T", 0, b"retried", "__CRC32#\u{1}1234567890\u{2}")).unwrap();
    lose_power(store, dir.path());
    assert_eq!(bodies(&open(config(dir.path())), "T", 0), [b"retried"]);
}

#[test]
fn retry_topics_may_be_long() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(config(dir.path()));
    let long = format!("%RETRY%{}", "g".repeat(248));
    let short = format!("%RETRY%{}", "g".repeat(120));
    for topic in [&long, &short] {
        let place = store.put(&message(topic, 0, b"again", "")).unwrap();
        let bytes = store.record_at(place.physical_offset).unwrap();
        let record = MessageRecord::parse(&bytes).unwrap();
        let version = if topic.len() > 127 { MessageVersion::V2 } else { MessageVersion::V1 };
        assert_eq!((record.version, record.topic), (version, topic.as_bytes()));
    }
    lose_power(store, dir.path());
    let store = open(config(dir.path()));
    assert_eq!(bodies(&store, &long, 0), [b"again"]);
    drop(store);
    let refused = |config: StoreConfig, topic: &str, expect: usize| {
        let error = open(config).put(&message(topic, 0, b"", "")).unwrap_err();
        assert_eq!(error, PutError::TopicTooLong { len: topic.len(), limit: expect });
    };
    refused(config(dir.path()), &format!("{long}g"), 255);
    refused(config(dir.path()), &"t".repeat(128), 127);
    refused(config(dir.path()), &format!("%DLQ%{}", "g".repeat(123)), 127);
    let shorter = StoreConfig { max_topic_length: 10, ..config(dir.path()) };
    refused(shorter, "01234567890", 10);
    let longer = StoreConfig { max_topic_length: 1000, ..config(dir.path()) };
    refused(longer, &"t".repeat(128), 127);
    let first_form_only = StoreConfig { auto_message_version_on_topic_len: false, ..config(dir.path()) };
    refused(first_form_only, &long, 127);
}

#[test]
fn hosts_of_either_kind_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let hosts: [SocketAddr; 2] = ["10.1.2.3:4".parse().unwrap(), "[2001:db8::1]:10911".parse().unwrap()];
    let store = open(crc_config(dir.path()));
    let pairs = [(0, 0), (0, 1), (1, 0), (1, 1)];
    for (born, host) in pairs {
        // Flags that a client has set are not believed.
        let sys_flag = sys_flag::BORNHOST_V6 | sys_flag::STOREHOST_V6 | sys_flag::COMPRESSED;
        let message = Message {
            born_host: hosts[born],
            store_host: hosts[host],
            sys_flag,
            ..message("T", 0, b"body", "KEYS\u{1}k\u{2}")
        };
        store.put(&message).unwrap();
    }
    lose_power(store, dir.path());
    let store = open(crc_config(dir.path()));
    for (at, (born, host)) in pairs.into_iter().enumerate() {
        let unit = &store.queue_units("T", 0, at as i64, 1)[0];
        let bytes = store.record_at(unit.physical_offset).unwrap();
        let record = MessageRecord::parse(&bytes).unwrap();
        assert_eq!((record.born_host, record.store_host), (hosts[born], hosts[host]));
        assert_eq!(record.sys_flag & sys_flag::COMPRESSED, sys_flag::COMPRESSED);
        assert!(record.store_timestamp > 0 && record.body == b"body");
        record.check_prop_crc(&bytes).unwrap();
        let (address, offset) = parse_message_id(&record.offset_message_id()).unwrap();
        assert_eq!((address, offset), (hosts[host], record.physical_offset));
    }
}
