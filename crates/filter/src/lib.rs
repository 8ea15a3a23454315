//! SQL92 expressions over message properties, as RocketMQ 5.5.0 reads and evaluates them, and the bloom filter in which a
//! broker keeps for which consumers an expression was true.
//!
//! [`Expression::parse`] is given what a consumer subscribed with; [`Expression::evaluate`] asks for properties by name
//! and allocates nothing. Source: rocketmq-filter, SelectorParser.jj and the classes below `filter.expression`.

#![forbid(unsafe_code)]

mod bloom;
mod error;
mod evaluate;
mod expression;
mod java_number;
mod lexer;
mod parser;

pub use bloom::{BloomError, BloomFilter};
pub use error::{EvaluateError, ParseError};
pub use expression::Expression;

/// Bytes of the longest expression that is read; Java has no limit.
pub const MAX_LEN: usize = 1 << 20;
/// How deep an expression may be nested; Java goes on until its stack is full. Terms side by side (`a OR b OR …`) do not
/// count.
pub const MAX_DEPTH: usize = 250;
