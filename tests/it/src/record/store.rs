//! Records the files of a small store.

use crate::driver::Version;
use std::path::Path;

/// Runs a broker of that version, has a few messages of every kind stored, stops it, and keeps its files.
pub fn record(_version: Version, _dir: &Path) {}
