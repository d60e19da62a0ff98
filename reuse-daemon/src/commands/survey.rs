//! One look at every socket of the host, for commands that no daemon answers. When a socket was bound and what was counted
//! only a daemon knows.

use std::path::Path;

use reuse_model::{
    event::{Moment, Scope},
    inventory::{Change, Inventory, Limits},
};

use super::outcome;
use crate::{
    kernel::{privileges, survey::survey},
    owner::processes::ProcessTable,
};

/// What was found.
pub(super) struct Found {
    pub(super) inventory: Inventory,
    /// How it came to be from nothing
    pub(super) changes: Vec<Change>,
    pub(super) at: Moment,
}

/// Looks. `sight` is what only root sees; nobody answers at `socket`.
///
/// # Errors
/// No privileges, or a kernel that refuses.
pub(super) fn look(socket: &Path, btf: Option<&Path>, sight: &str) -> anyhow::Result<Found> {
    privileges::check().map_err(|missing| {
        anyhow::anyhow!("only root sees {sight}, and no daemon answers at {}: {missing}", socket.display())
    })?;
    let snapshot = survey(btf)?;
    if snapshot.scope != Scope::Host {
        outcome::tell("in a pid namespace of its own: processes outside it are not seen");
    }
    let mut inventory = Inventory::new(Limits::default());
    let mut processes = ProcessTable::new("/proc", [std::process::id()]);
    let changes = inventory.reconcile(&snapshot, &mut processes).changes;
    Ok(Found { inventory, changes, at: snapshot.ended })
}
