//! The differential fuzzer of the rulebook (package `reuse-fuzz-rules`), run as a process of its own.

use std::{
    env,
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::skip::skip;

/// Environment variable with the path of the fuzzer.
pub const FUZZER_BIN: &str = "REUSE_FUZZ_RULES_BIN";

/// The fuzzer.
#[derive(Debug)]
pub struct Fuzzer {
    binary: PathBuf,
}

/// What a run said in which prediction and kernel agreed everywhere.
#[derive(Debug)]
pub struct Agreement {
    /// Counts and seed, for people
    pub account: String,
    /// One object for each refused call, in the order of each thread's calls; empty where they were not asked for
    pub refusals: Vec<Value>,
}

impl Fuzzer {
    /// `None` after the calling test was skipped aloud, because no fuzzer is named.
    ///
    /// # Errors
    /// When one is named but cannot be run: not root, or no such file.
    pub fn find() -> Result<Option<Self>> {
        let Some(path) = env::var_os(FUZZER_BIN) else {
            skip(&format!(
                "{FUZZER_BIN} does not name the fuzzer (`cargo xtask test` builds one and sets it)"
            ));
            return Ok(None);
        };
        if !nix::unistd::geteuid().is_root() {
            bail!("the fuzzer loads an eBPF program and makes network namespaces: run it as root");
        }
        let path = PathBuf::from(path);
        let binary = path.canonicalize().with_context(|| format!("{FUZZER_BIN}={}", path.display()))?;
        Ok(Some(Self { binary }))
    }

    /// Runs it.
    ///
    /// # Errors
    /// When prediction and kernel disagree, with the smallest reproduction, or when it cannot run.
    pub fn run(&self, arguments: &[&str]) -> Result<Agreement> {
        let Output { status, stdout, stderr } = Command::new(&self.binary)
            .args(arguments)
            .output()
            .with_context(|| format!("running {}", self.binary.display()))?;
        let account = String::from_utf8_lossy(&stderr).into_owned();
        if !status.success() {
            bail!("{} {}: {status}\n{account}", self.binary.display(), arguments.join(" "));
        }
        // Beside the objects it says in words on which kernel it was and what came of it.
        let objects = stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{"));
        let refusals = objects.map(serde_json::from_slice).collect::<Result<_, _>>();
        Ok(Agreement { account, refusals: refusals.context("refusals of the fuzzer")? })
    }
}
