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
    // Nobody to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "\nSMALLER: {less} {what} instead of {full}");
    less
}
