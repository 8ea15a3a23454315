//! The store's checkpoint: longs at fixed positions of a 4096-byte file.
//!
//! | position | field |
//! |---|---|
//! | 0 | physicMsgTimestamp: store time up to which the commit log was flushed |
//! | 8 | logicsMsgTimestamp: the same of the consume queues |
//! | 16 | indexMsgTimestamp: end time of the last index file that was full and flushed |
//! | 24 | masterFlushedOffset |
//! | 32 | confirmPhyOffset |
//! | 40 | logicsPhysicalOffset: physical offset of the last message flushed to a consume queue, since 5.5 |
//!
//! Java leaves the rest alone. Source: StoreCheckpoint.java.

use crate::cursor::Cursor;
use crate::error::CodecError;

/// Bytes of the file.
pub const FILE_LEN: usize = 4096;
/// Bytes that Java uses.
pub const JAVA_LEN: usize = 48;

/// The fields, in their order in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// At 0, ms.
    pub physic_msg_timestamp: i64,
    /// At 8, ms.
    pub logics_msg_timestamp: i64,
    /// At 16, ms.
    pub index_msg_timestamp: i64,
    /// At 24.
    pub master_flushed_offset: i64,
    /// At 32.
    pub confirm_phy_offset: i64,
    /// At 40.
    pub logics_physical_offset: i64,
}

impl Checkpoint {
    /// The fields from the start of the file.
    /// # Errors
    /// [`CodecError::Short`].
    pub fn parse(bytes: &[u8]) -> Result<Checkpoint, CodecError> {
        const WHAT: &str = "checkpoint";
        let mut at = Cursor::new(bytes);
        Ok(Checkpoint {
            physic_msg_timestamp: at.i64(WHAT)?,
            logics_msg_timestamp: at.i64(WHAT)?,
            index_msg_timestamp: at.i64(WHAT)?,
            master_flushed_offset: at.i64(WHAT)?,
            confirm_phy_offset: at.i64(WHAT)?,
            logics_physical_offset: at.i64(WHAT)?,
        })
    }

    /// The bytes from the start of the file.
    #[must_use]
    pub fn encode(&self) -> [u8; JAVA_LEN] {
        let fields = [
            self.physic_msg_timestamp,
            self.logics_msg_timestamp,
            self.index_msg_timestamp,
            self.master_flushed_offset,
            self.confirm_phy_offset,
            self.logics_physical_offset,
        ];
        let mut bytes = [0; JAVA_LEN];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    /// Store time up to which log and consume queues are on the disk for certain: the smaller of both, less 3 s.
    /// Source: StoreCheckpoint.getMinTimestamp.
    #[must_use]
    pub fn min_timestamp(&self) -> i64 {
        self.physic_msg_timestamp.min(self.logics_msg_timestamp).saturating_sub(3000).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let checkpoint = Checkpoint {
            physic_msg_timestamp: 1,
            logics_msg_timestamp: 2,
            index_msg_timestamp: 3,
            master_flushed_offset: 4,
            confirm_phy_offset: 5,
            logics_physical_offset: 6,
        };
        let bytes = checkpoint.encode();
        assert_eq!(bytes[47], 6);
        assert_eq!(Checkpoint::parse(&bytes).unwrap(), checkpoint);
        assert!(Checkpoint::parse(&bytes[1..]).is_err());
    }

    #[test]
    fn min_timestamp_is_never_negative() {
        assert_eq!(Checkpoint::default().min_timestamp(), 0);
        let checkpoint = Checkpoint { physic_msg_timestamp: 9000, logics_msg_timestamp: 8000, ..Default::default() };
        assert_eq!(checkpoint.min_timestamp(), 5000);
    }
}
