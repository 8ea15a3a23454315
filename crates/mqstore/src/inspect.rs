//! `mqstore inspect`: what is here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use codec::checkpoint::Checkpoint;
use codec::consume_queue::{UNIT_LEN, Unit};
use serde::Serialize;
use store::offline::{LockHolder, OwnCheckpoint, holder};

use crate::error::{IoContext as _, ToolError};
use crate::files::{LogFiles, QueueFiles, StoreDir, entries};
use crate::log::{LogReader, Look};
use crate::metadata::{self, Content, Metadata};
use crate::queue_units::{for_each_written, read_units};
use crate::time;

/// Topics that are listed as text; JSON has all.
const MAX_TOPICS: usize = 200;

/// What is in a store.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    store: String,
    in_use: bool,
    pid: Option<u32>,
    abort: bool,
    commit_log: Log,
    queue_file_bytes: u64,
    queues: usize,
    queues_in_rocksdb: bool,
    topics: BTreeMap<String, BTreeMap<i32, Queue>>,
    index: Vec<Index>,
    checkpoint: Option<CheckpointView>,
    metadata: Vec<Meta>,
    other: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    files: usize,
    file_bytes: u64,
    bytes: u64,
    min_offset: u64,
    max_offset: u64,
    first_store_time: Option<i64>,
    last_store_time: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Queue {
    min_offset: i64,
    max_offset: i64,
    files: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    name: String,
    bytes: u64,
    entries: Option<u32>,
    slots: Option<u32>,
    max_entries: Option<u32>,
    begin_time: i64,
    end_time: i64,
    begin_offset: i64,
    end_offset: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckpointView {
    physic_msg_timestamp: i64,
    logics_msg_timestamp: i64,
    index_msg_timestamp: i64,
    master_flushed_offset: i64,
    confirm_phy_offset: i64,
    logics_physical_offset: i64,
    ferrocket: Option<Own>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Own {
    durable: u64,
    dispatched: u64,
    clean_end: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    bytes: u64,
    entries: Option<usize>,
    problem: Option<String>,
}

/// Looks at a store.
///
/// # Errors
/// When it cannot be looked at.
pub fn inspect(store: &StoreDir) -> Result<Inventory, ToolError> {
    let lock = holder(&store.root).on("look at the lock of", &store.root)?;
    let queue_files = QueueFiles::list(store)?;
    let log_files = LogFiles::list(store)?;
    let log = log(&log_files)?;
    let mut topics = BTreeMap::<String, BTreeMap<i32, Queue>>::new();
    for queue in &queue_files.queues {
        let (min_offset, max_offset) = range(&queue_files, queue, log.min_offset)?;
        let found = Queue { min_offset, max_offset, files: queue.files.len() };
        topics.entry(queue.topic.clone()).or_default().insert(queue.queue_id, found);
    }
    Ok(Inventory {
        store: store.root.display().to_string(),
        in_use: lock != LockHolder::Free,
        pid: match lock {
            LockHolder::Held(pid) => pid,
            LockHolder::Free => None,
        },
        abort: store.root.join("abort").exists(),
        commit_log: log,
        queue_file_bytes: queue_files.file_bytes,
        queues: queue_files.queues.len(),
        queues_in_rocksdb: queue_files.is_rocksdb,
        topics,
        index: index(store)?,
        checkpoint: checkpoint(store)?,
        metadata: metadata(store)?,
        other: other(store)?,
    })
}

fn log(files: &LogFiles) -> Result<Log, ToolError> {
    let mut log = Log {
        files: files.files.len(),
        file_bytes: files.file_bytes,
        bytes: files.files.iter().map(|file| file.len).sum(),
        min_offset: files.min(),
        max_offset: files.max(),
        ..Log::default()
    };
    let mut reader = LogReader::new(files);
    if let Look::Record(located) = reader.look(log.min_offset)? {
        log.first_store_time = Some(located.record.store_timestamp);
    }
    // The end lies in the last file that begins with a record; a file may be made ahead of need.
    for file in files.files.iter().rev() {
        let begins = matches!(reader.look(file.first)?, Look::Record(_));
        if !begins && file.first != log.min_offset {
            continue;
        }
        log.max_offset = reader.walk(file.first, &mut |event| {
            if let crate::log::Event::Record(located) = event {
                log.last_store_time = Some(located.record.store_timestamp);
            }
            Ok(())
        })?;
        break;
    }
    Ok(log)
}

/// The first unit whose record is left, and one behind the last.
fn range(files: &QueueFiles, queue: &crate::files::QueueDir, log_min: u64) -> Result<(i64, i64), ToolError> {
    let unit_at =
        |at: i64| -> Result<Unit, ToolError> { Ok(Unit::parse(&read_units(files, queue, at, 1)?).unwrap_or_default()) };
    let (Some(first), Some(last)) = (queue.files.first(), queue.files.last()) else { return Ok((0, 0)) };
    let base = |position: u64| i64::try_from(position / UNIT_LEN as u64).unwrap_or(i64::MAX);
    let mut max = base(last.first);
    for_each_written(files, queue, max, &mut |at, unit| {
        if unit.is_written() {
            max = at + 1;
        }
    })?;
    let (mut low, mut high) = (base(first.first), max);
    while low < high {
        let middle = low + (high - low) / 2;
        let unit = unit_at(middle)?;
        let gone = unit.is_blank() || u64::try_from(unit.physical_offset).is_ok_and(|offset| offset < log_min);
        if gone {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok((low, max))
}

fn index(store: &StoreDir) -> Result<Vec<Index>, ToolError> {
    let found = crate::index::list(&store.index())?.into_iter().map(|file| {
        let header = file.header.unwrap_or_default();
        Index {
            name: file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            bytes: file.len,
            entries: file.header.map(|header| header.index_count.saturating_sub(1)),
            slots: file.layout.map(|layout| layout.slots),
            max_entries: file.layout.map(|layout| layout.entries),
            begin_time: header.begin_timestamp,
            end_time: header.end_timestamp,
            begin_offset: header.begin_phy_offset,
            end_offset: header.end_phy_offset,
        }
    });
    Ok(found.collect())
}

fn checkpoint(store: &StoreDir) -> Result<Option<CheckpointView>, ToolError> {
    let bytes = metadata::bytes(&store.root.join("checkpoint"))?.unwrap_or_default();
    let Ok(java) = Checkpoint::parse(&bytes) else { return Ok(None) };
    Ok(Some(CheckpointView {
        physic_msg_timestamp: java.physic_msg_timestamp,
        logics_msg_timestamp: java.logics_msg_timestamp,
        index_msg_timestamp: java.index_msg_timestamp,
        master_flushed_offset: java.master_flushed_offset,
        confirm_phy_offset: java.confirm_phy_offset,
        logics_physical_offset: java.logics_physical_offset,
        ferrocket: OwnCheckpoint::parse(&bytes).map(|own| Own {
            durable: own.durable,
            dispatched: own.dispatched,
            clean_end: own.clean_end,
        }),
    }))
}

fn metadata(store: &StoreDir) -> Result<Vec<Meta>, ToolError> {
    let known = Metadata::read(&store.config())?;
    let mut found = Vec::new();
    for path in metadata::json_files(&store.config())? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = path.metadata().on("look at", &path)?.len();
        let (entries, problem) = match name.as_str() {
            metadata::TOPICS => counted(&known.topics, |topics| topics.topic_config_table.len()),
            metadata::GROUPS => counted(&known.groups, |groups| groups.subscription_group_table.len()),
            metadata::OFFSETS => counted(&known.offsets, |offsets| offsets.offset_table.len()),
            metadata::DELAYS => counted(&known.delays, |delays| delays.offset_table.len()),
            _ => counted(&metadata::read::<serde::de::IgnoredAny>(&path)?, |_| 0),
        };
        let entries = entries.filter(|entries| *entries > 0);
        found.push(Meta { name, bytes, entries, problem });
    }
    Ok(found)
}

fn counted<T>(content: &Content<T>, count: impl Fn(&T) -> usize) -> (Option<usize>, Option<String>) {
    match content {
        Content::Good(value) => (Some(count(value)), None),
        Content::Missing => (None, None),
        Content::Broken(why, _) => (None, Some(why.clone())),
    }
}

/// What else lies in the root, by name.
fn other(store: &StoreDir) -> Result<Vec<String>, ToolError> {
    let known = ["commitlog", "consumequeue", "index", "config", "checkpoint", "abort", "lock"];
    Ok(entries(&store.root)?.into_iter().map(|(name, _)| name).filter(|name| !known.contains(&name.as_str())).collect())
}

impl Inventory {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).unwrap_or_default();
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let time = |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), time::shown);
        writeln!(out, "store         {}", self.store)?;
        match (self.in_use, self.pid) {
            (true, Some(pid)) => writeln!(out, "in use        by process {pid}; figures move")?,
            (true, None) => writeln!(out, "in use        by another process; figures move")?,
            (false, _) if self.abort => writeln!(out, "in use        no; the last stop was not clean (file abort)")?,
            (false, _) => writeln!(out, "in use        no; stopped cleanly")?,
        }
        let log = &self.commit_log;
        writeln!(
            out,
            "commit log    {} to {}, {} files of {} bytes",
            log.min_offset, log.max_offset, log.files, log.file_bytes
        )?;
        writeln!(out, "  stored      {} to {}", time(log.first_store_time), time(log.last_store_time))?;
        match &self.checkpoint {
            None => writeln!(out, "checkpoint    none")?,
            Some(view) => {
                writeln!(
                    out,
                    "checkpoint    log {}, queues {}, index {}",
                    time::shown(view.physic_msg_timestamp),
                    time::shown(view.logics_msg_timestamp),
                    time::shown(view.index_msg_timestamp)
                )?;
                writeln!(
                    out,
                    "  Java        master flushed {}, confirmed {}, last in a queue {}",
                    view.master_flushed_offset, view.confirm_phy_offset, view.logics_physical_offset
                )?;
                match &view.ferrocket {
                    None => writeln!(out, "  Ferrocket   none, or Java has used the store since")?,
                    Some(own) => {
                        let end =
                            own.clean_end.map_or_else(|| "no clean end".to_owned(), |end| format!("clean end {end}"));
                        writeln!(out, "  Ferrocket   durable {}, dispatched {}, {end}", own.durable, own.dispatched)?;
                    }
                }
            }
        }
        writeln!(out, "index         {} files", self.index.len())?;
        for file in &self.index {
            let (entries, most) =
                (file.entries.unwrap_or(0), file.max_entries.map_or_else(|| "?".into(), |n| n.to_string()));
            writeln!(
                out,
                "  {}  {entries} of {most} entries, offsets {} to {}, {} to {}",
                file.name,
                file.begin_offset,
                file.end_offset,
                time::shown(file.begin_time),
                time::shown(file.end_time)
            )?;
        }
        writeln!(out, "metadata      {} files", self.metadata.len())?;
        for file in &self.metadata {
            let what = match (&file.problem, file.entries) {
                (Some(problem), _) => format!("BROKEN: {problem}"),
                (None, Some(entries)) => format!("{entries} entries"),
                (None, None) => String::new(),
            };
            let line = format!("  {:<26}{:>9} bytes  {what}", file.name, file.bytes);
            writeln!(out, "{}", line.trim_end())?;
        }
        if !self.other.is_empty() {
            writeln!(out, "also here     {}", self.other.join(", "))?;
        }
        if self.queues_in_rocksdb {
            return writeln!(out, "topics        in RocksDB, which this tool does not read");
        }
        let bytes = self.queue_file_bytes;
        writeln!(out, "topics        {} with {} queues, files of {bytes} bytes", self.topics.len(), self.queues)?;
        for (topic, queues) in self.topics.iter().take(MAX_TOPICS) {
            let ranges: Vec<String> = queues
                .iter()
                .map(|(queue_id, queue)| format!("{queue_id}: {}..{}", queue.min_offset, queue.max_offset))
                .collect();
            writeln!(out, "  {topic}  {}", ranges.join("  "))?;
        }
        if self.topics.len() > MAX_TOPICS {
            writeln!(out, "  and {} more; --json has all", self.topics.len() - MAX_TOPICS)?;
        }
        Ok(())
    }
}
