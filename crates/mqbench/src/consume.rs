//! Pulling: what is there (catch-up), or what comes (long polling).

use crate::body::Reader;
use crate::check::{self, PullAnswer, Queue, wrong, wrong_code};
use crate::cli::{self, Amount, Consume};
use crate::clock::nanos;
use crate::conduct::{Crew, Run};
use crate::error::BenchError;
use crate::link::{Link, Outgoing, Script};
use crate::pop;
use crate::report::{self, Flow, Report};
use crate::target::{Missing, Target};
use crate::wire::{Input, OFFSET_DIGITS, Template, Window, put_decimal};
use bytes::Bytes;
use bytestring::ByteString;
use protocol::header::pull::PullMessageRequestHeader;
use protocol::operation::PullMessage;
use protocol::response_code;
use protocol::sys_flag::pull as pull_flag;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

/// Stands for the offset: as many digits as an offset is written with.
const OFFSET: i64 = 1_234_567_890_123_456_789;
const MARKER: &[u8; OFFSET_DIGITS] = b"1234567890123456789";

/// What all pulling connections of a run share.
pub(crate) struct Pullers {
    cursors: Vec<Cursor>,
    templates: Vec<(Template, usize)>,
    /// Wait for new messages, and tell how long they took.
    tail: bool,
    /// At the end of a queue, begin anew.
    repeat: bool,
    /// Somebody else ends the run: when all has come that was sent.
    endless: bool,
    dense: bool,
    /// Messages have times before which they must not come.
    timed: bool,
}

/// How far a queue is read.
#[derive(Debug, Clone)]
struct Cursor {
    queue: Queue,
    first: i64,
    next: i64,
    end: i64,
}

/// Connects and pulls until the run is over.
///
/// # Errors
/// [`BenchError`].
pub(crate) async fn run(options: &Consume, say: &mut dyn FnMut(String)) -> Result<Report, BenchError> {
    let target = Target::broker(&options.server).await?;
    let queues = target.queues(&options.topics, Missing::Refuse, say).await?;
    if options.pull.pop {
        return pop::run(options, &target, queues).await;
    }
    let dense = !options.topics.no_offset_check;
    let single_pass = !options.tail && options.amount.duration.is_none() && options.amount.messages.is_none();
    let pullers = match options.tail {
        true => Pullers::tailing(queues, &options.pull, options.server.header, dense, false, false)?,
        false => {
            let mut ranges = Vec::new();
            for queue in queues {
                let first = target.min_offset(&queue).await?.max(0);
                ranges.push((first, queue));
            }
            Pullers::catching_up(ranges, &options.pull, options.server.header, dense, !single_pass)?
        }
    };
    let links = pullers.connect(&target, options.connections, options.server.timeout).await?;
    let pid = report::server_pid(&options.server, links.first(), &target.addr);

    let run = match single_pass {
        // From the first message to the last: nothing of it is warm-up.
        true => Run::begin(&Amount { duration: None, messages: Some(u64::MAX), warmup: Duration::ZERO }),
        false => Run::begin(&options.amount),
    };
    let mut crew = Crew::default();
    let tasks = if options.tail { &mut crew.companions } else { &mut crew.tasks };
    pullers.spawn(links, &run, tasks);
    let measured = match options.tail {
        // Nobody says that messages come.
        true => crew.conduct(&run, pid, Duration::MAX, |now| Ok(run.is_over(now))).await?,
        false => crew.conduct(&run, pid, options.server.timeout, |_| Ok(true)).await?,
    };
    let flow = Flow::new(&run.received.lock(), measured.received, measured.seconds);
    Ok(Report {
        consume: Some(flow),
        ..Report::new("consume", &target, options, &measured, measured.received.messages)
    })
}

impl Pullers {
    /// From the end of each queue on; `endless` until the tasks are dropped.
    pub(crate) fn tailing(
        queues: Vec<Queue>,
        pull: &cli::Pull,
        header: cli::Header,
        dense: bool,
        endless: bool,
        timed: bool,
    ) -> Result<Arc<Pullers>, BenchError> {
        let cursor = |queue: Queue| Cursor { first: queue.start, next: queue.start, end: i64::MAX, queue };
        let cursors = queues.into_iter().map(cursor).collect();
        Pullers::new(cursors, pull, header, Pullers { tail: true, dense, endless, timed, ..Pullers::empty() })
    }

    /// From the first offset of each queue to its end.
    fn catching_up(
        ranges: Vec<(i64, Queue)>,
        pull: &cli::Pull,
        header: cli::Header,
        dense: bool,
        repeat: bool,
    ) -> Result<Arc<Pullers>, BenchError> {
        let cursors: Vec<_> = ranges
            .into_iter()
            .filter(|(first, queue)| *first < queue.start)
            .map(|(first, queue)| Cursor { first, next: first, end: queue.start, queue })
            .collect();
        if cursors.is_empty() {
            return Err(BenchError::Refused(
                "the topic holds no message: fill it first with mqbench produce, or wait for messages with --tail"
                    .to_owned(),
            ));
        }
        Pullers::new(cursors, pull, header, Pullers { dense, repeat, ..Pullers::empty() })
    }

    fn empty() -> Pullers {
        Pullers {
            cursors: Vec::new(),
            templates: Vec::new(),
            tail: false,
            repeat: false,
            endless: false,
            dense: true,
            timed: false,
        }
    }

    fn new(
        cursors: Vec<Cursor>,
        pull: &cli::Pull,
        header: cli::Header,
        how: Pullers,
    ) -> Result<Arc<Pullers>, BenchError> {
        let wait = if how.tail { pull_flag::SUSPEND } else { 0 };
        let mut templates = Vec::with_capacity(cursors.len());
        for cursor in &cursors {
            let fields = PullMessageRequestHeader {
                consumer_group: pull.group.as_str().into(),
                topic: cursor.queue.topic.as_str().into(),
                queue_id: cursor.queue.queue_id,
                queue_offset: OFFSET,
                max_msg_nums: i32::try_from(pull.max_messages).unwrap_or(i32::MAX),
                sys_flag: pull_flag::SUBSCRIPTION | wait,
                commit_offset: 0,
                suspend_timeout_millis: i64::try_from(pull.suspend.as_millis()).unwrap_or(i64::MAX),
                subscription: Some(ByteString::from_static("*")),
                sub_version: 0,
                expression_type: Some(ByteString::from_static("TAG")),
                max_msg_bytes: None,
                request_source: None,
                proxy_forward_client_id: None,
            };
            let template = Template::new::<PullMessage>(&fields, header.into(), 0, 0)?;
            let at = template.find(MARKER).expect("the offset was just encoded");
            templates.push((template, at));
        }
        Ok(Arc::new(Pullers { cursors, templates, ..how }))
    }

    pub(crate) async fn connect(
        &self,
        target: &Target,
        connections: u32,
        timeout: Duration,
    ) -> Result<Vec<Link>, BenchError> {
        let mut links = Vec::new();
        // A connection without a queue would do nothing.
        for _ in 0..self.cursors.len().min(connections as usize) {
            links.push(Link::connect(&target.addr, Bytes::new(), timeout).await?);
        }
        Ok(links)
    }

    pub(crate) fn spawn(
        self: &Arc<Self>,
        links: Vec<Link>,
        run: &Arc<Run>,
        tasks: &mut tokio::task::JoinSet<Result<(), BenchError>>,
    ) {
        let count = links.len();
        for (number, link) in links.into_iter().enumerate() {
            let mine: Vec<_> = (number..self.cursors.len()).step_by(count).collect();
            let puller = Puller::new(self.clone(), run.clone(), &mine);
            tasks.spawn(async move { link.drive(puller).await.map(drop) });
        }
    }
}

/// A pull under way: place among the connection's queues, and when it was sent.
#[derive(Debug, Clone, Copy)]
struct Flight {
    at: usize,
    sent: u64,
}

/// One connection that pulls: of each of its queues, one page at a time.
struct Puller {
    shared: Arc<Pullers>,
    run: Arc<Run>,
    /// Its queues, and their places among all.
    cursors: Vec<(usize, Cursor)>,
    window: Window<Flight>,
    /// Queues of which a page can be pulled.
    ready: VecDeque<usize>,
    reader: Reader,
    over: bool,
}

impl Puller {
    fn new(shared: Arc<Pullers>, run: Arc<Run>, mine: &[usize]) -> Puller {
        let cursors: Vec<_> =
            mine.iter().filter_map(|at| shared.cursors.get(*at).map(|cursor| (*at, cursor.clone()))).collect();
        let (window, ready) = (Window::new(cursors.len()), (0..cursors.len()).collect());
        Puller { shared, run, cursors, window, ready, reader: Reader::default(), over: false }
    }
}

impl Script for Puller {
    fn fill(&mut self, out: &mut Outgoing, _: &mut Context<'_>) -> Result<(), BenchError> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let now = self.run.clock.now();
        self.over |= !self.shared.endless && self.run.is_over(now);
        while let Some(at) = self.ready.pop_front() {
            let Some((place, cursor)) = self.cursors.get(at).filter(|_| !self.over) else { continue };
            let Some((template, offset_at)) = self.shared.templates.get(*place) else { continue };
            let Some(opaque) = self.window.open(Flight { at, sent: now }) else { continue };
            out.push(|out| {
                let fields = template.append(out, opaque);
                let offset = fields.get_mut(*offset_at..).unwrap_or_default();
                put_decimal(offset, OFFSET_DIGITS, cursor.next.unsigned_abs());
            });
        }
        Ok(())
    }

    fn receive(&mut self, input: &mut Input) -> Result<(), BenchError> {
        let run = self.run.clone();
        let now = run.clock.now();
        let mut tally = run.received.lock();
        while let Some(answer) = input.next_command()? {
            let Some(flight) = self.window.close(answer.opaque) else {
                return wrong(format!("an answer to pull {}, which was not made or is answered", answer.opaque));
            };
            let Some((_, cursor)) = self.cursors.get_mut(flight.at) else { continue };
            let pull = |cursor: &Cursor| {
                format!(
                    "pull of topic {} queue {} at offset {}",
                    cursor.queue.topic, cursor.queue.queue_id, cursor.next
                )
            };
            let header: PullAnswer = match answer.header() {
                Ok(header) => header,
                Err(_) if answer.code != response_code::SUCCESS => return wrong_code(&pull(cursor), &answer),
                Err(error) => return wrong(format!("{}: {error}", pull(cursor))),
            };
            match answer.code {
                response_code::SUCCESS => {
                    let (tail, dense) = (self.shared.tail, self.shared.dense);
                    let (spread, wall, from) = (&mut tally.end_to_end, run.clock.wall_ns(now), run.from);
                    let from = run.clock.wall_ns(from);
                    let mut early = None;
                    let each = |intended: u64| {
                        if tail && intended >= from {
                            spread.record(wall.saturating_sub(intended));
                        }
                        // TIMER_DELIVER_MS has no digits below the millisecond.
                        early = early.or((intended / 1_000_000 > wall / 1_000_000).then(|| intended - wall));
                    };
                    let page = check::page(&cursor.queue, cursor.next, &answer.body, dense, &mut self.reader, each)?;
                    if let Some(early) = early.filter(|_| self.shared.timed) {
                        return wrong(format!("{}: a message came {early} ns before its time", pull(cursor)));
                    }
                    if dense && header.next_begin_offset != page.end {
                        let (next, end) = (header.next_begin_offset, page.end);
                        return wrong(format!("{}: {end} comes next, the answer says {next}", pull(cursor)));
                    }
                    cursor.next = header.next_begin_offset;
                    match tail {
                        // How long a pull was held says nothing.
                        true => tally.through(now, page.messages, page.bytes),
                        false => tally.answered(flight.sent, now, page.messages, page.bytes),
                    }
                    if !self.shared.endless {
                        run.arrived(now, page.messages);
                    }
                }
                response_code::PULL_RETRY_IMMEDIATELY => {}
                response_code::PULL_NOT_FOUND if self.shared.tail => {}
                _ => return wrong_code(&pull(cursor), &answer),
            }
            if cursor.next < cursor.end {
                self.ready.push_back(flight.at);
            } else if self.shared.repeat {
                cursor.next = cursor.first;
                self.ready.push_back(flight.at);
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.ready.is_empty() && self.window.in_flight() == 0
    }
}

/// Says when all that was sent has been received; fails when it does not come within `quiet`.
pub(crate) fn all_received(run: &Run, quiet: Duration) -> impl Fn(u64) -> Result<bool, BenchError> {
    let last = std::cell::Cell::new((0, 0));
    move |now| {
        let (sent, received) = (run.sent.lock().all.messages, run.received.lock().all.messages);
        if last.get().0 != received || last.get().1 == 0 {
            last.set((received, now));
        }
        if received >= sent || now - last.get().1 <= nanos(quiet) {
            return Ok(received >= sent);
        }
        wrong(format!(
            "{received} of {sent} acknowledged messages arrived, and no more within {} s",
            quiet.as_secs_f64()
        ))
    }
}
