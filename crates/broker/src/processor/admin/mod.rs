//! Administration, one file per noun.

mod attributes;
pub mod client;
pub mod cold_data;
pub mod config;
pub mod group;
pub mod offset;
pub mod reset_offset;
pub mod runtime;
pub mod static_topic;
pub mod stats;
pub mod timer;
pub mod topic;
