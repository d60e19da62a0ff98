//! The local socket, over which the command line tool asks the daemon: one request line, then the answer.
//!
//! Only the daemon's own user and root may ask, because answers carry paths and command lines: the socket's file has
//! mode 0600, and the peer's credentials are checked besides. Everything a client can make the daemon hold is bounded:
//! connections, the length of a request and the time for it, what waits for one that follows.

pub mod command_lines;
mod connection;
pub mod protocol;
mod serve;
mod socket;

pub use connection::Sources;
pub use serve::Server;
pub use socket::{LocalSocket, SocketError};
