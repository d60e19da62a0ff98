//! One event as one line: when, who, what, how it ended, why, what to do.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

use jiff::{Timestamp, tz::TimeZone};
use reuse_model::{
    endpoint::Protocol,
    refusal::RefusedPhase,
    report::{
        CallEvent, CloseEvent, ConflictEvent, Contender, GroupEvent, LostEvent, OwnerReport, Record,
        RecordBody, SignalEvent, TestGroupEvent,
    },
};

use super::{holder, plain::plain, signals};

/// Colour of what failed.
pub(super) const RED: &str = "\x1b[31m";
/// Colour of what should not be.
pub(super) const YELLOW: &str = "\x1b[33m";
/// Back to none.
pub(super) const RESET: &str = "\x1b[0m";

/// Appends the line of a record, with its newline. `zone`: whose clock the reader looks at.
pub fn line(record: &Record, zone: &TimeZone, colored: bool, out: &mut String) {
    let mut text = String::with_capacity(160);
    time(&record.time, zone, &mut text);
    let sentence = match &record.body {
        RecordBody::Bind(event) => call(event, "bound"),
        RecordBody::Listen(event) => call(event, "listens on"),
        RecordBody::Conflict(event) => conflict(event),
        RecordBody::Close(event) => close(event),
        RecordBody::Group(event) => group(event),
        RecordBody::Signal(event) => signal(event),
        RecordBody::TestGroup(event) => test_group(event),
        RecordBody::Lost(event) => lost(event),
    };
    text.push_str(&plain(&sentence));
    let color = match &record.body {
        RecordBody::Conflict(_) => Some(RED),
        // That it ended is good to know.
        RecordBody::Signal(event) => signals::color(event.severity).filter(|_| event.until.is_none()),
        RecordBody::Lost(_) | RecordBody::TestGroup(_) => Some(YELLOW),
        RecordBody::Bind(_) | RecordBody::Listen(_) | RecordBody::Close(_) | RecordBody::Group(_) => None,
    };
    match color.filter(|_| colored) {
        Some(color) => out.extend([color, &text, RESET, "\n"]),
        None => out.extend([&text, "\n"]),
    }
}

/// The record's time on the reader's clock; as it stands where it is no time.
pub(super) fn time(rfc3339: &str, zone: &TimeZone, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = match rfc3339.parse::<Timestamp>() {
        Ok(time) => write!(out, "{} ", zone.to_datetime(time).strftime("%Y-%m-%d %H:%M:%S%.6f")),
        Err(_) => write!(out, "{} ", plain(rfc3339)),
    };
}

fn call(event: &CallEvent, verb: &str) -> String {
    let contender = &event.contender;
    let mut text = format!("{} {verb} {}", who(contender), what(contender));
    if contender.port != Some(contender.bound_port) {
        let _ = write!(text, ", got port {}", contender.bound_port);
    }
    push_place(contender, &mut text);
    push_options(contender, &mut text);
    text
}

/// Who was refused what: the beginning of a refusal.
pub(super) fn refused(event: &ConflictEvent) -> String {
    let contender = &event.contender;
    let verb = match event.phase {
        RefusedPhase::Bind => "bind",
        RefusedPhase::Listen => "listen on",
        RefusedPhase::Connect => "connect",
        RefusedPhase::Autobind if contender.protocol == Protocol::Udp => "get a port to send from for",
        RefusedPhase::Autobind => "get a port to listen on for",
    };
    let mut text = format!("{} cannot {verb} {}", who(contender), what(contender));
    if let (Some(address), Some(port)) = (contender.peer_address, contender.peer_port) {
        let _ = write!(text, " to {}", SocketAddr::new(address, port));
    }
    push_place(contender, &mut text);
    push_options(contender, &mut text);
    text
}

fn conflict(event: &ConflictEvent) -> String {
    let mut text = refused(event);
    if let Some(principal) = holder::principal(event) {
        let _ = write!(text, ", held by {}", holder::brief(principal));
        if event.holders.len() > 1 {
            let _ = write!(text, " and {} more", event.holders.len() - 1);
        }
    }
    let sure = event.confidence.as_str().replace('_', " ");
    let _ = write!(text, ": {}, rule {} ({sure})", event.result, event.rule.as_str());
    match (event.repeated, event.folded) {
        (1, _) => {}
        (times, false) => {
            let _ = write!(text, ", {times} times");
        }
        (times, true) => {
            let _ = write!(text, ", the last of {times} refusals of several kinds");
        }
    }
    let _ = write!(text, ". {}", event.remedy);
    text
}

fn close(CloseEvent { socket }: &CloseEvent) -> String {
    let mut text = format!("{} {} closed", socket.protocol.as_str(), endpoint(socket.address, socket.port));
    push_netns(&socket.netns_name, &mut text);
    push_owners(&socket.owners, &mut text);
    text
}

fn group(event: &GroupEvent) -> String {
    let verb = if event.change == "join" { "joined as" } else { "left, which was" };
    let mut text = format!(
        "{} group {}: inode {} {verb} member {}, {} now",
        event.protocol.as_str(),
        endpoint(event.address, event.port),
        event.inode,
        event.member,
        event.members
    );
    push_netns(&event.netns_name, &mut text);
    push_owners(&event.owners, &mut text);
    text
}

fn signal(event: &SignalEvent) -> String {
    let verb = if event.until.is_some() { "ended" } else { "began" };
    let mut text = format!("{} {verb}", signals::headline(event));
    let mut before = ": ";
    for party in event.parties.iter().take(2) {
        let _ = write!(text, "{before}{}", signals::brief(party));
        before = "; ";
    }
    if event.parties.len() > 2 {
        let _ = write!(text, " and {} more", event.parties.len() - 2);
    }
    let _ = write!(text, ". {}", event.seen);
    text
}

fn test_group(event: &TestGroupEvent) -> String {
    let member = |slot: Option<u32>| slot.map_or_else(|| "none".to_owned(), |slot| slot.to_string());
    format!(
        "test group {} {}: {}, probe from port {} to {} members was predicted for {}, delivered to {}, accepted by {}",
        event.protocol.as_str(),
        event.family.as_str(),
        event.result,
        event.source_port,
        event.members,
        member(event.predicted),
        member(event.delivered),
        member(event.accepted)
    )
}

fn lost(event: &LostEvent) -> String {
    format!("{} events lost at stage {}", event.lost, event.stage)
}

/// The caller, and its service where that says more.
fn who(contender: &Contender) -> String {
    let Contender { comm, pid, uid, service, executable, .. } = contender;
    if service == executable {
        format!("{comm}[{pid}] (uid {uid})")
    } else {
        format!("{comm}[{pid}] ({service}, uid {uid})")
    }
}

/// The protocol, address and port that were asked for.
fn what(contender: &Contender) -> String {
    let protocol = contender.protocol.as_str();
    match (contender.address, contender.port) {
        (Some(address), Some(port)) => format!("{protocol} {}", endpoint(address, port)),
        _ => format!("{protocol}, no address"),
    }
}

pub(super) fn endpoint(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

/// Device and namespace, where they are not the usual.
fn push_place(contender: &Contender, text: &mut String) {
    if let Some(device) = &contender.device {
        let _ = write!(text, " on {device}");
    }
    if let Some(name) = &contender.netns_name {
        push_netns(name, text);
    }
}

fn push_netns(name: &str, text: &mut String) {
    if name != "host" {
        let _ = write!(text, " in netns {name}");
    }
}

/// Options that decide who may share the port.
fn push_options(contender: &Contender, text: &mut String) {
    let options = [
        (contender.reuseaddr, "SO_REUSEADDR"),
        (contender.reuseport, "SO_REUSEPORT"),
        (contender.v6only, "IPV6_V6ONLY"),
        (contender.freebind, "IP_FREEBIND"),
        (contender.transparent, "IP_TRANSPARENT"),
        (contender.bind_address_no_port, "IP_BIND_ADDRESS_NO_PORT"),
    ];
    let mut before = ", with ";
    for (_, name) in options.iter().filter(|(set, _)| *set) {
        text.extend([before, name]);
        before = " and ";
    }
}

fn push_owners(owners: &[OwnerReport], text: &mut String) {
    let mut before = ", of ";
    for OwnerReport { comm, pid, .. } in owners.iter().take(3) {
        let _ = write!(text, "{before}{comm}[{pid}]");
        before = ", ";
    }
    if owners.len() > 3 {
        let _ = write!(text, " and {} more", owners.len() - 3);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reuse_model::{
        conflict::{Conflict, Possession},
        endpoint::{Endpoint, Family, Protocol},
        event::{Call, Caller, Comm, Moment, Phase, Via},
        inventory::{Owner, PortKey, Socket},
        port::Occupant,
        process::Process,
        refusal::{Refusal, Remembered},
        report::{Context, View},
        rulebook::{Features, Kernel, Release},
        signal::{Case, Kind, Party, Role, Severity},
        socket::{Cookie, Flags, Inode, NetNs, SocketFacts, State},
    };

    use super::*;

    struct Names;

    impl Context for Names {
        fn netns_name(&self, netns: NetNs) -> Arc<str> {
            Arc::from(if netns.0 == 1 { "host" } else { "blue" })
        }
        fn user_name(&self, _: u32) -> Option<Arc<str>> {
            None
        }
        fn command_line(&self, _: &Process) -> Option<Vec<Vec<u8>>> {
            None
        }
        fn time(&self, _: Moment) -> String {
            "2026-11-24T08:12:15.123456Z".to_owned()
        }
    }

    fn call_of(comm: &[u8], phase: Phase, errno: i32, asked: u16, netns: u32) -> (Call, Process) {
        let mut name = Comm::default();
        name.0[..comm.len()].copy_from_slice(comm);
        let local = Endpoint { address: IpAddr::from([127, 0, 0, 1]), port: asked };
        let bound = if asked == 0 { 40_000 } else { asked };
        let socket = SocketFacts {
            inode: Inode(5),
            cookie: Cookie(0),
            netns: NetNs(netns),
            netns_cookie: 0,
            family: Family::Ipv4,
            protocol: Protocol::Tcp,
            local: Endpoint { port: bound, ..local },
            state: State::Bound,
            flags: Flags { reuseaddr: true, reuseport: true, ..Flags::default() },
            device: None,
            uid: 33,
            creator: None,
            forced: false,
            multicast: Vec::new(),
            queue: 0,
            queue_limit: 0,
            drops: 0,
            group: None,
        };
        let caller = Caller { pid: 12, tid: 12, comm: name, uid: 33, cgroup: 1 };
        let requested = Some(local);
        let call = Call {
            phase,
            errno,
            via: Via::Syscall,
            certain: true,
            peer: None,
            at: Moment(0),
            caller,
            fd: 3,
            socket: Some(socket),
            requested,
            evidence: None,
        };
        let process = Process { service: Arc::from("web.service"), ..Process::from_comm(12, name, 33) };
        (call, process)
    }

    fn text(body: RecordBody, colored: bool) -> String {
        let mut out = String::new();
        line(&Record::new(Moment(0), body, &Names), &TimeZone::UTC, colored, &mut out);
        out
    }

    #[test]
    fn a_bind_says_who_what_and_the_port_it_got() {
        let (call, process) = call_of(b"nginx", Phase::Bind, 0, 0, 2);
        assert_eq!(
            text(RecordBody::success(&call, &process, &Names), true),
            "2026-11-24 08:12:15.123456 nginx[12] (web.service, uid 33) bound tcp 127.0.0.1:0, got port 40000 \
             in netns blue, with SO_REUSEADDR and SO_REUSEPORT\n"
        );
    }

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        let (call, process) = call_of(b"nginx", Phase::Bind, 98, 80, 1);
        let rules = Kernel::new(Release::NEWEST, Features::default());
        let refusal = Refusal::of(&call, &rules, Remembered::default).expect("refused");
        let remedy = refusal.remedy();
        let conflict = Conflict::new(call, process.into(), refusal, []);
        let once = text(RecordBody::conflict(&conflict, 1, false, &Names), false);
        let begin = "2026-11-24 08:12:15.123456 nginx[12] (web.service, uid 33) cannot bind tcp 127.0.0.1:80, with \
                     SO_REUSEADDR and SO_REUSEPORT: EADDRINUSE, rule unknown (best evidence). ";
        assert_eq!(once, format!("{begin}{remedy}\n"));
        let often = text(RecordBody::conflict(&conflict, 12, false, &Names), true);
        assert!(often.contains("(best evidence), 12 times. "), "{often}");
        assert!(often.starts_with(RED) && often.ends_with("\x1b[0m\n"), "{often:?}");
        let folded = text(RecordBody::conflict(&conflict, 12, true, &Names), false);
        assert!(folded.contains("the last of 12 refusals of several kinds"), "{folded}");
    }

    #[test]
    fn a_refusal_names_the_holder() {
        let (call, process) = call_of(b"nginx", Phase::Bind, 98, 80, 1);
        let holder = |inode| {
            let mut facts = call.socket.clone().expect("a socket");
            (facts.inode, facts.local.port, facts.flags) = (Inode(inode), 80, Flags::default());
            Occupant::of(&facts)
        };
        let rules = Kernel::new(Release::NEWEST, Features::default());
        let refusal = Refusal::of(&call, &rules, || Remembered {
            live: vec![holder(6), holder(7)],
            closed: Vec::new(),
        })
        .expect("refused");
        let owner = Owner {
            process: Arc::new(process.clone()),
            comm: call.caller.comm,
            fds: vec![],
            seen: Moment(0),
        };
        let possession = Possession { owners: vec![owner], ..Possession::default() };
        let conflict = Conflict::new(call, process.into(), refusal, [possession]);
        let told = text(RecordBody::conflict(&conflict, 1, false, &Names), false);
        let held =
            ", held by 127.0.0.1:80 bound, web.service: nginx[12] (uid 33) and 1 more: EADDRINUSE, rule";
        assert!(told.contains(held), "{told}");
    }

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        for comm in [&b"a\nb\x1b[2J\x07"[..], b"\xff\xfe\\", "x\u{202e}gnp.exe".as_bytes(), b"\xc2\x9b31m"] {
            let (call, process) = call_of(comm, Phase::Listen, 0, 80, 1);
            let line = text(RecordBody::success(&call, &process, &Names), false);
            let body = line.strip_suffix('\n').expect("one line");
            assert!(!body.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        }
    }

    #[test]
    fn a_signal_says_how_grave_where_and_who() {
        let (call, process) = call_of(b"srv", Phase::Bind, 0, 53, 1);
        let facts = call.socket.expect("a socket");
        let party = |role, uid, pid| {
            let process = Process { pid, uid, ..process.clone() };
            let owner =
                Owner { process: process.into(), comm: call.caller.comm, fds: vec![], seen: Moment(0) };
            let facts = SocketFacts { uid, protocol: Protocol::Udp, ..facts.clone() };
            let socket = Arc::new(Socket { owners: vec![owner], ..Socket::found(facts, Moment(0)) });
            Party { role, socket, overlap: None, selections: None }
        };
        let mut case = Case {
            kind: Kind::ForeignUidShare,
            severity: Severity::Critical,
            port: PortKey::of(&facts).expect("a port"),
            protocol: Protocol::Udp,
            endpoint: facts.local,
            parties: vec![party(Role::Victim, 33, 12), party(Role::Taker, 1000, 13)],
            since: Moment(0),
            until: None,
            found: false,
            seen: "Seen\u{1b}.".to_owned(),
        };
        let told = |case: &Case, colored| {
            text(RecordBody::Signal(Box::new(SignalEvent::new(case, &Names, View::Network))), colored)
        };
        assert_eq!(
            told(&case, false),
            "2026-11-24 08:12:15.123456 critical foreign_uid_share at udp 127.0.0.1:53 began: victim 127.0.0.1:53 bound, \
             web.service: srv[12] (uid 33); taker 127.0.0.1:53 bound, web.service: srv[13] (uid 1000). Seen\\x1b.\n"
        );
        assert!(told(&case, true).starts_with(RED));
        (case.until, case.parties) = (Some(Moment(1)), vec![party(Role::Victim, 33, 12); 5]);
        let ended = told(&case, true);
        assert!(ended.contains("127.0.0.1:53 ended: ") && ended.contains(" and 3 more. Seen"), "{ended}");
        assert!(!ended.contains('\x1b'), "an end is good to know: {ended:?}");
    }
}
