//! A TCP proxy that hands on frames and keeps a copy of each.

use crate::wire;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A frame that went through.
#[derive(Clone)]
pub struct Seen {
    /// Counts the connections of all proxies that share a tape.
    pub connection: usize,
    /// Who connected, as the proxy was told: `client`, `broker`.
    pub from: &'static str,
    /// To whom: `namesrv`, `broker`.
    pub to: &'static str,
    /// Whether it went the way of the connection (from → to), or back.
    pub forward: bool,
    /// The whole frame as the sender wrote it, with its length prefix.
    pub raw: Vec<u8>,
}

/// All frames, in the order in which they went through.
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<(usize, Vec<Seen>)>>);

impl Tape {
    /// A copy of what is on it.
    pub fn frames(&self) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn connection(&self) -> usize {
        let mut tape = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tape.0 += 1;
        tape.0
    }

    fn keep(&self, seen: Seen) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.push(seen);
    }
}

/// What a proxy does.
#[derive(Clone)]
pub struct Rules {
    /// The port to hand on to, on the loopback.
    pub target: u16,
    /// Who connects.
    pub from: &'static str,
    /// Who is behind `target`.
    pub to: &'static str,
    /// Texts of equal length that are exchanged in what goes back, after the copy is kept: a client that is told a
    /// broker's address by the nameserver is sent to that broker's proxy so.
    pub exchange: Vec<(String, String)>,
}

/// Starts a proxy on `port` (0: any free one) that runs until the process ends; returns its port.
pub fn start(port: u16, rules: Rules, tape: &Tape) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a port can be bound");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    let tape = tape.clone();
    std::thread::spawn(move || {
        for inbound in listener.incoming().flatten() {
            let Ok(outbound) = TcpStream::connect((Ipv4Addr::LOCALHOST, rules.target)) else { continue };
            let connection = tape.connection();
            for forward in [true, false] {
                let (from, to) = if forward { (&inbound, &outbound) } else { (&outbound, &inbound) };
                let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                let (rules, tape) = (rules.clone(), tape.clone());
                std::thread::spawn(move || hand_on(from, to, forward, connection, &rules, &tape));
            }
        }
    });
    port
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, forward: bool, connection: usize, rules: &Rules, tape: &Tape) {
    while let Ok(mut raw) = wire::read_raw(&mut from) {
        tape.keep(Seen { connection, from: rules.from, to: rules.to, forward, raw: raw.clone() });
        if !forward {
            for (before, after) in &rules.exchange {
                exchange(&mut raw, before.as_bytes(), after.as_bytes());
            }
        }
        if to.write_all(&raw).is_err() {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}

fn exchange(raw: &mut [u8], before: &[u8], after: &[u8]) {
    assert_eq!(before.len(), after.len(), "the frame keeps its length");
    let mut at = 0;
    while let Some(window) = raw.get_mut(at..at + before.len()) {
        if window == before {
            window.copy_from_slice(after);
            at += before.len();
        } else {
            at += 1;
        }
    }
}
