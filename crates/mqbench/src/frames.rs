//! The requests that a load consists of: one per queue, encoded once, shared by all connections.

use crate::body;
use crate::check::Queue;
use crate::cli::{Header, Load};
use crate::clock::nanos;
use crate::error::BenchError;
use crate::link::Outgoing;
use crate::wire::{Template, put_decimal, put_hex};
use bytes::Bytes;
use bytestring::ByteString;
use codec::command::FLAG_ONEWAY;
use codec::message::BatchMessage;
use codec::properties::{NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR};
use protocol::header::send::SendMessageRequestHeaderV2;
use protocol::operation::{SendBatchMessage, SendMessageV2};

/// Bodies from here on are not copied into each request: they are written from one place in memory.
const SHARED_FROM: usize = 8 * 1024;
/// Stands for bornTimestamp: 13 digits, as every time between 2001 and 2286.
const BORN: i64 = 1_234_567_890_123;
const BORN_DIGITS: &[u8] = b"1234567890123";
/// Stands for the UNIQ_KEY that Java clients give each message: 32 characters. Brokers index it.
const KEY: &str = "mqbench-places-its-unique-key---";
const _: () = assert!(KEY.len() == 32);
/// Stands for TIMER_DELIVER_MS.
const DUE_DIGITS: &[u8] = b"1357913579135";

/// A request for each queue.
#[derive(Debug)]
pub struct Frames {
    heads: Vec<Head>,
    /// What follows the head, up to what all requests share.
    body: Vec<u8>,
    /// Where in `body` messages begin: their stamps.
    stamps: Vec<usize>,
    /// Where in `body` the keys of a batch's messages stand.
    keys: Vec<usize>,
    /// The end that all requests share.
    tail: Bytes,
    /// Messages of a request.
    pub batch: u64,
    /// Bytes of all bodies of a request.
    pub body_bytes: u64,
    /// Marks the keys of this run.
    run: u64,
    /// Messages are due so long after they were meant to be sent, ns.
    delay_ns: Option<u64>,
}

#[derive(Debug)]
struct Head {
    template: Template,
    born_at: Option<usize>,
    key_at: Option<usize>,
    due_at: Option<usize>,
}

/// What differs from one request to the next.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    /// Request number.
    pub opaque: i32,
    /// Number of its first message, unique in this run.
    pub number: u64,
    /// When it was meant to be sent, ns since 1970.
    pub intended_wall_ns: u64,
    /// When it is sent, ms since 1970.
    pub born_ms: u64,
}

impl Frames {
    /// Requests for these queues; `run` makes the keys unique.
    ///
    /// # Errors
    /// [`BenchError::Refused`] when a request would be too long for a frame.
    pub fn new(queues: &[Queue], load: &Load, header: Header, oneway: bool, run: u64) -> Result<Frames, BenchError> {
        let blank = body::blank(load.body as usize);
        let batch = load.batch as usize;
        let mut frames = Frames {
            heads: Vec::with_capacity(queues.len()),
            body: blank.clone(),
            stamps: vec![0],
            keys: Vec::new(),
            tail: Bytes::new(),
            batch: load.batch.into(),
            body_bytes: u64::from(load.body) * u64::from(load.batch),
            run,
            delay_ns: load.delay.map(nanos),
        };
        if batch > 1 && load.delay.is_some() {
            let text = "brokers take no delivery times in batches: leave --batch or --delay out";
            return Err(BenchError::Refused(text.to_owned()));
        }
        if batch > 1 {
            frames.lay_out_batch(&blank, batch)?;
        } else if blank.len() >= SHARED_FROM {
            frames.tail = Bytes::from(frames.body.split_off(body::STAMP_LEN));
        }
        let flag = if oneway { FLAG_ONEWAY } else { 0 };
        let body_len = frames.body.len() + frames.tail.len();
        for queue in queues {
            let fields = request_header(queue, batch > 1, load.delay.is_some());
            let template = match batch {
                1 => Template::new::<SendMessageV2>(&fields, header.into(), flag, body_len)?,
                _ => Template::new::<SendBatchMessage>(&fields, header.into(), flag, body_len)?,
            };
            let (born_at, key_at) = (template.find(BORN_DIGITS), template.find(KEY.as_bytes()));
            let due_at = template.find(DUE_DIGITS);
            frames.heads.push(Head { template, born_at, key_at, due_at });
        }
        Ok(frames)
    }

    fn lay_out_batch(&mut self, blank: &[u8], batch: usize) -> Result<(), BenchError> {
        let properties = properties();
        (self.body, self.stamps) = (Vec::new(), Vec::new());
        for _ in 0..batch {
            // Behind totalSize, magic, CRC, flag and length of the body; then the length of the properties.
            let at = self.body.len() + 20;
            BatchMessage { flag: 0, body: blank, properties: &properties }
                .encode_into(&mut self.body)
                .map_err(|error| BenchError::Refused(error.to_string()))?;
            self.stamps.push(at);
            self.keys.push(at + blank.len() + 2 + properties.find(KEY).unwrap_or(0));
        }
        Ok(())
    }

    /// What all requests end in, and need not be copied.
    #[must_use]
    pub fn tail(&self) -> Bytes {
        self.tail.clone()
    }

    /// Appends the request for the queue at place `at`.
    pub fn push(&self, out: &mut Outgoing, at: usize, marks: Marks) {
        let Some(head) = self.heads.get(at) else { return };
        out.push(|out| {
            let fields = head.template.append(out, marks.opaque);
            if let Some(place) = head.born_at.and_then(|at| fields.get_mut(at..)) {
                put_decimal(place, BORN_DIGITS.len(), marks.born_ms);
            }
            if let Some(place) = head.key_at.and_then(|at| fields.get_mut(at..)) {
                self.key(place, marks.number);
            }
            // A body tells from when on its message is late.
            let due_wall_ns = marks.intended_wall_ns.saturating_add(self.delay_ns.unwrap_or(0));
            if let Some(place) = head.due_at.and_then(|at| fields.get_mut(at..)) {
                put_decimal(place, DUE_DIGITS.len(), due_wall_ns / 1_000_000);
            }
            let from = out.len();
            out.extend_from_slice(&self.body);
            let copy = out.get_mut(from..).unwrap_or_default();
            for (number, at) in (marks.number..).zip(&self.stamps) {
                body::stamp(copy.get_mut(*at..).unwrap_or_default(), due_wall_ns, number);
            }
            for (number, at) in (marks.number..).zip(&self.keys) {
                self.key(copy.get_mut(*at..).unwrap_or_default(), number);
            }
        });
    }

    fn key(&self, place: &mut [u8], number: u64) {
        put_hex(place, self.run);
        put_hex(place.get_mut(16..).unwrap_or_default(), number);
    }
}

/// The properties that a Java client gives a message without keys and tags.
fn properties() -> String {
    let (is, end) = (NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR);
    format!("UNIQ_KEY{is}{KEY}{end}WAIT{is}true{end}")
}

fn request_header(queue: &Queue, batch: bool, timed: bool) -> SendMessageRequestHeaderV2 {
    let mut properties = properties();
    if timed {
        properties.push_str("TIMER_DELIVER_MS");
        properties.push(NAME_VALUE_SEPARATOR);
        properties.push_str(&String::from_utf8_lossy(DUE_DIGITS));
        properties.push(PROPERTY_SEPARATOR);
    }
    SendMessageRequestHeaderV2 {
        producer_group: ByteString::from_static("mqbench"),
        topic: queue.topic.as_str().into(),
        default_topic: ByteString::from_static("TBW102"),
        default_topic_queue_nums: 8,
        queue_id: queue.queue_id,
        sys_flag: 0,
        born_timestamp: BORN,
        flag: 0,
        properties: Some(properties.into()),
        reconsume_times: Some(0),
        unit_mode: false,
        max_reconsume_times: None,
        batch,
        broker_name: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Content, Reader};
    use crate::link::bytes_of;
    use crate::wire::Input;
    use codec::message::BatchMessages;

    fn load(body: u32, batch: u32) -> Load {
        Load { connections: 1, in_flight: None, body, batch, rate: None, count_busy: false, delay: None }
    }

    fn sent(frames: &Frames, number: u64) -> codec::command::Command {
        let mut out = Outgoing::new(frames.tail());
        let marks = Marks { opaque: 1_000_000_007, number, intended_wall_ns: 55, born_ms: 1_764_000_000_123 };
        frames.push(&mut out, 1, marks);
        let mut input = Input::new("test");
        input.buffer.extend_from_slice(&bytes_of(&mut out));
        let command = input.next_command().unwrap().unwrap();
        assert!(input.buffer.is_empty());
        command
    }

    #[test]
    fn requests_are_what_a_broker_expects() {
        let queues: Vec<_> = (0..2).map(|id| Queue { topic: "T".into(), queue_id: id, start: 0 }).collect();
        for header in [Header::Json, Header::Rocketmq] {
            for len in [10, 1024, 100_000] {
                let frames = Frames::new(&queues, &load(len, 1), header, false, 0xABC).unwrap();
                let command = sent(&frames, 0x1F);
                assert_eq!((command.code, command.opaque, command.flag), (310, 1_000_000_007, 0));
                let fields: SendMessageRequestHeaderV2 = command.header().unwrap();
                assert_eq!((fields.queue_id, fields.born_timestamp), (1, 1_764_000_000_123));
                let properties = "UNIQ_KEY\u{1}0000000000000ABC000000000000001F\u{2}WAIT\u{1}true\u{2}";
                assert_eq!(fields.properties.as_deref(), Some(properties));
                let expect = if len < 24 { Content::Foreign } else { Content::Ours(55) };
                assert_eq!((command.body.len(), Reader::default().read(&command.body)), (len as usize, expect));
            }
        }
    }

    #[test]
    fn a_message_with_a_delay_says_when_it_is_due() {
        let queues: Vec<_> = (0..2).map(|id| Queue { topic: "T".into(), queue_id: id, start: 0 }).collect();
        let later = Load { delay: Some(std::time::Duration::from_secs(2)), ..load(100, 1) };
        let command = sent(&Frames::new(&queues, &later, Header::Json, false, 1).unwrap(), 9);
        let fields: SendMessageRequestHeaderV2 = command.header().unwrap();
        assert!(fields.properties.unwrap().ends_with("TIMER_DELIVER_MS\u{1}0000000002000\u{2}"));
        assert_eq!(Reader::default().read(&command.body), Content::Ours(2_000_000_055));
        assert!(Frames::new(&queues, &Load { batch: 2, ..later }, Header::Json, false, 1).is_err());
    }

    #[test]
    fn a_batch_holds_its_messages() {
        let queues: Vec<_> = (0..2).map(|id| Queue { topic: "T".into(), queue_id: id, start: 0 }).collect();
        let frames = Frames::new(&queues, &load(100, 3), Header::Json, true, 1).unwrap();
        let command = sent(&frames, 9);
        assert_eq!((command.code, command.flag), (320, FLAG_ONEWAY));
        let messages: Vec<_> = BatchMessages::new(&command.body).collect::<Result<_, _>>().unwrap();
        let keys: Vec<_> = messages.iter().map(|message| &message.properties[9 + 16..9 + 32]).collect();
        assert_eq!(keys, ["0000000000000009", "000000000000000A", "000000000000000B"]);
        assert!(messages.iter().all(|message| Reader::default().read(message.body) == Content::Ours(55)));
    }
}
