//! Asking a nameserver for routes.

use crate::check::{wrong, wrong_code};
use crate::cli::Route;
use crate::conduct::{Crew, Run};
use crate::error::BenchError;
use crate::link::{Link, Outgoing, Script};
use crate::report::{self, Flow, Report};
use crate::schedule::{Pacer, Schedule, Turn};
use crate::target::{Missing, Target};
use crate::wire::{Input, Template, Window};
use bytes::Bytes;
use protocol::body::route::TopicRouteData;
use protocol::header::namesrv::GetRouteInfoRequestHeader;
use protocol::operation::GetRouteInfoByTopic;
use protocol::response_code;
use std::sync::Arc;
use std::task::Context;

struct Topic {
    name: String,
    template: Template,
}

/// Connects and asks until the run is over.
///
/// # Errors
/// [`BenchError`].
pub(crate) async fn run(options: &Route, say: &mut dyn FnMut(String)) -> Result<Report, BenchError> {
    let server = &options.server;
    // Without nameserver there is nothing to look for: what is named with --broker is what is asked.
    let target = match server.namesrv {
        Some(_) => {
            let broker = Target::broker(server).await?;
            broker.queues(&options.topics, Missing::Make, say).await?;
            let nameserver = Target::nameserver(server)?;
            for name in options.topics.names() {
                nameserver.wait_route(&name).await?;
            }
            nameserver
        }
        None => Target::broker(server).await?,
    };
    let topics = options
        .topics
        .names()
        .into_iter()
        .map(|name| {
            let header = GetRouteInfoRequestHeader {
                topic: name.as_str().into(),
                accept_standard_json_only: true,
                zone_mode: false,
                zone_name: None,
            };
            let template = Template::new::<GetRouteInfoByTopic>(&header, server.header.into(), 0, 0)?;
            Ok(Topic { name, template })
        })
        .collect::<Result<Vec<_>, BenchError>>()?;
    let topics = Arc::new(topics);
    let mut links = Vec::new();
    for _ in 0..options.connections {
        links.push(Link::connect(&target.addr, Bytes::new(), server.timeout).await?);
    }
    let pid = report::server_pid(server, links.first(), &target.addr);

    let run = Run::begin(&options.amount);
    let begin = run.clock.now();
    let pacer = options.rate.map(|rate| Pacer::new(Schedule::new(begin, rate, 1), links.len(), run.total(rate, begin)));
    let mut crew = Crew::default();
    for (number, link) in links.into_iter().enumerate() {
        let asker = Asker {
            topics: topics.clone(),
            run: run.clone(),
            window: Window::new(options.in_flight as usize),
            turn: pacer.as_ref().map(|pacer| Turn::new(pacer.clone(), number)),
            next: number % topics.len(),
            known: vec![Bytes::new(); topics.len()],
            over: false,
        };
        crew.tasks.spawn(async move { link.drive(asker).await.map(drop) });
    }
    if let Some(pacer) = pacer {
        let run = run.clone();
        crew.tasks.spawn(async move {
            pacer.run(run.clock, || false).await;
            Ok(())
        });
    }
    let measured = crew.conduct(&run, pid, server.timeout, |_| Ok(true)).await?;
    let flow = Flow::new(&run.sent.lock(), measured.sent, measured.seconds);
    Ok(Report { route: Some(flow), ..Report::new("route", &target, options, &measured, measured.sent.messages) })
}

/// One connection that asks.
struct Asker {
    topics: Arc<Vec<Topic>>,
    run: Arc<Run>,
    /// When a route was asked for, and of which topic.
    window: Window<(u64, usize)>,
    turn: Option<Turn>,
    next: usize,
    /// The route that each topic was found to have: the same bytes need not be read again.
    known: Vec<Bytes>,
    over: bool,
}

impl Script for Asker {
    fn fill(&mut self, out: &mut Outgoing, cx: &mut Context<'_>) -> Result<(), BenchError> {
        let now = self.run.clock.now();
        while !self.over && !self.window.is_full() {
            let intended = match &mut self.turn {
                Some(turn) => {
                    let intended = turn.take(cx);
                    self.over = turn.is_over();
                    intended
                }
                None => self.run.claim(now, 1).then_some(now),
            };
            let Some(intended) = intended else {
                self.over |= self.turn.is_none();
                break;
            };
            let Some(topic) = self.topics.get(self.next) else { break };
            let Some(opaque) = self.window.open((intended, self.next)) else { break };
            out.push(|out| {
                topic.template.append(out, opaque);
            });
            self.next = (self.next + 1) % self.topics.len();
        }
        Ok(())
    }

    fn receive(&mut self, input: &mut Input) -> Result<(), BenchError> {
        let now = self.run.clock.now();
        let mut tally = self.run.sent.lock();
        while let Some(answer) = input.next_command()? {
            let Some((intended, at)) = self.window.close(answer.opaque) else {
                return wrong(format!("an answer to request {}, which was not made or is answered", answer.opaque));
            };
            let name = self.topics.get(at).map_or("", |topic| topic.name.as_str());
            if answer.code != response_code::SUCCESS {
                return wrong_code(&format!("route of topic {name}"), &answer);
            }
            if let Some(known) = self.known.get_mut(at).filter(|known| **known != answer.body) {
                match codec::json::from_slice::<TopicRouteData>(&answer.body) {
                    Ok(route) if !route.broker_datas.is_empty() && !route.queue_datas.is_empty() => {}
                    Ok(_) => return wrong(format!("route of topic {name}: no broker or no queue in it")),
                    Err(error) => return wrong(format!("route of topic {name}: its body is {error}")),
                }
                *known = Bytes::copy_from_slice(&answer.body);
            }
            tally.answered(intended, now, 1, answer.body.len() as u64);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.over && self.window.in_flight() == 0
    }
}
