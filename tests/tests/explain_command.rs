//! The command around the prediction: exit statuses, waiting, other processes' eyes, other users, and no trace.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use reuse_tests::{
    bpf,
    daemon::Daemon,
    deadline::{self, PROMPT},
    events,
    explain::{Explain, Spec},
    kernel,
    namespace::{self, Namespace},
    process::Forked,
    scratch::Scratch,
    sockets::{
        self,
        Transport::{Tcp, Udp},
    },
    user::NOBODY,
};
use serde_json::json;

const PORT: u16 = 18_082;

fn listener() -> Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))).context("binding")
}

fn place() -> String {
    format!("127.0.0.1:{PORT}")
}

#[test]
fn wrong_input_is_explained_with_status_2() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    for (words, part) in [
        (&["0"][..], "port 0 lets the kernel choose"),
        (&["65536"], "`65536` is not a number"),
        (&["sctp", "80"], "`sctp` is no protocol"),
        (&["localhost"], "names no port"),
        (&["::1:80"], "in brackets"),
        (&["no-such-host.invalid:80"], "cannot find the address of `no-such-host.invalid`"),
        (&["udp", "80", "--listen"], "never listens"),
        (&["80", "--netns", "/no/such/file"], "no network namespace at /no/such/file"),
        (&["80", "--netns", "/proc/self/status"], "/proc/self/status is no network namespace"),
        (&["80", "--as", "4194305"], "--as 4194305: there is no such process"),
        (&["80", "--as", "1", "--uid", "1"], "cannot be used with"),
        (&["80", "--timeout", "1s"], "--wait"),
        (&["80", "--wait", "--timeout", "soon"], "--timeout"),
        (&[], "Usage"),
    ] {
        let explained = explain.run(words)?;
        assert_eq!(explained.code(), 2, "{words:?}: {explained:?}");
        assert!(explained.stderr.contains(part) && explained.stdout.is_empty(), "{words:?}: {explained:?}");
    }
    Ok(())
}

#[test]
fn a_port_alone_asks_four_and_one_refusal_counts() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    let namespace = Namespace::new("explain-cmd")?;
    namespace.run(|| {
        let port = PORT.to_string();
        assert_eq!(explain.run(&[&port])?.code(), 0);
        let _listener = listener()?;
        let explained = explain.run(&[&port, "--json"])?;
        assert_eq!(explained.code(), 1);
        let seen: Vec<_> = explained
            .answers()?
            .iter()
            .map(|answer| {
                let question = &answer["question"];
                json!([
                    question["protocol"],
                    question["address"],
                    answer["outcome"],
                    answer["with_reuseaddr"]
                ])
            })
            .collect();
        let refused = json!({ "outcome": "refused", "rule": "holder_is_listening" });
        let success = json!({ "outcome": "success", "rule": null });
        let expected = json!([
            ["tcp", "0.0.0.0", "refused", refused],
            ["tcp", "::", "refused", refused],
            ["udp", "0.0.0.0", "success", success],
            ["udp", "::", "success", success],
        ]);
        assert_eq!(json!(seen), expected);
        assert_eq!(explain.run(&["udp", &port])?.code(), 0);

        let text = explain.run(&[&port])?.stdout;
        let answers: Vec<_> = text.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(answers.len(), 4, "{text}");
        let colored = explain.run(&[&port, "--color", "always"])?.stdout;
        assert!(!text.contains('\x1b') && colored.contains("\x1b[31m"), "{colored:?}");
        let with_option = explain.run(&["tcp", &place(), "--reuseaddr", "--json"])?.answer()?;
        assert!(with_option.get("with_reuseaddr").is_none(), "{with_option}");
        Ok(())
    })
}

#[test]
fn waiting_ends_when_the_port_is_free_or_the_time_is_up() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    let namespace = Namespace::new("explain-cmd")?;
    namespace.run(|| {
        let place = place();
        let held = listener()?;
        let gave_up = explain.run(&["tcp", &place, "--wait", "--timeout", "300ms"])?;
        assert_eq!(gave_up.code(), 1, "{gave_up:?}");
        assert!(gave_up.took >= Duration::from_millis(300), "{gave_up:?}");
        assert!(gave_up.stdout.contains("refused"), "{gave_up:?}");

        let mut waiting = explain.command(&["tcp", &place, "--wait"]).spawn()?;
        let mut told = waiting.stderr.take().context("stderr")?;
        let mut line = [0; 512];
        let length = told.read(&mut line)?;
        let line = String::from_utf8_lossy(&line[..length]).into_owned();
        let own = format!("[{}]", std::process::id());
        assert!(line.starts_with(&format!("waiting for tcp {place}")) && line.contains(&own), "{line}");
        assert!(waiting.try_wait()?.is_none(), "it waits");
        drop(held);
        let freed = Instant::now();
        let status = deadline::until("the end of the wait", PROMPT, || Ok(waiting.try_wait()?))?;
        assert!(status.success(), "{status}");
        println!("noticed {:?} after the port was free", freed.elapsed());
        Ok(())
    })
}

/// `--as` takes user, capabilities and namespace from a process; `--netns` the namespace alone.
#[test]
fn another_process_asks() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    let namespace = Namespace::new("explain-cmd")?;
    let (process, inode) = namespace.run(|| Ok((Forked::of_user(NOBODY)?, namespace::inode()?)))?;
    let _listener = namespace.run(listener)?;
    let pid = process.pid().to_string();

    let answer = explain.run(&["tcp", "127.0.0.1:80", "--as", &pid, "--json"])?.answer()?;
    events::assert_fields(
        &answer["question"],
        &json!({
            "uid": NOBODY, "netns": inode, "netns_name": namespace.name(), "may_bind_privileged": false,
        }),
    );
    assert_eq!(
        (&answer["errno"], &answer["rule"]),
        (&json!("EACCES"), &json!("privileged_port")),
        "{answer}"
    );

    for netns in [pid.as_str(), &format!("/run/netns/{}", namespace.name())] {
        let answer = explain.run(&["tcp", &place(), "--netns", netns, "--json"])?.answer()?;
        assert_eq!(answer["question"]["uid"], 0, "{answer}");
        assert_eq!(answer["holders"][0]["netns"], inode, "{answer}");
        assert_eq!(answer["holders"][0]["owners"][0]["pid"], std::process::id(), "{answer}");
    }
    assert_eq!(explain.run(&["tcp", &place()])?.code(), 0, "in the namespace of the tests the port is free");
    Ok(())
}

/// Without root the sockets are seen, their options are not: an answer is given only where it is the same whatever they are.
#[test]
fn without_root_only_what_is_certain_is_told() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    let scratch = Scratch::new("explain-user")?;
    let explain = explain.as_user(NOBODY, scratch.path())?;
    let namespace = Namespace::new("explain-cmd")?;
    namespace.run(|| {
        let place = place();
        let free = explain.run(&["tcp", &place, "--json"])?;
        assert_eq!((free.code(), &free.answer()?["outcome"]), (0, &json!("success")), "{free:?}");
        assert!(free.stderr.contains("without root"), "{free:?}");

        let held = Spec { reuseaddr: true, ..Spec::new(Tcp, "127.0.0.1") };
        let bound = held.attempt(PORT)?.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        // Linux shows everyone the TCP sockets that are bound and no more since 6.8 (net/ipv4/inet_diag.c).
        if kernel::is_at_least(6, 8)? {
            let refused = explain.run(&["tcp", &place, "--json"])?;
            let answer = refused.answer()?;
            assert_eq!((refused.code(), &answer["confidence"]), (1, &json!("best_evidence")), "{answer}");
            let expected = json!({
                "reuseaddr": null, "reuseport": null, "inode": sockets::inode(&bound)?, "state": "bound", "socket_uid": 0,
                "rule": null, "owners": [],
            });
            events::assert_fields(&answer["holders"][0], &expected);

            let unknown = explain.run(&["tcp", &place, "--reuseaddr", "--json"])?;
            assert_eq!((unknown.code(), &unknown.answer()?["outcome"]), (2, &json!("unknown")), "{unknown:?}");
        } else {
            let unseen = explain.run(&["tcp", &place, "--json"])?.answer()?;
            assert_eq!(unseen["confidence"], "best_evidence", "{unseen}");
        }

        bound.listen(1)?;
        let listening = explain.run(&["tcp", &place, "--json"])?.answer()?;
        assert_eq!(listening["rule"], "holder_is_listening", "{listening}");

        let privileged = explain.run(&["tcp", "127.0.0.1:80", "--json"])?.answer()?;
        assert_eq!((&privileged["errno"], &privileged["confidence"]), (&json!("EACCES"), &json!("exact")));

        let datagram = Spec::new(Udp, "127.0.0.1").attempt(PORT)?.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        let udp = explain.run(&["udp", &place, "--json"])?.answer()?;
        assert_eq!(udp["holders"][0]["inode"], sockets::inode(&datagram)?, "{udp}");
        assert_eq!((&udp["outcome"], &udp["decided_by"]), (&json!("refused"), &json!(null)), "{udp}");
        Ok(())
    })
}

/// A daemon sees every bind and listen of the host: none is of `explain`. No program, map or link of it is left either.
#[test]
fn nothing_is_bound_and_nothing_stays() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    let before = bpf::loaded()?;
    for words in [&["18082"][..], &["tcp", "127.0.0.1:18082", "--listen"], &["udp", "18082", "--reuseport"]] {
        let explained = explain.run(words)?;
        assert_eq!(explained.code(), 0, "{explained:?}");
        println!("explain {}: {:?}", words.join(" "), explained.took);
    }
    // Programs and maps are freed a moment after their last descriptor.
    deadline::until("no program, map or link is left", PROMPT, || {
        Ok(bpf::left_behind(&before)?.is_empty().then_some(()))
    })?;

    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let explained = explain.run(&["18082", "--listen"])?;
    let own = sockets::bound(Tcp, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    events::wait_for(&daemon, &own, "bind", "bind")?;
    let seen = daemon.events()?.into_iter().filter(|event| event["contender"]["pid"] == explained.pid);
    assert_eq!(seen.count(), 0, "events of explain's own");
    Ok(())
}
