//! A pre-forking server of our own, in both forms there are: workers on one inherited listener, and each worker with one of
//! its own. Its workers end by themselves, are replaced, and the program starts anew with the listener it has.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{
    load::{under_load, words},
    script::Script,
    stage::{Played, Stage},
};
use crate::{
    namespace::Namespace,
    servers::{Running, children},
    user::NOBODY,
};

/// The form by its word, and the port.
const INHERIT: (&str, u16) = ("inherit", 8080);
const OWN: (&str, u16) = ("own", 8081);

pub(super) fn play(stage: &Stage) -> Result<Played> {
    let namespace = stage.namespace("prefork")?;
    let script = Script::new("prefork", include_str!("prefork.py"))?;
    let mut inherit = start(&script, &namespace, INHERIT)?;
    let mut own = start(&script, &namespace, OWN)?;
    let addresses = [INHERIT, OWN].map(|(_, port)| (Ipv4Addr::LOCALHOST, port).into());
    let (replaced, load) = under_load(&namespace, &addresses, || {
        let mut replaced = 0;
        loop {
            stage.pause(Duration::from_secs(1));
            if stage.is_over() {
                return anyhow::Ok(replaced);
            }
            replace(&mut inherit, Signal::SIGHUP)?;
            replace(&mut own, Signal::SIGHUP)?;
            replace(&mut inherit, Signal::SIGUSR2)?;
            replaced += 1;
        }
    })?;
    Ok(Played::Done(format!(
        "all workers replaced {replaced} times, and by a program that starts anew, {}",
        words(load)
    )))
}

fn start(script: &Script, namespace: &Namespace, (form, port): (&str, u16)) -> Result<Running> {
    let mut command = script.command();
    command.arg(form).arg(port.to_string()).arg(NOBODY.to_string());
    let mut server = Running::start(namespace, &mut command, &script.beside(form))?;
    server.until_listening(port)?;
    Ok(server)
}

/// Has the server replace its workers, and waits until it has.
fn replace(server: &mut Running, signal: Signal) -> Result<()> {
    let master = server.pid();
    let old = children(master)?;
    server.signal(signal)?;
    server.until("the workers are others", || {
        let now = children(master)?;
        Ok((!now.is_empty() && now.is_disjoint(&old)).then_some(()))
    })
}
