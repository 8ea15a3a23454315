//! The frame: what travels on a connection.
//!
//! | offset | width | field |
//! |---|---|---|
//! | 0 | 4 | bytes that follow this field: 4 + header length + body length |
//! | 4 | 1 | serialisation of the header: 0 JSON, 1 ROCKETMQ |
//! | 5 | 3 | header length, unsigned |
//! | 8 | header length | header |
//! | … | rest | body |
//!
//! Big-endian. Source: remoting/netty/NettyDecoder.java, remoting/protocol/RemotingCommand.java.

use std::ops::Range;

/// Width of the length field and of the serialisation + header length field together.
pub const PREFIX_LEN: usize = 8;

/// Java's default of `com.rocketmq.remoting.frameMaxLength`, in bytes, length field included.
pub const DEFAULT_MAX_FRAME_LEN: usize = 16 * 1024 * 1024;

/// Largest header that 24 bits can announce, in bytes.
pub const MAX_HEADER_LEN: usize = 0xFF_FFFF;

/// How the header of a frame is serialised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SerializeType {
    /// fastjson object, UTF-8.
    #[default]
    Json,
    /// Java's own binary form (RocketMQSerializable).
    RocketMq,
}

impl SerializeType {
    /// The byte at offset 4 of a frame.
    pub fn code(self) -> u8 {
        match self {
            SerializeType::Json => 0,
            SerializeType::RocketMq => 1,
        }
    }

    /// The name in boot lines and in `serializeTypeCurrentRPC`.
    pub fn name(self) -> &'static str {
        match self {
            SerializeType::Json => "JSON",
            SerializeType::RocketMq => "ROCKETMQ",
        }
    }

    /// Reads a name as the property `rocketmq.serialize.type` has it.
    pub fn from_name(name: &str) -> Option<SerializeType> {
        match name {
            "JSON" => Some(SerializeType::Json),
            "ROCKETMQ" => Some(SerializeType::RocketMq),
            _ => None,
        }
    }

    fn from_code(code: u8) -> Option<SerializeType> {
        match code {
            0 => Some(SerializeType::Json),
            1 => Some(SerializeType::RocketMq),
            _ => None,
        }
    }
}

/// Where the parts of one complete frame lie in the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameLayout {
    /// Length of the whole frame, in bytes, length field included.
    pub total_len: usize,
    /// Serialisation of the header.
    pub serialize_type: SerializeType,
    /// The header's bytes.
    pub header: Range<usize>,
    /// The body's bytes; empty when there is none.
    pub body: Range<usize>,
}

/// Why bytes are not a frame. The stream cannot be resynchronised: close the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field is beyond the limit.
    #[error("frame of {len} bytes is over the limit of {max} (com.rocketmq.remoting.frameMaxLength)")]
    TooLong {
        /// Announced length of the whole frame.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// The length field leaves no room for the fixed part.
    #[error("frame length {len} leaves no room for its header length")]
    TooShort {
        /// Value of the length field.
        len: u32,
    },
    /// The header would reach beyond the frame.
    #[error("header of {header} bytes does not fit in a frame of {frame}")]
    HeaderBeyondFrame {
        /// Announced header length.
        header: usize,
        /// Length of the frame behind its length field.
        frame: usize,
    },
    /// Neither JSON nor ROCKETMQ.
    #[error("unknown header serialisation {0} (known: 0 JSON, 1 ROCKETMQ)")]
    UnknownSerializeType(u8),
}

/// Finds the first frame of `bytes`: `None` while it is incomplete.
///
/// The length is checked as soon as its four bytes are there, so an oversized frame is refused before it is buffered.
///
/// # Errors
/// [`FrameError`] when the bytes can never become a frame.
pub fn layout(bytes: &[u8], max_frame_len: usize) -> Result<Option<FrameLayout>, FrameError> {
    let Some(total_len) = announced_len(bytes, max_frame_len)? else { return Ok(None) };
    if bytes.len() < total_len {
        return Ok(None);
    }
    let Some(&[_, _, _, _, kind, h0, h1, h2]) = bytes.first_chunk::<PREFIX_LEN>() else { return Ok(None) };
    let header_len = u32::from_be_bytes([0, h0, h1, h2]) as usize;
    if header_len > total_len - PREFIX_LEN {
        return Err(FrameError::HeaderBeyondFrame { header: header_len, frame: total_len - 4 });
    }
    let serialize_type = SerializeType::from_code(kind).ok_or(FrameError::UnknownSerializeType(kind))?;
    let header_end = PREFIX_LEN + header_len;
    Ok(Some(FrameLayout { total_len, serialize_type, header: PREFIX_LEN..header_end, body: header_end..total_len }))
}

/// The length of the whole first frame in `bytes`, length field included; `None` before its four bytes are there.
///
/// # Errors
/// [`FrameError::TooLong`] or [`FrameError::TooShort`].
pub fn announced_len(bytes: &[u8], max_frame_len: usize) -> Result<Option<usize>, FrameError> {
    let Some(len) = bytes.first_chunk::<4>().map(|b| u32::from_be_bytes(*b)) else { return Ok(None) };
    let total = u64::from(len) + 4;
    match usize::try_from(total) {
        Ok(total) if total <= max_frame_len => {
            if len < 4 {
                return Err(FrameError::TooShort { len });
            }
            Ok(Some(total))
        }
        _ => Err(FrameError::TooLong { len: total, max: max_frame_len }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&u32::try_from(4 + header.len() + body.len()).unwrap().to_be_bytes());
        out.push(kind);
        out.extend_from_slice(&u32::try_from(header.len()).unwrap().to_be_bytes()[1..]);
        out.extend_from_slice(header);
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn finds_header_and_body() {
        let bytes = frame(1, b"head", b"body!");
        let at = layout(&bytes, 1024).unwrap().unwrap();
        assert_eq!((&bytes[at.header.clone()], &bytes[at.body.clone()]), (&b"head"[..], &b"body!"[..]));
        assert_eq!((at.total_len, at.serialize_type), (bytes.len(), SerializeType::RocketMq));
    }

    #[test]
    fn every_prefix_asks_for_more() {
        let bytes = frame(0, b"{}", b"b");
        for cut in 0..bytes.len() {
            assert_eq!(layout(&bytes[..cut], 1024), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn limits_are_checked_before_the_frame_is_complete() {
        assert_eq!(layout(&[0, 1, 0, 0], 1024), Err(FrameError::TooLong { len: 65540, max: 1024 }));
        assert_eq!(layout(&[0xFF; 4], 1024), Err(FrameError::TooLong { len: (1 << 32) + 3, max: 1024 }));
        assert_eq!(layout(&[0, 0, 0, 3], 1024), Err(FrameError::TooShort { len: 3 }));
        assert_eq!(layout(&[0, 0, 0, 4, 0, 0, 0, 1], 1024), Err(FrameError::HeaderBeyondFrame { header: 1, frame: 4 }));
        assert_eq!(layout(&[0, 0, 0, 4, 9, 0, 0, 0], 1024), Err(FrameError::UnknownSerializeType(9)));
        let exact = frame(0, b"{}", &[0; 6]);
        assert!(layout(&exact, exact.len()).unwrap().is_some());
        assert!(layout(&exact, exact.len() - 1).is_err());
    }
}
