//! HAProxy as its unit runs it, a master and a worker without rights: reloads under load, where the next worker gets the
//! listeners from the one before, or binds them beside it; and a restart now and then.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use super::{
    load::{add, under_load, words},
    stage::{Played, Stage},
};
use crate::{
    namespace::Namespace,
    scratch::Scratch,
    servers::{Outcome, Program, Running, children},
};

const PORT: u16 = 8080;
const THREADS: usize = 2;
/// Between a restart and the next.
const RELOADS: usize = 4;

pub(super) fn play(stage: &Stage) -> Result<Played> {
    let [program] = match Program::available(["haproxy"]) {
        Ok(program) => program,
        Err(why) => return Ok(Played::LeftOut(why)),
    };
    let namespace = stage.namespace("haproxy")?;
    let addresses: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, PORT).into(), (Ipv6Addr::LOCALHOST, PORT).into()];
    let (mut starts, mut reloads, mut sum) = (0, 0, Outcome::default());
    while !stage.is_over() {
        let hands_on = starts % 2 == 0;
        let scratch = Scratch::new("quiet-haproxy")?;
        configure(&scratch, hands_on)?;
        let mut haproxy = start(&program, &namespace, &scratch)?;
        starts += 1;
        let (reloaded, load) = under_load(&namespace, &addresses, || reload(stage, &mut haproxy))?;
        reloads += reloaded;
        add(&mut sum, load);
        haproxy.end()?;
    }
    Ok(Played::Done(format!("{starts} starts, {reloads} reloads, {}", words(sum))))
}

fn start(program: &Program, namespace: &Namespace, scratch: &Scratch) -> Result<Running> {
    let folder = scratch.path();
    let mut command = program.command();
    command.args(["-W", "-db", "-f"]).arg(folder.join("conf"));
    let mut haproxy = Running::start(namespace, &mut command, &folder.join("output"))?;
    haproxy.until_listening(PORT)?;
    Ok(haproxy)
}

/// Reloads as its unit does, until it is time for a restart: how often.
fn reload(stage: &Stage, haproxy: &mut Running) -> Result<usize> {
    let master = haproxy.pid();
    for reloads in 0..RELOADS {
        stage.pause(Duration::from_secs(1));
        if stage.is_over() {
            return Ok(reloads);
        }
        let old = children(master)?;
        haproxy.signal(Signal::SIGUSR2)?;
        haproxy.until("the worker is a new one", || {
            let now = children(master)?;
            Ok((!now.is_empty() && now.is_disjoint(&old)).then_some(()))
        })?;
    }
    stage.pause(Duration::from_secs(1));
    Ok(RELOADS)
}

fn configure(scratch: &Scratch, hands_on: bool) -> Result<()> {
    let folder = scratch.path().display();
    let text = format!(
        "global\n\
         nbthread {THREADS}\n\
         uid 65534\n\
         gid 65534\n\
         hard-stop-after 2s\n\
         stats socket {folder}/stats mode 600 {}\n\
         defaults\n\
         mode http\n\
         option httpclose\n\
         timeout client 10s\n\
         frontend web\n\
         bind 0.0.0.0:{PORT} shards by-thread\n\
         bind [::]:{PORT} v6only\n\
         http-request return status 200\n",
        if hands_on { "expose-fd listeners" } else { "" },
    );
    fs::write(scratch.path().join("conf"), text).context("writing HAProxy's configuration")
}
