//! SSDP and LLMNR: listeners of two users at either port, one of which comes and goes.

use std::time::Duration;

use anyhow::Result;

use super::{
    multicast::{Bound, Responder, Service, USERS, segment},
    script::Script,
    stage::{Played, Stage},
};

const SSDP: Service = Service { port: 1900, groups: ["239.255.255.250", "ff02::c"] };
const LLMNR: Service = Service { port: 5355, groups: ["224.0.0.252", "ff02::1:3"] };

/// How long a listener that comes and goes is there. What the acts of our own bring about is told as of one service, the
/// interpreter, so that they do not come and go as often as one could.
const STAYS: Duration = Duration::from_secs(8);

pub(super) fn play(stage: &Stage) -> Result<Played> {
    let namespace = segment(stage, "ssdp")?;
    let script = Script::new("ssdp", include_str!("responder.py"))?;
    let start = |service, uid| Responder::start(&script, &namespace, service, uid, Bound::Any);
    let mut lasting = [start(SSDP, 0)?, start(LLMNR, USERS[0])?];
    let mut came = 0;
    while !stage.is_over() {
        let mut passing = [start(SSDP, USERS[0])?, start(LLMNR, USERS[1])?];
        for responder in lasting.iter_mut().chain(&mut passing) {
            responder.until_asked()?;
        }
        came += 1;
        stage.pause(STAYS);
        for responder in passing {
            responder.end()?;
        }
    }
    Ok(Played::Done(format!("{came} times another user's listener beside each")))
}
