//! The local socket: whose it is, who may ask, and what it does with clients that behave badly.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    http, local,
    scratch::Scratch,
    user,
};

/// A request that any daemon answers.
const GOOD: &str = r#"{"ask":"status"}"#;

#[test]
fn it_is_its_owners_alone_and_goes_with_the_daemon() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let path = daemon.socket().to_owned();
    let file = fs::symlink_metadata(&path)?;
    assert_eq!((file.mode() & 0o7777, file.uid()), (0o600, 0), "{file:?}");
    assert_eq!(local::ask(&path, GOOD)?["ready"], true);
    daemon.stop_cleanly()?;
    assert!(!path.exists(), "removed at the stop");
    Ok(())
}

#[test]
fn a_mistyped_path_is_told_and_no_directory_made() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let scratch = Scratch::new("local-directory")?;
    let directory = scratch.path().join("a/b");
    let refusal = launch.socket(&directory.join("api.sock")).run_to_end()?;
    assert_eq!(refusal.status.code(), Some(1), "{}", refusal.stderr);
    let missing = format!("the directory {} does not exist", directory.display());
    assert!(refusal.stderr.contains(&missing) && refusal.stderr.contains("--socket"), "{}", refusal.stderr);
    assert!(!scratch.path().join("a").exists());
    Ok(())
}

#[test]
fn another_user_is_told_no() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let path = daemon.socket();
    let refused = user::run_as(user::NOBODY, || Ok(UnixStream::connect(path).map(drop)))?;
    assert_eq!(refused.map_err(|error| error.kind()), Err(std::io::ErrorKind::PermissionDenied));
    // Also where somebody opens the file to all: the kernel says who asks.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    let answer = user::run_as(user::NOBODY, || local::ask(path, r#"{"ask":"sockets"}"#))?;
    let why = answer["error"].as_str().with_context(|| format!("refused: {answer}"))?;
    assert!(why.contains("uid 65534 may not ask"), "{why}");
    assert!(answer["sockets"].is_null());
    assert_eq!(local::ask(path, GOOD)?["ready"], true, "root may");
    Ok(())
}

#[test]
fn bad_requests_get_a_reason_and_do_no_harm() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let path = daemon.socket();
    let long = format!("{{\"ask\":\"{}\"}}\n", "x".repeat(100_000));
    for (request, why) in [
        (&b"\n"[..], "not a request"),
        (b"GET / HTTP/1.1\r\n\r\n", "not a request"),
        (b"\xff\xfe\x00\n", "not a request"),
        (b"{\"ask\":\"shutdown\"}\n", "unknown variant"),
        (b"{\"ask\":\"status\",\"really\":1}\n", "unknown field"),
        (b"{\"ask\":\"conflicts\",\"within_ms\":-5}\n", "not a request"),
        (long.as_bytes(), "longer than 4096 bytes"),
    ] {
        let answer = local::exchange(path, request)?;
        let document: serde_json::Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
        let said = document["error"].as_str().with_context(|| answer.clone())?;
        assert!(said.contains(why), "{:?}: {said}", String::from_utf8_lossy(request));
    }
    // Broken off in the middle, with the answer still wanted and without.
    let mut half = local::connect(path)?;
    half.write_all(b"{\"ask\":")?;
    half.shutdown(std::net::Shutdown::Write)?;
    assert!(local::read_all(&mut half)?.contains("no end"));
    for _ in 0..100 {
        let mut gone = local::connect(path)?;
        // Some are turned away before they can ask.
        let _ = gone.write_all(b"{\"ask\":\"sockets\"}\n");
    }
    deadline::until("there is room again", PROMPT, || {
        Ok((local::ask(path, GOOD)?["ready"] == true).then_some(()))
    })
}

#[test]
fn silent_clients_are_few_and_not_for_long() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let path = daemon.socket();
    let began = Instant::now();
    let silent = (0..40).map(|_| local::connect(path)).collect::<Result<Vec<_>>>()?;
    let said =
        silent.into_iter().map(|mut stream| local::read_all(&mut stream)).collect::<Result<Vec<_>>>()?;
    let late = said.iter().filter(|answer| answer.contains("no request came within 2 s")).count();
    let many = said.iter().filter(|answer| answer.contains("32 clients are connected already")).count();
    assert_eq!((late, many), (32, 8), "{said:?}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(http::get(daemon.web(), "/-/healthy")?.status, 200);
    assert_eq!(local::ask(path, GOOD)?["ready"], true);
    Ok(())
}

#[test]
fn a_client_that_reads_nothing_holds_nobody_up() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let path = daemon.socket();
    let mut stuck = local::connect(path)?;
    stuck.write_all(b"{\"ask\":\"conflicts\",\"follow\":true}\n")?;
    let mut first = [0; 16];
    stuck.read_exact(&mut first)?;
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(local::ask(path, GOOD)?["ready"], true);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    daemon.stop_cleanly()?;
    Ok(())
}

#[test]
fn a_living_daemon_keeps_its_socket() -> Result<()> {
    let Some(first) = Daemon::start(&[])? else { return Ok(()) };
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let refusal = launch.socket(first.socket()).run_to_end()?;
    assert_eq!(refusal.status.code(), Some(1), "{}", refusal.stderr);
    let named = format!("another daemon (process {}) serves {}", first.pid(), first.socket().display());
    assert!(refusal.stderr.contains(&named) && refusal.stderr.contains("--socket"), "{}", refusal.stderr);
    assert_eq!(local::ask(first.socket(), GOOD)?["ready"], true, "not disturbed");
    Ok(())
}

#[test]
fn what_a_killed_daemon_left_is_replaced() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let scratch = Scratch::new("local-stale")?;
    let path = scratch.path().join("api.sock");
    launch.socket(&path).start()?.stop(Signal::SIGKILL)?;
    assert!(path.exists(), "left behind");
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let daemon = launch.socket(&path).start()?;
    assert_eq!(local::ask(&path, GOOD)?["ready"], true);
    daemon.stop_cleanly()?;
    Ok(())
}
