//! Text from outside as a terminal can show it without being fooled.

use std::{borrow::Cow, fmt::Write};

/// Writes characters that change how the text around them is shown as `\xnn`, byte by byte.
///
/// Reports carry no control characters any more, but still characters that turn the direction of a line or have no
/// width: a name with such would make a line say something else than it does.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(deceives) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if deceives(character) {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{byte:02x}");
            }
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// Controls, directional marks, embeddings, overrides and isolates, zero-width characters, line and paragraph
/// separators, tags.
fn deceives(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_spelled_out_and_the_rest_left_alone() {
        assert_eq!(plain("größe \\x0a ☂"), "größe \\x0a ☂");
        assert_eq!(plain("a\u{202e}b\u{200b}\n\u{1b}[2J"), "a\\xe2\\x80\\xaeb\\xe2\\x80\\x8b\\x0a\\x1b[2J");
    }
}
