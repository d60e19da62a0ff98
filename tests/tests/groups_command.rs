//! `groups`: figures that are the traffic's own, with a daemon and without, once, again and again, and on a terminal.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reuse_tests::{
    daemon::{Daemon, Launch},
    events::keys,
    generator::{self, Group, Share, Traffic},
    local::run,
    namespace::Namespace,
    sockets::Transport,
    terminal::OnTerminal,
};
use serde_json::Value;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// A UDP group of four members that got 400 datagrams over 32 flows.
fn fed() -> Result<(Group, Vec<Share>)> {
    let group = Group::open(Transport::Udp, LOOPBACK, 4)?;
    let shares = generator::datagrams(&group, Traffic { count: 400, threads: 2, read_late: false })?;
    Ok((group, shares))
}

fn list(answer: &Value) -> Result<&Vec<Value>> {
    assert_eq!(keys(answer), BTreeSet::from(["schema", "groups"]), "{answer}");
    answer["groups"].as_array().context("groups")
}

/// What the members of the only group have of a field, with their inode numbers.
fn of_members(answer: &Value, field: &str) -> Result<Vec<(u64, Value)>> {
    let groups = list(answer)?;
    assert_eq!(groups.len(), 1, "{answer}");
    let members = groups[0]["members"].as_array().context("members")?;
    members
        .iter()
        .map(|member| Ok((member["inode"].as_u64().context("inode")?, member[field].clone())))
        .collect()
}

#[test]
fn figures_are_the_generators_and_without_a_daemon_there_are_none() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let binary = launch.binary_path().to_owned();
    let daemon = launch.start()?;
    let (group, shares) = fed()?;
    let port = group.address().port().to_string();
    let ran = run(daemon.command("groups").args(["--json", "--port", &port]))?;
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let answer = ran.json()?;
    let mut counted = of_members(&answer, "selections")?;
    counted.sort_by_key(|(inode, _)| *inode);
    let mut wanted: Vec<_> =
        shares.iter().map(|share| (share.inode, Value::from(share.taken + share.dropped))).collect();
    wanted.sort_by_key(|(inode, _)| *inode);
    assert_eq!(counted, wanted, "{answer}");

    let ran = run(daemon.command("groups").args(["--port", &port]))?;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stdout.contains(&format!("udp 127.0.0.1:{port}: 4 members of ")), "{ran:?}");
    assert!(
        !ran.stdout.contains('\x1b') && ran.stdout.lines().all(|line| line.chars().count() <= 80),
        "{ran:?}"
    );
    let numbers: BTreeSet<u64> = ran.stdout.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    for share in &shares {
        assert!(numbers.contains(&(share.taken + share.dropped)), "{share:?} is not in {}", ran.stdout);
    }

    let mut alone = Command::new(binary);
    let ran = run(alone.args(["groups", "--socket", "/nonexistent/api.sock", "--json", "--port", &port]))?;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("selections are counted by the daemon"), "{ran:?}");
    let members = of_members(&ran.json()?, "selections")?;
    let known: BTreeSet<u64> = members.iter().map(|(inode, _)| *inode).collect();
    assert_eq!(known, shares.iter().map(|share| share.inode).collect(), "{ran:?}");
    assert!(members.iter().all(|(_, selections)| selections.is_null()), "{ran:?}");
    Ok(())
}

#[test]
fn filters_choose_and_the_status_says_whether_anything_is_left() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let namespace = Namespace::new("groups")?;
    let group = namespace.run(|| Group::open(Transport::Tcp, LOOPBACK, 2))?;
    let (port, pid) = (group.address().port().to_string(), std::process::id().to_string());
    let netns = format!("/run/netns/{}", namespace.name());
    let cases: [(&[&str], bool); 8] = [
        (&["--port", &port], true),
        (&["--port", "1"], false),
        (&["--address", "127.0.0.1"], true),
        (&["--address", "127.0.0.9"], false),
        (&["--uid", "0"], true),
        (&["--pid", &pid], true),
        (&["--pid", "1"], false),
        (&["--service", "no-such.service"], false),
    ];
    for (filter, wanted) in cases {
        let ran = run(daemon.command("groups").args(["--json", "--netns", &netns]).args(filter))?;
        assert_eq!(ran.status, Some(if wanted { 0 } else { 1 }), "{filter:?}: {ran:?}");
        assert_eq!(list(&ran.json()?)?.len(), usize::from(wanted), "{filter:?}: {ran:?}");
        assert_eq!(ran.stderr.contains("no SO_REUSEPORT group of this kind"), !wanted, "{filter:?}: {ran:?}");
    }
    let ran = run(daemon.command("groups").args(["--netns", "/nowhere"]))?;
    assert_eq!(ran.status, Some(2), "{ran:?}");
    let ran = run(daemon.command("groups").args(["--watch", "--socket", "/nonexistent/api.sock"]))?;
    assert_eq!(ran.status, Some(2), "a watch needs a daemon: {ran:?}");
    Ok(())
}

#[test]
fn a_watch_that_is_read_by_a_program_is_one_object_a_line() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let (group, shares) = fed()?;
    let port = group.address().port().to_string();
    let mut command = daemon.command("groups");
    command.args(["--watch", "--json", "--port", &port]).stdout(Stdio::piped());
    let mut child = command.spawn().context("groups --watch")?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    let mut total = || -> Result<u64> {
        let answer: Value = serde_json::from_str(&lines.next().context("a line")??)?;
        Ok(of_members(&answer, "selections")?.iter().filter_map(|(_, count)| count.as_u64()).sum())
    };
    let sent: u64 = shares.iter().map(|share| share.taken + share.dropped).sum();
    assert_eq!(total()?, sent);
    generator::datagrams(&group, Traffic { count: 50, threads: 1, read_late: false })?;
    let mut seen = total()?;
    for _ in 0..5 {
        if seen == sent + 50 {
            break;
        }
        seen = total()?;
    }
    assert_eq!(seen, sent + 50);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT)?;
    assert_eq!(child.wait()?.code(), Some(0), "interrupted");
    Ok(())
}

/// The columns of the widest line of a frame, escape sequences aside.
fn widest(frame: &str) -> usize {
    let mut widest = 0;
    for line in frame.split("\r\n") {
        let mut columns = 0;
        let mut in_escape = false;
        for character in line.chars() {
            match (in_escape, character) {
                (false, '\x1b') => in_escape = true,
                (false, _) => columns += 1,
                (true, character) => in_escape = !character.is_ascii_alphabetic(),
            }
        }
        widest = widest.max(columns);
    }
    widest
}

#[test]
fn on_a_terminal_it_draws_in_place_follows_the_size_and_leaves_all_as_it_was() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let (group, _) = fed()?;
    let port = group.address().port().to_string();
    let place = format!("udp 127.0.0.1:{port}:");
    let watch = || {
        let mut command = daemon.command("groups");
        command.args(["--watch", "--color", "never", "--port", &port]).env("LC_ALL", "C");
        command
    };
    let mut terminal = OnTerminal::start(&mut watch(), 100, 30)?;
    let first = terminal.until("a screen", 0, |drawn| drawn.contains(&place) && drawn.contains("NOW"))?;
    assert!(first.contains(ENTER) && !first.contains(LEAVE), "{first:?}");
    terminal.resize(40, 12)?;
    let before = terminal.drawn()?.len();
    let narrow = terminal.until("a narrow screen", before, |drawn| {
        drawn.matches("\x1b[H").count() >= 2 && drawn.contains("|=even")
    })?;
    let frame = narrow.rsplit("\x1b[H").nth(1).context("a whole frame")?;
    assert!(widest(frame) <= 40 && frame.split("\r\n").count() <= 12, "{frame:?}");
    terminal.press(b"q")?;
    let (status, drawn, as_before) = terminal.end()?;
    assert_eq!((status, as_before), (Some(0), true), "{drawn:?}");
    assert!(drawn.ends_with(LEAVE), "{drawn:?}");

    // An interrupt from the keyboard, and a signal from elsewhere.
    for by_key in [true, false] {
        let mut terminal = OnTerminal::start(&mut watch(), 80, 24)?;
        terminal.until("a screen", 0, |drawn| drawn.contains(&place))?;
        match by_key {
            true => terminal.press(b"\x03")?,
            false => kill(Pid::from_raw(terminal.pid().cast_signed()), Signal::SIGTERM)?,
        }
        let (status, drawn, as_before) = terminal.end()?;
        assert_eq!((status, as_before, drawn.ends_with(LEAVE)), (Some(0), true, true), "{by_key}: {drawn:?}");
    }
    Ok(())
}

#[test]
fn a_watch_outlives_its_daemon_and_says_so() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let mut command = daemon.command("groups");
    let mut terminal = OnTerminal::start(command.args(["--watch", "--color", "never"]), 100, 30)?;
    terminal.until("a screen", 0, |drawn| drawn.contains("q ends"))?;
    daemon.stop_cleanly()?;
    terminal.until("the screen says that nobody answers", 0, |drawn| {
        drawn.contains("not as of now, trying again: no daemon answers")
    })?;
    terminal.press(b"q")?;
    let (status, drawn, as_before) = terminal.end()?;
    assert_eq!((status, as_before), (Some(0), true), "{drawn:?}");
    Ok(())
}
