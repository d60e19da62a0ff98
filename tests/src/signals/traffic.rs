//! Who gets the traffic: the kernel's answer, whatever the daemon says.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{
    actor::Actor,
    deadline::{self, PROMPT},
};

/// Datagrams or connections to an address.
#[derive(Debug, Clone, Copy)]
pub struct Traffic<'a> {
    /// What is added to the making of its sockets: nothing for TCP, `kind=SOCK_DGRAM` for UDP
    pub kind: &'a str,
    /// Where it goes
    pub host: &'a str,
    /// Where it goes
    pub port: u64,
    /// How many flows
    pub count: u64,
}

impl Traffic<'_> {
    /// Sends it from `client`, and gives how much of it each of these sockets got.
    ///
    /// # Errors
    /// When not all of it arrives.
    pub fn shares<const N: usize>(
        &self,
        client: &mut Actor,
        mut receivers: [(&mut Actor, &str); N],
    ) -> Result<[u64; N]> {
        let Self { kind, host, port, count } = self;
        client.run(&format!("flows = send('{host}', {port}, {count}, {kind})"))?;
        let mut shares = [0; N];
        deadline::until("all of the traffic", PROMPT, || {
            for (share, (actor, variable)) in shares.iter_mut().zip(&mut receivers) {
                *share += actor.run(&format!("answer = taken({variable})"))?.as_u64().unwrap_or_default();
            }
            Ok((shares.iter().sum::<u64>() >= *count).then_some(()))
        })?;
        client.run("for flow in flows: flow.close()")?;
        Ok(shares)
    }

    /// Sends all of these side by side from `client`, and gives how much of each every receiver got, which has sockets in
    /// variables: `s` and the port.
    ///
    /// # Errors
    /// When not all of it arrives.
    pub fn all_shares<const N: usize>(
        all: &[Traffic<'_>],
        client: &mut Actor,
        mut receivers: [(&mut Actor, &[u64]); N],
    ) -> Result<Vec<[u64; N]>> {
        let sent = all
            .iter()
            .map(|Traffic { kind, host, port, count }| format!("*send('{host}', {port}, {count}, {kind})"));
        client.run(&format!("flows = [{}]", sent.collect::<Vec<_>>().join(", ")))?;
        let mut shares = BTreeMap::<u64, [u64; N]>::new();
        deadline::until("all of the traffic", PROMPT, || {
            for (at, (actor, ports)) in receivers.iter_mut().enumerate() {
                let sockets: Vec<_> = ports.iter().map(|port| format!("taken(s{port})")).collect();
                let taken = actor.run(&format!("answer = [{}]", sockets.join(", ")))?;
                for (port, taken) in ports.iter().zip(taken.as_array().into_iter().flatten()) {
                    shares.entry(*port).or_insert([0; N])[at] += taken.as_u64().unwrap_or_default();
                }
            }
            let arrived = |one: &Traffic<'_>| {
                shares.get(&one.port).is_some_and(|of| of.iter().sum::<u64>() >= one.count)
            };
            Ok(all.iter().all(arrived).then_some(()))
        })?;
        client.run("for flow in flows: flow.close()")?;
        Ok(all.iter().map(|one| shares.get(&one.port).copied().unwrap_or([0; N])).collect())
    }
}
