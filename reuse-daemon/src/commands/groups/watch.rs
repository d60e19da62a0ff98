//! `groups --watch`: the same screen each second, with what happened since the last one.
//!
//! The daemon is asked on a thread of its own, so that a key, a signal or a new size of the terminal never waits for it.

use std::{
    future::pending,
    io::{self, IsTerminal as _, Stdin, Write as _},
    time::Duration,
};

use nix::sys::signal::{Signal as Number, raise};
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    ask::{Asker, Seen},
    terminal::{self, Screen},
};
use crate::{
    commands::outcome::{self, Outcome},
    render::groups::{Rates, Style, watched},
};

/// Time from one look to the next.
const PERIOD: Duration = Duration::from_secs(1);

/// Watches until someone ends it.
///
/// # Errors
/// No daemon answers, or the output fails.
pub(super) fn run(asker: Asker, style: Style) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let drawn = io::stdout().is_terminal() && !asker.json;
    let ended = runtime.block_on(async {
        match drawn {
            true => on_terminal(asker, style).await,
            false => as_lines(asker, style).await,
        }
    });
    // An answer that is still waited for does not keep anyone.
    runtime.shutdown_background();
    ended
}

/// What was seen, and when, and what came since the look before.
#[derive(Debug, Default)]
struct Looks {
    last: Option<(Seen, Instant)>,
    rates: Option<Rates>,
}

impl Looks {
    fn take(&mut self, seen: Seen) {
        let now = Instant::now();
        self.rates = self.last.as_ref().map(|(before, at)| {
            Rates::between(&before.groups.groups, &seen.groups.groups, now.duration_since(*at))
        });
        self.last = Some((seen, now));
    }
}

fn ask(asker: &Asker) -> JoinHandle<anyhow::Result<Seen>> {
    let asker = asker.clone();
    spawn_blocking(move || asker.look())
}

/// One block, or one JSON object, each second.
async fn as_lines(asker: Asker, style: Style) -> anyhow::Result<Outcome> {
    let mut signals = Signals::new()?;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = Looks::default();
    loop {
        let seen = tokio::select! {
            seen = async { ticks.tick().await; ask(&asker).await } => seen??,
            () = signals.end() => return Ok(Outcome::Found),
        };
        let first = looks.last.is_none();
        looks.take(seen);
        let Some((seen, _)) = &looks.last else { continue };
        let mut text = seen.text(looks.rates.as_ref(), asker.json, style)?;
        if !asker.json && !first {
            text.insert(0, '\n');
        }
        let mut out = io::stdout().lock();
        if !outcome::written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))? {
            return Ok(Outcome::Found);
        }
    }
}

/// A screen that is drawn again in place.
async fn on_terminal(asker: Asker, style: Style) -> anyhow::Result<Outcome> {
    let mut signals = Signals::new()?;
    // The first answer decides whether there is anything to draw.
    let first = tokio::select! {
        seen = ask(&asker) => seen??,
        () = signals.end() => return Ok(Outcome::Found),
    };
    let mut looks = Looks::default();
    looks.take(first);
    let mut screen = Screen::enter()?;
    let mut keys = Keys::new(&screen)?;
    let mut trouble = None;
    let mut looking = None;
    let mut next = Instant::now() + PERIOD;
    loop {
        draw(&screen, &looks, trouble.as_deref(), style)?;
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::End => return Ok(Outcome::Found),
                Asked::Redraw => {}
                Asked::Suspend => {
                    drop(keys);
                    drop(screen);
                    raise(Number::SIGSTOP)?;
                    screen = Screen::enter()?;
                    keys = Keys::new(&screen)?;
                }
            },
            () = keys.quit() => return Ok(Outcome::Found),
            () = sleep(next.saturating_duration_since(Instant::now())), if looking.is_none() => {
                next = Instant::now() + PERIOD;
                looking = Some(ask(&asker));
            }
            answer = answered(&mut looking) => {
                looking = None;
                match answer {
                    Ok(seen) => {
                        looks.take(seen);
                        trouble = None;
                    }
                    Err(error) => trouble = Some(format!("{error:#}")),
                }
            }
        }
    }
}

/// The answer under way; never, if none is.
async fn answered(asked: &mut Option<JoinHandle<anyhow::Result<Seen>>>) -> anyhow::Result<Seen> {
    match asked {
        Some(asked) => asked.await?,
        None => pending().await,
    }
}

fn draw(screen: &Screen, looks: &Looks, trouble: Option<&str>, style: Style) -> anyhow::Result<()> {
    let (width, rows) = terminal::size().unwrap_or((style.width, usize::MAX));
    let style = Style { width, ..style };
    let Some((seen, _)) = &looks.last else { return Ok(()) };
    let body = seen.text(looks.rates.as_ref(), false, style)?;
    let text = watched(&seen.groups.groups, looks.rates.as_ref(), trouble, &body, rows, style);
    Ok(screen.draw(&text, rows)?)
}

/// Keys of the terminal, where standard input is one.
struct Keys {
    stdin: Option<AsyncFd<Stdin>>,
}

impl Keys {
    fn new(screen: &Screen) -> io::Result<Self> {
        let register = || {
            // SAFETY: nobody closes standard input, so the descriptor is what it is as long as it is registered.
            unsafe { AsyncFd::register(io::stdin()) }
        };
        let stdin = screen.has_keys().then(register).transpose()?;
        Ok(Self { stdin })
    }

    /// Waits for a key that ends the watch. A terminal that hangs up ends it too.
    async fn quit(&self) {
        let Some(stdin) = &self.stdin else { return pending().await };
        loop {
            let Ok(mut ready) = stdin.readable().await else { return pending().await };
            match terminal::keys(ready.get_inner()) {
                Ok(keys) if keys.iter().any(|key| matches!(key, b'q' | b'Q')) => return,
                Ok(_) => ready.clear_ready(),
                Err(_) => return,
            }
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    End,
    /// The terminal has another size
    Redraw,
    /// The shell wants its terminal back for a while
    Suspend,
}

/// Signals that mean something to a watch.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    quit: Signal,
    resize: Signal,
    suspend: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            resize: signal(SignalKind::window_change())?,
            suspend: signal(SignalKind::from_raw(Number::SIGTSTP as i32))?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::End,
            _ = self.terminate.recv() => Asked::End,
            _ = self.hang_up.recv() => Asked::End,
            _ = self.quit.recv() => Asked::End,
            _ = self.resize.recv() => Asked::Redraw,
            _ = self.suspend.recv() => Asked::Suspend,
        }
    }

    /// Waits until the watch is to end. Asked to stop for a while, it does so.
    async fn end(&mut self) {
        loop {
            match self.next().await {
                Asked::End => return,
                Asked::Redraw => {}
                // Who cannot be stopped goes on.
                Asked::Suspend => drop(raise(Number::SIGSTOP)),
            }
        }
    }
}
