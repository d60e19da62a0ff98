//! Programs by concern, and what they share: [`maps`], [`emit`], [`field`], [`socket`], [`port`],
//! [`task`], [`arch`], [`atomic`].

mod arch;
mod ask;
mod atomic;
mod call;
mod circumstances;
mod emit;
mod field;
mod lifecycle;
mod maps;
mod own_group;
mod port;
mod sample;
mod selection;
mod snapshot;
mod socket;
mod task;
