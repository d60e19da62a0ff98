//! Who a process, a user and a network namespace is: thin readers of procfs, control groups, `/etc` and the container
//! runtimes' own files, with bounded memories.

pub mod cgroup;
pub mod cgroup_ids;
pub mod command_lines;
pub mod containers;
mod lineage;
pub(crate) mod names;
pub mod namespaces;
pub mod placement;
pub mod port;
pub mod processes;
pub(crate) mod shown;
pub(crate) mod sysctls;
pub mod users;

#[cfg(test)]
pub(crate) mod scratch;
