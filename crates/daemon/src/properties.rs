//! Configuration text: `java.util.Properties` files, and TOML files with the same flat keys.
//!
//! Source: the class documentation of java.util.Properties, method `load`. Java reads ISO-8859-1; files written today are
//! UTF-8 mostly, so bytes that are valid UTF-8 are taken as such and anything else as ISO-8859-1.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::ConfigError;

mod lines;
#[cfg(test)]
mod tests;

use lines::{LogicalLine, logical_lines};

/// The largest configuration file, or configuration text over the wire, that is read.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// One `key = value` and the line it begins on (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped; trailing white space is kept, as Java keeps it.
    pub value: String,
    /// Counted from 1.
    pub line: usize,
}

/// The entries of one text in their order. A key may occur several times: the last one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    entries: Vec<Entry>,
}

impl Properties {
    /// Reads a file: TOML when its name ends in `.toml`, Java properties otherwise.
    ///
    /// # Errors
    /// [`ConfigError::Read`] when it cannot be read or exceeds [`MAX_FILE_BYTES`]; [`ConfigError::Syntax`] with file and
    /// line.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read_bounded(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let text = decode(&bytes);
        let origin = path.display().to_string();
        if is_toml(path) { Self::from_toml(&text, &origin) } else { Self::from_text(&text, &origin) }
    }

    /// Reads Java properties text.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] for a `\u` that is not followed by four hexadecimal digits.
    pub fn from_text(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let mut entries = Vec::new();
        for line in logical_lines(text) {
            if let LogicalLine::Entry { content, number, .. } = line {
                let (key, value) = lines::split(&content).map_err(|problem| ConfigError::Syntax {
                    origin: origin.to_owned(),
                    line: number,
                    problem,
                })?;
                entries.push(Entry { key, value, line: number });
            }
        }
        Ok(Self { entries })
    }

    /// Reads TOML: top-level keys, and those of tables one level deep, whose names are ignored (they group only).
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] for what is not TOML, for arrays, dates and deeper tables.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let syntax = |at: usize, problem: String| ConfigError::Syntax {
            origin: origin.to_owned(),
            line: line_of(text, at),
            problem,
        };
        let table: toml::Table =
            toml::from_str(text).map_err(|e| syntax(e.span().map_or(0, |span| span.start), e.message().to_owned()))?;
        let mut entries = Vec::new();
        for (key, value) in &table {
            if let toml::Value::Table(inner) = value {
                for (key, value) in inner {
                    let line = line_of_key(text, key);
                    let value = scalar(key, value).map_err(|problem| toml_problem(origin, line, problem))?;
                    entries.push(Entry { key: key.clone(), value, line });
                }
            } else {
                let line = line_of_key(text, key);
                let value = scalar(key, value).map_err(|problem| toml_problem(origin, line, problem))?;
                entries.push(Entry { key: key.clone(), value, line });
            }
        }
        Ok(Self { entries })
    }

    /// The entries in file order, repeated keys included.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The value that counts for `key`: the last one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().rev().find(|e| e.key == key).map(|e| e.value.as_str())
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Whether `path` names a TOML file.
#[must_use]
pub fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"))
}

/// `text` with the values of `changes` in place: the lines of changed keys are replaced, new keys are appended, all other
/// lines (comments too) stay as they are.
#[must_use]
pub fn edit(text: &str, changes: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut written = std::collections::BTreeSet::new();
    for line in logical_lines(text) {
        match line {
            LogicalLine::Entry { content, raw, .. } => match lines::split(&content) {
                Ok((key, _)) if changes.contains_key(&key) => {
                    if let Some(value) = changes.get(&key)
                        && written.insert(key.clone())
                    {
                        out.push_str(&entry_line(&key, value));
                    }
                }
                _ => out.push_str(raw),
            },
            LogicalLine::Other { raw } => out.push_str(raw),
        }
    }
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    for (key, value) in changes.iter().filter(|(key, _)| !written.contains(*key)) {
        out.push_str(&entry_line(key, value));
    }
    out
}

/// One `key=value` line with its line end, escaped so that `java.util.Properties` reads back the same key and value.
/// What is outside printable ASCII becomes `\uXXXX`.
#[must_use]
pub fn entry_line(key: &str, value: &str) -> String {
    let mut line = lines::escape(key, true);
    line.push('=');
    line.push_str(&lines::escape(value, false));
    line.push('\n');
    line
}

/// One `key = "value"` line of TOML with its line end.
#[must_use]
pub fn toml_line(key: &str, value: &str) -> String {
    let mut table = toml::Table::new();
    table.insert(key.to_owned(), toml::Value::String(value.to_owned()));
    table.to_string()
}

/// Text from bytes: UTF-8 when they are that (a byte order mark is dropped), else ISO-8859-1, as Java reads it.
#[must_use]
pub fn decode(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    }
}

/// The bytes of a regular file of at most [`MAX_FILE_BYTES`].
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

fn toml_problem(origin: &str, line: usize, problem: String) -> ConfigError {
    ConfigError::Syntax { origin: origin.to_owned(), line, problem }
}

fn scalar(key: &str, value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(n) => Ok(n.to_string()),
        toml::Value::Float(n) => Ok(n.to_string()),
        toml::Value::Boolean(b) => Ok(b.to_string()),
        other => Err(format!("{key} is a {}: use a string, a number, true or false", other.type_str())),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&b| b == b'\n').count() + 1
}

/// The first line that sets `key`; 1 when it is spelt in a way not looked for (quoted with escapes).
fn line_of_key(text: &str, key: &str) -> usize {
    let sets_key = |line: &str| {
        let line = line.trim_start().trim_start_matches(['"', '\'']);
        line.strip_prefix(key).is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with('='))
    };
    text.lines().position(sets_key).map_or(1, |index| index + 1)
}
