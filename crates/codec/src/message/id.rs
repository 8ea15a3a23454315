//! Offset message ids: where a message lies, as text.

use std::net::{IpAddr, SocketAddr};

use crate::cursor::Cursor;
use crate::error::CodecError;

const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];

/// The id of the message at `physical_offset` of the broker at `host`: address (4 or 16 bytes), port (4), offset (8)
/// in upper-case hex, 32 or 56 characters. Source: MessageDecoder.createMessageId.
#[must_use]
pub fn message_id(host: SocketAddr, physical_offset: i64) -> String {
    let mut id = String::with_capacity(if host.is_ipv4() { 32 } else { 56 });
    match host.ip() {
        IpAddr::V4(ip) => push_hex(&mut id, &ip.octets()),
        IpAddr::V6(ip) => push_hex(&mut id, &ip.octets()),
    }
    push_hex(&mut id, &i32::from(host.port()).to_be_bytes());
    push_hex(&mut id, &physical_offset.to_be_bytes());
    id
}

/// Host and physical offset of an offset message id; hex digits of either case.
/// # Errors
/// [`CodecError::Text`] when it is not 32 or 56 hex digits, [`CodecError::Range`] when the port is none.
pub fn parse_message_id(id: &str) -> Result<(SocketAddr, i64), CodecError> {
    const WHAT: &str = "message id";
    let v6 = match id.len() {
        32 => false,
        56 => true,
        _ => return Err(CodecError::Text { what: WHAT, reason: "not 32 or 56 characters long" }),
    };
    let mut bytes = Vec::with_capacity(28);
    for pair in id.as_bytes().chunks(2) {
        let digit = |at: usize| pair.get(at).and_then(|c| char::from(*c).to_digit(16));
        let byte = digit(0).zip(digit(1)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(byte.ok_or(CodecError::Text { what: WHAT, reason: "not hexadecimal" })?);
    }
    let mut at = Cursor::new(&bytes);
    let ip = if v6 { IpAddr::from(at.array::<16>(WHAT)?) } else { IpAddr::from(at.array::<4>(WHAT)?) };
    let port = at.i32("message id port")?;
    let port = u16::try_from(port).map_err(|_| CodecError::Range {
        what: "message id port",
        value: i64::from(port),
        min: 0,
        max: 65_535,
    })?;
    Ok((SocketAddr::new(ip, port), at.i64(WHAT)?))
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(HEX.get(usize::from(digit)).copied().unwrap_or('0'));
        }
    }
}
