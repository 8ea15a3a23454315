//! Queues as they are while a broker writes them.
//!
//! A dispatcher works on many records at a time and writes one queue after the other, perhaps into files that were not
//! there when files were listed. So records whose queue does not have them yet, while another queue has later ones, are
//! nothing to tell as long as they come.

use std::fs::File;
use std::io;

use codec::consume_queue::Unit;

use super::runs::Run;
use crate::error::{IoContext as _, ToolError};
use crate::files::{QueueFiles, read_at};
use crate::queue_units;

/// Units read at a time.
const CHUNK: i64 = 3000;

/// The unit of a queue as it is now; `None` where the queue has no file.
pub(crate) fn unit_now(files: &QueueFiles, topic: &str, queue_id: i32, at: i64) -> Result<Option<Unit>, ToolError> {
    Ok(queue_units::first(&read_now(files, topic, queue_id, at, 1)?))
}

/// Up to `count` units of one file as it is now.
fn read_now(files: &QueueFiles, topic: &str, queue_id: i32, at: i64, count: i64) -> Result<Vec<u8>, ToolError> {
    let (path, position) = files.place(topic, queue_id, at);
    let len = usize::try_from(count).unwrap_or(0).saturating_mul(files.unit_len);
    match File::open(&path) {
        Ok(file) => read_at(&file, position, len).on("read", &path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).on("open", &path),
    }
}

/// Records that had no unit when they were looked up.
#[derive(Debug)]
pub(crate) struct Awaited<'a> {
    pub(crate) files: &'a QueueFiles,
    pub(crate) topic: &'a str,
    pub(crate) queue_id: i32,
    pub(crate) run: &'a Run,
}

/// How they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// All of them are in the queue.
    There,
    /// The queue ends before one of them.
    Behind,
    /// The queue does not have this one, and goes on behind it.
    Passed(i64),
}

impl Awaited<'_> {
    /// Whether they come into their queue. Looks as often as `again` says, but not when the queue went on without them.
    pub(crate) fn comes(&self, again: &mut dyn FnMut() -> bool) -> Result<bool, ToolError> {
        let mut before = None;
        loop {
            let now = self.look()?;
            match now {
                Look::There => return Ok(true),
                // What was read first may have been written before what was read last was.
                Look::Passed(_) if before != Some(now) => {}
                Look::Passed(_) => return Ok(false),
                Look::Behind if again() => {}
                Look::Behind => return Ok(false),
            }
            before = Some(now);
        }
    }

    fn look(&self) -> Result<Look, ToolError> {
        let per_file = self.files.units_per_file();
        let mut missing = None;
        let mut at = self.run.from;
        // One more than awaited tells whether the queue goes on.
        while at <= self.run.to {
            let count = (self.run.to - at + 1).min(CHUNK).min(per_file - at.rem_euclid(per_file));
            let bytes = read_now(self.files, self.topic, self.queue_id, at, count)?;
            let found = bytes.chunks_exact(self.files.unit_len).map(queue_units::first).chain(std::iter::repeat(None));
            for (at, unit) in (at..at.saturating_add(count)).zip(found) {
                match (unit.filter(Unit::is_written), missing) {
                    (Some(_), Some(missing)) => return Ok(Look::Passed(missing)),
                    (Some(unit), None) if !self.fits(at, &unit) => return Ok(Look::Passed(at)),
                    (None, None) if at < self.run.to => missing = Some(at),
                    _ => {}
                }
            }
            at = at.saturating_add(count);
        }
        Ok(if missing.is_some() { Look::Behind } else { Look::There })
    }

    fn fits(&self, at: i64, unit: &Unit) -> bool {
        let (run, physical) = (self.run, u64::try_from(unit.physical_offset).unwrap_or(u64::MAX));
        (at != run.from || physical == run.physical_from) && (at + 1 != run.to || physical == run.physical_to)
    }
}
