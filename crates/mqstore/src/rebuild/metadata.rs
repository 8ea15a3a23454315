//! `mqstore rebuild metadata`: topics, groups and offsets from queues, log, and what is readable in the old files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use codec::batch_consume_queue::BatchUnit;
use codec::consume_queue::Unit;
use codec::message::sys_flag;
use daemon::persist;
use protocol::body::group::SubscriptionGroupConfig;
use protocol::body::topic::{BATCH_CQ, DataVersion, QUEUE_TYPE, TopicConfig};
use protocol::names::{RETRY_PREFIX, is_system_group, is_system_topic};
use store::offline::SCHEDULE_TOPIC;

use crate::backup::{NOTHING_CHANGED, begin_change, refuse_when_in_use};
use crate::clock;
use crate::error::{IoContext as _, ToolError};
use crate::files::{LogFiles, QueueFiles, StoreDir};
use crate::log::{Event, LogReader, Look, message_count};
use crate::metadata::{
    self, ConsumerOffsets, Content, DELAYS, DelayOffsets, GROUPS, LMQ_OFFSETS, Metadata, OFFSETS, TOPICS,
};
use crate::queue_units::{self, for_each_unit, for_each_written};

/// Queues and one behind the last message of each.
#[derive(Debug, Default)]
struct Ends {
    topics: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Topics whose queues hold batches.
    batch_topics: BTreeSet<String>,
}
/// A broker delivers delayed messages this much late at most: what was due before is taken for delivered.
const DELIVERY_SLACK_MS: i64 = 60_000;

/// A file and its new content.
struct Change {
    name: &'static str,
    content: Vec<u8>,
    lines: Vec<String>,
}

/// Makes those metadata files anew that are broken, missing or do not fit the queues, or says what that would do. Returns
/// lines for people.
///
/// # Errors
/// When the store is in use; then nothing was changed.
pub fn metadata(store: &StoreDir, apply: bool) -> Result<Vec<String>, ToolError> {
    refuse_when_in_use(store)?;
    let queues = QueueFiles::list(store)?;
    if queues.is_rocksdb {
        return Err(ToolError::Refused("the consume queues lie in RocksDB, which this tool does not read".to_owned()));
    }
    let ends = ends(store, &queues)?;
    let found = Metadata::read(&store.config())?;
    let changes = [
        topics(store, &found, &ends)?,
        groups(store, &found, &ends)?,
        offsets(store, OFFSETS, &found.offsets, &ends)?,
        offsets(store, LMQ_OFFSETS, &found.lmq_offsets, &ends)?,
        delays(store, &found, &queues, &ends)?,
    ];
    let changes: Vec<Change> = changes.into_iter().flatten().collect();
    let mut lines: Vec<String> = changes.iter().flat_map(|change| change.lines.clone()).collect();
    if changes.is_empty() {
        lines.push("topics, groups and offsets are readable and fit the queues: nothing to do".to_owned());
        return Ok(lines);
    }
    if !apply {
        lines.push(NOTHING_CHANGED.to_owned());
        return Ok(lines);
    }
    let (_lock, backup) = begin_change(store)?;
    for change in changes {
        let path = store.config().join(change.name);
        backup.copy(&persist::backup_of(&path))?;
        if found.is_broken(change.name) {
            // Else it would become the .bak.
            backup.take(&path)?;
        } else {
            backup.copy(&path)?;
        }
        fs::create_dir_all(store.config()).on("make", &store.config())?;
        persist::replace(&path, &change.content).on("write", &path)?;
    }
    lines.push(backup.kept());
    Ok(lines)
}

impl Metadata {
    fn is_broken(&self, name: &str) -> bool {
        match name {
            TOPICS => matches!(self.topics, Content::Broken(..)),
            GROUPS => matches!(self.groups, Content::Broken(..)),
            OFFSETS => matches!(self.offsets, Content::Broken(..)),
            LMQ_OFFSETS => matches!(self.lmq_offsets, Content::Broken(..)),
            _ => matches!(self.delays, Content::Broken(..)),
        }
    }
}

/// From the queues; from the log when there are none.
fn ends(store: &StoreDir, queues: &QueueFiles) -> Result<Ends, ToolError> {
    let mut ends = Ends::default();
    let batches = QueueFiles::list_batches(store)?;
    ends.batch_topics.extend(batches.topics().into_iter().map(str::to_owned));
    for files in [queues, &batches] {
        for queue in &files.queues {
            let mut end = 0;
            let last = queue.files.last().map_or(0, |file| files.unit_at(file.first));
            for_each_unit(files, queue, last, &mut |at, bytes| {
                if queue_units::first(bytes).is_some_and(|unit| unit.is_written()) {
                    end = BatchUnit::parse(bytes).map_or(at + 1, |unit| unit.end_offset());
                }
            })?;
            ends.topics.entry(queue.topic.clone()).or_default().insert(queue.queue_id, end);
        }
    }
    if !ends.topics.is_empty() {
        return Ok(ends);
    }
    let log = LogFiles::list(store)?;
    LogReader::new(&log).walk(log.min(), &mut |event| {
        if let Event::Record(located) = event
            && located.problem.is_none()
            && store::offline::enters_queue(located.record.sys_flag)
        {
            let record = &located.record;
            let topic = record.topic_str().into_owned();
            if record.sys_flag & sys_flag::INNER_BATCH != 0 {
                ends.batch_topics.insert(topic.clone());
            }
            let end = ends.topics.entry(topic).or_default().entry(record.queue_id).or_default();
            *end = record.queue_offset.saturating_add(message_count(record).into());
        }
        Ok(())
    })?;
    Ok(ends)
}

fn next(version: DataVersion) -> DataVersion {
    version.next(clock::now_ms())
}

fn why<T>(content: &Content<T>) -> Option<String> {
    match content {
        Content::Good(_) => None,
        Content::Missing => Some("missing".to_owned()),
        Content::Broken(why, _) => Some(why.clone()),
    }
}

fn topics(store: &StoreDir, found: &Metadata, ends: &Ends) -> Result<Option<Change>, ToolError> {
    let path = store.config().join(TOPICS);
    let mut lines = Vec::new();
    let mut whole = found.topics.good().cloned().unwrap_or_default();
    if let Some(why) = why(&found.topics) {
        let salvaged = metadata::topics(&path)?;
        lines.push(format!("{TOPICS} ({why}): {}", salvaged.from));
        (whole.topic_config_table, whole.data_version) = (salvaged.entries, salvaged.version);
    }
    for (topic, queues) in &ends.topics {
        let made_at_boot = is_system_topic(topic) || topic.starts_with(protocol::names::LMQ_PREFIX);
        let used = queues.values().any(|end| *end > 0);
        if made_at_boot || !used || whole.topic_config_table.contains_key(topic) {
            continue;
        }
        let count = queues.keys().max().map_or(1, |most| most.saturating_add(1).max(1));
        lines.push(format!("{TOPICS}: topic {topic} with {count} queues, from its queues; perm 6 (read and write)"));
        let is_batch = ends.batch_topics.contains(topic);
        let queue_type = is_batch.then(|| (QUEUE_TYPE.to_owned(), BATCH_CQ.to_owned()));
        let config = TopicConfig {
            topic_name: topic.clone(),
            read_queue_nums: count,
            write_queue_nums: count,
            attributes: queue_type.into_iter().collect(),
            ..TopicConfig::default()
        };
        whole.topic_config_table.insert(topic.clone(), config);
    }
    let nothing_known = matches!(found.topics, Content::Missing) && whole.topic_config_table.is_empty();
    if lines.is_empty() || nothing_known {
        return Ok(None);
    }
    whole.data_version = next(whole.data_version);
    Ok(Some(Change { name: TOPICS, content: protocol::body::encode(&whole), lines }))
}

fn groups(store: &StoreDir, found: &Metadata, ends: &Ends) -> Result<Option<Change>, ToolError> {
    let Some(why) = why(&found.groups) else { return Ok(None) };
    let salvaged = metadata::groups(&store.config().join(GROUPS))?;
    let mut lines = vec![format!("{GROUPS} ({why}): {}", salvaged.from)];
    let mut whole = protocol::body::group::SubscriptionGroupWrapper {
        data_version: next(salvaged.version),
        subscription_group_table: salvaged.entries,
        ..Default::default()
    };
    let topics = metadata::topics(&store.config().join(TOPICS))?.entries;
    let mut offsets = metadata::offsets(&store.config().join(OFFSETS))?.entries;
    offsets.append(&mut metadata::offsets(&store.config().join(LMQ_OFFSETS))?.entries);
    let of_topics = ends.topics.keys().chain(topics.keys()).filter_map(|topic| topic.strip_prefix(RETRY_PREFIX));
    let of_offsets = offsets.keys().filter_map(|key| key.rsplit_once('@')).map(|(_, group)| group);
    for group in of_topics.chain(of_offsets) {
        if group.is_empty() || is_system_group(group) || whole.subscription_group_table.contains_key(group) {
            continue;
        }
        lines.push(format!(
            "{GROUPS}: group {group}, from its retry topic or offsets; settings are the broker's defaults"
        ));
        let config = SubscriptionGroupConfig { group_name: group.to_owned(), ..SubscriptionGroupConfig::default() };
        whole.subscription_group_table.insert(group.to_owned(), config);
    }
    if matches!(found.groups, Content::Missing) && whole.subscription_group_table.is_empty() {
        return Ok(None);
    }
    Ok(Some(Change { name: GROUPS, content: protocol::body::encode(&whole), lines }))
}

fn offsets(
    store: &StoreDir,
    name: &'static str,
    found: &Content<ConsumerOffsets>,
    ends: &Ends,
) -> Result<Option<Change>, ToolError> {
    let mut lines = Vec::new();
    let mut whole = found.good().cloned().unwrap_or_default();
    match found {
        Content::Good(_) => {}
        // Nobody has consumed: nothing can be said.
        Content::Missing => return Ok(None),
        Content::Broken(why, _) => {
            let path = store.config().join(name);
            let salvaged = metadata::offsets(&path)?;
            lines.push(format!(
                "{name} ({why}): {}; groups without an entry begin where their clients say",
                salvaged.from
            ));
            (whole.offset_table, whole.data_version) = (salvaged.entries, salvaged.version);
            whole.lmq_offset_table = metadata::lmq_offsets(&path)?;
        }
    }
    for (key, queue_id, offset) in whole.all() {
        let topic = key.rsplit_once('@').map_or(key, |(topic, _)| topic);
        let Some(of_topic) = ends.topics.get(topic) else { continue };
        let end = of_topic.get(&queue_id).copied().unwrap_or(0);
        if *offset > end {
            lines.push(format!("{name}: {key} queue {queue_id} from {offset} to {end}, the end of the queue"));
            *offset = end;
        }
    }
    if lines.is_empty() {
        return Ok(None);
    }
    whole.data_version = next(whole.data_version);
    Ok(Some(Change { name, content: protocol::body::encode(&whole), lines }))
}

fn delays(store: &StoreDir, found: &Metadata, queues: &QueueFiles, ends: &Ends) -> Result<Option<Change>, ToolError> {
    let mut lines = Vec::new();
    let mut whole = match &found.delays {
        Content::Good(whole) => whole.clone(),
        Content::Missing => return Ok(None),
        Content::Broken(why, _) => {
            lines.push(format!("{DELAYS} ({why}): from the delivery times in the queues of {SCHEDULE_TOPIC}"));
            DelayOffsets { offset_table: undelivered(store, queues)?, ..DelayOffsets::default() }
        }
    };
    if let Some(of_topic) = ends.topics.get(SCHEDULE_TOPIC) {
        for (level, offset) in &mut whole.offset_table {
            let end = of_topic.get(&level.saturating_sub(1)).copied().unwrap_or(0);
            if *offset > end {
                lines.push(format!("{DELAYS}: level {level} from {offset} to {end}, the end of its queue"));
                *offset = end;
            }
        }
    }
    if lines.is_empty() {
        return Ok(None);
    }
    whole.data_version = next(whole.data_version);
    Ok(Some(Change { name: DELAYS, content: protocol::body::encode(&whole), lines }))
}

/// Per level the first message that was not due when the broker stored its last message.
fn undelivered(store: &StoreDir, queues: &QueueFiles) -> Result<BTreeMap<i32, i64>, ToolError> {
    let log = LogFiles::list(store)?;
    let mut reader = LogReader::new(&log);
    let mut last_time = 0;
    for file in log.files.iter().rev() {
        if matches!(reader.look(file.first)?, Look::Record(_)) {
            reader.walk(file.first, &mut |event| {
                if let Event::Record(located) = event {
                    last_time = located.record.store_timestamp;
                }
                Ok(())
            })?;
            break;
        }
    }
    let mut offsets = BTreeMap::new();
    for queue in queues.queues.iter().filter(|queue| queue.topic == SCHEDULE_TOPIC) {
        let mut offset = 0;
        let delivered = |unit: &Unit| unit.is_blank() || unit.tags_code < last_time - DELIVERY_SLACK_MS;
        for_each_written(queues, queue, 0, &mut |at, unit| {
            if unit.is_written() && delivered(&unit) {
                offset = at + 1;
            }
        })?;
        offsets.insert(queue.queue_id.saturating_add(1), offset);
    }
    Ok(offsets)
}
