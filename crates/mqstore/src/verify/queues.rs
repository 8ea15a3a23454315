//! The log against the consume queues, and the queues against the log.
//!
//! While the log is read, each record looks up its unit. What one queue needs for that is some hundred bytes, and a few
//! units of it are kept in memory for a few thousand queues at a time. When the log has been read, what was not looked
//! up is looked at ([`rest`]).

mod rest;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;

use codec::consume_queue::{UNIT_LEN, Unit, units};
use codec::consume_queue_ext::ext_position;
use codec::message::MessageRecord;
use store::offline::{SCHEDULE_TOPIC, TagsCodes, enters_queue, lmq_places_of};

use super::extensions::ExtensionCheck;
use super::lost::LostRanges;
use super::report::{Kind, Report};
use super::runs::{Run, Runs, says};
use crate::error::ToolError;
use crate::files::{LogFiles, QueueFiles};
use crate::queue_units::read_units;
use crate::remedy::Remedies;

/// Units read at a time while the log is read.
const WINDOW: i64 = 204;
/// Queues whose units are in memory.
const MAX_WINDOWS: usize = 4096;

/// Topics and what topics.json says of their queues.
pub(crate) type TopicQueues = BTreeMap<String, i32>;
/// One behind the last unit of each queue.
pub(crate) type Ends = HashMap<Box<str>, BTreeMap<i32, i64>>;

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
    runs: Runs,
}

#[derive(Debug)]
struct Window {
    from: i64,
    bytes: Box<[u8]>,
}

/// The check.
#[derive(Debug)]
pub(crate) struct QueueCheck<'a> {
    files: &'a QueueFiles,
    extensions: ExtensionCheck<'a>,
    tags: TagsCodes,
    remedies: Remedies,
    states: Vec<State>,
    by_name: HashMap<Box<str>, HashMap<i32, usize>>,
    windows: VecDeque<usize>,
    log: &'a LogFiles,
    matched: u64,
    blanks: u64,
    /// The last record that was in its queue.
    last_matched: u64,
    /// A broker has the store open.
    live: bool,
}

/// How the store is, as far as it matters here.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) lost: &'a LostRanges,
    pub(crate) log_end: u64,
    /// A broker has the store open.
    pub(crate) live: bool,
    /// There is no queue of any topic.
    pub(crate) no_queues: bool,
    /// Not stopped cleanly: what is not dispatched yet will be at the next start.
    pub(crate) unclean: bool,
    /// `None`: topics.json cannot be read.
    pub(crate) topics: Option<&'a TopicQueues>,
    /// The next start reads the log from here at the latest, when our checkpoint says so.
    pub(crate) dispatched: Option<u64>,
    /// Queues of messages before it were deleted by hand.
    pub(crate) emptied: u64,
}

impl Context<'_> {
    /// Whether dispatch had not come to records without unit when the log was read; `last_matched` is the last record that
    /// had its own.
    pub(crate) fn is_pending(&self, run: &Run, last_matched: u64) -> bool {
        if self.live {
            return run.physical_from > last_matched;
        }
        self.unclean && run.physical_from >= self.dispatched.unwrap_or(last_matched + 1)
    }

    /// Whether topics.json has no such queue, so that its records are of a topic that was deleted.
    pub(crate) fn is_unknown(&self, topic: &str, queue_id: i32) -> bool {
        let unknown = self.topics.is_some_and(|topics| {
            topics.get(topic).map_or(!protocol::names::is_system_topic(topic), |queues| queue_id >= *queues)
        });
        unknown && !self.no_queues
    }

    pub(crate) fn pending_note(&self, topic: &str, queue_id: i32, messages: u64) -> String {
        let who = if self.live { "the broker" } else { "the next start" };
        format!("{topic} queue {queue_id}: {messages} messages are not dispatched yet; {who} does that")
    }

    pub(crate) fn leftover_note(topic: &str, queue_id: i32, records: u64) -> String {
        format!("{topic} queue {queue_id}: {records} records of a deleted topic are still in the log")
    }
}

impl<'a> QueueCheck<'a> {
    pub(crate) fn new(
        files: &'a QueueFiles,
        extensions: ExtensionCheck<'a>,
        log: &'a LogFiles,
        tags: TagsCodes,
        remedies: Remedies,
        live: bool,
    ) -> QueueCheck<'a> {
        let mut check = QueueCheck {
            files,
            extensions,
            tags,
            remedies,
            states: Vec::with_capacity(files.queues.len()),
            by_name: HashMap::new(),
            windows: VecDeque::new(),
            log,
            matched: 0,
            blanks: 0,
            last_matched: 0,
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

    fn state(&mut self, topic: &str, queue_id: i32) -> usize {
        if let Some(state) = self.by_name.get(topic).and_then(|queues| queues.get(&queue_id)) {
            return *state;
        }
        let index = self.states.len();
        self.states.push(State { topic: topic.into(), queue_id, ..State::default() });
        self.by_name.entry(topic.into()).or_default().insert(queue_id, index);
        index
    }

    /// Looks up the units of a record; one that belongs in a queue of batches may have units in others beside.
    pub(crate) fn record(
        &mut self,
        record: &MessageRecord<'_>,
        offset: u64,
        is_batch: bool,
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
            store_timestamp: record.store_timestamp,
        };
        for (lmq, queue_offset) in lmq_places_of(record) {
            self.look_up((lmq, 0), queue_offset, &expected, report, lost)?;
        }
        if is_batch {
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
        self.look_up((&topic, record.queue_id), record.queue_offset, &expected, report, lost)
    }

    fn look_up(
        &mut self,
        (topic, queue_id): (&str, i32),
        at: i64,
        expected: &Expected,
        report: &mut Report,
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
        state.runs.0.retain(|run| run.from < at || run.physical_from > physical);
        if state.first.is_none_or(|first| at < first) {
            state.first = Some(at);
        } else if begun && at > next {
            self.check_gap(index, next, at, lost)?;
        }
        if let Some(state) = self.states.get_mut(index) {
            state.next = at + 1;
        }
        let extension = unit.and_then(|unit| ext_position(unit.tags_code));
        let lacking = match extension {
            Some(position) => self.extensions.look_up((topic, queue_id), position, expected, report)?,
            None => None,
        };
        match (unit.and_then(|unit| expected.problem(&unit)), lacking) {
            (Some(what), _) => self.add_run(index, Kind::QueueWrong, at..at + 1, physical, what),
            (None, Some(what)) => self.add_run(index, Kind::QueueExtension, at..at + 1, physical, what),
            (None, None) => self.matched += 1,
        }
        self.last_matched = physical;
        Ok(())
    }

    /// Looks at units between two that were their records'.
    fn check_gap(&mut self, index: usize, from: i64, to: i64, lost: &LostRanges) -> Result<(), ToolError> {
        let mut at = from;
        while at < to {
            if self.is_told(index, at..at + 1) {
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
        } else if physical < self.log.min() {
        } else if lost.contains(physical) {
            self.add_run(index, Kind::QueueLost, at..at + 1, physical, says(unit));
        } else {
            let what = format!("{}, where no record of this queue with this offset lies", says(unit));
            self.add_run(index, Kind::QueueExtra, at..at + 1, physical, what);
        }
    }

    fn add_run(&mut self, index: usize, kind: Kind, range: Range<i64>, physical: u64, what: String) {
        if let Some(state) = self.states.get_mut(index) {
            state.runs.add(kind, range, physical, what);
        }
    }

    /// Whether something in a range of units is told already.
    fn is_told(&self, index: usize, range: Range<i64>) -> bool {
        self.states.get(index).is_some_and(|state| state.runs.has_any(range))
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
}

/// What the unit of a record should be.
#[derive(Debug)]
pub(crate) struct Expected {
    physical_offset: u64,
    size: i32,
    tags_code: i64,
    pub(crate) store_timestamp: i64,
    /// Of a delayed message the store time: what its level means is the broker's setting.
    delivered_from: Option<i64>,
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
        if ext_position(unit.tags_code).is_some() {
            return None;
        }
        self.tags_problem(unit.tags_code)
    }

    /// What is wrong with a tagsCode, of the unit or of its extension.
    pub(crate) fn tags_problem(&self, tags_code: i64) -> Option<String> {
        let is_delay = self.delivered_from.is_some_and(|from| {
            let delay = tags_code.saturating_sub(from);
            delay >= 0 && delay % 1000 == 0
        });
        (tags_code != self.tags_code && !is_delay)
            .then(|| format!("its tagsCode is {tags_code}, that of the record {}", self.tags_code))
    }
}

impl Window {
    fn unit(&self, at: i64) -> Option<Unit> {
        let skip = usize::try_from(at.checked_sub(self.from)?).ok()?.checked_mul(UNIT_LEN)?;
        Unit::parse(self.bytes.get(skip..)?).ok()
    }
}
