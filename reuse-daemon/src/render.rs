//! Text for people: event lines and the landing page.

pub mod conflicts;
pub mod event;
pub mod explain;
pub mod landing;
mod plain;
pub mod sockets;
mod table;
