//! The nameserver: route tables and the daemon mqnamesrv.
#![forbid(unsafe_code)]
