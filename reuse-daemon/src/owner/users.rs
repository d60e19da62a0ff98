//! Names of users: `/etc/passwd` and nothing else, since a static binary has no name service switch.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use reuse_model::text::escape;

/// Largest part of the file that is read.
const READ_LIMIT: u64 = 16 * 1024 * 1024;
/// How long an answer stands before the file's modification time is looked at again.
const RECHECK: Duration = Duration::from_secs(1);

/// User names by uid, as in passwd(5). The first entry of a uid wins, as in `getpwuid`; lines that are not
/// entries are passed over.
#[must_use]
pub fn parse_passwd(text: &[u8]) -> HashMap<u32, Arc<str>> {
    let mut names = HashMap::new();
    for (name, uid) in entries(text) {
        names.entry(uid).or_insert_with(|| Arc::from(escape(name)));
    }
    names
}

/// The uid of the first entry of that name, as `getpwnam` has it.
#[must_use]
pub fn uid_of(text: &[u8], name: &str) -> Option<u32> {
    entries(text).find(|(known, _)| *known == name.as_bytes()).map(|(_, uid)| uid)
}

/// Names with their uids, in the order of the file.
fn entries(text: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, _, uid) = (fields.next()?, fields.next()?, fields.next()?);
        let uid = std::str::from_utf8(uid).ok()?.parse().ok()?;
        (!name.is_empty() && !name.starts_with(b"#")).then_some((name, uid))
    })
}

/// The users of this host, read again when the file changes.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    names: HashMap<u32, Arc<str>>,
    /// Modification time and length of what `names` came from
    version: Option<(SystemTime, u64)>,
    checked: Option<Instant>,
}

impl Users {
    /// Users of the file at `path` (on a host `/etc/passwd`); nothing is read yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), names: HashMap::new(), version: None, checked: None }
    }

    /// The name of `uid` at the time `now`; `None` where the file names none or cannot be read.
    pub fn name(&mut self, uid: u32, now: Instant) -> Option<Arc<str>> {
        if self.checked.is_none_or(|checked| now.duration_since(checked) >= RECHECK) {
            self.checked = Some(now);
            self.refresh();
        }
        self.names.get(&uid).cloned()
    }

    /// What was read last stays in force while the file cannot be read: an editor may be replacing it.
    fn refresh(&mut self) {
        let version = fs::metadata(&self.path).and_then(|file| Ok((file.modified()?, file.len()))).ok();
        if version.is_some() && version != self.version {
            match self.read() {
                Ok(text) => (self.names, self.version) = (parse_passwd(&text), version),
                Err(error) => log::debug!("users stay as last read: {}: {error}", self.path.display()),
            }
        }
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        File::open(&self.path)?.take(READ_LIMIT).read_to_end(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_entry_of_a_uid_names_it() {
        let names =
            parse_passwd(b"root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh");
        assert_eq!(names.get(&0).map(AsRef::as_ref), Some("root"));
        assert_eq!(names.get(&33).map(AsRef::as_ref), Some("www-data"));
    }

    #[test]
    fn each_name_of_a_uid_leads_to_it() {
        let text = b"root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nann:x:7:\nann:x:8:\n#off:x:9:";
        assert_eq!(uid_of(text, "toor"), Some(0));
        assert_eq!(uid_of(text, "ann"), Some(7));
        assert_eq!((uid_of(text, "#off"), uid_of(text, "")), (None, None));
    }

    #[test]
    fn lines_that_are_no_entries_name_nobody() {
        let names = parse_passwd(
            b"\n#x:x:1:\n:x:2:\nno colons\na:x\nb:x:-1:\nc:x:99999999999:\n+::3:::\n\xff\xfe:x:4:",
        );
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(names.get(&4).map(AsRef::as_ref), Some(r"\xff\xfe"));
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_missing_one_forgets_nothing() {
        let directory = crate::owner::scratch::Directory::new();
        let path = directory.write("passwd", "ann:x:1000:");
        let mut users = Users::new(&path);
        let start = Instant::now();
        assert_eq!(users.name(1000, start).as_deref(), Some("ann"));

        directory.write("passwd", "ann-marie:x:1000:");
        assert_eq!(users.name(1000, start).as_deref(), Some("ann"), "looked at the file again at once");
        assert_eq!(users.name(1000, start + RECHECK).as_deref(), Some("ann-marie"));

        fs::remove_file(&path).unwrap();
        assert_eq!(users.name(1000, start + RECHECK * 2).as_deref(), Some("ann-marie"));
        assert_eq!(users.name(1001, start + RECHECK * 3), None);
    }
}
