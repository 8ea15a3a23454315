//! mqadmin and the quick start programs.
#![forbid(unsafe_code)]
