//! Reports for one kind of reader, whatever the events may carry.

use std::sync::Arc;

use reuse_model::{
    event::Moment,
    process::Process,
    report::{Context, View},
    socket::NetNs,
};

use super::names::Names;

/// The names, as a reader of `view` may see them; without command lines in any case. Reading one may wait for the
/// process it belongs to: that has a reader of its own, [`super::command_lines`].
pub(crate) struct Shown<'a> {
    pub(crate) names: &'a Names,
    pub(crate) view: View,
}

impl Context for Shown<'_> {
    fn netns_name(&self, netns: NetNs) -> Arc<str> {
        self.names.netns_name(netns)
    }

    fn user_name(&self, uid: u32) -> Option<Arc<str>> {
        self.names.user_name(uid)
    }

    fn command_line(&self, _: &Process) -> Option<Vec<Vec<u8>>> {
        None
    }

    fn migrates(&self, netns: NetNs) -> Option<bool> {
        self.names.migrates(netns)
    }

    fn event_view(&self) -> View {
        self.view
    }

    fn time(&self, at: Moment) -> String {
        self.names.time(at)
    }
}
