//! Refused calls as JSON lines on standard output, one for each, in call order of each thread: to be held against the
//! conflict events of a daemon that watches.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
};

use anyhow::{Context as _, Result};
use reuse_model::{
    port::Port,
    refusal::Rule,
    rulebook::{Decision, Request},
};
use serde_json::{Value, json};

/// A refused call.
pub(crate) struct Refusal<'a> {
    pub(crate) request: Request,
    pub(crate) inode: u64,
    /// As asked for
    pub(crate) address: SocketAddr,
    pub(crate) errno: String,
    /// Where other sockets decided
    pub(crate) explained: Option<(&'a Port, &'a Decision)>,
}

/// Where refusals go.
pub(crate) struct Refusals {
    wanted: bool,
    lines: Vec<u8>,
    tid: i32,
}

impl Refusals {
    /// For the calling thread.
    pub(crate) fn new(wanted: bool) -> Self {
        Self { wanted, lines: Vec::new(), tid: nix::unistd::gettid().as_raw() }
    }

    /// Whether anybody reads them.
    pub(crate) fn wanted(&self) -> bool {
        self.wanted
    }

    /// Adds one.
    ///
    /// # Errors
    /// If it cannot be put into memory, as good as never.
    pub(crate) fn add(&mut self, refusal: &Refusal<'_>) -> Result<()> {
        let holders = refusal.explained.map(|(port, decision)| holders(port, decision));
        let rule = refusal.explained.and_then(|(_, decision)| rule(decision));
        let line = json!({
            "tid": self.tid,
            "inode": refusal.inode,
            "phase": match refusal.request { Request::Bind => "bind", Request::Listen => "listen" },
            "address": refusal.address.ip().to_string(),
            "port": refusal.address.port(),
            "errno": refusal.errno,
            "rule": rule.map(Rule::as_str),
            "holders": holders,
        });
        serde_json::to_writer(&mut self.lines, &line)?;
        self.lines.push(b'\n');
        Ok(())
    }

    /// Writes what came together.
    ///
    /// # Errors
    /// If nobody takes it.
    pub(crate) fn flush(&mut self) -> Result<()> {
        io::stdout().lock().write_all(&self.lines).context("writing refusals to standard output")?;
        self.lines.clear();
        Ok(())
    }
}

/// Inode and rule of each blocker, in the order of the decision.
fn holders(port: &Port, decision: &Decision) -> Vec<Value> {
    decision
        .blockers
        .iter()
        .map(|blocker| {
            let inode = port.occupants.get(blocker.occupant).map_or(0, |occupant| occupant.inode.0);
            json!({ "inode": inode, "rule": blocker.rule.as_str() })
        })
        .collect()
}

/// The rule that a refusal goes by: that of the socket that decided, else the first in the table among all.
fn rule(decision: &Decision) -> Option<Rule> {
    let mut rules = decision.blockers.iter();
    match decision.decided_by {
        Some(place) => rules.find(|blocker| blocker.occupant == place).map(|blocker| blocker.rule),
        None => rules.map(|blocker| blocker.rule).min(),
    }
}
