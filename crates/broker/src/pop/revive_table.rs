//! What is pending in one queue of the revive topic: check points whose messages are not all acknowledged.
//!
//! Pure: it takes times and records, and says what is due and how far the queue is done with.

use foldhash::HashMap;
use protocol::body::pop::{AckMsg, PopCheckPoint};
use std::collections::{BTreeMap, BTreeSet};

/// Behind its time, a check point that came through a timer waits for acknowledgements that come the same way. Source:
/// PopReviveService.mergeAndRevive, which waits as long.
const TIMER_SLACK_MS: i64 = 3_000;
/// A check point so many records behind is to be written again, so that a start does not read all from there on.
const LAGGARD: i64 = 200_000;
/// So many acknowledgements may wait for their check point.
const MAX_EARLY: usize = 100_000;
/// None of them waits longer for it.
const EARLY_MS: i64 = 24 * 3600 * 1000;
/// Waits before reviving is tried again, s. Source: PopReviveService.ckRewriteIntervalsInSeconds.
const RETRY_S: [i64; 17] = [10, 20, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];

/// A check point with messages that are not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The check point, its bits as they are now.
    pub point: PopCheckPoint,
    /// Place in the revive queue.
    pub revive_offset: i64,
    due_ms: i64,
    failures: usize,
}

impl Pending {
    /// Places of the messages that are not acknowledged.
    pub fn unacknowledged(&self) -> Vec<i64> {
        let count = usize::try_from(self.point.num).unwrap_or(0).min(32);
        let open = (0..count).filter(|index| self.point.bit_map as u32 >> index & 1 == 0);
        open.filter_map(|index| self.place(index)).collect()
    }

    /// Marks message `queue_offset` as acknowledged, if it is one of these.
    pub fn acknowledge(&mut self, queue_offset: i64) {
        let count = usize::try_from(self.point.num).unwrap_or(0).min(32);
        if let Some(index) = (0..count).find(|index| self.place(*index) == Some(queue_offset)) {
            self.point.bit_map |= 1 << index;
        }
    }

    fn place(&self, index: usize) -> Option<i64> {
        let distance = match self.point.queue_offset_diff.as_deref() {
            None | Some([]) => i64::try_from(index).ok()?,
            Some(distances) => i64::from(*distances.get(index)?),
        };
        Some(self.point.start_offset.saturating_add(distance))
    }
}

/// Acknowledgements that came before their check point, which is still in a timer.
#[derive(Debug)]
struct Early {
    offsets: Vec<i64>,
    revive_offset: i64,
    until_ms: i64,
}

/// What names a check point: topic, group, queue, start offset, pop time, broker name.
type Key = String;

/// Pending check points of one revive queue.
#[derive(Debug, Default)]
pub struct ReviveTable {
    /// By place in the revive queue.
    pending: BTreeMap<i64, (Key, Pending)>,
    places: HashMap<Key, i64>,
    /// When, and place in the revive queue.
    due: BTreeSet<(i64, i64)>,
    early: HashMap<Key, Early>,
}

impl ReviveTable {
    /// Number of pending check points.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// True without pending check points.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// A check point was read. `through_timer`: a Java broker's timer delivered it.
    pub fn check_point(&mut self, point: PopCheckPoint, revive_offset: i64, through_timer: bool) {
        let (Some(topic), Some(group)) = (&point.topic, &point.consumer_group) else { return };
        let broker_name = point.broker_name.as_deref().unwrap_or_default();
        let key = key(topic, group, point.queue_id, point.start_offset, point.pop_time, broker_name);
        let slack = if through_timer { TIMER_SLACK_MS } else { 0 };
        let due_ms = point.pop_time.saturating_add(point.invisible_time).saturating_add(slack);
        let mut pending = Pending { point, revive_offset, due_ms, failures: 0 };
        if let Some(early) = self.early.remove(&key) {
            early.offsets.into_iter().for_each(|offset| pending.acknowledge(offset));
        }
        // The same one again: it was rewritten, or a timer delivered it twice.
        if let Some(old) = self.places.get(&key).copied().and_then(|place| self.remove(place)) {
            pending.point.bit_map |= old.point.bit_map;
        }
        if !pending.unacknowledged().is_empty() {
            self.insert(key, pending);
        }
    }

    /// An acknowledgement was read at `now_ms`.
    pub fn acknowledged(&mut self, ack: &AckMsg, own_broker: &str, revive_offset: i64, now_ms: i64) {
        let (Some(topic), Some(group)) = (&ack.topic, &ack.consumer_group) else { return };
        let broker_name = ack.broker_name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(own_broker);
        let key = key(topic, group, ack.queue_id, ack.start_offset, ack.pop_time, broker_name);
        let offsets = ack.ack_offset_list.as_deref().unwrap_or(std::slice::from_ref(&ack.ack_offset));
        let Some(place) = self.places.get(&key).copied() else {
            self.keep_early(key, ack, offsets, revive_offset, now_ms);
            return;
        };
        if let Some((_, pending)) = self.pending.get_mut(&place) {
            offsets.iter().for_each(|offset| pending.acknowledge(*offset));
            if pending.unacknowledged().is_empty() {
                self.remove(place);
            }
        }
    }

    /// Without its check point an acknowledgement is late, or the check point is still in a Java broker's timer.
    fn keep_early(&mut self, key: Key, ack: &AckMsg, offsets: &[i64], revive_offset: i64, now_ms: i64) {
        let Some(invisible_time) = ack.invisible_time else { return };
        let until_ms = ack.pop_time.saturating_add(invisible_time).saturating_add(TIMER_SLACK_MS);
        let until_ms = until_ms.min(now_ms.saturating_add(EARLY_MS));
        if until_ms <= now_ms || (self.early.len() >= MAX_EARLY && !self.early.contains_key(&key)) {
            return;
        }
        let early = self.early.entry(key).or_insert(Early { offsets: Vec::new(), revive_offset, until_ms });
        early.offsets.extend(offsets.iter().take(32_usize.saturating_sub(early.offsets.len())));
    }

    /// Takes out a check point whose time has come.
    pub fn take_due(&mut self, now_ms: i64) -> Option<Pending> {
        let (due_ms, place) = *self.due.first()?;
        if due_ms > now_ms { None } else { self.remove(place) }
    }

    /// A check point that could not be revived comes back, for later.
    pub fn failed(&mut self, mut pending: Pending, now_ms: i64) {
        let wait = RETRY_S.get(pending.failures).or(RETRY_S.last()).copied().unwrap_or(0);
        pending.failures += 1;
        pending.due_ms = now_ms.saturating_add(wait * 1000);
        let point = &pending.point;
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        let (topic, group, broker_name) = (name(&point.topic), name(&point.consumer_group), name(&point.broker_name));
        let key = key(&topic, &group, point.queue_id, point.start_offset, point.pop_time, &broker_name);
        self.insert(key, pending);
    }

    /// When the next check point is due, ms.
    pub fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// First place of the revive queue that is still needed, when everything before `next` was read.
    pub fn needed_from(&mut self, next: i64, now_ms: i64) -> i64 {
        self.early.retain(|_, early| early.until_ms > now_ms);
        let pending = self.pending.first_key_value().map_or(next, |(place, _)| *place);
        self.early.values().map(|early| early.revive_offset).fold(pending, i64::min)
    }

    /// A check point so far behind `next` that it should be written again at the end of the queue.
    pub fn laggard(&self, next: i64) -> Option<&Pending> {
        let (place, (_, pending)) = self.pending.first_key_value()?;
        (next - place > LAGGARD).then_some(pending)
    }

    fn insert(&mut self, key: Key, pending: Pending) {
        self.due.insert((pending.due_ms, pending.revive_offset));
        self.places.insert(key.clone(), pending.revive_offset);
        self.pending.insert(pending.revive_offset, (key, pending));
    }

    fn remove(&mut self, place: i64) -> Option<Pending> {
        let (key, pending) = self.pending.remove(&place)?;
        self.places.remove(&key);
        self.due.remove(&(pending.due_ms, place));
        Some(pending)
    }
}

fn key(topic: &str, group: &str, queue_id: i32, start_offset: i64, pop_time: i64, broker_name: &str) -> Key {
    format!("{topic}@{group}@{queue_id}@{start_offset}@{pop_time}@{broker_name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn point(start: i64, invisible_ms: i64, distances: &[i32]) -> PopCheckPoint {
        PopCheckPoint {
            broker_name: Some("b".into()),
            consumer_group: Some("g".into()),
            topic: Some("T".into()),
            queue_offset_diff: Some(distances.to_vec()),
            num: i8::try_from(distances.len()).unwrap(),
            pop_time: NOW,
            invisible_time: invisible_ms,
            start_offset: start,
            ..PopCheckPoint::default()
        }
    }

    fn ack(start: i64, offsets: &[i64], invisible: Option<i64>) -> AckMsg {
        AckMsg {
            consumer_group: Some("g".into()),
            topic: Some("T".into()),
            ack_offset: offsets[0],
            ack_offset_list: (offsets.len() > 1).then(|| offsets.to_vec()),
            invisible_time: invisible,
            pop_time: NOW,
            start_offset: start,
            ..AckMsg::default()
        }
    }

    #[test]
    fn what_is_not_acknowledged_is_due_at_its_time_and_not_before() {
        let mut table = ReviveTable::default();
        table.check_point(point(5, 10_000, &[0, 1, 3]), 0, false);
        table.acknowledged(&ack(5, &[6], None), "b", 1, NOW);
        assert_eq!((table.next_due(), table.needed_from(2, NOW)), (Some(NOW + 10_000), 0));
        assert_eq!(table.take_due(NOW + 9_999), None);
        assert_eq!(table.take_due(NOW + 10_000).unwrap().unacknowledged(), [5, 8]);
        assert_eq!((table.next_due(), table.needed_from(2, NOW)), (None, 2));
    }

    #[test]
    fn a_check_point_ends_with_its_last_acknowledgement() {
        let mut table = ReviveTable::default();
        table.check_point(point(5, 10_000, &[0, 1]), 0, false);
        table.check_point(point(7, 60_000, &[0]), 1, false);
        table.acknowledged(&ack(5, &[5, 6, 99], None), "b", 2, NOW);
        assert_eq!((table.len(), table.needed_from(3, NOW)), (1, 1));
        // Of another broker, of another pop: not this one.
        table.acknowledged(&ack(7, &[7], None), "other", 3, NOW);
        table.acknowledged(&AckMsg { pop_time: NOW + 1, ..ack(7, &[7], None) }, "b", 4, NOW);
        assert_eq!(table.len(), 1);
        table.acknowledged(&ack(7, &[7], None), "b", 5, NOW);
        assert!(table.is_empty() && table.next_due().is_none());
    }

    #[test]
    fn an_acknowledgement_waits_for_a_check_point_that_a_timer_still_has() {
        let mut table = ReviveTable::default();
        table.acknowledged(&ack(5, &[5], Some(10_000)), "b", 3, NOW);
        assert_eq!(table.needed_from(4, NOW), 3);
        table.check_point(point(5, 10_000, &[0, 1]), 4, true);
        // Its fellow may be acknowledged through the timer, too.
        assert_eq!(table.next_due(), Some(NOW + 10_000 + TIMER_SLACK_MS));
        assert_eq!(table.take_due(i64::MAX).unwrap().unacknowledged(), [6]);
        // One that comes after its time, or does not say until when, is not kept.
        table.acknowledged(&ack(5, &[5], Some(10_000)), "b", 5, NOW + 20_000);
        table.acknowledged(&ack(5, &[5], None), "b", 5, NOW);
        assert_eq!(table.needed_from(6, NOW), 6);
        table.acknowledged(&ack(5, &[5], Some(i64::MAX)), "b", 6, NOW);
        assert_eq!(table.needed_from(7, NOW), 6);
        assert_eq!(table.needed_from(7, NOW + EARLY_MS), 7);
    }

    #[test]
    fn a_rewritten_check_point_takes_the_place_of_the_old_and_its_acknowledgements() {
        let mut table = ReviveTable::default();
        table.check_point(point(5, 10_000, &[0, 1]), 0, false);
        table.acknowledged(&ack(5, &[5], None), "b", 1, NOW);
        assert_eq!(table.laggard(LAGGARD), None);
        let again = table.laggard(LAGGARD + 1).unwrap().point.clone();
        table.check_point(again, LAGGARD + 1, false);
        assert_eq!((table.len(), table.needed_from(LAGGARD + 2, NOW)), (1, LAGGARD + 1));
        assert_eq!(table.take_due(NOW + 10_000).unwrap().unacknowledged(), [6]);
    }

    #[test]
    fn a_failed_revive_is_tried_again_later_and_later() {
        let mut table = ReviveTable::default();
        table.check_point(point(5, 0, &[]), 0, false);
        assert!(table.is_empty(), "no message, nothing to wait for");
        table.check_point(PopCheckPoint { num: 2, ..point(5, 0, &[]) }, 1, false);
        let mut now = NOW;
        for wait in [10, 20, 30] {
            let pending = table.take_due(now).unwrap();
            assert_eq!(pending.unacknowledged(), [5, 6], "old brokers count on");
            table.failed(pending, now);
            assert_eq!(table.next_due(), Some(now + wait * 1000));
            now += wait * 1000;
        }
        assert_eq!(table.needed_from(9, now), 1);
    }
}
