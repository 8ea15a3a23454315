//! The message store in Java RocketMQ's file formats.
#![deny(unsafe_code)]
