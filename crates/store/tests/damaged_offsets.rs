//! Records whose queue offset is damaged, which no checksum covers, when their queue has to be built from them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use codec::message::{MessageRecord, QUEUE_OFFSET_POSITION};
use common::{config, open, put, settle};
use store::{AllMessages, GetQuery, MessageStore};

/// Three messages of one queue; the queue offset of the one at `damaged` becomes `queue_offset`, and the queue is lost.
fn reopened(root: &Path, damaged: usize, queue_offset: i64) -> MessageStore {
    let store = open(config(root));
    let places = [b"0", b"1", b"2"].map(|body| put(&store, "T", 0, body).physical_offset);
    settle(&store);
    drop(store);
    let log = File::options().write(true).open(root.join("commitlog/00000000000000000000")).unwrap();
    log.write_all_at(&queue_offset.to_be_bytes(), places[damaged] + QUEUE_OFFSET_POSITION as u64).unwrap();
    fs::remove_dir_all(root.join("consumequeue/T")).unwrap();
    open(config(root))
}

/// What a consumer gets that begins with the first message.
fn bodies(store: &MessageStore) -> Vec<Vec<u8>> {
    let (mut bodies, mut at) = (Vec::new(), store.min_offset("T", 0));
    while at < store.max_offset("T", 0) {
        let result = store.get(&GetQuery::new("T", 0, at, 32), &AllMessages);
        assert!(result.next_begin_offset > at, "{at}: {result:?}");
        bodies.extend(result.messages.iter().map(|record| MessageRecord::parse(record).unwrap().body.to_vec()));
        at = result.next_begin_offset;
    }
    bodies
}

fn files(root: &Path) -> usize {
    fs::read_dir(root.join("consumequeue/T/0")).unwrap().count()
}

#[test]
fn no_gap_is_wider_than_the_log_before_it() {
    for queue_offset in [40, 1 << 24, 1 << 40, i64::MAX, -7] {
        let root = tempfile::tempdir().unwrap();
        let store = reopened(root.path(), 1, queue_offset);
        assert_eq!(bodies(&store), [b"0", b"2"], "{queue_offset}");
        assert_eq!((store.min_offset("T", 0), store.max_offset("T", 0)), (0, 3));
        assert_eq!(put(&store, "T", 0, b"3").queue_offset, 3);
        assert_eq!(files(root.path()), 1, "{queue_offset}");
    }
}

#[test]
fn no_queue_begins_where_no_file_can() {
    for queue_offset in [1 << 40, i64::MAX / 20, i64::MAX] {
        let root = tempfile::tempdir().unwrap();
        let store = reopened(root.path(), 0, queue_offset);
        assert_eq!(bodies(&store), [b"1", b"2"], "{queue_offset}");
        assert_eq!((store.min_offset("T", 0), store.max_offset("T", 0)), (1, 3));
        assert_eq!(files(root.path()), 1, "{queue_offset}");
    }
}
