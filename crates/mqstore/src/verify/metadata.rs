//! Metadata: readable, and in agreement with the queues.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde::de::IgnoredAny;

use super::queues::TopicQueues;
use super::report::{Kind, Report};
use crate::error::ToolError;
use crate::files::{QueueFiles, StoreDir};
use crate::metadata::{self, Content, DELAYS, GROUPS, LMQ_OFFSETS, Metadata, OFFSETS, TOPICS};
use crate::remedy::Remedies;

/// What topics.json says of the queues of each topic; `None` when it says nothing.
pub(crate) fn topic_queues(metadata: &Metadata) -> Option<TopicQueues> {
    let topics = &metadata.topics.good()?.topic_config_table;
    Some(
        topics
            .values()
            .map(|topic| (topic.topic_name.clone(), topic.read_queue_nums.max(topic.write_queue_nums)))
            .collect(),
    )
}

/// Every file parses.
pub(crate) fn check_files(
    store: &StoreDir,
    metadata: &Metadata,
    queues: &QueueFiles,
    report: &mut Report,
) -> Result<(), ToolError> {
    let config = store.config();
    let remedy = Remedies::new(store).rebuild("metadata");
    let states = [
        (TOPICS, state(&metadata.topics)),
        (GROUPS, state(&metadata.groups)),
        (OFFSETS, state(&metadata.offsets)),
        (LMQ_OFFSETS, state(&metadata.lmq_offsets)),
        (DELAYS, state(&metadata.delays)),
    ];
    for (name, state) in states {
        match state {
            State::Broken(why, position) => {
                report.find(Kind::MetadataBroken, (config.join(name), position), why, remedy.clone());
            }
            State::Missing if name == TOPICS && !queues.queues.is_empty() => {
                let what = "the file is missing, though there are consume queues";
                report.find(Kind::MetadataBroken, (config.join(name), None), what, remedy.clone());
            }
            _ => {}
        }
    }
    for path in metadata::json_files(&config)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if [TOPICS, GROUPS, OFFSETS, LMQ_OFFSETS, DELAYS].contains(&name.as_str()) {
            continue;
        }
        if let Content::Broken(why, position) = metadata::read::<IgnoredAny>(&path)? {
            let backup = daemon::persist::backup_of(&path);
            let remedy = match metadata::read::<IgnoredAny>(&backup)? {
                Content::Good(_) => format!("cp {} {}", backup.display(), path.display()),
                _ => format!("move {} away; the broker begins it anew", path.display()),
            };
            report.find(Kind::MetadataBroken, (path, position), why, remedy);
        }
    }
    Ok(())
}

enum State {
    Good,
    Missing,
    Broken(String, Option<u64>),
}

fn state<T>(content: &Content<T>) -> State {
    match content {
        Content::Good(_) => State::Good,
        Content::Missing => State::Missing,
        Content::Broken(why, position) => State::Broken(why.clone(), *position),
    }
}

/// Topics have settings, offsets lie in their queues. `ends` is one behind the last unit of each queue.
pub(crate) fn check_agreement(
    store: &StoreDir,
    metadata: &Metadata,
    ends: &HashMap<Box<str>, BTreeMap<i32, i64>>,
    report: &mut Report,
) {
    let remedy = Remedies::new(store).rebuild("metadata");
    let place = |name: &str| -> (PathBuf, Option<u64>) { (store.config().join(name), None) };
    if let Some(topics) = metadata.topics.good() {
        let mut unknown: Vec<&str> = ends
            .iter()
            .filter(|(topic, queues)| {
                let used = queues.values().any(|end| *end > 0);
                used && !topics.topic_config_table.contains_key(&***topic)
                    && !protocol::names::is_system_topic(topic)
                    && !topic.starts_with(protocol::names::LMQ_PREFIX)
            })
            .map(|(topic, _)| &**topic)
            .collect();
        unknown.sort_unstable();
        for topic in unknown {
            let what = format!("topic {topic} has queues and no settings");
            report.find(Kind::MetadataDisagrees, place(TOPICS), what, remedy.clone());
        }
    }
    for (name, offsets) in [(OFFSETS, &metadata.offsets), (LMQ_OFFSETS, &metadata.lmq_offsets)] {
        for (key, queue_id, offset) in offsets.good().cloned().unwrap_or_default().all() {
            let topic = key.rsplit_once('@').map_or(key, |(topic, _)| topic);
            let Some(of_topic) = ends.get(topic) else { continue };
            let end = of_topic.get(&queue_id).copied().unwrap_or(0);
            if *offset > end {
                let what = format!("{key} queue {queue_id}: offset {offset} lies beyond the end of the queue, {end}");
                report.find(Kind::MetadataDisagrees, place(name), what, remedy.clone());
            }
        }
    }
    if let Some(delays) = metadata.delays.good()
        && let Some(of_topic) = ends.get(store::offline::SCHEDULE_TOPIC)
    {
        for (level, offset) in &delays.offset_table {
            let end = of_topic.get(&level.saturating_sub(1)).copied().unwrap_or(0);
            if *offset > end {
                let what = format!("level {level}: offset {offset} lies beyond the end of its queue, {end}");
                report.find(Kind::MetadataDisagrees, place(DELAYS), what, remedy.clone());
            }
        }
    }
}
