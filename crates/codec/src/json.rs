//! JSON bodies in the dialect of fastjson: reading tolerates what fastjson writes and people type, writing gives what
//! Java's readers expect. Typing is left to serde.

use crate::json_scanner::{MAX_DEPTH, ScanError, Scanner};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::{CharEscape, Formatter};
use std::io::{self, Write};

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// fastjson's default: integer map keys bare (`{0:"a"}`), object keys inline (`{{"queueId":0}:1}`).
    Fastjson,
    /// Standard JSON, all keys quoted, non-ASCII as `\uXXXX` (route look-ups of clients from V4_9_4 on).
    Standard,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, even in fastjson's dialect.
    #[error("not JSON: {0}")]
    Scan(#[from] ScanError),
    /// JSON, but not of the expected shape.
    #[error("JSON of another shape: {0}")]
    Shape(#[from] serde_json::Error),
}

/// Reads a value from fastjson text. An object used as a map key reaches serde as a string holding its JSON.
///
/// # Errors
/// [`JsonError`] when the text is no JSON or does not fit `T`.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    // Most bodies are standard JSON already; only what serde_json refuses needs normalising first.
    match serde_json::from_slice(text) {
        Ok(value) => Ok(value),
        Err(e) if e.is_data() => Err(e.into()),
        Err(_) => Ok(serde_json::from_slice(&normalize(text)?)?),
    }
}

/// Rewrites fastjson text as standard JSON: all keys and words quoted, comments and spare commas gone.
///
/// # Errors
/// [`ScanError`] with the byte position.
pub fn normalize(text: &[u8]) -> Result<Vec<u8>, ScanError> {
    let mut scanner = Scanner::new(text);
    let mut out = Vec::with_capacity(text.len() + 16);
    value(&mut scanner, &mut out, 0, false)?;
    match scanner.peek()? {
        None | Some(0) => Ok(out),
        Some(_) => scanner.error("text after the end of the value"),
    }
}

/// Writes a value in the given dialect. Members that are `None` must be skipped by the type (`skip_serializing_if`).
///
/// # Errors
/// When the type cannot be expressed as JSON (a map key that is neither string, integer nor MessageQueue).
pub fn to_vec<T: Serialize>(value: &T, dialect: Dialect) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Fastjson { dialect, key: Key::None });
    value.serialize(&mut serializer)?;
    Ok(out)
}

/// `in_key` tells that the value is (part of) an object that serves as a key, and will be quoted as a whole.
fn value(s: &mut Scanner<'_>, out: &mut Vec<u8>, depth: usize, in_key: bool) -> Result<(), ScanError> {
    if depth > MAX_DEPTH {
        return s.error("nested too deep");
    }
    match s.peek()? {
        Some(b'{') => object(s, out, depth, in_key),
        Some(b'[') => array(s, out, depth, in_key),
        Some(b'"' | b'\'') => {
            let text = s.scalar()?;
            push_string(out, &text);
            Ok(())
        }
        _ => {
            let word = s.scalar()?;
            push_word(out, &word);
            Ok(())
        }
    }
}

fn object(s: &mut Scanner<'_>, out: &mut Vec<u8>, depth: usize, in_key: bool) -> Result<(), ScanError> {
    s.expect(b'{', "expected '{'")?;
    out.push(b'{');
    let mut first = true;
    while s.next_item(b'}', first)? {
        if !first {
            out.push(b',');
        }
        first = false;
        if matches!(s.peek()?, Some(b'{' | b'[')) {
            // Each quoting doubles the backslashes of the one inside it: 60 levels would fill any memory.
            if in_key {
                return s.error("an object as key within an object that is a key itself");
            }
            let mut key = Vec::new();
            value(s, &mut key, depth + 1, true)?;
            push_string(out, &key);
        } else {
            let key = s.scalar()?;
            push_string(out, &key);
        }
        s.expect(b':', "expected ':' after a key")?;
        out.push(b':');
        value(s, out, depth + 1, in_key)?;
    }
    out.push(b'}');
    Ok(())
}

fn array(s: &mut Scanner<'_>, out: &mut Vec<u8>, depth: usize, in_key: bool) -> Result<(), ScanError> {
    s.expect(b'[', "expected '['")?;
    out.push(b'[');
    let mut first = true;
    while s.next_item(b']', first)? {
        if !first {
            out.push(b',');
        }
        first = false;
        value(s, out, depth + 1, in_key)?;
    }
    out.push(b']');
    Ok(())
}

fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    serde_json::to_writer(out, text.as_ref()).expect("a string always serialises into memory");
}

/// A bare word: `true`, `false`, `null` and numbers stay; fastjson's `1L`, `NaN` and names become what they mean.
fn push_word(out: &mut Vec<u8>, word: &[u8]) {
    let number = word.strip_suffix(b"L").or_else(|| word.strip_suffix(b"l")).unwrap_or(word);
    if matches!(word, b"true" | b"false" | b"null") {
        out.extend_from_slice(word);
    } else if matches!(word, b"NaN" | b"Infinity" | b"-Infinity" | b"undefined") {
        out.extend_from_slice(b"null");
    } else if serde_json::from_slice::<serde_json::Number>(number).is_ok() {
        out.extend_from_slice(number);
    } else {
        push_string(out, word);
    }
}

/// Where the writer stands with respect to a map key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    None,
    /// A key began; nothing of it is written yet, so integers can stay bare.
    Pending,
    Quoted,
    /// A key that is itself an object: written as it is.
    Inline,
    /// An integer key.
    Bare,
}

struct Fastjson {
    dialect: Dialect,
    key: Key,
}

impl Formatter for Fastjson {
    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        if self.dialect == Dialect::Fastjson {
            self.key = Key::Pending;
        }
        if first { Ok(()) } else { w.write_all(b",") }
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.key = Key::None;
        Ok(())
    }

    fn begin_string<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        if self.key == Key::Pending { Ok(()) } else { w.write_all(b"\"") }
    }

    fn end_string<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        match self.key {
            Key::Inline | Key::Bare => Ok(()),
            Key::Pending => w.write_all(b"\"\""),
            Key::None | Key::Quoted => w.write_all(b"\""),
        }
    }

    fn write_i32<W: ?Sized + Write>(&mut self, w: &mut W, value: i32) -> io::Result<()> {
        self.write_i64(w, value.into())
    }

    fn write_u32<W: ?Sized + Write>(&mut self, w: &mut W, value: u32) -> io::Result<()> {
        self.write_i64(w, value.into())
    }

    fn write_i64<W: ?Sized + Write>(&mut self, w: &mut W, value: i64) -> io::Result<()> {
        if self.key == Key::Pending {
            self.key = Key::Bare;
        }
        write!(w, "{value}")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, w: &mut W, fragment: &str) -> io::Result<()> {
        if self.key == Key::Pending {
            self.key = if fragment.starts_with('{') { Key::Inline } else { Key::Quoted };
            if self.key == Key::Quoted {
                w.write_all(b"\"")?;
            }
        }
        if self.dialect == Dialect::Fastjson || fragment.is_ascii() {
            return w.write_all(fragment.as_bytes());
        }
        for unit in fragment.encode_utf16() {
            match u8::try_from(unit) {
                Ok(ascii) if ascii.is_ascii() => w.write_all(&[ascii])?,
                _ => write!(w, "\\u{unit:04X}")?,
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, w: &mut W, escape: CharEscape) -> io::Result<()> {
        match (self.key, &escape) {
            (Key::Inline, CharEscape::Quote) => return w.write_all(b"\""),
            (Key::Inline, CharEscape::ReverseSolidus) => return w.write_all(b"\\"),
            (Key::Pending, _) => {
                self.key = Key::Quoted;
                w.write_all(b"\"")?;
            }
            _ => {}
        }
        serde_json::ser::CompactFormatter.write_char_escape(w, escape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn check(input: &str, expect: &str) {
        let got = normalize(input.as_bytes()).map(|v| String::from_utf8(v).unwrap());
        assert_eq!(got.as_deref().map_err(|e| e.to_string()), Ok(expect), "{input}");
    }

    #[test]
    fn reads_what_fastjson_writes_and_people_type() {
        check(r#"{0:"10.0.0.1:10911",1:"b"}"#, r#"{"0":"10.0.0.1:10911","1":"b"}"#);
        check(r#"{{"brokerName":"a","queueId":0}:{"x":1}}"#, r#"{"{\"brokerName\":\"a\",\"queueId\":0}":{"x":1}}"#);
        check("{'a':'it\\'s',b:true, /* c */ d:[1,2,],// end\n}", r#"{"a":"it's","b":true,"d":[1,2]}"#);
        check(r#"[NaN,12L,-1.5e3,null]"#, "[null,12,-1.5e3,null]");
        check(r#""\u4e2d\ud83d\ude00""#, "\"中😀\"");
    }

    #[test]
    fn refuses_with_the_place() {
        for (input, what) in [
            ("{\"a\" 1}", "expected ':' after a key at byte 5"),
            ("[1 2]", "expected ',' or the end of the object or array at byte 3"),
            ("\"abc", "string without end at byte 4"),
            ("{} x", "text after the end of the value at byte 3"),
            ("", "text ends early at byte 0"),
        ] {
            assert_eq!(normalize(input.as_bytes()).unwrap_err().to_string(), what, "{input}");
        }
        let deep = "[".repeat(100_000);
        assert!(normalize(deep.as_bytes()).unwrap_err().to_string().starts_with("nested too deep"));
    }

    #[test]
    fn writes_both_dialects() {
        let addrs = BTreeMap::from([(0i64, "a中"), (1, "b")]);
        let text = |d| String::from_utf8(to_vec(&addrs, d).unwrap()).unwrap();
        assert_eq!(text(Dialect::Fastjson), r#"{0:"a中",1:"b"}"#);
        assert_eq!(text(Dialect::Standard), r#"{"0":"a\u4E2D","1":"b"}"#);
        let inline = BTreeMap::from([(r#"{"queueId":0,"topic":"T"}"#, 7)]);
        assert_eq!(to_vec(&inline, Dialect::Fastjson).unwrap(), br#"{{"queueId":0,"topic":"T"}:7}"#);
        let plain = BTreeMap::from([("", 0), ("\"q\"", 1), ("k", 2)]);
        assert_eq!(to_vec(&plain, Dialect::Fastjson).unwrap(), br#"{"":0,"\"q\"":1,"k":2}"#);
    }
}
