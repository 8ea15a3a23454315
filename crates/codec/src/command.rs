//! A remoting command: the header of a frame in either serialisation, and its body.
//!
//! ROCKETMQ header, big-endian: code (2) language (1) version (2) opaque (4) flag (4) remark length (4) remark, map
//! length (4) map. Source: remoting/protocol/RocketMQSerializable.java. The JSON header is one object with the members
//! code, extFields, flag, language, opaque, remark, serializeTypeCurrentRPC, version.

use crate::fields::{CommandHeader, FieldError, FieldWriter, Fields, put_json_string};
use crate::frame::{MAX_HEADER_LEN, PREFIX_LEN, SerializeType};
use crate::json_scanner::Scanner;
use crate::plain_object::PlainObject;
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

/// `flag` bit 0: the command is a response.
pub const FLAG_RESPONSE: i32 = 1;
/// `flag` bit 1: nobody waits for a response and none may be sent.
pub const FLAG_ONEWAY: i32 = 2;

const LANGUAGES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS", "RUST",
    "NODE_JS",
];

/// The language that a peer says it is written in: its code in ROCKETMQ headers. Names nobody knows are OTHER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Language(pub u8);

impl Language {
    /// What we say of ourselves: old clients know no RUST.
    pub const JAVA: Language = Language(0);
    /// C++ clients are sent some bodies in a shape of their own.
    pub const CPP: Language = Language(1);
    /// Any language without a name.
    pub const OTHER: Language = Language(7);

    /// The name in JSON headers and admin answers.
    pub fn name(self) -> &'static str {
        LANGUAGES.get(usize::from(self.0)).copied().unwrap_or("OTHER")
    }

    fn from_name(name: &[u8]) -> Language {
        let code = LANGUAGES.iter().position(|known| known.as_bytes() == name);
        Language(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Language::OTHER.0))
    }
}

/// A decoded command; its text and body share the memory of the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Request code, or response code.
    pub code: i32,
    /// Language of the sender.
    pub language: Language,
    /// Ordinal of the sender's release in MQVersion.
    pub version: i32,
    /// Number by which a response finds its request.
    pub opaque: i32,
    /// [`FLAG_RESPONSE`], [`FLAG_ONEWAY`].
    pub flag: i32,
    /// Error text, or a status name.
    pub remark: Option<ByteString>,
    /// The custom header, not yet decoded.
    pub fields: Fields,
    /// The body; empty when there is none.
    pub body: Bytes,
    /// How the header was serialised.
    pub serialize_type: SerializeType,
}

impl Command {
    /// True when this answers a request.
    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// True when no answer may be sent.
    pub fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }

    /// The custom header.
    ///
    /// # Errors
    /// [`FieldError`] naming the field that is missing or wrong.
    pub fn header<H: CommandHeader>(&self) -> Result<H, FieldError> {
        H::decode(&self.fields)
    }

    /// Decodes the header of a frame.
    ///
    /// # Errors
    /// [`FieldError`]; the connection should be closed, since the peer does not speak the protocol.
    pub fn decode(serialize_type: SerializeType, header: Bytes, body: Bytes) -> Result<Command, FieldError> {
        match serialize_type {
            SerializeType::Json => decode_json(&header, body),
            SerializeType::RocketMq => decode_binary(&header, body),
        }
    }
}

fn decode_json(header: &Bytes, body: Bytes) -> Result<Command, FieldError> {
    let mut s = Scanner::new(header);
    let share = Fields::new(SerializeType::Json, header.clone());
    let mut command = Command {
        code: 0,
        language: Language::OTHER,
        version: 0,
        opaque: 0,
        flag: 0,
        remark: None,
        fields: Fields::default(),
        body,
        serialize_type: SerializeType::Json,
    };
    s.expect(b'{', "expected '{'")?;
    let mut first = true;
    while s.next_item(b'}', first)? {
        first = false;
        let key = s.scalar()?;
        s.expect(b':', "expected ':' after a key")?;
        match key.as_ref() {
            b"code" => command.code = s.integer()?,
            b"version" => command.version = s.integer()?,
            b"opaque" => command.opaque = s.integer()?,
            b"flag" => command.flag = s.integer()?,
            b"language" => command.language = Language::from_name(&s.scalar()?),
            b"remark" => {
                let quoted = matches!(s.peek()?, Some(b'"' | b'\''));
                let text = s.scalar()?;
                command.remark = (quoted || text.as_ref() != b"null").then(|| share.share(text));
            }
            b"extFields" => {
                let is_object = s.peek()? == Some(b'{');
                let from = s.position();
                let plain = PlainObject::read(s.slice(from, header.len()));
                match &plain {
                    Some((_, len)) => s.advance(*len),
                    None => s.skip_value(0)?,
                }
                if is_object {
                    let block = header.slice_ref(s.slice(from, s.position()));
                    command.fields = Fields::of_object(block, plain.unwrap_or_default().0);
                }
            }
            _ => s.skip_value(0)?,
        }
    }
    Ok(command)
}

fn decode_binary(header: &Bytes, body: Bytes) -> Result<Command, FieldError> {
    let (fixed, rest) = header.split_first_chunk::<13>().ok_or(FieldError::Truncated("fixed part"))?;
    let [c0, c1, language, v0, v1, o0, o1, o2, o3, f0, f1, f2, f3] = *fixed;
    let (remark, rest) = block(rest, "remark")?;
    let (map, _) = block(rest, "extFields")?;
    let share = Fields::new(SerializeType::RocketMq, header.clone());
    Ok(Command {
        code: i16::from_be_bytes([c0, c1]).into(),
        language: Language(language),
        version: i16::from_be_bytes([v0, v1]).into(),
        opaque: i32::from_be_bytes([o0, o1, o2, o3]),
        flag: i32::from_be_bytes([f0, f1, f2, f3]),
        remark: (!remark.is_empty()).then(|| share.share(remark.into())),
        fields: Fields::new(SerializeType::RocketMq, header.slice_ref(map)),
        body,
        serialize_type: SerializeType::RocketMq,
    })
}

/// A block behind its four-byte length, and what follows.
fn block<'a>(bytes: &'a [u8], what: &'static str) -> Result<(&'a [u8], &'a [u8]), FieldError> {
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or(FieldError::Truncated(what))?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize).ok_or(FieldError::Truncated(what))
}

/// What is fixed in the header of an outgoing command.
#[derive(Clone, Copy, Debug)]
pub struct Preamble<'a> {
    /// Request or response code.
    pub code: i32,
    /// Release ordinal to announce.
    pub version: i32,
    /// Number of the request.
    pub opaque: i32,
    /// [`FLAG_RESPONSE`], [`FLAG_ONEWAY`].
    pub flag: i32,
    /// Error text or status name.
    pub remark: Option<&'a str>,
    /// How to serialise.
    pub serialize_type: SerializeType,
}

/// Appends a frame up to where its body begins; the caller appends or sends `body_len` bytes of body behind it.
///
/// # Errors
/// [`FieldError::Truncated`] when the header is longer than a frame can say; nothing is appended then.
pub fn encode<F>(out: &mut BytesMut, preamble: &Preamble<'_>, fields: F, body_len: usize) -> Result<(), FieldError>
where
    F: FnOnce(&mut FieldWriter<'_>),
{
    let start = out.len();
    out.put_bytes(0, PREFIX_LEN);
    match preamble.serialize_type {
        SerializeType::Json => encode_json(out, preamble, fields),
        SerializeType::RocketMq => encode_binary(out, preamble, fields),
    }
    let header_len = out.len() - start - PREFIX_LEN;
    let total = u32::try_from(4 + header_len + body_len).ok().filter(|_| header_len <= MAX_HEADER_LEN);
    let Some(total) = total else {
        out.truncate(start);
        return Err(FieldError::Truncated("header or body too long for a frame"));
    };
    let [_, h0, h1, h2] = u32::try_from(header_len).unwrap_or(0).to_be_bytes();
    let [t0, t1, t2, t3] = total.to_be_bytes();
    if let Some(prefix) = out.get_mut(start..start + PREFIX_LEN) {
        prefix.copy_from_slice(&[t0, t1, t2, t3, preamble.serialize_type.code(), h0, h1, h2]);
    }
    Ok(())
}

fn encode_json<F: FnOnce(&mut FieldWriter<'_>)>(out: &mut BytesMut, p: &Preamble<'_>, fields: F) {
    let mut digits = itoa::Buffer::new();
    let mut integer = |out: &mut BytesMut, key: &[u8], value: i32| {
        out.put_slice(key);
        out.put_slice(digits.format(value).as_bytes());
    };
    integer(out, b"{\"code\":", p.code);
    out.put_u8(b',');
    let mut writer = FieldWriter { out, serialize_type: SerializeType::Json, any: false };
    fields(&mut writer);
    if writer.any {
        out.put_slice(b"},");
    }
    integer(out, b"\"flag\":", p.flag);
    integer(out, b",\"language\":\"JAVA\",\"opaque\":", p.opaque);
    if let Some(remark) = p.remark {
        out.put_slice(b",\"remark\":");
        put_json_string(out, remark);
    }
    integer(out, b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":", p.version);
    out.put_u8(b'}');
}

fn encode_binary<F: FnOnce(&mut FieldWriter<'_>)>(out: &mut BytesMut, p: &Preamble<'_>, fields: F) {
    let low_half = |value: i32| {
        let [_, _, high, low] = value.to_be_bytes();
        [high, low]
    };
    out.put_slice(&low_half(p.code));
    out.put_u8(Language::JAVA.0);
    out.put_slice(&low_half(p.version));
    out.put_i32(p.opaque);
    out.put_i32(p.flag);
    let remark = p.remark.unwrap_or_default();
    out.put_u32(u32::try_from(remark.len()).unwrap_or(0));
    out.put_slice(remark.as_bytes());
    let at = out.len();
    out.put_u32(0);
    fields(&mut FieldWriter { out, serialize_type: SerializeType::RocketMq, any: false });
    let len = u32::try_from(out.len() - at - 4).unwrap_or(0);
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&len.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{DEFAULT_MAX_FRAME_LEN, layout};

    fn round_trip(serialize_type: SerializeType, remark: Option<&str>) -> (Command, Bytes) {
        let preamble = Preamble { code: 310, version: 493, opaque: -7, flag: 1, remark, serialize_type };
        let mut out = BytesMut::new();
        encode(&mut out, &preamble, |w| w.put("i", "KEYS\u{1}k\"\\\n\u{2}中"), 3).unwrap();
        out.put_slice(b"abc");
        let bytes = out.freeze();
        let at = layout(&bytes, DEFAULT_MAX_FRAME_LEN).unwrap().unwrap();
        assert_eq!(at.total_len, bytes.len());
        let command = Command::decode(at.serialize_type, bytes.slice(at.header), bytes.slice(at.body)).unwrap();
        (command, bytes)
    }

    #[test]
    fn both_serialisations_round_trip() {
        for serialize_type in [SerializeType::Json, SerializeType::RocketMq] {
            for remark in [None, Some("not \"good\"")] {
                let (c, _) = round_trip(serialize_type, remark);
                assert_eq!((c.code, c.version, c.opaque, c.flag), (310, 493, -7, 1));
                assert_eq!(c.remark.as_deref(), remark);
                assert_eq!(c.fields.get("i").unwrap().unwrap(), "KEYS\u{1}k\"\\\n\u{2}中");
                assert_eq!(c.body.as_ref(), b"abc");
            }
        }
    }

    #[test]
    fn json_members_stand_in_javas_order() {
        let (_, bytes) = round_trip(SerializeType::Json, None);
        let text = String::from_utf8_lossy(&bytes);
        let at = |key: &str| text.find(key).unwrap_or_else(|| panic!("{key} in {text}"));
        let keys =
            ["\"code\"", "\"extFields\"", "\"flag\"", "\"language\"", "\"opaque\"", "\"serializeType", "\"version\""];
        assert!(keys.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{text}");
    }

    #[test]
    fn reads_the_header_of_the_go_client() {
        let text =
            br#"{"code":105,"language":"GO","version":317,"opaque":1,"flag":0,"remark":"","extFields":{"topic":"T"}}"#;
        let c = Command::decode(SerializeType::Json, Bytes::from_static(text), Bytes::new()).unwrap();
        assert_eq!((c.code, c.language.name(), c.remark.as_deref()), (105, "GO", Some("")));
        assert_eq!(c.fields.get("topic").unwrap().unwrap(), "T");
    }

    #[test]
    fn refuses_what_is_no_header() {
        for text in ["", "[]", "{\"code\":\"x\"}", "{\"code\":99999999999}", "{\"extFields\":{\"a\":\"b\"", "{\"a\"}"] {
            let header = Bytes::copy_from_slice(text.as_bytes());
            assert!(Command::decode(SerializeType::Json, header, Bytes::new()).is_err(), "{text}");
        }
        let (_, bytes) = round_trip(SerializeType::RocketMq, Some("r"));
        let at = layout(&bytes, DEFAULT_MAX_FRAME_LEN).unwrap().unwrap();
        let header = bytes.slice(at.header);
        for cut in 0..header.len() {
            let part = Command::decode(SerializeType::RocketMq, header.slice(..cut), Bytes::new());
            assert!(part.is_err(), "cut at {cut}");
        }
    }
}
