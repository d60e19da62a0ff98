//! Who gets the traffic: the kernel's answer, whatever the daemon says.

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
}
