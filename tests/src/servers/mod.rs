//! Packaged servers with SO_REUSEPORT listeners, as their projects ship them, and what each of them counts itself: so that
//! the daemon's counts are held against an account that is not ours.
//!
//! Each runs from a configuration in a directory of the test, in a network namespace of the test, in the foreground, and
//! ends with the test.

mod account;
mod caddy;
mod clients;
mod haproxy;
mod nginx;
mod program;
mod running;
mod unbound;
mod watched;

pub use self::{
    account::{Account, assert_agreement, connections_made},
    caddy::Caddy,
    clients::{Outcome, ask_by_tcp, conclude, dnsperf, fetch, request, wrk},
    haproxy::{HAProxy, Row},
    nginx::Nginx,
    program::Program,
    running::{Running, children},
    unbound::Unbound,
    watched::{listeners_of, watched},
};
