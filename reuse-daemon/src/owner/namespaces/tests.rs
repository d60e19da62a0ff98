//! Namespaces that stand as plain files, which too have a file system and a number.

use reuse_model::event::Comm;

use super::*;
use crate::owner::scratch::Directory;

/// Plain files stand for namespace files: they too have a file system and a number.
fn namespace(directory: &Directory, path: &str) -> NetNs {
    identity(&directory.write(path, "")).unwrap().1
}

fn namespaces(directory: &Directory) -> Namespaces {
    Namespaces::new(directory.path("proc"), directory.path("netns"))
}

#[test]
fn pid_one_is_host_and_mounts_have_their_names() {
    let directory = Directory::new();
    let host = namespace(&directory, "proc/1/ns/net");
    let blue = namespace(&directory, "netns/blue");
    let hostile = namespace(&directory, "netns/a\nb\\");
    let mut names = namespaces(&directory);
    let now = Instant::now();
    assert_eq!(&*names.name(host, now), "host");
    assert_eq!(&*names.name(blue, now), "blue");
    assert_eq!(&*names.name(hostile, now), r"a\x0ab\x5c");
    assert_eq!(&*names.name(NetNs(1), now), "other");
    assert_eq!(names.host(), Some(host));
}

#[test]
fn a_name_that_is_no_namespace_names_none() {
    let directory = Directory::new();
    namespace(&directory, "proc/1/ns/net");
    namespace(&directory, "netns/blue");
    // A number of another file system, as a name has whose mount is gone.
    std::os::unix::fs::symlink("/proc/version", directory.path("netns/stale")).unwrap();
    let stale = identity(Path::new("/proc/version")).unwrap().1;
    assert_eq!(&*namespaces(&directory).name(stale, Instant::now()), "other");
}

#[test]
fn own_namespace_is_host_where_pid_one_is_hidden() {
    let directory = Directory::new();
    let own = namespace(&directory, "proc/self/ns/net");
    assert_eq!(&*namespaces(&directory).name(own, Instant::now()), "host");
}

#[test]
fn host_keeps_its_name_where_ip_netns_names_it_too() {
    let directory = Directory::new();
    let host = namespace(&directory, "proc/1/ns/net");
    fs::create_dir(directory.path("netns")).unwrap();
    fs::hard_link(directory.path("proc/1/ns/net"), directory.path("netns/mine")).unwrap();
    assert_eq!(&*namespaces(&directory).name(host, Instant::now()), "host");
}

fn in_unit(pid: u32, unit: &str) -> Process {
    Process::from_comm(pid, Comm::default(), 0).placed(Some(unit.into()), None, None)
}

fn in_container(pid: u32, container: &str, pod: Option<&str>) -> Process {
    Process::from_comm(pid, Comm::default(), 0).placed(None, Some(container.into()), pod.map(Arc::from))
}

/// Puts a process in a namespace.
fn enter(directory: &Directory, pid: u32, namespace: &str) {
    let link = directory.path(format!("proc/{pid}/ns/net"));
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&link);
    fs::hard_link(directory.path(namespace), link).unwrap();
}

#[test]
fn who_runs_there_names_it() {
    let directory = Directory::new();
    let host = namespace(&directory, "proc/1/ns/net");
    let (own, pods, cni) =
        (namespace(&directory, "own"), namespace(&directory, "pods"), namespace(&directory, "netns/cni-7"));
    let blue = namespace(&directory, "netns/blue");
    enter(&directory, 7, "own");
    enter(&directory, 8, "pods");
    enter(&directory, 9, "netns/cni-7");
    enter(&directory, 10, "netns/blue");
    enter(&directory, 11, "proc/1/ns/net");
    let (mut names, now) = (namespaces(&directory), Instant::now());
    names.inhabit(own, &in_unit(7, "a.service"));
    names.inhabit(pods, &in_container(8, "server", Some("shop/cart")));
    names.inhabit(cni, &in_container(9, "web", None));
    names.inhabit(blue, &in_unit(10, "b.service"));
    names.inhabit(host, &in_container(11, "on-the-host", None));
    let name = |namespace| names.name(namespace, now);
    assert_eq!(
        [own, pods, cni, blue, host].map(name).each_ref().map(|name| &**name),
        ["a.service", "shop/cart", "web", "blue", "host"]
    );
}

#[test]
fn a_socket_of_another_namespace_names_none() {
    let directory = Directory::new();
    namespace(&directory, "proc/1/ns/net");
    let (own, other) = (namespace(&directory, "own"), namespace(&directory, "other"));
    enter(&directory, 7, "own");
    let mut names = namespaces(&directory);
    names.inhabit(other, &in_container(7, "web", None));
    names.inhabit(own, &in_container(8, "gone", None));
    assert_eq!(&*names.name(other, Instant::now()), "other");
    assert_eq!(&*names.name(own, Instant::now()), "other");
}

#[test]
fn a_number_given_again_loses_the_name_of_who_is_gone() {
    let directory = Directory::new();
    namespace(&directory, "proc/1/ns/net");
    let number = namespace(&directory, "number");
    let (mut names, now) = (namespaces(&directory), Instant::now());
    for pid in [7, 8] {
        enter(&directory, pid, "number");
    }
    names.inhabit(number, &in_container(7, "web", None));
    names.inhabit(number, &in_container(8, "beside", None));
    names.inhabit(number, &Process::from_comm(8, Comm::default(), 0));
    assert_eq!(&*names.name(number, now), "web", "the first one is still there");
    fs::remove_dir_all(directory.path("proc/7")).unwrap();
    names.inhabit(number, &in_container(8, "next", None));
    assert_eq!(&*names.name(number, now), "next");
    fs::remove_dir_all(directory.path("proc/8")).unwrap();
    enter(&directory, 9, "number");
    names.inhabit(number, &Process::from_comm(9, Comm::default(), 0));
    assert_eq!(&*names.name(number, now), "other");
}

#[test]
fn a_number_never_asked_for_is_looked_up_at_once() {
    let directory = Directory::new();
    namespace(&directory, "proc/1/ns/net");
    let mut names = namespaces(&directory);
    let start = Instant::now();
    assert_eq!(&*names.name(NetNs(1), start), "other");
    let new = namespace(&directory, "netns/new");
    assert_eq!(&*names.name(new, start + BURST), "new");
}

#[test]
fn a_namespace_without_a_name_is_looked_up_once_a_second() {
    let directory = Directory::new();
    namespace(&directory, "proc/1/ns/net");
    let mut names = namespaces(&directory);
    let start = Instant::now();
    let elsewhere = namespace(&directory, "elsewhere");
    assert_eq!(&*names.name(elsewhere, start), "other");
    fs::create_dir_all(directory.path("netns")).unwrap();
    fs::hard_link(directory.path("elsewhere"), directory.path("netns/late")).unwrap();
    assert_eq!(&*names.name(elsewhere, start + REFRESH / 2), "other", "read again too soon");
    assert_eq!(&*names.name(elsewhere, start + REFRESH), "late");
}

#[test]
fn real_host_namespace_is_found() {
    let mut names = Namespaces::new("/proc", "/run/netns");
    let host = names.host().expect("this process's own namespace");
    assert_eq!(&*names.name(host, Instant::now()), "host");
}
