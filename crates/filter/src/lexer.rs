//! Tokens of an expression. Of several that could begin at a place the longest counts.

use crate::error::ParseError;

/// What a token is; the numbers are those of RocketMQ's grammar, by which it orders what it expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    End = 0,
    Not = 8,
    And = 9,
    Or = 10,
    Between = 11,
    In = 12,
    True = 13,
    False = 14,
    Null = 15,
    Is = 16,
    Contains = 17,
    StartsWith = 18,
    EndsWith = 19,
    Decimal = 20,
    Floating = 21,
    Text = 23,
    Id = 24,
    Equal = 25,
    NotEqual = 26,
    Greater = 27,
    GreaterEqual = 28,
    Less = 29,
    LessEqual = 30,
    Open = 31,
    Comma = 32,
    Close = 33,
    Plus = 34,
    Minus = 35,
}

impl Kind {
    /// As messages name it. Source: SelectorParserConstants.TOKEN_IMAGE.
    pub(crate) fn image(self) -> &'static str {
        match self {
            Kind::End => "<EOF>",
            Kind::Not => "\"NOT\"",
            Kind::And => "\"AND\"",
            Kind::Or => "\"OR\"",
            Kind::Between => "\"BETWEEN\"",
            Kind::In => "\"IN\"",
            Kind::True => "\"TRUE\"",
            Kind::False => "\"FALSE\"",
            Kind::Null => "\"NULL\"",
            Kind::Is => "\"IS\"",
            Kind::Contains => "\"CONTAINS\"",
            Kind::StartsWith => "\"STARTSWITH\"",
            Kind::EndsWith => "\"ENDSWITH\"",
            Kind::Decimal => "<DECIMAL_LITERAL>",
            Kind::Floating => "<FLOATING_POINT_LITERAL>",
            Kind::Text => "<STRING_LITERAL>",
            Kind::Id => "<ID>",
            Kind::Equal => "\"=\"",
            Kind::NotEqual => "\"<>\"",
            Kind::Greater => "\">\"",
            Kind::GreaterEqual => "\">=\"",
            Kind::Less => "\"<\"",
            Kind::LessEqual => "\"<=\"",
            Kind::Open => "\"(\"",
            Kind::Comma => "\",\"",
            Kind::Close => "\")\"",
            Kind::Plus => "\"+\"",
            Kind::Minus => "\"-\"",
        }
    }
}

const KEYWORDS: [(&str, Kind); 12] = [
    ("NOT", Kind::Not),
    ("AND", Kind::And),
    ("OR", Kind::Or),
    ("BETWEEN", Kind::Between),
    ("IN", Kind::In),
    ("TRUE", Kind::True),
    ("FALSE", Kind::False),
    ("NULL", Kind::Null),
    ("IS", Kind::Is),
    ("CONTAINS", Kind::Contains),
    ("STARTSWITH", Kind::StartsWith),
    ("ENDSWITH", Kind::EndsWith),
];

/// A token: what it is and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// First byte.
    pub(crate) begin: usize,
    /// One behind the last byte.
    pub(crate) end: usize,
}

/// The text, and how far it has been read.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0 }
    }

    /// Up to where it has been read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn image(&self, token: Token) -> &'a str {
        self.text.get(token.begin..token.end).unwrap_or_default()
    }

    /// Line and column, both from 1 on, as messages name a token's place; the end's is that of the last character.
    pub(crate) fn place(&self, token: Token) -> (usize, usize) {
        match token.kind {
            Kind::End => place(self.text, self.text.char_indices().next_back().map_or(0, |(at, _)| at)),
            _ => place(self.text, token.begin),
        }
    }

    /// The next token; [`Kind::End`] at the end, as often as it is asked for.
    /// # Errors
    /// [`ParseError::Lexical`].
    pub(crate) fn next(&mut self) -> Result<Token, ParseError> {
        self.skip_blanks();
        let begin = self.at;
        let rest = self.text.get(begin..).unwrap_or_default();
        let Some(first) = rest.bytes().next() else {
            return Ok(Token { kind: Kind::End, begin, end: begin });
        };
        let found = match first {
            b'=' => Some((Kind::Equal, 1)),
            b'<' if rest.starts_with("<>") => Some((Kind::NotEqual, 2)),
            b'<' if rest.starts_with("<=") => Some((Kind::LessEqual, 2)),
            b'<' => Some((Kind::Less, 1)),
            b'>' if rest.starts_with(">=") => Some((Kind::GreaterEqual, 2)),
            b'>' => Some((Kind::Greater, 1)),
            b'(' => Some((Kind::Open, 1)),
            b',' => Some((Kind::Comma, 1)),
            b')' => Some((Kind::Close, 1)),
            b'+' => Some((Kind::Plus, 1)),
            b'-' => Some((Kind::Minus, 1)),
            b'\'' => text_len(rest).map(|len| (Kind::Text, len)),
            b'0'..=b'9' | b'.' => number(rest),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' => Some(word(rest)),
            _ => None,
        };
        match found {
            Some((kind, len)) => {
                self.at = begin + len;
                Ok(Token { kind, begin, end: self.at })
            }
            None => Err(lexical_error(self.text, begin)),
        }
    }

    /// Blanks and comments. A comment that does not end is none.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let len = match rest.as_bytes() {
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0C, ..] => Some(1),
                [b'-', b'-', ..] => rest.find(['\n', '\r']).map(|at| at + 1),
                [b'/', b'*', ..] => rest.get(2..).and_then(|rest| rest.find("*/")).map(|at| at + 4),
                _ => None,
            };
            match len {
                Some(len) => self.at += len,
                None => return,
            }
        }
    }
}

/// Bytes of the text literal at the start: up to the last quote that may end it.
fn text_len(rest: &str) -> Option<usize> {
    let mut end = None;
    let mut at = 1;
    while let Some(quote) = rest.get(at..).and_then(|rest| rest.find('\'')) {
        at += quote + 1;
        end = Some(at);
        if rest.as_bytes().get(at) != Some(&b'\'') {
            break;
        }
        at += 1;
    }
    end
}

/// What a text literal says: two quotes within are one.
pub(crate) fn text_value(image: &str) -> String {
    image.get(1..image.len().saturating_sub(1)).unwrap_or_default().replace("''", "'")
}

fn number(rest: &str) -> Option<(Kind, usize)> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let mut end = whole;
    let mut floating = false;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        if whole + fraction == 0 {
            return None;
        }
        end += 1 + fraction;
        floating = true;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            return Some((Kind::Floating, end + 1 + sign + exponent));
        }
    }
    if floating {
        return Some((Kind::Floating, end));
    }
    if bytes.first() == Some(&b'0') {
        return Some((Kind::Decimal, 1));
    }
    let suffix = usize::from(matches!(bytes.get(end), Some(b'l' | b'L')));
    Some((Kind::Decimal, end + suffix))
}

fn word(rest: &str) -> (Kind, usize) {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    let len = rest.bytes().take_while(|byte| is_part(byte)).count();
    let word = rest.get(..len).unwrap_or_default();
    let keyword = KEYWORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    (keyword.map_or(Kind::Id, |(_, kind)| *kind), len)
}

/// Line and column of the character at a byte, counted as JavaCC's SimpleCharStream does: in UTF-16 units, tabs to the
/// next multiple of eight.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let (mut line, mut column) = (1, 0);
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        if previous == '\n' || (previous == '\r' && c != '\n') {
            (line, column) = (line + 1, 0);
        }
        column = if c == '\t' { (column / 8 + 1) * 8 } else { column + 1 };
        if at >= byte {
            break;
        }
        column += c.len_utf16() - 1;
        previous = c;
    }
    (line, column)
}

/// What is no token, as JavaCC's TokenMgrError says it.
fn lexical_error(text: &str, begin: usize) -> ParseError {
    let rest = text.get(begin..).unwrap_or_default();
    let to_end = rest.starts_with('\'') || rest.starts_with("/*");
    // How much was read before it was clear that no token begins here.
    let read: usize = match rest.as_bytes() {
        _ if to_end => rest.len(),
        [b'/' | b'.', ..] => rest.chars().take(2).map(char::len_utf8).sum(),
        _ => rest.chars().next().map_or(0, char::len_utf8),
    };
    let image = rest.get(..read).unwrap_or_default();
    let last = image.chars().next_back().unwrap_or_default();
    let (mut line, mut column) = place(text, begin + read - last.len_utf8());
    let (encountered, after) = if to_end || (read == rest.len() && last.len_utf16() == 1) {
        (line, column) = if matches!(last, '\n' | '\r') { (line + 1, 0) } else { (line, column + last.len_utf16()) };
        ("<EOF> ".to_owned(), if image.len() == last.len_utf8() { "" } else { image })
    } else {
        let unit = last.encode_utf16(&mut [0; 2]).first().copied().unwrap_or_default();
        let shown = escaped_units([unit].into_iter());
        (format!("\"{shown}\" ({unit}), "), image.get(..read - last.len_utf8()).unwrap_or_default())
    };
    ParseError::Lexical(format!(
        "Lexical error at line {line}, column {column}.  Encountered: {encountered}after : \"{}\"",
        escaped(after)
    ))
}

/// As JavaCC shows what it read.
pub(crate) fn escaped(text: &str) -> String {
    escaped_units(text.encode_utf16())
}

fn escaped_units(units: impl Iterator<Item = u16>) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for unit in units {
        match unit {
            0 => {}
            0x08 => out.push_str("\\b"),
            0x09 => out.push_str("\\t"),
            0x0A => out.push_str("\\n"),
            0x0C => out.push_str("\\f"),
            0x0D => out.push_str("\\r"),
            0x22 => out.push_str("\\\""),
            0x27 => out.push_str("\\'"),
            0x5C => out.push_str("\\\\"),
            0x20..=0x7E => out.extend(char::from_u32(u32::from(unit))),
            _ => write!(out, "\\u{unit:04x}").unwrap_or_default(),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> String {
        let mut lexer = Lexer::new(text);
        let mut out = Vec::new();
        loop {
            match lexer.next() {
                Ok(token) if token.kind == Kind::End => return out.join(" "),
                Ok(token) => out.push(format!("{:?}:{}", token.kind, lexer.image(token))),
                Err(error) => {
                    out.push(error.to_string());
                    return out.join(" ");
                }
            }
        }
    }

    #[test]
    fn the_longest_counts() {
        for (text, expect) in [
            ("1 10L 0L 007", "Decimal:1 Decimal:10L Decimal:0 Id:L Decimal:0 Decimal:0 Decimal:7"),
            (
                "1. .5 5e1 5E-1 00.5 5e x",
                "Floating:1. Floating:.5 Floating:5e1 Floating:5E-1 Floating:00.5 Decimal:5 Id:e Id:x",
            ),
            ("1..2", "Floating:1. Floating:.2"),
            ("'a''b' ''", "Text:'a''b' Text:''"),
            (
                "a<>b<=c<d>=e>f",
                "Id:a NotEqual:<> Id:b LessEqual:<= Id:c Less:< Id:d GreaterEqual:>= Id:e Greater:> Id:f",
            ),
            ("not NULLs iS $_1", "Not:not Id:NULLs Is:iS Id:$_1"),
            ("a -- b\nc --d", "Id:a Id:c Minus:- Minus:- Id:d"),
            ("a/**/b/* * / **/c", "Id:a Id:b Id:c"),
        ] {
            assert_eq!(tokens(text), expect, "{text}");
        }
    }

    #[test]
    fn what_is_no_token() {
        let begins = "org.apache.rocketmq.filter.parser.TokenMgrError: Lexical error at line";
        for (text, expect) in [
            ("@ a", " 1, column 1.  Encountered: \"@\" (64), after : \"\""),
            ("\n\t@", " 2, column 10.  Encountered: <EOF> after : \"\""),
            ("'ab", " 1, column 4.  Encountered: <EOF> after : \"\\'ab\""),
            ("/x y", " 1, column 2.  Encountered: \"x\" (120), after : \"/\""),
            ("\u{fc} ", " 1, column 1.  Encountered: \"\\u00fc\" (252), after : \"\""),
        ] {
            assert_eq!(tokens(text), format!("{begins}{expect}"), "{text}");
        }
        assert!(tokens("'a''").starts_with("Text:'a'"));
    }
}
