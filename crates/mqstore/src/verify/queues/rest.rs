//! When the log has been read: what is left over in the queues, and what is to be told.

use std::collections::HashMap;

use codec::consume_queue::Unit;

use super::{Context, Ends, QueueCheck, State};
use crate::error::ToolError;
use crate::queue_units::{for_each_written, read_units};
use crate::verify::catch_up::{Awaited, unit_now};
use crate::verify::lost::LostRanges;
use crate::verify::report::{Kind, Report};
use crate::verify::runs::{Run, says};

impl QueueCheck<'_> {
    /// Looks at what the log did not lead to, and tells everything. Returns one behind the last unit of each queue.
    pub(crate) fn finish(
        mut self,
        report: &mut Report,
        context: &Context<'_>,
        again: &mut dyn FnMut() -> bool,
    ) -> Result<Ends, ToolError> {
        let mut ends = Ends::new();
        let begins = self.first_matches();
        let mut caught_up = 0;
        for index in 0..self.states.len() {
            let end = self.look_through(index, context)?;
            let runs = self.states.get_mut(index).map(|state| std::mem::take(&mut state.runs.0)).unwrap_or_default();
            let Some(state) = self.states.get(index) else { continue };
            if state.dir.is_some() {
                ends.entry(state.topic.clone()).or_default().insert(state.queue_id, end);
            }
            let mut leftovers = 0;
            for run in runs {
                if run.kind == Kind::QueueMissing && self.is_leftover(state, &run, context, &begins) {
                    leftovers += run.units();
                } else if run.kind == Kind::QueueMissing && context.is_pending(&run, self.last_matched) {
                    report.note(context.pending_note(&state.topic, state.queue_id, run.units()));
                } else if run.kind == Kind::QueueMissing
                    && self.live
                    && (self.holds_batches(state) || self.awaited(state, &run).comes(again)?)
                {
                    caught_up += run.units();
                } else {
                    let place = self.files.place(&state.topic, state.queue_id, run.from);
                    run.tell(report, place, &self.remedies);
                }
            }
            if leftovers > 0 {
                report.note(Context::leftover_note(&state.topic, state.queue_id, leftovers));
            }
        }
        report.queues = self.files.queues.len() as u64;
        report.units = self.matched + caught_up;
        if self.blanks > 0 {
            report.note(format!("{} blank units stand for messages that are gone", self.blanks));
        }
        self.extensions.finish(report)?;
        Ok(ends)
    }

    /// Per topic the first record in any of its queues.
    fn first_matches(&self) -> HashMap<Box<str>, u64> {
        let mut begins = HashMap::<Box<str>, u64>::new();
        for state in &self.states {
            let (Some(first), Some(queue)) = (state.first, state.dir.and_then(|dir| self.files.queues.get(dir))) else {
                continue;
            };
            let unit = read_units(self.files, queue, first, 1).ok().and_then(|bytes| crate::queue_units::first(&bytes));
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
        context.is_unknown(&state.topic, state.queue_id)
    }

    fn awaited<'s>(&'s self, state: &'s State, run: &'s Run) -> Awaited<'s> {
        Awaited { files: self.files, topic: &state.topic, queue_id: state.queue_id, run }
    }

    /// Whether it is a queue of batches by now, of which there was none when directories were listed.
    fn holds_batches(&self, state: &State) -> bool {
        let batches = self.files.dir.with_file_name("batchconsumequeue");
        state.dir.is_none() && batches.join(&*state.topic).join(state.queue_id.to_string()).is_dir()
    }

    /// Looks at the units before the first and behind the last that records led to. Returns the end of the queue.
    fn look_through(&mut self, index: usize, context: &Context<'_>) -> Result<i64, ToolError> {
        let files = self.files;
        let Some(state) = self.states.get(index) else { return Ok(0) };
        let (first, next) = (state.first, state.next);
        let Some(queue) = state.dir.and_then(|dir| files.queues.get(dir)) else { return Ok(0) };
        let Some(begin) = queue.files.first().map(|file| files.unit_at(file.first)) else { return Ok(0) };
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
            if unit.is_written() && before && (unit.is_blank() || physical < self.log.min()) {
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
                (Some(unit), Some(state)) if self.live => {
                    Some(unit_now(files, &state.topic, state.queue_id, from)?.unwrap_or(unit))
                }
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
        if !self.is_told(index, at..at + 1) {
            self.judge(index, at, unit, lost);
        }
    }

    /// Units that are zeroes where there should be something, as far as records have not told so already.
    fn add_hole(&mut self, index: usize, from: i64, to: i64) {
        if !self.is_told(index, from..to) {
            self.add_run(index, Kind::QueueWrong, from..to, 0, "nothing is written there".to_owned());
        }
    }
}
