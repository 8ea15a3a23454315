//! A bounds-checked reader over a byte slice, big-endian as everything in RocketMQ's formats.

use crate::error::CodecError;

/// Reads forward through `bytes`; every read names what it reads, so that an error tells it.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], CodecError> {
        match self.rest.split_at_checked(len) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(CodecError::Short { what, need: len, have: self.rest.len() }),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CodecError> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => Err(CodecError::Short { what, need: N, have: self.rest.len() }),
        }
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, CodecError> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn i16(&mut self, what: &'static str) -> Result<i16, CodecError> {
        Ok(i16::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, CodecError> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn i32(&mut self, what: &'static str) -> Result<i32, CodecError> {
        Ok(i32::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64, CodecError> {
        Ok(i64::from_be_bytes(self.array(what)?))
    }

    /// A Java `int` that is a length: not negative, not above `max`.
    pub(crate) fn len_i32(&mut self, what: &'static str, max: usize) -> Result<usize, CodecError> {
        check_len(i64::from(self.i32(what)?), what, max)
    }

    /// A Java `short` that is a length: not negative, not above `max`.
    pub(crate) fn len_i16(&mut self, what: &'static str, max: usize) -> Result<usize, CodecError> {
        check_len(i64::from(self.i16(what)?), what, max)
    }
}

fn check_len(value: i64, what: &'static str, max: usize) -> Result<usize, CodecError> {
    match usize::try_from(value) {
        Ok(len) if len <= max => Ok(len),
        _ => Err(CodecError::Range { what, value, min: 0, max: i64::try_from(max).unwrap_or(i64::MAX) }),
    }
}
