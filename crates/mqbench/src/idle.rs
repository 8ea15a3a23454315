//! Connections that are left alone.

use crate::cli::{Amount, Idle};
use crate::conduct::{Crew, Run};
use crate::error::BenchError;
use crate::link::{Link, Outgoing, Script};
use crate::process::Usage;
use crate::report::{self, Connections, Report};
use crate::target::Target;
use crate::wire::{Input, Template, Window};
use bytes::Bytes;
use protocol::header::offset::QueueRequestHeader;
use protocol::operation::GetMaxOffset;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

/// Opens connections, waits, and has each answer once.
///
/// # Errors
/// [`BenchError`].
pub(crate) async fn run(options: &Idle) -> Result<Report, BenchError> {
    let server = &options.server;
    let target = Target::broker(server).await?;
    // A request that costs a broker nothing. A nameserver answers that it does not know it, which will do.
    let header = QueueRequestHeader { topic: "TBW102".into(), queue_id: 0 };
    let template = Arc::new(Template::new::<GetMaxOffset>(&header, server.header.into(), 0, 0)?);

    let first = Link::connect(&target.addr, Bytes::new(), server.timeout).await?;
    let pid = report::server_pid(server, Some(&first), &target.addr);
    let resident = || pid.and_then(Usage::of).map(|usage| usage.memory.rss_kib);
    let before = resident();
    let run = Run::begin(&Amount { duration: Some(options.duration), messages: None, warmup: Duration::ZERO });
    let began = run.clock.now();
    let mut links = vec![first];
    for _ in 1..options.connections {
        links.push(Link::connect(&target.addr, Bytes::new(), server.timeout).await?);
    }
    let connecting = (run.clock.now() - began) as f64 / 1e9;

    // Measured is the time in which nothing happens.
    let quiet = Run::begin(&Amount { duration: Some(options.duration), messages: None, warmup: Duration::ZERO });
    let measured = Crew::default().conduct(&quiet, pid, Duration::MAX, |now| Ok(now >= quiet.end)).await?;
    let after = resident();

    let asking =
        Run::begin(&Amount { duration: None, messages: Some(options.connections.into()), warmup: Duration::ZERO });
    let mut crew = Crew::default();
    for link in links {
        let ping = Ping { template: template.clone(), run: asking.clone(), window: Window::new(1), sent: false };
        crew.tasks.spawn(async move { link.drive(ping).await.map(drop) });
    }
    crew.conduct(&asking, pid, server.timeout, |_| Ok(true)).await?;
    let answers_us = asking.sent.lock().latency.percentiles();
    let grown = before.zip(after).map(|(before, after)| after.saturating_sub(before) as f64);
    Ok(Report {
        idle: Some(Connections {
            connections: options.connections,
            connects_per_second: f64::from(options.connections) / connecting.max(1e-9),
            kib_each: grown.map(|kib| kib / f64::from(options.connections)),
            answers_us,
        }),
        ..Report::new("idle", &target, options, &measured, 0)
    })
}

/// One request, whose answer may say anything.
struct Ping {
    template: Arc<Template>,
    run: Arc<Run>,
    window: Window<u64>,
    sent: bool,
}

impl Script for Ping {
    fn fill(&mut self, out: &mut Outgoing, _: &mut Context<'_>) -> Result<(), BenchError> {
        let now = self.run.clock.now();
        if let Some(opaque) = (!self.sent).then(|| self.window.open(now)).flatten() {
            self.sent = true;
            out.push(|out| {
                self.template.append(out, opaque);
            });
        }
        Ok(())
    }

    fn receive(&mut self, input: &mut Input) -> Result<(), BenchError> {
        let now = self.run.clock.now();
        while let Some(answer) = input.next_command()? {
            if let Some(sent) = self.window.close(answer.opaque) {
                self.run.sent.lock().answered(sent, now, 1, 0);
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.sent && self.window.in_flight() == 0
    }
}
