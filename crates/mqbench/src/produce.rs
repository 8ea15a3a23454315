//! Sending.

use crate::check::{OffsetBook, Queue, SendAnswer, is_busy, wrong, wrong_code};
use crate::cli::{Load, Produce};
use crate::conduct::{Crew, Measured, Run};
use crate::error::BenchError;
use crate::frames::{Frames, Marks};
use crate::link::{Link, Outgoing, Script};
use crate::report::{self, Flow, Report};
use crate::schedule::{Pacer, Schedule, Turn};
use crate::target::{Missing, Target};
use crate::wire::{Input, Window};
use parking_lot::Mutex;
use protocol::response_code;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

/// One-way requests are made until so many bytes wait to be written.
const ONEWAY_BYTES: usize = 256 * 1024;
/// With an open loop requests wait here, not in the server's window, unless it is far behind.
const OPEN_LOOP_WINDOW: usize = 1024;
/// How often the end of the queues is asked for after one-way sends.
const POLL: Duration = Duration::from_millis(20);

/// What all senders of a run share.
pub(crate) struct Senders {
    frames: Frames,
    queues: Vec<Queue>,
    book: Mutex<OffsetBook>,
    load: Load,
    oneway: bool,
    offsets: bool,
}

/// Connects and sends until the run is over.
///
/// # Errors
/// [`BenchError`].
pub(crate) async fn run(options: &Produce, say: &mut dyn FnMut(String)) -> Result<Report, BenchError> {
    let target = Target::broker(&options.server).await?;
    let queues = target.queues(&options.topics, Missing::Make, say).await?;
    let offsets = !options.topics.no_offset_check;
    let senders = Senders::new(queues, &options.load, options.server.header, options.oneway, offsets)?;
    let links = senders.connect(&target, options.server.timeout).await?;
    let pid = report::server_pid(&options.server, links.first(), &target.addr);

    let run = Run::begin(&options.amount);
    let mut crew = Crew::default();
    let back = senders.spawn(links, &run, &mut crew);
    let measured = crew.conduct(&run, pid, options.server.timeout, |_| Ok(true)).await?;
    senders.finish(&run, &target, options.server.timeout).await?;
    drop(back);
    Ok(Report {
        produce: Some(senders.flow(&run, &measured)),
        ..Report::new("produce", &target, options, &measured, measured.sent.messages)
    })
}

impl Senders {
    pub(crate) fn new(
        queues: Vec<Queue>,
        load: &Load,
        header: crate::cli::Header,
        oneway: bool,
        offsets: bool,
    ) -> Result<Arc<Senders>, BenchError> {
        let clock = crate::clock::Clock::start();
        let frames = Frames::new(&queues, load, header, oneway, clock.wall_ns(0))?;
        let book = Mutex::new(OffsetBook::new(queues.clone()));
        // Where a message waits for its time has other queues.
        let offsets = offsets && load.delay.is_none();
        Ok(Arc::new(Senders { frames, queues, book, load: load.clone(), oneway, offsets }))
    }

    pub(crate) async fn connect(&self, target: &Target, timeout: Duration) -> Result<Vec<Link>, BenchError> {
        let mut links = Vec::new();
        for _ in 0..self.load.connections {
            links.push(Link::connect(&target.addr, self.frames.tail(), timeout).await?);
        }
        Ok(links)
    }

    /// Starts sending. Connections that are through are kept in what is returned: a server may throw away what it has not
    /// read of a connection that closes.
    pub(crate) fn spawn(self: &Arc<Self>, links: Vec<Link>, run: &Arc<Run>, crew: &mut Crew) -> Arc<Mutex<Vec<Link>>> {
        let kept = Arc::<Mutex<Vec<Link>>>::default();
        let pacer = self.load.rate.map(|rate| {
            let begin = run.clock.now();
            let total = run.total(rate, begin).div_ceil(self.frames.batch);
            Pacer::new(Schedule::new(begin, rate, self.frames.batch), links.len(), total)
        });
        for (number, link) in links.into_iter().enumerate() {
            let turn = pacer.as_ref().map(|pacer| Turn::new(pacer.clone(), number));
            let (sender, kept) = (Sender::new(self.clone(), run.clone(), number, turn), kept.clone());
            crew.tasks.spawn(async move {
                let (link, _) = link.drive(sender).await?;
                kept.lock().push(link);
                Ok(())
            });
        }
        if let Some(pacer) = pacer {
            let run = run.clone();
            crew.tasks.spawn(async move {
                pacer.run(run.clock, || false).await;
                Ok(())
            });
        }
        kept
    }

    /// After the last answer: are the offsets dense; did what was sent one-way arrive?
    pub(crate) async fn finish(&self, run: &Run, target: &Target, timeout: Duration) -> Result<(), BenchError> {
        if !self.offsets {
            return Ok(());
        }
        if !self.oneway {
            return self.book.lock().finish();
        }
        let sent = i128::from(run.sent.lock().all.messages);
        let deadline = run.clock.now() + crate::clock::nanos(timeout);
        loop {
            let mut arrived = 0;
            for queue in &self.queues {
                arrived += i128::from(target.max_offset(queue).await?) - i128::from(queue.start);
            }
            if arrived == sent {
                return Ok(());
            }
            if arrived > sent || run.clock.now() > deadline {
                return wrong(format!("{sent} messages were sent one-way, the queues grew by {arrived}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) fn flow(&self, run: &Run, measured: &Measured) -> Flow {
        Flow::new(&run.sent.lock(), measured.sent, measured.seconds)
    }
}

/// A request under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    intended: u64,
    queue: usize,
}

/// One connection that sends.
struct Sender {
    shared: Arc<Senders>,
    run: Arc<Run>,
    window: Window<Flight>,
    /// With an open loop: when.
    turn: Option<Turn>,
    /// The next queue.
    queue: usize,
    /// Number of the next message: the connection's number above, a count below.
    number: u64,
    /// No more is to be sent.
    over: bool,
}

impl Sender {
    fn new(shared: Arc<Senders>, run: Arc<Run>, number: usize, turn: Option<Turn>) -> Sender {
        let default = if turn.is_some() { OPEN_LOOP_WINDOW } else { 1 };
        let size = shared.load.in_flight.map_or(default, |size| size as usize);
        // Connections begin at different queues, or all would send to the first at once.
        let queue = number % shared.queues.len();
        Sender { shared, run, window: Window::new(size), turn, queue, number: (number as u64) << 40, over: false }
    }

    /// When the next request was meant to be sent, if it may go.
    fn next(&mut self, now: u64, cx: &mut Context<'_>) -> Option<u64> {
        match &mut self.turn {
            Some(turn) => {
                let intended = turn.take(cx);
                self.over = turn.is_over();
                intended
            }
            None if self.run.claim(now, self.shared.frames.batch) => Some(now),
            None => {
                self.over = true;
                None
            }
        }
    }

    fn has_room(&self, out: &Outgoing) -> bool {
        if self.shared.oneway { out.len() < ONEWAY_BYTES } else { !self.window.is_full() }
    }
}

impl Script for Sender {
    fn fill(&mut self, out: &mut Outgoing, cx: &mut Context<'_>) -> Result<(), BenchError> {
        if self.over || !self.has_room(out) {
            return Ok(());
        }
        let shared = self.shared.clone();
        let now = self.run.clock.now();
        let wall_ms = self.run.clock.wall_ns(now) / 1_000_000;
        let (run, open_loop) = (self.run.clone(), self.turn.is_some());
        let mut tally = (open_loop || shared.oneway).then(|| run.sent.lock());
        while !self.over && self.has_room(out) {
            let Some(intended) = self.next(now, cx) else { break };
            let opaque = match shared.oneway {
                true => 1_000_000_000,
                false => self.window.open(Flight { intended, queue: self.queue }).unwrap_or(0),
            };
            let intended_wall_ns = self.run.clock.wall_ns(intended);
            shared.frames.push(
                out,
                self.queue,
                Marks { opaque, number: self.number, intended_wall_ns, born_ms: wall_ms },
            );
            self.number += shared.frames.batch;
            self.queue = (self.queue + 1) % shared.queues.len();
            if let Some(tally) = &mut tally {
                if open_loop {
                    tally.left(intended, now);
                }
                if shared.oneway {
                    tally.through(intended, shared.frames.batch, shared.frames.body_bytes);
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, input: &mut Input) -> Result<(), BenchError> {
        let now = self.run.clock.now();
        let frames = &self.shared.frames;
        let mut tally = self.run.sent.lock();
        let mut book = self.shared.offsets.then(|| self.shared.book.lock());
        while let Some(answer) = input.next_command()? {
            let Some(flight) = self.window.close(answer.opaque) else {
                return wrong(format!("an answer to request {}, which was not made or is answered", answer.opaque));
            };
            let place = self.shared.queues.get(flight.queue);
            let send = || match place {
                Some(queue) => format!("send to topic {} queue {}", queue.topic, queue.queue_id),
                None => "send".to_owned(),
            };
            if is_busy(answer.code) && self.shared.load.count_busy {
                tally.busy += 1;
                continue;
            }
            if answer.code != response_code::SUCCESS {
                return wrong_code(&send(), &answer);
            }
            let header: SendAnswer = match answer.header() {
                Ok(header) => header,
                Err(error) => return wrong(format!("{}: {error}", send())),
            };
            if let Some(book) = &mut book {
                if place.is_none_or(|queue| queue.queue_id != header.queue_id) {
                    return wrong(format!("{}: the answer says queue {}", send(), header.queue_id));
                }
                book.acknowledge(flight.queue, header.queue_offset, frames.batch)?;
            }
            tally.answered(flight.intended, now, frames.batch, frames.body_bytes);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.over && self.window.in_flight() == 0
    }

    fn has_more(&self) -> bool {
        self.shared.oneway && self.turn.is_none() && !self.over
    }
}
