//! The members of a group, a line each: whose it is, a bar of its share, and the numbers.
//!
//! All groups of a screen share the columns. What does not fit the terminal is left out, the least telling first.

use std::{borrow::Cow, cmp::Reverse, fmt::Write};

use reuse_model::{
    endpoint::Transport,
    report::{GroupReport, MemberReport},
};

use super::{
    DIM, Rates, Style,
    numbers::{bytes, grouped, percent, rate},
    painted, selections,
};
use crate::render::{bars, plain::plain, width};

/// Members of a group that all have a line.
const FOLDED_ABOVE: usize = 16;
/// Of a larger group those with most that have one.
const TOP: usize = 6;
/// And those with least.
const BOTTOM: usize = 4;
/// Columns of the names and of the bar, at least and at most.
const OWNER: (usize, usize) = (10, 40);
const BAR: (usize, usize) = (8, 60);
/// What the mark in a bar means.
const EVEN: &str = "| = even share";
const EVEN_SHORT: &str = "|=even";
/// Width below which columns stand closer.
const NARROW: usize = 60;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Slot,
    Owner,
    Bar,
    Selected,
    Share,
    Rate,
    Now,
    Queue,
    Drops,
}

impl Column {
    /// From left to right.
    const ALL: [Self; 9] = [
        Self::Slot,
        Self::Owner,
        Self::Bar,
        Self::Selected,
        Self::Share,
        Self::Rate,
        Self::Now,
        Self::Queue,
        Self::Drops,
    ];
    /// The most telling first.
    const BY_WORTH: [Self; 9] = [
        Self::Slot,
        Self::Owner,
        Self::Share,
        Self::Bar,
        Self::Selected,
        Self::Rate,
        Self::Drops,
        Self::Now,
        Self::Queue,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Slot => "#",
            Self::Owner => "OWNER",
            Self::Bar => "",
            Self::Selected => "SELECTED",
            Self::Share => "SHARE",
            Self::Rate => "RATE",
            Self::Now => "NOW",
            Self::Queue => "QUEUE",
            Self::Drops => "DROPS",
        }
    }

    fn is_left(self) -> bool {
        matches!(self, Self::Owner | Self::Bar)
    }
}

/// One member with what its line is made of.
struct Row<'a> {
    group: &'a GroupReport,
    member: &'a MemberReport,
    share: Option<f64>,
    scale: f64,
}

/// The columns of a screen with their widths.
pub(super) struct Table<'a> {
    columns: Vec<(Column, usize)>,
    gap: usize,
    rates: Option<&'a Rates>,
    style: Style,
}

impl<'a> Table<'a> {
    /// The columns that fit what is in these groups.
    pub(super) fn new(groups: &[&GroupReport], rates: Option<&'a Rates>, style: Style) -> Self {
        let gap = if style.width < NARROW { 1 } else { 2 };
        let mut table = Self { columns: Vec::new(), gap, rates, style };
        let rows: Vec<_> = groups.iter().flat_map(|group| shown(group, style.all).0).collect();
        let natural = |column: Column| {
            let cells =
                rows.iter().filter_map(|row| table.cell(row, column)).map(|cell| width::columns(&cell));
            cells.max().map(|widest| widest.max(width::columns(column.title())))
        };
        let sizes: Vec<(Column, usize)> = Column::BY_WORTH
            .into_iter()
            .filter_map(|column| match column {
                Column::Bar => rows.iter().any(|row| row.share.is_some()).then_some((column, BAR.0)),
                Column::Owner => natural(column).map(|size| (column, size.min(OWNER.0))),
                _ => natural(column).map(|size| (column, size)),
            })
            .collect();
        let widest_owner = natural(Column::Owner).unwrap_or(0).min(OWNER.1);
        table.columns = fitting(&sizes, style.width, gap);
        table.grow(Column::Owner, widest_owner);
        table.grow(Column::Bar, BAR.1);
        table
    }

    /// Gives a column what is left of the line, up to `most`.
    fn grow(&mut self, wanted: Column, most: usize) {
        let left = self.style.width.saturating_sub(self.used());
        if let Some((_, size)) = self.columns.iter_mut().find(|(column, _)| *column == wanted) {
            *size = (*size + left).min(most.max(*size));
        }
    }

    /// Columns of a bar.
    fn bar(&self) -> usize {
        self.columns.iter().find(|(known, _)| *known == Column::Bar).map_or(0, |(_, size)| *size)
    }

    fn used(&self) -> usize {
        self.columns.iter().map(|(_, size)| self.gap + size).sum()
    }

    /// Appends the line of the titles.
    pub(super) fn header(&self, out: &mut String) {
        let line = self.line(|column| match column {
            Column::Bar => Some(if self.bar() < EVEN.len() { EVEN_SHORT } else { EVEN }.to_owned()),
            _ => Some(column.title().to_owned()),
        });
        out.extend([&painted(&line, DIM, self.style), "\n"]);
    }

    /// Appends the lines of a group's members.
    pub(super) fn members(&self, group: &GroupReport, out: &mut String) {
        let (rows, folded) = shown(group, self.style.all);
        let top = if folded.is_empty() { rows.len() } else { TOP };
        for (at, row) in rows.iter().enumerate() {
            if at == top {
                self.fold(group, &folded, out);
            }
            out.extend([&self.line(|column| self.cell(row, column)), "\n"]);
        }
    }

    /// Appends what is said of the members that have no line.
    fn fold(&self, group: &GroupReport, folded: &[&MemberReport], out: &mut String) {
        let mut text = format!("... {} more", grouped(folded.len() as u64));
        let total = selections(group);
        let counts: Vec<u64> = folded.iter().filter_map(|member| member.selections).collect();
        if let (Some(least), Some(most), true) = (counts.iter().min(), counts.iter().max(), total > 0) {
            let share = |count: u64| percent(count as f64 / total as f64);
            let _ = write!(
                text,
                ": {} to {} each, together {}",
                share(*least),
                share(*most),
                share(counts.iter().sum())
            );
        }
        let drops: u64 = folded.iter().map(|member| member.drops).sum();
        if drops > 0 {
            let _ = write!(text, ", {} drops", grouped(drops));
        }
        out.extend(std::iter::repeat_n(' ', self.gap));
        width::wrap(&text, self.style.width, 2 * self.gap, self.gap, out);
        out.push('\n');
    }

    /// One line, without spaces at its end.
    fn line(&self, cell: impl Fn(Column) -> Option<String>) -> String {
        let mut line = String::with_capacity(self.style.width);
        for (column, size) in &self.columns {
            line.extend(std::iter::repeat_n(' ', self.gap));
            let cell = cell(*column).unwrap_or_default();
            let cell =
                if *column == Column::Owner { fit_owner(&cell, *size) } else { width::fit(&cell, *size) };
            let room = " ".repeat(size.saturating_sub(width::columns(&cell)));
            match column.is_left() {
                true => line.extend([&*cell, &room]),
                false => line.extend([&*room, &cell]),
            }
        }
        line.truncate(line.trim_end_matches(' ').len());
        line
    }

    /// What stands in a column; `None` where nothing is known.
    fn cell(&self, row: &Row<'_>, column: Column) -> Option<String> {
        let Row { group, member, share, scale } = row;
        match column {
            Column::Slot => Some(member.member.to_string()),
            Column::Owner => Some(owner(member)),
            Column::Bar => {
                let expected = group.expected_share.unwrap_or(0.0);
                Some(bars::bar((*share)?, expected, *scale, self.bar(), self.style.glyphs))
            }
            Column::Selected => member.selections.map(grouped),
            Column::Share => share.map(percent),
            Column::Rate => self.rates?.rate(group, member).map(rate),
            Column::Now => Some(self.rates?.share(group, member).map_or_else(|| "-".to_owned(), percent)),
            Column::Queue => Some(queue(group, member)),
            Column::Drops => Some(grouped(member.drops)),
        }
    }
}

/// As many of the columns, which come in the order of their worth, as fit, from left to right.
fn fitting(sizes: &[(Column, usize)], width: usize, gap: usize) -> Vec<(Column, usize)> {
    let mut used = 0;
    let kept: Vec<_> = sizes
        .iter()
        .take_while(|(_, size)| {
            used += gap + size;
            used <= width
        })
        .copied()
        .collect();
    let find = |column| kept.iter().find(|(known, _)| *known == column).copied();
    Column::ALL.into_iter().filter_map(find).collect()
}

/// The members of a group that have a line, and those that have none. Of a large group those with most and least.
fn shown(group: &GroupReport, all: bool) -> (Vec<Row<'_>>, Vec<&MemberReport>) {
    let total = selections(group);
    let share = |member: &MemberReport| {
        let selections = member.selections?;
        Some(if total > 0 { selections as f64 / total as f64 } else { 0.0 })
    };
    let expected = group.expected_share.unwrap_or(0.0);
    let most = group.members.iter().filter_map(share).fold(0.0, f64::max);
    let scale = bars::scale(expected, most);
    let row = |member| Row { group, member, share: share(member), scale };
    let mut members: Vec<_> = group.members.iter().collect();
    if all || members.len() <= FOLDED_ABOVE {
        return (members.into_iter().map(row).collect(), Vec::new());
    }
    members.sort_by_key(|member| (Reverse(member.selections), member.member));
    let bottom = members.split_off(members.len().saturating_sub(BOTTOM));
    let folded = members.split_off(TOP.min(members.len()));
    (members.into_iter().chain(bottom).map(row).collect(), folded)
}

fn owner(member: &MemberReport) -> String {
    let Some(first) = member.owners.first() else { return "unknown".to_owned() };
    let mut text = format!("{}[{}]", plain(&first.service), first.pid);
    if member.owners.len() > 1 {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {} more", member.owners.len() - 1);
    }
    text
}

/// An owner in so many columns: its name is cut before its process id is.
fn fit_owner(owner: &str, room: usize) -> Cow<'_, str> {
    let (name, id) = owner.rfind('[').and_then(|at| owner.split_at_checked(at)).unwrap_or((owner, ""));
    match room.checked_sub(width::columns(id)) {
        Some(left) if left > 1 && width::columns(owner) > room => {
            Cow::Owned(format!("{}{id}", width::fit(name, left)))
        }
        _ => width::fit(owner, room),
    }
}

fn queue(group: &GroupReport, member: &MemberReport) -> String {
    match group.protocol {
        Transport::Tcp => format!("{}/{}", member.queue, member.queue_limit),
        Transport::Udp => format!("{}/{}", bytes(member.queue), bytes(member.queue_limit)),
    }
}
