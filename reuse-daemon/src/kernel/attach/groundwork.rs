//! What is found out about the kernel before anything of ours is loaded into it.

use reuse_ebpf::offsets::Offsets;
use reuse_model::rulebook;

use super::{Options, StartError};
use crate::kernel::{
    btf::{Btf, BtfError, Types},
    capabilities::{Capabilities, Capability, Lockdown},
    decode::Decoder,
    layout::{ProgramLayout, SocketLayout},
    loader_types::{self, Anchor},
    owners::ITERATOR,
    plan::{self, Plan},
    rules, sys,
};

/// What loading begins from.
pub(super) struct Groundwork {
    /// The kernel's types, as the loader wants them
    pub(super) types: aya::Btf,
    pub(super) offsets: Offsets,
    pub(super) decoder: Decoder,
    /// How this kernel decides binds
    pub(super) rules: rulebook::Kernel,
    /// What it offers
    pub(super) have: Capabilities,
    pub(super) plan: Plan,
}

impl Groundwork {
    /// Looks, and plans.
    ///
    /// # Errors
    /// What nothing works without is not there.
    pub(super) fn lay(options: &Options<'_>) -> Result<Self, StartError> {
        let lockdown = Lockdown::of_running_kernel();
        if lockdown == Lockdown::Confidentiality {
            return Err(StartError::LockedDown);
        }
        let Types { path, bytes } = Types::find(options.btf)?;
        log::debug!("kernel types from {}", path.display());
        let malformed = |reason| BtfError::Malformed { path: path.clone(), reason };
        let kernel = Btf::parse(&bytes).map_err(malformed)?;
        let layout = ProgramLayout::from_btf(&kernel)?;
        let have = Capabilities::of_running_kernel(&kernel, &layout, &path, lockdown, options.avoid);
        if let Some(lack) = have.lack(Capability::TASK_FILE) {
            return Err(StartError::Lacking(lack.clone()));
        }
        let plan = plan::plan(&have, options.wanted);
        let hooks = plan.steps.iter().filter_map(|step| step.hook.anchor());
        let anchors = hooks.chain([Anchor::iterator(ITERATOR)]);
        Ok(Self {
            offsets: layout.offsets(&have.left_out()),
            decoder: Decoder::new(SocketLayout::from_btf(&kernel)?, sys::tick()),
            rules: rules::of_running_kernel(&kernel),
            types: loader_types::of(&kernel, anchors).ok_or_else(|| malformed("refused by the loader"))?,
            plan,
            have,
        })
    }
}
