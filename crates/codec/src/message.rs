//! The message record: one message as it lies in the commit log and as it is sent to consumers.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | totalSize |
//! | 4 | 4 | magic code, [`MessageVersion`] |
//! | 8 | 4 | bodyCRC: CRC-32 of the stored body & 0x7FFFFFFF |
//! | 12 | 4 | queueId |
//! | 16 | 4 | flag |
//! | 20 | 8 | queueOffset |
//! | 28 | 8 | physicalOffset |
//! | 36 | 4 | sysFlag |
//! | 40 | 8 | bornTimestamp, ms |
//! | 48 | 8 or 20 | bornHost: address, port (4 bytes) |
//! | +0 | 8 | storeTimestamp, ms |
//! | | 8 or 20 | storeHost |
//! | | 4 | reconsumeTimes |
//! | | 8 | preparedTransactionOffset |
//! | | 4+n | body |
//! | | 1+n or 2+n | topic |
//! | | 2+n | properties |
//!
//! Big-endian. Source: MessageExtEncoder.java, MessageDecoder.java, CommitLog.checkMessageAndReturnSize.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::cursor::Cursor;
use crate::error::CodecError;
use crate::properties::MAX_PROPERTIES_LEN;

mod batch;
mod id;
mod prop_crc;

pub use batch::{BatchMessage, BatchMessages};
pub use id::{message_id, parse_message_id};
pub use prop_crc::{PROP_CRC_LEN, prop_crc, reserve_prop_crc};

/// Magic code of a record whose topic length is one byte.
pub const MESSAGE_MAGIC_CODE: u32 = 0xDAA3_20A7;
/// Magic code of a record whose topic length is two bytes.
pub const MESSAGE_MAGIC_CODE_V2: u32 = 0xDAA3_20AB;
/// Magic code of the filler at the end of a commit-log file: int(space left), then this code.
pub const BLANK_MAGIC_CODE: u32 = 0xCBD4_3194;
/// Bytes that stay free at the end of a commit-log file for the filler's size and magic code.
pub const END_FILE_MIN_BLANK_LEN: usize = 8;

/// Position of queueOffset.
pub const QUEUE_OFFSET_POSITION: usize = 20;
/// Position of physicalOffset.
pub const PHYSICAL_OFFSET_POSITION: usize = 28;
/// Position of sysFlag.
pub const SYS_FLAG_POSITION: usize = 36;
/// Position of bornHost; storeTimestamp follows it.
pub const BORN_HOST_POSITION: usize = 48;
/// Length of a record of version 1 with IPv4 hosts and no body, topic and properties.
pub const RECORD_MIN_LEN: usize = 91;
/// Longest topic that version 1 can carry.
pub const MAX_TOPIC_LEN_V1: usize = 127;
/// Longest topic that version 2 can carry (a Java short).
pub const MAX_TOPIC_LEN_V2: usize = 32_767;

const _: () = assert!(RECORD_MIN_LEN == BORN_HOST_POSITION + 8 + 8 + 8 + 4 + 8 + 4 + 1 + 2);

/// Bits of sysFlag. Source: MessageSysFlag.java.
pub mod sys_flag {
    /// The body is compressed.
    pub const COMPRESSED: i32 = 0x1;
    /// TAGS may hold several tags.
    pub const MULTI_TAGS: i32 = 0x2;
    /// Not a transactional message.
    pub const TRANSACTION_NOT_TYPE: i32 = 0;
    /// Half message.
    pub const TRANSACTION_PREPARED_TYPE: i32 = 0x4;
    /// Committed.
    pub const TRANSACTION_COMMIT_TYPE: i32 = 0x8;
    /// Rolled back; also the mask of the three.
    pub const TRANSACTION_ROLLBACK_TYPE: i32 = 0xC;
    /// bornHost is IPv6.
    pub const BORNHOST_V6: i32 = 0x10;
    /// storeHost is IPv6.
    pub const STOREHOST_V6: i32 = 0x20;
    /// Inner batch that must be unwrapped.
    pub const NEED_UNWRAP: i32 = 0x40;
    /// Inner batch.
    pub const INNER_BATCH: i32 = 0x80;
    /// Mask of the compression type.
    pub const COMPRESSION_TYPE_MASK: i32 = 0x700;
    /// LZ4 frame.
    pub const COMPRESSION_LZ4: i32 = 0x100;
    /// Zstandard frame.
    pub const COMPRESSION_ZSTD: i32 = 0x200;
    /// zlib; 0 means zlib too.
    pub const COMPRESSION_ZLIB: i32 = 0x300;

    /// The transaction bits of `sys_flag`.
    #[must_use]
    pub const fn transaction_type(sys_flag: i32) -> i32 {
        sys_flag & TRANSACTION_ROLLBACK_TYPE
    }

    /// `sys_flag` with its transaction bits replaced.
    #[must_use]
    pub const fn with_transaction_type(sys_flag: i32, transaction_type: i32) -> i32 {
        (sys_flag & !TRANSACTION_ROLLBACK_TYPE) | transaction_type
    }
}

/// The two forms of a record; they differ in the width of the topic length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageVersion {
    /// One byte, topics up to 127 bytes.
    V1,
    /// Two bytes.
    V2,
}

impl MessageVersion {
    /// The form that a topic of `topic_len` bytes needs.
    #[must_use]
    pub const fn for_topic_len(topic_len: usize) -> Self {
        if topic_len <= MAX_TOPIC_LEN_V1 { MessageVersion::V1 } else { MessageVersion::V2 }
    }

    /// Its magic code.
    #[must_use]
    pub const fn magic_code(self) -> u32 {
        match self {
            MessageVersion::V1 => MESSAGE_MAGIC_CODE,
            MessageVersion::V2 => MESSAGE_MAGIC_CODE_V2,
        }
    }

    /// The form that has this magic code.
    #[must_use]
    pub const fn from_magic_code(magic: u32) -> Option<Self> {
        match magic {
            MESSAGE_MAGIC_CODE => Some(MessageVersion::V1),
            MESSAGE_MAGIC_CODE_V2 => Some(MessageVersion::V2),
            _ => None,
        }
    }

    const fn topic_length_size(self) -> usize {
        match self {
            MessageVersion::V1 => 1,
            MessageVersion::V2 => 2,
        }
    }
}

/// CRC-32 as records carry it: the sign bit cleared, since Java reads it as an `int`.
#[must_use]
pub fn body_crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}

/// One record, borrowed. `topic` and `properties` are bytes because a store must carry on what it finds;
/// see [`MessageRecord::topic_str`] and [`MessageRecord::properties_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRecord<'a> {
    /// Bytes of the whole record.
    pub total_size: usize,
    /// Form, from the magic code.
    pub version: MessageVersion,
    /// CRC of the body as written, not verified by [`MessageRecord::parse`].
    pub body_crc: u32,
    /// Queue id.
    pub queue_id: i32,
    /// The user's flag.
    pub flag: i32,
    /// Position in the queue.
    pub queue_offset: i64,
    /// Position in the commit log.
    pub physical_offset: i64,
    /// Bits of [`sys_flag`].
    pub sys_flag: i32,
    /// When the client made it, ms.
    pub born_timestamp: i64,
    /// The client. A port outside 0..=65535 reads as 0.
    pub born_host: SocketAddr,
    /// When the broker stored it, ms.
    pub store_timestamp: i64,
    /// The broker.
    pub store_host: SocketAddr,
    /// How often it was sent back.
    pub reconsume_times: i32,
    /// Of a commit record: physical offset of the half message.
    pub prepared_transaction_offset: i64,
    /// The body as stored (maybe compressed).
    pub body: &'a [u8],
    /// Topic, UTF-8.
    pub topic: &'a [u8],
    /// Properties string, UTF-8; see [`crate::properties`].
    pub properties: &'a [u8],
}

impl<'a> MessageRecord<'a> {
    /// The record at the start of `bytes`; what follows it is ignored. Every length is checked, the CRC is not.
    /// # Errors
    /// [`CodecError::Short`], [`CodecError::Magic`] (also for the end-of-file filler), [`CodecError::Range`] for a
    /// length that is negative or too large, [`CodecError::SizeMismatch`] when totalSize is not the sum of the fields.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut at = Cursor::new(bytes);
        let total_size = at.len_i32("record totalSize", i32::MAX as usize)?;
        let magic = at.u32("record magic code")?;
        let version =
            MessageVersion::from_magic_code(magic).ok_or(CodecError::Magic { what: "message record", magic })?;
        let record = bytes.get(8..total_size).ok_or(CodecError::Short {
            what: "message record",
            need: total_size.max(RECORD_MIN_LEN),
            have: bytes.len(),
        })?;
        let mut at = Cursor::new(record);
        let body_crc = at.u32("bodyCRC")?;
        let queue_id = at.i32("queueId")?;
        let flag = at.i32("flag")?;
        let queue_offset = at.i64("queueOffset")?;
        let physical_offset = at.i64("physicalOffset")?;
        let sys_flag = at.i32("sysFlag")?;
        let born_timestamp = at.i64("bornTimestamp")?;
        let born_host = read_host(&mut at, sys_flag & sys_flag::BORNHOST_V6 != 0, "bornHost")?;
        let store_timestamp = at.i64("storeTimestamp")?;
        let store_host = read_host(&mut at, sys_flag & sys_flag::STOREHOST_V6 != 0, "storeHost")?;
        let reconsume_times = at.i32("reconsumeTimes")?;
        let prepared_transaction_offset = at.i64("preparedTransactionOffset")?;
        let body_len = at.len_i32("body length", total_size)?;
        let body = at.take(body_len, "body")?;
        let topic_len = match version {
            MessageVersion::V1 => usize::from(at.u8("topic length")?),
            MessageVersion::V2 => at.len_i16("topic length", MAX_TOPIC_LEN_V2)?,
        };
        if version == MessageVersion::V1 && topic_len > MAX_TOPIC_LEN_V1 {
            return Err(out_of_range("topic length", topic_len, MAX_TOPIC_LEN_V1));
        }
        let topic = at.take(topic_len, "topic")?;
        let properties_len = at.len_i16("properties length", MAX_PROPERTIES_LEN)?;
        let properties = at.take(properties_len, "properties")?;
        if !at.rest().is_empty() {
            let actual = total_size - at.rest().len();
            return Err(CodecError::SizeMismatch { what: "message record", stated: total_size, actual });
        }
        Ok(MessageRecord {
            total_size,
            version,
            body_crc,
            queue_id,
            flag,
            queue_offset,
            physical_offset,
            sys_flag,
            born_timestamp,
            born_host,
            store_timestamp,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body,
            topic,
            properties,
        })
    }

    /// Whether bodyCRC is that of the body. Java does not check an empty body, whatever its bodyCRC.
    /// # Errors
    /// [`CodecError::Checksum`].
    pub fn check_body_crc(&self) -> Result<(), CodecError> {
        if self.body.is_empty() {
            return Ok(());
        }
        let actual = body_crc(self.body);
        if actual == self.body_crc {
            Ok(())
        } else {
            Err(CodecError::Checksum { what: "message body", stated: self.body_crc, actual })
        }
    }

    /// The topic as text; bytes that are not UTF-8 are replaced, as Java does.
    #[must_use]
    pub fn topic_str(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.topic)
    }

    /// The properties string as text; bytes that are not UTF-8 are replaced, as Java does.
    #[must_use]
    pub fn properties_str(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.properties)
    }

    /// The value of one property, `None` when absent or not UTF-8.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&'a str> {
        crate::properties::get_bytes(self.properties, name)
    }

    /// The offset message id: [`message_id`] of storeHost and physicalOffset.
    #[must_use]
    pub fn offset_message_id(&self) -> String {
        message_id(self.store_host, self.physical_offset)
    }
}

/// The records that lie one behind the other in `bytes`, as in the body of a pull response. Ends after the first error.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Result<MessageRecord<'_>, CodecError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = MessageRecord::parse(rest);
        rest = match &record {
            Ok(record) => rest.get(record.total_size..).unwrap_or(&[]),
            Err(_) => &[],
        };
        Some(record)
    })
}

/// What a record is made of before its place is known.
#[derive(Debug, Clone, Copy)]
pub struct RecordParts<'a> {
    /// Queue id.
    pub queue_id: i32,
    /// The user's flag.
    pub flag: i32,
    /// Bits of [`sys_flag`]; the two IPv6 bits are set from the hosts.
    pub sys_flag: i32,
    /// When the client made it, ms.
    pub born_timestamp: i64,
    /// The client.
    pub born_host: SocketAddr,
    /// The broker.
    pub store_host: SocketAddr,
    /// How often it was sent back.
    pub reconsume_times: i32,
    /// Of a commit record: physical offset of the half message.
    pub prepared_transaction_offset: i64,
    /// The body as it is to be stored.
    pub body: &'a [u8],
    /// Topic.
    pub topic: &'a str,
    /// Properties string.
    pub properties: &'a str,
}

impl RecordParts<'_> {
    /// Bytes of the whole record.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let version = MessageVersion::for_topic_len(self.topic.len());
        RECORD_MIN_LEN - 1 + version.topic_length_size() + host_len(self.born_host) + host_len(self.store_host) - 16
            + self.body.len()
            + self.topic.len()
            + self.properties.len()
    }

    /// Appends everything before the body and everything after it to `out` and returns the length of the former; the
    /// record is head, body, tail. So the body is copied once only, to where the record is to lie. queueOffset,
    /// physicalOffset and storeTimestamp are 0: see [`patch`].
    /// # Errors
    /// [`CodecError::Range`] when topic, properties or the whole are longer than the format can say; `out` is then
    /// as it was.
    pub fn encode_around_body(&self, out: &mut Vec<u8>) -> Result<usize, CodecError> {
        let total_size = java_len("record totalSize", self.encoded_len(), i32::MAX as usize)?;
        let body_len = java_len("body length", self.body.len(), i32::MAX as usize)?;
        let topic_len = java_short_len("topic length", self.topic.len(), MAX_TOPIC_LEN_V2)?;
        let properties_len = java_short_len("properties length", self.properties.len(), MAX_PROPERTIES_LEN)?;
        let version = MessageVersion::for_topic_len(self.topic.len());
        let mut flags = self.sys_flag & !(sys_flag::BORNHOST_V6 | sys_flag::STOREHOST_V6);
        if self.born_host.is_ipv6() {
            flags |= sys_flag::BORNHOST_V6;
        }
        if self.store_host.is_ipv6() {
            flags |= sys_flag::STOREHOST_V6;
        }

        let start = out.len();
        out.reserve(self.encoded_len() - self.body.len());
        out.extend_from_slice(&total_size.to_be_bytes());
        out.extend_from_slice(&version.magic_code().to_be_bytes());
        out.extend_from_slice(&body_crc(self.body).to_be_bytes());
        out.extend_from_slice(&self.queue_id.to_be_bytes());
        out.extend_from_slice(&self.flag.to_be_bytes());
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&self.born_timestamp.to_be_bytes());
        write_host(out, self.born_host);
        out.extend_from_slice(&[0; 8]);
        write_host(out, self.store_host);
        out.extend_from_slice(&self.reconsume_times.to_be_bytes());
        out.extend_from_slice(&self.prepared_transaction_offset.to_be_bytes());
        out.extend_from_slice(&body_len.to_be_bytes());
        let head_len = out.len() - start;

        match version {
            MessageVersion::V1 => out.push(topic_len.to_be_bytes()[1]),
            MessageVersion::V2 => out.extend_from_slice(&topic_len.to_be_bytes()),
        }
        out.extend_from_slice(self.topic.as_bytes());
        out.extend_from_slice(&properties_len.to_be_bytes());
        out.extend_from_slice(self.properties.as_bytes());
        Ok(head_len)
    }

    /// The whole record, queueOffset, physicalOffset and storeTimestamp 0.
    /// # Errors
    /// As [`RecordParts::encode_around_body`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut record = Vec::with_capacity(self.encoded_len());
        let head_len = self.encode_around_body(&mut record)?;
        let tail = record.split_off(head_len);
        record.extend_from_slice(self.body);
        record.extend_from_slice(&tail);
        Ok(record)
    }
}

/// Writes the three fields that are known only when a record gets its place into `record`, which may be the record's
/// head alone.
/// # Errors
/// [`CodecError::Short`] when `record` does not reach to the end of storeTimestamp; it may be half changed then.
pub fn patch(
    record: &mut [u8],
    queue_offset: i64,
    physical_offset: i64,
    store_timestamp_ms: i64,
) -> Result<(), CodecError> {
    let have = record.len();
    let short = |need| CodecError::Short { what: "message record", need, have };
    let flags = record.get(SYS_FLAG_POSITION..SYS_FLAG_POSITION + 4).ok_or(short(SYS_FLAG_POSITION + 4))?;
    let flags = i32::from_be_bytes(flags.try_into().map_err(|_| short(SYS_FLAG_POSITION + 4))?);
    let store_timestamp_position = BORN_HOST_POSITION + if flags & sys_flag::BORNHOST_V6 == 0 { 8 } else { 20 };
    for (position, value) in [
        (QUEUE_OFFSET_POSITION, queue_offset),
        (PHYSICAL_OFFSET_POSITION, physical_offset),
        (store_timestamp_position, store_timestamp_ms),
    ] {
        let field = record.get_mut(position..position + 8).ok_or(short(position + 8))?;
        field.copy_from_slice(&value.to_be_bytes());
    }
    Ok(())
}

fn read_host(at: &mut Cursor<'_>, v6: bool, what: &'static str) -> Result<SocketAddr, CodecError> {
    let ip = if v6 {
        IpAddr::V6(Ipv6Addr::from(at.array::<16>(what)?))
    } else {
        IpAddr::V4(Ipv4Addr::from(at.array::<4>(what)?))
    };
    let port = u16::try_from(at.i32(what)?).unwrap_or(0);
    Ok(SocketAddr::new(ip, port))
}

fn write_host(out: &mut Vec<u8>, host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&i32::from(host.port()).to_be_bytes());
}

const fn host_len(host: SocketAddr) -> usize {
    match host {
        SocketAddr::V4(_) => 8,
        SocketAddr::V6(_) => 20,
    }
}

fn java_len(what: &'static str, len: usize, max: usize) -> Result<i32, CodecError> {
    match i32::try_from(len) {
        Ok(value) if len <= max => Ok(value),
        _ => Err(out_of_range(what, len, max)),
    }
}

fn java_short_len(what: &'static str, len: usize, max: usize) -> Result<i16, CodecError> {
    match i16::try_from(len) {
        Ok(value) if len <= max => Ok(value),
        _ => Err(out_of_range(what, len, max)),
    }
}

fn out_of_range(what: &'static str, len: usize, max: usize) -> CodecError {
    let as_i64 = |n| i64::try_from(n).unwrap_or(i64::MAX);
    CodecError::Range { what, value: as_i64(len), min: 0, max: as_i64(max) }
}

#[cfg(test)]
mod tests;
