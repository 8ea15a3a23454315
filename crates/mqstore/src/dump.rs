//! `mqstore dump`: messages, as text or JSON lines.

use std::io::{Read as _, Write};
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codec::consume_queue::{UNIT_LEN, units};
use codec::index::key_hash;
use codec::message::{MessageRecord, parse_message_id, sys_flag};
use codec::properties;
use serde_json::{Map, Value, json};

use crate::error::ToolError;
use crate::files::{LogFiles, QueueFiles, StoreDir};
use crate::log::{Event, Located, LogReader, Look, message_count};
use crate::queue_units::read_units;
use crate::{index, time};

/// Longest body that is decompressed.
const MAX_BODY: u64 = 256 << 20;
/// Units read at a time.
const UNITS: i64 = 1024;

/// Which messages.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of this topic.
    pub topic: Option<String>,
    /// Of this queue.
    pub queue_id: Option<i32>,
    /// From this queue offset on.
    pub from: Option<i64>,
    /// Up to this queue offset, which is not included.
    pub to: Option<i64>,
    /// With this key, or this client's message id.
    pub key: Option<String>,
    /// With this message id: of the offset form, or the client's.
    pub id: Option<String>,
    /// Stored at this time or later, ms.
    pub begin: Option<i64>,
    /// Stored at this time or earlier, ms.
    pub end: Option<i64>,
    /// So many at most.
    pub limit: u64,
}

/// How they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object a line.
    JsonLines,
}

/// Writes the selected messages and returns how many there were.
///
/// # Errors
/// When the store cannot be read, or nobody reads the output.
pub fn dump(store: &StoreDir, selection: &Selection, form: Form, out: &mut dyn Write) -> Result<u64, ToolError> {
    let log = LogFiles::list(store)?;
    let mut printer = Printer { out, form, left: selection.limit, count: 0 };
    let mut selection = selection.clone();
    if let Some(id) = selection.id.take() {
        if let Ok((_, offset)) = parse_message_id(&id)
            && let Look::Record(located) =
                LogReader::for_single_records(&log).look(u64::try_from(offset).unwrap_or(0))?
            && located.record.offset_message_id().eq_ignore_ascii_case(&id)
        {
            let _ = printer.print(&located)?;
            return Ok(printer.count);
        }
        selection.key = Some(id);
    }
    if let (Some(topic), Some(queue_id)) = (&selection.topic, selection.queue_id) {
        by_queue(store, &log, topic, queue_id, &selection, &mut printer)?;
    } else if !by_index(store, &log, &selection, &mut printer)? {
        by_log(&log, &selection, &mut printer)?;
    }
    Ok(printer.count)
}

fn by_queue(
    store: &StoreDir,
    log: &LogFiles,
    topic: &str,
    queue_id: i32,
    selection: &Selection,
    printer: &mut Printer<'_>,
) -> Result<(), ToolError> {
    let files = QueueFiles::list(store)?;
    let queue = files.queues.iter().find(|queue| queue.topic == topic && queue.queue_id == queue_id);
    let Some(queue) = queue else {
        let batches = QueueFiles::list_batches(store)?;
        if batches.queues.iter().any(|queue| queue.topic == topic && queue.queue_id == queue_id) {
            // Its units do not tell where a message of an offset stands.
            return by_log(log, selection, printer);
        }
        return Err(ToolError::Refused(format!(
            "there is no consume queue {queue_id} of {topic}; mqstore inspect lists them"
        )));
    };
    let first = queue.files.first().map_or(0, |file| i64::try_from(file.first / UNIT_LEN as u64).unwrap_or(0));
    let mut at = selection.from.unwrap_or(0).max(first);
    let to = selection.to.unwrap_or(i64::MAX);
    let mut reader = LogReader::for_single_records(log);
    while at < to {
        let bytes = read_units(&files, queue, at, UNITS.min(to - at))?;
        if bytes.len() < UNIT_LEN {
            // A file may be missing in between.
            let per_file = files.units_per_file();
            let next = (at - at.rem_euclid(per_file)).saturating_add(per_file);
            let later = queue
                .files
                .last()
                .is_some_and(|file| u64::try_from(next).is_ok_and(|next| next * UNIT_LEN as u64 <= file.first));
            if !later {
                break;
            }
            at = next;
            continue;
        }
        for unit in units(&bytes) {
            at += 1;
            let Ok(offset) = u64::try_from(unit.physical_offset) else { continue };
            if !unit.is_written() || unit.is_blank() {
                continue;
            }
            if let Look::Record(located) = reader.look(offset)?
                && matches(&located.record, selection)
                && printer.print(&located)?.is_break()
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// By key with the help of the index; `false` when that is not possible.
fn by_index(
    store: &StoreDir,
    log: &LogFiles,
    selection: &Selection,
    printer: &mut Printer<'_>,
) -> Result<bool, ToolError> {
    let (Some(topic), Some(key)) = (&selection.topic, &selection.key) else { return Ok(false) };
    let files = index::list(&store.index())?;
    if files.is_empty() || files.iter().any(|file| file.layout.is_none()) {
        return Ok(false);
    }
    let mut offsets = Vec::new();
    index::query(&files, key_hash(topic, key), &mut |offset| {
        offsets.push(offset);
        offsets.len() < 1_000_000
    })?;
    offsets.sort_unstable();
    offsets.dedup();
    let mut reader = LogReader::for_single_records(log);
    for offset in offsets {
        if let Look::Record(located) = reader.look(offset)?
            && matches(&located.record, selection)
            && printer.print(&located)?.is_break()
        {
            break;
        }
    }
    // The index may lack what it should have: mqstore verify tells.
    Ok(printer.count > 0)
}

fn by_log(log: &LogFiles, selection: &Selection, printer: &mut Printer<'_>) -> Result<(), ToolError> {
    let mut reader = LogReader::new(log);
    let mut first_times = Vec::new();
    for file in &log.files {
        let time = match reader.look(file.first)? {
            Look::Record(located) => Some(located.record.store_timestamp),
            _ => None,
        };
        first_times.push((file.first, time));
    }
    let begin = selection.begin.unwrap_or(i64::MIN);
    let end = selection.end.unwrap_or(i64::MAX);
    let start = first_times.iter().rev().find(|(_, time)| time.is_some_and(|time| time < begin));
    let stop = first_times.iter().find(|(_, time)| time.is_some_and(|time| time > end)).map(|(first, _)| *first);
    reader.walk_while(start.map_or(log.min(), |(first, _)| *first), &mut |event| {
        let Event::Record(located) = event else { return Ok(true) };
        if stop.is_some_and(|stop| located.offset >= stop) {
            return Ok(false);
        }
        if matches(&located.record, selection) {
            return Ok(printer.print(located)?.is_continue());
        }
        Ok(true)
    })?;
    Ok(())
}

fn matches(record: &MessageRecord<'_>, selection: &Selection) -> bool {
    let key_fits = selection.key.as_ref().is_none_or(|key| {
        let text = record.properties_str();
        properties::index_keys(&text).any(|found| found == key)
    });
    selection.topic.as_ref().is_none_or(|topic| record.topic == topic.as_bytes())
        && selection.queue_id.is_none_or(|queue_id| record.queue_id == queue_id)
        && selection.from.is_none_or(|from| record.queue_offset.saturating_add(message_count(record).into()) > from)
        && selection.to.is_none_or(|to| record.queue_offset < to)
        && selection.begin.is_none_or(|begin| record.store_timestamp >= begin)
        && selection.end.is_none_or(|end| record.store_timestamp <= end)
        && key_fits
}

struct Printer<'o> {
    out: &'o mut dyn Write,
    form: Form,
    left: u64,
    count: u64,
}

impl Printer<'_> {
    fn print(&mut self, located: &Located<'_>) -> Result<ControlFlow<()>, ToolError> {
        if self.left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        let written = match self.form {
            Form::JsonLines => writeln!(self.out, "{}", json(located)),
            Form::Text => text(located, self.out),
        };
        written.map_err(ToolError::Output)?;
        self.left -= 1;
        self.count += 1;
        Ok(if self.left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

/// A body as it can be shown.
struct Body {
    text: Option<String>,
    base64: Option<String>,
    /// How it is compressed, when it is shown so.
    compression: Option<&'static str>,
}

fn body(record: &MessageRecord<'_>) -> Body {
    let mut plain = None;
    let mut compression = None;
    if record.sys_flag & sys_flag::COMPRESSED != 0 {
        match record.sys_flag & sys_flag::COMPRESSION_TYPE_MASK {
            sys_flag::COMPRESSION_LZ4 => compression = Some("lz4"),
            sys_flag::COMPRESSION_ZSTD => compression = Some("zstd"),
            _ => {
                let mut inflated = Vec::new();
                let decoder = flate2::read::ZlibDecoder::new(record.body);
                match decoder.take(MAX_BODY).read_to_end(&mut inflated) {
                    Ok(_) => plain = Some(inflated),
                    Err(_) => compression = Some("zlib"),
                }
            }
        }
    }
    let bytes = plain.as_deref().unwrap_or(record.body);
    let printable = |text: &&str| text.chars().all(|c| !c.is_control() || "\n\r\t".contains(c));
    match std::str::from_utf8(bytes).ok().filter(printable) {
        Some(text) if compression.is_none() => Body { text: Some(text.to_owned()), base64: None, compression },
        _ => Body { text: None, base64: Some(STANDARD.encode(bytes)), compression },
    }
}

fn json(located: &Located<'_>) -> Value {
    let record = &located.record;
    let text = record.properties_str();
    let pairs: Map<String, Value> =
        properties::iter(&text).map(|(name, value)| (name.to_owned(), value.into())).collect();
    let mut value = json!({
        "physicalOffset": located.offset,
        "size": record.total_size,
        "topic": record.topic_str(),
        "queueId": record.queue_id,
        "queueOffset": record.queue_offset,
        "msgId": record.offset_message_id(),
        "storeTime": record.store_timestamp,
        "storeHost": record.store_host.to_string(),
        "bornTime": record.born_timestamp,
        "bornHost": record.born_host.to_string(),
        "flag": record.flag,
        "sysFlag": record.sys_flag,
        "reconsumeTimes": record.reconsume_times,
        "preparedTransactionOffset": record.prepared_transaction_offset,
        "properties": pairs,
    });
    let body = body(record);
    if let Some(object) = value.as_object_mut() {
        let more = [
            ("body", body.text),
            ("bodyBase64", body.base64),
            ("compression", body.compression.map(str::to_owned)),
            ("problem", located.problem.clone()),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                object.insert(name.to_owned(), value.into());
            }
        }
    }
    value
}

fn text(located: &Located<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    let record = &located.record;
    writeln!(
        out,
        "{} queue {} offset {}  (log {}, {} bytes, id {})",
        record.topic_str(),
        record.queue_id,
        record.queue_offset,
        located.offset,
        record.total_size,
        record.offset_message_id()
    )?;
    writeln!(
        out,
        "  stored {} on {}, born {} on {}",
        time::shown(record.store_timestamp),
        record.store_host,
        time::shown(record.born_timestamp),
        record.born_host
    )?;
    writeln!(out, "  flag {}, sysFlag {}, reconsumed {} times", record.flag, record.sys_flag, record.reconsume_times)?;
    for (name, value) in properties::iter(&record.properties_str()) {
        writeln!(out, "  {name}={value}")?;
    }
    if let Some(problem) = &located.problem {
        writeln!(out, "  DAMAGED: {problem}")?;
    }
    let body = body(record);
    match (body.text, body.base64) {
        (Some(text), _) => writeln!(out, "  body: {text}"),
        (None, base64) => {
            let compression = body.compression.map_or_else(String::new, |name| format!("{name}, "));
            writeln!(out, "  body ({compression}base64): {}", base64.unwrap_or_default())
        }
    }
}
