//! What a test needs before it can say anything, and the line it leaves behind when it is skipped.

use std::{env, io::Write, path::PathBuf, thread};

use anyhow::{Result, bail};

/// Environment variable with the path of the daemon under test.
pub const DAEMON_BIN: &str = "REUSE_DAEMON_BIN";

/// The daemon to test, or `None` after the test was skipped aloud because none was named.
///
/// # Errors
/// When a daemon is named but the tests cannot run it: not root, or no such file.
pub fn daemon_binary() -> Result<Option<PathBuf>> {
    let Some(path) = env::var_os(DAEMON_BIN) else {
        skip(&format!("{DAEMON_BIN} does not name a daemon (`cargo xtask test` builds one and sets it)"));
        return Ok(None);
    };
    if !nix::unistd::geteuid().is_root() {
        bail!("these tests load eBPF programs and make network namespaces: run them as root");
    }
    let path = PathBuf::from(path);
    match path.canonicalize() {
        Ok(path) => Ok(Some(path)),
        Err(error) => bail!("{DAEMON_BIN}={}: {error}", path.display()),
    }
}

/// Prints `SKIP <test>: <why>` on standard error, past the test harness' capture.
pub fn skip(why: &str) {
    let current = thread::current();
    let name = current.name().unwrap_or("unnamed test");
    // A line of its own: the test runner has already written `test <name> ... ` without a newline. Nobody to tell if
    // standard error is closed.
    let _ = writeln!(std::io::stderr(), "\nSKIP {name}: {why}");
}
