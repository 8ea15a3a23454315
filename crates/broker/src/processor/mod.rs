//! Handlers, one file per capability. A handler's fields are the parts it depends on.

pub mod admin;
pub mod client_manage;
pub mod consumer_manage;
pub mod consumer_send_msg_back;
pub mod lock_batch_mq;
pub mod pull_message;
pub mod query_message;
pub mod recall_message;
pub mod send_message;
