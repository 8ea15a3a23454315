//! What a run found, as text and as JSON.

use crate::cli;
use crate::conduct::Measured;
use crate::error::{BenchError, IoContext as _};
use crate::link::Link;
use crate::process::{Memory, Used, listening_on};
use crate::tally::{Count, Percentiles, Tally};
use crate::target::Target;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// Everything that is known after a run whose answers were all right.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Version of this program.
    pub mqbench: &'static str,
    /// Subcommand.
    pub mode: &'static str,
    /// Address of the server.
    pub target: String,
    /// The options of the run.
    pub options: serde_json::Value,
    /// How long was measured.
    pub seconds: f64,
    /// What was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub produce: Option<Flow>,
    /// What was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consume: Option<Flow>,
    /// What was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Flow>,
    /// Connections that were left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Connections>,
    /// The server's process, when it runs on this machine.
    pub server: Option<Process>,
    /// This process. When it is as busy as its cores allow, the figures are its own and not the server's.
    pub generator: Process,
}

/// One direction of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Flow {
    messages: u64,
    requests: u64,
    bytes: u64,
    messages_per_second: f64,
    /// 10^6 bytes of bodies.
    mb_per_second: f64,
    /// Requests refused because the server was busy (--count-busy), with those of the warm-up.
    busy: u64,
    /// From when a request was (open loop: was meant to be) sent to its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Percentiles>,
    /// Open loop: from when a request was meant to be sent to when it was. What is high here is either a full window, that
    /// is the server, or a generator without CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_us: Option<Percentiles>,
    /// From when a message was meant to be sent to when it was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_to_end_us: Option<Percentiles>,
}

impl Flow {
    pub(crate) fn new(tally: &Tally, measured: Count, seconds: f64) -> Flow {
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        Flow {
            messages: measured.messages,
            requests: measured.requests,
            bytes: measured.bytes,
            messages_per_second: rate(measured.messages),
            mb_per_second: rate(measured.bytes) / 1e6,
            busy: tally.busy,
            latency_us: tally.latency.percentiles(),
            lag_us: tally.lag.percentiles(),
            end_to_end_us: tally.end_to_end.percentiles(),
        }
    }

    fn text(&self, what: &str, out: &mut String) {
        let _ = writeln!(
            out,
            "{what:<14}{} messages in {} requests: {:.0} messages/s, {:.1} MB/s",
            self.messages, self.requests, self.messages_per_second, self.mb_per_second
        );
        if self.busy > 0 {
            let _ = writeln!(out, "  refused     {} requests: the server was busy", self.busy);
        }
        let rows = [("latency", self.latency_us), ("sent late", self.lag_us), ("end to end", self.end_to_end_us)];
        for (name, row) in rows {
            let Some(row) = row else { continue };
            let _ = writeln!(
                out,
                "  {name:<12}mean {:.1}, p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, p99.99 {:.1}, max {:.1} µs",
                row.mean, row.p50, row.p90, row.p99, row.p999, row.p9999, row.max
            );
        }
    }
}

/// Connections that were left alone.
#[derive(Debug, Serialize)]
pub(crate) struct Connections {
    /// How many.
    pub connections: u32,
    /// How many could be made in a second.
    pub connects_per_second: f64,
    /// What the server's resident memory grew by for each.
    pub kib_each: Option<f64>,
    /// The answers of all of them afterwards.
    pub answers_us: Option<Percentiles>,
}

/// A process during the run.
#[derive(Debug, Serialize)]
pub(crate) struct Process {
    pid: u32,
    /// User and system time for each message, µs.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us_per_message: Option<f64>,
    /// User and system time, as a share of one core.
    cpu_percent: f64,
    /// Context switches for each message.
    #[serde(skip_serializing_if = "Option::is_none")]
    switches_per_message: Option<f64>,
    /// Memory at the end.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
}

impl Process {
    fn new(pid: u32, used: Used, memory: Option<Memory>, seconds: f64, messages: u64) -> Process {
        let each = |value: f64| (messages > 0).then(|| value / messages as f64);
        Process {
            pid,
            cpu_us_per_message: each(used.cpu_ns as f64 / 1e3),
            cpu_percent: if seconds > 0.0 { used.cpu_ns as f64 / seconds / 1e7 } else { 0.0 },
            switches_per_message: each(used.switches as f64),
            memory,
        }
    }

    fn text(&self, what: &str, out: &mut String) {
        let _ = write!(out, "{what:<14}{:.1} % of a core", self.cpu_percent);
        if let (Some(cpu), Some(switches)) = (self.cpu_us_per_message, self.switches_per_message) {
            let _ = write!(out, ", {cpu:.3} µs CPU and {switches:.4} context switches a message");
        }
        if let Some(memory) = self.memory {
            let mib = |kib: u64| kib as f64 / 1024.0;
            let _ = write!(
                out,
                ", {:.1} MiB resident, {:.1} MiB of it anonymous (process {})",
                mib(memory.rss_kib),
                mib(memory.anon_kib),
                self.pid
            );
        }
        out.push('\n');
    }
}

impl Report {
    /// What all modes have; `messages` is what the costs of processes are divided by.
    pub(crate) fn new(
        mode: &'static str,
        target: &Target,
        options: &impl Serialize,
        measured: &Measured,
        messages: u64,
    ) -> Report {
        let process = |(pid, used, memory)| Process::new(pid, used, memory, measured.seconds, messages);
        Report {
            mqbench: env!("CARGO_PKG_VERSION"),
            mode,
            target: target.addr.clone(),
            options: serde_json::to_value(options).unwrap_or_default(),
            seconds: measured.seconds,
            produce: None,
            consume: None,
            route: None,
            idle: None,
            server: measured.server.map(|(pid, used, memory)| process((pid, used, Some(memory)))),
            generator: process((std::process::id(), measured.own, None)),
        }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{} {}, {:.2} s; every answer was right", self.mode, self.target, self.seconds);
        for (what, flow) in [("sent", &self.produce), ("received", &self.consume), ("asked", &self.route)] {
            if let Some(flow) = flow {
                flow.text(what, &mut out);
            }
        }
        if let Some(idle) = &self.idle {
            let _ = write!(out, "connections   {}, {:.0}/s made", idle.connections, idle.connects_per_second);
            if let Some(kib) = idle.kib_each {
                let _ = write!(out, ", {kib:.1} KiB of the server's memory each");
            }
            if let Some(answers) = idle.answers_us {
                let _ = write!(out, "; all answer: p50 {:.1}, p99 {:.1} µs", answers.p50, answers.p99);
            }
            out.push('\n');
        }
        if let Some(server) = &self.server {
            server.text("server", &mut out);
        }
        self.generator.text("generator", &mut out);
        out
    }

    /// Prints the text, or writes JSON where the options say.
    ///
    /// # Errors
    /// [`BenchError::Io`].
    pub(crate) fn publish(&self, json: Option<&Path>) -> Result<(), BenchError> {
        let pretty = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        let (file, stdout) = match json {
            Some(path) if path == Path::new("-") => (None, &pretty),
            path => (path, &self.text()),
        };
        if let Some(path) = file {
            std::fs::write(path, &pretty).on("write", path.display().to_string())?;
        }
        match std::io::stdout().lock().write_all(stdout.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(error).on("write to", "standard output")
            }
            _ => Ok(()),
        }
    }
}

/// The process that is measured: the one that was named, or the one that listens on the server's port, when that is here.
pub(crate) fn server_pid(options: &cli::Server, link: Option<&Link>, addr: &str) -> Option<u32> {
    options.pid.or_else(|| {
        let peer = link.filter(|link| link.is_local())?.peer_addr()?;
        let found = listening_on(peer);
        if found.is_none() {
            eprintln!("mqbench: cannot see the process behind {addr}, so its CPU is not measured; name it with --pid");
        }
        found
    })
}
