//! Compaction logs: files in pairs, units in the order of their messages, each leading to its record.

use std::fs::File;
use std::path::{Path, PathBuf};

use codec::batch_consume_queue::{BATCH_UNIT_LEN, BatchUnit};
use codec::compaction::{Positions, is_unit};
use codec::properties::names;

use super::report::{Kind, Report};
use crate::error::{IoContext as _, ToolError};
use crate::files::{DataFile, LogFiles, StoreDir, data_files, entries, read_at};
use crate::log::{LogReader, Look};

/// Read at a time.
const CHUNK: usize = BATCH_UNIT_LEN * 1400;

/// Checks all compaction logs of a store that nobody has open.
///
/// # Errors
/// What the system said.
pub(crate) fn check(store: &StoreDir, report: &mut Report) -> Result<(), ToolError> {
    let root = store.root.join("compaction");
    let (log_root, cq_root) = (root.join("compactionLog"), root.join("compactionCq"));
    let mut queues: Vec<(String, i32)> = Vec::new();
    for dir in [&log_root, &cq_root] {
        for (topic, path) in entries(dir)?.into_iter().filter(|(_, path)| path.is_dir()) {
            let ids = entries(&path)?.into_iter().filter(|(_, path)| path.is_dir());
            queues.extend(ids.filter_map(|(name, _)| Some((topic.clone(), name.parse().ok()?))));
        }
    }
    queues.sort();
    queues.dedup();
    for (topic, queue_id) in queues {
        let in_root = |root: &Path| root.join(&topic).join(queue_id.to_string());
        let (log, cq) = (in_root(&log_root), in_root(&cq_root));
        QueueCheck { topic: &topic, queue_id, log, cq, report: &mut *report }.run()?;
    }
    check_positions(&root, report)
}

/// The file that says how far was compacted, or the one before.
fn check_positions(root: &Path, report: &mut Report) -> Result<(), ToolError> {
    let path = root.join("position-checkpoint");
    match std::fs::read(&path) {
        Ok(text) => {
            if let Err(error) = Positions::parse(&text) {
                let remedy = "none is needed: the next compaction goes through everything once and writes it anew";
                report.find(Kind::Compaction, (path, None), error.to_string(), remedy);
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).on("read", &path),
    }
}

struct QueueCheck<'a> {
    topic: &'a str,
    queue_id: i32,
    log: PathBuf,
    cq: PathBuf,
    report: &'a mut Report,
}

impl QueueCheck<'_> {
    fn run(&mut self) -> Result<(), ToolError> {
        let mut strangers = Vec::new();
        let logs = data_files(&self.log, &mut strangers)?;
        let cqs = data_files(&self.cq, &mut strangers)?;
        if !strangers.is_empty() {
            // Folder `compacting`, names that end in `.delete`.
            self.report.note(format!(
                "a compaction of {} was interrupted; the next start of the broker finishes it, or takes it back",
                self.log.display()
            ));
            return Ok(());
        }
        for (these, those, dir) in [(&logs, &cqs, &self.cq), (&cqs, &logs, &self.log)] {
            for file in these.iter().filter(|file| !those.iter().any(|other| other.first == file.first)) {
                let what = format!("there is no file of this name in {}", dir.display());
                let remedy = format!("restore that file; or {}", self.begin_anew());
                self.report.find(Kind::Compaction, (file.path.clone(), None), what, remedy);
            }
        }
        let file_bytes = logs.iter().map(|file| file.len).max().unwrap_or(0);
        let log = LogFiles { file_bytes, files: logs, strangers: Vec::new() };
        let mut reader = LogReader::for_copies(&log);
        let mut before = -1;
        for file in &cqs {
            self.check_units(file, &log, &mut reader, &mut before)?;
        }
        Ok(())
    }

    fn check_units(
        &mut self,
        file: &DataFile,
        log: &LogFiles,
        reader: &mut LogReader<'_>,
        before: &mut i64,
    ) -> Result<(), ToolError> {
        let opened = File::open(&file.path).on("open", &file.path)?;
        let mut position = 0;
        while position < file.len {
            let bytes = read_at(&opened, position, CHUNK).on("read", &file.path)?;
            for bytes in bytes.chunks_exact(BATCH_UNIT_LEN) {
                let Ok(unit) = BatchUnit::parse(bytes) else { break };
                if !is_unit(&unit) {
                    return Ok(());
                }
                if let Some(what) = self.problem(&unit, file, log, reader, *before)? {
                    let what = format!("unit of queue offset {}: {what}", unit.base_offset);
                    let remedy = self.begin_anew();
                    self.report.find(Kind::Compaction, (file.path.clone(), Some(position)), what, remedy);
                } else {
                    self.report.compacted += 1;
                }
                *before = unit.base_offset;
                position += BATCH_UNIT_LEN as u64;
            }
            if bytes.len() < CHUNK {
                return Ok(());
            }
        }
        Ok(())
    }

    fn problem(
        &self,
        unit: &BatchUnit,
        file: &DataFile,
        log: &LogFiles,
        reader: &mut LogReader<'_>,
        before: i64,
    ) -> Result<Option<String>, ToolError> {
        let offset = u64::try_from(unit.unit.physical_offset).unwrap_or(u64::MAX);
        if unit.base_offset <= before {
            return Ok(Some(format!("the unit before is that of {before}")));
        }
        if !(file.first..file.first.saturating_add(log.file_bytes)).contains(&offset) {
            return Ok(Some(format!("it leads to {offset}, which is in another file")));
        }
        let located = match reader.look(offset)? {
            Look::Record(located) => located,
            other => return Ok(Some(format!("it leads to {offset}, where no record is: {}", other.why()))),
        };
        let record = located.record;
        let size = usize::try_from(unit.unit.size).unwrap_or(0);
        let problem = match () {
            () if located.problem.is_some() => located.problem,
            () if *record.topic_str() != *self.topic || record.queue_id != self.queue_id => {
                Some(format!("it leads to a record of {} queue {}", record.topic_str(), record.queue_id))
            }
            () if record.queue_offset != unit.base_offset => {
                Some(format!("it leads to the record of queue offset {}", record.queue_offset))
            }
            () if record.total_size != size => Some(format!("the record has {} bytes, not {size}", record.total_size)),
            () if record.store_timestamp != unit.store_timestamp => Some(format!(
                "its store time is {}, that of the record {}",
                unit.store_timestamp, record.store_timestamp
            )),
            () if record.property(names::KEYS).is_none_or(|keys| keys.trim().is_empty()) => {
                Some("its record has no key".to_owned())
            }
            () => None,
        };
        Ok(problem)
    }

    fn begin_anew(&self) -> String {
        format!(
            "stop the broker and move both {} and {} away: what the commit log still has of this queue is copied again",
            self.log.display(),
            self.cq.display()
        )
    }
}
