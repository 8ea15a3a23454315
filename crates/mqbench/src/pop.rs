//! Popping: waiting for what comes, and acknowledging it.

use crate::body::{Content, Reader};
use crate::check::{OffsetBook, Queue, wrong, wrong_code};
use crate::cli::{self, Consume};
use crate::conduct::{Crew, Run};
use crate::error::BenchError;
use crate::link::{Link, Outgoing, Script};
use crate::report::{self, Flow, Report};
use crate::target::Target;
use crate::wire::{Input, Template, Window};
use bytes::Bytes;
use bytestring::ByteString;
use codec::command::Command;
use codec::message::{self, MessageRecord};
use parking_lot::Mutex;
use protocol::header::pop::{AckMessageRequestHeader, PopMessageRequestHeader, PopMessageResponseHeader};
use protocol::operation::{AckMessage, PopMessage};
use protocol::response_code;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

/// Brokers hand out so many at once.
const MAX_MESSAGES: u32 = 32;
/// Acknowledgements of a connection without answer; more messages are not popped before.
const ACKS: usize = 256;
/// Nothing takes so long; what comes again has been lost on the way.
const INVISIBLE_MS: i64 = 60_000;

/// What all popping connections of a run share.
pub(crate) struct Poppers {
    queues: Vec<Queue>,
    /// What was delivered.
    book: Mutex<OffsetBook>,
    group: ByteString,
    broker_name: String,
    /// A pop of all queues of each topic.
    templates: Vec<(String, Template)>,
    header: cli::Header,
    dense: bool,
    /// Somebody else ends the run.
    endless: bool,
    timed: bool,
}

/// Connects and pops until the run is over.
///
/// # Errors
/// [`BenchError`].
pub(crate) async fn run(options: &Consume, target: &Target, queues: Vec<Queue>) -> Result<Report, BenchError> {
    if !options.tail {
        return Err(BenchError::Refused("--pop waits for new messages: say so with --tail".to_owned()));
    }
    let (server, dense) = (&options.server, !options.topics.no_offset_check);
    let poppers = Poppers::new(target, queues, &options.pull, server.header, dense, false, false).await?;
    let links = poppers.connect(target, options.connections, server.timeout).await?;
    let pid = report::server_pid(server, links.first(), &target.addr);
    let run = Run::begin(&options.amount);
    let mut crew = Crew::default();
    poppers.spawn(links, &run, &mut crew);
    // Nobody says that messages come.
    let measured = crew.conduct(&run, pid, Duration::MAX, |now| Ok(run.is_over(now))).await?;
    let flow = Flow::new(&run.received.lock(), measured.received, measured.seconds);
    Ok(Report { consume: Some(flow), ..Report::new("consume", target, options, &measured, measured.received.messages) })
}

impl Poppers {
    /// The group goes on at the ends of the queues.
    ///
    /// # Errors
    /// [`BenchError`].
    pub(crate) async fn new(
        target: &Target,
        queues: Vec<Queue>,
        pull: &cli::Pull,
        header: cli::Header,
        dense: bool,
        endless: bool,
        timed: bool,
    ) -> Result<Arc<Poppers>, BenchError> {
        if header == cli::Header::Rocketmq {
            let text = "codes of pops do not fit the 16 bits of a binary header: leave --header rocketmq or --pop out";
            return Err(BenchError::Refused(text.to_owned()));
        }
        let mut templates: Vec<(String, Template)> = Vec::new();
        for queue in &queues {
            target.begin_at_end(&pull.group, queue).await?;
            if templates.last().is_none_or(|(topic, _)| *topic != queue.topic) {
                let fields = pop_header(&queue.topic, pull);
                templates.push((queue.topic.clone(), Template::new::<PopMessage>(&fields, header.into(), 0, 0)?));
            }
        }
        Ok(Arc::new(Poppers {
            book: Mutex::new(OffsetBook::new(queues.clone())),
            queues,
            group: pull.group.as_str().into(),
            broker_name: target.broker_name().await?,
            templates,
            header,
            dense,
            endless,
            timed,
        }))
    }

    pub(crate) async fn connect(
        &self,
        target: &Target,
        connections: u32,
        timeout: Duration,
    ) -> Result<Vec<Link>, BenchError> {
        let mut links = Vec::new();
        for _ in 0..connections {
            links.push(Link::connect(&target.addr, Bytes::new(), timeout).await?);
        }
        Ok(links)
    }

    /// Connections begin at different topics.
    pub(crate) fn spawn(self: &Arc<Self>, links: Vec<Link>, run: &Arc<Run>, crew: &mut Crew) {
        for (number, link) in links.into_iter().enumerate() {
            let popper = Popper {
                shared: self.clone(),
                run: run.clone(),
                topic: number % self.templates.len().max(1),
                window: Window::new(ACKS + 1 + MAX_MESSAGES as usize),
                popping: false,
                acks: VecDeque::new(),
                reader: Reader::default(),
                over: false,
            };
            crew.companions.spawn(async move { link.drive(popper).await.map(drop) });
        }
    }

    /// When everything has come: in no queue was one left out.
    ///
    /// # Errors
    /// [`BenchError::Wrong`] naming the first gap.
    pub(crate) fn finish(&self) -> Result<(), BenchError> {
        if self.dense { self.book.lock().finish() } else { Ok(()) }
    }
}

fn pop_header(topic: &str, pull: &cli::Pull) -> PopMessageRequestHeader {
    PopMessageRequestHeader {
        consumer_group: pull.group.as_str().into(),
        topic: topic.into(),
        queue_id: -1,
        max_msg_nums: i32::try_from(pull.max_messages.min(MAX_MESSAGES)).unwrap_or(1),
        invisible_time: INVISIBLE_MS,
        poll_time: i64::try_from(pull.suspend.as_millis()).unwrap_or(i64::MAX),
        // 0: it waits from when it arrives.
        born_time: 0,
        init_mode: 1,
        exp_type: Some(ByteString::from_static("TAG")),
        exp: Some(ByteString::from_static("*")),
        order: false,
        attempt_id: None,
    }
}

/// A request under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flight {
    /// Of the topic at that place.
    Pop(usize),
    Ack,
}

/// One connection that pops.
struct Popper {
    shared: Arc<Poppers>,
    run: Arc<Run>,
    /// The next topic.
    topic: usize,
    window: Window<Flight>,
    /// A pop is under way.
    popping: bool,
    /// Acknowledgements to be sent.
    acks: VecDeque<Template>,
    reader: Reader,
    over: bool,
}

impl Script for Popper {
    fn fill(&mut self, out: &mut Outgoing, _: &mut Context<'_>) -> Result<(), BenchError> {
        while let Some(ack) = self.acks.pop_front() {
            let Some(opaque) = self.window.open(Flight::Ack) else {
                self.acks.push_front(ack);
                break;
            };
            out.push(|out| {
                ack.append(out, opaque);
            });
        }
        self.over |= !self.shared.endless && self.run.is_over(self.run.clock.now());
        if self.popping || self.over || self.window.in_flight() + self.acks.len() > ACKS {
            return Ok(());
        }
        let Some((_, template)) = self.shared.templates.get(self.topic) else { return Ok(()) };
        if let Some(opaque) = self.window.open(Flight::Pop(self.topic)) {
            out.push(|out| {
                template.append(out, opaque);
            });
            self.popping = true;
            self.topic = (self.topic + 1) % self.shared.templates.len();
        }
        Ok(())
    }

    fn receive(&mut self, input: &mut Input) -> Result<(), BenchError> {
        while let Some(answer) = input.next_command()? {
            match self.window.close(answer.opaque) {
                None => {
                    return wrong(format!("an answer to request {}, which was not made or is answered", answer.opaque));
                }
                Some(Flight::Ack) if answer.code != response_code::SUCCESS => {
                    return wrong_code("acknowledgement", &answer);
                }
                Some(Flight::Ack) => {}
                Some(Flight::Pop(topic)) => {
                    self.popping = false;
                    self.popped(topic, &answer)?;
                }
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.over && self.acks.is_empty() && self.window.in_flight() == 0
    }
}

impl Popper {
    fn popped(&mut self, topic: usize, answer: &Command) -> Result<(), BenchError> {
        let shared = self.shared.clone();
        let topic = shared.templates.get(topic).map_or("", |(topic, _)| topic);
        match answer.code {
            response_code::SUCCESS => {}
            // Held to its end, or told to come again.
            response_code::POLLING_TIMEOUT | response_code::POLLING_FULL | response_code::PULL_NOT_FOUND => {
                return Ok(());
            }
            _ => return wrong_code(&format!("pop of topic {topic}"), answer),
        }
        let header: PopMessageResponseHeader = match answer.header() {
            Ok(header) => header,
            Err(error) => return wrong(format!("pop of topic {topic}: {error}")),
        };
        let (run, now) = (self.run.clone(), self.run.clock.now());
        let (wall, from) = (run.clock.wall_ns(now), run.clock.wall_ns(run.from));
        let (mut messages, mut bytes) = (0, 0);
        let mut tally = run.received.lock();
        for record in message::records(&answer.body) {
            let record = match record {
                Ok(record) => record,
                Err(error) => return wrong(format!("pop of topic {topic}: {error}")),
            };
            let due = self.look_at(topic, &record)?;
            if let Some(due) = due {
                // TIMER_DELIVER_MS has no digits below the millisecond.
                if shared.timed && due / 1_000_000 > wall / 1_000_000 {
                    return wrong(format!("topic {topic}: a message came {} ns before its time", due - wall));
                }
                if due >= from {
                    tally.end_to_end.record(wall.saturating_sub(due));
                }
            }
            self.acks.push_back(shared.ack(topic, &header, &record)?);
            messages += 1;
            bytes += record.body.len() as u64;
        }
        if messages == 0 {
            return wrong(format!("pop of topic {topic}: the answer says FOUND and holds no message"));
        }
        // How long a pop was held says nothing.
        tally.through(now, messages, bytes);
        if !shared.endless {
            run.arrived(now, messages);
        }
        Ok(())
    }

    /// When a message was to come, when that is known.
    fn look_at(&mut self, topic: &str, record: &MessageRecord<'_>) -> Result<Option<u64>, BenchError> {
        let (queue_id, offset) = (record.queue_id, record.queue_offset);
        let place = format_args!("topic {topic} queue {queue_id}: offset {offset}");
        if record.topic != topic.as_bytes() {
            return wrong(format!("{place} holds a message of topic {}", record.topic_str()));
        }
        if record.reconsume_times > 0 {
            return wrong(format!("{place} came again, within its invisible time of {INVISIBLE_MS} ms"));
        }
        if let Err(error) = record.check_body_crc() {
            return wrong(format!("{place}: {error}"));
        }
        if self.shared.dense {
            let at = self.shared.queues.iter().position(|queue| queue.topic == topic && queue.queue_id == queue_id);
            match at {
                Some(at) => self.shared.book.lock().delivered(at, offset)?,
                None => return wrong(format!("{place}: there is no such queue")),
            }
        }
        match self.reader.read(record.body) {
            Content::Ours(due) => Ok(Some(due)),
            Content::Damaged => wrong(format!("{place}: the body is not what mqbench sent")),
            Content::Foreign => Ok(None),
        }
    }
}

impl Poppers {
    /// The acknowledgement of a message, its receipt made of the answer as clients make it: `startOffset popTime invisibleTime
    /// reviveQid retry brokerName queueId queueOffset`.
    fn ack(
        &self,
        topic: &str,
        header: &PopMessageResponseHeader,
        record: &MessageRecord<'_>,
    ) -> Result<Template, BenchError> {
        let own = format!("0 {} ", record.queue_id);
        let starts = header.start_offset_info.as_deref().unwrap_or_default();
        let Some(start) = starts.split(';').find_map(|part| part.strip_prefix(&own)) else {
            return wrong(format!("pop of topic {topic}: startOffsetInfo {starts:?} lacks queue {}", record.queue_id));
        };
        let receipt = format!(
            "{start} {} {} {} 0 {} {} {}",
            header.pop_time,
            header.invisible_time,
            header.revive_qid,
            self.broker_name,
            record.queue_id,
            record.queue_offset
        );
        let fields = AckMessageRequestHeader {
            consumer_group: self.group.clone(),
            topic: topic.into(),
            queue_id: record.queue_id,
            extra_info: receipt.into(),
            offset: record.queue_offset,
            lite_topic: None,
        };
        Template::new::<AckMessage>(&fields, self.header.into(), 0, 0)
    }
}
