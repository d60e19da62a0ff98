//! The labels of a group, by which groups are told apart outside of the kernel.

use std::{borrow::Cow, sync::Arc};

use reuse_model::{
    endpoint::{Endpoint, Transport},
    group::{Group, GroupKey},
    report::Context,
};

/// What identifies a group in the metrics. Groups of two namespaces that have no name of their own can share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LabelSet {
    transport: Transport,
    local: Endpoint,
    device: Option<Arc<str>>,
    v6only: bool,
    uid: u32,
    netns: Arc<str>,
}

impl LabelSet {
    pub(super) fn of(group: &Group, context: &dyn Context) -> Self {
        // The address says the family.
        let GroupKey { netns, transport, family: _, v6only, local, device: _, uid } = *group.key();
        let netns = context.netns_name(netns);
        Self { transport, local, device: group.device().cloned(), v6only, uid, netns }
    }

    pub(super) fn transport(&self) -> Transport {
        self.transport
    }

    /// The values in the order protocol, address, port, device, v6only, uid, netns.
    pub(super) fn values(&self) -> [Cow<'_, str>; 7] {
        [
            self.transport.as_str().into(),
            self.local.address.to_string().into(),
            self.local.port.to_string().into(),
            self.device.as_deref().unwrap_or_default().into(),
            if self.v6only { "true" } else { "false" }.into(),
            self.uid.to_string().into(),
            (&*self.netns).into(),
        ]
    }
}
