//! Files of topics whose old messages give way to the newest of their key: a log of records and a sparse queue of
//! [`crate::batch_consume_queue::BatchUnit`]s for each queue of such a topic, in pairs of files of the same name, and one file
//! for all that says how far each was compacted.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::batch_consume_queue::{BATCH_UNIT_LEN, BatchUnit};
use crate::consume_queue::Unit;
use crate::json::{self, Dialect, JsonError};
use crate::message::{BLANK_MAGIC_CODE, END_FILE_MIN_BLANK_LEN};

/// Bytes that stay free behind the last record of a file of the log, for the filler.
pub const LOG_BLANK_LEN: usize = END_FILE_MIN_BLANK_LEN;

/// The unit that ends a file of the sparse queue: offset -1, everything else 0 but compactedOffset, which is -1.
/// Source: store/queue/SparseConsumeQueue.putEndPositionInfo.
#[must_use]
pub fn end_unit() -> [u8; BATCH_UNIT_LEN] {
    let unit = Unit { physical_offset: -1, size: 0, tags_code: 0 };
    BatchUnit { unit, store_timestamp: 0, base_offset: 0, count: 0 }.encode()
}

/// What fills a file of the log from the end of its last record on: bytes left (i32), magic.
#[must_use]
pub fn log_blank(left: i32) -> [u8; LOG_BLANK_LEN] {
    let mut bytes = [0; LOG_BLANK_LEN];
    for (byte, value) in bytes.iter_mut().zip(left.to_be_bytes().into_iter().chain(BLANK_MAGIC_CODE.to_be_bytes())) {
        *byte = value;
    }
    bytes
}

/// Bytes of a file of the sparse queue and of the log, as Java makes them of `compactionCqMappedFileSize` and
/// `compactionMappedFileSize`: whole units; a multiple of that, at least five times.
/// Source: CompactionLog.getCompactionLogSize.
#[must_use]
pub fn file_sizes(queue_bytes: u64, log_bytes: u64) -> (u64, u64) {
    let queue = queue_bytes / BATCH_UNIT_LEN as u64 * BATCH_UNIT_LEN as u64;
    if queue == 0 {
        return (0, log_bytes);
    }
    let (times, rest) = (log_bytes / queue, log_bytes % queue);
    let times = match times {
        0..5 => 5,
        _ if rest > 0 && rest < queue / 2 => times,
        _ => times + 1,
    };
    (queue, times.saturating_mul(queue))
}

/// Whether a unit is one of a record, and neither the end of a file nor nothing.
/// Source: SparseConsumeQueue.recover.
#[must_use]
pub fn is_unit(unit: &BatchUnit) -> bool {
    unit.unit.physical_offset >= 0 && unit.unit.size > 0 && unit.base_offset >= 0 && unit.count > 0
}

/// The file `position-checkpoint`: messages up to this queue offset were compacted, by topic, `_` and queue id.
/// Source: store/kv/CompactionPositionMgr.java.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions {
    /// As in the file.
    pub by_queue: BTreeMap<String, i64>,
}

impl Positions {
    /// Reads the file.
    /// # Errors
    /// [`JsonError`]; members of another kind are passed over.
    pub fn parse(text: &[u8]) -> Result<Positions, JsonError> {
        let mut members = json::from_slice::<BTreeMap<String, Value>>(text)?;
        let by_queue = match members.remove("queueOffsetMap") {
            Some(Value::Object(map)) => {
                map.into_iter().filter_map(|(queue, offset)| Some((queue, offset.as_i64()?))).collect()
            }
            _ => BTreeMap::new(),
        };
        Ok(Positions { by_queue })
    }

    /// The content of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::to_vec(&BTreeMap::from([("queueOffsetMap", &self.by_queue)]), Dialect::Standard).unwrap_or_default()
    }

    /// The name of a queue in it.
    #[must_use]
    pub fn key(topic: &str, queue_id: i32) -> String {
        format!("{topic}_{queue_id}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_java() {
        assert_eq!(file_sizes(10 << 20, 100 << 20), (10_485_746, 104_857_460));
        assert_eq!(file_sizes(1000, 4000), (966, 4830));
        assert_eq!(file_sizes(460, 4600), (460, 4600 + 460));
        assert_eq!(file_sizes(460, 4600 + 100), (460, 4600));
        assert_eq!(file_sizes(460, 4600 + 300), (460, 4600 + 460));
        assert_eq!(file_sizes(45, 4600).0, 0);
    }

    #[test]
    fn positions_round_trip_and_take_what_java_writes() {
        let positions = Positions { by_queue: BTreeMap::from([("T_0".to_owned(), 12), ("T_1".to_owned(), -1)]) };
        assert_eq!(positions.encode(), br#"{"queueOffsetMap":{"T_0":12,"T_1":-1}}"#);
        assert_eq!(Positions::parse(&positions.encode()).unwrap(), positions);
        let java = br#"{"empty":false,"queueOffsetMap":{"T_0":12,"T_1":-1}}"#;
        assert_eq!(Positions::parse(java).unwrap(), positions);
        assert_eq!(Positions::parse(b"{}").unwrap(), Positions::default());
        assert!(Positions::parse(b"").is_err());
    }

    #[test]
    fn the_end_unit_is_no_unit() {
        let end = BatchUnit::parse(&end_unit()).unwrap();
        assert!(!is_unit(&end));
        assert_eq!((end.unit.physical_offset, end.unit.size, end.base_offset), (-1, 0, 0));
        assert_eq!(end_unit()[38..], [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
        assert!(!is_unit(&BatchUnit::parse(&[0; BATCH_UNIT_LEN]).unwrap()));
    }
}
