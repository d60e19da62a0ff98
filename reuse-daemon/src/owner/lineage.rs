//! When a process started and whose child it is, from proc_pid_stat(5).

use std::{fs, path::Path};

use nix::unistd::{SysconfVar, sysconf};
use reuse_model::event::Moment;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// What is known of a process's coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lineage {
    /// To one clock tick
    pub(super) started: Moment,
    /// 0 of the first process and of kernel threads
    pub(super) parent: u32,
}

impl Lineage {
    /// Reads it; `None` where the process is gone or may not be looked at.
    pub(super) fn read(proc: &Path, pid: u32) -> Option<Self> {
        let ticks = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
        Self::parse(&fs::read(proc.join(format!("{pid}/stat"))).ok()?, ticks)
    }

    /// The name in it may hold anything, also blanks and parentheses: what follows its last one is numbers.
    fn parse(stat: &[u8], ticks_per_second: u64) -> Option<Self> {
        const PARENT: usize = 1;
        const START: usize = 19;
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = str::from_utf8(stat.get(end + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let ticks: u64 = fields.get(START)?.parse().ok()?;
        let started = ticks.checked_mul(SECOND.checked_div(ticks_per_second)?)?;
        Some(Self { started: Moment(started), parent: fields.get(PARENT)?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_hides_nothing() {
        let stat = b"42 (a) R 1 (\n\xff) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1234 99 1\n";
        let expected = Lineage { started: Moment(12_340_000_000), parent: 7 };
        assert_eq!(Lineage::parse(stat, 100), Some(expected));
    }

    #[test]
    fn what_is_no_stat_gives_nothing() {
        for stat in
            [b"".as_slice(), b"42 (a", b"42 (a) S", b"42 (a) S x 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"]
        {
            assert_eq!(Lineage::parse(stat, 100), None);
        }
        let endless = format!("1 (a) S 1 {}{}", "0 ".repeat(17), u64::MAX);
        assert_eq!(Lineage::parse(endless.as_bytes(), 100), None);
        assert_eq!(Lineage::parse(b"1 (a) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 5", 0), None);
    }

    #[test]
    fn this_process_started_after_its_parent() {
        let proc = Path::new("/proc");
        let own = Lineage::read(proc, std::process::id()).expect("it runs");
        let parent = Lineage::read(proc, own.parent).expect("it waits for this one");
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        assert!(parent.started <= own.started);
    }
}
