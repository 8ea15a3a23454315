//! The client processes: one long-lived JVM per client version and header serialisation, one Go process. They take
//! commands on standard input and answer with JSON lines (`tests/java/src/driver/Driver.java` has the form).

use crate::clock::Deadline;
use crate::process::{dying_with_us, run, spawn};
use crate::scratch::{self, root, target};
use crate::{jvm, unique};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The Java client versions that must work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// 4.5.2
    V4_5_2,
    /// 4.9.7
    V4_9_7,
    /// 5.5.0
    V5_5_0,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V4_5_2, Self::V4_9_7, Self::V5_5_0];

    /// As Maven names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4_5_2 => "4.5.2",
            Self::V4_9_7 => "4.9.7",
            Self::V5_5_0 => "5.5.0",
        }
    }
}

/// How a Java client writes its headers: `-Drocketmq.serialize.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Serialize {
    /// JSON text.
    Json,
    /// The ROCKETMQ binary form.
    RocketMq,
}

impl Serialize {
    /// As the Java property has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::RocketMq => "ROCKETMQ",
        }
    }
}

/// Options of a command: `args! { name: p, count: 100, "p.colour": "red" }`.
#[macro_export]
macro_rules! args {
    ($($key:tt : $value:expr),* $(,)?) => {
        vec![$((stringify!($key).trim_matches('"').to_owned(), ($value).to_string())),*]
    };
}

/// Options of a command, as [`args!`](crate::args) makes them.
pub type Args = Vec<(String, String)>;

/// Why a command failed on the client's side.
#[derive(Debug)]
pub struct Failure {
    /// The exception's text, from a Java client with its causes.
    pub error: String,
    /// The response code in it, if it came from a server.
    pub code: Option<i64>,
}

/// A client process.
pub struct Driver {
    /// For messages: `java-4.5.2-JSON`, `go`.
    pub name: String,
    child: Mutex<Child>,
    stdin: Mutex<Option<ChildStdin>>,
    waiting: Arc<Mutex<HashMap<u64, SyncSender<Value>>>>,
    next: AtomicU64,
    log: PathBuf,
}

/// Longest time that any command may take.
const CALL_SECONDS: u64 = 150;

impl Driver {
    /// Starts a Java client process; `record` has it write its class archive at its end.
    pub fn java(version: Version, serialize: Serialize, record: bool) -> Self {
        Self::java_with(version, serialize, record, &[])
    }

    /// [`Self::java`] with further system properties.
    pub fn java_with(version: Version, serialize: Serialize, record: bool, more: &[(&'static str, String)]) -> Self {
        let name = format!("java-{}-{}", version.name(), serialize.name());
        let dir = scratch::dir(&name);
        let mut properties = vec![
            ("rocketmq.serialize.type", serialize.name().to_owned()),
            ("rocketmq.client.name", name.clone()),
            ("user.home", dir.display().to_string()),
            ("java.io.tmpdir", dir.display().to_string()),
            ("rocketmq.home.dir", dir.display().to_string()),
            ("log.file", dir.join("client.log").display().to_string()),
        ];
        properties.extend(more.iter().cloned());
        let mut command = jvm::command(version.name(), "driver.Driver", "driver", record, &properties);
        command.env_remove("NAMESRV_ADDR").current_dir(&dir);
        // mqadmin 4.x reads its log configuration from the home directory.
        std::fs::create_dir_all(dir.join("conf")).expect("the scratch directory is writable");
        let major = version.name().split('.').next().unwrap_or_default();
        std::fs::copy(root().join(format!("tests/java/conf/logback-{major}.xml")), dir.join("conf/logback_tools.xml"))
            .expect("the scratch directory is writable");
        Self::start(name, command, dir.join("err.log"))
    }

    fn start(name: String, command: Command, log: PathBuf) -> Self {
        let mut command = dying_with_us(command);
        let err = File::create(&log).expect("the scratch directory is writable");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(err);
        let mut child = spawn(command);
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("standard output is piped");
        let waiting: Arc<Mutex<HashMap<u64, SyncSender<Value>>>> = Arc::default();
        let (ready, is_ready) = sync_channel(1);
        lock(&waiting).insert(0, ready);
        let answers = Arc::clone(&waiting);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(answer) = serde_json::from_str::<Value>(&line) else { continue };
                let id = answer.get("id").and_then(Value::as_u64).unwrap_or(u64::MAX);
                if let Some(waiter) = lock(&answers).remove(&id) {
                    waiter.send(answer).ok();
                }
            }
            // Whoever still waits sees that the process is gone.
            lock(&answers).clear();
        });
        let driver =
            Self { name, child: Mutex::new(child), stdin: Mutex::new(stdin), waiting, next: AtomicU64::new(1), log };
        if is_ready.recv_timeout(Duration::from_secs(60)).is_err() {
            panic!("{} did not start:\n{}", driver.name, driver.stderr());
        }
        driver
    }

    /// Runs a command; panics when it fails.
    pub fn call(&self, command: &str, args: Args) -> Value {
        let shown = format!("{args:?}");
        self.try_call(command, args).unwrap_or_else(|failure| {
            panic!("{}: {command} {shown}: {} (code {:?})", self.name, failure.error, failure.code)
        })
    }

    /// Runs a command.
    /// # Errors
    /// The exception it ended with.
    /// # Panics
    /// When the client process ends or never answers.
    pub fn try_call(&self, command: &str, args: Args) -> Result<Value, Failure> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = sync_channel(1);
        lock(&self.waiting).insert(id, answer);
        let mut line = format!("{id}\t{command}");
        for (key, value) in &args {
            line.push_str(&format!("\t{key}={}", escape(value)));
        }
        line.push('\n');
        if let Some(stdin) = lock(&self.stdin).as_mut() {
            stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).ok();
        }
        let deadline = Deadline::in_seconds(CALL_SECONDS);
        match answered.recv_timeout(deadline.left()) {
            Ok(value) if value["ok"] == true => Ok(value),
            Ok(value) => Err(Failure {
                error: value["error"].as_str().unwrap_or("no error text").to_owned(),
                code: value["code"].as_i64(),
            }),
            Err(RecvTimeoutError::Timeout) => panic!("{}: {command} {args:?} not answered", self.name),
            Err(RecvTimeoutError::Disconnected) => panic!("{} ended:\n{}", self.name, self.stderr()),
        }
    }

    /// Does a little of everything, so that the class archive knows the classes that clients need.
    pub fn rehearse(&self, namesrv: &str) {
        let (topic, name, group) = (unique("rehearsal"), unique("p"), unique("g"));
        self.call("producer.start", args! { name: name, group: group, namesrv: namesrv });
        self.call("send", args! { name: name, topic: topic, count: 10 });
        self.call("push.start", args! { name: name, group: group, namesrv: namesrv, topic: topic });
        let got = self.call("push.await", args! { name: name, count: 10 });
        assert_eq!(got["complete"], true, "{} cannot do the simplest things: {got}", self.name);
        self.call("mqadmin", args! { n: 3, a0: "clusterList", a1: "-n", a2: namesrv });
        self.call("push.stop", args! { name: name });
        self.call("producer.stop", args! { name: name });
    }

    /// Lets it end by itself (end of input) and waits.
    pub fn end(&self) {
        lock(&self.stdin).take();
        lock(&self.child).wait().expect("a child can be waited for");
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        child.kill().ok();
        child.wait().ok();
    }
}

/// The Java client of that version and serialisation, one process per test program.
pub fn java(version: Version, serialize: Serialize) -> &'static Driver {
    type Slot = Arc<OnceLock<&'static Driver>>;
    static DRIVERS: OnceLock<Mutex<HashMap<(Version, Serialize), Slot>>> = OnceLock::new();
    let slot = Arc::clone(lock(DRIVERS.get_or_init(Mutex::default)).entry((version, serialize)).or_default());
    slot.get_or_init(|| Box::leak(Box::new(Driver::java(version, serialize, false))))
}

/// The Go client, built from `tests/go` at the first call, one process per test program.
pub fn go() -> &'static Driver {
    static GO: OnceLock<Driver> = OnceLock::new();
    GO.get_or_init(|| {
        let program = target().join("go-driver");
        let mut build = Command::new("go");
        build.current_dir(root().join("tests/go")).args(["build", "-o"]).arg(&program).arg(".");
        if std::path::Path::new("/usr/local/go/bin").exists() {
            let path = std::env::var("PATH").unwrap_or_default();
            build.env("PATH", format!("{path}:/usr/local/go/bin"));
        }
        {
            let _one_at_a_time = scratch::lock("go-driver");
            run(build);
        }
        let dir = scratch::dir("go");
        let mut command = Command::new(program);
        command.env("HOME", &dir).env_remove("NAMESRV_ADDR").current_dir(&dir);
        Driver::start("go".to_owned(), command, dir.join("err.log"))
    })
}

/// Every Java client: each version with each serialisation.
pub fn clients() -> Vec<&'static Driver> {
    let serializes = [Serialize::Json, Serialize::RocketMq];
    Version::ALL.into_iter().flat_map(|version| serializes.map(|serialize| java(version, serialize))).collect()
}

/// One Java client of each version, with one or the other serialisation: for cases where the pair does not matter.
pub fn mix() -> [&'static Driver; 3] {
    [
        java(Version::V4_5_2, Serialize::Json),
        java(Version::V4_9_7, Serialize::RocketMq),
        java(Version::V5_5_0, Serialize::Json),
    ]
}

/// Runs `case` for each of these clients, side by side.
/// # Panics
/// With the names of those for which it failed; what they said is on standard error.
pub fn each(drivers: &[&'static Driver], case: impl Fn(&'static Driver) + Sync) {
    let case = &case;
    let failed: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> =
            drivers.iter().copied().map(|driver| (driver, scope.spawn(move || case(driver)))).collect();
        running.into_iter().filter_map(|(driver, thread)| thread.join().is_err().then_some(&driver.name)).collect()
    });
    assert!(failed.is_empty(), "failed for {failed:?}");
}

fn escape(value: &str) -> String {
    value.replace('%', "%25").replace('\t', "%09").replace('\n', "%0A").replace('\r', "%0D")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
