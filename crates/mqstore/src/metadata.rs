//! The files under `config/`: reading them, and getting out of a broken one what is still readable.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use daemon::persist::backup_of;
use protocol::body::group::{SubscriptionGroupConfig, SubscriptionGroupWrapper};
use protocol::body::topic::{DataVersion, TopicConfig, TopicConfigSerializeWrapper};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{IoContext as _, ToolError};

/// Largest file that is read, as the broker's limit.
const MAX_BYTES: u64 = daemon::persist::MAX_BYTES;
/// Longest entry that is looked for in a broken file.
const MAX_ENTRY: usize = 256 << 10;

/// Names of the files that can be made anew.
pub(crate) const TOPICS: &str = "topics.json";
/// Groups.
pub(crate) const GROUPS: &str = "subscriptionGroup.json";
/// Offsets of groups.
pub(crate) const OFFSETS: &str = "consumerOffset.json";
/// The same of a broker with light queues, which leaves the other as it was.
pub(crate) const LMQ_OFFSETS: &str = "lmqConsumerOffset.json";
/// How far delivery of delayed messages is.
pub(crate) const DELAYS: &str = "delayOffset.json";

/// `consumerOffset.json`: next message to consume, by `topic@group` and queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ConsumerOffsets {
    pub(crate) data_version: DataVersion,
    /// Groups of light queues, each of which has one queue; in [`LMQ_OFFSETS`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lmq_offset_table: Option<BTreeMap<String, i64>>,
    pub(crate) offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl ConsumerOffsets {
    /// Each `topic@group`, with queue and offset.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = (&str, i32, &mut i64)> {
        let light = self.lmq_offset_table.iter_mut().flatten().map(|(key, offset)| (&**key, 0, offset));
        let plain = self.offset_table.iter_mut();
        let plain = plain.flat_map(|(key, queues)| queues.iter_mut().map(|(queue, offset)| (&**key, *queue, offset)));
        plain.chain(light)
    }
}

/// `delayOffset.json`: next message to deliver, by level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DelayOffsets {
    pub(crate) data_version: DataVersion,
    pub(crate) offset_table: BTreeMap<i32, i64>,
}

/// How a file was found.
#[derive(Debug)]
pub(crate) enum Content<T> {
    Missing,
    /// Why it cannot be used, and at which byte.
    Broken(String, Option<u64>),
    Good(T),
}

impl<T> Content<T> {
    pub(crate) fn good(&self) -> Option<&T> {
        match self {
            Content::Good(value) => Some(value),
            _ => None,
        }
    }
}

/// The bytes of a file; `None` when it is missing.
pub(crate) fn bytes(path: &Path) -> Result<Option<Vec<u8>>, ToolError> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).on("open", path),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).on("read", path)?;
    Ok(Some(bytes))
}

/// Reads a file in fastjson's dialect.
///
/// # Errors
/// What the system said.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Content<T>, ToolError> {
    let Some(bytes) = bytes(path)? else { return Ok(Content::Missing) };
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(Content::Broken(format!("it is larger than {MAX_BYTES} bytes"), None));
    }
    if bytes.is_empty() {
        return Ok(Content::Broken("it is empty".to_owned(), Some(0)));
    }
    Ok(match codec::json::from_slice(&bytes) {
        Ok(value) => Content::Good(value),
        Err(error) => {
            let text = error.to_string();
            let position = text.rsplit_once(" at byte ").and_then(|(_, at)| at.parse().ok());
            Content::Broken(text, position)
        }
    })
}

/// The files that can be made anew.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) topics: Content<TopicConfigSerializeWrapper>,
    pub(crate) groups: Content<SubscriptionGroupWrapper>,
    pub(crate) offsets: Content<ConsumerOffsets>,
    pub(crate) lmq_offsets: Content<ConsumerOffsets>,
    pub(crate) delays: Content<DelayOffsets>,
}

impl Metadata {
    pub(crate) fn read(config: &Path) -> Result<Metadata, ToolError> {
        Ok(Metadata {
            topics: read(&config.join(TOPICS))?,
            groups: read(&config.join(GROUPS))?,
            offsets: read(&config.join(OFFSETS))?,
            lmq_offsets: read(&config.join(LMQ_OFFSETS))?,
            delays: read(&config.join(DELAYS))?,
        })
    }
}

/// A table of a file as it could be got: whole, or entry by entry.
#[derive(Debug)]
pub(crate) struct Salvaged<T> {
    pub(crate) entries: BTreeMap<String, T>,
    pub(crate) version: DataVersion,
    /// From where, for people.
    pub(crate) from: String,
}

/// Topics of a file or its backup.
pub(crate) fn topics(path: &Path) -> Result<Salvaged<TopicConfig>, ToolError> {
    salvage(
        path,
        &|bytes| {
            let whole = codec::json::from_slice::<TopicConfigSerializeWrapper>(bytes).ok()?;
            Some((whole.topic_config_table, whole.data_version))
        },
        &|key, value| codec::json::from_slice(value).ok().filter(|topic: &TopicConfig| topic.topic_name == key),
    )
}

/// Groups of a file or its backup.
pub(crate) fn groups(path: &Path) -> Result<Salvaged<SubscriptionGroupConfig>, ToolError> {
    salvage(
        path,
        &|bytes| {
            let whole = codec::json::from_slice::<SubscriptionGroupWrapper>(bytes).ok()?;
            Some((whole.subscription_group_table, whole.data_version))
        },
        &|key, value| {
            codec::json::from_slice(value).ok().filter(|group: &SubscriptionGroupConfig| group.group_name == key)
        },
    )
}

/// Offsets of a file or its backup.
pub(crate) fn offsets(path: &Path) -> Result<Salvaged<BTreeMap<i32, i64>>, ToolError> {
    salvage(
        path,
        &|bytes| {
            let whole = codec::json::from_slice::<ConsumerOffsets>(bytes).ok()?;
            Some((whole.offset_table, whole.data_version))
        },
        &|key, value| if key.contains('@') { codec::json::from_slice(value).ok() } else { None },
    )
}

/// Offsets of groups of light queues, of a file or its backup, when one of them is whole.
pub(crate) fn lmq_offsets(path: &Path) -> Result<Option<BTreeMap<String, i64>>, ToolError> {
    for path in [path, &*backup_of(path)] {
        if let Content::Good(whole) = read::<ConsumerOffsets>(path)? {
            return Ok(whole.lmq_offset_table);
        }
    }
    Ok(None)
}

type Whole<'f, T> = &'f dyn Fn(&[u8]) -> Option<(BTreeMap<String, T>, DataVersion)>;

/// The whole of a file, or of its backup with what is readable in the file on top, or what is readable in either.
fn salvage<T>(
    path: &Path,
    whole: Whole<'_, T>,
    entry: &dyn Fn(&str, &[u8]) -> Option<T>,
) -> Result<Salvaged<T>, ToolError> {
    let main = bytes(path)?.unwrap_or_default();
    if let Some((entries, version)) = whole(&main) {
        let from = format!("{} entries of {}", entries.len(), name(path));
        return Ok(Salvaged { entries, version, from });
    }
    let backup_path = backup_of(path);
    let backup = bytes(&backup_path)?.unwrap_or_default();
    let (mut entries, version) = whole(&backup).unwrap_or_else(|| (pick(&backup, entry), DataVersion::default()));
    let of_backup = entries.len();
    let readable = pick(&main, entry);
    let from = format!("{} readable entries of {}, {of_backup} of {}", readable.len(), name(path), name(&backup_path));
    entries.extend(readable);
    Ok(Salvaged { entries, version, from })
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The entries `"key":{…}` of a broken text that `entry` takes.
fn pick<T>(text: &[u8], entry: &dyn Fn(&str, &[u8]) -> Option<T>) -> BTreeMap<String, T> {
    let mut found = BTreeMap::new();
    let mut at = 0;
    while let Some(start) = text.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'"')) {
        at += start + 1;
        let Some((key, value, end)) = key_and_object(text, at) else { continue };
        if let Some(value) = entry(key, value) {
            found.insert(key.to_owned(), value);
            at = end;
        }
    }
    found
}

/// A key whose first letter is at `at`, the object that follows it, and where that ends.
fn key_and_object(text: &[u8], at: usize) -> Option<(&str, &[u8], usize)> {
    let rest = text.get(at..(at + MAX_ENTRY).min(text.len()))?;
    let key_len = rest.iter().position(|byte| *byte == b'"')?;
    let key = std::str::from_utf8(rest.get(..key_len)?).ok()?;
    let skip = |from: usize| Some(from + rest.get(from..)?.iter().position(|byte| !byte.is_ascii_whitespace())?);
    let colon = skip(key_len + 1)?;
    let open = skip(colon + 1)?;
    if rest.get(colon) != Some(&b':') || rest.get(open) != Some(&b'{') {
        return None;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (index, byte) in rest.iter().enumerate().skip(open) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' if !in_string => depth += 1,
            b'}' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return Some((key, rest.get(open..=index)?, at + index + 1));
                }
            }
            _ => {}
        }
    }
    None
}

/// All files of metadata in a directory that are JSON: those that end in `.json`, and two that do not say so.
pub(crate) fn json_files(config: &Path) -> Result<Vec<PathBuf>, ToolError> {
    let is_json = |name: &str| name.ends_with(".json") || ["timermetrics", "transactionMetrics"].contains(&name);
    let found = crate::files::entries(config)?;
    Ok(found.into_iter().filter(|(name, path)| is_json(name) && path.is_file()).map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readable_entries_of_a_broken_file_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TOPICS);
        let text = r#"{"dataVersion":{"counter":1},"topicConfigTable":{
            "A":{"topicName":"A","perm":4,"readQueueNums":3,"attributes":{}},
            "B":{"topicName":"B","perm":6,"attributes":{"x":"}"}},
            "C":{"topicName":"C","perm":"#;
        std::fs::write(&path, text).unwrap();
        std::fs::write(
            backup_of(&path),
            r#"{"topicConfigTable":{"A":{"topicName":"A","perm":6},"D":{"topicName":"D"}}}"#,
        )
        .unwrap();
        let found = topics(&path).unwrap();
        assert_eq!(found.entries.keys().map(String::as_str).collect::<Vec<_>>(), ["A", "B", "D"]);
        assert_eq!(found.entries["A"].perm, 4);
        assert!(found.from.starts_with("2 readable entries of topics.json, 2 of"), "{}", found.from);
    }

    #[test]
    fn offsets_of_a_broken_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(OFFSETS);
        std::fs::write(&path, "{\"offsetTable\":{\"T@g\":{0:1,1:2\n},\"U@g\":{0:").unwrap();
        let found = offsets(&path).unwrap();
        assert_eq!(found.entries, BTreeMap::from([("T@g".to_owned(), BTreeMap::from([(0, 1), (1, 2)]))]));
    }

    #[test]
    fn a_broken_file_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DELAYS);
        assert!(matches!(read::<DelayOffsets>(&path).unwrap(), Content::Missing));
        std::fs::write(&path, "{\"offsetTable\":{1:2").unwrap();
        let found = read::<DelayOffsets>(&path).unwrap();
        assert!(matches!(found, Content::Broken(_, Some(19))), "{found:?}");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(read::<DelayOffsets>(&path).unwrap(), Content::Broken(_, Some(0))));
    }
}
