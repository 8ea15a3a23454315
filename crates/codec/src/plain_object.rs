//! Where the strings of a plain JSON object lie: `{"key":"value",…}`, no white space, no value that is not a string. Headers
//! look like that, and are read in one pass then; everything else is left to [`crate::json_scanner`].

use crate::json_scanner::{ScanError, Scanner};
use crate::short_text;
use std::borrow::Cow;

/// Members at most, one bit each; an object with more is not called plain.
const MOST: usize = 24;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlainObject {
    places: [Place; MOST],
    len: u8,
    /// The bits of members whose values have escapes.
    escaped: u32,
}

/// A member, as positions in the text of the object; of key and value without their quotes.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: u16,
    key_end: u16,
    value: u16,
    value_end: u16,
}

impl PlainObject {
    /// Reads the object that `text` begins with, and its length; `None` when it is not a plain one.
    pub(crate) fn read(text: &[u8]) -> Option<(PlainObject, usize)> {
        let mut object = PlainObject::default();
        let mut at = 0;
        let mut before = b'{';
        loop {
            let [open, quote] = *text.get(at..)?.first_chunk::<2>()?;
            if (open, quote) != (before, b'"') {
                return None;
            }
            let key = at + 2;
            let key_end = key + end_of_run(text.get(key..)?)?;
            if text.get(key_end..)?.first_chunk::<3>()? != b"\":\"" {
                return None;
            }
            let value = key_end + 3;
            let mut value_end = value + end_of_run(text.get(value..)?)?;
            while text.get(value_end) == Some(&b'\\') {
                object.escaped |= 1 << object.len;
                let behind = value_end + 2;
                value_end = behind + end_of_run(text.get(behind..)?)?;
            }
            let short = |at| u16::try_from(at).ok();
            let place = Place {
                key: short(key)?,
                key_end: short(key_end)?,
                value: short(value)?,
                value_end: short(value_end)?,
            };
            *object.places.get_mut(usize::from(object.len))? = place;
            object.len += 1;
            at = value_end + 1;
            before = *text.get(at)?;
            if before == b'}' {
                return Some((object, at + 1));
            }
            if before != b',' {
                return None;
            }
        }
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The keys and values of `text`, which it was read from.
    pub(crate) fn pairs<'a>(
        &'a self,
        text: &'a [u8],
    ) -> impl Iterator<Item = Result<(&'a [u8], Cow<'a, [u8]>), ScanError>> {
        self.places.iter().take(self.len.into()).enumerate().map(|(number, place)| {
            let part = |from: u16, to: u16| text.get(from.into()..to.into()).unwrap_or_default();
            let value = match self.escaped >> number & 1 {
                0 => Cow::Borrowed(part(place.value, place.value_end)),
                _ => Scanner::new(part(place.value - 1, place.value_end + 1)).scalar()?,
            };
            Ok((part(place.key, place.key_end), value))
        })
    }
}

/// Where the next quote or backslash is.
fn end_of_run(text: &[u8]) -> Option<usize> {
    short_text::position(text, |eight| short_text::equal(eight, b'"') | short_text::equal(eight, b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Vec<(String, String)>, usize)> {
        let (object, len) = PlainObject::read(text.as_bytes())?;
        let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let pairs = object.pairs(text.as_bytes()).map(|pair| pair.unwrap());
        Some((pairs.map(|(key, value)| (text_of(key), text_of(&value))).collect(), len))
    }

    #[test]
    fn reads_what_headers_look_like() {
        let text = r#"{"a":"1","longer name":"","i":"k\u0001v\\\"}"},"flag":0}"#;
        let expect = [("a", "1"), ("longer name", ""), ("i", "k\u{1}v\\\"}")];
        let expect: Vec<_> = expect.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(read(text), Some((expect, text.find(r#","flag""#).unwrap())));
    }

    #[test]
    fn leaves_everything_else_alone() {
        let text = r#"{"a":"1","b":"2\"3"}"#;
        assert!(read(text).is_some());
        for len in 0..text.len() {
            assert_eq!(read(&text[..len]), None, "{len}");
        }
        for other in
            ["{}", "{\"a\":1}", "{ \"a\":\"1\"}", "{\"a\" :\"1\"}", "{'a':'1'}", "{\"a\":\"1\",}", "{\"a\\\"\":\"\"}"]
        {
            assert_eq!(read(other), None, "{other}");
        }
        let many: Vec<_> = (0..=MOST).map(|number| format!("\"{number}\":\"\"")).collect();
        assert!(read(&format!("{{{}}}", many[1..].join(","))).is_some());
        assert_eq!(read(&format!("{{{}}}", many.join(","))), None);
        assert_eq!(read(&format!("{{\"a\":\"{}\"}}", "x".repeat(70_000))), None);
    }
}
