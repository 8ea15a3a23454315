//! Queues as they are while a broker writes them.
//!
//! A dispatcher works on many records at a time and writes one queue after the other, perhaps into files that were not
//! there when files were listed. So records whose queue does not have them yet, while another queue has later ones, are
//! nothing to tell as long as they come.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use codec::consume_queue::{UNIT_LEN, Unit, units};

use crate::error::{IoContext as _, ToolError};
use crate::files::{QueueFiles, StoreDir, read_at};

/// Units read at a time.
const CHUNK: i64 = 3000;

/// One queue, read anew each time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueNow<'a> {
    pub(crate) store: &'a StoreDir,
    pub(crate) files: &'a QueueFiles,
    pub(crate) topic: &'a str,
    pub(crate) queue_id: i32,
}

impl QueueNow<'_> {
    /// File and position in it of a unit.
    pub(crate) fn place(&self, queue_offset: i64) -> (PathBuf, u64) {
        let dir = self.store.queues().join(self.topic).join(self.queue_id.to_string());
        let base = queue_offset - queue_offset.rem_euclid(self.files.units_per_file());
        let bytes = |units: i64| u64::try_from(units).unwrap_or(0).saturating_mul(UNIT_LEN as u64);
        (dir.join(format!("{:020}", bytes(base))), bytes(queue_offset - base))
    }

    /// The unit at a queue offset; `None` where the queue has no file.
    pub(crate) fn unit(&self, queue_offset: i64) -> Result<Option<Unit>, ToolError> {
        Ok(units(&self.read(queue_offset, 1)?).next())
    }

    /// Up to `count` units of one file.
    fn read(&self, queue_offset: i64, count: i64) -> Result<Vec<u8>, ToolError> {
        let (path, position) = self.place(queue_offset);
        let len = usize::try_from(count).unwrap_or(0).saturating_mul(UNIT_LEN);
        match File::open(&path) {
            Ok(file) => read_at(&file, position, len).on("read", &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).on("open", &path),
        }
    }
}

/// Records that had no unit when they were looked up.
#[derive(Debug)]
pub(crate) struct Awaited<'a> {
    pub(crate) queue: QueueNow<'a>,
    /// Queue offset of the first one.
    pub(crate) from: i64,
    /// One behind the last.
    pub(crate) to: i64,
    /// Where the first one lies in the log.
    pub(crate) physical_from: u64,
    /// Where the last one lies.
    pub(crate) physical_to: u64,
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
        let per_file = self.queue.files.units_per_file();
        let mut missing = None;
        let mut at = self.from;
        // One more than awaited tells whether the queue goes on.
        while at <= self.to {
            let count = (self.to - at + 1).min(CHUNK).min(per_file - at.rem_euclid(per_file));
            let bytes = self.queue.read(at, count)?;
            let found = units(&bytes).map(Some).chain(std::iter::repeat(None));
            for (at, unit) in (at..at.saturating_add(count)).zip(found) {
                match (unit.filter(Unit::is_written), missing) {
                    (Some(_), Some(missing)) => return Ok(Look::Passed(missing)),
                    (Some(unit), None) if !self.fits(at, &unit) => return Ok(Look::Passed(at)),
                    (None, None) if at < self.to => missing = Some(at),
                    _ => {}
                }
            }
            at = at.saturating_add(count);
        }
        Ok(if missing.is_some() { Look::Behind } else { Look::There })
    }

    fn fits(&self, at: i64, unit: &Unit) -> bool {
        let physical = u64::try_from(unit.physical_offset).unwrap_or(u64::MAX);
        (at != self.from || physical == self.physical_from) && (at + 1 != self.to || physical == self.physical_to)
    }
}
