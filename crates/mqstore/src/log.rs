//! Reading a commit log record by record, and past what is damaged in it.

use std::fs::File;
use std::io;

use codec::message::{
    BLANK_MAGIC_CODE, END_FILE_MIN_BLANK_LEN, MessageRecord, MessageVersion, PHYSICAL_OFFSET_POSITION, RECORD_MIN_LEN,
    sys_flag,
};
use codec::properties::names;
use store::offline::next_data;

use crate::error::{IoContext as _, ToolError};
use crate::files::{LogFiles, read_at};

/// Read at a time.
const CHUNK: usize = 1 << 20;
/// Longest record that is believed: the longest frame a broker takes, and what a record has around its body.
const MAX_RECORD: usize = (128 << 20) + (64 << 10);
/// What 5.x keeps free at the end of the properties for the CRC of the record.
const CRC_PROPERTY_LEN: usize = 20;

/// What lies at an offset.
#[derive(Debug)]
pub enum Look<'a> {
    /// A record whose structure is whole and which says that it lies here.
    Record(Located<'a>),
    /// The filler at the end of a file.
    Roll {
        /// Where to go on.
        next: u64,
        /// What is wrong with the filler.
        problem: Option<String>,
    },
    /// Nothing was written here.
    Zeroes,
    /// No record; why.
    Bad(String),
    /// A file is missing; the next one begins here.
    NoFile(u64),
    /// Behind the last file.
    End,
}

impl Look<'_> {
    /// Why there is no record.
    pub(crate) fn why(&self) -> &str {
        match self {
            Look::Record(_) => "there is one",
            Look::Roll { .. } => "the file ends here",
            Look::Zeroes => "nothing was written here",
            Look::Bad(reason) => reason,
            Look::NoFile(_) => "the file is missing",
            Look::End => "it is behind the last file",
        }
    }
}

/// A record and where it lies.
#[derive(Debug)]
pub struct Located<'a> {
    /// Its fields.
    pub record: MessageRecord<'a>,
    /// Its offset.
    pub offset: u64,
    /// What is wrong with its content.
    pub problem: Option<String>,
}

impl Located<'_> {
    /// First byte behind it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.record.total_size as u64
    }
}

/// What a walk through the log meets.
#[derive(Debug)]
pub enum Event<'a> {
    /// A record, whose content may be damaged.
    Record(&'a Located<'a>),
    /// A filler that is not what it should be; reading goes on with the next file.
    Filler {
        /// Where it lies.
        offset: u64,
        /// What is wrong.
        problem: &'a str,
    },
    /// No record could be read in a range; the next sound one begins at its end.
    Lost {
        /// First byte.
        from: u64,
        /// One behind the last.
        to: u64,
        /// What is wrong at its beginning.
        reason: &'a str,
    },
    /// The log ends.
    Tail {
        /// Here.
        end: u64,
        /// What lies behind the end, unless nothing.
        torn: Option<&'a str>,
    },
}

/// Reads the log through a window.
#[derive(Debug)]
pub struct LogReader<'l> {
    log: &'l LogFiles,
    file: Option<(usize, File)>,
    start: u64,
    bytes: Vec<u8>,
    chunk: usize,
    /// Records are copies with another place than they had when their CRC was taken.
    copies: bool,
}

impl<'l> LogReader<'l> {
    /// For reading on and on.
    #[must_use]
    pub fn new(log: &'l LogFiles) -> LogReader<'l> {
        LogReader { log, file: None, start: 0, bytes: Vec::new(), chunk: CHUNK, copies: false }
    }

    /// For single records here and there.
    #[must_use]
    pub fn for_single_records(log: &'l LogFiles) -> LogReader<'l> {
        LogReader { chunk: 16 << 10, ..LogReader::new(log) }
    }

    /// [`LogReader::for_single_records`] of a compaction log.
    pub(crate) fn for_copies(log: &'l LogFiles) -> LogReader<'l> {
        LogReader { copies: true, ..LogReader::for_single_records(log) }
    }

    /// Looks at an offset.
    /// # Errors
    /// What the system said.
    pub fn look(&mut self, offset: u64) -> Result<Look<'_>, ToolError> {
        let Some((_, file)) = self.log.find(offset) else {
            return Ok(self.log.after(offset).map_or(Look::End, |file| Look::NoFile(file.first)));
        };
        let (first, len, file_end) = (file.first, file.len, file.first.saturating_add(self.log.file_bytes));
        if offset - first >= len {
            return Ok(Look::Bad(format!("the file ends here, with {len} of {} bytes", self.log.file_bytes)));
        }
        let head = self.bytes(offset, RECORD_MIN_LEN)?;
        let rest = usize::try_from(file_end - offset).unwrap_or(usize::MAX);
        let (Some(total), Some(magic)) = (int(head, 0), int(head, 4)) else {
            return Ok(Look::Bad(format!("{} bytes are left in the file, too few for a filler", head.len())));
        };
        let magic = magic.cast_unsigned();
        if magic == BLANK_MAGIC_CODE {
            let says = usize::try_from(total).unwrap_or(0);
            let problem = (says != rest)
                .then(|| format!("a filler that says {total} bytes are left in the file, where {rest} are"));
            return Ok(Look::Roll { next: file_end, problem });
        }
        if total == 0 && magic == 0 {
            return Ok(Look::Zeroes);
        }
        if MessageVersion::from_magic_code(magic).is_none() {
            return Ok(Look::Bad(format!("no record: unknown magic code 0x{magic:08X}")));
        }
        let size = usize::try_from(total).unwrap_or(0);
        let most = rest.saturating_sub(END_FILE_MIN_BLANK_LEN).min(MAX_RECORD);
        if !(RECORD_MIN_LEN..=most).contains(&size) {
            return Ok(Look::Bad(format!("a record that says it has {total} bytes, where {most} fit")));
        }
        match long(head, PHYSICAL_OFFSET_POSITION) {
            Some(here) if u64::try_from(here) == Ok(offset) => {}
            Some(here) => return Ok(Look::Bad(format!("a record that says it belongs at {here}"))),
            None => return Ok(Look::Bad("a record that is cut off".to_owned())),
        }
        let copies = self.copies;
        let bytes = self.bytes(offset, size)?;
        let bytes = bytes.get(..size.min(bytes.len())).unwrap_or_default();
        match MessageRecord::parse(bytes) {
            Ok(record) => Ok(Look::Record(Located { record, offset, problem: problem(&record, bytes, copies) })),
            Err(error) => Ok(Look::Bad(error.to_string())),
        }
    }

    /// Reads from `from`, which must be the offset of a record, to the end of the log, and returns that.
    /// # Errors
    /// What the system said, or what `visit` returned.
    pub fn walk(
        &mut self,
        from: u64,
        visit: &mut dyn FnMut(Event<'_>) -> Result<(), ToolError>,
    ) -> Result<u64, ToolError> {
        self.walk_while(from, &mut |event| visit(event).map(|()| true))
    }

    /// [`LogReader::walk`] as long as `visit` wants to go on. Returns where reading ended. Damage is read a second time
    /// before it is told: a broker may have been writing there while the bytes around it were read.
    /// # Errors
    /// What the system said, or what `visit` returned.
    pub fn walk_while(
        &mut self,
        from: u64,
        visit: &mut dyn FnMut(Event<'_>) -> Result<bool, ToolError>,
    ) -> Result<u64, ToolError> {
        let mut offset = from;
        let mut looked_twice = None;
        loop {
            let first_look = looked_twice != Some(offset);
            let reason = match self.look(offset)? {
                Look::Record(located) if located.problem.is_some() && first_look => {
                    looked_twice = Some(offset);
                    self.bytes.clear();
                    continue;
                }
                Look::Record(located) => {
                    if !visit(Event::Record(&located))? {
                        return Ok(offset);
                    }
                    offset = located.end();
                    continue;
                }
                Look::Roll { next, problem } => {
                    if let Some(problem) = &problem {
                        visit(Event::Filler { offset, problem })?;
                    }
                    offset = next;
                    continue;
                }
                Look::NoFile(to) => {
                    visit(Event::Lost { from: offset, to, reason: "the file is missing" })?;
                    offset = to;
                    continue;
                }
                Look::End => None,
                Look::Zeroes => Some("zeroes where a record should be".to_owned()),
                Look::Bad(reason) => Some(reason),
            };
            let Some(reason) = reason else {
                visit(Event::Tail { end: offset, torn: None })?;
                return Ok(offset);
            };
            if let Some(to) = self.next_sound(offset)? {
                if first_look {
                    looked_twice = Some(offset);
                    self.bytes.clear();
                    continue;
                }
                visit(Event::Lost { from: offset, to, reason: &reason })?;
                offset = to;
                continue;
            }
            let torn = self.is_anything_behind(offset)?.then_some(reason.as_str());
            visit(Event::Tail { end: offset, torn })?;
            return Ok(offset);
        }
    }

    /// The next offset behind `after` at which a sound record lies, or the filler that fits its place.
    fn next_sound(&mut self, after: u64) -> Result<Option<u64>, ToolError> {
        let mut at = after + 1;
        loop {
            let (first, end) = match self.log.find(at) {
                Some((_, file)) => (file.first, file.first + file.len.min(self.log.file_bytes)),
                None => match self.log.after(at) {
                    Some(next) => {
                        at = next.first;
                        continue;
                    }
                    None => return Ok(None),
                },
            };
            while at < end {
                at = match self.data_from(at)? {
                    Some(data) => data,
                    None => break,
                };
                let bytes = self.bytes(at, CHUNK)?;
                // A magic code that begins in the last seven bytes is found with the next part.
                let candidate = bytes.windows(8).position(|window| window.get(4..).is_some_and(is_magic));
                let examined = bytes.len().saturating_sub(7);
                let Some(distance) = candidate else {
                    if examined == 0 {
                        break;
                    }
                    at += examined as u64;
                    continue;
                };
                let place = at + distance as u64;
                let sound = match self.look(place)? {
                    Look::Record(located) => located.problem.is_none(),
                    Look::Roll { problem, .. } => problem.is_none(),
                    _ => false,
                };
                if sound {
                    return Ok(Some(place));
                }
                at = place + 1;
            }
            at = first.saturating_add(self.log.file_bytes);
        }
    }

    /// Whether anything but zeroes lies at or behind an offset.
    fn is_anything_behind(&mut self, offset: u64) -> Result<bool, ToolError> {
        let mut at = offset;
        while at < self.log.max() {
            let Some((_, file)) = self.log.find(at) else {
                let Some(next) = self.log.after(at) else { return Ok(false) };
                at = next.first;
                continue;
            };
            let file_end = file.first + self.log.file_bytes;
            if at - file.first >= file.len {
                at = file_end;
                continue;
            }
            match self.data_from(at)? {
                None => at = file_end,
                Some(data) => {
                    let bytes = self.bytes(data, CHUNK)?;
                    if bytes.iter().any(|byte| *byte != 0) {
                        return Ok(true);
                    }
                    at = if bytes.is_empty() { file_end } else { data + bytes.len() as u64 };
                }
            }
        }
        Ok(false)
    }

    /// The next offset in the same file that may hold anything but zeroes.
    fn data_from(&mut self, offset: u64) -> Result<Option<u64>, ToolError> {
        let Some((index, found)) = self.log.find(offset) else { return Ok(None) };
        let first = found.first;
        if (self.start..self.start + self.bytes.len() as u64).contains(&offset)
            && self.file.as_ref().is_some_and(|(open, _)| *open == index)
        {
            return Ok(Some(offset));
        }
        let file = self.open(index)?;
        Ok(next_data(file, offset - first).map(|position| first + position))
    }

    fn open(&mut self, index: usize) -> Result<&File, ToolError> {
        if self.file.as_ref().is_none_or(|(open, _)| *open != index) {
            let path = self.log.files.get(index).map(|file| file.path.clone()).unwrap_or_default();
            self.file = Some((index, File::open(&path).on("open", &path)?));
            self.bytes.clear();
        }
        match &self.file {
            Some((_, file)) => Ok(file),
            None => Err(ToolError::Output(io::Error::other("a file that was just opened is gone"))),
        }
    }

    /// Bytes from an offset to the end of its file; `want` of them, if the file has as many, and perhaps more.
    fn bytes(&mut self, offset: u64, want: usize) -> Result<&[u8], ToolError> {
        let Some((index, found)) = self.log.find(offset) else { return Ok(&[]) };
        let (path, first, len) = (&found.path, found.first, found.len.min(self.log.file_bytes));
        let log_chunk = self.chunk;
        self.open(index)?;
        let rest = usize::try_from((first + len).saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = want.min(rest);
        let have = |start: u64, bytes: &[u8]| {
            let skip = usize::try_from(offset.checked_sub(start)?).ok()?;
            (skip <= bytes.len() && bytes.len() - skip >= want).then_some(skip)
        };
        if have(self.start, &self.bytes).is_none() {
            let file = self.open(index)?;
            let bytes = read_at(file, offset - first, want.max(log_chunk).min(rest)).on("read", path)?;
            (self.start, self.bytes) = (offset, bytes);
        }
        let skip = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skip..).unwrap_or_default())
    }
}

/// Messages of a queue of batches that a record holds. Source: CommitLog.getMessageNum.
pub(crate) fn message_count(record: &MessageRecord<'_>) -> i16 {
    let is_batch = record.sys_flag & sys_flag::INNER_BATCH != 0;
    let number = record.property(names::INNER_NUM).filter(|_| is_batch).and_then(|number| number.parse::<i16>().ok());
    number.unwrap_or(1).max(1)
}

fn is_magic(bytes: &[u8]) -> bool {
    int(bytes, 0).is_some_and(|magic| {
        let magic = magic.cast_unsigned();
        magic == BLANK_MAGIC_CODE || MessageVersion::from_magic_code(magic).is_some()
    })
}

pub(crate) fn int(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes))
}

pub(crate) fn long(bytes: &[u8], at: usize) -> Option<i64> {
    bytes.get(at..)?.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes))
}

/// What is wrong with the content of a record: its checksums, and bytes that never reached the disk.
fn problem(record: &MessageRecord<'_>, bytes: &[u8], is_copy: bool) -> Option<String> {
    if let Err(error) = record.check_body_crc() {
        return Some(error.to_string());
    }
    if let Some(problem) = record_crc_problem(record, bytes).filter(|_| !is_copy) {
        return Some(problem);
    }
    if store::offline::is_torn(record.topic, record.properties) {
        return Some("topic or properties hold zeroes where text should be".to_owned());
    }
    if record.topic.is_empty() || std::str::from_utf8(record.topic).is_err() {
        return Some("the topic is no text".to_owned());
    }
    None
}

/// What is wrong with the CRC of the whole record that 5.x puts at the end of the properties when enabledAppendPropCRC is
/// set: ten digits, the last first, over all bytes before the property. A property that is nearly one is one that was
/// damaged. Source: MessageDecoder.createCrc32, CommitLog.checkMessageAndReturnSize.
fn record_crc_problem(record: &MessageRecord<'_>, bytes: &[u8]) -> Option<String> {
    let split = record.properties.len().checked_sub(CRC_PROPERTY_LEN)?;
    let (name, rest) = record.properties.get(split..)?.split_at_checked(names::CRC32.len())?;
    let (first, digits, last) = (rest.first()?, rest.get(1..11)?, rest.last()?);
    let letters = name.iter().zip(names::CRC32.bytes()).filter(|(found, expected)| *found != expected).count();
    match letters + usize::from(*first != 1) + usize::from(*last != 2) {
        0 => {}
        1 | 2 => return Some(format!("record: the property {} is damaged", names::CRC32)),
        _ => return None,
    }
    let stated = digits
        .iter()
        .rev()
        .try_fold(0u64, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0')));
    let covered = bytes.get(..bytes.len().checked_sub(CRC_PROPERTY_LEN)?)?;
    let actual = u64::from(codec::message::body_crc(covered));
    let says = |value: u64| format!("record: property {} says {value:08X}, the bytes have {actual:08X}", names::CRC32);
    match stated {
        Some(stated) => (stated != actual).then(|| says(stated)),
        None => Some(format!("record: property {} is no number", names::CRC32)),
    }
}
