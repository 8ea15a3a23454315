//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::dump::Selection;
use crate::time;

/// Looks at, checks and mends a RocketMQ store directory, Java's or Ferrocket's.
///
/// Nothing is written without --apply, and what a change replaces is kept.
#[derive(Debug, Parser)]
#[command(name = "mqstore", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which store.
#[derive(Debug, Clone, Args)]
pub(crate) struct Store {
    /// The store: storePathRootDir of the broker
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// The commit log, when it lies elsewhere: storePathCommitLog of the broker
    #[arg(long, value_name = "DIR[,DIR]", value_delimiter = ',')]
    pub(crate) commitlog: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell what is here
    Inspect {
        #[command(flatten)]
        store: Store,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Check everything against everything; exit code 0 sound, 1 something found, 2 could not look
    Verify {
        #[command(flatten)]
        store: Store,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make queues, index or metadata anew
    Rebuild {
        /// What
        what: What,
        #[command(flatten)]
        store: Store,
        /// Do it, instead of telling what would be done
        #[arg(long)]
        apply: bool,
        /// messageDelayLevel of the broker, when it is not the default
        #[arg(long, value_name = "LEVELS")]
        delay_levels: Option<String>,
        /// mappedFileSizeConsumeQueue of the broker, when it is not the default and no file is left to tell
        #[arg(long, value_name = "BYTES")]
        queue_file_bytes: Option<u64>,
        /// maxHashSlotNum of the broker, likewise
        #[arg(long, value_name = "NUMBER")]
        index_slots: Option<u32>,
        /// maxIndexNum of the broker, likewise
        #[arg(long, value_name = "NUMBER")]
        index_entries: Option<u32>,
    },
    /// The same as rebuild metadata
    RebuildMetadata {
        #[command(flatten)]
        store: Store,
        /// Do it, instead of telling what would be done
        #[arg(long)]
        apply: bool,
    },
    /// Have readers step over damage in the log, so that what lies behind it is not lost
    Bridge {
        #[command(flatten)]
        store: Store,
        /// Step over records with a wrong checksum too
        #[arg(long)]
        records: bool,
        /// Do it, instead of telling what would be done
        #[arg(long)]
        apply: bool,
    },
    /// Give up everything from one offset of the log on
    Cut {
        #[command(flatten)]
        store: Store,
        /// The offset in the commit log
        #[arg(long, value_name = "OFFSET")]
        at: u64,
        /// Do it, instead of telling what would be done
        #[arg(long)]
        apply: bool,
    },
    /// Print messages
    Dump {
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        wanted: Wanted,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum What {
    /// Consume queues, from the log
    Queues,
    /// The index by key, from the log
    Index,
    /// Topics, groups and offsets, from queues, log and what is readable in the old files
    Metadata,
}

/// Which messages.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// Of this topic
    #[arg(long)]
    topic: Option<String>,
    /// Of this queue
    #[arg(long, value_name = "ID")]
    queue: Option<i32>,
    /// Queue offset, or a range of them: 5, 5..9 (without 9), 5.., ..9
    #[arg(long, value_name = "RANGE", value_parser = range)]
    offset: Option<(Option<i64>, Option<i64>)>,
    /// With this key
    #[arg(long)]
    key: Option<String>,
    /// With this message id, the offset form or the client's
    #[arg(long)]
    id: Option<String>,
    /// Stored at this time or later: milliseconds, or 2026-11-24T08:30:00 local time
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    begin: Option<i64>,
    /// Stored at this time or earlier
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    end: Option<i64>,
    /// So many at most
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
}

impl Wanted {
    pub(crate) fn selection(self) -> Selection {
        let (from, to) = self.offset.unwrap_or_default();
        Selection {
            topic: self.topic,
            queue_id: self.queue,
            from,
            to,
            key: self.key,
            id: self.id,
            begin: self.begin,
            end: self.end,
            limit: self.limit,
        }
    }
}

/// `5`, `5..9`, `5..`, `..9`.
fn range(text: &str) -> Result<(Option<i64>, Option<i64>), String> {
    let number = |text: &str| -> Result<Option<i64>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| format!("{text:?} is no queue offset; give 5, 5..9, 5.. or ..9"))
    };
    match text.split_once("..") {
        Some((from, to)) => Ok((number(from)?, number(to)?)),
        None => {
            let at = number(text)?;
            Ok((at, at.map(|at| at.saturating_add(1))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(range("5"), Ok((Some(5), Some(6))));
        assert_eq!(range("5..9"), Ok((Some(5), Some(9))));
        assert_eq!(range("..9"), Ok((None, Some(9))));
        assert!(range("five").unwrap_err().contains("5..9"));
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
