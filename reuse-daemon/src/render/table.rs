//! A table: columns as wide as what is in them.

/// Side to which a column's cells are pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Text
    Left,
    /// Numbers
    Right,
}

/// Rows under a header.
pub(super) struct Table {
    aligns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(columns: &[(&str, Align)]) -> Self {
        let header = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { aligns: columns.iter().map(|(_, align)| *align).collect(), rows: vec![header] }
    }

    /// Adds a row, which has a cell for each column.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, without spaces at their ends.
    pub(super) fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.aligns.len())
            .map(|column| self.rows.iter().filter_map(|row| row.get(column)).map(width).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let start = text.len();
            for ((cell, align), size) in row.iter().zip(&self.aligns).zip(&widths) {
                let room = " ".repeat(size.saturating_sub(width(cell)));
                match align {
                    Align::Left => text.extend([cell, room.as_str()]),
                    Align::Right => text.extend([room.as_str(), cell]),
                }
                text.push_str("  ");
            }
            let end = text.get(start..).unwrap_or_default().trim_end_matches(' ').len();
            text.truncate(start + end);
            text.push('\n');
        }
        text
    }
}

/// Characters, which are columns of a terminal for what addresses and most names are made of.
fn width(cell: impl AsRef<str>) -> usize {
    cell.as_ref().chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("NAME", Align::Left), ("N", Align::Right), ("LAST", Align::Left)]);
        for row in [["größer", "1", "x y"], ["b", "1000", "-"]] {
            table.row(row.map(str::to_owned).to_vec());
        }
        assert_eq!(table.text(), "NAME       N  LAST\ngrößer     1  x y\nb       1000  -\n");
    }
}
