//! Runs of a store that are recorded: what happens is drawn from a seed.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::{FlushDiskType, MessageStore, NoListener, StoreConfig, SystemClock};

use crate::common::{block_on, eventually, message, settle};
use crate::history::{History, NEVER, Put};
use crate::random::Random;
use crate::recorder::{Record, Recorder};

/// The boot id of a run that begins.
pub const FIRST_BOOT: &str = "boot";

/// A run: how it was set up, what was done, and what reached the file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    pub seed: u64,
    pub sizes: Sizes,
    /// The id of this start of the machine.
    pub boot: String,
    /// Less of the log is not asked for.
    pub log_min: u64,
    pub history: History,
    pub record: Record,
}

/// Sizes of files, fixed for the life of a directory.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sizes {
    pub queue_units: u64,
    pub index_slots: u32,
    pub index_entries: u32,
}

impl Sizes {
    pub fn config(self, root: &Path) -> StoreConfig {
        StoreConfig {
            mapped_file_size_consume_queue: 20 * self.queue_units,
            max_hash_slot_num: self.index_slots,
            max_index_num: self.index_entries,
            flush_interval_commit_log_ms: 5,
            flush_interval_consume_queue_ms: 10,
            flush_consume_queue_thorough_interval_ms: 20,
            delete_commit_log_files_interval_ms: 0,
            clean_resource_interval_ms: 3_600_000,
            ..crate::common::config(root)
        }
    }
}

/// A recorded store at work.
pub struct Worker {
    pub recorder: Arc<Recorder>,
    pub history: History,
    pub store: Option<MessageStore>,
    pub config: StoreConfig,
    random: Random,
    /// Keeps keys of different workers apart.
    name: String,
    count: usize,
}

/// Topic, queue, body, properties, key.
type Given = (String, i32, Vec<u8>, String, String);

/// What can be done.
#[derive(Debug, Clone, Copy)]
enum Step {
    Put,
    Batch,
    AwaitFlush,
    AwaitCheckpoint,
    DeleteTopic,
    Expire,
    Restart,
    Kill,
}

/// Runs `steps` steps drawn from `seed` on a new store.
pub fn run(seed: u64, steps: usize) -> Run {
    let dir = crate::scratch();
    let mut random = Random::of(&[seed]);
    // One page, or several; torn sectors matter in either.
    let sizes = match random.below(3) {
        0 => Sizes { queue_units: 50, index_slots: 100, index_entries: 400 },
        1 => Sizes { queue_units: 300, index_slots: 20, index_entries: 60 },
        _ => Sizes { queue_units: 30, index_slots: 2000, index_entries: 120 },
    };
    // Deleting topics and files makes much allowed; not every run does.
    let (deletes, expires) = (random.chance(1, 3), random.chance(1, 3));
    let mut config = sizes.config(dir.path());
    if expires {
        config.file_reserved_time_hours = 0;
    }
    let recorder = Arc::new(Recorder::new(dir.path(), FIRST_BOOT));
    let mut worker = Worker::new(recorder, config, History::default(), random, format!("s{seed}"));
    worker.any_flush_type();
    worker.open();
    for _ in 0..steps {
        let step = match worker.random.below(100) {
            0..55 => Step::Put,
            55..73 => Step::Batch,
            73..82 => Step::AwaitFlush,
            82..90 => Step::AwaitCheckpoint,
            90..92 if deletes => Step::DeleteTopic,
            92..95 if expires => Step::Expire,
            95..97 => Step::Restart,
            97..99 => Step::Kill,
            _ => Step::Put,
        };
        worker.step(step);
    }
    worker.finish();
    let record = worker.recorder.record();
    Run { seed, sizes, boot: FIRST_BOOT.to_owned(), log_min: 0, history: worker.history, record }
}

impl Worker {
    pub fn new(recorder: Arc<Recorder>, config: StoreConfig, history: History, random: Random, name: String) -> Self {
        Self { recorder, history, store: None, config, random, name, count: 0 }
    }

    /// # Panics
    /// When the store cannot be opened.
    pub fn open(&mut self) {
        let opened = MessageStore::open_with(
            self.config.clone(),
            Arc::new(NoListener),
            Arc::clone(&self.recorder) as _,
            Arc::new(SystemClock),
        );
        self.store = Some(opened.unwrap_or_else(|error| panic!("cannot open the store: {error}")));
        self.note_flushed();
    }

    pub fn store(&self) -> &MessageStore {
        self.store.as_ref().unwrap()
    }

    pub fn any_flush_type(&mut self) {
        let sync = self.random.chance(1, 2);
        self.config.flush_disk_type = if sync { FlushDiskType::SyncFlush } else { FlushDiskType::AsyncFlush };
    }

    /// What was done and recorded so far.
    pub fn run(&self, sizes: Sizes) -> Run {
        let (history, record) = (self.history.clone(), self.recorder.record());
        Run { seed: 0, sizes, boot: FIRST_BOOT.to_owned(), log_min: 0, history, record }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Put => self.put(1),
            Step::Batch => {
                let count = 2 + self.random.below(6);
                self.put(count);
            }
            Step::AwaitFlush => self.await_flush(),
            Step::AwaitCheckpoint => {
                self.put(1);
                let since = self.recorder.position();
                settle(self.store());
                eventually("a checkpoint", || self.recorder.syncs_of("checkpoint", since) > 0);
            }
            Step::DeleteTopic => {
                settle(self.store());
                let topic = self.topic();
                self.history.deleted(self.recorder.position(), &topic);
                self.store().delete_topic(&topic);
                self.recorder.position();
            }
            Step::Expire => {
                self.store().delete_expired_files();
                self.store().clean_now().unwrap();
                self.recorder.position();
            }
            Step::Restart => {
                self.store().shutdown();
                assert_eq!(self.store().status().poisoned, None);
                self.note_flushed();
                self.store = None;
                self.any_flush_type();
                self.open();
            }
            Step::Kill => {
                self.store().abandon();
                assert_eq!(self.store().status().poisoned, None);
                self.store = None;
                self.any_flush_type();
                self.open();
            }
        }
        self.note_flushed();
    }

    /// Puts so many messages at once, of several queues.
    pub fn put(&mut self, count: usize) {
        let messages = (0..count).map(|_| self.message()).collect();
        self.put_all(messages);
    }

    /// Puts messages of one queue, one by one, with bodies of that length.
    pub fn put_to(&mut self, topic: &str, count: usize, len: usize) {
        for _ in 0..count {
            self.count += 1;
            let key = format!("{}-{}", self.name, self.count);
            let body = vec![u8::try_from(1 + self.count % 251).unwrap(); len];
            let properties = format!("UNIQ_KEY\u{1}{key}\u{2}TAGS\u{1}tag\u{2}");
            self.put_all(vec![(topic.to_owned(), 0, body, properties, key)]);
        }
    }

    fn put_all(&mut self, messages: Vec<Given>) {
        let begun = self.recorder.position();
        let batch: Vec<_> = messages
            .iter()
            .map(|(topic, queue_id, body, properties, _)| message(topic, *queue_id, body, properties))
            .collect();
        let places = self.store().put_batch(&batch).unwrap();
        let kept = self.recorder.position();
        for ((topic, queue_id, _, _, key), place) in messages.into_iter().zip(places) {
            let bytes = self.store().record_at(place.physical_offset).unwrap().to_vec();
            let (queue_offset, physical_offset) = (place.queue_offset, place.physical_offset);
            let (safe, dropped, lost) = (NEVER, NEVER, NEVER);
            self.history.puts.push(Put {
                topic,
                queue_id,
                queue_offset,
                physical_offset,
                key,
                bytes,
                begun,
                kept,
                safe,
                dropped,
                lost,
            });
        }
    }

    /// Waits until the last message is confirmed; under SYNC_FLUSH that is a promise.
    pub fn await_flush(&mut self) {
        let end = self.store().status().max_offset;
        block_on(self.store().flushed(end)).unwrap();
        if self.config.flush_disk_type == FlushDiskType::SyncFlush {
            self.history.flushed(self.recorder.position(), end);
        }
    }

    /// A clean stop.
    pub fn finish(&mut self) {
        self.store().shutdown();
        assert_eq!(self.store().status().poisoned, None);
        self.note_flushed();
        self.store = None;
    }

    /// The store's own word that the log is on the disk up to there is a promise, too.
    pub fn note_flushed(&mut self) {
        let flushed = self.store().status().flushed_offset;
        self.history.flushed(self.recorder.position(), flushed);
    }

    fn topic(&mut self) -> String {
        format!("Topic{}", self.random.below(3))
    }

    fn message(&mut self) -> Given {
        self.count += 1;
        let key = format!("{}-{}", self.name, self.count);
        let len = match self.random.below(10) {
            0 => 0,
            1..7 => self.random.below(300),
            7..9 => self.random.below(1500),
            _ => self.random.below(5000),
        };
        let filling = u8::try_from(1 + self.count % 251).unwrap();
        let body = vec![filling; len];
        let mut properties = format!("UNIQ_KEY\u{1}{key}\u{2}TAGS\u{1}tag{}\u{2}", self.count % 3);
        if self.random.chance(1, 10) {
            // Long enough to lie in sectors of its own, behind what the CRC covers.
            properties.push_str(&format!("long\u{1}{}\u{2}", "x".repeat(self.random.below(2500))));
        }
        // Most go to one queue, so that it grows over sectors and pages.
        let crowded = self.random.chance(1, 2);
        let (topic, queue_id) =
            if crowded { ("Topic0".to_owned(), 0) } else { (self.topic(), i32::from(self.random.chance(1, 2))) };
        (topic, queue_id, body, properties, key)
    }
}
