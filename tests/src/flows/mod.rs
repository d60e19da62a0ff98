//! Flows that are sent again and again with the same addresses and ports, and the share of them that a change of members
//! moves.

mod delivery;
mod remap;

pub use self::{
    delivery::Flows,
    remap::{Order, Remap, join_share, leave_share, surprise},
};
