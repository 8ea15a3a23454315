//! Requests that are encoded once and then copied, with fixed-width fields written over in the copy: making a request
//! costs a copy of some hundred bytes, whatever its header's serialisation.

use crate::error::BenchError;
use bytes::{Bytes, BytesMut};
use codec::command::{Command, Preamble};
use codec::fields::CommandHeader;
use codec::frame::{self, DEFAULT_MAX_FRAME_LEN, SerializeType};
use protocol::operation::Operation;

/// Request numbers begin here, so that all have ten digits.
const OPAQUE_BASE: i32 = 1_000_000_000;
/// So many request numbers are used before they begin anew.
const OPAQUES: i32 = 1 << 30;
/// Decimal digits of an i64: numbers that vary have leading zeros, which Java's and our parser take.
pub const OFFSET_DIGITS: usize = 19;

/// The frame of a request up to its body, or with it.
#[derive(Debug, Clone)]
pub struct Template {
    bytes: Vec<u8>,
    opaque_at: usize,
    serialize_type: SerializeType,
}

impl Template {
    /// A request with this header; `body_len` bytes of body follow, which the caller appends to what it copies.
    ///
    /// # Errors
    /// [`BenchError::Refused`] when the header or the whole is longer than a frame may be.
    pub fn new<O: Operation>(
        header: &O::Request,
        serialize_type: SerializeType,
        flag: i32,
        body_len: usize,
    ) -> Result<Template, BenchError> {
        let version = protocol::CURRENT_VERSION;
        let preamble = Preamble { code: O::CODE, version, opaque: OPAQUE_BASE, flag, remark: None, serialize_type };
        let mut out = BytesMut::new();
        codec::command::encode(&mut out, &preamble, |writer| header.encode(writer), body_len)
            .map_err(|error| BenchError::Refused(error.to_string()))?;
        if out.len() + body_len > DEFAULT_MAX_FRAME_LEN {
            return Err(BenchError::Refused(format!(
                "a request of {} bytes is over the limit of {DEFAULT_MAX_FRAME_LEN} that servers have \
                 (com.rocketmq.remoting.frameMaxLength); ask for a smaller body or batch",
                out.len() + body_len
            )));
        }
        let bytes = out.to_vec();
        let opaque_at = match serialize_type {
            SerializeType::Json => last(&bytes, b"\"opaque\":").map(|at| at + 9),
            // Prefix of 8 bytes; code, language and version take 5.
            SerializeType::RocketMq => Some(frame::PREFIX_LEN + 5),
        };
        let opaque_at = opaque_at.expect("every JSON header has an opaque");
        Ok(Template { bytes, opaque_at, serialize_type })
    }

    /// Where `marker` stands in it.
    #[must_use]
    pub fn find(&self, marker: &[u8]) -> Option<usize> {
        last(&self.bytes, marker)
    }

    /// Appends a copy with that request number; returns the copy, for further fields to be written over.
    pub fn append<'a>(&self, out: &'a mut Vec<u8>, opaque: i32) -> &'a mut [u8] {
        let from = out.len();
        out.extend_from_slice(&self.bytes);
        let copy = out.get_mut(from..).unwrap_or_default();
        if let Some(rest) = copy.get_mut(self.opaque_at..) {
            match self.serialize_type {
                SerializeType::Json => put_decimal(rest, 10, u64::from(opaque.unsigned_abs())),
                SerializeType::RocketMq => put(rest, &opaque.to_be_bytes()),
            }
        }
        copy
    }
}

fn last(bytes: &[u8], marker: &[u8]) -> Option<usize> {
    bytes.windows(marker.len()).rposition(|window| window == marker)
}

/// Writes `what` at the start of `bytes`, if there is room.
pub fn put(bytes: &mut [u8], what: &[u8]) {
    if let Some(place) = bytes.get_mut(..what.len()) {
        place.copy_from_slice(what);
    }
}

/// Writes the last `digits` decimal digits of `value` at the start of `bytes`, if there is room.
pub fn put_decimal(bytes: &mut [u8], digits: usize, mut value: u64) {
    for place in bytes.get_mut(..digits).unwrap_or_default().iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Writes `value` as 16 hexadecimal digits at the start of `bytes`, if there is room.
pub fn put_hex(bytes: &mut [u8], mut value: u64) {
    for place in bytes.get_mut(..16).unwrap_or_default().iter_mut().rev() {
        *place = b"0123456789ABCDEF"[(value & 15) as usize];
        value >>= 4;
    }
}

/// What arrived on a connection and has not been looked at.
#[derive(Debug)]
pub struct Input {
    pub(crate) buffer: BytesMut,
    peer: String,
}

impl Input {
    /// Of a server, which errors name.
    #[must_use]
    pub fn new(peer: &str) -> Input {
        Input { buffer: BytesMut::new(), peer: peer.to_owned() }
    }

    /// The next whole frame. Its parts share the buffer's memory.
    ///
    /// # Errors
    /// [`BenchError::Wrong`] when the bytes are no frame or no command.
    pub fn next_command(&mut self) -> Result<Option<Command>, BenchError> {
        let wrong = |reason: String| BenchError::Wrong(format!("{} sent what is no answer: {reason}", self.peer));
        let Some(layout) = frame::layout(&self.buffer, DEFAULT_MAX_FRAME_LEN).map_err(|e| wrong(e.to_string()))? else {
            return Ok(None);
        };
        let bytes: Bytes = self.buffer.split_to(layout.total_len).freeze();
        let (header, body) = (bytes.slice(layout.header), bytes.slice(layout.body));
        Command::decode(layout.serialize_type, header, body).map(Some).map_err(|error| wrong(error.to_string()))
    }

    /// Bytes that must still come before [`Input::next_command`] can give a frame, as far as its length is known.
    #[must_use]
    pub fn missing(&self) -> usize {
        match frame::announced_len(&self.buffer, DEFAULT_MAX_FRAME_LEN) {
            Ok(Some(total)) => total.saturating_sub(self.buffer.len()),
            _ => 0,
        }
    }
}

/// Requests of one connection that wait for their answers, and their numbers.
#[derive(Debug)]
pub struct Window<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Slot<T> {
    opaque: i32,
    value: Option<T>,
}

impl<T> Window<T> {
    /// Room for `size` requests.
    #[must_use]
    pub fn new(size: usize) -> Window<T> {
        let opaque = |at: usize| OPAQUE_BASE.saturating_add(i32::try_from(at).unwrap_or(i32::MAX));
        let slots = (0..size).map(|at| Slot { opaque: opaque(at), value: None }).collect();
        Window { slots, free: (0..size).rev().collect() }
    }

    /// True when no further request may be made.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Requests without answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Remembers a request and returns its number; `None` when the window is full.
    pub fn open(&mut self, value: T) -> Option<i32> {
        let at = self.free.pop()?;
        let step = i32::try_from(self.slots.len()).unwrap_or(OPAQUES);
        let slot = self.slots.get_mut(at)?;
        // A number comes back after a thousand million requests, so that an answer that comes twice is noticed.
        slot.opaque = match slot.opaque.checked_add(step).filter(|next| *next < OPAQUE_BASE + OPAQUES / step * step) {
            Some(next) => next,
            None => OPAQUE_BASE + i32::try_from(at).unwrap_or(0),
        };
        slot.value = Some(value);
        Some(slot.opaque)
    }

    /// The request that an answer with this number belongs to, `None` when none waits for it.
    pub fn close(&mut self, opaque: i32) -> Option<T> {
        let at = usize::try_from(opaque.checked_sub(OPAQUE_BASE)?).ok()?.checked_rem(self.slots.len())?;
        let slot = self.slots.get_mut(at).filter(|slot| slot.opaque == opaque)?;
        let value = slot.value.take()?;
        self.free.push(at);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::header::offset::QueueRequestHeader;
    use protocol::operation::GetMaxOffset;

    #[test]
    fn a_copy_is_the_request_with_another_number() {
        for serialize_type in [SerializeType::Json, SerializeType::RocketMq] {
            let header = QueueRequestHeader { topic: "a\"opaque\":b".into(), queue_id: 3 };
            let template = Template::new::<GetMaxOffset>(&header, serialize_type, 0, 2).unwrap();
            let mut out = Vec::new();
            for opaque in [OPAQUE_BASE, OPAQUE_BASE + OPAQUES - 1] {
                template.append(&mut out, opaque);
                out.extend_from_slice(b"xy");
            }
            let mut input = Input::new("server");
            input.buffer.extend_from_slice(&out);
            for opaque in [OPAQUE_BASE, OPAQUE_BASE + OPAQUES - 1] {
                let command = input.next_command().unwrap().unwrap();
                assert_eq!((command.code, command.opaque, &command.body[..]), (30, opaque, &b"xy"[..]));
                assert_eq!(command.header::<QueueRequestHeader>().unwrap(), header);
            }
            assert!(input.next_command().unwrap().is_none());
        }
    }

    #[test]
    fn what_is_longer_than_a_frame_is_refused() {
        let header = QueueRequestHeader { topic: "t".into(), queue_id: 3 };
        let refused = Template::new::<GetMaxOffset>(&header, SerializeType::Json, 0, DEFAULT_MAX_FRAME_LEN);
        assert!(refused.unwrap_err().to_string().contains("smaller body"));
    }

    #[test]
    fn digits() {
        let mut bytes = *b"....................";
        put_decimal(&mut bytes, OFFSET_DIGITS, 1234);
        assert_eq!(&bytes, b"0000000000000001234.");
        put_hex(&mut bytes, 0xAB);
        assert_eq!(&bytes, b"00000000000000AB234.");
    }

    #[test]
    fn an_answer_finds_its_request_once() {
        let mut window = Window::new(3);
        let numbers: Vec<_> = (0..3).map(|n| window.open(n).unwrap()).collect();
        assert!(window.is_full() && window.open(9).is_none());
        assert_eq!(window.close(numbers[1]), Some(1));
        assert_eq!(window.close(numbers[1]), None);
        let again = window.open(4).unwrap();
        assert_ne!(again, numbers[1]);
        assert_eq!(window.close(numbers[1]), None);
        assert_eq!((window.close(again), window.in_flight()), (Some(4), 2));
        assert_eq!(window.close(5), None);
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut window = Window::new(7);
        for slot in &mut window.slots {
            slot.opaque += OPAQUES / 7 * 7 - 7;
        }
        let opaque = window.open(()).unwrap();
        assert!((OPAQUE_BASE..OPAQUE_BASE + 7).contains(&opaque), "{opaque}");
        assert_eq!(window.close(opaque), Some(()));
    }

    #[test]
    fn bytes_that_are_no_frame_are_a_wrong_answer() {
        let mut input = Input::new("server");
        input.buffer.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n");
        assert!(
            input.next_command().unwrap_err().to_string().starts_with("wrong answer: server sent what is no answer")
        );
    }
}
