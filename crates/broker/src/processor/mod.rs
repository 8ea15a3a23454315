//! Handlers, one file per capability. A handler's fields are the parts it depends on.

pub mod ack_message;
pub mod admin;
pub mod change_invisible_time;
pub mod client_manage;
pub mod consumer_manage;
pub mod consumer_send_msg_back;
pub mod end_transaction;
pub mod lock_batch_mq;
pub mod notification;
pub mod peek_message;
mod pop_checks;
pub mod pop_message;
mod pop_queue;
mod priority;
mod pull_control;
pub mod pull_message;
pub mod query_assignment;
pub mod query_message;
pub mod recall_message;
pub mod reply_message;
pub mod send_message;
