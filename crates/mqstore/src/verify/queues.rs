//! The log against the consume queues, and the queues against the log.
//!
//! While the log is read, each record looks up its unit. What one queue needs for that is some hundred bytes, and a few
//! units of it are kept in memory for a few thousand queues at a time. When the log has been read, what was not looked
//! up is looked at.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io;

use codec::consume_queue::{UNIT_LEN, Unit, units};
use codec::message::{MessageRecord, sys_flag};
use codec::properties::names;
use store::offline::{SCHEDULE_TOPIC, TagsCodes, enters_queue, next_data};

use super::catch_up::{Awaited, QueueNow};
use super::lost::LostRanges;
use super::report::{Kind, Report};
use crate::error::{IoContext as _, ToolError};
use crate::files::{LogFiles, QueueDir, QueueFiles, StoreDir, read_at};
use crate::remedy::Remedies;

/// Units read at a time while the log is read.
const WINDOW: i64 = 204;
/// Queues whose units are in memory.
const MAX_WINDOWS: usize = 4096;
/// Damaged stretches of one queue that are told apart.
const MAX_RUNS: usize = 32;
/// Read at a time when a queue is looked through.
const CHUNK: usize = 64 << 10;

/// Topics and what topics.json says of their queues.
pub(crate) type TopicQueues = BTreeMap<String, i32>;

/// What is known of one queue.
#[derive(Debug, Default)]
struct State {
    /// In the list of queues that have a directory.
    dir: Option<usize>,
    topic: Box<str>,
    queue_id: i32,
    /// The first unit that was its record's.
    first: Option<i64>,
    /// One behind the last such unit.
    next: i64,
    window: Option<Window>,
    /// Records without their unit, and units without their record.
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Window {
    from: i64,
    bytes: Box<[u8]>,
}

/// Neighbouring units with the same trouble.
#[derive(Debug)]
struct Run {
    kind: Kind,
    from: i64,
    to: i64,
    physical_from: u64,
    physical_to: u64,
    what: String,
}

/// The check.
#[derive(Debug)]
pub(crate) struct QueueCheck<'a> {
    store: &'a StoreDir,
    files: &'a QueueFiles,
    tags: TagsCodes,
    remedies: Remedies,
    states: Vec<State>,
    by_name: HashMap<Box<str>, HashMap<i32, usize>>,
    windows: VecDeque<usize>,
    log: &'a LogFiles,
    log_min: u64,
    matched: u64,
    blanks: u64,
    /// The last record that was in its queue.
    last_matched: u64,
    has_ext: bool,
    /// A broker has the store open.
    live: bool,
}

/// How the store is, as far as it matters here.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) lost: &'a LostRanges,
    pub(crate) log_end: u64,
    /// Not stopped cleanly: what is not dispatched yet will be at the next start.
    pub(crate) unclean: bool,
    /// `None`: topics.json cannot be read.
    pub(crate) topics: Option<&'a TopicQueues>,
    /// The next start reads the log from here at the latest, when our checkpoint says so.
    pub(crate) dispatched: Option<u64>,
    /// Queues of messages before it were deleted by hand.
    pub(crate) emptied: u64,
}

impl<'a> QueueCheck<'a> {
    pub(crate) fn new(
        store: &'a StoreDir,
        files: &'a QueueFiles,
        log: &'a LogFiles,
        tags: TagsCodes,
        live: bool,
    ) -> QueueCheck<'a> {
        let mut check = QueueCheck {
            store,
            files,
            tags,
            remedies: Remedies::new(store),
            states: Vec::with_capacity(files.queues.len()),
            by_name: HashMap::new(),
            windows: VecDeque::new(),
            log,
            log_min: log.min(),
            matched: 0,
            blanks: 0,
            last_matched: 0,
            has_ext: store.root.join("consumequeue_ext").is_dir(),
            live,
        };
        for (index, queue) in files.queues.iter().enumerate() {
            let state = check.state(&queue.topic, queue.queue_id);
            if let Some(state) = check.states.get_mut(state) {
                state.dir = Some(index);
            }
        }
        check
    }

    /// Names and lengths of the files.
    pub(crate) fn check_files(&self, report: &mut Report) {
        let bytes = self.files.file_bytes;
        let remedy = || self.remedies.rebuild("queues");
        for queue in &self.files.queues {
            let last = queue.files.len().saturating_sub(1);
            let mut expected = None;
            for (index, file) in queue.files.iter().enumerate() {
                let at = |position| (file.path.clone(), Some(position));
                if file.len != bytes && !(index == last && (file.len == 0 || self.live)) {
                    let what = format!("the file has {} bytes where all others have {bytes}", file.len);
                    report.find(Kind::QueueFile, at(file.len.min(bytes)), what, remedy());
                }
                if !file.first.is_multiple_of(bytes) {
                    let what = format!("the file is named after no multiple of {bytes}");
                    report.find(Kind::QueueFile, at(0), what, remedy());
                } else if let Some(expected) = expected.filter(|expected| *expected != file.first) {
                    let missing = file.path.with_file_name(format!("{expected:020}"));
                    let what = format!("the file is missing; the next one begins at {}", file.first);
                    report.find(Kind::QueueFile, (missing, None), what, remedy());
                }
                expected = Some(file.first.saturating_add(bytes));
            }
        }
    }

    fn state(&mut self, topic: &str, queue_id: i32) -> usize {
        if let Some(state) = self.by_name.get(topic).and_then(|queues| queues.get(&queue_id)) {
            return *state;
        }
        let index = self.states.len();
        self.states.push(State { topic: topic.into(), queue_id, ..State::default() });
        self.by_name.entry(topic.into()).or_default().insert(queue_id, index);
        index
    }

    /// Looks up the units of a record.
    pub(crate) fn record(
        &mut self,
        record: &MessageRecord<'_>,
        offset: u64,
        report: &mut Report,
        lost: &LostRanges,
    ) -> Result<(), ToolError> {
        if self.files.is_rocksdb || !enters_queue(record.sys_flag) {
            return Ok(());
        }
        let topic = record.topic_str();
        let expected = Expected {
            physical_offset: offset,
            size: i32::try_from(record.total_size).unwrap_or(i32::MAX),
            tags_code: self.tags.of(record),
            delivered_from: (topic == SCHEDULE_TOPIC).then_some(record.store_timestamp),
            ext_allowed: self.has_ext,
        };
        if let (Some(lmqs), Some(offsets)) =
            (record.property(names::INNER_MULTI_DISPATCH), record.property(names::INNER_MULTI_QUEUE_OFFSET))
        {
            for (lmq, queue_offset) in lmqs.split(',').zip(offsets.split(',')) {
                if let (true, Ok(queue_offset)) = (lmq.starts_with("%LMQ%"), queue_offset.parse()) {
                    self.look_up(lmq, 0, queue_offset, &expected, lost)?;
                }
            }
        }
        // Inner batches have queues of another form.
        if record.sys_flag & sys_flag::INNER_BATCH != 0 || self.files.batch_topics.contains(&*topic) {
            return Ok(());
        }
        if record.queue_offset < 0 || record.queue_id < 0 {
            let what = format!(
                "a record of {topic} with queue {} and queue offset {}, which no queue can have",
                record.queue_id, record.queue_offset
            );
            let (file, position) = self.log.place(offset);
            report.find(Kind::LogQueueOffset, (file, Some(position)), what, self.remedies.damaged_record(offset));
            return Ok(());
        }
        self.look_up(&topic, record.queue_id, record.queue_offset, &expected, lost)
    }

    fn look_up(
        &mut self,
        topic: &str,
        queue_id: i32,
        at: i64,
        expected: &Expected,
        lost: &LostRanges,
    ) -> Result<(), ToolError> {
        let index = self.state(topic, queue_id);
        let mut unit = self.unit(index, at)?;
        let physical = expected.physical_offset;
        if self.live && unit.is_some_and(|unit| unit != Unit::default() && !expected.fits(&unit)) {
            // Half of it may have been written when it was read, perhaps long ago into the window.
            if let Some(state) = self.states.get_mut(index) {
                state.window = None;
            }
            unit = self.unit(index, at)?;
        }
        let place = unit.filter(Unit::is_written).map(|unit| u64::try_from(unit.physical_offset).unwrap_or(0));
        if place != Some(physical) {
            let (kind, what) = match unit {
                Some(unit) if unit != Unit::default() => {
                    (Kind::QueueWrong, format!("{}, the record lies at {physical}", says(&unit)))
                }
                _ => (Kind::QueueMissing, String::new()),
            };
            self.add_run(index, kind, at..at + 1, physical, what);
            return Ok(());
        }
        let Some(state) = self.states.get_mut(index) else { return Ok(()) };
        let (next, begun) = (state.next, state.first.is_some());
        // A queue that begins again at a lower offset is one of a topic that was deleted and made anew: the records before
        // have no units any more.
        state.runs.retain(|run| run.from < at || run.physical_from > physical);
        if state.first.is_none_or(|first| at < first) {
            state.first = Some(at);
        } else if begun && at > next {
            self.check_gap(index, next, at, lost)?;
        }
        if let Some(state) = self.states.get_mut(index) {
            state.next = at + 1;
        }
        if let Some(what) = unit.and_then(|unit| expected.problem(&unit)) {
            self.add_run(index, Kind::QueueWrong, at..at + 1, physical, what);
        } else {
            self.matched += 1;
        }
        self.last_matched = physical;
        Ok(())
    }

    /// Looks at units between two that were their records'.
    fn check_gap(&mut self, index: usize, from: i64, to: i64, lost: &LostRanges) -> Result<(), ToolError> {
        let covered = |runs: &[Run], at: i64| runs.iter().any(|run| (run.from..run.to).contains(&at));
        let mut at = from;
        while at < to {
            if self.states.get(index).is_some_and(|state| covered(&state.runs, at)) {
                at += 1;
                continue;
            }
            match self.unit(index, at)? {
                Some(unit) if unit.is_blank() => self.blanks += 1,
                Some(unit) if unit != Unit::default() => self.judge(index, at, &unit, lost),
                Some(_) => {
                    self.add_run(index, Kind::QueueWrong, at..at + 1, 0, "nothing is written there".to_owned());
                }
                // No file: the list of files tells that already.
                None => {
                    let per_file = self.files.units_per_file();
                    at = (at - at.rem_euclid(per_file)).saturating_add(per_file);
                    continue;
                }
            }
            at += 1;
        }
        Ok(())
    }

    /// A unit that no record has claimed.
    fn judge(&mut self, index: usize, at: i64, unit: &Unit, lost: &LostRanges) {
        let physical = u64::try_from(unit.physical_offset).unwrap_or(u64::MAX);
        if !unit.is_written() {
            self.add_run(index, Kind::QueueWrong, at..at + 1, 0, says(unit));
        } else if physical < self.log_min {
        } else if lost.contains(physical) {
            self.add_run(index, Kind::QueueLost, at..at + 1, physical, says(unit));
        } else {
            let what = format!("{}, where no record of this queue with this offset lies", says(unit));
            self.add_run(index, Kind::QueueExtra, at..at + 1, physical, what);
        }
    }

    fn add_run(&mut self, index: usize, kind: Kind, range: std::ops::Range<i64>, physical: u64, what: String) {
        let Some(state) = self.states.get_mut(index) else { return };
        let (from, to) = (range.start, range.end);
        let full = state.runs.len() >= MAX_RUNS;
        if let Some(last) = state.runs.last_mut().filter(|last| (last.kind == kind && last.to == from) || full) {
            last.to = last.to.max(to);
            last.from = last.from.min(from);
            last.physical_to = physical;
            return;
        }
        state.runs.push(Run { kind, from, to, physical_from: physical, physical_to: physical, what });
    }

    /// A unit of a queue; `None` where it has no file.
    fn unit(&mut self, index: usize, at: i64) -> Result<Option<Unit>, ToolError> {
        let Some(state) = self.states.get_mut(index) else { return Ok(None) };
        let Some(queue) = state.dir.and_then(|dir| self.files.queues.get(dir)) else { return Ok(None) };
        let from_window = state.window.as_ref().and_then(|window| window.unit(at)).filter(Unit::is_written);
        if from_window.is_some() {
            return Ok(from_window);
        }
        let had_window = state.window.is_some();
        let bytes = read_units(self.files, queue, at, WINDOW)?;
        let unit = units(&bytes).next();
        state.window = (!bytes.is_empty()).then(|| Window { from: at, bytes: bytes.into_boxed_slice() });
        if !had_window && state.window.is_some() {
            self.windows.push_back(index);
            if self.windows.len() > MAX_WINDOWS
                && let Some(oldest) = self.windows.pop_front()
                && let Some(state) = self.states.get_mut(oldest)
                && oldest != index
            {
                state.window = None;
            }
        }
        Ok(unit)
    }

    /// Looks at what the log did not lead to, and tells everything. Returns one behind the last unit of each queue.
    pub(crate) fn finish(
        mut self,
        report: &mut Report,
        context: &Context<'_>,
        again: &mut dyn FnMut() -> bool,
    ) -> Result<HashMap<Box<str>, BTreeMap<i32, i64>>, ToolError> {
        let mut ends = HashMap::<Box<str>, BTreeMap<i32, i64>>::new();
        let begins = self.first_matches();
        let mut caught_up = 0;
        for index in 0..self.states.len() {
            let end = self.look_through(index, context)?;
            let runs = self.states.get_mut(index).map(|state| std::mem::take(&mut state.runs)).unwrap_or_default();
            let Some(state) = self.states.get(index) else { continue };
            if state.dir.is_some() {
                ends.entry(state.topic.clone()).or_default().insert(state.queue_id, end);
            }
            let mut leftovers = 0;
            for run in runs {
                if run.kind == Kind::QueueMissing && self.is_leftover(state, &run, context, &begins) {
                    leftovers += run.to - run.from;
                } else if run.kind == Kind::QueueMissing && self.is_pending(&run, context) {
                    let who = if self.live { "the broker" } else { "the next start" };
                    report.note(format!(
                        "{} queue {}: {} messages are not dispatched yet; {who} does that",
                        state.topic,
                        state.queue_id,
                        run.to - run.from
                    ));
                } else if run.kind == Kind::QueueMissing && self.live && self.awaited(state, &run).comes(again)? {
                    caught_up += u64::try_from(run.to - run.from).unwrap_or(0);
                } else {
                    self.tell(report, state, &run);
                }
            }
            if leftovers > 0 {
                report.note(format!(
                    "{} queue {}: {leftovers} records of a deleted topic are still in the log",
                    state.topic, state.queue_id
                ));
            }
        }
        report.queues = self.files.queues.len() as u64;
        report.units = self.matched + caught_up;
        if self.blanks > 0 {
            report.note(format!("{} blank units stand for messages that are gone", self.blanks));
        }
        Ok(ends)
    }

    /// Per topic the first record in any of its queues.
    fn first_matches(&self) -> HashMap<Box<str>, u64> {
        let mut begins = HashMap::<Box<str>, u64>::new();
        for state in &self.states {
            let (Some(first), Some(queue)) = (state.first, state.dir.and_then(|dir| self.files.queues.get(dir))) else {
                continue;
            };
            let unit = read_units(self.files, queue, first, 1).ok().and_then(|bytes| units(&bytes).next());
            if let Some(physical) = unit.and_then(|unit| u64::try_from(unit.physical_offset).ok()) {
                let begin = begins.entry(state.topic.clone()).or_insert(physical);
                *begin = physical.min(*begin);
            }
        }
        begins
    }

    /// Whether records without queue are of a topic that was deleted: it is unknown, or has begun again further on.
    fn is_leftover(&self, state: &State, run: &Run, context: &Context<'_>, begins: &HashMap<Box<str>, u64>) -> bool {
        if self.files.queues.is_empty() && run.physical_to < context.emptied {
            return true;
        }
        if state.dir.is_some() {
            return false;
        }
        if begins.get(&state.topic).is_some_and(|begin| run.physical_to < *begin) {
            return true;
        }
        let unknown = context.topics.is_some_and(|topics| {
            topics
                .get(&*state.topic)
                .map_or(!protocol::names::is_system_topic(&state.topic), |queues| state.queue_id >= *queues)
        });
        unknown && !self.files.queues.is_empty()
    }

    /// Whether dispatch had not come to records when the log was read.
    fn is_pending(&self, run: &Run, context: &Context<'_>) -> bool {
        if self.live {
            return run.physical_from > self.last_matched;
        }
        context.unclean && run.physical_from >= context.dispatched.unwrap_or(self.last_matched + 1)
    }

    fn now<'s>(&'s self, state: &'s State) -> QueueNow<'s> {
        QueueNow { store: self.store, files: self.files, topic: &state.topic, queue_id: state.queue_id }
    }

    fn awaited<'s>(&'s self, state: &'s State, run: &Run) -> Awaited<'s> {
        Awaited {
            queue: self.now(state),
            from: run.from,
            to: run.to,
            physical_from: run.physical_from,
            physical_to: run.physical_to,
        }
    }

    fn tell(&self, report: &mut Report, state: &State, run: &Run) {
        let count = run.to - run.from;
        let (file, position) = self.now(state).place(run.from);
        let which = match count {
            1 => format!("unit {}", run.from),
            _ => format!("units {} to {}", run.from, run.to - 1),
        };
        let rebuild = self.remedies.rebuild("queues");
        let (what, remedy) = match run.kind {
            Kind::QueueMissing => (
                format!(
                    "{which}: missing; the records lie in the log from {} to {}",
                    run.physical_from, run.physical_to
                ),
                rebuild,
            ),
            Kind::QueueLost => (
                format!("{which}: of messages that the log has lost; the first one: {}", run.what),
                "these messages are lost with the part of the log that is told above; consumers go past them"
                    .to_owned(),
            ),
            _ if count > 1 => (format!("{which}: the first one: {}", run.what), rebuild),
            _ => (format!("{which}: {}", run.what), rebuild),
        };
        report.find(run.kind, (file, Some(position)), what, remedy);
    }

    /// Looks at the units before the first and behind the last that records led to. Returns the end of the queue.
    fn look_through(&mut self, index: usize, context: &Context<'_>) -> Result<i64, ToolError> {
        let files = self.files;
        let Some(state) = self.states.get(index) else { return Ok(0) };
        let (first, next) = (state.first, state.next);
        let Some(queue) = state.dir.and_then(|dir| files.queues.get(dir)) else { return Ok(0) };
        let Some(begin) = queue.files.first().map(|file| unit_of(file.first)) else { return Ok(0) };
        let mut end = if first.is_some() { next } else { 0 };
        let mut expired = 0;
        let mut expect = begin;
        let mut troubles = Vec::new();
        for_each_written(files, queue, begin, &mut |at, unit| {
            if first.is_some_and(|first| (first..next).contains(&at)) {
                return;
            }
            if at < first.unwrap_or(0) && at > expect {
                troubles.push((expect, at, None));
            }
            expect = at + 1;
            let physical = u64::try_from(unit.physical_offset).unwrap_or(u64::MAX);
            if unit.is_written() && (self.live && physical >= context.log_end) {
                return;
            }
            let before = first.is_none_or(|first| at < first);
            if unit.is_written() && before && (unit.is_blank() || physical < self.log_min) {
                expired += i64::from(unit.is_blank());
                end = end.max(at + 1);
                return;
            }
            if unit.is_written() {
                end = end.max(at + 1);
            }
            troubles.push((at, at + 1, Some(unit)));
        })?;
        if let Some(first) = first.filter(|first| *first > expect) {
            troubles.push((expect, first, None));
        }
        self.blanks += u64::try_from(expired).unwrap_or(0);
        for (from, to, unit) in troubles {
            // Half of it may have been written when it was read.
            let unit = match (unit, self.states.get(index)) {
                (Some(unit), Some(state)) if self.live => Some(self.now(state).unit(from)?.unwrap_or(unit)),
                (unit, _) => unit,
            };
            let behind = |unit: &Unit| {
                unit.is_written() && u64::try_from(unit.physical_offset).is_ok_and(|at| at >= context.log_end)
            };
            match unit {
                Some(unit) if self.live && behind(&unit) => {}
                Some(unit) if behind(&unit) => {
                    let what = format!("{}, but the log ends at {}", says(&unit), context.log_end);
                    self.add_run(index, Kind::QueueExtra, from..to, context.log_end, what);
                }
                Some(unit) => self.judge_or_skip(index, from, &unit, context.lost),
                None => self.add_hole(index, from, to),
            }
        }
        Ok(end)
    }

    fn judge_or_skip(&mut self, index: usize, at: i64, unit: &Unit, lost: &LostRanges) {
        let known = |state: &State| state.runs.iter().any(|run| (run.from..run.to).contains(&at));
        if !self.states.get(index).is_some_and(known) {
            self.judge(index, at, unit, lost);
        }
    }

    /// Units that are zeroes where there should be something, as far as records have not told so already.
    fn add_hole(&mut self, index: usize, from: i64, to: i64) {
        let known = |state: &State| state.runs.iter().any(|run| run.from < to && from < run.to);
        if !self.states.get(index).is_some_and(known) {
            self.add_run(index, Kind::QueueWrong, from..to, 0, "nothing is written there".to_owned());
        }
    }
}

/// What the unit of a record should be.
struct Expected {
    physical_offset: u64,
    size: i32,
    tags_code: i64,
    /// Of a delayed message the store time: what its level means is the broker's setting.
    delivered_from: Option<i64>,
    ext_allowed: bool,
}

impl Expected {
    /// Whether a unit is that of the record, in every field.
    fn fits(&self, unit: &Unit) -> bool {
        u64::try_from(unit.physical_offset) == Ok(self.physical_offset) && self.problem(unit).is_none()
    }

    fn problem(&self, unit: &Unit) -> Option<String> {
        if unit.size != self.size {
            return Some(format!("it says the record has {} bytes, it has {}", unit.size, self.size));
        }
        let is_delay = self.delivered_from.is_some_and(|from| {
            let delay = unit.tags_code.saturating_sub(from);
            delay >= 0 && delay % 1000 == 0
        });
        // An address in consumequeue_ext. Source: ConsumeQueueExt.isExtAddr.
        let is_ext = self.ext_allowed && unit.tags_code < i64::from(i32::MIN);
        if unit.tags_code == self.tags_code || is_delay || is_ext {
            return None;
        }
        Some(format!("its tagsCode is {}, that of the record {}", unit.tags_code, self.tags_code))
    }
}

impl Window {
    fn unit(&self, at: i64) -> Option<Unit> {
        let skip = usize::try_from(at.checked_sub(self.from)?).ok()?.checked_mul(UNIT_LEN)?;
        Unit::parse(self.bytes.get(skip..)?).ok()
    }
}

fn says(unit: &Unit) -> String {
    format!("it says offset {}, size {}", unit.physical_offset, unit.size)
}

fn unit_of(position: u64) -> i64 {
    i64::try_from(position / UNIT_LEN as u64).unwrap_or(i64::MAX)
}

/// Up to `count` units of one file; none where there is no file.
pub(crate) fn read_units(files: &QueueFiles, queue: &QueueDir, at: i64, count: i64) -> Result<Vec<u8>, ToolError> {
    let Ok(position) = u64::try_from(at).map(|at| at.saturating_mul(UNIT_LEN as u64)) else { return Ok(Vec::new()) };
    let holds = |first: u64| position >= first && position - first < files.file_bytes;
    let Some(file) = queue.files.iter().rev().find(|file| holds(file.first)) else { return Ok(Vec::new()) };
    let rest = (file.first + files.file_bytes - position) / UNIT_LEN as u64;
    let count = rest.min(u64::try_from(count).unwrap_or(0));
    let opened = match File::open(&file.path) {
        Ok(opened) => opened,
        // A broker that runs deletes files.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).on("open", &file.path),
    };
    let len = usize::try_from(count).unwrap_or(0).saturating_mul(UNIT_LEN);
    read_at(&opened, position - file.first, len).on("read", &file.path)
}

/// Calls `visit` with every unit from `from` on that is not all zeroes.
pub(crate) fn for_each_written(
    files: &QueueFiles,
    queue: &QueueDir,
    from: i64,
    visit: &mut dyn FnMut(i64, Unit),
) -> Result<(), ToolError> {
    let unit = UNIT_LEN as u64;
    let begin = u64::try_from(from).unwrap_or(0).saturating_mul(unit);
    for file in queue.files.iter().filter(|file| file.first.saturating_add(files.file_bytes) > begin) {
        let opened = match File::open(&file.path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).on("open", &file.path),
        };
        let len = file.len.min(files.file_bytes);
        let mut position = begin.saturating_sub(file.first);
        while position < len {
            let Some(data) = next_data(&opened, position) else { break };
            position = data - data % unit;
            let want = usize::try_from(len.saturating_sub(position)).unwrap_or(CHUNK).min(CHUNK - CHUNK % UNIT_LEN);
            let bytes = read_at(&opened, position, want).on("read", &file.path)?;
            let base = unit_of(file.first + position);
            for (at, unit) in (base..).zip(units(&bytes)) {
                if unit != Unit::default() {
                    visit(at, unit);
                }
            }
            if bytes.len() < UNIT_LEN {
                break;
            }
            position += (bytes.len() - bytes.len() % UNIT_LEN) as u64;
        }
    }
    Ok(())
}
