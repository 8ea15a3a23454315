//! Printing a file of a compaction log.

use crate::error::AdminError;
use crate::options::{Opt, Values, opt};
use crate::output::Output;
use client::MessageExt;
use client::message::JavaHead;
use codec::message::{MessageRecord, MessageVersion};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

/// Options of dumpCompactionLog.
pub const DUMP: &[Opt] = &[opt("f", "file", "to dump file name")];

/// Bytes of a record up to its magic.
const HEAD_LEN: usize = 8;
/// Longer than any record: a length from a file is not trusted.
const MAX_RECORD: usize = 64 << 20;

/// dumpCompactionLog: prints each message of a file on a line, without bodies, as Java does. The file is only read.
///
/// # Errors
/// [`AdminError`]: no such file, or a record in it that cannot be read.
pub fn dump(values: &Values, out: &Output) -> Result<(), AdminError> {
    let Some(name) = values.get("file") else {
        return out.print(format_args!("miss dump log file name\n"));
    };
    let path = Path::new(name);
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(AdminError::NotFound(format!("file {name} not exist.")));
        }
        Err(source) => return Err(AdminError::Io { what: format!("cannot look at {name}"), source }),
    };
    if metadata.is_dir() {
        return Err(AdminError::NotFound(format!("file {name} is a directory.")));
    }
    let io = |source| AdminError::Io { what: format!("cannot read {name}"), source };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let (mut at, mut bytes) = (0, Vec::new());
    while at < metadata.len() {
        bytes.clear();
        file.by_ref().take(HEAD_LEN as u64).read_to_end(&mut bytes).map_err(io)?;
        let Some(len) = record_len(&bytes) else { break };
        file.by_ref().take((len - HEAD_LEN) as u64).read_to_end(&mut bytes).map_err(io)?;
        let message = MessageRecord::parse(&bytes)
            .map_err(|error| error.to_string())
            .and_then(|record| MessageExt::from_record(&record))
            .map_err(|error| AdminError::NotFound(format!("{name} at {at}: {error}")))?;
        out.print(format_args!("{}\n", JavaHead(&message)))?;
        at += len as u64;
    }
    Ok(())
}

/// Bytes of the record that begins so; `None` when it is none, as at the end of the file.
fn record_len(head: &[u8]) -> Option<usize> {
    let (len, magic) = head.split_first_chunk::<4>()?;
    MessageVersion::from_magic_code(u32::from_be_bytes(magic.try_into().ok()?))?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    (HEAD_LEN..=MAX_RECORD).contains(&len).then_some(len)
}
