//! The screen of `groups --watch`: a line about the whole, and as much of the groups as the terminal has room for.

use std::fmt::Write;

use reuse_model::report::GroupReport;

use super::{
    DIM, RED, Rates, Style,
    numbers::{grouped, rate},
    painted,
};
use crate::render::{plain::plain, width};

/// The lines of a screen of `rows` rows. `trouble`: why the last look failed; `body`: the groups.
#[must_use]
pub fn watched(
    groups: &[GroupReport],
    rates: Option<&Rates>,
    trouble: Option<&str>,
    body: &str,
    rows: usize,
    style: Style,
) -> String {
    let members: usize = groups.iter().map(|group| group.members.len()).sum();
    let plural = if groups.len() == 1 { "" } else { "s" };
    let mut first =
        format!("{} group{plural}, {} members", grouped(groups.len() as u64), grouped(members as u64));
    if let Some(rates) = rates {
        // Writing to a String cannot fail.
        let _ = write!(first, ", selections {}", rate(rates.total()));
    }
    first.push_str("; q ends");
    let mut out = painted(&width::fit(&first, style.width), DIM, style);
    out.push('\n');
    let mut left = rows.saturating_sub(1);
    if let Some(trouble) = trouble {
        let trouble = format!("not as of now, trying again: {}", plain(trouble));
        out.extend([&painted(&width::fit(&trouble, style.width), RED, style), "\n"]);
        left = left.saturating_sub(1);
    }
    let lines: Vec<_> = body.lines().collect();
    let room = if lines.len() > left { left.saturating_sub(1) } else { lines.len() };
    for line in lines.iter().take(room) {
        out.extend([line, "\n"]);
    }
    if lines.len() > left {
        let more =
            format!("... {} more lines: make the terminal larger, or choose by --port", lines.len() - room);
        out.extend([&painted(&width::fit(&more, style.width), DIM, style), "\n"]);
    }
    out
}
