//! The one number that bounds what the process allocates.
//!
//! In this order: `--memory`, the option `memoryBudget`, `-Xmx` among the JVM flags, half of the control group's limit (the
//! other half is the page cache's, which the kernel counts there too), else [`DEFAULT_BYTES`].

use std::fs;
use std::path::Path;

/// The budget when nothing else is said.
pub const DEFAULT_BYTES: u64 = 256 << 20;
/// A smaller budget is raised to this: below it a daemon could not hold one largest frame per direction.
pub const LEAST_BYTES: u64 = 48 << 20;

/// A budget and what it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Bytes the process may allocate.
    pub bytes: u64,
    /// What set it, for the log.
    pub source: &'static str,
}

/// Chooses the budget; the arguments are in order of rank, in bytes.
#[must_use]
pub fn memory_budget(
    command_line: Option<u64>,
    option: Option<u64>,
    max_heap: Option<u64>,
    cgroup_limit: Option<u64>,
) -> MemoryBudget {
    let (bytes, source) = [
        (command_line, "--memory"),
        (option, "memoryBudget"),
        (max_heap, "-Xmx"),
        (cgroup_limit.map(|limit| limit / 2), "half of the control group's limit"),
    ]
    .into_iter()
    .find_map(|(bytes, source)| bytes.map(|bytes| (bytes, source)))
    .unwrap_or((DEFAULT_BYTES, "the default"));
    MemoryBudget { bytes: bytes.max(LEAST_BYTES), source }
}

/// The memory limit of this process' control group (version 2 or 1), in bytes; none when there is none.
#[must_use]
pub fn cgroup_limit() -> Option<u64> {
    limit_below(Path::new("/"))
}

fn limit_below(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (mount, file) = if controllers.is_empty() {
            (root.join("sys/fs/cgroup"), "memory.max")
        } else if controllers.split(',').any(|c| c == "memory") {
            (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        // The limits of all groups above hold too. In a container the path may not exist below the mount, whose own
        // limit is then the right one: the loop ends with it.
        let mut group = Some(Path::new(path.trim_start_matches('/')));
        while let Some(relative) = group {
            limits.extend(read_limit(&mount.join(relative).join(file)));
            group = relative.parent();
        }
    }
    limits.into_iter().min()
}

/// A limit file: a number, or `max`. Version 1 writes a number near 2^63 for none.
fn read_limit(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok().filter(|&limit: &u64| limit < 1 << 62)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_rank() {
        let mib = |n: u64| Some(n << 20);
        let check = |a, b, c, d, bytes: u64, source| {
            assert_eq!(memory_budget(a, b, c, d), MemoryBudget { bytes: bytes << 20, source });
        };
        check(mib(100), mib(200), mib(300), mib(400), 100, "--memory");
        check(None, mib(200), mib(300), mib(400), 200, "memoryBudget");
        check(None, None, mib(300), mib(400), 300, "-Xmx");
        check(None, None, None, mib(400), 200, "half of the control group's limit");
        check(None, None, None, None, 256, "the default");
        check(mib(1), None, None, None, 48, "--memory");
    }

    fn check_cgroup(groups: &str, files: &[(&str, &str)], expect: Option<u64>) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        fs::write(dir.path().join("proc/self/cgroup"), groups).unwrap();
        for (path, content) in files {
            let path = dir.path().join("sys/fs/cgroup").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        assert_eq!(limit_below(dir.path()), expect);
    }

    #[test]
    fn cgroups() {
        check_cgroup("0::/a/b\n", &[("a/b/memory.max", "max\n"), ("a/memory.max", "1000\n")], Some(1000));
        check_cgroup("0::/\n", &[("memory.max", "2000\n")], Some(2000));
        check_cgroup("0::/gone/away\n", &[("memory.max", "2000\n")], Some(2000));
        let v1 = "9:cpu,memory:/docker/x\n0::/\n";
        check_cgroup(v1, &[("memory/memory.limit_in_bytes", "9223372036854771712\n")], None);
        check_cgroup(v1, &[("memory/docker/x/memory.limit_in_bytes", "4096\n")], Some(4096));
        check_cgroup("", &[], None);
    }
}
