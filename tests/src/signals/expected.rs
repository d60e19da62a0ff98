//! A signal as a test expects it, with everyone in it.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{actor::Actor, events::assert_fields};

/// A socket in a signal: what the kernel says of it, and a process that has it open.
#[derive(Debug, Clone)]
pub struct Party {
    role: &'static str,
    protocol: &'static str,
    facts: Value,
    /// Pid and name of processes that have it open
    owners: Vec<(u32, String)>,
}

/// A signal with its parties, the first of which is the victim or the holder.
#[derive(Debug, Clone)]
pub struct Expected {
    signal: &'static str,
    severity: &'static str,
    parties: Vec<Party>,
    either_way: bool,
}

impl Party {
    /// The socket in this variable of `actor`, as it is now.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(role: &'static str, actor: &mut Actor, variable: &str) -> Result<Self> {
        let parties = Self::all(&[(role, variable)], actor)?;
        parties.into_iter().next().with_context(|| format!("nothing is said of {variable}"))
    }

    /// The sockets in these variables of `actor`, each with its role.
    ///
    /// # Errors
    /// When one is none.
    pub fn all(variables: &[(&'static str, &str)], actor: &mut Actor) -> Result<Vec<Self>> {
        let wanted: Vec<_> = variables
            .iter()
            .map(|(_, name)| format!("[facts({name}), {name}.type == SOCK_STREAM]"))
            .collect();
        let mut said = actor.run(&format!("answer = [{}]", wanted.join(", ")))?;
        let said = said.as_array_mut().context("what is said of sockets")?;
        let parties = variables.iter().zip(said).map(|((role, _), said)| {
            let (facts, protocol) = (said[0].take(), if said[1] == true { "tcp" } else { "udp" });
            Self { role, protocol, facts, owners: Vec::new() }.owned_by(actor)
        });
        Ok(parties.collect())
    }

    /// The same socket, which another process has open as well.
    #[must_use]
    pub fn owned_by(mut self, actor: &Actor) -> Self {
        self.owners.push((actor.pid(), actor.comm().to_owned()));
        self
    }

    /// The same socket, which is not bound, at the address that it asked for.
    #[must_use]
    pub fn asking(mut self, address: &str, port: u64) -> Self {
        self.facts["address"] = address.into();
        self.facts["port"] = port.into();
        self
    }

    /// Its inode number.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.facts["inode"].as_u64().unwrap_or_default()
    }

    /// The uid of its inode.
    #[must_use]
    pub fn socket_uid(&self) -> u64 {
        self.facts["socket_uid"].as_u64().unwrap_or_default()
    }
}

impl Expected {
    /// A signal without parties yet.
    #[must_use]
    pub fn new(signal: &'static str, severity: &'static str) -> Self {
        Self { signal, severity, parties: Vec::new(), either_way: false }
    }

    /// Adds the socket in this variable of `actor`, as it is now.
    ///
    /// # Errors
    /// When there is none.
    pub fn party(self, role: &'static str, actor: &mut Actor, variable: &str) -> Result<Self> {
        Ok(self.and(Party::new(role, actor, variable)?))
    }

    /// Adds a party.
    #[must_use]
    pub fn and(mut self, party: Party) -> Self {
        self.parties.push(party);
        self
    }

    /// Which of the two was first nobody saw, so that either may be the victim.
    #[must_use]
    pub fn either_way(mut self) -> Self {
        self.either_way = true;
        self
    }

    /// Its name.
    #[must_use]
    pub fn signal(&self) -> &'static str {
        self.signal
    }

    /// How grave.
    #[must_use]
    pub fn severity(&self) -> &'static str {
        self.severity
    }

    /// The protocol of the first party.
    ///
    /// # Errors
    /// When there is none.
    pub fn protocol(&self) -> Result<&'static str> {
        Ok(self.first()?.protocol)
    }

    /// The address of the first party.
    ///
    /// # Errors
    /// When there is none.
    pub fn address(&self) -> Result<&Value> {
        Ok(&self.first()?.facts["address"])
    }

    /// The port of the first party.
    ///
    /// # Errors
    /// When there is none.
    pub fn port(&self) -> Result<&Value> {
        Ok(&self.first()?.facts["port"])
    }

    /// With the roles exchanged.
    fn turned(&self) -> Self {
        let mut turned = Self { either_way: false, ..self.clone() };
        let roles: Vec<_> = turned.parties.iter().map(|party| party.role).collect();
        for (party, role) in turned.parties.iter_mut().zip(roles.into_iter().rev()) {
            party.role = role;
        }
        turned.parties.reverse();
        turned
    }

    fn first(&self) -> Result<&Party> {
        self.parties.first().with_context(|| format!("{} without a party", self.signal))
    }

    /// Whether this is the signal, whatever it says of it.
    #[must_use]
    pub fn is(&self, signal: &Value) -> bool {
        let told = inodes(signal);
        signal["signal"] == self.signal && self.parties.iter().all(|party| told.contains(&party.inode()))
    }

    /// Checks all that a signal says but its times.
    ///
    /// # Errors
    /// When this has no parties.
    ///
    /// # Panics
    /// When the signal says otherwise.
    #[track_caller]
    pub fn assert_told(&self, signal: &Value) -> Result<()> {
        if self.either_way
            && parties(signal).first().is_some_and(|first| first["inode"] != self.parties[0].inode())
        {
            return self.turned().assert_told(signal);
        }
        let (address, port, protocol) = (self.address()?, self.port()?, self.protocol()?);
        assert_fields(
            signal,
            &json!({ "signal": self.signal, "severity": self.severity, "protocol": protocol, "address": address, "port": port }),
        );
        let told = parties(signal);
        assert_eq!(told.len(), self.parties.len(), "parties of {signal}");
        // Members have no order.
        let first = self.first()?;
        assert!(first.role == "member" || told[0]["inode"] == first.inode(), "the first party of {signal}");
        for party in &self.parties {
            let shown = told.iter().find(|shown| shown["inode"] == party.inode());
            let shown = shown.unwrap_or_else(|| panic!("no party with inode {} in {signal}", party.inode()));
            assert_fields(shown, &party.facts);
            assert_fields(
                shown,
                &json!({ "role": party.role, "protocol": party.protocol, "netns": signal["netns"], "kernel": false, "rule": null }),
            );
            let owners = shown["owners"].as_array().map(Vec::as_slice).unwrap_or_default();
            for (pid, comm) in &party.owners {
                let owner = owners.iter().find(|owner| owner["pid"] == *pid);
                let owner = owner.unwrap_or_else(|| panic!("{pid} has it not open: {shown}"));
                assert_eq!(owner["comm"], *comm, "{shown}");
            }
        }
        let seen = signal["seen"].as_str().unwrap_or_default();
        assert!(!seen.trim().is_empty() && !seen.contains('\n'), "a sentence: {signal}");
        Ok(())
    }
}

/// The parties of a signal.
#[must_use]
pub(super) fn parties(signal: &Value) -> &[Value] {
    signal["parties"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The inodes of the parties of a signal.
pub(super) fn inodes(signal: &Value) -> Vec<u64> {
    parties(signal).iter().filter_map(|party| party["inode"].as_u64()).collect()
}
