//! Who a process, a user and a network namespace is: thin readers of procfs and `/etc`, with bounded memories.

pub mod namespaces;
pub mod port;
pub mod processes;
pub mod users;

#[cfg(test)]
pub(crate) mod scratch;
