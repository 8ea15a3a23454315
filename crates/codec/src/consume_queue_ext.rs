//! The unit of a consume-queue extension: what a queue knows of a message beside the 20 bytes of its own unit, which then
//! carries the address of this one in place of the tagsCode.

use crate::cursor::Cursor;
use crate::error::CodecError;

/// Bytes of a unit without a bit map.
pub const EXT_UNIT_MIN_LEN: usize = 20;
/// Bytes of the longest unit: a Java short.
pub const EXT_UNIT_MAX_LEN: usize = 32_767;
/// Bytes that stay free at the end of a file; the rest of a file that has no room for a unit begins with [`EXT_FILLER`].
pub const EXT_END_BLANK_LEN: usize = 4;
/// In place of a unit's size: go on with the next file.
pub const EXT_FILLER: i16 = -1;
/// Addresses do not exceed this, so that no hash of a tag is taken for one. Source: ConsumeQueueExt.MAX_ADDR.
const MAX_ADDRESS: i64 = i32::MIN as i64 - 1;

const _: () = assert!(EXT_UNIT_MIN_LEN == 2 + 8 + 8 + 2);

/// One unit: size (i16), tagsCode (i64), store time in ms (i64), bytes of the bit map (i16), the bit map; big-endian.
/// Source: store/ConsumeQueueExt.java, CqExtUnit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtUnit<'a> {
    /// Hash of the tag, or the delivery time.
    pub tags_code: i64,
    /// When the message was stored, ms.
    pub store_timestamp: i64,
    /// Which of the SQL filters take the message; empty when that was not reckoned.
    pub bit_map: &'a [u8],
}

impl<'a> ExtUnit<'a> {
    /// The unit at the start of `bytes`; `None` where none was written and at the filler.
    /// # Errors
    /// [`CodecError::Short`] when the unit ends behind `bytes`, [`CodecError::SizeMismatch`] when its size is not that of
    /// its fields.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<ExtUnit<'a>>, CodecError> {
        const WHAT: &str = "consume queue extension unit";
        let mut at = Cursor::new(bytes);
        let size = at.i16(WHAT)?;
        let Some(stated) = usize::try_from(size).ok().filter(|size| *size > 0) else { return Ok(None) };
        let tags_code = at.i64(WHAT)?;
        let store_timestamp = at.i64(WHAT)?;
        let bit_map_len = usize::try_from(at.i16(WHAT)?).unwrap_or(0);
        let actual = EXT_UNIT_MIN_LEN + bit_map_len;
        if stated != actual {
            return Err(CodecError::SizeMismatch { what: WHAT, stated, actual });
        }
        Ok(Some(ExtUnit { tags_code, store_timestamp, bit_map: at.take(bit_map_len, WHAT)? }))
    }

    /// Bytes of the unit.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no unit is empty")]
    pub fn len(&self) -> usize {
        EXT_UNIT_MIN_LEN + self.bit_map.len()
    }

    /// Appends the unit to `out`.
    /// # Errors
    /// [`CodecError::Range`] when the bit map makes it longer than [`EXT_UNIT_MAX_LEN`].
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let max = EXT_UNIT_MAX_LEN - EXT_UNIT_MIN_LEN;
        let len = self.bit_map.len();
        let range = || CodecError::Range {
            what: "bit map length",
            value: i64::try_from(len).unwrap_or(i64::MAX),
            min: 0,
            max: i64::try_from(max).unwrap_or(i64::MAX),
        };
        let (size, bit_map_len) =
            i16::try_from(self.len()).ok().zip(i16::try_from(len).ok()).filter(|_| len <= max).ok_or_else(range)?;
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&self.tags_code.to_be_bytes());
        out.extend_from_slice(&self.store_timestamp.to_be_bytes());
        out.extend_from_slice(&bit_map_len.to_be_bytes());
        out.extend_from_slice(self.bit_map);
        Ok(())
    }
}

/// What a queue's unit carries in place of the tagsCode for the unit at byte `position` of the extension; `None` beyond
/// what can be said so.
#[must_use]
pub fn ext_address(position: u64) -> Option<i64> {
    i64::try_from(position).ok().and_then(|position| i64::MIN.checked_add(position)).filter(|at| *at <= MAX_ADDRESS)
}

/// The byte position that a queue unit's `tags_code` stands for; `None` when it is a tagsCode indeed.
#[must_use]
pub fn ext_position(tags_code: i64) -> Option<u64> {
    (tags_code <= MAX_ADDRESS).then(|| tags_code.abs_diff(i64::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for bit_map in [&[][..], &[1, 2, 3]] {
            let unit = ExtUnit { tags_code: -2, store_timestamp: 0x0102, bit_map };
            let mut bytes = Vec::new();
            unit.encode_into(&mut bytes).unwrap();
            assert_eq!(bytes.len(), unit.len());
            assert_eq!(bytes[..3], [0, u8::try_from(unit.len()).unwrap(), 0xFF]);
            assert_eq!(ExtUnit::parse(&bytes).unwrap(), Some(unit));
            for cut in 0..bytes.len() {
                assert!(ExtUnit::parse(&bytes[..cut]).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn what_is_no_unit() {
        assert_eq!(ExtUnit::parse(&[0; 40]), Ok(None));
        assert_eq!(ExtUnit::parse(&EXT_FILLER.to_be_bytes()), Ok(None));
        let mut bytes = vec![0; 40];
        bytes[1] = 21;
        assert!(matches!(ExtUnit::parse(&bytes), Err(CodecError::SizeMismatch { stated: 21, actual: 20, .. })));
        let most = vec![0; EXT_UNIT_MAX_LEN - EXT_UNIT_MIN_LEN + 1];
        let unit = |bit_map| ExtUnit { tags_code: 0, store_timestamp: 0, bit_map };
        assert!(unit(&most[1..]).encode_into(&mut Vec::new()).is_ok());
        assert!(unit(&most).encode_into(&mut Vec::new()).is_err());
    }

    #[test]
    fn addresses_are_no_hashes() {
        assert_eq!(ext_address(0), Some(i64::MIN));
        assert_eq!(ext_position(i64::MIN + 20), Some(20));
        assert_eq!(ext_position(i64::from(i32::MIN)), None);
        assert_eq!(ext_position(i64::from(i32::MIN) - 1).and_then(ext_address), Some(i64::from(i32::MIN) - 1));
        assert_eq!(ext_address(i64::from(i32::MIN).abs_diff(i64::MIN)), None);
        for tags_code in [0, 97, -97, 1_700_000_000_000] {
            assert_eq!(ext_position(tags_code), None);
        }
    }
}
