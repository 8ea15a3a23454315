//! Consume-queue extensions: each address in a queue's unit leads to a unit that says what the record says, and every unit
//! can be reached from the beginning of its file, as a broker does when it starts.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::Path;

use codec::consume_queue_ext::{EXT_UNIT_MIN_LEN, ExtUnit};

use super::queues::Expected;
use super::report::{Kind, Report};
use crate::error::{IoContext as _, ToolError};
use crate::files::{QueueFiles, read_at};
use crate::remedy::Remedies;

/// Read at a time.
const WINDOW: usize = 4096;
/// Queues for which that is kept.
const MAX_WINDOWS: usize = 4096;
/// Read at a time when a file is read through.
const CHUNK: usize = 256 << 10;

/// The check.
#[derive(Debug)]
pub(crate) struct ExtensionCheck<'a> {
    files: &'a QueueFiles,
    queues: HashMap<Box<str>, HashMap<i32, Seen>>,
    windows: usize,
    matched: u64,
    remedies: Remedies,
    live: bool,
}

/// What is known of the extension of one queue.
#[derive(Debug, Default)]
struct Seen {
    window: Option<(u64, Box<[u8]>)>,
    /// By the first byte of a file, where the last unit ends that a record led to.
    ends: BTreeMap<u64, u64>,
}

impl<'a> ExtensionCheck<'a> {
    pub(crate) fn new(files: &'a QueueFiles, remedies: Remedies, live: bool) -> ExtensionCheck<'a> {
        ExtensionCheck { files, queues: HashMap::new(), windows: 0, matched: 0, remedies, live }
    }

    /// Compares the unit at `position` with a record. Returns what is wrong with the address; what is wrong with the unit
    /// there is told.
    pub(crate) fn look_up(
        &mut self,
        (topic, queue_id): (&str, i32),
        position: u64,
        expected: &Expected,
        report: &mut Report,
    ) -> Result<Option<String>, ToolError> {
        let unit = i64::try_from(position).unwrap_or(i64::MAX);
        let (path, in_file) = self.files.place(topic, queue_id, unit);
        let mut looked_twice = !self.live;
        let problem = loop {
            let Some(bytes) = self.bytes((topic, queue_id), position, &path, in_file)? else {
                return Ok(Some(format!("it leads to byte {position} of an extension that has no file there")));
            };
            let problem = match ExtUnit::parse(&bytes) {
                Ok(Some(unit)) => {
                    let time = expected.store_timestamp;
                    let time_problem = (unit.store_timestamp != time)
                        .then(|| format!("its store time is {}, that of the record {time}", unit.store_timestamp));
                    let mut written = Vec::with_capacity(unit.len());
                    let as_written = unit.encode_into(&mut written).is_ok() && bytes.starts_with(&written);
                    let form_problem = (!as_written).then(|| "the length of its bit map is none".to_owned());
                    let problem = expected.tags_problem(unit.tags_code).or(time_problem).or(form_problem);
                    if problem.is_none() {
                        self.use_unit((topic, queue_id), position, position + unit.len() as u64);
                    }
                    problem
                }
                Ok(None) => Some("nothing is written where a unit of the queue leads to".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            if problem.is_none() || looked_twice {
                break problem;
            }
            // It may have been written after it was read into the window.
            looked_twice = true;
            self.seen((topic, queue_id)).window = None;
        };
        match problem {
            None => self.matched += 1,
            Some(what) => {
                report.find(Kind::QueueExtension, (path, Some(in_file)), what, self.remedies.rebuild("queues"));
            }
        }
        Ok(None)
    }

    fn seen(&mut self, (topic, queue_id): (&str, i32)) -> &mut Seen {
        if !self.queues.contains_key(topic) {
            self.queues.insert(topic.into(), HashMap::new());
        }
        self.queues.entry(topic.into()).or_default().entry(queue_id).or_default()
    }

    fn use_unit(&mut self, queue: (&str, i32), position: u64, end: u64) {
        let first = position - position % self.files.file_bytes;
        let known = self.seen(queue).ends.entry(first).or_default();
        *known = end.max(*known);
    }

    /// The bytes of the unit at a position, and perhaps more; `None` where there is no file.
    fn bytes(
        &mut self,
        queue: (&str, i32),
        position: u64,
        path: &Path,
        in_file: u64,
    ) -> Result<Option<Box<[u8]>>, ToolError> {
        let rest = usize::try_from(self.files.file_bytes - in_file).unwrap_or(usize::MAX);
        if let Some((from, bytes)) = &self.seen(queue).window {
            let skip = position.checked_sub(*from).and_then(|skip| usize::try_from(skip).ok());
            let unit = skip.and_then(|skip| bytes.get(skip..)).filter(|unit| is_whole(unit));
            if let Some(unit) = unit {
                return Ok(Some(unit.into()));
            }
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).on("open", path),
        };
        let mut bytes = read_at(&file, in_file, rest.min(WINDOW)).on("read", path)?;
        if !is_whole(&bytes) && bytes.len() == WINDOW {
            bytes = read_at(&file, in_file, rest.min(usize::from(u16::MAX))).on("read", path)?;
        }
        if self.windows >= MAX_WINDOWS {
            self.queues.values_mut().flat_map(HashMap::values_mut).for_each(|seen| seen.window = None);
            self.windows = 0;
        }
        let seen = self.seen(queue);
        let is_new = seen.window.is_none();
        seen.window = Some((position, bytes.clone().into_boxed_slice()));
        self.windows += usize::from(is_new);
        Ok(Some(bytes.into_boxed_slice()))
    }

    /// Reads every file from its beginning. What a broker is writing is not looked at.
    pub(crate) fn finish(&self, report: &mut Report) -> Result<(), ToolError> {
        report.extensions = self.matched;
        for queue in self.files.queues.iter().filter(|_| !self.live) {
            let seen = self.queues.get(&*queue.topic).and_then(|queues| queues.get(&queue.queue_id));
            for file in &queue.files {
                let Some(needed) = seen.and_then(|seen| seen.ends.get(&file.first)) else { continue };
                let end = file.first + self.walk(&file.path, file.len.min(self.files.file_bytes))?;
                if end < *needed {
                    let what = format!("units up to {needed} cannot be reached from the beginning of the file");
                    let place = (file.path.clone(), Some(end - file.first));
                    report.find(Kind::QueueExtension, place, what, self.remedies.rebuild("queues"));
                }
            }
        }
        Ok(())
    }

    /// Where the units of a file end that follow each other from its beginning.
    fn walk(&self, path: &Path, len: u64) -> Result<u64, ToolError> {
        let file = File::open(path).on("open", path)?;
        let (mut from, mut skip) = (0, 0);
        let mut bytes = Vec::new();
        loop {
            let rest = bytes.get(skip..).unwrap_or_default();
            match ExtUnit::parse(rest) {
                Ok(Some(unit)) => skip += unit.len(),
                Ok(None) => return Ok(from + skip as u64),
                // As much as was read does not hold the next one.
                Err(_) if skip > 0 || bytes.is_empty() => {
                    from += skip as u64;
                    skip = 0;
                    let want = usize::try_from(len.saturating_sub(from)).unwrap_or(CHUNK).min(CHUNK);
                    bytes = read_at(&file, from, want).on("read", path)?;
                    if bytes.is_empty() {
                        return Ok(from);
                    }
                }
                Err(_) => return Ok(from),
            }
        }
    }
}

/// Whether bytes hold what they say.
fn is_whole(bytes: &[u8]) -> bool {
    let size = bytes.first_chunk().map(|size| i16::from_be_bytes(*size));
    size.is_some_and(|size| usize::try_from(size).unwrap_or(0).max(EXT_UNIT_MIN_LEN) <= bytes.len())
}
