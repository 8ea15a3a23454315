//! Reading the units of queues by position.

use std::fs::File;
use std::io;

use codec::consume_queue::{Unit, units};
use store::offline::next_data;

use crate::error::{IoContext as _, ToolError};
use crate::files::{QueueDir, QueueFiles, read_at};

/// Read at a time when a queue is looked through.
const CHUNK: usize = 64 << 10;

/// Up to `count` units of one file; none where there is no file.
pub(crate) fn read_units(files: &QueueFiles, queue: &QueueDir, at: i64, count: i64) -> Result<Vec<u8>, ToolError> {
    let unit = files.unit_len as u64;
    let Ok(position) = u64::try_from(at).map(|at| at.saturating_mul(unit)) else { return Ok(Vec::new()) };
    let holds = |first: u64| position >= first && position - first < files.file_bytes;
    let Some(file) = queue.files.iter().rev().find(|file| holds(file.first)) else { return Ok(Vec::new()) };
    let rest = (files.file_bytes - (position - file.first)) / unit;
    let count = rest.min(u64::try_from(count).unwrap_or(0));
    let opened = match File::open(&file.path) {
        Ok(opened) => opened,
        // A broker that runs deletes files.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).on("open", &file.path),
    };
    let len = usize::try_from(count).unwrap_or(0).saturating_mul(files.unit_len);
    read_at(&opened, position - file.first, len).on("read", &file.path)
}

/// Calls `visit` with the bytes of every unit from `from` on that is not all zeroes.
pub(crate) fn for_each_unit(
    files: &QueueFiles,
    queue: &QueueDir,
    from: i64,
    visit: &mut dyn FnMut(i64, &[u8]),
) -> Result<(), ToolError> {
    let unit = files.unit_len as u64;
    let begin = u64::try_from(from).unwrap_or(0).saturating_mul(unit);
    for file in queue.files.iter().filter(|file| file.first.saturating_add(files.file_bytes) > begin) {
        let opened = match File::open(&file.path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).on("open", &file.path),
        };
        let len = file.len.min(files.file_bytes);
        let mut position = begin.saturating_sub(file.first);
        while position < len {
            let Some(data) = next_data(&opened, position) else { break };
            position = data - data % unit;
            let most = CHUNK - CHUNK % files.unit_len;
            let want = usize::try_from(len.saturating_sub(position)).unwrap_or(most).min(most);
            let bytes = read_at(&opened, position, want).on("read", &file.path)?;
            let base = files.unit_at(file.first.saturating_add(position));
            for (at, unit) in (base..).zip(bytes.chunks_exact(files.unit_len)) {
                if unit.iter().any(|byte| *byte != 0) {
                    visit(at, unit);
                }
            }
            if bytes.len() < files.unit_len {
                break;
            }
            position += (bytes.len() - bytes.len() % files.unit_len) as u64;
        }
    }
    Ok(())
}

/// [`for_each_unit`] of what every unit begins with.
pub(crate) fn for_each_written(
    files: &QueueFiles,
    queue: &QueueDir,
    from: i64,
    visit: &mut dyn FnMut(i64, Unit),
) -> Result<(), ToolError> {
    for_each_unit(files, queue, from, &mut |at, bytes| {
        if let Ok(unit) = Unit::parse(bytes) {
            visit(at, unit);
        }
    })
}

/// The first unit in `bytes`.
pub(crate) fn first(bytes: &[u8]) -> Option<Unit> {
    units(bytes).next()
}
