//! What the tests of mqstore share: stores to damage, and opening them afterwards.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::message::{MessageRecord, sys_flag};
use mqstore::files::StoreDir;
use mqstore::verify::{Report, verify};
use store::{AllMessages, GetQuery, Message, MessageStore, NoListener, PutResult, StoreConfig};

pub const LOG_FILE: u64 = 8 * 1024;
pub const QUEUE_FILE: u64 = 20 * 20;
pub const SLOTS: u32 = 100;
pub const ENTRIES: u32 = 400;

/// A message that was put, and where it went.
#[derive(Debug, Clone)]
pub struct Put {
    pub topic: String,
    pub queue_id: i32,
    pub body: Vec<u8>,
    pub key: String,
    pub place: PutResult,
}

pub fn config(root: &Path) -> StoreConfig {
    StoreConfig {
        mapped_file_size_commit_log: LOG_FILE,
        mapped_file_size_consume_queue: QUEUE_FILE,
        max_hash_slot_num: SLOTS,
        max_index_num: ENTRIES,
        file_reserved_time_hours: 1_000_000,
        clean_file_forcibly_enable: false,
        ..StoreConfig::at(root)
    }
}

pub fn open(config: StoreConfig) -> MessageStore {
    MessageStore::open(config, Arc::new(NoListener)).unwrap()
}

pub fn message<'a>(topic: &'a str, queue_id: i32, body: &'a [u8], properties: &'a str) -> Message<'a> {
    let host: SocketAddr = "127.0.0.1:10911".parse().unwrap();
    Message {
        topic,
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties,
    }
}

/// Puts `count` messages with keys and tags into five queues of two topics; returns them in log order.
pub fn fill(store: &MessageStore, count: usize) -> Vec<Put> {
    let mut puts = Vec::new();
    for number in 0..count {
        let (topic, queue_id) = match number % 5 {
            queue @ 0..3 => ("TopicA", queue),
            queue => ("%RETRY%GroupB", queue - 3),
        };
        let body = format!("message {number} {}", "x".repeat(number % 97)).into_bytes();
        let key = format!("key-{number}");
        let properties = format!("KEYS\u{1}{key}\u{2}TAGS\u{1}tag{}\u{2}", number % 3);
        let queue_id = i32::try_from(queue_id).unwrap();
        let place = store.put(&message(topic, queue_id, &body, &properties)).unwrap();
        puts.push(Put { topic: topic.to_owned(), queue_id, body, key, place });
    }
    settle(store);
    puts
}

pub const BATCH_QUEUE_FILE: u64 = 46 * 10;
pub const EXT_FILE: u64 = 1024;

/// [`config`] with extensions of queues, and queues of batches for the topic `TopicBatch`.
pub fn config_of_formats(root: &Path) -> StoreConfig {
    StoreConfig {
        batch_topics: vec!["TopicBatch".to_owned()],
        mapper_file_size_batch_consume_queue: BATCH_QUEUE_FILE,
        enable_consume_queue_ext: true,
        mapped_file_size_consume_queue_ext: EXT_FILE,
        ..config(root)
    }
}

/// [`fill`] with `batches` records between in two queues of batches, of one message and of several.
pub fn fill_formats(store: &MessageStore, count: usize, batches: usize) -> Vec<Put> {
    let mut puts = Vec::new();
    for number in 0..batches {
        puts.extend(fill(store, count / batches.max(1)));
        let messages = number % 4 + 1;
        let (body, key) = (format!("{messages} messages, {number}").into_bytes(), format!("batch-{number}"));
        let properties = format!("KEYS\u{1}{key}\u{2}TAGS\u{1}tag\u{2}INNER_NUM\u{1}{messages}\u{2}");
        let queue_id = i32::try_from(number % 2).unwrap();
        let is_batch = if messages > 1 { sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP } else { 0 };
        let message = Message { sys_flag: is_batch, ..message("TopicBatch", queue_id, &body, &properties) };
        let place = store.put(&message).unwrap();
        puts.push(Put { topic: "TopicBatch".to_owned(), queue_id, body, key, place });
    }
    settle(store);
    puts
}

/// A copy of the store that Java wrote with every format, its files as long as they were.
pub fn java_formats(root: &Path) -> StoreDir {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/5.5.0-formats"), root);
    let lens = [
        ("log-a", 16_384),
        ("log-b", 16_384),
        ("consumequeue", 20_000),
        ("consumequeue_ext", EXT_FILE),
        ("batchconsumequeue", BATCH_QUEUE_FILE),
        ("index", 40 + 100 * 4 + 400 * 20),
    ];
    for (name, len) in lens {
        for (path, _) in contents(&root.join(name)) {
            File::options().write(true).open(root.join(name).join(path)).unwrap().set_len(len).unwrap();
        }
    }
    StoreDir::new(root, &["log-a", "log-b"].map(|name| root.join(name))).unwrap()
}

pub fn settle(store: &MessageStore) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.status().dispatch_behind_bytes != 0 {
        assert!(Instant::now() < deadline, "not dispatched within 20 s");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A store with `count` messages and metadata, stopped cleanly.
pub fn made(root: &Path, count: usize) -> Vec<Put> {
    let store = open(config(root));
    let puts = fill(&store, count);
    store.shutdown();
    metadata(root);
    puts
}

pub fn metadata(root: &Path) {
    let config = root.join("config");
    fs::create_dir_all(&config).unwrap();
    let topic = |name: &str, queues: i32| {
        format!(
            r#""{name}":{{"attributes":{{}},"order":false,"perm":6,"readQueueNums":{queues},"topicFilterType":"SINGLE_TAG","topicName":"{name}","topicSysFlag":0,"writeQueueNums":{queues}}}"#
        )
    };
    let topics = format!(
        r#"{{"dataVersion":{{"counter":2,"stateVersion":0,"timestamp":5}},"topicConfigTable":{{{},{}}}}}"#,
        topic("TopicA", 3),
        topic("%RETRY%GroupB", 2)
    );
    fs::write(config.join("topics.json"), topics).unwrap();
    fs::write(
        config.join("consumerOffset.json"),
        r#"{"offsetTable":{"TopicA@GroupB":{0:3,1:2},"%RETRY%GroupB@GroupB":{0:1}}}"#,
    )
    .unwrap();
    fs::write(
        config.join("subscriptionGroup.json"),
        r#"{"dataVersion":{"counter":1},"forbiddenTable":{},"subscriptionGroupTable":{"GroupB":{"groupName":"GroupB","retryMaxTimes":5}}}"#,
    )
    .unwrap();
}

pub fn dir(root: &Path) -> StoreDir {
    StoreDir::new(root, &[]).unwrap()
}

pub fn check(root: &Path) -> Report {
    verify(&dir(root)).unwrap()
}

pub fn assert_sound(root: &Path) -> Report {
    let report = check(root);
    assert!(report.sound, "{}", report.text());
    report
}

/// Every message is served as it was put, by queue and by key.
pub fn assert_serves(config: StoreConfig, puts: &[Put]) {
    let store = open(config);
    for put in puts {
        let query = GetQuery::new(&put.topic, put.queue_id, put.place.queue_offset, 1);
        let found = store.get(&query, &AllMessages);
        let slice = found.messages.first().unwrap_or_else(|| panic!("{put:?}: {:?}", found.status));
        let record = MessageRecord::parse(slice).unwrap();
        record.check_body_crc().unwrap();
        assert_eq!((record.body, record.topic), (put.body.as_slice(), put.topic.as_bytes()));
        let by_key = store.query_by_key(&put.topic, &put.key, 64, 0, i64::MAX);
        let at: Vec<u64> = by_key.messages.iter().map(store::MappedSlice::physical_offset).collect();
        assert!(at.contains(&put.place.physical_offset), "{put:?} by key: {at:?}");
    }
    store.shutdown();
}

/// The file of the log with an offset, and the position in it.
pub fn log_place(root: &Path, offset: u64) -> (PathBuf, u64) {
    let first = offset - offset % LOG_FILE;
    (root.join(format!("commitlog/{first:020}")), offset - first)
}

/// The file of a queue with a unit, and the position in it.
pub fn queue_place(root: &Path, topic: &str, queue_id: i32, unit: i64) -> (PathBuf, u64) {
    let position = u64::try_from(unit).unwrap() * 20;
    let first = position - position % QUEUE_FILE;
    (root.join(format!("consumequeue/{topic}/{queue_id}/{first:020}")), position - first)
}

pub fn index_file(root: &Path) -> PathBuf {
    fs::read_dir(root.join("index")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap()
}

pub fn write(path: &Path, position: u64, bytes: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, position).unwrap();
}

pub fn flip(path: &Path, position: u64, mask: u8) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ mask], position).unwrap();
}

/// All files below a directory and their content, but for the lock.
pub fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(dir: &Path, root: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// A copy of a directory.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Directories recorded from Java.
pub fn golden() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut stores = Vec::new();
    for version in ["4.5.2", "4.9.7", "5.5.0"] {
        for entry in fs::read_dir(golden.join(version)).unwrap() {
            let path = entry.unwrap().path();
            if path.join("commitlog").is_dir() {
                stores.push(path);
            }
        }
    }
    stores.sort();
    assert!(stores.len() >= 3, "{stores:?}");
    stores
}

pub const GOLDEN_LOG_FILE: u64 = 1 << 20;
pub const GOLDEN_QUEUE_FILE: u64 = 20 * 1000;

/// A copy of a recorded store with the lengths that the files had.
pub fn restore(golden: &Path, to: &Path) {
    copy(golden, to);
    let lengthen = |dir: &Path, len: u64| {
        for (path, _) in contents(dir) {
            File::options().write(true).open(dir.join(path)).unwrap().set_len(len).unwrap();
        }
    };
    lengthen(&to.join("commitlog"), GOLDEN_LOG_FILE);
    lengthen(&to.join("consumequeue"), GOLDEN_QUEUE_FILE);
    lengthen(&to.join("index"), 40 + 100 * 4 + 400 * 20);
}
