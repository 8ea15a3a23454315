//! All consume queues: found by topic and queue id with one hash look-up.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::FixedState;
use parking_lot::{Mutex, RwLock};
use tracing::warn;

use crate::batch_consume_queue::{BatchConsumeQueue, QueueType};
use crate::consume_queue::Queue;
use crate::consume_queue_ext::ConsumeQueueExt;
use crate::inventory::Inventory;
use crate::lmq::is_lmq;
use crate::parallel;
use crate::queue_files::{Gap, QueueFiles};

const SHARDS: usize = 64;

type Topics = std::collections::HashMap<Arc<str>, Vec<Arc<Queue>>, FixedState>;

#[derive(Debug)]
pub(crate) struct QueueTable {
    files: Arc<QueueFiles>,
    batch_files: Arc<QueueFiles>,
    ext: ConsumeQueueExt,
    /// Topics whose queues are made to hold batches.
    batch_topics: RwLock<HashSet<String>>,
    /// How many light queues there are.
    lmqs: AtomicUsize,
    hasher: FixedState,
    shards: Vec<RwLock<Topics>>,
}

impl QueueTable {
    /// Lists the queues that have a directory, and their files; none of them is opened. `batch_topics` are those whose queues
    /// hold batches, as far as they are known. Returns too where files are missing between others.
    /// # Errors
    /// What the system said.
    pub(crate) fn open(
        files: Arc<QueueFiles>,
        batch_files: Arc<QueueFiles>,
        ext: ConsumeQueueExt,
        batch_topics: &[String],
    ) -> io::Result<(QueueTable, Vec<Gap>)> {
        let table = QueueTable {
            lmqs: AtomicUsize::new(0),
            hasher: FixedState::default(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            files,
            batch_files,
            ext,
            batch_topics: RwLock::default(),
        };
        let mut missing = table.list(&table.files, QueueType::Simple)?;
        batch_topics.iter().for_each(|topic| table.set_type(topic, QueueType::Batch));
        missing.append(&mut table.list(&table.batch_files, QueueType::Batch)?);
        Ok((table, missing))
    }

    fn list(&self, files: &QueueFiles, queue_type: QueueType) -> io::Result<Vec<Gap>> {
        let missing = Mutex::new(Vec::new());
        let topics = files.fs().list(files.root())?;
        parallel::try_for_each(&topics, |topic| {
            if !topic.is_dir {
                return Ok(());
            }
            for (name, items) in files.fs().list_dirs(&files.topic_dir(&topic.name))? {
                if let Ok(queue_id) = name.parse::<i32>() {
                    if queue_type == QueueType::Batch {
                        self.set_type(&topic.name, queue_type);
                    }
                    let queue = self.find_or_insert(&topic.name, queue_id);
                    if let Some(gap) = files.note_found(&queue, &items) {
                        missing.lock().push(gap);
                    }
                }
            }
            Ok(())
        })?;
        Ok(missing.into_inner())
    }

    /// The files of all queues, as far as the checkpoint knows of them.
    pub(crate) fn inventory(&self) -> Inventory {
        let mut inventory = Inventory::default();
        self.all().iter().for_each(|queue| inventory.add_all(&queue.noted().lock()));
        inventory
    }

    /// How queues of a topic are made.
    pub(crate) fn queue_type(&self, topic: &str) -> QueueType {
        match self.batch_topics.read().contains(topic) {
            true => QueueType::Batch,
            false => QueueType::Simple,
        }
    }

    /// Queues of this topic are made so from now on; a topic that has queues of the other type keeps it.
    pub(crate) fn set_type(&self, topic: &str, queue_type: QueueType) {
        if self.queue_type(topic) == queue_type {
            return;
        }
        if !self.of_topic(topic).is_empty() {
            warn!(
                topic,
                ?queue_type,
                "the topic has queues of the other type and keeps it; a Java broker does not start with them until the \
                 attribute queue.type says what they are"
            );
            return;
        }
        match queue_type {
            QueueType::Simple => drop(self.batch_topics.write().remove(topic)),
            QueueType::Batch => drop(self.batch_topics.write().insert(topic.to_owned())),
        }
    }

    /// What queues know besides.
    pub(crate) fn ext(&self) -> &ConsumeQueueExt {
        &self.ext
    }

    /// The log begins here now.
    pub(crate) fn set_log_min(&self, log_min: u64) {
        self.files.set_log_min(log_min);
        self.batch_files.set_log_min(log_min);
    }

    /// Recovery found this end; queues that are loaded from now on are cut there.
    pub(crate) fn set_log_end(&self, log_end: u64) {
        self.files.set_log_end(log_end);
        self.batch_files.set_log_end(log_end);
    }

    /// After a loss of power: units of records at or behind `offset` are as good as none, until the end is set.
    pub(crate) fn distrust_from(&self, offset: u64) {
        self.files.distrust_from(offset);
        self.batch_files.distrust_from(offset);
    }

    /// How many files have changed since the last flush.
    pub(crate) fn dirty_files(&self) -> usize {
        self.files.dirty_files() + self.batch_files.dirty_files()
    }

    /// Brings everything written before the call to the disk.
    /// # Errors
    /// What the system said; what was to be flushed is then unknown.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.ext.flush()?;
        self.files.flush()?;
        self.batch_files.flush()
    }

    pub(crate) fn files(&self) -> &Arc<QueueFiles> {
        &self.files
    }

    /// The queue if it exists, loaded.
    /// # Errors
    /// What loading it met.
    pub(crate) fn find(&self, topic: &str, queue_id: i32) -> io::Result<Option<Arc<Queue>>> {
        let Some(queue) = self.shard(topic).and_then(|shard| look_up(&shard.read(), topic, queue_id)) else {
            return Ok(None);
        };
        queue.load(&self.files)?;
        Ok(Some(queue))
    }

    /// The queue, made when it does not exist, loaded.
    /// # Errors
    /// What loading it met.
    pub(crate) fn get(&self, topic: &str, queue_id: i32) -> io::Result<Arc<Queue>> {
        let queue = match self.shard(topic).and_then(|shard| look_up(&shard.read(), topic, queue_id)) {
            Some(queue) => queue,
            None => self.find_or_insert(topic, queue_id),
        };
        queue.load(&self.files)?;
        Ok(queue)
    }

    /// All queues, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Queue>> {
        self.shards.iter().flat_map(|shard| shard.read().values().flatten().cloned().collect::<Vec<_>>()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().values().map(Vec::len).sum::<usize>()).sum()
    }

    /// How many light queues there are.
    pub(crate) fn lmqs(&self) -> usize {
        self.lmqs.load(Ordering::Relaxed)
    }

    /// The queues of a topic.
    pub(crate) fn of_topic(&self, topic: &str) -> Vec<Arc<Queue>> {
        self.shard(topic).and_then(|shard| shard.read().get(topic).cloned()).unwrap_or_default()
    }

    /// Takes a queue out and marks it, so that who holds it looks it up again. Call with the append mutex held.
    pub(crate) fn remove(&self, queue: &Arc<Queue>) {
        queue.set_deleted();
        let Some(shard) = self.shard(&queue.topic) else { return };
        let mut topics = shard.write();
        if let Some(queues) = topics.get_mut(&queue.topic) {
            let before = queues.len();
            queues.retain(|other| !Arc::ptr_eq(other, queue));
            if is_lmq(&queue.topic) {
                self.lmqs.fetch_sub(before - queues.len(), Ordering::Relaxed);
            }
            if queues.is_empty() {
                topics.remove(&queue.topic);
            }
        }
    }

    fn find_or_insert(&self, topic: &str, queue_id: i32) -> Arc<Queue> {
        let Some(shard) = self.shard(topic) else { return Arc::new(Queue::new(topic.into(), queue_id, None)) };
        let mut topics = shard.write();
        if let Some(queue) = look_up(&topics, topic, queue_id) {
            return queue;
        }
        let name = topics.get_key_value(topic).map_or_else(|| Arc::from(topic), |(name, _)| Arc::clone(name));
        let batch = (self.queue_type(topic) == QueueType::Batch)
            .then(|| BatchConsumeQueue::new(Arc::clone(&name), queue_id, Arc::clone(&self.batch_files)));
        let queue = Arc::new(Queue::new(Arc::clone(&name), queue_id, batch));
        let queues = topics.entry(name).or_default();
        let at = queues.partition_point(|other| other.queue_id < queue_id);
        queues.insert(at, Arc::clone(&queue));
        if is_lmq(topic) {
            self.lmqs.fetch_add(1, Ordering::Relaxed);
        }
        queue
    }

    fn shard(&self, topic: &str) -> Option<&RwLock<Topics>> {
        let hash = usize::try_from(self.hasher.hash_one(topic) >> 32).unwrap_or(0);
        self.shards.get(hash % SHARDS)
    }
}

fn look_up(topics: &Topics, topic: &str, queue_id: i32) -> Option<Arc<Queue>> {
    let queues = topics.get(topic)?;
    let at = queues.binary_search_by_key(&queue_id, |queue| queue.queue_id).ok()?;
    queues.get(at).cloned()
}
