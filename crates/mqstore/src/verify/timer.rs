//! The timer's files: units of its log lead to messages of its topic, slots of the wheel to their units, and every message
//! that waits can be reached from its slot.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use codec::java_hash::string_hash;
use codec::properties::names;
use codec::timer::{CHECKPOINT_LEN, LogItem, LogUnit, NO_POSITION, SLOT_LEN, Slot, TimerCheckpoint, UNIT_LEN};
use store::offline::next_data;

use super::report::{Kind, Report};
use crate::error::{IoContext as _, ToolError};
use crate::files::{DataFile, LogFiles, StoreDir, data_files, read_at};
use crate::log::{LogReader, Look};

/// What messages for arbitrary times wait in.
const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Slots of a wheel: two weeks of seconds. Source: TimerMessageStore, TIMER_WHEEL_TTL_DAY.
const SLOTS: u64 = 2 * 7 * 24 * 3600;
const WHEEL_LEN: u64 = SLOTS * SLOT_LEN as u64;
/// Read at a time.
const LOG_CHUNK: usize = UNIT_LEN * 1260;
const WHEEL_CHUNK: usize = 1 << 20;

/// Checks the timer of a store that nobody has open and that was stopped cleanly; `end` is where the commit log ends.
///
/// # Errors
/// What the system said.
pub(crate) fn check(store: &StoreDir, log: &LogFiles, end: u64, report: &mut Report) -> Result<(), ToolError> {
    let dir = store.root.join("timerlog");
    let mut strangers = Vec::new();
    let files = data_files(&dir, &mut strangers)?;
    for stranger in strangers {
        report.note(format!("{} is no file of the timer log; nobody reads it", stranger.display()));
    }
    let file_bytes = files.iter().map(|file| file.len).max().unwrap_or(0);
    let check_path = store.root.join("config/timercheck");
    let checkpoint = match std::fs::read(&check_path) {
        Ok(bytes) => TimerCheckpoint::parse(bytes.get(..CHECKPOINT_LEN).unwrap_or(&bytes)).ok(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).on("read", &check_path),
    };
    let read_ms = checkpoint.map_or(i64::MAX, |checkpoint| checkpoint.last_read_time_ms);
    let mut timer = TimerCheck {
        dir,
        files,
        file_bytes,
        log,
        end,
        read_ms,
        waiting: BTreeSet::new(),
        units: 0,
        opened: None,
        report,
    };
    timer.check_files();
    let log_end = timer.check_log()?;
    if let Some(checkpoint) = checkpoint
        && u64::try_from(checkpoint.last_timer_log_flush_pos).is_ok_and(|flushed| flushed > log_end)
    {
        let what = format!(
            "the timer log is on the disk up to {}, it says, but ends at {log_end}",
            checkpoint.last_timer_log_flush_pos
        );
        let remedy = "none is needed: what the timer log lacks is taken from its topic again";
        timer.report.find(Kind::Timer, (check_path, Some(8)), what, remedy);
    }
    timer.check_wheel(&store.root.join("timerwheel"))?;
    timer.report.timer_units = timer.units;
    Ok(())
}

struct TimerCheck<'a> {
    dir: PathBuf,
    files: Vec<DataFile>,
    file_bytes: u64,
    log: &'a LogFiles,
    end: u64,
    /// What is due before is delivered.
    read_ms: i64,
    /// Positions of units that must be reached from the wheel.
    waiting: BTreeSet<u64>,
    units: u64,
    /// The file that a unit was last read from, by its first byte.
    opened: Option<(u64, File)>,
    report: &'a mut Report,
}

/// What makes good whatever is wrong with log and wheel.
fn anew(dir: &Path) -> String {
    format!(
        "stop the broker and move {} and timerwheel away: they are made again from the messages of the timer's topic, as \
         far as the commit log has them",
        dir.display()
    )
}

impl TimerCheck<'_> {
    fn find(&mut self, place: (PathBuf, Option<u64>), what: impl Into<String>) {
        let remedy = anew(&self.dir);
        self.report.find(Kind::Timer, place, what, remedy);
    }

    fn check_files(&mut self) {
        let mut expected = self.files.first().map_or(0, |file| file.first);
        for file in self.files.clone() {
            if file.first != expected || file.len != self.file_bytes {
                let what = format!(
                    "it begins at {} and has {} bytes, where {expected} and {} are right",
                    file.first, file.len, self.file_bytes
                );
                self.find((file.path, None), what);
            }
            expected = file.first.saturating_add(self.file_bytes);
        }
    }

    /// Where a position of the timer log lies.
    fn place(&self, position: u64) -> Option<(&DataFile, u64)> {
        let file = self.files.get(self.files.partition_point(|file| file.first <= position).checked_sub(1)?)?;
        (position - file.first < file.len).then(|| (file, position - file.first))
    }

    fn unit(&mut self, position: u64) -> Result<Option<LogUnit>, ToolError> {
        let Some((first, path, at)) = self.place(position).map(|(file, at)| (file.first, file.path.clone(), at)) else {
            return Ok(None);
        };
        let opened = match self.opened.take().filter(|(of, _)| *of == first) {
            Some((_, opened)) => opened,
            None => File::open(&path).on("open", &path)?,
        };
        let bytes = read_at(&opened, at, UNIT_LEN).on("read", &path)?;
        self.opened = Some((first, opened));
        Ok(match LogItem::parse(&bytes) {
            LogItem::Unit(unit) if bytes.len() == UNIT_LEN => Some(unit),
            _ => None,
        })
    }

    fn unit_at(&mut self, position: i64) -> Result<Option<LogUnit>, ToolError> {
        u64::try_from(position).map_or(Ok(None), |position| self.unit(position))
    }

    /// Returns where the timer log ends.
    fn check_log(&mut self) -> Result<u64, ToolError> {
        let log = self.log;
        let mut reader = LogReader::for_single_records(log);
        let mut end = self.files.first().map_or(0, |file| file.first);
        let files = self.files.clone();
        for (number, file) in files.iter().enumerate() {
            let opened = File::open(&file.path).on("open", &file.path)?;
            let mut at = 0;
            'file: while at < file.len {
                let bytes = read_at(&opened, at, LOG_CHUNK).on("read", &file.path)?;
                for bytes in bytes.chunks(UNIT_LEN) {
                    let position = file.first.saturating_add(at);
                    match LogItem::parse(bytes) {
                        LogItem::Unit(unit) if bytes.len() == UNIT_LEN => {
                            if let Some(what) = self.unit_problem(&unit, position, &mut reader)? {
                                self.find((file.path.clone(), Some(at)), what);
                            } else {
                                self.units += 1;
                            }
                            if unit.deliver_ms() >= self.read_ms {
                                self.waiting.insert(position);
                            }
                            at += UNIT_LEN as u64;
                            end = file.first.saturating_add(at);
                        }
                        LogItem::Blank => {
                            end = file.first.saturating_add(file.len);
                            break 'file;
                        }
                        _ => {
                            if number + 1 < files.len() || bytes.iter().any(|byte| *byte != 0) {
                                self.find(
                                    (file.path.clone(), Some(at)),
                                    "no unit can be read here, where the log goes on",
                                );
                            }
                            return Ok(end);
                        }
                    }
                }
                if bytes.is_empty() {
                    break;
                }
            }
        }
        Ok(end)
    }

    /// What is wrong with a unit, and the message that it leads to.
    fn unit_problem(
        &self,
        unit: &LogUnit,
        position: u64,
        reader: &mut LogReader<'_>,
    ) -> Result<Option<String>, ToolError> {
        if unit.previous != NO_POSITION && u64::try_from(unit.previous).is_ok_and(|previous| previous >= position) {
            return Ok(Some(format!("its link leads forward, to {}", unit.previous)));
        }
        let offset = u64::try_from(unit.physical_offset).unwrap_or(u64::MAX);
        if offset < self.log.min() {
            // Its message has expired.
            return Ok(None);
        }
        if offset >= self.end {
            return Ok(Some(format!("its message is at {offset}, but the commit log ends at {}", self.end)));
        }
        let record = match reader.look(offset)? {
            Look::Record(located) => located.record,
            other => return Ok(Some(format!("its message is at {offset}, where no record is: {}", other.why()))),
        };
        let size = usize::try_from(unit.size).unwrap_or(0);
        let topic = record.property(names::REAL_TOPIC).unwrap_or_default();
        Ok(match () {
            () if *record.topic_str() != *TIMER_TOPIC => {
                Some(format!("its message at {offset} is one of {}", record.topic_str()))
            }
            () if record.total_size != size => {
                Some(format!("its message at {offset} has {} bytes, not {size}", record.total_size))
            }
            () if string_hash(topic) != unit.topic_hash => {
                Some(format!("its message at {offset} is for {topic}, whose hash is not {}", unit.topic_hash))
            }
            () => None,
        })
    }

    fn check_wheel(&mut self, path: &Path) -> Result<(), ToolError> {
        let wheel = match File::open(path) {
            Ok(wheel) => wheel,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if !self.waiting.is_empty() {
                    let what = format!("there is no wheel, and {} messages wait", self.waiting.len());
                    self.report.find(Kind::Timer, (path.to_owned(), None), what, WHEEL_REMEDY);
                }
                return Ok(());
            }
            Err(error) => return Err(error).on("open", path),
        };
        let len = wheel.metadata().on("look at", path)?.len();
        if len != WHEEL_LEN {
            let what = format!("the wheel has {len} bytes, {WHEEL_LEN} are right");
            self.report.find(Kind::Timer, (path.to_owned(), None), what, WHEEL_REMEDY);
            return Ok(());
        }
        let mut at = 0;
        while let Some(data) = next_data(&wheel, at).filter(|data| *data < WHEEL_LEN) {
            at = data - data % SLOT_LEN as u64;
            let bytes = read_at(&wheel, at, WHEEL_CHUNK).on("read", path)?;
            for bytes in bytes.chunks_exact(SLOT_LEN) {
                if let Ok(slot) = Slot::parse(bytes)
                    && bytes.iter().any(|byte| *byte != 0)
                    && let Some(what) = self.slot_problem(&slot, at / SLOT_LEN as u64)?
                {
                    self.report.find(Kind::Timer, (path.to_owned(), Some(at)), what, WHEEL_REMEDY);
                }
                at += SLOT_LEN as u64;
            }
        }
        if let Some(first) = self.waiting.first() {
            let (file, at) = self.place(*first).map_or_else(Default::default, |(file, at)| (file.path.clone(), at));
            let what =
                format!("{} messages wait that no slot of the wheel leads to; this is the first", self.waiting.len());
            self.report.find(Kind::Timer, (file, Some(at)), what, WHEEL_REMEDY);
        }
        Ok(())
    }

    /// Goes from the last unit of a slot to its first.
    fn slot_problem(&mut self, slot: &Slot, index: u64) -> Result<Option<String>, ToolError> {
        if slot.tick.unsigned_abs() % SLOTS != index {
            return Ok(Some(format!("the slot of tick {} does not belong here", slot.tick)));
        }
        let Some(last) = self.unit_at(slot.last)? else {
            // What was delivered goes with the files of the log that had it.
            return Ok((slot.tick.saturating_mul(1000) >= self.read_ms)
                .then(|| format!("the slot of tick {} leads to {}, where no unit is", slot.tick, slot.last)));
        };
        if last.deliver_ms() < self.read_ms || slot.tick <= 0 {
            return Ok(None);
        }
        let precision = last.deliver_ms() / slot.tick;
        let (mut position, mut count) = (slot.last, 0);
        loop {
            let Some(unit) = self.unit_at(position)? else {
                return Ok(Some(format!("the slot of tick {} leads to {position}, where no unit is", slot.tick)));
            };
            if precision == 0 || unit.deliver_ms().div_euclid(precision) != slot.tick {
                let what = format!("the unit at {position} of the slot of tick {} is due at another time", slot.tick);
                return Ok(Some(what));
            }
            self.waiting.remove(&position.unsigned_abs());
            count += if unit.is_delete() { -1 } else { 1 };
            // A link that leads forward is told of where it lies.
            if position <= slot.first || unit.previous >= position {
                break;
            }
            position = unit.previous;
        }
        Ok((position != slot.first || count != slot.num).then(|| {
            format!(
                "the slot of tick {} has {} messages from {} on, it says; there are {count} from {position} on",
                slot.tick, slot.num, slot.first
            )
        }))
    }
}

/// The wheel is only a way into the log.
const WHEEL_REMEDY: &str = "stop the broker and remove timerwheel: it is made again from the timer log";
