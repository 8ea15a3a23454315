//! A file system that notes everything a power loss could undo.
//!
//! What is written through memory maps needs no hook: map and page cache are the same bytes, so each mapped file is
//! compared with what was last seen of it at every event, and after every put. Nothing is really synced: what a sync
//! promises is known from the record, and the page cache is all that the running store needs.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use store::{DirItem, DiskUsage, FileSystem, RealFileSystem};

/// What a disk writes whole or not at all.
pub const SECTOR: usize = 512;
/// A sync takes that long, so that appends meet a flush that is under way.
const SYNC_TIME: Duration = Duration::from_micros(150);

/// A file or directory, whatever its name; 0 is the root.
pub type Id = usize;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Bytes.
    File,
    /// Names.
    Dir,
}

/// Bytes of a file, from the start of a sector on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Write {
    pub file: Id,
    pub position: usize,
    pub bytes: Vec<u8>,
}

/// One thing that happened, in the order in which it did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// Bytes changed in the page cache. All at once: which was first is not known.
    Write(Vec<Write>),
    /// The file has another length.
    Len { file: Id, len: usize },
    /// A name was given to a file or directory, or taken away (`None`).
    Name { dir: Id, name: String, to: Option<(Id, Kind)> },
    /// A sync has returned: what happened to these files and directories before event `before` is on the disk.
    Sync { of: Vec<Id>, before: usize },
}

/// A directory tree: path below the root, content (`None`: a directory). A parent comes before what it holds.
pub type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// Everything about one run.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Record {
    /// What was there before, on the disk; ids count through it from 1.
    pub before: Tree,
    /// What happened then.
    pub events: Vec<Event>,
}

/// The recording file system over a real directory.
#[derive(Debug)]
pub struct Recorder {
    root: PathBuf,
    boot: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    record: Record,
    next: Id,
    names: BTreeMap<PathBuf, Id>,
    inodes: BTreeMap<u64, Id>,
    files: BTreeMap<Id, Tracked>,
}

#[derive(Debug)]
struct Tracked {
    file: File,
    seen: Vec<u8>,
    /// Looked at in this order, of one rank the newest first. A kill leaves queues and index no further than the log, the
    /// checkpoint no further than these, and a new file no further than the one before; looking at what is written last first
    /// keeps it so, though other threads go on writing meanwhile.
    rank: u8,
}

impl Recorder {
    /// Over `root`, which exists; what it holds counts as on the disk. `boot` is the id of this start of the machine.
    pub fn new(root: &Path, boot: &str) -> Self {
        let before = read_tree(root);
        let mut state = State { next: 1, ..State::default() };
        state.names.insert(PathBuf::new(), 0);
        for (path, content) in &before {
            let id = state.new_id(path);
            if let Some(seen) = content {
                let file = File::options().read(true).open(root.join(path)).unwrap();
                state.track(id, path, file, seen.clone());
            }
        }
        state.record.before = before;
        Self { root: root.to_owned(), boot: boot.to_owned(), state: Mutex::new(state) }
    }

    /// Notes what was written through maps and returns how many events there are.
    pub fn position(&self) -> usize {
        let mut state = self.lock();
        state.look_at_maps();
        state.record.events.len()
    }

    /// How many syncs of this file have returned since event `since`.
    pub fn syncs_of(&self, name: &str, since: usize) -> usize {
        let state = self.lock();
        let Some(id) = state.names.get(Path::new(name)) else { return 0 };
        let is_it = |event: &&Event| matches!(event, Event::Sync { of, before } if of.contains(id) && *before >= since);
        state.record.events.iter().skip(since).filter(is_it).count()
    }

    /// What was recorded.
    pub fn record(&self) -> Record {
        self.position();
        self.lock().record.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root)
            .unwrap_or_else(|_| panic!("{} is outside of the store", path.display()))
            .to_owned()
    }

    /// Does something to a file by its descriptor and notes what it changed.
    fn change<T>(&self, file: &File, what: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut state = self.lock();
        let done = what()?;
        let id = state.id_of(file);
        state.look_at_maps_and(id);
        Ok(done)
    }

    fn forget_name(state: &mut State, path: &Path) {
        let Some(id) = state.names.remove(path) else { return };
        state.name(path, None);
        state.files.remove(&id);
    }
}

impl State {
    fn new_id(&mut self, path: &Path) -> Id {
        let id = self.next;
        self.next += 1;
        self.names.insert(path.to_owned(), id);
        id
    }

    fn track(&mut self, id: Id, path: &Path, file: File, seen: Vec<u8>) {
        // Closing a second descriptor of the locked file would unlock it.
        if path == Path::new("lock") {
            return;
        }
        let rank = match path.iter().next().and_then(|first| first.to_str()) {
            Some("checkpoint") => 0,
            Some("index") => 1,
            Some("commitlog") => 2,
            _ => 3,
        };
        self.inodes.insert(file.metadata().unwrap().ino(), id);
        self.files.insert(id, Tracked { file, seen, rank });
    }

    fn id_of(&self, file: &File) -> Option<Id> {
        self.inodes.get(&file.metadata().ok()?.ino()).copied()
    }

    fn name(&mut self, path: &Path, to: Option<(Id, Kind)>) {
        let dir = self.names[path.parent().unwrap()];
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        self.record.events.push(Event::Name { dir, name, to });
    }

    fn look_at_maps(&mut self) {
        self.look_at_maps_and(None);
    }

    /// Notes how the mapped files, and one more, differ from what was last seen of them.
    fn look_at_maps_and(&mut self, also: Option<Id>) {
        let mut ids: Vec<_> =
            self.files.iter().filter(|(_, one)| one.rank < 3).map(|(id, one)| (one.rank, Reverse(*id))).collect();
        ids.extend(also.map(|id| (3, Reverse(id))));
        ids.sort_unstable();
        let mut writes = Vec::new();
        for (_, Reverse(id)) in ids {
            self.look_at(id, &mut writes);
        }
        if !writes.is_empty() {
            self.record.events.push(Event::Write(writes));
        }
    }

    fn look_at(&mut self, file: Id, writes: &mut Vec<Write>) {
        let Some(tracked) = self.files.get_mut(&file) else { return };
        let len = usize::try_from(tracked.file.metadata().unwrap().len()).unwrap();
        if len != tracked.seen.len() {
            tracked.seen.resize(len, 0);
            self.record.events.push(Event::Len { file, len });
        }
        let mut now = vec![0; len];
        tracked.file.read_exact_at(&mut now, 0).unwrap();
        if now == tracked.seen {
            return;
        }
        let sectors = now.chunks(SECTOR).zip(tracked.seen.chunks(SECTOR));
        for (at, (new, _)) in sectors.enumerate().filter(|(_, (new, old))| new != old) {
            let position = at * SECTOR;
            match writes.last_mut().filter(|last| last.file == file && last.position + last.bytes.len() == position) {
                Some(last) => last.bytes.extend_from_slice(new),
                None => writes.push(Write { file, position, bytes: new.to_vec() }),
            }
        }
        tracked.seen = now;
    }
}

impl FileSystem for Recorder {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        RealFileSystem.create_dir_all(path)?;
        let below = self.below(path);
        let mut made: Vec<_> = below.ancestors().filter(|dir| !state.names.contains_key(*dir)).collect();
        made.reverse();
        for dir in made {
            let id = state.new_id(dir);
            state.name(dir, Some((id, Kind::Dir)));
        }
        Ok(())
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirItem>> {
        RealFileSystem.list(path)
    }
    fn open(&self, path: &Path) -> io::Result<File> {
        RealFileSystem.open(path)
    }
    fn create(&self, path: &Path, len: u64) -> io::Result<File> {
        let mut state = self.lock();
        let file = RealFileSystem.create(path, len)?;
        let below = self.below(path);
        if let Some(id) = state.names.get(&below).copied() {
            state.look_at_maps_and(Some(id));
        } else {
            let id = state.new_id(&below);
            state.name(&below, Some((id, Kind::File)));
            state.track(id, &below, file.try_clone()?, Vec::new());
            state.look_at_maps_and(Some(id));
        }
        Ok(file)
    }
    fn len(&self, file: &File) -> io::Result<u64> {
        RealFileSystem.len(file)
    }
    /// Noted also of a file that has no name any more: on the disk it may still have one.
    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        RealFileSystem.set_len(file, len)?;
        match state.id_of(file) {
            Some(id) if state.files.contains_key(&id) => state.look_at_maps_and(Some(id)),
            Some(id) => {
                let len = usize::try_from(len).unwrap();
                state.record.events.push(Event::Len { file: id, len });
            }
            None => {}
        }
        Ok(())
    }
    fn modified_ms(&self, file: &File) -> io::Result<i64> {
        RealFileSystem.modified_ms(file)
    }
    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        self.change(file, || RealFileSystem.allocate(file, position, len))
    }
    fn zero(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        self.change(file, || RealFileSystem.zero(file, position, len))
    }
    fn read_exact_at(&self, file: &File, bytes: &mut [u8], position: u64) -> io::Result<()> {
        RealFileSystem.read_exact_at(file, bytes, position)
    }
    fn write_all_at(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        self.change(file, || RealFileSystem.write_all_at(file, bytes, position))
    }
    fn sync_data(&self, file: &File) -> io::Result<()> {
        let mut state = self.lock();
        state.look_at_maps();
        let Some(of) = state.id_of(file) else { return Ok(()) };
        let before = state.record.events.len();
        drop(state);
        std::thread::sleep(SYNC_TIME);
        self.lock().record.events.push(Event::Sync { of: vec![of], before });
        Ok(())
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let below = self.below(path);
        let of = *state.names.get(&below).ok_or(io::ErrorKind::NotFound)?;
        let before = state.record.events.len();
        state.record.events.push(Event::Sync { of: vec![of], before });
        Ok(())
    }
    fn sync_all(&self, _: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.look_at_maps();
        let before = state.record.events.len();
        let of = state.names.values().copied().collect();
        state.record.events.push(Event::Sync { of, before });
        Ok(())
    }
    fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        drop(self.create(path, 0)?);
        let file = self.open(path)?;
        self.change(&file, || RealFileSystem.write_file(path, bytes))
    }
    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        if path.ends_with("boot_id") {
            Ok(Some(self.boot.clone().into_bytes()))
        } else {
            RealFileSystem.read_file(path)
        }
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.look_at_maps();
        RealFileSystem.rename(from, to)?;
        let (from, to) = (self.below(from), self.below(to));
        if let Some(id) = state.names.remove(&from) {
            if let Some(replaced) = state.names.insert(to.clone(), id) {
                state.files.remove(&replaced);
            }
            state.name(&to, Some((id, Kind::File)));
            state.name(&from, None);
        }
        Ok(())
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.look_at_maps();
        RealFileSystem.remove_file(path)?;
        Self::forget_name(&mut state, &self.below(path));
        Ok(())
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.look_at_maps();
        RealFileSystem.remove_dir_all(path)?;
        let below = self.below(path);
        let gone: Vec<_> = state.names.keys().filter(|name| name.starts_with(&below)).cloned().collect();
        // What a directory holds goes before it.
        gone.iter().rev().for_each(|name| Self::forget_name(&mut state, name));
        Ok(())
    }
    fn usage(&self, _: &Path) -> io::Result<DiskUsage> {
        Ok(DiskUsage { used: 10, available: 90 })
    }
}

/// Everything below `root`, sorted, so that a directory comes before what it holds.
pub fn read_tree(root: &Path) -> Tree {
    fn add(root: &Path, dir: &Path, tree: &mut Tree) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                tree.insert(below, None);
                add(root, &path, tree);
            } else {
                tree.insert(below, Some(std::fs::read(&path).unwrap()));
            }
        }
    }
    let mut tree = Tree::new();
    add(root, root, &mut tree);
    tree
}

/// Writes a tree into an empty directory.
pub fn write_tree(root: &Path, tree: &Tree) {
    for (path, content) in tree {
        match content {
            None => std::fs::create_dir(root.join(path)).unwrap(),
            Some(bytes) => std::fs::write(root.join(path), bytes).unwrap(),
        }
    }
}
