//! Connections in the way: open, not accepted yet, going out, closed and in TIME_WAIT, against a real bind.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::{Context, Result};
use reuse_tests::{
    deadline::{self, PROMPT},
    explain::{Explain, Spec, confirmed, dump},
    namespace::Namespace,
    sockets::{self, Transport::Tcp},
    user::NOBODY,
};
use serde_json::{Value, json};
use socket2::Socket;

const PORT: u16 = 18_081;
const LOOPBACK: &str = "127.0.0.1";

fn server(reuseaddr: bool, reuseport: bool) -> Spec {
    Spec { reuseaddr, reuseport, listen: true, ..Spec::new(Tcp, LOOPBACK) }
}

fn start(spec: &Spec) -> Result<Socket> {
    spec.attempt(PORT)?.map_err(|refused| anyhow::anyhow!("{spec:?}: {refused:?}"))
}

fn connect() -> Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    TcpStream::connect(address).context("connecting")
}

fn only_holder(answer: &Value) -> Result<&Value> {
    match answer["holders"].as_array().map(Vec::as_slice) {
        Some([only]) => Ok(only),
        _ => anyhow::bail!("not one holder: {answer}"),
    }
}

/// Leaves a connection in TIME_WAIT on the port: the server closes first.
fn leave_time_wait(spec: &Spec) -> Result<()> {
    let listener = start(spec)?;
    let client = connect()?;
    let (accepted, _) = listener.accept()?;
    drop(accepted);
    // The server's end is in TIME_WAIT once the client has closed, too, and its last segment was answered.
    drop(client);
    deadline::until("TIME_WAIT", PROMPT, || {
        let listed = std::fs::read_to_string("/proc/thread-self/net/tcp")?;
        let ours = format!(":{PORT:04X} ");
        Ok(listed.lines().any(|line| line.contains(&ours) && line.contains(" 06 ")).then_some(()))
    })
}

#[test]
fn time_wait_is_shared_by_what_both_set() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    for (name, before, after) in [
        ("no_option", server(false, false), server(false, false)),
        ("reuseaddr_on_new", server(false, false), server(true, false)),
        ("reuseaddr_on_old", server(true, false), server(false, false)),
        ("reuseaddr_on_both", server(true, false), server(true, false)),
        ("reuseport_and_reuseaddr", server(false, true), server(true, false)),
        ("reuseport_on_both", server(false, true), server(false, true)),
        ("reuseport_on_both_other_user", server(false, true), Spec { uid: NOBODY, ..server(false, true) }),
    ] {
        let namespace = Namespace::new("explain-tw")?;
        namespace.run(|| {
            leave_time_wait(&before)?;
            dump(&explain, &format!("time_wait_{name}"), &after, PORT)?;
            let answer = confirmed(&explain, &after, PORT).context(name)?;
            if answer["outcome"] == "refused" {
                let holder = only_holder(&answer)?;
                let expected = json!(["time_wait", "time_wait", [], null, 0]);
                let seen = json!([
                    answer["rule"],
                    holder["state"],
                    holder["owners"],
                    holder["socket_uid"],
                    holder["inode"]
                ]);
                assert_eq!(seen, expected, "{answer}");
                let left = holder["expires_in_seconds"].as_f64().context("expires_in_seconds")?;
                assert!((50.0..=60.5).contains(&left), "{left} s left");
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn time_wait_says_how_long_it_lasts() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    let namespace = Namespace::new("explain-tw")?;
    namespace.run(|| {
        leave_time_wait(&server(false, false))?;
        let place = format!("{LOOPBACK}:{PORT}");
        let text = explain.run(&["tcp", &place])?.stdout;
        let first = text.lines().next().context("a line")?;
        assert!(first.starts_with(&format!("tcp {place}")), "{text}");
        assert!(first.ends_with(": refused (EADDRINUSE at bind)"), "{text}");
        assert!(text.contains("TIME_WAIT for ") && text.contains("remedy: "), "{text}");
        Ok(())
    })
}

#[test]
fn a_connection_keeps_the_port_of_its_listener() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    let namespace = Namespace::new("explain-conn")?;
    namespace.run(|| {
        let listener = start(&server(true, false))?;
        let _client = connect()?;
        let (accepted, _) = listener.accept()?;
        drop(listener);
        let answer = confirmed(&explain, &server(false, false), PORT)?;
        let holder = only_holder(&answer)?;
        assert_eq!(holder["state"], "connected", "{answer}");
        assert_eq!(holder["inode"], sockets::inode(&accepted)?, "{answer}");
        assert_eq!(answer["rule"], "contender_lacks_reuseaddr", "{answer}");
        let shared = confirmed(&explain, &server(true, false), PORT)?;
        assert_eq!(shared["outcome"], "success", "{shared}");
        Ok(())
    })
}

#[test]
fn a_connection_not_accepted_yet_has_no_owner() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    let namespace = Namespace::new("explain-conn")?;
    namespace.run(|| {
        let _listener = start(&server(false, false))?;
        let _client = connect()?;
        dump(&explain, "not_accepted", &server(false, false), PORT)?;
        let answer = confirmed(&explain, &server(false, false), PORT)?;
        let holders = answer["holders"].as_array().context("holders")?;
        let states: Vec<_> = holders.iter().map(|holder| &holder["state"]).collect();
        assert_eq!(states, ["listen", "connected"], "{answer}");
        assert_eq!(holders[1]["owners"], json!([]), "{answer}");
        assert_eq!(answer["rule"], "holder_is_listening", "{answer}");
        Ok(())
    })
}

#[test]
fn an_outgoing_connection_holds_its_port() -> Result<()> {
    let Some(explain) = Explain::new()? else { return Ok(()) };
    let namespace = Namespace::new("explain-conn")?;
    namespace.run(|| {
        let _listener = start(&server(false, false))?;
        let client = connect()?;
        let local = client.local_addr()?.port();
        let answer = confirmed(&explain, &server(false, false), local)?;
        let holder = only_holder(&answer)?;
        assert_eq!(holder["inode"], sockets::inode(&client)?, "{answer}");
        assert_eq!(
            (&holder["state"], &holder["rule"]),
            (&json!("connected"), &json!("exclusive")),
            "{answer}"
        );
        Ok(())
    })
}
