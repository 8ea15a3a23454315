//! The Java side: artifacts (fetched by `scripts/java-deps` when missing), flags, and class archives that make a JVM
//! start in a fraction of a second.

use crate::cluster::{Cluster, ClusterOptions, Kind, Launch};
use crate::driver::{Driver, Serialize, Version};
use crate::process::run;
use crate::scratch::{self, root, target};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The version of the Java servers that every case is run against.
pub const SERVER_VERSION: &str = "5.5.0";

/// The folder of that RocketMQ version with `driver.jar`, `classpath` and class archives; the first call has
/// `scripts/java-deps` fetch and compile what is missing.
/// # Panics
/// With what the script says when it fails.
fn home(version: &str) -> &'static Path {
    static HOMES: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    let homes = HOMES.get_or_init(|| {
        let mut script = Command::new(root().join("scripts/java-deps"));
        if std::env::var_os("FERROCKET_JAVA_DIR").is_none() {
            script.env("FERROCKET_JAVA_DIR", target().join("java"));
        }
        let printed = run(script);
        let lines = printed.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(version, dir)| (version.to_owned(), PathBuf::from(dir))).collect()
    });
    homes.get(version).unwrap_or_else(|| panic!("java-deps has no RocketMQ {version}"))
}

/// A `java` command for `main` of that RocketMQ version, without its arguments. `archive` names the class archive:
/// it is read when it exists, and `record` has the JVM write it when it ends.
pub fn command(version: &str, main: &str, archive: &str, record: bool, properties: &[(&str, String)]) -> Command {
    let major = version.split('.').next().unwrap_or_default();
    let logback = root().join(format!("tests/java/conf/logback-{major}.xml"));
    let mut java = Command::new("java");
    // A small heap and the quick compiler only: many of these run side by side on two cores.
    java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxDirectMemorySize=256m"]);
    java.args(["-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr"]);
    // Netty and the mapped files of 4.x reach into the JDK, which newer JDKs only allow when told.
    java.args([
        "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
        "--add-opens=java.base/java.nio=ALL-UNNAMED",
        "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
    ]);
    // The driver keeps mqadmin from ending the process.
    java.arg("-Djava.security.manager=allow");
    // TLS needs a self-made certificate, which costs a second and has no part in these tests.
    java.args(["-Dtls.server.mode=disabled", "-Drocketmq.client.logUseSlf4j=true"]);
    java.arg(format!("-Drmq.logback.configurationFile={}", logback.display()));
    java.arg(format!("-Dlogback.configurationFile={}", logback.display()));
    for (key, value) in properties {
        java.arg(format!("-D{key}={value}"));
    }
    // Whoever measures gives Java more than the tests do.
    if let Some(arguments) = std::env::var_os("FERROCKET_JAVA_ARGS") {
        java.args(arguments.to_string_lossy().split_whitespace());
    }
    let archive = archive_path(version, archive);
    if record {
        java.arg(format!("-XX:ArchiveClassesAtExit={}", archive.display()));
    } else if archive.exists() {
        java.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
    }
    let classpath = std::fs::read_to_string(home(version).join("classpath")).expect("java-deps writes the classpath");
    // Java would unpack its RocksDB at every start, and leave it behind when it is killed.
    java.arg(format!("-Djava.library.path={}", home(version).join("native").display()));
    java.arg("-cp").arg(classpath.trim()).arg(main);
    java
}

fn archive_path(version: &str, archive: &str) -> PathBuf {
    home(version).join("archives").join(format!("{archive}.jsa"))
}

/// Makes the class archives that are missing, once per machine: runs a small cluster and every driver to a clean end.
pub fn prepare() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let _one_at_a_time = scratch::lock("class-archives");
        let servers = !archive_path(SERVER_VERSION, "broker").exists();
        let missing: Vec<_> =
            Version::ALL.into_iter().filter(|version| !archive_path(version.name(), "driver").exists()).collect();
        if !servers && missing.is_empty() {
            return;
        }
        eprintln!("making class archives of the Java programs, once");
        let cluster = Cluster::start(Launch { record: servers, ..Launch::of(Kind::Java) }, &ClusterOptions::default());
        for version in missing {
            let driver = Driver::java(version, Serialize::Json, true);
            driver.rehearse(&cluster.namesrv());
            driver.end();
        }
        cluster.stop();
    });
}
