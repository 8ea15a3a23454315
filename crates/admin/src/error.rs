//! Why a command did not do what was asked.

use client::ClientError;

/// An error of a command. The texts name the thing and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A server refused or was not reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The arguments make no sense.
    #[error("{0}")]
    Usage(String),
    /// The cluster is not known.
    #[error(
        "Make sure the specified clusterName exists or the name server connected to is correct: cluster [{0}] has no \
         broker"
    )]
    NoCluster(String),
    /// Nothing was found.
    #[error("{0}")]
    NotFound(String),
    /// Standard output or a file cannot be written.
    #[error("{what}: {source}")]
    Io {
        /// What was to be written.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Some of several things failed; each was reported already.
    #[error("{0} failed, see above")]
    Partly(String),
}
