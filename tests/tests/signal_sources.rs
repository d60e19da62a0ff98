//! What becomes of a socket after its bind comes in exactly once: new processes and programs, options, owners, descriptors
//! that go to other processes.

use std::{
    io::{IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};
use reuse_tests::{
    daemon::Daemon,
    deadline,
    metrics::Metrics,
    process::Forked,
    sockets::{self, Transport},
};
use socket2::Socket;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Until a round passes in which nobody else on the host does the same.
const LIMIT: Duration = Duration::from_secs(30);

fn received(metrics: &Metrics, kind: &str) -> Result<f64> {
    let count = metrics.sum("reuse_daemon_events_received_total", &[("type", kind)]);
    count.with_context(|| format!("nothing counts events of type {kind}"))
}

/// Does `stage` and compares how many events of that kind come in with `expected`. Others on the host cause such events
/// too: never fewer, and in some round exactly as many.
fn exactly(daemon: &Daemon, kind: &str, expected: u32, mut stage: impl FnMut() -> Result<()>) -> Result<()> {
    let expected = f64::from(expected);
    let mut last = None;
    let found = deadline::until(&format!("{expected} events of type {kind}"), LIMIT, || {
        let before = received(&daemon.metrics()?, kind)?;
        stage()?;
        let came = received(&daemon.metrics()?, kind)? - before;
        last = Some(came);
        ensure!(came >= expected, "{came} of {expected} events of type {kind}");
        Ok((came <= expected).then_some(()))
    });
    found.with_context(|| format!("the last round had {last:?}"))
}

/// Runs that the kernel skipped are not looked at: what was not told for such a reason is missing from the counts.
fn assert_nothing_lost(daemon: &Daemon) -> Result<()> {
    let metrics = daemon.metrics()?;
    for stage in ["ring_process", "ring_touch", "ring_pass", "decode"] {
        let lost = metrics.sum("reuse_daemon_events_lost_total", &[("stage", stage)]);
        ensure!(lost == Some(0.0), "{stage}: {lost:?}");
    }
    Ok(())
}

/// A bound socket and one that is not.
fn pair(transport: Transport) -> Result<[Socket; 2]> {
    Ok([sockets::bound(transport, (LOOPBACK, 0).into())?, sockets::open(transport, LOOPBACK)?])
}

fn set(socket: &Socket, level: i32, option: i32, value: i32) -> Result<()> {
    sockets::set(socket, level, option, value).with_context(|| format!("option {option} at level {level}"))
}

#[test]
fn processes_and_their_programs() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    exactly(&daemon, "fork", 5, || (0..5).try_for_each(|_| Forked::new().map(Forked::exit)))?;
    exactly(&daemon, "exec", 2, || {
        for _ in 0..2 {
            ensure!(Command::new("/proc/self/exe").arg("--list").output()?.status.success(), "no program");
        }
        Ok(())
    })?;
    // Threads are no processes.
    exactly(&daemon, "fork", 0, || {
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| ());
            }
        });
        Ok(())
    })?;
    assert_nothing_lost(&daemon)
}

#[test]
fn options_of_sockets_that_hold_a_port() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for transport in [Transport::Tcp, Transport::Udp] {
        let [bound, unbound] = pair(transport)?;
        exactly(&daemon, "touch", 3, || {
            for socket in [&bound, &unbound] {
                set(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
                set(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
                set(socket, libc::SOL_SOCKET, libc::SO_INCOMING_CPU, 0)?;
                // Of no consequence for the port.
                set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 9000)?;
                set(socket, libc::IPPROTO_IP, libc::IP_TTL, 9)?;
            }
            Ok(())
        })?;
    }
    let [bound, unbound] = pair(Transport::Tcp)?;
    exactly(&daemon, "touch", 2, || {
        for socket in [&bound, &unbound] {
            set(socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, 1)?;
            set(socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, 0)?;
            set(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
        }
        Ok(())
    })?;
    assert_nothing_lost(&daemon)
}

/// What is refused changes nothing.
#[test]
fn options_that_are_refused() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let [bound, unbound] = pair(Transport::Udp)?;
    exactly(&daemon, "touch", 0, || {
        for socket in [&bound, &unbound] {
            ensure!(
                sockets::set(socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, -1).is_err(),
                "no device -1"
            );
        }
        Ok(())
    })
}

#[test]
fn multicast_groups() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let [bound, unbound] = pair(Transport::Udp)?;
    let group = Ipv4Addr::new(239, 7, 7, 7);
    exactly(&daemon, "touch", 2, || {
        for socket in [&bound, &unbound] {
            socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).context("joining")?;
            socket.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).context("leaving")?;
        }
        Ok(())
    })?;
    assert_nothing_lost(&daemon)
}

#[test]
fn owners_of_sockets() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let [bound, unbound] = pair(Transport::Tcp)?;
    let file = tempfile()?;
    exactly(&daemon, "touch", 2, || {
        for fd in [bound.as_raw_fd(), unbound.as_raw_fd(), file.as_raw_fd()] {
            // SAFETY: plain numbers, and an empty path that lives through the call.
            let outcomes = unsafe {
                [
                    libc::fchown(fd, 0, 0),
                    libc::fchownat(fd, c"".as_ptr(), 0, 0, libc::AT_EMPTY_PATH),
                    libc::fchownat(libc::AT_FDCWD, c"/".as_ptr(), u32::MAX, u32::MAX, libc::AT_EMPTY_PATH),
                ]
            };
            ensure!(outcomes == [0; 3], "{outcomes:?}");
        }
        Ok(())
    })?;
    assert_nothing_lost(&daemon)
}

#[test]
fn descriptors_in_messages() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let [bound, unbound] = pair(Transport::Tcp)?;
    let file = tempfile()?;
    for kind in [SockType::Stream, SockType::Datagram, SockType::SeqPacket] {
        let (from, to) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
        exactly(&daemon, "pass", 1, || {
            pass(&from, &to, &[bound.as_raw_fd()])?;
            pass(&from, &to, &[unbound.as_raw_fd()])?;
            pass(&from, &to, &[file.as_raw_fd()])
        })?;
        // Among others, and several times in one message.
        let many = [file.as_raw_fd(), bound.as_raw_fd(), unbound.as_raw_fd(), bound.as_raw_fd()];
        exactly(&daemon, "pass", 2, || pass(&from, &to, &many))?;
        exactly(&daemon, "pass", 0, || pass(&from, &to, &[]))?;
    }
    assert_nothing_lost(&daemon)
}

#[test]
fn descriptors_that_are_taken() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let [bound, _unbound] = pair(Transport::Tcp)?;
    // SAFETY: plain numbers.
    let own = unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) };
    ensure!(own >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
    // SAFETY: a new descriptor that nobody else has.
    let own = unsafe { OwnedFd::from_raw_fd(own as RawFd) };
    exactly(&daemon, "pass", 1, || {
        for (fd, there) in [(bound.as_raw_fd(), true), (RawFd::MAX, false)] {
            // SAFETY: plain numbers.
            let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, own.as_raw_fd(), fd, 0) };
            ensure!((taken >= 0) == there, "pidfd_getfd of {fd} gives {taken}");
            if there {
                // SAFETY: a new descriptor that nobody else has.
                drop(unsafe { OwnedFd::from_raw_fd(taken as RawFd) });
            }
        }
        Ok(())
    })?;
    assert_nothing_lost(&daemon)
}

#[test]
fn without_system_calls_options_are_a_blind_spot() -> Result<()> {
    for (flag, blind) in [("true", 0.0), ("false", 1.0)] {
        let Some(daemon) = Daemon::start(&[&format!("--trace.syscalls={flag}")])? else { return Ok(()) };
        let metrics = daemon.metrics()?;
        let found = metrics.sum("reuse_daemon_blind_spot", &[("what", "setsockopt")]);
        ensure!(found == Some(blind), "--trace.syscalls={flag}: {found:?}");
    }
    Ok(())
}

/// A file that is no socket and has no name.
fn tempfile() -> Result<OwnedFd> {
    Ok(nix::fcntl::open(
        "/tmp",
        nix::fcntl::OFlag::O_TMPFILE | nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::S_IRUSR,
    )?)
}

/// Sends descriptors over a pair of sockets, and closes what arrives.
fn pass(from: &OwnedFd, to: &OwnedFd, descriptors: &[RawFd]) -> Result<()> {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let rights = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    sendmsg::<()>(from.as_raw_fd(), &[IoSlice::new(b"x")], rights, MsgFlags::empty(), None)?;
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let mut room = nix::cmsg_space!([RawFd; 8]);
    let message = recvmsg::<()>(to.as_raw_fd(), &mut bytes, Some(&mut room), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut arrived = 0;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            for fd in descriptors {
                // SAFETY: a new descriptor that nobody else has.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
                arrived += 1;
            }
        }
    }
    ensure!(arrived == descriptors.len(), "{arrived} of {} descriptors", descriptors.len());
    Ok(())
}
