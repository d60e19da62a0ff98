//! `signals`: what lasts and what ended, what begins while one looks, and a policy for what is meant.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reuse_tests::{
    actor::Actor,
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    events::keys,
    local::run,
    schema,
    scratch::Scratch,
    signals::{Double, Expected, Stage, TAKER, VICTIM},
};
use serde_json::Value;

const PORT: &str = "4242";
const BIND: &str = "s = bound('127.0.0.1', 4242, RA, kind=SOCK_DGRAM)";

/// Two users share a UDP port, as soon as the daemon has told it.
fn share(stage: &Stage<'_>) -> Result<(Actor, Actor, Expected, Value)> {
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut taker = stage.actor("rt-taker", TAKER)?;
    victim.run(BIND)?;
    taker.run(BIND)?;
    let expected = Expected::new("foreign_uid_share", "critical")
        .party("victim", &mut victim, "s")?
        .party("taker", &mut taker, "s")?;
    let began = stage.told(&expected)?;
    Ok((victim, taker, expected, began))
}

fn list(answer: &Value) -> Result<&Vec<Value>> {
    assert_eq!(keys(answer), BTreeSet::from(["schema", "signals", "dropped"]), "{answer}");
    answer["signals"].as_array().context("signals")
}

#[test]
fn a_signal_is_listed_with_everything_but_only_locally() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "listed")?;
    let netns = format!("/run/netns/{}", stage.namespace().name());
    let none = run(daemon.command("signals").args(["--json", "--netns", &netns]))?;
    assert_eq!((none.status, list(&none.json()?)?.len()), (Some(1), 0), "{none:?}");

    let (victim, taker, expected, began) = share(&stage)?;
    for filter in [
        vec!["--port", PORT],
        vec!["--signal", "foreign_uid_share", "--severity", "critical"],
        vec!["--pid", &taker.pid().to_string()],
        vec!["--uid", &VICTIM.to_string(), "--address", "127.0.0.1"],
    ] {
        let ran = run(daemon.command("signals").args(["--json", "--netns", &netns]).args(&filter))?;
        let answer = ran.json()?;
        let [signal] = &list(&answer)?[..] else { panic!("{filter:?}: {ran:?}") };
        assert_eq!((ran.status, keys(signal)), (Some(0), schema::signal()), "{signal}");
        assert_eq!((&signal["since"], &signal["until"]), (&began["since"], &Value::Null), "{signal}");
        for party in signal["parties"].as_array().context("parties")? {
            assert_eq!(keys(&party["owners"][0]), schema::owner_in_full(), "{signal}");
        }
    }
    for filter in [vec!["--port", "4243"], vec!["--signal", "join_refused"], vec!["--pid", "1"]] {
        let ran = run(daemon.command("signals").args(["--netns", &netns]).args(&filter))?;
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""), "{filter:?}: {ran:?}");
    }
    let network = daemon.api("signals")?.to_string();
    assert!(network.contains("foreign_uid_share"), "{network}");
    for private in ["\"cmdline\"", "\"exe\""] {
        assert!(!network.contains(private), "{private} in {network}");
    }

    let text = run(daemon.command("signals").args(["--netns", &netns]))?;
    let lines: Vec<_> = text.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{text:?}");
    let place =
        format!("critical foreign_uid_share at udp 127.0.0.1:{PORT} in netns {}", stage.namespace().name());
    assert!(lines[0].ends_with(&place), "{text:?}");
    for (line, role, actor, uid) in
        [(lines[1], "victim", &victim, VICTIM), (lines[2], "taker", &taker, TAKER)]
    {
        assert!(line.starts_with(&format!("    {role}: 127.0.0.1:{PORT} bound, ")), "{text:?}");
        assert!(line.contains(&format!("[{}] (uid {uid}), SO_REUSEADDR", actor.pid())), "{text:?}");
        assert!(line.contains(", inode "), "{text:?}");
    }

    taker.end();
    stage.resolved(&expected, &began)?;
    let ended = run(daemon.command("signals").args(["--netns", &netns]))?;
    let first = ended.stdout.lines().next().unwrap_or_default();
    assert!(ended.status == Some(0) && first.contains(", until "), "{ended:?}");
    let none = run(daemon.command("signals").args(["--suggest-policy", "--netns", &netns]))?;
    assert_eq!((none.status, none.stdout.as_str()), (Some(1), ""), "only what is active: {none:?}");
    Ok(())
}

#[test]
fn who_follows_is_told_each_begin_and_end() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "followed")?;
    let mut following = daemon
        .command("signals")
        .args(["--follow", "--json", "--port", PORT])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(following.stderr.take().context("stderr")?);
    let mut first = String::new();
    said.read_line(&mut first)?;
    assert!(first.contains("following"), "{first}");

    let (_victim, taker, expected, began) = share(&stage)?;
    taker.end();
    let ended = stage.resolved(&expected, &began)?;
    let mut lines = BufReader::new(following.stdout.take().context("stdout")?).lines();
    for event in [&began, &ended] {
        let told: Value = serde_json::from_str(&lines.next().context("the end")??)?;
        assert_eq!(keys(&told), schema::signal(), "{told}");
        for key in ["signal", "since", "until", "time", "boottime_ns", "netns", "seen"] {
            assert_eq!(told[key], event[key], "{key} in {told}");
        }
    }
    following.kill()?;
    following.wait()?;
    Ok(())
}

fn reload(daemon: &Daemon) -> Result<()> {
    Ok(kill(Pid::from_raw(i32::try_from(daemon.pid())?), Signal::SIGHUP)?)
}

fn loaded(daemon: &Daemon, wanted: u64) -> Result<()> {
    daemon.metrics_until("the configuration was read", |metrics| {
        (metrics.count("reuse_daemon_config_last_reload_successful", &[]) == wanted).then_some(())
    })
}

#[test]
fn what_is_suggested_is_expected_once_it_is_loaded() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let scratch = Scratch::new("policy")?;
    let file = scratch.path().join("reuse.toml");
    fs::write(&file, "metrics.max-series = 10000\n")?;
    let daemon = launch.flags(["--config.file".as_ref(), file.as_os_str()]).start()?;
    loaded(&daemon, 1)?;
    let stage = Stage::new(&daemon, "expected")?;
    let netns = format!("/run/netns/{}", stage.namespace().name());
    let (_victim, _taker, expected, began) = share(&stage)?;

    let suggested = run(daemon.command("signals").args(["--suggest-policy", "--netns", &netns]))?;
    assert_eq!(suggested.status, Some(0), "{suggested:?}");
    fs::write(&file, format!("metrics.max-series = 20000\n{}", suggested.stdout))?;
    reload(&daemon)?;
    stage.resolved(&expected, &began)?;
    let told = daemon.stderr();
    assert!(told.contains("SIGHUP: the policy of ") && told.contains("1 expectations"), "{told}");
    assert!(told.contains("--metrics.max-series is another now: that needs a restart"), "{told}");

    // A third is not hidden by the two.
    let with_third = |begin: &Value| begin.to_string().contains("rt-third");
    let mut third = stage.actor("rt-third", TAKER + 1)?;
    third.run(BIND)?;
    deadline::until("the third is told", PROMPT, || {
        Ok(stage.begins()?.iter().any(|begin| with_third(begin)).then_some(()))
    })?;
    third.end();

    fs::write(&file, "\n[[policy.expect]]\nport = \"90-80\"\n")?;
    reload(&daemon)?;
    loaded(&daemon, 0)?;
    let told = daemon.stderr();
    let reason =
        format!("{}:3: the range ends before it begins: write \"80-90\"; the policy stays", file.display());
    assert!(told.contains(&reason), "{told}");
    fs::write(&file, &suggested.stdout)?;
    reload(&daemon)?;
    loaded(&daemon, 1)?;
    let of_the_two =
        || -> Result<usize> { Ok(stage.begins()?.iter().filter(|begin| !with_third(begin)).count()) };
    assert_eq!(of_the_two()?, 1, "what is expected is not told again: {:#?}", stage.begins()?);
    fs::write(&file, "")?;
    reload(&daemon)?;
    deadline::until("what nobody expects any more is told again", PROMPT, || {
        Ok((of_the_two()? == 2).then_some(()))
    })?;

    fs::write(&file, "[[policy.severity]]\nport = 4242\nseverity = \"info\"\n")?;
    reload(&daemon)?;
    let labels = [("signal", "foreign_uid_share"), ("severity", "info"), ("port", PORT)];
    daemon.metrics_until("it is as grave as the policy says", |metrics| {
        (metrics.count("reuse_signal_active", &labels) == 1).then_some(())
    })?;
    let graver =
        run(daemon.command("signals").args(["--severity", "warning", "--since", "0s", "--netns", &netns]))?;
    assert_eq!((graver.status, graver.stdout.as_str()), (Some(1), ""), "{graver:?}");
    let suggested = run(daemon.command("signals").args(["--suggest-policy", "--netns", &netns]))?;
    assert!(suggested.stdout.contains("\n# [[policy.expect]]\n"), "{suggested:?}");
    assert!(
        !suggested.stdout.contains("\n[[policy.expect]]\n"),
        "what is usual needs no policy: {suggested:?}"
    );
    Ok(())
}

#[test]
fn a_port_that_is_handed_over_as_expected_raises_nothing() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let next = Double::new("rt-next")?;
    let scratch = Scratch::new("handover")?;
    let file = scratch.path().join("reuse.toml");
    let launch = launch.flags(["--config.file".as_ref(), file.as_os_str()]);
    let python = Actor::start("rt-old")?.executable()?;
    fs::write(
        &file,
        format!(
            "[[policy.expect]]\nsignal = \"takeover_after_close\"\nexecutables = [{python:?}, \"rt-next\"]\n\
             uids = [{VICTIM}]\n"
        ),
    )?;
    let daemon = launch.start()?;
    let stage = Stage::new(&daemon, "handover")?;
    let listen = "s = listening('127.0.0.1', 4242, RA)";
    let mut old = stage.actor("rt-old", VICTIM)?;
    let mut new = stage.actor_of(&next, "rt-next", VICTIM)?;
    old.run(listen)?;
    old.run("s.close()")?;
    new.run(listen)?;
    stage.assert_only(&[])?;

    new.run("s.close()")?;
    let mut stranger = stage.actor("rt-stranger", TAKER)?;
    stranger.run(listen)?;
    let taken = deadline::until("the stranger is told", PROMPT, || {
        Ok(stage.begins()?.first().map(|begin| Value::clone(begin)))
    })?;
    assert_eq!(
        (&taken["signal"], &taken["severity"]),
        (&"takeover_after_close".into(), &"warning".into()),
        "{taken}"
    );
    stage.assert_only(&[&taken])
}

#[test]
fn without_a_file_there_is_nothing_to_reload() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    reload(&daemon)?;
    deadline::until("the log says so", PROMPT, || {
        Ok(daemon.stderr().contains("there is nothing to reload").then_some(()))
    })?;
    loaded(&daemon, 1)
}

#[test]
fn a_wrong_policy_is_refused_before_anything_starts() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let scratch = Scratch::new("refused")?;
    let file = scratch.path().join("reuse.toml");
    fs::write(&file, "[[policy.expect]]\nsignal = \"none_such\"\n")?;
    let named = format!("--config.file={}", file.display());
    let mut check = std::process::Command::new(launch.binary_path());
    let checked = run(check.args(["run", &named, "--config.check"]))?;
    let reason = format!("{}:2: there is no signal `none_such`; the signals are ", file.display());
    assert!(checked.status == Some(2) && checked.stderr.contains(&reason), "{checked:?}");
    fs::write(&file, "[[policy.expect]]\nsignal = \"join_refused\"\n")?;
    let mut check = std::process::Command::new(launch.binary_path());
    let checked = run(check.args(["run", &named, "--config.check"]))?;
    assert_eq!((checked.status, checked.stdout.as_str()), (Some(0), "the configuration is valid\n"));
    Ok(())
}
