//! Runtimes' files as they are, and as an enemy would have them.

use super::*;
use crate::owner::scratch::Directory;

fn id(digit: &str) -> Arc<str> {
    digit.repeat(64).into()
}

fn member(id: &Arc<str>, pod: Option<&str>) -> Membership {
    Membership { unit: None, container: Some(Container::Id(Arc::clone(id))), pod: pod.map(Arc::from) }
}

fn config(directory: &Directory, id: &str, content: &str) -> PathBuf {
    directory.write(format!("var/lib/docker/containers/{id}/config.v2.json"), content)
}

fn name(directory: &Directory, id: &Arc<str>) -> Option<Arc<str>> {
    Containers::new(directory.path("")).container(&member(id, None), Instant::now())
}

#[test]
fn docker_names_its_containers() {
    let directory = Directory::new();
    config(&directory, &id("a"), r#"{"State":{"Pid":7},"ID":"a","Name":"/web-1","Args":[]}"#);
    config(&directory, &id("b"), r#"{"Name":"/a\nb\"{}"}"#);
    config(&directory, &id("c"), r#"{"Name":7}"#);
    config(&directory, &id("d"), r#"{"Name":"/cut"#);
    config(&directory, &id("e"), &format!(r#"{{"Name":"/{}"}}"#, "x".repeat(5000)));
    assert_eq!(name(&directory, &id("a")).as_deref(), Some("web-1"));
    assert_eq!(name(&directory, &id("b")).as_deref(), Some("ab"));
    assert_eq!(name(&directory, &id("c")), None);
    assert_eq!(name(&directory, &id("d")), None);
    assert_eq!(name(&directory, &id("e")).map(|name| name.len()), Some(super::super::cgroup::NAME_MAX));
    assert_eq!(name(&directory, &id("f")), None);
}

#[test]
fn a_link_a_pipe_and_an_endless_file_name_nobody() {
    let directory = Directory::new();
    let elsewhere = directory.write("elsewhere", r#"{"Name":"/stolen"}"#);
    let link = config(&directory, &id("a"), "");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(elsewhere, link).unwrap();
    let pipe = config(&directory, &id("b"), "");
    std::fs::remove_file(&pipe).unwrap();
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let endless = config(&directory, &id("c"), r#"{"Name":"/web"}"#);
    File::options().write(true).open(endless).unwrap().set_len(1 << 40).unwrap();
    for id in ["a", "b", "c"].map(id) {
        assert_eq!(name(&directory, &id), None, "{id}");
    }
}

#[test]
fn podman_names_its_containers() {
    let directory = Directory::new();
    let list =
        format!(r#"[{{"id":"{}","names":["db","alias"],"layer":"x"}},{{"id":"{}"}}]"#, id("a"), id("b"));
    directory.write("var/lib/containers/storage/overlay-containers/containers.json", list);
    let list = format!(r#"[{{"id":"{}","names":["passing"]}}]"#, id("c"));
    directory.write("var/lib/containers/storage/overlay-containers/volatile-containers.json", list);
    assert_eq!(name(&directory, &id("a")).as_deref(), Some("db"));
    assert_eq!(name(&directory, &id("b")), None, "it has none");
    assert_eq!(name(&directory, &id("c")).as_deref(), Some("passing"));
    assert_eq!(name(&directory, &id("d")), None);
}

#[test]
fn kubelet_names_pods_and_their_containers() {
    let directory = Directory::new();
    let uid: Arc<str> = "11111111-2222-3333-4444-555555555555".into();
    directory.write(format!("var/log/pods/shop_web-5d4f_{uid}/nginx/0.log"), "");
    directory.write("var/log/pods/under_scores_are-none_of-another/x", "");
    directory.write(format!("var/log/containers/web-5d4f_shop_nginx-{}.log", id("a")), "");
    directory.write(format!("var/log/containers/{}.log", id("b")), "");
    let mut containers = Containers::new(directory.path(""));
    let now = Instant::now();
    assert_eq!(containers.pod(&uid, now).as_deref(), Some("shop/web-5d4f"));
    assert_eq!(containers.pod(&"of-another".into(), now), None);
    assert_eq!(containers.container(&member(&id("a"), Some(&uid)), now).as_deref(), Some("nginx"));
    assert_eq!(containers.container(&member(&id("b"), Some(&uid)), now), None);
}

#[test]
fn answers_stand_for_a_while_and_are_bounded() {
    let directory = Directory::new();
    let mut containers = Containers::new(directory.path(""));
    let (web, start) = (member(&id("a"), None), Instant::now());
    assert_eq!(containers.container(&web, start), None);
    config(&directory, &id("a"), r#"{"Name":"/web"}"#);
    assert_eq!(containers.container(&web, start + EXPIRY / 2), None, "asked again too soon");
    assert_eq!(containers.container(&web, start + EXPIRY).as_deref(), Some("web"));
    config(&directory, &id("a"), r#"{"Name":"/renamed"}"#);
    assert_eq!(containers.container(&web, start + EXPIRY * 2).as_deref(), Some("renamed"));
    for number in 0..3 * LIMIT {
        containers.container(&member(&format!("{number:064x}").into(), None), start);
    }
    assert!(containers.names.len() <= LIMIT, "grows");
}
