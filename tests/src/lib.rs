//! Harness of the end-to-end tests: starts the real daemon on the running kernel, makes real sockets in namespaces and
//! under users of its own, and reads back what the daemon says about them.
//!
//! Every test needs root and the daemon's path in `REUSE_DAEMON_BIN`; run them with `--test-threads=1`, because they
//! compare totals of the whole host.

pub mod actor;
pub mod attempts;
pub mod bpf;
pub mod cgroup;
pub mod cgroup_program;
pub mod conflicts;
pub mod daemon;
pub mod dashboard;
pub mod deadline;
pub mod effort;
pub mod events;
pub mod explain;
pub mod flows;
pub mod generator;
pub mod group_members;
pub mod groups;
pub mod http;
pub mod inventory;
pub mod kernel;
pub mod local;
pub mod metrics;
pub mod namespace;
pub mod process;
pub mod prometheus;
pub mod quiet;
pub mod rules;
pub mod schema;
pub mod scratch;
pub mod servers;
pub mod signals;
pub mod skip;
pub mod sockets;
pub mod terminal;
pub mod user;
pub mod ways;
