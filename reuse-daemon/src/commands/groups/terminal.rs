//! The terminal: its size, and the state it is in while a screen is drawn again and again.

use std::{
    io::{self, Stdin, Write as _},
    os::fd::AsFd as _,
};

use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};

/// Another screen than the one with the shell's lines, without cursor, and without a new line where one is too long.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Columns and rows of the terminal on standard output, if it is one that says so.
pub(super) fn size() -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request fills a structure of this type, which lives until after the call.
    let answered = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) } == 0;
    (answered && size.ws_col > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

/// Columns to write for: the terminal's, else what COLUMNS says.
pub(super) fn width() -> Option<usize> {
    let told = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0);
    size().map(|(columns, _)| columns).or_else(told)
}

/// A terminal in use: keys come at once and are not shown. As it was before once this is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    before: Option<Termios>,
}

impl Screen {
    /// Takes the terminal over. Keys come only where standard input is one.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn enter() -> io::Result<Self> {
        let screen = Self { before: keys_at_once() };
        write(ENTER)?;
        Ok(screen)
    }

    /// Whether keys come.
    pub(super) fn has_keys(&self) -> bool {
        self.before.is_some()
    }

    /// Draws the lines, at most as many as there are rows, over what was there.
    pub(super) fn draw(&self, text: &str, rows: usize) -> io::Result<()> {
        let mut out = String::with_capacity(text.len() + 256);
        out.push_str("\x1b[H");
        let lines: Vec<_> = text.lines().take(rows.max(1)).collect();
        for (at, line) in lines.iter().enumerate() {
            // Cleared first: at the end of a full line the terminal would clear its last character.
            out.extend(["\x1b[2K", line, if at + 1 < lines.len() { "\n" } else { "" }]);
        }
        out.push_str("\x1b[J");
        write(&out)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// Makes reading a key return at once, with or without one; gives what was set before. `None` where there are no keys.
fn keys_at_once() -> Option<Termios> {
    let before = tcgetattr(io::stdin()).ok()?;
    let mut now = before.clone();
    now.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
    for (index, value) in [(SpecialCharacterIndices::VMIN, 0), (SpecialCharacterIndices::VTIME, 0)] {
        *now.control_chars.get_mut(index as usize)? = value;
    }
    tcsetattr(io::stdin(), SetArg::TCSANOW, &now).ok()?;
    Some(before)
}

/// The keys pressed so far, none where there are none.
pub(super) fn keys(stdin: &Stdin) -> io::Result<Vec<u8>> {
    let mut keys = [0; 64];
    let read = nix::unistd::read(stdin.as_fd(), &mut keys)?;
    Ok(keys.get(..read).unwrap_or_default().to_vec())
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
