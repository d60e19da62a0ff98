//! What the daemon must tell of the calls that a test makes one way: an event for each, in their order, and no other.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use socket2::Socket;

use super::{Caller, Way, agreement, io_uring::Style};
use crate::{
    daemon::Daemon,
    deadline::{self, PROMPT},
    effort,
    events::{self, assert_fields},
    sockets::{self, family_name, result_name},
};

/// Why the kernel must refuse a call.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// Name of the errno
    pub errno: &'a str,
    /// The event's rule
    pub rule: &'a str,
    /// Who holds the port
    pub holders: &'a [&'a Socket],
}

impl<'a> Refusal<'a> {
    /// A refusal that no socket causes.
    #[must_use]
    pub fn alone(errno: &'a str, rule: &'a str) -> Self {
        Self { errno, rule, holders: &[] }
    }
}

/// Makes calls and notes what must be told of them.
#[derive(Debug)]
pub struct Ledger {
    caller: Caller,
    via: &'static str,
    confidence: &'static str,
    comm: String,
    expected: Vec<Expected>,
    kept: Vec<Socket>,
}

/// An event that must come.
#[derive(Debug)]
struct Expected {
    inode: u64,
    fields: Value,
    contender: Value,
    holders: Option<Vec<u64>>,
    /// Port that may not be known, and is 0 then
    found: Option<u16>,
}

impl Ledger {
    /// `None` after saying aloud that this kernel has no such way. That a 32-bit call's bind was refused is inferred; every
    /// other refusal is exact.
    ///
    /// # Errors
    /// As [`Way::open`].
    pub fn open(way: Way) -> Result<Option<Self>> {
        let Some(caller) = way.open()? else { return Ok(None) };
        let confidence = if matches!(way, Way::Compat(_)) { "best_evidence" } else { "exact" };
        // A thread of io_uring's has a name of its own, which says nothing: the name told is the process's.
        let comm = match way {
            Way::Ring(Style::Worker | Style::Polled) => "/proc/self/comm",
            _ => "/proc/thread-self/comm",
        };
        let comm = std::fs::read_to_string(comm).context(comm)?.trim_end().to_owned();
        Ok(Some(Self { caller, via: way.via(), confidence, comm, expected: Vec::new(), kept: Vec::new() }))
    }

    /// The same, for a daemon that infers of every bind that it was refused.
    #[must_use]
    pub fn inferred(mut self) -> Self {
        self.confidence = "best_evidence";
        self
    }

    /// Leaves a socket open until all is told: by some ways the port that a listen got is seen on the socket alone, later.
    pub fn keep(&mut self, socket: Socket) {
        self.kept.push(socket);
    }

    /// Binds what the kernel must bind.
    ///
    /// # Errors
    /// When it refuses.
    pub fn bind(&mut self, socket: &Socket, address: SocketAddr) -> Result<()> {
        self.caller.bind(socket, address).with_context(|| format!("{}: bind {address}", self.via))?;
        let bound = sockets::local_address(socket)?;
        let asked = json!({
            "address": address.ip().to_string(), "port": address.port(), "bound_port": bound.port(),
        });
        self.expect(socket, json!({ "type": "bind", "phase": "bind", "result": "success" }), &asked, None)
    }

    /// Makes listen what the kernel must let.
    ///
    /// # Errors
    /// When it refuses.
    pub fn listen(&mut self, socket: &Socket) -> Result<()> {
        let had_port = sockets::local_address(socket)?.port() != 0;
        self.caller.listen(socket, 8).with_context(|| format!("{}: listen", self.via))?;
        let bound = sockets::local_address(socket)?;
        let mut asked = json!({ "address": bound.ip().to_string() });
        // By some ways a port that the listen got is looked up afterwards, which may take no more than a small part of the time:
        // on a slow machine one of many is not.
        let is_exact = had_port || deadline::slowness() == 1;
        if is_exact {
            merge(&mut asked, &json!({ "port": bound.port(), "bound_port": bound.port() }));
        }
        self.expect(
            socket,
            json!({ "type": "listen", "phase": "listen", "result": "success" }),
            &asked,
            None,
        )?;
        if let Some(expected) = self.expected.last_mut().filter(|_| !is_exact) {
            expected.found = Some(bound.port());
        }
        Ok(())
    }

    /// Tries a bind that the kernel must refuse.
    ///
    /// # Errors
    /// When it answers otherwise.
    pub fn refused_bind(&mut self, socket: &Socket, address: SocketAddr, why: Refusal<'_>) -> Result<()> {
        let outcome = result_name(&self.caller.bind(socket, address));
        ensure!(outcome == why.errno, "{}: bind {address}: {outcome}, not {}", self.via, why.errno);
        let asked = json!({ "address": address.ip().to_string(), "port": address.port() });
        self.refused("bind", socket, &asked, why)
    }

    /// Tries a listen that the kernel must refuse, in this phase: `listen`, or `autobind` where the socket has no port.
    ///
    /// # Errors
    /// When it answers otherwise.
    pub fn refused_listen(&mut self, phase: &str, socket: &Socket, why: Refusal<'_>) -> Result<()> {
        let outcome = result_name(&self.caller.listen(socket, 8));
        ensure!(outcome == why.errno, "{}: listen: {outcome}, not {}", self.via, why.errno);
        let bound = sockets::local_address(socket)?;
        let asked = json!({ "address": bound.ip().to_string(), "port": bound.port() });
        self.refused(phase, socket, &asked, why)
    }

    /// Tries a connect that the kernel must refuse before it sends anything: part of the call is a bind nobody asked for.
    ///
    /// # Errors
    /// When it answers otherwise.
    pub fn refused_connect(&mut self, socket: &Socket, peer: SocketAddr, why: Refusal<'_>) -> Result<()> {
        let outcome = result_name(&self.caller.connect(socket, peer));
        ensure!(outcome == why.errno, "{}: connect {peer}: {outcome}, not {}", self.via, why.errno);
        let bound = sockets::local_address(socket)?;
        let asked = json!({ "port": bound.port(), "via": "implicit" });
        self.refused("connect", socket, &asked, why)
    }

    fn refused(&mut self, phase: &str, socket: &Socket, asked: &Value, why: Refusal<'_>) -> Result<()> {
        let holders = why.holders.iter().map(sockets::inode).collect::<Result<Vec<_>>>()?;
        // What the kernel answers to the others shows in the socket's state.
        let confidence = if phase == "bind" { self.confidence } else { "exact" };
        let fields = json!({
            "type": "conflict", "phase": phase, "result": why.errno, "rule": why.rule, "confidence": confidence,
            "truncated": false,
        });
        self.expect(socket, fields, asked, Some(holders))
    }

    fn expect(
        &mut self,
        socket: &Socket,
        fields: Value,
        asked: &Value,
        holders: Option<Vec<u64>>,
    ) -> Result<()> {
        let family = family_name(sockets::local_address(socket)?.ip());
        let mut contender = json!({
            "pid": std::process::id(), "comm": self.comm, "uid": nix::unistd::geteuid().as_raw(),
            "protocol": protocol_name(socket)?, "family": family, "via": self.via,
        });
        merge(&mut contender, &events::flags(socket)?);
        merge(&mut contender, asked);
        let mut fields = fields;
        merge(&mut fields, &json!({ "repeated": 1 }));
        self.expected.push(Expected {
            inode: sockets::inode(socket)?,
            fields,
            contender,
            holders,
            found: None,
        });
        Ok(())
    }

    /// Waits until the daemon has told each call, and checks that it told nothing else of these sockets, that the
    /// counters agree with the events, and that nothing was lost or missed.
    ///
    /// # Errors
    /// When something does not come.
    ///
    /// # Panics
    /// When an event says something else.
    pub fn settle(self, daemon: &Daemon) -> Result<()> {
        let mut wanted: BTreeMap<u64, Vec<Expected>> = BTreeMap::new();
        for expected in self.expected {
            wanted.entry(expected.inode).or_default().push(expected);
        }
        for (inode, expected) in &wanted {
            let told =
                deadline::until(&format!("{} events of inode {inode}", expected.len()), PROMPT, || {
                    let told = of_calls(&daemon.events()?, *inode);
                    Ok((told.len() >= expected.len()).then_some(told))
                });
            let told = told.with_context(|| {
                let so_far = daemon.events().map(|all| of_calls(&all, *inode));
                format!("expected {expected:#?}\ntold {so_far:#?}")
            })?;
            for (event, expected) in told.iter().zip(expected) {
                assert_event(event, expected);
            }
        }
        let all = agreement::settle(daemon)?;
        for (inode, expected) in &wanted {
            let told = of_calls(&all, *inode);
            assert_eq!(told.len(), expected.len(), "more told than happened: {told:#?}");
        }
        Ok(())
    }
}

#[track_caller]
fn assert_event(event: &Value, expected: &Expected) {
    assert_fields(event, &expected.fields);
    assert_fields(&event["contender"], &expected.contender);
    if let Some(port) = expected.found {
        let told = ["port", "bound_port"].map(|key| event["contender"][key].as_u64());
        if told == [Some(0); 2] {
            effort::say("a port that a listen got was not looked up");
        } else {
            assert_eq!(told, [Some(port.into()); 2], "neither 0 nor {port}: {event}");
        }
    }
    if let Some(holders) = &expected.holders {
        let told = event["holders"].as_array().map(Vec::as_slice).unwrap_or_default();
        let told: Vec<_> = told.iter().filter_map(|holder| holder["inode"].as_u64()).collect();
        assert_eq!(&told, holders, "holders in {event}");
        assert_eq!(event["contender"]["bound_port"], 0, "0 after a refusal: {event}");
        assert!(event["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "no remedy: {event}");
    }
}

/// The events of one socket that a call made.
fn of_calls(all: &[Arc<Value>], inode: u64) -> Vec<Arc<Value>> {
    let call = |event: &&Arc<Value>| ["bind", "listen", "conflict"].iter().any(|kind| event["type"] == *kind);
    all.iter().filter(call).filter(|event| events::of_inode(event, inode)).cloned().collect()
}

/// The value of the field `protocol`, by `SO_PROTOCOL`.
fn protocol_name(socket: &Socket) -> Result<&'static str> {
    Ok(match socket.protocol()?.map(i32::from) {
        Some(libc::IPPROTO_TCP) => "tcp",
        Some(libc::IPPROTO_UDP) => "udp",
        Some(libc::IPPROTO_MPTCP) => "mptcp",
        _ => "other",
    })
}

/// Adds the fields of `more`, which win.
fn merge(object: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
}
