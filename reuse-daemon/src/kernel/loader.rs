//! A loader that has not read the kernel's types.
//!
//! `EbpfLoader::new` parses all of them, though they are put aside for others right after (aya 0.14, bpf.rs): a third of
//! what a start computes. It does without where it cannot open their file, and a thread may give up opening files.

use std::io;

use aya::EbpfLoader;

/// A new loader. The calling thread opens no file afterwards: it is to be one of this call's own.
///
/// Where the kernel does not let it be so, the types are read.
pub(super) fn new<'a>() -> EbpfLoader<'a> {
    if let Err(error) = give_up_opening() {
        log::debug!("the loader reads the kernel's types: {error}");
    }
    EbpfLoader::new()
}

/// Has the kernel refuse every file that this thread wants to open; other threads open theirs (seccomp(2)).
fn give_up_opening() -> io::Result<()> {
    const NUMBER: u32 = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
    const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::EACCES as u32;
    let mut program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER, [0, 0]),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_openat as u32, [0, 1]),
        instruction(libc::BPF_RET | libc::BPF_K, REFUSED, [0, 0]),
        instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, [0, 0]),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    const YES: libc::c_ulong = 1;
    const NONE: libc::c_ulong = 0;
    // SAFETY: numbers alone; what it forbids, this thread does not do: to gain privileges by running a program.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, YES, NONE, NONE, NONE) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `filter` and the program that it points to live until after the call, which copies them.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// One of classic BPF, with how many to skip if what is compared is so, and if not.
fn instruction(code: u32, k: u32, [jt, jf]: [u8; 2]) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, thread};

    use super::*;

    #[test]
    fn the_thread_that_makes_a_loader_opens_no_file_and_others_do() {
        let own = |path: &'static str| File::open(path).map(drop).map_err(|error| error.kind());
        let refused = thread::spawn(move || {
            drop(new());
            own("/proc/self/stat")
        });
        assert_eq!(refused.join().expect("no panic"), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(own("/proc/self/stat"), Ok(()));
    }
}
