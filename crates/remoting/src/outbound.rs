//! Bytes on their way out: encoded headers and small bodies in one growing buffer, large bodies as slices between.

use crate::reply::Body;
use bytes::{Buf, Bytes, BytesMut};
use codec::command::{self, Preamble};
use codec::fields::{FieldError, FieldWriter};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Bodies up to this length are copied behind their header: cheaper than one more entry of a vectored write.
const COPY_LIMIT: usize = 4 * 1024;
const MAX_SLICES: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Outbound {
    ready: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl Outbound {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends one frame.
    pub(crate) fn push<F>(&mut self, preamble: &Preamble<'_>, fields: F, body: Body) -> Result<(), FieldError>
    where
        F: FnOnce(&mut FieldWriter<'_>),
    {
        let body_len = body.len();
        let before = self.tail.len();
        command::encode(&mut self.tail, preamble, fields, body_len)?;
        self.len += self.tail.len() - before + body_len;
        if body_len <= COPY_LIMIT {
            body.for_each(|part| self.tail.extend_from_slice(&part));
        } else {
            self.seal();
            body.for_each(|part| self.ready.push_back(part));
        }
        Ok(())
    }

    /// Moves everything of `other` behind what is here.
    pub(crate) fn append(&mut self, other: &mut Outbound) {
        self.seal();
        other.seal();
        self.ready.append(&mut other.ready);
        self.len += std::mem::take(&mut other.len);
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.ready.push_back(self.tail.split().freeze());
        }
    }

    /// Fills `slices` with what comes next and returns how many there are.
    pub(crate) fn with_slices<R>(&mut self, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        self.seal();
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        for (slot, part) in slices.iter_mut().zip(&self.ready) {
            *slot = IoSlice::new(part);
            count += 1;
        }
        write(&slices[..count])
    }

    /// Forgets the first `written` bytes.
    pub(crate) fn advance(&mut self, mut written: usize) {
        self.len -= written;
        while let Some(front) = self.ready.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.ready.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::frame::SerializeType;

    #[test]
    fn frames_come_out_in_order_however_they_are_written() {
        let mut out = Outbound::default();
        let mut expect = Vec::new();
        for (opaque, len) in [(1, 0), (2, 10), (3, 100_000), (4, 5)] {
            let preamble = Preamble {
                code: 0,
                version: 1,
                opaque,
                flag: 1,
                remark: None,
                serialize_type: SerializeType::RocketMq,
            };
            let body = Bytes::from(vec![u8::try_from(opaque).unwrap(); len]);
            let mut one = BytesMut::new();
            command::encode(&mut one, &preamble, |_| {}, len).unwrap();
            expect.extend_from_slice(&one);
            expect.extend_from_slice(&body);
            let mut other = Outbound::default();
            other.push(&preamble, |_| {}, Body::from(body)).unwrap();
            out.append(&mut other);
        }
        assert_eq!(out.len(), expect.len());
        let mut got = Vec::new();
        while !out.is_empty() {
            let step = out.with_slices(|slices| {
                got.extend_from_slice(&slices[0][..slices[0].len().min(777)]);
                slices[0].len().min(777)
            });
            out.advance(step);
        }
        assert_eq!(got, expect);
    }
}
