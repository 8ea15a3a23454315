//! How much room a disk has, and what that asks for.

use std::fmt;

use crate::config::StoreConfig;
use crate::fs::DiskUsage;

/// What the room on a disk asks for; each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum DiskLevel {
    /// Nothing.
    #[default]
    Plenty,
    /// Expired files are deleted at any hour.
    Scarce,
    /// Files are deleted before they expire.
    Short,
    /// Puts are refused.
    Full,
}

impl fmt::Display for DiskLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DiskLevel::Plenty => "plenty",
            DiskLevel::Scarce => "scarce",
            DiskLevel::Short => "short",
            DiskLevel::Full => "full",
        })
    }
}

/// The limit that a disk has passed: which, its value, what there is, and the key that changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskLimit {
    /// More is used than may be.
    Used {
        /// Use in percent.
        percent: u8,
        /// Most allowed.
        limit_percent: u8,
        /// Its key.
        key: &'static str,
    },
    /// Less is free than should be.
    Free {
        /// Free for this process.
        bytes: u64,
        /// Least allowed.
        limit_bytes: u64,
        /// Its key.
        key: &'static str,
    },
    /// The system has no room for what had to be written.
    NoRoom {
        /// Free for this process.
        bytes: u64,
    },
}

impl fmt::Display for DiskLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskLimit::Used { percent, limit_percent, key } => {
                write!(f, "{percent}% full, limit {limit_percent}% ({key})")
            }
            DiskLimit::Free { bytes, limit_bytes, key } => {
                write!(f, "full but for {bytes} bytes, limit {limit_bytes} bytes ({key})")
            }
            DiskLimit::NoRoom { bytes } => write!(f, "full but for {bytes} bytes, which the system does not give"),
        }
    }
}

/// From where on a level is reached: its ratio is exceeded, or less is free than its bytes.
#[derive(Debug, Clone, Copy)]
struct Threshold {
    level: DiskLevel,
    percent: u8,
    percent_key: &'static str,
    free_bytes: Option<u64>,
    free_key: &'static str,
}

/// The thresholds of all levels, the highest first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thresholds([Threshold; 3]);

impl Thresholds {
    /// Bounds of the ratios as in DefaultMessageStore.CleanCommitLogService.
    pub(crate) fn of(config: &StoreConfig) -> Thresholds {
        Thresholds([
            Threshold {
                level: DiskLevel::Full,
                percent: config.disk_space_warning_level_ratio.clamp(35, 90),
                percent_key: "diskSpaceWarningLevelRatio",
                free_bytes: config.disk_space_warning_level_free_bytes,
                free_key: "diskSpaceWarningLevelFreeBytes",
            },
            Threshold {
                level: DiskLevel::Short,
                percent: config.disk_space_clean_forcibly_ratio.clamp(30, 85),
                percent_key: "diskSpaceCleanForciblyRatio",
                free_bytes: config.disk_space_clean_forcibly_free_bytes,
                free_key: "diskSpaceCleanForciblyFreeBytes",
            },
            Threshold {
                level: DiskLevel::Scarce,
                percent: config.disk_max_used_space_ratio,
                percent_key: "diskMaxUsedSpaceRatio",
                free_bytes: config.disk_min_free_space_bytes,
                free_key: "diskMinFreeSpaceBytes",
            },
        ])
    }

    /// The level of a disk, and the limit that it passed to get there.
    pub(crate) fn reached(&self, usage: &DiskUsage) -> (DiskLevel, Option<DiskLimit>) {
        let percent = usage.percent();
        for threshold in &self.0 {
            if percent > threshold.percent {
                let key = threshold.percent_key;
                return (threshold.level, Some(DiskLimit::Used { percent, limit_percent: threshold.percent, key }));
            }
            if let Some(limit_bytes) = threshold.free_bytes.filter(|limit| usage.available < *limit) {
                let key = threshold.free_key;
                return (threshold.level, Some(DiskLimit::Free { bytes: usage.available, limit_bytes, key }));
            }
        }
        (DiskLevel::Plenty, None)
    }

    /// [`Thresholds::reached`], the level alone.
    pub(crate) fn level(&self, usage: &DiskUsage) -> DiskLevel {
        self.reached(usage).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_limit_reaches_a_level() {
        let config = StoreConfig {
            disk_min_free_space_bytes: Some(300),
            disk_space_clean_forcibly_free_bytes: Some(200),
            disk_space_warning_level_free_bytes: Some(100),
            ..StoreConfig::at("")
        };
        let check = |config: &StoreConfig, used, available, level, text: &str| {
            let (reached, limit) = Thresholds::of(config).reached(&DiskUsage { used, available });
            let limit = limit.map(|limit| limit.to_string()).unwrap_or_default();
            assert_eq!((reached, limit.as_str()), (level, text), "{used} {available}");
        };
        check(&config, 500, 300, DiskLevel::Plenty, "");
        check(&config, 500, 299, DiskLevel::Scarce, "full but for 299 bytes, limit 300 bytes (diskMinFreeSpaceBytes)");
        let short = "full but for 199 bytes, limit 200 bytes (diskSpaceCleanForciblyFreeBytes)";
        check(&config, 500, 199, DiskLevel::Short, short);
        let full = "full but for 99 bytes, limit 100 bytes (diskSpaceWarningLevelFreeBytes)";
        check(&config, 99, 99, DiskLevel::Full, full);
        check(&config, 7600, 2400, DiskLevel::Scarce, "76% full, limit 75% (diskMaxUsedSpaceRatio)");
        check(&config, 8600, 1400, DiskLevel::Short, "86% full, limit 85% (diskSpaceCleanForciblyRatio)");
        check(&config, 9100, 900, DiskLevel::Full, "91% full, limit 90% (diskSpaceWarningLevelRatio)");
        // Unset, bytes count for nothing.
        check(&StoreConfig::at(""), 50, 20, DiskLevel::Plenty, "");
        // The higher level counts, whichever limit it has passed.
        check(&config, 9100, 90, DiskLevel::Full, "100% full, limit 90% (diskSpaceWarningLevelRatio)");
        check(&config, 350, 90, DiskLevel::Full, full.replace("99", "90").as_str());
    }
}
