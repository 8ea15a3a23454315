//! extFields: the custom header of a command, as text pairs. Decoded straight from the frame into typed headers
//! (no map in between), encoded straight into the outgoing frame, in both serialisations.

use crate::frame::SerializeType;
use crate::json_scanner::{ScanError, Scanner};
use crate::plain_object::PlainObject;
use crate::short_text;
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use std::borrow::Cow;

/// Why a command's header could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A field that the request needs is absent. The wording is Java's.
    #[error("the custom field <{0}> is null")]
    Missing(&'static str),
    /// A field does not parse as its type.
    #[error("the custom field <{field}> holds \"{value}\", which is not {expected}")]
    Invalid {
        /// Name of the field on the wire.
        field: &'static str,
        /// What was sent, shortened.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// The JSON of the header is broken.
    #[error("header is not JSON: {0}")]
    Json(#[from] ScanError),
    /// A length in a ROCKETMQ header points beyond its end.
    #[error("header ends early: {0}")]
    Truncated(&'static str),
}

/// The undecoded extFields of one command: a slice of its frame, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    serialize_type: SerializeType,
    block: Bytes,
    /// Where the pairs lie in `block`, when that is known; else it is empty.
    plain: PlainObject,
}

impl PartialEq for Fields {
    fn eq(&self, other: &Fields) -> bool {
        self.serialize_type == other.serialize_type && self.block == other.block
    }
}

impl Eq for Fields {}

/// One value as it stands in the frame, or unescaped from it.
pub type RawValue<'a> = Cow<'a, [u8]>;

impl Fields {
    /// `block` is the JSON object of extFields, or the map block of a ROCKETMQ header; empty when there is none.
    pub fn new(serialize_type: SerializeType, block: Bytes) -> Fields {
        Fields { serialize_type, block, plain: PlainObject::default() }
    }

    /// The JSON object `block`, which `plain` was read from, if it is a plain one.
    pub(crate) fn of_object(block: Bytes, plain: PlainObject) -> Fields {
        Fields { serialize_type: SerializeType::Json, block, plain }
    }

    /// Fields made of pairs, for tests and for requests without a typed header.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Fields {
        let mut block = BytesMut::new();
        let mut writer = FieldWriter { out: &mut block, serialize_type: SerializeType::RocketMq, any: false };
        pairs.into_iter().for_each(|(key, value)| writer.put(key, value));
        Fields::new(SerializeType::RocketMq, block.freeze())
    }

    /// The fields of a typed header.
    pub fn of(header: &impl CommandHeader) -> Fields {
        let mut block = BytesMut::new();
        header.encode(&mut FieldWriter { out: &mut block, serialize_type: SerializeType::RocketMq, any: false });
        Fields::new(SerializeType::RocketMq, block.freeze())
    }

    /// Calls `each` with every key and value, in wire order; a `null` value is left out.
    ///
    /// # Errors
    /// [`FieldError`] of the frame, or the one that `each` returns.
    pub fn for_each<'a, F>(&'a self, mut each: F) -> Result<(), FieldError>
    where
        F: FnMut(&[u8], RawValue<'a>) -> Result<(), FieldError>,
    {
        match self.serialize_type {
            SerializeType::Json => self.each_json(&mut each),
            SerializeType::RocketMq => self.each_binary(&mut each),
        }
    }

    fn each_json<'a, F>(&'a self, each: &mut F) -> Result<(), FieldError>
    where
        F: FnMut(&[u8], RawValue<'a>) -> Result<(), FieldError>,
    {
        if self.block.is_empty() {
            return Ok(());
        }
        if !self.plain.is_empty() {
            return self.plain.pairs(&self.block).try_for_each(|pair| {
                let (key, value) = pair?;
                each(key, value)
            });
        }
        let mut s = Scanner::new(&self.block);
        s.expect(b'{', "expected '{'")?;
        let mut first = true;
        while s.next_item(b'}', first)? {
            first = false;
            let key = s.scalar()?;
            s.expect(b':', "expected ':' after a key")?;
            match s.peek()? {
                Some(b'{' | b'[') => {
                    let from = s.position();
                    s.skip_value(0)?;
                    each(&key, Cow::Borrowed(s.slice(from, s.position())))?;
                }
                Some(b'"' | b'\'') => each(&key, s.scalar()?)?,
                _ => {
                    let word = s.scalar()?;
                    if word.as_ref() != b"null" {
                        each(&key, word)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn each_binary<'a, F>(&'a self, each: &mut F) -> Result<(), FieldError>
    where
        F: FnMut(&[u8], RawValue<'a>) -> Result<(), FieldError>,
    {
        let mut rest: &[u8] = &self.block;
        while !rest.is_empty() {
            let (key_len, tail) = rest.split_first_chunk::<2>().ok_or(FieldError::Truncated("key length"))?;
            let key_len = usize::from(u16::from_be_bytes(*key_len));
            let (key, tail) = tail.split_at_checked(key_len).ok_or(FieldError::Truncated("key"))?;
            let (value_len, tail) = tail.split_first_chunk::<4>().ok_or(FieldError::Truncated("value length"))?;
            let value_len = u32::from_be_bytes(*value_len) as usize;
            let (value, tail) = tail.split_at_checked(value_len).ok_or(FieldError::Truncated("value"))?;
            // Java reads a string of length 0 as null.
            if value_len > 0 {
                each(key, Cow::Borrowed(value))?;
            }
            rest = tail;
        }
        Ok(())
    }

    /// The value of one field.
    ///
    /// # Errors
    /// As [`Fields::for_each`].
    pub fn get(&self, key: &str) -> Result<Option<ByteString>, FieldError> {
        let mut found = None;
        self.for_each(|k, value| {
            if k == key.as_bytes() {
                found = Some(self.share(value));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// All pairs, in wire order.
    ///
    /// # Errors
    /// As [`Fields::for_each`].
    pub fn pairs(&self) -> Result<Vec<(String, ByteString)>, FieldError> {
        let mut pairs = Vec::new();
        self.for_each(|key, value| {
            pairs.push((String::from_utf8_lossy(key).into_owned(), self.share(value)));
            Ok(())
        })?;
        Ok(pairs)
    }

    /// Text of a value: shares the frame's memory when it stands there as it is. Bytes that are not UTF-8 become
    /// U+FFFD, as in Java's decoder.
    pub fn share(&self, value: RawValue<'_>) -> ByteString {
        let lossy = |bytes: &[u8]| ByteString::from(String::from_utf8_lossy(bytes).into_owned());
        match value {
            Cow::Borrowed(part) => ByteString::try_from(self.block.slice_ref(part)).unwrap_or_else(|_| lossy(part)),
            Cow::Owned(part) => String::from_utf8(part).map_or_else(|error| lossy(error.as_bytes()), ByteString::from),
        }
    }
}

/// A type that a header field can have.
pub trait FieldType: Sized {
    /// What a wrong value is told to have been expected.
    const EXPECTED: &'static str;
    /// Reads a value; `None` when it is not of this type.
    fn read(value: RawValue<'_>, owner: &Fields) -> Option<Self>;
    /// The value of an absent field.
    ///
    /// # Errors
    /// [`FieldError::Missing`] when the field is required.
    fn absent(field: &'static str) -> Result<Self, FieldError> {
        Err(FieldError::Missing(field))
    }
    /// Writes the field, unless it is an absent option.
    fn write(&self, field: &'static str, out: &mut FieldWriter<'_>);
}

impl FieldType for ByteString {
    const EXPECTED: &'static str = "text";
    fn read(value: RawValue<'_>, owner: &Fields) -> Option<Self> {
        Some(owner.share(value))
    }
    fn write(&self, field: &'static str, out: &mut FieldWriter<'_>) {
        out.put(field, self);
    }
}

macro_rules! integer_field {
    ($($t:ty: $expected:literal),*) => {$(
        impl FieldType for $t {
            const EXPECTED: &'static str = $expected;
            fn read(value: RawValue<'_>, _: &Fields) -> Option<Self> {
                short_text::decimal(&value)
                    .and_then(|number| number.try_into().ok())
                    .or_else(|| std::str::from_utf8(&value).ok()?.trim().parse().ok())
            }
            fn write(&self, field: &'static str, out: &mut FieldWriter<'_>) {
                out.put(field, itoa::Buffer::new().format(*self));
            }
        }
    )*};
}
integer_field!(i32: "a 32-bit integer", i64: "a 64-bit integer");

impl FieldType for bool {
    const EXPECTED: &'static str = "true or false";
    /// As `Boolean.parseBoolean`: whatever is not "true" is false.
    fn read(value: RawValue<'_>, _: &Fields) -> Option<Self> {
        Some(value.eq_ignore_ascii_case(b"true"))
    }
    fn write(&self, field: &'static str, out: &mut FieldWriter<'_>) {
        out.put(field, if *self { "true" } else { "false" });
    }
}

impl<T: FieldType> FieldType for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn read(value: RawValue<'_>, owner: &Fields) -> Option<Self> {
        T::read(value, owner).map(Some)
    }
    fn absent(_: &'static str) -> Result<Self, FieldError> {
        Ok(None)
    }
    fn write(&self, field: &'static str, out: &mut FieldWriter<'_>) {
        if let Some(value) = self {
            value.write(field, out);
        }
    }
}

/// Reads one field's value for the [`command_header!`](crate::command_header) macro.
///
/// # Errors
/// [`FieldError::Invalid`].
pub fn read_field<T: FieldType>(field: &'static str, value: RawValue<'_>, owner: &Fields) -> Result<T, FieldError> {
    let kept = match &value {
        Cow::Borrowed(text) => *text,
        Cow::Owned(_) => b"(escaped)".as_slice(),
    };
    T::read(value, owner).ok_or_else(|| FieldError::Invalid {
        field,
        value: String::from_utf8_lossy(kept).chars().take(64).collect(),
        expected: T::EXPECTED,
    })
}

/// The typed custom header of one request or response.
pub trait CommandHeader: Sized {
    /// Reads the header from the fields of a command; fields it does not know are passed over.
    ///
    /// # Errors
    /// [`FieldError`] naming the field.
    fn decode(fields: &Fields) -> Result<Self, FieldError>;
    /// Writes all present fields.
    fn encode(&self, out: &mut FieldWriter<'_>);
}

/// A request or response without custom header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoHeader;

impl CommandHeader for NoHeader {
    fn decode(_: &Fields) -> Result<Self, FieldError> {
        Ok(NoHeader)
    }
    fn encode(&self, _: &mut FieldWriter<'_>) {}
}

/// Appends fields to a frame that is being encoded.
pub struct FieldWriter<'a> {
    pub(crate) out: &'a mut BytesMut,
    pub(crate) serialize_type: SerializeType,
    pub(crate) any: bool,
}

impl FieldWriter<'_> {
    /// Appends one field.
    pub fn put(&mut self, key: &str, value: &str) {
        match self.serialize_type {
            SerializeType::Json => {
                self.out.reserve(key.len() + value.len() + 16);
                self.out.put_slice(if self.any { b"," } else { b"\"extFields\":{" });
                put_json_string(self.out, key);
                self.out.put_u8(b':');
                put_json_string(self.out, value);
            }
            SerializeType::RocketMq => {
                self.out.put_u16(u16::try_from(key.len()).expect("field names are short constants"));
                self.out.put_slice(key.as_bytes());
                self.out.put_u32(u32::try_from(value.len()).expect("values are bounded by the frame length"));
                self.out.put_slice(value.as_bytes());
            }
        }
        self.any = true;
    }
}

/// Appends a quoted JSON string.
pub(crate) fn put_json_string(out: &mut BytesMut, text: &str) {
    out.put_u8(b'"');
    let mut rest = text.as_bytes();
    let is_special =
        |eight| short_text::below(eight, 0x20) | short_text::equal(eight, b'"') | short_text::equal(eight, b'\\');
    while let Some(stop) = short_text::position(rest, is_special) {
        let (plain, special) = rest.split_at(stop);
        out.put_slice(plain);
        let Some((&special, tail)) = special.split_first() else { break };
        match special {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            _ => {
                const HEX: [u8; 16] = *b"0123456789ABCDEF";
                let digit = |n: u8| HEX.get(usize::from(n & 15)).copied().unwrap_or(b'0');
                out.put_slice(&[b'\\', b'u', b'0', b'0', digit(special >> 4), digit(special)]);
            }
        }
        rest = tail;
    }
    out.put_slice(rest);
    out.put_u8(b'"');
}

/// Declares a typed header: per field its documentation, its name on the wire, its name here and its type. A field
/// whose type is not an `Option` is required unless it has a default.
///
/// ```
/// codec::command_header! {
///     /// Asks for the offset of a queue.
///     pub struct ExampleRequestHeader {
///         /// Topic.
///         "topic" topic: bytestring::ByteString,
///         /// Queue number.
///         "queueId" queue_id: i32 = 0,
///         /// Milliseconds.
///         "timestamp" timestamp: Option<i64>,
///     }
/// }
/// ```
#[macro_export]
macro_rules! command_header {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$fmeta:meta])* $key:literal $field:ident : $t:ty $(= $default:expr)?),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$fmeta])* #[doc = concat!("`", $key, "` on the wire.")] pub $field: $t,)* }

        impl $crate::fields::CommandHeader for $name {
            fn decode(fields: &$crate::fields::Fields) -> Result<Self, $crate::fields::FieldError> {
                $(let mut $field: Option<$t> = None;)*
                fields.for_each(|key, value| {
                    $(if key == $key.as_bytes() {
                        $field = Some($crate::fields::read_field($key, value, fields)?);
                        return Ok(());
                    })*
                    let _ = (key, value);
                    Ok(())
                })?;
                Ok($name { $($field: match $field {
                    Some(value) => value,
                    None => $crate::command_header!(@absent $t, $key $(, $default)?),
                },)* })
            }
            fn encode(&self, out: &mut $crate::fields::FieldWriter<'_>) {
                $(<$t as $crate::fields::FieldType>::write(&self.$field, $key, out);)*
                let _ = out;
            }
        }
    };
    (@absent $t:ty, $key:literal, $default:expr) => { $default };
    (@absent $t:ty, $key:literal) => { <$t as $crate::fields::FieldType>::absent($key)? };
}

#[cfg(test)]
mod tests {
    use super::*;

    command_header! {
        /// For tests.
        pub struct Sample {
            /// Text.
            "topic" topic: ByteString,
            /// Number.
            "queueId" queue_id: i32,
            /// With a default.
            "batch" batch: bool = false,
            /// Optional.
            "big" big: Option<i64>,
        }
    }

    fn json(text: &'static str) -> Fields {
        Fields::new(SerializeType::Json, Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn white_space_around_numbers_is_nothing() {
        for text in ["7 ", " 7", "7\t", "+7", "007"] {
            let fields = Fields::from_pairs([("topic", "T"), ("queueId", text), ("big", text)]);
            let got = Sample::decode(&fields).unwrap();
            assert_eq!((got.queue_id, got.big), (7, Some(7)), "{text:?}");
        }
        for text in ["7 7", "7x", "2147483648", ""] {
            let fields = Fields::from_pairs([("topic", "T"), ("queueId", text)]);
            assert!(Sample::decode(&fields).is_err(), "{text:?}");
        }
    }

    #[test]
    fn json_fields_of_all_kinds() {
        let got = Sample::decode(&json(r#"{"topic":"a\u0001b",'queueId':"7",big:12,"x":{"y":[1]},"batch":null}"#));
        assert_eq!(got.unwrap(), Sample { topic: "a\u{1}b".into(), queue_id: 7, batch: false, big: Some(12) });
    }

    #[test]
    fn names_the_field_that_is_missing_or_wrong() {
        let error = |text| Sample::decode(&json(text)).unwrap_err().to_string();
        assert_eq!(error(r#"{"topic":"t"}"#), "the custom field <queueId> is null");
        assert_eq!(
            error(r#"{"topic":"t","queueId":"x"}"#),
            r#"the custom field <queueId> holds "x", which is not a 32-bit integer"#
        );
    }

    #[test]
    fn binary_lengths_are_checked() {
        let good = Fields::from_pairs([("topic", "t"), ("queueId", "1")]);
        assert_eq!(Sample::decode(&good).unwrap().queue_id, 1);
        for cut in 1..good.block.len() {
            let cut_fields = Fields::new(SerializeType::RocketMq, good.block.slice(..cut));
            assert!(Sample::decode(&cut_fields).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_kept_readable() {
        let fields = Fields::new(SerializeType::Json, Bytes::from_static(b"{\"topic\":\"a\xFFb\"}"));
        assert_eq!(fields.get("topic").unwrap().unwrap(), "a\u{FFFD}b");
    }
}
