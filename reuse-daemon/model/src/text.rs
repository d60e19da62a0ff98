//! Untrusted bytes as text: what a hostile process name may put on a terminal, in a log or in JSON.

use std::{borrow::Cow, fmt::Write};

/// Bytes that are not UTF-8, control characters and the backslash itself as `\xnn` in lower case, the rest as it is.
///
/// The backslash is escaped too, so two different names never look the same.
#[must_use]
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(needs_escape) => Cow::Borrowed(text),
        _ => Cow::Owned(escape_slowly(bytes)),
    }
}

fn needs_escape(character: char) -> bool {
    character == '\\' || character.is_control()
}

fn escape_slowly(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if needs_escape(character) {
                push_bytes(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(character);
            }
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Undoes the escaping.
    fn unescape(text: &str) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
        while let [first, tail @ ..] = rest {
            if *first == b'\\' {
                let digits = std::str::from_utf8(&tail[1..3]).expect("two digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                rest = &tail[3..];
            } else {
                bytes.push(*first);
                rest = tail;
            }
        }
        bytes
    }

    #[test]
    fn hostile_names_become_plain_text() {
        assert_eq!(escape(b"nginx"), "nginx");
        assert_eq!(escape("größe".as_bytes()), "größe");
        assert_eq!(escape(b"a\nb\\c\xff\x7f\x00"), "a\\x0ab\\x5cc\\xff\\x7f\\x00");
        assert_eq!(escape("\u{85}".as_bytes()), "\\xc2\\x85", "a C1 control, byte by byte");
        assert_eq!(escape(b"\xe2\x82"), "\\xe2\\x82", "a cut character");
    }

    proptest! {
        #[test]
        fn escaping_loses_nothing_and_leaves_no_control(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let text = escape(&bytes);
            prop_assert!(!text.contains(char::is_control));
            prop_assert_eq!(unescape(&text), bytes);
        }
    }
}
