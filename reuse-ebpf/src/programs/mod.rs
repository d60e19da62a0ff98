//! Programs by concern, and what they share: [`maps`], [`emit`], [`field`], [`socket`],
//! [`task`], [`arch`], [`atomic`].

mod arch;
mod atomic;
mod call;
mod emit;
mod field;
mod lifecycle;
mod maps;
mod own_group;
mod sample;
mod selection;
mod snapshot;
mod socket;
mod task;
