//! Nameservers and brokers of either kind, on free ports and in scratch directories.

use crate::clock::wait_for;
use crate::driver::Serialize;
use crate::jvm;
use crate::ports::free_block;
use crate::process::Process;
use crate::scratch::{self, root, target};
use crate::{unique, wire};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Whose servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Apache RocketMQ's own, the oracle.
    Java,
    /// Ours: the programs in `FERROCKET_BIN`, else in `target/release`, else in `target/debug`.
    Ferrocket,
}

/// How servers are started.
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    /// Whose.
    pub kind: Kind,
    /// The version of Java servers.
    pub version: &'a str,
    /// The header serialisation that Java servers answer in.
    pub serialize: Serialize,
    /// Whether Java servers write their class archive when they end.
    pub record: bool,
}

impl Launch<'_> {
    /// The usual servers of that kind.
    pub fn of(kind: Kind) -> Self {
        Self { kind, version: jvm::SERVER_VERSION, serialize: Serialize::Json, record: false }
    }
}

const UPDATE_AND_CREATE_TOPIC: i32 = 17;

/// How long a server may take to its boot line. Generous: the machine is small and shared.
const BOOT_SECONDS: u64 = 60;

/// A running nameserver.
pub struct Nameserver {
    launch: Launch<'static>,
    port: u16,
    dir: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Nameserver {
    /// Starts one on a free port and waits for its boot line.
    pub fn start(launch: Launch<'static>) -> Self {
        let dir = scratch::dir(&format!("namesrv-{:?}", launch.kind));
        let server = Self { launch, port: free_block(), dir, process: Mutex::default() };
        let kv = server.dir.join("kvConfig.json");
        let conf = format!(
            "listenPort={}\nrocketmqHome={}\nkvConfigPath={}\n",
            server.port,
            server.dir.display(),
            kv.display()
        );
        write(&server.dir.join("namesrv.conf"), &conf);
        server.boot();
        server
    }

    /// Its address, `127.0.0.1:PORT`.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it again after [`Self::kill9`].
    pub fn boot(&self) {
        let mut command = match self.launch.kind {
            Kind::Java => java_server(self.launch, "namesrv.NamesrvStartup", "namesrv", &self.dir),
            Kind::Ferrocket => our_server("mqnamesrv", &self.dir),
        };
        command.arg("-c").arg(self.dir.join("namesrv.conf"));
        boot(
            &self.process,
            "namesrv",
            command,
            &self.dir.join("out.log"),
            "The Name Server boot success.",
            BOOT_SECONDS,
        );
    }

    /// Kills it with signal 9.
    pub fn kill9(&self) {
        lock(&self.process).take().expect("the nameserver runs").kill9();
    }

    /// Everything it printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.dir.join("out.log")).unwrap_or_default()
    }
}

/// A running broker.
pub struct Broker {
    launch: Launch<'static>,
    /// Its brokerName.
    pub name: String,
    ip: String,
    port: u16,
    dir: PathBuf,
    store: PathBuf,
    /// Lines of its properties file that whoever starts it has asked for.
    settings: String,
    process: Mutex<Option<Process>>,
}

impl Broker {
    /// Starts one on free ports, registered with `namesrv`, with `extra` lines at the end of its properties file.
    pub fn start(launch: Launch<'static>, name: &str, namesrv: &str, extra: &[(&str, &str)]) -> Self {
        let dir = scratch::dir(&format!("{name}-{:?}", launch.kind));
        let ip = extra.iter().find(|(key, _)| *key == "brokerIP1").map_or("127.0.0.1", |(_, ip)| *ip).to_owned();
        let settings = std::iter::once(("namesrvAddr", namesrv)).chain(extra.iter().copied());
        let broker = Self {
            launch,
            name: name.to_owned(),
            ip,
            port: free_block(),
            store: dir.join("store"),
            dir,
            settings: settings.map(|(key, value)| format!("{key}={value}\n")).collect(),
            process: Mutex::default(),
        };
        broker.boot();
        broker
    }

    /// Whether a Java broker runs it, of a version that begins so.
    pub fn is_java(&self, version: &str) -> bool {
        self.launch.kind == Kind::Java && self.launch.version.starts_with(version)
    }

    /// From the next [`Self::boot`] on these servers run it, on the same store and port. Stop or kill it before.
    pub fn hand_to(&mut self, launch: Launch<'static>) {
        assert!(lock(&self.process).is_none(), "{} runs", self.name);
        self.launch = launch;
    }

    /// A second broker that is started on the same store, with ports of its own. It is expected to end by itself.
    pub fn rival(&self, launch: Launch<'static>) -> Process {
        let dir = scratch::dir(&format!("{}-rival-{:?}", self.name, launch.kind));
        let rival = Self {
            launch,
            name: self.name.clone(),
            ip: self.ip.clone(),
            port: free_block(),
            store: self.store.clone(),
            settings: self.settings.clone(),
            process: Mutex::default(),
            dir,
        };
        Process::start("rival", rival.command(), &rival.dir.join("out.log"))
    }

    /// Its address, `127.0.0.1:PORT`.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its listenPort.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its storePathRootDir.
    pub fn store_dir(&self) -> PathBuf {
        self.store.clone()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        lock(&self.process).as_ref().expect("the broker runs").id()
    }

    /// Starts it again after [`Self::kill9`] or [`Self::stop`], on the same store and port.
    pub fn boot(&self) {
        self.boot_within(BOOT_SECONDS);
    }

    /// As [`Self::boot`], for a store whose recovery takes long.
    pub fn boot_within(&self, seconds: u64) {
        let line = format!("The broker[{}, {}:{}] boot success.", self.name, self.ip, self.port);
        boot(&self.process, &self.name, self.command(), &self.dir.join("out.log"), &line, seconds);
    }

    fn command(&self) -> Command {
        let conf = self.dir.join("broker.conf");
        write(&conf, &self.properties());
        let mut command = match self.launch.kind {
            Kind::Java => java_server(self.launch, "broker.BrokerStartup", "broker", &self.dir),
            Kind::Ferrocket => our_server("mqbroker", &self.dir),
        };
        command.arg("-c").arg(conf);
        command
    }

    fn properties(&self) -> String {
        let mut text = format!(
            "brokerClusterName=DefaultCluster\nbrokerName={}\nbrokerId=0\nbrokerIP1={}\nlistenPort={}\n\
             autoCreateTopicEnable=true\nstorePathRootDir={}\nstorePathCommitLog={}\n",
            self.name,
            self.ip,
            self.port,
            self.store.display(),
            self.store.join("commitlog").display()
        );
        // Small files, quick delays: the first delay levels are what the retry cases wait for.
        text.push_str(
            "mappedFileSizeCommitLog=16777216\nmappedFileSizeConsumeQueue=120000\nmaxHashSlotNum=5000\n\
             maxIndexNum=20000\nmessageDelayLevel=1s 1s 1s 2s 2s 2s 3s 3s 3s 4s 4s 4s 5s 5s 5s 6s 6s 6s\n\
             diskMaxUsedSpaceRatio=95\n",
        );
        if self.is_java("5.") {
            text.push_str("popConsumerKVServiceInit=false\npopConsumerKVServiceEnable=false\n");
            // Until this interval has passed for the first time, a thread of Java's broker spins: 10 s of a core by default.
            text.push_str("transactionMetricFlushInterval=500\n");
        }
        if self.launch.kind == Kind::Java {
            // Java throws away what waited 200 ms for a thread, which happens on a small machine.
            text.push_str("waitTimeMillsInSendQueue=20000\nosPageCacheBusyTimeOutMills=20000\n");
        }
        text.push_str(&self.settings);
        if self.is_java("4.") {
            // Java 4.x spells them so.
            let misspelt: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("mappedFile")).collect();
            let misspelt: String = misspelt.iter().map(|rest| format!("mapedFile{rest}\n")).collect();
            text.push_str(&misspelt);
        }
        text
    }

    /// Waits until that nameserver knows this broker: Java's boot line comes before its registration has arrived.
    pub fn wait_registered(&self, nameserver: &Nameserver) {
        wait_for(&format!("{} is registered", self.name), 30, || {
            wire::has_route(&nameserver.addr(), &self.name).then_some(())
        });
    }

    /// Kills it with signal 9.
    pub fn kill9(&self) {
        lock(&self.process).take().expect("the broker runs").kill9();
    }

    /// Stops it cleanly. Java's exit status after SIGTERM is 143, so only the end is waited for.
    pub fn stop(&self) {
        self.stop_within(30);
    }

    /// As [`Self::stop`], for a store that takes long to close.
    pub fn stop_within(&self, seconds: u64) {
        lock(&self.process).take().expect("the broker runs").stop(seconds);
    }

    /// Everything it printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.dir.join("out.log")).unwrap_or_default()
    }
}

/// What a cluster consists of.
pub struct ClusterOptions<'a> {
    /// How many nameservers.
    pub nameservers: usize,
    /// How many brokers: broker-a, broker-b, …
    pub brokers: usize,
    /// Further properties of every broker.
    pub extra: &'a [(&'a str, &'a str)],
}

impl Default for ClusterOptions<'_> {
    fn default() -> Self {
        Self { nameservers: 1, brokers: 1, extra: &[] }
    }
}

/// Nameservers and brokers that know each other.
pub struct Cluster {
    /// Whose servers these are.
    pub kind: Kind,
    /// The nameservers; every broker registers with each.
    pub nameservers: Vec<Nameserver>,
    /// The brokers, all masters of the cluster `DefaultCluster`.
    pub brokers: Vec<Broker>,
    judged: Mutex<Vec<usize>>,
}

impl Cluster {
    /// Starts them and waits for every boot line.
    pub fn start(launch: Launch<'static>, options: &ClusterOptions<'_>) -> Self {
        let nameservers: Vec<_> = (0..options.nameservers).map(|_| Nameserver::start(launch)).collect();
        let namesrv = nameservers.iter().map(Nameserver::addr).collect::<Vec<_>>().join(";");
        let brokers = (b'a'..)
            .take(options.brokers)
            .map(|letter| {
                let name = format!("broker-{}", char::from(letter));
                Broker::start(launch, &name, &namesrv, options.extra)
            })
            .collect();
        let cluster = Self { kind: launch.kind, nameservers, brokers, judged: Mutex::default() };
        for broker in &cluster.brokers {
            for nameserver in &cluster.nameservers {
                broker.wait_registered(nameserver);
            }
        }
        cluster
    }

    /// One nameserver and one broker.
    pub fn single(kind: Kind) -> Self {
        Self::start(Launch::of(kind), &ClusterOptions::default())
    }

    /// The nameserver list as clients take it, joined by `;`.
    pub fn namesrv(&self) -> String {
        self.nameservers.iter().map(Nameserver::addr).collect::<Vec<_>>().join(";")
    }

    /// The first broker.
    pub fn broker(&self) -> &Broker {
        self.brokers.first().expect("a cluster has a broker")
    }

    /// Creates a topic with `queues` queues on every broker, over the wire, and waits until the nameservers know it.
    /// Returns its name, which nothing else uses.
    pub fn topic(&self, name: &str, queues: u32) -> String {
        let topic = unique(name);
        self.create(&topic, queues);
        topic
    }

    /// A name for a consumer group whose retry topic is there already. Brokers make it with the first heartbeat, but
    /// Java clients that have started look for new topics and queues only every 20 and 30 s.
    pub fn group_with_retry_topic(&self) -> String {
        let group = unique("CG");
        self.create(&format!("%RETRY%{group}"), 1);
        group
    }

    /// As [`Self::topic`], by that name.
    pub fn create(&self, topic: &str, queues: u32) {
        let fields = json!({ "topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues.to_string(),
            "writeQueueNums": queues.to_string(), "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0",
            "order": "false" });
        for broker in &self.brokers {
            let answer = wire::call(&broker.addr(), UPDATE_AND_CREATE_TOPIC, &fields, &[]);
            let answer = answer.unwrap_or_else(|error| panic!("{} does not answer: {error}", broker.name));
            assert_eq!(answer.header["code"], 0, "{topic} is not created: {}", answer.header);
        }
        self.wait_route(topic);
    }

    /// Waits until every nameserver has a route for the topic.
    pub fn wait_route(&self, topic: &str) {
        for nameserver in self.nameservers.iter().filter(|nameserver| lock(&nameserver.process).is_some()) {
            wait_for(&format!("a route for {topic}"), 30, || wire::has_route(&nameserver.addr(), topic).then_some(()));
        }
    }

    /// Stops all cleanly.
    pub fn stop(&self) {
        for broker in &self.brokers {
            broker.stop();
        }
        for nameserver in &self.nameservers {
            lock(&nameserver.process).take().expect("the nameserver runs").stop(30);
        }
    }

    /// Fails when one of our servers logged a line at ERROR, or panicked, since the last call. Java logs errors in the
    /// course of things, so its servers are not judged.
    /// # Panics
    /// With the lines.
    pub fn assert_quiet(&self) {
        if self.kind == Kind::Java {
            return;
        }
        let mut judged = lock(&self.judged);
        let outputs: Vec<_> =
            self.nameservers.iter().map(Nameserver::output).chain(self.brokers.iter().map(Broker::output)).collect();
        judged.resize(outputs.len(), 0);
        let mut bad = Vec::new();
        for (output, seen) in outputs.iter().zip(judged.iter_mut()) {
            bad.extend(
                output.get(*seen..).unwrap_or_default().lines().filter(|line| is_error(line)).map(str::to_owned),
            );
            *seen = output.len();
        }
        drop(judged);
        assert!(bad.is_empty(), "a server logged what it should not:\n{}", bad.join("\n"));
    }
}

/// Whether a line of our daemons' output is one at ERROR, or tells of a panic.
pub fn is_error(line: &str) -> bool {
    line.split_whitespace().take(4).any(|word| word == "ERROR") || line.contains("panicked at")
}

fn boot(process: &Mutex<Option<Process>>, name: &str, command: Command, log: &Path, line: &str, seconds: u64) {
    let before = std::fs::metadata(log).map_or(0, |meta| usize::try_from(meta.len()).unwrap_or(usize::MAX));
    let started = Process::start(name, command, log);
    started.wait_line(line, before, seconds);
    *lock(process) = Some(started);
}

fn java_server(launch: Launch<'_>, main: &str, archive: &str, dir: &Path) -> Command {
    let version = launch.version;
    // The 4.x servers read their log configuration from the home directory, and nowhere else.
    let conf = dir.join("conf");
    std::fs::create_dir_all(&conf).expect("the scratch directory is writable");
    let major = version.split('.').next().unwrap_or_default();
    for file in ["logback_namesrv.xml", "logback_broker.xml"] {
        std::fs::copy(root().join(format!("tests/java/conf/logback-{major}.xml")), conf.join(file))
            .expect("the scratch directory is writable");
    }
    let properties = [
        ("rocketmq.home.dir", dir.display().to_string()),
        ("user.home", dir.display().to_string()),
        ("java.io.tmpdir", dir.display().to_string()),
        ("rocketmq.serialize.type", launch.serialize.name().to_owned()),
        ("log.file", dir.join("server.log").display().to_string()),
    ];
    let mut java = jvm::command(version, &format!("org.apache.rocketmq.{main}"), archive, launch.record, &properties);
    java.env_remove("NAMESRV_ADDR").env("ROCKETMQ_HOME", dir).current_dir(dir);
    java
}

fn our_server(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(our_bin(program));
    command.env_remove("NAMESRV_ADDR").env("ROCKETMQ_HOME", dir).env("HOME", dir).current_dir(dir);
    command
}

/// The path of one of our programs.
/// # Panics
/// When it is nowhere, saying how to build it.
pub fn our_bin(program: &str) -> PathBuf {
    let places = match std::env::var_os("FERROCKET_BIN") {
        Some(dir) => vec![PathBuf::from(dir)],
        None => vec![target().join("release"), target().join("debug")],
    };
    places.iter().map(|dir| dir.join(program)).find(|path| path.exists()).unwrap_or_else(|| {
        panic!("no {program} in {places:?}: run cargo build --release, or set FERROCKET_BIN to the folder that has it")
    })
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
