//! Files of messages for arbitrary times: the log of what waits, the wheel of slots over it, and the checkpoint.

use crate::cursor::Cursor;
use crate::error::CodecError;

/// Bytes of a unit of the timer log.
pub const UNIT_LEN: usize = 4 + 8 + 4 + 8 + 4 + 8 + 4 + 4 + 8;
/// Where its link to the unit before begins.
pub const UNIT_PREVIOUS_AT: u64 = 4;
/// Room that stays free behind the last unit of a file, for the filler. Source: TimerLog.MIN_BLANK_LEN.
pub const BLANK_LEN: usize = 16;
/// Magic of the filler that ends a file. Source: TimerLog.BLANK_MAGIC_CODE.
pub const BLANK_MAGIC: u32 = 0xBBCC_DDEE ^ (1_880_681_586 + 8);
/// Bytes of a slot of the wheel.
pub const SLOT_LEN: usize = 32;
/// Bytes of the checkpoint, which are also the answer to GET_TIMER_CHECK_POINT.
pub const CHECKPOINT_LEN: usize = 56;
/// A link to nothing.
pub const NO_POSITION: i64 = -1;

const _: () = assert!(UNIT_LEN == 52);

/// Bits of a unit's magic. Source: TimerMessageStore.
pub mod magic {
    /// A message waits.
    pub const DEFAULT: i32 = 1;
    /// Its time is further off than the wheel reaches: it goes back into the timer topic instead.
    pub const ROLL: i32 = 1 << 1;
    /// It takes another message back.
    pub const DELETE: i32 = 1 << 2;
}

/// One unit of the timer log, big-endian: size 52 (i32), position of the unit before it in the same slot or -1 (i64),
/// magic (i32), time of writing (i64), delivery time less that (i32), physical offset (i64) and size (i32) of the record,
/// `String.hashCode` of the real topic (i32), reserved (i64).
/// Source: store/timer/TimerLog.java, TimerMessageStore.doEnqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogUnit {
    /// Position of the unit before it in the same slot; [`NO_POSITION`]: it is the first.
    pub previous: i64,
    /// See [`magic`].
    pub magic: i32,
    /// Time of writing, ms, rounded down to the precision.
    pub write_ms: i64,
    /// When it is due less `write_ms`, ms.
    pub delay_ms: i32,
    /// Position of the record in the commit log.
    pub physical_offset: i64,
    /// Bytes of the record.
    pub size: i32,
    /// Hash of the topic that it waits for.
    pub topic_hash: i32,
}

/// What lies at a place of the timer log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogItem {
    /// A unit.
    Unit(LogUnit),
    /// The rest of the file is unused; the log goes on in the next.
    Blank,
    /// Nothing that was written completely.
    End,
}

impl LogItem {
    /// What `bytes` begin with.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> LogItem {
        let mut at = Cursor::new(bytes);
        item(&mut at).unwrap_or(LogItem::End)
    }
}

fn item(at: &mut Cursor<'_>) -> Result<LogItem, CodecError> {
    const WHAT: &str = "timer log unit";
    let (len, previous, magic) = (at.i32(WHAT)?, at.i64(WHAT)?, at.i32(WHAT)?);
    if magic.cast_unsigned() == BLANK_MAGIC {
        return Ok(LogItem::Blank);
    }
    let unit = LogUnit {
        previous,
        magic,
        write_ms: at.i64(WHAT)?,
        delay_ms: at.i32(WHAT)?,
        physical_offset: at.i64(WHAT)?,
        size: at.i32(WHAT)?,
        topic_hash: at.i32(WHAT)?,
    };
    // Source: TimerMessageStore.isMagicOK.
    let is_unit = usize::try_from(len) == Ok(UNIT_LEN) && magic | 0xF == 0xF;
    Ok(if is_unit && unit.physical_offset >= 0 && unit.size > 0 { LogItem::Unit(unit) } else { LogItem::End })
}

impl LogUnit {
    /// Its 52 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; UNIT_LEN] {
        let mut bytes = [0; UNIT_LEN];
        let fields: [&[u8]; 8] = [
            &52i32.to_be_bytes(),
            &self.previous.to_be_bytes(),
            &self.magic.to_be_bytes(),
            &self.write_ms.to_be_bytes(),
            &self.delay_ms.to_be_bytes(),
            &self.physical_offset.to_be_bytes(),
            &self.size.to_be_bytes(),
            &self.topic_hash.to_be_bytes(),
        ];
        fill(&mut bytes, &fields);
        bytes
    }

    /// When it is due, ms.
    #[must_use]
    pub fn deliver_ms(&self) -> i64 {
        self.write_ms.saturating_add(self.delay_ms.into())
    }

    /// Whether it goes back into the timer topic.
    #[must_use]
    pub fn is_roll(&self) -> bool {
        self.magic & magic::ROLL != 0
    }

    /// Whether it takes another message back.
    #[must_use]
    pub fn is_delete(&self) -> bool {
        self.magic & magic::DELETE != 0
    }
}

/// The filler at the end of a file, `left` bytes before it. Source: TimerLog.append.
#[must_use]
pub fn blank(left: i32) -> [u8; BLANK_LEN] {
    let mut bytes = [0; BLANK_LEN];
    fill(&mut bytes, &[&left.to_be_bytes(), &0i64.to_be_bytes(), &BLANK_MAGIC.to_be_bytes()]);
    bytes
}

/// One slot of the wheel, big-endian: time divided by the precision (i64), positions of its first and last unit in the
/// timer log (i64 each), how many wait (i32), magic (i32, unused).
/// Source: store/timer/Slot.java, TimerWheel.putSlot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slot {
    /// Time divided by the precision.
    pub tick: i64,
    /// Position of the first unit.
    pub first: i64,
    /// Position of the last unit.
    pub last: i64,
    /// Messages less those that are taken back.
    pub num: i32,
    /// Unused.
    pub magic: i32,
}

impl Slot {
    /// The slot at the start of `bytes`.
    /// # Errors
    /// [`CodecError::Short`] when `bytes` holds fewer than 32 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Slot, CodecError> {
        const WHAT: &str = "timer wheel slot";
        let mut at = Cursor::new(bytes);
        Ok(Slot {
            tick: at.i64(WHAT)?,
            first: at.i64(WHAT)?,
            last: at.i64(WHAT)?,
            num: at.i32(WHAT)?,
            magic: at.i32(WHAT)?,
        })
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; SLOT_LEN] {
        let mut bytes = [0; SLOT_LEN];
        let fields: [&[u8]; 5] = [
            &self.tick.to_be_bytes(),
            &self.first.to_be_bytes(),
            &self.last.to_be_bytes(),
            &self.num.to_be_bytes(),
            &self.magic.to_be_bytes(),
        ];
        fill(&mut bytes, &fields);
        bytes
    }
}

/// What `config/timercheck` begins with, and the answer to GET_TIMER_CHECK_POINT: seven longs, big-endian.
/// Source: store/timer/TimerCheckpoint.java.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimerCheckpoint {
    /// Slots before it are delivered, ms.
    pub last_read_time_ms: i64,
    /// The timer log before it is on the disk.
    pub last_timer_log_flush_pos: i64,
    /// Messages of the timer topic before it are in the timer log, or delivered.
    pub last_timer_queue_offset: i64,
    /// The same of the master.
    pub master_timer_queue_offset: i64,
    /// `dataVersion.stateVersion`.
    pub state_version: i64,
    /// `dataVersion.timestamp`.
    pub timestamp: i64,
    /// `dataVersion.counter`.
    pub counter: i64,
}

impl TimerCheckpoint {
    /// The checkpoint at the start of `bytes`. Without the last three fields, as releases before 5.0.1 wrote it, they are 0.
    /// # Errors
    /// [`CodecError::Short`] when `bytes` holds fewer than 32 bytes.
    pub fn parse(bytes: &[u8]) -> Result<TimerCheckpoint, CodecError> {
        const WHAT: &str = "timer checkpoint";
        let mut at = Cursor::new(bytes);
        Ok(TimerCheckpoint {
            last_read_time_ms: at.i64(WHAT)?,
            last_timer_log_flush_pos: at.i64(WHAT)?,
            last_timer_queue_offset: at.i64(WHAT)?,
            master_timer_queue_offset: at.i64(WHAT)?,
            state_version: at.i64(WHAT).unwrap_or(0),
            timestamp: at.i64(WHAT).unwrap_or(0),
            counter: at.i64(WHAT).unwrap_or(0),
        })
    }

    /// Its 56 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; CHECKPOINT_LEN] {
        let mut bytes = [0; CHECKPOINT_LEN];
        let fields: [&[u8]; 7] = [
            &self.last_read_time_ms.to_be_bytes(),
            &self.last_timer_log_flush_pos.to_be_bytes(),
            &self.last_timer_queue_offset.to_be_bytes(),
            &self.master_timer_queue_offset.to_be_bytes(),
            &self.state_version.to_be_bytes(),
            &self.timestamp.to_be_bytes(),
            &self.counter.to_be_bytes(),
        ];
        fill(&mut bytes, &fields);
        bytes
    }
}

/// Writes fields one behind the other; together they are no longer than `bytes`.
fn fill(bytes: &mut [u8], fields: &[&[u8]]) {
    for (to, from) in bytes.iter_mut().zip(fields.iter().flat_map(|field| field.iter())) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> LogUnit {
        LogUnit {
            previous: -1,
            magic: magic::DEFAULT | magic::DELETE,
            write_ms: 1_700_000_000_000,
            delay_ms: 5000,
            physical_offset: 1 << 40,
            size: 321,
            topic_hash: -7,
        }
    }

    #[test]
    fn units_blanks_and_ends_are_told_apart() {
        let bytes = unit().encode();
        assert_eq!(LogItem::parse(&bytes), LogItem::Unit(unit()));
        assert_eq!(unit().deliver_ms(), 1_700_000_005_000);
        assert_eq!(LogItem::parse(&blank(100)), LogItem::Blank);
        assert_eq!(LogItem::parse(&[0; UNIT_LEN]), LogItem::End);
        assert_eq!(LogItem::parse(&bytes[..UNIT_LEN - 9]), LogItem::End, "torn");
        for (at, what) in [(3, "another size"), (12, "another magic"), (28, "a negative offset")] {
            let mut broken = bytes;
            broken[at] = 0xFF;
            assert_eq!(LogItem::parse(&broken), LogItem::End, "{what}");
        }
    }

    #[test]
    fn java_s_checkpoint_is_read_and_written_again() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/5.5.0-formats/config/timercheck");
        let file = std::fs::read(path).unwrap();
        assert_eq!(file.len(), 4096);
        let checkpoint = TimerCheckpoint::parse(&file).unwrap();
        assert_eq!((checkpoint.last_read_time_ms, checkpoint.counter), (1_795_515_740_000, 15));
        assert_eq!(checkpoint.encode(), file[..CHECKPOINT_LEN]);
    }

    #[test]
    fn what_is_encoded_is_read_again() {
        let slot = Slot { tick: 1_700_000_000, first: 52, last: 1 << 33, num: -1, magic: 3 };
        assert_eq!(Slot::parse(&slot.encode()).unwrap(), slot);
        assert!(Slot::parse(&[0; 31]).is_err());
        let checkpoint = TimerCheckpoint {
            last_read_time_ms: 1,
            last_timer_log_flush_pos: 2,
            last_timer_queue_offset: 3,
            master_timer_queue_offset: 4,
            state_version: 5,
            timestamp: 6,
            counter: 7,
        };
        assert_eq!(TimerCheckpoint::parse(&checkpoint.encode()).unwrap(), checkpoint);
        let old = TimerCheckpoint { state_version: 0, timestamp: 0, counter: 0, ..checkpoint };
        assert_eq!(TimerCheckpoint::parse(&checkpoint.encode()[..32]).unwrap(), old);
        assert!(TimerCheckpoint::parse(&[0; 31]).is_err());
    }
}
