//! Every hook and every kernel member the programs rely on is on this kernel as it is declared; a missing or changed one is
//! named, with the kernel.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use reuse_tests::skip;
use serde_json::Value;

/// What the daemon's doctor says, with these flags.
fn doctor(flags: &[&str]) -> Result<Option<Value>> {
    let Some(binary) = skip::daemon_binary()? else { return Ok(None) };
    let output = Command::new(binary).args(["doctor", "--json"]).args(flags).output()?;
    let said = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)))?;
    Ok(Some(said))
}

fn finding<'a>(doctor: &'a Value, check: &str) -> Result<&'a Value> {
    let findings = doctor["doctor"].as_array().context("findings")?;
    findings.iter().find(|finding| finding["check"] == check).with_context(|| format!("no {check}: {doctor}"))
}

#[test]
fn every_hook_and_member_is_as_declared() -> Result<()> {
    let Some(doctor) = doctor(&[])? else { return Ok(()) };
    if doctor["lockdown"] == "confidentiality" {
        skip::skip("the kernel is locked down for confidentiality: nothing can be looked at");
        return Ok(());
    }
    let types = finding(&doctor, "types")?;
    ensure!(types["ok"] == true, "Linux {}: {}", doctor["kernel"], types["detail"]);
    ensure!(doctor["btf"] == "/sys/kernel/btf/vmlinux", "types from {}", doctor["btf"]);
    Ok(())
}

#[test]
fn types_of_another_kernel_are_refused() -> Result<()> {
    let own = std::fs::read("/sys/kernel/btf/vmlinux").context("this kernel's types")?;
    let scratch = reuse_tests::scratch::Scratch::new("foreign-btf")?;
    let path = scratch.path().join("btf");
    // The last byte ends the name of some type.
    let mut foreign = own;
    foreign.push(0);
    std::fs::write(&path, foreign)?;
    let Some(doctor) = doctor(&["--btf.path", path.to_str().context("a path")?])? else { return Ok(()) };
    if doctor["lockdown"] == "confidentiality" {
        skip::skip("the kernel is locked down for confidentiality: nothing can be looked at");
        return Ok(());
    }
    let programs = finding(&doctor, "programs")?;
    let detail = programs["detail"].as_str().unwrap_or_default();
    ensure!(programs["ok"] == false && detail.contains("another kernel"), "{doctor}");
    ensure!(programs["remedy"] == "leave out --btf.path", "no remedy: {doctor}");
    Ok(())
}
