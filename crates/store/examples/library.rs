//! The store without broker, socket or runtime: open a directory, put, get by offset and by key, leave it as a kill would,
//! recover it, close.
//!
//! `cargo run -p ferrocket-store --example library -- /tmp/some-directory`

use std::sync::Arc;

use store::{AllMessages, Arrival, GetQuery, Message, MessageArrivingListener, MessageStore, StoreConfig, SystemClock};

struct Print;

impl MessageArrivingListener for Print {
    fn arriving(&self, arrival: &Arrival<'_>) {
        println!("arrived: {} queue {} offset {}", arrival.topic, arrival.queue_id, arrival.queue_offset);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::args().nth(1).ok_or("which directory is the store to be in?")?;
    let store = MessageStore::open(StoreConfig::at(&root), Arc::new(Print))?;
    let clock: &dyn store::Clock = &SystemClock;
    let body = format!("hello at {}", clock.now_ms());
    let place = store.put(&Message {
        topic: "Example",
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: clock.now_ms(),
        born_host: "127.0.0.1:0".parse()?,
        store_host: "127.0.0.1:10911".parse()?,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: body.as_bytes(),
        properties: "KEYS\u{1}greeting\u{2}",
    })?;
    println!("stored at {} as number {}", place.physical_offset, place.queue_offset);

    // A message can be got once it is dispatched; the listener says when. Here it is simply waited for.
    while store.status().dispatch_behind_bytes > 0 {
        std::thread::yield_now();
    }
    let result = store.get(&GetQuery::new("Example", 0, 0, 32), &AllMessages);
    for message in &result.messages {
        let record = codec::message::MessageRecord::parse(message)?;
        println!("{}: {}", record.queue_offset, String::from_utf8_lossy(record.body));
    }
    let found = store.query_by_key("Example", "greeting", 8, 0, i64::MAX);
    println!("{} with the key, the newest 8 at most", found.messages.len());
    // Slices keep their file mapped, whatever becomes of the store.
    drop((result, found));

    // Nothing is flushed, and the mark of a store in use stays: as after a kill.
    store.abandon();
    drop(store);
    let store = MessageStore::open(StoreConfig::at(&root), Arc::new(Print))?;
    println!("recovered: offsets {} to {}", store.min_offset("Example", 0), store.max_offset("Example", 0));
    store.shutdown();
    Ok(())
}
