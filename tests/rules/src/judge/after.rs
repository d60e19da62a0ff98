//! What a successful bind leaves for the `listen` that follows, predicted before the bind: what `explain --listen`
//! answers from.

use std::os::fd::AsFd as _;

use anyhow::Context as _;
use reuse_model::{
    endpoint::{Endpoint, Transport},
    port::{Bucket, Table},
    rulebook::{self, Request},
};

use super::{Judge, Prediction, Verdict, disagree};
use crate::world::World;

impl Judge<'_> {
    /// Holds the port as predicted against the port as it is now.
    pub(super) fn check_after(&mut self, world: &World<'_>, prediction: &Prediction) -> Verdict {
        if world.transport != Transport::Tcp {
            return Ok(());
        }
        let contender = &prediction.asked.contender;
        let expected = rulebook::after_bind(self.kernel, contender, &prediction.asked.port);
        let entry = world.entries.get(&prediction.slot).context("a bound socket went")?;
        let endpoint = Endpoint { address: prediction.address.ip(), port: prediction.address.port() };
        let now =
            self.reader.ask(entry.socket.as_fd(), Request::Listen, endpoint).context("reading the port")?;
        if !same_memory(&expected.table, &now.port.table) {
            return disagree(format!(
                "after the bind: the bucket should be {:?}, it is {:?}\n{prediction}",
                expected.table, now.port.table
            ));
        }
        let foretold = rulebook::decide(self.kernel, Request::Listen, contender, &expected);
        let present = rulebook::decide(self.kernel, Request::Listen, &now.contender, &now.port);
        if foretold.refused != present.refused {
            return disagree(format!(
                "after the bind: a listen was foretold to be {}, now it is predicted to be {}\n{prediction}\nnow: {now:?}",
                outcome(foretold.refused),
                outcome(present.refused)
            ));
        }
        self.tally.listens_foretold += 1;
        Ok(())
    }
}

fn outcome(refused: bool) -> &'static str {
    if refused { "refused" } else { "allowed" }
}

/// Whether both buckets let the same sockets pass: uid and address mean something only with SO_REUSEPORT.
fn same_memory(expected: &Table, now: &Table) -> bool {
    let meaning = |bucket: &Bucket| {
        let group = (bucket.fastreuseport > 0).then_some((bucket.fastuid, bucket.fast_address));
        (bucket.fastreuse, bucket.fastreuseport, group)
    };
    match (expected, now) {
        (Table::Tcp(Some(expected)), Table::Tcp(Some(now))) => meaning(expected) == meaning(now),
        _ => false,
    }
}
