//! Probes: each accepted by one member, spread by the kernel, paced, without traces.

use std::{
    collections::{HashMap, HashSet},
    thread,
};

use procfs::net::{TcpState, tcp, tcp6};
use reuse_model::test_group::Outcome;

use super::*;

/// Steers the group to one member, so that a test knows which one the kernel selects.
fn steer(group: &super::super::listeners::Group, member: u32) {
    // BPF_RET | BPF_K: the index of the member, whatever the packet is.
    let mut program = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: member }];
    let program = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    let descriptor = group.descriptor().unwrap();
    nix::sys::socket::setsockopt(&descriptor, nix::sys::socket::sockopt::AttachReusePortCbpf, &program)
        .unwrap();
}

#[tokio::test]
async fn every_probe_is_accepted_by_one_member_and_all_members_get_some() {
    let group = open(config(1000));
    let groups = group.groups().len();
    let mut running = Running::start(group, silent());
    let mut accepted: HashMap<Key, [u32; 4]> = HashMap::new();
    let mut sources = HashSet::new();
    for _ in 0..200 * groups {
        let probe = running.probe().await;
        let member = probe.accepted.unwrap_or_else(|| panic!("lost: {probe:?}"));
        accepted.entry(probe.group).or_default()[member as usize] += 1;
        assert_eq!((probe.members, probe.delivered, probe.hash), (4, None, None));
        assert!(probe.took.unwrap() < 1_000_000_000, "{probe:?}");
        sources.insert((probe.group, probe.source_port));
    }
    assert_eq!(accepted.len(), groups);
    for (key, members) in accepted {
        assert_eq!(members.iter().sum::<u32>(), 200, "{key:?} has its turn");
        // 50 expected with a standard deviation of 6.
        assert!(members.iter().all(|count| *count >= 15), "{key:?}: {members:?}");
    }
    assert!(sources.len() > 150 * groups, "only {} source ports", sources.len());
    running.stop().await;
}

#[tokio::test]
async fn members_are_in_the_order_of_the_kernels_index() {
    for member in 0..4 {
        let group = open(config(1000));
        group.groups().iter().for_each(|group| steer(group, member));
        let groups = group.groups().len();
        let hash = (member << 30) + 1;
        let mut running = Running::start(group, selecting(member as usize, hash));
        for _ in 0..groups {
            let probe = running.probe().await;
            assert_eq!(probe.accepted, Some(member), "{probe:?}");
            assert_eq!(probe.delivered, Some(member), "{probe:?}");
            assert_eq!(probe.outcome(), Outcome::Match, "{probe:?}");
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn a_kernel_that_tells_of_another_member_is_a_mismatch() {
    let group = open(config(1000));
    group.groups().iter().for_each(|group| steer(group, 2));
    let mut running = Running::start(group, selecting(1, 2 << 30));
    let probe = running.probe().await;
    assert_eq!((probe.predicted(), probe.delivered, probe.accepted), (Some(2), Some(1), Some(2)));
    assert_eq!(probe.outcome(), Outcome::Mismatch);
    running.stop().await;
}

#[tokio::test]
async fn deliveries_that_nothing_explains_are_a_mismatch_with_evidence() {
    let group = open(config(1000));
    group.groups().iter().for_each(|group| steer(group, 0));
    let mut looks = 0;
    let deliveries = move |cookies: &[Cookie]| {
        looks += 1;
        (0..cookies.len()).map(|slot| if slot == 0 || slot == 3 { looks } else { 0 }).collect()
    };
    let mut running = Running::start(group, Told { hash: |_| Some(0), deliveries });
    let Finding::UnexplainedDeliveries { source_port, grown, .. } = running.finding().await else {
        panic!("another finding");
    };
    assert!(grown[0] > 0 && grown[3] > 0 && grown[1] + grown[2] == 0, "{grown:?}");
    let probe = running.probe().await;
    assert_eq!((probe.source_port, probe.delivered), (source_port, Some(3)));
    assert_eq!(probe.outcome(), Outcome::Mismatch);
    running.stop().await;
}

#[tokio::test]
async fn probes_leave_no_time_wait_behind() {
    let group = open(config(1000));
    let ports: HashSet<u16> = group.groups().iter().map(|group| group.local.port()).collect();
    let probes = 25 * group.groups().len();
    let mut running = Running::start(group, silent());
    for _ in 0..probes {
        running.probe().await;
    }
    running.stop().await;
    let left: Vec<_> = tcp()
        .unwrap()
        .into_iter()
        .chain(tcp6().unwrap_or_default())
        .filter(|entry| {
            ports.contains(&entry.local_address.port()) || ports.contains(&entry.remote_address.port())
        })
        .filter(|entry| entry.local_address.ip().is_loopback() && entry.state == TcpState::TimeWait)
        .collect();
    // One was seen now and then; were each probe to leave one, there would be a hundred.
    assert!(left.len() <= 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_is_not_followed_by_a_burst() {
    let (period, pause) = (Duration::from_millis(50), Duration::from_millis(500));
    let mut looks = 0;
    let deliveries = move |cookies: &[Cookie]| {
        looks += 1;
        if looks == 1 {
            thread::sleep(pause);
        }
        vec![looks; cookies.len()]
    };
    let mut running = Running::start(open(config(20)), Told { hash: |_| None, deliveries });
    let mut sent = Vec::new();
    while sent.len() < 6 {
        if let Observation::Probe(probe) = running.next().await {
            sent.push(probe.at.0);
        }
    }
    let short = sent.windows(2).filter(|pair| pair[1] - pair[0] < period.as_nanos() as u64 / 2).count();
    assert!(short <= 1, "{short} of {sent:?} follow at once");
    running.stop().await;
}
