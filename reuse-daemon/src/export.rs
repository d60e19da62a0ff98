//! The ways out: what the daemon found, as metrics, over HTTP and as records on stdout.

pub mod events;
pub mod local;
pub mod metrics;
pub mod web;
