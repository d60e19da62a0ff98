//! Clients of the servers: packaged ones, and one whose every connection carries exactly one request, which their own
//! counts do not promise (`wrk` leaves out what it did while it calibrated, and breaks off what is under way at its end).

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::Program;
use crate::{deadline, namespace::Namespace};

/// How long a server may take to answer.
const STALL: Duration = Duration::from_secs(10);
/// What an HTTP client asks.
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
/// Threads of our own client.
const THREADS: u64 = 8;

/// What became of the connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The server answered.
    pub answered: u64,
    /// The connection was made, and reset or closed without an answer.
    pub reset: u64,
}

/// Makes `count` connections from inside the namespace, several at a time, each with one HTTP request.
///
/// # Errors
/// When a connection fails otherwise than by a reset.
pub fn fetch(namespace: &Namespace, address: SocketAddr, count: u64) -> Result<Outcome> {
    exchange(namespace, count, || {
        let mut stream = match connect(address) {
            Ok(stream) => stream,
            // A listener that closes resets also what was made this moment.
            Err(error) if is_reset(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        // One that is reset says so to whoever reads.
        let _ = stream.write_all(REQUEST);
        answer(&mut stream)
    })
}

/// Makes `count` connections from inside the namespace and sends a request on each, whether or not anyone accepts them.
///
/// # Errors
/// When a connection fails.
pub fn request(namespace: &Namespace, address: SocketAddr, count: u64) -> Result<Vec<TcpStream>> {
    namespace.run(|| {
        (0..count)
            .map(|_| {
                let mut stream = connect(address)?;
                stream.write_all(REQUEST).context("asking")?;
                Ok(stream)
            })
            .collect()
    })
}

/// Waits for what becomes of such connections.
///
/// # Errors
/// When one ends otherwise than by an answer or a reset.
pub fn conclude(streams: Vec<TcpStream>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for mut stream in streams {
        if answer(&mut stream)? {
            outcome.answered += 1;
        } else {
            outcome.reset += 1;
        }
    }
    Ok(outcome)
}

/// Makes `count` connections from inside the namespace, several at a time, each with one DNS query: for the name that
/// [`super::Unbound`] knows.
///
/// # Errors
/// When a connection fails otherwise than by a reset.
pub fn ask_by_tcp(namespace: &Namespace, address: SocketAddr, count: u64) -> Result<Outcome> {
    // Length, identity, flags (a query), one question: a.test, type A, class IN.
    let query = b"\x00\x18\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01";
    exchange(namespace, count, || {
        let mut stream = connect(address)?;
        stream.write_all(query)?;
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).context("reading the answer")?;
        ensure!(answer.get(2..4) == Some(b"\x12\x34") && length > query.len(), "answer of {length} bytes");
        Ok(true)
    })
}

fn exchange(namespace: &Namespace, count: u64, once: impl Fn() -> Result<bool> + Sync) -> Result<Outcome> {
    let (left, answered) = (AtomicU64::new(count), AtomicU64::new(0));
    namespace.run(|| {
        // Threads are in the namespace of the one that starts them.
        thread::scope(|scope| {
            let run = || {
                while left.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    answered.fetch_add(u64::from(once()?), Relaxed);
                }
                anyhow::Ok(())
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })?;
    let answered = answered.into_inner();
    Ok(Outcome { answered, reset: count - answered })
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(deadline::scaled(STALL)))?;
    Ok(stream)
}

fn is_reset(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

/// Reads to the end of an answer: false where the connection was reset or closed instead.
fn answer(stream: &mut TcpStream) -> Result<bool> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(0) => Ok(false),
        Ok(_) => {
            ensure!(answer.get(8..13) == Some(b" 200 "), "answer {:?}", String::from_utf8_lossy(&answer));
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
        Err(error) => Err(error).context("waiting for the answer"),
    }
}

/// Runs `wrk` for a second, a connection for every request: how many answers it counted, which is fewer than it got.
///
/// # Errors
/// When it fails or had an error.
pub fn wrk(program: &Program, namespace: &Namespace, address: SocketAddr) -> Result<u64> {
    let said = run(
        program,
        namespace,
        &["-t2", "-c20", "-d1s", "-H", "Connection: close", &format!("http://{address}/")],
    )?;
    ensure!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "wrk: {said}");
    let counted = said.lines().find_map(|line| line.trim().split_once(" requests in "));
    let (requests, _) = counted.with_context(|| format!("wrk: {said}"))?;
    requests.parse().with_context(|| format!("wrk: {said}"))
}

/// Runs `dnsperf` over UDP from as many sockets as `flows`, with `count` queries for the name in the file: the answers.
///
/// # Errors
/// When it fails.
pub fn dnsperf(
    program: &Program,
    namespace: &Namespace,
    address: SocketAddr,
    queries: &Path,
    (count, flows): (u64, u64),
) -> Result<u64> {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let (count, flows) = (count.to_string(), flows.to_string());
    let file = queries.to_str().context("the file with queries")?;
    let said = run(
        program,
        namespace,
        &["-s", &host, "-p", &port, "-d", file, "-c", &flows, "-n", &count, "-T", "2"],
    )?;
    let line = said.lines().find_map(|line| line.trim().strip_prefix("Queries completed:"));
    let completed = line.and_then(|line| line.split_whitespace().next());
    completed.and_then(|number| number.parse().ok()).with_context(|| format!("dnsperf: {said}"))
}

fn run(program: &Program, namespace: &Namespace, arguments: &[&str]) -> Result<String> {
    let output = namespace.run(|| program.command().args(arguments).output().context("starting a client"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{program:?}: {}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(said)
}
