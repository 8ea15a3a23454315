//! Asks producers what became of half messages that they said nothing about. A round goes through the half queue from
//! where the group has come to; a message that is to be asked about again is put behind the others, so that the
//! group's offset moves on. Source: TransactionalMessageServiceImpl.check, TransactionalMessageCheckService.

use crate::config_manager::BrokerConfigManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::producer_manager::ProducerManager;
use crate::topic_config_manager::TopicConfigManager;
use crate::transaction::Transactions;
use crate::transaction::half::Half;
use crate::transaction::ops::{Decided, OpStyle, is_op};
use crate::transaction::verdict::{Rules, Verdict, judge};
use codec::message::{MessageRecord, message_id};
use codec::properties::{Properties, names as property};
use protocol::header::transaction::CheckTransactionStateRequestHeader;
use protocol::names::{TRANS_CHECK_MAX_TIME_TOPIC, TRANS_GROUP, TRANS_HALF_TOPIC, TRANS_OP_HALF_TOPIC};
use protocol::operation::CheckTransactionState;
use remoting::clock;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::{MessageStore, PutError, PutResult, QueueUnit};

/// Messages between two commits of how far a round is.
const BATCH: usize = 32;
/// A round that takes longer goes on in the next.
const ROUND_MAX_MS: i64 = 60_000;
/// After a put that failed: the store is full or shut down, and may recover.
const RETRY: Duration = Duration::from_secs(1);
/// How long decisions may take from the log into their queue.
const DISPATCH_PATIENCE_MS: i64 = 5_000;
const DISPATCH_POLL: Duration = Duration::from_millis(2);

/// Asks.
pub(super) struct TransactionCheck {
    pub(super) store: Arc<MessageStore>,
    pub(super) transactions: Arc<Transactions>,
    pub(super) topics: Arc<TopicConfigManager>,
    pub(super) offsets: Arc<ConsumerOffsetManager>,
    pub(super) producers: Arc<ProducerManager>,
    pub(super) config: Arc<BrokerConfigManager>,
    pub(super) store_host: SocketAddr,
}

/// Decisions over half messages that had been put behind the others when they came, by queue and offset of the original;
/// and the end of the half queue then. Such a copy names its original.
type Late = BTreeMap<(i32, i64), i64>;

/// One queue in one round.
struct Round {
    queue_id: i32,
    begin_ms: i64,
    rules: Rules,
    decided: Decided,
    /// Next half message.
    next: i64,
    /// First byte behind the last copy made.
    copied_end: Option<u64>,
    unheard: usize,
}

/// How a round goes on.
enum Step {
    Next,
    End,
}

impl TransactionCheck {
    /// Writes decisions that were gathered long enough.
    pub(super) async fn write_decisions(&self) {
        loop {
            self.transactions.ops.added().await;
            let interval = self.config.get().broker.transaction_op_batch_interval;
            tokio::time::sleep(Duration::from_millis(u64::try_from(interval).unwrap_or(0))).await;
            while let Err(error) = self.flush_decisions() {
                tracing::warn!(%error, "decisions over half messages not written, trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Writes all decisions.
    pub(super) fn flush_decisions(&self) -> Result<(), PutError> {
        let style = OpStyle::of(&self.config.get(), self.store_host);
        self.transactions.ops.flush(&self.store, style, clock::now_ms())
    }

    /// Checks, for ever: sleeps until half messages wait and the next round is due. Producers have one interval to connect
    /// after a start.
    pub(super) async fn run(&self) {
        let interval_ms = || self.config.get().broker.transaction_check_interval;
        let mut due_ms = clock::now_ms().saturating_add(interval_ms());
        let mut late = Late::new();
        loop {
            let wait = due_ms.saturating_sub(clock::now_ms());
            tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))).await;
            if !self.queues().into_iter().any(|queue| self.has_news(queue)) {
                self.transactions.arrival().await;
                // None is asked about before this time.
                due_ms = clock::now_ms().saturating_add(self.config.get().broker.transaction_time_out + 1);
                continue;
            }
            let begin_ms = clock::now_ms();
            for queue_id in self.queues() {
                self.check(queue_id, &mut late).await;
            }
            due_ms = begin_ms.saturating_add(interval_ms());
        }
    }

    fn queues(&self) -> Vec<i32> {
        let queues = self.topics.get(TRANS_HALF_TOPIC).map_or(1, |topic| topic.read_queue_nums);
        (0..queues).collect()
    }

    /// Whether there is something that the group has not come to.
    fn has_news(&self, queue_id: i32) -> bool {
        let has = |topic| self.committed(topic, queue_id) < self.store.max_offset(topic, queue_id);
        has(TRANS_HALF_TOPIC) || has(TRANS_OP_HALF_TOPIC)
    }

    /// Where the group is, within what the queue holds.
    fn committed(&self, topic: &str, queue_id: i32) -> i64 {
        let (min, max) = (self.store.min_offset(topic, queue_id), self.store.max_offset(topic, queue_id));
        self.offsets.query(TRANS_GROUP, topic, queue_id).unwrap_or(min).clamp(min, max.max(min))
    }

    async fn check(&self, queue_id: i32, late: &mut Late) {
        if !self.decisions_are_readable(queue_id).await {
            tracing::warn!("half messages are not checked: decisions over them cannot be read yet");
            return;
        }
        let next = self.committed(TRANS_HALF_TOPIC, queue_id);
        let mut round = Round {
            queue_id,
            begin_ms: clock::now_ms(),
            rules: Rules::of(&self.config.get()),
            decided: Decided::new(next, self.committed(TRANS_OP_HALF_TOPIC, queue_id)),
            next,
            copied_end: None,
            unheard: 0,
        };
        let mut copied = false;
        loop {
            let units = self.store.queue_units(TRANS_HALF_TOPIC, queue_id, round.next, BATCH);
            let mut ended = units.is_empty() || clock::now_ms() - round.begin_ms > ROUND_MAX_MS;
            if units.is_empty() {
                // Those that came twice belong to nothing that is looked at.
                while self.read_decisions(&mut round, late) {}
            }
            for unit in units {
                round.next = unit.queue_offset;
                if matches!(self.look_at(&unit, &mut round, late), Step::End) {
                    ended = true;
                    break;
                }
                round.next = unit.queue_offset + 1;
            }
            copied |= round.copied_end.is_some();
            self.commit(&mut round).await;
            if ended {
                break;
            }
            tokio::task::yield_now().await;
        }
        late.retain(|(queue, _), end| *queue != queue_id || round.next < *end);
        if round.unheard > 0 {
            let messages = round.unheard;
            tracing::warn!(messages, "half messages whose producer group has nobody connected to be asked");
        }
        if copied {
            // A broker killed before would look at originals and copies.
            let offsets = self.offsets.clone();
            let _ = tokio::task::spawn_blocking(move || offsets.persist()).await;
        }
    }

    /// Commits how far the round is, once the copies it made are as safe as what was sent.
    async fn commit(&self, round: &mut Round) {
        if let Some(end) = round.copied_end.take()
            && let Err(error) = self.store.flushed(end).await
        {
            tracing::warn!(%error, "half messages put back are not on disk");
            return;
        }
        let commit = |topic: &str, offset: i64| {
            if self.offsets.query(TRANS_GROUP, topic, round.queue_id) != Some(offset) {
                self.offsets.commit(TRANS_GROUP, topic, round.queue_id, offset);
            }
        };
        commit(TRANS_HALF_TOPIC, round.next);
        commit(TRANS_OP_HALF_TOPIC, round.decided.needed_from());
    }

    /// Writes what decisions there are, and waits until they lie in their queue.
    async fn decisions_are_readable(&self, queue_id: i32) -> bool {
        if let Err(error) = self.flush_decisions() {
            tracing::warn!(%error, "decisions over half messages not written");
            return false;
        }
        let (end, deadline_ms) = (self.transactions.ops.end(queue_id), clock::now_ms() + DISPATCH_PATIENCE_MS);
        while self.store.max_offset(TRANS_OP_HALF_TOPIC, queue_id) < end {
            if clock::now_ms() > deadline_ms {
                return false;
            }
            tokio::time::sleep(DISPATCH_POLL).await;
        }
        true
    }

    fn look_at(&self, unit: &QueueUnit, round: &mut Round, late: &mut Late) -> Step {
        if round.decided.take(unit.queue_offset) {
            return Step::Next;
        }
        let record = self.store.record_at(unit.physical_offset);
        let Some(half) = record.as_deref().and_then(Half::of) else {
            tracing::error!(offset = unit.queue_offset, "half message cannot be read, skipped");
            return Step::Next;
        };
        let times = (half.record.born_timestamp, half.record.store_timestamp);
        let verdict = judge(&half.properties, times, (round.begin_ms, clock::now_ms()), round.rules);
        if verdict == Verdict::Wait {
            return Step::End;
        }
        let original = half.properties.get(property::TRAN_PREPARED_QUEUE_OFFSET).and_then(|at| at.parse().ok());
        if self.is_decided(unit.queue_offset, original, round, late) {
            return Step::Next;
        }
        let done = match verdict {
            Verdict::Discard => self.discard(&half, round),
            Verdict::Later => self.put_behind(&half, round),
            Verdict::Ask(times) => self.ask(&half, times, round),
            Verdict::Wait => return Step::End,
        };
        match done {
            Ok(()) => Step::Next,
            Err(error) => {
                tracing::warn!(%error, offset = unit.queue_offset, "half message not put back, trying again");
                Step::End
            }
        }
    }

    /// Whether there is a decision over a half message, or over the original that it is a copy of. Reads no further than to
    /// that decision.
    fn is_decided(&self, half_offset: i64, original: Option<i64>, round: &mut Round, late: &mut Late) -> bool {
        loop {
            let by_original =
                original.is_some_and(|at| round.decided.take(at) || late.contains_key(&(round.queue_id, at)));
            if round.decided.take(half_offset) || by_original {
                return true;
            }
            if !self.read_decisions(round, late) {
                return false;
            }
        }
    }

    /// Reads some more decisions; false when there are none.
    fn read_decisions(&self, round: &mut Round, late: &mut Late) -> bool {
        let units = self.store.queue_units(TRANS_OP_HALF_TOPIC, round.queue_id, round.decided.next(), BATCH);
        let any = !units.is_empty();
        for unit in units {
            let record = self.store.record_at(unit.physical_offset);
            let record = record.as_deref().and_then(|bytes| MessageRecord::parse(bytes).ok());
            let record = record.filter(|record| is_op(&Properties::parse(&record.properties_str())));
            let Some(record) = record else {
                tracing::error!(offset = unit.queue_offset, "no decision over half messages, skipped");
                round.decided.skip_to(unit.queue_offset + 1);
                continue;
            };
            let end = self.store.max_offset(TRANS_HALF_TOPIC, round.queue_id);
            for original in round.decided.read(unit.queue_offset, record.body) {
                late.entry((round.queue_id, original)).or_insert(end);
            }
        }
        any
    }

    /// Puts it where what was asked about too often lies.
    fn discard(&self, half: &Half<'_>, round: &mut Round) -> Result<(), PutError> {
        self.topics.create_for_retry(TRANS_CHECK_MAX_TIME_TOPIC, 1, false, 0);
        let put = half.copy(&self.store, TRANS_CHECK_MAX_TIME_TOPIC, 0, &half.properties)?;
        round.copied_end = Some(put.end());
        self.transactions.metrics.add(&half.destination.0, -1, clock::now_ms());
        let (topic, group) = (&half.destination.0, half.group());
        let key = half.properties.get(property::UNIQ_KEY).unwrap_or_default();
        tracing::warn!(
            topic,
            group,
            key,
            "half message that nobody decided over: moved to {TRANS_CHECK_MAX_TIME_TOPIC}"
        );
        Ok(())
    }

    /// Puts it behind the others; a decision over its original counts for the copy.
    fn put_behind(&self, half: &Half<'_>, round: &mut Round) -> Result<(), PutError> {
        let mut properties = half.properties.clone();
        if properties.get(property::TRAN_PREPARED_QUEUE_OFFSET).is_none() {
            properties.set(property::TRAN_PREPARED_QUEUE_OFFSET, half.record.queue_offset.to_string());
        }
        let put = half.copy(&self.store, TRANS_HALF_TOPIC, round.queue_id, &properties)?;
        round.copied_end = Some(put.end());
        Ok(())
    }

    /// Puts it behind the others and asks its producer about the copy.
    fn ask(&self, half: &Half<'_>, times: i32, round: &mut Round) -> Result<(), PutError> {
        let mut properties = half.properties.clone();
        properties.set(property::TRANSACTION_CHECK_TIMES, times.to_string());
        let put = half.copy(&self.store, TRANS_HALF_TOPIC, round.queue_id, &properties)?;
        round.copied_end = Some(put.end());
        if !self.send_question(half, &put, &properties) {
            round.unheard += 1;
        }
        Ok(())
    }

    /// True when a producer of the group was reached: any of them may know.
    fn send_question(&self, half: &Half<'_>, put: &PutResult, properties: &Properties) -> bool {
        let Some(body) = half.question(put, properties) else { return false };
        let offset = i64::try_from(put.physical_offset).unwrap_or(i64::MAX);
        let unique = properties.get(property::UNIQ_KEY);
        let header = CheckTransactionStateRequestHeader {
            topic: Some(TRANS_HALF_TOPIC.into()),
            tran_state_table_offset: put.queue_offset,
            commit_log_offset: offset,
            msg_id: unique.map(Into::into),
            transaction_id: unique.map(Into::into),
            offset_msg_id: Some(message_id(half.record.store_host, offset).into()),
            broker_name: Some(self.config.get().broker.broker_name.as_str().into()),
        };
        let channels = self.producers.in_turn(half.group());
        channels.iter().any(|channel| channel.oneway::<CheckTransactionState>(&header, body.clone()))
    }
}
