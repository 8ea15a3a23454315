//! One state of the disk: opened, looked at, gone on with.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use codec::java_hash::tags_code;
use codec::message::MessageRecord;
use store::{
    AllMessages, DirItem, DiskUsage, FileSystem, GetQuery, MessageStore, NoListener, RealFileSystem, SystemClock,
};

use crate::common::{message, settle};
use crate::disk::Disk;
use crate::history::{End, History, NEVER, Seen, SeenQueue, judge};
use crate::random::Random;
use crate::recorder::{Recorder, Tree, write_tree};
use crate::scenario::{Run, Sizes, Worker};

/// Keys that are looked up of each state, besides those of the last records.
const KEYS: usize = 12;
const FILE_BYTES: u64 = 16 * 1024;

/// A state and what it must show.
pub struct Trial<'a> {
    pub sizes: Sizes,
    pub history: &'a History,
    pub end: End,
    pub tree: Tree,
    pub random: Random,
    /// The boot id that the next start finds.
    pub boot: String,
}

/// Syncs nothing: what is tried is what a start makes of a state, and the machine stays up meanwhile.
#[derive(Debug)]
struct Unsynced {
    boot: String,
}

impl<'a> Trial<'a> {
    /// What is left of a run after some of its events: variant 0 after a kill, the others after a loss of power.
    pub fn new(run: &'a Run, disk: &Disk, variant: u64) -> Self {
        let position = disk.position();
        let mut random = Random::of(&[run.seed, u64::try_from(position).unwrap(), variant]);
        let power_loss = variant > 0;
        let tree = if power_loss { disk.after_power_loss(&mut random) } else { disk.after_kill() };
        let log_min = disk.log_files().first().copied().unwrap_or(0).max(run.log_min);
        let boot = if power_loss { format!("{}, another", run.boot) } else { run.boot.clone() };
        let end = End { position, power_loss, log_min };
        Self { sizes: run.sizes, history: &run.history, end, tree, random, boot }
    }

    /// Opens the state, checks it, now and then goes on with it, now and then loses power again. Returns how many further
    /// states that took.
    /// # Errors
    /// What is wrong.
    pub fn run(mut self) -> Result<usize, String> {
        let what = self.random.below(60);
        let tried = catch_unwind(AssertUnwindSafe(|| {
            self.look(what.is_multiple_of(3))?;
            if what == 0 && self.end.power_loss { self.lose_power_again() } else { Ok(0) }
        }));
        tried.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
        })
    }

    /// Opens the state and checks it; with `go_on` puts more messages, stops, starts again.
    /// # Errors
    /// What is wrong.
    pub fn look(&mut self, go_on: bool) -> Result<(), String> {
        let dir = crate::scratch();
        write_tree(dir.path(), &self.tree);
        let fs = Arc::new(Unsynced { boot: self.boot.clone() });
        let store = self.open(dir.path(), &fs)?;
        self.check(&store, self.history, "after the start")?;
        if !go_on {
            store.abandon();
            return Ok(());
        }
        let history = self.go_on(&store)?;
        self.check(&store, &history, "after more messages")?;
        store.shutdown();
        drop(store);
        let store = self.open(dir.path(), &fs)?;
        self.check(&store, &history, "after a clean stop and another start")?;
        store.abandon();
        Ok(())
    }

    fn open(&self, root: &Path, fs: &Arc<Unsynced>) -> Result<MessageStore, String> {
        let config = self.sizes.config(root);
        let opened = MessageStore::open_with(config, Arc::new(NoListener), Arc::clone(fs) as _, Arc::new(SystemClock));
        opened.map_err(|error| format!("it does not open: {error}"))
    }

    fn check(&mut self, store: &MessageStore, history: &History, when: &str) -> Result<(), String> {
        let seen = see(store, &mut self.random);
        let wrong = judge(history, &self.end, &seen);
        if let Some(reason) = store.status().poisoned {
            return Err(format!("{when}: the store is read-only: {reason}"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("{when}: {wrong:?}")) }
    }

    /// A message to each queue and to a new one; the history with them.
    fn go_on(&self, store: &MessageStore) -> Result<History, String> {
        let mut history = self.history.clone();
        let mut queues: Vec<_> = store
            .topics()
            .into_iter()
            .flat_map(|(topic, ids)| ids.into_iter().map(move |id| (topic.clone(), id)))
            .collect();
        queues.push(("New".to_owned(), 0));
        for (at, (topic, queue_id)) in queues.into_iter().enumerate() {
            let key = format!("further-{at}");
            let expect = store.max_offset(&topic, queue_id);
            let properties = format!("UNIQ_KEY\u{1}{key}\u{2}");
            let place =
                store.put(&message(&topic, queue_id, &[9; 200], &properties)).map_err(|error| error.to_string())?;
            if place.queue_offset != expect {
                return Err(format!("{topic} {queue_id}: {} where {expect} was next", place.queue_offset));
            }
            let bytes = store.record_at(place.physical_offset).ok_or("the record just put cannot be read")?.to_vec();
            history.puts.push(crate::history::Put {
                topic,
                queue_id,
                queue_offset: place.queue_offset,
                physical_offset: place.physical_offset,
                key,
                bytes,
                begun: 0,
                kept: 0,
                safe: 0,
                dropped: NEVER,
                lost: NEVER,
            });
        }
        settle(store);
        Ok(history)
    }

    /// Records what a start on this state does, and the store at work after it, and loses power at some moments of that.
    pub fn lose_power_again(&mut self) -> Result<usize, String> {
        let dir = crate::scratch();
        write_tree(dir.path(), &self.tree);
        let recorder = Arc::new(Recorder::new(dir.path(), &self.boot));
        let random = Random::new(self.random.next());
        let config = self.sizes.config(dir.path());
        let mut worker = Worker::new(recorder, config, History::default(), random, "again".to_owned());
        worker.any_flush_type();
        worker.open();
        let opened = worker.recorder.position();
        worker.history = self.history.after(&self.end, &see(worker.store(), &mut self.random), opened);
        for _ in 0..4 {
            worker.put(2);
            worker.await_flush();
            worker.note_flushed();
        }
        worker.finish();
        let (seed, record) = (self.random.next(), worker.recorder.record());
        let (boot, log_min) = (self.boot.clone(), self.end.log_min);
        let run = Run { seed, sizes: self.sizes, boot, log_min, history: worker.history, record };
        let mut disk = Disk::new(&run.record);
        let mut tried = 0;
        for position in 0..=run.record.events.len() {
            if position > 0 {
                disk.step(&run.record.events[position - 1]);
            }
            // Each moment of the recovery, some of what came after.
            if position > opened && !self.random.chance(1, 8) {
                continue;
            }
            let mut again = Trial::new(&run, &disk, 1);
            let go_on = again.random.chance(1, 4);
            again.look(go_on).map_err(|error| {
                let path = crate::keep(&run);
                format!(
                    "a second loss of power, at event {position} of {} ({opened} was open), \
                     FERROCKET_CRASH_REPLAY={}:{position}:1: {error}",
                    run.record.events.len(),
                    path.display()
                )
            })?;
            tried += 1;
        }
        Ok(tried)
    }
}

/// Everything that a store shows.
fn see(store: &MessageStore, random: &mut Random) -> Seen {
    settle(store);
    let status = store.status();
    let mut seen = Seen { min_offset: status.min_offset, ..Seen::default() };
    let mut at = status.min_offset;
    while at < status.max_offset {
        match store.record_at(at) {
            Some(record) => {
                at += record.len() as u64;
                seen.log.insert(record.physical_offset(), record.to_vec());
            }
            None => at = at / FILE_BYTES * FILE_BYTES + FILE_BYTES,
        }
    }
    let queues = store.topics().into_iter().flat_map(|(topic, ids)| ids.into_iter().map(move |id| (topic.clone(), id)));
    for (topic, queue_id) in queues {
        let queue = see_queue(store, &topic, queue_id);
        seen.queues.insert((topic, queue_id), queue);
    }
    let count = seen.log.len();
    for (at, bytes) in seen.log.values().enumerate() {
        if at + 4 < count && !random.chance(KEYS, count) {
            continue;
        }
        let record = MessageRecord::parse(bytes).unwrap();
        let key = record.property("UNIQ_KEY").unwrap();
        let found = store.query_by_key(&record.topic_str(), key, 64, 0, i64::MAX).messages;
        let places = found.iter().map(store::MappedSlice::physical_offset).collect::<BTreeSet<_>>();
        seen.keys.insert(key.to_owned(), places);
    }
    seen
}

fn see_queue(store: &MessageStore, topic: &str, queue_id: i32) -> SeenQueue {
    let (min, max) = (store.min_offset(topic, queue_id), store.max_offset(topic, queue_id));
    let mut queue = SeenQueue { min, max, ..SeenQueue::default() };
    let mut at = min;
    while at < max {
        let got = store.get(&GetQuery::new(topic, queue_id, at, 32), &AllMessages);
        for record in &got.messages {
            let parsed = MessageRecord::parse(record).unwrap();
            queue.messages.insert(parsed.queue_offset, (record.physical_offset(), record.to_vec()));
        }
        at = got.next_begin_offset.max(at + 1);
    }
    for unit in store.queue_units(topic, queue_id, min, usize::try_from(max - min).unwrap()) {
        let Some((_, bytes)) = queue.messages.get(&unit.queue_offset) else { continue };
        let tags = MessageRecord::parse(bytes).unwrap().property("TAGS").map_or(0, tags_code);
        if unit.tags_code != tags {
            queue.mistagged.insert(unit.queue_offset);
        }
    }
    queue
}

impl FileSystem for Unsynced {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirItem>> {
        RealFileSystem.list(path)
    }
    fn open(&self, path: &Path) -> io::Result<File> {
        RealFileSystem.open(path)
    }
    fn create(&self, path: &Path, len: u64) -> io::Result<File> {
        RealFileSystem.create(path, len)
    }
    fn len(&self, file: &File) -> io::Result<u64> {
        RealFileSystem.len(file)
    }
    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        RealFileSystem.set_len(file, len)
    }
    fn modified_ms(&self, file: &File) -> io::Result<i64> {
        RealFileSystem.modified_ms(file)
    }
    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        RealFileSystem.allocate(file, position, len)
    }
    fn zero(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        RealFileSystem.zero(file, position, len)
    }
    fn read_exact_at(&self, file: &File, bytes: &mut [u8], position: u64) -> io::Result<()> {
        RealFileSystem.read_exact_at(file, bytes, position)
    }
    fn write_all_at(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        RealFileSystem.write_all_at(file, bytes, position)
    }
    fn sync_data(&self, _: &File) -> io::Result<()> {
        Ok(())
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path).map(drop)
    }
    fn sync_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        RealFileSystem.write_file(path, bytes)
    }
    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let boot = path.ends_with("boot_id");
        if boot { Ok(Some(self.boot.clone().into_bytes())) } else { RealFileSystem.read_file(path) }
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFileSystem.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.remove_dir_all(path)
    }
    fn usage(&self, _: &Path) -> io::Result<DiskUsage> {
        Ok(DiskUsage { used: 10, available: 90 })
    }
}
