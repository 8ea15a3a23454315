//! The store against a model of it: one list per queue.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic and read clocks")]

mod common;

use std::collections::BTreeMap;

use codec::message::MessageRecord;
use common::{bodies, config, message, open, settle};
use proptest::prelude::*;
use store::MessageStore;

#[derive(Debug, Clone)]
enum Step {
    Put { queue: u8, len: u16 },
    Batch(Vec<(u8, u16)>),
    Stop,
    Kill,
    LoseQueues,
    DeleteTopic(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (0..6u8, 0..3000u16);
    let step = prop_oneof![
        20 => put.clone().prop_map(|(queue, len)| Step::Put { queue, len }),
        5 => proptest::collection::vec((0..6u8, 0..800u16), 1..12).prop_map(Step::Batch),
        2 => Just(Step::Stop),
        3 => Just(Step::Kill),
        1 => Just(Step::LoseQueues),
        1 => (0..3u8).prop_map(Step::DeleteTopic),
    ];
    proptest::collection::vec(step, 1..80)
}

/// Two queues per topic.
fn name(queue: u8) -> (String, i32) {
    (format!("Topic{}", queue / 2), i32::from(queue % 2))
}

#[derive(Default)]
struct Model {
    queues: BTreeMap<(String, i32), Vec<Vec<u8>>>,
    end: u64,
    count: u64,
}

impl Model {
    fn body(&mut self, len: u16) -> Vec<u8> {
        self.count += 1;
        let mut body = self.count.to_be_bytes().to_vec();
        body.resize(8 + usize::from(len), u8::try_from(self.count % 251).unwrap());
        body
    }

    fn put(&mut self, store: &MessageStore, messages: &[(u8, u16)]) {
        let messages: Vec<_> = messages.iter().map(|(queue, len)| (name(*queue), self.body(*len))).collect();
        let keys: Vec<_> = messages.iter().map(|(_, body)| format!("KEYS\u{1}{}\u{2}", body[7])).collect();
        let batch: Vec<_> = messages
            .iter()
            .zip(&keys)
            .map(|(((topic, queue_id), body), keys)| message(topic, *queue_id, body, keys))
            .collect();
        let places = store.put_batch(&batch).unwrap();
        for ((queue, body), place) in messages.into_iter().zip(places) {
            let queue = self.queues.entry(queue).or_default();
            assert_eq!(place.queue_offset, i64::try_from(queue.len()).unwrap());
            assert!(place.physical_offset >= self.end);
            self.end = place.end();
            queue.push(body);
        }
    }

    fn check(&self, store: &MessageStore) {
        settle(store);
        for ((topic, queue_id), expect) in &self.queues {
            assert_eq!(bodies(store, topic, *queue_id), *expect, "{topic} {queue_id}");
            for (at, body) in expect.iter().enumerate().rev().take(3) {
                let key = body[7].to_string();
                let found = store.query_by_key(topic, &key, 64, 0, i64::MAX);
                let place = (*queue_id, i64::try_from(at).unwrap());
                assert!(found.messages.iter().any(|found| {
                    let record = MessageRecord::parse(found).unwrap();
                    (record.queue_id, record.queue_offset) == place && record.body == body
                }));
            }
        }
        let topics: Vec<_> = store
            .topics()
            .into_iter()
            .flat_map(|(topic, ids)| ids.into_iter().map(move |id| (topic.clone(), id)))
            .collect();
        assert_eq!(topics, self.queues.keys().cloned().collect::<Vec<_>>());
    }
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(config(dir.path()));
    let mut model = Model::default();
    let mut deleted = false;
    for step in steps {
        match step {
            Step::Put { queue, len } => model.put(&store, &[(queue, len)]),
            Step::Batch(messages) => model.put(&store, &messages),
            Step::DeleteTopic(topic) => {
                settle(&store);
                let topic = format!("Topic{topic}");
                store.delete_topic(&topic);
                model.queues.retain(|(name, _), _| *name != topic);
                deleted = true;
                continue;
            }
            Step::Stop | Step::Kill | Step::LoseQueues => {
                match step {
                    Step::Kill => store.abandon(),
                    _ => store.shutdown(),
                }
                drop(store);
                // Without their queues, deleted topics come back from the log: only the order of the files says they went.
                if matches!(step, Step::LoseQueues) && !deleted {
                    std::fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
                }
                store = open(config(dir.path()));
                model.check(&store);
            }
        }
    }
    model.check(&store);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn store_is_its_model(steps in steps()) {
        run(steps);
    }
}
