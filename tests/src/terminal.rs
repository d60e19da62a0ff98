//! A program on a pseudo-terminal: what it draws, what it is told, and in what state it leaves the terminal.

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{Winsize, openpty},
    sys::termios::{Termios, tcgetattr},
    unistd::{read, write},
};

use crate::deadline::{self, PROMPT};

/// A program with a terminal of its own as standard input, output and error.
#[derive(Debug)]
pub struct OnTerminal {
    child: Child,
    master: OwnedFd,
    /// Kept open, so that what the terminal is like can be asked after the program's end
    slave: OwnedFd,
    drawn: Vec<u8>,
    before: Termios,
}

impl OnTerminal {
    /// Starts it on a terminal of this size.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(command: &mut Command, columns: u16, rows: u16) -> Result<Self> {
        let pty = openpty(Some(&size(columns, rows)), None).context("openpty")?;
        let before = tcgetattr(&pty.slave).context("tcgetattr")?;
        let end = || Ok::<_, io::Error>(Stdio::from(pty.slave.try_clone()?));
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        // SAFETY: two system calls, which are safe after a fork: without a session of its own it would get no signals of
        // this terminal.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().context("starting the program")?;
        Ok(Self { child, master: pty.master, slave: pty.slave, drawn: Vec::new(), before })
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Presses keys.
    ///
    /// # Errors
    /// The kernel's.
    pub fn press(&self, keys: &[u8]) -> Result<()> {
        write(&self.master, keys).context("pressing a key").map(drop)
    }

    /// Gives the terminal another size.
    ///
    /// # Errors
    /// The kernel's.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        let size = size(columns, rows);
        // SAFETY: the request reads a structure of this type during the call.
        let result = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        if result < 0 { Err(io::Error::last_os_error()).context("TIOCSWINSZ") } else { Ok(()) }
    }

    /// All that was drawn so far.
    ///
    /// # Errors
    /// The kernel's.
    pub fn drawn(&mut self) -> Result<String> {
        loop {
            let mut polled = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            if poll(&mut polled, PollTimeout::ZERO).context("poll")? == 0 {
                return Ok(String::from_utf8_lossy(&self.drawn).into_owned());
            }
            let mut buffer = [0; 4096];
            let count = read(&self.master, &mut buffer).context("reading what was drawn")?;
            self.drawn.extend(buffer.iter().take(count));
        }
    }

    /// Waits until what was drawn after the first `skipped` bytes passes, and gives it.
    ///
    /// # Errors
    /// It does not in time; the message carries what was drawn.
    pub fn until(&mut self, what: &str, skipped: usize, accept: impl Fn(&str) -> bool) -> Result<String> {
        let mut last = String::new();
        deadline::until(what, PROMPT, || {
            last = self.drawn()?.get(skipped..).unwrap_or_default().to_owned();
            Ok(accept(&last).then(|| last.clone()))
        })
        .with_context(|| format!("drawn: {last:?}"))
    }

    /// Waits for its end: its exit status, all that was drawn, and whether the terminal is as it was.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn end(mut self) -> Result<(Option<i32>, String, bool)> {
        let status = deadline::until("the program ends", PROMPT, || {
            // One that still draws waits for those who look.
            self.drawn()?;
            Ok(self.child.try_wait()?)
        })?;
        let after = tcgetattr(&self.slave).context("tcgetattr")?;
        let as_before = after.local_flags == self.before.local_flags
            && after.input_flags == self.before.input_flags
            && after.output_flags == self.before.output_flags
            && after.control_chars == self.before.control_chars;
        Ok((status.code(), self.drawn()?, as_before))
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // Already waited for after its end: then both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
