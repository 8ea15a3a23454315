//! Lines and escapes of `java.util.Properties`.

/// What a text is made of, in order; the `raw` parts put together are the text.
pub(super) enum LogicalLine<'a> {
    /// `key = value`, continuation lines joined, escapes still in place.
    Entry { content: String, raw: &'a str, number: usize },
    /// A comment or an empty line.
    Other { raw: &'a str },
}

/// Splits text into logical lines: a backslash at the end of an entry's line continues it, without the white space the
/// next line begins with. Comments are not continued. Line ends are `\n`, `\r\n` and `\r`.
pub(super) fn logical_lines(text: &str) -> Vec<LogicalLine<'_>> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut number = 1;
    while !rest.is_empty() {
        let start = rest;
        let (first, after) = next_line(rest);
        rest = after;
        let trimmed = first.trim_start_matches(is_space);
        if trimmed.is_empty() || trimmed.starts_with(['#', '!']) {
            out.push(LogicalLine::Other { raw: consumed(start, rest) });
            number += 1;
            continue;
        }
        let begun_at = number;
        number += 1;
        let mut content = trimmed.to_owned();
        while continues(&content) {
            content.pop();
            if rest.is_empty() {
                break;
            }
            let (line, after) = next_line(rest);
            rest = after;
            number += 1;
            content.push_str(line.trim_start_matches(is_space));
        }
        out.push(LogicalLine::Entry { content, raw: consumed(start, rest), number: begun_at });
    }
    out
}

/// Key and value of an entry: the key ends at the first unescaped `=`, `:` or white space.
pub(super) fn split(content: &str) -> Result<(String, String), String> {
    let mut escaped = false;
    let end = content
        .char_indices()
        .find(|&(_, c)| {
            let ends = !escaped && (c == '=' || c == ':' || is_space(c));
            escaped = !escaped && c == '\\';
            ends
        })
        .map_or(content.len(), |(at, _)| at);
    let (key, rest) = content.split_at(end);
    let rest = rest.trim_start_matches(is_space);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_space);
    Ok((unescape(key)?, unescape(value)?))
}

/// The written form of a key or a value.
pub(super) fn escape(text: &str, is_key: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0c' => out.push_str("\\f"),
            ' ' if is_key || at == 0 => out.push_str("\\ "),
            '=' | ':' if is_key => {
                out.push('\\');
                out.push(c);
            }
            '#' | '!' if is_key && at == 0 => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            _ => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
    out
}

fn unescape(text: &str) -> Result<String, String> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    // Java strings are UTF-16: a pair of surrogates may stand as two \u escapes.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = if c != '\\' {
            c
        } else {
            match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let unit = (digits.len() == 4).then(|| u16::from_str_radix(&digits, 16).ok()).flatten();
                    units.push(unit.ok_or_else(|| {
                        format!(
                            "\\u{digits} is not a \\u escape: write four hexadecimal digits, or \\\\u for a backslash"
                        )
                    })?);
                    continue;
                }
                Some(other) => other,
                None => break,
            }
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    Ok(String::from_utf16_lossy(&units))
}

fn next_line(text: &str) -> (&str, &str) {
    match text.find(['\n', '\r']) {
        None => (text, ""),
        Some(at) => {
            let (line, rest) = text.split_at(at);
            let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix(['\n', '\r'])).unwrap_or(rest);
            (line, rest)
        }
    }
}

fn consumed<'a>(start: &'a str, rest: &str) -> &'a str {
    start.get(..start.len() - rest.len()).unwrap_or(start)
}

fn continues(content: &str) -> bool {
    content.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}
