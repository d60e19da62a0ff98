//! Programs by concern, and what they share: [`maps`], [`emit`], [`field`], [`socket`], [`port`], [`call`], [`evidence`],
//! [`way`], [`task`], [`arch`], [`atomic`].

mod arch;
mod ask;
mod atomic;
mod attempt;
mod call;
mod circumstances;
mod emit;
mod evidence;
mod field;
mod group;
mod io_uring;
mod lifecycle;
mod maps;
mod multicast;
mod own_group;
mod passing;
mod port;
mod sample;
mod selection;
mod snapshot;
mod socket;
mod state;
mod subflow;
mod syscall;
mod task;
mod touch;
mod uid;
mod way;
