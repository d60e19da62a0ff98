//! Text for people: event lines, tables, answers, and the landing page.

pub mod bars;
pub mod check;
pub mod conflicts;
pub mod event;
pub mod explain;
pub mod groups;
mod holder;
pub mod landing;
mod numbers;
mod plain;
pub mod signals;
pub mod sockets;
mod table;
mod width;
