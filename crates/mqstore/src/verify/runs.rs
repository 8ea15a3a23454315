//! Damaged stretches of one queue: neighbours with the same trouble are told as one.

use std::ops::Range;
use std::path::PathBuf;

use codec::consume_queue::Unit;

use super::report::{Kind, Report};
use crate::remedy::Remedies;

/// Stretches of one queue that are told apart.
const MAX_RUNS: usize = 32;

/// Neighbouring units with the same trouble.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) kind: Kind,
    /// First unit.
    pub(crate) from: i64,
    /// One behind the last.
    pub(crate) to: i64,
    /// Where the record of the first lies.
    pub(crate) physical_from: u64,
    /// Where that of the last lies.
    pub(crate) physical_to: u64,
    /// What is wrong with the first.
    what: String,
}

/// Those of one queue.
#[derive(Debug, Default)]
pub(crate) struct Runs(pub(crate) Vec<Run>);

impl Runs {
    pub(crate) fn add(&mut self, kind: Kind, range: Range<i64>, physical: u64, what: String) {
        let (from, to) = (range.start, range.end);
        let full = self.0.len() >= MAX_RUNS;
        if let Some(last) = self.0.last_mut().filter(|last| (last.kind == kind && last.to == from) || full) {
            last.to = last.to.max(to);
            last.from = last.from.min(from);
            last.physical_to = physical;
            return;
        }
        self.0.push(Run { kind, from, to, physical_from: physical, physical_to: physical, what });
    }

    /// Whether something in a range is told already.
    pub(crate) fn has_any(&self, range: Range<i64>) -> bool {
        self.0.iter().any(|run| run.from < range.end && range.start < run.to)
    }
}

impl Run {
    pub(crate) fn units(&self) -> u64 {
        u64::try_from(self.to - self.from).unwrap_or(0)
    }

    /// Adds it to the report; `place` is where its first unit is.
    pub(crate) fn tell(&self, report: &mut Report, place: (PathBuf, u64), remedies: &Remedies) {
        let count = self.units();
        let which = match count {
            1 => format!("unit {}", self.from),
            _ => format!("units {} to {}", self.from, self.to - 1),
        };
        let rebuild = remedies.rebuild("queues");
        let (what, remedy) = match self.kind {
            Kind::QueueMissing => {
                let (from, to) = (self.physical_from, self.physical_to);
                (format!("{which}: missing; the records lie in the log from {from} to {to}"), rebuild)
            }
            Kind::QueueLost => (
                format!("{which}: of messages that the log has lost; the first one: {}", self.what),
                "these messages are lost with the part of the log that is told above; consumers go past them"
                    .to_owned(),
            ),
            _ if count > 1 => (format!("{which}: the first one: {}", self.what), rebuild),
            _ => (format!("{which}: {}", self.what), rebuild),
        };
        report.find(self.kind, (place.0, Some(place.1)), what, remedy);
    }
}

/// What a unit says.
pub(crate) fn says(unit: &Unit) -> String {
    format!("it says offset {}, size {}", unit.physical_offset, unit.size)
}
