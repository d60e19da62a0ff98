//! nginx with a listener for each worker in both families: reloads under load, and a restart now and then.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
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
const WORKERS: usize = 3;
/// Between a restart and the next.
const RELOADS: usize = 5;

pub(super) fn play(stage: &Stage) -> Result<Played> {
    let [program] = match Program::available(["nginx"]) {
        Ok(program) => program,
        Err(why) => return Ok(Played::LeftOut(why)),
    };
    let namespace = stage.namespace("nginx")?;
    let scratch = Scratch::new("quiet-nginx")?;
    configure(&scratch)?;
    let addresses = [(Ipv4Addr::LOCALHOST, PORT).into(), (Ipv6Addr::LOCALHOST, PORT).into()];
    let (mut starts, mut reloads, mut sum) = (0, 0, Outcome::default());
    while !stage.is_over() {
        let mut nginx = start(&program, &namespace, &scratch)?;
        starts += 1;
        let (reloaded, load) = under_load(&namespace, &addresses, || reload(stage, &mut nginx))?;
        reloads += reloaded;
        add(&mut sum, load);
        nginx.end()?;
    }
    Ok(Played::Done(format!("{starts} starts, {reloads} reloads, {}", words(sum))))
}

fn start(program: &Program, namespace: &Namespace, scratch: &Scratch) -> Result<Running> {
    let folder = scratch.path();
    let mut command = program.command();
    command.arg("-p").arg(folder).arg("-e").arg(folder.join("errors")).arg("-c").arg(folder.join("conf"));
    let mut nginx = Running::start(namespace, &mut command, &folder.join("output"))?;
    nginx.until_listening(PORT)?;
    let master = nginx.pid();
    nginx.until("its workers are there", || Ok((children(master)?.len() == WORKERS).then_some(())))?;
    Ok(nginx)
}

/// Reloads as `nginx -s reload` does, until it is time for a restart: how often.
fn reload(stage: &Stage, nginx: &mut Running) -> Result<usize> {
    for reloads in 0..RELOADS {
        stage.pause(Duration::from_secs(1));
        if stage.is_over() {
            return Ok(reloads);
        }
        let master = nginx.pid();
        let old = children(master)?;
        nginx.signal(Signal::SIGHUP)?;
        nginx.until("the workers are new ones", || {
            Ok((children(master)?.difference(&old).count() == WORKERS).then_some(()))
        })?;
    }
    stage.pause(Duration::from_secs(1));
    Ok(RELOADS)
}

fn configure(scratch: &Scratch) -> Result<()> {
    let folder = scratch.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .concat();
    let text = format!(
        "daemon off;\n\
         user nobody nogroup;\n\
         worker_processes {WORKERS};\n\
         pid {folder}/pid;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
           {temporary}\
           access_log off;\n\
           server {{\n\
             listen {PORT} reuseport;\n\
             listen [::]:{PORT} ipv6only=on reuseport;\n\
             location / {{ return 200 served; }}\n\
           }}\n\
         }}\n"
    );
    fs::write(scratch.path().join("conf"), text).context("writing nginx's configuration")
}
