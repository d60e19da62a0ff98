//! Runs `cargo test`, shows what it prints, counts the tests in it, and ends a test binary that hangs.

use std::{
    fs,
    io::{BufRead as _, BufReader, IsTerminal as _, Read},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    privilege, process,
    test::libtest::{Run, Transcript},
};

/// A run that prints nothing for this long hangs: every test waits with a deadline of its own, and none works this long.
const SILENCE: Duration = Duration::from_secs(300);

enum Line {
    Stdout(String),
    Stderr(String),
}

/// Runs the command and counts its tests. A test binary that hangs is killed and is one more failure; cargo goes on with
/// the next.
///
/// # Errors
/// If the command cannot be started.
pub(crate) fn counted(command: Command) -> Result<Run> {
    counted_within(command, SILENCE)
}

fn counted_within(mut command: Command, silence: Duration) -> Result<Run> {
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", process::render(&command)))?;
    let (send, lines) = mpsc::channel();
    read(child.stdout.take(), send.clone(), Line::Stdout);
    read(child.stderr.take(), send, Line::Stderr);
    let (mut transcript, mut hangs) = (Transcript::default(), 0);
    loop {
        match lines.recv_timeout(silence) {
            Ok(Line::Stdout(line)) => {
                transcript.feed(&line);
                println!("{line}");
            }
            Ok(Line::Stderr(line)) => {
                transcript.feed(&line);
                eprintln!("{line}");
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                eprintln!(
                    "xtask: nothing was printed for {} s: ending the test that hangs",
                    silence.as_secs()
                );
                hangs += 1;
                if !end_descendants(child.id())? {
                    // Not a test hangs but cargo itself, or somebody that left its family holds the streams open.
                    child.kill().context("cannot end cargo")?;
                    break;
                }
            }
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{}`", process::render(&command)))?;
    let mut run = transcript.conclude(status.success() || hangs > 0);
    run.tally.failed += hangs;
    Ok(run)
}

fn read(stream: Option<impl Read + Send + 'static>, send: mpsc::Sender<Line>, line: fn(String) -> Line) {
    let Some(stream) = stream else { return };
    thread::spawn(move || {
        for bytes in BufReader::new(stream).split(b'\n') {
            let Ok(bytes) = bytes else { return };
            if send.send(line(String::from_utf8_lossy(&bytes).into_owned())).is_err() {
                return;
            }
        }
    });
}

/// Kills what the process has started, and not the process itself; tells whether there was anything. They may be root's.
fn end_descendants(of: u32) -> Result<bool> {
    let parents = parents();
    let mut doomed = vec![of];
    let mut next = 0;
    while let Some(&parent) = doomed.get(next) {
        doomed.extend(parents.iter().filter(|(_, its)| *its == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    let pids: Vec<String> = doomed.iter().skip(1).map(u32::to_string).collect();
    if pids.is_empty() {
        return Ok(false);
    }
    // The shell has a kill of its own, a small system no other. It fails when one of them is gone already, which is as
    // well.
    let status = privilege::as_root("sh")?.args(["-c", "kill -KILL \"$@\"", "kill"]).args(&pids).status();
    status.map(|_| true).context("cannot start sh")
}

/// Every process with its parent (proc_pid_stat(5): the fields after the last parenthesis are state and ppid).
fn parents() -> Vec<(u32, u32)> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (_, fields) = stat.rsplit_once(')')?;
            Some((pid, fields.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_streams_are_counted() {
        let script = "echo 'SKIP a: dull' >&2; echo 'test result: ok. 2 passed; 0 failed; 0 ignored'";
        let tally = counted_within(shell(script), LONG).unwrap().tally;
        assert_eq!(tally, Tally { passed: 1, failed: 0, skipped: 1 });
    }

    #[test]
    fn a_run_that_hangs_by_itself_is_ended() {
        let tally = counted_within(shell("exec sleep 600"), Duration::from_millis(200)).unwrap().tally;
        assert_eq!(tally, Tally { passed: 0, failed: 1, skipped: 0 });
    }

    #[test]
    fn a_hanging_test_is_one_failure_and_the_rest_goes_on() {
        let script = "sleep 600; echo 'test result: ok. 3 passed; 0 failed; 0 ignored'; exit 101";
        let tally = counted_within(shell(script), Duration::from_millis(200)).unwrap().tally;
        assert_eq!(tally, Tally { passed: 3, failed: 1, skipped: 0 });
    }
}
