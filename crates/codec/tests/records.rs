//! Properties of message records, batches and properties.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod common;

use codec::message::{
    BatchMessage, BatchMessages, MessageRecord, MessageVersion, PROP_CRC_LEN, RecordParts, body_crc, message_id,
    parse_message_id, patch, prop_crc, records, reserve_prop_crc, sys_flag,
};
use codec::properties::{self, Properties};
use common::{commit_logs, damaged, damages};
use proptest::prelude::*;
use proptest::sample::Index;
use std::net::{IpAddr, SocketAddr};

fn host() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

/// Topics on both sides of the limit of the first form.
fn topic() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9%_-]{0,30}", "[a-z]{120,135}", "\\PC{0,20}"]
}

#[derive(Debug, Clone)]
struct Owned {
    numbers: (i32, i32, i32, i64, i32, i64),
    hosts: (SocketAddr, SocketAddr),
    body: Vec<u8>,
    topic: String,
    properties: String,
}

impl Owned {
    fn parts(&self) -> RecordParts<'_> {
        let (queue_id, flag, sys_flag, born_timestamp, reconsume_times, prepared_transaction_offset) = self.numbers;
        RecordParts {
            queue_id,
            flag,
            sys_flag,
            born_timestamp,
            born_host: self.hosts.0,
            store_host: self.hosts.1,
            reconsume_times,
            prepared_transaction_offset,
            body: &self.body,
            topic: &self.topic,
            properties: &self.properties,
        }
    }
}

prop_compose! {
    fn message()(
        numbers in any::<(i32, i32, i32, i64, i32, i64)>(),
        hosts in (host(), host()),
        body in prop::collection::vec(any::<u8>(), 0..300),
        topic in topic(),
        properties in "(?s:.){0,60}",
    ) -> Owned {
        Owned { numbers, hosts, body, topic, properties }
    }
}

/// Reads bytes as everything that they could be. Nothing may panic.
fn read_everything(bytes: &[u8]) {
    if let Ok(record) = MessageRecord::parse(bytes) {
        assert!(record.total_size <= bytes.len());
        let _ = (record.check_body_crc(), record.topic_str(), record.property("KEYS"), record.offset_message_id());
        read_properties(&record.properties_str());
    }
    let count = records(bytes).take(bytes.len() + 1).count();
    assert!(count <= bytes.len(), "every record has a length");
    let count = BatchMessages::new(bytes).take(bytes.len() + 1).count();
    assert!(count <= bytes.len(), "every message of a batch has a length");
    let mut copy = bytes.to_vec();
    let _ = patch(&mut copy, i64::MAX, -1, 0);
    assert_eq!(copy.len(), bytes.len());
    let _ = parse_message_id(&String::from_utf8_lossy(bytes));
}

fn read_properties(text: &str) {
    let parsed = Properties::parse(text);
    for (name, value) in parsed.iter() {
        assert_eq!(properties::get(text, name), Some(value), "the last of a name counts");
        assert_eq!(properties::get_bytes(text.as_bytes(), name), Some(value));
    }
    assert!(properties::index_keys(text).count() <= text.len() + 1);
    assert_eq!(Properties::parse(&parsed.encode()), parsed);
}

proptest! {
    #[test]
    fn what_is_encoded_is_parsed(message in message(), place in any::<(i64, i64, i64)>(), behind in any::<[u8; 3]>()) {
        let parts = message.parts();
        let mut bytes = parts.encode().unwrap();
        prop_assert_eq!(bytes.len(), parts.encoded_len());
        patch(&mut bytes, place.0, place.1, place.2).unwrap();
        let alone = bytes.clone();
        bytes.extend(behind);
        let got = MessageRecord::parse(&bytes).unwrap();
        prop_assert_eq!(got.total_size, alone.len());
        prop_assert_eq!(got.version, MessageVersion::for_topic_len(message.topic.len()));
        prop_assert_eq!((got.queue_offset, got.physical_offset, got.store_timestamp), place);
        prop_assert_eq!((got.born_host, got.store_host), message.hosts);
        let hosts = sys_flag::BORNHOST_V6 | sys_flag::STOREHOST_V6;
        prop_assert_eq!(got.sys_flag & !hosts, parts.sys_flag & !hosts);
        prop_assert_eq!(got.sys_flag & sys_flag::BORNHOST_V6 != 0, parts.born_host.is_ipv6());
        prop_assert_eq!(got.sys_flag & sys_flag::STOREHOST_V6 != 0, parts.store_host.is_ipv6());
        prop_assert_eq!(
            (got.queue_id, got.flag, got.born_timestamp, got.reconsume_times, got.prepared_transaction_offset),
            (parts.queue_id, parts.flag, parts.born_timestamp, parts.reconsume_times, parts.prepared_transaction_offset)
        );
        prop_assert_eq!((got.body, got.topic, got.properties), (parts.body, parts.topic.as_bytes(), parts.properties.as_bytes()));
        prop_assert!(got.check_body_crc().is_ok());
        for cut in 0..alone.len() {
            prop_assert!(MessageRecord::parse(&alone[..cut]).is_err(), "cut at {}", cut);
        }
        let two = [alone.as_slice(), &alone].concat();
        prop_assert_eq!(records(&two).filter(Result::is_ok).count(), 2);
    }

    #[test]
    fn a_crc_of_the_whole_record_covers_every_byte(message in message(), place in any::<(i64, i64, i64)>(), hit in any::<(Index, u8)>()) {
        let with_room = Owned { properties: reserve_prop_crc(&message.properties), ..message.clone() };
        let mut bytes = with_room.parts().encode().unwrap();
        patch(&mut bytes, place.0, place.1, place.2).unwrap();
        let behind = bytes.len() - PROP_CRC_LEN;
        let crc = prop_crc(body_crc(&bytes[..behind]));
        bytes[behind..].copy_from_slice(&crc);
        let record = MessageRecord::parse(&bytes).unwrap();
        prop_assert!(record.prop_crc().is_some());
        record.check_prop_crc(&bytes).unwrap();
        let (at, bits) = (hit.0.index(bytes.len()), hit.1.max(1));
        bytes[at] ^= bits;
        // What is still a record with a CRC says that it is damaged.
        if let Ok(record) = MessageRecord::parse(&bytes)
            && record.prop_crc().is_some()
        {
            prop_assert!(record.check_prop_crc(&bytes).is_err(), "byte {} of {}", at, bytes.len());
        }
        let bare = message.parts().encode().unwrap();
        MessageRecord::parse(&bare).unwrap().check_prop_crc(&bare).unwrap();
    }

    #[test]
    fn batches_are_read_back(all in prop::collection::vec((any::<i32>(), prop::collection::vec(any::<u8>(), 0..60), "(?s:.){0,30}"), 0..6)) {
        let mut bytes = Vec::new();
        let expect: Vec<_> =
            all.iter().map(|(flag, body, properties)| BatchMessage { flag: *flag, body, properties }).collect();
        expect.iter().for_each(|one| one.encode_into(&mut bytes).unwrap());
        let got: Result<Vec<_>, _> = BatchMessages::new(&bytes).collect();
        prop_assert_eq!(got.unwrap(), expect);
    }

    #[test]
    fn message_ids_are_read_back(host in host(), offset in any::<i64>()) {
        prop_assert_eq!(parse_message_id(&message_id(host, offset)).unwrap(), (host, offset));
    }

    #[test]
    fn properties_are_read_alike(text in "(?s:.){0,40}|([a-c]{0,2}[\u{1}\u{2}]){0,12}[a-c]?") {
        read_properties(&text);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
    }

    #[test]
    fn damaged_logs_never_panic(which in any::<Index>(), start in any::<Index>(), damages in damages()) {
        let log = which.get::<Vec<u8>>(commit_logs());
        let starts: Vec<usize> = records(log).map_while(Result::ok).scan(0, |at, record| {
            let start = *at;
            *at += record.total_size;
            Some(start)
        }).collect();
        let from = *start.get(&starts);
        // Damage is likelier to hit a record's head when little stands behind it.
        let end = log.len().min(from + 2000);
        read_everything(&damaged(&log[from..end], &damages));
        let head = MessageRecord::parse(&log[from..]).unwrap().total_size;
        read_everything(&damaged(&log[from..from + head], &damages));
    }
}

#[test]
fn recorded_logs_hold_records() {
    for log in commit_logs() {
        let good = records(log).map_while(Result::ok).inspect(|record| record.check_body_crc().unwrap()).count();
        assert!(good > 0);
    }
}
