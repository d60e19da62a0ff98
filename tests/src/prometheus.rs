//! A real Prometheus server (Debian package `prometheus`) on loopback, and its query API.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    deadline, http,
    scratch::Scratch,
    skip,
    sockets::{Transport, free_port},
};

const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server with its data in a directory of its own; both go on drop.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    web: SocketAddr,
    directory: Scratch,
}

impl Prometheus {
    /// Starts a server with this configuration file, written by the test, or gives `None` after skipping the test
    /// aloud where the server is not installed.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(configuration: &str) -> Result<Option<Self>> {
        if !installed("prometheus") {
            return Ok(None);
        }
        let directory = Scratch::new("prometheus")?;
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, configuration).with_context(|| format!("writing {}", file.display()))?;
        let web =
            SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Transport::Tcp, Ipv4Addr::LOCALHOST.into())?));
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={web}"))
            .args(["--log.level=warn", "--query.lookback-delta=1m"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("log")).context("log of the server")?)
            .spawn()
            .context("starting prometheus")?;
        let mut server = Self { child, web, directory };
        deadline::until("Prometheus is ready", START_LIMIT, || {
            if let Some(status) = server.child.try_wait()? {
                bail!("prometheus ended with {status}");
            }
            Ok(http::get(web, "/-/ready").ok().filter(|answer| answer.status == 200))
        })
        .with_context(|| fs::read_to_string(server.directory.path().join("log")).unwrap_or_default())?;
        Ok(Some(server))
    }

    /// Evaluates an expression now, and gives the series of its result.
    ///
    /// # Errors
    /// When the server refuses the expression.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let target = format!("/api/v1/query?query={}", percent_encode(expression));
        let mut answer: Value =
            serde_json::from_str(&http::get(self.web, &target)?.body).context("query answer")?;
        if answer["status"] != "success" {
            bail!("{expression}: {}", answer["error"]);
        }
        match answer["data"]["result"].take() {
            Value::Array(series) => Ok(series),
            other => Ok(vec![other]),
        }
    }

    /// Anything below the server's `/api/v1/`.
    ///
    /// # Errors
    /// When it is not answered with success.
    pub fn api(&self, path: &str) -> Result<Value> {
        let mut answer: Value = serde_json::from_str(&http::get(self.web, &format!("/api/v1/{path}"))?.body)?;
        if answer["status"] != "success" {
            bail!("{path}: {answer}");
        }
        Ok(answer["data"].take())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Nothing of it is kept.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `promtool` with these arguments in `directory`, or gives `None` after skipping the test aloud where it is not
/// installed.
///
/// # Errors
/// When it cannot be started.
pub fn promtool(directory: &Path, arguments: &[&str], input: &str) -> Result<Option<Output>> {
    if !installed("promtool") {
        return Ok(None);
    }
    let scratch = Scratch::new("promtool")?;
    let file = scratch.path().join("input");
    fs::write(&file, input)?;
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(directory)
        .stdin(fs::File::open(&file)?)
        .output()
        .context("promtool")?;
    Ok(Some(output))
}

/// Whether a program of the package `prometheus` is there; where it is not, the calling test is skipped aloud.
#[must_use]
pub fn installed(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(program).is_file()));
    if !found {
        skip::skip(&format!("{program} is not installed (Debian package `prometheus`)"));
    }
    found
}

fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_and_refuses() {
        let Some(server) = Prometheus::start("global: {}\n").expect("a server starts") else { return };
        assert_eq!(server.query("vector(1) + 1").expect("an expression").len(), 1);
        assert!(server.query("up{").is_err(), "a broken expression is refused");
    }
}
