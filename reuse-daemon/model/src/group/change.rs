//! What happened to a group.

use std::sync::Arc;

use super::GroupKey;
use crate::inventory::Socket;

/// A socket that joined or left a group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupChange {
    /// Which of the two
    pub kind: GroupChangeKind,
    /// The group
    pub key: GroupKey,
    /// Device the group is bound to, by name
    pub device: Option<Arc<str>>,
    /// Slot of the member
    pub slot: u32,
    /// Members after the change
    pub members: usize,
    /// Share of all flows that went to one member before and go to another after, the one that left or joined included.
    /// `None` where the hash does not decide alone or that is not known, and where there was no member before or is none
    /// after.
    pub moved_share: Option<f64>,
    /// The socket as it is, or as it was last
    pub socket: Arc<Socket>,
}

/// Which way a group changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupChangeKind {
    /// A socket became a member
    Join,
    /// A member closed, or moved elsewhere
    Leave,
}

impl GroupChangeKind {
    /// The JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Leave => "leave",
        }
    }
}
