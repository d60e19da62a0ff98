//! The daemon: names who holds a port and why, and shows how the kernel spreads SO_REUSEPORT traffic.
//!
//! Data flows one way: [`kernel`] -> `reuse_model` (kept by [`tracer`]) -> [`export`]. [`daemon`] alone knows everybody.

pub mod allocator;
pub mod claims;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod explain;
pub mod export;
pub mod kernel;
pub mod local_client;
pub mod logging;
pub mod owner;
pub mod policy;
pub mod query;
pub mod reload;
pub mod render;
pub mod test_group;
pub mod tracer;
