//! RocketMQ's request codes, headers and bodies.
#![forbid(unsafe_code)]
