//! Judges a history by the plan: what must have come and has not, what came and must not have. Believes nothing that the broker
//! says of itself: only what consumers got, and answers to requests as promises. Java's broker passes by the same rules: after a
//! kill, a rebalance or without an answer something may come twice; lost, early, late, out of order or forbidden it may never be.

mod facts;
mod pops;
mod readers;
mod retries;
mod stored;
#[cfg(test)]
mod tests;
mod times;
mod transactions;

use super::history::Event;
use super::plan::Plan;
use facts::Facts;
use std::fmt;
use std::path::PathBuf;

/// How far behind its time anything may come on a small machine under load, ms; a broker that was away begins then.
pub const LATE_MS: u64 = 5_000;
/// Clocks of broker and test are one, but tick in milliseconds.
const TICK_MS: u64 = 2;

/// What a history breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Acknowledged, and it never came.
    Lost,
    /// Nobody sent it, or not there.
    Invented,
    /// Body or properties are not what was sent.
    Damaged,
    /// Refused, and it came.
    Refused,
    /// A sound broker refuses nothing.
    Refusal,
    /// It lies elsewhere than was told.
    Moved,
    /// One place, two messages.
    SamePlace,
    /// There twice, and nothing excuses it.
    Twice,
    /// In a queue behind what its sender sent later.
    Disorder,
    /// A reader skipped something, or went back by itself.
    Gap,
    /// A reader was told to go on where it had never been.
    Resumed,
    /// Not what the reader wanted.
    Unwanted,
    /// Before its time.
    Early,
    /// Long after its time.
    Late,
    /// Taken back, and it came.
    Recalled,
    /// A half message came before, or without, a commit.
    Uncommitted,
    /// Acknowledged by its group, and it came again.
    AckedAgain,
    /// In an ordered queue, before an earlier one was done.
    Overtaken,
    /// Delivered more often, or died earlier, than was said.
    Attempts,
}

/// One breach.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Of which rule.
    pub rule: Rule,
    /// By what.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// What is found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Breaches, [`Rule::Lost`] aside.
    pub violations: Vec<Violation>,
    /// What has not come yet, and must.
    pub missing: Vec<Violation>,
    /// Until then something may come that must not, ms.
    pub quiet_at: u64,
    /// Deliveries.
    pub delivered: usize,
    /// Of these, those that repeat another to the same group; all of them excused when there is no violation.
    pub repeated: usize,
    /// Where the history is written when something is wrong.
    pub history: Option<PathBuf>,
}

impl Verdict {
    fn add(&mut self, rule: Rule, what: String) {
        let list = if rule == Rule::Lost { &mut self.missing } else { &mut self.violations };
        list.push(Violation { rule, what });
    }

    /// Nothing forbidden shows before that time.
    fn quiet_after(&mut self, at_ms: u64) {
        self.quiet_at = self.quiet_at.max(at_ms);
    }

    /// # Panics
    /// With what is wrong, when something is.
    pub fn assert_good(&self, what: &str) {
        let all: Vec<_> = self.violations.iter().chain(&self.missing).map(ToString::to_string).collect();
        let shown = all.iter().take(40).map(|line| format!("\n  {line}")).collect::<String>();
        assert!(all.is_empty(), "{what}: {} violations, history in {:?}{shown}", all.len(), self.history);
    }
}

/// Judges. While the run goes on only what is missing counts: answers may not have been noted yet.
pub fn judge(plan: &Plan, events: &[Event]) -> Verdict {
    let mut verdict = Verdict::default();
    let facts = Facts::gather(plan, events, &mut verdict);
    stored::check(&facts, &mut verdict);
    times::check(&facts, &mut verdict);
    transactions::check(&facts, &mut verdict);
    readers::check(&facts, &mut verdict);
    pops::check(&facts, &mut verdict);
    retries::check(&facts, &mut verdict);
    verdict
}
