//! Producer and consumer library.
#![forbid(unsafe_code)]
