//! How long a store takes to open: fills a directory and leaves it as a kill would, or opens what is there.
//!
//!     cargo run --release -p ferrocket-store --example recovery -- fill DIR GIB BODY_BYTES QUEUES
//!     cargo run --release -p ferrocket-store --example recovery -- open DIR
#![allow(clippy::disallowed_methods, reason = "an example that measures time")]

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use store::{Message, MessageStore, NoListener, StoreConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["fill", dir, gib, body, queues] => fill(dir, gib.parse()?, body.parse()?, queues.parse()?),
        ["open", dir] => open(dir),
        _ => Err("fill DIR GIB BODY_BYTES QUEUES, or open DIR".into()),
    }
}

fn fill(dir: &str, gib: u64, body_bytes: usize, queues: usize) -> Result<(), Box<dyn Error>> {
    let store = MessageStore::open(StoreConfig::at(dir), Arc::new(NoListener))?;
    let body = vec![7; body_bytes];
    for count in 0.. {
        let topic = format!("Topic{}", count % queues / 8);
        let properties = format!("UNIQ_KEY\u{1}{count:032}\u{2}");
        let message = Message { properties: &properties, ..Message::new(&topic, i32::try_from(count % 8)?, &body) };
        if store.put(&message)?.end() >= gib << 30 {
            println!("{} messages", count + 1);
            break;
        }
    }
    store.abandon();
    Ok(())
}

fn open(dir: &str) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let store = MessageStore::open(StoreConfig::at(dir), Arc::new(NoListener))?;
    println!(
        "{} ms, log of {} bytes, {} queues",
        began.elapsed().as_millis(),
        store.status().max_offset,
        store.status().queues
    );
    store.abandon();
    Ok(())
}
