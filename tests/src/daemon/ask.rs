//! Asking a running daemon over HTTP.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Daemon;
use crate::{
    attempts::Tally,
    deadline::{self, PROMPT},
    http,
    metrics::Metrics,
};

impl Daemon {
    /// A scrape of `/metrics`, now.
    ///
    /// # Errors
    /// When it does not answer 200 with a valid scrape.
    pub fn metrics(&self) -> Result<Metrics> {
        let answer = http::get(self.web, "/metrics")?;
        if answer.status != 200 {
            bail!("/metrics: {} {}", answer.status, answer.body);
        }
        Metrics::parse(&answer.body).context("/metrics")
    }

    /// Scrapes until a scrape gives what the test waits for.
    ///
    /// # Errors
    /// When it does not within [`PROMPT`].
    pub fn metrics_until<T>(&self, what: &str, mut accept: impl FnMut(&Metrics) -> Option<T>) -> Result<T> {
        deadline::until(what, PROMPT, || Ok(accept(&self.metrics()?)))
    }

    /// The JSON object under `/api/v1/<name>`.
    ///
    /// # Errors
    /// When it does not answer 200 with JSON of schema 1.
    pub fn api(&self, name: &str) -> Result<Value> {
        let answer = http::get(self.web, &format!("/api/v1/{name}"))?;
        if answer.status != 200 {
            bail!("/api/v1/{name}: {} {}", answer.status, answer.body);
        }
        let value: Value = serde_json::from_str(&answer.body).with_context(|| format!("/api/v1/{name}"))?;
        if value["schema"] != 1 {
            bail!("/api/v1/{name}: schema is {}", value["schema"]);
        }
        Ok(value)
    }

    /// The sockets of `/api/v1/sockets`.
    ///
    /// # Errors
    /// As [`Daemon::api`].
    pub fn sockets(&self) -> Result<Vec<Value>> {
        array(self.api("sockets")?, "sockets")
    }

    /// The groups of `/api/v1/groups`.
    ///
    /// # Errors
    /// As [`Daemon::api`].
    pub fn groups(&self) -> Result<Vec<Value>> {
        array(self.api("groups")?, "groups")
    }

    /// The signals of `/api/v1/signals`.
    ///
    /// # Errors
    /// As [`Daemon::api`].
    pub fn signals(&self) -> Result<Vec<Value>> {
        array(self.api("signals")?, "signals")
    }

    /// Bind calls on the host by result, as counted so far.
    ///
    /// # Errors
    /// As [`Daemon::metrics`].
    pub fn bind_attempts(&self) -> Result<Tally> {
        Ok(Tally::of_scrape(&self.metrics()?, "reuse_bind_attempts_total"))
    }
}

fn array(mut value: Value, key: &str) -> Result<Vec<Value>> {
    match value[key].take() {
        Value::Array(items) => Ok(items),
        other => bail!("{key} is no array: {other}"),
    }
}
