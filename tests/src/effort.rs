//! How often a test does a thing that it does very often: less often on a machine that is said to be slow.

use std::{fmt::Display, io::Write as _, ops::Div};

use crate::deadline::slowness;

/// `full`, or on a slow machine as many times fewer, which is said aloud: `SMALLER: <less> <what> instead of <full>`.
#[must_use]
pub fn fewer<N: Copy + Display + Div<Output = N> + From<u8>>(full: N, what: &str) -> N {
    let slowness = slowness();
    if slowness == 1 {
        return full;
    }
    let less = full / N::from(slowness);
    say(&format!("{less} {what} instead of {full}"));
    less
}

/// As [`fewer`], but never less than `least`, below which the test would show nothing.
pub fn fewer_but<N>(full: N, least: N, what: &str) -> N
where
    N: Copy + Display + Div<Output = N> + From<u8> + Ord,
{
    let slowness = slowness();
    if slowness == 1 {
        return full;
    }
    let less = (full / N::from(slowness)).max(least);
    say(&format!("{less} {what} instead of {full}"));
    less
}

/// Says aloud that a test goes on without a part of it, which this kernel does not have.
pub fn without(part: &str) {
    say(&format!("this kernel has no {part}"));
}

/// Says aloud by how much a test showed less than it does elsewhere.
pub fn say(what: &str) {
    // Nobody to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "\nSMALLER: {what}");
}
