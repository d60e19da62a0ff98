//! A service that its supervisor starts again each time it has crashed, with a client on the line, five times a second.

use std::{
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use super::{
    script::Script,
    stage::{Played, Stage},
};
use crate::{deadline, servers::Running};

const PORT: u16 = 8080;
const LIVES: Duration = Duration::from_millis(120);

pub(super) fn play(stage: &Stage) -> Result<Played> {
    let namespace = stage.namespace("crash")?;
    let script = Script::new("crash", include_str!("crash.py"))?;
    let mut crashes = 0_u64;
    while !stage.is_over() {
        let mut command = script.command();
        command.arg(PORT.to_string());
        let mut service = Running::start(&namespace, &mut command, &script.beside("output"))?;
        service.until_listening(PORT)?;
        let client = namespace.run(|| {
            TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).context("connecting to what will crash")
        })?;
        stage.pause(LIVES);
        service.signal(Signal::SIGKILL)?;
        deadline::until("it has crashed", deadline::PROMPT, || Ok(service.has_ended()?.then_some(())))?;
        crashes += 1;
        drop(client);
    }
    Ok(Played::Done(format!("{crashes} crashes")))
}
