//! Child processes: running them, reading them, and showing them the way a person would type them.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// The command as a line for a shell: environment first (but for `PATH`, which would drown the rest), each word quoted
/// where it has to be.
pub(crate) fn render(command: &Command) -> String {
    let environment = command
        .get_envs()
        .filter(|(key, _)| *key != "PATH")
        .filter_map(|(key, value)| value.map(|value| format!("{}={}", key.display(), quote(value))));
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quote);
    environment.chain(words).collect::<Vec<_>>().join(" ")
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs the command with this process's own streams.
///
/// # Errors
/// If it cannot be started or does not exit with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", render(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", render(command));
    }
    Ok(())
}

/// Runs the command without showing its output and returns what it wrote to standard output.
///
/// # Errors
/// If it cannot be started or does not exit with 0; the message carries its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", render(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}: {}", render(command), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first file called `program` in the folders of `path` (a `PATH` value).
pub(crate) fn find_in(path: &OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The first file called `program` in this process's `PATH`, or in the system folders that an unprivileged user's
/// `PATH` often lacks.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(&path, program).or_else(|| find_in(OsStr::new("/usr/sbin:/sbin"), program))
}

/// This process's `PATH` with the folders in front.
///
/// # Errors
/// If a folder's name holds a colon.
pub(crate) fn path_with(folders: &[&Path]) -> Result<std::ffi::OsString> {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let all = folders.iter().map(|folder| folder.to_path_buf()).chain(std::env::split_paths(&old));
    std::env::join_paths(all).context("a folder to be added to PATH has a colon in its name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rendered_command_can_be_pasted() {
        let mut command = Command::new("cargo");
        command.args(["install", "it's", ""]).env("LLVM_PREFIX", "/a b");
        assert_eq!(render(&command), r"LLVM_PREFIX='/a b' cargo install 'it'\''s' ''");
    }

    #[test]
    fn output_of_a_failing_command_is_an_error_with_its_words() {
        let error = output(Command::new("sh").args(["-c", "echo sorry >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("sorry"), "{error}");
    }

    #[test]
    fn a_program_is_found_in_the_first_folder_that_has_it() {
        assert!(find_in(OsStr::new("/nonexistent:/bin:/usr/bin"), "sh").is_some());
        assert_eq!(find_in(OsStr::new("/nonexistent"), "sh"), None);
    }
}
