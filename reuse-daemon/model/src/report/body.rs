//! How each thing that happened becomes the body of a record.

use std::borrow::Cow;

use super::{
    CallEvent, CloseEvent, ConflictEvent, Contender, Context, GroupEvent, HolderReport, OwnerReport,
    RecordBody, SignalEvent, SocketReport, TestGroupEvent,
};
use crate::{
    conflict::Conflict,
    event::{Call, Phase},
    group::GroupChange,
    inventory::Socket,
    process::Process,
    refusal::{RefusedPhase, result_name},
    signal::Case,
    test_group::Probe,
};

impl RecordBody {
    /// A call that succeeded.
    #[must_use]
    pub fn success(call: &Call, process: &Process, context: &dyn Context) -> Self {
        let event = CallEvent {
            contender: Contender::new(call, process, context),
            phase: call.phase,
            result: result_name(call.errno),
            repeated: 1,
        };
        match call.phase {
            Phase::Bind => Self::Bind(event),
            // The others are told only where they are refused.
            Phase::Listen | Phase::Connect | Phase::Send => Self::Listen(event),
        }
    }

    /// A call that was refused. `repeated`, `folded`: as in [`crate::repeats::Told`].
    #[must_use]
    pub fn conflict(conflict: &Conflict, repeated: u64, folded: bool, context: &dyn Context) -> Self {
        let Conflict { call, process, refusal, holders } = conflict;
        let view = context.event_view();
        let holders = conflict.place().map_or_else(Vec::new, |(netns, asked)| {
            holders.iter().map(|held| HolderReport::new(held, asked.port, netns, context, view)).collect()
        });
        Self::Conflict(Box::new(ConflictEvent {
            contender: Contender::new(call, process, context),
            phase: RefusedPhase::of(call),
            result: Cow::Borrowed(result_name(call.errno)),
            repeated,
            folded,
            rule: refusal.rule,
            holders,
            decided_by: conflict.decided_by(),
            confidence: refusal.confidence,
            truncated: refusal.truncated,
            remedy: refusal.remedy(),
        }))
    }

    /// A socket that is gone.
    #[must_use]
    pub fn close(socket: &Socket, context: &dyn Context) -> Self {
        let view = context.event_view();
        let owners = socket.known_owners().iter().map(|owner| OwnerReport::new(owner, context, view));
        let socket = SocketReport { owners: owners.collect(), ..SocketReport::new(socket, context, view) };
        Self::Close(CloseEvent { socket })
    }

    /// A change of a group.
    #[must_use]
    pub fn group(change: &GroupChange, context: &dyn Context) -> Self {
        let (key, socket) = (&change.key, &change.socket);
        let owners =
            socket.known_owners().iter().map(|owner| OwnerReport::new(owner, context, context.event_view()));
        Self::Group(GroupEvent {
            change: change.kind.as_str(),
            protocol: key.transport,
            family: key.family,
            address: key.local.address,
            port: key.local.port,
            device: change.device.clone(),
            v6only: key.v6only,
            uid: key.uid,
            netns: key.netns.0,
            netns_name: context.netns_name(key.netns),
            member: change.slot,
            members: change.members,
            moved_share: change.moved_share,
            inode: socket.facts.inode.0,
            cookie: socket.facts.cookie.0,
            owners: owners.collect(),
        })
    }

    /// A signal that began, or has ended.
    #[must_use]
    pub fn signal(case: &Case, context: &dyn Context) -> Self {
        Self::Signal(Box::new(SignalEvent::new(case, context, context.event_view())))
    }

    /// A probe with its answers.
    #[must_use]
    pub fn test_group(probe: &Probe) -> Self {
        Self::TestGroup(TestGroupEvent {
            protocol: probe.group.transport,
            family: probe.group.family,
            result: probe.outcome().as_str(),
            source_port: probe.source_port,
            members: probe.members,
            hash: probe.hash,
            predicted: probe.predicted(),
            delivered: probe.delivered,
            accepted: probe.accepted,
        })
    }
}
