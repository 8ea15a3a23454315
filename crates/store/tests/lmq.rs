//! Light queues: messages that are in queues of other topics too.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use codec::message::{MessageRecord, sys_flag};
use codec::properties::names;
use common::{bodies, config, eventually, forget_own_checkpoint, message, open, reboot, settle};
use proptest::prelude::*;
use store::{
    AllMessages, Arrival, GetMessageStatus, GetQuery, MessageArrivingListener, MessageStore, NoListener, PutError,
    StoreConfig,
};

fn lmq_config(root: &Path) -> StoreConfig {
    StoreConfig { enable_lmq: true, enable_multi_dispatch: true, ..config(root) }
}

fn naming(lmqs: &str) -> String {
    format!("TAGS\u{1}a\u{2}INNER_MULTI_DISPATCH\u{1}{lmqs}\u{2}")
}

fn put(store: &MessageStore, body: &[u8], lmqs: &str) -> Result<(), PutError> {
    store.put(&message("T", 1, body, &naming(lmqs))).map(drop)
}

/// The bodies in a light queue, in order. Each record says that it is there.
fn light(store: &MessageStore, lmq: &str) -> Vec<Vec<u8>> {
    let (mut bodies, mut at) = (Vec::new(), store.min_offset(lmq, 0));
    while at < store.max_offset(lmq, 0) {
        let result = store.get(&GetQuery::new(lmq, 0, at, 32), &AllMessages);
        assert_eq!(result.status, GetMessageStatus::Found, "{lmq} {at}: {result:?}");
        for slice in &result.messages {
            let record = MessageRecord::parse(slice).unwrap();
            assert_eq!(place(&record, lmq), Some(at), "{lmq}");
            bodies.push(record.body.to_vec());
            at += 1;
        }
        assert_eq!(result.next_begin_offset, at);
    }
    bodies
}

fn place(record: &MessageRecord<'_>, lmq: &str) -> Option<i64> {
    let lists =
        [names::INNER_MULTI_DISPATCH, names::INNER_MULTI_QUEUE_OFFSET].map(|name| record.property(name).unwrap());
    let [names, offsets] = lists.map(|list| list.trim_end_matches(',').split(',').collect::<Vec<_>>());
    assert_eq!(names.len(), offsets.len());
    let at = names.iter().position(|name| *name == lmq)?;
    offsets[at].parse().ok()
}

#[test]
fn a_message_is_in_each_queue_it_names() {
    #[derive(Default)]
    struct Told(Mutex<Vec<(String, i32, i64)>>);
    impl MessageArrivingListener for Told {
        fn arriving(&self, arrival: &Arrival<'_>) {
            self.0.lock().unwrap().push((arrival.topic.to_owned(), arrival.queue_id, arrival.queue_offset));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let told = Arc::new(Told::default());
    let store = MessageStore::open(lmq_config(dir.path()), Arc::clone(&told) as _).unwrap();
    put(&store, b"0", "%LMQ%a").unwrap();
    put(&store, b"1", "%LMQ%b,%LMQ%a,").unwrap();
    common::put(&store, "T", 1, b"2");
    settle(&store);
    assert_eq!(light(&store, "%LMQ%a"), [b"0", b"1"]);
    assert_eq!(light(&store, "%LMQ%b"), [b"1"]);
    assert_eq!(bodies(&store, "T", 1), [b"0", b"1", b"2"]);
    let all = [("T", 1, 0), ("%LMQ%a", 0, 0), ("T", 1, 1), ("%LMQ%b", 0, 0), ("%LMQ%a", 0, 1), ("T", 1, 2)];
    let all = all.map(|(topic, queue_id, at)| (topic.to_owned(), queue_id, at));
    eventually("all told", || told.0.lock().unwrap().len() == all.len());
    assert_eq!(*told.0.lock().unwrap(), all);
    let record = store.get(&GetQuery::new("%LMQ%a", 0, 1, 1), &AllMessages).messages;
    let record = MessageRecord::parse(&record[0]).unwrap();
    let expect = "TAGS\u{1}a\u{2}INNER_MULTI_DISPATCH\u{1}%LMQ%b,%LMQ%a,\u{2}INNER_MULTI_QUEUE_OFFSET\u{1}0,1\u{2}";
    assert_eq!((record.topic, record.queue_id, record.queue_offset), (&b"T"[..], 1, 1));
    assert_eq!(std::str::from_utf8(record.properties), Ok(expect));
    assert_eq!(store.store_time("%LMQ%a", 0, 1), Some(record.store_timestamp));
    // It goes on where it was; as another kind of queue would.
    store.shutdown();
    drop(store);
    let store = open(lmq_config(dir.path()));
    assert_eq!(store.max_offset("%LMQ%a", 0), 2);
    put(&store, b"3", "%LMQ%a").unwrap();
    settle(&store);
    assert_eq!(light(&store, "%LMQ%a"), [b"0", b"1", b"3"]);
}

#[test]
fn what_cannot_be_a_light_queue_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(lmq_config(dir.path()));
    let long = format!("%LMQ%{}", "x".repeat(251));
    for names in ["a", "%LMQ%a,b", "b,%LMQ%a", "%LMQ%a,,%LMQ%b", "%LMQ%a/b", "%LMQ%a,%LMQ%a", &long] {
        assert!(matches!(put(&store, b"body", names), Err(PutError::Illegal { .. })), "{names}");
    }
    let itself = store.put(&message("%LMQ%a", 0, b"body", &naming("%LMQ%b,%LMQ%a")));
    assert!(matches!(itself, Err(PutError::Illegal { .. })));
    for names in ["", " "] {
        put(&store, b"body", names).unwrap();
    }
    assert_eq!(store.status().puts, 2);
    assert_eq!(store.topics().iter().filter(|(topic, _)| topic.starts_with("%LMQ%")).count(), 0);
}

#[test]
fn a_quota_holds_for_new_queues_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreConfig { lmq_quota: Some(2), ..lmq_config(dir.path()) });
    put(&store, b"0", "%LMQ%a,%LMQ%b").unwrap();
    assert_eq!(put(&store, b"1", "%LMQ%c"), Err(PutError::LmqQuota { limit: 2 }));
    assert_eq!(put(&store, b"1", "%LMQ%a,%LMQ%c"), Err(PutError::LmqQuota { limit: 2 }));
    put(&store, b"2", "%LMQ%b").unwrap();
    settle(&store);
    assert_eq!(store.delete_topic("%LMQ%a"), 1);
    put(&store, b"3", "%LMQ%c").unwrap();
    store.set_lmq_quota(None);
    put(&store, b"4", "%LMQ%d").unwrap();
    settle(&store);
    assert_eq!(light(&store, "%LMQ%b"), [b"0", b"2"]);
    assert_eq!((light(&store, "%LMQ%c"), light(&store, "%LMQ%d")), (vec![b"3".to_vec()], vec![b"4".to_vec()]));
}

#[test]
fn positions_are_never_what_a_client_says() {
    let dir = tempfile::tempdir().unwrap();
    let forged = "INNER_MULTI_DISPATCH\u{1}%LMQ%a\u{2}INNER_MULTI_QUEUE_OFFSET\u{1}7\u{2}";
    let huge = "INNER_MULTI_DISPATCH\u{1}%LMQ%a\u{2}INNER_MULTI_QUEUE_OFFSET\u{1}9000000000000\u{2}";
    {
        // Not enabled: the properties are kept as they are.
        let store = open(config(dir.path()));
        store.put(&message("T", 0, b"before", huge)).unwrap();
        settle(&store);
        assert_eq!(
            store.record_at(0).map(|record| MessageRecord::parse(&record).unwrap().properties.to_vec()).unwrap(),
            huge.as_bytes()
        );
        assert!(!store.has_queue("%LMQ%a", 0));
    }
    let store = open(lmq_config(dir.path()));
    store.put(&message("T", 0, b"one", forged)).unwrap();
    // Half messages and batches are in no light queue, messages that are consumed again and those that wait neither.
    for topic in ["RMQ_SYS_TRANS_HALF_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC"] {
        store.put(&message(topic, 0, b"half", forged)).unwrap();
    }
    store.put_batch(&[message("T", 0, b"two", forged), message("T", 0, b"three", forged)]).unwrap();
    let prepared = sys_flag::with_transaction_type(0, sys_flag::TRANSACTION_PREPARED_TYPE);
    store.put(&store::Message { sys_flag: prepared, ..message("T", 0, b"prepared", forged) }).unwrap();
    for topic in ["%RETRY%g", "%DLQ%g", "rmq_sys_wheel_timer", "SCHEDULE_TOPIC_XXXX"] {
        store.put(&message(topic, 0, b"elsewhere", forged)).unwrap();
    }
    settle(&store);
    assert_eq!(light(&store, "%LMQ%a"), [b"one"]);
    store.shutdown();
    drop(store);
    // Nor from the log.
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let store = open(lmq_config(dir.path()));
    assert_eq!(light(&store, "%LMQ%a"), [b"one"]);
    assert_eq!(bodies(&store, "T", 0).len(), 4);
}

#[test]
fn many_threads_get_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(lmq_config(dir.path()));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..200 {
                    let body = format!("{thread} {number}");
                    match number % 4 {
                        0 => drop(common::put(store, "%LMQ%all", 0, body.as_bytes())),
                        _ => put(store, body.as_bytes(), &format!("%LMQ%all,%LMQ%{thread}")).unwrap(),
                    }
                }
            });
        }
    });
    settle(&store);
    assert_eq!((store.min_offset("%LMQ%all", 0), store.max_offset("%LMQ%all", 0)), (0, 800));
    let all = store.queue_units("%LMQ%all", 0, 0, 1000);
    let offsets: Vec<u64> = all.iter().map(|unit| unit.physical_offset).collect();
    assert!(offsets.len() == 800 && offsets.is_sorted());
    for thread in 0..4 {
        let expect: Vec<_> =
            (0..200).filter(|number| number % 4 != 0).map(|number| format!("{thread} {number}")).collect();
        let bodies = light(&store, &format!("%LMQ%{thread}"));
        assert_eq!(bodies, expect.iter().map(|body| body.as_bytes().to_vec()).collect::<Vec<_>>());
    }
}

#[test]
fn expired_and_deleted_queues() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { file_reserved_time_hours: 0, ..lmq_config(dir.path()) };
    let store = open(config.clone());
    put(&store, b"old", "%LMQ%old,%LMQ%both").unwrap();
    for _ in 0..8 {
        put(&store, &[7; 4000], "%LMQ%both").unwrap();
    }
    settle(&store);
    store.delete_expired_files();
    eventually("files go", || {
        store.clean_now().unwrap();
        store.status().commit_log_files == 1
    });
    assert!(store.min_offset("%LMQ%both", 0) > 4);
    assert_eq!((store.min_offset("%LMQ%old", 0), store.max_offset("%LMQ%old", 0)), (1, 1));
    assert_eq!(store.clean_unused_topics(&std::collections::HashSet::from(["T".to_owned()])), 0);
    assert_eq!(store.clean_expired_consume_queues(), 1);
    assert!(!dir.path().join("consumequeue/%LMQ%old").exists());
    // As in Java it begins again.
    put(&store, b"new", "%LMQ%old").unwrap();
    settle(&store);
    assert_eq!(light(&store, "%LMQ%old"), [b"new"]);
    let bounds = |store: &MessageStore| (store.min_offset("%LMQ%both", 0), store.max_offset("%LMQ%both", 0));
    let before = bounds(&store);
    store.shutdown();
    drop(store);
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let store = MessageStore::open(config, Arc::new(NoListener)).unwrap();
    assert_eq!((bounds(&store), light(&store, "%LMQ%old")), (before, vec![b"new".to_vec()]));
}

#[derive(Debug, Clone)]
enum Step {
    Put { lmqs: u8, len: u16 },
    Stop,
    Kill,
    Reboot,
    Java,
    LoseQueues,
    Delete(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        30 => (0..16u8, 0..2000u16).prop_map(|(lmqs, len)| Step::Put { lmqs, len }),
        2 => Just(Step::Stop),
        2 => Just(Step::Kill),
        2 => Just(Step::Reboot),
        2 => Just(Step::Java),
        1 => Just(Step::LoseQueues),
        1 => (0..4u8).prop_map(Step::Delete),
    ];
    proptest::collection::vec(step, 1..100)
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(lmq_config(dir.path()));
    let mut model = BTreeMap::<String, Vec<Vec<u8>>>::new();
    let mut all = Vec::new();
    // Messages of a deleted queue come back with the part of the log that is read again, as those of any topic.
    let mut deleted = false;
    for (number, step) in steps.into_iter().enumerate() {
        let step = match step {
            Step::Reboot | Step::Java if deleted => Step::Kill,
            Step::LoseQueues if deleted => Step::Stop,
            step => step,
        };
        match step {
            Step::Put { lmqs, len } => {
                let names: Vec<_> =
                    (0..4).filter(|lmq| lmqs & (1 << lmq) != 0).map(|lmq| format!("%LMQ%{lmq}")).collect();
                let mut body = number.to_be_bytes().to_vec();
                body.resize(8 + usize::from(len), 1);
                put(&store, &body, &names.join(",")).unwrap();
                names.into_iter().for_each(|name| model.entry(name).or_default().push(body.clone()));
                all.push(body);
                continue;
            }
            Step::Delete(lmq) => {
                settle(&store);
                let name = format!("%LMQ%{lmq}");
                store.delete_topic(&name);
                model.remove(&name);
                deleted = true;
                continue;
            }
            Step::Kill | Step::Reboot | Step::Java => store.abandon(),
            Step::Stop | Step::LoseQueues => store.shutdown(),
        }
        drop(store);
        match step {
            Step::Reboot => reboot(dir.path()),
            Step::Java => forget_own_checkpoint(dir.path()),
            Step::LoseQueues => {
                for name in model.keys().filter(|name| *name != "%LMQ%3") {
                    fs::remove_dir_all(dir.path().join("consumequeue").join(name)).unwrap();
                }
            }
            _ => {}
        }
        store = open(lmq_config(dir.path()));
        settle(&store);
        assert_eq!(bodies(&store, "T", 1), all);
        for (name, expect) in &model {
            assert_eq!(light(&store, name), *expect, "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_stops_the_store(steps in steps()) {
        run(steps);
    }
}
