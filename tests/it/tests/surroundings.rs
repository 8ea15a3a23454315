//! Bad surroundings: one clear line on standard error and Java's exit codes. And the command lines of popular containers.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use it::cluster::our_bin;
use it::ports::free_block;
use it::process::Process;
use it::{Broker, Kind, Launch, Nameserver, scratch};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

/// What a shell sees of Java's `System.exit(-1)` and `System.exit(-3)`.
const FAILURE: i32 = 255;
const INITIALIZATION: i32 = 253;

/// A broker's command line with a store of its own on free ports.
fn broker(dir: &Path, port: u16) -> Command {
    let mut command = Command::new(our_bin("mqbroker"));
    command.env_clear().env("ROCKETMQ_HOME", dir).env("JAVA_OPT_EXT", format!("-Duser.home={}", dir.display()));
    command.args(["--brokerIP1", "127.0.0.1", "--mappedFileSizeCommitLog", "16777216"]);
    command.args(["--listenPort", &port.to_string()]).current_dir(dir);
    command
}

/// It ends by itself with this code; its last line on standard error holds all `parts`.
fn refuses(mut command: Command, code: i32, parts: &[&str]) -> Output {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = error.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(code), "{error}");
    for part in parts {
        assert!(last.contains(part), "{part:?} is missing in: {last}\nall of it:\n{error}");
    }
    output
}

fn running(dir: &Path, port: u16) -> Process {
    let process = Process::start("mqbroker", broker(dir, port), &dir.join("out.log"));
    process.wait_line("boot success", 0, 60);
    process
}

#[test]
fn a_port_in_use() {
    let (dir, port) = (scratch::dir("port"), free_block());
    let taken = TcpListener::bind(("0.0.0.0", port)).unwrap();
    let port_text = port.to_string();
    refuses(broker(&dir, port), FAILURE, &["cannot listen on", &port_text, "in use", "listenPort"]);
    drop(taken);
    let vip = TcpListener::bind(("0.0.0.0", port - 2)).unwrap();
    refuses(broker(&dir, port), FAILURE, &["cannot listen on", "VIP port", "listenPort"]);
    drop(vip);
    // Nothing is left behind that keeps the next start away.
    running(&dir, port).stop(20);
    let mut namesrv = Command::new(our_bin("mqnamesrv"));
    namesrv.env_clear().env("ROCKETMQ_HOME", &dir).args(["--listenPort", &port_text]);
    let _taken = TcpListener::bind(("0.0.0.0", port)).unwrap();
    refuses(namesrv, INITIALIZATION, &[&port_text, "in use"]);
}

#[test]
fn a_second_process_on_the_same_store() {
    let dir = scratch::dir("second");
    let first = running(&dir, free_block());
    let pid = first.id().to_string();
    refuses(broker(&dir, free_block()), INITIALIZATION, &["in use by process", &pid, "storePathRootDir"]);
    first.stop(20);
}

#[test]
fn a_store_that_java_holds() {
    let namesrv = Nameserver::start(Launch::of(Kind::Java));
    let java = Broker::start(Launch::of(Kind::Java), "java-holds", &namesrv.addr(), &[]);
    let dir = scratch::dir("java-holds");
    let mut command = broker(&dir, free_block());
    command.args(["--storePathRootDir", java.store_dir().to_str().unwrap()]);
    refuses(command, INITIALIZATION, &["in use by process", "storePathRootDir"]);
}

#[test]
fn a_store_that_may_not_be_written() {
    // Below /tmp, since another user must be able to get there; the folders above this tree may be closed.
    let dir = std::env::temp_dir().join(format!("ferrocket-unwritable-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("store")).unwrap();
    let program = dir.join("mqbroker");
    std::fs::copy(our_bin("mqbroker"), &program).unwrap();
    let mut command = Command::new(&program);
    command.env_clear().env("ROCKETMQ_HOME", &dir).env("JAVA_OPT_EXT", format!("-Duser.home={}", dir.display()));
    command.args(["--brokerIP1", "127.0.0.1", "--listenPort", &free_block().to_string()]).current_dir(&dir);
    if rustix::process::getuid().is_root() {
        // Root may write everywhere, so somebody else starts it.
        set_mode(&dir, 0o755);
        set_mode(&dir.join("store"), 0o755);
        command.uid(65534).gid(65534);
    } else {
        set_mode(&dir.join("store"), 0o555);
    }
    refuses(command, INITIALIZATION, &["no permission to write", "uid", "chown -R"]);
    set_mode(&dir.join("store"), 0o755);
    std::fs::remove_dir_all(&dir).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_disk_too_full() {
    let dir = scratch::dir("full");
    let port = free_block();
    // A file system of its own with room for less than one commit-log file, in a mount namespace of its own.
    let script = format!(
        "mount -t tmpfs -o size=4m ferrocket {0} && exec {1} --brokerIP1 127.0.0.1 --listenPort {port} \
         --mappedFileSizeCommitLog 16777216",
        dir.display(),
        our_bin("mqbroker").display()
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    command.env("ROCKETMQ_HOME", &dir).env("JAVA_OPT_EXT", format!("-Duser.home={}", dir.display()));
    refuses(command, INITIALIZATION, &["disk", "is full", "bytes needed"]);
}

#[test]
fn settings_that_cannot_work() {
    let dir = scratch::dir("settings");
    let conf = dir.join("broker.conf");
    let start = |text: &str| {
        std::fs::write(&conf, text).unwrap();
        let mut command = broker(&dir, free_block());
        command.arg("-c").arg(&conf);
        command
    };
    refuses(start("brokerName=a\nfileReservedTime=soon\n"), FAILURE, &["broker.conf:2", "fileReservedTime", "soon"]);
    refuses(start("messageDelayLevel=1s later\n"), INITIALIZATION, &["messageDelayLevel", "later"]);
    refuses(start("brokerRole=SLAVE\nbrokerId=1\n"), INITIALIZATION, &["brokerRole=SLAVE"]);
    refuses(start("bindAddress=nowhere\n"), FAILURE, &["bindAddress", "nowhere"]);
    let output = start("namesrvAddr=not an address\n").output().unwrap();
    assert_eq!(output.status.code(), Some(INITIALIZATION));
    assert!(String::from_utf8_lossy(&output.stdout).contains("127.0.0.1:9876;192.168.0.1:9876"));
    std::fs::write(&conf, "flushDiskTyp=SYNC_FLUSH\nflushDiskTyp=SYNC_FLUSH\nmapedFileSizeCommitLog=16777216\n")
        .unwrap();
    let mut command = broker(&dir, free_block());
    command.arg("-c").arg(&conf);
    let process = Process::start("mqbroker", command, &dir.join("warned.log"));
    process.wait_line("boot success", 0, 60);
    let log = process.output();
    assert_eq!(log.matches("flushDiskTyp ").count() + log.matches("flushDiskTyp:").count(), 1, "once: {log}");
    assert!(log.contains("flushDiskType"), "the nearest key is named: {log}");
    process.stop(20);
}

#[test]
fn metadata_that_is_broken_is_not_taken_for_none() {
    let dir = scratch::dir("metadata");
    let port = free_block();
    running(&dir, port).stop(20);
    let config = dir.join("store/config");
    for file in ["topics.json", "topics.json.bak"] {
        std::fs::write(config.join(file), "{\"topicConfigTable\":").unwrap();
    }
    refuses(broker(&dir, port), INITIALIZATION, &["topics.json", "restore one of them"]);
}

/// As foxiswho/rocketmq and others start it: `sh mqbroker` in bin/, settings in the environment, junk on the command line.
#[test]
fn command_lines_of_popular_containers() {
    let dir = scratch::dir("container");
    let dist = dir.join("rocketmq");
    let bin = our_bin("mqbroker");
    let layout = Command::new("sh")
        .arg(scratch::root().join("scripts/layout"))
        .arg(&dist)
        .env("PROGRAMS", bin.parent().unwrap())
        .output()
        .unwrap();
    assert!(layout.status.success(), "{}", String::from_utf8_lossy(&layout.stderr));
    let home = dir.join("home");
    std::fs::create_dir(&home).unwrap();
    let (port, conf) = (free_block(), dir.join("broker.conf"));
    let text = format!(
        "brokerClusterName = DefaultCluster\nbrokerName = broker-a\nbrokerId = 0\nbrokerIP1=127.0.0.1\nlistenPort={port}\n"
    );
    std::fs::write(&conf, format!("# a comment\n{text}deleteWhen=04\nautoCreateTopicEnable = true\n")).unwrap();
    let mut command = Command::new("sh");
    command.arg("mqbroker").arg("-c").arg(&conf).args(["-n", "127.0.0.1:1", "autoCreateTopicEnable=true"]);
    command.current_dir(dist.join("bin")).env_remove("ROCKETMQ_HOME");
    command.env("JAVA_OPT_EXT", "-server -Xms128m -Xmx128m -Xmn128m");
    command.env("JAVA_OPTS", format!("-Duser.home={}", home.display()));
    let process = Process::start("mqbroker", command, &dir.join("out.log"));
    let line = format!(
        "The broker[broker-a, 127.0.0.1:{port}] boot success. serializeType=JSON and name server is 127.0.0.1:1"
    );
    // No nameserver is there, and it serves all the same.
    process.wait_line(&line, 0, 60);
    assert!(home.join("store/commitlog").is_dir(), "the store lies where -Duser.home says");
    let log = process.output();
    assert!(log.contains("-Xmn128m") && log.contains("-server"), "flags without a meaning are named: {log}");
    assert!(log.contains("134217728"), "-Xmx bounds the memory: {log}");
    assert!(process.stop(20).success());
}
