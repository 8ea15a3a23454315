//! What happens to the process and to the disk of a broker: signal 9, losses of power, failing and full disks.
//! docs/crash.md has the promises; `scripts/crash` runs the same for long.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use it::clock::{Deadline, wait_for};
use it::link::{Link, Refused};
use it::load::{Load, TOPIC};
use it::lone::{LoneBroker, Mount, is_root};
use it::process::run;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SMALL: [(&str, &str); 6] = [
    // Metadata is replaced all the time: a broker does not start on a broken file.
    ("flushConsumerOffsetInterval", "20"),
    ("mappedFileSizeCommitLog", "1048576"),
    ("mappedFileSizeConsumeQueue", "20000"),
    ("maxHashSlotNum", "1000"),
    ("maxIndexNum", "4000"),
    ("diskMaxUsedSpaceRatio", "95"),
];
const SYNC: (&str, &str) = ("flushDiskType", "SYNC_FLUSH");
const SERVICE_NOT_AVAILABLE: i64 = 14;

/// Rounds of one flush type; `scripts/crash` asks for more.
fn rounds(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

/// Numbers without order; each run has others, and what a run does depends on the moment anyway.
fn random_ms(limit: u64) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    Duration::from_micros(RandomState::new().hash_one(0) % (limit * 1000))
}

fn killed_under_load(flush: (&str, &str), name: &str) {
    let options: Vec<_> = SMALL.into_iter().chain([flush]).collect();
    let mut broker = LoneBroker::new(name, None, &options);
    broker.start();
    broker.link().create_topic(TOPIC, it::load::QUEUES).unwrap().unwrap();
    let mut load = Load::default();
    let rounds = rounds("FERROCKET_KILL_ROUNDS", 5);
    let began = Deadline::in_seconds(3600);
    for round in 0..rounds {
        let pid = Pid::from_raw(i32::try_from(broker.process().id()).unwrap()).unwrap();
        load.during(&broker, || {
            std::thread::sleep(random_ms(400));
            kill_process(pid, Signal::KILL).unwrap();
        });
        broker.kill9();
        // Now and then it dies again while it starts, at once or a little later.
        for _ in 0..round % 3 {
            broker.launch();
            std::thread::sleep(random_ms(40));
            broker.kill9();
        }
        broker.start();
        load.check(&broker);
    }
    broker.stop();
    broker.start();
    load.check(&broker);
    println!("{name}: {rounds} kills, {} messages, {} s", load.total, 3600 - began.left().as_secs());
    assert!(load.total > rounds);
}

#[test]
fn killed_under_load_async_flush() {
    killed_under_load(("flushDiskType", "ASYNC_FLUSH"), "kill-async");
}

#[test]
fn killed_under_load_sync_flush() {
    killed_under_load(SYNC, "kill-sync");
}

/// The disk is a file with ext4 in it: what the broker has synced has reached the file, the rest is in the page cache above.
/// A copy of the file, while the broker is stopped, is what a loss of power would leave; ext4 replays its journal on it.
#[test]
fn power_lost_under_load() {
    if !is_root("power_lost_under_load") {
        return;
    }
    let dir = it::scratch::dir("power");
    let (disk, copy) = (dir.join("disk.img"), dir.join("copy.img"));
    let rounds = rounds("FERROCKET_POWER_ROUNDS", 3);
    // Room for all of it: a disk that fills up has its oldest messages deleted.
    make_disk(&disk, 160 + 12 * u64::try_from(rounds).unwrap());
    let options: Vec<_> = SMALL.into_iter().chain([SYNC]).collect();
    let mount = |image: &Path| Mount::new(dir.join("mnt"), &["-o", "loop", image.to_str().unwrap()]);
    let mut mounted = mount(&disk);
    let mut broker = LoneBroker::new("power", Some(&mounted.path.join("store")), &options);
    broker.start();
    broker.link().create_topic(TOPIC, it::load::QUEUES).unwrap().unwrap();
    let mut load = Load::default();
    for round in 0..rounds {
        let pid = Pid::from_raw(i32::try_from(broker.process().id()).unwrap()).unwrap();
        load.during(&broker, || {
            std::thread::sleep(Duration::from_millis(100) + random_ms(1500));
            kill_process(pid, Signal::STOP).unwrap();
            copy_disk(&disk, &copy);
            kill_process(pid, Signal::KILL).unwrap();
        });
        broker.kill9();
        drop(mounted);
        std::fs::rename(&copy, &disk).unwrap();
        mounted = mount(&disk);
        broker.next_boot(&format!("boot {round}"));
        broker.start();
        load.check(&broker);
    }
    println!("power: {rounds} losses, {} messages", load.total);
    broker.stop();
    drop(mounted);
}

/// A file with an empty ext4 in it.
fn make_disk(path: &Path, mib: u64) {
    std::fs::File::create(path).unwrap().set_len(mib << 20).unwrap();
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F"]).arg(path);
    run(mkfs);
}

/// Copies the file under a mounted file system. Its journal thread may write meanwhile, which a loss of power would not let it
/// do in two halves: two copies that are the same are a state of one moment.
fn copy_disk(from: &Path, to: &Path) {
    let copy = || {
        let mut command = Command::new("cp");
        command.args(["--sparse=always"]).arg(from).arg(to);
        run(command);
    };
    copy();
    wait_for("a moment without writes", 30, || {
        let mut same = Command::new("cmp");
        same.arg("-s").arg(from).arg(to);
        same.status().unwrap().success().then_some(()).or_else(|| {
            copy();
            None
        })
    });
}

/// A broker with a few messages that were acknowledged under SYNC_FLUSH.
fn sound_broker(name: &str, store: Option<&Path>, options: &[(&str, &str)]) -> (LoneBroker, Link) {
    let options: Vec<_> = SMALL.into_iter().chain([SYNC]).chain(options.iter().copied()).collect();
    let mut broker = LoneBroker::new(name, store, &options);
    broker.start();
    let mut link = broker.link();
    link.create_topic("T", 1).unwrap().unwrap();
    for number in 0..20 {
        assert_eq!(link.send("T", 0, &format!("k{number}"), format!("m{number}").as_bytes()).unwrap(), Ok(number));
    }
    (broker, link)
}

/// Reads the first `count` messages, in fewer than which something would be lost.
fn expect_messages(link: &mut Link, count: i64) {
    let mut all = Vec::new();
    while i64::try_from(all.len()).unwrap() < count {
        let more = link.pull("T", 0, i64::try_from(all.len()).unwrap(), 32).unwrap();
        assert!(!more.is_empty(), "{} of {count} messages are there", all.len());
        all.extend(more);
    }
    for (number, message) in all.iter().enumerate().take(20) {
        assert_eq!(
            (message.queue_offset, message.body.clone()),
            (i64::try_from(number).unwrap(), format!("m{number}"))
        );
    }
}

/// strace on a running process, which makes system calls fail.
struct Injection(Child);

impl Injection {
    /// From when this returns, `calls` fail with `errno`.
    fn begin(broker: &LoneBroker, calls: &str, errno: &str) -> Self {
        let log = broker.store().parent().unwrap().join(format!("strace-{errno}"));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-p", &broker.process().id().to_string(), "-o"]).arg(&log);
        strace.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:error={errno}")]);
        let mut strace = it::process::dying_with_us(strace);
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = it::process::spawn(strace);
        let tasks = format!("/proc/{}/task", broker.process().id());
        wait_for("strace traces every thread (is it installed, and may it trace?)", 20, || {
            let traced = std::fs::read_dir(&tasks).ok()?.all(|task| {
                let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
                status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
            });
            traced.then_some(())
        });
        Self(child)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // strace lets go of what it traces when it is asked to end, and leaves it running.
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).ok();
        }
        self.0.wait().ok();
    }
}

/// Sends until one is refused; how many were acknowledged before, and the refusal.
fn send_until_refused(link: &mut Link, body: &[u8], most: usize) -> (i64, Refused) {
    for number in 0..most {
        if let Err(refused) = link.send("T", 0, &format!("more{number}"), body).unwrap() {
            return (i64::try_from(number).unwrap(), refused);
        }
    }
    panic!("{most} messages were acknowledged");
}

/// A call that fails makes the broker read-only, at once and for good; a restart has everything.
fn read_only_after(name: &str, calls: &str, errno: &str, reason: &str) {
    if !is_root(name) {
        return;
    }
    let (mut broker, mut link) = sound_broker(name, None, &[]);
    let injection = Injection::begin(&broker, calls, errno);
    let (more, refused) = send_until_refused(&mut link, &[b'x'; 1000], 2000);
    drop(injection);
    assert_eq!(refused.code, SERVICE_NOT_AVAILABLE, "{refused:?}");
    assert!(refused.remark.contains("read-only") && refused.remark.contains(reason), "{refused:?}");
    // Though the disk would work again.
    let again = link.send("T", 0, "again", b"x").unwrap().unwrap_err();
    assert_eq!((again.code, again.remark), (SERVICE_NOT_AVAILABLE, refused.remark));
    expect_messages(&mut link, 20);
    broker.stop();
    broker.start();
    let mut link = broker.link();
    expect_messages(&mut link, 20 + more);
    link.send("T", 0, "after", b"x").unwrap().unwrap();
}

#[test]
fn a_failing_sync_makes_the_broker_read_only() {
    read_only_after("fdatasync-eio", "fdatasync", "EIO", "cannot flush");
}

#[test]
fn a_failing_write_makes_the_broker_read_only() {
    read_only_after("pwrite-eio", "pwrite64", "EIO", "cannot write consume queues or index");
}

#[test]
fn a_failing_allocation_makes_the_broker_read_only() {
    read_only_after("fallocate-eio", "fallocate", "EIO", "cannot allocate");
}

/// No room is no damage: refused while it lasts, and over with it.
#[test]
fn no_room_for_the_next_file_heals() {
    if !is_root("no_room_for_the_next_file_heals") {
        return;
    }
    let (broker, mut link) = sound_broker("fallocate-enospc", None, &[]);
    let injection = Injection::begin(&broker, "fallocate", "ENOSPC");
    let (more, refused) = send_until_refused(&mut link, &[b'x'; 50_000], 200);
    assert!(refused.remark.contains("No space left on device"), "{refused:?}");
    expect_messages(&mut link, 20 + more);
    drop(injection);
    assert_eq!(link.send("T", 0, "after", b"x").unwrap(), Ok(20 + more));
    expect_messages(&mut link, 21 + more);
}

#[test]
fn metadata_that_cannot_be_replaced_is_no_success() {
    if !is_root("metadata_that_cannot_be_replaced_is_no_success") {
        return;
    }
    let (mut broker, mut link) = sound_broker("rename-eio", None, &[]);
    let injection = Injection::begin(&broker, "rename,renameat,renameat2", "EIO");
    let refused = link.create_topic("New", 1).unwrap().unwrap_err();
    assert!(refused.remark.contains("could not be written"), "{refused:?}");
    // Messages are another matter.
    assert_eq!(link.send("T", 0, "k20", b"m20").unwrap(), Ok(20));
    drop(injection);
    link.create_topic("New", 1).unwrap().unwrap();
    broker.kill9();
    broker.start();
    assert_eq!(broker.link().send("New", 0, "k", b"m").unwrap(), Ok(0));
    expect_messages(&mut broker.link(), 21);
}

#[test]
fn a_full_file_system_refuses_and_heals() {
    if !is_root("a_full_file_system_refuses_and_heals") {
        return;
    }
    let mount = Mount::new(it::scratch::dir("full").join("mnt"), &["-t", "tmpfs", "-o", "size=40m", "tmpfs"]);
    let ballast = mount.path.join("ballast");
    std::fs::write(&ballast, vec![0; 12 << 20]).unwrap();
    let options = [("cleanResourceInterval", "200"), ("diskSpaceCleanForciblyRatio", "85")];
    let (mut broker, mut link) = sound_broker("full", Some(&mount.path.join("store")), &options);
    let (more, refused) = send_until_refused(&mut link, &[b'x'; 50_000], 2000);
    assert!(
        refused.remark.contains("full") || refused.remark.contains("No space left on device"),
        "the reason is named: {refused:?}"
    );
    let (min, max) = link.range("T", 0).unwrap();
    // Queues may find no room for the last of them; they come when there is some again.
    assert!((20..=20 + more).contains(&max), "{max} of {more}");
    assert!(!link.pull("T", 0, min.max(max - 5), 32).unwrap().is_empty(), "reads go on");
    std::fs::remove_file(&ballast).unwrap();
    let offset =
        wait_for("sends are accepted again, without a restart", 30, || link.send("T", 0, "b", b"x").unwrap().ok());
    assert_eq!(offset, 20 + more, "what was acknowledged is there");
    broker.stop();
    broker.start();
    assert_eq!(broker.link().range("T", 0).unwrap().1, 20 + more + 1);
}

#[test]
fn a_file_system_that_turns_read_only_makes_the_broker_read_only() {
    if !is_root("a_file_system_that_turns_read_only_makes_the_broker_read_only") {
        return;
    }
    let dir = it::scratch::dir("abort");
    let disk = dir.join("disk.img");
    make_disk(&disk, 96);
    let image = disk.to_str().unwrap();
    let mount = Mount::new(dir.join("mnt"), &["-o", "loop,errors=remount-ro", image]);
    let (mut broker, mut link) = sound_broker("abort", Some(&mount.path.join("store")), &[]);
    // As after an error of the disk below: ext4 gives up its journal and lets nobody write any more.
    let mut abort = Command::new("mount");
    abort.args(["-o", "remount,abort"]).arg(&mount.path);
    abort.status().unwrap();
    let (more, refused) = send_until_refused(&mut link, &[b'x'; 1000], 2000);
    assert_eq!(refused.code, SERVICE_NOT_AVAILABLE, "{refused:?}");
    assert!(refused.remark.contains("read-only"), "{refused:?}");
    expect_messages(&mut link, 20);
    broker.kill9();
    drop(mount);
    let _mount = Mount::new(dir.join("mnt"), &["-o", "loop", image]);
    broker.start();
    let mut link = broker.link();
    expect_messages(&mut link, 20 + more);
    link.send("T", 0, "after", b"x").unwrap().unwrap();
}
