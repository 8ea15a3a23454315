//! The CRC of a whole record, which a broker with enabledAppendPropCRC writes as the record's last property.
//!
//! The last 20 bytes of the record: `__CRC32#`, \u0001, ten decimal digits with the **least** significant first, \u0002.
//! The value is the CRC-32 & 0x7FFFFFFF of all bytes of the record before them, offsets and store time included.
//! Source: MessageDecoder.createCrc32, CommitLog.DefaultAppendMessageCallback.doAppend.

use crate::error::CodecError;
use crate::properties::{self, NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR, names};

use super::MessageRecord;

/// Bytes of the property with both separators.
pub const PROP_CRC_LEN: usize = 20;
const DIGITS: usize = 10;

const _: () = assert!(PROP_CRC_LEN == names::CRC32.len() + 1 + DIGITS + 1);

/// A properties string with room for the CRC at its end: a CRC that another broker left goes, and the \u0002 that the last
/// pair may lack comes. [`prop_crc`] replaces its last [`PROP_CRC_LEN`] bytes.
#[must_use]
pub fn reserve_prop_crc(properties: &str) -> String {
    let mut reserved = String::with_capacity(properties.len() + PROP_CRC_LEN + 1);
    let stale = |pair: &str| pair.split_once(NAME_VALUE_SEPARATOR).is_some_and(|(name, _)| name == names::CRC32);
    for pair in properties.split_inclusive(PROPERTY_SEPARATOR) {
        if !stale(pair) {
            reserved.push_str(pair);
        }
    }
    properties::push(&mut reserved, names::CRC32, "0000000000");
    reserved
}

/// The property for the CRC of a record's other bytes, the sign bit of which is cleared here.
#[must_use]
pub fn prop_crc(crc: u32) -> [u8; PROP_CRC_LEN] {
    let mut property = *b"__CRC32#\x010000000000\x02";
    let mut rest = crc & 0x7FFF_FFFF;
    for digit in property.iter_mut().skip(names::CRC32.len() + 1).take(DIGITS) {
        *digit += u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    property
}

impl MessageRecord<'_> {
    /// The CRC of the whole record, when it ends in one.
    #[must_use]
    pub fn prop_crc(&self) -> Option<u32> {
        let (before, property) = self.properties.split_last_chunk::<PROP_CRC_LEN>()?;
        if before.last().is_some_and(|byte| *byte != PROPERTY_SEPARATOR as u8) {
            return None;
        }
        let (name, digits) = property.split_at_checked(names::CRC32.len() + 1)?;
        let digits = digits.get(..DIGITS).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        if name.strip_suffix(&[NAME_VALUE_SEPARATOR as u8])? != names::CRC32.as_bytes()
            || property.last() != Some(&(PROPERTY_SEPARATOR as u8))
        {
            return None;
        }
        let value = digits.iter().rev().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        // A number that no CRC has is not that of the bytes, either.
        Some(u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// Whether the CRC of the whole record is that of `record`, its bytes; true too when it carries none.
    /// # Errors
    /// [`CodecError::Checksum`].
    pub fn check_prop_crc(&self, record: &[u8]) -> Result<(), CodecError> {
        let Some(stated) = self.prop_crc() else { return Ok(()) };
        let bytes = self.total_size.checked_sub(PROP_CRC_LEN).and_then(|len| record.get(..len)).unwrap_or_default();
        let actual = super::body_crc(bytes);
        if actual == stated { Ok(()) } else { Err(CodecError::Checksum { what: "message record", stated, actual }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_backwards() {
        assert_eq!(&prop_crc(0x8000_0000 | 1_234_567), b"__CRC32#\x017654321000\x02");
        assert_eq!(&prop_crc(0x7FFF_FFFF), b"__CRC32#\x017463847412\x02");
        assert_eq!(&prop_crc(0), b"__CRC32#\x010000000000\x02");
    }

    #[test]
    fn room_is_made_at_the_end_alone() {
        let place = "__CRC32#\u{1}0000000000\u{2}";
        assert_eq!(reserve_prop_crc(""), place);
        assert_eq!(reserve_prop_crc("a\u{1}b"), format!("a\u{1}b\u{2}{place}"));
        let stale = "a\u{1}b\u{2}__CRC32#\u{1}1234567890\u{2}c\u{1}d\u{2}";
        assert_eq!(reserve_prop_crc(stale), format!("a\u{1}b\u{2}c\u{1}d\u{2}{place}"));
        assert_eq!(reserve_prop_crc("a\u{1}b\u{2}__CRC32#\u{1}1"), format!("a\u{1}b\u{2}{place}"));
    }
}
