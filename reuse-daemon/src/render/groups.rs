//! `groups`: for each SO_REUSEPORT group who is in it, what share of the traffic each member got, and what follows from it.

pub mod experiment;
mod headline;
mod kernel;
mod members;
mod rates;
#[cfg(test)]
mod tests;
mod watched;

use std::cmp::Reverse;

use reuse_model::report::{GroupReport, TestGroupReport};

pub use self::{kernel::sentence, rates::Rates, watched::watched};
use super::{bars::Glyphs, numbers, width};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// Least width that is drawn for; a narrower terminal cuts the lines itself.
const WIDTH_MIN: usize = 24;

/// How to show groups.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns of the terminal
    pub width: usize,
    /// Whether there may be colour
    pub colored: bool,
    /// What bars are drawn with
    pub glyphs: Glyphs,
    /// Whether every member of a large group has a line
    pub all: bool,
}

/// The groups, busiest first, each line with its newline. `rates`: what happened since the last look, where there was one.
/// `test_group`: the daemon's own, where one answered.
#[must_use]
pub fn screen(
    groups: &[GroupReport],
    rates: Option<&Rates>,
    test_group: Option<&[TestGroupReport]>,
    style: Style,
) -> String {
    let style = Style { width: style.width.max(WIDTH_MIN), ..style };
    let mut sorted: Vec<_> = groups.iter().collect();
    sorted.sort_by_key(|group| {
        (Reverse(selections(group)), group.port, group.protocol, group.address, group.netns)
    });
    let mut out = String::new();
    let table = members::Table::new(&sorted, rates, style);
    if !sorted.is_empty() {
        table.header(&mut out);
    }
    for (at, group) in sorted.into_iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        headline::write(group, style, &mut out);
        table.members(group, &mut out);
    }
    if let Some(sentence) = test_group.and_then(sentence) {
        if !out.is_empty() {
            out.push('\n');
        }
        width::wrap(&sentence, style.width, 0, 0, &mut out);
        out.push('\n');
    }
    out
}

/// Selections of all members, 0 where they are not counted.
fn selections(group: &GroupReport) -> u64 {
    group.members.iter().filter_map(|member| member.selections).sum()
}

/// A text in a colour, if there may be any.
fn painted(text: &str, color: &str, style: Style) -> String {
    if style.colored { format!("{color}{text}{RESET}") } else { text.to_owned() }
}
