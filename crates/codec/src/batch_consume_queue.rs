//! The unit of a queue of batches: where the record lies that has so many messages of the queue.

use crate::consume_queue::Unit;
use crate::cursor::Cursor;
use crate::error::CodecError;

/// Bytes of a unit.
pub const BATCH_UNIT_LEN: usize = 46;
/// What compactedOffset says when the record was not compacted.
const NOT_COMPACTED: i32 = -1;

const _: () = assert!(BATCH_UNIT_LEN == crate::consume_queue::UNIT_LEN + 8 + 8 + 2 + 4 + 4);

/// One unit: physical offset (i64), record size (i32), tagsCode (i64), store time in ms (i64), queue offset of the first
/// message (i64), number of messages (i16), compactedOffset (i32, -1), reserved (i32, 0); big-endian, 46 bytes. Its first
/// 20 bytes are those of a [`Unit`]. Source: store/queue/BatchConsumeQueue.java.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchUnit {
    /// Where the record lies, and the hash of the tag of all of it.
    pub unit: Unit,
    /// When it was stored, ms.
    pub store_timestamp: i64,
    /// Queue offset of its first message.
    pub base_offset: i64,
    /// How many messages it holds.
    pub count: i16,
}

impl BatchUnit {
    /// The unit at the start of `bytes`.
    /// # Errors
    /// [`CodecError::Short`] when `bytes` holds fewer than 46 bytes.
    pub fn parse(bytes: &[u8]) -> Result<BatchUnit, CodecError> {
        const WHAT: &str = "batch consume queue unit";
        let mut at = Cursor::new(bytes);
        let unit = Unit { physical_offset: at.i64(WHAT)?, size: at.i32(WHAT)?, tags_code: at.i64(WHAT)? };
        let (store_timestamp, base_offset) = (at.i64(WHAT)?, at.i64(WHAT)?);
        let count = at.i16(WHAT)?;
        at.take(8, WHAT)?;
        Ok(BatchUnit { unit, store_timestamp, base_offset, count })
    }

    /// Its 46 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; BATCH_UNIT_LEN] {
        let mut bytes = [0; BATCH_UNIT_LEN];
        let fields: [&[u8]; 6] = [
            &self.unit.encode(),
            &self.store_timestamp.to_be_bytes(),
            &self.base_offset.to_be_bytes(),
            &self.count.to_be_bytes(),
            &NOT_COMPACTED.to_be_bytes(),
            &[0; 4],
        ];
        for (byte, value) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *byte = *value;
        }
        bytes
    }

    /// Queue offset behind its last message.
    #[must_use]
    pub fn end_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.count.max(1)))
    }
}

/// All whole units in `bytes`.
pub fn batch_units(bytes: &[u8]) -> impl Iterator<Item = BatchUnit> {
    bytes.chunks_exact(BATCH_UNIT_LEN).filter_map(|unit| BatchUnit::parse(unit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let unit = Unit { physical_offset: 0x0102, size: 300, tags_code: -2 };
        let batch = BatchUnit { unit, store_timestamp: 5, base_offset: 0x0304, count: 7 };
        let bytes = batch.encode();
        assert_eq!(bytes[..20], unit.encode());
        assert_eq!(bytes[28..], [0, 0, 0, 0, 0, 0, 3, 4, 0, 7, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
        assert_eq!(BatchUnit::parse(&bytes).unwrap(), batch);
        assert!(BatchUnit::parse(&bytes[..45]).is_err());
        assert_eq!(batch.end_offset(), 0x0304 + 7);
        assert_eq!(batch_units(&[bytes, bytes].concat()).count(), 2);
    }
}
