//! The log against the queues of batches, side by side: units lie in the order of their records, and none is left out.

use std::collections::{BTreeMap, BTreeSet};

use codec::batch_consume_queue::{BATCH_UNIT_LEN, BatchUnit};
use codec::consume_queue::Unit;
use codec::message::{MessageRecord, sys_flag};
use store::offline::{TagsCodes, enters_queue};

use super::catch_up::Awaited;
use super::lost::LostRanges;
use super::queues::{Context, Ends};
use super::report::{Kind, Report};
use super::runs::{Runs, says};
use crate::error::ToolError;
use crate::files::{LogFiles, QueueFiles};
use crate::log::{LogReader, Look, message_count};
use crate::queue_units::{for_each_unit, read_units};
use crate::remedy::Remedies;

/// Units read at a time while the log is read.
const WINDOW: i64 = 89;
/// Queues whose units are in memory.
const MAX_WINDOWS: usize = 4096;

/// The check.
pub(crate) struct BatchCheck<'a> {
    files: &'a QueueFiles,
    topics: BTreeSet<&'a str>,
    tags: TagsCodes,
    log: &'a LogFiles,
    /// Looks at records out of turn.
    lookup: LogReader<'a>,
    remedies: Remedies,
    live: bool,
    states: BTreeMap<Box<str>, BTreeMap<i32, State>>,
    windows: usize,
    matched: u64,
    last_matched: u64,
}

/// What is known of one queue.
#[derive(Debug, Default)]
struct State {
    /// In the list of queues that have a directory.
    dir: Option<usize>,
    /// The unit whose turn is next.
    next: i64,
    /// One behind the last unit that was written when the check began.
    end: i64,
    /// Records without unit since the last one that had its own.
    missing: i64,
    /// Lowest queue offset of records without unit before the first one that had its own.
    lowest: Option<i64>,
    begun: bool,
    /// Behind the last message.
    end_offset: i64,
    window: Option<(i64, Box<[u8]>)>,
    runs: Runs,
    leftovers: u64,
}

impl<'a> BatchCheck<'a> {
    pub(crate) fn new(
        files: &'a QueueFiles,
        log: &'a LogFiles,
        tags: TagsCodes,
        remedies: Remedies,
        live: bool,
    ) -> Result<BatchCheck<'a>, ToolError> {
        let mut states = BTreeMap::<Box<str>, BTreeMap<i32, State>>::new();
        for (dir, queue) in files.queues.iter().enumerate() {
            let next = queue.files.first().map_or(0, |file| files.unit_at(file.first));
            let mut state = State { dir: Some(dir), next, end: next, ..State::default() };
            for file in queue.files.iter().rev() {
                for_each_unit(files, queue, files.unit_at(file.first), &mut |at, _| state.end = at + 1)?;
                if state.end > next {
                    break;
                }
            }
            states.entry(queue.topic.as_str().into()).or_default().insert(queue.queue_id, state);
        }
        Ok(BatchCheck {
            files,
            topics: files.topics(),
            tags,
            log,
            lookup: LogReader::for_single_records(log),
            remedies,
            live,
            states,
            windows: 0,
            matched: 0,
            last_matched: 0,
        })
    }

    /// Whether a record belongs in a queue of batches.
    pub(crate) fn takes(&self, record: &MessageRecord<'_>) -> bool {
        record.sys_flag & sys_flag::INNER_BATCH != 0 || self.topics.contains(&*record.topic_str())
    }

    /// Compares the unit of a record; units before it are of none.
    pub(crate) fn record(
        &mut self,
        record: &MessageRecord<'_>,
        offset: u64,
        report: &mut Report,
        lost: &LostRanges,
    ) -> Result<(), ToolError> {
        if !enters_queue(record.sys_flag) {
            return Ok(());
        }
        let topic = record.topic_str();
        if record.queue_offset < 0 || record.queue_id < 0 {
            let what = format!(
                "a record of {topic} with queue {} and queue offset {}, which no queue can have",
                record.queue_id, record.queue_offset
            );
            let (file, position) = self.log.place(offset);
            report.find(Kind::LogQueueOffset, (file, Some(position)), what, self.remedies.damaged_record(offset));
            return Ok(());
        }
        let expected = self.expected(record, offset);
        let mut state =
            self.states.get_mut(&*topic).and_then(|queues| queues.remove(&record.queue_id)).unwrap_or_default();
        let compared = self.compare(&mut state, (&topic, record.queue_id), &expected, offset, lost);
        if !self.states.contains_key(&*topic) {
            self.states.insert(topic.as_ref().into(), BTreeMap::new());
        }
        if let Some(queues) = self.states.get_mut(&*topic) {
            queues.insert(record.queue_id, state);
        }
        compared
    }

    fn expected(&self, record: &MessageRecord<'_>, offset: u64) -> BatchUnit {
        BatchUnit {
            unit: Unit {
                physical_offset: i64::try_from(offset).unwrap_or(i64::MAX),
                size: i32::try_from(record.total_size).unwrap_or(i32::MAX),
                tags_code: self.tags.of(record),
            },
            store_timestamp: record.store_timestamp,
            base_offset: record.queue_offset,
            count: message_count(record),
        }
    }

    fn compare(
        &mut self,
        state: &mut State,
        queue: (&str, i32),
        expected: &BatchUnit,
        offset: u64,
        lost: &LostRanges,
    ) -> Result<(), ToolError> {
        loop {
            let at = state.next;
            let written = |bytes: &[u8; BATCH_UNIT_LEN]| {
                BatchUnit::parse(bytes).ok().filter(|unit| unit.unit.is_written()).map(|unit| (*bytes, unit))
            };
            let Some((bytes, found)) = self.unit(state, at)?.as_ref().and_then(written) else {
                if at < state.end {
                    state.runs.add(Kind::QueueWrong, at..at + 1, offset, "nothing is written there".to_owned());
                    self.go_on(state, expected, offset);
                } else {
                    miss(state, expected, offset);
                }
                return Ok(());
            };
            let physical = u64::try_from(found.unit.physical_offset).unwrap_or(0);
            if physical == offset {
                match problem(&bytes, &found, expected) {
                    Some(what) => state.runs.add(Kind::QueueWrong, at..at + 1, offset, what),
                    None => self.matched += 1,
                }
                self.go_on(state, expected, offset);
                return Ok(());
            }
            if found.base_offset == expected.base_offset && !self.is_of_another(queue, &found)? {
                let what = format!("{}, the record lies at {offset}", says(&found.unit));
                state.runs.add(Kind::QueueWrong, at..at + 1, offset, what);
                self.go_on(state, expected, offset);
                return Ok(());
            }
            let follows = self.unit(state, at + 1)?.and_then(|next| Unit::parse(&next).ok());
            let follows = follows.is_some_and(|next| u64::try_from(next.physical_offset) == Ok(offset));
            if physical > offset && !follows {
                miss(state, expected, offset);
                return Ok(());
            }
            judge(state, self.log.min(), at, &found, lost);
            state.next += 1;
        }
    }

    /// A record had its unit.
    fn go_on(&mut self, state: &mut State, expected: &BatchUnit, offset: u64) {
        if !state.begun {
            // Records of a topic that was deleted and made anew come before those that have units.
            if state.lowest.is_some_and(|lowest| lowest >= expected.base_offset) {
                let of_before = |kind| kind == Kind::QueueMissing;
                state.leftovers =
                    state.runs.0.iter().filter(|run| of_before(run.kind)).map(super::runs::Run::units).sum();
                state.runs.0.retain(|run| !of_before(run.kind));
            }
            state.begun = true;
        }
        state.next += 1;
        state.missing = 0;
        state.end_offset = state.end_offset.max(expected.end_offset());
        self.last_matched = offset;
    }

    /// Whether a unit is that of the record it leads to.
    fn is_of_another(&mut self, (topic, queue_id): (&str, i32), unit: &BatchUnit) -> Result<bool, ToolError> {
        let Ok(offset) = u64::try_from(unit.unit.physical_offset) else { return Ok(false) };
        Ok(match self.lookup.look(offset)? {
            Look::Record(located) => {
                let record = &located.record;
                (record.topic_str().as_ref(), record.queue_id, record.queue_offset)
                    == (topic, queue_id, unit.base_offset)
            }
            _ => false,
        })
    }

    /// The bytes of a unit; `None` where it has no file.
    fn unit(&mut self, state: &mut State, at: i64) -> Result<Option<[u8; BATCH_UNIT_LEN]>, ToolError> {
        let Some(queue) = state.dir.and_then(|dir| self.files.queues.get(dir)) else { return Ok(None) };
        let in_window = |window: &Option<(i64, Box<[u8]>)>| {
            let (from, bytes) = window.as_ref()?;
            let skip = usize::try_from(at.checked_sub(*from)?).ok()?.checked_mul(BATCH_UNIT_LEN)?;
            bytes.get(skip..)?.first_chunk::<BATCH_UNIT_LEN>().copied()
        };
        // What is not written yet, or half of it, may be by now.
        if let Some(unit) = in_window(&state.window).filter(|unit| !self.live && unit.iter().any(|byte| *byte != 0)) {
            return Ok(Some(unit));
        }
        let bytes = read_units(self.files, queue, at, if self.live { 2 } else { WINDOW })?;
        if self.windows >= MAX_WINDOWS {
            self.states.values_mut().flat_map(BTreeMap::values_mut).for_each(|state| state.window = None);
            self.windows = 0;
        }
        self.windows += usize::from(state.window.is_none());
        state.window = Some((at, bytes.into_boxed_slice()));
        Ok(in_window(&state.window))
    }

    /// Looks at what the log did not lead to, and tells everything; adds the ends of the queues to `ends`.
    pub(crate) fn finish(
        mut self,
        report: &mut Report,
        context: &Context<'_>,
        ends: &mut Ends,
        again: &mut dyn FnMut() -> bool,
    ) -> Result<(), ToolError> {
        let mut units = self.matched;
        for (topic, queues) in std::mem::take(&mut self.states) {
            for (queue_id, mut state) in queues {
                self.look_through(&mut state, context)?;
                if state.dir.is_some() {
                    ends.entry(topic.clone()).or_default().insert(queue_id, state.end_offset);
                }
                let unknown = state.dir.is_none() && context.is_unknown(&topic, queue_id);
                for run in std::mem::take(&mut state.runs.0) {
                    let is_missing = run.kind == Kind::QueueMissing;
                    let awaited = Awaited { files: self.files, topic: &topic, queue_id, run: &run };
                    if is_missing && unknown {
                        state.leftovers += run.units();
                    } else if is_missing && context.is_pending(&run, self.last_matched) {
                        report.note(context.pending_note(&topic, queue_id, run.units()));
                    } else if is_missing && context.live && awaited.comes(again)? {
                        units += run.units();
                    } else {
                        run.tell(report, self.files.place(&topic, queue_id, run.from), &self.remedies);
                    }
                }
                if state.leftovers > 0 {
                    report.note(Context::leftover_note(&topic, queue_id, state.leftovers));
                }
            }
        }
        report.queues += self.files.queues.len() as u64;
        report.units += units;
        Ok(())
    }

    /// Units behind the last that was a record's.
    fn look_through(&self, state: &mut State, context: &Context<'_>) -> Result<(), ToolError> {
        let Some(queue) = state.dir.and_then(|dir| self.files.queues.get(dir)) else { return Ok(()) };
        let mut left = Vec::new();
        for_each_unit(self.files, queue, state.next, &mut |at, bytes| {
            left.extend(BatchUnit::parse(bytes).map(|unit| (at, unit)))
        })?;
        for (at, unit) in left {
            if at > state.next {
                let what = "nothing is written there".to_owned();
                state.runs.add(Kind::QueueWrong, state.next..at, 0, what);
            }
            state.next = at + 1;
            let physical = u64::try_from(unit.unit.physical_offset).unwrap_or(0);
            if unit.unit.is_written() && physical >= context.log_end {
                if !context.live {
                    let what = format!("{}, but the log ends at {}", says(&unit.unit), context.log_end);
                    state.runs.add(Kind::QueueExtra, at..at + 1, context.log_end, what);
                }
                continue;
            }
            if context.live && state.runs.has_any(at..at + 1) {
                // Written since its record was there and it was not; whether it is that one's is seen when it is awaited.
                state.end_offset = state.end_offset.max(unit.end_offset());
                continue;
            }
            judge(state, self.log.min(), at, &unit, context.lost);
        }
        Ok(())
    }
}

/// A record has no unit.
fn miss(state: &mut State, expected: &BatchUnit, offset: u64) {
    let at = state.next.saturating_add(state.missing);
    state.missing += 1;
    if !state.begun {
        state.lowest = Some(state.lowest.map_or(expected.base_offset, |lowest| lowest.min(expected.base_offset)));
    }
    state.runs.add(Kind::QueueMissing, at..at + 1, offset, String::new());
}

/// A unit that no record has claimed.
fn judge(state: &mut State, log_min: u64, at: i64, unit: &BatchUnit, lost: &LostRanges) {
    let physical = u64::try_from(unit.unit.physical_offset).unwrap_or(u64::MAX);
    if !unit.unit.is_written() {
        state.runs.add(Kind::QueueWrong, at..at + 1, 0, says(&unit.unit));
        return;
    }
    state.end_offset = state.end_offset.max(unit.end_offset());
    if physical < log_min {
        return;
    }
    if lost.contains(physical) {
        state.runs.add(Kind::QueueLost, at..at + 1, physical, says(&unit.unit));
    } else {
        let what = format!("{}, where no record of this queue lies", says(&unit.unit));
        state.runs.add(Kind::QueueExtra, at..at + 1, physical, what);
    }
}

/// What is wrong with a unit that leads to its record.
fn problem(bytes: &[u8; BATCH_UNIT_LEN], found: &BatchUnit, expected: &BatchUnit) -> Option<String> {
    if *bytes == expected.encode() {
        return None;
    }
    let fields = [
        ("size", i64::from(found.unit.size), i64::from(expected.unit.size)),
        ("tagsCode", found.unit.tags_code, expected.unit.tags_code),
        ("store time", found.store_timestamp, expected.store_timestamp),
        ("queue offset", found.base_offset, expected.base_offset),
        ("number of messages", i64::from(found.count), i64::from(expected.count)),
    ];
    let wrong = fields.into_iter().find(|(_, found, expected)| found != expected);
    Some(wrong.map_or_else(
        || "compactedOffset or what is reserved behind it is not as it was written".to_owned(),
        |(name, found, expected)| format!("its {name} is {found}, that of the record {expected}"),
    ))
}
