//! Paths as they stand on real hosts, and as an enemy would write them.

use proptest::prelude::*;

use super::*;

const ID: &str = "3f4a5b6c7d8e9f00112233445566778899aabbccddeeff001122334455667788";
const UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";
const UID_UNDERSCORES: &str = "0a1b2c3d_1111_2222_3333_444455556666";

/// Unit, container (name, or `ID`) and pod, nothing being "".
fn read(member: &Membership) -> [&str; 3] {
    let container = match &member.container {
        Some(Container::Id(id) | Container::Name(id)) => id,
        None => "",
    };
    [member.unit.as_deref().unwrap_or_default(), container, member.pod.as_deref().unwrap_or_default()]
}

fn fill(text: &str) -> String {
    text.replace("ID", ID).replace("U_D", UID_UNDERSCORES).replace("U-D", UID)
}

#[track_caller]
fn check(path: &str, expected: [&str; 3]) {
    let (path, expected) = (fill(path), expected.map(fill));
    assert_eq!(read(&Membership::of_path(path.as_bytes())), expected, "{path}");
}

#[test]
fn units() {
    for (path, unit) in [
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/system.slice/system-postgresql.slice/postgresql@16-main.service", "postgresql@16-main.service"),
        ("/system.slice/nginx.service/worker", "nginx.service"),
        ("/system.slice/nginx.service/other.service", "nginx.service"),
        (r"/system.slice/a\x2db.service", r"a\x2db.service"),
        ("/system.slice/__under.service", "_under.service"),
        ("/system.slice/cups.socket", "cups.socket"),
        (r"/system.slice/var-lib-x\x2dy.mount", r"var-lib-x\x2dy.mount"),
        ("/init.scope", "init.scope"),
        ("/system.slice/run-u12.service", "run-u12.service"),
        ("/system.slice/backup.scope", "backup.scope"),
        ("/machine.slice/machine-qemu\\x2d1\\x2dweb.scope", "machine-qemu\\x2d1\\x2dweb.scope"),
        ("/../../system.slice/sshd.service", "sshd.service"),
        ("/by-hand/web.service", "web.service"),
    ] {
        check(path, [unit, "", ""]);
    }
}

#[test]
fn units_of_users() {
    let below = |rest: &str| format!("/user.slice/user-1000.slice/user@1000.service{rest}");
    for (path, unit) in [
        (below("/app.slice/syncthing.service"), "syncthing.service"),
        (below("/app.slice/app-gnome\\x2dx.slice/dbus@1.service"), "dbus@1.service"),
        (below("/session.slice/pipewire.service"), "pipewire.service"),
        (below(""), "user@1000.service"),
        (below("/init.scope"), "user@1000.service"),
        (below("/app.slice"), "user@1000.service"),
        (below("/app.slice/app-org.gnome.Terminal-4242.scope"), ""),
        (below("/app.slice/app-x-4242.scope/inner.service"), ""),
    ] {
        check(&path, [unit, "", ""]);
    }
}

#[test]
fn nobody() {
    for path in [
        "",
        "/",
        "nonsense",
        "/system.slice",
        "/user.slice/user-1000.slice/session-3.scope",
        "/user.slice/user-1000.slice/session-c1.scope/x.service",
        "/system.slice/.service",
        "/system.slice/.scope",
        "/system.slice/nginx.timer",
        "/system.slice/two words.service",
        "/system.slice/new\nline.service",
        "/system.slice/gr\u{f6}\u{df}e.service",
        "/..",
    ] {
        check(path, [""; 3]);
    }
    check(&format!("/{}.service", "x".repeat(248)), [""; 3]);
    assert_eq!(Membership::of_path(b"/a\xff.service"), Membership::default());
}

#[test]
fn containers() {
    for path in [
        "/system.slice/docker-ID.scope",
        "/docker/ID",
        "/docker/ID/init.scope",
        "/docker/ID/system.slice/sshd.service",
        "/actions_job/ID",
        "/../docker-ID.scope",
        "/system.slice/nerdctl-ID.scope",
        "/default/ID",
        "/machine.slice/libpod-ID.scope",
        "/machine.slice/libpod-ID.scope/container",
        "/machine.slice/libpod-conmon-ID.scope",
        "/libpod_parent/libpod-ID",
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/docker-ID.scope",
        "/ecs/0123456789abcdef/ID",
        "/system.slice/docker.service/system.slice:docker:ID",
    ] {
        check(path, ["", "ID", ""]);
    }
    for (path, name) in [
        ("/lxc/web-1", "web-1"),
        ("/lxc/101/ns/system.slice/nginx.service", "101"),
        ("/lxc.payload.web", "web"),
        ("/lxc.payload.web/system.slice/nginx.service", "web"),
        ("/lxc.payload/web", "web"),
        (r"/machine.slice/machine-my\x2dbox.scope", "my-box"),
        (r"/machine.slice/machine-my\x2dbox.scope/payload/system.slice/a.service", "my-box"),
        (r"/machine.slice/machine-a\x0ab\x22.scope", "ab"),
    ] {
        check(path, ["", name, ""]);
    }
    check("/system.slice/web.service/libpod-payload-ID", ["web.service", "ID", ""]);
    check(
        r"/machine.slice/systemd-nspawn@my\x2dbox.service/payload/x.service",
        [r"systemd-nspawn@my\x2dbox.service", "my-box", ""],
    );
}

#[test]
fn what_only_looks_like_a_container() {
    for path in [
        "/docker/short",
        &format!("/docker/{}", "A".repeat(64)),
        &format!("/docker/x{ID}"),
        &format!("/docker/0{ID}"),
        &format!("/docker/{}g", "0".repeat(63)),
        "/lxc",
        "/lxc.payload.",
        "/lxc.payload.\u{1}\u{2}",
        "/lxc.monitor.web",
    ] {
        check(path, [""; 3]);
    }
}

#[test]
fn pods() {
    for (path, container) in [
        ("/kubepods/besteffort/podU-D/ID", "ID"),
        ("/kubepods/podU-D/ID", "ID"),
        ("/kubepods/burstable/podU-D", ""),
        ("/kubepods.slice/kubepods-podU_D.slice/cri-containerd-ID.scope", "ID"),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_D.slice/crio-ID.scope", "ID"),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_D.slice/docker-ID.scope", "ID"),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_D.slice", ""),
        ("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_D.slice/cri-containerd-ID.scope", "ID"),
        ("/system.slice/containerd.service/kubepods-burstable-podU_D.slice:cri-containerd:ID", "ID"),
        ("/../../kubepods-burstable-podU_D.slice/cri-containerd-ID.scope", "ID"),
    ] {
        check(path, ["", container, "U-D"]);
    }
    let manifest = "0123456789abcdef0123456789abcdef";
    check(&format!("/kubepods/burstable/pod{manifest}/ID"), ["", "ID", manifest]);
    for path in [
        "/kubepods/pod1234",
        "/kubepods/tripodU-D",
        &format!("/kubepods/pod{}", UID.replace('a', "z")),
        "/machine.slice/machine-libpod_pod_ID.slice",
    ] {
        check(path, [""; 3]);
    }
}

/// A container's processes may make groups and name them after others.
#[test]
fn outermost_name_counts() {
    let other = "f".repeat(64);
    check(&format!("/docker/ID/docker/{other}"), ["", "ID", ""]);
    check("/docker/ID/kubepods/podU-D", ["", "ID", ""]);
    check("/docker/ID/system.slice/sshd.service", ["", "ID", ""]);
    check("/system.slice/mine.service/system.slice/sshd.service", ["mine.service", "", ""]);
}

#[test]
fn hierarchies_are_believed_in_order() {
    for (file, expected) in [
        ("0::/system.slice/a.service\n", ["a.service", "", ""]),
        ("0::/system.slice/a.service", ["a.service", "", ""]),
        ("4:memory:/b.service\n1:name=systemd:/a.service\n0::/\n", ["a.service", "", ""]),
        ("1:name=systemd:/b.service\n0::/a.service\n", ["a.service", "", ""]),
        // The engine drives v1 itself and stays in its own unit of v2.
        ("1:name=systemd:/docker/ID\n0::/system.slice/containerd.service\n", ["", "ID", ""]),
        ("12:cpu,cpuacct:/docker/ID\n4:memory:/docker/ID\n1:name=systemd:/docker/ID\n", ["", "ID", ""]),
        ("9:name=systemd:/\n4:memory:/kubepods/podU-D/ID\n0::/\n", ["", "ID", "U-D"]),
        ("4:memory:/process_api/3f4a5b6c7d8e9f00\n0::/\n", [""; 3]),
        ("0::/x:y/a.service\n", ["a.service", "", ""]),
        ("no line\n\n:\n::\n0:\n", [""; 3]),
    ] {
        let (file, expected) = (fill(file), expected.map(fill));
        assert_eq!(read(&Membership::of_file(file.as_bytes())), expected, "{file}");
    }
}

/// Pieces of real paths among any bytes.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "/",
        ":",
        "\n",
        "..",
        "_",
        "-",
        "\\x",
        "\\x2d",
        "0::",
        "1:name=systemd:",
        ".scope",
        ".service",
        ".slice",
        "docker-",
        "lxc.payload.",
        "lxc/",
        "machine-",
        "systemd-nspawn@",
        "user@1.service",
        "session-",
        "kubepods-pod",
        "pod",
        ID,
        UID,
        UID_UNDERSCORES,
    ]);
    prop_oneof![
        3 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..80),
    ]
}

proptest! {
    #[test]
    fn any_bytes_give_short_plain_names(pieces in prop::collection::vec(piece(), 0..40)) {
        let bytes = pieces.concat();
        for member in [Membership::of_file(&bytes), Membership::of_path(&bytes)] {
            for name in read(&member) {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@+".contains(c);
                prop_assert!(name.len() <= 255 && name.chars().all(is_plain), "{name:?}");
            }
            if let Some(container) = &member.container {
                prop_assert!(!container.short().is_empty());
            }
        }
    }
}
