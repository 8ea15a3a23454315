//! Properties of frames and commands.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod common;

use bytes::{BufMut, Bytes, BytesMut};
use codec::command::{Command, Preamble, encode};
use codec::fields::Fields;
use codec::frame::{DEFAULT_MAX_FRAME_LEN, FrameError, SerializeType, announced_len, layout};
use common::{damaged, damages, frames};
use proptest::prelude::*;
use proptest::sample::Index;

/// What a command is made of.
#[derive(Debug, Clone)]
struct Parts {
    code: i16,
    version: i16,
    opaque: i32,
    flag: i32,
    remark: Option<String>,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    serialize_type: SerializeType,
}

prop_compose! {
    fn parts()(
        numbers in any::<(i16, i16, i32, i32)>(),
        remark in prop::option::of(".{1,40}"),
        // ROCKETMQ headers have no empty values: Java reads them as null.
        fields in prop::collection::vec((".{0,12}", ".{1,60}|(?s:.){1,20}"), 0..8),
        body in prop::collection::vec(any::<u8>(), 0..200),
        binary in any::<bool>(),
    ) -> Parts {
        let (code, version, opaque, flag) = numbers;
        let serialize_type = if binary { SerializeType::RocketMq } else { SerializeType::Json };
        Parts { code, version, opaque, flag, remark, fields, body, serialize_type }
    }
}

fn encoded(parts: &Parts) -> Vec<u8> {
    let preamble = Preamble {
        code: parts.code.into(),
        version: parts.version.into(),
        opaque: parts.opaque,
        flag: parts.flag,
        remark: parts.remark.as_deref(),
        serialize_type: parts.serialize_type,
    };
    let mut out = BytesMut::new();
    let fields =
        |w: &mut codec::fields::FieldWriter<'_>| parts.fields.iter().for_each(|(key, value)| w.put(key, value));
    encode(&mut out, &preamble, fields, parts.body.len()).unwrap();
    out.put_slice(&parts.body);
    out.to_vec()
}

/// Takes frames off the front of a buffer that grows by the pieces, as a connection does.
fn split<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Bytes>, FrameError> {
    let mut buf = BytesMut::new();
    let mut found = Vec::new();
    for piece in pieces {
        buf.put_slice(piece);
        while let Some(at) = layout(&buf, DEFAULT_MAX_FRAME_LEN)? {
            found.push(buf.split_to(at.total_len).freeze());
        }
    }
    Ok(found)
}

/// Decodes what can be decoded. Nothing may panic, whatever the bytes.
fn read_everything(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let announced = announced_len(&bytes, DEFAULT_MAX_FRAME_LEN);
    if let Ok(Some(at)) = layout(&bytes, DEFAULT_MAX_FRAME_LEN) {
        assert_eq!(announced, Ok(Some(at.total_len)));
        assert!(at.total_len <= bytes.len() && at.body.end == at.total_len && at.header.end == at.body.start);
        let decoded = Command::decode(at.serialize_type, bytes.slice(at.header), bytes.slice(at.body));
        if let Ok(command) = decoded {
            let _ = command.fields.pairs();
            let _ = command.fields.get("topic");
        }
    }
    for serialize_type in [SerializeType::Json, SerializeType::RocketMq] {
        let _ = Command::decode(serialize_type, bytes.clone(), Bytes::new());
        let _ = Fields::new(serialize_type, bytes.clone()).pairs();
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(parts in parts()) {
        let bytes = Bytes::from(encoded(&parts));
        let at = layout(&bytes, DEFAULT_MAX_FRAME_LEN).unwrap().unwrap();
        prop_assert_eq!((at.total_len, at.serialize_type), (bytes.len(), parts.serialize_type));
        let command = Command::decode(at.serialize_type, bytes.slice(at.header), bytes.slice(at.body)).unwrap();
        prop_assert_eq!(
            (command.code, command.version, command.opaque, command.flag),
            (parts.code.into(), parts.version.into(), parts.opaque, parts.flag)
        );
        prop_assert_eq!(command.remark.as_deref(), parts.remark.as_deref());
        let fields: Vec<_> = command.fields.pairs().unwrap().into_iter().map(|(k, v)| (k, v.to_string())).collect();
        prop_assert_eq!(fields, parts.fields);
        prop_assert_eq!(command.body.as_ref(), parts.body.as_slice());
    }

    #[test]
    fn frames_are_the_same_however_they_arrive(
        all in prop::collection::vec(parts(), 1..6),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
        rest in 0..40usize,
    ) {
        let expect: Vec<Vec<u8>> = all.iter().map(encoded).collect();
        let mut stream = expect.concat();
        // An incomplete frame at the end is waited for.
        stream.extend(expect[0].iter().take(rest.min(expect[0].len() - 1)));
        let mut cuts: Vec<usize> = cuts.iter().map(|at| at.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        prop_assert_eq!(split(pieces).unwrap(), expect.clone());
        prop_assert_eq!(split(stream.chunks(1)).unwrap(), expect);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
    }

    #[test]
    fn damaged_frames_never_panic(which in any::<Index>(), damages in damages()) {
        let frame = damaged(which.get::<Vec<u8>>(frames()), &damages);
        read_everything(&frame);
        read_everything(frame.get(8..).unwrap_or_default());
    }
}

#[test]
fn recorded_frames_arrive_whole() {
    let stream = frames().concat();
    for size in [1, 7, 4096] {
        let found = split(stream.chunks(size)).unwrap();
        assert!(found.iter().eq(frames().iter()), "in pieces of {size}");
    }
}
