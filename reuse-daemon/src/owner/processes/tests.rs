//! The table of processes over a proc(5) made by the test.

use std::os::unix::fs::symlink;

use super::*;
use crate::owner::{cgroup_ids::CgroupIds, containers::Containers, scratch::Directory};

fn comm(text: &[u8]) -> Comm {
    let mut bytes = [0; 16];
    bytes[..text.len()].copy_from_slice(text);
    Comm(bytes)
}

fn link(directory: &Directory, pid: u32, target: &str) {
    let exe = directory.path(format!("{pid}/exe"));
    let _ = fs::remove_file(&exe);
    fs::create_dir_all(exe.parent().unwrap()).unwrap();
    symlink(target, exe).unwrap();
}

fn table(directory: &Directory) -> ProcessTable {
    let placements =
        Placements::new(directory.path(""), CgroupIds::default(), Containers::new(directory.path("root")));
    ProcessTable::with(directory.path(""), HashSet::new(), placements, 4)
}

#[test]
fn executable_names_the_process() {
    let directory = Directory::new();
    link(&directory, 7, "/usr/sbin/nginx (deleted)");
    let process = table(&directory).process(7, comm(b"nginx: master"), 33);
    assert_eq!((&*process.executable, &*process.service, process.uid), ("nginx", "nginx", 33));
    assert_eq!(process.exe.as_deref(), Some(b"/usr/sbin/nginx (deleted)".as_slice()));
}

#[test]
fn comm_names_a_process_without_a_readable_executable() {
    let directory = Directory::new();
    let process = table(&directory).process(7, comm(b"kworker/0:1\n"), 0);
    assert_eq!((&*process.executable, process.exe.as_deref()), ("01", None));
}

#[test]
fn hostile_names_stay_in_bounds() {
    let directory = Directory::new();
    let path = format!("/{}/evil\n\"{{}}\\{}", "d".repeat(2000), "x".repeat(200));
    link(&directory, 7, &path);
    let process = table(&directory).process(7, comm(b"\xff\xfe\"\n"), 0);
    assert!(process.executable.starts_with("evilxx") && process.executable.len() <= 32, "{process:?}");
    assert_eq!(process.exe.as_ref().map(|path| path.len()), Some(PATH_LIMIT));
}

#[test]
fn a_known_process_is_not_read_again() {
    let directory = Directory::new();
    link(&directory, 7, "/bin/one");
    let mut table = table(&directory);
    table.process(7, comm(b"one"), 0);
    link(&directory, 7, "/bin/two");
    assert_eq!(&*table.process(7, comm(b"one"), 0).executable, "one");
    assert_eq!(&*table.process(7, comm(b"two"), 0).executable, "two", "a new comm");
    link(&directory, 7, "/bin/three");
    assert_eq!(table.process(7, comm(b"two"), 5).uid, 5, "a new uid");
    link(&directory, 7, "/bin/four");
    table.forget(7);
    assert_eq!(&*table.process(7, comm(b"two"), 5).executable, "four", "forgotten");
}

fn called(table: &mut ProcessTable, cgroup: u64) -> Arc<Process> {
    table.caller(&Caller { pid: 7, tid: 7, comm: comm(b"srv"), uid: 0, cgroup })
}

#[test]
fn a_process_that_moves_is_placed_anew_and_keeps_its_executable() {
    let directory = Directory::new();
    link(&directory, 7, "/bin/one");
    directory.write("7/cgroup", "0::/system.slice/one.service");
    let mut table = table(&directory);
    assert_eq!(table.process(7, comm(b"srv"), 0).unit.as_deref(), Some("one.service"));
    assert_eq!(&*called(&mut table, 10).service, "one.service");
    directory.write("7/cgroup", "0::/system.slice/two.service");
    assert_eq!(&*called(&mut table, 10).service, "one.service", "looked at again without need");
    assert_eq!(&*table.process(7, comm(b"srv"), 0).service, "one.service", "looked at again without need");
    assert_eq!(&*called(&mut table, 11).service, "two.service", "moved");

    directory.write("7/cgroup", "0::/system.slice/three.service");
    assert_eq!(&*table.process(7, comm(b"thread"), 0).service, "two.service", "another thread is elsewhere");
    link(&directory, 7, "/bin/two");
    assert_eq!(
        &*table.process(7, comm(b"srv"), 0).service,
        "three.service",
        "another program is not looked at"
    );
    assert_eq!(&*called(&mut table, 11).service, "three.service");

    fs::remove_dir_all(directory.path("7")).unwrap();
    let gone = called(&mut table, 12);
    assert_eq!((gone.unit.as_deref(), &*gone.executable), (Some("three.service"), "two"));
}

#[test]
fn a_name_that_comes_late_is_asked_for_once_more() {
    let directory = Directory::new();
    let id = "a".repeat(64);
    directory.write("7/cgroup", format!("0::/system.slice/docker-{id}.scope"));
    let mut table = table(&directory);
    assert_eq!(called(&mut table, 10).container.as_deref(), Some("aaaaaaaaaaaa"));
    let due = |table: &mut ProcessTable| {
        let known = table.young.get_mut(&7).unwrap();
        known.ask_again = known.ask_again.map(|_| Instant::now());
        known.ask_again.is_some()
    };
    assert!(due(&mut table), "the name is not asked for again");
    assert_eq!(&*called(&mut table, 10).service, "aaaaaaaaaaaa");
    assert!(!due(&mut table), "asked for without end");
}

#[test]
fn memory_is_bounded_and_keeps_what_is_asked_for() {
    let directory = Directory::new();
    link(&directory, 1, "/bin/kept");
    let mut table = table(&directory);
    table.process(1, comm(b"kept"), 0);
    link(&directory, 1, "/bin/read-again");
    for pid in 2..100 {
        table.process(pid, comm(b"other"), 0);
        assert_eq!(&*table.process(1, comm(b"kept"), 0).executable, "kept");
        assert!(table.young.len() + table.old.len() <= 8, "grows");
    }
    for pid in 2..100 {
        table.process(pid, comm(b"other"), 0);
    }
    assert_eq!(&*table.process(1, comm(b"kept"), 0).executable, "read-again", "never dropped");
}

#[test]
fn own_processes_are_marked_until_they_end() {
    let directory = Directory::new();
    let mut table = ProcessTable::new(directory.path(""), [7]);
    assert!(table.process(7, comm(b"a"), 0).own);
    assert!(!table.process(8, comm(b"a"), 0).own);
    table.add_own(8);
    assert!(table.process(8, comm(b"a"), 0).own);
    table.forget(8);
    assert!(!table.process(8, comm(b"a"), 0).own);
}

#[test]
fn this_process_is_found() {
    let pid = std::process::id();
    let own = fs::read_link("/proc/self/exe").unwrap();
    let process = ProcessTable::new("/proc", [pid]).process(pid, comm(b"test"), 0);
    assert_eq!(process.exe.as_deref(), Some(own.as_os_str().as_encoded_bytes()));
}
