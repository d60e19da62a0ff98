//! The kernel side: everything that knows eBPF.
//!
//! [`btf`] and [`layout`] say where things are, [`capabilities`] what this kernel can do, [`plan`] what to attach for
//! it, [`attach`] does it. [`ring`] and [`decode`] turn records into typed events; [`snapshot`] and [`counts`] read the
//! iterators.

pub mod attach;
pub mod btf;
mod bytes;
pub mod capabilities;
mod cast;
pub(crate) mod cgroup;
pub mod counts;
pub mod decode;
mod diagnostics;
pub mod layout;
mod lean;
mod load;
mod loader;
mod loader_types;
mod netlink;
pub mod object;
pub mod own_groups;
pub mod owners;
pub mod plan;
pub mod port_reader;
pub mod privileges;
pub mod program_stats;
pub mod ring;
pub mod rules;
pub mod snapshot;
pub mod sock_diag;
pub mod survey;
mod sys;
mod tracefs;
mod trial;
pub mod watched;
