//! Bytes to values and back: frames, records, store files, fastjson, Java text formats.
#![forbid(unsafe_code)]
