//! A stream of frames: split, decoded, fields read, written again in both serialisations, bodies of messages parsed.
#![no_main]

use bytes::{Bytes, BytesMut};
use codec::command::{Command, Preamble, encode};
use codec::frame::{DEFAULT_MAX_FRAME_LEN, SerializeType, announced_len, layout};
use codec::message::{BatchMessages, records};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut rest = Bytes::copy_from_slice(data);
    while let Ok(Some(at)) = layout(&rest, DEFAULT_MAX_FRAME_LEN) {
        assert_eq!(announced_len(&rest, DEFAULT_MAX_FRAME_LEN), Ok(Some(at.total_len)));
        let frame = rest.split_to(at.total_len);
        let header = frame.slice(at.header);
        if let Ok(command) = Command::decode(at.serialize_type, header, frame.slice(at.body)) {
            check(&command);
        }
    }
    for serialize_type in [SerializeType::Json, SerializeType::RocketMq] {
        if let Ok(command) = Command::decode(serialize_type, rest.clone(), Bytes::new()) {
            check(&command);
        }
    }
});

fn check(command: &Command) {
    let _ = records(&command.body).count();
    let _ = BatchMessages::new(&command.body).count();
    let Ok(pairs) = command.fields.pairs() else { return };
    if pairs.iter().any(|(key, _)| key.len() > usize::from(u16::MAX)) {
        return;
    }
    for serialize_type in [SerializeType::Json, SerializeType::RocketMq] {
        let preamble = Preamble {
            code: command.code,
            version: command.version,
            opaque: command.opaque,
            flag: command.flag,
            remark: command.remark.as_deref(),
            serialize_type,
        };
        let mut out = BytesMut::new();
        let written = encode(&mut out, &preamble, |w| pairs.iter().for_each(|(k, v)| w.put(k, v)), 0);
        if written.is_err() {
            assert!(out.is_empty());
            continue;
        }
        let bytes = out.freeze();
        let Ok(Some(at)) = layout(&bytes, usize::MAX) else { panic!("what was written is no frame") };
        assert_eq!((at.total_len, at.serialize_type), (bytes.len(), serialize_type));
        let again = Command::decode(serialize_type, bytes.slice(at.header), Bytes::new()).expect("it was just written");
        assert_eq!((again.opaque, again.flag), (command.opaque, command.flag));
        let mut expect = pairs.clone();
        if serialize_type == SerializeType::RocketMq {
            // Java reads a string of length 0 as null.
            expect.retain(|(_, value)| !value.is_empty());
        }
        assert_eq!(again.fields.pairs().expect("it was just written"), expect);
    }
}
