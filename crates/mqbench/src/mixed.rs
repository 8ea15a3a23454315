//! Sending and receiving at once.

use crate::check::{Queue, wrong};
use crate::cli::Mixed;
use crate::conduct::{Crew, Run};
use crate::consume::{Pullers, all_received};
use crate::error::BenchError;
use crate::link::Link;
use crate::pop::Poppers;
use crate::produce::Senders;
use crate::report::{self, Flow, Report};
use crate::target::{Missing, Target};
use std::sync::Arc;
use std::time::Duration;

/// Sends until the run is over and receives until all of it has come.
///
/// # Errors
/// [`BenchError`].
pub(crate) async fn run(options: &Mixed, say: &mut dyn FnMut(String)) -> Result<Report, BenchError> {
    let (server, timeout) = (&options.server, options.server.timeout);
    let target = Target::broker(server).await?;
    let queues = target.queues(&options.topics, Missing::Make, say).await?;
    let offsets = !options.topics.no_offset_check;
    let delay = options.load.delay.unwrap_or_default();
    if delay >= timeout {
        let (delay, timeout) = (delay.as_secs_f64(), timeout.as_secs_f64());
        let text = format!("--delay {delay} s lets nothing come for longer than --timeout {timeout} s: raise that one");
        return Err(BenchError::Refused(text));
    }
    let consumers = Consumers::tailing(&target, queues.clone(), options, offsets).await?;
    let senders = Senders::new(queues, &options.load, server.header, false, offsets)?;
    let receiving = consumers.connect(&target, options.consumers, timeout).await?;
    let sending = senders.connect(&target, timeout).await?;
    let pid = report::server_pid(server, sending.first(), &target.addr);

    let run = Run::begin(&options.amount);
    let mut crew = Crew::default();
    consumers.spawn(receiving, &run, &mut crew);
    let kept = senders.spawn(sending, &run, &mut crew);
    let measured = crew.conduct(&run, pid, timeout, all_received(&run, timeout)).await?;
    senders.finish(&run, &target, timeout).await?;
    consumers.finish()?;
    drop(kept);
    let (sent, received) = (run.sent.lock().all.messages, run.received.lock().all.messages);
    if offsets && sent != received {
        return wrong(format!("{sent} messages were acknowledged, {received} arrived"));
    }
    let consume = Flow::new(&run.received.lock(), measured.received, measured.seconds);
    Ok(Report {
        produce: Some(senders.flow(&run, &measured)),
        consume: Some(consume),
        ..Report::new("mixed", &target, options, &measured, measured.sent.messages)
    })
}

/// Those who receive what is sent.
enum Consumers {
    Pull(Arc<Pullers>),
    Pop(Arc<Poppers>),
}

impl Consumers {
    async fn tailing(target: &Target, queues: Vec<Queue>, options: &Mixed, dense: bool) -> Result<Self, BenchError> {
        let (pull, header) = (&options.pull, options.server.header);
        let timed = options.load.delay.is_some();
        Ok(match pull.pop {
            true => Self::Pop(Poppers::new(target, queues, pull, header, dense, true, timed).await?),
            false => Self::Pull(Pullers::tailing(queues, pull, header, dense, true, timed)?),
        })
    }

    async fn connect(&self, target: &Target, connections: u32, timeout: Duration) -> Result<Vec<Link>, BenchError> {
        match self {
            Self::Pull(pullers) => pullers.connect(target, connections, timeout).await,
            Self::Pop(poppers) => poppers.connect(target, connections, timeout).await,
        }
    }

    fn spawn(&self, links: Vec<Link>, run: &Arc<Run>, crew: &mut Crew) {
        match self {
            Self::Pull(pullers) => pullers.spawn(links, run, &mut crew.companions),
            Self::Pop(poppers) => poppers.spawn(links, run, crew),
        }
    }

    fn finish(&self) -> Result<(), BenchError> {
        match self {
            Self::Pull(_) => Ok(()),
            Self::Pop(poppers) => poppers.finish(),
        }
    }
}
