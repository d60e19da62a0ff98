//! A daemon that cannot start says what failed, why, and ends with the documented status.

use std::{fs, net::Ipv4Addr, os::unix::fs::PermissionsExt};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::{Daemon, Launch, Refusal},
    http,
    scratch::Scratch,
    sockets::{self, Transport},
    user,
};

/// Checks status and words of a refusal, and that it is an explanation and no crash.
#[track_caller]
fn assert_explains(refusal: &Refusal, status: i32, words: &[&str]) {
    let said = &refusal.stderr;
    assert_eq!(refusal.status.code(), Some(status), "standard error:\n{said}");
    for word in words {
        assert!(said.to_lowercase().contains(&word.to_lowercase()), "no {word:?} in:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn without_privileges() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    // Another user may not reach the build directory.
    let scratch = Scratch::new("unprivileged")?;
    let copy = scratch.path().join("reuse-daemon");
    fs::copy(launch.binary_path(), &copy).context("copying the daemon")?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    let refusal = launch.binary(&copy).user(user::NOBODY).run_to_end()?;
    assert_explains(&refusal, 1, &["root", "sudo", "reuse-daemon doctor"]);
    Ok(())
}

#[test]
fn its_port_taken_by_another_daemon() -> Result<()> {
    let Some(first) = Daemon::start(&[])? else { return Ok(()) };
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let refusal = launch.web(first.web()).run_to_end()?;
    let name = first.service_name()?;
    assert_explains(&refusal, 1, &[&first.web().to_string(), &first.pid().to_string(), &name]);
    assert_eq!(http::get(first.web(), "/-/ready")?.status, 200, "the first one is not disturbed");
    Ok(())
}

#[test]
fn its_port_taken_by_another_program() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let holder = sockets::bound(Transport::Tcp, (Ipv4Addr::LOCALHOST, 0).into())?;
    holder.listen(1)?;
    let address = sockets::local_address(&holder)?;
    let refusal = launch.web(address).run_to_end()?;
    let executable = std::env::current_exe()?;
    // Executable or process name: the latter is cut to 15 bytes.
    let name: String = executable.file_name().context("a name")?.to_string_lossy().chars().take(15).collect();
    assert_explains(&refusal, 1, &[&address.to_string(), &std::process::id().to_string(), &name]);
    Ok(())
}

#[test]
fn an_address_that_is_not_local() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let refusal = launch.web("192.0.2.1:10542".parse()?).run_to_end()?;
    assert_explains(&refusal, 1, &["192.0.2.1:10542"]);
    Ok(())
}

#[test]
fn two_daemons_on_two_ports_do_not_disturb_each_other() -> Result<()> {
    let Some(first) = Daemon::start(&[])? else { return Ok(()) };
    let Some(second) = Daemon::start(&[])? else { return Ok(()) };
    let socket = sockets::bound(Transport::Tcp, (Ipv4Addr::LOCALHOST, 0).into())?;
    for daemon in [&first, &second] {
        reuse_tests::events::wait_for(daemon, &socket, "bind", "bind")?;
    }
    second.stop_cleanly()?;
    let socket = sockets::bound(Transport::Udp, (Ipv4Addr::LOCALHOST, 0).into())?;
    reuse_tests::events::wait_for(&first, &socket, "bind", "bind")?;
    Ok(())
}

#[test]
fn flags_it_does_not_have() -> Result<()> {
    for flags in [
        &["--no-such-flag"][..],
        &["--events.repeats", "never"],
        &["--web.listen-address", "nowhere"],
        &["--test-group.members", "many"],
        &["surplus"],
    ] {
        let Some(launch) = Launch::prepare()? else { return Ok(()) };
        let refusal = launch.flags(flags).run_to_end()?;
        // What was wrong is quoted back.
        assert_explains(&refusal, 2, &[flags[flags.len() - 1]]);
    }
    Ok(())
}

#[test]
fn a_configuration_is_checked_without_starting() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let refusal = launch.flags(["--config.check"]).run_to_end()?;
    assert_eq!(refusal.status.code(), Some(0), "{}", refusal.stderr);

    for check in [&["--config.check"][..], &[]] {
        let Some(launch) = Launch::prepare()? else { return Ok(()) };
        let refusal = launch.flags(["--test-group.members", "0"]).flags(check).run_to_end()?;
        assert_explains(&refusal, 2, &["--test-group.members", "0"]);
    }
    Ok(())
}

#[test]
fn no_type_information() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let refusal = launch.flags(["--btf.path", "/nonexistent/btf"]).run_to_end()?;
    assert_explains(&refusal, 1, &["/nonexistent/btf", "BTF"]);

    let scratch = Scratch::new("btf")?;
    let file = scratch.path().join("vmlinux");
    fs::write(&file, [0_u8; 64])?;
    let path = file.to_string_lossy().into_owned();
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let refusal = launch.flags(["--btf.path", &path]).run_to_end()?;
    assert_explains(&refusal, 1, &[&path, "BTF"]);
    Ok(())
}
