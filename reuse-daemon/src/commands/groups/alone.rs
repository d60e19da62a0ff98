//! Groups without a daemon: who is a member, from one look at every socket. Nothing was counted before that.

use reuse_model::{
    group::Groups,
    inventory::{Inventory, Limits},
    report::{GroupList, GroupReport, SCHEMA, View},
};

use crate::{
    cli::GroupsArguments,
    commands::outcome,
    export::local::command_lines,
    kernel::{privileges, survey::survey},
    owner::{command_lines::CommandLines, names::Names, processes::ProcessTable, shown::Shown},
};

/// Looks once.
///
/// # Errors
/// No privileges, or a kernel that refuses.
pub(super) fn look(arguments: &GroupsArguments) -> anyhow::Result<GroupList> {
    privileges::check().map_err(|missing| {
        anyhow::anyhow!(
            "only root sees other users' groups, and no daemon answers at {}: {missing}",
            arguments.socket.display()
        )
    })?;
    let snapshot = survey(arguments.btf_path.as_deref())?;
    if !snapshot.whole {
        outcome::tell("in a pid namespace of its own: processes outside it are not seen");
    }
    let mut inventory = Inventory::new(Limits::default());
    let mut processes = ProcessTable::new("/proc", [std::process::id()]);
    let found = inventory.reconcile(&snapshot, &mut processes);
    let (mut groups, mut joins) = (Groups::new(), Vec::new());
    for change in &found.changes {
        groups.apply(change, snapshot.ended, &mut joins);
    }
    let names = Names::of_this_host(View::Local);
    let shown = Shown { names: &names, view: View::Local };
    let mut live: Vec<_> = groups.iter().filter(|group| group.is_live()).collect();
    live.sort_by_key(|group| *group.key());
    let reports = live.into_iter().map(|group| GroupReport::new(group, false, &shown, View::Local));
    let mut list = GroupList { schema: SCHEMA, groups: reports.collect() };
    if arguments.json {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(command_lines::add(&mut list, &CommandLines::new("/proc")));
    }
    Ok(list)
}
