//! systemd's groups: units, user managers, sessions.

use std::sync::Arc;

/// The group of the service manager itself, the system's or a user's.
pub(super) const INIT_SCOPE: &str = "init.scope";

/// Longest name of a unit (`UNIT_NAME_MAX`, src/basic/unit-name.h, systemd 257: 256 with the NUL).
const NAME_MAX: usize = 255;

/// Units other than scopes and slices that have a group of their own (src/core/unit.c, systemd 257).
const TYPES: [&str; 4] = [".service", ".socket", ".mount", ".swap"];

/// A group that systemd made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// A unit
    Unit(Arc<str>),
    /// A unit made for processes that something else started
    Scope(Arc<str>),
    /// A user's own service manager, with units below
    UserManager(Arc<str>),
    /// Someone's login
    Session,
}

/// What a group's name is to systemd: `None` for slices, which only hold other groups, and for all that systemd would
/// not accept as a unit's name.
pub(super) fn of_group(group: &[u8]) -> Option<Group> {
    // Names that could be taken for a file of the kernel's have an underscore before them (`cg_escape`,
    // src/basic/cgroup-util.c, systemd 257).
    let name = std::str::from_utf8(group.strip_prefix(b"_").unwrap_or(group)).ok()?;
    if name.len() > NAME_MAX || !name.bytes().all(is_valid) {
        return None;
    }
    if let Some(prefix) = name.strip_suffix(".scope") {
        return match prefix {
            "" => None,
            _ if prefix.starts_with("session-") => Some(Group::Session),
            _ => Some(Group::Scope(name.into())),
        };
    }
    let prefix =
        TYPES.iter().find_map(|suffix| name.strip_suffix(suffix)).filter(|prefix| !prefix.is_empty())?;
    let manager = prefix.starts_with("user@") && name.ends_with(".service");
    Some(if manager { Group::UserManager(name.into()) } else { Group::Unit(name.into()) })
}

/// A part of a unit's name (between `-`, `@` and the type) without its escapes: `\x2d` is `-`.
pub(super) fn unescape(part: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        if let [b'\\', b'x', high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            bytes.push(high << 4 | low);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    bytes
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The characters of unit names (`VALID_CHARS_WITH_AT`, src/basic/unit-name.c, systemd 257).
fn is_valid(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte)
}
