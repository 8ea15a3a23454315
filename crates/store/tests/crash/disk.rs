//! The disk at each moment of a record, and what a loss of power or a kill may leave of it.
//!
//! Promised is only what POSIX promises and Linux's file systems keep: a file's content and length once it was synced, a
//! directory's names once the directory was synced. Of the rest any part may be there: of each page any of the versions it
//! had since the last sync, torn at sectors now and then; of names and lengths any, in the order in which they came (a
//! journal, as ext4 and xfs have) or, in some states, without order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::random::Random;
use crate::recorder::{Event, Id, Kind, Record, SECTOR, Tree};

const PAGE: usize = 4096;

/// The disk after some of the events of a record.
#[derive(Debug, Default)]
pub struct Disk {
    nodes: BTreeMap<Id, Node>,
    /// How many events have been.
    position: usize,
}

#[derive(Debug, Default)]
struct Node {
    is_dir: bool,
    /// What is on the disk for certain.
    content: Vec<u8>,
    names: BTreeMap<String, Id>,
    /// What has happened since, with the number of the event.
    pending: Vec<(usize, Change)>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Len(usize),
    Name(String, Option<Id>),
}

/// How much of what is not synced a loss of power leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Nothing,
    Everything,
    /// All that was before one moment, and nothing after it.
    Before(usize),
    /// Of each file everything or nothing.
    Files,
    /// Any version of any page.
    Pages,
}

impl Disk {
    /// Before the first event.
    pub fn new(record: &Record) -> Self {
        let mut disk = Self::default();
        disk.nodes.insert(0, Node { is_dir: true, ..Node::default() });
        let mut ids = BTreeMap::from([(PathBuf::new(), 0)]);
        for (path, content) in &record.before {
            let id = ids.len();
            ids.insert(path.clone(), id);
            let parent = ids[path.parent().unwrap()];
            disk.node(parent).names.insert(name_of(path), id);
            let node = disk.node(id);
            node.is_dir = content.is_none();
            node.content = content.clone().unwrap_or_default();
        }
        disk
    }

    /// How many events have been.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Lets one more event happen.
    pub fn step(&mut self, event: &Event) {
        let at = self.position;
        self.position += 1;
        match event {
            Event::Write(writes) => {
                for write in writes {
                    let change = Change::Write { position: write.position, bytes: write.bytes.clone() };
                    self.change(write.file, at, change);
                }
            }
            Event::Len { file, len } => self.change(*file, at, Change::Len(*len)),
            Event::Name { dir, name, to } => {
                if let Some((id, kind)) = to {
                    self.node(*id).is_dir = *kind == Kind::Dir;
                }
                self.change(*dir, at, Change::Name(name.clone(), to.map(|(id, _)| id)));
            }
            Event::Sync { of, before } => {
                of.iter().for_each(|id| self.node(*id).sync(*before));
            }
        }
    }

    /// What a kill of the process leaves: everything.
    pub fn after_kill(&self) -> Tree {
        self.tree(|_, node| node.with(|_, _| true))
    }

    /// What a loss of power may leave, as `random` has it.
    pub fn after_power_loss(&self, random: &mut Random) -> Tree {
        let leaves = match random.below(10) {
            0 => Leaves::Nothing,
            1 => Leaves::Everything,
            2 | 3 => Leaves::Before(self.some_moment(random)),
            4 => Leaves::Files,
            _ => Leaves::Pages,
        };
        let journal = match leaves {
            Leaves::Nothing => Some(0),
            Leaves::Everything => Some(self.position),
            Leaves::Before(moment) => Some(moment),
            Leaves::Files | Leaves::Pages => random.chance(2, 3).then(|| self.some_moment(random)),
        };
        // Two walks ask for one node never: each has one name.
        let random = std::cell::RefCell::new(random);
        self.tree(|_, node| node.survive(leaves, journal, &mut random.borrow_mut()))
    }

    /// Everything but, of what is not synced, what `lost` names: a path's name and length (`None`) or a sector of it.
    pub fn after_loss_of(&self, lost: impl Fn(&Path, Option<usize>) -> bool) -> Tree {
        self.tree(|path, node| node.without(path, &lost))
    }

    /// The offsets of the commit-log files that are there now, synced or not.
    pub fn log_files(&self) -> BTreeSet<u64> {
        let files = self.after_kill_names("commitlog");
        files.iter().filter_map(|name| name.parse().ok()).collect()
    }

    fn after_kill_names(&self, dir: &str) -> Vec<String> {
        let root = self.nodes[&0].with(|_, _| true);
        let Some(id) = root.names.get(dir) else { return Vec::new() };
        self.nodes.get(id).map(|node| node.with(|_, _| true).names.into_keys().collect()).unwrap_or_default()
    }

    /// The number of an event that is not synced, or of the one to come.
    fn some_moment(&self, random: &mut Random) -> usize {
        let mut moments: Vec<usize> =
            self.nodes.values().flat_map(|node| node.pending.iter().map(|(event, _)| *event)).collect();
        moments.push(self.position);
        moments[random.below(moments.len())]
    }

    fn node(&mut self, id: Id) -> &mut Node {
        self.nodes.entry(id).or_default()
    }

    fn change(&mut self, id: Id, at: usize, change: Change) {
        self.node(id).pending.push((at, change));
    }

    fn tree(&self, survive: impl Fn(&Path, &Node) -> Survivor) -> Tree {
        let mut tree = Tree::new();
        let mut dirs = vec![(PathBuf::new(), 0)];
        while let Some((path, id)) = dirs.pop() {
            let Some(node) = self.nodes.get(&id) else { continue };
            for (name, child) in survive(&path, node).names {
                let path = path.join(name);
                match self.nodes.get(&child) {
                    Some(node) if node.is_dir => {
                        tree.insert(path.clone(), None);
                        dirs.push((path, child));
                    }
                    Some(node) => {
                        let left = survive(&path, node);
                        tree.insert(path, Some(left.content));
                    }
                    None => unreachable!("names stand for nodes"),
                }
            }
        }
        tree
    }
}

/// What is left of a node.
#[derive(Debug, Default)]
struct Survivor {
    content: Vec<u8>,
    names: BTreeMap<String, Id>,
}

impl Node {
    fn sync(&mut self, before: usize) {
        for (event, change) in std::mem::take(&mut self.pending) {
            if event < before {
                self.apply(&change);
            } else {
                self.pending.push((event, change));
            }
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { position, bytes } => put(&mut self.content, *position, bytes),
            Change::Len(len) => self.content.resize(*len, 0),
            Change::Name(name, Some(id)) => drop(self.names.insert(name.clone(), *id)),
            Change::Name(name, None) => drop(self.names.remove(name)),
        }
    }

    fn with(&self, survives: impl Fn(usize, &Change) -> bool) -> Survivor {
        let mut node = Node { content: self.content.clone(), names: self.names.clone(), ..Node::default() };
        let mut len = node.content.len();
        for (_, change) in self.pending.iter().filter(|(event, change)| survives(*event, change)) {
            if let Change::Len(new) = change {
                len = *new;
            }
            node.apply(change);
        }
        // Written pages behind a length that was not kept are not there.
        node.content.resize(len, 0);
        Survivor { content: node.content, names: node.names }
    }

    fn without(&self, path: &Path, lost: &impl Fn(&Path, Option<usize>) -> bool) -> Survivor {
        let mut left = self.with(|_, change| match change {
            Change::Write { .. } => false,
            Change::Len(_) => !lost(path, None),
            Change::Name(name, _) => !lost(&path.join(name), None),
        });
        let len = left.content.len();
        for (_, change) in &self.pending {
            let Change::Write { position, bytes } = change else { continue };
            for (at, sector) in (*position..).step_by(SECTOR).zip(bytes.chunks(SECTOR)) {
                if !lost(path, Some(at)) {
                    put(&mut left.content, at, sector);
                }
            }
        }
        left.content.truncate(len);
        left
    }

    fn survive(&self, leaves: Leaves, journal: Option<usize>, random: &mut Random) -> Survivor {
        // Names and lengths: by the journal, or each up to a moment of its own.
        let mut moments: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, change) in &self.pending {
            let what = match change {
                Change::Write { .. } => continue,
                Change::Len(_) => "",
                Change::Name(name, _) => name,
            };
            moments.entry(what).or_insert_with(|| journal.unwrap_or_else(|| self.moment(random)));
        }
        let whole = random.chance(1, 2);
        let survives = |event: usize, change: &Change| match (change, leaves) {
            (Change::Len(_), _) => event < moments[""],
            (Change::Name(name, _), _) => event < moments[name.as_str()],
            (_, Leaves::Nothing) => false,
            (_, Leaves::Everything) => true,
            (_, Leaves::Before(moment)) => event < moment,
            (_, Leaves::Files) => whole,
            (_, Leaves::Pages) => false,
        };
        let mut left = self.with(survives);
        if leaves == Leaves::Pages {
            self.scatter(&mut left.content, random);
        }
        left
    }

    /// Gives each page (or, where it is torn, each sector) one of the versions it had. What lies behind the length stays away.
    fn scatter(&self, content: &mut Vec<u8>, random: &mut Random) {
        let len = content.len();
        let mut pages: BTreeMap<usize, Option<usize>> = BTreeMap::new();
        let mut sectors: BTreeMap<usize, usize> = BTreeMap::new();
        for (event, change) in &self.pending {
            let Change::Write { position, bytes } = change else { continue };
            for (at, sector) in (*position..).step_by(SECTOR).zip(bytes.chunks(SECTOR)) {
                let page = pages.entry(at / PAGE);
                let torn_or_moment = *page.or_insert_with(|| (!random.chance(1, 4)).then(|| self.moment(random)));
                let moment =
                    torn_or_moment.unwrap_or_else(|| *sectors.entry(at).or_insert_with(|| self.moment(random)));
                if *event < moment {
                    put(content, at, sector);
                }
            }
        }
        content.truncate(len);
    }

    /// A moment between two of the changes that wait.
    fn moment(&self, random: &mut Random) -> usize {
        match random.below(self.pending.len() + 1) {
            0 => 0,
            at => self.pending[at - 1].0 + 1,
        }
    }
}

fn put(content: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    let end = position + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[position..end].copy_from_slice(bytes);
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::Write;

    const FILE: Id = 1;

    fn record(events: Vec<Event>) -> Record {
        Record { before: Tree::new(), events }
    }

    fn write(position: usize, byte: u8, len: usize) -> Event {
        Event::Write(vec![Write { file: FILE, position, bytes: vec![byte; len] }])
    }

    fn named() -> Event {
        Event::Name { dir: 0, name: "f".to_owned(), to: Some((FILE, Kind::File)) }
    }

    /// What may be left of the file after all of `events`, over many choices.
    fn outcomes(events: Vec<Event>) -> BTreeSet<Option<Vec<u8>>> {
        let record = record(events);
        let mut disk = Disk::new(&record);
        record.events.iter().for_each(|event| disk.step(event));
        (0..2000)
            .map(|seed| disk.after_power_loss(&mut Random::new(seed)).remove(Path::new("f")).map(Option::unwrap))
            .collect()
    }

    fn sync(of: Id, before: usize) -> Event {
        Event::Sync { of: vec![of], before }
    }

    #[test]
    fn what_is_synced_is_there_and_nothing_else_for_certain() {
        let all = vec![named(), Event::Len { file: FILE, len: 1024 }, write(0, 1, 512), write(512, 2, 512)];
        let whole: Vec<u8> = [[1; 512], [2; 512]].concat();
        let seen = outcomes(all.clone());
        // No name; a name and no length; each sector or both or none.
        let (first, second) = ([[1; 512], [0; 512]].concat(), [[0; 512], [2; 512]].concat());
        for expect in [None, Some(Vec::new()), Some(whole.clone()), Some(first), Some(second), Some(vec![0; 1024])] {
            assert!(seen.contains(&expect), "{:?}", expect.map(|bytes| bytes.len()));
        }
        assert_eq!(seen.len(), 6);
        let mut synced = all.clone();
        synced.extend([sync(FILE, 4), sync(0, 5)]);
        assert_eq!(outcomes(synced), BTreeSet::from([Some(whole)]));
        // A sync promises nothing about what came after it began.
        let mut late = all;
        late.extend([sync(FILE, 3), sync(0, 4)]);
        assert_eq!(outcomes(late).len(), 2);
    }

    #[test]
    fn versions_of_a_sector_are_whole_and_taken_back_names_may_stay() {
        let events = vec![
            named(),
            Event::Len { file: FILE, len: 512 },
            write(0, 1, 512),
            sync(FILE, 3),
            sync(0, 4),
            write(0, 2, 512),
            write(0, 3, 512),
            Event::Name { dir: 0, name: "f".to_owned(), to: None },
        ];
        let expect = [None, Some(vec![1; 512]), Some(vec![2; 512]), Some(vec![3; 512])];
        assert_eq!(outcomes(events), BTreeSet::from(expect));
    }

    #[test]
    fn a_kill_leaves_everything() {
        let record = record(vec![named(), Event::Len { file: FILE, len: 3 }, write(0, 7, 3)]);
        let mut disk = Disk::new(&record);
        record.events.iter().for_each(|event| disk.step(event));
        assert_eq!(disk.after_kill(), Tree::from([(PathBuf::from("f"), Some(vec![7; 3]))]));
    }
}
