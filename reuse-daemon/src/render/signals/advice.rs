//! What to do about each signal.

use reuse_model::signal::Kind;

/// A sentence or two: what ends the state, or how to say that it is meant.
pub(super) fn of(kind: Kind) -> &'static str {
    match kind {
        Kind::TestGroupIntruder => {
            "Nobody else has business on the ports of the daemon's test group: ask whose process this is. If it means \
             well, move the group with --test-group.port."
        }
        Kind::ListenSquat => {
            "Stop who listens and start the victim again. A server that listens right after its bind, or binds without \
             SO_REUSEADDR, leaves no room for this."
        }
        Kind::RepairBind => {
            "TCP_REPAIR skips every check and needs CAP_NET_ADMIN. Where no checkpoint is restored here (CRIU), stop \
             the process and take the capability from it."
        }
        Kind::OwnerChange => {
            "The kernel compares this uid, not the process's, when a port is shared by SO_REUSEPORT. If nobody meant to \
             change it (fchown on the socket), start the service again."
        }
        Kind::FamilyShadow => {
            "Bind the victim to both families: one socket on [::] without IPV6_V6ONLY, or one socket for each. Stop the \
             other if it does not belong there."
        }
        Kind::DeviceShadow => {
            "A socket on a device comes before one on none. If that device's traffic is not meant for it, stop it."
        }
        Kind::MoreSpecificShadow => {
            "The more specific address wins, whoever bound it. If its traffic is not meant for it, stop it, and bind the \
             victim to the addresses that it serves."
        }
        Kind::ForeignUidShare => {
            "Stop the one that does not belong there. UDP sockets share whenever all set SO_REUSEADDR, whoever they \
             belong to: a service for unicast does without it, or with SO_REUSEPORT, which keeps other users out."
        }
        Kind::ForeignProgramJoin => {
            "Every program of a user may join its SO_REUSEPORT groups. If these are not meant to share, stop one, and \
             give each service a user of its own."
        }
        Kind::GenerationOverlap => {
            "Usual while a service is replaced. If it lasts, the older process has not ended and still gets its share: \
             stop it."
        }
        Kind::JoinRefused => {
            "The kernel refused it, nothing was taken. If both are meant to share, run them as one user; else ask why \
             another user's process wants this port."
        }
        Kind::TakeoverAfterClose => {
            "If they hand the port over on purpose, say so in the policy (reuse-daemon signals --suggest-policy); else \
             stop the taker. A socket unit of systemd keeps the port while its service restarts."
        }
        Kind::GroupSteering => {
            "The program, or SO_INCOMING_CPU, decides alone who of the group gets what, and a program stays as long as \
             the group. If the service did not set it, start it again."
        }
        Kind::InheritedListener => {
            "If it is not meant to be handed over, open it with SOCK_CLOEXEC. The port stays taken until the last \
             process that has it open closes it."
        }
        Kind::StalledMember => {
            "Its share of the clients waits in vain. Start the process again, or have it close the socket: the kernel \
             goes on choosing it."
        }
    }
}
