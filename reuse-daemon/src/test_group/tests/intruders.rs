//! Traffic and sockets of others at the test group's ports.

use std::{
    io::Read,
    net::{TcpStream, UdpSocket},
};

use reuse_model::test_group::Outcome;
use socket2::{Domain, Socket, Type};

use super::*;

/// Slow enough that a test acts between two probes.
fn quiet() -> config::TestGroup {
    config(1)
}

#[tokio::test]
async fn a_strange_connection_is_told_and_reset() {
    let group = open(quiet());
    let key = Key { transport: Transport::Tcp, family: Family::Ipv4 };
    let target = place(&group, key).unwrap();
    let mut running = Running::start(group, silent());
    let mut stranger = TcpStream::connect(target).unwrap();
    let Finding::Stranger { group, member, peer } = running.finding().await else {
        panic!("another finding")
    };
    assert_eq!((group, peer), (key, stranger.local_addr().unwrap()));
    assert!(member < 4);
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    let error = stranger.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    running.stop().await;
}

#[tokio::test]
async fn strange_datagrams_are_told_once_and_summed() {
    let group = open(quiet());
    let key = Key { transport: Transport::Udp, family: Family::Ipv4 };
    let target = place(&group, key).unwrap();
    let mut running = Running::start(group, silent());
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    // An empty one, one as long as a probe, and a long one.
    for length in [0, 8, 4000] {
        stranger.send_to(&vec![7; length], target).unwrap();
    }
    let Finding::Stranger { group, peer, .. } = running.finding().await else { panic!("another finding") };
    assert_eq!((group, peer), (key, stranger.local_addr().unwrap()));
    for _ in 0..4 {
        running.probe().await;
    }
    running.stop().await;
}

#[tokio::test]
async fn probes_go_on_amid_a_flood() {
    let group = open(config(100));
    let key = Key { transport: Transport::Udp, family: Family::Ipv4 };
    let target = place(&group, key).unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let flood =
        std::thread::spawn(move || (0..50_000).for_each(|_| drop(stranger.send_to(b"flood", target))));
    let mut running = Running::start(group, silent());
    let (mut probes, mut findings) = (0, 0);
    while probes < 40 {
        match running.next().await {
            Observation::Probe(_) => probes += 1,
            Observation::Finding { .. } => findings += 1,
            Observation::Experiment(_) => panic!("nobody asked for one"),
        }
    }
    assert!(findings <= 2, "{findings} findings of one kind within seconds");
    flood.join().unwrap();
    // What still waits is taken bit by bit, then probes arrive again.
    let recovered = async {
        let mut accepted = 0;
        while accepted < 8 {
            if let Observation::Probe(probe) = running.next().await {
                accepted = if probe.accepted.is_some() { accepted + 1 } else { 0 };
            }
        }
    };
    timeout(PATIENCE, recovered).await.expect("probes are lost after the flood");
    running.stop().await;
}

#[tokio::test]
async fn a_probe_that_another_socket_took_is_lost() {
    let group = open(config(4));
    let key = Key { transport: Transport::Tcp, family: Family::Ipv4 };
    let target = place(&group, key).unwrap();
    // Enough of them that one of a few probes meets one.
    let intruders: Vec<_> = (0..60)
        .map(|_| {
            let intruder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            intruder.set_reuse_port(true).unwrap();
            intruder.bind(&target.into()).unwrap();
            intruder.listen(8).unwrap();
            intruder.set_nonblocking(true).unwrap();
            intruder
        })
        .collect();
    let mut running = Running::start(group, silent());
    let lost = loop {
        let probe = running.probe().await;
        if probe.accepted.is_none() {
            break probe;
        }
    };
    assert_eq!((lost.group, lost.outcome(), lost.took), (key, Outcome::Lost, None));
    let mut taken =
        intruders.iter().find_map(|intruder| intruder.accept().ok()).expect("an intruder has it").0;
    assert_eq!(taken.peer_addr().ok().and_then(|peer| peer.as_socket()), None, "closed by the probe");
    let error = taken.read(&mut [0]).expect_err("a reset, not an end that leaves TIME_WAIT");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    running.stop().await;
}
