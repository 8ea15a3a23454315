//! Why a run failed.

use std::io;

/// What ends a run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// An answer, or what was stored, is not what it must be. The text names server, topic, queue and offset.
    #[error("wrong answer: {0}")]
    Wrong(String),
    /// A server that cannot be reached, or that went away.
    #[error("{0}")]
    Server(String),
    /// The options do not go together, or not with this server; the text says what does.
    #[error("{0}")]
    Refused(String),
    /// A file or the system refused.
    #[error("cannot {action} {what}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl BenchError {
    /// The exit code of the program: 1 for wrong answers, 2 when the run could not be made or ended early.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            BenchError::Wrong(_) => 1,
            _ => 2,
        }
    }
}

/// Names what was tried, and on what, where the system refuses.
pub(crate) trait IoContext<T> {
    fn on(self, action: &'static str, what: impl Into<String>) -> Result<T, BenchError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn on(self, action: &'static str, what: impl Into<String>) -> Result<T, BenchError> {
        self.map_err(|source| BenchError::Io { action, what: what.into(), source })
    }
}
