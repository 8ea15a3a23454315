//! The table of handlers. Decoding, admission, opaque, one-way, the unknown code, panics and counting are done here
//! once, never in handlers.

use crate::channel::Channel;
use crate::outbound::Outbound;
use crate::reply::{Outcome, Reply, ReplySlot, ReplyTo, Request, push_reply};
use crate::stats::RemotingStats;
use codec::command::Command;
use codec::fields::{CommandHeader, NoHeader};
use foldhash::HashMap;
use protocol::operation::Operation;
use protocol::response_code;
use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// Handles requests of one operation. `process` is synchronous: on [`Lane::Connection`] requests of one connection are
/// processed in the order in which they came.
pub trait Processor<O: Operation>: Send + Sync + 'static {
    /// Answers, or says how the answer will come.
    fn process(&self, request: Request<O::Request>) -> Outcome<O::Response>;
}

/// Where a handler runs.
#[derive(Clone, Debug)]
pub enum Lane {
    /// In the connection's task: what never waits and takes microseconds.
    Connection,
    /// On a bounded pool of threads: what reads cold data, walks tables or writes files.
    Pool(Arc<Pool>),
}

/// A bound on how many requests run and wait outside the connection's task.
#[derive(Debug)]
pub struct Pool {
    name: &'static str,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    capacity: usize,
}

impl Lane {
    /// A pool that runs `threads` requests at once and lets `capacity` wait; more are answered SYSTEM_BUSY.
    pub fn pool(name: &'static str, threads: usize, capacity: usize) -> Lane {
        let running = Arc::new(Semaphore::new(threads));
        Lane::Pool(Arc::new(Pool { name, running, waiting: AtomicUsize::new(0), capacity }))
    }
}

/// All handlers of a server by request code.
#[derive(Default)]
pub struct Routes {
    table: HashMap<i32, Box<dyn Route>>,
}

impl Routes {
    /// An empty table.
    pub fn new() -> Routes {
        Routes::default()
    }

    /// Adds the handler of one operation.
    ///
    /// # Panics
    /// When the code has a handler already: a mistake in the table.
    #[must_use]
    pub fn on<O: Operation>(mut self, lane: Lane, processor: Arc<impl Processor<O>>) -> Routes {
        let route = Typed::<O> { processor, lane, operation: PhantomData };
        let before = self.table.insert(O::CODE, Box::new(route));
        assert!(before.is_none(), "{} ({}) is routed twice", O::NAME, O::CODE);
        self
    }

    /// The codes that have a handler.
    pub fn codes(&self) -> impl Iterator<Item = i32> {
        self.table.keys().copied()
    }

    pub(crate) fn dispatch(&self, command: Command, channel: &Arc<Channel>, out: &mut Outbound) {
        RemotingStats::count(&channel.stats().requests);
        match self.table.get(&command.code) {
            Some(route) => route.handle(command, channel, out),
            None => {
                let remark = format!(" request type {} not supported", command.code);
                let reply = Reply::error(response_code::REQUEST_CODE_NOT_SUPPORTED, remark);
                answer::<NoHeader>(ReplyTo::of(&command), out, reply);
            }
        }
    }
}

trait Route: Send + Sync {
    fn handle(&self, command: Command, channel: &Arc<Channel>, out: &mut Outbound);
}

struct Typed<O: Operation> {
    processor: Arc<dyn Processor<O>>,
    lane: Lane,
    operation: PhantomData<O>,
}

impl<O: Operation> Route for Typed<O> {
    fn handle(&self, command: Command, channel: &Arc<Channel>, out: &mut Outbound) {
        let to = ReplyTo::of(&command);
        let header = match command.header::<O::Request>() {
            Ok(header) => header,
            Err(error) => {
                let reply = Reply::error(response_code::SYSTEM_ERROR, error.to_string());
                return answer::<O::Response>(to, out, reply);
            }
        };
        let request = Request::new(header, command, to, channel);
        match &self.lane {
            Lane::Connection => match run(&*self.processor, request, channel) {
                Outcome::Reply(reply) => answer(to, out, reply),
                Outcome::Later(reply) => {
                    let slot = ReplySlot::new(channel, to);
                    tokio::spawn(async move { slot.send(reply.await) });
                }
                Outcome::Parked | Outcome::Silent => {}
            },
            Lane::Pool(pool) => {
                if pool.waiting.fetch_add(1, Ordering::Relaxed) >= pool.capacity {
                    pool.waiting.fetch_sub(1, Ordering::Relaxed);
                    RemotingStats::count(&channel.stats().busy);
                    let remark = format!(
                        "[OVERLOAD]system busy, start flow control for a while ({} lane full, {} requests wait)",
                        pool.name, pool.capacity
                    );
                    return answer::<O::Response>(to, out, Reply::error(response_code::SYSTEM_BUSY, remark));
                }
                tokio::spawn(on_pool(self.processor.clone(), pool.clone(), request));
            }
        }
    }
}

async fn on_pool<O: Operation>(processor: Arc<dyn Processor<O>>, pool: Arc<Pool>, request: Request<O::Request>) {
    let slot = request.slot::<O::Response>();
    let permit = pool.running.clone().acquire_owned().await;
    pool.waiting.fetch_sub(1, Ordering::Relaxed);
    let run = move || {
        let channel = request.channel.clone();
        run(&*processor, request, &channel)
    };
    let outcome = tokio::task::spawn_blocking(run).await;
    drop(permit);
    match outcome {
        Ok(Outcome::Reply(reply)) => slot.send(reply),
        Ok(Outcome::Later(reply)) => slot.send(reply.await),
        Ok(Outcome::Parked | Outcome::Silent) => slot.discard(),
        // The runtime is shutting down; the connection goes with it.
        Err(_) => slot.discard(),
    }
}

/// Runs a handler; one that panics is answered for, and its connection closed, since its state is in doubt.
fn run<O: Operation>(
    processor: &dyn Processor<O>,
    request: Request<O::Request>,
    channel: &Channel,
) -> Outcome<O::Response> {
    match catch_unwind(AssertUnwindSafe(|| processor.process(request))) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic_text(&*panic);
            RemotingStats::count(&channel.stats().panics);
            tracing::error!(operation = O::NAME, peer = %channel.peer(), panic = text, "handler panicked");
            channel.close();
            Reply::error(response_code::SYSTEM_ERROR, format!("{} failed inside the server: {text}", O::NAME)).into()
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without text")
}

fn answer<R: CommandHeader>(to: ReplyTo, out: &mut Outbound, reply: Reply<R>) {
    if !to.oneway {
        push_reply(out, to, reply);
    }
}
