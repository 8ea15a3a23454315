//! Harness for whole-system tests.
#![forbid(unsafe_code)]
