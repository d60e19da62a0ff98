//! Text measured in columns of a terminal: names may hold characters that take two, or none.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that a text without control characters takes.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

/// The text, or as much of it as fits with a mark that there is more.
pub(super) fn fit(text: &str, room: usize) -> Cow<'_, str> {
    if columns(text) <= room {
        return Cow::Borrowed(text);
    }
    let Some(room) = room.checked_sub(1) else { return Cow::Borrowed("") };
    let kept = head(text, room);
    Cow::Owned(format!("{kept}~"))
}

/// As much of the beginning as fits.
fn head(text: &str, room: usize) -> &str {
    let mut used = 0;
    for (at, character) in text.char_indices() {
        used += character.width().unwrap_or(0);
        if used > room {
            return text.get(..at).unwrap_or_default();
        }
    }
    text
}

/// Appends the words of `text` as lines of at most `width` columns, `indent` in front of each line but the first, on which
/// `used` columns are taken already. A word wider than a line goes on in the next.
pub(super) fn wrap(text: &str, width: usize, indent: usize, used: usize, out: &mut String) {
    let indent = indent.min(width.saturating_sub(1));
    let mut used = used;
    let mut begun = used == 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut word = word;
        let gap = usize::from(!begun);
        if used + gap + columns(word) <= width {
            out.push_str(if begun { "" } else { " " });
            used += gap;
        } else if used > indent {
            used = new_line(indent, out);
        }
        while used + columns(word) > width {
            let part = head(word, width - used);
            // Not even one character fits: it is left out, for a line must not be wider.
            let part = if part.is_empty() && used <= indent { break } else { part };
            out.push_str(part);
            word = word.get(part.len()..).unwrap_or_default();
            used = new_line(indent, out);
        }
        if used + columns(word) <= width {
            out.push_str(word);
            used += columns(word);
        }
        begun = false;
    }
}

fn new_line(indent: usize, out: &mut String) -> usize {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
    indent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(columns("größe"), 5);
        assert_eq!(columns("日本"), 4);
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("日本語", 5), "日本~");
        assert_eq!(fit("日本語", 4), "日~");
        assert_eq!(fit("abc", 0), "");
    }

    #[test]
    fn words_are_wrapped_and_long_ones_cut_into_lines() {
        let wrapped = |text: &str, width, indent, used| {
            let mut out = String::new();
            wrap(text, width, indent, used, &mut out);
            out
        };
        assert_eq!(wrapped("one two three", 7, 2, 0), "one two\n  three");
        assert_eq!(wrapped("one two", 10, 2, 4), " one\n  two");
        assert_eq!(wrapped("abcdefghij k", 5, 1, 0), "abcde\n fghi\n j k");
        assert_eq!(wrapped("", 5, 1, 0), "");
    }
}
