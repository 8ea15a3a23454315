//! Records of a commit log or of the body of a pull, the body of a batch, message ids: parsed, and records written again.
#![no_main]

use codec::message::{BatchMessages, MessageRecord, RecordParts, parse_message_id, patch, records, sys_flag};
use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;

fuzz_target!(|data: &[u8]| {
    assert!(records(data).inspect(|record| record.iter().for_each(check)).count() <= data.len());
    let mut batch = Vec::new();
    for message in BatchMessages::new(data).map_while(Result::ok) {
        message.encode_into(&mut batch).expect("its lengths were checked");
    }
    assert!(batch.len() <= data.len());
    let mut copy = data.to_vec();
    let _ = patch(&mut copy, i64::MAX, i64::MIN, 0);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = parse_message_id(text);
    }
});

fn check(record: &MessageRecord<'_>) {
    let _ = (record.check_body_crc(), record.property("KEYS"), record.offset_message_id());
    let (topic, properties) = (record.topic_str(), record.properties_str());
    let whole = RecordParts {
        queue_id: record.queue_id,
        flag: record.flag,
        sys_flag: record.sys_flag,
        born_timestamp: record.born_timestamp,
        born_host: record.born_host,
        store_host: record.store_host,
        reconsume_times: record.reconsume_times,
        prepared_transaction_offset: record.prepared_transaction_offset,
        body: record.body,
        topic: &topic,
        properties: &properties,
    };
    // Text that was not UTF-8 may have become too long.
    let Ok(mut bytes) = whole.encode() else { return };
    patch(&mut bytes, record.queue_offset, record.physical_offset, record.store_timestamp).expect("a whole record");
    let again = MessageRecord::parse(&bytes).expect("it was just written");
    let same: fn(&MessageRecord<'_>) -> (i64, i64, i64, SocketAddr, SocketAddr, bool) = |record| {
        let v6 = record.sys_flag & sys_flag::STOREHOST_V6 != 0;
        (record.queue_offset, record.physical_offset, record.store_timestamp, record.born_host, record.store_host, v6)
    };
    assert_eq!(same(&again), same(record));
    assert_eq!((again.body, again.sys_flag), (record.body, record.sys_flag));
    assert_eq!((again.topic, again.properties), (topic.as_bytes(), properties.as_bytes()));
}
