//! Why a command could not do its work.

use std::io;
use std::path::{Path, PathBuf};

/// What ends a command with exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store could not be locked or opened.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The command makes no sense for this store; the text says what does.
    #[error("{0}")]
    Refused(String),
    /// Standard output is closed.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

/// Names what was tried, and on which file, where the system refuses.
pub(crate) trait IoContext<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, ToolError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, ToolError> {
        self.map_err(|source| ToolError::Io { action, path: path.to_owned(), source })
    }
}
