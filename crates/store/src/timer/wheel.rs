//! The wheel, `timerwheel`: two weeks of slots, one per tick of `timerPrecisionMs`, each with the chain of units of the
//! timer log that are due then. The file is read and written slot by slot; in memory there is a bit for each slot that has
//! something to deliver, so that the next one is found without looking at the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use codec::timer::{SLOT_LEN, Slot};

use crate::error::OpenError;
use crate::fs::{FileSystem, next_data};
use crate::log_files::io_error;

/// Ticks that a message may wait at most without going round again; the wheel has twice as many slots.
/// Source: TimerMessageStore, TIMER_WHEEL_TTL_DAY.
pub(super) const SLOTS: u32 = 7 * 24 * 3600;
const TOTAL: u64 = SLOTS as u64 * 2;
const FILE_LEN: u64 = TOTAL * SLOT_LEN as u64;
/// Bytes read together when the whole file is looked at.
const CHUNK: u64 = 1 << 20;

const _: () = assert!(FILE_LEN.is_multiple_of(64) && TOTAL.is_multiple_of(64));

/// The slots as anyone may read them.
#[derive(Debug)]
pub(super) struct WheelFile {
    fs: Arc<dyn FileSystem>,
    file: File,
}

impl WheelFile {
    /// Opens or makes the file. One of another length is begun anew: it is made from the timer log anyway.
    /// # Errors
    /// What the system said.
    pub(super) fn open(fs: Arc<dyn FileSystem>, path: &Path) -> Result<WheelFile, OpenError> {
        let file = fs.create(path, FILE_LEN).map_err(|error| io_error("open", path, error))?;
        Ok(WheelFile { fs, file })
    }

    /// What is stored where the slot of `tick` belongs, of this tick or another.
    /// # Errors
    /// What the system said.
    fn raw(&self, tick: i64) -> io::Result<Slot> {
        let mut bytes = [0; SLOT_LEN];
        self.fs.read_exact_at(&self.file, &mut bytes, index(tick) * SLOT_LEN as u64)?;
        Slot::parse(&bytes).map_err(io::Error::other)
    }

    /// The slot of `tick`; `None` when there is none.
    /// # Errors
    /// What the system said.
    pub(super) fn slot(&self, tick: i64) -> io::Result<Option<Slot>> {
        Ok(Some(self.raw(tick)?).filter(|slot| slot.tick == tick))
    }

    /// Brings the file to the disk.
    /// # Errors
    /// What the system said.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.fs.sync_data(&self.file)
    }

    fn write(&self, index: u64, slot: &Slot) -> io::Result<()> {
        self.fs.write_all_at(&self.file, &slot.encode(), index * SLOT_LEN as u64)
    }

    /// Calls `each` with index and content of every slot that may hold anything.
    fn each(&self, mut each: impl FnMut(u64, Slot) -> io::Result<()>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut at = 0;
        while let Some(data) = next_data(&self.file, at).filter(|data| *data < FILE_LEN) {
            at = data - data % SLOT_LEN as u64;
            let len = CHUNK.min(FILE_LEN - at);
            bytes.resize(usize::try_from(len).unwrap_or(0), 0);
            self.fs.read_exact_at(&self.file, &mut bytes, at)?;
            for (index, bytes) in (at / SLOT_LEN as u64..).zip(bytes.chunks_exact(SLOT_LEN)) {
                if bytes.iter().any(|byte| *byte != 0) {
                    each(index, Slot::parse(bytes).map_err(io::Error::other)?)?;
                }
            }
            at += len;
        }
        Ok(())
    }
}

fn index(tick: i64) -> u64 {
    tick.unsigned_abs() % TOTAL
}

/// The wheel as its thread keeps it.
#[derive(Debug)]
pub(super) struct Wheel {
    pub(super) file: Arc<WheelFile>,
    bits: Vec<u64>,
    marked: i64,
    /// Slots that the next [`Wheel::commit`] writes, by tick.
    changed: BTreeMap<i64, Slot>,
    needs_sync: bool,
}

impl Wheel {
    /// A wheel that knows of nothing to deliver yet.
    pub(super) fn new(file: Arc<WheelFile>) -> Wheel {
        let words = usize::try_from(TOTAL / 64).unwrap_or(0);
        Wheel { file, bits: vec![0; words], marked: 0, changed: BTreeMap::new(), needs_sync: false }
    }

    /// Takes over the slots of the file from `tick` on whose units all lie before `log_end`. Returns how many messages wait
    /// there, or `None` when the file cannot be right.
    /// # Errors
    /// What the system said.
    pub(super) fn load(&mut self, tick: i64, log_end: u64) -> io::Result<Option<i64>> {
        let file = Arc::clone(&self.file);
        let (mut waiting, mut sound) = (0, true);
        file.each(|at, slot| {
            if slot.tick >= tick {
                let in_log = |position: i64| u64::try_from(position).is_ok_and(|position| position < log_end);
                sound &= index(slot.tick) == at && slot.tick < tick.saturating_add(TOTAL.cast_signed());
                sound &= in_log(slot.first) && in_log(slot.last) && slot.first <= slot.last;
                self.mark(slot.tick);
                waiting += i64::from(slot.num);
            }
            Ok(())
        })?;
        Ok(sound.then_some(waiting))
    }

    /// Makes the file hold exactly these slots from `tick` on. They lie within one turn of the wheel.
    /// # Errors
    /// What the system said.
    pub(super) fn replace(&mut self, tick: i64, slots: BTreeMap<i64, Slot>) -> io::Result<()> {
        self.bits.fill(0);
        self.marked = 0;
        self.changed.clear();
        let by_index: BTreeMap<u64, Slot> = slots.into_values().map(|slot| (index(slot.tick), slot)).collect();
        let mut missing = by_index.clone();
        let file = Arc::clone(&self.file);
        file.each(|at, found| {
            match by_index.get(&at) {
                Some(slot) if *slot == found => drop(missing.remove(&at)),
                None if found.tick >= tick => file.write(at, &Slot::default())?,
                _ => {}
            }
            Ok(())
        })?;
        for (at, slot) in missing {
            file.write(at, &slot)?;
        }
        by_index.values().for_each(|slot| self.mark(slot.tick));
        self.needs_sync = true;
        Ok(())
    }

    /// The slot of `tick`, what is not committed included; `None` when nothing waits there.
    /// # Errors
    /// What the system said.
    pub(super) fn slot(&self, tick: i64) -> io::Result<Option<Slot>> {
        match self.changed.get(&tick) {
            Some(slot) => Ok(Some(*slot)),
            None if !self.is_marked(tick) => Ok(None),
            None => self.file.slot(tick),
        }
    }

    /// Whether the place of `tick` is taken by what waits for another time.
    /// # Errors
    /// What the system said.
    pub(super) fn is_taken(&self, tick: i64) -> io::Result<bool> {
        Ok(self.is_marked(tick) && !self.changed.contains_key(&tick) && self.file.slot(tick)?.is_none())
    }

    /// Changes a slot with the next commit.
    pub(super) fn set(&mut self, slot: Slot) {
        self.changed.insert(slot.tick, slot);
    }

    /// Writes what was changed.
    /// # Errors
    /// What the system said; what was changed is still to be written, or to be forgotten.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        while let Some(entry) = self.changed.first_entry() {
            let slot = *entry.get();
            self.file.write(index(slot.tick), &slot)?;
            entry.remove();
            self.mark(slot.tick);
            self.needs_sync = true;
        }
        Ok(())
    }

    /// Forgets what was changed and not written. Slots that were written already are written again when their messages
    /// come again.
    pub(super) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    /// What is due at `tick` is delivered.
    pub(super) fn done(&mut self, tick: i64) {
        if let Some((word, bit)) = place(tick)
            && let Some(word) = self.bits.get_mut(word)
        {
            self.marked -= i64::from(*word & bit != 0);
            *word &= !bit;
        }
    }

    /// How many slots have something to deliver.
    pub(super) fn len(&self) -> i64 {
        self.marked
    }

    /// The first tick from `tick` on, within one turn, at which something is due.
    pub(super) fn next(&self, tick: i64) -> Option<i64> {
        let words = self.bits.len();
        let (first, bit) = place(tick)?;
        let behind = !(bit - 1);
        (0..=words).find_map(|step| {
            let at = (first + step) % words;
            let mask = match step {
                0 => behind,
                _ if step == words => !behind,
                _ => u64::MAX,
            };
            let set = self.bits.get(at)? & mask;
            let found = (set != 0).then(|| at as u64 * 64 + u64::from(set.trailing_zeros()))?;
            let distance = (found + TOTAL - index(tick)) % TOTAL;
            Some(tick + distance.cast_signed())
        })
    }

    /// The file, when it must be brought to the disk; not again by the next call.
    pub(super) fn take_unsynced(&mut self) -> Option<Arc<WheelFile>> {
        std::mem::take(&mut self.needs_sync).then(|| Arc::clone(&self.file))
    }

    fn mark(&mut self, tick: i64) {
        if let Some((word, bit)) = place(tick)
            && let Some(word) = self.bits.get_mut(word)
        {
            self.marked += i64::from(*word & bit == 0);
            *word |= bit;
        }
    }

    fn is_marked(&self, tick: i64) -> bool {
        place(tick).is_some_and(|(word, bit)| self.bits.get(word).is_some_and(|word| word & bit != 0))
    }
}

/// Word and bit of a tick.
fn place(tick: i64) -> Option<(usize, u64)> {
    let index = index(tick);
    Some((usize::try_from(index / 64).ok()?, 1 << (index % 64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFileSystem;

    fn wheel(dir: &Path) -> Wheel {
        Wheel::new(Arc::new(WheelFile::open(Arc::new(RealFileSystem), &dir.join("timerwheel")).unwrap()))
    }

    fn slot(tick: i64) -> Slot {
        Slot { tick, first: 52, last: 104, num: 2, magic: 0 }
    }

    #[test]
    fn the_next_slot_is_found_once_around() {
        let dir = tempfile::tempdir().unwrap();
        let mut wheel = wheel(dir.path());
        let now = 1_700_000_000;
        assert_eq!(wheel.next(now), None);
        for tick in [now, now + 1, now + 63, now + 64, now + 100_000, now + 1_209_599] {
            wheel.set(slot(tick));
            wheel.commit().unwrap();
            assert_eq!(wheel.next(tick), Some(tick));
            for from in [now, tick - 1, tick].into_iter().filter(|from| *from >= now) {
                assert_eq!(wheel.next(from), Some(tick), "{from}");
            }
            assert_eq!(wheel.slot(tick).unwrap(), Some(slot(tick)));
            assert_eq!(wheel.slot(tick + 1).unwrap(), None);
            wheel.done(tick);
            assert_eq!(wheel.next(now), None);
        }
    }

    #[test]
    fn a_place_that_is_taken_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut wheel = wheel(dir.path());
        wheel.set(slot(5));
        wheel.commit().unwrap();
        let around = 5 + TOTAL.cast_signed();
        assert!(wheel.is_taken(around).unwrap());
        assert!(!wheel.is_taken(5).unwrap());
        wheel.done(5);
        assert!(!wheel.is_taken(around).unwrap());
    }

    #[test]
    fn a_file_is_loaded_when_it_can_be_right_and_replaced_by_what_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = wheel(dir.path());
        for tick in [10, 20, 30] {
            first.set(slot(tick));
        }
        first.commit().unwrap();
        let mut second = wheel(dir.path());
        assert_eq!(second.load(20, 1000).unwrap(), Some(4), "what is due before is delivered");
        assert_eq!(second.next(0), Some(20));
        assert_eq!(wheel(dir.path()).load(20, 100).unwrap(), None, "units behind the end of the log");
        let mut third = wheel(dir.path());
        third.replace(20, BTreeMap::from([(20, Slot { num: 7, ..slot(20) }), (25, slot(25))])).unwrap();
        let mut fourth = wheel(dir.path());
        assert_eq!(fourth.load(20, 1000).unwrap(), Some(9));
        assert_eq!(
            (fourth.next(20), fourth.next(21), fourth.next(26)),
            (Some(20), Some(25), Some(20 + TOTAL.cast_signed()))
        );
        assert_eq!(std::fs::metadata(dir.path().join("timerwheel")).unwrap().len(), 38_707_200);
    }
}
