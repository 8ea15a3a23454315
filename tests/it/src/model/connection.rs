//! A connection to a broker that comes and goes: every call ends in an outcome, and the next one connects anew.

use super::history::Outcome;
use super::run::Site;
use crate::pop::Answer;
use crate::wire::{self, Frame};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

const HEART_BEAT: i32 = 34;
/// Longer than any request waits at the broker, shorter than anyone's patience.
const ANSWER_SECONDS: u64 = 15;

/// One worker's connection.
pub struct Connection<'s> {
    site: &'s Site,
    stream: Option<TcpStream>,
    opaque: i32,
    /// The producer group that the broker may ask about transactions.
    producer_group: Option<&'static str>,
    /// What the broker asked meanwhile.
    asked: VecDeque<Frame>,
}

impl<'s> Connection<'s> {
    /// Not connected yet.
    pub fn new(site: &'s Site) -> Self {
        Self { site, stream: None, opaque: 0, producer_group: None, asked: VecDeque::new() }
    }

    /// One whose broker knows it for a producer of that group.
    pub fn of_producer(site: &'s Site, group: &'static str) -> Self {
        Self { producer_group: Some(group), ..Self::new(site) }
    }

    /// Closes it; the next call opens another.
    pub fn close(&mut self) {
        self.stream = None;
        self.asked.clear();
    }

    /// Waits for the broker to accept connections. False: the run is over.
    pub fn open(&mut self) -> bool {
        while self.stream.is_none() && !self.site.is_over() {
            if self.connect().is_err() {
                self.close();
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        !self.site.is_over()
    }

    fn connect(&mut self) -> std::io::Result<()> {
        let stream = TcpStream::connect(&self.site.addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS)))?;
        self.stream = Some(stream);
        if let Some(group) = self.producer_group {
            let body = json!({ "clientID": format!("model@{group}"), "consumerDataSet": [],
                "producerDataSet": [{ "groupName": group }] });
            self.exchange(HEART_BEAT, &json!({}), body.to_string().as_bytes())?;
        }
        Ok(())
    }

    /// One request and its answer, on the connection that [`Self::open`] left.
    pub fn call(&mut self, code: i32, fields: &Value, body: &[u8]) -> Outcome<Answer> {
        let Ok(answer) = self.raw_call(code, fields, body) else { return Outcome::Unanswered };
        match answer.code {
            0 => Outcome::Done(answer),
            code => Outcome::Refused(code, answer.remark),
        }
    }

    /// [`Self::call`] whose answer may have any code; none came.
    /// # Errors
    /// What the socket says; the connection is closed then.
    pub fn raw_call(&mut self, code: i32, fields: &Value, body: &[u8]) -> std::io::Result<Answer> {
        let answer = self.exchange(code, fields, body);
        if answer.is_err() {
            self.close();
        }
        Ok(Answer::of(&answer?))
    }

    /// A request that wants no answer.
    pub fn tell(&mut self, code: i32, fields: &Value) {
        let request = self.request(code, fields, &[]);
        if self.stream.as_mut().is_some_and(|stream| stream.write_all(&request).is_err()) {
            self.close();
        }
    }

    fn request(&mut self, code: i32, fields: &Value, body: &[u8]) -> Vec<u8> {
        self.opaque += 1;
        wire::request(code, self.opaque, fields, body)
    }

    fn exchange(&mut self, code: i32, fields: &Value, body: &[u8]) -> std::io::Result<Frame> {
        let request = self.request(code, fields, body);
        let stream = self.stream.as_mut().ok_or(std::io::ErrorKind::NotConnected)?;
        stream.write_all(&request)?;
        loop {
            let frame = wire::parse(&wire::read_raw(stream)?)?;
            if frame.header["flag"].as_i64().unwrap_or_default() & 1 == 0 {
                self.asked.push_back(frame);
            } else if frame.header["opaque"] == self.opaque {
                return Ok(frame);
            }
        }
    }

    /// The next request of the broker's, waited for so long.
    pub fn asked(&mut self, wait: Duration) -> Option<Frame> {
        if let Some(frame) = self.asked.pop_front() {
            return Some(frame);
        }
        let stream = self.stream.as_mut()?;
        stream.set_read_timeout(Some(wait)).ok()?;
        let mut first = [0; 1];
        let came = stream.peek(&mut first);
        stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS))).ok()?;
        match came {
            Ok(1) => {
                let frame = wire::read_raw(stream).and_then(|raw| wire::parse(&raw));
                if frame.is_err() {
                    self.close();
                }
                frame.ok()
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => None,
            _ => {
                self.close();
                None
            }
        }
    }
}
