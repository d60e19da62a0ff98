//! Groups without a daemon: who is a member, from one look at every socket. Nothing was counted before that.

use reuse_model::{
    group::Groups,
    report::{GroupList, GroupReport, SCHEMA, View},
};

use crate::{
    cli::GroupsArguments,
    commands::survey::{self, Found},
    export::local::command_lines,
    owner::{command_lines::CommandLines, names::Names, shown::Shown},
};

/// Looks once.
///
/// # Errors
/// No privileges, or a kernel that refuses.
pub(super) fn look(arguments: &GroupsArguments) -> anyhow::Result<GroupList> {
    let Found { changes, at, .. } =
        survey::look(&arguments.socket, arguments.btf_path.as_deref(), "other users' groups")?;
    let (mut groups, mut joins) = (Groups::new(), Vec::new());
    for change in &changes {
        groups.apply(change, at, &mut joins);
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
