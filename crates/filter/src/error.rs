//! What can be wrong with an expression. The texts are those that a Java broker answers with: consumers show them to
//! their users.

use crate::{MAX_DEPTH, MAX_LEN};

/// Why an expression cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The token that is out of place, where it is, and what could be there.
    #[error("org.apache.rocketmq.filter.parser.ParseException: {0}")]
    Syntax(String),
    /// What is not a token at all, and where it is.
    #[error("org.apache.rocketmq.filter.parser.TokenMgrError: {0}")]
    Lexical(String),
    /// A number that is none, or too large.
    #[error("java.lang.NumberFormatException: {0}")]
    Number(String),
    /// Operands that cannot be compared.
    #[error("java.lang.RuntimeException: {0}")]
    Operand(String),
    /// Bounds that are a boolean and a text.
    #[error("java.lang.ClassCastException: {0}")]
    Cast(&'static str),
    /// Longer than [`MAX_LEN`].
    #[error("the expression has {0} bytes, allowed are {MAX_LEN}")]
    TooLong(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the expression is nested deeper than {MAX_DEPTH} levels at line {line}, column {column}")]
    TooDeep {
        /// From 1 on.
        line: usize,
        /// From 1 on.
        column: usize,
    },
    /// Nothing to read.
    #[error("the expression is empty")]
    Empty,
}

/// Why a message cannot be told to match or not. A broker does not deliver it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// A text is compared with a number and is none of that kind.
    #[error("a text that is compared with a number is none")]
    NotANumber,
    /// The other way round than `property = TRUE`, which Java can do.
    #[error("a boolean on the left cannot be compared with a text on the right")]
    BooleanAndText,
}
