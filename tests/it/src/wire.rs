//! The few bytes of the remoting protocol that the tests speak themselves: one JSON request, one answer.

use serde_json::{Value, json};
use std::io::{Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// GET_ROUTEINFO_BY_TOPIC
pub const GET_ROUTEINFO_BY_TOPIC: i32 = 105;

/// A frame as it came: header, body.
#[derive(Debug)]
pub struct Frame {
    /// 0 for a JSON header, 1 for a ROCKETMQ one.
    pub serialize: u8,
    /// The header; a ROCKETMQ one in the shape that the same header has in JSON.
    pub header: Value,
    /// The body.
    pub body: Vec<u8>,
}

/// The frame of a request with a JSON header as a 5.5.0 Java client writes it: length, header length, header, body.
pub fn request(code: i32, opaque: i32, fields: &Value, body: &[u8]) -> Vec<u8> {
    let header = json!({ "code": code, "extFields": fields, "flag": 0, "language": "JAVA", "opaque": opaque,
        "serializeTypeCurrentRPC": "JSON", "version": 495 });
    frame(header.to_string().as_bytes(), body)
}

/// A frame from the bytes of its JSON header and body.
pub fn frame(header: &[u8], body: &[u8]) -> Vec<u8> {
    let header_len = u32::try_from(header.len()).expect("a test header is short");
    let len = u32::try_from(4 + header.len() + body.len()).expect("a test frame is short");
    [&len.to_be_bytes()[..], &header_len.to_be_bytes(), header, body].concat()
}

/// Reads one whole frame, including its length prefix.
/// # Errors
/// What the socket says; `InvalidData` for a length above 64 MiB.
pub fn read_raw(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let count = u32::from_be_bytes(len) as usize;
    if count > 64 << 20 {
        return Err(Error::new(ErrorKind::InvalidData, format!("frame of {count} bytes")));
    }
    let mut all = len.to_vec();
    all.resize(4 + count, 0);
    stream.read_exact(&mut all[4..])?;
    Ok(all)
}

/// Takes a raw frame apart.
/// # Errors
/// `InvalidData` when it is not one.
pub fn parse(raw: &[u8]) -> std::io::Result<Frame> {
    let bad = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
    let mark = raw.get(4..8).ok_or_else(|| bad("no header length"))?;
    let header_len = u32::from_be_bytes([0, mark[1], mark[2], mark[3]]) as usize;
    let bytes = raw.get(8..8 + header_len).ok_or_else(|| bad("header longer than the frame"))?;
    let body = raw.get(8 + header_len..).unwrap_or_default().to_vec();
    let header = match mark[0] {
        0 => serde_json::from_slice(bytes).map_err(|error| bad(&error.to_string()))?,
        1 => binary_header(bytes).ok_or_else(|| bad("ROCKETMQ header ends early"))?,
        other => return Err(bad(&format!("serialisation {other}"))),
    };
    Ok(Frame { serialize: mark[0], header, body })
}

/// code i16, language u8, version i16, opaque i32, flag i32, remark (i32 length), extFields (i32 length) of key (i16
/// length) and value (i32 length).
fn binary_header(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let mut take = |len: usize| {
        let (taken, left) = rest.split_at_checked(len)?;
        rest = left;
        Some(taken)
    };
    let number = |bytes: &[u8]| bytes.iter().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
    let code = number(take(2)?);
    let language = number(take(1)?);
    let version = number(take(2)?);
    let opaque = number(take(4)?);
    let flag = number(take(4)?);
    let remark_len = usize::try_from(number(take(4)?)).ok()?;
    let remark = String::from_utf8_lossy(take(remark_len)?).into_owned();
    let mut left = usize::try_from(number(take(4)?)).ok()?;
    let mut fields = serde_json::Map::new();
    while left > 0 {
        let key_len = usize::try_from(number(take(2)?)).ok()?;
        let key = String::from_utf8_lossy(take(key_len)?).into_owned();
        let value_len = usize::try_from(number(take(4)?)).ok()?;
        let value = String::from_utf8_lossy(take(value_len)?).into_owned();
        left = left.checked_sub(6 + key_len + value_len)?;
        fields.insert(key, Value::String(value));
    }
    Some(json!({ "code": code, "language": language, "version": version, "opaque": opaque, "flag": flag,
        "remark": remark, "extFields": fields }))
}

/// Sends one request on a new connection and returns the answer.
/// # Errors
/// What the socket says, also when nothing comes within 5 s.
pub fn call(addr: &str, code: i32, fields: &Value, body: &[u8]) -> std::io::Result<Frame> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(&request(code, 1, fields, body))?;
    parse(&read_raw(&mut stream)?)
}

/// physicalOffset of each stored record in a body: of a record, the size is the i32 at 0, this the i64 at 28.
/// # Panics
/// When the body ends inside a record.
pub fn physical_offsets(mut body: &[u8]) -> Vec<i64> {
    let mut found = Vec::new();
    while let Some((size, _)) = body.split_first_chunk::<4>() {
        let size = u32::from_be_bytes(*size) as usize;
        let (record, rest) = body.split_at_checked(size.max(36)).expect("whole records");
        found.push(record[28..36].iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte)));
        body = rest;
    }
    found
}

/// Whether that nameserver has a route for the topic.
pub fn has_route(namesrv: &str, topic: &str) -> bool {
    call(namesrv, GET_ROUTEINFO_BY_TOPIC, &json!({ "topic": topic }), &[]).is_ok_and(|frame| frame.header["code"] == 0)
}
