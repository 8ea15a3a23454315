//! Consume-queue extensions: what queues know of their messages beside the 20 bytes of a unit.
//!
//! Files `consumequeue_ext/TOPIC/QUEUEID/<first byte, 20 digits>` of fixed length with units of different lengths
//! ([`codec::consume_queue_ext`]). The queue's own unit has the address of its extension in place of the tagsCode. They are
//! written with enableConsumeQueueExt and read wherever an address stands. Nothing depends on one being there: who finds
//! none reckons the tagsCode from the record.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use codec::consume_queue_ext::{EXT_END_BLANK_LEN, EXT_FILLER, EXT_UNIT_MIN_LEN, ExtUnit, ext_address, ext_position};
use parking_lot::Mutex;
use tracing::warn;

use crate::consume_queue::Queue;
use crate::fs::FileSystem;
use crate::mapped_file_queue::{file_name, file_offset};
use crate::queue_files::QueueFiles;
use crate::read::{Extension, MessageFilter};

/// Files kept open at most.
const MAX_OPEN: usize = 64;

#[derive(Debug)]
pub(crate) struct ConsumeQueueExt {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
    file_bytes: u64,
    /// enableConsumeQueueExt.
    writes: bool,
    state: Mutex<State>,
}

type Key = (Arc<str>, i32);

#[derive(Debug, Default)]
struct State {
    /// Where the next unit goes, of the queues that were written since the start.
    ends: HashMap<Key, u64>,
    /// A few files, each with the first byte it has.
    open: HashMap<Key, (u64, Arc<File>)>,
    dirty: BTreeSet<PathBuf>,
    new_dirs: BTreeSet<PathBuf>,
}

impl ConsumeQueueExt {
    /// `root` is the directory `consumequeue_ext`.
    pub(crate) fn new(fs: Arc<dyn FileSystem>, root: PathBuf, file_bytes: u64, writes: bool) -> ConsumeQueueExt {
        ConsumeQueueExt { fs, root, file_bytes, writes, state: Mutex::default() }
    }

    /// The tagsCode behind what a unit of `queue` carries in its place; `None` when it is an address where nothing is.
    pub(crate) fn tags_code(&self, queue: &Queue, in_unit: i64) -> Option<i64> {
        let Some(position) = ext_position(in_unit) else { return Some(in_unit) };
        Some(unit_of(&self.read_or_warn(queue, position)?)?.tags_code)
    }

    /// What a filter says of a message, by what its queue knows of it. Without its extension nobody knows the tag: the
    /// consumer looks.
    pub(crate) fn passes(&self, queue: &Queue, in_unit: i64, filter: &dyn MessageFilter) -> bool {
        match ext_position(in_unit) {
            None => filter.by_queue_unit(in_unit),
            Some(position) => {
                let bytes = self.read_or_warn(queue, position);
                bytes.as_deref().and_then(unit_of).is_none_or(|unit| filter.by_extension(&unit))
            }
        }
    }

    /// Whether extensions are written.
    pub(crate) fn writes(&self) -> bool {
        self.writes
    }

    /// The extension behind what a unit of `queue` carries in place of its tagsCode, if there is one.
    pub(crate) fn extension(&self, queue: &Queue, in_unit: i64) -> Option<Extension> {
        let bytes = self.read_or_warn(queue, ext_position(in_unit)?)?;
        let unit = unit_of(&bytes)?;
        Some(Extension { store_timestamp: unit.store_timestamp, bit_map: unit.bit_map.to_vec() })
    }

    fn read_or_warn(&self, queue: &Queue, position: u64) -> Option<Vec<u8>> {
        self.read(queue, position).unwrap_or_else(|error| {
            warn!(topic = %queue.topic, queue_id = queue.queue_id, position, %error,
                "cannot read a consume queue extension");
            None
        })
    }

    /// What the unit of a message carries as its tagsCode: the address of the extension that is written here, or the
    /// tagsCode itself. For the dispatcher.
    /// # Errors
    /// What the system said; doing it again leaves nothing but an unused unit.
    pub(crate) fn put(&self, queue: &Arc<Queue>, files: &QueueFiles, unit: ExtUnit<'_>) -> io::Result<i64> {
        let tags_code = unit.tags_code;
        if !self.writes {
            return Ok(tags_code);
        }
        let mut bytes = Vec::with_capacity(unit.len());
        if unit.encode_into(&mut bytes).is_err() {
            return Ok(tags_code);
        }
        let key = key(queue);
        let known = self.state.lock().ends.get(&key).copied();
        let mut end = match known {
            Some(end) => end,
            None => self.find_end(queue, files)?,
        };
        let used = end % self.file_bytes;
        if used + bytes.len() as u64 + EXT_END_BLANK_LEN as u64 > self.file_bytes {
            self.write(queue, end, &EXT_FILLER.to_be_bytes())?;
            end += self.file_bytes - used;
        }
        let Some(address) = ext_address(end) else { return Ok(tags_code) };
        self.write(queue, end, &bytes)?;
        self.state.lock().ends.insert(key, end + bytes.len() as u64);
        Ok(address)
    }

    /// Removes files whose units all belong to messages before `queue`'s first.
    /// # Errors
    /// What the system said.
    pub(crate) fn delete_expired_files(&self, queue: &Arc<Queue>, files: &QueueFiles) -> io::Result<()> {
        let bases = self.bases(queue)?;
        if bases.len() < 2 {
            return Ok(());
        }
        let first = queue.units(files, queue.min_offset(), 1)?.first().and_then(|unit| ext_position(unit.tags_code));
        let Some(first) = first else { return Ok(()) };
        for base in bases.into_iter().take_while(|base| base + self.file_bytes <= first) {
            self.fs.remove_file(&self.path(queue, base))?;
        }
        Ok(())
    }

    /// Removes all that there is of a queue.
    /// # Errors
    /// What the system said.
    pub(crate) fn delete(&self, queue: &Queue) -> io::Result<()> {
        let mut state = self.state.lock();
        state.ends.remove(&key(queue));
        state.open.remove(&key(queue));
        drop(state);
        self.fs.remove_dir_all(&self.dir(queue))?;
        let topic = self.root.join(&*queue.topic);
        if self.fs.list(&topic)?.is_empty() { self.fs.remove_dir_all(&topic) } else { Ok(()) }
    }

    /// Brings everything written before the call to the disk.
    /// # Errors
    /// What the system said; what was to be flushed is then unknown.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let (dirty, new_dirs) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.dirty), std::mem::take(&mut state.new_dirs))
        };
        let gone_is_fine = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        for path in &dirty {
            gone_is_fine(self.fs.open(path).and_then(|file| self.fs.sync_data(&file)))?;
        }
        new_dirs.iter().try_for_each(|dir| gone_is_fine(self.fs.sync_dir(dir)))
    }

    /// Where the first unit since the start goes: behind that of the queue's newest message. When that has none, into a
    /// file of its own: where the last one ends cannot be known.
    fn find_end(&self, queue: &Arc<Queue>, files: &QueueFiles) -> io::Result<u64> {
        let max = queue.max_offset();
        if max == 0 {
            self.delete(queue)?;
            return Ok(0);
        }
        let bases = self.bases(queue)?;
        let newest = queue.units(files, max - 1, 1)?.first().and_then(|unit| ext_position(unit.tags_code));
        let Some(position) = newest else {
            return Ok(bases.last().map_or(0, |last| last + self.file_bytes));
        };
        let Some(len) = self.read(queue, position)?.map(|bytes| bytes.len() as u64) else {
            return Ok(bases.last().map_or(position, |last| *last).max(position) / self.file_bytes * self.file_bytes
                + self.file_bytes);
        };
        // What lies behind is of messages that never were.
        let end = position + len;
        for base in bases.into_iter().filter(|base| *base > position) {
            self.fs.remove_file(&self.path(queue, base))?;
        }
        let base = position / self.file_bytes * self.file_bytes;
        if let Some(file) = self.file(queue, base)? {
            self.fs.zero(&file, end - base, base + self.file_bytes - end)?;
        }
        Ok(end)
    }

    /// The unit at `position`, if one is there.
    fn read(&self, queue: &Queue, position: u64) -> io::Result<Option<Vec<u8>>> {
        let base = position / self.file_bytes * self.file_bytes;
        if position - base + EXT_UNIT_MIN_LEN as u64 > self.file_bytes {
            return Ok(None);
        }
        let Some(file) = self.file(queue, base)? else { return Ok(None) };
        let mut bytes = vec![0; EXT_UNIT_MIN_LEN];
        self.fs.read_exact_at(&file, &mut bytes, position - base)?;
        let size = bytes.first_chunk().map_or(0, |size| i16::from_be_bytes(*size));
        let size = usize::try_from(size).unwrap_or(0);
        if size > EXT_UNIT_MIN_LEN && position - base + size as u64 <= self.file_bytes {
            bytes.resize(size, 0);
            self.fs.read_exact_at(&file, &mut bytes, position - base)?;
        }
        let unit = ExtUnit::parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(unit.is_some().then_some(bytes))
    }

    fn write(&self, queue: &Queue, position: u64, bytes: &[u8]) -> io::Result<()> {
        let base = position / self.file_bytes * self.file_bytes;
        let path = self.path(queue, base);
        let file = match self.file(queue, base)? {
            Some(file) => file,
            None => {
                let dir = self.dir(queue);
                self.fs.create_dir_all(&dir)?;
                let file = Arc::new(self.fs.create(&path, self.file_bytes)?);
                let mut state = self.state.lock();
                state.open.insert(key(queue), (base, Arc::clone(&file)));
                state.new_dirs.extend(dir.ancestors().take(3).map(PathBuf::from));
                file
            }
        };
        self.fs.write_all_at(&file, bytes, position - base)?;
        self.state.lock().dirty.insert(path);
        Ok(())
    }

    /// The file of a queue that begins at `base`, if there is one.
    fn file(&self, queue: &Queue, base: u64) -> io::Result<Option<Arc<File>>> {
        let key = key(queue);
        if let Some((_, file)) = self.state.lock().open.get(&key).filter(|(open, _)| *open == base) {
            return Ok(Some(Arc::clone(file)));
        }
        let path = self.path(queue, base);
        let file = match self.fs.open(&path) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = self.fs.len(&file)?;
        if len != self.file_bytes {
            let text = format!(
                "{}: {len} bytes, but mappedFileSizeConsumeQueueExt is {}; set it to what this store was made with",
                path.display(),
                self.file_bytes
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut state = self.state.lock();
        if state.open.len() >= MAX_OPEN {
            state.open.clear();
        }
        state.open.insert(key, (base, Arc::clone(&file)));
        Ok(Some(file))
    }

    /// First bytes of a queue's files, ascending.
    fn bases(&self, queue: &Queue) -> io::Result<Vec<u64>> {
        let items = self.fs.list(&self.dir(queue))?;
        let mut bases: Vec<u64> =
            items.iter().filter(|item| !item.is_dir).filter_map(|item| file_offset(&item.name)).collect();
        bases.sort_unstable();
        Ok(bases)
    }

    fn dir(&self, queue: &Queue) -> PathBuf {
        self.root.join(&*queue.topic).join(queue.queue_id.to_string())
    }

    fn path(&self, queue: &Queue, base: u64) -> PathBuf {
        self.dir(queue).join(file_name(base))
    }
}

/// What [`ConsumeQueueExt::read`] read.
fn unit_of(bytes: &[u8]) -> Option<ExtUnit<'_>> {
    ExtUnit::parse(bytes).ok().flatten()
}

fn key(queue: &Queue) -> Key {
    (Arc::clone(&queue.topic), queue.queue_id)
}
