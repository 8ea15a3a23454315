//! Offsets that only grow, and waiting for them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::FlushError;

/// Resolves when the log is confirmed up to the offset asked for.
#[derive(Debug)]
#[must_use = "a wait does nothing until it is polled"]
pub struct FlushWait {
    _end: u64,
}

impl Future for FlushWait {
    type Output = Result<(), FlushError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        todo!()
    }
}
