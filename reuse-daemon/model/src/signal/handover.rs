//! How processes came by sockets that others bound: by fork, or handed over in a message or by `pidfd_getfd`.

use std::collections::VecDeque;

use crate::{
    event::Moment,
    hash::{NumberMap, NumberSet},
    socket::Inode,
};

/// Most sockets and processes remembered: the oldest go.
const REMEMBERED_MAX: usize = 4096;

/// What was seen of handovers.
#[derive(Debug, Default)]
pub(super) struct Handovers {
    /// Sockets of which a descriptor was sent, and their senders
    sent: NumberMap<Inode, u32>,
    sent_order: VecDeque<Inode>,
    /// Processes that took descriptors of others
    took: NumberSet<u32>,
    /// Forked processes whose parent had sockets then
    children: NumberMap<u32, u32>,
    child_order: VecDeque<(u32, Moment)>,
}

impl Handovers {
    /// A descriptor of a socket was sent.
    pub(super) fn sent(&mut self, inode: Inode, sender: u32) {
        if self.sent.insert(inode, sender).is_none() {
            self.sent_order.push_back(inode);
            if self.sent_order.len() > REMEMBERED_MAX
                && let Some(oldest) = self.sent_order.pop_front()
            {
                self.sent.remove(&oldest);
            }
        }
    }

    /// A process took a descriptor.
    pub(super) fn took(&mut self, pid: u32) {
        if self.took.len() < REMEMBERED_MAX {
            self.took.insert(pid);
        }
    }

    /// A process that has sockets made another.
    pub(super) fn forked(&mut self, parent: u32, child: u32, at: Moment) {
        self.children.insert(child, parent);
        self.child_order.push_back((child, at));
        if self.child_order.len() > REMEMBERED_MAX
            && let Some((oldest, _)) = self.child_order.pop_front()
        {
            self.children.remove(&oldest);
        }
    }

    /// A process ended.
    pub(super) fn exited(&mut self, pid: u32) {
        if !self.took.is_empty() {
            self.took.remove(&pid);
        }
        if !self.children.is_empty() {
            self.children.remove(&pid);
        }
    }

    /// A socket is gone.
    pub(super) fn closed(&mut self, inode: Inode) {
        if !self.sent.is_empty() {
            self.sent.remove(&inode);
        }
    }

    /// Whether a process has a socket because it was handed over, and not by being made by one that had it. Whoever sent it
    /// had it before.
    pub(super) fn came_by_message(&self, inode: Inode, pid: u32) -> bool {
        let sender = self.sent.get(&inode);
        let was_sent = sender.is_some_and(|sender| *sender != pid);
        (was_sent || self.took.contains(&pid)) && !self.children.contains_key(&pid)
    }
}
