//! `conflicts`: the latest refusals, each of them, and those that happen while one looks.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    effort,
    events::{assert_fields, keys},
    local::run,
    process::set_comm,
    sockets::{self, Transport},
    user,
};
use serde::Deserialize;
use serde_json::{Value, json};
use socket2::{SockAddr, Socket};

const CONFLICT_KEYS: [&str; 14] = [
    "schema",
    "type",
    "time",
    "boottime_ns",
    "contender",
    "phase",
    "result",
    "repeated",
    "rule",
    "holders",
    "decided_by",
    "confidence",
    "truncated",
    "remedy",
];

/// A listener and its address, which nobody else can bind.
fn held() -> Result<(Socket, SocketAddr)> {
    let socket = sockets::bound(Transport::Tcp, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.listen(1)?;
    let address = sockets::local_address(&socket)?;
    Ok((socket, address))
}

/// Is refused once.
fn refused(transport: Transport, address: SocketAddr) -> Result<()> {
    let contender = sockets::open(transport, address.ip())?;
    contender.bind(&SockAddr::from(address)).err().context("the kernel refuses")?;
    Ok(())
}

fn list(answer: &Value) -> Result<&Vec<Value>> {
    assert_eq!(answer["schema"], 1, "{answer}");
    assert_eq!(keys(answer), BTreeSet::from(["schema", "conflicts", "dropped"]));
    answer["conflicts"].as_array().context("conflicts")
}

#[test]
fn each_refusal_is_listed_with_everything_but_only_locally() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let (_holder, address) = held()?;
    let port = address.port().to_string();
    for _ in 0..3 {
        refused(Transport::Tcp, address)?;
    }
    let ran = run(daemon.command("conflicts").args(["--json", "--port", &port]))?;
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let answer = ran.json()?;
    let conflicts = list(&answer)?;
    assert_eq!(conflicts.len(), 3, "each, not a sum: {answer}");
    let words: Vec<String> = std::env::args().collect();
    for conflict in conflicts {
        assert_eq!(keys(conflict), BTreeSet::from(CONFLICT_KEYS), "{conflict}");
        assert_fields(
            conflict,
            &json!({
                "schema": 1, "type": "conflict", "phase": "bind", "result": "EADDRINUSE", "repeated": 1,
                "rule": "holder_is_listening", "decided_by": null, "confidence": "exact", "truncated": false,
            }),
        );
        let contender = &conflict["contender"];
        assert_fields(
            contender,
            &json!({"pid": std::process::id(), "port": address.port(), "bound_port": 0, "cmdline": words}),
        );
        let [holder] = &conflict["holders"].as_array().context("holders")?[..] else {
            panic!("one holder: {conflict}");
        };
        assert_fields(
            holder,
            &json!({"address": "127.0.0.1", "state": "listen", "rule": "holder_is_listening"}),
        );
        let owner = &holder["owners"][0];
        assert_fields(owner, &json!({"pid": std::process::id(), "cmdline": words}));
        assert_eq!(owner["exe"], json!(std::env::current_exe()?));
    }
    let network = daemon.api("conflicts")?;
    let seen: Vec<_> =
        list(&network)?.iter().filter(|conflict| conflict["contender"]["port"] == address.port()).collect();
    assert_eq!(seen.len(), 3, "{network}");
    for private in ["\"cmdline\"", "\"exe\""] {
        assert!(!network.to_string().contains(private), "{private} in {network}");
    }
    Ok(())
}

#[test]
fn text_gives_the_answer_then_the_holder_then_the_remedy() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let (_holder, address) = held()?;
    refused(Transport::Tcp, address)?;
    let ran = run(daemon.command("conflicts").args(["--port", &address.port().to_string()]))?;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    let pid = std::process::id();
    assert_eq!(lines.len(), 3, "{ran:?}");
    let answer = format!("[{pid}] (uid 0) cannot bind tcp {address}: EADDRINUSE, holder_is_listening");
    assert!(lines[0].ends_with(&answer), "{ran:?}");
    assert!(lines[1].starts_with(&format!("    held by {address} listening, ")), "{ran:?}");
    assert!(lines[1].contains(&format!("[{pid}]")), "{ran:?}");
    assert!(lines[2].starts_with("    ") && lines[2].len() > 10, "{ran:?}");
    Ok(())
}

/// A refused bind of another kind: an address this host does not have.
fn elsewhere() -> Result<SocketAddr> {
    Ok("192.0.2.77:4242".parse()?)
}

#[test]
fn filters_choose_and_the_status_says_whether_anything_is_left() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let (_holder, address) = held()?;
    let port = address.port().to_string();
    let none = run(daemon.command("conflicts").args(["--json", "--port", &port]))?;
    assert_eq!((none.status, none.json()?), (Some(1), json!({"schema": 1, "conflicts": [], "dropped": 0})));
    user::run_as(user::NOBODY, || {
        set_comm(b"contender")?;
        refused(Transport::Tcp, address)
    })?;
    refused(Transport::Udp, elsewhere()?)?;
    let pid = std::process::id().to_string();
    let cases: [(&[&str], &[&str]); 11] = [
        (&["--port", &port], &["EADDRINUSE"]),
        (&["--port", &port, "--port", "4242", "--pid", &pid], &["EADDRINUSE", "EADDRNOTAVAIL"]),
        (&["--address", "192.0.2.77", "--pid", &pid], &["EADDRNOTAVAIL"]),
        (&["--errno", "eaddrinuse", "--pid", &pid], &["EADDRINUSE"]),
        (&["--errno", "EACCES", "--pid", &pid], &[]),
        (&["--rule", "address_not_local", "--pid", &pid], &["EADDRNOTAVAIL"]),
        (&["--rule", "time_wait", "--pid", &pid], &[]),
        (&["--uid", "65534", "--pid", &pid], &["EADDRINUSE"]),
        (&["--pid", "1"], &[]),
        (&["--netns", &pid, "--pid", &pid], &["EADDRINUSE", "EADDRNOTAVAIL"]),
        (&["--service", "no-such.service"], &[]),
    ];
    for (filter, wanted) in cases {
        let ran = run(daemon.command("conflicts").arg("--json").args(filter))?;
        assert_eq!(ran.status, Some(if wanted.is_empty() { 1 } else { 0 }), "{filter:?}: {ran:?}");
        let answer = ran.json()?;
        let found: Vec<_> = list(&answer)?.iter().filter_map(|one| one["result"].as_str()).collect();
        assert_eq!(found, wanted, "{filter:?}: {answer}");
    }
    for wrong in [&["--rule", "bad_luck"][..], &["--since", "10"], &["--since", "soon"], &["--port", "65536"]]
    {
        let ran = run(daemon.command("conflicts").args(wrong))?;
        assert_eq!(ran.status, Some(2), "{wrong:?}: {ran:?}");
    }
    Ok(())
}

#[test]
fn since_leaves_out_what_is_older() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let (_holder, address) = held()?;
    refused(Transport::Tcp, address)?;
    let port = address.port().to_string();
    let count = |since: &str| -> Result<usize> {
        let ran = run(daemon.command("conflicts").args(["--json", "--port", &port, "--since", since]))?;
        Ok(list(&ran.json()?)?.len())
    };
    assert_eq!(count("10m")?, 1);
    deadline::until("the refusal is older than 300 ms", Duration::from_secs(5), || {
        Ok((count("300ms")? == 0).then_some(()))
    })?;
    assert_eq!(count("1h30m")?, 1);
    Ok(())
}

#[test]
fn without_a_daemon_it_says_how_to_start_one() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let mut command = Command::new(launch.binary_path());
    for arguments in [&["conflicts"][..], &["conflicts", "--follow"]] {
        let ran = run(command.args(arguments).args(["--socket", "/nonexistent/api.sock"]))?;
        assert_eq!(ran.status, Some(2), "{ran:?}");
        assert!(
            ran.stderr.contains("no daemon answers") && ran.stderr.contains("reuse-daemon run"),
            "{ran:?}"
        );
        command = Command::new(launch.binary_path());
    }
    Ok(())
}

/// `conflicts --follow`, ended on drop.
struct Following {
    child: Child,
    /// Until the first line is asked for
    stdout: Option<ChildStdout>,
    lines: mpsc::Receiver<String>,
    reading: mpsc::Sender<String>,
    stderr: BufReader<ChildStderr>,
}

impl Following {
    /// Starts it, and returns once it says that it follows. Nobody reads what it tells before the first line is asked for.
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take();
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().context("piped")?);
        stderr.read_line(&mut said)?;
        assert!(said.contains("following"), "{said}");
        let (reading, lines) = mpsc::channel();
        Ok(Self { child, stdout, lines, reading, stderr })
    }

    /// The next line; empty at the end.
    fn line(&mut self) -> Result<String> {
        if let Some(stdout) = self.stdout.take() {
            let reading = self.reading.clone();
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    // Nobody asks for more once the test is over.
                    let _ = reading.send(line);
                }
                let _ = reading.send(String::new());
            });
        }
        self.lines.recv_timeout(deadline::scaled(PROMPT)).context("no line comes")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // Already waited for where it ended by itself: then both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn those_who_follow_see_each_as_it_happens() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let (_holder, address) = held()?;
    let port = address.port().to_string();
    refused(Transport::Tcp, address)?;
    let follow = |more: &[&str]| {
        let mut command = daemon.command("conflicts");
        command.args(["--follow", "--port", &port]).args(more);
        Following::start(command)
    };
    let (mut json, mut text, mut earlier) =
        (follow(&["--json"])?, follow(&[])?, follow(&["--json", "--since", "10m"])?);
    for _ in 0..3 {
        refused(Transport::Udp, elsewhere()?)?;
        refused(Transport::Tcp, address)?;
    }
    let mut times = BTreeSet::new();
    for _ in 0..3 {
        let line: Value = serde_json::from_str(&json.line()?)?;
        assert_eq!(keys(&line), BTreeSet::from(CONFLICT_KEYS), "{line}");
        assert_fields(&line, &json!({"type": "conflict", "repeated": 1, "rule": "holder_is_listening"}));
        assert!(line["contender"]["cmdline"].is_array(), "{line}");
        times.insert(line["boottime_ns"].as_u64().context("a moment")?);
        assert!(text.line()?.contains(&format!("cannot bind tcp {address}: EADDRINUSE")));
        assert!(text.line()?.starts_with("    held by "));
        assert!(text.line()?.starts_with("    "));
    }
    assert_eq!(times.len(), 3, "each once");
    let first: Value = serde_json::from_str(&earlier.line()?)?;
    assert!(first["boottime_ns"].as_u64() < times.first().copied(), "the one of before comes first: {first}");
    let second: Value = serde_json::from_str(&earlier.line()?)?;
    assert_eq!(second["boottime_ns"].as_u64(), times.first().copied());

    daemon.stop_cleanly()?;
    assert_eq!(json.line()?, "", "the stream ends with the daemon");
    assert_eq!(json.child.wait()?.code(), Some(2));
    let mut said = String::new();
    json.stderr.read_line(&mut said)?;
    assert!(said.contains("has stopped"), "{said}");
    Ok(())
}

/// What tells the records of a flood apart.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    lost: Option<usize>,
}

#[test]
fn a_flood_is_bounded_and_what_is_lost_is_told() -> Result<()> {
    // More than the daemon keeps for one who does not read, and the buffers on the way hold.
    let refusals = effort::fewer_but(60_000, 18_000, "refusals");
    let Some(daemon) = Daemon::start(&["--events.repeats", "summary"])? else { return Ok(()) };
    let (_holder, address) = held()?;
    let port = address.port().to_string();
    let mut command = daemon.command("conflicts");
    command.args(["--follow", "--json", "--port", &port]);
    let mut following = Following::start(command)?;
    // Nobody reads while they come: pipe and queue fill.
    thread::scope(|scope| {
        let flood = || (0..refusals / 2).try_for_each(|_| refused(Transport::Tcp, address));
        let (one, other) = (scope.spawn(flood), scope.spawn(flood));
        one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let ran = run(daemon.command("conflicts").args(["--json", "--port", &port]))?;
    let kept = list(&ran.json()?)?.len();
    assert!((500..=1_000).contains(&kept), "the latest 1,000, some of which may be other programs': {kept}");
    // What the daemon itself did not get has counters and a test of its own.
    let got = daemon.metrics()?.count("reuse_port_conflicts_total", &[("port", &port)]);
    let got = usize::try_from(got)?;
    let (mut told, mut lost) = (0, 0);
    while told + lost < got {
        let line = following.line()?;
        match serde_json::from_str(&line)? {
            Record { kind: "conflict", .. } => told += 1,
            Record { kind: "lost", lost: Some(more) } => lost += more,
            _ => panic!("{line}"),
        }
    }
    // Nobody filters what is lost: some may have been other programs'.
    assert!((got..got + 600).contains(&(told + lost)), "got {got}, told {told}, lost {lost}");
    assert!(lost > 0, "the queue is bounded");
    Ok(())
}
