//! Transactional messages.

use bytestring::ByteString;
use codec::command_header;

command_header! {
    /// Code 37: what became of a half message.
    pub struct EndTransactionRequestHeader {
        "topic" topic: Option<ByteString>,
        "producerGroup" producer_group: ByteString,
        /// Position of the half message in its queue.
        "tranStateTableOffset" tran_state_table_offset: i64,
        /// Physical offset of the half message.
        "commitLogOffset" commit_log_offset: i64,
        /// 8 commit, 12 roll back, 0 not known yet: transaction bits of a message's sysFlag.
        "commitOrRollback" commit_or_rollback: i32,
        /// The broker had asked.
        "fromTransactionCheck" from_transaction_check: bool = false,
        /// The client's message id.
        "msgId" msg_id: Option<ByteString>,
        "transactionId" transaction_id: Option<ByteString>,
    }
}

command_header! {
    /// Code 39, towards a producer: what became of this half message? It is answered with code 37.
    pub struct CheckTransactionStateRequestHeader {
        /// The topic that half messages lie in.
        "topic" topic: Option<ByteString>,
        /// Position of the half message in its queue.
        "tranStateTableOffset" tran_state_table_offset: i64,
        /// Physical offset of the half message.
        "commitLogOffset" commit_log_offset: i64,
        /// The client's message id.
        "msgId" msg_id: Option<ByteString>,
        "transactionId" transaction_id: Option<ByteString>,
        /// The id that names the half message's place.
        "offsetMsgId" offset_msg_id: Option<ByteString>,
        /// The broker that asks.
        "bname" broker_name: Option<ByteString>,
    }
}

command_header! {
    /// Code 323: begin to check a half message anew.
    pub struct ResumeCheckHalfMessageRequestHeader {
        "topic" topic: Option<ByteString>,
        /// The id that names its place.
        "msgId" msg_id: Option<ByteString>,
    }
}
