//! Whether a client keeps its receiver, while the membership stays and when it changes.

use anyhow::Context as _;
use reuse_model::{
    claim::agrees,
    distribution::{moved_by_join, moved_by_leave},
};

use super::{
    finding::Finding,
    group::{Clients, Group, flows},
    namespace::Private,
};

const MEMBERS: usize = 4;
const FLOWS: u16 = 3_000;

pub(super) fn unchanged(namespace: &Private) -> anyhow::Result<Finding> {
    const TIMES: usize = 4;
    let mut finding = Finding::default();
    let clients = Clients::open(namespace)?;
    let at = namespace.address();
    let group = Group::open(at, MEMBERS)?;
    let flows = flows(1_000);
    let first = group.deliver(&clients, &flows, at)?;
    let mut moved = 0;
    for _ in 1..TIMES {
        let again = group.deliver(&clients, &flows, at)?;
        moved += first.iter().zip(&again).filter(|(one, other)| one != other).count();
    }
    finding.claimed(
        moved == 0,
        format!(
            "1000 clients sent {TIMES} datagrams each to {MEMBERS} sockets: {moved} came to another than the first"
        ),
    );
    Ok(finding)
}

pub(super) fn after_join(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    let at = namespace.address();
    let mut group = Group::open(at, MEMBERS)?;
    let change = Change::watch(namespace, &mut group, Group::join)?;
    let expected = moved_by_join(MEMBERS).context("no members")?;
    change.tell(&mut finding, &format!("one joined {MEMBERS}"), expected);
    Ok(finding)
}

pub(super) fn after_leave(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    for (index, which) in [(0, "first"), (MEMBERS - 1, "last")] {
        let at = namespace.address();
        let mut group = Group::open(at, MEMBERS)?;
        let change = Change::watch(namespace, &mut group, |group| {
            group.leave(index);
            Ok(())
        })?;
        let expected = moved_by_leave(MEMBERS, index).context("no such member")?;
        change.tell(&mut finding, &format!("the {which} of {MEMBERS} left"), expected);
    }
    Ok(finding)
}

/// What a change of the membership did to the flows.
struct Change {
    /// Flows that reach another member than before
    moved: u64,
    /// Those of them whose member is still there
    needlessly: u64,
}

impl Change {
    fn watch(
        namespace: &Private,
        group: &mut Group,
        change: impl FnOnce(&mut Group) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let clients = Clients::open(namespace)?;
        let flows = flows(FLOWS);
        let at = group.address();
        let before = group.deliver(&clients, &flows, at)?;
        change(group)?;
        let after = group.deliver(&clients, &flows, at)?;
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        let needlessly = moved.clone().filter(|(before, _)| group.members().any(|member| member == **before));
        Ok(Self { needlessly: needlessly.count() as u64, moved: moved.count() as u64 })
    }

    fn tell(&self, finding: &mut Finding, what: &str, expected: f64) {
        let share = |count: u64| 100.0 * count as f64 / f64::from(FLOWS);
        finding.claimed(
            self.needlessly == 0,
            format!(
                "{what}: {:.1} % of {FLOWS} clients got another receiver, with theirs still there",
                share(self.needlessly)
            ),
        );
        finding.known(
            agrees(self.moved, u64::from(FLOWS), expected),
            format!("in all {:.1} % moved, {:.1} % expected", share(self.moved), 100.0 * expected),
        );
    }
}
