//! The end-to-end suite as built binaries: one for each file of tests, the same for this machine and for the virtual ones.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{build, process, setup::Toolchain, workspace::Workspace};

/// The package of end-to-end tests.
pub(crate) const END_TO_END: &str = "reuse-tests";

/// A built test binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestBinary {
    /// Name of the file of tests.
    pub(crate) name: String,
    /// Whether it holds tests of the daemon, and not those of the library they are written with.
    pub(crate) end_to_end: bool,
    /// Where it is.
    pub(crate) path: PathBuf,
}

impl TestBinary {
    /// The names of its tests.
    ///
    /// # Errors
    /// If it cannot be run or lists nothing.
    pub(crate) fn tests(&self) -> Result<Vec<String>> {
        let listed = process::output(Command::new(&self.path).args(["--list", "--format", "terse"]))?;
        let tests = names(&listed);
        if tests.is_empty() {
            bail!("{} lists no test", self.path.display());
        }
        Ok(tests)
    }
}

/// Builds every test binary of the suite, static.
///
/// # Errors
/// If cargo fails or prints something unknown.
pub(crate) fn build(workspace: &Workspace, toolchain: &Toolchain) -> Result<Vec<TestBinary>> {
    let mut cargo = build::static_cargo(workspace, toolchain, &build::host_target()?, "test")?;
    cargo.args(["--package", END_TO_END, "--no-run", "--message-format=json-render-diagnostics"]);
    let shown = process::render(&cargo);
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed: {}", output.status);
    }
    binaries(&String::from_utf8_lossy(&output.stdout))
}

/// A message of cargo about something it made (`cargo build --message-format=json`).
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// The test binaries in cargo's messages, by name, the library's own tests first.
fn binaries(messages: &str) -> Result<Vec<TestBinary>> {
    let artifacts = messages.lines().filter(|line| line.contains(r#""reason":"compiler-artifact""#));
    let mut found = Vec::new();
    for line in artifacts {
        let Artifact { target, executable } =
            serde_json::from_str(line).context("cargo printed an unknown message")?;
        let kind = |kind: &str| target.kind.iter().any(|its| its == kind);
        if let Some(path) = executable
            && (kind("lib") || kind("test"))
        {
            found.push(TestBinary { end_to_end: kind("test"), name: target.name, path });
        }
    }
    found.sort_by(|one, other| (one.end_to_end, &one.name).cmp(&(other.end_to_end, &other.name)));
    if found.is_empty() {
        bail!("cargo built no test of {END_TO_END}");
    }
    Ok(found)
}

/// What `--list --format terse` prints: `name: test`.
fn names(listed: &str) -> Vec<String> {
    listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// A copy of a program without what only a debugger reads, where `strip` is at hand; else the program itself.
///
/// # Errors
/// If `strip` fails.
pub(crate) fn stripped(program: &Path, into: &Path) -> Result<PathBuf> {
    let Some(strip) = process::find("strip") else { return Ok(program.to_path_buf()) };
    process::run(Command::new(strip).args(["--strip-debug", "-o"]).arg(into).arg(program))?;
    Ok(into.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_binaries_are_found_among_what_cargo_made() {
        let messages = [
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"anyhow"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"http"},"executable":"/t/http-1"}"#,
            r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"traffic"},"executable":"/t/traffic"}"#,
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"reuse_tests"},"executable":"/t/lib-2"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ]
        .join("\n");
        let binary = |name: &str, end_to_end, path: &str| TestBinary {
            name: name.to_owned(),
            end_to_end,
            path: path.into(),
        };
        let expected = [binary("reuse_tests", false, "/t/lib-2"), binary("http", true, "/t/http-1")];
        assert_eq!(binaries(&messages).unwrap(), expected);
        assert!(binaries("").is_err());
    }

    #[test]
    fn names_of_tests_are_listed_and_those_of_benchmarks_are_not() {
        assert_eq!(names("one: test\nmod::two: test\nfast: bench\n"), ["one", "mod::two"]);
    }
}
