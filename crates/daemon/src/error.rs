//! What can go wrong around serving, in the cases a caller tells apart.

use std::io;
use std::path::PathBuf;

/// A configuration that cannot be used. Every text names the thing, where it stands and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or is larger than [`crate::properties::MAX_FILE_BYTES`].
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file as it was given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be rewritten.
    #[error("cannot write the configuration file {}: {source}", path.display())]
    Write {
        /// The file as it was given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line that is neither Java properties nor TOML.
    #[error("{origin}:{line}: {problem}")]
    Syntax {
        /// File name, or what else the text came from.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A value that does not parse, or lies outside what is allowed.
    #[error("{origin}: {key}={value} is refused: {key} takes {allowed}")]
    Value {
        /// `file:line`, `command line`, or the like.
        origin: String,
        /// The option.
        key: String,
        /// The value as given.
        value: String,
        /// The permitted values in words.
        allowed: String,
    },
    /// The key stands in `configBlackList`: it may only be changed in the file, with a restart.
    #[error("{key} stands in configBlackList: change it in the configuration file and restart")]
    BlackListed {
        /// The option.
        key: String,
    },
    /// Two options that cannot both hold.
    #[error("{0}")]
    Conflict(String),
}
