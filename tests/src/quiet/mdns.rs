//! Multicast DNS: the system's responder, and those that programs of other users bring, which come and go.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    multicast::{Bound, Responder, Service, USERS, segment},
    script::Script,
    stage::{Played, Stage},
};
use crate::{
    namespace::Namespace,
    scratch::Scratch,
    servers::{Program, Running},
};

const MDNS: Service = Service { port: 5353, groups: ["224.0.0.251", "ff02::fb"] };
/// How long a responder that comes and goes is there: the second, so long that whoever binds the port next could be taken for
/// its successor.
const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(11);
/// The user that Avahi's package makes.
const AVAHI: u32 = 65533;

pub(super) fn play(stage: &Stage) -> Result<Played> {
    let namespace = segment(stage, "mdns")?;
    let script = Script::new("mdns", include_str!("responder.py"))?;
    let program = Program::available(["avahi-daemon"]);
    let scratch = Scratch::new("quiet-avahi")?;
    let start = || program.as_ref().ok().map(|[program]| avahi(program, &namespace, &scratch)).transpose();
    let (mut starts, mut came) = (0, 0);
    let mut lasting = Responder::start(&script, &namespace, MDNS, USERS[0], Bound::Any)?;
    while !stage.is_over() {
        let system = start()?;
        starts += 1;
        for (bound, stays) in [(Bound::Any, SHORT), (Bound::Group, SHORT), (Bound::Any, LONG)] {
            let mut passing = Responder::start(&script, &namespace, MDNS, USERS[1], bound)?;
            passing.until_asked()?;
            lasting.until_asked()?;
            came += 1;
            stage.pause(stays);
            passing.end()?;
        }
        if let Some(mut system) = system {
            system.end()?;
        }
    }
    let system = match program {
        Ok(_) => format!("Avahi started {starts} times"),
        Err(why) => format!("without Avahi: {why}"),
    };
    Ok(Played::Done(format!("{system}, {came} responders came beside it and another user's")))
}

/// Starts Avahi as its unit does. It looks for a user of its own and writes below /run: it sees files of its own there.
fn avahi(program: &Program, namespace: &Namespace, scratch: &Scratch) -> Result<Running> {
    let folder = scratch.path();
    let with = |file: &str, line: String| {
        let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
        let copy = folder.join(file.rsplit('/').next().unwrap_or(file));
        fs::write(&copy, text + &line).with_context(|| copy.display().to_string())
    };
    with("/etc/passwd", format!("avahi:x:{AVAHI}:{AVAHI}::/:/bin/false\n"))?;
    with("/etc/group", format!("avahi:x:{AVAHI}:\n"))?;
    let configuration = "[server]\nuse-ipv4=yes\nuse-ipv6=yes\nenable-dbus=no\nhost-name=quiet\n";
    fs::write(folder.join("conf"), configuration).context("writing Avahi's configuration")?;
    // The program and its arguments come after the folder.
    let steps = "mount -t tmpfs none /run && mount --bind \"$0/passwd\" /etc/passwd && \
                 mount --bind \"$0/group\" /etc/group && exec \"$@\"";
    let packaged = program.command();
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "sh", "-c", steps]).arg(folder).arg(packaged.get_program());
    command.args(["--no-chroot", "--no-rlimits", "-f"]).arg(folder.join("conf"));
    command.envs(packaged.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = folder.join("output");
    let mut running = Running::start(namespace, &mut command, &output)?;
    running.until("Avahi is complete", || {
        Ok(fs::read_to_string(&output)?.contains("startup complete").then_some(()))
    })?;
    Ok(running)
}
