//! The body of a batch send (code 320): messages of one topic and queue, one behind the other.
//!
//! Each: totalSize (4), magic 0 (4), bodyCRC 0 (4), flag (4), body length (4), body, properties length (2), properties.
//! The broker makes a record of its own from each. Source: MessageDecoder.encodeMessage, MessageExtEncoder.encode.

use crate::cursor::Cursor;
use crate::error::CodecError;
use crate::properties::MAX_PROPERTIES_LEN;

use super::{java_len, java_short_len};

/// One message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMessage<'a> {
    /// The user's flag.
    pub flag: i32,
    /// The body.
    pub body: &'a [u8],
    /// Properties string, UTF-8.
    pub properties: &'a str,
}

impl BatchMessage<'_> {
    /// Appends the message in batch form to `out`.
    /// # Errors
    /// [`CodecError::Range`] when body or properties are too long; `out` is then as it was.
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let total_size = 22 + self.body.len() + self.properties.len();
        let total_size = java_len("batch message totalSize", total_size, i32::MAX as usize)?;
        let body_len = java_len("batch message body length", self.body.len(), i32::MAX as usize)?;
        let properties_len =
            java_short_len("batch message properties length", self.properties.len(), MAX_PROPERTIES_LEN)?;
        out.extend_from_slice(&total_size.to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.flag.to_be_bytes());
        out.extend_from_slice(&body_len.to_be_bytes());
        out.extend_from_slice(self.body);
        out.extend_from_slice(&properties_len.to_be_bytes());
        out.extend_from_slice(self.properties.as_bytes());
        Ok(())
    }
}

/// Iterates the messages of a batch body; ends after the first error. totalSize, magic and bodyCRC are read over, as
/// Java's broker does: clients leave the latter two 0.
#[derive(Debug, Clone)]
pub struct BatchMessages<'a> {
    at: Cursor<'a>,
}

impl<'a> BatchMessages<'a> {
    /// Over the body of a request with code 320.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        BatchMessages { at: Cursor::new(body) }
    }

    fn read(&mut self) -> Result<BatchMessage<'a>, CodecError> {
        self.at.take(12, "batch message head")?;
        let flag = self.at.i32("batch message flag")?;
        let body_len = self.at.len_i32("batch message body length", i32::MAX as usize)?;
        let body = self.at.take(body_len, "batch message body")?;
        let properties_len = self.at.len_i16("batch message properties length", MAX_PROPERTIES_LEN)?;
        let properties = self.at.take(properties_len, "batch message properties")?;
        let properties = std::str::from_utf8(properties)
            .map_err(|_| CodecError::Text { what: "batch message properties", reason: "not UTF-8" })?;
        Ok(BatchMessage { flag, body, properties })
    }
}

impl<'a> Iterator for BatchMessages<'a> {
    type Item = Result<BatchMessage<'a>, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at.rest().is_empty() {
            return None;
        }
        let message = self.read();
        if message.is_err() {
            self.at = Cursor::new(&[]);
        }
        Some(message)
    }
}
