//! When SO_REUSEADDR counts, and whose.

use super::{
    finding::Finding,
    namespace::Private,
    socket::{TCP, UDP},
};

pub(super) fn only_at_bind(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    for spec in [TCP, UDP] {
        let at = namespace.address();
        let holder = spec.hold(at)?;
        let before = spec.reuseaddr().bind(at)?;
        holder.socket.set_reuse_address(true)?;
        let after = spec.reuseaddr().bind(at)?;
        let same = before.succeeded() == after.succeeded();
        let after = after.outcome();
        finding.claimed(same, format!("{before}; once the holder sets it too, long bound: {after}"));
    }
    let at = namespace.address();
    let (first, second) = (TCP.reuseaddr().hold(at)?, TCP.reuseaddr().hold(at)?);
    let (listens, text) = first.listen()?;
    anyhow::ensure!(listens, "{text}, though nobody listens on that port");
    let (listens, text) = second.listen()?;
    finding.claimed(listens, format!("two share {at}, one listens; then the other is asked again: {text}"));
    Ok(finding)
}

pub(super) fn existing_flags(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    for spec in [TCP, UDP] {
        let at = namespace.address();
        let _holder = spec.hold(at)?;
        let over_none = spec.reuseaddr().bind(at)?;
        let other = namespace.address();
        let _other_holder = spec.reuseaddr().hold(other)?;
        let over_set = spec.reuseaddr().bind(other)?;
        let same = over_none.succeeded() == over_set.succeeded();
        let over_set = over_set.outcome();
        finding.claimed(same, format!("{over_none}, over one without it; over one with it: {over_set}"));
    }
    Ok(finding)
}
