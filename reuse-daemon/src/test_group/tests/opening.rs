//! Opening the sockets: their options, taken ports, missing families.

use std::net::{TcpListener, UdpSocket};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use socket2::{Domain, SockRef, Socket, Type};

use super::{
    super::{OpenError, Step},
    *,
};

#[test]
fn members_share_one_port_and_are_made_as_asked() {
    let group = open(config(1));
    let mut cookies = std::collections::HashSet::new();
    for group in group.groups() {
        assert_eq!(group.members.len(), 4);
        assert!(group.local.ip().is_loopback() && group.local.port() != 0);
        for member in &group.members {
            let socket = &member.socket;
            assert_eq!(socket.local_addr().unwrap().as_socket(), Some(group.local));
            assert!(socket.reuse_port().unwrap() && !socket.reuse_address().unwrap());
            assert!(group.local.is_ipv4() || socket.only_v6().unwrap());
            assert!(
                OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL).unwrap())
                    .contains(OFlag::O_NONBLOCK)
            );
            assert_eq!(fcntl(socket, FcntlArg::F_GETFD).unwrap(), FdFlag::FD_CLOEXEC.bits());
            assert_eq!(Cookie(socket.cookie().unwrap()), member.cookie);
            assert!(cookies.insert((member.cookie, member.inode)), "twice the same identity");
        }
    }
    assert_eq!(cookies.len(), 4 * group.groups().len());
}

#[test]
fn one_port_serves_all_groups() {
    let port = open(config(1)).groups()[0].local.port();
    let group = open(on_port(port));
    assert!(group.groups().iter().all(|group| group.local.port() == port), "{group:?}");
}

#[test]
fn a_single_member_is_a_group_too() {
    let group = open(config::TestGroup { members: 1, ..config(1) });
    for group in group.groups() {
        assert_eq!(group.members.len(), 1);
        let mut program = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 }];
        let program = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
        let attached = nix::sys::socket::setsockopt(
            &group.descriptor().unwrap(),
            nix::sys::socket::sockopt::AttachReusePortCbpf,
            &program,
        );
        assert_eq!(attached, Ok(()), "{} {}: no SO_REUSEPORT group", group.transport.as_str(), group.local);
    }
}

#[test]
fn a_taken_port_is_named_with_its_holder() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let error = TestGroup::open(&on_port(port)).expect_err("the port is taken");
    assert!(matches!(error, OpenError::PortTaken { transport: Transport::Tcp, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("tcp 127.0.0.1:{port}")), "{text}");
    assert!(text.contains(&format!("(pid {})", std::process::id())), "{text}");
    assert!(text.contains("--test-group.port"), "{text}");
}

#[test]
fn a_group_of_the_same_user_is_not_joined() {
    let holder = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    holder.set_reuse_port(true).unwrap();
    holder.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let holder = UdpSocket::from(holder);
    let port = holder.local_addr().unwrap().port();
    let error = TestGroup::open(&on_port(port)).expect_err("the port is taken");
    assert!(matches!(error, OpenError::PortTaken { transport: Transport::Udp, .. }), "{error:?}");
    assert!(SockRef::from(&holder).reuse_port().unwrap());
}

#[test]
fn a_privileged_port_says_what_it_takes() {
    let cause = io::Error::from_raw_os_error(libc::EACCES);
    let local = SocketAddr::from(([127, 0, 0, 1], 80));
    let text = OpenError::Socket { step: Step::Bind, transport: Transport::Udp, local, cause }.to_string();
    assert!(text.contains("bind udp 127.0.0.1:80") && text.contains("CAP_NET_BIND_SERVICE"), "{text}");
}

/// In a namespace of this thread's own, where loopback first is down and then has no IPv6.
#[test]
fn a_family_without_loopback_is_left_out() {
    let checked = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        let error = TestGroup::open(&config(1)).expect_err("loopback is down");
        assert!(matches!(error, OpenError::NoLoopback), "{error:?}");

        std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        assert!(
            std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success()
        );
        let (group, degradations) = TestGroup::open(&config(1)).unwrap();
        assert_eq!(group.groups().len(), 2);
        let [degradation] = degradations.as_slice() else { panic!("{degradations:?}") };
        assert_eq!(degradation.family, Family::Ipv6);
        assert!(degradation.to_string().contains("no test group for IPv6"), "{degradation}");
        Ok::<_, nix::Error>(())
    });
    if let Err(error) = checked.join().unwrap() {
        eprintln!("skipped: a network namespace of its own needs root ({error})");
    }
}
