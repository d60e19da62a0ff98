//! Where owners run: systemd units, containers and pods, told by control groups that the tests make and name so.

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reuse_tests::{
    cgroup::{Group, Inmate},
    daemon::Daemon,
    deadline::{self, PROMPT},
    events::assert_fields,
    inventory::{self, CURRENT},
    sockets::{self, Transport},
};
use serde_json::{Value, json};

const ID: &str = "3f4a5b6c7d8e9f00112233445566778899aabbccddeeff001122334455667788";
const SHORT: &str = "3f4a5b6c7d8e";
/// Another one: refusals of one service for one port are told together.
const OTHER_ID: &str = "99887766554433221100ffeeddccbbaa99887766554433221100ffeeddccbbaa";
const OTHER_SHORT: &str = "998877665544";
const POD: &str = "0a1b2c3d-1111-2222-3333-444455556666";

/// A group as systemd or a runtime would make it, and what an owner there is.
struct Place {
    path: String,
    unit: Option<&'static str>,
    container: Option<&'static str>,
    pod: Option<&'static str>,
}

impl Place {
    /// The fields of an owner.
    fn owner(&self) -> Value {
        json!({ "unit": self.unit, "container": self.container, "pod": self.pod, "service": self.service() })
    }

    fn service(&self) -> Option<&'static str> {
        self.unit.or(self.container).or(self.pod)
    }

    /// What the network namespace of such a process is called: a pod's containers share one.
    fn namespace(&self) -> Option<&'static str> {
        self.pod.or(self.container).or(self.unit)
    }
}

fn places() -> [Place; 6] {
    let place = |path: &str, unit, container, pod| Place { path: path.to_owned(), unit, container, pod };
    let slice = POD.replace('-', "_");
    let of_pod = format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice");
    [
        place("system.slice/rt-web.service", Some("rt-web.service"), None, None),
        place(
            r"system.slice/system-rt.slice/rt@a\x2db.service/worker",
            Some(r"rt@a\x2db.service"),
            None,
            None,
        ),
        place(&format!("system.slice/docker-{ID}.scope"), None, Some(SHORT), None),
        place("lxc.payload.rt-box/init.scope", None, Some("rt-box"), None),
        place(&format!("{of_pod}/cri-containerd-{OTHER_ID}.scope"), None, Some(OTHER_SHORT), Some(POD)),
        place(&format!("kubepods/besteffort/pod{POD}"), None, None, Some(POD)),
    ]
}

fn listening(inmate: &mut Inmate) -> Result<u64> {
    inmate.listen(0)?.map_err(|errno| anyhow::anyhow!("listen: errno {errno}"))
}

/// The one owner of a socket in the table.
fn owner(daemon: &Daemon, inode: u64) -> Result<Value> {
    let entry = inventory::shown(daemon, inode, CURRENT, "its owner", |entry| {
        entry["owners"].as_array().is_some_and(|owners| owners.len() == 1)
    })?;
    Ok(entry["owners"][0].clone())
}

fn bind_event(daemon: &Daemon, inode: u64) -> Result<Value> {
    daemon.wait_event("the bind", |event| event["type"] == "bind" && event["contender"]["inode"] == inode)
}

#[test]
fn owners_are_named_after_their_groups() -> Result<()> {
    let mut open_before = Vec::new();
    for place in places() {
        let Some(group) = Group::new(&place.path)? else { return Ok(()) };
        let mut inmate = group.start()?;
        let inode = listening(&mut inmate)?;
        // A group can be removed once it is empty: it goes after its process.
        open_before.push((group, inmate, inode, place));
    }
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for (_group, mut inmate, before, place) in open_before {
        assert_fields(&owner(&daemon, before)?, &place.owner());
        let after = listening(&mut inmate)?;
        assert_fields(&owner(&daemon, after)?, &place.owner());
        assert_eq!(bind_event(&daemon, after)?["contender"]["service"], json!(place.service()));
    }
    Ok(())
}

#[test]
fn a_refusal_names_the_contender_s_service() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let holder = sockets::bound(Transport::Tcp, "127.0.0.1:0".parse()?)?;
    let port = sockets::local_address(&holder)?.port();
    for place in places() {
        let Some(group) = Group::new(&place.path)? else { return Ok(()) };
        let mut inmate = group.start()?;
        assert_eq!(inmate.listen(port)?, Err(libc::EADDRINUSE));
        let event = daemon.wait_event("the refusal", |event| {
            event["type"] == "conflict" && event["contender"]["pid"] == inmate.pid()
        })?;
        assert_eq!(event["contender"]["service"], json!(place.service()), "{event}");
    }
    Ok(())
}

#[test]
fn a_process_that_moves_is_named_anew() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let (Some(first), Some(second)) = (Group::new("rt-first.service")?, Group::new("rt-second.service")?)
    else {
        return Ok(());
    };
    let mut inmate = first.start()?;
    let inode = listening(&mut inmate)?;
    assert_eq!(owner(&daemon, inode)?["unit"], "rt-first.service");
    inmate.enter(&second)?;
    let inode = listening(&mut inmate)?;
    assert_eq!(owner(&daemon, inode)?["unit"], "rt-second.service");
    Ok(())
}

/// A daemon that stands still while it all happens.
struct Stopped(Pid);

impl Stopped {
    fn new(daemon: &Daemon) -> Result<Self> {
        let pid = Pid::from_raw(i32::try_from(daemon.pid())?);
        kill(pid, Signal::SIGSTOP).context("stopping the daemon")?;
        deadline::until("the daemon stands still", PROMPT, || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            Ok(stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')).then_some(()))
        })?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Err(error) = kill(self.0, Signal::SIGCONT) {
            eprintln!("the daemon stays stopped: {error}");
        }
    }
}

#[test]
fn a_process_that_is_gone_is_named_by_its_group() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let Some(group) = Group::new("system.slice/rt-brief.service")? else { return Ok(()) };
    let mut inmate = group.start()?;
    let stopped = Stopped::new(&daemon)?;
    let inode = listening(&mut inmate)?;
    inmate.end();
    drop(stopped);
    let event = bind_event(&daemon, inode)?;
    assert_eq!(event["contender"]["service"], "rt-brief.service", "{event}");
    Ok(())
}

#[test]
fn groups_that_only_look_like_units_name_nobody() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for path in [
        b"user.slice/user-1000.slice/session-3.scope".as_slice(),
        b"docker/short",
        b"evil\"{}\x1b[m\xff.service",
        b"two words.service",
    ] {
        let Some(group) = Group::new(path)? else { return Ok(()) };
        let mut inmate = group.start()?;
        let owner = owner(&daemon, listening(&mut inmate)?)?;
        assert_fields(&owner, &json!({ "unit": null, "container": null, "pod": null }));
        assert_eq!(owner["service"], owner["executable"], "{owner}");
    }
    Ok(())
}

#[test]
fn a_namespace_has_the_name_of_who_runs_there() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for place in places() {
        let Some(group) = Group::new(&place.path)? else { return Ok(()) };
        let mut inmate = group.start()?;
        inmate.unshare_network()?;
        let inode = listening(&mut inmate)?;
        let event = bind_event(&daemon, inode)?;
        assert_eq!(event["contender"]["netns_name"], json!(place.namespace()), "{event}");
        let entry = inventory::find(&daemon, inode)?.context("listed")?;
        assert_eq!(entry["netns_name"], json!(place.namespace()), "{entry}");
    }
    Ok(())
}
