//! `mqstore bridge`: puts something in the place of damage in the log that every reader steps over.
//!
//! Recovery, Java's and ours, stops at the first place where no record can be read. A record that says it was rolled
//! back enters no queue and no index; the filler of a file's end sends readers to the next file. So nothing behind the
//! damage is lost with it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use codec::message::{BLANK_MAGIC_CODE, END_FILE_MIN_BLANK_LEN, RECORD_MIN_LEN, RecordParts, patch, sys_flag};

use crate::backup::{NOTHING_CHANGED, begin_change, refuse_when_in_use};
use crate::cut::keep_range;
use crate::error::{IoContext as _, ToolError};
use crate::files::{LogFiles, StoreDir};
use crate::log::{Event, LogReader};
use crate::progress::Progress;
use crate::remedy::Remedies;

/// Java reads records up to maxMessageSize (4 MiB by default).
const MAX_FILLER: u64 = 1 << 20;
/// Topic of the records that stand for lost ones; as much of it as fits.
const TOPIC: &str = "MQSTORE_LOST";

/// One stretch of one file.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: u64,
    to: u64,
    /// Store time of the record before.
    store_timestamp: i64,
}

/// Steps over damage, or says what that would do; with `records` over records with wrong content too. Returns lines for
/// people.
///
/// # Errors
/// When the store is in use, or a damaged part is too small for anything; then nothing was changed.
pub fn bridge(store: &StoreDir, records: bool, apply: bool) -> Result<Vec<String>, ToolError> {
    refuse_when_in_use(store)?;
    let log = LogFiles::list(store)?;
    let stretches = find(&log, records)?;
    let mut lines = Vec::new();
    for stretch in &stretches {
        let (path, position) = log.place(stretch.from);
        let len = stretch.to - stretch.from;
        lines.push(format!("{} at {position}: {len} bytes, from {} to {}", path.display(), stretch.from, stretch.to));
        let to_end = log.find(stretch.from).is_none_or(|(_, file)| file.first + log.file_bytes == stretch.to);
        let least = if to_end { END_FILE_MIN_BLANK_LEN } else { RECORD_MIN_LEN + 1 };
        if len < least as u64 {
            return Err(ToolError::Refused(format!(
                "{len} bytes from {} on are damaged, too few for a record to stand for them. What is left: {}",
                stretch.from,
                Remedies::new(store).cut(stretch.from)
            )));
        }
    }
    if stretches.is_empty() {
        lines.push("nothing in the log needs to be stepped over".to_owned());
        return Ok(lines);
    }
    if !apply {
        lines.push(NOTHING_CHANGED.to_owned());
        return Ok(lines);
    }
    let (_lock, backup) = begin_change(store)?;
    for stretch in &stretches {
        match log.find(stretch.from) {
            Some((_, file)) => {
                keep_range(&file.path, &backup, stretch.from - file.first, (stretch.to - file.first).min(file.len))?;
                fill(&file.path, file.first, log.file_bytes, stretch)?;
            }
            None => {
                let dir = log.after(stretch.from).and_then(|next| next.path.parent().map(Path::to_owned));
                let path = dir.unwrap_or_default().join(format!("{:020}", stretch.from));
                fill(&path, stretch.from, log.file_bytes, stretch)?;
            }
        }
    }
    lines.push("done: readers step over these parts".to_owned());
    lines.push(backup.kept());
    let remedies = Remedies::new(store);
    lines.push(format!(
        "queues and index still speak of what is lost: {} and {}",
        remedies.rebuild("queues"),
        remedies.rebuild("index")
    ));
    Ok(lines)
}

/// The damaged parts, each within one file.
fn find(log: &LogFiles, records: bool) -> Result<Vec<Stretch>, ToolError> {
    let mut stretches = Vec::new();
    let mut store_timestamp = 0;
    let mut progress = Progress::new(log.max() - log.min());
    LogReader::new(log).walk(log.min(), &mut |event| {
        match event {
            Event::Record(located) => {
                progress.at(located.offset - log.min());
                if records && located.problem.is_some() {
                    stretches.push(Stretch { from: located.offset, to: located.end(), store_timestamp });
                } else {
                    store_timestamp = located.record.store_timestamp;
                }
            }
            Event::Lost { from, to, .. } => {
                let mut at = from;
                while at < to && log.file_bytes > 0 {
                    let file_end = at - at % log.file_bytes + log.file_bytes;
                    stretches.push(Stretch { from: at, to: to.min(file_end), store_timestamp });
                    at = file_end;
                }
            }
            Event::Filler { offset, .. } => {
                let file_end = offset - offset % log.file_bytes + log.file_bytes;
                stretches.push(Stretch { from: offset, to: file_end, store_timestamp });
            }
            Event::Tail { .. } => {}
        }
        Ok(())
    })?;
    Ok(stretches)
}

fn fill(path: &Path, first: u64, file_bytes: u64, stretch: &Stretch) -> Result<(), ToolError> {
    let file = File::options().write(true).create(true).truncate(false).open(path).on("open", path)?;
    file.set_len(file_bytes).on("lengthen", path)?;
    if stretch.to == first + file_bytes {
        let left = i32::try_from(stretch.to - stretch.from).unwrap_or(i32::MAX);
        let mut filler = left.to_be_bytes().to_vec();
        filler.extend_from_slice(&BLANK_MAGIC_CODE.to_be_bytes());
        file.write_all_at(&filler, stretch.from - first).on("write", path)?;
    } else {
        let parts = (stretch.to - stretch.from).div_ceil(MAX_FILLER).max(1);
        let mut at = stretch.from;
        for part in 0..parts {
            let len = (stretch.to - at) / (parts - part);
            let record = record(at, len, stretch.store_timestamp)?;
            file.write_all_at(&record, at - first).on("write", path)?;
            at += len;
        }
    }
    file.sync_all().on("flush", path)
}

/// A rolled-back record of `len` bytes for an offset.
fn record(offset: u64, len: u64, store_timestamp: i64) -> Result<Vec<u8>, ToolError> {
    let host = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let room = usize::try_from(len).unwrap_or(0).saturating_sub(RECORD_MIN_LEN);
    let topic = TOPIC.get(..room.min(TOPIC.len())).unwrap_or(TOPIC);
    let body = vec![0; room.saturating_sub(topic.len())];
    let parts = RecordParts {
        queue_id: 0,
        flag: 0,
        sys_flag: sys_flag::TRANSACTION_ROLLBACK_TYPE,
        born_timestamp: store_timestamp,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        topic,
        properties: "",
    };
    let wrong =
        |error: codec::CodecError| ToolError::Refused(format!("a record of {len} bytes cannot be made: {error}"));
    let mut record = parts.encode().map_err(wrong)?;
    patch(&mut record, 0, i64::try_from(offset).unwrap_or(i64::MAX), store_timestamp).map_err(wrong)?;
    Ok(record)
}
