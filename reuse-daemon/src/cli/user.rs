//! A user as typed: by number, or by name in `/etc/passwd`.

use std::fs;

use crate::owner::users::uid_of;

const PASSWD: &str = "/etc/passwd";

/// The uid.
///
/// # Errors
/// What to write instead.
pub(super) fn parse(word: &str) -> Result<u32, String> {
    if let Ok(uid) = word.parse() {
        return Ok(uid);
    }
    let text = fs::read(PASSWD).map_err(|error| format!("cannot read {PASSWD} ({error}): write the uid"))?;
    uid_of(&text, word).ok_or_else(|| format!("{PASSWD} has no user of this name: write the uid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_go_by_number_and_by_name() {
        assert_eq!(parse("4294967294"), Ok(4_294_967_294));
        assert_eq!(parse("root"), Ok(0));
        assert!(parse("no such user").expect_err("a name with spaces").contains("write the uid"));
    }
}
