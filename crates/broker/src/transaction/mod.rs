//! Transactional messages. A half message waits in RMQ_SYS_TRANS_HALF_TOPIC, where no consumer sees it, until its
//! producer says commit (a copy goes where it was meant to go) or roll back. Either way its queue offset is noted in
//! RMQ_SYS_TRANS_OP_HALF_TOPIC. Producers that say nothing are asked; how far that has come are two offsets of the group
//! CID_RMQ_SYS_TRANS, one in each topic. So all of it lies in queues, and a broker that was killed goes on from there.
//!
//! Source: broker/transaction/queue/.

pub mod half;
pub mod metrics;
pub mod ops;
pub mod verdict;

use self::metrics::TransactionMetrics;
use self::ops::OpBuffer;
use std::path::Path;
use tokio::sync::Notify;

/// What is known of transactions besides what lies in the queues.
#[derive(Debug)]
pub struct Transactions {
    /// Decisions that are not written yet.
    pub ops: OpBuffer,
    /// Half messages by topic.
    pub metrics: TransactionMetrics,
    arrived: Notify,
}

impl Transactions {
    /// Reads the counts.
    pub fn open(store_root: &Path) -> Transactions {
        Transactions { ops: OpBuffer::default(), metrics: TransactionMetrics::open(store_root), arrived: Notify::new() }
    }

    /// A half message or a decision can be read.
    pub fn arrived(&self) {
        self.arrived.notify_one();
    }

    /// Waits for a half message or a decision. One that came since the last wait counts.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }
}
