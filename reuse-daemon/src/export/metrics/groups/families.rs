//! The families of groups and members.

use crate::export::metrics::family::Family;

pub(super) const GROUP_LABELS: &[&str] = &["protocol", "address", "port", "device", "v6only", "uid", "netns"];
pub(super) const MEMBER_LABELS: &[&str] =
    &["protocol", "address", "port", "device", "v6only", "uid", "netns", "member"];

pub(in crate::export::metrics) const MEMBERS: Family =
    Family::gauge("reuse_group_members", "Members of this SO_REUSEPORT group.", GROUP_LABELS);
pub(super) const INFO: Family = Family::gauge(
    "reuse_group_info",
    "Always 1; the labels say which services have its sockets open and what selects a member (empty: not read).",
    GROUP_LABELS,
);
pub(super) const IMBALANCE: Family = Family::gauge(
    "reuse_group_imbalance_ratio",
    "Flows of the busiest member over the mean, in the running window. Few flows make it large by chance.",
    GROUP_LABELS,
);
pub(super) const FAIRNESS: Family = Family::gauge(
    "reuse_group_fairness_index",
    "Jain's index of the members' flows in the running window: 1 is even, 1/members is all to one.",
    GROUP_LABELS,
);
pub(super) const P_VALUE: Family = Family::gauge(
    "reuse_group_uniformity_p_value",
    "How often a fair choice would spread the running window's flows at least as unevenly (chi-square).",
    GROUP_LABELS,
);
pub(super) const FLOWS: Family = Family::gauge(
    "reuse_group_uniformity_flows",
    "Flows in the running window that the p-value is of.",
    GROUP_LABELS,
);
pub(super) const VERDICT: Family = Family::gauge(
    "reuse_group_verdict",
    "Always 1; the label says what the last two closed windows say of the spread. Absent while that is not known.",
    GROUP_LABELS,
);

pub(super) const SELECTIONS: Family = Family::counter(
    "reuse_group_selections_total",
    "Connections queued to this member, or unicast datagrams delivered to it or refused by its full buffer.",
    MEMBER_LABELS,
);
pub(super) const DROPS: Family = Family::counter(
    "reuse_group_drops_total",
    "Packets that the kernel counts as dropped at this member's socket.",
    MEMBER_LABELS,
);
pub(super) const ACCEPT_LENGTH: Family = Family::gauge(
    "reuse_group_accept_queue_length",
    "Connections of this member that wait to be accepted.",
    MEMBER_LABELS,
);
pub(super) const ACCEPT_LIMIT: Family = Family::gauge(
    "reuse_group_accept_queue_limit",
    "Most connections that may wait at this member.",
    MEMBER_LABELS,
);
pub(super) const RECEIVE_BYTES: Family = Family::gauge(
    "reuse_group_receive_queue_bytes",
    "Memory of the datagrams that wait at this member.",
    MEMBER_LABELS,
);
pub(super) const MEMBER_INFO: Family = Family::gauge(
    "reuse_group_member_info",
    "Always 1; the labels say which service has this member's socket open.",
    MEMBER_LABELS,
);
