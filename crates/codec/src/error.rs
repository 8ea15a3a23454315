//! Why bytes could not be read, or values not be written.

use thiserror::Error;

/// What is wrong with bytes that were to be decoded, or with a value that was to be encoded.
/// Every variant names the thing; the caller adds where it came from (peer, file, offset).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes end before the value does.
    #[error("{what}: {need} bytes needed, {have} there")]
    Short {
        /// Field or structure that was being read.
        what: &'static str,
        /// Bytes the field needs.
        need: usize,
        /// Bytes that were left.
        have: usize,
    },
    /// The magic code is none that is known here.
    #[error("{what}: unknown magic code 0x{magic:08X}")]
    Magic {
        /// Structure that was being read.
        what: &'static str,
        /// The code found.
        magic: u32,
    },
    /// A length or count lies outside of what the format allows.
    #[error("{what}: {value} is outside {min}..={max}")]
    Range {
        /// Field.
        what: &'static str,
        /// Value found or given.
        value: i64,
        /// Smallest allowed value.
        min: i64,
        /// Largest allowed value.
        max: i64,
    },
    /// The total size written in a structure is not the sum of its parts.
    #[error("{what}: total size says {stated}, the fields add up to {actual}")]
    SizeMismatch {
        /// Structure.
        what: &'static str,
        /// Size written in the header.
        stated: usize,
        /// Size that the fields need.
        actual: usize,
    },
    /// The checksum in the structure is not that of its bytes.
    #[error("{what}: checksum says {stated:08X}, the bytes have {actual:08X}")]
    Checksum {
        /// Structure.
        what: &'static str,
        /// Checksum written in the structure.
        stated: u32,
        /// Checksum of the bytes.
        actual: u32,
    },
    /// Text that is not what the format asks for.
    #[error("{what}: {reason}")]
    Text {
        /// Field.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}
