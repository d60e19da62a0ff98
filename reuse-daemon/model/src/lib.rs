//! The pure model of reuse-daemon: what the kernel told us goes in, what an operator is shown comes out.
//!
//! Nothing here does I/O, reads a clock or knows aya, tokio or prometheus; time comes with each event
//! as a [`event::Moment`]. Data flows one way: [`event`] -> [`inventory`], [`group`], [`refusal`] -> [`report`].

pub mod attempt;
pub mod claim;
pub mod conflict;
pub mod cross_check;
pub mod distribution;
pub mod endpoint;
pub mod ephemeral;
pub mod event;
pub mod filter;
pub mod group;
pub mod hash;
pub mod history;
pub mod inventory;
pub mod port;
pub mod process;
pub mod refusal;
pub mod repeats;
pub mod report;
pub mod rulebook;
pub mod signal;
pub mod socket;
pub mod tally;
pub mod test_group;
pub mod text;

#[cfg(test)]
mod fixtures;
