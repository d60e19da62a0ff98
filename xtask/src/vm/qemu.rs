//! Boots one kernel in QEMU and speaks with it over its serial console line by line, within a bounded time.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::process;

/// From power-on to power-off, all tests included.
const LIMIT: Duration = Duration::from_secs(1500);
/// A machine that says nothing for this long hangs: init gives no test this long.
const SILENCE: Duration = Duration::from_secs(150);

/// The processor: all that can be emulated, but no strings copied byte by byte. Kernels that are told these are fast use
/// them to copy and clear pages, and each byte is emulated by itself: a daemon's start takes a quarter less without.
const PROCESSOR: &str = "max,-erms,-fsrm";

/// Kernel parameters: everything to the serial port, any oops a panic, a panic an immediate reboot (which `-no-reboot`
/// turns into an exit), and only critical messages between the lines of init. Mitigations and pages cleared beforehand
/// guard nobody here and cost emulated instructions. What waits for all processors to have let go of something (a
/// program that is detached, a namespace that is gone) does not wait until they have by themselves. A program is always
/// at the same address, where the emulator finds what it has translated. Whether its timer ticks is not asked: a busy
/// host may keep it from that for longer than the kernel waits. What the kernel does not know goes to the environment
/// of init, and from there to the tests: how many times slower than a usual one this machine is
/// (tests/src/deadline.rs).
const PARAMETERS: &str = "console=ttyS0 panic=-1 oops=panic loglevel=3 random.trust_cpu=on mitigations=off \
    init_on_alloc=0 rcupdate.rcu_expedited=1 norandmaps no_timer_check REUSE_TESTS_SLOWNESS=10";

/// What is booted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Boot<'a> {
    /// The compressed kernel image.
    pub(crate) kernel: &'a Path,
    /// Its initial file system.
    pub(crate) initramfs: &'a Path,
    /// Kernel parameters beside the usual ones.
    pub(crate) parameters: &'a str,
    /// How many processors it has. They take turns: a second one shows what depends on it, and costs time.
    pub(crate) processors: u8,
}

/// How a virtual machine came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It powered off, or rebooted after a panic.
    Exited,
    /// It was silent for this long and was killed.
    Silent(Duration),
    /// It ran for this long and was killed.
    TooLong(Duration),
}

/// Boots and calls `line` for each line of the console, whose answer is written there, until the machine ends or has to be
/// ended.
///
/// # Errors
/// If QEMU cannot be started or says that it cannot run.
pub(crate) fn boot(
    qemu: &Path,
    boot: Boot<'_>,
    mut line: impl FnMut(&str) -> Option<String>,
) -> Result<Ending> {
    let Boot { kernel, initramfs, parameters, processors } = boot;
    let mut command = Command::new(qemu);
    command
        // A nested hypervisor may open /dev/kvm and then hang a stock kernel: emulate. In one thread: with one for each
        // CPU, QEMU 7.2 lets a CPU run into kernel code that another is patching (an int3 oops in 3 of 225 boots of
        // 6.12; in none of 265 with one thread).
        .args(["-accel", "tcg,thread=single", "-cpu", PROCESSOR, "-m", "2048"])
        .args(["-smp", &processors.to_string()])
        // No monitor: what is written to the console is for the machine alone.
        .args([
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
            "-nic",
            "none",
            "-append",
        ])
        .arg(format!("{PARAMETERS} {parameters}"))
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let child = command.spawn().with_context(|| format!("cannot start `{}`", process::render(&command)))?;
    let mut machine = Machine(child);
    let mut answers = machine.0.stdin.take().context("nothing can be written to QEMU's console")?;
    let lines = machine.console()?;
    let ending = follow(&lines, LIMIT, SILENCE, &mut |said: &str| {
        if let Some(answer) = line(said) {
            write_line(&mut answers, &answer);
        }
    });
    if ending == Ending::Exited {
        let status = machine.0.wait()?;
        if !status.success() {
            anyhow::bail!("`{}` failed: {status}", process::render(&command));
        }
    }
    Ok(ending)
}

/// A machine that has ended since takes no answer: its end is seen where its console is read.
fn write_line(console: &mut ChildStdin, line: &str) {
    let _ = writeln!(console, "{line}").and_then(|()| console.flush());
}

/// Ends the machine with itself, whatever happened.
struct Machine(Child);

impl Machine {
    fn console(&mut self) -> Result<mpsc::Receiver<String>> {
        let stdout = self.0.stdout.take().context("QEMU's console is not piped")?;
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(lines)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn follow(
    lines: &mpsc::Receiver<String>,
    limit: Duration,
    silence: Duration,
    line: &mut impl FnMut(&str),
) -> Ending {
    let start = Instant::now();
    loop {
        let left = limit.saturating_sub(start.elapsed());
        match lines.recv_timeout(left.min(silence)) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Disconnected) => return Ending::Exited,
            Err(RecvTimeoutError::Timeout) if left <= silence => return Ending::TooLong(limit),
            Err(RecvTimeoutError::Timeout) => return Ending::Silent(silence),
        }
        if start.elapsed() >= limit {
            return Ending::TooLong(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_end_of_the_console_is_the_end_of_the_machine() {
        let (send, lines) = mpsc::channel();
        send.send("one".to_owned()).unwrap();
        drop(send);
        let mut seen = Vec::new();
        assert_eq!(follow(&lines, LONG, LONG, &mut |line: &str| seen.push(line.to_owned())), Ending::Exited);
        assert_eq!(seen, ["one"]);
    }

    #[test]
    fn a_silent_machine_is_given_up() {
        let (_send, lines) = mpsc::channel();
        assert_eq!(follow(&lines, LONG, SHORT, &mut |_: &str| {}), Ending::Silent(SHORT));
    }

    #[test]
    fn a_machine_that_never_ends_is_given_up_though_it_talks() {
        let (send, lines) = mpsc::channel();
        thread::spawn(move || while send.send("again".to_owned()).is_ok() {});
        assert_eq!(follow(&lines, SHORT, LONG, &mut |_: &str| {}), Ending::TooLong(SHORT));
    }
}
