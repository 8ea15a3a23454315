//! The consume-queue unit: where the n-th message of a queue lies.

use crate::cursor::Cursor;
use crate::error::CodecError;

/// Bytes of a unit.
pub const UNIT_LEN: usize = 20;
/// Size that a filler unit carries: it stands for a message that no longer exists.
pub const BLANK_SIZE: i32 = i32::MAX;

const _: () = assert!(UNIT_LEN == 8 + 4 + 8);

/// One consume-queue unit: physical offset (i64), record size (i32), tagsCode (i64), big-endian, 20 bytes.
/// `tags_code` is Java `String.hashCode` of the tag, or the deliver time in ms for scheduled topics.
/// Source: store/ConsumeQueue.java, CQ_STORE_UNIT_SIZE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unit {
    /// Position of the record in the commit log.
    pub physical_offset: i64,
    /// Bytes of the record; not positive: no unit was written here.
    pub size: i32,
    /// Hash of the tag, or the delivery time.
    pub tags_code: i64,
}

impl Unit {
    /// Filler in front of the first unit of a queue that does not start at 0.
    pub const BLANK: Unit = Unit { physical_offset: 0, size: BLANK_SIZE, tags_code: 0 };

    /// The unit at the start of `bytes`.
    /// # Errors
    /// [`CodecError::Short`] when `bytes` holds fewer than 20 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Unit, CodecError> {
        const WHAT: &str = "consume queue unit";
        let mut at = Cursor::new(bytes);
        Ok(Unit { physical_offset: at.i64(WHAT)?, size: at.i32(WHAT)?, tags_code: at.i64(WHAT)? })
    }

    /// Its 20 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; UNIT_LEN] {
        let mut bytes = [0; UNIT_LEN];
        let (physical_offset, rest) = bytes.split_at_mut(8);
        let (size, tags_code) = rest.split_at_mut(4);
        physical_offset.copy_from_slice(&self.physical_offset.to_be_bytes());
        size.copy_from_slice(&self.size.to_be_bytes());
        tags_code.copy_from_slice(&self.tags_code.to_be_bytes());
        bytes
    }

    /// Whether something was written here. Source: ConsumeQueue.recover.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.physical_offset >= 0 && self.size > 0
    }

    /// Whether it is a filler.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        *self == Unit::BLANK
    }
}

/// All whole units in `bytes`.
pub fn units(bytes: &[u8]) -> impl Iterator<Item = Unit> {
    bytes.chunks_exact(UNIT_LEN).filter_map(|unit| Unit::parse(unit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let unit = Unit { physical_offset: 0x0102_0304_0506_0708, size: 300, tags_code: -2 };
        let bytes = unit.encode();
        assert_eq!(bytes[..12], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 1, 44]);
        assert_eq!(Unit::parse(&bytes).unwrap(), unit);
        assert!(Unit::parse(&bytes[..19]).is_err());
        assert_eq!(units(&[bytes, bytes].concat()).count(), 2);
    }

    #[test]
    fn zeroes_are_not_written_and_fillers_are() {
        assert!(!Unit::default().is_written());
        assert!(Unit::BLANK.is_written() && Unit::BLANK.is_blank());
    }
}
