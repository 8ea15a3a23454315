//! Queues and index made anew from the log, by the recovery of the store itself; metadata from what is there.

mod metadata;

pub use metadata::metadata;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use codec::index::Layout;
use store::offline::{StoreLock, enters_queue};
use store::{MessageStore, NoListener, StoreConfig};

use crate::backup::{Backup, NOTHING_CHANGED, begin_change, make_parent, refuse_when_in_use};
use crate::error::{IoContext as _, ToolError};
use crate::files::{LogFiles, QueueDir, QueueFiles, StoreDir};
use crate::index;
use crate::log::{Event, LogReader};
use crate::metadata::Metadata;
use crate::progress::Progress;
use crate::queue_units::for_each_written;
use crate::remedy::Remedies;

/// What is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Consume queues.
    Queues,
    /// The index by key.
    Index,
}

/// Settings of the broker that files do not tell.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// messageDelayLevel, when it is not Java's.
    pub delay_levels: Option<String>,
    /// mappedFileSizeConsumeQueue, when there is no file to tell it from.
    pub queue_file_bytes: Option<u64>,
    /// maxHashSlotNum, when there is no file to tell it from.
    pub index_slots: Option<u32>,
    /// maxIndexNum, when there is no file to tell it from.
    pub index_entries: Option<u32>,
}

/// Makes queues or index anew, or says what that would do. Returns lines for people.
///
/// # Errors
/// When the store is in use, or its log must be mended first; then nothing was changed.
pub fn rebuild(store: &StoreDir, what: What, settings: &Settings, apply: bool) -> Result<Vec<String>, ToolError> {
    refuse_when_in_use(store)?;
    let log = LogFiles::list(store)?;
    let found = Found::list(store)?;
    let index = index::list(&store.index())?;
    if found.queues.is_rocksdb {
        return Err(ToolError::Refused(
            "the consume queues lie in RocksDB; this tool cannot make them anew".to_owned(),
        ));
    }
    let mut lines = check_log(store, &log)?;
    if !apply {
        lines.extend(what.plan(store, &found, index.len()));
        lines.push(NOTHING_CHANGED.to_owned());
        return Ok(lines);
    }

    let config = config(store, &log, &found, &index, what, settings)?;
    if what == What::Index && store.root.join("abort").exists() {
        // The queues are put back as they are: what was not dispatched before the kill must be in them first.
        MessageStore::open(config.clone(), Arc::new(NoListener))?.shutdown();
    }
    let (lock, backup) = begin_change(store)?;
    backup.copy(&store.root.join("checkpoint"))?;
    what.taken(store).iter().try_for_each(|dir| backup.take(dir))?;
    // The store takes it itself.
    drop(lock);
    let opened = MessageStore::open(config, Arc::new(NoListener));
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            put_back(store, &backup, what)?;
            return Err(error.into());
        }
    };
    let made = opened.topics().iter().map(|(_, queues)| queues.len()).sum::<usize>();
    match what {
        What::Queues => {
            let forgotten = forget_deleted(store, &found, &opened)?;
            opened.shutdown();
            let kept = found.kinds().into_iter().map(|files| keep_expired(&backup, files, log.min()));
            let kept = kept.sum::<Result<usize, ToolError>>()?;
            lines.push(format!("made {} queues anew", made - forgotten));
            if kept > 0 {
                lines.push(format!(
                    "kept {kept} queues all of whose messages have expired, so that their offsets go on"
                ));
            }
        }
        What::Index => {
            opened.shutdown();
            drop(opened);
            // The queues were needed only to have the log read from its start.
            let _lock = StoreLock::take(&store.root)?;
            restore(&backup, &store.queues())?;
            lines.push(format!("made {} index files anew", index::list(&store.index())?.len()));
        }
    }
    lines.push(backup.kept());
    Ok(lines)
}

/// The queues as they were before.
struct Found {
    queues: QueueFiles,
    batches: QueueFiles,
    extensions: QueueFiles,
}

impl Found {
    fn list(store: &StoreDir) -> Result<Found, ToolError> {
        Ok(Found {
            queues: QueueFiles::list(store)?,
            batches: QueueFiles::list_batches(store)?,
            extensions: QueueFiles::list_extensions(store)?,
        })
    }

    /// Those with offsets.
    fn kinds(&self) -> [&QueueFiles; 2] {
        [&self.queues, &self.batches]
    }
}

impl What {
    /// Directories that are moved away.
    fn taken(self, store: &StoreDir) -> Vec<PathBuf> {
        match self {
            What::Queues => vec![store.queues(), store.batch_queues(), store.extensions()],
            What::Index => vec![store.queues(), store.index()],
        }
    }

    fn plan(self, store: &StoreDir, found: &Found, index_files: usize) -> Vec<String> {
        let line = |dir: PathBuf, number: usize, unit: &str, name: &str| {
            let dir = dir.display();
            format!("would move {dir} ({number} {unit}) to a directory mqstore-backup-<time> and make the {name} anew")
        };
        match self {
            What::Index => vec![line(store.index(), index_files, "files", "index")],
            What::Queues => {
                let kinds = [
                    (&found.queues, "consume queues", true),
                    (&found.batches, "queues of batches", false),
                    (&found.extensions, "extensions of queues, without bit maps of filters,", false),
                ];
                let there = kinds.into_iter().filter(|(files, _, always)| *always || !files.queues.is_empty());
                there.map(|(files, name, _)| line(files.dir.clone(), files.queues.len(), "queues", name)).collect()
            }
        }
    }
}

/// Reads the whole log: what is damaged in it would be missing in what is made from it.
fn check_log(store: &StoreDir, log: &LogFiles) -> Result<Vec<String>, ToolError> {
    if log.files.is_empty() {
        return Err(ToolError::Refused(format!(
            "there is no commit log in {}: nothing can be made from it",
            store.commit_log.first().unwrap_or(&store.root).display()
        )));
    }
    let remedies = Remedies::new(store);
    let clean = !store.root.join("abort").exists();
    let (mut records, mut queued, mut bad) = (0u64, 0u64, 0u64);
    let mut refusal = None;
    let mut progress = Progress::new(log.max() - log.min());
    LogReader::new(log).walk(log.min(), &mut |event| {
        match event {
            Event::Record(located) => {
                records += 1;
                queued += u64::from(enters_queue(located.record.sys_flag));
                bad += u64::from(located.problem.is_some());
                progress.at(located.offset - log.min());
            }
            Event::Lost { from, to, .. } => {
                refusal.get_or_insert_with(|| {
                    format!(
                        "the log is damaged from {from} to {to}, and recovery would not see the messages behind that. First \
                         restore the file, or have the damage stepped over: {}",
                        remedies.bridge()
                    )
                });
            }
            Event::Tail { end, torn: Some(reason) } if clean => {
                refusal.get_or_insert_with(|| {
                    format!("the log has something behind its end at {end}: {reason}. First: {}", remedies.cut(end))
                });
            }
            Event::Filler { .. } | Event::Tail { .. } => {}
        }
        Ok(())
    })?;
    match refusal {
        Some(refusal) => Err(ToolError::Refused(refusal)),
        None => {
            let mut lines = vec![format!("the log holds {records} records, {queued} of which belong in queues")];
            if bad > 0 {
                lines.push(format!("{bad} of them are damaged, but their place is known: they stay in their queues"));
            }
            Ok(lines)
        }
    }
}

fn config(
    store: &StoreDir,
    log: &LogFiles,
    found: &Found,
    index: &[index::IndexFile],
    what: What,
    settings: &Settings,
) -> Result<StoreConfig, ToolError> {
    let layout: Layout = index.iter().rev().find_map(|file| file.layout).unwrap_or(index::DEFAULT);
    let queue_file_bytes = settings.queue_file_bytes.unwrap_or(found.queues.file_bytes);
    let defaults = StoreConfig::default();
    Ok(StoreConfig {
        store_path_root_dir: store.root.clone(),
        store_paths_commit_log: store.commit_log.clone(),
        mapped_file_size_commit_log: log.file_bytes,
        mapped_file_size_consume_queue: queue_file_bytes,
        mapper_file_size_batch_consume_queue: found.batches.file_bytes,
        batch_topics: batch_topics(store, found)?,
        enable_lmq: true,
        enable_multi_dispatch: true,
        enable_consume_queue_ext: what == What::Queues && !found.extensions.queues.is_empty(),
        mapped_file_size_consume_queue_ext: found.extensions.file_bytes,
        // Nothing may expire while this tool has the store open.
        file_reserved_time_hours: 24 * 365 * 100,
        clean_resource_interval_ms: 1000 * 60 * 60 * 24,
        clean_file_forcibly_enable: false,
        message_index_enable: what == What::Index || !index.is_empty(),
        max_hash_slot_num: settings.index_slots.unwrap_or(layout.slots),
        max_index_num: settings.index_entries.unwrap_or(layout.entries),
        message_delay_level: settings.delay_levels.clone().unwrap_or(defaults.message_delay_level.clone()),
        ..defaults
    })
}

/// Topics whose queues hold batches, by what is there and by their settings.
fn batch_topics(store: &StoreDir, found: &Found) -> Result<Vec<String>, ToolError> {
    let metadata = Metadata::read(&store.config())?;
    let settings = metadata.topics.good().into_iter().flat_map(|topics| topics.topic_config_table.values());
    let configured = settings.filter(|topic| topic.is_batch_cq());
    let mut topics: BTreeSet<String> = configured.map(|topic| topic.topic_name.clone()).collect();
    topics.extend(found.batches.topics().into_iter().map(str::to_owned));
    Ok(topics.into_iter().collect())
}

/// The store could not be opened: everything back to where it was.
fn put_back(store: &StoreDir, backup: &Backup, what: What) -> Result<(), ToolError> {
    what.taken(store).iter().try_for_each(|dir| restore(backup, dir))?;
    let kept = backup.place(&store.root.join("checkpoint"));
    if kept.exists() {
        let path = store.root.join("checkpoint");
        fs::copy(&kept, &path).on("restore", &path)?;
        fs::remove_file(&kept).on("remove", &kept)?;
    }
    // It holds nothing any more, unless the system refused something above.
    let _ = fs::remove_dir(&backup.dir);
    Ok(())
}

/// Moves a directory back from the backup.
fn restore(backup: &Backup, dir: &std::path::Path) -> Result<(), ToolError> {
    let kept = backup.place(dir);
    if !kept.exists() {
        return Ok(());
    }
    if dir.exists() {
        fs::remove_dir_all(dir).on("remove", dir)?;
    }
    fs::rename(&kept, dir).on("restore", dir)
}

/// Records of deleted topics are still in the log: topics that neither had queues nor settings do not come back.
fn forget_deleted(store: &StoreDir, before: &Found, opened: &MessageStore) -> Result<usize, ToolError> {
    let metadata = Metadata::read(&store.config())?;
    let Some(topics) = metadata.topics.good().filter(|_| before.kinds().iter().any(|files| !files.queues.is_empty()))
    else {
        return Ok(0);
    };
    let known: BTreeSet<&str> = before
        .kinds()
        .into_iter()
        .flat_map(QueueFiles::topics)
        .chain(topics.topic_config_table.keys().map(String::as_str))
        .collect();
    // Light queues have no settings that could tell which of them there were.
    let unknown =
        |topic: &str| !known.contains(topic) && !protocol::names::is_system_topic(topic) && !store::is_lmq(topic);
    let deleted = opened.topics().into_iter().filter(|(topic, _)| unknown(topic));
    Ok(deleted.map(|(topic, _)| opened.delete_topic(&topic)).sum())
}

/// Queues that had messages, none of which is left in the log, are not made from it. Without them new messages would
/// begin at 0, before what consumers have committed.
fn keep_expired(backup: &Backup, before: &QueueFiles, log_min: u64) -> Result<usize, ToolError> {
    let mut kept = 0;
    for queue in &before.queues {
        let dir = before.dir.join(&queue.topic).join(queue.queue_id.to_string());
        let old = backup.place(&dir);
        if dir.exists() || !has_expired(before, queue, &old, log_min)? {
            continue;
        }
        make_parent(&dir)?;
        fs::create_dir(&dir).on("make", &dir)?;
        for file in &queue.files {
            let name = file.path.file_name().unwrap_or_default();
            fs::copy(old.join(name), dir.join(name)).on("copy", &file.path)?;
        }
        kept += 1;
    }
    Ok(kept)
}

fn has_expired(files: &QueueFiles, queue: &QueueDir, old: &std::path::Path, log_min: u64) -> Result<bool, ToolError> {
    let mut moved = queue.clone();
    for file in &mut moved.files {
        file.path = old.join(file.path.file_name().unwrap_or_default());
    }
    let (mut units, mut all) = (0u64, true);
    for_each_written(files, &moved, 0, &mut |_, unit| {
        units += 1;
        let before_log = u64::try_from(unit.physical_offset).is_ok_and(|offset| offset < log_min);
        all &= unit.is_written() && (unit.is_blank() || before_log);
    })?;
    let whole = moved.files.iter().all(|file| file.len == files.file_bytes);
    Ok(units > 0 && all && whole)
}
