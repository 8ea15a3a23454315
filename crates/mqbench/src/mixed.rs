//! Sending and receiving at once.

use crate::check::wrong;
use crate::cli::Mixed;
use crate::conduct::{Crew, Run};
use crate::consume::{Pullers, all_received};
use crate::error::BenchError;
use crate::produce::Senders;
use crate::report::{self, Flow, Report};
use crate::target::{Missing, Target};

/// Sends until the run is over and receives until all of it has come.
///
/// # Errors
/// [`BenchError`].
pub(crate) async fn run(options: &Mixed, say: &mut dyn FnMut(String)) -> Result<Report, BenchError> {
    let (server, timeout) = (&options.server, options.server.timeout);
    let target = Target::broker(server).await?;
    let queues = target.queues(&options.topics, Missing::Make, say).await?;
    let offsets = !options.topics.no_offset_check;
    let pullers = Pullers::tailing(queues.clone(), &options.pull, server.header, offsets, true)?;
    let senders = Senders::new(queues, &options.load, server.header, false, offsets)?;
    let receiving = pullers.connect(&target, options.consumers, timeout).await?;
    let sending = senders.connect(&target, timeout).await?;
    let pid = report::server_pid(server, sending.first(), &target.addr);

    let run = Run::begin(&options.amount);
    let mut crew = Crew::default();
    pullers.spawn(receiving, &run, &mut crew.companions);
    let kept = senders.spawn(sending, &run, &mut crew);
    let measured = crew.conduct(&run, pid, timeout, all_received(&run, timeout)).await?;
    senders.finish(&run, &target, timeout).await?;
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
