//! The programs of this machine that the tests start, with everything they load: `ip` for network namespaces, python3 for
//! processes other than the test's own, and what these start in turn.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{process, vm::initramfs::Entry};

/// Standard modules the Python programs of the tests may import; what these import themselves comes with them.
const MODULES: &str = "array,contextlib,ctypes,errno,fcntl,functools,io,itertools,json,mmap,os,pathlib,pickle,random,re,resource,\
    select,selectors,shutil,signal,site,socket,struct,subprocess,sys,tempfile,threading,time,traceback,encodings.idna,encodings.ascii,\
    encodings.latin_1";

/// Prints the files of every loaded module, their compiled forms included, and before them the interpreter itself.
const LIST: &str = "\
import importlib, os, sys
for name in sys.argv[1].split(','): importlib.import_module(name)
print(os.path.realpath(sys.executable))
for module in list(sys.modules.values()):
    for path in (getattr(module, '__file__', None), getattr(module, '__cached__', None)):
        if path and os.path.isfile(path): print(path)
";

/// Where the system's interpreter is; one that is managed for a user is of no use to root's programs.
const PYTHON: &str = "/usr/bin/python3";

/// Other programs, for which any shell and any `sleep` will do.
const PROGRAMS: &[&str] = &["ip", "sh", "sleep"];

const USERS: &str =
    "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUPS: &str = "root:x:0:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

/// Everything the tests need of a system beside themselves and the daemon.
///
/// # Errors
/// If a program is missing or does not tell what it loads.
pub(crate) fn collect() -> Result<BTreeSet<Entry>> {
    let programs = PROGRAMS.iter().map(|name| {
        let path = process::find(name).with_context(|| format!("there is no {name}"))?;
        let path = path.canonicalize().with_context(|| format!("cannot follow {}", path.display()))?;
        Ok((*name, path))
    });
    let programs: Vec<(&str, PathBuf)> = programs.collect::<Result<_>>()?;
    let listed = process::output(Command::new(PYTHON).args(["-c", LIST, MODULES]))
        .context("python3 does not tell its modules")?;
    let mut files: BTreeSet<PathBuf> = listed.lines().map(PathBuf::from).collect();
    let python = listed.lines().next().context("python3 does not tell its own path")?;
    let mut loaded = BTreeSet::new();
    for file in
        files.iter().filter(|file| is_loaded(file, python)).chain(programs.iter().map(|(_, path)| path))
    {
        loaded.extend(libraries(file)?);
    }
    files.extend(loaded);
    let mut entries: BTreeSet<Entry> = files.iter().map(|file| Entry::copy(inside(file), file)).collect();
    entries.extend([
        // The C library's system() looks for it there.
        Entry::link("bin/sh", "/usr/bin/sh"),
        Entry::link(&inside(Path::new(PYTHON)), python),
        Entry::text("etc/passwd", USERS),
        Entry::text("etc/group", GROUPS),
        Entry::text("etc/hosts", HOSTS),
    ]);
    entries.extend(programs.into_iter().map(|(name, path)| Entry::copy(format!("usr/bin/{name}"), path)));
    Ok(entries)
}

/// Programs and extension modules name the libraries they load; nothing else does.
fn is_loaded(file: &Path, python: &str) -> bool {
    file == Path::new(python) || file.extension().is_some_and(|extension| extension == "so")
}

fn inside(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

/// The libraries of a program or library, the loader included, under the paths by which they are looked for.
fn libraries(file: &Path) -> Result<Vec<PathBuf>> {
    let listed = process::output(Command::new("ldd").arg(file))?;
    parse(&listed).with_context(|| format!("ldd {}", file.display()))
}

/// `name => path (address)`, or `path (address)` for the loader, or `name (address)` for what the kernel brings.
fn parse(listed: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in listed.lines().map(str::trim) {
        let path = line.split_once(" => ").map_or(line, |(_, path)| path);
        if path.starts_with("not found") {
            bail!("{line}");
        }
        let path = path.split_once(" (").map_or(path, |(path, _)| path);
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_loader_are_found_and_a_missing_one_is_named() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffe)\n\tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = ["/lib/x86_64-linux-gnu/libmnl.so.0", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(parse(listed).unwrap(), expected.map(PathBuf::from));
        assert_eq!(parse("\tstatically linked\n").unwrap(), Vec::<PathBuf>::new());
        let error = parse("\tlibx.so.1 => not found\n").unwrap_err();
        assert!(error.to_string().contains("libx.so.1"), "{error}");
    }
}
