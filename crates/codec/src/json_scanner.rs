//! A scanner for the JSON that fastjson reads: besides standard JSON it takes single quotes, unquoted names, numbers
//! and objects as keys, trailing commas and comments. Used for command headers and, through [`crate::json`], for bodies.

use crate::short_text;
use std::borrow::Cow;

/// Objects and arrays may nest this deep; beyond it the text is refused, so that no input can exhaust the stack.
pub(crate) const MAX_DEPTH: usize = 64;

/// Why text is not JSON in the dialect of fastjson.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct ScanError {
    /// What was wrong or missing.
    pub what: &'static str,
    /// Byte position in the text.
    pub at: usize,
}

pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn error<T>(&self, what: &'static str) -> Result<T, ScanError> {
        Err(ScanError { what, at: self.at })
    }

    pub(crate) fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        self.text.get(from..to).unwrap_or_default()
    }

    /// The next byte that is neither white space nor comment, not consumed.
    pub(crate) fn peek(&mut self) -> Result<Option<u8>, ScanError> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\t' | b'\r' | b'\n' | 0x0C | 0x08) => self.at += 1,
                Some(b'/') => self.comment()?,
                other => return Ok(other.copied()),
            }
        }
    }

    pub(crate) fn eat(&mut self, byte: u8) -> Result<bool, ScanError> {
        let found = self.peek()? == Some(byte);
        if found {
            self.at += 1;
        }
        Ok(found)
    }

    pub(crate) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), ScanError> {
        if self.eat(byte)? { Ok(()) } else { self.error(what) }
    }

    fn comment(&mut self) -> Result<(), ScanError> {
        let rest = self.slice(self.at, self.text.len());
        let len = match rest.get(1) {
            Some(b'/') => rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()),
            Some(b'*') => match rest.get(2..).unwrap_or_default().windows(2).position(|w| w == b"*/") {
                Some(end) => end + 4,
                None => return self.error("comment without end"),
            },
            _ => return self.error("unexpected '/'"),
        };
        self.at += len;
        Ok(())
    }

    /// Steps to the next member of an object or array that ends with `close`: false at its end. `first` tells whether
    /// a comma is due; superfluous commas are skipped as fastjson does.
    pub(crate) fn next_item(&mut self, close: u8, first: bool) -> Result<bool, ScanError> {
        // What nearly every header consists of.
        if !first && self.text.get(self.at..self.at + 2) == Some(b",\"") {
            self.at += 1;
            return Ok(true);
        }
        if self.eat(close)? {
            return Ok(false);
        }
        if !first {
            self.expect(b',', "expected ',' or the end of the object or array")?;
        }
        while self.eat(b',')? {}
        Ok(!self.eat(close)?)
    }

    /// A quoted string, or an unquoted name, number or word; the value of the characters.
    pub(crate) fn scalar(&mut self) -> Result<Cow<'a, [u8]>, ScanError> {
        match self.peek()? {
            Some(quote @ (b'"' | b'\'')) => self.quoted(quote),
            Some(_) => {
                let word = self.word();
                if word.is_empty() { self.error("expected a value") } else { Ok(Cow::Borrowed(word)) }
            }
            None => self.error("text ends early"),
        }
    }

    /// A decimal integer that fits 32 bits.
    pub(crate) fn integer(&mut self) -> Result<i32, ScanError> {
        let word = self.scalar()?;
        let number = short_text::decimal(&word).and_then(|number| number.try_into().ok());
        match number.or_else(|| std::str::from_utf8(&word).ok()?.parse().ok()) {
            Some(value) => Ok(value),
            None => self.error("expected a 32-bit integer"),
        }
    }

    /// Passes over `len` bytes.
    pub(crate) fn advance(&mut self, len: usize) {
        self.at += len;
    }

    /// Characters up to the next delimiter.
    pub(crate) fn word(&mut self) -> &'a [u8] {
        let start = self.at;
        while let Some(&b) = self.text.get(self.at) {
            if matches!(b, b',' | b':' | b'}' | b']' | b'{' | b'[' | b'"' | b'\'' | b'/') || b.is_ascii_whitespace() {
                break;
            }
            self.at += 1;
        }
        self.slice(start, self.at)
    }

    fn quoted(&mut self, quote: u8) -> Result<Cow<'a, [u8]>, ScanError> {
        self.at += 1;
        let plain = self.run(quote)?;
        if self.text.get(self.at) == Some(&quote) {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        // Escapes become shorter; what is left of the text, or usually of the string, is enough.
        let rest = self.slice(self.at, self.text.len());
        let mut out = Vec::with_capacity(plain.len() + short_text::find(quote, rest).unwrap_or(0));
        out.extend_from_slice(plain);
        while self.text.get(self.at) == Some(&b'\\') {
            self.at += 1;
            self.escape(&mut out)?;
            out.extend_from_slice(self.run(quote)?);
        }
        self.at += 1;
        Ok(Cow::Owned(out))
    }

    /// The characters up to the end of the string or the next escape, which is not consumed.
    fn run(&mut self, quote: u8) -> Result<&'a [u8], ScanError> {
        let rest = self.slice(self.at, self.text.len());
        let end = short_text::position(rest, |eight| short_text::equal(eight, quote) | short_text::equal(eight, b'\\'));
        let Some((plain, _)) = end.and_then(|len| rest.split_at_checked(len)) else {
            self.at = self.text.len();
            return self.error("string without end");
        };
        self.at += plain.len();
        Ok(plain)
    }

    /// Passes over a string; its escapes are looked at by whoever reads it.
    fn skip_quoted(&mut self, quote: u8) -> Result<(), ScanError> {
        self.at += 1;
        loop {
            self.run(quote)?;
            let is_end = self.text.get(self.at) == Some(&quote);
            self.at += if is_end { 1 } else { 2 };
            if is_end {
                return Ok(());
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), ScanError> {
        let Some(&b) = self.text.get(self.at) else { return self.error("string without end") };
        self.at += 1;
        match b {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(0x08),
            b'f' | b'F' => out.push(0x0C),
            b'v' => out.push(0x0B),
            digit @ b'0'..=b'7' => out.push(digit - b'0'),
            b'x' => {
                let code = self.hex(2)?;
                push_char(out, code);
            }
            b'u' => {
                let mut code = self.hex(4)?;
                if (0xD800..0xDC00).contains(&code) && self.slice(self.at, self.at + 2) == b"\\u" {
                    self.at += 2;
                    let low = self.hex(4)?;
                    code = if (0xDC00..0xE000).contains(&low) {
                        0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                    } else {
                        push_char(out, code);
                        low
                    };
                }
                push_char(out, code);
            }
            b'"' | b'\'' | b'\\' | b'/' => out.push(b),
            _ => return self.error("unknown escape"),
        }
        Ok(())
    }

    fn hex(&mut self, digits: usize) -> Result<u32, ScanError> {
        let digit = |b: &u8| char::from(*b).to_digit(16);
        let value = self
            .text
            .get(self.at..self.at + digits)
            .and_then(|text| text.iter().try_fold(0, |value, b| Some(value * 16 + digit(b)?)));
        let Some(value) = value else { return self.error("bad hexadecimal escape") };
        self.at += digits;
        Ok(value)
    }

    /// Passes over one value of any kind.
    pub(crate) fn skip_value(&mut self, depth: usize) -> Result<(), ScanError> {
        let close = match self.peek()? {
            Some(b'{') => b'}',
            Some(b'[') => b']',
            Some(quote @ (b'"' | b'\'')) => return self.skip_quoted(quote),
            _ => return self.scalar().map(drop),
        };
        if depth >= MAX_DEPTH {
            return self.error("nested too deep");
        }
        self.at += 1;
        let mut first = true;
        while self.next_item(close, first)? {
            first = false;
            self.skip_value(depth + 1)?;
            if close == b'}' {
                self.expect(b':', "expected ':' after a key")?;
                self.skip_value(depth + 1)?;
            }
        }
        Ok(())
    }
}

fn push_char(out: &mut Vec<u8>, code: u32) {
    let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
