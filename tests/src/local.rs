//! Speaking over the daemon's local socket, well and badly, and running the commands that do.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection with time limits.
///
/// # Errors
/// Nobody listens.
pub fn connect(path: &Path) -> Result<UnixStream> {
    let stream = UnixStream::connect(path).with_context(|| format!("connecting to {}", path.display()))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Sends `bytes` as they are, and gives what comes back until the daemon closes.
///
/// # Errors
/// Nobody listens, or no answer comes in time.
pub fn exchange(path: &Path, bytes: &[u8]) -> Result<String> {
    let mut stream = connect(path)?;
    // Who is turned away may be answered before all is sent.
    let _ = stream.write_all(bytes);
    read_all(&mut stream)
}

/// What comes until the daemon closes.
///
/// # Errors
/// Nothing comes in time, or it is no text.
pub fn read_all(stream: &mut UnixStream) -> Result<String> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => return Err(error).context("reading the answer"),
    }
    Ok(String::from_utf8(answer)?)
}

/// Asks with one line, and parses the answer.
///
/// # Errors
/// As [`exchange`], or the answer is no JSON.
pub fn ask(path: &Path, request: &str) -> Result<Value> {
    let answer = exchange(path, format!("{request}\n").as_bytes())?;
    serde_json::from_str(&answer).with_context(|| format!("{request}: {answer:?}"))
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status, `None` where a signal ended it
    pub status: Option<i32>,
    /// What it wrote to standard output
    pub stdout: String,
    /// What it wrote to standard error
    pub stderr: String,
}

impl Ran {
    /// Standard output as JSON.
    ///
    /// # Errors
    /// It is none; the message has all it wrote.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("{self:?}"))
    }
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be started, or writes what is no text.
pub fn run(command: &mut Command) -> Result<Ran> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("{command:?}"))?;
    let (stdout, stderr) = (String::from_utf8(stdout)?, String::from_utf8(stderr)?);
    Ok(Ran { status: status.code(), stdout, stderr })
}
