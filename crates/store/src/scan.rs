//! Reading a stretch of the log in order: files are read by several threads at once, the records come out one behind the
//! other. Each file begins with a record, so files can be read without what lies before them.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use codec::message::{MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, MessageRecord};
use memchr::memchr_iter;
use parking_lot::Mutex;

use crate::fs::next_data;
use crate::mmap::MappedFile;
use crate::progress::Progress;
use crate::record::{Check, Step, step};

/// Records handed over at a time.
const CHUNK: usize = 1024;
/// Chunks that may wait per file: what bounds the memory of a scan.
const WAITING: usize = 4;
const MAX_THREADS: usize = 4;
/// How far behind damage a sound record is looked for.
const RESYNC_BYTES: u64 = 64 * 1024 * 1024;
/// Looked through before it is asked again where data lies.
const WINDOW: usize = 64 * 1024;
/// Where in a record its magic code lies, and with which byte both of them begin.
const MAGIC_AT: usize = 4;
const MAGIC_END: usize = MAGIC_AT + 4;
const MAGIC_FIRST: u8 = MESSAGE_MAGIC_CODE.to_be_bytes()[0];
const _: () = assert!(MESSAGE_MAGIC_CODE_V2.to_be_bytes()[0] == MAGIC_FIRST);

/// What lies at one place after the other.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// Records, each directly behind the one before it.
    Records(Vec<MessageRecord<'a>>),
    /// The file is used up; the next one begins at this offset.
    Roll(u64),
    /// What lies at `offset` is no record. The scan goes on at `next`, if there is a sound record further on in this
    /// file, else with the next file.
    Broken { offset: u64, reason: String, next: Option<u64> },
}

/// One reading of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan<'a> {
    /// In order and without gaps.
    pub(crate) files: &'a [&'a MappedFile],
    /// A record begins here, or the log ends.
    pub(crate) from: u64,
    /// Nothing that begins here or behind is looked at.
    pub(crate) to: u64,
    /// How closely records are looked at.
    pub(crate) check: Check,
    pub(crate) progress: &'a Progress,
}

impl Scan<'_> {
    /// Reads until `visit` has had enough, which it says with `Ok(false)`, or fails.
    /// # Errors
    /// What `visit` said.
    pub(crate) fn run<E>(self, mut visit: impl FnMut(Piece<'_>) -> Result<bool, E>) -> Result<(), E> {
        let first = self.files.partition_point(|file| file.end_offset() <= self.from);
        let last = self.files.partition_point(|file| file.first_offset() < self.to);
        let files = self.files.get(first..last).unwrap_or_default();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(files.len());
        let (senders, receivers): (Vec<_>, Vec<_>) = files.iter().map(|_| sync_channel(WAITING)).unzip();
        // Files are taken in order, so the one that is waited for is always being read.
        let senders = Mutex::new(senders.into_iter().map(Some).collect::<Vec<_>>());
        let taken = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let index = taken.fetch_add(1, Ordering::Relaxed);
                        let sender = senders.lock().get_mut(index).and_then(Option::take);
                        let (Some(file), Some(sender)) = (files.get(index), sender) else { return };
                        if self.read(file, &sender).is_none() {
                            return;
                        }
                    }
                });
            }
            self.visit_all(receivers, &mut visit)
        })
    }

    fn visit_all<'a, E>(
        &self,
        receivers: Vec<Receiver<Piece<'a>>>,
        visit: &mut impl FnMut(Piece<'_>) -> Result<bool, E>,
    ) -> Result<(), E> {
        for receiver in receivers {
            for found in receiver {
                let end = match &found {
                    Piece::Records(records) => records.last().map_or(0, end_of),
                    Piece::Roll(end) => *end,
                    Piece::Broken { offset, .. } => *offset,
                };
                self.progress.reached(end.saturating_sub(self.from));
                if !visit(found)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads one file. `None`: nobody listens any more.
    fn read<'a>(&self, file: &'a MappedFile, to: &SyncSender<Piece<'a>>) -> Option<()> {
        let mut offset = self.from.max(file.first_offset());
        let mut records = Vec::new();
        while offset < self.to.min(file.end_offset()) {
            let found = match step(file, offset - file.first_offset(), self.check) {
                Step::Record(record) => {
                    offset += record.total_size as u64;
                    records.push(record);
                    if records.len() < CHUNK {
                        continue;
                    }
                    offset
                }
                Step::Roll => file.end_offset(),
                Step::End(reason) => {
                    send_records(&mut records, to)?;
                    let next = resync(file, offset).filter(|next| *next < self.to);
                    to.send(Piece::Broken { offset, reason, next }).ok()?;
                    next.unwrap_or(file.end_offset())
                }
            };
            send_records(&mut records, to)?;
            if found == file.end_offset() && offset < found {
                to.send(Piece::Roll(found)).ok()?;
            }
            offset = found;
        }
        send_records(&mut records, to)
    }
}

fn send_records<'a>(records: &mut Vec<MessageRecord<'a>>, to: &SyncSender<Piece<'a>>) -> Option<()> {
    if records.is_empty() {
        return Some(());
    }
    let chunk = std::mem::replace(records, Vec::with_capacity(CHUNK));
    to.send(Piece::Records(chunk)).ok()
}

/// Offset behind a record.
pub(crate) fn end_of(record: &MessageRecord<'_>) -> u64 {
    u64::try_from(record.physical_offset).unwrap_or(0) + record.total_size as u64
}

/// The first sound record of `file` behind `offset`, which holds none. What was allocated and never written is not looked at:
/// at every start that is what lies behind the end of the log. Read with a buffer of its own, so that no page becomes part of
/// the process that nobody will ask for.
pub(crate) fn resync(file: &MappedFile, offset: u64) -> Option<u64> {
    let mut position = offset - file.first_offset() + 1;
    let last = position.saturating_add(RESYNC_BYTES).min(file.published());
    let mut buffer = vec![0; WINDOW];
    while position < last {
        position = next_data(file.file(), position).filter(|data| *data < last)?;
        let len = file.file().read_at(&mut buffer, position).ok().filter(|len| *len > MAGIC_END)?;
        let window = buffer.get(..len)?;
        // A record that begins in the last bytes is found with the next window.
        let begins = memchr_iter(MAGIC_FIRST, window).filter_map(|at| at.checked_sub(MAGIC_AT));
        for begin in begins.filter(|begin| window.get(begin + MAGIC_AT..begin + MAGIC_END).is_some_and(is_magic)) {
            let at = position + begin as u64;
            if at < last && matches!(step(file, at, true), Step::Record(_)) {
                return Some(file.first_offset() + at);
            }
        }
        position += (len - MAGIC_END + 1) as u64;
    }
    None
}

fn is_magic(bytes: &[u8]) -> bool {
    [MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2].iter().any(|magic| bytes == magic.to_be_bytes())
}
