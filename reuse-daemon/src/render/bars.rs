//! A share as a bar, with a mark where a fair share would end.

/// What bars are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyphs {
    /// Block elements, to an eighth of a column
    Blocks,
    /// What every terminal has
    Ascii,
}

/// A whole column, then what fills one, two, ... seven eighths of it from the left.
const FULL: char = '█';
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

impl Glyphs {
    /// What the locale's characters allow: its name is the first of LC_ALL, LC_CTYPE and LANG that is not empty (locale(7)).
    #[must_use]
    pub fn of_locale(variable: impl Fn(&str) -> Option<String>) -> Self {
        let named =
            ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|name| !name.is_empty());
        let name = named.unwrap_or_default().to_ascii_lowercase();
        if name.contains("utf-8") || name.contains("utf8") { Self::Blocks } else { Self::Ascii }
    }
}

/// What a whole bar stands for, so that in each group the marks are below each other: twice the fair share, or more where
/// a member has more.
#[must_use]
pub(super) fn scale(expected: f64, most: f64) -> f64 {
    (2.0 * expected).min(1.0).max(most)
}

/// A bar of exactly `width` columns. All numbers are shares of 1.
#[must_use]
pub(super) fn bar(share: f64, expected: f64, scale: f64, width: usize, glyphs: Glyphs) -> String {
    let in_columns =
        |share: f64| if scale > 0.0 { (share / scale).clamp(0.0, 1.0) * width as f64 } else { 0.0 };
    let mark = (in_columns(expected).round() as usize).min(width.saturating_sub(1));
    let eighths = (in_columns(share) * 8.0).round() as usize;
    let mut cells = String::with_capacity(3 * width);
    for column in 0..width {
        let filled = eighths.saturating_sub(8 * column).min(8);
        cells.push(match (glyphs, filled) {
            (Glyphs::Blocks, _) if column == mark => '│',
            (Glyphs::Ascii, _) if column == mark => '|',
            (_, 0) => ' ',
            (Glyphs::Blocks, 8) => FULL,
            (Glyphs::Blocks, part) => EIGHTHS.get(part - 1).copied().unwrap_or(FULL),
            (Glyphs::Ascii, 4..) => '#',
            (Glyphs::Ascii, _) => ' ',
        });
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fair_share_ends_at_the_mark() {
        let scale = scale(0.25, 0.25);
        assert_eq!(bar(0.25, 0.25, scale, 10, Glyphs::Ascii), "#####|    ");
        assert_eq!(bar(0.25, 0.25, scale, 10, Glyphs::Blocks), "█████│    ");
        assert_eq!(bar(0.50, 0.25, scale, 10, Glyphs::Ascii), "#####|####");
        assert_eq!(bar(0.125, 0.25, scale, 10, Glyphs::Blocks), "██▌  │    ");
        assert_eq!(bar(0.0, 0.25, scale, 10, Glyphs::Ascii), "     |    ");
    }

    #[test]
    fn a_share_far_above_fair_fills_the_bar() {
        assert_eq!(scale(0.01, 0.9), 0.9);
        assert_eq!(bar(0.9, 0.01, 0.9, 8, Glyphs::Ascii), "|#######");
        assert_eq!(scale(1.0, 1.0), 1.0);
        assert_eq!(bar(1.0, 1.0, 1.0, 4, Glyphs::Ascii), "###|");
    }

    #[test]
    fn nothing_to_show_is_no_error() {
        assert_eq!(bar(0.0, 0.0, 0.0, 3, Glyphs::Blocks), "│  ");
        assert_eq!(bar(f64::NAN, 0.5, 1.0, 0, Glyphs::Blocks), "");
    }

    #[test]
    fn the_first_locale_variable_with_a_value_decides() {
        let with = |set: &'static [(&str, &str)]| {
            Glyphs::of_locale(|name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(with(&[("LANG", "de_DE.UTF-8")]), Glyphs::Blocks);
        assert_eq!(with(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]), Glyphs::Ascii);
        assert_eq!(with(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]), Glyphs::Blocks);
        assert_eq!(with(&[]), Glyphs::Ascii);
    }
}
