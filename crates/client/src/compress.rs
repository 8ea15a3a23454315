//! Compressed bodies. Producers compress with zlib as Java's do by default; consumers inflate all three kinds.

use codec::message::sys_flag;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use lz4_flex::frame::FrameDecoder;
use ruzstd::decoding::StreamingDecoder;
use std::io::{Read, Write};

/// Level at which Java's producer compresses (`rocketmq.message.compressLevel`).
const LEVEL: u32 = 5;
/// No message is larger when inflated: what a peer sends must not fill our memory.
const MAX_INFLATED: u64 = 64 * 1024 * 1024;

/// The body in zlib's format.
pub(crate) fn deflate(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(body.len() / 2), Compression::new(LEVEL));
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// The body as it was before it was compressed.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(crate) fn inflate(body: &[u8], flags: i32) -> Result<Vec<u8>, String> {
    match flags & sys_flag::COMPRESSION_TYPE_MASK {
        // Releases before 5.0 set no type.
        0 | sys_flag::COMPRESSION_ZLIB => read_bounded("zlib", body, ZlibDecoder::new(body)),
        sys_flag::COMPRESSION_LZ4 => read_bounded("LZ4", body, FrameDecoder::new(body)),
        sys_flag::COMPRESSION_ZSTD => {
            let decoder = StreamingDecoder::new(body).map_err(|error| format!("body is not ZSTD: {error}"))?;
            read_bounded("ZSTD", body, decoder)
        }
        other => Err(format!("compression type {} is unknown", other >> 8)),
    }
}

fn read_bounded(name: &str, body: &[u8], decoder: impl Read) -> Result<Vec<u8>, String> {
    let mut inflated = Vec::with_capacity(body.len() * 2);
    let read = decoder.take(MAX_INFLATED + 1).read_to_end(&mut inflated);
    read.map_err(|error| format!("body is not {name}: {error}"))?;
    if inflated.len() as u64 > MAX_INFLATED {
        return Err(format!("body inflates to more than {MAX_INFLATED} bytes"));
    }
    Ok(inflated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let body = b"Hello RocketMQ ".repeat(1000);
        let small = deflate(&body).unwrap();
        assert!(small.len() < body.len() / 10);
        assert_eq!(inflate(&small, sys_flag::COMPRESSED).unwrap(), body);
        assert_eq!(inflate(&small, sys_flag::COMPRESSED | sys_flag::COMPRESSION_ZLIB).unwrap(), body);
    }

    #[test]
    fn other_kinds_are_inflated_too() {
        let body = b"Hello RocketMQ ".repeat(1000);
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(&body).unwrap();
        let small = encoder.finish().unwrap();
        assert_eq!(inflate(&small, 1 | sys_flag::COMPRESSION_LZ4).unwrap(), body);
        let small = ruzstd::encoding::compress_to_vec(body.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
        assert_eq!(inflate(&small, 1 | sys_flag::COMPRESSION_ZSTD).unwrap(), body);
    }

    #[test]
    fn what_cannot_be_inflated_says_so() {
        assert!(inflate(b"plain", 1).unwrap_err().contains("not zlib"));
        assert!(inflate(b"plain text", 1 | sys_flag::COMPRESSION_LZ4).unwrap_err().contains("not LZ4"));
        assert!(inflate(b"plain text", 1 | sys_flag::COMPRESSION_ZSTD).unwrap_err().contains("not ZSTD"));
        assert!(inflate(b"x", 0x701).unwrap_err().contains("unknown"));
        let bomb = deflate(&vec![0; usize::try_from(MAX_INFLATED).unwrap() + 1]).unwrap();
        assert!(inflate(&bomb, 1).unwrap_err().contains("more than"));
    }
}
