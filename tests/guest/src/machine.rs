//! The bare machine before and after: file systems, limits, the loopback interface, power.

use std::{convert::Infallible, fs, io, process::ExitCode};

use anyhow::{Context as _, Result};
use nix::{
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        resource::{Resource, setrlimit},
        termios::tcdrain,
    },
};
use socket2::{Domain, Socket, Type};

/// Type of file system and where it goes, in the order that the folders come to exist.
const FILE_SYSTEMS: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
    ("securityfs", "/sys/kernel/security"),
    ("tracefs", "/sys/kernel/tracing"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
];

/// How many descriptors a process may have: as many as systemd lets a service have at most. Some tests hold thousands of
/// connections; the kernel gives its first process 1024 (`include/asm-generic/resource.h`).
const DESCRIPTORS: u64 = 524_288;

/// Mounts what a running system has, as far as this kernel lets it, sets its limits and brings up loopback.
///
/// # Errors
/// When the kernel refuses limits or loopback.
pub(crate) fn prepare() -> Result<()> {
    for (kind, folder) in FILE_SYSTEMS {
        if let Err(error) = mounted(kind, folder) {
            // A kernel that is locked down refuses tracefs; its machine goes on without, as any system does.
            println!("init: {error:#}");
        }
    }
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS).context("limiting descriptors")?;
    loopback_up().context("bringing up the loopback interface")
}

fn mounted(kind: &str, folder: &str) -> Result<()> {
    // A folder of the kernel's own file systems is there or cannot be made.
    let _ = fs::create_dir(folder);
    mount(Some(kind), folder, Some(kind), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mounting {kind} on {folder}"))
}

/// Writes out the console and switches the machine off.
pub(crate) fn power_off() -> ExitCode {
    let drained = drain();
    let off: nix::Result<Infallible> = reboot(RebootMode::RB_POWER_OFF);
    let Err(error) = off;
    eprintln!("init: cannot power off: {error} (console: {drained:?})");
    ExitCode::FAILURE
}

/// Waits until the console is written: what the serial port has not sent when the power goes is lost.
pub(crate) fn drain() -> nix::Result<()> {
    tcdrain(io::stdout())
}

/// SIOCSIFFLAGS on `lo` (netdevice(7)). A bare machine has no `ip` to do it.
fn loopback_up() -> Result<()> {
    use std::os::fd::AsRawFd as _;

    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: all members of `ifreq` are integers, byte arrays and a pointer that is not read here: zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which lives through the call.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error().into()) }
}
