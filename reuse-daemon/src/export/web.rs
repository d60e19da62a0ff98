//! HTTP/1.1 for anyone who can reach the listeners: routes, limits, and nothing else.
//!
//! This side holds no state of its own: each request becomes one [`crate::query::Query`] and its answer.
//! Everything a client can make it hold is bounded: connections, header size, time to send a header, age.

mod connection;
mod host;
mod routes;
mod serve;

pub use routes::router;
pub use serve::{ServeError, Server};

#[cfg(test)]
mod tests;
