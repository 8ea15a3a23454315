//! Child processes: output into a file, waited for by what they print, never outliving the test program.

use crate::clock::{Deadline, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// A running program whose standard output and error go to one file.
pub struct Process {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, with output to the file `log` (appended, so that a restart keeps what came before).
    pub fn start(name: &str, command: Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).expect("the scratch directory is writable");
        let err = out.try_clone().expect("a descriptor can be doubled");
        let mut command = dying_with_us(command);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Self { name: name.to_owned(), child: Mutex::new(spawn(command)), log: log.to_owned() }
    }

    /// Waits until the program printed `text`.
    /// # Panics
    /// With the end of its output when it ends before, or `seconds` pass.
    pub fn wait_line(&self, text: &str, from: usize, seconds: u64) {
        let deadline = Deadline::in_seconds(seconds);
        loop {
            let output = self.output();
            if output.get(from..).is_some_and(|new| new.contains(text)) {
                return;
            }
            let ended = self.lock().try_wait().expect("a child can be asked for its state");
            assert!(ended.is_none(), "{} ended ({ended:?}) without printing {text:?}:\n{}", self.name, tail(&output));
            assert!(!deadline.passed(), "{} did not print {text:?} within {seconds} s:\n{}", self.name, tail(&output));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Everything printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.lock().id()
    }

    /// Kills with signal 9 and waits for the end.
    pub fn kill9(&self) {
        let mut child = self.lock();
        child.kill().ok();
        child.wait().expect("a killed child ends");
    }

    /// Asks to end (SIGTERM) and waits; returns the exit status.
    /// # Panics
    /// When it has not ended after `seconds`.
    pub fn stop(&self, seconds: u64) -> ExitStatus {
        let id = i32::try_from(self.id()).expect("process ids fit");
        if let Some(pid) = Pid::from_raw(id) {
            kill_process(pid, Signal::TERM).ok();
        }
        self.wait_end(seconds)
    }

    /// Waits until it ends; returns the exit status.
    /// # Panics
    /// When it has not ended after `seconds`.
    pub fn wait_end(&self, seconds: u64) -> ExitStatus {
        wait_for(&format!("{} ends", self.name), seconds, || {
            self.lock().try_wait().expect("a child can be asked for its state")
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Runs `command` to its end and returns its standard output and error in one; panics when it fails.
pub fn run(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed, {}:\n{text}", output.status);
    text
}

/// The same command under setpriv, so that the kernel kills it when the thread that started it is gone.
pub fn dying_with_us(command: Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    wrapped
}

/// Starts a child from a thread that lives as long as this process: the death signal of [`dying_with_us`] is bound to
/// the starting thread, and test threads end with their test.
pub fn spawn(command: Command) -> Child {
    type Job = (Command, SyncSender<std::io::Result<Child>>);
    static STARTER: OnceLock<SyncSender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (jobs, queue) = sync_channel::<Job>(16);
        std::thread::Builder::new()
            .name("starter".to_owned())
            .spawn(move || {
                for (mut command, answer) in queue {
                    answer.send(command.spawn()).ok();
                }
            })
            .expect("a thread can be started");
        jobs
    });
    let what = format!("{command:?}");
    let (answer, child) = sync_channel(1);
    starter.send((command, answer)).expect("the starter thread never ends");
    child.recv().expect("the starter answers").unwrap_or_else(|error| panic!("cannot start {what}: {error}"))
}

fn tail(output: &str) -> &str {
    let mut at = output.len().saturating_sub(4000);
    while !output.is_char_boundary(at) {
        at += 1;
    }
    &output[at..]
}
