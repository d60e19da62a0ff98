//! Daemon.

pub mod cli;
pub mod clock;
pub mod config;
pub mod export;
pub mod query;
