//! The signals a daemon obeys.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: stop in good order.
    Stop,
    /// SIGHUP: read again what can be read again.
    Reload,
}

/// The signals of this process, from the moment of creation on.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
}

impl Signals {
    /// Takes over the signals; to be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the operating system answers.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }

    /// Waits until the process shall stop.
    pub async fn stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Os, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn signals_arrive() {
        let mut signals = Signals::new().unwrap();
        for (send, expect) in [(Os::HUP, Signal::Reload), (Os::TERM, Signal::Stop), (Os::INT, Signal::Stop)] {
            kill_process(getpid(), send).unwrap();
            assert_eq!(signals.next().await, expect);
        }
    }
}
