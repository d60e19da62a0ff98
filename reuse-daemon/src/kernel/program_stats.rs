//! What the kernel says of a loaded program: verified instructions, runs, time, runs it skipped.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd as _},
};

/// From the program's `fdinfo` (kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramStats {
    /// Instructions the verifier processed
    pub verified_instructions: u64,
    /// Runs, counted only while `kernel.bpf_stats_enabled` is 1
    pub runs: u64,
    /// Time in it, nanoseconds, likewise
    pub run_ns: u64,
    /// Runs the kernel left out because the program was already running on that CPU: each may be a lost event
    pub skipped: u64,
}

/// Reads them.
pub fn read(program: impl AsFd) -> Option<ProgramStats> {
    let fd = program.as_fd().as_raw_fd();
    fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok().map(|text| parse(&text))
}

/// Whether the kernel measures programs now.
#[must_use]
pub fn measuring() -> bool {
    fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").is_ok_and(|value| value.trim() == "1")
}

fn parse(fdinfo: &str) -> ProgramStats {
    let mut stats = ProgramStats::default();
    for (name, value) in fdinfo.lines().filter_map(|line| line.split_once(':')) {
        let Ok(value) = value.trim().parse() else { continue };
        match name {
            "verified_insns" => stats.verified_instructions = value,
            "run_cnt" => stats.runs = value,
            "run_time_ns" => stats.run_ns = value,
            "recursion_misses" => stats.skipped = value,
            _ => {}
        }
    }
    stats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_lines_are_taken_and_others_left() {
        let text = "prog_type:\t5\nprog_tag:\tdeadbeefcafe\nrun_time_ns:\t120\nrun_cnt:\t2\nrecursion_misses:\t1\nverified_insns:\t43\n";
        let stats = ProgramStats { verified_instructions: 43, runs: 2, run_ns: 120, skipped: 1 };
        assert_eq!(parse(text), stats);
    }
}
