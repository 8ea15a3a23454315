//! What becomes of half messages: the producer's decision (37), and beginning to ask anew (323). Source of checks, order
//! and remarks: broker/processor/EndTransactionProcessor.java, AdminBrokerProcessor.resumeCheckHalfMessage.

use crate::broker_stats::{BrokerStats, names as stat};
use crate::config::FlushDiskType;
use crate::config_manager::BrokerConfigManager;
use crate::reply::{put_error, wait_flushed};
use crate::transaction::Transactions;
use crate::transaction::half::Half;
use crate::transaction::ops::OpStyle;
use crate::transaction::verdict::is_too_late;
use codec::message::{parse_message_id, sys_flag};
use codec::properties::names as property;
use protocol::header::transaction::{EndTransactionRequestHeader, ResumeCheckHalfMessageRequestHeader};
use protocol::names::TRANS_HALF_TOPIC;
use protocol::operation::{EndTransaction, ResumeCheckHalfMessage};
use protocol::response_code::{ILLEGAL_OPERATION, SYSTEM_ERROR};
use remoting::clock;
use remoting::reply::{Outcome, Reply, Request};
use remoting::routes::Processor;
use std::net::SocketAddr;
use std::sync::Arc;
use store::{MappedSlice, MessageStore, PutResult};

/// Commits and rolls back.
pub struct EndTransactionProcessor {
    /// Where half messages lie.
    pub store: Arc<MessageStore>,
    /// Takes in the decisions.
    pub transactions: Arc<Transactions>,
    /// Counters.
    pub stats: Arc<BrokerStats>,
    /// Settings.
    pub config: Arc<BrokerConfigManager>,
    /// This broker's address.
    pub store_host: SocketAddr,
}

impl Processor<EndTransaction> for EndTransactionProcessor {
    fn process(&self, request: Request<EndTransactionRequestHeader>) -> Outcome {
        let header = &request.header;
        let commit = match header.commit_or_rollback {
            sys_flag::TRANSACTION_COMMIT_TYPE => true,
            sys_flag::TRANSACTION_ROLLBACK_TYPE => false,
            sys_flag::TRANSACTION_NOT_TYPE => {
                tracing::debug!(group = %header.producer_group, offset = header.commit_log_offset, "not decided yet");
                return Outcome::Silent;
            }
            other => {
                let remark = format!("commitOrRollback field wrong: {other}, it is 8 (commit), 12 (roll back) or 0");
                return Reply::error(SYSTEM_ERROR, remark).into();
            }
        };
        let record = self.record(header.commit_log_offset);
        let half = match record.as_deref().and_then(Half::of) {
            Some(half) => half,
            None => return refused(NOT_FOUND),
        };
        match self.check(header, &half) {
            Ok(()) if commit => self.commit(&half, request.is_oneway()),
            Ok(()) => self.roll_back(&half),
            Err(reply) => reply.into(),
        }
    }
}

impl Processor<ResumeCheckHalfMessage> for EndTransactionProcessor {
    fn process(&self, request: Request<ResumeCheckHalfMessageRequestHeader>) -> Outcome {
        let id = request.header.msg_id.as_deref().unwrap_or_default();
        let record = parse_message_id(id).ok().and_then(|(_, offset)| self.record(offset));
        let Some(half) = record.as_deref().and_then(Half::kept) else {
            let remark = format!("Put message back to RMQ_SYS_TRANS_HALF_TOPIC failed. {id} is no half message");
            return Reply::error(SYSTEM_ERROR, remark).into();
        };
        let mut properties = half.properties.clone();
        properties.set(property::TRANSACTION_CHECK_TIMES, "0");
        match half.copy(&self.store, TRANS_HALF_TOPIC, 0, &properties) {
            Ok(_) => {
                self.transactions.metrics.add(&half.destination.0, 1, clock::now_ms());
                Reply::success().into()
            }
            Err(error) => {
                let remark = format!("Put message back to RMQ_SYS_TRANS_HALF_TOPIC failed. {error}");
                Reply::error(SYSTEM_ERROR, remark).into()
            }
        }
    }
}

const NOT_FOUND: &str = "Find prepared transaction message failed";

/// What Java's answers say that nobody gave a remark. Source: RemotingCommand.createResponseCommand.
const NO_REMARK: &str = "not set any response code";

fn refused(remark: &'static str) -> Outcome {
    Reply::error(SYSTEM_ERROR, remark).into()
}

impl EndTransactionProcessor {
    fn record(&self, physical_offset: i64) -> Option<MappedSlice> {
        u64::try_from(physical_offset).ok().and_then(|offset| self.store.record_at(offset))
    }

    fn check(&self, header: &EndTransactionRequestHeader, half: &Half<'_>) -> Result<(), Reply> {
        let timeout_ms = self.config.get().broker.transaction_time_out;
        let (born_ms, now_ms) = (half.record.born_timestamp, clock::now_ms());
        if !header.from_transaction_check && is_too_late(&half.properties, born_ms, now_ms, timeout_ms) {
            return Err(Reply::error(ILLEGAL_OPERATION, NO_REMARK));
        }
        if half.group() != &*header.producer_group {
            return Err(Reply::error(SYSTEM_ERROR, "The producer group wrong"));
        }
        if half.record.queue_offset != header.tran_state_table_offset {
            return Err(Reply::error(SYSTEM_ERROR, "The transaction state table offset wrong"));
        }
        Ok(())
    }

    fn commit(&self, half: &Half<'_>, oneway: bool) -> Outcome {
        let options = self.config.get();
        let put = match half.commit(&self.store) {
            Ok(put) => put,
            Err(error) => return put_error(&error, options.store.max_message_size).into(),
        };
        self.count(&half.destination.0, &put);
        // The message is there: should the decision get lost, the producer is asked once more.
        if !self.decided(half) {
            tracing::warn!(offset = half.record.physical_offset, "committed, but the decision cannot be kept");
        }
        let wait = half.properties.get(property::WAIT) != Some("false");
        if oneway || options.store.flush_disk_type == FlushDiskType::AsyncFlush || !wait {
            return Reply::success().into();
        }
        let flushed = wait_flushed(self.store.flushed(put.end()), options.store.sync_flush_timeout);
        Outcome::Later(Box::pin(async move {
            // Java answers success whatever came of the flush: a decision that is lost is asked for again.
            let _ = flushed.await;
            Reply::success()
        }))
    }

    fn roll_back(&self, half: &Half<'_>) -> Outcome {
        if self.decided(half) {
            return Reply::success().with_remark(NO_REMARK).into();
        }
        refused("the decision cannot be kept: the store takes no messages")
    }

    fn decided(&self, half: &Half<'_>) -> bool {
        let now_ms = clock::now_ms();
        let style = OpStyle::of(&self.config.get(), self.store_host);
        let (queue_id, offset) = (half.record.queue_id, half.record.queue_offset);
        let kept = self.transactions.ops.add(&self.store, style, queue_id, offset, now_ms);
        if kept {
            self.transactions.metrics.add(&half.destination.0, -1, now_ms);
        }
        kept
    }

    fn count(&self, topic: &str, put: &PutResult) {
        self.stats.add(stat::TOPIC_PUT_NUMS, topic, 1, 1);
        self.stats.add(stat::TOPIC_PUT_SIZE, topic, put.len.into(), 1);
        self.stats.add(stat::BROKER_PUT_NUMS, &self.config.get().broker.broker_cluster_name, 1, 1);
    }
}
