//! A broker of ours without a nameserver, for tests of what happens to its process and its disk.

use crate::cluster::our_bin;
use crate::link::Link;
use crate::ports::free_block;
use crate::process::{Process, run};
use crate::scratch;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The broker, running or not.
pub struct LoneBroker {
    dir: PathBuf,
    store: PathBuf,
    port: u16,
    options: Vec<(String, String)>,
    /// A file that stands for the machine's boot id.
    boot_id: Option<PathBuf>,
    process: Option<Process>,
}

impl LoneBroker {
    /// Not started yet; its store is `store`.
    pub fn new(name: &str, store: Option<&Path>, options: &[(&str, &str)]) -> Self {
        let dir = scratch::dir(name);
        let store = store.map_or_else(|| dir.join("store"), Path::to_owned);
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self { dir, store, port: free_block(), options, boot_id: None, process: None }
    }

    /// The next start believes that the machine was started anew. Needs root: the boot id is covered by a file, in a mount
    /// namespace of the broker's own.
    pub fn next_boot(&mut self, id: &str) {
        let file = self.dir.join("boot_id");
        std::fs::write(&file, id).expect("the scratch directory is writable");
        self.boot_id = Some(file);
    }

    /// Starts it and does not wait.
    pub fn launch(&mut self) {
        let program = our_bin("mqbroker");
        let mut command = match &self.boot_id {
            None => Command::new(program),
            Some(file) => {
                let script = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", script]).arg(file).arg(program);
                command
            }
        };
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("ROCKETMQ_HOME", &self.dir);
        command.env("JAVA_OPT_EXT", format!("-Duser.home={}", self.dir.display())).current_dir(&self.dir);
        command.args(["--brokerIP1", "127.0.0.1", "--listenPort", &self.port.to_string()]);
        command.arg("--storePathRootDir").arg(&self.store);
        command.arg("--storePathCommitLog").arg(self.store.join("commitlog"));
        for (key, value) in &self.options {
            command.arg(format!("--{key}")).arg(value);
        }
        self.process = Some(Process::start("mqbroker", command, &self.log()));
    }

    /// Starts it and waits for its boot line.
    pub fn start(&mut self) {
        let before = self.output().len();
        self.launch();
        self.process().wait_line("boot success", before, 60);
    }

    /// Its address.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A new connection.
    /// # Panics
    /// When it is not accepted.
    pub fn link(&self) -> Link {
        Link::new(&self.addr()).expect("the broker accepts connections")
    }

    /// Its store directory.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Its process.
    /// # Panics
    /// When it does not run.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the broker runs")
    }

    /// Kills it with signal 9.
    pub fn kill9(&mut self) {
        self.process.take().expect("the broker runs").kill9();
    }

    /// Stops it cleanly.
    pub fn stop(&mut self) {
        self.process.take().expect("the broker runs").stop(30);
    }

    /// Everything it printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.dir.join("out.log")
    }
}

/// A mounted file system, unmounted when dropped.
pub struct Mount {
    /// Where.
    pub path: PathBuf,
}

impl Mount {
    /// Runs `mount` with `arguments` and the mount point.
    /// # Panics
    /// With what it says when it fails.
    pub fn new(path: PathBuf, arguments: &[&str]) -> Self {
        std::fs::create_dir_all(&path).expect("the scratch directory is writable");
        let mut command = Command::new("mount");
        command.args(arguments).arg(&path);
        run(command);
        Self { path }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: after a failure a process of the test may still be on it.
        Command::new("umount").arg("--lazy").arg(&self.path).status().ok();
    }
}

/// Whether this test may mount and trace. Without root it is left out, and says so; with root nothing excuses it.
pub fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("LEFT OUT: {test} needs root (mounts, ptrace)");
    }
    root
}
