//! What a process on this machine uses, from /proc.

use serde::Serialize;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// Unit of the times in /proc/PID/stat: USER_HZ is 100 on Linux.
const TICK_NS: u64 = 10_000_000;

/// What a process has used so far.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Run time and context switches of each thread by its id, ns.
    threads: Vec<(u32, u64, u64)>,
    /// User and system time of the process, ns, in steps of 10 ms.
    ticks_ns: u64,
    /// Memory now.
    pub memory: Memory,
}

/// Memory of a process, KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident (VmRSS).
    pub rss_kib: u64,
    /// Of that anonymous (RssAnon): what is not a page of a file.
    pub anon_kib: u64,
    /// The most that was resident (VmHWM).
    pub peak_kib: u64,
}

/// What a process used between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// User and system time, ns.
    pub cpu_ns: u64,
    /// Context switches, voluntary and not.
    pub switches: u64,
}

impl Usage {
    /// Of a process; `None` when it is not there, or not ours to look at.
    #[must_use]
    pub fn of(pid: u32) -> Option<Usage> {
        let dir = format!("/proc/{pid}");
        let stat = fs::read_to_string(format!("{dir}/stat")).ok()?;
        // The program's name may hold anything, so fields are counted from behind it: 14 and 15 are the times.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let ticks_ns = (ticks()? + ticks()?) * TICK_NS;
        let status = fs::read_to_string(format!("{dir}/status")).ok()?;
        let memory = Memory {
            rss_kib: field(&status, "VmRSS:")?,
            anon_kib: field(&status, "RssAnon:").unwrap_or(0),
            peak_kib: field(&status, "VmHWM:").unwrap_or(0),
        };
        let mut threads: Vec<_> =
            fs::read_dir(format!("{dir}/task")).ok()?.flatten().filter_map(|task| thread(&task.path())).collect();
        threads.sort_unstable();
        Some(Usage { threads, ticks_ns, memory })
    }

    /// What was used since `earlier`.
    ///
    /// The times of threads (schedstat) are exact to the nanosecond but vanish with their thread. When one has ended in
    /// between, the time of the process is taken, which comes in steps of 10 ms.
    #[must_use]
    pub fn since(&self, earlier: &Usage) -> Used {
        let now = |id: u32| self.threads.binary_search_by_key(&id, |thread| thread.0).ok().map(|at| &self.threads[at]);
        let ended = earlier.threads.iter().any(|(id, ..)| now(*id).is_none());
        let sum = |usage: &Usage, of: fn(&(u32, u64, u64)) -> u64| usage.threads.iter().map(of).sum::<u64>();
        let exact = sum(self, |thread| thread.1).saturating_sub(sum(earlier, |thread| thread.1));
        let ticks = self.ticks_ns.saturating_sub(earlier.ticks_ns);
        let cpu_ns = if ended || exact == 0 { ticks } else { exact };
        Used { cpu_ns, switches: sum(self, |thread| thread.2).saturating_sub(sum(earlier, |thread| thread.2)) }
    }
}

fn thread(task: &Path) -> Option<(u32, u64, u64)> {
    let id = task.file_name()?.to_str()?.parse().ok()?;
    let run = fs::read_to_string(task.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()?;
    let status = fs::read_to_string(task.join("status")).ok()?;
    let switches = field(&status, "voluntary_ctxt_switches:")? + field(&status, "nonvoluntary_ctxt_switches:")?;
    Some((id, run, switches))
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// The process on this machine that listens on a port; `None` when there is none that we may look at.
#[must_use]
pub fn listening_on(addr: SocketAddr) -> Option<u32> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| inode(line, addr.port())).collect::<Vec<_>>())
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let is_one = |fd: fs::DirEntry| {
        let target = fs::read_link(fd.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
        inodes.contains(&inode).then_some(())
    };
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        fs::read_dir(process.path().join("fd")).ok()?.flatten().find_map(is_one).map(|()| pid)
    })
}

/// The inode of a line of /proc/net/tcp when it is a socket that listens on `port`.
/// Fields: number, local address:port in hexadecimal, remote, state (0A listens), four more, uid, timeout, inode.
fn inode(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local) = fields.get(1)?.rsplit_once(':')?;
    let listens = *fields.get(3)? == "0A" && u16::from_str_radix(local, 16).ok()? == port;
    listens.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn finds_who_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listening_on(listener.local_addr().unwrap()), Some(std::process::id()));
        let closed = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(listening_on(closed), None);
    }

    #[test]
    fn reads_a_line_of_the_table() {
        let line =
            "   0: 0100007F:2A9F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 8125 1 0 100";
        assert_eq!(inode(line, 10911).as_deref(), Some("8125"));
        assert_eq!(inode(line, 10912), None);
        assert_eq!(inode(&line.replace(" 0A ", " 01 "), 10911), None);
        assert_eq!(inode("  sl  local_address rem_address   st", 1), None);
    }

    #[test]
    fn measures_what_this_process_uses() {
        let before = Usage::of(std::process::id()).unwrap();
        assert!(before.memory.rss_kib > 0 && before.memory.peak_kib >= before.memory.anon_kib);
        let mut sum = 0_u64;
        let spent = loop {
            sum = (0..100_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
            let used = Usage::of(std::process::id()).unwrap().since(&before);
            if used.cpu_ns > 0 {
                break used.cpu_ns;
            }
        };
        assert!(spent > 0);
    }

    #[test]
    fn a_thread_that_ended_makes_the_ticks_count() {
        let at =
            |threads: &[(u32, u64, u64)], ticks_ns| Usage { threads: threads.to_vec(), ticks_ns, ..Usage::default() };
        let before = at(&[(1, 100, 5), (2, 100, 5)], 0);
        let both = at(&[(1, 350, 7), (2, 200, 6), (3, 50, 1)], 10_000_000);
        assert_eq!(both.since(&before), Used { cpu_ns: 400, switches: 4 });
        assert_eq!(at(&[(1, 350, 7)], 10_000_000).since(&before).cpu_ns, 10_000_000);
    }
}
