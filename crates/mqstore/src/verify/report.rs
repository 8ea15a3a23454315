//! What a verification found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

/// Findings kept in detail; the rest is counted.
pub const MAX_FINDINGS: usize = 1000;
/// Notes kept.
const MAX_NOTES: usize = 100;

/// A kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A record whose checksum or text is wrong.
    LogRecord,
    /// A part of the log in which no record can be read, with records behind it.
    LogLost,
    /// Something that is no record behind the last one.
    LogTail,
    /// A commit-log file of the wrong length, or two for one place.
    LogFile,
    /// A filler at the end of a file that is not what it should be.
    LogFiller,
    /// A record that the broker cannot put into any queue.
    LogQueueOffset,
    /// A consume-queue file that is missing or has the wrong length or name.
    QueueFile,
    /// Records that should be in a queue and are not.
    QueueMissing,
    /// Units that do not say what the record says.
    QueueWrong,
    /// Units of messages that the log has lost.
    QueueLost,
    /// Extensions of queues that do not say what the record says, or are not there.
    QueueExtension,
    /// Units behind the end of the log, or of no record.
    QueueExtra,
    /// An index file that cannot be read.
    IndexFile,
    /// Entries of no record, or of another key.
    IndexEntry,
    /// Keys that are not in the index.
    IndexMissing,
    /// Hash chains that do not lead to their entries.
    IndexChain,
    /// A metadata file that is missing, empty or broken.
    MetadataBroken,
    /// Metadata that does not fit the queues.
    MetadataDisagrees,
    /// A checkpoint that cannot be.
    Checkpoint,
    /// Files of a compaction log that lack their counterpart, or units in them that do not lead to their messages.
    Compaction,
    /// Files of the timer that do not fit each other, or the log.
    Timer,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What kind.
    pub kind: Kind,
    /// In which file.
    pub file: PathBuf,
    /// At which byte of it.
    pub position: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// What can be done.
    pub remedy: String,
}

/// Everything that was found, and how much was looked at.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Nothing is wrong.
    pub sound: bool,
    /// A broker has the store open.
    pub live: bool,
    /// First offset of the log.
    pub log_min: u64,
    /// End of the log.
    pub log_end: u64,
    /// Sound records.
    pub records: u64,
    /// Records with wrong content.
    pub bad_records: u64,
    /// Bytes of the log in which no record can be read.
    pub lost_bytes: u64,
    /// Consume queues, those of batches too.
    pub queues: u64,
    /// Units that say what their record says.
    pub units: u64,
    /// Extensions that units lead to.
    pub extensions: u64,
    /// Index entries that lead to their record.
    pub index_entries: u64,
    /// Messages of compaction logs that their units lead to.
    pub compacted: u64,
    /// Units of the timer log that lead to their message.
    pub timer_units: u64,
    /// How many findings of each kind there are.
    pub counts: BTreeMap<Kind, u64>,
    /// The findings; the first [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// What is worth knowing and not wrong.
    pub notes: Vec<String>,
}

impl Report {
    /// Adds a finding.
    pub fn find(
        &mut self,
        kind: Kind,
        place: (PathBuf, Option<u64>),
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        *self.counts.entry(kind).or_default() += 1;
        if self.findings.len() < MAX_FINDINGS {
            let (file, position) = place;
            self.findings.push(Finding { kind, file, position, what: what.into(), remedy: remedy.into() });
        }
    }

    /// Adds a note.
    pub fn note(&mut self, text: impl Into<String>) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(text.into());
        }
    }

    /// Number of findings.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Whether there is a finding of a kind.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.counts.contains_key(&kind)
    }
}
