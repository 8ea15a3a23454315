//! What the store's tests share: small files, messages, waiting.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod faults;

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::message::MessageRecord;
use store::{AllMessages, FlushDiskType, GetQuery, Message, MessageStore, NoListener, PutResult, StoreConfig};

pub const HOST: &str = "127.0.0.1:10911";

/// Small files, so that tests roll.
pub fn config(root: &Path) -> StoreConfig {
    StoreConfig {
        mapped_file_size_commit_log: 16 * 1024,
        mapped_file_size_consume_queue: 20 * 50,
        max_hash_slot_num: 100,
        max_index_num: 400,
        max_message_size: 8 * 1024,
        // The machine that runs the tests may be fuller than a broker's should.
        disk_space_warning_level_ratio: 90,
        ..StoreConfig::at(root)
    }
}

pub fn sync_config(root: &Path) -> StoreConfig {
    StoreConfig { flush_disk_type: FlushDiskType::SyncFlush, ..config(root) }
}

pub fn open(config: StoreConfig) -> MessageStore {
    MessageStore::open(config, Arc::new(NoListener)).unwrap()
}

pub fn message<'a>(topic: &'a str, queue_id: i32, body: &'a [u8], properties: &'a str) -> Message<'a> {
    let host: SocketAddr = HOST.parse().unwrap();
    Message {
        topic,
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties,
    }
}

pub fn put(store: &MessageStore, topic: &str, queue_id: i32, body: &[u8]) -> PutResult {
    store.put(&message(topic, queue_id, body, "")).unwrap()
}

/// Makes the next start believe that the machine was restarted: what was not flushed may be gone.
pub fn reboot(root: &Path) {
    wipe_checkpoint(root, 2072);
}

/// Makes the next start believe that a Java broker had the store last.
pub fn forget_own_checkpoint(root: &Path) {
    wipe_checkpoint(root, 2048);
}

fn wipe_checkpoint(root: &Path, position: u64) {
    let checkpoint = File::options().write(true).open(root.join("checkpoint")).unwrap();
    checkpoint.write_all_at(&[0; 8], position).unwrap();
}

/// Waits until everything put is dispatched.
pub fn settle(store: &MessageStore) {
    eventually("dispatch", || store.status().dispatch_behind_bytes == 0);
}

/// Waits until `is_so`, or fails.
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All bodies of a queue, in order; checks that the records say what their queue says.
pub fn bodies(store: &MessageStore, topic: &str, queue_id: i32) -> Vec<Vec<u8>> {
    let (mut bodies, mut at) = (Vec::new(), store.min_offset(topic, queue_id));
    while at < store.max_offset(topic, queue_id) {
        let result = store.get(&GetQuery::new(topic, queue_id, at, 32), &AllMessages);
        assert!(result.next_begin_offset > at, "{topic} {queue_id} {at}: {result:?}");
        for slice in &result.messages {
            let record = MessageRecord::parse(slice).unwrap();
            record.check_body_crc().unwrap();
            assert_eq!((record.topic, record.queue_id), (topic.as_bytes(), queue_id));
            assert_eq!(record.queue_offset, at);
            bodies.push(record.body.to_vec());
            at += 1;
        }
        at = result.next_begin_offset;
    }
    bodies
}

/// Polls a future on this thread until it is done.
pub fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let std::task::Poll::Ready(output) = std::pin::Pin::new(&mut future).poll(&mut context) {
            return output;
        }
        assert!(Instant::now() < deadline, "not within 20 s");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
