//! Typed request and response headers, by family. A field that is no `Option` and has no default is required.
//! Fields every request may carry besides (`ns`, `nsd`, `bname`, `oway`, `lo`) are passed over.

pub mod admin;
pub mod client;
pub mod namesrv;
pub mod offset;
pub mod pop;
pub mod pull;
pub mod query;
pub mod send;
pub mod topic;
pub mod transaction;
